//! What is remembered about jobs in motion, and lost with the process: who is driven, and what each last ran into.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::job::{Job, JobId};
use crate::runway::OutputUrl;

pub(crate) struct InFlight {
    notes: Mutex<Notes>,
    /// Wakes the dispatcher.
    wake: Arc<Notify>,
}

#[derive(Default)]
struct Notes {
    driven: HashSet<JobId>,
    /// Fresh addresses of outputs, from the poll that found the task finished.
    outputs: HashMap<JobId, Vec<OutputUrl>>,
    /// How often in a row a job's transfers failed.
    failures: HashMap<JobId, u32>,
    /// What a job last ran into, for `status`.
    troubles: HashMap<JobId, String>,
    /// Jobs whose file work takes long, with the inbox that may hang.
    slow: HashMap<JobId, String>,
}

impl InFlight {
    pub(crate) fn new(wake: Arc<Notify>) -> Arc<InFlight> {
        let notes = Mutex::default();
        Arc::new(InFlight { notes, wake })
    }

    /// Marks a job as driven until the answer is dropped. `None` if it is driven already.
    pub(crate) fn start_driving(self: &Arc<Self>, id: &JobId) -> Option<Driven> {
        let is_new = self.notes.lock().driven.insert(id.clone());
        is_new.then(|| Driven {
            in_flight: self.clone(),
            id: id.clone(),
        })
    }

    pub(crate) fn is_driven(&self, id: &JobId) -> bool {
        self.notes.lock().driven.contains(id)
    }

    /// Notes what a job ran into.
    pub(crate) fn note_trouble(&self, id: &JobId, what: String) {
        self.notes.lock().troubles.insert(id.clone(), what);
    }

    pub(crate) fn clear_trouble(&self, id: &JobId) {
        self.notes.lock().troubles.remove(id);
    }

    pub(crate) fn trouble(&self, id: &JobId) -> Option<String> {
        self.notes.lock().troubles.get(id).cloned()
    }

    /// Keeps the addresses that a poll found.
    pub(crate) fn keep_outputs(&self, id: &JobId, urls: Vec<OutputUrl>) {
        self.notes.lock().outputs.insert(id.clone(), urls);
    }

    /// Takes the addresses that a poll found; they are used once.
    pub(crate) fn take_outputs(&self, id: &JobId) -> Option<Vec<OutputUrl>> {
        self.notes.lock().outputs.remove(id)
    }

    /// Counts one more failure of a job's transfers, and answers how many there were in a row.
    pub(crate) fn count_failure(&self, id: &JobId) -> u32 {
        let mut notes = self.notes.lock();
        let times = notes.failures.entry(id.clone()).or_default();
        *times = times.saturating_add(1);
        *times
    }

    pub(crate) fn clear_failures(&self, id: &JobId) {
        self.notes.lock().failures.remove(id);
    }

    /// Marks a job whose file work takes long until the answer is dropped.
    pub(crate) fn mark_slow<'a>(&'a self, job: &'a Job) -> Slow<'a> {
        let mut notes = self.notes.lock();
        notes.slow.insert(job.id.clone(), job.inbox.clone());
        let what = "its folders respond slowly: is their disk or share OK?";
        notes.troubles.insert(job.id.clone(), what.to_owned());
        drop(notes);
        self.wake.notify_one();
        Slow {
            in_flight: self,
            id: &job.id,
        }
    }

    /// Jobs whose file work takes so long that it may hang, with their inboxes.
    pub(crate) fn slow_jobs(&self) -> HashMap<JobId, String> {
        self.notes.lock().slow.clone()
    }
}

/// A job that is driven. However its driver ends, it can be driven again.
pub(crate) struct Driven {
    in_flight: Arc<InFlight>,
    id: JobId,
}

impl Driven {
    pub(crate) fn id(&self) -> &JobId {
        &self.id
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let mut notes = self.in_flight.notes.lock();
        notes.driven.remove(&self.id);
        notes.troubles.remove(&self.id);
        drop(notes);
        self.in_flight.wake.notify_one();
    }
}

/// A job whose file work takes long.
pub(crate) struct Slow<'a> {
    in_flight: &'a InFlight,
    id: &'a JobId,
}

impl Drop for Slow<'_> {
    fn drop(&mut self) {
        let mut notes = self.in_flight.notes.lock();
        notes.slow.remove(self.id);
        notes.troubles.remove(self.id);
        drop(notes);
        self.in_flight.wake.notify_one();
    }
}
