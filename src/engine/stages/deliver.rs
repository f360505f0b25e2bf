//! Giving finished outputs their names. The order is: part file durable, names in the journal, record, rename without
//! replacing, folder durable, journal. After a crash anywhere the stage is repeated. A part file that is gone counts as
//! delivered only if its very bytes are under the name; otherwise the output is fetched again, which costs nothing.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::common::{StageError, blocking, find_outbox, record};
use crate::engine::Engine;
use crate::files::RelPath;
use crate::files::{create_folders, exists, remove_file, rename_new, sync_parent, write_new};
use crate::folders::outbox;
use crate::folders::outbox::{choose_names, is_delivered, is_record_of, record_path};
use crate::job::{Delivery, Event, Job, JobId, Task};

/// What became of one output.
enum Placed {
    /// It has its name.
    Yes,
    /// Another file has taken the name meanwhile.
    Taken,
    /// Neither the part file nor the output is there.
    Lost,
}

/// Gives all outputs their names.
pub(super) async fn run(
    engine: &Engine,
    job: &Arc<Job>,
    task: &Task,
    outputs: &[Delivery],
) -> Result<(), StageError> {
    let outbox = find_outbox(engine, job).await?;
    let mut refused = HashSet::new();
    if outputs.iter().any(|output| output.name.is_none()) {
        return name(engine, job, outputs, refused, &outbox).await;
    }
    let with_endpoint = job
        .plan
        .as_ref()
        .is_some_and(|plan| !crate::sidecar::settles_endpoint(&engine.catalogue, plan));
    let mut lost = false;
    for output in outputs {
        let Some(name) = output.name.clone() else {
            continue;
        };
        // The time of the journal and not of the clock, so that repeating this after a crash writes the same.
        let text = outbox::compose_record(job, task, output, &name, job.updated_at, with_endpoint)
            .map_err(|error| StageError::Later(error.to_string()))?;
        let (id, folder, placing) = (job.id.clone(), outbox.clone(), output.clone());
        let wanted = name.clone();
        let placing = blocking(engine, job, move || {
            place(&folder, &id, &placing, &wanted, text.as_bytes())
        });
        let placed = placing.await?.map_err(StageError::disk(format!(
            "the output cannot be put into the outbox {}",
            outbox.display()
        )))?;
        match placed {
            Placed::Yes => {}
            Placed::Taken => {
                refused.insert(name);
            }
            Placed::Lost => {
                lost = true;
                tracing::warn!(
                    job = %job.id, input = %job.input, output = %name,
                    "the fetched output disappeared from the outbox before it had its name: it is fetched again"
                );
            }
        }
    }
    if lost {
        return record(engine, job, Event::Refetch).await.map(drop);
    }
    if !refused.is_empty() {
        return name(engine, job, outputs, refused, &outbox).await;
    }
    let job = record(engine, job, Event::Delivered).await?;
    tracing::info!(job = %job.id, input = %job.input, "delivered");
    Ok(())
}

/// Chooses names and makes the choice durable.
async fn name(
    engine: &Engine,
    job: &Arc<Job>,
    outputs: &[Delivery],
    refused: HashSet<RelPath>,
    outbox: &Path,
) -> Result<(), StageError> {
    let (folder, named, list) = (outbox.to_owned(), job.clone(), outputs.to_vec());
    let choosing = blocking(engine, job, move || {
        choose_names(&folder, &named, &list, &refused)
    });
    let names = choosing.await?.map_err(StageError::disk(format!(
        "the outbox {} cannot be read",
        outbox.display()
    )))?;
    record(engine, job, Event::Named { names }).await.map(drop)
}

/// Puts one output under its name, with its record.
///
/// The record comes first, so that whoever sees the output finds it. A crash between the two leaves a record whose output
/// follows when the stage is repeated.
fn place(
    outbox: &Path,
    job: &JobId,
    output: &Delivery,
    name: &RelPath,
    record: &[u8],
) -> io::Result<Placed> {
    let (part, target) = (
        outbox.join(output.part.as_path()),
        outbox.join(name.as_path()),
    );
    let beside = outbox.join(record_path(name).as_path());
    match std::fs::symlink_metadata(&part) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // The rename happened before a crash, or somebody removed the part file. Who took the output right after the
            // rename gets it twice, which is the lesser evil.
            if !is_delivered(&target, output)? {
                // A record without an output would stay for good: what is fetched again gets its own.
                if !exists(&target)? && is_record_of(&beside, job)? {
                    remove_file(&beside)?;
                }
                return Ok(Placed::Lost);
            }
            sync_parent(&target)?;
            return Ok(Placed::Yes);
        }
        Err(error) => return Err(error),
    }
    if exists(&target)? {
        // This very output, from an interrupted attempt: by a hard link, or before it was fetched again.
        if is_record_of(&beside, job)? && is_delivered(&target, output)? {
            sync_parent(&target)?;
            remove_file(&part)?;
            return Ok(Placed::Yes);
        }
        return Ok(Placed::Taken);
    }
    if let Some(parent) = target.parent() {
        create_folders(parent)?;
    }
    // A record of an earlier attempt of this very job differs only in its time.
    let wrote = !is_record_of(&beside, job)?;
    if wrote {
        match write_new(&beside, record) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Placed::Taken),
            other => other?,
        }
    } else {
        // The attempt that wrote it may not have made its name durable.
        sync_parent(&beside)?;
    }
    match rename_new(&part, &target) {
        Ok(()) => {
            sync_parent(&target)?;
            Ok(Placed::Yes)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A record that was there before may belong to the output that took the name.
            if wrote {
                remove_file(&beside)?;
            }
            Ok(Placed::Taken)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::files::hash_path;

    /// An outbox with a part file, and what it is to become.
    fn outbox() -> (tempfile::TempDir, JobId, Delivery, RelPath) {
        let dir = tempfile::tempdir().unwrap();
        let part = RelPath::new(Path::new(".p.part")).unwrap();
        std::fs::write(dir.path().join(".p.part"), "film").unwrap();
        let output = Delivery {
            sha256: hash_path(&dir.path().join(".p.part")).unwrap(),
            part,
            name: None,
            bytes: 4,
            extension: "mp4".into(),
        };
        let name = RelPath::new(Path::new("red.mp4")).unwrap();
        (dir, JobId::random(), output, name)
    }

    fn text(job: &JobId) -> Vec<u8> {
        format!("job: {job}\n").into_bytes()
    }

    #[test]
    fn a_part_that_is_gone_counts_as_delivered_only_where_its_bytes_have_the_name() {
        let (dir, job, output, name) = outbox();
        let place = || place(dir.path(), &job, &output, &name, &text(&job)).unwrap();
        assert!(matches!(place(), Placed::Yes));
        assert!(matches!(place(), Placed::Yes));
        std::fs::write(dir.path().join("red.mp4"), "flim").unwrap();
        assert!(matches!(place(), Placed::Lost));
        std::fs::remove_file(dir.path().join("red.mp4")).unwrap();
        assert!(matches!(place(), Placed::Lost));
    }

    #[test]
    fn a_part_that_goes_after_its_record_came_leaves_no_record_behind() {
        let (dir, job, output, name) = outbox();
        let at = |name: &str| dir.path().join(name);
        let place = || place(dir.path(), &job, &output, &name, &text(&job)).unwrap();
        std::fs::remove_file(at(".p.part")).unwrap();
        std::fs::write(at("red.mp4.yaml"), text(&job)).unwrap();
        assert!(matches!(place(), Placed::Lost));
        assert!(!at("red.mp4.yaml").exists());
        // What somebody else put there stays, and so does the record of an output that somebody worked on.
        std::fs::write(at("red.mp4.yaml"), text(&JobId::random())).unwrap();
        assert!(matches!(place(), Placed::Lost));
        assert!(at("red.mp4.yaml").exists());
        std::fs::write(at("red.mp4"), "flim").unwrap();
        std::fs::write(at("red.mp4.yaml"), text(&job)).unwrap();
        assert!(matches!(place(), Placed::Lost));
        assert!(at("red.mp4.yaml").exists());
    }

    #[test]
    fn an_output_whose_hard_link_was_interrupted_is_not_delivered_twice() {
        let (dir, job, output, name) = outbox();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("red.mp4.yaml"), text(&job)).unwrap();
        std::fs::hard_link(at(".p.part"), at("red.mp4")).unwrap();
        let placed = place(dir.path(), &job, &output, &name, &text(&job)).unwrap();
        assert!(matches!(placed, Placed::Yes));
        assert!(!at(".p.part").exists());
        assert_eq!(std::fs::read(at("red.mp4")).unwrap(), b"film");
    }

    #[test]
    fn anothers_output_and_record_stay_as_they_are() {
        let (dir, job, output, name) = outbox();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("red.mp4"), "other").unwrap();
        std::fs::write(at("red.mp4.yaml"), text(&JobId::random())).unwrap();
        let there = std::fs::read(at("red.mp4.yaml")).unwrap();
        let placed = place(dir.path(), &job, &output, &name, &text(&job)).unwrap();
        assert!(matches!(placed, Placed::Taken));
        assert_eq!(std::fs::read(at("red.mp4")).unwrap(), b"other");
        assert_eq!(std::fs::read(at("red.mp4.yaml")).unwrap(), there);
        assert!(at(".p.part").exists());
    }
}
