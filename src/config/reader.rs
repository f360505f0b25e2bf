//! Typed values out of a YAML document, with all problems and their places.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::error::Problem;
use super::units::{parse_duration, parse_size};
use crate::catalogue::nearest;
use crate::json::Step;
use crate::yaml::{Document, Node};

/// The most problems that are listed one by one.
const MAX_LISTED: usize = 100;

/// Why a value cannot be taken: what it is instead, after the key's name, and what to write.
#[derive(Debug)]
pub(super) struct Wrong {
    pub what: String,
    pub hint: String,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>, hint: impl Into<String>) -> Wrong {
        Wrong {
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// A value of another type than `expected`.
    fn kind(node: &Node, expected: &str, hint: impl Into<String>) -> Wrong {
        Wrong::new(
            format!("is {}, and must be {expected}", node.describe()),
            hint,
        )
    }
}

/// A mapping of the configuration and the way to it.
pub(super) struct Section<'d> {
    pub path: Vec<Step>,
    entries: &'d [(String, Node)],
}

impl<'d> Section<'d> {
    /// The way to one of its keys.
    pub(super) fn way(&self, key: &str) -> Vec<Step> {
        let mut path = self.path.clone();
        path.push(Step::Key(key.to_owned()));
        path
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'d Node> {
        self.entries
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }
}

/// A document that is being read, and the problems found so far.
pub(super) struct Reader<'d> {
    document: &'d Document,
    problems: Vec<Problem>,
    /// Problems that were not listed.
    more: usize,
}

impl<'d> Reader<'d> {
    pub(super) fn new(document: &'d Document) -> Reader<'d> {
        Reader {
            document,
            problems: Vec::new(),
            more: 0,
        }
    }

    /// All problems in the order of the text, those without a place last.
    pub(super) fn finish(self) -> Vec<Problem> {
        let mut problems = self.problems;
        problems.sort_by_key(|problem| (problem.place.is_none(), problem.place));
        if self.more > 0 {
            problems.push(Problem {
                place: None,
                what: format!("there are {} more problems", self.more),
                hint: "mend those that are listed, then look again".to_owned(),
            });
        }
        problems
    }

    fn note(&mut self, problem: impl FnOnce(&Document) -> Problem) {
        if self.problems.len() < MAX_LISTED {
            self.problems.push(problem(self.document));
        } else {
            self.more += 1;
        }
    }

    /// Notes a problem with the value at the end of a path.
    pub(super) fn problem(
        &mut self,
        path: &[Step],
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.note(|document| Problem {
            place: document.place_of_value(path),
            what: what.into(),
            hint: hint.into(),
        });
    }

    /// Notes a problem with a key.
    fn key_problem(&mut self, path: &[Step], what: String, hint: String) {
        self.note(|document| Problem {
            place: document.place_of_key(path),
            what,
            hint,
        });
    }

    /// Notes a problem that is not in the file.
    pub(super) fn outside(&mut self, what: impl Into<String>, hint: impl Into<String>) {
        self.note(|_| Problem {
            place: None,
            what: what.into(),
            hint: hint.into(),
        });
    }

    /// The document's root as a mapping.
    pub(super) fn root(&mut self, known: &[&str]) -> Section<'d> {
        self.mapping("the configuration", Vec::new(), self.document.root(), known)
    }

    /// A mapping below a key; one that is absent or has nothing in it is empty.
    pub(super) fn section(
        &mut self,
        parent: &Section<'d>,
        key: &str,
        known: &[&str],
    ) -> Section<'d> {
        let path = parent.way(key);
        match parent.get(key) {
            None | Some(Node::Null) => Section { path, entries: &[] },
            Some(node) => self.mapping(&format!("`{key}`"), path, node, known),
        }
    }

    /// A value as a mapping, whose keys are held against the known ones.
    pub(super) fn mapping(
        &mut self,
        name: &str,
        path: Vec<Step>,
        node: &'d Node,
        known: &[&str],
    ) -> Section<'d> {
        let Node::Map(entries) = node else {
            let wrong = Wrong::kind(
                node,
                "a mapping",
                format!("write `key: value` lines; known keys: {}", list(known)),
            );
            self.problem(&path, format!("{name} {}", wrong.what), wrong.hint);
            return Section { path, entries: &[] };
        };
        let section = Section { path, entries };
        for (key, _) in entries {
            if !known.contains(&key.as_str()) {
                let hint = match nearest(key, known.iter().copied()) {
                    Some(near) => {
                        format!("did you mean `{near}`? Known keys here: {}", list(known))
                    }
                    None => format!("known keys here: {}", list(known)),
                };
                self.key_problem(&section.way(key), format!("unknown key `{key}`"), hint);
            }
        }
        section
    }

    /// The items of a list below a key, each with the way to it.
    pub(super) fn items(&mut self, parent: &Section<'d>, key: &str) -> Vec<(Vec<Step>, &'d Node)> {
        let path = parent.way(key);
        match parent.get(key) {
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
            Some(
                node @ (Node::Bool(_)
                | Node::Int(_)
                | Node::UInt(_)
                | Node::Float(_)
                | Node::Str(_)
                | Node::Map(_)),
            ) => {
                let wrong = Wrong::kind(
                    node,
                    "a list",
                    "begin each item with `- ` on a line of its own",
                );
                self.problem(&path, format!("`{key}` {}", wrong.what), wrong.hint);
                Vec::new()
            }
        }
    }

    /// The value of a key; nothing where it is absent, or wrong, which is noted.
    pub(super) fn take<T>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        parse: impl FnOnce(&Node) -> Result<T, Wrong>,
    ) -> Option<T> {
        let node = section.get(key)?;
        let parsed = match node {
            Node::Null => Err(Wrong::new(
                "has no value",
                "write one, or delete the line to get the default",
            )),
            Node::Bool(_)
            | Node::Int(_)
            | Node::UInt(_)
            | Node::Float(_)
            | Node::Str(_)
            | Node::Seq(_)
            | Node::Map(_) => parse(node),
        };
        match parsed {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.problem(
                    &section.way(key),
                    format!("`{key}` {}", wrong.what),
                    wrong.hint,
                );
                None
            }
        }
    }
}

/// Words as a list for people.
fn list(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A text that is not empty and has no control characters.
pub(super) fn text(node: &Node) -> Result<&str, Wrong> {
    let Node::Str(text) = node else {
        return Err(Wrong::kind(
            node,
            "a text",
            "put it between double quotes if it is meant as a text",
        ));
    };
    if text.trim().is_empty() {
        Err(Wrong::new(
            "is empty",
            "write a value, or delete the line to get the default",
        ))
    } else if text.contains(char::is_control) {
        Err(Wrong::new(
            "holds a line end or a control character",
            "write it on one line",
        ))
    } else {
        Ok(text)
    }
}

/// True or false.
pub(super) fn boolean(node: &Node) -> Result<bool, Wrong> {
    match node {
        Node::Bool(value) => Ok(*value),
        Node::Null
        | Node::Int(_)
        | Node::UInt(_)
        | Node::Float(_)
        | Node::Str(_)
        | Node::Seq(_)
        | Node::Map(_) => Err(Wrong::kind(
            node,
            "true or false",
            "write `true` or `false`",
        )),
    }
}

/// One of several words.
pub(super) fn choice<T: Copy>(words: &[(&str, T)]) -> impl FnOnce(&Node) -> Result<T, Wrong> {
    move |node| {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let one_of = format!("write one of {}", list(&names));
        let Node::Str(text) = node else {
            return Err(Wrong::kind(node, "a word", one_of));
        };
        words
            .iter()
            .find(|(name, _)| name == text)
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let hint = match nearest(text, names.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`? Otherwise {one_of}"),
                    None => one_of,
                };
                Wrong::new(format!("cannot be `{text}`"), hint)
            })
    }
}

/// A duration of at least `floor`.
pub(super) fn duration(floor: Duration) -> impl FnOnce(&Node) -> Result<Duration, Wrong> {
    move |node| {
        const HINT: &str =
            "write a whole number with a unit: `250ms`, `5s`, `2m`, `1h`, at most `365d`";
        match node {
            Node::Int(_) | Node::UInt(_) | Node::Float(_) => Err(Wrong::new(
                "is a number without a unit, and must be a duration",
                HINT,
            )),
            Node::Str(text) => match parse_duration(text) {
                Some(duration) if duration >= floor => Ok(duration),
                Some(_) => Err(Wrong::new(
                    format!("is too short: `{text}`"),
                    format!("write `{}` or more", super::show_duration(floor)),
                )),
                None => Err(Wrong::new(format!("is no duration: `{text}`"), HINT)),
            },
            Node::Null | Node::Bool(_) | Node::Seq(_) | Node::Map(_) => {
                Err(Wrong::kind(node, "a duration", HINT))
            }
        }
    }
}

/// `auto`, which is nothing, or something else.
pub(super) fn or_auto<T>(
    parse: impl FnOnce(&Node) -> Result<T, Wrong>,
) -> impl FnOnce(&Node) -> Result<Option<T>, Wrong> {
    move |node| {
        if *node == Node::Str("auto".to_owned()) {
            return Ok(None);
        }
        parse(node).map(Some).map_err(|wrong| Wrong {
            hint: format!("{}, or `auto`", wrong.hint),
            ..wrong
        })
    }
}

/// A size in bytes, more than none.
pub(super) fn size(node: &Node) -> Result<u64, Wrong> {
    const HINT: &str = "write a whole number with a unit: `64MB`, `200MiB`, `1GB`";
    let bytes = match node {
        Node::Str(text) => {
            parse_size(text).ok_or_else(|| Wrong::new(format!("is no size: `{text}`"), HINT))?
        }
        Node::Int(bytes) => {
            u64::try_from(*bytes).map_err(|_| Wrong::new("is a size below nothing", HINT))?
        }
        Node::UInt(bytes) => *bytes,
        Node::Null | Node::Bool(_) | Node::Float(_) | Node::Seq(_) | Node::Map(_) => {
            return Err(Wrong::kind(node, "a size", HINT));
        }
    };
    if bytes == 0 {
        return Err(Wrong::new("would let nothing through", HINT));
    }
    Ok(bytes)
}

/// A number of credits, none included.
pub(super) fn credits(node: &Node) -> Result<f64, Wrong> {
    const HINT: &str = "write a number such as `500`, or delete the line for no limit";
    let credits = match node {
        // Credits beyond 2^53 do not exist, so that nothing is lost.
        #[allow(clippy::cast_precision_loss)]
        Node::Int(credits) => *credits as f64,
        #[allow(clippy::cast_precision_loss)]
        Node::UInt(credits) => *credits as f64,
        Node::Float(credits) => *credits,
        Node::Null | Node::Bool(_) | Node::Str(_) | Node::Seq(_) | Node::Map(_) => {
            return Err(Wrong::kind(node, "a number of credits", HINT));
        }
    };
    if credits < 0.0 {
        return Err(Wrong::new("is less than nothing", HINT));
    }
    Ok(credits)
}

/// A path, made absolute from `base`, with `.` and `..` taken out.
pub(super) fn path(base: &Path) -> impl FnOnce(&Node) -> Result<PathBuf, Wrong> {
    move |node| {
        let text = text(node)?;
        if text == "~" || text.starts_with("~/") || text.starts_with('$') {
            return Err(Wrong::new(
                format!("is `{text}`, and neither `~` nor variables mean anything here"),
                "write the whole path, or one relative to the configuration's folder",
            ));
        }
        Ok(normal(&base.join(text)))
    }
}

/// An absolute path without `.` and `..`.
pub(super) fn normal(path: &Path) -> PathBuf {
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
