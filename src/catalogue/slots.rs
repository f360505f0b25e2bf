//! Where a request body has media, and how a dropped file gets in.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::check::find_best_variant;
use super::endpoints::Model;
use super::fields::shape_at;
use super::shape::{Field, Shape};
use crate::json::Step;
use crate::media::Kind;

/// A place in a body where the API takes the URI of a media file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaSlot {
    /// Its path.
    pub path: Vec<Step>,
    /// The value there now: a URI, or a path that the person wrote.
    pub uri: String,
    /// The kinds that the API takes there.
    pub kinds: Vec<Kind>,
}

/// Every text in the body at a place where the API takes a media URI, in the
/// order of the body.
pub fn find_media_slots(model: &Model, body: &Map<String, Value>) -> Vec<MediaSlot> {
    let mut slots = Vec::new();
    collect_in_fields(&model.fields, body, &mut Vec::new(), &mut slots);
    slots
}

fn collect_in_fields(
    fields: &BTreeMap<String, Field>,
    map: &Map<String, Value>,
    path: &mut Vec<Step>,
    slots: &mut Vec<MediaSlot>,
) {
    for (key, value) in map {
        if let Some(field) = fields.get(key) {
            path.push(Step::Key(key.clone()));
            collect_in_shape(&field.shape, value, path, slots);
            path.pop();
        }
    }
}

fn collect_in_shape(
    shape: &Shape,
    value: &Value,
    path: &mut Vec<Step>,
    slots: &mut Vec<MediaSlot>,
) {
    match shape {
        Shape::Media { accepts } => {
            if let Value::String(uri) = value {
                add(slots, path, uri, accepts);
            }
        }
        Shape::Array { items, .. } => {
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                path.push(Step::Index(index));
                collect_in_shape(items, item, path, slots);
                path.pop();
            }
        }
        Shape::Object { fields } => {
            if let Value::Object(map) = value {
                collect_in_fields(fields, map, path, slots);
            }
        }
        Shape::Map { values } => {
            for (key, item) in value.as_object().into_iter().flatten() {
                path.push(Step::Key(key.clone()));
                collect_in_shape(values, item, path, slots);
                path.pop();
            }
        }
        Shape::OneOf { variants } => {
            if let Some(variant) = find_best_variant(variants, value) {
                collect_in_shape(variant, value, path, slots);
            }
        }
        Shape::Any { like } => {
            for shape in like {
                collect_in_shape(shape, value, path, slots);
            }
        }
        Shape::String { .. } | Shape::Integer { .. } | Shape::Number { .. } | Shape::Boolean => {}
    }
}

/// Adds a slot, or its kinds to the one that was found at the same place before.
fn add(slots: &mut Vec<MediaSlot>, path: &[Step], uri: &str, accepts: &[Kind]) {
    match slots.iter_mut().find(|slot| slot.path == path) {
        Some(slot) => {
            for kind in accepts {
                if !slot.kinds.contains(kind) {
                    slot.kinds.push(*kind);
                }
            }
        }
        None => slots.push(MediaSlot {
            path: path.to_vec(),
            uri: uri.to_owned(),
            kinds: accepts.to_vec(),
        }),
    }
}

/// The value that puts one dropped file into a field (see [`Model::main_media`]):
/// a text, `[{uri}]`, `{type, uri}`, or `["…"]`, whatever the field takes. The
/// result belongs at the field's dotted name, see [`super::put_field`].
///
/// `None` when the field cannot take media of this kind by itself.
pub fn place_media(model: &Model, field: &str, kind: Kind, uri: &str) -> Option<Value> {
    build(shape_at(&model.fields, field)?, kind, uri)
}

fn build(shape: &Shape, kind: Kind, uri: &str) -> Option<Value> {
    match shape {
        Shape::Media { accepts } => accepts.contains(&kind).then(|| Value::from(uri)),
        Shape::Array { items, .. } => Some(Value::Array(vec![build(items, kind, uri)?])),
        Shape::Object { fields } => build_object(fields, kind, uri),
        Shape::OneOf { variants } => variants.iter().find_map(|v| build(v, kind, uri)),
        Shape::Any { like } => like.iter().find_map(|v| build(v, kind, uri)),
        Shape::String { .. }
        | Shape::Integer { .. }
        | Shape::Number { .. }
        | Shape::Boolean
        | Shape::Map { .. } => None,
    }
}

fn build_object(fields: &BTreeMap<String, Field>, kind: Kind, uri: &str) -> Option<Value> {
    let (holder, value) = fields
        .iter()
        .filter(|(_, field)| field.required)
        .find_map(|(name, field)| Some((name, build(&field.shape, kind, uri)?)))?;
    let mut object = Map::new();
    for (name, field) in fields.iter().filter(|(_, field)| field.required) {
        let value = if name == holder {
            value.clone()
        } else {
            // `type: image` distinguishes variants; of several texts (`role: first`,
            // `last`, `reference`) the SDK names the usual one first.
            let Shape::String { allowed, .. } = &field.shape else {
                return None;
            };
            Value::from(allowed.first()?.as_str())
        };
        object.insert(name.clone(), value);
    }
    Some(Value::Object(object))
}
