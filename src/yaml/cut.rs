//! Text that YAML takes for a comment without a word.
//!
//! In `prompt: a cat #cinematic` the value is `a cat`, and `prompt: #cinematic cat` has no value at all. Both are
//! legal, and neither is what the person meant, who pays for a generation without the word. The YAML crate drops
//! comments, so they are looked for in the text, from the place where the value begins to the place where it ends.

use crate::json::Step;

use super::{Document, Node, Place};

/// A text that goes on in what YAML takes for a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutShort {
    /// The way to the value.
    pub path: Vec<Step>,
    /// Where the lost part begins: the place of its `#`.
    pub place: Place,
    /// What is lost, from the `#` to the end of the line.
    pub lost: String,
}

/// The most texts that are looked at, since each costs two more readings. A sidecar has a handful.
const MAX_LOOKS: usize = 200;

/// The most findings that are reported; whoever has more has understood after these.
const MAX_FINDINGS: usize = 20;

impl Document {
    /// Values that YAML cuts short, in the order of the text.
    ///
    /// `is_text` tells for which paths a value is text that people write freely; a comment after a number or a ratio
    /// is a comment. Looked at are texts without quotes, and values that are not there because the comment begins
    /// right after the key. Reported are: whatever follows ` #` on the last line of the text; and a `#` with a letter
    /// or digit right behind it, like a hashtag, between the key and its text, or alone on the next line and indented
    /// like a part of the text. Text in quotes or blocks (`|`, `>`) is never reported. At most 20 are.
    pub fn cut_short(&self, is_text: &dyn Fn(&[Step]) -> bool) -> Vec<CutShort> {
        let mut search = Search {
            document: self,
            is_text,
            path: Vec::new(),
            next: 0,
            looks: 0,
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
    looks: usize,
    found: Vec<CutShort>,
}

impl Search<'_> {
    fn visit(&mut self, node: &Node) {
        let ordinal = self.next;
        self.next += 1;
        match node {
            Node::Null => self.look(ordinal, ""),
            Node::Str(value) => self.look(ordinal, value),
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

    /// Looks at one text, or at a value that is not there.
    fn look(&mut self, ordinal: usize, value: &str) {
        if self.found.len() >= MAX_FINDINGS
            || self.looks >= MAX_LOOKS
            || !(self.is_text)(&self.path)
        {
            return;
        }
        self.looks += 1;
        let text = self.document.text.as_str();
        let Some(at) = self.document.offset(ordinal) else {
            return;
        };
        let Some((begin, end)) = extent(text, at, value) else {
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
            .and_then(|(key, name)| before(text, key + name.len(), begin))
            .or_else(|| after(text, end))
            .or_else(|| key.and_then(|(key, _)| below(text, key, end)));
        let Some(at) = lost else { return };
        let lost = line(text, at).trim_end().to_owned();
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
fn line(text: &str, at: usize) -> &str {
    let rest = text.get(at..).unwrap_or("");
    rest.split(['\n', '\r']).next().unwrap_or("")
}

/// Where an unquoted text begins and ends, in bytes; nothing if it is quoted, a block, or a written-out null.
///
/// YAML folds the white space of an unquoted text and changes nothing else, so the text ends where all its other
/// characters have been seen.
fn extent(text: &str, at: usize, value: &str) -> Option<(usize, usize)> {
    let mut begin = at;
    // An anchor or a standard tag may stand before the value.
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
        // `~`, `null` or an empty text in quotes: somebody wrote that on purpose.
        return None;
    }
    Some((begin, end))
}

/// Whether a comment looks like a word of the text: `#cinematic`, and not `# the prompt`.
fn hashtag(comment: &str) -> bool {
    comment
        .strip_prefix('#')
        .and_then(|rest| rest.chars().next())
        .is_some_and(char::is_alphanumeric)
}

/// A hashtag between a key and its text.
fn before(text: &str, from: usize, to: usize) -> Option<usize> {
    let between = text.get(from..to)?;
    between
        .match_indices('#')
        .map(|(offset, _)| from + offset)
        .find(|at| {
            text.get(..*at)
                .is_some_and(|head| head.ends_with([' ', '\t']))
                && hashtag(line(text, *at))
        })
}

/// A comment on the line where a text ends.
fn after(text: &str, end: usize) -> Option<usize> {
    let rest = line(text, end);
    let comment = rest.trim_start_matches([' ', '\t']);
    (comment.starts_with('#') && comment.len() < rest.len())
        .then(|| end + rest.len() - comment.len())
}

/// A hashtag alone on the next line that is not blank, indented more than the key.
fn below(text: &str, key: usize, end: usize) -> Option<usize> {
    if !line(text, end).trim().is_empty() {
        return None;
    }
    let rest = text.get(end..)?;
    let comment = rest.trim_start();
    let at = end + rest.len() - comment.len();
    (Place::of(text, at).column > Place::of(text, key).column
        && Place::of(text, at).line > Place::of(text, end).line
        && hashtag(comment))
    .then_some(at)
}
