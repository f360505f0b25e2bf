//! Folders: created so that they survive a power cut, with the owner and mode of the folder above.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::failpoint::{self, Point};
use crate::files::names;

/// The longest path that the kernel accepts, in bytes.
const PATH_MAX: usize = 4095;

/// How many numbers a folder's name is tried with.
const NUMBERS_MAX: u32 = 10_000;

/// Creates a folder and those above it. They survive a power cut. Owner, group and mode are those of the folder above.
pub(crate) fn create_folders(path: &Path) -> io::Result<()> {
    make_folders(path, true)
}

/// Creates a folder that only taxiway uses: owner, group and mode are those of this process.
pub(crate) fn create_own_folders(path: &Path) -> io::Result<()> {
    make_folders(path, false)
}

fn make_folders(path: &Path, shared: bool) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        make_folders(parent, shared)?;
    }
    failpoint::hit(Point::MakeFolder)?;
    match fs::create_dir(path) {
        Ok(()) => {
            if shared {
                inherit(path, &File::open(path)?);
            }
            sync_parent(path)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Gives a new file or folder the owner, group and permissions of the folder that it is in, so that everyone who works in that
/// folder can work with it too. Only root can change owners, and some filesystems have no permissions: what is not possible is
/// left out.
///
/// The permissions of a folder with the sticky bit (`/tmp`) do not apply to what is created in it.
pub(crate) fn inherit(path: &Path, made: &File) {
    /// The bits of a folder's mode that its files and its folders get.
    const FILES: u32 = 0o666;
    const FOLDERS: u32 = 0o2777;
    const STICKY: u32 = 0o1000;
    let take = || -> io::Result<()> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => fs::metadata(parent)?,
            _ => fs::metadata(".")?,
        };
        if folder.mode() & STICKY != 0 {
            return Ok(());
        }
        let meta = made.metadata()?;
        let (user, group) = (folder.uid(), folder.gid());
        if (meta.uid(), meta.gid()) != (user, group) {
            match fchown(made, Some(user), Some(group)) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    if meta.gid() != group {
                        fchown(made, None, Some(group))?;
                    }
                }
                other => other?,
            }
        }
        // Whatever the mode of the folder, taxiway itself needs access.
        let mode = match meta.is_dir() {
            true => folder.mode() & FOLDERS | 0o700,
            false => folder.mode() & FILES | 0o600,
        };
        // A change of owner may clear bits.
        if made.metadata()?.mode() & 0o7777 != mode {
            made.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    };
    if let Err(error) = take() {
        tracing::debug!(path = %path.display(), %error, "the owner and mode of its folder could not be set");
    }
}

/// Makes the names in a folder survive a power cut.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = File::open(path)?;
    failpoint::hit(Point::SyncFolder)?;
    match folder.sync_all() {
        // Some network and FUSE filesystems cannot sync a folder, and offer nothing better.
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

/// Makes a file's content survive a power cut.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    failpoint::hit(Point::SyncFile)?;
    file.sync_all()
}

/// Makes the name of a file survive a power cut.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

/// Finds a folder below `root` that can hold a file, as close to `wanted` (relative, plain parts) as possible. Where a file has
/// the name of a folder, the folder gets a number; where the whole path would be too long, the result is `root` itself. The
/// folder may not exist yet.
pub(crate) fn find_usable_folder(root: &Path, wanted: &Path) -> io::Result<PathBuf> {
    let mut usable = PathBuf::new();
    for part in wanted.components() {
        let mut candidate = usable.join(part);
        let mut number = 1_u32;
        while is_not_a_folder(&root.join(&candidate))? {
            number = number.saturating_add(1);
            if number > NUMBERS_MAX {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            let suffix = format!(" ({number})");
            candidate = usable.join(names::fit(part.as_os_str(), suffix.as_bytes()));
        }
        usable = candidate;
        let length = root.as_os_str().len() + usable.as_os_str().len();
        if length + names::LONGEST + 2 > PATH_MAX {
            return Ok(PathBuf::new());
        }
    }
    Ok(usable)
}

/// Whether something other than a folder or a link to one has the name.
fn is_not_a_folder(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(meta) => Ok(!meta.is_dir()),
        // Nothing, or a link to nothing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(fs::symlink_metadata(path).is_ok())
        }
        Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_whose_name_belongs_to_a_file_is_numbered() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("shoes"), "x").unwrap();
        fs::create_dir(dir.path().join("hats")).unwrap();
        let usable = |wanted: &str| find_usable_folder(dir.path(), Path::new(wanted)).unwrap();
        assert_eq!(usable(""), Path::new(""));
        assert_eq!(usable("hats/new"), Path::new("hats/new"));
        assert_eq!(usable("shoes/red"), Path::new("shoes (2)/red"));
        fs::write(dir.path().join("shoes (2)"), "x").unwrap();
        assert_eq!(usable("shoes/red"), Path::new("shoes (3)/red"));
        let deep = "deep/".repeat(800);
        assert_eq!(usable(&deep), Path::new(""));
    }
}
