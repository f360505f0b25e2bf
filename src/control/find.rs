//! The job that a person means.

use std::sync::Arc;

use super::refusal::Refusal;
use super::source::Source;
use crate::job::{Job, JobId};
use crate::status::Line;

/// What a name means.
pub(super) enum Found {
    /// It is still in an inbox.
    Waiting(Box<Line>),
    Job(Arc<Job>),
}

/// Finds a job by its name, or the beginning of it.
pub(super) async fn find(source: &Source<'_>, text: &str) -> Result<Found, Refusal> {
    let text = text.trim().to_ascii_lowercase();
    let unknown = || {
        Refusal::NotFound(format!(
            "there is no job '{text}': `taxiway status` lists them"
        ))
    };
    if text.is_empty() {
        return Err(unknown());
    }
    // The inboxes first, so that a job that is taken meanwhile is not missed.
    let mut waiting = source.waiting_lines();
    let mut ids = source.find_ids(&text).await?;
    if let Ok(exact) = text.parse::<JobId>() {
        ids.retain(|id| *id == exact);
    }
    waiting
        .retain(|line| line.id.starts_with(&text) && !ids.iter().any(|id| id.as_str() == line.id));
    match (ids.as_slice(), waiting.len()) {
        ([id], 0) => {
            let job = source.job(id).await?;
            job.map(Found::Job).ok_or_else(unknown)
        }
        ([], 0 | 1) => match waiting.pop() {
            Some(line) => Ok(Found::Waiting(Box::new(line))),
            None => Err(unknown()),
        },
        _ => Err(Refusal::Conflict(format!(
            "'{text}' could mean several jobs: write more of the name"
        ))),
    }
}
