//! Tests of the catalogue against the built-in data.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod body;
mod data;
mod files;
mod money;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::*;
use crate::media::Kind;

/// The built-in catalogue, read once for all tests.
fn catalogue() -> &'static Catalogue {
    static BUILT_IN: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::built_in().unwrap());
    &BUILT_IN
}

/// A model of the built-in catalogue, with its endpoint.
fn at(endpoint: &str, model: &str) -> (&'static Endpoint, &'static Model) {
    let endpoint = &catalogue().endpoints[endpoint];
    (endpoint, endpoint.model(model).unwrap())
}

/// A mapping from `json!({…})`.
fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no mapping"),
    }
}

/// The least value of a shape, with `uri` for media.
fn least(shape: &Shape) -> Value {
    match shape {
        Shape::String {
            allowed,
            min_length,
            ..
        } => match allowed.first() {
            Some(first) => Value::from(first.as_str()),
            None => Value::from("x".repeat(min_length.unwrap_or(0))),
        },
        Shape::Integer { allowed, min, .. } => {
            Value::from(allowed.first().copied().or(*min).unwrap_or(1))
        }
        Shape::Number { min, .. } => Value::from(min.unwrap_or(1.0)),
        Shape::Boolean => Value::from(true),
        Shape::Media { .. } => Value::from("runway://x"),
        Shape::Array {
            items, min_items, ..
        } => Value::from(vec![least(items); min_items.unwrap_or(1)]),
        Shape::Object { fields } => Value::Object(least_body(fields)),
        Shape::Map { .. } => Value::Object(Map::new()),
        Shape::OneOf { variants } => least(&variants[0]),
        Shape::Any { like } => like.first().map_or(Value::Null, least),
    }
}

/// The body with nothing but what is required.
fn least_body(fields: &BTreeMap<String, Field>) -> Map<String, Value> {
    let mut body = Map::new();
    for (name, field) in fields {
        if field.required && field.when.is_none() {
            body.insert(name.clone(), least(&field.shape));
        }
    }
    for (name, field) in fields {
        if let Some(when) = &field.when
            && field.required
            && when.holds(&body) == Some(true)
        {
            body.insert(name.clone(), least(&field.shape));
        }
    }
    body
}
