//! Paths as text for the journal. File names on Linux are bytes: a path that is not UTF-8 is stored as base64 with a mark in
//! front, so that it comes back unchanged.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize as _, Deserializer, Serializer, de};

/// Marks a path that is not UTF-8. No relative path begins with this, and an absolute one that does is marked as well.
const BYTES_MARK: &str = "/base64:";

pub fn to_text(path: &Path) -> String {
    match path.to_str() {
        Some(text) if !text.starts_with(BYTES_MARK) => text.to_owned(),
        Some(_) | None => format!(
            "{BYTES_MARK}{}",
            STANDARD.encode(path.as_os_str().as_bytes())
        ),
    }
}

/// Reads what [`to_text`] writes.
pub fn from_text(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix(BYTES_MARK) {
        None => Ok(PathBuf::from(text)),
        Some(coded) => STANDARD
            .decode(coded)
            .map(|bytes| PathBuf::from(OsString::from_vec(bytes)))
            .map_err(|error| format!("'{text}' is not a stored path: {error}")),
    }
}

/// For `#[serde(with = "crate::files::stored_path")]`.
pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&to_text(path))
}

/// For `#[serde(with = "crate::files::stored_path")]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    from_text(&text).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn every_path_comes_back_as_it_was() {
        for bytes in [
            &b"/srv/studio"[..],
            b"shoes/red.jpg",
            b"/srv/st\xffdio",
            b"/base64:",
            b"/base64:AAAA/inbox",
            b"",
        ] {
            let path = Path::new(OsStr::from_bytes(bytes));
            assert_eq!(from_text(&to_text(path)).unwrap(), path);
        }
        assert_eq!(to_text(Path::new("/srv/studio")), "/srv/studio");
        assert!(from_text("/base64:?").is_err());
    }
}
