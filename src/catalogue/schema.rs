//! The JSON Schema of sidecars, for editors that check YAML while people type.
//!
//! Nothing at the top level is required and nothing is said about paths: defaults
//! and the dropped file supply what a sidecar leaves out. What the schema knows
//! beyond that is which fields there are, per endpoint and model, and what each
//! may be.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::endpoints::{Catalogue, Endpoint, ID, Model};
use super::fields::shape_at;
use super::shape::{Field, Shape};
use super::sidecar_key::SidecarKey;

/// A JSON Schema (2020-12) of sidecars and `_defaults.yaml`.
///
/// One definition per endpoint and model under `$defs`; conditions on `endpoint`
/// and `model` choose among them. Only keywords that editors' older drafts know, too,
/// are used.
pub fn sidecar_schema(catalogue: &Catalogue) -> Value {
    let mut definitions = Map::new();
    let mut fields: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    let mut models: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut conditions = Vec::new();
    for endpoint in catalogue.endpoints() {
        let mut own = Vec::new();
        for model in endpoint.models() {
            let name = name_definition(endpoint, model);
            definitions.insert(name.clone(), define(endpoint, model));
            for (key, field) in &model.fields {
                let doc = fields.entry(key).or_default();
                *doc = doc.or(field.doc.as_deref());
            }
            if endpoint.takes_model() {
                models.entry(&model.name).or_default().push(name.clone());
                let both = json!({
                    "properties": {"endpoint": describe_endpoint(endpoint), "model": {"const": model.name}},
                    "required": ["endpoint", "model"],
                });
                conditions.push(json!({"if": both, "then": refer_to(&name)}));
            }
            own.push(name);
        }
        // The endpoint alone: any of its models, since defaults may name it.
        let alone = json!({
            "properties": {"endpoint": describe_endpoint(endpoint)},
            "required": ["endpoint"],
            "not": {"required": ["model"]},
        });
        conditions.push(json!({"if": alone, "then": refer_to_any(&own)}));
    }
    for (model, names) in &models {
        let alone = json!({
            "properties": {"model": {"const": model}},
            "required": ["model"],
            "not": {"required": ["endpoint"]},
        });
        conditions.push(json!({"if": alone, "then": refer_to_any(names)}));
    }
    let mut properties = describe_sidecar_keys(catalogue);
    for (key, doc) in fields {
        let described = match (key, doc) {
            ("model", _) => json!({
                "description": "The model.",
                "anyOf": [{"enum": models.keys().collect::<Vec<_>>()}, {"type": "string"}],
            }),
            (_, Some(doc)) => json!({"description": doc}),
            (_, None) => json!({}),
        };
        // `prompt` is a field of some recipes, and the sidecar's own key, too.
        properties.entry(key).or_insert(described);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "taxiway sidecar",
        "description": "What to do with a media file, or a whole job by itself.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "allOf": conditions,
        "$defs": definitions,
    })
}

fn describe_sidecar_keys(catalogue: &Catalogue) -> Map<String, Value> {
    let known: Vec<&str> = catalogue
        .endpoints()
        .filter(|e| !e.path.contains(ID))
        .map(|e| e.name.as_str())
        .collect();
    let mut endpoints = vec![json!({"enum": known})];
    endpoints.extend(
        catalogue
            .endpoints()
            .filter(|e| e.path.contains(ID))
            .map(describe_endpoint),
    );
    SidecarKey::ALL
        .into_iter()
        .map(|key| {
            let schema = match key {
                SidecarKey::Endpoint => json!({
                    "description": "The last part of the API path. Optional where the media kind or the model settles it.",
                    "anyOf": endpoints,
                }),
                SidecarKey::Prompt => {
                    json!({"description": "The prompt, for the endpoint's own prompt field.", "type": "string"})
                }
                SidecarKey::Priority => {
                    json!({"description": "Larger goes first.", "type": "integer", "default": 0})
                }
                SidecarKey::MaxCredits => {
                    json!({"description": "Refuse the job when its estimate is higher.", "type": "number", "minimum": 0})
                }
                SidecarKey::Output => {
                    json!({"description": "The output's file name without extension.", "type": "string", "minLength": 1})
                }
            };
            (key.to_string(), schema)
        })
        .collect()
}

fn name_definition(endpoint: &Endpoint, model: &Model) -> String {
    // A slash in a definition's name would have to be escaped in every reference.
    let name = endpoint.name.replace('/', ".");
    if model.name.is_empty() {
        name
    } else {
        format!("{name}:{}", model.name)
    }
}

fn refer_to(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn refer_to_any(names: &[String]) -> Value {
    match names {
        [one] => refer_to(one),
        several => json!({"anyOf": several.iter().map(|n| refer_to(n)).collect::<Vec<_>>()}),
    }
}

fn describe_endpoint(endpoint: &Endpoint) -> Value {
    if endpoint.path.contains(ID) {
        json!({"type": "string", "pattern": format!("^{}/[A-Za-z0-9_-]+$", endpoint.name)})
    } else {
        json!({"const": endpoint.name})
    }
}

fn define(endpoint: &Endpoint, model: &Model) -> Value {
    let mut properties = Map::new();
    for (key, field) in &model.fields {
        properties.insert(key.clone(), describe_field(field));
    }
    if let Some(prompt) = &endpoint.prompt
        && let Some(shape) = shape_at(&model.fields, prompt)
    {
        properties.insert("prompt".to_owned(), describe_shape(shape));
    }
    let known: BTreeSet<&str> = model
        .fields
        .keys()
        .map(String::as_str)
        .chain(SidecarKey::names())
        .collect();
    json!({"properties": properties, "propertyNames": {"enum": known}})
}

fn describe_field(field: &Field) -> Value {
    let mut schema = describe_shape(&field.shape);
    if let (Some(doc), Value::Object(map)) = (&field.doc, &mut schema) {
        map.insert("description".to_owned(), Value::from(doc.as_str()));
    }
    schema
}

fn describe_shape(shape: &Shape) -> Value {
    match shape {
        Shape::String { allowed, .. } if !allowed.is_empty() => json!({"enum": allowed}),
        // JSON Schema counts code points, of which a text never has more than UTF-16
        // code units: the upper bound refuses nothing that the API takes.
        Shape::String {
            min_length,
            max_utf16,
            ..
        } => add_limits(
            json!({"type": "string"}),
            [
                ("minLength", min_length.map(Value::from)),
                ("maxLength", max_utf16.map(Value::from)),
            ],
        ),
        Shape::Integer { allowed, .. } if !allowed.is_empty() => json!({"enum": allowed}),
        Shape::Integer { min, max, .. } => add_limits(
            json!({"type": "integer"}),
            [
                ("minimum", min.map(Value::from)),
                ("maximum", max.map(Value::from)),
            ],
        ),
        Shape::Number { min, max } => add_limits(
            json!({"type": "number"}),
            [
                ("minimum", min.map(Value::from)),
                ("maximum", max.map(Value::from)),
            ],
        ),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::Media { .. } => json!({"type": "string", "minLength": 1}),
        Shape::Array {
            items,
            min_items,
            max_items,
        } => add_limits(
            json!({"type": "array", "items": describe_shape(items)}),
            [
                ("minItems", min_items.map(Value::from)),
                ("maxItems", max_items.map(Value::from)),
            ],
        ),
        Shape::Object { fields } => {
            let required: Vec<&str> = fields
                .iter()
                .filter(|(_, field)| field.required && field.when.is_none())
                .map(|(key, _)| key.as_str())
                .collect();
            let properties: Map<String, Value> = fields
                .iter()
                .map(|(key, field)| (key.clone(), describe_field(field)))
                .collect();
            json!({
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": false,
            })
        }
        Shape::Map { values } => {
            json!({"type": "object", "additionalProperties": describe_shape(values)})
        }
        Shape::OneOf { variants } => {
            json!({"anyOf": variants.iter().map(describe_shape).collect::<Vec<_>>()})
        }
        Shape::Any { .. } => json!({}),
    }
}

fn add_limits<const N: usize>(mut schema: Value, limits: [(&str, Option<Value>); N]) -> Value {
    if let Value::Object(map) = &mut schema {
        for (key, limit) in limits {
            if let Some(limit) = limit {
                map.insert(key.to_owned(), limit);
            }
        }
    }
    schema
}
