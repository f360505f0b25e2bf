//! What is counted while the daemon runs: one place for all of it.
//!
//! Counters begin at nothing with every start, as whoever collects them expects; what the journal knows (jobs, spending) is
//! asked of it and not counted here. The ledger tells of every change that is durable, the engine and the stages of what they
//! asked of Runway and moved.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::job::{Event, Job, JobId, State};
use crate::journal::Entry;
use crate::runway::{CallError, DownloadError, Submission, UploadError};

/// Upper bounds of the histogram of times in the queue, in seconds.
pub const QUEUE_BOUNDS: [f64; 8] = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0];
/// Upper bounds of the histogram of tasks' times, in seconds.
pub const TASK_BOUNDS: [f64; 8] = [5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];
/// Models that are told apart; further ones share a name, so that mistyped models do not fill the memory.
const MODELS: usize = 100;
/// What models beyond these, and none, are called.
const OTHER: &str = "other";

/// A histogram with eight bounds, and what lies beyond the last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// How many lay at or below each bound, and not below the one before; the last: beyond all.
    pub counts: [u64; 9],
    /// The sum of all, in seconds.
    pub sum: f64,
}

impl Histogram {
    fn add(&mut self, bounds: &[f64; 8], seconds: f64) {
        let seconds = seconds.max(0.0);
        let at = bounds
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(8);
        if let Some(count) = self.counts.get_mut(at) {
            *count = count.saturating_add(1);
        }
        self.sum += seconds;
    }
}

/// What was counted up to some moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Questions about tasks.
    pub polls: u64,
    /// Bytes of uploads that Runway has.
    pub uploaded: u64,
    /// Bytes of outputs that were fetched.
    pub downloaded: u64,
    /// What went wrong with Runway, by what was asked and how it failed.
    pub errors: BTreeMap<(&'static str, &'static str), u64>,
    /// Seconds that jobs stood in the queue before they went on, by model.
    pub queue: BTreeMap<String, Histogram>,
    /// Seconds from a task's acceptance to its success, by model.
    pub tasks: BTreeMap<String, Histogram>,
    /// Jobs that ended, by inbox and the contract's word.
    pub ended: BTreeMap<(String, &'static str), u64>,
    /// Credits that started tasks were expected to cost, by inbox.
    pub estimated: BTreeMap<String, f64>,
    /// Credits that Runway charged, by inbox.
    pub charged: BTreeMap<String, f64>,
    /// Tasks that were started at a price nobody knows, by inbox.
    pub unknown: BTreeMap<String, u64>,
}

impl Figures {
    /// Counts what has not happened in an inbox yet as nothing. Prometheus sees no increase in a series that begins with the
    /// first job, and an alert on what does not happen needs a series in which it does not.
    pub fn begin_at_nothing<'a>(&mut self, inboxes: impl IntoIterator<Item = &'a str>) {
        for inbox in inboxes {
            for state in ["done", "failed", "cancelled"] {
                self.ended.entry((inbox.to_owned(), state)).or_default();
            }
            self.estimated.entry(inbox.to_owned()).or_default();
            self.charged.entry(inbox.to_owned()).or_default();
            self.unknown.entry(inbox.to_owned()).or_default();
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    /// Since when jobs stand in the queue.
    queued: HashMap<JobId, Timestamp>,
    figures: Figures,
}

/// The counters.
#[derive(Debug, Default)]
pub struct Metrics {
    polls: AtomicU64,
    uploaded: AtomicU64,
    downloaded: AtomicU64,
    seen: Mutex<Seen>,
}

impl Metrics {
    /// Counters at nothing, with the jobs that were open before the start.
    pub fn new(open: &[Job]) -> Metrics {
        let metrics = Metrics::default();
        let queued = open.iter().filter(|job| is_queued(job));
        metrics.lock().queued = queued.map(|job| (job.id.clone(), job.updated_at)).collect();
        metrics
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change is durable.
    pub fn saw(&self, entry: &Entry) {
        let job = &entry.job;
        let mut seen = self.lock();
        if is_queued(job) {
            seen.queued.entry(job.id.clone()).or_insert(job.updated_at);
        } else if let Some(since) = seen.queued.remove(&job.id)
            && matches!(job.state, State::Uploading)
        {
            let waited = seconds(since, job.updated_at);
            of_model(&mut seen.figures.queue, job).add(&QUEUE_BOUNDS, waited);
        }
        let Some(event) = &entry.event else {
            return;
        };
        let figures = &mut seen.figures;
        match event {
            Event::Accepted { .. } => {
                match job.charges.last().and_then(|charge| charge.estimated) {
                    Some(credits) => {
                        *figures.estimated.entry(job.inbox.clone()).or_default() += credits
                    }
                    None => {
                        let tasks = figures.unknown.entry(job.inbox.clone()).or_default();
                        *tasks = tasks.saturating_add(1);
                    }
                }
            }
            Event::Succeeded { charged }
            | Event::TaskRetry { charged, .. }
            | Event::Fails { charged, .. }
            | Event::Cancelled { charged, .. } => {
                if let Some(credits) = charged {
                    *figures.charged.entry(job.inbox.clone()).or_default() += credits;
                }
            }
            _ => {}
        }
        if let (Event::Succeeded { .. }, State::Downloading { task }) = (event, &job.state) {
            let took = seconds(task.accepted_at, job.updated_at);
            of_model(&mut figures.tasks, job).add(&TASK_BOUNDS, took);
        }
        if let Event::Closed { .. } = event {
            let jobs = figures
                .ended
                .entry((job.inbox.clone(), job.state_name().as_str()))
                .or_default();
            *jobs = jobs.saturating_add(1);
        }
    }

    /// A task is asked about.
    pub fn polled(&self) {
        self.polls.fetch_add(1, Ordering::Relaxed);
    }

    /// Runway has the bytes of an upload.
    pub fn uploaded(&self, bytes: u64) {
        self.uploaded.fetch_add(bytes, Ordering::Relaxed);
    }

    /// An output was fetched.
    pub fn downloaded(&self, bytes: u64) {
        self.downloaded.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Something that was asked of Runway went wrong.
    fn failed(&self, what: &'static str, how: &'static str) {
        let mut seen = self.lock();
        let times = seen.figures.errors.entry((what, how)).or_default();
        *times = times.saturating_add(1);
    }

    /// A call that costs nothing failed.
    pub fn call_failed(&self, what: &'static str, error: &CallError) {
        self.failed(what, word(error));
    }

    /// A request that starts a task was answered.
    pub fn submitted(&self, outcome: &Submission) {
        match outcome {
            Submission::Accepted { .. } => {}
            Submission::NotSent(_) => self.failed("submit", "network"),
            Submission::Refused(refusal) => match refusal.status {
                401 => self.failed("submit", "key"),
                429 => self.failed("submit", "quota"),
                _ => self.failed("submit", "refused"),
            },
            Submission::Unknown(_) => self.failed("submit", "doubt"),
        }
    }

    /// An upload did not get through.
    pub fn upload_failed(&self, error: &UploadError) {
        match error {
            UploadError::Call(error) => self.call_failed("upload", error),
            UploadError::Changed { .. } | UploadError::Read(_) => self.failed("upload", "file"),
            UploadError::Insecure { .. } => self.failed("upload", "refused"),
            _ => self.failed("upload", "network"),
        }
    }

    /// A download did not get through.
    pub fn download_failed(&self, error: &DownloadError) {
        match error {
            DownloadError::Expired { .. } => self.failed("download", "expired"),
            DownloadError::Truncated { .. } | DownloadError::Transient { .. } => {
                self.failed("download", "network");
            }
            DownloadError::Refused { .. } | DownloadError::Insecure { .. } => {
                self.failed("download", "refused");
            }
            // Our own disk's trouble.
            DownloadError::Disk(_) => {}
        }
    }

    /// What was counted until now.
    pub fn figures(&self) -> Figures {
        Figures {
            polls: self.polls.load(Ordering::Relaxed),
            uploaded: self.uploaded.load(Ordering::Relaxed),
            downloaded: self.downloaded.load(Ordering::Relaxed),
            ..self.lock().figures.clone()
        }
    }
}

fn word(error: &CallError) -> &'static str {
    match error {
        CallError::Transient { .. } => "network",
        CallError::BadKey { .. } => "key",
        CallError::NotFound { .. } => "not_found",
        CallError::Refused { .. } => "refused",
        CallError::Garbage { .. } => "garbage",
    }
}

fn is_queued(job: &Job) -> bool {
    matches!(job.state, State::Queued { .. })
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

fn of_model<'a>(all: &'a mut BTreeMap<String, Histogram>, job: &Job) -> &'a mut Histogram {
    let model = job.model().unwrap_or(OTHER);
    let name = if all.contains_key(model) || all.len() < MODELS {
        model
    } else {
        OTHER
    };
    all.entry(name.to_owned()).or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_histogram_counts_each_value_once_and_where_it_belongs() {
        let mut histogram = Histogram::default();
        for seconds in [0.0, 5.0, 5.1, 1e9, -1.0] {
            histogram.add(&TASK_BOUNDS, seconds);
        }
        assert_eq!(histogram.counts, [3, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert!((histogram.sum - 1_000_000_010.1).abs() < 1e-6);
    }

    #[test]
    fn what_went_wrong_is_counted_by_kind() {
        let metrics = Metrics::default();
        let error = CallError::NotFound { at: String::new() };
        metrics.call_failed("poll", &error);
        metrics.call_failed("poll", &error);
        metrics.polled();
        let figures = metrics.figures();
        assert_eq!(figures.errors[&("poll", "not_found")], 2);
        assert_eq!(figures.polls, 1);
    }
}
