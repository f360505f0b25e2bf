//! What the daemon's tasks share.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Config;
use crate::control::Hub;
use crate::notify::Receivers;

/// What the daemon's own tasks and reloads share.
pub(super) struct Shared {
    pub(super) hub: Arc<Hub>,
    pub(super) config: Mutex<Config>,
    pub(super) receivers: Arc<Mutex<Arc<Receivers>>>,
    /// Inboxes that are mount points whose filesystem was not mounted at the start.
    pub(super) on_mounts: HashSet<PathBuf>,
}

impl Shared {
    pub(super) fn config(&self) -> MutexGuard<'_, Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
