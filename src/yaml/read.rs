//! The one place that calls `serde_yaml`.
//!
//! `serde_yaml` keeps no places for values, but an error that a visitor raises carries the place of the value being
//! visited. So keys and values are numbered in the order in which they are read, which is the same in every reading,
//! and the place of number N is found by reading again and raising an error there.

use std::cell::RefCell;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{self, DeserializeSeed, IgnoredAny, VariantAccess as _, Visitor};
use serde_yaml::Deserializer;

use super::node::Node;
use super::problems::{self, Finding, MAX_BYTES, MAX_NODES};
use crate::diagnostic::{Diagnostic, Place};

/// The most problems that are listed one by one, since each place costs one more reading.
const MAX_LISTED: usize = 50;

/// Why a reading was stopped by this module rather than by the YAML crate.
#[derive(Clone, Copy)]
enum Stop {
    /// The key or value that was looked for is reached.
    Found,
    /// Too many values, or too much text, once aliases are followed.
    TooMuch,
}

/// One reading.
#[derive(Default)]
struct Walk {
    /// The number that the next key or value gets.
    next: usize,
    /// Stop at this number.
    target: Option<usize>,
    /// Bytes of text taken so far, aliases followed.
    bytes: usize,
    findings: Vec<(usize, Finding)>,
    stopped: Option<Stop>,
}

/// The key or value that is visited now; shared by all visitors of one reading.
#[derive(Clone, Copy)]
struct Reader<'w> {
    walk: &'w RefCell<Walk>,
}

impl Reader<'_> {
    /// Counts a key or value in and gives it its number.
    fn enter<E: de::Error>(self) -> Result<usize, E> {
        let mut walk = self.walk.borrow_mut();
        let ordinal = walk.next;
        walk.next += 1;
        if walk.target == Some(ordinal) {
            walk.stopped = Some(Stop::Found);
        } else if ordinal >= MAX_NODES {
            walk.stopped = Some(Stop::TooMuch);
        }
        match walk.stopped {
            None => Ok(ordinal),
            Some(Stop::Found | Stop::TooMuch) => Err(E::custom("reading was stopped")),
        }
    }

    /// Counts a text in. A large text behind many aliases would fill the memory, so the sum is bounded.
    fn take<E: de::Error>(self, text: &str) -> Result<String, E> {
        let mut walk = self.walk.borrow_mut();
        walk.bytes = walk.bytes.saturating_add(text.len());
        if walk.bytes > 2 * MAX_BYTES {
            walk.stopped = Some(Stop::TooMuch);
            return Err(E::custom("reading was stopped"));
        }
        Ok(text.to_owned())
    }

    fn note(self, ordinal: usize, finding: Finding) {
        self.walk.borrow_mut().findings.push((ordinal, finding));
    }

    /// Notes a tag on what is visited next.
    fn note_tag(self, tag: String) {
        let ordinal = self.walk.borrow().next;
        self.note(ordinal, Finding::Tag(tag));
    }

    fn number<E: de::Error>(self, why: &'static str) -> Result<Node, E> {
        let ordinal = self.enter()?;
        self.note(ordinal, Finding::Number(why));
        Ok(Node::Null)
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Node;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        self.enter()?;
        Ok(Node::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        self.enter()?;
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        self.enter()?;
        Ok(Node::Int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        self.enter()?;
        Ok(i64::try_from(value).map_or(Node::UInt(value), Node::Int))
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Node, E> {
        self.number("it has more digits than a number can hold here")
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Node, E> {
        self.number("it has more digits than a number can hold here")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        if value.is_finite() {
            self.enter()?;
            Ok(Node::Float(value))
        } else {
            self.number("it is infinite or not a number")
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        self.enter()?;
        Ok(Node::Str(self.take(value)?))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        self.enter()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Node::Seq(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        self.enter()?;
        let mut entries: Vec<(String, Node)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while let Some((ordinal, key)) = access.next_key_seed(KeyReader(self))? {
            let value = access.next_value_seed(self)?;
            match key {
                // What it is was noted when it was read.
                Key::NotText => {}
                Key::Text(key) if key == "<<" => self.note(ordinal, Finding::MergeKey),
                Key::Text(key) if !seen.insert(key.clone()) => {
                    self.note(ordinal, Finding::DuplicateKey(key));
                }
                Key::Text(key) => entries.push((key, value)),
            }
        }
        Ok(Node::Map(entries))
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, access: A) -> Result<Node, A::Error> {
        let (tag, content) = access.variant::<String>()?;
        self.note_tag(tag);
        content.newtype_variant_seed(self)
    }
}

/// A key as it was read.
enum Key {
    Text(String),
    NotText,
}

/// Reads a key, which gives its number with it.
#[derive(Clone, Copy)]
struct KeyReader<'w>(Reader<'w>);

impl KeyReader<'_> {
    fn not_text<E: de::Error>(self, what: &'static str) -> Result<(usize, Key), E> {
        let ordinal = self.0.enter()?;
        self.0.note(ordinal, Finding::KeyNotText(what));
        Ok((ordinal, Key::NotText))
    }
}

impl<'de> DeserializeSeed<'de> for KeyReader<'_> {
    type Value = (usize, Key);

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for KeyReader<'_> {
    type Value = (usize, Key);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        self.not_text("empty")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        self.not_text("true or false")
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        self.not_text("a number")
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        self.not_text("a number")
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Self::Value, E> {
        self.not_text("a number")
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Self::Value, E> {
        self.not_text("a number")
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        self.not_text("a number")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        let ordinal = self.0.enter()?;
        Ok((ordinal, Key::Text(self.0.take(value)?)))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let key = self.not_text("a list")?;
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(key)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let key = self.not_text("a mapping")?;
        while access.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(key)
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
        let (tag, content) = access.variant::<String>()?;
        self.0.note_tag(tag);
        content.newtype_variant_seed(self)
    }
}

/// Reads the only document of a text.
///
/// # Errors
/// All problems, in the order of the text.
pub(super) fn read(text: &str) -> Result<Node, Vec<Diagnostic>> {
    let mut documents = Deserializer::from_str(text);
    let Some(first) = documents.next() else {
        return Ok(Node::Null);
    };
    let walk = RefCell::new(Walk::default());
    let outcome = first.deserialize_any(Reader { walk: &walk });
    let walk = walk.into_inner();
    let root = match (outcome, walk.stopped) {
        (Ok(root), _) => root,
        (Err(_), Some(Stop::Found | Stop::TooMuch)) => {
            return Err(vec![problems::too_many_values()]);
        }
        (Err(error), None) => {
            let at = error
                .location()
                .map_or(0, |location| byte_of(text, &location));
            return Err(vec![problems::syntax(text, at, &error.to_string())]);
        }
    };
    let mut found: Vec<Diagnostic> = walk
        .findings
        .iter()
        .take(MAX_LISTED)
        .map(|(ordinal, finding)| {
            problems::finding(text, find_offset(text, *ordinal).unwrap_or(0), finding)
        })
        .collect();
    if let Some((ordinal, _)) = walk.findings.get(MAX_LISTED) {
        let place = Place::of(text, find_offset(text, *ordinal).unwrap_or(0));
        let more = walk.findings.len() - MAX_LISTED;
        found.push(problems::and_more(place, more));
    }
    if let Some(second) = documents.next() {
        found.push(problems::second_document(
            text,
            find_start(text, second).unwrap_or(text.len()),
        ));
    }
    if found.is_empty() {
        Ok(root)
    } else {
        found.sort_by_key(|problem| problem.place);
        Err(found)
    }
}

/// The byte where the `ordinal`-th key or value of a text's first document begins; `None` if it has fewer.
pub(super) fn find_offset(text: &str, ordinal: usize) -> Option<usize> {
    let document = Deserializer::from_str(text).next()?;
    let walk = RefCell::new(Walk {
        target: Some(ordinal),
        ..Walk::default()
    });
    let error = document.deserialize_any(Reader { walk: &walk }).err()?;
    match walk.into_inner().stopped {
        Some(Stop::Found) => Some(byte_of(text, &error.location()?)),
        Some(Stop::TooMuch) | None => None,
    }
}

/// The byte where a document's first value begins.
fn find_start(text: &str, document: Deserializer<'_>) -> Option<usize> {
    let walk = RefCell::new(Walk {
        target: Some(0),
        ..Walk::default()
    });
    let error = document.deserialize_any(Reader { walk: &walk }).err()?;
    Some(byte_of(text, &error.location()?))
}

/// The byte of a location. The location's own line and column are not used, since YAML counts lines differently from
/// editors.
fn byte_of(text: &str, location: &serde_yaml::Location) -> usize {
    text.floor_char_boundary(location.index())
}
