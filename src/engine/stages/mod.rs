//! The stages of a job in motion: each takes it from one state to the next, and can be repeated from its beginning after a
//! crash at any point.

mod cancel;
mod close;
mod common;
mod deliver;
mod download;
mod submit;
mod take;
mod upload;

use crate::engine::Engine;
use crate::job::{JobId, State};
use crate::policy::retry::Trouble;
use common::StageError;

/// Takes a job from state to state until it has to wait for something that others bring about.
pub(super) async fn drive(engine: &Engine, id: &JobId) {
    let mut attempt = 0_u32;
    while let Some(job) = engine.ledger.get(id) {
        if engine.stop.is_cancelled() {
            return;
        }
        let seq = job.seq;
        let done = match &job.state {
            State::Taking { .. } => take::run(engine, &job).await,
            State::Queued { .. } if job.cancel_asked => cancel::run(engine, &job).await,
            State::Uploading if job.cancel_asked => cancel::run(engine, &job).await,
            State::Uploading => submit::run(engine, &job).await,
            State::Downloading { task } => download::run(engine, &job, task).await,
            State::Delivering { task, outputs } => deliver::run(engine, &job, task, outputs).await,
            State::Closing { verdict, moves } => {
                close::run(engine, &job, verdict, moves.as_deref()).await
            }
            // The dispatcher hands a running task to the poller.
            State::Running { .. }
            | State::Queued { .. }
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
            Err(error @ (StageError::Disk { .. } | StageError::Later(_))) => {
                attempt = attempt.saturating_add(1);
                if attempt == 1 {
                    tracing::error!(job = %id, input = %job.input, state = %job.state_name(), "{error}; trying again until it works");
                }
                engine.in_flight.note_trouble(id, error.to_string());
                let pause = engine.settings.choose_pause(Trouble::Folder, attempt, None);
                if !engine.pause(pause).await {
                    return;
                }
            }
        }
    }
}
