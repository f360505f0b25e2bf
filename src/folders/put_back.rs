//! Moving the inputs of an ended job back to the inbox, for a retry.

use std::io;
use std::path::{Path, PathBuf};

use crate::files::{move_new, write_over};
use crate::folders::Places;
use crate::folders::note::note_path;
use crate::job::{InputFile, Job, Role};

/// The note next to a sidecar that was replaced.
const REPLACED: &str = "This sidecar is not used any more: another one of the same name was dropped into the inbox, and its job continued with that one.\n\n\
What to do: nothing. You can delete it.\n";

/// Why inputs were not moved back to the inbox.
#[derive(Debug)]
pub struct NotPutBack {
    /// For people.
    pub what: String,
    /// Whether the input is in the inbox all the same, since it could not be moved out again either.
    pub is_in_inbox: bool,
}

impl From<String> for NotPutBack {
    fn from(what: String) -> NotPutBack {
        NotPutBack {
            what,
            is_in_inbox: false,
        }
    }
}

/// Moves the inputs of an ended job back to where they were dropped, all of them or none. A sidecar stays where it is if another
/// one of its name was dropped meanwhile. After a crash, doing it again finishes it: a file that is already in the inbox stays
/// there.
///
/// # Errors
/// The files are where they were before, unless [`NotPutBack::is_in_inbox`].
pub fn put_back(job: &Job, places: &Places) -> Result<(), NotPutBack> {
    // The main medium comes last, so that it never looks like a job without its sidecar.
    let mut files: Vec<&InputFile> = job.files.iter().collect();
    files.sort_by_key(|file| match file.role {
        Role::Reference => 0,
        Role::Sidecar => 1,
        Role::Main => 2,
        Role::Marker => 3,
    });
    let mut to_move: Vec<(PathBuf, PathBuf)> = Vec::new();
    let mut moved: Vec<(PathBuf, PathBuf)> = Vec::new();
    let mut replaced: Vec<PathBuf> = Vec::new();
    let mut refusal = None;
    for file in files {
        let source = file.at.as_ref().map(|at| places.path(at));
        let source = source.filter(|source| source.exists());
        let target = places.inbox.join(file.dropped.as_path());
        let is_there = target.symlink_metadata().is_ok();
        match (source, is_there) {
            (Some(source), false) => to_move.push((source, target)),
            // The user dropped a corrected one, which is used instead.
            (Some(source), true) if file.role == Role::Sidecar && file.dropped != job.input => {
                replaced.push(source);
            }
            (Some(_), true) => {
                refusal = Some(format!(
                    "{} already exists, and nothing was moved: remove it first, or drop the files of {} under other names",
                    target.display(),
                    places.failed.display()
                ));
            }
            // A crash came after it was moved; or the user put another one there, which is left alone.
            (None, true) if has_its_size(&target, file) => {
                moved.extend(file.at.as_ref().map(|at| (places.path(at), target)));
            }
            (None, true) => {}
            // A sidecar that the user removed is not needed: the defaults may be enough.
            (None, false) if file.dropped != job.input => {}
            (None, false) => {
                refusal = Some(format!(
                    "the input {} is no longer in {}: drop it into the inbox again",
                    job.input,
                    places.failed.display()
                ));
            }
        }
    }
    if let Some(what) = refusal {
        undo(job, &moved);
        return Err(what.into());
    }
    for (source, target) in to_move {
        let outcome = move_new(&source, &target);
        // This one may have been moved too: the sync after the rename may have failed.
        moved.push((source.clone(), target.clone()));
        if let Err(error) = outcome {
            undo(job, &moved);
            let what = format!(
                "{} cannot be moved back to {}: {error}. Check the folders' permissions and their disk, then try again, or move it yourself",
                source.display(),
                target.display()
            );
            let input = places.inbox.join(job.input.as_path());
            let is_in_inbox = input.symlink_metadata().is_ok();
            return Err(NotPutBack { what, is_in_inbox });
        }
    }
    for sidecar in replaced {
        // The note only explains; the retry works without it.
        if let Err(error) = write_over(&note_path(&sidecar), REPLACED.as_bytes()) {
            tracing::debug!(job = %job.id, %error, "the note next to {} could not be written", sidecar.display());
        }
    }
    Ok(())
}

/// Whether the file at a path may be this one. Only its size is sure to survive a copy between filesystems.
fn has_its_size(path: &Path, file: &InputFile) -> bool {
    file.bytes == 0
        || path
            .symlink_metadata()
            .is_ok_and(|meta| meta.len() == file.bytes)
}

/// Moves files from the inbox to where they were before.
fn undo(job: &Job, moved: &[(PathBuf, PathBuf)]) {
    for (source, target) in moved.iter().rev() {
        match move_new(target, source) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(job = %job.id, %error, "{} stays in the inbox", target.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::job::{Folder, samples};

    /// A job that failed, with `cat.jpg` and its sidecar in `failed`.
    fn failed() -> (tempfile::TempDir, Places, Job) {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::sample(dir.path());
        fs::create_dir(&places.inbox).unwrap();
        fs::create_dir(&places.failed).unwrap();
        let file = |name: &str, role: Role| {
            fs::write(places.failed.join(name), name).unwrap();
            InputFile {
                bytes: name.len() as u64,
                ..samples::file(name, role, Folder::Failed)
            }
        };
        let files = vec![
            file("cat.jpg", Role::Main),
            file("cat.jpg.yaml", Role::Sidecar),
        ];
        (dir, places, samples::wrong("cat.jpg", files))
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_move_back_that_a_crash_interrupted_is_finished_by_doing_it_again() {
        for already in [0, 1, 2] {
            let (_dir, places, job) = failed();
            for name in ["cat.jpg.yaml", "cat.jpg"].into_iter().take(already) {
                fs::rename(places.failed.join(name), places.inbox.join(name)).unwrap();
            }
            put_back(&job, &places).unwrap();
            assert_eq!(names(&places.inbox), ["cat.jpg", "cat.jpg.yaml"]);
            assert!(names(&places.failed).is_empty());
        }
    }

    #[test]
    fn where_a_name_is_taken_in_the_inbox_all_files_stay_or_return() {
        for already in [0, 1] {
            let (_dir, places, job) = failed();
            if already == 1 {
                let name = "cat.jpg.yaml";
                fs::rename(places.failed.join(name), places.inbox.join(name)).unwrap();
            }
            fs::write(places.inbox.join("cat.jpg"), "another").unwrap();
            let why = put_back(&job, &places).unwrap_err();
            assert!(!why.is_in_inbox && why.what.contains("already exists"));
            assert_eq!(names(&places.failed), ["cat.jpg", "cat.jpg.yaml"]);
            assert_eq!(names(&places.inbox), ["cat.jpg"]);
        }
    }

    #[test]
    fn a_corrected_sidecar_in_the_inbox_replaces_the_old_one() {
        let (_dir, places, job) = failed();
        fs::write(places.inbox.join("cat.jpg.yaml"), "corrected").unwrap();
        put_back(&job, &places).unwrap();
        assert_eq!(names(&places.inbox), ["cat.jpg", "cat.jpg.yaml"]);
        let used = fs::read(places.inbox.join("cat.jpg.yaml")).unwrap();
        assert_eq!(used, b"corrected");
        assert_eq!(
            names(&places.failed),
            ["cat.jpg.yaml", "cat.jpg.yaml.error.txt"]
        );
    }

    #[test]
    fn what_a_person_put_into_the_inbox_meanwhile_stays_there_when_a_retry_is_refused() {
        let (_dir, places, job) = failed();
        fs::remove_file(places.failed.join("cat.jpg.yaml")).unwrap();
        fs::write(places.inbox.join("cat.jpg.yaml"), "of another job").unwrap();
        fs::write(places.inbox.join("cat.jpg"), "another").unwrap();
        put_back(&job, &places).unwrap_err();
        assert_eq!(names(&places.inbox), ["cat.jpg", "cat.jpg.yaml"]);
        assert_eq!(names(&places.failed), ["cat.jpg"]);
    }

    #[test]
    fn an_input_that_the_person_has_taken_away_does_not_go_back() {
        let (_dir, places, job) = failed();
        fs::remove_file(places.failed.join("cat.jpg")).unwrap();
        let why = put_back(&job, &places).unwrap_err();
        assert!(why.what.contains("no longer in"), "{}", why.what);
        assert!(names(&places.inbox).is_empty());
    }
}
