//! A job: one piece of work, from drop to delivery.
//!
//! This module is pure. It knows no clock, no file and no network: [`transition`] takes a job, an event and a time, and
//! answers with the next job or with the reason why that event cannot happen there. The ledger is the only caller that
//! keeps the answer, and it does so only after the journal has made it durable. Recovery after a crash reads jobs as they
//! were last made durable and goes on through the same function.

mod event;
mod id;
mod input;
mod plan;
#[cfg(test)]
pub(crate) mod samples;
mod state;
mod state_name;
mod transition;

pub use event::Event;
pub use id::{InvalidJobId, JobId};
pub use input::{Folder, InputFile, Role, Spot, working_inside};
pub use plan::{FileRef, MediaUse, Plan};
pub use state::{
    Charge, Charged, Delivery, Doubt, Failure, FailureKind, Hold, HoldReason, Move, Progress,
    State, Task, Verdict,
};
pub use state_name::{StateName, UnknownState};
pub use transition::{Illegal, transition};

use crate::files::RelPath;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The name that people type.
    pub id: JobId,
    /// The inbox's name in the configuration.
    pub inbox: String,
    /// What was dropped, for people and for naming outputs: the main medium, or the sidecar where there is none. The
    /// path is relative to the inbox.
    pub input: RelPath,
    /// The files that belong to the job and move with it.
    pub files: Vec<InputFile>,
    /// What to ask of Runway; `None` where the input is invalid.
    pub plan: Option<Plan>,
    /// How many requests that start a task were sent or about to be sent.
    pub attempts: u32,
    /// How often the task failed at Runway in a way that allows another attempt, since a person last started the job.
    pub task_failures: u32,
    /// What the requests of this job cost, the latest last.
    pub charges: Vec<Charge>,
    /// A person asked for the job to be cancelled; acted on as soon as the state allows it.
    pub cancel_asked: bool,
    /// A person asked to run the ended job again, and its files are in the inbox or on their way there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retry_asked: bool,
    /// When the job was taken.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub updated_at: Timestamp,
    /// How many events the job has seen; the journal's guard against two writers.
    pub seq: u64,
    /// Its state.
    pub state: State,
}

impl Job {
    /// A new job whose files are still where they were dropped.
    pub fn taken(
        id: JobId,
        inbox: &str,
        input: RelPath,
        files: Vec<InputFile>,
        plan: Result<Plan, Failure>,
        now: Timestamp,
    ) -> Job {
        let (plan, wrong) = match plan {
            Ok(plan) => (Some(plan), None),
            Err(failure) => (None, Some(failure)),
        };
        Job {
            id,
            inbox: inbox.to_owned(),
            input,
            files,
            plan,
            attempts: 0,
            task_failures: 0,
            charges: Vec::new(),
            cancel_asked: false,
            retry_asked: false,
            created_at: now,
            updated_at: now,
            seq: 0,
            state: State::Taking { wrong },
        }
    }

    /// Whether the daemon still has something to do for this job.
    pub fn is_open(&self) -> bool {
        match self.state {
            State::Done { .. } | State::Failed { .. } | State::Cancelled { .. } => false,
            State::Taking { .. }
            | State::Queued { .. }
            | State::Uploading
            | State::Submitting { .. }
            | State::Running { .. }
            | State::Downloading { .. }
            | State::Delivering { .. }
            | State::Closing { .. }
            | State::InDoubt { .. } => true,
        }
    }

    /// The model that the job asks for, where its endpoint has models.
    pub fn model(&self) -> Option<&str> {
        self.plan.as_ref().and_then(|plan| plan.model.as_deref())
    }

    /// Runway's task, where there is one.
    pub fn task(&self) -> Option<&Task> {
        match &self.state {
            State::Running { task, .. }
            | State::Downloading { task, .. }
            | State::Delivering { task, .. } => Some(task),
            State::Closing { verdict, .. } => verdict.task(),
            State::Done { task, .. } => Some(task),
            State::Failed { failure, .. } => failure.task.as_ref(),
            State::Cancelled { task, .. } => task.as_ref(),
            State::Taking { .. }
            | State::Queued { .. }
            | State::Uploading
            | State::Submitting { .. }
            | State::InDoubt { .. } => None,
        }
    }

    /// The contract's name of the job's state.
    pub fn state_name(&self) -> StateName {
        match &self.state {
            State::Queued { hold: Some(_) } => StateName::Waiting,
            State::Taking { .. } | State::Queued { hold: None } => StateName::Queued,
            State::Uploading => StateName::Uploading,
            State::Submitting { .. } => StateName::Submitting,
            State::Running { .. } => StateName::Running,
            State::Downloading { .. } => StateName::Downloading,
            State::Delivering { .. } | State::Closing { .. } => StateName::Delivering,
            State::Done { .. } => StateName::Done,
            State::Failed { .. } => StateName::Failed,
            State::Cancelled { .. } => StateName::Cancelled,
            State::InDoubt { .. } => StateName::InDoubt,
        }
    }

    /// Why the job is in its state, for people, where the name of the state does not say it.
    pub fn reason(&self) -> Option<String> {
        match &self.state {
            State::Queued { hold: Some(hold) } => Some(hold.to_string()),
            State::Running { seen, .. } if self.cancel_asked => {
                Some(format!("being cancelled; {seen}"))
            }
            State::Running { seen, .. } => Some(seen.to_string()),
            State::Closing { verdict, .. } => Some(match verdict {
                Verdict::Done { .. } => "moving the inputs to originals".to_owned(),
                Verdict::Failed(failure) => {
                    format!("moving the inputs to failed: {}", failure.what)
                }
                Verdict::Cancelled { .. } => "cancelled; moving the inputs to failed".to_owned(),
            }),
            State::Failed { failure, .. } => Some(failure.what.clone()),
            State::Cancelled { why, .. } => Some(why.clone()),
            State::InDoubt { doubt } => Some(format!(
                "the submission's outcome is unknown: {}; settle it with `taxiway resolve {} --adopt TASK_ID`, \
                 `--resubmit` or `--abandon`",
                doubt.why, self.id
            )),
            State::Taking { .. }
            | State::Queued { hold: None }
            | State::Uploading
            | State::Submitting { .. }
            | State::Downloading { .. }
            | State::Delivering { .. }
            | State::Done { .. } => None,
        }
    }

    /// Runway's id of its latest task, even if that has failed; none where the latest request is in doubt.
    pub fn task_id(&self) -> Option<&str> {
        let last = || self.charges.last().and_then(|charge| charge.what.task());
        self.task().map(|task| task.id.as_str()).or_else(last)
    }

    /// What the job has cost so far, in credits; `None` while the cost of any of its requests is unknown.
    pub fn charged(&self) -> Option<f64> {
        if self.charges.is_empty() {
            return None;
        }
        self.charges
            .iter()
            .map(|charge| charge.charged)
            .sum::<Option<f64>>()
    }

    /// How many of its requests were in doubt and were then sent again or given up.
    pub fn doubts_before(&self) -> u32 {
        let doubts = |charge: &&Charge| charge.what == Charged::Doubt;
        u32::try_from(self.charges.iter().filter(doubts).count()).unwrap_or(u32::MAX)
    }

    /// Credits that its requests cost, or are expected to cost as long as Runway has not said. An unknown price counts as
    /// nothing.
    pub fn cost(&self) -> f64 {
        self.charges
            .iter()
            .filter_map(|charge| charge.charged.or(charge.estimated))
            .fold(0.0, |sum, credits| sum + credits)
    }

    /// Credits that the present or next task is expected to cost: the API's figure, else the catalogue's.
    pub fn estimated(&self) -> Option<f64> {
        self.charges
            .last()
            .and_then(|charge| charge.estimated)
            .or_else(|| self.plan.as_ref().and_then(|plan| plan.estimated))
    }
}
