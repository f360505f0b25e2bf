//! The three kinds of media that Runway's API takes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a media file is to the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A still picture.
    Image,
    /// A moving picture, with or without sound.
    Video,
    /// Sound alone.
    Audio,
}

impl Kind {
    /// `image`, `video` or `audio`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Image => "image",
            Kind::Video => "video",
            Kind::Audio => "audio",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
