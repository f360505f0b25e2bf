//! Typed values out of a YAML document, with all problems and their places.
//!
//! A mapping is read by asking for its keys. Those that nobody asked for are reported as unknown, so that a key is named
//! in one place only.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::units::{parse_duration, parse_size, show_duration};
use crate::catalogue::nearest;
use crate::diagnostic::Diagnostic;
use crate::json::Step;
use crate::yaml::{Document, Node};

/// The most problems that are listed one by one.
const MAX_LISTED: usize = 100;

/// A document that is being read, and the problems found so far.
pub(super) struct Reader<'d> {
    document: &'d Arc<Document>,
    /// The folder that relative paths start from.
    base: &'d Path,
    problems: Vec<Diagnostic>,
    /// Problems that were not listed.
    more: usize,
}

impl<'d> Reader<'d> {
    pub(super) fn new(document: &'d Arc<Document>, base: &'d Path) -> Reader<'d> {
        Reader {
            document,
            base,
            problems: Vec::new(),
            more: 0,
        }
    }

    /// All problems in the order of the text, those without a place last.
    pub(super) fn finish(self) -> Vec<Diagnostic> {
        let mut problems = self.problems;
        problems.sort_by_key(|problem| (problem.place.is_none(), problem.place));
        if self.more > 0 {
            problems.push(Diagnostic::new(
                format!("there are {} more problems", self.more),
                "fix those that are listed, then check again",
            ));
        }
        problems
    }

    fn report(&mut self, problem: impl FnOnce(&Document) -> Diagnostic) {
        if self.problems.len() < MAX_LISTED {
            self.problems.push(problem(self.document));
        } else {
            self.more += 1;
        }
    }

    fn report_value(&mut self, path: &[Step], problem: Diagnostic) {
        self.report(|document| problem.at(document.place_of_value(path)));
    }

    /// Reads the document's root.
    pub(super) fn root<T>(&mut self, read: impl FnOnce(&mut Section<'_, 'd>) -> T) -> T {
        let root = self.document.root();
        self.mapping("the configuration", Vec::new(), Some(root), read)
    }

    /// Reads a value as a mapping. One that is absent is empty.
    fn mapping<T>(
        &mut self,
        name: &str,
        path: Vec<Step>,
        node: Option<&'d Node>,
        read: impl FnOnce(&mut Section<'_, 'd>) -> T,
    ) -> T {
        let entries = match node {
            Some(Node::Map(entries)) => entries.as_slice(),
            Some(_) | None => &[],
        };
        let mut section = Section {
            reader: self,
            path,
            entries,
            is_mapping: matches!(node, Some(Node::Map(_))),
            known: Vec::new(),
        };
        let value = read(&mut section);
        section.report_unknown(name, node);
        value
    }
}

/// A mapping of the configuration.
pub(super) struct Section<'r, 'd> {
    reader: &'r mut Reader<'d>,
    path: Vec<Step>,
    entries: &'d [(String, Node)],
    is_mapping: bool,
    /// The keys that were asked for.
    known: Vec<&'static str>,
}

impl<'d> Section<'_, 'd> {
    /// The path of the mapping in the document.
    pub(super) fn path(&self) -> &[Step] {
        &self.path
    }

    /// The path of one of its keys.
    pub(super) fn path_of(&self, key: &str) -> Vec<Step> {
        let mut path = self.path.clone();
        path.push(Step::Key(key.to_owned()));
        path
    }

    pub(super) fn document(&self) -> &Arc<Document> {
        self.reader.document
    }

    /// The folder that relative paths start from.
    pub(super) fn base(&self) -> &'d Path {
        self.reader.base
    }

    /// Whether it is a mapping at all; that it is not has been reported.
    pub(super) fn is_mapping(&self) -> bool {
        self.is_mapping
    }

    /// Whether a key is written.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn get(&self, key: &str) -> Option<&'d Node> {
        let found = self.entries.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value)
    }

    /// The value of a key, whatever it is.
    pub(super) fn node(&mut self, key: &'static str) -> Option<&'d Node> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.get(key)
    }

    /// Reports a problem with the value of a key.
    pub(super) fn report(
        &mut self,
        key: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let path = self.path_of(key);
        self.reader
            .report_value(&path, Diagnostic::new(message, hint));
    }

    /// Reports a problem with the value at the end of a path from the document's root.
    pub(super) fn report_at(&mut self, path: &[Step], problem: Diagnostic) {
        self.reader.report_value(path, problem);
    }

    /// Reports that something is missing in the mapping.
    pub(super) fn report_missing(&mut self, message: &str, hint: &str) {
        let problem = Diagnostic::new(message, hint);
        self.reader.report_value(&self.path, problem);
    }

    /// Reports a problem that is not in the file.
    pub(super) fn report_outside(&mut self, problem: Diagnostic) {
        self.reader.report(|_| problem);
    }

    /// The value of a key; `None` where it is absent, or wrong, which is reported.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Node) -> Result<T, Diagnostic>,
    ) -> Option<T> {
        let parsed = match self.node(key)? {
            Node::Null => Err(Diagnostic::new(
                "has no value",
                "write one, or delete the line to get the default",
            )),
            node => parse(node),
        };
        match parsed {
            Ok(value) => Some(value),
            Err(problem) => {
                let path = self.path_of(key);
                self.reader
                    .report_value(&path, problem.with_subject(&format!("`{key}`")));
                None
            }
        }
    }

    /// A path, made absolute, with `.` and `..` taken out.
    pub(super) fn take_path(&mut self, key: &'static str) -> Option<PathBuf> {
        let base = self.reader.base;
        self.take(key, |node| {
            let text = text(node)?;
            if text == "~" || text.starts_with("~/") || text.starts_with('$') {
                return Err(Diagnostic::new(
                    format!("is `{text}`, and neither `~` nor variables mean anything here"),
                    "write the whole path, or one relative to the configuration's folder",
                ));
            }
            Ok(normalize(&base.join(text)))
        })
    }

    /// The values of a list, each called `what` in problems. Those that are wrong are reported and left out.
    pub(super) fn take_list<T>(
        &mut self,
        key: &'static str,
        what: &str,
        parse: impl Fn(&Node) -> Result<T, Diagnostic>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for (path, node) in self.items(key) {
            match parse(node) {
                Ok(value) => values.push(value),
                Err(problem) => self.reader.report_value(&path, problem.with_subject(what)),
            }
        }
        values
    }

    /// Reads the mapping below a key. One that is absent or has nothing in it is empty.
    pub(super) fn section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_, 'd>) -> T,
    ) -> T {
        let node = self.node(key).filter(|node| **node != Node::Null);
        let path = self.path_of(key);
        self.reader.mapping(&format!("`{key}`"), path, node, read)
    }

    /// Reads a list of mappings, each called `name` in problems.
    pub(super) fn sections<T>(
        &mut self,
        key: &'static str,
        name: &str,
        mut read: impl FnMut(&mut Section<'_, 'd>) -> T,
    ) -> Vec<T> {
        let items = self.items(key);
        items
            .into_iter()
            .map(|(path, node)| self.reader.mapping(name, path, Some(node), &mut read))
            .collect()
    }

    /// The items of a list below a key, each with its path.
    fn items(&mut self, key: &'static str) -> Vec<(Vec<Step>, &'d Node)> {
        let path = self.path_of(key);
        match self.node(key) {
            None | Some(Node::Null) => Vec::new(),
            Some(Node::Seq(items)) => items
                .iter()
                .enumerate()
                .map(|(index, node)| {
                    let mut path = path.clone();
                    path.push(Step::Index(index));
                    (path, node)
                })
                .collect(),
            Some(node) => {
                let hint = "begin each item with `- ` on a line of its own";
                let problem = wrong_type(node, "a list", hint).with_subject(&format!("`{key}`"));
                self.reader.report_value(&path, problem);
                Vec::new()
            }
        }
    }

    /// Reports the keys that nobody asked for, and a value that is not a mapping.
    fn report_unknown(self, name: &str, node: Option<&Node>) {
        let known = quote_all(&self.known);
        if let (false, Some(node)) = (self.is_mapping, node) {
            let hint = format!("write `key: value` lines; known keys: {known}");
            let problem = wrong_type(node, "a mapping", hint).with_subject(name);
            self.reader.report_value(&self.path, problem);
        }
        for (key, _) in self.entries {
            if self.known.contains(&key.as_str()) {
                continue;
            }
            let hint = match nearest(key, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`? Known keys here: {known}"),
                None => format!("known keys here: {known}"),
            };
            let path = self.path_of(key);
            self.reader.report(|document| {
                Diagnostic::new(format!("unknown key `{key}`"), hint)
                    .at(document.place_of_key(&path))
            });
        }
    }
}

/// A value of another type than `expected`.
pub(super) fn wrong_type(node: &Node, expected: &str, hint: impl Into<String>) -> Diagnostic {
    let message = format!("is {}, and must be {expected}", node.describe());
    Diagnostic::new(message, hint)
}

fn quote_all(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

/// A text that is not empty and has no control characters.
pub(super) fn text(node: &Node) -> Result<&str, Diagnostic> {
    let Node::Str(text) = node else {
        let hint = "put it between double quotes if it is meant as a text";
        return Err(wrong_type(node, "a text", hint));
    };
    if text.trim().is_empty() {
        Err(Diagnostic::new(
            "is empty",
            "write a value, or delete the line to get the default",
        ))
    } else if text.contains(char::is_control) {
        Err(Diagnostic::new(
            "contains a line end or a control character",
            "write it on one line",
        ))
    } else {
        Ok(text)
    }
}

pub(super) fn boolean(node: &Node) -> Result<bool, Diagnostic> {
    let Node::Bool(value) = node else {
        return Err(wrong_type(node, "true or false", "write `true` or `false`"));
    };
    Ok(*value)
}

/// One of several words.
pub(super) fn choice<T: Copy>(words: &[(&str, T)]) -> impl Fn(&Node) -> Result<T, Diagnostic> {
    move |node| {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let one_of = format!("write one of {}", quote_all(&names));
        let Node::Str(text) = node else {
            return Err(wrong_type(node, "a word", one_of));
        };
        let found = words.iter().find(|(name, _)| name == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let hint = match nearest(text, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`? Otherwise {one_of}"),
                None => one_of,
            };
            Diagnostic::new(format!("cannot be `{text}`"), hint)
        })
    }
}

/// A duration of at least `floor`.
pub(super) fn duration(floor: Duration) -> impl Fn(&Node) -> Result<Duration, Diagnostic> {
    move |node| {
        const HINT: &str =
            "write a whole number with a unit: `250ms`, `5s`, `2m`, `1h`, at most `365d`";
        match node {
            Node::Int(_) | Node::UInt(_) | Node::Float(_) => Err(Diagnostic::new(
                "is a number without a unit, and must be a duration",
                HINT,
            )),
            Node::Str(text) => match parse_duration(text) {
                Some(duration) if duration >= floor => Ok(duration),
                Some(_) => Err(Diagnostic::new(
                    format!("is too short: `{text}`"),
                    format!("write `{}` or more", show_duration(floor)),
                )),
                None => Err(Diagnostic::new(
                    format!("is not a duration: `{text}`"),
                    HINT,
                )),
            },
            Node::Null | Node::Bool(_) | Node::Seq(_) | Node::Map(_) => {
                Err(wrong_type(node, "a duration", HINT))
            }
        }
    }
}

/// `auto`, which is `None`, or something else.
pub(super) fn or_auto<T>(
    parse: impl Fn(&Node) -> Result<T, Diagnostic>,
) -> impl Fn(&Node) -> Result<Option<T>, Diagnostic> {
    move |node| {
        if *node == Node::Str("auto".to_owned()) {
            return Ok(None);
        }
        parse(node).map(Some).map_err(|problem| Diagnostic {
            hint: format!("{}, or `auto`", problem.hint),
            ..problem
        })
    }
}

/// A size in bytes, more than 0.
pub(super) fn size(node: &Node) -> Result<u64, Diagnostic> {
    const HINT: &str = "write a whole number with a unit: `64MB`, `200MiB`, `1GB`";
    let bytes = match node {
        Node::Str(text) => parse_size(text)
            .ok_or_else(|| Diagnostic::new(format!("is not a size: `{text}`"), HINT))?,
        Node::Int(bytes) => {
            u64::try_from(*bytes).map_err(|_| Diagnostic::new("is less than 0", HINT))?
        }
        Node::UInt(bytes) => *bytes,
        Node::Null | Node::Bool(_) | Node::Float(_) | Node::Seq(_) | Node::Map(_) => {
            return Err(wrong_type(node, "a size", HINT));
        }
    };
    if bytes == 0 {
        return Err(Diagnostic::new("would let nothing through", HINT));
    }
    Ok(bytes)
}

/// A number of credits, 0 or more.
pub(super) fn credits(node: &Node) -> Result<f64, Diagnostic> {
    const HINT: &str = "write a number such as `500`, or delete the line for no limit";
    let credits = match node {
        // Credits beyond 2^53 do not exist, so that nothing is lost.
        #[allow(clippy::cast_precision_loss)]
        Node::Int(credits) => *credits as f64,
        #[allow(clippy::cast_precision_loss)]
        Node::UInt(credits) => *credits as f64,
        Node::Float(credits) => *credits,
        Node::Null | Node::Bool(_) | Node::Str(_) | Node::Seq(_) | Node::Map(_) => {
            return Err(wrong_type(node, "a number of credits", HINT));
        }
    };
    if credits < 0.0 {
        return Err(Diagnostic::new("is less than 0", HINT));
    }
    Ok(credits)
}

/// An absolute path without `.` and `..`.
pub(super) fn normalize(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => normal.push(part),
        }
    }
    normal
}
