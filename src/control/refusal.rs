//! Why there is no answer.

use crate::journal::JournalError;
use crate::ledger::LedgerError;

/// Why something is not answered or not done, in words for people.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done as things are.
    #[error("{0}")]
    Conflict(String),
    /// It cannot be known now.
    #[error("{0}")]
    Unavailable(String),
    /// The request cannot be understood.
    #[error("{0}")]
    Invalid(String),
}

impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Refusal {
        Refusal::Unavailable(error.to_string())
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Refusal {
        Refusal::Unavailable(format!("the answer cannot be written: {error}"))
    }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Refusal {
        Refusal::Conflict(error.to_string())
    }
}
