//! SHA-256 in hexadecimal.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::files::open::open_plain;

/// The SHA-256 of the file at a path, read in bounded memory.
pub(crate) fn hash_path(path: &Path) -> io::Result<String> {
    hash_file(&open_plain(path)?)
}

/// The SHA-256 of an open file's whole content, read in bounded memory. The file's position does not matter and stays.
pub(crate) fn hash_file(file: &File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 64 * 1024];
    let mut at = 0_u64;
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => return Ok(hex(&hash.finalize())),
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

/// The SHA-256 of some bytes.
pub(crate) fn hash_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    digits.collect()
}
