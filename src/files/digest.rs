//! SHA-256 of files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::files::open::open_plain;

/// Hex SHA-256 of a file's content, read in bounded memory.
pub(crate) fn sha256(path: &Path) -> io::Result<String> {
    sha256_of(&open_plain(path)?)
}

/// Hex SHA-256 of an open file's whole content, read in bounded memory; where the file stands does not matter and stays.
pub(crate) fn sha256_of(file: &File) -> io::Result<String> {
    hex(&digest(file)?)
}

pub(crate) fn hex(bytes: &[u8]) -> io::Result<String> {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // Writing to a String cannot fail; its error type exists only for the trait.
        write!(hex, "{byte:02x}").map_err(io::Error::other)?;
    }
    Ok(hex)
}

pub(crate) fn digest(file: &File) -> io::Result<[u8; 32]> {
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
