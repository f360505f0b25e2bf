//! Counters of what happens while the daemon runs.
//!
//! They begin at zero with every start, as Prometheus expects. What the journal knows (jobs, spending) is not counted here. The
//! ledger records every durable change, and the engine what it asked of Runway and transferred.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::job::{Event, Job, JobId, State};
use crate::journal::Entry;
use crate::runway::{CallError, DownloadError, Submission, UploadError};

/// Upper bounds of the histogram of times in the queue, in seconds.
pub(crate) const QUEUE_BOUNDS: [f64; 8] = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0];
/// Upper bounds of the histogram of tasks' times, in seconds.
pub(crate) const TASK_BOUNDS: [f64; 8] = [5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];
/// How many models have histograms of their own. Further ones share one, so that mistyped models do not fill the memory.
const MODELS: usize = 100;
/// The name for further models, and for jobs without one.
const OTHER: &str = "other";

/// A histogram with eight upper bounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Histogram {
    /// How many values are at or below each bound and above the one before. The last counts those above all bounds.
    pub(crate) counts: [u64; 9],
    /// The sum of all values, in seconds.
    pub(crate) sum: f64,
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

/// What was counted so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Figures {
    /// Polls of tasks.
    pub(crate) polls: u64,
    /// Bytes of uploads that Runway has.
    pub(crate) uploaded: u64,
    /// Bytes of outputs that were fetched.
    pub(crate) downloaded: u64,
    /// Errors with Runway, by what was asked and how it failed.
    pub(crate) errors: BTreeMap<(&'static str, &'static str), u64>,
    /// Seconds that jobs waited in the queue, by model.
    pub(crate) queue: BTreeMap<String, Histogram>,
    /// Seconds from a task's acceptance to its success, by model.
    pub(crate) tasks: BTreeMap<String, Histogram>,
    /// Jobs that ended, by inbox and state.
    pub(crate) ended: BTreeMap<(String, &'static str), u64>,
    /// Credits that started tasks were expected to cost, by inbox.
    pub(crate) estimated: BTreeMap<String, f64>,
    /// Credits that Runway charged, by inbox.
    pub(crate) charged: BTreeMap<String, f64>,
    /// Tasks that were started at an unknown price, by inbox.
    pub(crate) unknown: BTreeMap<String, u64>,
}

impl Figures {
    /// Adds a zero for what has not happened in an inbox yet. Prometheus sees no increase in a series that begins with the first
    /// job, and an alert on something that does not happen needs a series at zero.
    pub(crate) fn begin_at_zero<'a>(&mut self, inboxes: impl IntoIterator<Item = &'a str>) {
        for inbox in inboxes {
            for state in ["done", "failed", "cancelled"] {
                self.ended.entry((inbox.to_owned(), state)).or_default();
            }
            self.estimated.entry(inbox.to_owned()).or_default();
            self.charged.entry(inbox.to_owned()).or_default();
            self.unknown.entry(inbox.to_owned()).or_default();
        }
    }

    fn add_estimate(&mut self, job: &Job) {
        match job.charges.last().and_then(|charge| charge.estimated) {
            Some(credits) => *self.estimated.entry(job.inbox.clone()).or_default() += credits,
            None => {
                let tasks = self.unknown.entry(job.inbox.clone()).or_default();
                *tasks = tasks.saturating_add(1);
            }
        }
    }

    fn add_charge(&mut self, job: &Job, charged: Option<f64>) {
        if let Some(credits) = charged {
            *self.charged.entry(job.inbox.clone()).or_default() += credits;
        }
    }
}

#[derive(Debug, Default)]
struct Counted {
    /// Since when jobs wait in the queue.
    queued: HashMap<JobId, Timestamp>,
    figures: Figures,
}

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counted: Mutex<Counted>,
}

impl Metrics {
    /// Makes counters at zero, given the jobs that were open before the start.
    pub(crate) fn new(open: &[Job]) -> Metrics {
        let metrics = Metrics::default();
        let queued = open.iter().filter(|job| is_queued(job));
        metrics.counted.lock().queued =
            queued.map(|job| (job.id.clone(), job.updated_at)).collect();
        metrics
    }

    /// Counts a change that is durable.
    pub(crate) fn record(&self, entry: &Entry) {
        let job = &entry.job;
        let mut counted = self.counted.lock();
        if is_queued(job) {
            counted
                .queued
                .entry(job.id.clone())
                .or_insert(job.updated_at);
        } else if let Some(since) = counted.queued.remove(&job.id)
            && matches!(job.state, State::Uploading)
        {
            let waited = seconds_between(since, job.updated_at);
            histogram_of(&mut counted.figures.queue, job).add(&QUEUE_BOUNDS, waited);
        }
        let Some(event) = &entry.event else {
            return;
        };
        let figures = &mut counted.figures;
        match event {
            Event::Accepted { .. } => figures.add_estimate(job),
            Event::Succeeded { charged } => {
                figures.add_charge(job, *charged);
                if let State::Downloading { task } = &job.state {
                    let took = seconds_between(task.accepted_at, job.updated_at);
                    histogram_of(&mut figures.tasks, job).add(&TASK_BOUNDS, took);
                }
            }
            Event::TaskRetry { charged, .. }
            | Event::Fails { charged, .. }
            | Event::Cancelled { charged, .. } => figures.add_charge(job, *charged),
            Event::Closed { .. } => {
                let state = (job.inbox.clone(), job.state_name().as_str());
                let jobs = figures.ended.entry(state).or_default();
                *jobs = jobs.saturating_add(1);
            }
            Event::Moved { .. }
            | Event::NotTaken { .. }
            | Event::Held { .. }
            | Event::Started
            | Event::Requeued { .. }
            | Event::Intent { .. }
            | Event::Adopted { .. }
            | Event::Doubtful { .. }
            | Event::Counted { .. }
            | Event::Fetched { .. }
            | Event::Refetch
            | Event::Named { .. }
            | Event::Delivered
            | Event::CancelAsked
            | Event::MovesChosen { .. }
            | Event::Abandoned { .. }
            | Event::Resubmitted { .. }
            | Event::RetryAsked
            | Event::RetryDropped
            | Event::Retried { .. } => {}
        }
    }

    pub(crate) fn count_poll(&self) {
        self.counted.lock().figures.polls += 1;
    }

    pub(crate) fn count_upload(&self, bytes: u64) {
        self.counted.lock().figures.uploaded += bytes;
    }

    pub(crate) fn count_download(&self, bytes: u64) {
        self.counted.lock().figures.downloaded += bytes;
    }

    fn count_failure(&self, what: &'static str, how: &'static str) {
        let mut counted = self.counted.lock();
        let times = counted.figures.errors.entry((what, how)).or_default();
        *times = times.saturating_add(1);
    }

    /// Counts a failed call that costs nothing.
    pub(crate) fn count_call_failure(&self, what: &'static str, error: &CallError) {
        self.count_failure(what, name_of(error));
    }

    /// Counts a request that starts a task, unless it was accepted.
    pub(crate) fn count_submission(&self, outcome: &Submission) {
        match outcome {
            Submission::Accepted { .. } => {}
            Submission::NotSent(_) => self.count_failure("submit", "network"),
            Submission::Refused(refusal) => match refusal.status {
                401 => self.count_failure("submit", "key"),
                429 => self.count_failure("submit", "quota"),
                _ => self.count_failure("submit", "refused"),
            },
            Submission::Unknown(_) => self.count_failure("submit", "doubt"),
        }
    }

    pub(crate) fn count_upload_failure(&self, error: &UploadError) {
        match error {
            UploadError::Call(error) => self.count_call_failure("upload", error),
            UploadError::Changed { .. } | UploadError::Read(_) => {
                self.count_failure("upload", "file")
            }
            UploadError::Insecure { .. } => self.count_failure("upload", "refused"),
            UploadError::Transient { .. }
            | UploadError::Refused { .. }
            | UploadError::Unsendable { .. } => self.count_failure("upload", "network"),
        }
    }

    pub(crate) fn count_download_failure(&self, error: &DownloadError) {
        match error {
            DownloadError::Expired { .. } => self.count_failure("download", "expired"),
            DownloadError::Truncated { .. } | DownloadError::Transient { .. } => {
                self.count_failure("download", "network");
            }
            DownloadError::Refused { .. } | DownloadError::Insecure { .. } => {
                self.count_failure("download", "refused");
            }
            // A problem of our own disk.
            DownloadError::Disk(_) => {}
        }
    }

    pub(crate) fn figures(&self) -> Figures {
        self.counted.lock().figures.clone()
    }
}

fn name_of(error: &CallError) -> &'static str {
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

fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

fn histogram_of<'a>(all: &'a mut BTreeMap<String, Histogram>, job: &Job) -> &'a mut Histogram {
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
        metrics.count_call_failure("poll", &error);
        metrics.count_call_failure("poll", &error);
        metrics.count_poll();
        let figures = metrics.figures();
        assert_eq!(figures.errors[&("poll", "not_found")], 2);
        assert_eq!(figures.polls, 1);
    }
}
