//! The journal: the durable store of all jobs.
//!
//! One trait, so that another store can take SQLite's place. A [`Journal::commit`] is all or nothing, and once it has
//! answered, what it was given survives a power cut. Each job is kept as it stands (to start quickly) and as the events
//! that led there (to explain itself to people); both are written in one transaction.
//!
//! # Versions
//!
//! Every later version opens the journals of earlier ones. What is stored has a format number; a journal with a higher one
//! than is known is refused and left alone. Within a number, later versions add fields that may be absent and that it does
//! no harm to lose: an earlier version passes over them, and writes the job without them when its state changes. Whatever
//! an earlier version must not pass over (a new state, a new event, a field that means money) gets a new number. Should one
//! turn up all the same, the job cannot be read, and the start is refused rather than that job left out.

mod lock;
mod sqlite;

pub use lock::{AlreadyRunning, StateLock};
pub use sqlite::SqliteJournal;

use std::collections::HashMap;
use std::path::PathBuf;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::job::{Event, Job, JobId, StateName};
use crate::status::notice::{Notice, Target};

/// One change to be made durable.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What happened; `None` for a job that is new.
    pub event: Option<Event>,
    /// The job afterwards.
    pub job: Job,
    /// What people are to be told of it.
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

/// Which jobs are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Those in one of these states; empty for any.
    pub states: Vec<StateName>,
    /// Those of this inbox.
    pub inbox: Option<String>,
    /// Those that may hold this text anywhere, whatever its case. What the journal finds is looked at again by whoever asks.
    pub text: Option<String>,
}

/// How many ended jobs of an inbox are in a state.
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
    /// How many tasks, also those in doubt that count as spent.
    pub tasks: u64,
    /// Credits that Runway charged, of the tasks that told it.
    pub charged: f64,
    /// Credits that the others are expected to cost, of those whose price is known.
    pub estimated: f64,
    /// Tasks of which neither is known: they cost something, and nobody knows how much.
    pub unknown: u64,
}

/// Why the journal could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store answered with an error, such as a full disk. Nothing of the commit is kept.
    #[error(
        "the journal {path} cannot be used: {source}; nothing was changed. Check the disk's free space and permissions; work goes on by itself once it can be written"
    )]
    Store {
        /// The journal's file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// The file is not a journal of taxiway, or is damaged.
    #[error(
        "{path} is not a readable journal: {why}. Nothing was changed. Restore it from a backup; or, to begin anew, move it away (files in `working` then have to be moved back to the inbox by hand)"
    )]
    Unreadable {
        /// The journal's file.
        path: PathBuf,
        /// The cause.
        why: String,
    },
    /// The journal cannot be opened, for a reason that lies in its disk or folder.
    #[error(
        "the journal {path} cannot be opened: {why}. Nothing was changed, and nothing is wrong with the journal itself. Look whether {dir} has room, is mounted writable and belongs to this user, then start again", dir = path.parent().unwrap_or(path).display()
    )]
    Unusable {
        /// The journal's file.
        path: PathBuf,
        /// The cause.
        why: String,
    },
    /// A newer version wrote it.
    #[error(
        "the journal {path} was written by a newer version of taxiway (format {found}; this version knows up to {known}). Nothing was changed. Install that version again, or a later one"
    )]
    Newer {
        /// The journal's file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this version knows.
        known: i64,
    },
    /// Somebody else changed the job meanwhile.
    #[error("job {0} was changed by another process; only one daemon may use a journal")]
    Conflict(JobId),
}

/// The answer of a journal.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, JournalError>>;

/// A durable store of jobs.
pub trait Journal: Send + Sync {
    /// Makes all `entries` durable in one transaction, or none of them. A crash before the answer leaves either all or
    /// nothing; a crash after it leaves all.
    fn commit<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a, ()>;

    /// All jobs that are not at an end, oldest first.
    fn open_jobs(&self) -> Answer<'_, Vec<Job>>;

    /// One job.
    fn job<'a>(&'a self, id: &'a JobId) -> Answer<'a, Option<Job>>;

    /// What happened to a job, in order.
    fn history<'a>(&'a self, id: &'a JobId) -> Answer<'a, Vec<(Timestamp, Event)>>;

    /// Jobs at an end, the latest first, at most `limit`; those that ended before `before` where that is given, which is the end
    /// of the page before.
    fn ended_jobs<'a>(
        &'a self,
        filter: &'a Filter,
        before: Option<&'a (Timestamp, JobId)>,
        limit: u32,
    ) -> Answer<'a, Vec<Job>>;

    /// How many jobs have ended, by state and inbox. Reads all of them: not for every look.
    fn ended_counts(&self) -> Answer<'_, Vec<Count>>;

    /// What was spent since then, by day, inbox and model, the earliest day first.
    fn spent_since(&self, since: Timestamp) -> Answer<'_, Vec<Spent>>;

    /// The ended jobs of an inbox that a person asked to run again and whose files were not taken yet.
    fn jobs_to_retry<'a>(&'a self, inbox: &'a str) -> Answer<'a, Vec<Job>>;

    /// The failed jobs of an inbox whose input's path is `stem`, or that with an extension, the latest first, at most `limit`.
    fn failed_jobs<'a>(&'a self, inbox: &'a str, stem: &'a str, limit: u32)
    -> Answer<'a, Vec<Job>>;

    /// What was remembered of a folder that inboxes lie in, or of the folders of an inbox.
    fn root<'a>(&'a self, path: &'a str) -> Answer<'a, Option<String>>;

    /// Remembers it.
    fn remember_root<'a>(&'a self, path: &'a str, what: &'a str) -> Answer<'a, ()>;

    /// Forgets what was remembered of all folders.
    fn forget_roots(&self) -> Answer<'_, ()>;

    /// Adds what people are to be told of, where that is no event of a job's.
    fn add_notices<'a>(&'a self, notices: &'a [Notice]) -> Answer<'a, ()>;

    /// Notices to one of those who are told that are due at `now`, the longest due first, at most `limit`.
    fn due_notices(&self, target: Target, now: Timestamp, limit: u32) -> Answer<'_, Vec<Notice>>;

    /// When the next notice is due, if there is one.
    fn next_notice(&self) -> Answer<'_, Option<Timestamp>>;

    /// A notice was heard, or is given up.
    fn forget_notice<'a>(&'a self, id: &'a str, target: Target) -> Answer<'a, ()>;

    /// A notice was told in vain for the n-th time, and is due again later.
    fn postpone_notice<'a>(
        &'a self,
        id: &'a str,
        target: Target,
        attempts: u32,
        due: Timestamp,
    ) -> Answer<'a, ()>;

    /// The ids of jobs that begin with `prefix`, at most ten.
    fn ids_like<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<JobId>>;

    /// Credits of all tasks accepted at or after `since`, by inbox: what Runway charged, else what was estimated. Tasks of
    /// unknown price count nothing.
    fn credits_by_inbox(&self, since: Timestamp) -> Answer<'_, HashMap<String, f64>>;

    /// The job that has, or had, a task of Runway's.
    fn owner_of_task<'a>(&'a self, task: &'a str) -> Answer<'a, Option<JobId>>;

    /// How many tasks of a model were accepted at or after `since`. Doubts do not count.
    fn tasks_started<'a>(&'a self, model: &'a str, since: Timestamp) -> Answer<'a, u32>;

    /// Forgets an upload, which Runway may no longer know.
    fn forget_upload<'a>(&'a self, uri: &'a str) -> Answer<'a, ()>;

    /// The upload of the content with this hex SHA-256 under an API account, if it is good until after `until`.
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
}
