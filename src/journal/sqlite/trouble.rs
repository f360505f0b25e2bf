//! What an error of SQLite means for the journal.

use std::path::Path;

use crate::journal::JournalError;

/// Why the journal cannot be opened: it is damaged, or it is intact and its disk has trouble.
pub(super) fn unreadable(path: &Path, error: &sqlx::Error) -> JournalError {
    let (path, why) = (path.to_owned(), error.to_string());
    match error {
        sqlx::Error::Database(database) if !is_trouble(database.code().as_deref()) => {
            JournalError::Unreadable { path, why }
        }
        sqlx::Error::Database(_) | sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => {
            JournalError::Unusable { path, why }
        }
        _ => JournalError::Unreadable { path, why },
    }
}

/// Whether SQLite found the file itself damaged, which neither time nor free space fixes.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    /// `SQLITE_CORRUPT` and `SQLITE_NOTADB`.
    const DAMAGE: [u32; 2] = [11, 26];
    error
        .as_database_error()
        .and_then(|error| error.code())
        .and_then(|code| code.parse::<u32>().ok())
        // The upper bits of a code say more about the same thing.
        .is_some_and(|code| DAMAGE.contains(&(code & 0xff)))
}

/// Whether one of SQLite's codes is about permissions, locks, the disk or its room, and not about the file's content:
/// PERM, BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL, NOLFS, AUTH. The extended codes hold them in their
/// lowest byte.
fn is_trouble(code: Option<&str>) -> bool {
    let code = code.and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 3 | 5..=8 | 10 | 13..=15 | 22 | 23))
}
