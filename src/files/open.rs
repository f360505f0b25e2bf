//! Opening files without following links, and without waiting for a pipe.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::failpoint::{self, Point};
use crate::files::folders::inherit;

/// Opens a part file to continue it, or creates it.
pub(crate) fn open_part(path: &Path) -> io::Result<File> {
    failpoint::hit(Point::OpenPart)?;
    let part = open_own(path)?;
    inherit(path, &part);
    Ok(part)
}

/// Opens one of taxiway's own files to write to it, or creates it. A link under its name is removed: it could make taxiway
/// overwrite another file.
pub(crate) fn open_own(path: &Path) -> io::Result<File> {
    let open = || {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .custom_flags(OPEN_PLAIN.bits().cast_signed())
            .open(path)
            .and_then(require_plain)
    };
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.is_file() || meta.nlink() > 1 => {
            fs::remove_file(path)?;
            open()
        }
        _ => open(),
    }
}

/// Neither follows a link nor waits for the other end of a pipe.
const OPEN_PLAIN: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// Opens a plain file to read it. Links are not followed, and a pipe or a device is an error instead of an endless wait.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        // The flags of the kernel's interface fit its own type.
        .custom_flags(OPEN_PLAIN.bits().cast_signed())
        .open(path)?;
    require_plain(file)
}

/// Whether some bytes of a file were never written: its writer reserved the space, or skipped them and may come back. `false`
/// where the filesystem does not know. Moves the file's position.
pub(crate) fn has_hole(file: &File) -> io::Result<bool> {
    let bytes = file.metadata()?.len();
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(0)) {
        // The end of the file counts as a hole as well.
        Ok(at) => Ok(at < bytes),
        // An empty file, or a filesystem without holes.
        Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// This many zero bytes at the end are space that was reserved and not filled; silence and plain surfaces look different.
const ZEROS: usize = 64;

pub(crate) fn ends_in_zeros(file: &File) -> io::Result<bool> {
    let mut end = [1; ZEROS];
    let Some(from) = file.metadata()?.len().checked_sub(ZEROS as u64) else {
        return Ok(false);
    };
    match file.read_exact_at(&mut end, from) {
        Ok(()) => Ok(end.iter().all(|byte| *byte == 0)),
        // It was truncated meanwhile, which the next scan notices.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens a plain file below a folder to read it. No link between `root` and the file is followed, even if someone swaps folders
/// meanwhile, so the file is always below `root`. A pipe or a device is an error instead of an endless wait.
///
/// # Errors
/// `NotFound`; `InvalidInput` if the path contains a link or leaves `root`, or is not a plain file.
pub(crate) fn open_beneath(root: &Path, path: &Path) -> io::Result<File> {
    if !path
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "its path leaves the folder",
        ));
    }
    let top = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::PATH | OFlags::DIRECTORY).bits().cast_signed())
        .open(root)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let opened = match openat2(&top, path, flags, Mode::empty(), resolve) {
        // An old kernel, a container that does not allow the call (EPERM), or a rename at the same moment (EAGAIN).
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => open_by_parts(top.into(), path),
        other => other,
    };
    match opened {
        Ok(file) => require_plain(File::from(file)),
        Err(Errno::LOOP) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "its path contains a link, and links are not followed",
        )),
        Err(error) => Err(error.into()),
    }
}

/// Opens one part of the path after the other, for kernels that cannot refuse links in the whole path.
fn open_by_parts(top: OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut at = top;
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        // With `O_DIRECTORY` the error would not say that it is a link.
        at = openat(&at, part.as_os_str(), flags, Mode::empty())?;
        if last {
            return Ok(at);
        }
    }
    Err(Errno::INVAL)
}

fn require_plain(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a plain file",
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn row_03_room_that_is_reserved_and_not_filled_is_seen() {
        let file = tempfile::tempfile().unwrap();
        assert!(!has_hole(&file).unwrap() && !ends_in_zeros(&file).unwrap());
        file.set_len(100_000).unwrap();
        assert!(has_hole(&file).unwrap() && ends_in_zeros(&file).unwrap());
        // The end is there, and the middle is not.
        file.write_all_at(&[7; 40_000], 0).unwrap();
        file.write_all_at(&[7; 40_000], 60_000).unwrap();
        assert!(has_hole(&file).unwrap() && !ends_in_zeros(&file).unwrap());
        file.write_all_at(&[7; 20_000], 40_000).unwrap();
        assert!(!has_hole(&file).unwrap());
        // Less than a block is missing.
        file.set_len(100_100).unwrap();
        assert!(ends_in_zeros(&file).unwrap());
    }

    #[test]
    fn row_16_nothing_is_opened_through_a_link_below_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("inbox"), dir.path().join("secret"));
        fs::create_dir_all(root.join("_refs")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(root.join("_refs/cat.png"), "cat").unwrap();
        fs::write(outside.join("key"), "key").unwrap();
        std::os::unix::fs::symlink(&outside, root.join("_way")).unwrap();
        std::os::unix::fs::symlink(outside.join("key"), root.join("_refs/key")).unwrap();
        let open = |path: &str| open_beneath(&root, Path::new(path)).map(|_| ());
        let by_parts = |path: &str| {
            let top = OwnedFd::from(File::open(&root).unwrap());
            open_by_parts(top, Path::new(path)).map(|_| ())
        };
        assert!(open("_refs/cat.png").is_ok());
        assert!(by_parts("_refs/cat.png").is_ok());
        for path in ["_way/key", "_refs/key"] {
            let error = open(path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
            assert!(error.to_string().contains("link"), "{error}");
            assert_eq!(by_parts(path), Err(Errno::LOOP), "{path}");
        }
        for path in ["../secret/key", "/etc/passwd", "_refs"] {
            let error = open(path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
        }
        let error = open("_refs/dog.png").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_link_under_the_name_of_a_part_file_is_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, link) in [("soft.part", false), ("hard.part", true)] {
            fs::write(at("secret"), "secret").unwrap();
            if link {
                fs::hard_link(at("secret"), at(name)).unwrap();
            } else {
                std::os::unix::fs::symlink(at("secret"), at(name)).unwrap();
            }
            open_part(&at(name)).unwrap().write_all(b"film").unwrap();
            assert_eq!(fs::read(at("secret")).unwrap(), b"secret");
            assert_eq!(fs::read(at(name)).unwrap(), b"film");
            // What is there is continued.
            assert_eq!(open_part(&at(name)).unwrap().metadata().unwrap().len(), 4);
        }
    }
}
