//! Why a daemon does not start, or refuses a new configuration.

use std::path::PathBuf;

use crate::diagnostic::Diagnostic;
use crate::journal::{AlreadyRunning, JournalError};
use crate::notify::SecretError;
use crate::runway::ClientError;
use crate::web::WebError;

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another daemon has the state directory, or it cannot be used.
    #[error(transparent)]
    State(#[from] AlreadyRunning),
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The catalogue that the configuration names cannot be used.
    #[error("{0:#}")]
    Catalogue(#[from] Diagnostic),
    /// An inbox would get the folder of another whose jobs are in progress.
    #[error(
        "inbox '{other}' cannot have the folder of inbox '{inbox}' yet, whose jobs are in progress there: reload again once they have ended, \
         or restart taxiway"
    )]
    FolderInUse {
        /// Whose folder it is.
        inbox: String,
        /// Who would get it.
        other: String,
    },
    /// An inbox that was taken out of the configuration would come back with other folders than its jobs in progress have.
    #[error(
        "inbox '{inbox}' cannot have other folders yet: its jobs are in progress in those that it had before, such as {before}. Write those \
         back, or restart taxiway, which moves them"
    )]
    FoldersInUse {
        /// Its name.
        inbox: String,
        /// Its `working` of before.
        before: PathBuf,
    },
    /// The webhook's secret cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The API's client cannot be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A pattern of names to ignore is invalid.
    #[error("inbox '{inbox}': `ignore` has an invalid pattern: {why}. Fix it")]
    Ignore {
        /// The inbox.
        inbox: String,
        /// Why.
        why: String,
    },
    /// The status page cannot be served.
    #[error(transparent)]
    Web(#[from] WebError),
    /// The control socket or a thread cannot be made.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
}
