//! All problems of a request body at once, explained to the person who wrote it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::endpoints::{Endpoint, Model};
use super::nearest::nearest;
use super::shape::{Field, Shape, or, quote};
use super::sidecar_key::SidecarKey;
use crate::diagnostic::Diagnostic;
use crate::json::Step;

/// What part of the text a problem is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// The key that the path ends in.
    Key,
    /// The value at the path.
    Value,
    /// Nothing is there: the path ends in a key that is missing, and the mapping
    /// it is missing from is what can be pointed at.
    Missing,
}

/// Something in a body that the API would refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where in the body.
    pub path: Vec<Step>,
    /// What part of that place it is about.
    pub on: On,
    /// The problem, whose place in a text is not known here.
    pub diagnostic: Diagnostic,
}

/// A path as people write it: `references[1].uri`.
pub fn format_path(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// Everything that is wrong with a request body, `model` included; empty when the
/// API should take it. Media are taken as given: whether a path exists or a file is
/// of the right kind is not checked.
pub fn check(endpoint: &Endpoint, model: &Model, body: &Map<String, Value>) -> Vec<Problem> {
    let mut walk = Walk::default();
    walk.check_object(&model.fields, body, &|key| {
        describe_unknown_field(endpoint, model, key)
    });
    walk.problems
}

fn describe_unknown_field(endpoint: &Endpoint, model: &Model, key: &str) -> Diagnostic {
    let with = match model.name.as_str() {
        "" => String::new(),
        name => format!(" with {name}"),
    };
    let message = format!("`{key}` is not a field of {}{with}", endpoint.name);
    let others: Vec<&str> = endpoint
        .models()
        .filter(|other| other.name != model.name && other.fields.contains_key(key))
        .map(|other| other.name.as_str())
        .collect();
    let hint = if others.is_empty() {
        let known = model
            .fields
            .keys()
            .map(String::as_str)
            .chain(SidecarKey::names());
        suggest(key, known, || list(model.fields.keys()))
    } else {
        format!(
            "remove it, or use a model that takes it: {}",
            others.join(", ")
        )
    };
    Diagnostic::new(message, hint)
}

/// "did you mean …?", or else what there is.
fn suggest<'a>(
    word: &str,
    known: impl Iterator<Item = &'a str>,
    otherwise: impl FnOnce() -> String,
) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => otherwise(),
    }
}

fn list<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    let keys: Vec<&str> = keys.map(String::as_str).collect();
    format!("the known fields are {}", keys.join(", "))
}

/// The variant that a value was most likely meant to be: one that it fits, else
/// the one whose literal (`type: image`) it has, else of the right JSON type the one
/// with the fewest problems.
pub(super) fn find_best_variant<'a>(variants: &'a [Shape], value: &Value) -> Option<&'a Shape> {
    let mut best: Option<(usize, &Shape)> = None;
    for variant in variants.iter().filter(|v| v.fits_type(value)) {
        let mut problems = count_problems(variant, value);
        if has_literal_of(variant, value) {
            // Better than any without, unless that one has no problems at all.
            problems = problems.min(1);
        }
        if best.is_none_or(|(least, _)| problems < least) {
            best = Some((problems, variant));
        }
    }
    best.map(|(_, variant)| variant)
}

fn count_problems(shape: &Shape, value: &Value) -> usize {
    let mut walk = Walk::default();
    walk.check_value(shape, value);
    walk.problems.len()
}

/// Whether an object has all the literals that distinguish this variant, at least one.
fn has_literal_of(variant: &Shape, value: &Value) -> bool {
    let (Shape::Object { fields }, Value::Object(map)) = (variant, value) else {
        return false;
    };
    let mut literals = fields
        .iter()
        .filter_map(|(name, field)| Some((name, field.literal()?)))
        .peekable();
    literals.peek().is_some()
        && literals.all(|(name, text)| map.get(name).and_then(Value::as_str) == Some(text))
}

/// A walk through a body, and what it has found.
#[derive(Default)]
struct Walk {
    path: Vec<Step>,
    problems: Vec<Problem>,
}

impl Walk {
    fn report(&mut self, on: On, message: String, hint: String) {
        self.report_here(on, Diagnostic::new(message, hint));
    }

    fn report_here(&mut self, on: On, diagnostic: Diagnostic) {
        let path = self.path.clone();
        self.problems.push(Problem {
            path,
            on,
            diagnostic,
        });
    }

    fn label(&self) -> String {
        format!("`{}`", format_path(&self.path))
    }

    fn enter(&mut self, step: Step, look: impl FnOnce(&mut Self)) {
        self.path.push(step);
        look(self);
        self.path.pop();
    }

    fn check_object(
        &mut self,
        fields: &BTreeMap<String, Field>,
        map: &Map<String, Value>,
        unknown: &dyn Fn(&str) -> Diagnostic,
    ) {
        for (key, value) in map {
            self.enter(Step::Key(key.clone()), |walk| match fields.get(key) {
                None => walk.report_here(On::Key, unknown(key)),
                Some(field) => {
                    walk.check_belongs(field, map);
                    walk.check_value(&field.shape, value);
                }
            });
        }
        for (name, field) in fields {
            let wanted = match &field.when {
                Some(when) => when.holds(map) == Some(true),
                None => true,
            };
            if field.required && wanted && !map.contains_key(name) {
                self.enter(Step::Key(name.clone()), |walk| {
                    let message = format!("{} is missing", walk.label());
                    walk.report(
                        On::Missing,
                        message,
                        format!("give {}", field.shape.describe()),
                    );
                });
            }
        }
    }

    fn check_belongs(&mut self, field: &Field, map: &Map<String, Value>) {
        if let Some(when) = &field.when
            && when.holds(map) == Some(false)
        {
            let message = format!("{} does not belong here", self.label());
            let values = or(when.values.iter().map(|v| quote(v)));
            let hint = format!("remove it, or set `{}` to {values}", when.field);
            self.report(On::Key, message, hint);
        }
    }

    fn check_value(&mut self, shape: &Shape, value: &Value) {
        match shape {
            Shape::Any { .. } => {}
            Shape::OneOf { variants } => self.check_one_of(shape, variants, value),
            Shape::String {
                allowed,
                min_length,
                max_utf16,
            } => match value {
                Value::String(text) => {
                    self.check_text(shape, text, allowed, *min_length, *max_utf16)
                }
                _ => self.report_wrong_type(shape, value),
            },
            Shape::Integer { allowed, min, max } => match as_whole(value) {
                Some(number) => {
                    let in_range =
                        min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max);
                    if !in_range || !(allowed.is_empty() || allowed.contains(&number)) {
                        self.report_not_allowed(shape, value);
                    }
                }
                None => self.report_wrong_type(shape, value),
            },
            Shape::Number { min, max } => match value.as_f64() {
                Some(number) => {
                    let in_range =
                        min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max);
                    if !in_range {
                        self.report_not_allowed(shape, value);
                    }
                }
                None => self.report_wrong_type(shape, value),
            },
            Shape::Boolean => {
                if !value.is_boolean() {
                    self.report_wrong_type(shape, value);
                }
            }
            Shape::Media { .. } => match value {
                Value::String(text) if text.trim().is_empty() => {
                    let message = format!("{} is empty", self.label());
                    self.report(On::Value, message, format!("give {}", shape.describe()));
                }
                Value::String(_) => {}
                _ => self.report_wrong_type(shape, value),
            },
            Shape::Array {
                items,
                min_items,
                max_items,
            } => match value {
                Value::Array(values) => {
                    let enough = min_items.is_none_or(|min| values.len() >= min);
                    if !enough || max_items.is_some_and(|max| values.len() > max) {
                        let count = values.len();
                        let items = if count == 1 { "item" } else { "items" };
                        let message = format!("{} has {count} {items}", self.label());
                        self.report(On::Value, message, format!("give {}", shape.describe()));
                    }
                    for (index, item) in values.iter().enumerate() {
                        self.enter(Step::Index(index), |walk| walk.check_value(items, item));
                    }
                }
                _ => self.report_wrong_type(shape, value),
            },
            Shape::Map { values } => match value {
                Value::Object(map) => {
                    for (key, item) in map {
                        self.enter(Step::Key(key.clone()), |walk| {
                            walk.check_value(values, item)
                        });
                    }
                }
                _ => self.report_wrong_type(shape, value),
            },
            Shape::Object { fields } => match value {
                Value::Object(map) => {
                    let owner = self.label();
                    self.check_object(fields, map, &|key| {
                        let message = format!("`{key}` is not a field of {owner}");
                        let known = fields.keys().map(String::as_str);
                        Diagnostic::new(message, suggest(key, known, || list(fields.keys())))
                    });
                }
                _ => self.report_wrong_type(shape, value),
            },
        }
    }

    fn check_text(
        &mut self,
        shape: &Shape,
        text: &str,
        allowed: &[String],
        min_length: Option<usize>,
        max_utf16: Option<usize>,
    ) {
        if !allowed.is_empty() {
            if !allowed.iter().any(|a| a == text) {
                self.report_not_allowed(shape, &Value::from(text));
            }
            return;
        }
        let length = text.encode_utf16().count();
        if let Some(min) = min_length
            && length < min
        {
            let message = match length {
                0 => format!("{} is empty", self.label()),
                _ => format!(
                    "{} is shorter than the {min} characters that it needs (it has {length})",
                    self.label()
                ),
            };
            let hint = format!(
                "give at least {min} character{}",
                if min == 1 { "" } else { "s" }
            );
            self.report(On::Value, message, hint);
        }
        if let Some(max) = max_utf16
            && length > max
        {
            let message = format!(
                "{} is {length} characters long (counted in UTF-16 code units), {} more than allowed",
                self.label(),
                length - max,
            );
            self.report(On::Value, message, format!("shorten it to {max}"));
        }
    }

    fn check_one_of(&mut self, shape: &Shape, variants: &[Shape], value: &Value) {
        if shape.is_scalar() {
            // One sentence about everything that is allowed helps more than one about the
            // likeliest variant.
            if variants.iter().all(|v| count_problems(v, value) > 0) {
                if shape.fits_type(value) {
                    self.report_not_allowed(shape, value);
                } else {
                    self.report_wrong_type(shape, value);
                }
            }
            return;
        }
        if self.reports_wrong_literal(variants, value) {
            return;
        }
        match find_best_variant(variants, value) {
            Some(variant) => self.check_value(variant, value),
            None => self.report_wrong_type(shape, value),
        }
    }

    /// Reports a mapping whose `type`, or whatever distinguishes all variants, is
    /// missing or unknown: nothing else about it can be checked then.
    fn reports_wrong_literal(&mut self, variants: &[Shape], value: &Value) -> bool {
        let Value::Object(map) = value else {
            return false;
        };
        let mut objects = Vec::new();
        for variant in variants {
            if let Shape::Object { fields } = variant {
                objects.push(fields);
            }
        }
        let Some(first) = objects.first().filter(|_| objects.len() > 1) else {
            return false;
        };
        for name in first.keys() {
            let literals: Vec<&str> = objects
                .iter()
                .filter_map(|fields| fields.get(name)?.literal())
                .collect();
            if literals.len() < objects.len() {
                continue;
            }
            let given = map.get(name);
            if given
                .and_then(Value::as_str)
                .is_some_and(|text| literals.contains(&text))
            {
                return false;
            }
            let allowed = Shape::String {
                allowed: literals.iter().map(|text| (*text).to_owned()).collect(),
                min_length: None,
                max_utf16: None,
            };
            self.enter(Step::Key(name.clone()), |walk| match given {
                Some(given) => walk.check_value(&allowed, given),
                None => {
                    let message = format!("{} is missing", walk.label());
                    let hint = format!("give {}", allowed.describe());
                    walk.report(On::Missing, message, hint);
                }
            });
            return true;
        }
        false
    }

    /// Reports a value of the right type that the API does not take.
    fn report_not_allowed(&mut self, shape: &Shape, value: &Value) {
        let message = format!("{} cannot be {value}", self.label());
        let allowed = format!("allowed: {}", shape.describe());
        let near = if let (Shape::String { allowed, .. }, Value::String(text)) = (shape, value) {
            nearest(text, allowed.iter().map(String::as_str))
        } else {
            None
        };
        let hint = match near {
            Some(near) => format!("did you mean {}? {allowed}", quote(near)),
            None => allowed,
        };
        self.report(On::Value, message, hint);
    }

    fn report_wrong_type(&mut self, shape: &Shape, value: &Value) {
        let message = match value {
            Value::Null => format!("{} has no value", self.label()),
            _ => format!(
                "{} must be {}, and is {}",
                self.label(),
                describe_type(shape),
                describe_value(value)
            ),
        };
        let hint = match value {
            Value::Null => format!("give {}, or remove the line", shape.describe()),
            Value::Number(_) | Value::Bool(_) if shape.fits_type(&Value::from("")) => {
                let quoted = quote(&value.to_string());
                if count_problems(shape, &Value::from(value.to_string())) == 0 {
                    format!("put it in quotes: {quoted}")
                } else {
                    format!("allowed: {}", shape.describe())
                }
            }
            Value::String(text) => match serde_json::from_str::<Value>(text) {
                Ok(bare) if count_problems(shape, &bare) == 0 => {
                    format!("write it without quotes: {bare}")
                }
                Ok(_) | Err(_) => format!("allowed: {}", shape.describe()),
            },
            Value::Number(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                format!("allowed: {}", shape.describe())
            }
        };
        self.report(On::Value, message, hint);
    }
}

/// The type that a shape wants, in a word or two.
fn describe_type(shape: &Shape) -> String {
    match shape {
        Shape::String { .. } => "a text".to_owned(),
        Shape::Media { .. } => "a path or URI".to_owned(),
        Shape::Integer { .. } => "a whole number".to_owned(),
        Shape::Number { .. } => "a number".to_owned(),
        Shape::Boolean => "true or false".to_owned(),
        Shape::Array { .. } => "a list".to_owned(),
        Shape::Object { .. } | Shape::Map { .. } => "a mapping".to_owned(),
        Shape::OneOf { variants } => {
            let mut kinds: Vec<String> = variants.iter().map(describe_type).collect();
            kinds.dedup();
            or(kinds.into_iter())
        }
        Shape::Any { .. } => "any value".to_owned(),
    }
}

/// A value in a sentence; a long one by its type only.
fn describe_value(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() <= 60 => format!("the text {}", quote(text)),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

/// The whole number that a value is; 5.0 is one, too.
fn as_whole(value: &Value) -> Option<i64> {
    if let Some(number) = value.as_i64() {
        return Some(number);
    }
    let number = value.as_f64()?;
    // Beyond 2^53 a float no longer identifies a whole number.
    let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    exact.then_some(number as i64)
}
