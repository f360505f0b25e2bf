//! Jobs as people and programs see them: the lines of `taxiway status`.

use std::ffi::OsStr;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::files::{RelPath, shown};
use crate::job::{Doubt, Event, Failure, Job, JobId, Role, State, StateName};

/// One line of `status --json`. The fields are part of the contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The job's name.
    pub id: String,
    /// The inbox's name.
    pub inbox: String,
    /// What was dropped, below the inbox.
    pub input: String,
    /// Its state.
    pub state: StateName,
    /// Why it stands there, where the state alone does not say it.
    pub reason: Option<String>,
    /// The endpoint.
    pub endpoint: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Runway's id of its latest task.
    pub task_id: Option<String>,
    /// From 0 to 1.
    pub progress: Option<f64>,
    /// Requests that were sent, or were about to be.
    pub attempts: u32,
    /// In credits.
    pub credits: Credits,
    /// Paths of what was delivered.
    pub outputs: Vec<String>,
    /// When it was taken, or first seen.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub updated_at: Timestamp,
}

/// A job as the status page shows it: its line, and what to show beside it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Card {
    /// The line of `status --json`.
    #[serde(flatten)]
    pub line: Line,
    /// The prompt, where there is one.
    pub prompt: Option<String>,
    /// The input's name for people: what would play with the text is escaped.
    pub shown: String,
    /// Its media.
    pub inputs: Vec<Shown>,
    /// What was delivered.
    pub results: Vec<Shown>,
}

impl Card {
    /// The card of what still lies in the inbox.
    pub fn waiting(line: Line) -> Card {
        Card {
            prompt: None,
            shown: shown(line.input.as_ref()),
            inputs: Vec::new(),
            results: Vec::new(),
            line,
        }
    }
}

/// A file of a job that can be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its place among the job's files, or outputs.
    pub index: usize,
    /// Its name for people.
    pub name: String,
    /// `image`, `video`, `audio` or `other`, as its name says.
    pub kind: &'static str,
}

impl Shown {
    /// A file by its name.
    pub fn of(index: usize, name: &OsStr) -> Shown {
        let extension = Path::new(name)
            .extension()
            .map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        let kind = match extension.as_deref().unwrap_or_default() {
            "jpg" | "jpeg" | "png" | "webp" | "gif" | "avif" => "image",
            "mp4" | "m4v" | "mov" | "webm" => "video",
            "mp3" | "wav" | "ogg" | "oga" | "flac" | "m4a" | "aac" => "audio",
            _ => "other",
        };
        Shown {
            index,
            name: shown(name),
            kind,
        }
    }

    /// The media of a job that are still there.
    pub fn inputs(job: &Job) -> Vec<Shown> {
        job.files
            .iter()
            .enumerate()
            .filter(|(_, file)| matches!(file.role, Role::Main | Role::Reference))
            .filter(|(_, file)| file.at.is_some())
            .map(|(index, file)| Shown::of(index, file.dropped.name()))
            .collect()
    }
}

/// An inbox, as `taxiway status` tells of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InboxLine {
    /// Its name.
    pub inbox: String,
    /// Its folder.
    pub path: String,
    /// How changes are noticed, and why so.
    pub watched: String,
    /// Why nothing can be done with it now.
    pub frozen: Option<String>,
    /// What cannot be done in which of its folders.
    pub problems: Vec<String>,
    /// How many files and halves wait in it.
    pub waiting: usize,
}

/// What a job costs, in credits; `None` is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Credits {
    /// Expected.
    pub estimated: Option<f64>,
    /// Charged by Runway, for all tasks of the job.
    pub charged: Option<f64>,
}

impl Line {
    /// The line of a job. Outputs are told as paths below `outbox`.
    pub fn of(job: &Job, outbox: Option<&Path>) -> Line {
        Line {
            id: job.id.to_string(),
            inbox: job.inbox.clone(),
            input: job.input.text(),
            state: job.state_name(),
            reason: job.reason(),
            endpoint: job.plan.as_ref().map(|plan| plan.endpoint.clone()),
            model: job.model().map(str::to_owned),
            task_id: job.task_id().map(str::to_owned),
            progress: progress(job),
            attempts: job.attempts,
            credits: Credits {
                estimated: job.estimated(),
                charged: job.charged(),
            },
            outputs: outputs(job)
                .iter()
                .map(|output| match outbox {
                    Some(outbox) => outbox.join(output.as_path()).to_string_lossy().into_owned(),
                    None => output.text(),
                })
                .collect(),
            created_at: job.created_at,
            updated_at: job.updated_at,
        }
    }

    /// The line of what still lies in the inbox.
    pub fn waiting(
        id: &JobId,
        inbox: &str,
        input: &RelPath,
        reason: String,
        since: Timestamp,
    ) -> Line {
        Line {
            id: id.to_string(),
            inbox: inbox.to_owned(),
            input: input.text(),
            state: StateName::Waiting,
            reason: Some(reason),
            endpoint: None,
            model: None,
            task_id: None,
            progress: None,
            attempts: 0,
            credits: Credits::default(),
            outputs: Vec::new(),
            created_at: since,
            updated_at: since,
        }
    }
}

fn progress(job: &Job) -> Option<f64> {
    match &job.state {
        State::Running { seen, .. } => seen.progress,
        State::Downloading { .. } | State::Delivering { .. } | State::Done { .. } => Some(1.0),
        State::Taking { .. }
        | State::Queued { .. }
        | State::Uploading
        | State::Submitting { .. }
        | State::Closing { .. }
        | State::Failed { .. }
        | State::Cancelled { .. }
        | State::InDoubt { .. } => None,
    }
}

/// What a job has delivered, below its outbox.
pub(crate) fn outputs(job: &Job) -> &[RelPath] {
    match &job.state {
        State::Done { outputs, .. } => outputs,
        State::Taking { .. }
        | State::Queued { .. }
        | State::Uploading
        | State::Submitting { .. }
        | State::Running { .. }
        | State::Downloading { .. }
        | State::Delivering { .. }
        | State::Closing { .. }
        | State::Failed { .. }
        | State::Cancelled { .. }
        | State::InDoubt { .. } => &[],
    }
}

/// What is known of one job beyond its line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Details {
    /// Its files, as they were dropped.
    pub(crate) files: Vec<String>,
    pub(crate) request: Option<Map<String, Value>>,
    /// What a person may want to change in its sidecar.
    pub(crate) warnings: Vec<String>,
    pub(crate) failure: Option<FailureDetails>,
    pub(crate) doubt: Option<DoubtDetails>,
    pub(crate) history: Vec<Happened>,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailureDetails {
    pub(crate) what: String,
    pub(crate) details: Vec<String>,
    pub(crate) advice: String,
}

/// What is known of a doubt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DoubtDetails {
    /// The request went out after this.
    pub(crate) sent_after: String,
    pub(crate) why: String,
    /// Runway's count of the model's tasks before the request.
    pub(crate) used_before: Option<u32>,
    /// The count after it.
    pub(crate) used_after: Option<u32>,
    /// What the counts say, for people.
    pub(crate) evidence: String,
    pub(crate) ways_out: Vec<WayOut>,
}

/// One way to settle a doubt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WayOut {
    pub(crate) command: String,
    /// When it is the right one.
    pub(crate) when: String,
}

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Happened {
    pub(crate) at: String,
    pub(crate) event: String,
}

/// What is known of a job beyond its line.
pub(crate) fn details(job: &Job, history: &[(Timestamp, Event)]) -> Details {
    let (failure, doubt) = match &job.state {
        State::Failed { failure } => (Some(FailureDetails::of(failure)), None),
        State::InDoubt { doubt } => (None, Some(DoubtDetails::of(doubt, job))),
        State::Taking { .. }
        | State::Queued { .. }
        | State::Uploading
        | State::Submitting { .. }
        | State::Running { .. }
        | State::Downloading { .. }
        | State::Delivering { .. }
        | State::Closing { .. }
        | State::Done { .. }
        | State::Cancelled { .. } => (None, None),
    };
    let plan = job.plan.as_ref();
    Details {
        files: job.files.iter().map(|file| file.dropped.text()).collect(),
        request: plan.map(|plan| plan.body.clone()),
        warnings: plan.map(|plan| plan.warnings.clone()).unwrap_or_default(),
        failure,
        doubt,
        history: history
            .iter()
            .map(|(at, event)| Happened {
                at: at.to_string(),
                event: event.as_str().to_owned(),
            })
            .collect(),
    }
}

impl FailureDetails {
    fn of(failure: &Failure) -> FailureDetails {
        FailureDetails {
            what: failure.what.clone(),
            details: failure.details.clone(),
            advice: failure.advice.clone(),
        }
    }
}

impl DoubtDetails {
    fn of(doubt: &Doubt, job: &Job) -> DoubtDetails {
        let ways = doubt.ways_out(&job.id).into_iter();
        DoubtDetails {
            sent_after: doubt.intent_at.to_string(),
            why: doubt.why.clone(),
            used_before: doubt.used_before,
            used_after: doubt.used_after,
            evidence: doubt.evidence(job.model()),
            ways_out: ways
                .map(|(command, when)| WayOut {
                    command,
                    when: when.to_owned(),
                })
                .collect(),
        }
    }
}
