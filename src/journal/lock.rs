//! One daemon for each state directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use fs4::{FileExt, TryLockError};

use crate::files::create_own_folders;

/// The lock that a daemon holds while it runs. The kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// Why the state directory cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum AlreadyRunning {
    /// Another process holds the lock.
    #[error(
        "a taxiway daemon already runs on the state in {0}: stop it first, or give this one another `state_dir`"
    )]
    Running(PathBuf),
    /// The lock file cannot be created.
    #[error(
        "the state directory {path} cannot be used: {source}. Make it writable for this user, or set `state_dir`"
    )]
    Unusable {
        /// The state directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl StateLock {
    /// Takes the lock of a state directory, which is created if it is missing.
    pub fn take(state_dir: &Path) -> Result<StateLock, AlreadyRunning> {
        let unusable = |source| AlreadyRunning::Unusable {
            path: state_dir.to_owned(),
            source,
        };
        create_own_folders(state_dir).map_err(unusable)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(state_dir.join("lock"))
            .map_err(unusable)?;
        match FileExt::try_lock(&file) {
            Ok(()) => Ok(StateLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(AlreadyRunning::Running(state_dir.to_owned())),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }
}
