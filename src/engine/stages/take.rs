//! Finishing a take that a crash or a problem with a folder interrupted.

use std::path::Path;
use std::sync::Arc;

use super::common::{
    StageError, blocking, check_inner_mounts, check_mount, explain_away, load_inbox,
};
use crate::engine::Engine;
use crate::folders::{Places, Taking, create_working, finish_taking};
use crate::job::{Event, Job};
use crate::ledger::LedgerError;

/// The inbox's own thread takes files, and normally has finished by the time this runs.
pub(super) async fn run(engine: &Engine, job: &Arc<Job>) -> Result<(), StageError> {
    let places = load_inbox(engine, job)?.places;
    let root = places.inbox.clone();
    let is_away = engine.inboxes.is_frozen(&job.inbox)
        || !blocking(engine, job, move || root.is_dir()).await?;
    if is_away {
        return Err(explain_frozen(engine, job, &places));
    }
    check_mount(engine, &places.inbox).await?;
    check_inner_mounts(engine, job, &places).await?;
    let event = match move_files(engine, job, &places).await? {
        Taking::All(files) => Event::Moved { files },
        // What is missing from a folder that went away meanwhile was not removed by anybody.
        Taking::Undone(_) if engine.inboxes.is_frozen(&job.inbox) => {
            return Err(explain_frozen(engine, job, &places));
        }
        Taking::Undone(files) => {
            check_mount(engine, &places.inbox).await?;
            check_inner_mounts(engine, job, &places).await?;
            tracing::info!(job = %job.id, input = %job.input, "its files were removed or replaced before they were taken");
            Event::NotTaken { files }
        }
    };
    match engine.ledger.apply(&job.id, event).await {
        Ok(_) => Ok(()),
        // The inbox's thread was faster.
        Err(LedgerError::Illegal(_)) => Ok(()),
        Err(error) => Err(StageError::Later(error.to_string())),
    }
}

async fn move_files(
    engine: &Engine,
    job: &Arc<Job>,
    places: &Places,
) -> Result<Taking, StageError> {
    let working = places.working.clone();
    let there = blocking(engine, job, move || working.is_dir()).await?;
    // Thousands of jobs may have to be taken, and nearly always the folder is there.
    let own = if there {
        Vec::new()
    } else {
        find_jobs_in(engine, &places.working)
    };
    let (moving, target) = (job.clone(), places.clone());
    let taking = blocking(engine, job, move || {
        if !there {
            create_working(&target.working, own.iter().map(AsRef::as_ref))?;
        }
        finish_taking(&moving, &target)
    });
    taking.await?.map_err(StageError::disk(format!(
        "files cannot be moved from {} to {}",
        places.inbox.display(),
        places.working.display()
    )))
}

/// The open jobs whose files are in this `working`, whatever their inbox is called.
fn find_jobs_in(engine: &Engine, working: &Path) -> Vec<Arc<Job>> {
    let settings = engine.settings.load();
    let mut jobs = engine.ledger.jobs();
    jobs.retain(|job| {
        let inbox = settings.inboxes.get(&job.inbox);
        inbox.is_some_and(|inbox| inbox.places.working == working)
    });
    jobs
}

/// Files that are neither where they were dropped nor in `working/` prove nothing while the inbox itself is away.
fn explain_frozen(engine: &Engine, job: &Job, places: &Places) -> StageError {
    let why = engine.inboxes.why_frozen(&job.inbox);
    explain_away(places, why.as_deref().unwrap_or("it is not there"))
}
