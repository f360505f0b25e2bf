//! What answers need of a running daemon.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Cached;
use crate::engine::Engine;
use crate::inbox::InboxHandle;
use crate::journal::{Count, Spent};

/// The parts of the daemon that people ask about and change, shared by the control socket, the page and the daemon itself.
pub(crate) struct Hub {
    pub(crate) engine: Arc<Engine>,
    inboxes: Mutex<Vec<InboxHandle>>,
    /// How many jobs have ended.
    pub(super) ended: Cached<Vec<Count>>,
    pub(super) spending: Cached<Spending>,
}

/// What was spent in the two periods that limits are for, by day, inbox and model.
pub(super) struct Spending {
    pub(super) day: Vec<Spent>,
    pub(super) month: Vec<Spent>,
}

impl Hub {
    pub(crate) fn new(engine: Arc<Engine>, inboxes: Vec<InboxHandle>) -> Hub {
        Hub {
            engine,
            inboxes: Mutex::new(inboxes),
            ended: Cached::default(),
            spending: Cached::default(),
        }
    }

    pub(crate) fn inboxes(&self) -> MutexGuard<'_, Vec<InboxHandle>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
