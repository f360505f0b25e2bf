//! Why a command fails, and with which exit code.

use crate::config::ConfigError;
use crate::control::ControlError;
use crate::daemon::StartError;
use crate::diagnostic::Diagnostic;
use crate::journal::AlreadyRunning;

/// Why a command did not succeed, by exit code.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// Exit code 3.
    #[error("{0}")]
    Invalid(String),
    /// Exit code 4.
    #[error("{0}")]
    KeyRefused(String),
    /// Exit code 5.
    #[error("{0}")]
    AlreadyRunning(String),
    /// The reader of the output has gone, which is not a failure.
    #[error("the reader is gone")]
    ReaderGone,
}

impl CommandError {
    pub(super) fn code(&self) -> u8 {
        match self {
            CommandError::Failed(_) => 1,
            CommandError::Invalid(_) => 3,
            CommandError::KeyRefused(_) => 4,
            CommandError::AlreadyRunning(_) => 5,
            CommandError::ReaderGone => 0,
        }
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> CommandError {
        CommandError::Invalid(error.to_string())
    }
}

impl From<ControlError> for CommandError {
    fn from(error: ControlError) -> CommandError {
        CommandError::Failed(error.to_string())
    }
}

impl From<Diagnostic> for CommandError {
    fn from(problem: Diagnostic) -> CommandError {
        CommandError::Invalid(format!("{problem:#}"))
    }
}

impl From<StartError> for CommandError {
    fn from(error: StartError) -> CommandError {
        match &error {
            StartError::State(AlreadyRunning::Running(_)) => {
                CommandError::AlreadyRunning(error.to_string())
            }
            StartError::Catalogue(_)
            | StartError::Client(_)
            | StartError::Secret(_)
            | StartError::Ignore { .. } => CommandError::Invalid(error.to_string()),
            StartError::State(AlreadyRunning::Unusable { .. })
            | StartError::Web(_)
            | StartError::Journal(_)
            | StartError::FolderInUse { .. }
            | StartError::FoldersInUse { .. }
            | StartError::Io { .. } => CommandError::Failed(error.to_string()),
        }
    }
}
