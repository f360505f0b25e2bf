//! Jobs as people and programs see them: the lines of `taxiway status`.

use std::ffi::OsStr;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::files::{RelPath, shown};
use crate::job::{Event, Job, JobId, Role, State};

/// One line of `status --json`. The fields are part of the contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The job's name.
    pub id: String,
    /// The inbox's name.
    pub inbox: String,
    /// What was dropped, below the inbox.
    pub input: String,
    /// One of the contract's words.
    pub state: String,
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
        let outputs = match &job.state {
            State::Done { outputs, .. } => outputs.as_slice(),
            _ => &[],
        };
        Line {
            id: job.id.to_string(),
            inbox: job.inbox.clone(),
            input: job.input.text(),
            state: job.state_name().to_string(),
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
            outputs: outputs
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
            state: "waiting".to_owned(),
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
        _ => None,
    }
}

/// What `status JOB` tells beyond the line: files, the request, the failure or the doubt, the history.
pub fn details(job: &Job, history: &[(Timestamp, Event)]) -> Value {
    let failure = match &job.state {
        State::Failed { failure } => Some(json!({
            "what": failure.what,
            "details": failure.details,
            "advice": failure.advice,
        })),
        _ => None,
    };
    let doubt = match &job.state {
        State::InDoubt { doubt } => Some(json!({
            "sent_after": doubt.intent_at.to_string(),
            "why": doubt.why,
            "used_before": doubt.used_before,
            "used_after": doubt.used_after,
            "evidence": doubt.evidence(job.model()),
            "ways_out": doubt
                .ways_out(&job.id)
                .iter()
                .map(|(command, when)| json!({"command": command, "when": when}))
                .collect::<Vec<_>>(),
        })),
        _ => None,
    };
    json!({
        "files": job.files.iter().map(|file| file.dropped.text()).collect::<Vec<_>>(),
        "request": job.plan.as_ref().map(|plan| Value::Object(plan.body.clone())),
        "warnings": job.plan.as_ref().map(|plan| plan.warnings.clone()).unwrap_or_default(),
        "failure": failure,
        "doubt": doubt,
        "history": history
            .iter()
            .map(|(at, event)| json!({"at": at.to_string(), "event": event.as_str()}))
            .collect::<Vec<_>>(),
    })
}
