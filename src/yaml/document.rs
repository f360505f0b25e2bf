//! A document: a text, its values, and the place of each.

use super::node::Node;
use super::problems::{self, MAX_BYTES};
use super::read;
use crate::diagnostic::{Diagnostic, Place};
use crate::json::Step;

/// A text that was read, with its values and their places.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub(super) text: String,
    pub(super) root: Node,
}

/// Reads one YAML document from the bytes of a file. A byte order mark is skipped.
///
/// # Errors
/// As [`parse`], and bytes that are not UTF-8.
pub fn parse_bytes(bytes: &[u8]) -> Result<Document, Vec<Diagnostic>> {
    if bytes.len() > MAX_BYTES {
        return Err(vec![problems::too_large(bytes.len())]);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(error) => {
            let (readable, _) = bytes.split_at(error.valid_up_to());
            let readable = String::from_utf8_lossy(readable);
            Err(vec![problems::not_utf8(
                Place::of(&readable, readable.len()),
                bytes,
            )])
        }
    }
}

/// Reads one YAML document. The root of a text with nothing but comments is [`Node::Null`].
///
/// # Errors
/// Every problem that can be found in one reading, in the order of the text, never an empty list. A text that is not
/// YAML at all gives the first problem only, since nothing after it can be trusted.
pub fn parse(text: &str) -> Result<Document, Vec<Diagnostic>> {
    if text.len() > MAX_BYTES {
        return Err(vec![problems::too_large(text.len())]);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(problem) =
        problems::control_character(text).or_else(|| problems::nested_too_deeply(text))
    {
        return Err(vec![problem]);
    }
    let root = read::read(text)?;
    Ok(Document {
        text: text.to_owned(),
        root,
    })
}

impl Document {
    /// The value of the whole text.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The value at the end of a path.
    pub fn get(&self, path: &[Step]) -> Option<&Node> {
        path.iter()
            .try_fold(&self.root, |node, step| match (node, step) {
                (Node::Map(_), Step::Key(key)) => node.get(key),
                (Node::Seq(items), Step::Index(index)) => items.get(*index),
                (
                    Node::Null
                    | Node::Bool(_)
                    | Node::Int(_)
                    | Node::UInt(_)
                    | Node::Float(_)
                    | Node::Str(_)
                    | Node::Seq(_)
                    | Node::Map(_),
                    Step::Key(_) | Step::Index(_),
                ) => None,
            })
    }

    /// Where the value at the end of a path begins; `None` if there is no such value. A value that comes from an
    /// alias is where its anchor is. Reads the text once more, so it is for problems and not for every value.
    pub fn place_of_value(&self, path: &[Step]) -> Option<Place> {
        let at = self.offset(self.ordinal(path)?)?;
        Some(Place::of(&self.text, at))
    }

    /// Where the last key of a path is, or the value itself where the last step is a list's index or the path is
    /// empty; `None` if there is no such value. Costs what [`Document::place_of_value`] costs.
    pub fn place_of_key(&self, path: &[Step]) -> Option<Place> {
        let value = self.ordinal(path)?;
        let ordinal = match path.last() {
            // A key is read just before its value.
            Some(Step::Key(_)) => value.checked_sub(1)?,
            Some(Step::Index(_)) | None => value,
        };
        Some(Place::of(&self.text, self.offset(ordinal)?))
    }

    /// The byte where the `ordinal`-th key or value begins.
    pub(super) fn offset(&self, ordinal: usize) -> Option<usize> {
        read::find_offset(&self.text, ordinal)
    }

    /// The number of the value at the end of a path, in the order in which keys and values are read.
    fn ordinal(&self, path: &[Step]) -> Option<usize> {
        let mut ordinal = 0;
        let mut node = &self.root;
        for step in path {
            ordinal += 1;
            match (node, step) {
                (Node::Map(entries), Step::Key(key)) => {
                    let index = entries.iter().position(|(name, _)| name == key)?;
                    let (before, from) = entries.split_at(index);
                    ordinal += before
                        .iter()
                        .map(|(_, value)| 1 + value.size())
                        .sum::<usize>()
                        + 1;
                    node = from.first().map(|(_, value)| value)?;
                }
                (Node::Seq(items), Step::Index(index)) => {
                    node = items.get(*index)?;
                    ordinal += items.iter().take(*index).map(Node::size).sum::<usize>();
                }
                (
                    Node::Null
                    | Node::Bool(_)
                    | Node::Int(_)
                    | Node::UInt(_)
                    | Node::Float(_)
                    | Node::Str(_)
                    | Node::Seq(_)
                    | Node::Map(_),
                    Step::Key(_) | Step::Index(_),
                ) => return None,
            }
        }
        Some(ordinal)
    }
}
