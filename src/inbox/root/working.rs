//! The folder for jobs in progress: files that are missing from it, that belong to no job, or that are still in a former one.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{advice, create_folders, exists, move_new, shown};
use crate::folders::Remembered;
use crate::folders::mounted::is_mounted;
use crate::inbox::setup::Setup;
use crate::job::{Folder, Job, JobId};

/// Files of no job are counted up to this number.
const ORPHANS_MAX: usize = 1_000;

/// Whether a file of a job that was in `working` is gone.
pub(crate) fn is_deleted(setup: &Setup, job: &Job) -> bool {
    job.files.iter().any(|file| {
        file.at.as_ref().is_some_and(|at| {
            *at == file.taken_at()
                && matches!(
                    std::fs::symlink_metadata(setup.places.path(at)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound
                )
                // A mount inside the inbox that went away has deleted nothing.
                && file.mount.as_ref().is_none_or(|mount| is_mounted(&setup.places.inbox, mount))
        })
    })
}

/// A job in progress with a file that is not in `working`.
pub(crate) fn find_hidden_job(setup: &Setup) -> Option<JobId> {
    let hidden = setup.own_jobs().find(|job| is_deleted(setup, job));
    hidden.map(|job| job.id.clone())
}

/// Reports which files in `working` belong to no job, as after a journal was lost or restored from an older copy. They stay
/// where they are: whether they were submitted is not known here.
pub(crate) fn report_orphans(setup: &Setup) {
    let jobs: Vec<_> = setup.own_jobs().collect();
    let files = jobs.iter().flat_map(|job| &job.files);
    let ours: HashSet<&Path> = files.map(|file| file.working.as_path()).collect();
    let working = &setup.places.working;
    let mut orphans = Vec::new();
    if let Err(error) = find_orphans(working, working, &ours, &mut orphans) {
        tracing::warn!(inbox = %setup.name, %error, "{} cannot be read", working.display());
    }
    if let Some(first) = orphans.first() {
        tracing::warn!(
            inbox = %setup.name, files = orphans.len(),
            "{} holds files of no job, such as {}: the journal does not know whether they were submitted. Look in the outbox and \
             in Runway's portal, then move them back to the inbox to run them",
            working.display(), shown(first.as_os_str())
        );
    }
}

/// Finds files below `folder` that are none of `ours`, as paths below `root`. Hidden files and notes are no inputs.
fn find_orphans(
    root: &Path,
    folder: &Path,
    ours: &HashSet<&Path>,
    found: &mut Vec<PathBuf>,
) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.as_encoded_bytes();
        if found.len() >= ORPHANS_MAX || name.starts_with(b".") || name.ends_with(b".error.txt") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            find_orphans(root, &path, ours, found)?;
        } else if let Ok(below) = path.strip_prefix(root)
            && !ours.contains(below)
        {
            found.push(below.to_owned());
        }
    }
    Ok(())
}

/// Moves the files of jobs in progress along where the configuration names another `working` than before: in the new folder they
/// would all seem deleted, which is how a person cancels a job.
pub(crate) fn move_from_former(setup: &Setup) -> Result<(), String> {
    let name = &setup.name;
    let journal = setup.ledger.journal();
    let now = Remembered {
        places: setup.places.clone(),
        on_success: setup.inbox.on_success,
    };
    let before = setup
        .runtime
        .block_on(Remembered::read(journal.as_ref(), name))
        .map_err(|error| error.to_string())?;
    if before.as_ref() == Some(&now) {
        return Ok(());
    }
    let working = &now.places.working;
    if let Some(before) = before.map(|before| before.places.working)
        && before != *working
    {
        for job in setup.ledger.jobs() {
            for file in job.files.iter().filter(|_| job.inbox == *name) {
                let at = file.at.as_ref();
                let at = at.filter(|at| at.folder == Folder::Working && file.mount.is_none());
                if let Some(at) = at {
                    let from = before.join(at.path.as_path());
                    move_file(setup, &from, &working.join(at.path.as_path()), &before)
                        .map_err(|why| format!("{why} (job {})", job.id))?;
                }
            }
        }
    }
    setup
        .runtime
        .block_on(now.write(journal.as_ref(), name))
        .map_err(|error| error.to_string())
}

/// Moves one file out of the former `working`, if it is still there.
fn move_file(setup: &Setup, from: &Path, to: &Path, before: &Path) -> Result<(), String> {
    let explain = |error: io::Error| {
        format!(
            "{} cannot be moved to {}: {error}. {}",
            from.display(),
            to.display(),
            advice(&error)
        )
    };
    let working = &setup.places.working;
    if exists(to).map_err(explain)? {
        return Ok(());
    }
    if exists(from).map_err(explain)? {
        if let Some(why) = setup.find_missing_mount(working) {
            return Err(why);
        }
        if let Some(folder) = to.parent() {
            create_folders(folder).map_err(explain)?;
        }
        move_new(from, to).map_err(explain)?;
        tracing::info!(inbox = %setup.name, "{} was moved to {}", from.display(), to.display());
    } else if !before.is_dir() {
        return Err(format!(
            "{} is gone, which was its folder for jobs in progress before, and with it {}: write it back as `working`, mount what \
             it was on, or move its content to {}. `taxiway run --accept-folders` gives it up",
            before.display(),
            from.display(),
            working.display()
        ));
    }
    Ok(())
}
