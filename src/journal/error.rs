//! Why a journal could not do what it was asked.

use std::error::Error;
use std::path::PathBuf;

use crate::job::JobId;

/// Why the journal could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store answered with an error, such as a full disk. Nothing of the commit is kept.
    #[error(
        "the journal {path} cannot be used: {source}; nothing was changed. Check the disk's free space and permissions; work continues automatically once it can be written"
    )]
    Store {
        /// The journal's file.
        path: PathBuf,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The file is not a journal of taxiway, or is damaged.
    #[error(
        "{path} is not a readable journal: {why}. Nothing was changed. Restore it from a backup; or, to start over, move it away (files in `working` then have to be moved back to the inbox by hand)"
    )]
    Unreadable {
        /// The journal's file.
        path: PathBuf,
        /// The cause.
        why: String,
    },
    /// The journal cannot be opened because of its disk or folder.
    #[error(
        "the journal {path} cannot be opened: {why}. Nothing was changed, and the journal itself is not damaged. Check that {dir} has free space, is mounted writable and belongs to this user, then start again", dir = path.parent().unwrap_or(path).display()
    )]
    Unusable {
        /// The journal's file.
        path: PathBuf,
        /// The cause.
        why: String,
    },
    /// A newer version wrote it.
    #[error(
        "the journal {path} was written by a newer version of taxiway (format {found}; this version knows up to {known}). Nothing was changed. Install that version again, or a later one"
    )]
    Newer {
        /// The journal's file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this version knows.
        known: i64,
    },
    /// Another process changed the job in the meantime.
    #[error("job {0} was changed by another process; only one daemon may use a journal")]
    Conflict(JobId),
}
