//! What can be wrong with a YAML text, explained for people who have never heard of scanners and tokens.

use crate::diagnostic::{Diagnostic, Place};

/// The largest text that is read at all, in bytes (256 KiB). A sidecar or a configuration is a page or two; anything
/// larger is some other file.
pub const MAX_BYTES: usize = 256 * 1024;

/// The most keys and values that one document may hold once its aliases are followed.
pub(super) const MAX_NODES: usize = 10_000;

/// What helps against most surprises of YAML.
const QUOTE: &str = "put the text between double quotes, or below the key as a block: `key: |` and then the text \
                     on lines of its own, indented";

/// The most `[` and `{` that may be open at once. The parser's time grows with the square of their number, so that a
/// file of nothing else would keep it busy for half a minute.
const MAX_OPEN: usize = 256;

/// Something that leaves the text readable but must not be in it.
pub(super) enum Finding {
    /// The key is in this mapping already.
    DuplicateKey(String),
    /// A key that is not a text; what it is.
    KeyNotText(&'static str),
    /// `<<`.
    MergeKey,
    /// A custom tag, without its exclamation mark.
    Tag(String),
    /// A number that JSON cannot hold; why.
    Number(&'static str),
}

fn problem(place: Place, message: impl Into<String>, hint: impl Into<String>) -> Diagnostic {
    Diagnostic::new(message, hint).at(Some(place))
}

/// The text is larger than anything that is read here.
pub(super) fn too_large(bytes: usize) -> Diagnostic {
    problem(
        Place::START,
        format!(
            "the file has {bytes} bytes, and YAML files of more than {MAX_BYTES} bytes are not read"
        ),
        "check that this is the right file; long texts and media belong in files of their own",
    )
}

/// The text is small, but its values are not.
pub(super) fn too_many_values() -> Diagnostic {
    problem(
        Place::START,
        format!(
            "the file has more than {MAX_NODES} values, or too much text, once its aliases (`*name`) are followed"
        ),
        "write out what is needed instead of repeating it with aliases",
    )
}

/// The bytes are not text, or in another encoding.
pub(super) fn not_utf8(place: Place, bytes: &[u8]) -> Diagnostic {
    let what = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        "the file is text in UTF-16 and not in UTF-8"
    } else {
        "the file is not text in UTF-8 from here on"
    };
    problem(
        place,
        what,
        "save it as UTF-8 (editors call it encoding), or check that it is a YAML file at all",
    )
}

/// The first character that YAML does not allow, if there is one.
pub(super) fn control_character(text: &str) -> Option<Diagnostic> {
    let (at, character) = text
        .char_indices()
        .find(|(_, character)| !allowed(*character))?;
    Some(problem(
        Place::of(text, at),
        format!(
            "there is a character that no YAML file may contain (U+{:04X})",
            u32::from(character)
        ),
        "delete the character; if the file looks like nonsense, it is not a YAML file",
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
pub(super) fn nested_too_deeply(text: &str) -> Option<Diagnostic> {
    let mut open = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '[' | '{' => open += 1,
            ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > MAX_OPEN {
            return Some(problem(
                Place::of(text, at),
                format!("more than {MAX_OPEN} brackets are open here"),
                "close them, or check that this is the right file",
            ));
        }
    }
    None
}

/// A `---` with something after it.
pub(super) fn second_document(text: &str, at: usize) -> Diagnostic {
    problem(
        Place::of(text, at),
        "a second document begins after `---`, and a file may have only one",
        "delete the line `---`, or put what follows it into a file of its own",
    )
}

/// Problems beyond those that are listed one by one.
pub(super) fn and_more(place: Place, more: usize) -> Diagnostic {
    problem(
        place,
        format!("from here on there are {more} more problems like those before"),
        "fix those that are listed, then check again",
    )
}

/// The problem that a finding is.
pub(super) fn finding(text: &str, at: usize, finding: &Finding) -> Diagnostic {
    let (what, hint) = match finding {
        Finding::DuplicateKey(key) => (
            format!(
                "the key `{key}` appears twice in the same mapping, so one of its values would be lost"
            ),
            "delete one of the two".to_owned(),
        ),
        Finding::KeyNotText(what) => (
            format!("a key must be a text, and this one is {what}"),
            "put the key between quotes if it is meant as a text".to_owned(),
        ),
        Finding::MergeKey => (
            "merge keys (`<<`) are not followed here".to_owned(),
            "write the keys out; what many files share belongs in `_defaults.yaml`".to_owned(),
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
    problem(Place::of(text, at), what, hint)
}

/// What libyaml says of a text that is not YAML, what that means, and what to do, to which [`QUOTE`] may be appended.
/// Its words have not changed in years.
const SYNTAX: [(&[&str], &str, &str, bool); 11] = [
    (
        &["repetition limit exceeded"],
        "the aliases (`*name`) repeat so much that the file would become enormous",
        "write out what is needed instead of repeating it with aliases",
        false,
    ),
    (
        &["recursion limit exceeded"],
        "the values are nested too deeply, or an alias contains itself",
        "write it flatter, and without aliases",
        false,
    ),
    (
        &["unknown anchor"],
        "`*` begins an alias, and there is no anchor (`&`) of that name",
        "",
        true,
    ),
    (
        &["mapping values are not allowed in this context"],
        "there is a `:` that cannot begin a value here: either the text before it contains a `: ` of its own, or the line is \
         indented differently from its neighbours",
        "indent the keys of one mapping alike; for a text with a colon, ",
        true,
    ),
    (
        &["found character that cannot start any token"],
        "a text cannot begin like this without quotes",
        "",
        true,
    ),
    (
        &["did not find expected alphabetic or numeric character"],
        "`*` and `&` mean aliases and anchors when a text begins with them",
        "",
        true,
    ),
    (
        &["could not find expected ':'"],
        "this line, or the one before it, is neither `key: value` nor part of a text",
        "write `key: value` with a space after the colon; for a text of several lines, ",
        true,
    ),
    (
        &[
            "while scanning a quoted scalar",
            "found unexpected end of stream",
        ],
        "a text that begins with a quotation mark does not end with one",
        "close it with the same quotation mark; within double quotes, a double quote is written `\\\"`",
        false,
    ),
    (
        &[
            "unknown escape character",
            "did not find expected hexdecimal number",
        ],
        "a backslash within double quotes begins a special character, and this one does not exist",
        "write the backslash twice, or use single quotes",
        false,
    ),
    (
        &[
            "did not find expected ',' or ']'",
            "did not find expected ',' or '}'",
            "while parsing a flow node",
        ],
        "a `[` or `{` is not closed, or a comma is missing within it",
        "close it; if it belongs to a text, ",
        true,
    ),
    (
        &[
            "did not find expected key",
            "did not find expected '-' indicator",
        ],
        "this does not fit the lines before: it is indented differently, or follows the end of a quoted text",
        "indent the keys of one mapping alike; for a text with quotation marks in it, ",
        true,
    ),
];

/// The text is not YAML. `message` is the parser's own; one that is not known here is shown as it is.
pub(super) fn syntax(text: &str, at: usize, message: &str) -> Diagnostic {
    let place = Place::of(text, at);
    if indents_with_tab(text, at) {
        return problem(
            place,
            "a line is indented with a tab, and YAML allows spaces only",
            "replace the tab at the beginning of the line with spaces",
        );
    }
    let known = SYNTAX
        .iter()
        .find(|(said, ..)| said.iter().any(|words| message.contains(words)));
    let Some((said, what, hint, quote)) = known else {
        return problem(
            place,
            format!("this is not YAML: {message}"),
            format!("if a text is meant, {QUOTE}"),
        );
    };
    let next = text.get(at..).and_then(|rest| rest.chars().next());
    let what = match next {
        Some(character) if said.contains(&"found character that cannot start any token") => {
            format!("a text cannot begin with `{character}` without quotes")
        }
        Some(_) | None => (*what).to_owned(),
    };
    let quote = if *quote { QUOTE } else { "" };
    problem(place, what, format!("{hint}{quote}"))
}

/// Whether the line of the byte at `at`, or the one before it, is indented with a tab.
fn indents_with_tab(text: &str, at: usize) -> bool {
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
