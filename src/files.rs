//! The few things that are done to files, each with what survives a crash.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

/// Longest file name, in bytes, on every filesystem that people use.
const NAME_MAX: usize = 255;

/// Makes a folder and those above it, durably: after a power cut they are still there.
pub fn create_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        create_folders(parent)?;
    }
    match fs::create_dir(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder durable.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some network and FUSE filesystems cannot sync a folder; they promise nothing better.
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS | Errno::BADF)
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Makes the name of a file durable.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

/// Opens a plain file to read it. Links are not followed, and a pipe or a device is an error and not a wait without end.
pub fn open_plain(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits();
    let file = OpenOptions::new()
        .read(true)
        // The flags of the kernel's interface fit its own type.
        .custom_flags(flags.cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is neither a plain file nor a folder",
        ))
    }
}

/// Renames within one filesystem, never onto an existing name.
///
/// Atomic: a crash leaves the file under one of the two names. Durable only once both folders are synced.
///
/// # Errors
/// `AlreadyExists` if the target is there; `CrossesDevices` if it lies on another filesystem.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // The filesystem does not know the flag: a hard link is as atomic and does not replace either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match fs::hard_link(from, to) {
            Ok(()) => fs::remove_file(from),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
            // Neither: look, then rename. Only another program that takes the same name within these microseconds
            // could lose a file by it.
            Err(_) => match fs::symlink_metadata(to) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
                Err(error) => Err(error),
            },
        },
        Err(error) => Err(error.into()),
    }
}

/// Moves a file to a new name that may lie on another filesystem, never onto an existing name, and makes it durable.
///
/// A crash leaves the file under its old name, its new name, or (after a copy between filesystems) both with the same
/// content; repeating the same move after a crash completes it.
///
/// # Errors
/// `AlreadyExists` if something else bears the target's name; `NotFound` if neither name exists.
pub fn move_new(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        create_folders(parent)?;
    }
    match rename_new(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy_and_remove(from, to)?,
        // By way of a hard link an earlier attempt may have come as far as the target.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if same_file(from, to)? {
                fs::remove_file(from)?;
            } else {
                return Err(error);
            }
        }
        Err(error) => return Err(error),
    }
    sync_parent(to)?;
    sync_parent(from)
}

fn copy_and_remove(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(to).is_ok() {
        // An earlier attempt came as far as the target and not as far as removing the source; or it is another file.
        return if same_content(from, to)? {
            fs::remove_file(from)
        } else {
            Err(io::ErrorKind::AlreadyExists.into())
        };
    }
    let mut name = OsString::from(".taxiway-copy-");
    name.push(to.file_name().unwrap_or_default());
    let part = to.with_file_name(fit_name(&name, b""));
    let mut source = File::open(from)?;
    let mut target = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&part)?;
    io::copy(&mut source, &mut target)?;
    target.set_permissions(source.metadata()?.permissions())?;
    target.sync_all()?;
    rename_new(&part, to)?;
    sync_parent(to)?;
    fs::remove_file(from)
}

fn same_file(a: &Path, b: &Path) -> io::Result<bool> {
    let (a, b) = (fs::symlink_metadata(a)?, fs::symlink_metadata(b)?);
    Ok((a.dev(), a.ino()) == (b.dev(), b.ino()))
}

fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    if fs::metadata(a)?.len() != fs::metadata(b)?.len() {
        return Ok(false);
    }
    Ok(digest(a)? == digest(b)?)
}

/// Writes a small file under a new name: whole and durable once the name is there, and never over another file.
///
/// # Errors
/// `AlreadyExists` if the name is taken by something else; if it is taken by the same content, all is well.
pub fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let part = write_part(path, content)?;
    match rename_new(&part, path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&part)?;
            if fs::read(path)? == content {
                Ok(())
            } else {
                Err(error)
            }
        }
        Err(error) => Err(error),
    }
}

/// Writes a small file, whole and durable once the name is there, in place of what was there.
pub fn write_over(path: &Path, content: &[u8]) -> io::Result<()> {
    let part = write_part(path, content)?;
    fs::rename(&part, path)?;
    sync_parent(path)
}

fn write_part(path: &Path, content: &[u8]) -> io::Result<std::path::PathBuf> {
    let mut name = OsString::from(".taxiway-");
    name.push(path.file_name().unwrap_or_default());
    let part = path.with_file_name(fit_name(&name, b".part"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&part)?;
    file.write_all(content)?;
    file.sync_all()?;
    Ok(part)
}

/// `name` with `suffix` behind it, shortened at the end of `name` where the two are too long for a file name. A UTF-8
/// character is not cut in two.
pub fn fit_name(name: &OsStr, suffix: &[u8]) -> OsString {
    let mut bytes = name.as_bytes();
    let room = NAME_MAX.saturating_sub(suffix.len());
    if bytes.len() > room {
        bytes = bytes.get(..room).unwrap_or(bytes);
        // At most three bytes of a UTF-8 character can be left over; other bytes are taken as they come.
        for _ in 0..3 {
            match std::str::from_utf8(bytes) {
                Err(error) if error.error_len().is_none() => {
                    bytes = bytes.get(..error.valid_up_to()).unwrap_or(bytes);
                }
                _ => break,
            }
        }
    }
    let mut fitted = bytes.to_vec();
    fitted.extend_from_slice(suffix);
    OsString::from_vec(fitted)
}

/// Hex SHA-256 of a file's content, read in bounded memory.
pub fn sha256(path: &Path) -> io::Result<String> {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(64);
    for byte in digest(path)? {
        // Writing to a String cannot fail; its error type exists only for the trait.
        write!(hex, "{byte:02x}").map_err(io::Error::other)?;
    }
    Ok(hex)
}

fn digest(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = open_plain(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_never_replaces() {
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
    fn a_small_file_is_written_once_and_again_with_the_same_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        write_new(&path, b"one").unwrap();
        write_new(&path, b"one").unwrap();
        assert!(write_new(&path, b"two").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_long_name_is_shortened_between_characters() {
        let name = OsString::from("ü".repeat(127));
        let fitted = fit_name(&name, b".mp4.yaml");
        assert!(fitted.len() <= NAME_MAX);
        assert!(fitted.to_str().unwrap().ends_with("ü.mp4.yaml"));
        assert_eq!(fit_name(OsStr::new("cat"), b".mp4"), "cat.mp4");
    }

    #[test]
    fn a_move_between_filesystems_leaves_one_whole_file() {
        let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), other.path().join("deep/b"));
        fs::write(&from, "content").unwrap();
        move_new(&from, &to).unwrap();
        assert!(!from.exists());
        assert_eq!(fs::read(&to).unwrap(), b"content");
        // The same move after a crash between the copy and the removal.
        fs::write(&from, "content").unwrap();
        if fs::metadata(&from).unwrap().dev() == fs::metadata(&to).unwrap().dev() {
            return;
        }
        move_new(&from, &to).unwrap();
        assert!(!from.exists());
        assert_eq!(fs::read_dir(other.path().join("deep")).unwrap().count(), 1);
    }
}
