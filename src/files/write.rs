//! Writing small files: whole and durable once the name is there.

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

/// Writes a small file under a new name: whole and durable once the name is there, and never over another file.
///
/// # Errors
/// `AlreadyExists` if the name is taken by something else; if it is taken by the same content, all is well.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let part = write_part(path, content, |file| file.write_all(content))?;
    match rename_new(&part, path) {
        Ok(()) => sync_parent(path),
        Err(error) => {
            discard(&part);
            // Where it cannot be read, a name like it is taken and not this one.
            let is_this = error.kind() == io::ErrorKind::AlreadyExists
                && fs::read(path).is_ok_and(|found| found == content);
            if is_this {
                // Whoever wrote it may not have come as far as making its name durable.
                sync_parent(path)
            } else {
                Err(error)
            }
        }
    }
}

/// Writes a small file, whole and durable once the name is there, in place of what was there. One at a time for each path.
pub(crate) fn write_over(path: &Path, content: &[u8]) -> io::Result<()> {
    // Named by the path alone: what a crash left is found again by whoever writes or removes the file, whatever it says then.
    let part = write_part(path, b"", |file| file.write_all(content))?;
    if let Err(error) = replace(&part, path) {
        discard(&part);
        return Err(error);
    }
    sync_parent(path)
}

/// Where an interrupted [`write_over`] leaves what it wrote.
pub(crate) fn unfinished(path: &Path) -> io::Result<PathBuf> {
    part_path(path, b"")
}

/// Writes a hidden file beside `path`, durably, and answers with its name. The name comes from `path` and from what is
/// written, `content`, so that a crash leaves at most one such file, which doing the same again removes. Nobody else
/// writes the same content to the same path at the same time: a job has one driver.
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

/// Makes the hidden file. What a crash left under its name is removed and never written to: it may have another name by
/// now, as an interrupted [`rename_new`] by hard link leaves it.
fn new_part(path: &Path, content: &[u8]) -> io::Result<(PathBuf, File)> {
    let part = part_path(path, content)?;
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

fn part_path(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    let mut hash = Sha256::new();
    hash.update(path.as_os_str().as_bytes());
    hash.update(b"\0");
    hash.update(content);
    Ok(path.with_file_name(format!(".taxiway-{}.part", hex(&hash.finalize()[..12]))))
}

/// Removes what could not be finished. If even that fails, the error that led here counts more.
pub(crate) fn discard(part: &Path) {
    if let Err(error) = remove_file(part) {
        tracing::debug!(part = %part.display(), %error, "an unfinished file stays");
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
        // A link that was left to what has its name already is no door to it.
        fs::hard_link(&path, unfinished(&path).unwrap()).unwrap();
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
