//! The end of a job: its inputs go where they rest, and a note says why where it did not succeed.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::OnSuccess;
use crate::engine::Engine;
use crate::engine::stages::upload::reachable;
use crate::engine::stages::{StageError, blocking, inbox, on_its_mount};
use crate::files::names;
use crate::files::{
    create_folders, move_new, remove_file, remove_folder, sync_folder, unfinished, write_over,
};
use crate::folders::Places;
use crate::folders::free_spot;
use crate::job::{
    Event, FailureKind, Folder, InputFile, Job, Move, Role, Spot, State, Verdict, working_inside,
};

/// Behind an input's name, its note's.
const NOTE: &[u8] = b".error.txt";

/// Moves the inputs and writes the note.
pub(crate) async fn run(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    verdict: &Verdict,
    moves: Option<&[Move]>,
) -> Result<(), StageError> {
    let settings = inbox(engine, job)?;
    let places = settings.places;
    if job.files.iter().any(|file| file.at.is_some()) {
        reachable(engine, job, &places).await?;
    }
    let rests = match verdict {
        Verdict::Done { .. } => {
            (settings.on_success == OnSuccess::Keep).then_some(&places.originals)
        }
        Verdict::Failed(_) | Verdict::Cancelled { .. } => Some(&places.failed),
    };
    if let Some(folder) = rests {
        on_its_mount(engine, folder).await?;
    }
    let Some(moves) = moves else {
        return choose(engine, job, verdict, &[], &places, settings.on_success).await;
    };
    let (note, moving, planned, at) = (
        note(job, verdict),
        job.clone(),
        moves.to_vec(),
        places.clone(),
    );
    let moved = blocking(engine, job, move || {
        move_all(&moving, &planned, &at, note.as_deref())
    })
    .await?
    .map_err(StageError::disk(format!(
        "the inputs cannot be moved from {} to where they rest{}",
        places.working.display(),
        rest(moves, &places)
    )))?;
    match moved {
        Some(files) => {
            // What is not there counts as deleted only while the folders themselves can be trusted.
            let mut pairs = job.files.iter().zip(&files);
            let vanished = pairs.any(|(before, after)| before.at.is_some() && after.at.is_none());
            if vanished {
                reachable(engine, job, &places).await?;
            }
            let job = engine
                .record(&job.id, Event::Closed { files })
                .await
                .ok_or(StageError::LeftOff)?;
            match &job.state {
                State::Failed { failure } => {
                    tracing::warn!(job = %job.id, inbox = %job.inbox, input = %job.input, "failed: {}", failure.what);
                }
                State::Cancelled { why, .. } => {
                    tracing::info!(job = %job.id, inbox = %job.inbox, input = %job.input, "{why}");
                }
                _ => {
                    tracing::info!(job = %job.id, inbox = %job.inbox, input = %job.input, credits = job.charged(), "done")
                }
            }
            Ok(())
        }
        // A name was taken meanwhile: choose again.
        None => choose(engine, job, verdict, moves, &places, settings.on_success).await,
    }
}

/// The folder that inputs go to, for people; nothing where they are deleted.
fn rest(moves: &[Move], places: &Places) -> String {
    let spot = moves.iter().find_map(|planned| planned.to.as_ref());
    spot.map_or_else(String::new, |spot| {
        format!(", {}", places.folder(spot.folder).display())
    })
}

/// Chooses where each file goes, and makes the choice durable before anything moves. What has moved already, as an `earlier`
/// choice said, stays where it is.
async fn choose(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    verdict: &Verdict,
    earlier: &[Move],
    places: &Places,
    on_success: OnSuccess,
) -> Result<(), StageError> {
    let folder = match (verdict, on_success) {
        (Verdict::Done { .. }, OnSuccess::Keep) => Some(Folder::Originals),
        (Verdict::Done { .. }, OnSuccess::Delete) => None,
        (Verdict::Failed(_) | Verdict::Cancelled { .. }, _) => Some(Folder::Failed),
    };
    let looked = folder.map_or_else(String::new, |folder| {
        format!("the folder {}", places.folder(folder).display())
    });
    let (choosing, places, earlier) = (job.clone(), places.clone(), earlier.to_vec());
    let moves = blocking(engine, job, move || {
        choose_moves(&choosing.files, &earlier, folder, &places)
    })
    .await?
    .map_err(StageError::disk(format!("{looked} cannot be looked at")))?;
    engine
        .record(&job.id, Event::MovesChosen { moves })
        .await
        .map(drop)
        .ok_or(StageError::LeftOff)
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
                let path = free_spot(places.folder(folder), &input.dropped, &promised)?;
                Some(Spot { folder, path })
            }
        };
        promised.extend(to.iter().map(|spot| spot.path.clone()));
        moves.push(Move { file, to });
    }
    Ok(moves)
}

/// Whether a file lies where it was to go and no longer where it was.
fn has_moved(file: &InputFile, to: &Spot, places: &Places) -> io::Result<bool> {
    let is_there = |path: &Path| match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    };
    match &file.at {
        Some(at) => Ok(!is_there(&places.path(at))? && is_there(&places.path(to))?),
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
        // A doubt that is settled leaves its note, or as much of it as a crash let be written.
        let note = note_path(&source);
        remove_if_there(&unfinished(&note)?)?;
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
                        // Whoever moved it may not have come as far as making its name durable.
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
        for path in noted(job, &files, places)? {
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

/// The files beside which the note lies: what was dropped, and each medium that a sidecar could have been for.
fn noted(job: &Job, files: &[InputFile], places: &Places) -> io::Result<Vec<PathBuf>> {
    let mains = files.iter().filter(|file| file.role == Role::Main).count();
    let mut paths: Vec<PathBuf> = files
        .iter()
        .filter(|file| file.dropped == job.input || (mains > 1 && file.role == Role::Main))
        .filter_map(|file| file.at.as_ref())
        .map(|at| places.path(at))
        .collect();
    if paths.is_empty() {
        // The input itself is gone; the note stands where it would lie, unless another job's input lies there with its own.
        let place = places.failed.join(job.input.as_path());
        if !place.try_exists()? {
            paths.push(place);
        }
    }
    Ok(paths)
}

/// Writes the note of a job that has ended, where it is gone: it went when its files were to be taken again, and they never came.
///
/// # Errors
/// It cannot be written.
pub fn renew_note(job: &Job, places: &Places) -> io::Result<()> {
    let verdict = match &job.state {
        State::Failed { failure } => Verdict::Failed(failure.clone()),
        State::Cancelled { why, task } => Verdict::Cancelled {
            why: why.clone(),
            task: task.clone(),
        },
        _ => return Ok(()),
    };
    let Some(note) = note(job, &verdict) else {
        return Ok(());
    };
    for path in noted(job, &job.files, places)? {
        if note_path(&path).try_exists()? {
            continue;
        }
        if let Some(parent) = path.parent() {
            create_folders(parent)?;
        }
        write_note(&path, &note)?;
    }
    Ok(())
}

/// Where the note about an input lies: `red.jpg` → `red.jpg.error.txt`.
pub fn note_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    path.with_file_name(names::fit(name, NOTE))
}

fn write_note(path: &Path, note: &str) -> io::Result<()> {
    match write_over(&note_path(path), note.as_bytes()) {
        // A filesystem that takes shorter names only.
        Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
            let name = path.file_name().unwrap_or_default();
            let short = path.with_file_name(names::fit_into(name, NOTE, names::SHORT));
            write_over(&short, note.as_bytes())
        }
        other => other,
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match remove_file(path) {
        Ok(()) => Ok(()),
        // A name that is too long there is no file's name.
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

/// Removes folders below `root` that have become empty, from `folder` up. One that is not empty stays.
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

/// What the person reads beside the input, where the job did not succeed.
fn note(job: &Job, verdict: &Verdict) -> Option<String> {
    let credits = credits_words(job, verdict);
    match verdict {
        Verdict::Done { .. } => None,
        // It never had its files: there is nothing that a note could stand beside.
        Verdict::Cancelled { .. } if job.files.iter().all(|file| file.at.is_none()) => None,
        Verdict::Failed(failure) => {
            let mut text = format!("{}\n", failure.what);
            for detail in &failure.details {
                text.push_str("  ");
                text.push_str(detail);
                text.push('\n');
            }
            append(
                &mut text,
                &[
                    ("What to do", failure.advice.as_str()),
                    ("Credits", &credits),
                ],
            );
            append_job(&mut text, job);
            Some(text)
        }
        Verdict::Cancelled { why, .. } => {
            let mut text = format!("This job was {why}.\n");
            let advice = format!(
                "To run it after all, move the files back to the inbox, or run `taxiway retry {}`.",
                job.id
            );
            append(&mut text, &[("What to do", &advice), ("Credits", &credits)]);
            append_job(&mut text, job);
            Some(text)
        }
    }
}

fn append(text: &mut String, parts: &[(&str, &str)]) {
    for (title, body) in parts {
        text.push_str(&format!("\n{title}: {body}\n"));
    }
}

pub(crate) fn append_job(text: &mut String, job: &Job) {
    let task = job
        .task()
        .map(|task| format!(", Runway's task {}", task.id))
        .unwrap_or_default();
    text.push_str(&format!("\nJob {}{task}, {:.0}\n", job.id, job.updated_at));
}

/// Whether credits were charged, in plain words. A job that was given up in doubt may have cost something, and one that
/// was sent again after a doubt has a charge for each request.
fn credits_words(job: &Job, verdict: &Verdict) -> String {
    let doubtful =
        matches!(verdict, Verdict::Failed(failure) if failure.kind == FailureKind::Abandoned);
    match job.charged() {
        None if job.charges.is_empty() && !doubtful => "none were charged.".to_owned(),
        Some(0.0) if !doubtful => "none were charged.".to_owned(),
        Some(credits) if !doubtful => format!("{credits} were charged."),
        Some(_) | None => {
            let mut text = "what was charged is not known".to_owned();
            if let Some(estimated) = job.estimated() {
                // Writing to a String cannot fail.
                if write!(text, " (estimated: {estimated})").is_err() {
                    return text;
                }
            }
            text.push_str("; Runway's portal shows it.");
            text
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use jiff::Timestamp;

    use super::*;
    use crate::job::samples::{self, failure, path};
    use crate::job::{Charge, JobId};

    fn file(name: &str) -> InputFile {
        samples::file(name, Role::Reference, Folder::Working)
    }

    #[test]
    fn a_note_that_is_gone_comes_back_and_one_that_is_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::sample(dir.path());
        let mut job = samples::wrong("shoes/b.yaml", vec![]);
        let failure = failure(FailureKind::Input);
        job.state = State::Failed { failure };
        let note = places.failed.join("shoes/b.yaml.error.txt");
        renew_note(&job, &places).unwrap();
        let words = std::fs::read_to_string(&note).unwrap();
        assert!(words.contains(&format!("Job {}", job.id)), "{words}");
        std::fs::write(&note, "mine").unwrap();
        renew_note(&job, &places).unwrap();
        assert_eq!(std::fs::read_to_string(&note).unwrap(), "mine");
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

    #[test]
    fn a_note_says_that_nothing_was_charged_only_where_that_is_known() {
        let now = Timestamp::UNIX_EPOCH;
        let wrong = Err(failure(FailureKind::Input));
        let mut job = Job::taken(JobId::random(), "studio", path("b.jpg"), vec![], wrong, now);
        let verdict = |kind| Verdict::Failed(failure(kind));
        let refused = verdict(FailureKind::Refused);
        assert_eq!(credits_words(&job, &refused), "none were charged.");
        let given_up = credits_words(&job, &verdict(FailureKind::Abandoned));
        assert!(given_up.contains("not known"), "{given_up}");
        job.charges.push(Charge {
            task: "in doubt".into(),
            at: now,
            estimated: Some(25.0),
            charged: None,
        });
        let cancelled = Verdict::Cancelled {
            why: "cancelled".into(),
            task: None,
        };
        let words = credits_words(&job, &cancelled);
        assert!(words.contains("not known (estimated: 25)"), "{words}");
    }
}
