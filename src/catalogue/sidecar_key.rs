//! The keys of a sidecar that are not fields of a request body.

use std::fmt;

/// A key of a sidecar that is not a field of a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SidecarKey {
    /// The last part of the API path.
    Endpoint,
    /// The text for the endpoint's own prompt field.
    Prompt,
    /// What goes first.
    Priority,
    /// The highest estimate that is submitted.
    MaxCredits,
    /// The output's file name.
    Output,
}

impl SidecarKey {
    /// All keys.
    pub const ALL: [SidecarKey; 5] = [
        SidecarKey::Endpoint,
        SidecarKey::Prompt,
        SidecarKey::Priority,
        SidecarKey::MaxCredits,
        SidecarKey::Output,
    ];

    /// Keys that are reserved for later versions.
    pub const RESERVED: [&str; 2] = ["count", "then"];

    /// The key as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            SidecarKey::Endpoint => "endpoint",
            SidecarKey::Prompt => "prompt",
            SidecarKey::Priority => "priority",
            SidecarKey::MaxCredits => "max_credits",
            SidecarKey::Output => "output",
        }
    }

    /// All keys as they are written.
    pub fn names() -> [&'static str; 5] {
        SidecarKey::ALL.map(SidecarKey::as_str)
    }

    /// Whether this is one of the keys, or is reserved.
    pub fn is_known(name: &str) -> bool {
        SidecarKey::names().contains(&name) || SidecarKey::RESERVED.contains(&name)
    }
}

impl fmt::Display for SidecarKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
