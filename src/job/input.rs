//! The files of a job and where they lie.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::stored_path;

/// A path below one of an inbox's folders: relative, without `.` and `..`, in the bytes that lie on the disk.
///
/// File names on Linux are bytes. A name that is not UTF-8 is kept as it is and written to the journal as base64 behind
/// a character that no path begins with, so that nothing is ever renamed by the way it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelPath(PathBuf);

impl RelPath {
    /// The path, if it is relative and stays below its root.
    pub fn new(path: &Path) -> Option<RelPath> {
        path.components()
            .all(|part| matches!(part, Component::Normal(_)))
            .then(|| RelPath(path.components().collect()))
    }

    /// The path as the system takes it.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The folder that holds it; empty for what lies in the root itself.
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

    /// The path as text, for programs; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }

    /// Whether this is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.as_os_str().is_empty()
    }
}

/// For people: see [`shown`].
impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.0.as_os_str()))
    }
}

/// A file's name for logs, notes and terminals. Control characters, and characters that turn the direction of text or have
/// no width, are escaped: a name must not forge a line of the log or pretend to be another name.
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

/// Characters that show nothing by themselves but change how others are shown.
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

/// One of the folders of an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Folder {
    /// Where files are dropped.
    Inbox,
    /// Inputs of jobs in progress.
    Working,
    /// Inputs of finished jobs.
    Originals,
    /// Inputs of jobs that failed or were cancelled.
    Failed,
}

/// A place: a folder and a path below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Spot {
    /// The folder.
    pub folder: Folder,
    /// The path below it.
    pub path: RelPath,
}

/// What a file is to its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The dropped medium.
    Main,
    /// The sidecar.
    Sidecar,
    /// A medium that the sidecar refers to.
    Reference,
    /// Says that another file of the job is finished.
    Marker,
}

/// What tells the file that was looked at from another that takes its name. The device is left out: network filesystems
/// get another one with each mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The inode; `None` where the filesystem gives a file another number when it is renamed, or forgets it.
    pub inode: Option<u64>,
    /// Size in bytes.
    pub bytes: u64,
    /// Time of the last change of content, in nanoseconds since 1970, as the filesystem tells it.
    pub modified: i64,
}

impl Version {
    /// Whether a file that is like `now` is this version of it.
    pub fn is(&self, now: &Version) -> bool {
        let same_file = match (self.inode, now.inode) {
            (Some(then), Some(now)) => then == now,
            (Some(_) | None, None) | (None, Some(_)) => true,
        };
        same_file && (self.bytes, self.modified) == (now.bytes, now.modified)
    }
}

/// A file that belongs to a job and travels with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// What it is to the job.
    pub role: Role,
    /// Where it was dropped, relative to the inbox.
    pub dropped: RelPath,
    /// Where it lies now; `None` once it was deleted, by the person or with `on_success: delete`.
    pub at: Option<Spot>,
    /// Where it lies in `working/` while the job is in progress.
    pub working: RelPath,
    /// The folder below the inbox at which the filesystem is mounted that it was dropped on; `None` where that is the inbox's
    /// own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<RelPath>,
    /// Its size in bytes when it was taken.
    pub bytes: u64,
    /// Which version of the file was looked at when the job was made; `None` in journals of 0.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Hex SHA-256 of its content, known once it was made ready for the API.
    pub sha256: Option<String>,
}

/// The folder for inputs in progress at the top of a filesystem that is mounted inside an inbox.
const WORKING_INSIDE: &str = "_working";

impl InputFile {
    /// Where it lies while its job is in progress: in `working` or, since only a rename within one mount is atomic, in a
    /// folder of its own on the mount inside the inbox that it was dropped on.
    pub fn taken_at(&self) -> Spot {
        match &self.mount {
            None => Spot {
                folder: Folder::Working,
                path: self.working.clone(),
            },
            Some(mount) => Spot {
                folder: Folder::Inbox,
                path: RelPath(working_inside(mount).0.join(&self.working.0)),
            },
        }
    }
}

/// The folder for inputs in progress of a mount inside an inbox.
pub fn working_inside(mount: &RelPath) -> RelPath {
    mount.join(OsStr::new(WORKING_INSIDE))
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
    fn a_version_is_known_by_its_inode_where_that_lasts() {
        let version = |inode, bytes| Version {
            inode,
            bytes,
            modified: 3,
        };
        assert!(version(Some(1), 2).is(&version(Some(1), 2)));
        assert!(!version(Some(1), 2).is(&version(Some(9), 2)));
        assert!(version(None, 2).is(&version(Some(9), 2)));
        assert!(!version(None, 2).is(&version(Some(1), 9)));
        // As 0.1.0 wrote it.
        let old = r#"{"inode":1,"bytes":2,"modified":3}"#;
        let old: Version = serde_json::from_str(old).unwrap();
        assert_eq!(old, version(Some(1), 2));
    }

    #[test]
    fn row_16_a_path_that_leaves_its_root_cannot_be_made() {
        for path in ["..", "a/../../b", "/etc/passwd"] {
            assert_eq!(RelPath::new(Path::new(path)), None, "{path}");
        }
        assert!(serde_json::from_str::<RelPath>("\"../x\"").is_err());
    }
}
