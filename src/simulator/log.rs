//! What the API saw: every request in order, as tests and people want to ask for it afterwards.

use std::collections::VecDeque;

use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::hash_bytes;

/// So many requests are remembered; beyond, the oldest are forgotten.
const REMEMBERED: usize = 200_000;

/// Strings longer than this are shortened in the log.
const LONG: usize = 2_000;

/// One request and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Counts requests from 1.
    pub number: u64,
    /// When it was decided.
    pub time: jiff::Timestamp,
    /// The caller's address.
    pub peer: String,
    /// The HTTP method.
    pub method: String,
    /// The path without the query, which may hold signatures.
    pub path: String,
    /// The status of the answer; absent when the connection was reset instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whether the key was right; absent where none is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_ok: Option<bool>,
    /// SHA-256 of the request's body in hexadecimal; absent without a body. Of an upload: of the file in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_sha256: Option<String>,
    /// The request's JSON, data URIs shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// The task that this request started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The fault that befell it, as rules name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// What the caller should never do, in words: the key sent to a storage host, for one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<String>,
}

/// The requests that are remembered.
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
        if self.requests.len() >= REMEMBERED {
            self.requests.pop_front();
        }
        self.requests.push_back(seen);
        // Not empty after the push above.
        &self.requests[self.requests.len() - 1]
    }

    /// The requests that are remembered, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Seen> {
        self.requests.iter()
    }

    /// How many requests there were, forgotten ones too.
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

/// The same JSON with data URIs, and other very long strings, cut to what tells them apart.
pub(super) fn shortened(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) => Value::String(short(text)),
        Value::Array(items) => items.iter().map(shortened).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), shortened(value)))
            .collect(),
    }
}

fn short(text: &str) -> String {
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
    if text.len() <= LONG {
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
    fn data_uris_are_shortened_and_still_tell_apart() {
        let one =
            shortened(&serde_json::json!({"promptImage": "data:image/png;base64,AAAA", "seed": 1}));
        let two =
            shortened(&serde_json::json!({"promptImage": "data:image/png;base64,AAAB", "seed": 1}));
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
