//! Text that YAML silently takes for a comment.
//!
//! In `prompt: a cat #cinematic` the value is `a cat`, and `prompt: #cinematic cat` has no value at all. Both are
//! legal, and neither is what the person meant, who pays for a generation without the word. The YAML crate drops
//! comments, so they are looked for in the text, from the place where the value begins to the place where it ends.

use super::document::Document;
use super::node::Node;
use crate::diagnostic::Place;
use crate::json::Step;

/// A text that continues in what YAML takes for a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutShort {
    /// The path of the value.
    pub path: Vec<Step>,
    /// Where the lost part begins: the place of its `#`.
    pub place: Place,
    /// What is lost, from the `#` to the end of the line.
    pub lost: String,
}

/// The most texts that are checked, since each costs two more readings. A sidecar has a handful.
const MAX_CHECKS: usize = 200;

/// The most findings that are reported; more would not help.
const MAX_FINDINGS: usize = 20;

impl Document {
    /// Values that YAML cuts short, in the order of the text.
    ///
    /// `is_text` says for which paths a value is text that people write freely; a comment after a number or a ratio
    /// is a comment. Only texts without quotes are checked, and values that are missing because the comment begins
    /// right after the key. Reported are: whatever follows ` #` on the last line of the text; and a `#` directly
    /// followed by a letter or digit, like a hashtag, between the key and its text, or alone on the next line and
    /// indented like a part of the text. Text in quotes or blocks (`|`, `>`) is never reported. At most 20 are.
    pub fn cut_short(&self, is_text: &dyn Fn(&[Step]) -> bool) -> Vec<CutShort> {
        let mut search = Search {
            document: self,
            is_text,
            path: Vec::new(),
            next: 0,
            checks: 0,
            found: Vec::new(),
        };
        if self.text.contains('#') {
            search.visit(&self.root);
        }
        search.found
    }
}

/// A walk through the values, with their numbers.
struct Search<'a> {
    document: &'a Document,
    is_text: &'a dyn Fn(&[Step]) -> bool,
    path: Vec<Step>,
    /// The number of the key or value that comes next; see [`super::read`].
    next: usize,
    checks: usize,
    found: Vec<CutShort>,
}

impl Search<'_> {
    fn visit(&mut self, node: &Node) {
        let ordinal = self.next;
        self.next += 1;
        match node {
            Node::Null => self.check(ordinal, ""),
            Node::Str(value) => self.check(ordinal, value),
            Node::Bool(_) | Node::Int(_) | Node::UInt(_) | Node::Float(_) => {}
            Node::Seq(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.path.push(Step::Index(index));
                    self.visit(item);
                    self.path.pop();
                }
            }
            Node::Map(entries) => {
                for (key, value) in entries {
                    self.next += 1;
                    self.path.push(Step::Key(key.clone()));
                    self.visit(value);
                    self.path.pop();
                }
            }
        }
    }

    /// Checks one text, or a value that is missing.
    fn check(&mut self, ordinal: usize, value: &str) {
        if self.found.len() >= MAX_FINDINGS
            || self.checks >= MAX_CHECKS
            || !(self.is_text)(&self.path)
        {
            return;
        }
        self.checks += 1;
        let text = self.document.text.as_str();
        let Some(at) = self.document.offset(ordinal) else {
            return;
        };
        let Some((begin, end)) = find_extent(text, at, value) else {
            return;
        };
        // A key is read just before its value.
        let key = match self.path.last() {
            Some(Step::Key(name)) => ordinal
                .checked_sub(1)
                .and_then(|key| self.document.offset(key))
                .map(|key| (key, name.as_str())),
            Some(Step::Index(_)) | None => None,
        };
        let lost = key
            .and_then(|(key, name)| find_before(text, key + name.len(), begin))
            .or_else(|| find_after(text, end))
            .or_else(|| key.and_then(|(key, _)| find_below(text, key, end)));
        let Some(at) = lost else { return };
        let lost = rest_of_line(text, at).trim_end().to_owned();
        let finding = CutShort {
            path: self.path.clone(),
            place: Place::of(text, at),
            lost,
        };
        // A value that several aliases repeat is one text.
        if self.found.iter().all(|other| other.place != finding.place) {
            self.found.push(finding);
        }
    }
}

/// The rest of the line from a byte on, without its end.
fn rest_of_line(text: &str, at: usize) -> &str {
    let rest = text.get(at..).unwrap_or("");
    rest.split(['\n', '\r']).next().unwrap_or("")
}

/// Where an unquoted text begins and ends, in bytes; `None` if it is quoted, a block, or a written-out null.
///
/// YAML folds the white space of an unquoted text and changes nothing else, so the text ends where all its other
/// characters have been seen.
fn find_extent(text: &str, at: usize, value: &str) -> Option<(usize, usize)> {
    let mut begin = at;
    // An anchor or a standard tag may precede the value.
    while text.get(begin..)?.starts_with(['&', '!']) {
        let rest = text.get(begin..)?;
        let property = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let after = rest.get(property..)?;
        if value.is_empty() {
            begin += property;
        } else {
            begin += property + (after.len() - after.trim_start().len());
        }
    }
    let mut source = text
        .get(begin..)?
        .char_indices()
        .filter(|(_, character)| !character.is_whitespace());
    let mut end = begin;
    for expected in value.chars().filter(|character| !character.is_whitespace()) {
        let (offset, character) = source.next()?;
        if character != expected {
            return None;
        }
        end = begin + offset + character.len_utf8();
    }
    if value.is_empty()
        && !matches!(
            text.get(begin..)?.chars().next(),
            None | Some(' ' | '\t' | '\n' | '\r' | ',' | '}' | ']')
        )
    {
        // `~`, `null` or an empty text in quotes is written on purpose.
        return None;
    }
    Some((begin, end))
}

/// Whether a comment looks like a word of the text: `#cinematic`, and not `# the prompt`.
fn is_hashtag(comment: &str) -> bool {
    comment
        .strip_prefix('#')
        .and_then(|rest| rest.chars().next())
        .is_some_and(char::is_alphanumeric)
}

/// A hashtag between a key and its text.
fn find_before(text: &str, from: usize, to: usize) -> Option<usize> {
    let between = text.get(from..to)?;
    between
        .match_indices('#')
        .map(|(offset, _)| from + offset)
        .find(|at| {
            text.get(..*at)
                .is_some_and(|head| head.ends_with([' ', '\t']))
                && is_hashtag(rest_of_line(text, *at))
        })
}

/// A comment on the line where a text ends.
fn find_after(text: &str, end: usize) -> Option<usize> {
    let rest = rest_of_line(text, end);
    let comment = rest.trim_start_matches([' ', '\t']);
    (comment.starts_with('#') && comment.len() < rest.len())
        .then(|| end + rest.len() - comment.len())
}

/// A hashtag alone on the next line that is not blank, indented more than the key.
fn find_below(text: &str, key: usize, end: usize) -> Option<usize> {
    if !rest_of_line(text, end).trim().is_empty() {
        return None;
    }
    let rest = text.get(end..)?;
    let comment = rest.trim_start();
    let at = end + rest.len() - comment.len();
    (Place::of(text, at).column > Place::of(text, key).column
        && Place::of(text, at).line > Place::of(text, end).line
        && is_hashtag(comment))
    .then_some(at)
}
