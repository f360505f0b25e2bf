//! The stages of a job in motion: each takes it from one state to the next, and can be done again from its beginning after
//! a crash at any point within it.

pub(crate) mod close;
mod deliver;
mod download;
mod submit;
mod upload;

use std::io;
use std::sync::Arc;

use crate::engine::Engine;
use crate::files::advice;
use crate::folders::mounted::{bare, is_mounted, remember};
use crate::folders::{Taking, finish_taking, make_working};
use crate::job::{Event, Failure, FailureKind, Job, JobId, State};
use crate::journal::JournalError;
use crate::policy::retry::Trouble;

/// Why a stage did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    /// A folder cannot be used now. The stage is done again.
    #[error("{what}: {source}. {}", advice(source))]
    Disk {
        what: String,
        #[source]
        source: io::Error,
    },
    /// Something else has to become possible first. The stage is done again.
    #[error("{0}")]
    Later(String),
    /// The daemon stops, or somebody else changed the job.
    #[error("left off")]
    LeftOff,
}

impl StageError {
    fn disk(what: impl Into<String>) -> impl FnOnce(io::Error) -> StageError {
        let what = what.into();
        move |source| StageError::Disk { what, source }
    }
}

/// Takes a job from state to state until it has to wait for something that others bring about.
pub async fn drive(engine: &Arc<Engine>, id: &JobId) {
    let mut attempt = 0_u32;
    while let Some(job) = engine.ledger.get(id) {
        if engine.stop.is_cancelled() {
            return;
        }
        let seq = job.seq;
        let done = match &job.state {
            State::Taking { .. } => take(engine, &job).await,
            State::Queued { .. } if job.cancel_asked => cancel(engine, &job).await,
            State::Uploading if job.cancel_asked => cancel(engine, &job).await,
            State::Uploading => submit::run(engine, &job).await,
            State::Downloading { task } => download::run(engine, &job, task).await,
            State::Delivering { task, outputs } => deliver::run(engine, &job, task, outputs).await,
            State::Closing { verdict, moves } => {
                close::run(engine, &job, verdict, moves.as_deref()).await
            }
            State::Running { .. } => {
                // The dispatcher hands it to the poller.
                return;
            }
            State::Queued { .. }
            | State::Submitting { .. }
            | State::InDoubt { .. }
            | State::Done { .. }
            | State::Failed { .. }
            | State::Cancelled { .. } => return,
        };
        match done {
            Ok(()) => {
                attempt = 0;
                // A stage that ends well has moved the job; if it did not, somebody else will.
                if engine.ledger.get(id).is_some_and(|job| job.seq == seq) {
                    return;
                }
            }
            Err(StageError::LeftOff) => return,
            Err(error) => {
                attempt = attempt.saturating_add(1);
                if attempt == 1 {
                    tracing::error!(job = %id, input = %job.input, state = %job.state_name(), "{error}; trying again until it works");
                }
                engine.note_trouble(id, error.to_string());
                let pause = engine.retry_in(Trouble::Folder, attempt, None);
                if !engine.pause(pause).await {
                    return;
                }
            }
        }
    }
}

/// Runs work with files where it may block.
async fn blocking<T: Send + 'static>(
    engine: &Engine,
    job: &Job,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StageError> {
    // The only error is a panic inside, which the default hook has reported; the stage is done again.
    engine
        .with_files(job, work)
        .await
        .map_err(|error| StageError::Later(format!("work with files ended early: {error}")))
}

/// What the configuration no longer has cannot be served: the job waits until it is back.
fn inbox(engine: &Engine, job: &Job) -> Result<crate::engine::InboxSettings, StageError> {
    engine
        .inbox(job)
        .ok_or_else(|| StageError::Later(crate::engine::no_inbox(&job.inbox)))
}

/// The outbox of a job's inbox. It is made when the inbox is first watched; one that is gone later may be a share that is
/// offline, and nothing is written in its place.
async fn outbox(engine: &Engine, job: &Job) -> Result<std::path::PathBuf, StageError> {
    let outbox = inbox(engine, job)?.places.outbox;
    on_its_mount(engine, &outbox).await?;
    let look = outbox.clone();
    if blocking(engine, job, move || look.is_dir()).await? {
        Ok(outbox)
    } else {
        Err(StageError::Later(format!(
            "the outbox {} is not there: is its share offline? Make it again if it was removed",
            outbox.display()
        )))
    }
}

/// Whether what a folder lay on is mounted: nothing is written under a bare mount point. What it lies on now is remembered, since
/// a share may be mounted over it at any time.
///
/// # Errors
/// It is away: the stage is done again.
async fn on_its_mount(engine: &Engine, folder: &std::path::Path) -> Result<(), StageError> {
    let journal = engine.ledger.journal();
    let later = |error: JournalError| StageError::Later(error.to_string());
    match bare(journal.as_ref(), folder).await.map_err(later)? {
        Some(why) => Err(StageError::Later(why)),
        None => remember(journal.as_ref(), folder).await.map_err(later),
    }
}

/// Whether what a job's files were dropped on is mounted, where that is another filesystem inside the inbox. One that went
/// away says nothing about the files that lie on it.
///
/// # Errors
/// It is away: the stage is done again.
async fn mounted(
    engine: &Engine,
    job: &Job,
    places: &crate::folders::Places,
) -> Result<(), StageError> {
    let mounts: Vec<_> = job
        .files
        .iter()
        .filter_map(|file| file.mount.clone())
        .collect();
    if mounts.is_empty() {
        return Ok(());
    }
    let inbox = places.inbox.clone();
    let missing = move || mounts.into_iter().find(|mount| !is_mounted(&inbox, mount));
    match blocking(engine, job, missing).await? {
        None => Ok(()),
        Some(mount) => Err(StageError::Later(format!(
            "nothing is mounted at {}, where its files lie: is the share offline? Nothing in it is taken as deleted",
            places.inbox.join(mount.as_path()).display()
        ))),
    }
}

/// Finishes a take that a crash or a folder's trouble interrupted.
async fn take(engine: &Arc<Engine>, job: &Arc<Job>) -> Result<(), StageError> {
    let places = inbox(engine, job)?.places;
    // The inbox's own thread does this, and normally has done it by the time somebody looks. Files that are neither where
    // they were dropped nor in `working/` while the inbox itself is away prove nothing.
    let away = || {
        StageError::Later(format!(
            "the inbox {} cannot be used at the moment: {}",
            places.inbox.display(),
            engine
                .why_frozen(&job.inbox)
                .unwrap_or_else(|| "it is not there".to_owned())
        ))
    };
    let root = places.inbox.clone();
    if engine.is_frozen(&job.inbox) || !blocking(engine, job, move || root.is_dir()).await? {
        return Err(away());
    }
    on_its_mount(engine, &places.inbox).await?;
    mounted(engine, job, &places).await?;
    let (moving, target) = (job.clone(), places.clone());
    let working = places.working.clone();
    let there = blocking(engine, job, move || working.is_dir()).await?;
    // Thousands may have to be taken, and nearly always it is there.
    let own = if there {
        Vec::new()
    } else {
        jobs_in(engine, &places.working)
    };
    let taking = blocking(engine, job, move || {
        if !there {
            make_working(&target.working, own.iter().map(AsRef::as_ref))?;
        }
        finish_taking(&moving, &target)
    })
    .await?
    .map_err(StageError::disk(format!(
        "files cannot be moved from {} to {}",
        places.inbox.display(),
        places.working.display()
    )))?;
    let event = match taking {
        Taking::All(files) => Event::Moved { files },
        // What is missing from a folder that went away meanwhile was not removed by anybody.
        Taking::Undone(_) if engine.is_frozen(&job.inbox) => return Err(away()),
        Taking::Undone(files) => {
            on_its_mount(engine, &places.inbox).await?;
            mounted(engine, job, &places).await?;
            tracing::info!(job = %job.id, input = %job.input, "its files were removed or exchanged before they were taken");
            Event::NotTaken { files }
        }
    };
    match engine.ledger.apply(&job.id, event).await {
        Ok(_) => Ok(()),
        // The inbox's thread was faster.
        Err(crate::ledger::LedgerError::Illegal(_)) => Ok(()),
        Err(error) => Err(StageError::Later(error.to_string())),
    }
}

/// The open jobs whose files lie in this `working`, whatever their inbox is called.
fn jobs_in(engine: &Engine, working: &std::path::Path) -> Vec<Arc<Job>> {
    let settings = engine.settings();
    let mut jobs = engine.ledger.jobs();
    jobs.retain(|job| {
        let inbox = settings.inboxes.get(&job.inbox);
        inbox.is_some_and(|inbox| inbox.places.working == working)
    });
    jobs
}

/// Cancels a job that has no task.
async fn cancel(engine: &Arc<Engine>, job: &Arc<Job>) -> Result<(), StageError> {
    let spots: Vec<_> = job
        .files
        .iter()
        .filter_map(|file| file.at.clone())
        .collect();
    let deleted = match engine.inbox(job).map(|inbox| inbox.places) {
        Some(places) if spots.len() == job.files.len() => {
            blocking(engine, job, move || {
                spots.iter().any(|at| !places.path(at).exists())
            })
            .await?
        }
        Some(_) => true,
        // Its inbox is no longer configured, and it can be cancelled all the same.
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
    engine
        .record(&job.id, event)
        .await
        .ok_or(StageError::LeftOff)?;
    Ok(())
}

/// A failure because of the job's own files.
fn files_failure(what: String, details: Vec<String>) -> Failure {
    Failure {
        kind: FailureKind::Files,
        what,
        details,
        advice: "Put the files back into the inbox to try again. Nothing was sent for this attempt, and no credits were charged."
            .to_owned(),
        task: None,
    }
}
