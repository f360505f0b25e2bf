//! Moving files between folders, which may be on different filesystems.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::files::digest::hash_file;
use crate::files::folders::{create_folders, sync_file, sync_parent};
use crate::files::open::open_plain;
use crate::files::remove::remove_file;
use crate::files::rename::rename_new;
use crate::files::write::{discard, write_part};

/// Moves a file to a new name, which may be on another filesystem, never onto an existing name. Survives a power cut.
///
/// A crash leaves the file under its old name, its new name, or (after a copy between filesystems) both with the same
/// content; repeating the same move after a crash completes it.
///
/// # Errors
/// `AlreadyExists` if something else has the target's name; `NotFound` if neither name exists.
pub(crate) fn move_new(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        create_folders(parent)?;
    }
    match rename_new(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy_and_remove(from, to)?,
        Err(error) => return Err(error),
    }
    sync_parent(to)?;
    sync_parent(from)
}

fn copy_and_remove(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(to).is_ok() {
        // An earlier attempt wrote the target and did not remove the source; or it is another file.
        return if same_content(from, to)? {
            // That attempt may have ended before it synced the target.
            sync_file(&open_plain(to)?)?;
            sync_parent(to)?;
            remove_file(from)
        } else {
            Err(io::ErrorKind::AlreadyExists.into())
        };
    }
    let mut source = open_plain(from)?;
    let permissions = source.metadata()?.permissions();
    let part = write_part(to, from.as_os_str().as_bytes(), |target| {
        io::copy(&mut source, target)?;
        target.set_permissions(permissions)
    })?;
    if let Err(error) = rename_new(&part, to) {
        discard(&part);
        return Err(error);
    }
    sync_parent(to)?;
    remove_file(from)
}

fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    if fs::metadata(a)?.len() != fs::metadata(b)?.len() {
        return Ok(false);
    }
    Ok(hash_file(&open_plain(a)?)? == hash_file(&open_plain(b)?)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

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
