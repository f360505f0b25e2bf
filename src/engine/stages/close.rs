//! The end of a job: its inputs go to `originals/` or `failed/`, and a note says why where the job did not succeed.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::common::{StageError, blocking, check_mount, check_reachable, load_inbox, record};
use crate::config::OnSuccess;
use crate::engine::Engine;
use crate::files::{
    create_folders, exists, move_new, part_of_write_over, remove_file, remove_folder, sync_folder,
};
use crate::folders::note::{compose_note, files_to_note, note_path, write_note};
use crate::folders::{Places, find_free_path};
use crate::job::{Event, Folder, InputFile, Job, Move, Spot, State, Verdict, working_inside};

/// Moves the inputs and writes the note.
pub(super) async fn run(
    engine: &Engine,
    job: &Arc<Job>,
    verdict: &Verdict,
    moves: Option<&[Move]>,
) -> Result<(), StageError> {
    let settings = load_inbox(engine, job)?;
    let places = settings.places;
    if job.files.iter().any(|file| file.at.is_some()) {
        check_reachable(engine, job, &places).await?;
    }
    // Where the inputs go; nowhere if they are deleted.
    let folder = match (verdict, settings.inbox.on_success) {
        (Verdict::Done { .. }, OnSuccess::Keep) => Some(Folder::Originals),
        (Verdict::Done { .. }, OnSuccess::Delete) => None,
        (Verdict::Failed(_) | Verdict::Cancelled { .. }, _) => Some(Folder::Failed),
    };
    if let Some(folder) = folder {
        check_mount(engine, places.folder(folder)).await?;
    }
    let Some(moves) = moves else {
        return choose(engine, job, &[], folder, &places).await;
    };
    let (note, moving) = (compose_note(job, verdict), job.clone());
    let (planned, at) = (moves.to_vec(), places.clone());
    let moved = blocking(engine, job, move || {
        move_all(&moving, &planned, &at, note.as_deref())
    });
    let moved = moved.await?.map_err(StageError::disk(format!(
        "the inputs cannot be moved from {}{}",
        places.working.display(),
        describe_target(moves, &places)
    )))?;
    let Some(files) = moved else {
        // A name was taken meanwhile: choose again.
        return choose(engine, job, moves, folder, &places).await;
    };
    // What is not there counts as deleted only while the folders themselves can be trusted.
    let mut pairs = job.files.iter().zip(&files);
    if pairs.any(|(before, after)| before.at.is_some() && after.at.is_none()) {
        check_reachable(engine, job, &places).await?;
    }
    let job = record(engine, job, Event::Closed { files }).await?;
    log_end(&job);
    Ok(())
}

fn log_end(job: &Job) {
    match &job.state {
        State::Failed { failure } => {
            tracing::warn!(job = %job.id, inbox = %job.inbox, input = %job.input, "failed: {}", failure.what);
        }
        State::Cancelled { why, .. } => {
            tracing::info!(job = %job.id, inbox = %job.inbox, input = %job.input, "{why}");
        }
        State::Done { .. }
        | State::Taking { .. }
        | State::Queued { .. }
        | State::Uploading
        | State::Submitting { .. }
        | State::InDoubt { .. }
        | State::Running { .. }
        | State::Downloading { .. }
        | State::Delivering { .. }
        | State::Closing { .. } => {
            tracing::info!(job = %job.id, inbox = %job.inbox, input = %job.input, credits = job.charged(), "done");
        }
    }
}

/// The folder that inputs go to, for people; nothing where they are deleted.
fn describe_target(moves: &[Move], places: &Places) -> String {
    let spot = moves.iter().find_map(|planned| planned.to.as_ref());
    spot.map_or_else(String::new, |spot| {
        format!(" to {}", places.folder(spot.folder).display())
    })
}

/// Chooses where each file goes, and makes the choice durable before anything moves. What has moved already, as an `earlier`
/// choice said, stays where it is.
async fn choose(
    engine: &Engine,
    job: &Arc<Job>,
    earlier: &[Move],
    folder: Option<Folder>,
    places: &Places,
) -> Result<(), StageError> {
    let target = folder.map_or_else(String::new, |folder| {
        places.folder(folder).display().to_string()
    });
    let (choosing, places, earlier) = (job.clone(), places.clone(), earlier.to_vec());
    let moves = blocking(engine, job, move || {
        choose_moves(&choosing.files, &earlier, folder, &places)
    });
    let moves = moves.await?.map_err(StageError::disk(format!(
        "the folder {target} cannot be read"
    )))?;
    let chosen = Event::MovesChosen { moves };
    record(engine, job, chosen).await.map(drop)
}

/// A place for each file in `folder`; without a folder they are deleted.
fn choose_moves(
    files: &[InputFile],
    earlier: &[Move],
    folder: Option<Folder>,
    places: &Places,
) -> io::Result<Vec<Move>> {
    let mut promised = HashSet::new();
    let mut moves = Vec::new();
    for (file, input) in files.iter().enumerate() {
        let before = earlier.iter().find(|planned| planned.file == file);
        let to = match (folder, before.and_then(|planned| planned.to.as_ref())) {
            (None, _) => None,
            (Some(_), Some(spot)) if has_moved(input, spot, places)? => Some(spot.clone()),
            (Some(folder), _) => {
                let path = find_free_path(places.folder(folder), &input.dropped, &promised)?;
                Some(Spot { folder, path })
            }
        };
        promised.extend(to.iter().map(|spot| spot.path.clone()));
        moves.push(Move { file, to });
    }
    Ok(moves)
}

/// Whether a file is where it was to go, and no longer where it was.
fn has_moved(file: &InputFile, to: &Spot, places: &Places) -> io::Result<bool> {
    match &file.at {
        Some(at) => Ok(!exists(&places.path(at))? && exists(&places.path(to))?),
        None => Ok(false),
    }
}

/// Moves every file as chosen. `None` if a chosen name is taken by something else.
fn move_all(
    job: &Job,
    moves: &[Move],
    places: &Places,
    note: Option<&str>,
) -> io::Result<Option<Vec<InputFile>>> {
    let mut files = job.files.clone();
    let mut emptied = HashSet::new();
    // Folders in which names changed that nothing has made durable yet.
    let mut changed = HashSet::new();
    for planned in moves {
        let Some(file) = files.get_mut(planned.file) else {
            continue;
        };
        let Some(from) = file.at.clone() else {
            continue;
        };
        let source = places.path(&from);
        let top = match &file.mount {
            None => places.working.clone(),
            Some(mount) => places.inbox.join(working_inside(mount).as_path()),
        };
        emptied.extend(source.parent().map(|folder| (folder.to_owned(), top)));
        // A settled doubt leaves its note, or what a crash left of it.
        let note = note_path(&source);
        remove_if_there(&part_of_write_over(&note)?)?;
        remove_if_there(&note)?;
        match &planned.to {
            None => {
                remove_if_there(&source)?;
                changed.extend(source.parent().map(Path::to_owned));
                file.at = None;
            }
            Some(to) => {
                let target = places.path(to);
                match move_new(&source, &target) {
                    Ok(()) => file.at = Some(to.clone()),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
                    // Moved before a crash, or deleted by the person.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        file.at = target.try_exists()?.then(|| to.clone());
                        // The process that moved it may have ended before the name was durable.
                        changed.extend(
                            [&source, &target]
                                .into_iter()
                                .filter_map(|path| path.parent().map(Path::to_owned)),
                        );
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
    for folder in changed {
        match sync_folder(&folder) {
            // It was removed after its files had left it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    if let Some(note) = note {
        for path in files_to_note(job, &files, places)? {
            if let Some(parent) = path.parent() {
                create_folders(parent)?;
            }
            write_note(&path, note)?;
        }
    }
    for (folder, top) in emptied {
        remove_empty(&folder, &top);
    }
    Ok(Some(files))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match remove_file(path) {
        Ok(()) => Ok(()),
        // No file has a name that is too long for its filesystem.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Removes folders below `root` that have become empty, from `folder` up.
fn remove_empty(folder: &Path, root: &Path) {
    let mut folder = folder;
    while folder != root && folder.starts_with(root) {
        if remove_folder(folder).is_err() {
            return;
        }
        match folder.parent() {
            Some(parent) => folder = parent,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use jiff::Timestamp;

    use super::*;
    use crate::job::samples::{self, failure, path};
    use crate::job::{FailureKind, JobId, Role};

    fn file(name: &str) -> InputFile {
        samples::file(name, Role::Reference, Folder::Working)
    }

    #[test]
    fn what_has_moved_keeps_its_place_when_another_name_was_taken_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let places = Places::sample(dir.path());
        for folder in ["working", "failed"] {
            std::fs::create_dir(at(folder)).unwrap();
        }
        std::fs::write(at("working/b.jpg"), "b").unwrap();
        std::fs::write(at("working/ref.png"), "r").unwrap();
        let input = path("b.jpg");
        let wrong = Err(failure(FailureKind::Input));
        let mut job = Job::taken(
            JobId::random(),
            "studio",
            input,
            vec![],
            wrong,
            Timestamp::UNIX_EPOCH,
        );
        job.files = vec![file("b.jpg"), file("ref.png")];
        let failed = Some(Folder::Failed);
        let moves = choose_moves(&job.files, &[], failed, &places).unwrap();
        std::fs::write(at("failed/ref.png"), "of another job").unwrap();
        assert_eq!(move_all(&job, &moves, &places, None).unwrap(), None);
        let moves = choose_moves(&job.files, &moves, failed, &places).unwrap();
        let files = move_all(&job, &moves, &places, None).unwrap().unwrap();
        let rest: Vec<_> = files
            .iter()
            .map(|file| file.at.as_ref().unwrap().path.to_string())
            .collect();
        assert_eq!(rest, ["b.jpg", "ref (2).png"]);
        assert_eq!(std::fs::read(at("failed/ref (2).png")).unwrap(), b"r");
    }

    #[test]
    fn a_job_whose_input_is_gone_leaves_the_note_of_another_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let places = Places::sample(dir.path());
        std::fs::create_dir(at("failed")).unwrap();
        let wrong = Err(failure(FailureKind::Input));
        let now = Timestamp::UNIX_EPOCH;
        let job = Job::taken(JobId::random(), "studio", path("b.jpg"), vec![], wrong, now);
        move_all(&job, &[], &places, Some("of this one")).unwrap();
        let note = at("failed/b.jpg.error.txt");
        assert_eq!(std::fs::read_to_string(&note).unwrap(), "of this one");
        std::fs::write(at("failed/b.jpg"), "b").unwrap();
        std::fs::write(&note, "of another").unwrap();
        move_all(&job, &[], &places, Some("of this one")).unwrap();
        assert_eq!(std::fs::read_to_string(&note).unwrap(), "of another");
    }
}
