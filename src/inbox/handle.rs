//! A running inbox as the rest of the daemon sees it: what it was told, what it last knew, and how to speak to its thread.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::evaluate::rules::Waiting;
use crate::catalogue::Catalogue;
use crate::config::Inbox;
use crate::files::RelPath;
use crate::folders::Places;
use crate::inbox::events::watch::Hint;
use crate::inbox::look::scan::Ignore;
use crate::job::{Job, JobId};
use crate::ledger::Ledger;
use crate::sidecar::layers::Layer;

/// A thread that gave no sign of life for so long hangs in its folder.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(30);

/// All that the thread of an inbox needs.
pub struct Setup {
    /// The inbox's name.
    pub name: String,
    /// Names that it had before, under which jobs in its folders are still in progress.
    pub formerly: Vec<String>,
    /// Its folders.
    pub places: Places,
    /// Everything else that is configured.
    pub inbox: Arc<Inbox>,
    /// Largest input in bytes.
    pub max_input: u64,
    /// Names that are passed over.
    pub ignore: Ignore,
    /// The configuration's `defaults`.
    pub defaults: Layer,
    /// Endpoints, models and parameters.
    pub catalogue: Arc<Catalogue>,
    /// Whether models that the catalogue does not know are let through.
    pub allow_unknown_models: bool,
    /// The owner of all jobs.
    pub ledger: Ledger,
}

/// What an inbox's thread last knew.
#[derive(Debug, Clone)]
pub struct InboxView {
    /// What stays in the inbox, by folder. Shared, since thousands of files may lie there.
    pub waiting: HashMap<RelPath, Arc<Vec<Held>>>,
    /// How often what waits has become another.
    pub news: u64,
    /// How changes are noticed and why, for people.
    pub backend: String,
    /// What cannot be done in which of its folders, a sentence each.
    pub unusable: Vec<String>,
    /// Why nothing can be done with the folder now.
    pub frozen: Option<String>,
    /// Whether the first scan is over.
    pub ready: bool,
    /// How long the last look at the whole inbox took.
    pub scan: Option<Duration>,
    /// When the thread last gave a sign of life.
    pub beat: Instant,
}

/// Why nothing is done with an inbox before its thread has had a look at its folders.
pub(super) const NOT_LOOKED: &str = "its folders have not been looked at yet";

impl InboxView {
    pub(super) fn new(now: Instant, frozen: Option<String>) -> InboxView {
        InboxView {
            waiting: HashMap::new(),
            news: 0,
            backend: String::new(),
            unusable: Vec::new(),
            frozen,
            ready: false,
            scan: None,
            beat: now,
        }
    }

    pub(super) fn is_stalled_at(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.beat) > STALLED_AFTER
    }
}

/// Something that stays in the inbox for now.
#[derive(Debug, Clone)]
pub struct Held {
    /// A name that becomes the job's.
    pub id: JobId,
    /// When it was first seen.
    pub since: Timestamp,
    /// What waits, and for what.
    pub waiting: Waiting,
}

/// A running inbox.
pub struct InboxHandle {
    /// The inbox's name.
    pub name: String,
    /// Names that it had before.
    pub formerly: Vec<String>,
    /// Its folders.
    pub places: Places,
    pub(super) view: Arc<Mutex<InboxView>>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) hints: Sender<Hint>,
    pub(super) retries: Retries,
    pub(super) thread: JoinHandle<()>,
}

/// Ended jobs whose inputs are on their way back to the inbox, by the input's path.
pub(super) type Retries = Arc<Mutex<HashMap<RelPath, Retry>>>;

/// An ended job that is to run again.
pub(super) struct Retry {
    /// The job.
    pub(super) job: Box<Job>,
    /// Whether its files are still on their way: nothing of them is taken then, since they may go back.
    pub(super) coming: bool,
}

impl InboxHandle {
    /// Whether the jobs of an inbox are this one's, which has its name or had it before.
    pub fn serves(&self, inbox: &str) -> bool {
        self.name == inbox || self.formerly.iter().any(|name| name == inbox)
    }

    /// How often what waits in it has become another since the start.
    pub fn news(&self) -> u64 {
        self.peek().news
    }

    /// What it last knew.
    pub fn view(&self) -> InboxView {
        self.peek().clone()
    }

    /// Whether its thread has had a look at its folders, and knows whether they can be used.
    pub fn has_begun(&self) -> bool {
        self.peek().frozen.as_deref() != Some(NOT_LOOKED)
    }

    /// Whether the first scan is over.
    pub fn has_looked(&self) -> bool {
        self.peek().ready
    }

    /// Why nothing can be done with its folder now, if nothing can.
    pub fn frozen(&self) -> Option<String> {
        let stalled = || {
            let why =
                "the folder does not answer: is its share's server in order? Other inboxes go on";
            self.is_stalled().then(|| why.to_owned())
        };
        stalled().or_else(|| self.peek().frozen.clone())
    }

    /// How changes in it are noticed, and why so.
    pub fn backend(&self) -> String {
        self.peek().backend.clone()
    }

    /// What cannot be done in which of its folders.
    pub fn unusable(&self) -> Vec<String> {
        self.peek().unusable.clone()
    }

    /// How much stays in the inbox.
    pub fn count_waiting(&self) -> usize {
        self.peek().waiting.values().map(|held| held.len()).sum()
    }

    /// The first of what stays in the inbox, by path, at most `limit`. Thousands may lie there, and nobody needs them all.
    pub fn first_waiting(&self, limit: usize) -> Vec<Waiting> {
        let view = self.peek();
        let mut folders: Vec<&RelPath> = view.waiting.keys().collect();
        folders.sort_unstable();
        let mut first = Vec::new();
        for folder in folders {
            let held = view.waiting.get(folder).into_iter();
            first.extend(held.flat_map(|held| held.iter().map(|held| held.waiting.clone())));
            if first.len() >= limit {
                break;
            }
        }
        drop(view);
        first.truncate(limit);
        first
    }

    /// Whether the first scan is over, or nobody knows when it will be: a folder that hangs keeps only itself waiting.
    pub fn is_ready(&self) -> bool {
        let view = self.peek();
        view.ready || view.is_stalled_at(Instant::now())
    }

    /// Whether the thread hangs in its folder, as on a share whose server does not answer.
    pub fn is_stalled(&self) -> bool {
        self.peek().is_stalled_at(Instant::now())
    }

    pub(super) fn peek(&self) -> MutexGuard<'_, InboxView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job that is made of this job's input is this job again. Said before the files move back to the inbox; nothing
    /// of them is taken until [`InboxHandle::retry_has_come`]. False if they are on their way already.
    pub fn expect_retry(&self, job: Job) -> bool {
        expect(&self.retries, job)
    }

    /// The files of this job lie in the inbox and stay there.
    pub fn retry_has_come(&self, job: &Job) {
        has_come(&self.retries, job);
    }

    /// Takes back what [`InboxHandle::expect_retry`] said.
    pub fn forget_retry(&self, job: &Job) {
        let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        if retries
            .get(&job.input)
            .is_some_and(|retry| retry.job.id == job.id)
        {
            retries.remove(&job.input);
        }
    }

    /// Looks at the whole inbox now.
    pub fn look(&self) {
        if self.hints.send(Hint::Everything).is_err() {
            tracing::trace!(inbox = %self.name, "the inbox's thread is gone already");
        }
    }

    /// Tells the thread to stop. It does so after what it is doing; a folder that hangs may keep it.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        // A thread that is gone needs no waking.
        if self.hints.send(Hint::Wake).is_err() {
            tracing::trace!(inbox = %self.name, "the inbox's thread is gone already");
        }
    }

    /// Whether the thread is over.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

/// See [`InboxHandle::expect_retry`].
pub(super) fn expect(retries: &Retries, job: Job) -> bool {
    let mut retries = retries.lock().unwrap_or_else(PoisonError::into_inner);
    if retries.get(&job.input).is_some_and(|retry| retry.coming) {
        return false;
    }
    let (input, job) = (job.input.clone(), Box::new(job));
    retries.insert(input, Retry { job, coming: true });
    true
}

/// See [`InboxHandle::retry_has_come`].
pub(super) fn has_come(retries: &Retries, job: &Job) {
    let mut retries = retries.lock().unwrap_or_else(PoisonError::into_inner);
    let (input, job) = (job.input.clone(), Box::new(job.clone()));
    retries.insert(input, Retry { job, coming: false });
}
