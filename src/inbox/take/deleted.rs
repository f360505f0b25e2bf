//! A person cancels a job by deleting its file from `working/`.

use crate::inbox::root::check::Root;
use crate::inbox::root::working::is_deleted;
use crate::inbox::setup::Setup;
use crate::job::{Event, State};

/// Cancels the jobs that had a file deleted from `working/`.
///
/// # Errors
/// Why nothing can be done with the inbox: then nothing counts as deleted.
pub(crate) fn cancel_deleted(setup: &Setup, root: &mut Root) -> Result<(), String> {
    // A `working` folder that is not there says nothing about the files that were in it.
    if !setup.places.working.is_dir() {
        return Ok(());
    }
    for job in setup.own_jobs() {
        if job.cancel_asked || !can_be_cancelled(&job.state) || !is_deleted(setup, &job) {
            continue;
        }
        // A share that went away at this moment has deleted nothing.
        root.check_unchanged()?;
        // The engine moves files only in states that cannot be cancelled any more: check the state once more.
        let now = setup.ledger.get(&job.id);
        let still = now.is_some_and(|job| can_be_cancelled(&job.state));
        if still && setup.places.working.is_dir() {
            tracing::info!(job = %job.id, input = %job.input, "its file was deleted from working: cancelling");
            let cancelled = setup.ledger.apply(&job.id, Event::CancelAsked);
            if let Err(error) = setup.runtime.block_on(cancelled) {
                tracing::warn!(job = %job.id, %error, "cannot be cancelled now");
            }
        }
    }
    Ok(())
}

fn can_be_cancelled(state: &State) -> bool {
    match state {
        State::Queued { .. }
        | State::Uploading
        | State::Submitting { .. }
        | State::Running { .. } => true,
        State::Taking { .. }
        | State::InDoubt { .. }
        | State::Downloading { .. }
        | State::Delivering { .. }
        | State::Closing { .. }
        | State::Done { .. }
        | State::Failed { .. }
        | State::Cancelled { .. } => false,
    }
}
