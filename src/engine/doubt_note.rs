//! The note next to the input of a job in doubt, for people who only see the folder.

use std::io;
use std::path::PathBuf;

use tokio::task::JoinError;

use crate::engine::Engine;
use crate::files::write_over;
use crate::folders::note::{append_job, note_path};
use crate::job::{Job, JobId, State};

/// How a note begins that names a task which the journal could not hold.
const ACCEPTED: &str = "Runway accepted this job as task ";

/// Writes what is known about a job in doubt. A note that names the task knows more, and stays.
pub(super) async fn write_doubt(engine: &Engine, job: &Job) {
    let (Some(path), State::InDoubt { doubt }) = (find_place(engine, job), &job.state) else {
        return;
    };
    let mut text = format!(
        "It is not known whether Runway accepted this job: {}\n\n\
         The request went out after {:.0}. If Runway accepted it, it may have cost credits, so it is not sent again automatically. {}\n\n\
         What to do: look in Runway's portal for a task of that time. Then run one of\n",
        doubt.why,
        doubt.intent_at,
        doubt.evidence(job.model()),
    );
    for (command, when) in doubt.ways_out(&job.id) {
        text.push_str(&format!("  {command}\n      ({when})\n"));
    }
    append_job(&mut text, job);
    // What is known changes while the doubt lasts, and the texts are written one after the other.
    let _lock = engine.locks.lock_for(job.id.as_str()).await;
    let writing = move || match std::fs::read(&path) {
        Ok(there) if there == text.as_bytes() || there.starts_with(ACCEPTED.as_bytes()) => Ok(()),
        Ok(_) | Err(_) => write_over(&path, text.as_bytes()),
    };
    let written = engine.with_files(job, writing).await;
    report(&job.id, written);
}

/// Writes which task Runway accepted, where the daemon ends before the journal can hold it. The next start only knows that a
/// request was under way.
pub(super) async fn write_task(engine: &Engine, id: &JobId, task: &str) {
    let Some(job) = engine.ledger.get(id) else {
        return;
    };
    let Some(path) = find_place(engine, &job) else {
        return;
    };
    let text = format!(
        "{ACCEPTED}{task}, and taxiway had to stop before its journal could be written.\n\n\
         What to do: make the disk of taxiway's state directory usable, start taxiway, then run\n\
         \u{20} taxiway resolve {id} --adopt {task}   (its output is fetched; nothing is paid twice)\n\n\
         Job {id}\n",
    );
    let writing = move || write_over(&path, text.as_bytes());
    let written = engine.with_files(&job, writing).await;
    report(id, written);
}

/// Where the note about a job belongs.
fn find_place(engine: &Engine, job: &Job) -> Option<PathBuf> {
    let places = engine.settings.inbox_of(job)?.places;
    let input = job.files.iter().find(|file| file.dropped == job.input)?;
    Some(note_path(&places.path(input.at.as_ref()?)))
}

fn report(id: &JobId, written: Result<io::Result<()>, JoinError>) {
    let error = match written {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(error) => error.into(),
    };
    tracing::warn!(job = %id, %error, "the note about the doubt cannot be written");
}
