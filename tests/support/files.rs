//! Sample media, and small help with files and text.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

/// A sample from `tests/media`.
pub fn media(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/media")
        .join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A whole JPEG whose bytes are like no other's: the words are in a comment segment.
pub fn jpeg(words: &str) -> Vec<u8> {
    let plain = media("baseline.jpg");
    let length = u16::try_from(words.len() + 2).unwrap();
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xfe];
    bytes.extend(length.to_be_bytes());
    bytes.extend(words.as_bytes());
    bytes.extend(&plain[2..]);
    bytes
}

/// A whole MP4 whose bytes are like no other's: the words are in a `free` box at its end.
pub fn mp4(words: &str) -> Vec<u8> {
    let mut bytes = media("faststart.mp4");
    bytes.extend(u32::try_from(words.len() + 8).unwrap().to_be_bytes());
    bytes.extend(b"free");
    bytes.extend(words.as_bytes());
    bytes
}

/// A whole JPEG of at least `size` bytes, like no other: the rest lies behind its end marker.
pub fn large_jpeg(words: &str, size: usize) -> Vec<u8> {
    let mut bytes = jpeg(words);
    bytes.resize(size.max(bytes.len()), 0x20);
    bytes
}

/// A folder on a disk in memory, for tests in which nobody should wait for a slow disk; where there is none with room enough for
/// any of them, the usual one.
pub fn in_memory() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let has_room = rustix::fs::statvfs(&memory)
        .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) > 500_000_000);
    if has_room && tempfile::tempdir_in(&memory).is_ok() {
        memory
    } else {
        std::env::temp_dir()
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}

/// Whether some bytes occur in others.
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

/// Bytes as text, for messages and for what the program prints.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Text for people without the ends of its lines, which stand where it happens to be wrapped.
pub fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Writes a file under a hidden name and renames it.
pub fn put(path: &Path, bytes: &[u8]) {
    let folder = path.parent().unwrap();
    fs::create_dir_all(folder).unwrap();
    // The name is short whatever the file's own is.
    let mut part = b".".to_vec();
    let name = path.file_name().unwrap().as_bytes();
    part.extend(&sha256(name).as_bytes()[..16]);
    part.extend(b".part");
    let part = folder.join(OsStr::from_bytes(&part));
    fs::write(&part, bytes).unwrap();
    fs::rename(&part, path).unwrap();
}

/// Visits every file and symbolic link below a folder. What vanishes meanwhile is passed by.
pub fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&path, visit),
            Ok(_) => visit(&path),
            Err(_) => {}
        }
    }
}

/// Makes a folder and everything in it a user's.
pub fn give(folder: &Path, user: u32) {
    std::os::unix::fs::chown(folder, Some(user), Some(user)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            give(&entry.path(), user);
        } else {
            std::os::unix::fs::lchown(entry.path(), Some(user), Some(user)).unwrap();
        }
    }
}

/// Whether a user can run a program where it lies.
pub fn can_run(user: u32, program: &Path) -> bool {
    Command::new(program)
        .arg("--version")
        .uid(user)
        .gid(user)
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
