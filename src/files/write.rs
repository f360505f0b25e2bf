//! Writing small files that are complete, and survive a power cut, as soon as their name exists.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::failpoint::{self, Point};
use crate::files::digest::hex;
use crate::files::folders::{inherit, sync_file, sync_parent};
use crate::files::remove::remove_file;
use crate::files::rename::{rename_new, replace};

/// Writes a small file under a new name, never over another file. A file of the same content under that name counts as written.
///
/// # Errors
/// `AlreadyExists` if something else has the name.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let part = write_part(path, content, |file| file.write_all(content))?;
    match rename_new(&part, path) {
        Ok(()) => sync_parent(path),
        Err(error) => {
            discard(&part);
            // What cannot be read is not ours.
            let is_this = error.kind() == io::ErrorKind::AlreadyExists
                && fs::read(path).is_ok_and(|found| found == content);
            if is_this {
                // An earlier attempt may have ended before it synced the folder.
                sync_parent(path)
            } else {
                Err(error)
            }
        }
    }
}

/// Writes a small file, and replaces what had its name. Not for two writers of one path at the same time.
pub(crate) fn write_over(path: &Path, content: &[u8]) -> io::Result<()> {
    // The part file is named after the path alone, so that the next writer finds what a crash left, whatever its content.
    let part = write_part(path, b"", |file| file.write_all(content))?;
    if let Err(error) = replace(&part, path) {
        discard(&part);
        return Err(error);
    }
    sync_parent(path)
}

/// The part file that an interrupted [`write_over`] leaves.
pub(crate) fn part_of_write_over(path: &Path) -> io::Result<PathBuf> {
    name_part(path, b"")
}

/// Writes a hidden file next to `path` that survives a power cut, and returns its name. The name is derived from `path` and
/// `content`, so a crash leaves at most one such file, which the next attempt removes. No one else writes the same content to
/// the same path at the same time: a job has one driver.
pub(crate) fn write_part(
    path: &Path,
    content: &[u8],
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<PathBuf> {
    let (part, mut file) = new_part(path, content)?;
    match fill(&mut file).and_then(|()| sync_file(&file)) {
        Ok(()) => Ok(part),
        Err(error) => {
            discard(&part);
            Err(error)
        }
    }
}

/// Creates the hidden file. What a crash left under its name is removed and never written to: after an interrupted
/// [`rename_new`] by hard link it may have another name as well.
fn new_part(path: &Path, content: &[u8]) -> io::Result<(PathBuf, File)> {
    let part = name_part(path, content)?;
    loop {
        failpoint::hit(Point::NewPart)?;
        match OpenOptions::new().write(true).create_new(true).open(&part) {
            Ok(file) => {
                inherit(&part, &file);
                return Ok((part, file));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => remove_file(&part)?,
            Err(error) => return Err(error),
        }
    }
}

fn name_part(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    let mut hash = Sha256::new();
    hash.update(path.as_os_str().as_bytes());
    hash.update(b"\0");
    hash.update(content);
    Ok(path.with_file_name(format!(".taxiway-{}.part", hex(&hash.finalize()[..12]))))
}

/// Removes a part file that could not be finished. If that fails too, the first error is the one to report.
pub(crate) fn discard(part: &Path) {
    if let Err(error) = remove_file(part) {
        tracing::debug!(part = %part.display(), %error, "an unfinished file could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_left_of_a_file_is_gone_once_it_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("red.mp4.yaml");
        let (part, _) = new_part(&path, b"job: 1\n").unwrap();
        fs::write(&part, "jo").unwrap();
        write_new(&path, b"job: 1\n").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // A hard link that a crash left is not written through.
        fs::hard_link(&path, part_of_write_over(&path).unwrap()).unwrap();
        write_over(&path, b"job: 1\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"job: 1\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_who_write_the_same_name_do_not_share_a_part_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let first = write_part(&path, b"one", |file| file.write_all(b"one")).unwrap();
        let second = write_part(&path, b"two", |file| file.write_all(b"two")).unwrap();
        assert_ne!(first, second);
        assert_eq!(fs::read(first).unwrap(), b"one");
        assert_eq!(fs::read(second).unwrap(), b"two");
    }

    #[test]
    fn a_small_file_is_written_once_and_again_with_the_same_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        write_new(&path, b"one").unwrap();
        write_new(&path, b"one").unwrap();
        assert!(write_new(&path, b"two").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
