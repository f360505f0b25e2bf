//! A problem in something that a person wrote: in which file, where in it, and what to do.

use std::fmt;

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
    pub(crate) fn of(text: &str, at: usize) -> Place {
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

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One problem of a configuration, a sidecar, a YAML text or a catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, as people know it; empty where it is not known yet.
    pub source: String,
    /// Where in the file; `None` where the problem is about all of it, or is not in a file.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What the person can do now.
    pub hint: String,
}

impl Diagnostic {
    /// A problem whose file and place are not known yet.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Diagnostic {
        Diagnostic {
            source: String::new(),
            place: None,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// A problem of a whole file.
    pub fn of_file(
        source: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::new(message, hint).in_source(source)
    }

    /// The same problem in this file.
    #[must_use]
    pub fn in_source(self, source: impl Into<String>) -> Diagnostic {
        let source = source.into();
        Diagnostic { source, ..self }
    }

    /// The same problem at this place.
    #[must_use]
    pub fn at(self, place: Option<Place>) -> Diagnostic {
        Diagnostic { place, ..self }
    }

    /// The same problem with the subject of its message: "`settle`" before "is too short".
    #[must_use]
    pub(crate) fn with_subject(self, subject: &str) -> Diagnostic {
        let message = format!("{subject} {}", self.message);
        Diagnostic { message, ..self }
    }
}

/// `file:line:column: message; hint`, or with `{:#}` the hint on a line of its own.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.source.is_empty() {
            write!(f, "{}:", self.source)?;
        }
        if let Some(place) = self.place {
            write!(f, "{place}:")?;
        }
        if !self.source.is_empty() || self.place.is_some() {
            f.write_str(" ")?;
        }
        let joint = if f.alternate() { "\n  " } else { "; " };
        write!(f, "{}{joint}{}", self.message, self.hint)
    }
}

impl std::error::Error for Diagnostic {}
