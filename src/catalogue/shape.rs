//! What a value of a request body may be, and its description for people.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::media::Kind;

/// One field of a request body or of an object within it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Whether the API refuses a request without it.
    pub required: bool,
    /// The first sentence of the SDK's documentation.
    #[serde(default)]
    pub doc: Option<String>,
    /// What it may be.
    pub shape: Shape,
    /// Set where another field decides whether this one belongs in the request.
    #[serde(default)]
    pub when: Option<When>,
}

/// A field belongs in the request when a sibling has one of these values.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The sibling.
    pub field: String,
    /// Its values, at least one.
    pub values: Vec<String>,
}

/// What a value may be.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Shape {
    /// A text.
    String {
        /// The allowed texts; empty allows any.
        #[serde(default, rename = "enum")]
        allowed: Vec<String>,
        /// The least length in UTF-16 code units.
        #[serde(default)]
        min_length: Option<usize>,
        /// The greatest length in UTF-16 code units.
        #[serde(default)]
        max_utf16: Option<usize>,
    },
    /// A whole number.
    Integer {
        /// The allowed numbers; empty allows any.
        #[serde(default, rename = "enum")]
        allowed: Vec<i64>,
        /// The least number.
        #[serde(default)]
        min: Option<i64>,
        /// The greatest number.
        #[serde(default)]
        max: Option<i64>,
    },
    /// Any number.
    Number {
        /// The least number.
        #[serde(default)]
        min: Option<f64>,
        /// The greatest number.
        #[serde(default)]
        max: Option<f64>,
    },
    /// true or false.
    Boolean,
    /// A text that is the URI of a media file.
    Media {
        /// The kinds that the API takes here.
        accepts: Vec<Kind>,
    },
    /// A list.
    Array {
        /// What each item may be.
        items: Box<Shape>,
        /// The least number of items.
        #[serde(default)]
        min_items: Option<usize>,
        /// The greatest number of items.
        #[serde(default)]
        max_items: Option<usize>,
    },
    /// A mapping with known keys.
    Object {
        /// The keys.
        fields: BTreeMap<String, Field>,
    },
    /// A mapping whose keys the person chooses.
    Map {
        /// What each value may be.
        values: Box<Shape>,
    },
    /// One of several shapes.
    OneOf {
        /// The shapes.
        variants: Vec<Shape>,
    },
    /// Anything at all.
    Any {
        /// What it looks like where it is known, for finding media in it only.
        #[serde(default)]
        like: Vec<Shape>,
    },
}

impl Field {
    /// A field that may be left out and has no documentation.
    pub(super) fn optional(shape: Shape) -> Self {
        Field {
            required: false,
            doc: None,
            shape,
            when: None,
        }
    }

    /// The only text allowed here, if there is just one: what distinguishes the variants
    /// of an object, such as `type: image`.
    pub(super) fn literal(&self) -> Option<&str> {
        let Shape::String { allowed, .. } = &self.shape else {
            return None;
        };
        match allowed.as_slice() {
            [only] if self.required => Some(only),
            _ => None,
        }
    }
}

impl When {
    /// Whether the field belongs in this mapping; `None` when the deciding sibling
    /// is missing, or is not a text.
    pub(super) fn holds(&self, map: &Map<String, Value>) -> Option<bool> {
        let value = map.get(&self.field)?.as_str()?;
        Some(self.values.iter().any(|v| v == value))
    }
}

impl Shape {
    /// Whether only values with media fit.
    pub fn needs_media(&self) -> bool {
        match self {
            Shape::Media { .. } => true,
            Shape::Array { items, .. } => items.needs_media(),
            Shape::Object { fields } => {
                fields.values().any(|f| f.required && f.shape.needs_media())
            }
            Shape::OneOf { variants } => do_all_need_media(variants),
            Shape::Any { like } => do_all_need_media(like),
            Shape::String { .. }
            | Shape::Integer { .. }
            | Shape::Number { .. }
            | Shape::Boolean
            | Shape::Map { .. } => false,
        }
    }

    /// Whether it is one plain value, neither list nor mapping.
    pub(super) fn is_scalar(&self) -> bool {
        match self {
            Shape::String { .. }
            | Shape::Integer { .. }
            | Shape::Number { .. }
            | Shape::Boolean
            | Shape::Media { .. } => true,
            Shape::OneOf { variants } => variants.iter().all(Shape::is_scalar),
            Shape::Array { .. } | Shape::Object { .. } | Shape::Map { .. } | Shape::Any { .. } => {
                false
            }
        }
    }

    /// Whether a value is of the right JSON type, whatever its content.
    pub(super) fn fits_type(&self, value: &Value) -> bool {
        match self {
            Shape::String { .. } | Shape::Media { .. } => value.is_string(),
            Shape::Integer { .. } | Shape::Number { .. } => value.is_number(),
            Shape::Boolean => value.is_boolean(),
            Shape::Array { .. } => value.is_array(),
            Shape::Object { .. } | Shape::Map { .. } => value.is_object(),
            Shape::OneOf { variants } => variants.iter().any(|v| v.fits_type(value)),
            Shape::Any { .. } => true,
        }
    }

    /// What is allowed, for people: "a whole number from 2 to 10".
    pub fn describe(&self) -> String {
        match self {
            Shape::String { allowed, .. } if !allowed.is_empty() => {
                or(allowed.iter().map(|text| quote(text)))
            }
            Shape::String {
                min_length,
                max_utf16,
                ..
            } => match (min_length, max_utf16) {
                (_, Some(max)) => format!("a text of at most {max} characters"),
                (Some(_), None) => "a text that is not empty".to_owned(),
                (None, None) => "a text".to_owned(),
            },
            Shape::Integer { allowed, .. } if !allowed.is_empty() => {
                or(allowed.iter().map(i64::to_string))
            }
            Shape::Integer { min, max, .. } => {
                format!("a whole number{}", describe_range(min, max))
            }
            Shape::Number { min, max } => format!("a number{}", describe_range(min, max)),
            Shape::Boolean => "true or false".to_owned(),
            Shape::Media { accepts } => format!(
                "{} file: a path, an https:// URL or a runway:// URI",
                describe_kinds(accepts)
            ),
            Shape::Array {
                items,
                min_items,
                max_items,
            } => {
                let each = match &**items {
                    Shape::OneOf { .. } | Shape::Any { .. } => String::new(),
                    other => format!(", each {}", other.describe()),
                };
                format!("a list{}{each}", describe_count(*min_items, *max_items))
            }
            Shape::Object { fields } => {
                let keys: Vec<&str> = fields.keys().map(String::as_str).collect();
                format!("a mapping with the keys {}", keys.join(", "))
            }
            Shape::Map { .. } => "a mapping".to_owned(),
            Shape::OneOf { variants } => {
                let described: Vec<String> = variants.iter().map(Shape::describe).collect();
                described.join(", or ")
            }
            Shape::Any { .. } => "any value".to_owned(),
        }
    }
}

fn do_all_need_media(shapes: &[Shape]) -> bool {
    !shapes.is_empty() && shapes.iter().all(Shape::needs_media)
}

/// A text in double quotes, as people type it.
pub(super) fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

/// "a, b or c".
pub(super) fn or(words: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = words.collect();
    match words.pop() {
        None => String::new(),
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} or {last}", words.join(", ")),
    }
}

fn describe_range<T: std::fmt::Display>(min: &Option<T>, max: &Option<T>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!(" from {min} to {max}"),
        (Some(min), None) => format!(", {min} or more"),
        (None, Some(max)) => format!(", {max} or less"),
        (None, None) => String::new(),
    }
}

fn describe_count(min: Option<usize>, max: Option<usize>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!(" of {min} to {max} items"),
        (Some(min), None) => format!(" of {min} or more items"),
        (None, Some(max)) => format!(
            " of at most {max} {}",
            if max == 1 { "item" } else { "items" }
        ),
        (None, None) => String::new(),
    }
}

fn describe_kinds(accepts: &[Kind]) -> String {
    let named = or(accepts.iter().map(Kind::to_string));
    match accepts.first() {
        Some(Kind::Image | Kind::Audio) => format!("an {named}"),
        Some(Kind::Video) => format!("a {named}"),
        None => "a media".to_owned(),
    }
}
