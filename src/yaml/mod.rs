//! YAML with places: text in, a tree of values out, and for each value the line and column where it stands.
//!
//! This is the only module that knows which crate reads YAML. The rest of the program sees [`Document`], [`Node`],
//! [`Place`] and [`YamlProblem`], so that the crate can be replaced in one spot.
//!
//! What a person writes by hand is read strictly, since a misread sidecar costs credits: a key that stands twice, a
//! key that is no text, tags, merge keys, a second document and numbers that JSON cannot hold are problems and not
//! surprises. All problems that leave the text readable are reported together. [`Document::cut_short`] finds text
//! that YAML takes for a comment without a word.

mod cut;
mod read;
mod words;
mod write;

pub use cut::CutShort;
pub use write::{WriteError, to_json, to_yaml};

use crate::json::Step;

/// The largest text that is read at all, in bytes (256 KiB). A sidecar or a configuration is a page or two; anything
/// larger is some other file.
pub const MAX_BYTES: usize = 256 * 1024;

/// The most keys and values that one document may hold once its aliases are followed.
pub const MAX_NODES: usize = 10_000;

/// A place in a text, as editors count it: lines and columns begin at 1, and a column is one character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The character within the line, from 1.
    pub column: usize,
}

impl Place {
    /// The beginning of a file: where a problem of the whole file is reported.
    pub const START: Place = Place { line: 1, column: 1 };

    /// The place of the byte at `at`. Lines end with LF, CRLF or a lone CR, as in editors; the Unicode line
    /// separators, which YAML counts too, do not end one.
    fn of(text: &str, at: usize) -> Place {
        let mut place = Place::START;
        let mut after_return = false;
        for (index, character) in text.char_indices() {
            if index >= at {
                break;
            }
            match character {
                '\n' if after_return => {}
                '\n' | '\r' => {
                    place.line += 1;
                    place.column = 1;
                }
                _ => place.column += 1,
            }
            after_return = character == '\r';
        }
        place
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value as YAML means it.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number above the range of [`Node::Int`].
    UInt(u64),
    /// A number with a fraction; always finite.
    Float(f64),
    /// A text.
    Str(String),
    /// A list.
    Seq(Vec<Node>),
    /// A mapping, in the order of the text; no key stands twice.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// What this is, for people: "a text", "a list".
    pub fn describe(&self) -> &'static str {
        match self {
            Node::Null => "nothing",
            Node::Bool(_) => "true or false",
            Node::Int(_) | Node::UInt(_) => "a whole number",
            Node::Float(_) => "a number",
            Node::Str(_) => "a text",
            Node::Seq(_) => "a list",
            Node::Map(_) => "a mapping",
        }
    }

    /// The value below a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match self {
            Node::Map(entries) => entries
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value),
            Node::Null
            | Node::Bool(_)
            | Node::Int(_)
            | Node::UInt(_)
            | Node::Float(_)
            | Node::Str(_)
            | Node::Seq(_) => None,
        }
    }

    /// How many keys and values this is made of, itself included: the number of steps that a reader takes through it.
    fn size(&self) -> usize {
        match self {
            Node::Null
            | Node::Bool(_)
            | Node::Int(_)
            | Node::UInt(_)
            | Node::Float(_)
            | Node::Str(_) => 1,
            Node::Seq(items) => 1 + items.iter().map(Node::size).sum::<usize>(),
            Node::Map(entries) => {
                1 + entries
                    .iter()
                    .map(|(_, value)| 1 + value.size())
                    .sum::<usize>()
            }
        }
    }
}

/// What sort of problem a text has, for callers that word some of them themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// Nothing in it but comments and blank lines, or `null`.
    Empty,
    /// More bytes than [`MAX_BYTES`], more values than [`MAX_NODES`] once aliases are followed, or hundreds of open
    /// brackets.
    TooLarge,
    /// Not UTF-8.
    NotUtf8,
    /// A character that YAML does not allow in a text.
    ControlCharacter,
    /// Not YAML.
    Syntax,
    /// A second document after `---`.
    SecondDocument,
    /// A key that stands twice in one mapping.
    DuplicateKey,
    /// A key that is a number, a list or anything else but a text.
    KeyNotText,
    /// `<<`.
    MergeKey,
    /// `!something`.
    Tag,
    /// A number too large for JSON, infinite, or not a number.
    Number,
}

/// Something wrong with a text: what, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlProblem {
    /// The sort.
    pub kind: ProblemKind,
    /// Where it is.
    pub place: Place,
    /// What is wrong, in plain words.
    pub what: String,
    /// What the person can do now.
    pub hint: String,
}

impl std::fmt::Display for YamlProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}\n  {}", self.place, self.what, self.hint)
    }
}

/// A text that was read, with its values and their places.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    text: String,
    root: Node,
}

/// Reads one YAML document from bytes as they lie on disk. A byte order mark is passed over.
///
/// # Errors
/// As [`parse`], and [`ProblemKind::NotUtf8`] with the place of the first byte that is not.
pub fn parse_bytes(bytes: &[u8]) -> Result<Document, Vec<YamlProblem>> {
    if bytes.len() > MAX_BYTES {
        return Err(vec![words::too_large(bytes.len())]);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(error) => {
            let (readable, _) = bytes.split_at(error.valid_up_to());
            let readable = String::from_utf8_lossy(readable);
            Err(vec![words::not_utf8(
                Place::of(&readable, readable.len()),
                bytes,
            )])
        }
    }
}

/// Reads one YAML document.
///
/// # Errors
/// Every problem that can be found in one reading, in the order of the text, never an empty list. A text that is not
/// YAML at all gives the first problem only, since nothing after it can be trusted.
pub fn parse(text: &str) -> Result<Document, Vec<YamlProblem>> {
    if text.len() > MAX_BYTES {
        return Err(vec![words::too_large(text.len())]);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(problem) = words::control_character(text).or_else(|| words::nested_too_deeply(text))
    {
        return Err(vec![problem]);
    }
    let root = read::read(text)?;
    if root == Node::Null {
        return Err(vec![words::empty()]);
    }
    Ok(Document {
        text: text.to_owned(),
        root,
    })
}

impl Document {
    /// The text, without a byte order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole of it.
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

    /// Where the value at the end of a path begins; nothing if there is no such value. A value that comes from an
    /// alias is where its anchor is. Reads the text once more, so it is for problems and not for every value.
    pub fn place_of_value(&self, path: &[Step]) -> Option<Place> {
        let at = self.offset(self.ordinal(path)?)?;
        Some(Place::of(&self.text, at))
    }

    /// Where the last key of a path stands, or the value itself where the last step is a list's index or the path is
    /// empty; nothing if there is no such value. Costs what [`Document::place_of_value`] costs.
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
    fn offset(&self, ordinal: usize) -> Option<usize> {
        read::offset(&self.text, ordinal)
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

#[cfg(test)]
mod tests;
