//! What a person can do about trouble with a disk or share.

use std::io;

/// What a person can do about trouble with a disk.
pub(crate) fn advice(error: &io::Error) -> &'static str {
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
