//! Notices: what is reported to the configured command and webhook, and by which rules. Pure.

use std::collections::HashMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Line;
use crate::job::{Event, Job, State, StateName};

/// What a notice can report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A job was delivered.
    Done,
    /// A job failed.
    Failed,
    /// A job is in doubt and waits for a person.
    InDoubt,
    /// The organization's balance fell below what the configuration calls low.
    LowBalance,
    /// An inbox's folder cannot be used, or does not respond.
    Frozen,
}

impl Kind {
    /// All kinds with their names in the configuration.
    pub const ALL: [(&'static str, Kind); 5] = [
        ("done", Kind::Done),
        ("failed", Kind::Failed),
        ("in_doubt", Kind::InDoubt),
        ("low_balance", Kind::LowBalance),
        ("frozen", Kind::Frozen),
    ];

    /// The `type` of the notice.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Done => "job.done",
            Kind::Failed => "job.failed",
            Kind::InDoubt => "job.in_doubt",
            Kind::LowBalance => "balance.low",
            Kind::Frozen => "inbox.frozen",
        }
    }

    /// What an event reports about the job after it, if anything.
    pub fn of(event: &Event, job: &Job) -> Option<Kind> {
        match event {
            Event::Doubtful { .. } => Some(Kind::InDoubt),
            Event::Closed { .. } => match job.state_name() {
                StateName::Done => Some(Kind::Done),
                StateName::Failed => Some(Kind::Failed),
                StateName::Cancelled
                | StateName::Waiting
                | StateName::Queued
                | StateName::Uploading
                | StateName::Submitting
                | StateName::Running
                | StateName::Downloading
                | StateName::Delivering
                | StateName::InDoubt => None,
            },
            Event::Moved { .. }
            | Event::NotTaken { .. }
            | Event::Held { .. }
            | Event::Started
            | Event::Requeued { .. }
            | Event::Intent { .. }
            | Event::Accepted { .. }
            | Event::Adopted { .. }
            | Event::Counted { .. }
            | Event::Succeeded { .. }
            | Event::TaskRetry { .. }
            | Event::Fetched { .. }
            | Event::Refetch
            | Event::Named { .. }
            | Event::Delivered
            | Event::Fails { .. }
            | Event::CancelAsked
            | Event::Cancelled { .. }
            | Event::MovesChosen { .. }
            | Event::Abandoned { .. }
            | Event::Resubmitted { .. }
            | Event::RetryAsked
            | Event::RetryDropped
            | Event::Retried { .. } => None,
        }
    }
}

/// Where a notice is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// The configured command.
    Command,
    /// The configured webhook.
    Webhook,
}

impl Target {
    /// Its name in the journal.
    pub fn word(self) -> &'static str {
        match self {
            Target::Command => "command",
            Target::Webhook => "webhook",
        }
    }
}

/// A notice to one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The same for all targets, and for each attempt.
    pub id: String,
    /// Where a notice is sent.
    pub target: Target,
    /// When it happened.
    pub at: Timestamp,
    /// The text: JSON with `type`, `timestamp` and `data`.
    pub body: String,
    /// How often sending it has failed.
    pub attempts: u32,
}

/// What the configuration reports, and where.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The kinds that are reported.
    pub kinds: Vec<Kind>,
    /// Where they are sent.
    pub targets: Vec<Target>,
    /// The inboxes' outboxes.
    pub outboxes: HashMap<String, PathBuf>,
}

impl Rules {
    /// The notices about an event that led to this job.
    pub fn of_job(&self, event: &Event, job: &Job) -> Vec<Notice> {
        let Some(kind) = Kind::of(event, job) else {
            return Vec::new();
        };
        let outbox = self.outboxes.get(&job.inbox).map(PathBuf::as_path);
        let line = Line::of(job, outbox);
        // A line of status is plain data.
        let mut data = serde_json::to_value(&line).unwrap_or_default();
        match &job.state {
            State::Failed { failure } => {
                data["details"] = json!(failure.details);
                data["advice"] = json!(failure.advice);
            }
            State::InDoubt { .. } => {
                data["advice"] = json!(format!(
                    "`taxiway status {}` shows what is known, and how to settle it",
                    job.id
                ));
            }
            State::Taking { .. }
            | State::Queued { .. }
            | State::Uploading
            | State::Submitting { .. }
            | State::Running { .. }
            | State::Downloading { .. }
            | State::Delivering { .. }
            | State::Closing { .. }
            | State::Done { .. }
            | State::Cancelled { .. } => {}
        }
        self.of(kind, job.updated_at, &data)
    }

    /// The notices about something else that happened.
    pub fn of(&self, kind: Kind, at: Timestamp, data: &Value) -> Vec<Notice> {
        if !self.kinds.contains(&kind) || self.targets.is_empty() {
            return Vec::new();
        }
        let id = format!("msg_{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let body = json!({
            "type": kind.word(),
            "timestamp": at.to_string(),
            "data": data,
        });
        let body = body.to_string();
        let notice = |target: &Target| Notice {
            id: id.clone(),
            target: *target,
            at,
            body: body.clone(),
            attempts: 0,
        };
        self.targets.iter().map(notice).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{samples, transition};

    fn failed() -> (Event, Job) {
        let now = Timestamp::UNIX_EPOCH;
        let job = samples::wrong("a.yaml", vec![]);
        let job = transition(&job, Event::Moved { files: vec![] }, now).unwrap();
        let closed = Event::Closed { files: vec![] };
        let job = transition(&job, closed.clone(), now).unwrap();
        (closed, job)
    }

    #[test]
    fn what_was_asked_for_is_told_to_each_under_one_id_and_nothing_else_is() {
        let (event, job) = failed();
        let rules = Rules {
            kinds: vec![Kind::Failed],
            targets: vec![Target::Command, Target::Webhook],
            outboxes: HashMap::new(),
        };
        let notices = rules.of_job(&event, &job);
        assert_eq!(notices.len(), 2);
        assert_eq!(notices[0].id, notices[1].id);
        assert_ne!(rules.of_job(&event, &job)[0].id, notices[0].id);
        let body: Value = serde_json::from_str(&notices[0].body).unwrap();
        assert_eq!(body["type"], "job.failed");
        assert_eq!(body["data"]["id"], job.id.as_str());
        assert_eq!(body["data"]["reason"], "wrong");
        let silent = Rules {
            kinds: vec![Kind::Done],
            ..rules.clone()
        };
        assert!(silent.of_job(&event, &job).is_empty());
        assert!(rules.of_job(&Event::CancelAsked, &job).is_empty());
        let nobody = Rules {
            targets: vec![],
            ..rules
        };
        assert!(nobody.of_job(&event, &job).is_empty());
    }
}
