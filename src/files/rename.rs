//! Renaming without replacing.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use parking_lot::Mutex;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use unicode_normalization::UnicodeNormalization as _;

use crate::failpoint::{self, Point};
use crate::files::folders::sync_parent;
use crate::files::remove::remove_file;

/// Renames within one filesystem, never onto an existing name.
///
/// A crash leaves the file under one of the two names or, where it is done by a hard link, under both; doing it again completes
/// it. A power cut may undo it until both folders are synced.
///
/// # Errors
/// `AlreadyExists` if another file has the target's name; `CrossesDevices` if the target is on another filesystem.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rename_once(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_linked(from, to)? => {
            remove_linked(from, to)
        }
        other => other,
    }
}

/// Whether two names are two hard links to one file, as an interrupted [`rename_new`] leaves them. Two spellings of the same
/// name (through a link to a folder, or in another case) do not count.
fn is_linked(from: &Path, to: &Path) -> io::Result<bool> {
    let metadata = |path: &Path| match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let (Some(a), Some(b)) = (metadata(from)?, metadata(to)?) else {
        return Ok(false);
    };
    if !a.is_file() || (a.dev(), a.ino()) != (b.dev(), b.ino()) || a.nlink() < 2 {
        return Ok(false);
    }
    if from.file_name() != to.file_name() {
        return Ok(true);
    }
    let folder = |path: &Path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::metadata(parent),
        _ => fs::metadata("."),
    };
    let (a, b) = (folder(from)?, folder(to)?);
    Ok((a.dev(), a.ino()) != (b.dev(), b.ino()))
}

/// Removes the first of two names of one file. The second is newer, so it is made to survive a power cut first.
fn remove_linked(from: &Path, to: &Path) -> io::Result<()> {
    sync_parent(to)?;
    remove_file(from)
}

fn rename_once(from: &Path, to: &Path) -> io::Result<()> {
    failpoint::hit(Point::BeforeRename)?;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {
            failpoint::pass(Point::AfterRename);
            Ok(())
        }
        // The filesystem does not support the flag. A hard link is atomic too, and does not replace anything either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match link(from, to) {
            Ok(()) => remove_linked(from, to),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
            // Neither: check, then rename. A file is lost only if another program creates the same name within these
            // microseconds (or, on a mount that caches its folders, within that time).
            Err(_) => {
                // One check and rename at a time in this process.
                static CHECKING: Mutex<()> = Mutex::new(());
                let _guard = CHECKING.lock();
                match fs::symlink_metadata(to) {
                    Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        if has_similar_name(from, to)? {
                            return Err(io::ErrorKind::AlreadyExists.into());
                        }
                        replace(from, to)
                    }
                    Err(error) => Err(error),
                }
            }
        },
        Err(error) => Err(error.into()),
    }
}

/// Whether another name in the folder differs only in case or in how accents are encoded. A server may treat such names as one
/// even where the program that mounts it does not: a rename onto the one would then replace the other.
fn has_similar_name(from: &Path, to: &Path) -> io::Result<bool> {
    let (Some(folder), Some(name)) = (to.parent(), to.file_name()) else {
        return Ok(false);
    };
    let fold = |name: &OsStr| -> String {
        let text = name.to_string_lossy();
        text.nfc().collect::<String>().to_lowercase()
    };
    let wanted = fold(name);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if fold(&entry.file_name()) == wanted && entry.path() != from {
            return Ok(true);
        }
    }
    Ok(false)
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    failpoint::hit(Point::Link)?;
    fs::hard_link(from, to)
}

/// Renames, and replaces what has the name.
pub(crate) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    failpoint::hit(Point::BeforeReplace)?;
    fs::rename(from, to)?;
    failpoint::pass(Point::AfterReplace);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_15_a_rename_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        let error = rename_new(&a, &b).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&a).unwrap(), b"a");
        assert_eq!(fs::read(&b).unwrap(), b"b");
    }

    #[test]
    fn row_15_names_are_similar_whatever_the_case_and_the_encoding_of_accents() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("CAFE\u{301}.mp4"), "mine").unwrap();
        fs::write(at(".part"), "new").unwrap();
        let similar = |to: &str| has_similar_name(&at(".part"), &at(to)).unwrap();
        assert!(similar("caf\u{e9}.mp4"));
        assert!(!similar("cafe.mp4"));
        // A file is not similar to itself.
        assert!(!similar(".PART"));
    }

    #[test]
    fn a_rename_by_hard_link_that_was_interrupted_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "a").unwrap();
        fs::hard_link(&a, &b).unwrap();
        rename_new(&a, &b).unwrap();
        assert!(!a.exists());
        assert_eq!(fs::read(&b).unwrap(), b"a");
    }

    #[test]
    fn row_15_one_name_spelled_in_two_ways_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, dir.path().join("way")).unwrap();
        let (a, b) = (real.join("x"), dir.path().join("way/x"));
        fs::write(&a, "x").unwrap();
        assert!(rename_new(&a, &b).is_err());
        // Another hard link elsewhere makes no difference.
        fs::hard_link(&a, dir.path().join("other")).unwrap();
        assert!(rename_new(&a, &b).is_err());
        assert_eq!(fs::read(&a).unwrap(), b"x");
    }
}
