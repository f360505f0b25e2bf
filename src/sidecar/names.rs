//! What the names of dropped files say: medium, sidecar or marker, and which name is the same as another.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use unicode_normalization::UnicodeNormalization;

use crate::media::{Kind, kind_by_extension};

/// What a file's name says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// An image, a video or a sound.
    Medium(Kind),
    /// A sidecar.
    Sidecar,
    /// Neither.
    Other,
}

/// What the name of a dropped file says it is. The content is probed later.
pub fn classify(name: &OsStr) -> Class {
    match extension(name).as_deref() {
        Some("yaml" | "yml") => Class::Sidecar,
        _ => match kind_by_extension(name) {
            Some(kind) => Class::Medium(kind),
            None => Class::Other,
        },
    }
}

pub(crate) fn extension(name: &OsStr) -> Option<String> {
    let bytes = name.as_bytes();
    let dot = bytes.iter().rposition(|byte| *byte == b'.')?;
    let extension = bytes.get(dot.checked_add(1)?..)?;
    Some(String::from_utf8_lossy(extension).to_ascii_lowercase())
}

/// What is appended to a file's name for the marker that says that it is finished: `cat.jpg.done`.
const MARKER: &str = ".done";

/// The name of a file's marker.
pub fn marker_of(name: &OsStr) -> OsString {
    let mut marker = name.to_owned();
    marker.push(MARKER);
    marker
}

/// The name of the file that a marker is for, if a name is a marker's.
pub fn marked_by(name: &OsStr) -> Option<&OsStr> {
    let marked = name.as_bytes().strip_suffix(MARKER.as_bytes())?;
    (!marked.is_empty()).then(|| OsStr::from_bytes(marked))
}

/// A name for comparing: the same letters in Unicode's composed form (NFC), since Macs write accents as separate characters.
/// Names that are not UTF-8 are compared by their bytes.
pub fn nfc_key(name: &OsStr) -> Vec<u8> {
    match name.to_str() {
        Some(text) => text.nfc().collect::<String>().into_bytes(),
        None => name.as_bytes().to_vec(),
    }
}
