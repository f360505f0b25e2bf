//! The text of a sidecar or of a file of defaults.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::diagnostic::Diagnostic;
use crate::files::open_plain;
use crate::yaml::{self, Document, to_json};

/// A sidecar as it was read.
#[derive(Debug, Clone)]
pub enum Parsed {
    /// A mapping.
    Mapping {
        /// The text with its places.
        document: Arc<Document>,
        /// The keys.
        values: Map<String, Value>,
    },
    /// Nothing in it, or nothing yet.
    Empty,
    /// Not a sidecar, and why.
    Wrong(Vec<Diagnostic>),
}

/// Reads a sidecar or a file of defaults. At most one byte more than is allowed is read.
pub fn parse_file(path: &Path, label: &str) -> io::Result<Parsed> {
    Ok(parse_sidecar(&read_text(path)?, label))
}

pub(crate) fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    open_plain(path)?
        .take(yaml::MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the text of a sidecar.
pub fn parse_sidecar(bytes: &[u8], label: &str) -> Parsed {
    let document = match yaml::parse_bytes(bytes) {
        Ok(document) => document,
        Err(problems) => {
            let in_file = |problem: Diagnostic| problem.in_source(label);
            return Parsed::Wrong(problems.into_iter().map(in_file).collect());
        }
    };
    match to_json(document.root()) {
        Value::Null => Parsed::Empty,
        Value::Object(values) => Parsed::Mapping {
            document: Arc::new(document),
            values,
        },
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            let message = format!(
                "a sidecar is a list of `key: value` lines, and this is {}",
                document.root().describe()
            );
            Parsed::Wrong(vec![
                Diagnostic::new(message, "write, for instance, `prompt: Slow dolly in`")
                    .in_source(label)
                    .at(document.place_of_value(&[])),
            ])
        }
    }
}
