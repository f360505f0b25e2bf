//! What all stages share: their errors, and whether the folders they use can be used.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::{Engine, InboxSettings, explain_unconfigured};
use crate::files::advice;
use crate::folders::Places;
use crate::folders::mounted::{find_missing_mount, is_mounted, remember_mount};
use crate::job::{Event, Failure, FailureKind, Job};
use crate::journal::JournalError;

/// Why a stage did not finish.
#[derive(Debug, thiserror::Error)]
pub(super) enum StageError {
    /// A folder cannot be used now. The stage is repeated.
    #[error("{what}: {source}. {}", advice(source))]
    Disk {
        what: String,
        #[source]
        source: io::Error,
    },
    /// Something else has to become possible first. The stage is repeated.
    #[error("{0}")]
    Later(String),
    /// The daemon stops, or somebody else changed the job.
    #[error("left off")]
    LeftOff,
}

impl StageError {
    pub(super) fn disk(what: impl Into<String>) -> impl FnOnce(io::Error) -> StageError {
        let what = what.into();
        move |source| StageError::Disk { what, source }
    }
}

/// Makes an event durable.
pub(super) async fn record(
    engine: &Engine,
    job: &Job,
    event: Event,
) -> Result<Arc<Job>, StageError> {
    let recorded = engine.record(&job.id, event).await;
    recorded.ok_or(StageError::LeftOff)
}

/// Does file work where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    engine: &Engine,
    job: &Job,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StageError> {
    // The only error is a panic in the work, which the default hook has reported. The stage is repeated.
    let done = engine.with_files(job, work).await;
    done.map_err(|error| StageError::Later(format!("file work ended unexpectedly: {error}")))
}

/// The settings of a job's inbox. An inbox that is no longer configured cannot be served: the job waits until it is back.
pub(super) fn load_inbox(engine: &Engine, job: &Job) -> Result<InboxSettings, StageError> {
    let inbox = engine.settings.inbox_of(job);
    inbox.ok_or_else(|| StageError::Later(explain_unconfigured(&job.inbox)))
}

/// Finds the outbox of a job's inbox. It is created when the inbox is first watched. One that is gone later may be on a share
/// that is offline, and nothing is written in its place.
pub(super) async fn find_outbox(engine: &Engine, job: &Job) -> Result<PathBuf, StageError> {
    let outbox = load_inbox(engine, job)?.places.outbox;
    check_mount(engine, &outbox).await?;
    let path = outbox.clone();
    if blocking(engine, job, move || path.is_dir()).await? {
        return Ok(outbox);
    }
    Err(StageError::Later(format!(
        "the outbox {} is not there: is its share offline? Create it again if it was removed",
        outbox.display()
    )))
}

/// Checks that the filesystem a folder was on is mounted: nothing is written below an empty mount point. What the folder is on
/// now is remembered, since a share may be mounted over it at any time.
///
/// # Errors
/// The filesystem is not mounted: the stage is repeated.
pub(super) async fn check_mount(engine: &Engine, folder: &Path) -> Result<(), StageError> {
    let journal = engine.ledger.journal().as_ref();
    let later = |error: JournalError| StageError::Later(error.to_string());
    match find_missing_mount(journal, folder).await.map_err(later)? {
        Some(why) => Err(StageError::Later(why)),
        None => remember_mount(journal, folder).await.map_err(later),
    }
}

/// Checks that what a job's files were dropped on is mounted, where that is another filesystem inside the inbox. A filesystem
/// that went away says nothing about the files on it.
///
/// # Errors
/// The filesystem is not mounted: the stage is repeated.
pub(super) async fn check_inner_mounts(
    engine: &Engine,
    job: &Job,
    places: &Places,
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
            "nothing is mounted at {}, where its files are: is the share offline? Nothing in it counts as deleted",
            places.inbox.join(mount.as_path()).display()
        ))),
    }
}

/// Checks that what is missing may be believed to be gone. A share that is offline, or an empty mount point in its place,
/// says nothing about the files on it.
///
/// # Errors
/// The folders are away: the stage is repeated.
pub(super) async fn check_reachable(
    engine: &Engine,
    job: &Job,
    places: &Places,
) -> Result<(), StageError> {
    let working = places.working.clone();
    let there = blocking(engine, job, move || working.is_dir()).await?;
    if !there {
        return Err(StageError::Later(format!(
            "the folder {} is not there",
            places.working.display()
        )));
    }
    if let Some(why) = engine.inboxes.why_away(&job.inbox) {
        return Err(explain_away(places, &why));
    }
    check_mount(engine, &places.inbox).await?;
    check_inner_mounts(engine, job, places).await
}

pub(super) fn explain_away(places: &Places, why: &str) -> StageError {
    StageError::Later(format!(
        "the inbox {} cannot be used at the moment: {why}",
        places.inbox.display()
    ))
}

/// A failure because of the job's own files.
pub(super) fn files_failure(what: String) -> Failure {
    Failure {
        kind: FailureKind::Files,
        what,
        details: Vec::new(),
        advice: "Put the files back into the inbox to try again. Nothing was sent for this attempt, and no credits were charged."
            .to_owned(),
        task: None,
    }
}
