//! Cancelling a job that has no task.

use super::common::{StageError, blocking, record};
use crate::engine::Engine;
use crate::job::{Event, Job};

pub(super) async fn run(engine: &Engine, job: &Job) -> Result<(), StageError> {
    let spots: Vec<_> = job
        .files
        .iter()
        .filter_map(|file| file.at.clone())
        .collect();
    let deleted = match engine.settings.inbox_of(job).map(|inbox| inbox.places) {
        Some(places) if spots.len() == job.files.len() => {
            let is_gone = move || spots.iter().any(|at| !places.path(at).exists());
            blocking(engine, job, is_gone).await?
        }
        Some(_) => true,
        // A job can be cancelled even if its inbox is no longer configured.
        None => false,
    };
    let why = if deleted {
        "cancelled: its file was deleted or exchanged before anything was submitted"
    } else {
        "cancelled before anything was submitted"
    };
    let event = Event::Cancelled {
        why: why.to_owned(),
        charged: None,
    };
    record(engine, job, event).await.map(drop)
}
