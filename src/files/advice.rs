//! What a person can do about trouble with a disk or share.

use std::io;

/// What the operator can do about an error of a disk.
pub(crate) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "Make room on that disk; work then continues automatically"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "It is mounted read-only: mount it writable; work then continues automatically"
        }
        io::ErrorKind::PermissionDenied => {
            "Give taxiway's user permission to read and write there; work then continues automatically"
        }
        _ => "Check that disk or share; work continues automatically once it is available",
    }
}
