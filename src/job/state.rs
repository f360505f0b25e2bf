//! The states of a job, each with what is known only then.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{JobId, Spot};
use crate::files::RelPath;

/// The state of a job. Each variant carries only what is valid then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum State {
    /// Its files are on their way from the inbox (or, on a retry, from `failed/`) to `working/`.
    Taking {
        /// Why there is nothing to ask of Runway, if the input is invalid: the files go on to `failed/`.
        wrong: Option<Failure>,
    },
    /// In the local queue.
    Queued {
        /// What holds it back, if anything does.
        hold: Option<Hold>,
    },
    /// Its media are being prepared for the API: hashed, uploaded, or put into the body.
    Uploading,
    /// The request that starts a task is on its way; made durable before its first byte leaves.
    Submitting {
        /// When the intent was made durable.
        intent_at: Timestamp,
        /// The organization's count of generations for the model before the request, as evidence for a doubt.
        used_before: Option<u32>,
    },
    /// Runway has it.
    Running {
        /// Runway's task.
        task: Task,
        /// What Runway last said about it.
        seen: Progress,
    },
    /// The task succeeded and its outputs are being fetched.
    Downloading {
        /// Runway's task.
        task: Task,
    },
    /// The outputs are complete and durable in part files, and are being given their names.
    Delivering {
        /// Runway's task.
        task: Task,
        /// The outputs.
        outputs: Vec<Delivery>,
    },
    /// Its outcome is settled; its inputs are being moved to `originals/` or `failed/`.
    Closing {
        /// Its outcome.
        verdict: Verdict,
        /// Where each file goes. Chosen and made durable before the first file moves.
        moves: Option<Vec<Move>>,
    },
    /// Its outputs are in the outbox.
    Done {
        /// Runway's task.
        task: Task,
        /// The outputs' paths in the outbox.
        outputs: Vec<RelPath>,
    },
    /// Its inputs are in `failed/`, with a note.
    Failed {
        /// Why, and what to do.
        failure: Failure,
    },
    /// Cancelled by a person.
    Cancelled {
        /// How it came to be cancelled.
        why: String,
        /// Runway's task, where there was one.
        task: Option<Task>,
    },
    /// A request that may have started a task went out, and its outcome is not known.
    InDoubt {
        /// What is known.
        doubt: Doubt,
    },
}

/// A task at Runway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The id given by Runway.
    pub id: String,
    /// When the daemon learned of it.
    pub accepted_at: Timestamp,
    /// The API account that it belongs to, by a name that does not contain the key.
    pub account: Option<String>,
}

/// What Runway last said about a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Runway's own word, such as `PENDING`; empty before the first answer.
    pub status: String,
    /// From 0 to 1, while it runs.
    pub progress: Option<f64>,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status.as_str(), self.progress) {
            ("", _) => f.write_str("submitted"),
            ("THROTTLED", _) => f.write_str(
                "THROTTLED: waits at Runway for a free place of the organization's tier",
            ),
            (status, Some(progress)) => write!(f, "{status} {:.0} %", progress * 100.0),
            (status, None) => f.write_str(status),
        }
    }
}

/// Why a queued job is held back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// Why.
    pub reason: HoldReason,
    /// When it is tried again; `None` where something other than time ends the hold.
    pub until: Option<Timestamp>,
}

/// The kinds of reasons that hold a job back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// A limit on spending in the configuration.
    Budget(String),
    /// The previous attempt did not succeed and may be repeated.
    Retry(String),
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            HoldReason::Budget(why) => write!(f, "for budget: {why}")?,
            HoldReason::Retry(why) => write!(f, "for a retry: {why}")?,
        }
        match self.until {
            Some(until) => write!(f, " (again at {:.0})", until),
            None => Ok(()),
        }
    }
}

/// One output on its way to its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The part file, relative to the outbox.
    pub part: RelPath,
    /// The name it gets, relative to the outbox; chosen and made durable before the rename.
    pub name: Option<RelPath>,
    /// Hex SHA-256 of the content.
    pub sha256: String,
    /// Size in bytes.
    pub bytes: u64,
    /// The extension that the content calls for, such as `mp4`.
    pub extension: String,
}

/// One input on its way to its last place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The file's index in the job.
    pub file: usize,
    /// Where it goes; `None` deletes it (`on_success: delete`).
    pub to: Option<Spot>,
}

/// What one request cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Charge {
    /// What it is for.
    #[serde(rename = "task")]
    pub what: Charged,
    /// When the task was accepted, or the request in doubt went out.
    pub at: Timestamp,
    /// In credits: Runway's estimate, else the catalogue's.
    pub estimated: Option<f64>,
    /// In credits: what Runway said at the end.
    pub charged: Option<f64>,
}

/// What a charge is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<String>", into = "Option<String>")]
pub enum Charged {
    /// A task, by Runway's id.
    Task(String),
    /// A request that may have started a task: it counts as spent with the expected price.
    Doubt,
}

impl Charged {
    /// Runway's id of the task, where there is one for certain.
    pub fn task(&self) -> Option<&str> {
        match self {
            Charged::Task(id) => Some(id),
            Charged::Doubt => None,
        }
    }
}

impl From<Option<String>> for Charged {
    fn from(task: Option<String>) -> Charged {
        match task {
            // `taxiway status` also reads journals of formats 1 to 3 that no daemon has migrated yet.
            Some(old) if old.starts_with("in doubt since ") => Charged::Doubt,
            Some(id) => Charged::Task(id),
            None => Charged::Doubt,
        }
    }
}

impl From<Charged> for Option<String> {
    fn from(what: Charged) -> Option<String> {
        what.task().map(str::to_owned)
    }
}

/// The outcome of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Verdict {
    /// Delivered.
    Done {
        /// Runway's task.
        task: Task,
        /// The outputs' paths in the outbox.
        outputs: Vec<RelPath>,
    },
    /// Failed.
    Failed(Failure),
    /// Cancelled by a person.
    Cancelled {
        /// How.
        why: String,
        /// Runway's task, where there was one.
        task: Option<Task>,
    },
}

impl Verdict {
    /// Runway's task, where there was one.
    pub fn task(&self) -> Option<&Task> {
        match self {
            Verdict::Done { task, .. } => Some(task),
            Verdict::Failed(failure) => failure.task.as_ref(),
            Verdict::Cancelled { task, .. } => task.as_ref(),
        }
    }
}

/// Why a job failed: what happened, where, and what the person can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// What happened, in one line.
    pub what: String,
    /// Where, one line for each place: file, line and column of a sidecar's problems, the API's field errors.
    pub details: Vec<String>,
    /// What the person can do now.
    pub advice: String,
    /// Runway's task, where there was one.
    pub task: Option<Task>,
}

/// The kinds of failure that something depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The sidecar, its defaults or its media are wrong; nothing was sent.
    Input,
    /// The API refused the request; nothing was started.
    Refused,
    /// Runway's task failed.
    Task,
    /// Runway no longer knows the task.
    TaskGone,
    /// The outputs are not what Runway announced.
    Output,
    /// A file of the job is missing or cannot be read.
    Files,
    /// A person gave up a job in doubt.
    Abandoned,
}

impl FailureKind {
    /// Whether a task may exist whose output can still be fetched.
    pub fn may_have_a_task(self) -> bool {
        match self {
            FailureKind::TaskGone | FailureKind::Output | FailureKind::Abandoned => true,
            FailureKind::Input | FailureKind::Refused | FailureKind::Task | FailureKind::Files => {
                false
            }
        }
    }
}

/// What is known about a request whose outcome is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// When the request went out, at the earliest.
    pub intent_at: Timestamp,
    /// What came back, or that nothing did.
    pub why: String,
    /// The organization's count of generations for the model before the request.
    pub used_before: Option<u32>,
    /// The same count afterwards, less what other jobs started in the meantime.
    pub used_after: Option<u32>,
}

impl Doubt {
    /// What Runway's counter of the model says about it, and how reliable that is, for people.
    pub fn evidence(&self, model: Option<&str>) -> String {
        let model = model.unwrap_or("this endpoint");
        let counter = format!("Runway's count of generations with {model} in the past day");
        let limits = "It is evidence and no proof: Runway may count late, and other programs with the same key count, too.";
        match (self.used_before, self.used_after) {
            (Some(before), Some(after)) if after > before => format!(
                "{counter} was {before} before and is {after} now: it moved, so a task probably exists. {limits}"
            ),
            (Some(before), Some(after)) if after == before => format!(
                "{counter} was {before} before and is {after} now: it did not move, so there is probably no task. {limits}"
            ),
            (Some(before), Some(after)) => format!(
                "{counter} was {before} before and is {after} now: older ones dropped out of that day, so it tells nothing."
            ),
            (Some(before), None) => {
                format!("{counter} was {before} before; what it is now is not known yet.")
            }
            (None, _) => format!("{counter} is not known, so it tells nothing."),
        }
    }

    /// The three commands that settle it, each with when to use it.
    pub fn ways_out(&self, job: &JobId) -> [(String, &'static str); 3] {
        [
            (
                format!("taxiway resolve {job} --adopt TASK_ID"),
                "there is a task in Runway's portal: its output is fetched",
            ),
            (
                format!("taxiway resolve {job} --resubmit"),
                "there is none: the request is sent again",
            ),
            (
                format!("taxiway resolve {job} --abandon"),
                "give it up: the input goes to failed",
            ),
        ]
    }
}
