//! What stands beside an input while its job is not at its end, for people who only see the folder.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::Engine;
use crate::files::write_over;
use crate::folders::note::{append_job, note_path};
use crate::job::{Job, JobId, State};

/// How the note begins that names a task which the journal could not hold.
const ACCEPTED: &str = "Runway accepted this job as task ";

/// Says beside the input what is known of a job in doubt. A note there that names the task knows more.
pub async fn write_doubt(engine: &Arc<Engine>, job: &Arc<Job>) {
    let (Some(path), State::InDoubt { doubt }) = (note_of(engine, job), &job.state) else {
        return;
    };
    let mut text = format!(
        "It is not known whether Runway took this job on: {}\n\n\
         The request went out after {:.0}. If Runway took it, it may have cost credits, so it is not sent again by itself. {}\n\n\
         What to do: look in Runway's portal for a task of that time. Then run one of\n",
        doubt.why,
        doubt.intent_at,
        doubt.evidence(job.model()),
    );
    for (command, when) in doubt.ways_out(&job.id) {
        text.push_str(&format!("  {command}\n      ({when})\n"));
    }
    append_job(&mut text, job);
    // What a doubt says changes while it lasts, and one text after the other is written.
    let turn = engine.turn(job.id.as_str());
    let _turn = turn.lock().await;
    let writing = move || match std::fs::read(&path) {
        Ok(there) if there == text.as_bytes() || there.starts_with(ACCEPTED.as_bytes()) => Ok(()),
        Ok(_) | Err(_) => write_over(&path, text.as_bytes()),
    };
    let written = engine.with_files(job, writing).await;
    tell(&job.id, written);
}

/// Says beside the input which task Runway accepted, where the daemon ends before the journal could hold it. The next start
/// knows only that a request was under way.
pub async fn write_task(engine: &Engine, id: &JobId, task: &str) {
    let Some(job) = engine.ledger.get(id) else {
        return;
    };
    let Some(path) = note_of(engine, &job) else {
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
    tell(id, written);
}

/// Where a note about a job lies, beside its input.
fn note_of(engine: &Engine, job: &Job) -> Option<PathBuf> {
    let places = engine.inbox(job)?.places;
    let input = job.files.iter().find(|file| file.dropped == job.input)?;
    Some(note_path(&places.path(input.at.as_ref()?)))
}

fn tell(id: &JobId, written: Result<io::Result<()>, tokio::task::JoinError>) {
    match written {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(job = %id, %error, "the note about the doubt cannot be written")
        }
        Err(error) => {
            tracing::warn!(job = %id, %error, "the note about the doubt was not written")
        }
    }
}
