//! Giving finished outputs their names. The order is: part file durable, names in the journal, record, rename without
//! replacing, folder durable, journal. A crash anywhere is completed by doing it again: the part file tells whether the
//! rename has happened.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::{StageError, blocking};
use crate::engine::Engine;
use crate::files::{rename_new, sync_parent, write_new};
use crate::job::{Delivery, Event, Job, RelPath, Task};
use crate::outbox::{choose_names, record, record_path};

/// What became of one output.
enum Placed {
    /// It has its name.
    Yes,
    /// Another file has taken the name meanwhile.
    Taken,
}

/// Names all outputs.
pub async fn run(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    task: &Task,
    outputs: &[Delivery],
) -> Result<(), StageError> {
    let outbox = super::outbox(engine, job).await?;
    let refused: HashSet<RelPath> = HashSet::new();
    if outputs.iter().any(|output| output.name.is_none()) {
        return name(engine, job, outputs, refused, &outbox).await;
    }
    let mut refused = HashSet::new();
    for output in outputs {
        let Some(name) = output.name.clone() else {
            continue;
        };
        let text = record(job, task, output, &name, Timestamp::now())
            .map_err(|error| StageError::Later(error.to_string()))?;
        let (part, target) = (
            outbox.join(output.part.as_path()),
            outbox.join(name.as_path()),
        );
        let beside = outbox.join(record_path(&name).as_path());
        let placed = blocking(move || place(&part, &target, &beside, text.as_bytes()))
            .await?
            .map_err(StageError::disk("the output cannot be put into the outbox"))?;
        match placed {
            Placed::Yes => {}
            Placed::Taken => {
                refused.insert(name);
            }
        }
    }
    if !refused.is_empty() {
        return name(engine, job, outputs, refused, &outbox).await;
    }
    let job = engine
        .record(&job.id, Event::Delivered)
        .await
        .ok_or(StageError::LeftOff)?;
    tracing::info!(job = %job.id, input = %job.input, "delivered");
    Ok(())
}

/// Chooses names and makes the choice durable.
async fn name(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    outputs: &[Delivery],
    refused: HashSet<RelPath>,
    outbox: &Path,
) -> Result<(), StageError> {
    let (outbox, named, list) = (outbox.to_owned(), job.clone(), outputs.to_vec());
    let names = blocking(move || choose_names(&outbox, &named, &list, &refused))
        .await?
        .map_err(StageError::disk("the outbox cannot be looked at"))?;
    engine
        .record(&job.id, Event::Named { names })
        .await
        .map(drop)
        .ok_or(StageError::LeftOff)
}

/// Puts one output under its name, with its record.
///
/// The record comes first, so that whoever sees the output finds it. A crash between the two leaves a record whose output
/// follows when this is done again.
fn place(part: &Path, target: &Path, beside: &Path, record: &[u8]) -> io::Result<Placed> {
    match std::fs::symlink_metadata(part) {
        Ok(_) => {}
        // The rename happened before a crash; the person may even have taken the output already.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Placed::Yes),
        Err(error) => return Err(error),
    }
    if std::fs::symlink_metadata(target).is_ok() {
        return Ok(Placed::Taken);
    }
    match write_new(beside, record) {
        Ok(()) => {}
        // A record of an earlier attempt of this very job differs only in its time.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !is_ours(beside, record)? {
                return Ok(Placed::Taken);
            }
        }
        Err(error) => return Err(error),
    }
    match rename_new(part, target) {
        Ok(()) => {
            sync_parent(target)?;
            Ok(Placed::Yes)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(beside)?;
            Ok(Placed::Taken)
        }
        Err(error) => Err(error),
    }
}

/// Whether a record was written for the same job: its first line names it.
fn is_ours(path: &Path, record: &[u8]) -> io::Result<bool> {
    let there = std::fs::read(path)?;
    let first = |text: &[u8]| text.split(|byte| *byte == b'\n').next().map(<[u8]>::to_vec);
    Ok(first(&there) == first(record))
}
