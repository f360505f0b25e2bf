//! The journal: the durable store of all jobs.
//!
//! [`Journal`] is what a store can do, in parts, so that another store can take SQLite's place. Every write is all or
//! nothing, and once it has answered, what it was given survives a power cut. Each job is kept as it stands (to start
//! quickly) and as the events that led there (to show its history); both are written in one transaction.
//!
//! # Versions
//!
//! Every later version opens the journals of earlier ones. What is stored has a format number; a journal with a higher one
//! than is known is refused and left alone. Within a number, later versions add fields that may be absent and that it does
//! no harm to lose: an earlier version passes over them, and writes the job without them when its state changes. Whatever
//! an earlier version must not pass over (a new state, a new event, a field that means money) gets a new number. Should one
//! turn up all the same, the job cannot be read, and the start is refused rather than that job left out.

mod error;
mod lock;
mod sqlite;

pub use error::JournalError;
pub use lock::{AlreadyRunning, StateLock};
pub use sqlite::SqliteJournal;

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::job::{Event, Job, JobId, StateName};
use crate::status::notice::{Notice, Target};

/// One change of a job to be made durable.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What happened; `None` for a job that is new.
    pub event: Option<Event>,
    /// The job afterwards.
    pub job: Job,
    /// The notices to send about it.
    pub notices: Vec<Notice>,
}

impl Entry {
    /// The name of its commit in `TAXIWAY_FAILPOINT`.
    pub(crate) fn point(&self) -> &'static str {
        self.event.as_ref().map_or("insert", Event::point)
    }
}

/// Media that Runway holds for a while after an ephemeral upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// `runway://…`
    pub uri: String,
    /// When Runway forgets it.
    pub expires_at: Timestamp,
}

/// Selects jobs that have ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Those in one of these states; empty for any.
    pub states: Vec<StateName>,
    /// Those of this inbox.
    pub inbox: Option<String>,
    /// Those that may have this text in any field, whatever its case. A store may find more: the caller checks again.
    pub text: Option<String>,
}

/// How many jobs of an inbox have ended in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The state.
    pub state: StateName,
    /// The inbox's name.
    pub inbox: String,
    /// How many.
    pub jobs: u64,
}

/// What the tasks of one day, inbox and model cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// The day in UTC, as `2026-11-27`.
    pub day: String,
    /// The inbox's name.
    pub inbox: String,
    /// The model, where the endpoint has models.
    pub model: Option<String>,
    /// How many tasks, with the doubts that count as spent.
    pub tasks: u64,
    /// Credits that Runway charged, for the tasks whose charge is known.
    pub charged: f64,
    /// Credits that the others are expected to cost, where their price is known.
    pub estimated: f64,
    /// Tasks that cost an unknown amount.
    pub unknown: u64,
}

/// The answer of a journal.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, JournalError>>;

/// A durable store of all that has to survive the process.
pub trait Journal: Jobs + Spending + Notices + Uploads + Folders {}

impl<T: Jobs + Spending + Notices + Uploads + Folders> Journal for T {}

/// The part of a journal that keeps jobs and their history.
pub trait Jobs: Send + Sync {
    /// Makes all `entries` durable in one transaction, or none of them. A crash before the answer leaves either all or
    /// nothing; a crash after it leaves all.
    fn commit<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a, ()>;

    /// All jobs that have not ended, oldest first.
    fn open_jobs(&self) -> Answer<'_, Vec<Job>>;

    /// One job.
    fn job<'a>(&'a self, id: &'a JobId) -> Answer<'a, Option<Job>>;

    /// The events of a job, in order.
    fn history<'a>(&'a self, id: &'a JobId) -> Answer<'a, Vec<(Timestamp, Event)>>;

    /// Jobs that have ended, the latest first, at most `limit`; with `before`, the end of the previous page, those that ended
    /// before it.
    fn ended_jobs<'a>(
        &'a self,
        filter: &'a Filter,
        before: Option<&'a (Timestamp, JobId)>,
        limit: u32,
    ) -> Answer<'a, Vec<Job>>;

    /// How many jobs have ended, by state and inbox. Reads all of them, so callers keep the answer for a while.
    fn ended_counts(&self) -> Answer<'_, Vec<Count>>;

    /// The ended jobs of an inbox that a person asked to run again and whose files were not taken yet.
    fn jobs_to_retry<'a>(&'a self, inbox: &'a str) -> Answer<'a, Vec<Job>>;

    /// The failed jobs of an inbox whose input's path is `stem`, or that with an extension, the latest first, at most `limit`.
    fn failed_jobs<'a>(&'a self, inbox: &'a str, stem: &'a str, limit: u32)
    -> Answer<'a, Vec<Job>>;

    /// The ids of jobs that begin with `prefix`, at most ten.
    fn find_ids<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<JobId>>;
}

/// The part of a journal that knows what was spent. Its figures come from the jobs of [`Jobs::commit`].
pub trait Spending: Send + Sync {
    /// What was spent since then, by day, inbox and model, the earliest day first.
    fn spent_since(&self, since: Timestamp) -> Answer<'_, Vec<Spent>>;

    /// Credits of all tasks accepted at or after `since`, by inbox: what Runway charged, else what was estimated. Tasks of
    /// unknown price count as nothing.
    fn credits_by_inbox(&self, since: Timestamp) -> Answer<'_, HashMap<String, f64>>;

    /// The job that has, or had, a task of Runway's.
    fn owner_of_task<'a>(&'a self, task: &'a str) -> Answer<'a, Option<JobId>>;

    /// How many tasks of a model were accepted at or after `since`. Doubts do not count.
    fn tasks_started<'a>(&'a self, model: &'a str, since: Timestamp) -> Answer<'a, u32>;
}

/// The part of a journal that keeps notices until they are sent.
pub trait Notices: Send + Sync {
    /// Adds notices that are not about a job's event.
    fn add_notices<'a>(&'a self, notices: &'a [Notice]) -> Answer<'a, ()>;

    /// Notices to a target that are due at `now`, the longest due first, at most `limit`.
    fn due_notices(&self, target: Target, now: Timestamp, limit: u32) -> Answer<'_, Vec<Notice>>;

    /// When the next notice is due, if there is one.
    fn next_notice(&self) -> Answer<'_, Option<Timestamp>>;

    /// Forgets a notice that was sent or given up.
    fn forget_notice<'a>(&'a self, id: &'a str, target: Target) -> Answer<'a, ()>;

    /// Makes a notice due again later, after `attempts` tries that failed.
    fn postpone_notice<'a>(
        &'a self,
        id: &'a str,
        target: Target,
        attempts: u32,
        due: Timestamp,
    ) -> Answer<'a, ()>;
}

/// The part of a journal that knows which media Runway holds.
pub trait Uploads: Send + Sync {
    /// The upload of the content with this hex SHA-256 under an API account, if it is valid until after `until`.
    fn upload<'a>(
        &'a self,
        account: &'a str,
        sha256: &'a str,
        until: Timestamp,
    ) -> Answer<'a, Option<Upload>>;

    /// Remembers an upload and forgets those that have expired by `now`.
    fn remember_upload<'a>(
        &'a self,
        account: &'a str,
        sha256: &'a str,
        upload: &'a Upload,
        now: Timestamp,
    ) -> Answer<'a, ()>;

    /// Forgets an upload, which Runway may no longer know.
    fn forget_upload<'a>(&'a self, uri: &'a str) -> Answer<'a, ()>;
}

/// The part of a journal that remembers texts about folders, each under a key of the caller's.
pub trait Folders: Send + Sync {
    /// What was remembered under `key`.
    fn folder<'a>(&'a self, key: &'a str) -> Answer<'a, Option<String>>;

    /// Remembers `text` under `key`, in place of what was remembered there.
    fn remember_folder<'a>(&'a self, key: &'a str, text: &'a str) -> Answer<'a, ()>;

    /// Forgets what was remembered of all folders.
    fn forget_folders(&self) -> Answer<'_, ()>;
}
