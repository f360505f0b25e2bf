//! The few things that are done to files, each with what survives a crash.

pub(crate) mod mounts;
pub(crate) mod names;
mod rel_path;
mod stamp;
pub(crate) mod stored_path;

pub use rel_path::{RelPath, is_invisible, shown};
pub use stamp::{Stamp, Version, folder_times, stamp};

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, ResolveFlags, openat, openat2, renameat_with};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization as _;

use crate::failpoint;

/// Longest path that the kernel takes, in bytes.
const PATH_MAX: usize = 4095;
/// How often a folder's name is numbered before something else must be wrong.
const NUMBERS_MAX: u32 = 10_000;

/// What a person can do about trouble with a disk.
pub fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "Make room on that disk; work then goes on by itself"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "It is mounted read-only: mount it writable; work then goes on by itself"
        }
        io::ErrorKind::PermissionDenied => {
            "Give taxiway's user permission to read and write there; work then goes on by itself"
        }
        _ => "Look whether that disk or share is all right; work goes on by itself once it is",
    }
}

/// Makes a folder and those above it, durably: after a power cut they are still there. Owner, group and mode are those of the
/// folder above.
pub fn create_folders(path: &Path) -> io::Result<()> {
    make_folders(path, true)
}

/// The same for a folder that is nobody else's: owner, group and mode are this process's own.
pub fn create_own_folders(path: &Path) -> io::Result<()> {
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
    failpoint::hit("files.make_folder")?;
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

/// Gives a file or folder that was just made the owner, the group and the permissions of the folder that it lies in, so that
/// whoever works with that folder can work with it, too. Only root can give things away, and some filesystems know none of
/// this: as much is done as can be.
///
/// A folder that everybody shares (`/tmp`, with the sticky bit) says nothing about what is made in it.
fn inherit(path: &Path, made: &File) {
    /// Of a folder's mode, what its files have, too; and what its folders have.
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
        // Whatever the folder says, its maker has to be able to go on.
        let mode = match meta.is_dir() {
            true => folder.mode() & FOLDERS | 0o700,
            false => folder.mode() & FILES | 0o600,
        };
        // A change of owner may have taken bits away.
        if made.metadata()?.mode() & 0o7777 != mode {
            made.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    };
    if let Err(error) = take() {
        tracing::debug!(path = %path.display(), %error, "group and mode are not those of its folder");
    }
}

/// Makes the names in a folder durable.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = File::open(path)?;
    failpoint::hit("files.sync_folder")?;
    match folder.sync_all() {
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

/// Makes a file's content durable.
pub fn sync_file(file: &File) -> io::Result<()> {
    failpoint::hit("files.sync")?;
    file.sync_all()
}

/// Makes the name of a file durable.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

/// Takes a file's name away. Durable only once its folder is synced.
pub fn remove_file(path: &Path) -> io::Result<()> {
    failpoint::hit("files.remove")?;
    fs::remove_file(path)
}

/// Removes an empty folder.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    failpoint::hit("files.remove_folder")?;
    fs::remove_dir(path)
}

/// Opens a part file to go on with it, or makes it.
pub fn open_part(path: &Path) -> io::Result<File> {
    failpoint::hit("files.open_part")?;
    let part = open_own(path)?;
    inherit(path, &part);
    Ok(part)
}

/// Opens a file of our own to write to it, or makes it. A link under its name, which somebody may have put there to have another
/// file written to, is removed.
pub fn open_own(path: &Path) -> io::Result<File> {
    let open = || {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .custom_flags(OPEN_PLAIN.bits().cast_signed())
            .open(path)
            .and_then(plain)
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

/// Opens a plain file to read it. Links are not followed, and a pipe or a device is an error and not a wait without end.
pub fn open_plain(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        // The flags of the kernel's interface fit its own type.
        .custom_flags(OPEN_PLAIN.bits().cast_signed())
        .open(path)?;
    plain(file)
}

/// Whether some bytes of a file were never written: its writer reserved the room, or passed over them and may come back. Where the
/// filesystem cannot tell, it says that there are none. Moves the file's position.
///
/// # Errors
/// The file cannot be looked at.
pub fn has_hole(file: &File) -> io::Result<bool> {
    let bytes = file.metadata()?.len();
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(0)) {
        // The end of the file counts as a hole, too.
        Ok(at) => Ok(at < bytes),
        // An empty file, or a filesystem without the notion.
        Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// So many zero bytes at the end are room that was reserved and not filled, in what is neither silence nor a plain surface.
const ZEROS: usize = 64;

/// Whether a file ends in zeros.
///
/// # Errors
/// It cannot be read.
pub fn ends_in_zeros(file: &File) -> io::Result<bool> {
    let mut end = [1; ZEROS];
    let Some(from) = file.metadata()?.len().checked_sub(ZEROS as u64) else {
        return Ok(false);
    };
    match file.read_exact_at(&mut end, from) {
        Ok(()) => Ok(end.iter().all(|byte| *byte == 0)),
        // It was cut off meanwhile, which the next look tells.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens a plain file below a folder to read it. No link is followed on the way from `root` to it, whatever is exchanged
/// meanwhile, so what is read lies below `root`; a pipe or a device is an error and not a wait without end.
///
/// # Errors
/// `NotFound`; `InvalidInput` if a link is on the way, the path leaves `root`, or it is no plain file.
pub fn open_beneath(root: &Path, path: &Path) -> io::Result<File> {
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
        // An old kernel, or a container that does not know the call (EPERM), or a rename at the same moment (EAGAIN).
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => open_by_parts(top.into(), path),
        other => other,
    };
    match opened {
        Ok(file) => plain(File::from(file)),
        Err(Errno::LOOP) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a link lies on the way to it, and links are not followed",
        )),
        Err(error) => Err(error.into()),
    }
}

/// Opens part after part, so that no link is followed where the kernel cannot promise it for the whole path.
fn open_by_parts(top: OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut at = top;
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        // Without `O_DIRECTORY` a link is told of as a link.
        at = openat(&at, part.as_os_str(), flags, Mode::empty())?;
        if last {
            return Ok(at);
        }
    }
    Err(Errno::INVAL)
}

fn plain(file: File) -> io::Result<File> {
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
/// A crash leaves the file under one of the two names, or (where it is done by a hard link) under both; doing it again
/// completes it. Durable only once both folders are synced.
///
/// # Errors
/// `AlreadyExists` if another file bears the target's name; `CrossesDevices` if it lies on another filesystem.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rename_once(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_linked(from, to)? => {
            remove_linked(from, to)
        }
        other => other,
    }
}

/// Whether two names are two hard links to one file, as an interrupted [`rename_new`] leaves them. Two ways to write one
/// and the same name (through a link to a folder, or in letters of another size) are not that.
fn is_linked(from: &Path, to: &Path) -> io::Result<bool> {
    let look = |path: &Path| match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let (Some(a), Some(b)) = (look(from)?, look(to)?) else {
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

/// Removes the first of two names of one file. A power cut must not take the second, which is younger.
fn remove_linked(from: &Path, to: &Path) -> io::Result<()> {
    sync_parent(to)?;
    remove_file(from)
}

fn rename_once(from: &Path, to: &Path) -> io::Result<()> {
    failpoint::hit("files.rename.before")?;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {
            failpoint::pass("files.rename.after");
            Ok(())
        }
        // The filesystem does not know the flag: a hard link is as atomic and does not replace either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match link(from, to) {
            Ok(()) => remove_linked(from, to),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
            // Neither: look, then rename. Only another program that takes the same name within these microseconds (or, on
            // a mount that caches its folders, within that time) could lose a file by it.
            Err(_) => {
                // Of our own jobs none looks while another renames.
                static LOOKING: Mutex<()> = Mutex::new(());
                let _one = LOOKING.lock().unwrap_or_else(PoisonError::into_inner);
                match fs::symlink_metadata(to) {
                    Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        if has_alike(from, to)? {
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

/// Whether a name differs only in the size of its letters, or in how accents are written, from another in its folder. A
/// server may take such names for one, although the program that mounts it tells them apart: a rename onto the one would
/// then replace the other.
fn has_alike(from: &Path, to: &Path) -> io::Result<bool> {
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
    failpoint::hit("files.link")?;
    fs::hard_link(from, to)
}

/// Renames, onto whatever has the name.
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    failpoint::hit("files.replace.before")?;
    fs::rename(from, to)?;
    failpoint::pass("files.replace.after");
    Ok(())
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
        Err(error) => return Err(error),
    }
    sync_parent(to)?;
    sync_parent(from)
}

fn copy_and_remove(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(to).is_ok() {
        // An earlier attempt came as far as the target and not as far as removing the source; or it is another file.
        return if same_content(from, to)? {
            // Whoever wrote it may not have come as far as making it durable.
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
    Ok(digest(&open_plain(a)?)? == digest(&open_plain(b)?)?)
}

/// Writes a small file under a new name: whole and durable once the name is there, and never over another file.
///
/// # Errors
/// `AlreadyExists` if the name is taken by something else; if it is taken by the same content, all is well.
pub fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
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
pub fn write_over(path: &Path, content: &[u8]) -> io::Result<()> {
    // Named by the path alone: what a crash left is found again by whoever writes or removes the file, whatever it says then.
    let part = write_part(path, b"", |file| file.write_all(content))?;
    if let Err(error) = replace(&part, path) {
        discard(&part);
        return Err(error);
    }
    sync_parent(path)
}

/// Where an interrupted [`write_over`] leaves what it wrote.
pub fn unfinished(path: &Path) -> io::Result<PathBuf> {
    part_path(path, b"")
}

/// Writes a hidden file beside `path`, durably, and answers with its name. The name comes from `path` and from what is
/// written, `content`, so that a crash leaves at most one such file, which doing the same again removes. Nobody else
/// writes the same content to the same path at the same time: a job has one driver.
fn write_part(
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
        failpoint::hit("files.new_part")?;
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
    Ok(path.with_file_name(format!(".taxiway-{}.part", hex(&hash.finalize()[..12])?)))
}

/// Removes what could not be finished. If even that fails, the error that led here counts more.
fn discard(part: &Path) {
    if let Err(error) = remove_file(part) {
        tracing::debug!(part = %part.display(), %error, "an unfinished file stays");
    }
}

/// A folder below `root` that can hold a file, as near to `wanted` (relative, plain parts) as can be: where a file bears
/// the name of a folder, the folder is numbered; where the whole path would be too long, it is `root` itself. The folder
/// need not be there yet.
///
/// # Errors
/// The folders cannot be looked at.
pub fn usable_folder(root: &Path, wanted: &Path) -> io::Result<PathBuf> {
    let mut usable = PathBuf::new();
    for part in wanted.components() {
        let mut candidate = usable.join(part);
        let mut number = 1_u32;
        while bears_no_folder(&root.join(&candidate))? {
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

/// Whether anything has this name.
///
/// # Errors
/// The folder cannot be looked at.
pub fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether something that is no folder, nor a link to one, has the name.
fn bears_no_folder(path: &Path) -> io::Result<bool> {
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

/// Hex SHA-256 of a file's content, read in bounded memory.
pub fn sha256(path: &Path) -> io::Result<String> {
    sha256_of(&open_plain(path)?)
}

/// Hex SHA-256 of an open file's whole content, read in bounded memory; where the file stands does not matter and stays.
pub fn sha256_of(file: &File) -> io::Result<String> {
    hex(&digest(file)?)
}

fn hex(bytes: &[u8]) -> io::Result<String> {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // Writing to a String cannot fail; its error type exists only for the trait.
        write!(hex, "{byte:02x}").map_err(io::Error::other)?;
    }
    Ok(hex)
}

fn digest(file: &File) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 64 * 1024];
    let mut at = 0_u64;
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(read) => {
                hash.update(buffer.get(..read).unwrap_or_default());
                // A buffer's length fits, and no file is as long as 2^64 bytes.
                at = at.saturating_add(read as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn row_15_names_are_alike_whatever_the_size_of_letters_and_the_way_of_accents() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("CAFE\u{301}.mp4"), "mine").unwrap();
        fs::write(at(".part"), "new").unwrap();
        let alike = |to: &str| has_alike(&at(".part"), &at(to)).unwrap();
        assert!(alike("caf\u{e9}.mp4"));
        assert!(!alike("cafe.mp4"));
        // A name is not in its own way.
        assert!(!alike(".PART"));
    }

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
    fn row_15_one_name_written_in_two_ways_is_never_removed() {
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
            // What is there is gone on with.
            assert_eq!(open_part(&at(name)).unwrap().metadata().unwrap().len(), 4);
        }
    }

    #[test]
    fn a_folder_whose_name_a_file_bears_is_numbered() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("shoes"), "x").unwrap();
        fs::create_dir(dir.path().join("hats")).unwrap();
        let usable = |wanted: &str| usable_folder(dir.path(), Path::new(wanted)).unwrap();
        assert_eq!(usable(""), Path::new(""));
        assert_eq!(usable("hats/new"), Path::new("hats/new"));
        assert_eq!(usable("shoes/red"), Path::new("shoes (2)/red"));
        fs::write(dir.path().join("shoes (2)"), "x").unwrap();
        assert_eq!(usable("shoes/red"), Path::new("shoes (3)/red"));
        let deep = "deep/".repeat(800);
        assert_eq!(usable(&deep), Path::new(""));
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
