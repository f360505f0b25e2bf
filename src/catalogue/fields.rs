//! Reading and writing a field by its dotted name (`promptText`,
//! `input.promptText`), and its shape.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::endpoints::Model;
use super::shape::{Field, Shape};

/// Sets a field. Objects that lead to it are made where they are missing, with
/// what the API needs to distinguish them (`speech.text` makes `type: text`, too).
///
/// False, and nothing is changed, when the model has no such field or something
/// other than an object is in its path.
#[must_use]
pub fn put_field(model: &Model, body: &mut Map<String, Value>, field: &str, value: Value) -> bool {
    put(&model.fields, body, field, value)
}

fn put(
    fields: &BTreeMap<String, Field>,
    map: &mut Map<String, Value>,
    name: &str,
    value: Value,
) -> bool {
    let Some((head, rest)) = name.split_once('.') else {
        if !fields.contains_key(name) {
            return false;
        }
        map.insert(name.to_owned(), value);
        return true;
    };
    let Some(inner) = fields.get(head).and_then(|f| object_with(&f.shape, rest)) else {
        return false;
    };
    let mut object = match map.get(head) {
        None => Map::new(),
        Some(Value::Object(object)) => object.clone(),
        Some(_) => return false,
    };
    for (key, field) in inner {
        if let Some(literal) = field.literal()
            && !object.contains_key(key)
        {
            object.insert(key.clone(), Value::from(literal));
        }
    }
    if !put(inner, &mut object, rest, value) {
        return false;
    }
    map.insert(head.to_owned(), Value::Object(object));
    true
}

/// The shape at a dotted name.
pub(super) fn shape_at<'a>(fields: &'a BTreeMap<String, Field>, name: &str) -> Option<&'a Shape> {
    match name.split_once('.') {
        None => fields.get(name).map(|f| &f.shape),
        Some((head, rest)) => shape_at(object_with(&fields.get(head)?.shape, rest)?, rest),
    }
}

/// The fields of the object, among a shape's variants, in which a name leads
/// somewhere.
fn object_with<'a>(shape: &'a Shape, name: &str) -> Option<&'a BTreeMap<String, Field>> {
    match shape {
        Shape::Object { fields } => shape_at(fields, name).map(|_| fields),
        Shape::OneOf { variants } => variants.iter().find_map(|v| object_with(v, name)),
        Shape::Any { like } => like.iter().find_map(|v| object_with(v, name)),
        Shape::String { .. }
        | Shape::Integer { .. }
        | Shape::Number { .. }
        | Shape::Boolean
        | Shape::Media { .. }
        | Shape::Array { .. }
        | Shape::Map { .. } => None,
    }
}
