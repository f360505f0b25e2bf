//! The settings that a reload of the configuration may change.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::config::{Inbox, MaxInFlight, OnDoubt};
use crate::folders::Places;
use crate::job::Job;
use crate::policy::budget::SpendLimits;
use crate::policy::retry::Trouble;

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The shortest time between two polls of one task.
    pub(crate) poll_interval: Duration,
    /// How many tasks run at once for each model.
    pub(crate) max_in_flight: MaxInFlight,
    /// What happens to a submission whose outcome is unknown.
    pub(crate) on_doubt: OnDoubt,
    /// Spending limits of all inboxes together.
    pub(crate) limits: SpendLimits,
    pub(crate) inboxes: HashMap<String, InboxSettings>,
}

#[derive(Debug, Clone)]
pub(crate) struct InboxSettings {
    pub(crate) places: Places,
    /// Everything else that is configured.
    pub(crate) inbox: Arc<Inbox>,
}

impl Settings {
    /// Adds the inboxes that only `known` has: an inbox that is no longer configured may still have open jobs, and may be
    /// taking its last one right now.
    pub(crate) fn with_known(mut self, known: &Settings) -> Settings {
        for (name, inbox) in &known.inboxes {
            let own = self.inboxes.entry(name.clone());
            own.or_insert_with(|| inbox.clone());
        }
        self
    }
}

/// The settings in force.
pub(crate) struct CurrentSettings {
    current: RwLock<Arc<Settings>>,
    /// Wakes the dispatcher.
    wake: Arc<Notify>,
}

impl CurrentSettings {
    pub(crate) fn new(settings: Settings, wake: Arc<Notify>) -> CurrentSettings {
        CurrentSettings {
            current: RwLock::new(Arc::new(settings)),
            wake,
        }
    }

    pub(crate) fn load(&self) -> Arc<Settings> {
        self.current.read().clone()
    }

    pub(crate) fn replace(&self, settings: Settings) {
        *self.current.write() = Arc::new(settings);
        self.wake.notify_one();
    }

    /// The settings of a job's inbox. `None` if neither the configuration nor the journal knows the inbox.
    pub(crate) fn inbox_of(&self, job: &Job) -> Option<InboxSettings> {
        self.load().inboxes.get(&job.inbox).cloned()
    }

    /// Chooses how long to wait after `times` failures in a row, counted from 1.
    pub(crate) fn choose_pause(
        &self,
        trouble: Trouble,
        times: u32,
        retry_after: Option<Duration>,
    ) -> Duration {
        let interval = self.load().poll_interval;
        trouble.pause(times, interval, retry_after, fastrand::f64())
    }
}
