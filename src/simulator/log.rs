//! The log: every request in order, for tests and people.

use std::collections::VecDeque;

use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::hash_bytes;

/// How many requests the log keeps. The oldest are dropped first.
const MAX_REQUESTS: usize = 200_000;

/// Longer strings are shortened in the log.
const MAX_STRING_BYTES: usize = 2_000;

/// One request and its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The number, counted from 1.
    pub number: u64,
    /// When it arrived.
    pub time: jiff::Timestamp,
    /// The caller's address.
    pub peer: String,
    /// The HTTP method.
    pub method: String,
    /// The path without the query, which may have signatures.
    pub path: String,
    /// The status of the answer; missing if the connection was reset instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whether the key was valid; missing if none was required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_ok: Option<bool>,
    /// SHA-256 of the request's body in hexadecimal; missing without a body. For an upload: of its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_sha256: Option<String>,
    /// The body as JSON, with shortened data URIs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// The task that this request started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The fault that was applied to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// What the caller must never do, such as sending the key to a storage host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<String>,
}

/// The requests that are kept.
#[derive(Debug, Default)]
pub(super) struct Log {
    requests: VecDeque<Seen>,
    count: u64,
}

impl Log {
    /// Adds a request, numbering it.
    pub(super) fn push(&mut self, mut seen: Seen) -> &Seen {
        self.count += 1;
        seen.number = self.count;
        if self.requests.len() >= MAX_REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back(seen);
        // Not empty after the push above.
        &self.requests[self.requests.len() - 1]
    }

    /// The requests that are kept, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Seen> {
        self.requests.iter()
    }

    /// How many requests there were, including dropped ones.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

/// Notes headers of the API in a request to a storage host, where they do not belong.
pub(super) fn note_stray_headers(headers: &HeaderMap, seen: &mut Seen) {
    for (name, what) in [
        ("authorization", "the API key was sent to a storage host"),
        (
            "x-runway-version",
            "X-Runway-Version was sent to a storage host",
        ),
    ] {
        if headers.contains_key(name) {
            seen.violations.push(what.to_owned());
        }
    }
}

/// Shortens data URIs and other long strings to what distinguishes them.
pub(super) fn shorten(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) => Value::String(shorten_string(text)),
        Value::Array(items) => items.iter().map(shorten).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), shorten(value)))
            .collect(),
    }
}

fn shorten_string(text: &str) -> String {
    let data = text
        .starts_with("data:")
        .then(|| text.split_once(','))
        .flatten();
    if let Some((head, _)) = data {
        let sum = hash_bytes(text.as_bytes());
        return format!(
            "{head},… ({} characters, sha256 {})",
            text.len(),
            sum.get(..16).unwrap_or(&sum)
        );
    }
    if text.len() <= MAX_STRING_BYTES {
        return text.to_owned();
    }
    let head: String = text.chars().take(200).collect();
    format!("{head}… ({} characters)", text.chars().count())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn data_uris_are_shortened_and_still_differ() {
        let one =
            shorten(&serde_json::json!({"promptImage": "data:image/png;base64,AAAA", "seed": 1}));
        let two =
            shorten(&serde_json::json!({"promptImage": "data:image/png;base64,AAAB", "seed": 1}));
        assert_ne!(one, two);
        assert!(
            one["promptImage"]
                .as_str()
                .unwrap()
                .starts_with("data:image/png;base64,… (26")
        );
        assert_eq!(one["seed"], 1);
    }
}
