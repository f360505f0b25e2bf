//! What is wrong with a YAML text, in words for people who have never heard of scanners and tokens.

use super::read::Finding;
use super::{MAX_BYTES, MAX_NODES, Place, ProblemKind, YamlProblem};

/// What helps against most surprises of YAML.
const QUOTE: &str = "put the text between double quotes, or below the key as a block: `key: |` and then the text \
                     on lines of its own, indented";

/// The most `[` and `{` that may be open at once. The parser's time grows with the square of their number, so that a
/// file of nothing else would keep it busy for half a minute.
const MAX_OPEN: usize = 256;

fn problem(
    kind: ProblemKind,
    place: Place,
    what: impl Into<String>,
    hint: impl Into<String>,
) -> YamlProblem {
    YamlProblem {
        kind,
        place,
        what: what.into(),
        hint: hint.into(),
    }
}

/// The text is larger than anything that is read here.
pub(super) fn too_large(bytes: usize) -> YamlProblem {
    problem(
        ProblemKind::TooLarge,
        Place::START,
        format!(
            "the file has {bytes} bytes, and YAML files of more than {MAX_BYTES} bytes are not read"
        ),
        "check that this is the right file; long texts and media belong into files of their own",
    )
}

/// The text is small, but what it says is not.
pub(super) fn too_many_values() -> YamlProblem {
    problem(
        ProblemKind::TooLarge,
        Place::START,
        format!(
            "the file holds more than {MAX_NODES} values, or very much text, once its aliases (`*name`) are followed"
        ),
        "write out what is needed instead of repeating it with aliases",
    )
}

/// The bytes are no text, or in another encoding.
pub(super) fn not_utf8(place: Place, bytes: &[u8]) -> YamlProblem {
    let what = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        "the file is text in UTF-16 and not in UTF-8"
    } else {
        "the file is not text in UTF-8 from here on"
    };
    problem(
        ProblemKind::NotUtf8,
        place,
        what,
        "save it as UTF-8 (editors call it encoding), or check that it is a YAML file at all",
    )
}

/// Nothing but comments and blank lines.
pub(super) fn empty() -> YamlProblem {
    problem(
        ProblemKind::Empty,
        Place::START,
        "there is nothing in the file",
        "write `key: value` lines, or delete the file",
    )
}

/// The first character that YAML does not allow, if there is one.
pub(super) fn control_character(text: &str) -> Option<YamlProblem> {
    let (at, character) = text
        .char_indices()
        .find(|(_, character)| !allowed(*character))?;
    Some(problem(
        ProblemKind::ControlCharacter,
        Place::of(text, at),
        format!(
            "there is a character that no YAML file may hold (U+{:04X})",
            u32::from(character)
        ),
        "delete the character; if the file looks like nonsense, it is no YAML file",
    ))
}

/// Whether YAML 1.1 allows a character in a text (the production `c-printable`).
fn allowed(character: char) -> bool {
    matches!(
        character,
        '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}'
            | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..
    )
}

/// The first bracket that is one too many, if there is one. Brackets within quotes count too: nobody writes so many.
pub(super) fn nested_too_deeply(text: &str) -> Option<YamlProblem> {
    let mut open = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '[' | '{' => open += 1,
            ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > MAX_OPEN {
            return Some(problem(
                ProblemKind::TooLarge,
                Place::of(text, at),
                format!("more than {MAX_OPEN} brackets are open here"),
                "close them, or check that this is the right file",
            ));
        }
    }
    None
}

/// A `---` with something after it.
pub(super) fn second_document(text: &str, at: usize) -> YamlProblem {
    problem(
        ProblemKind::SecondDocument,
        Place::of(text, at),
        "a second document begins after `---`, and one file holds one document",
        "delete the line `---`, or put what follows it into a file of its own",
    )
}

/// Problems beyond those that are listed one by one.
pub(super) fn and_more(place: Place, kind: ProblemKind, more: usize) -> YamlProblem {
    problem(
        kind,
        place,
        format!("from here on there are {more} more problems like those before"),
        "mend those that are listed, then look again",
    )
}

impl Finding {
    /// The sort of problem that this is.
    pub(super) fn kind(&self) -> ProblemKind {
        match self {
            Finding::DuplicateKey(_) => ProblemKind::DuplicateKey,
            Finding::KeyNotText(_) => ProblemKind::KeyNotText,
            Finding::MergeKey => ProblemKind::MergeKey,
            Finding::Tag(_) => ProblemKind::Tag,
            Finding::Number(_) => ProblemKind::Number,
        }
    }
}

/// Something readable that must not be there.
pub(super) fn finding(text: &str, at: usize, finding: &Finding) -> YamlProblem {
    let (what, hint) = match finding {
        Finding::DuplicateKey(key) => (
            format!(
                "the key `{key}` stands twice in the same mapping, so one of its values would be lost"
            ),
            "delete one of the two".to_owned(),
        ),
        Finding::KeyNotText(what) => (
            format!("a key must be a text, and this one is {what}"),
            "put the key between quotes if it is meant as a text".to_owned(),
        ),
        Finding::MergeKey => (
            "merge keys (`<<`) are not followed here".to_owned(),
            "write the keys out; what many files share belongs into `_defaults.yaml`".to_owned(),
        ),
        Finding::Tag(tag) => (
            format!("`!{tag}` is a YAML tag, and tags mean nothing here"),
            format!("delete it; if it belongs to a text, {QUOTE}"),
        ),
        Finding::Number(why) => (
            format!("this number cannot be used: {why}"),
            "write a number in the usual range, or put it between quotes if it is meant as a text"
                .to_owned(),
        ),
    };
    problem(finding.kind(), Place::of(text, at), what, hint)
}

/// The text is not YAML. `message` is the parser's own, in libyaml's words, which have not changed in years; one
/// that is not known here is passed on as it is.
pub(super) fn syntax(text: &str, at: usize, message: &str) -> YamlProblem {
    let rest = text.get(at..).unwrap_or("");
    let next = rest.chars().next();
    let has = |words: &str| message.contains(words);
    let (what, hint) = if tab_indents(text, at) {
        (
            "a line is indented with a tab, and YAML allows spaces only".to_owned(),
            "replace the tab at the beginning of the line by spaces".to_owned(),
        )
    } else if has("repetition limit exceeded") {
        (
            "the aliases (`*name`) repeat so much that the file would become enormous".to_owned(),
            "write out what is needed instead of repeating it with aliases".to_owned(),
        )
    } else if has("recursion limit exceeded") {
        (
            "the values are nested too deeply, or an alias contains itself".to_owned(),
            "write it flatter, and without aliases".to_owned(),
        )
    } else if has("unknown anchor") {
        (
            "`*` begins an alias, and there is no anchor (`&`) of that name".to_owned(),
            QUOTE.to_owned(),
        )
    } else if has("mapping values are not allowed in this context") {
        (
            "there is a `:` that cannot begin a value here: either the text before it holds a `: ` of its own, or the \
             line is indented differently from its neighbours"
                .to_owned(),
            format!("indent the keys of one mapping alike; for a text with a colon, {QUOTE}"),
        )
    } else if has("found character that cannot start any token") {
        (
            match next {
                Some(character) => format!("a text cannot begin with `{character}` without quotes"),
                None => "a text cannot begin like this without quotes".to_owned(),
            },
            QUOTE.to_owned(),
        )
    } else if has("did not find expected alphabetic or numeric character") {
        (
            "`*` and `&` mean aliases and anchors when a text begins with them".to_owned(),
            QUOTE.to_owned(),
        )
    } else if has("could not find expected ':'") {
        (
            "this line, or the one before it, is neither `key: value` nor part of a text"
                .to_owned(),
            format!(
                "write `key: value` with a space after the colon; for a text of several lines, {QUOTE}"
            ),
        )
    } else if has("while scanning a quoted scalar") || has("found unexpected end of stream") {
        (
            "a text that begins with a quotation mark does not end with one".to_owned(),
            "close it with the same quotation mark; within double quotes, a double quote is written `\\\"`".to_owned(),
        )
    } else if has("unknown escape character") || has("did not find expected hexdecimal number") {
        (
            "a backslash within double quotes begins a special character, and this one does not exist".to_owned(),
            "write the backslash twice, or use single quotes".to_owned(),
        )
    } else if has("did not find expected ',' or ']'")
        || has("did not find expected ',' or '}'")
        || has("while parsing a flow node")
    {
        (
            "a `[` or `{` is not closed, or a comma is missing within it".to_owned(),
            format!("close it; if it belongs to a text, {QUOTE}"),
        )
    } else if has("did not find expected key") || has("did not find expected '-' indicator") {
        (
            "this does not fit to the lines before: it is indented differently, or follows the end of a quoted text"
                .to_owned(),
            format!("indent the keys of one mapping alike; for a text with quotation marks in it, {QUOTE}"),
        )
    } else {
        (
            format!("this is not YAML: {message}"),
            format!("if a text is meant, {QUOTE}"),
        )
    };
    problem(ProblemKind::Syntax, Place::of(text, at), what, hint)
}

/// Whether the line of the byte at `at`, or the one before it, is indented with a tab.
fn tab_indents(text: &str, at: usize) -> bool {
    let end = text
        .get(at..)
        .and_then(|rest| rest.find('\n'))
        .map_or(text.len(), |length| at + length);
    text.get(..end)
        .unwrap_or(text)
        .lines()
        .rev()
        .take(2)
        .any(|line| {
            let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
            line.get(..indent).is_some_and(|blank| blank.contains('\t'))
        })
}
