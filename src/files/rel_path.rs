//! Paths below a folder, and how names are shown to people.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::stored_path;

/// A path below one of an inbox's folders: relative, without `.` and `..`, in the bytes that are on the disk. The journal holds
/// it as [`stored_path`] writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelPath(PathBuf);

impl RelPath {
    /// `None` if the path is not relative or leaves its root.
    pub fn new(path: &Path) -> Option<RelPath> {
        path.components()
            .all(|part| matches!(part, Component::Normal(_)))
            .then(|| RelPath(path.components().collect()))
    }

    /// As a standard path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The folder that it is in; empty for the root.
    pub fn parent(&self) -> RelPath {
        RelPath(self.0.parent().map(Path::to_path_buf).unwrap_or_default())
    }

    /// The last part.
    pub fn name(&self) -> &OsStr {
        self.0.file_name().unwrap_or_default()
    }

    /// The same path with another last part.
    pub fn with_name(&self, name: &OsStr) -> RelPath {
        RelPath(self.0.with_file_name(name))
    }

    /// A path below this one.
    pub fn join(&self, name: &OsStr) -> RelPath {
        RelPath(self.0.join(name))
    }

    /// The path as text for programs. Bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }

    /// Whether this is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.as_os_str().is_empty()
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.0.as_os_str()))
    }
}

/// Writes a file's name for logs, notes and terminals. Control characters, and characters that change the direction of text or
/// have no width, are escaped: a name must not forge a line of a log or look like another name.
pub fn shown(name: &OsStr) -> String {
    let mut text = String::new();
    for c in name.to_string_lossy().chars() {
        if c.is_control() || is_invisible(c) {
            text.extend(c.escape_unicode());
        } else {
            text.push(c);
        }
    }
    text
}

/// Whether a character is invisible but changes how others are shown.
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl From<RelPath> for String {
    fn from(path: RelPath) -> String {
        stored_path::to_text(&path.0)
    }
}

impl TryFrom<String> for RelPath {
    type Error = String;

    fn try_from(text: String) -> Result<RelPath, String> {
        let path = stored_path::from_text(&text)?;
        RelPath::new(&path).ok_or_else(|| format!("'{text}' is not a relative path"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn row_15_a_path_that_is_not_utf8_survives_the_journal() {
        let path = RelPath::new(Path::new(OsStr::from_bytes(b"shoes/r\xffd.jpg"))).unwrap();
        let text = serde_json::to_string(&path).unwrap();
        assert_eq!(serde_json::from_str::<RelPath>(&text).unwrap(), path);
    }

    #[test]
    fn row_16_a_path_that_leaves_its_root_cannot_be_made() {
        for path in ["..", "a/../../b", "/etc/passwd"] {
            assert_eq!(RelPath::new(Path::new(path)), None, "{path}");
        }
        assert!(serde_json::from_str::<RelPath>("\"../x\"").is_err());
    }
}
