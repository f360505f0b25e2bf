//! Reading and writing places inside JSON.

use serde_json::{Map, Value};

/// One step into a body.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Into a mapping, by key.
    Key(String),
    /// Into a list, by index from 0.
    Index(usize),
}

/// The value of a field, if it is there.
pub fn get_field<'a>(body: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
    match field.split_once('.') {
        None => body.get(field),
        Some((head, rest)) => get_field(body.get(head)?.as_object()?, rest),
    }
}

/// Replaces the URI at a slot. False when there is no text.
#[must_use]
pub fn set_slot(body: &mut Map<String, Value>, path: &[Step], uri: &str) -> bool {
    let Some((Step::Key(first), rest)) = path.split_first() else {
        return false;
    };
    let mut place = body.get_mut(first);
    for step in rest {
        place = match (place, step) {
            (Some(Value::Object(map)), Step::Key(key)) => map.get_mut(key),
            (Some(Value::Array(items)), Step::Index(index)) => items.get_mut(*index),
            _ => None,
        };
    }
    match place {
        Some(Value::String(text)) => {
            uri.clone_into(text);
            true
        }
        _ => false,
    }
}
