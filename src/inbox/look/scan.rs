//! Scans of folders: what is in them is what counts.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::files::{Stamp, stamp};

/// Names that systems, sync clients and editors use for their own files, and names of unfinished files.
const LITTER: &[&str] = &[
    ".*",
    "Thumbs.db",
    "desktop.ini",
    "@eaDir",
    "~$*",
    "*~",
    "*.part",
    "*.partial",
    "*.filepart",
    "*.crdownload",
    "*.download",
    "*.tmp",
    "*.temp",
    "*.swp",
    "#recycle",
    "#snapshot",
    "@Recycle",
    "@Recently-Snapshot",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "*.error.txt",
    "STATUS.html",
];

/// Names that are ignored.
#[derive(Debug, Clone)]
pub struct Ignore(GlobSet);

impl Ignore {
    /// The built-in list and `more` patterns.
    ///
    /// # Errors
    /// A pattern is invalid.
    pub fn new(more: &[String]) -> Result<Ignore, globset::Error> {
        let mut set = GlobSetBuilder::new();
        for pattern in LITTER
            .iter()
            .copied()
            .chain(more.iter().map(String::as_str))
        {
            set.add(
                GlobBuilder::new(pattern)
                    .case_insensitive(true)
                    .literal_separator(true)
                    .build()?,
            );
        }
        Ok(Ignore(set.build()?))
    }

    /// Whether a name is litter.
    pub fn matches(&self, name: &OsStr) -> bool {
        self.0.is_match(Path::new(name))
    }
}

/// What a name in a folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file.
    File(Stamp),
    /// A folder.
    Folder,
    /// A link, which is not followed: it may lead out of the inbox.
    Link,
    /// A socket, a pipe or a device.
    Special,
    /// It is there and cannot be accessed.
    Unreadable,
}

/// Reads one folder. Ignored names and names that begin with `_`, which are never inputs, are left out before they are accessed. So
/// is what vanishes after it was listed. A problem with one entry does not hide the others.
pub fn read_folder(path: &Path, ignore: &Ignore) -> io::Result<Vec<(OsString, Entry)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b"_") || ignore.matches(&name) {
            continue;
        }
        // Where the listing does not contain the kind, this accesses the file itself, which may be gone.
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => {
                entries.push((name, Entry::Unreadable));
                continue;
            }
        };
        let found = if kind.is_dir() {
            Entry::Folder
        } else if kind.is_symlink() {
            Entry::Link
        } else if kind.is_file() {
            match stamp(&entry.path()) {
                Ok(Some(stamp)) => Entry::File(stamp),
                Ok(None) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(_) => Entry::Unreadable,
            }
        } else {
            Entry::Special
        };
        entries.push((name, found));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_13_litter_is_ignored() {
        let ignore = Ignore::new(&["*.bak".to_owned()]).unwrap();
        for name in [
            ".DS_Store",
            "._cat.jpg",
            "Thumbs.db",
            "thumbs.DB",
            "desktop.ini",
            "@eaDir",
            ".stfolder",
            "~$plan.yaml",
            "cat.jpg.part",
            "cat.jpg.partial",
            "cat.crdownload",
            "cat.tmp",
            "cat.swp",
            ".syncthing.cat.jpg.tmp",
            ".smbdelete01",
            ".nfs0001",
            ".fuse_hidden01",
            "#recycle",
            ".Trash-1000",
            ".~lock.cat.odt#",
            "cat.bak",
            "cat.jpg.error.txt",
        ] {
            assert!(ignore.matches(OsStr::new(name)), "{name}");
        }
        for name in [
            "cat.jpg",
            "part.png",
            "cat part.jpg",
            "tmp.yaml",
            "a.b.yaml",
        ] {
            assert!(!ignore.matches(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn row_16_links_are_seen_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("cat.jpg")).unwrap();
        std::fs::write(dir.path().join("_shared.png"), "x").unwrap();
        let found = read_folder(dir.path(), &Ignore::new(&[]).unwrap()).unwrap();
        assert_eq!(found, vec![("cat.jpg".into(), Entry::Link)]);
    }
}
