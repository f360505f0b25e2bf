//! From values to JSON, and from JSON to YAML text.

use serde_json::{Map, Value};

use super::node::Node;

/// The same value as JSON, keys in the order of the text. A number that JSON cannot hold does not occur in a
/// [`Document`](super::Document); in any other tree it becomes null.
pub fn to_json(node: &Node) -> Value {
    match node {
        Node::Null => Value::Null,
        Node::Bool(value) => Value::Bool(*value),
        Node::Int(value) => Value::from(*value),
        Node::UInt(value) => Value::from(*value),
        Node::Float(value) => Value::from(*value),
        Node::Str(value) => Value::String(value.clone()),
        Node::Seq(items) => Value::Array(items.iter().map(to_json).collect()),
        Node::Map(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), to_json(value)))
                .collect::<Map<_, _>>(),
        ),
    }
}

/// Why a value could not be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be written as YAML: {reason}")]
pub struct WriteError {
    reason: String,
}

/// A value as YAML text that [`parse`](super::parse) reads back as the same value; text of several lines is written
/// as a block.
///
/// # Errors
/// The YAML crate refuses, which it has no reason to for JSON.
pub fn to_yaml(value: &Value) -> Result<String, WriteError> {
    serde_yaml::to_string(value).map_err(|error| WriteError {
        reason: error.to_string(),
    })
}
