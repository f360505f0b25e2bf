//! How two versions of a file are told apart.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The version of a file as the journal keeps it. Without the device, since network filesystems get another one with each
/// mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The inode; `None` where the filesystem may change it.
    pub inode: Option<u64>,
    /// Size in bytes.
    pub bytes: u64,
    /// When the content was last changed, in nanoseconds since 1970.
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

/// The version of a file as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// When the content was last changed, in nanoseconds since 1970.
    pub mtime: i128,
    /// When content, name or attributes were last changed, in nanoseconds since 1970.
    pub ctime: i128,
}

impl Stamp {
    /// The version as the journal keeps it.
    pub fn version(&self) -> Version {
        Version {
            inode: Some(self.ino),
            bytes: self.size,
            // Nanoseconds fit until the year 2262; later times all count as the same.
            modified: i64::try_from(self.mtime).unwrap_or(i64::MAX),
        }
    }
}

/// Reads the stamp of the file at a path; `None` if it is not a plain file.
pub fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    let meta = std::fs::symlink_metadata(path)?;
    let (mtime, ctime) = times(&meta);
    Ok(meta.is_file().then(|| Stamp {
        dev: meta.dev(),
        ino: meta.ino(),
        size: meta.size(),
        mtime,
        ctime,
    }))
}

/// Reads when a folder's content and the folder itself last changed, in nanoseconds since 1970; `None` if it is not a folder.
pub fn folder_times(path: &Path) -> io::Result<Option<(i128, i128)>> {
    let meta = std::fs::symlink_metadata(path)?;
    Ok(meta.is_dir().then(|| times(&meta)))
}

fn times(meta: &Metadata) -> (i128, i128) {
    let nanoseconds =
        |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    (
        nanoseconds(meta.mtime(), meta.mtime_nsec()),
        nanoseconds(meta.ctime(), meta.ctime_nsec()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
