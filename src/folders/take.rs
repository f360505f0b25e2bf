//! Taking files: an atomic rename into `working/` that is in the journal before it happens.
//!
//! A crash before the journal's commit leaves the files in the inbox, where the next scan finds them. A crash after it leaves a
//! job whose files are in the inbox, in `working/`, or some in each; [`finish_taking`] moves the rest.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::files::RelPath;
use crate::files::Stamp;
use crate::files::names::{first_free, fit_into, stem};
use crate::files::{create_folders, exists, find_usable_folder, rename_new, stamp, sync_folder};
use crate::folders::Places;
use crate::job::{Folder, InputFile, Job, Spot};

/// What happened to the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taking {
    /// All are in `working/`.
    All(Vec<InputFile>),
    /// Some are gone, or were replaced before they were taken. The others are back where they were dropped and no longer belong
    /// to the job; one whose name is taken there by now stays in `working/`.
    Undone(Vec<InputFile>),
}

/// Moves a job's files to `working/`, wherever a crash left them. Survives a power cut.
///
/// Only the versions that were checked are taken, and all of them or none: a picture with another sidecar, or without its own,
/// is another job.
///
/// # Errors
/// The folder cannot be used now; try again later.
pub fn finish_taking(job: &Job, places: &Places) -> io::Result<Taking> {
    let mut files = job.files.clone();
    let mut folders = HashSet::new();
    let mut whole = true;
    for file in &files {
        whole = whole && find_version(file, places)?.is_some();
    }
    for file in &mut files {
        whole = whole && take(file, places, &mut folders)?;
    }
    if !whole {
        for file in &mut files {
            give_back(file, places, &mut folders)?;
        }
    }
    for folder in folders {
        match sync_folder(&folder) {
            // The user removed the folder after its files had left it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(if whole {
        Taking::All(files)
    } else {
        Taking::Undone(files)
    })
}

/// Creates the folder for jobs in progress, unless files of `jobs`, which are its own, should be in it. An empty new folder would
/// mean that the user deleted those files, which cancels their jobs. Removing the whole folder does not mean that.
pub fn create_working<'a>(working: &Path, jobs: impl Iterator<Item = &'a Job>) -> io::Result<()> {
    if exists(working)? {
        return create_folders(working);
    }
    let belongs_there = |job: &&Job| {
        job.files.iter().any(|file| {
            let at = file.at.as_ref();
            file.mount.is_none() && at.is_some_and(|at| at.folder == Folder::Working)
        })
    };
    match { jobs }.find(belongs_there) {
        None => create_folders(working),
        Some(job) => Err(io::Error::other(format!(
            "it is gone, and so are the files of jobs in progress, such as {}: put it back. An empty folder of that name cancels them",
            job.id
        ))),
    }
}

/// Finds the version of a file that was checked. `working/` comes first, since another file may have been dropped under its name
/// meanwhile, and comes last again, since the inbox's thread and the engine may take the same job at the same time. Journals of
/// 0.1.0 have no version: there, any file of that name counts.
fn find_version(file: &InputFile, places: &Places) -> io::Result<Option<Spot>> {
    let Some(at) = file.at.clone() else {
        return Ok(None);
    };
    for spot in [file.taken_at(), at, file.taken_at()] {
        let now = read_stamp(&places.path(&spot))?.map(|stamp| stamp.version());
        let is_it = now.is_some_and(|now| file.version.is_none_or(|version| version.is(&now)));
        if is_it {
            return Ok(Some(spot));
        }
    }
    Ok(None)
}

/// Moves one file to `working/`. False if it is gone or was replaced.
fn take(file: &mut InputFile, places: &Places, folders: &mut HashSet<PathBuf>) -> io::Result<bool> {
    let Some(at) = find_version(file, places)? else {
        return Ok(false);
    };
    let source = places.path(file.at.as_ref().unwrap_or(&at));
    let target = places.path(&file.taken_at());
    if at != file.taken_at() {
        if let Some(parent) = target.parent() {
            create_folders(parent)?;
        }
        match rename_new(&source, &target) {
            // Gone, or just taken: the check below finds out.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    // Even if it was there already: a crash may have come before its folders were synced.
    note_folders(folders, [&source, &target]);
    file.at = Some(file.taken_at());
    // It may have been replaced between the check and the rename.
    Ok(find_version(file, places)? == file.at)
}

/// Moves one file back to where it was dropped.
fn give_back(
    file: &mut InputFile,
    places: &Places,
    folders: &mut HashSet<PathBuf>,
) -> io::Result<()> {
    let source = places.path(&file.taken_at());
    let target = places.inbox.join(file.dropped.as_path());
    match rename_new(&source, &target) {
        Ok(()) => {
            note_folders(folders, [&source, &target]);
            file.at = None;
        }
        // It never left, or its folder in the inbox is gone.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            file.at = read_stamp(&source)?.map(|_| file.taken_at());
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            file.at = Some(file.taken_at())
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn note_folders(folders: &mut HashSet<PathBuf>, paths: [&PathBuf; 2]) {
    let parents = paths.into_iter().filter_map(|path| path.parent());
    folders.extend(parents.map(Path::to_owned));
}

fn read_stamp(path: &Path) -> io::Result<Option<Stamp>> {
    match stamp(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other,
    }
}

/// Finds a free path below `folder`: `wanted`, or with ` (2)`, ` (3)` before the extension. `promised` are paths that are already
/// promised to others. A folder whose name belongs to a file is numbered as well, and a name that is too long is shortened.
pub fn find_free_path(
    folder: &Path,
    wanted: &RelPath,
    promised: &HashSet<RelPath>,
) -> io::Result<RelPath> {
    let usable = find_usable_folder(folder, wanted.parent().as_path())?;
    // It consists of plain parts, like the path that it was made from.
    let usable = RelPath::new(&usable).ok_or(io::ErrorKind::InvalidInput)?;
    let name = |number, length| number_name(wanted.name(), number, length);
    first_free(name, |name| {
        let candidate = usable.join(name);
        let taken = promised.contains(&candidate) || exists(&folder.join(candidate.as_path()))?;
        Ok((!taken).then_some(candidate))
    })
}

/// `red.jpg` and 2 → `red (2).jpg`; with 1 the name itself. At most `limit` bytes long.
fn number_name(name: &OsStr, number: u32, limit: usize) -> OsString {
    let mark = match number {
        1 => String::new(),
        number => format!(" ({number})"),
    };
    let stem = stem(name);
    let extension = name.as_bytes().get(stem.len()..).unwrap_or_default();
    let mut suffix = mark.clone().into_bytes();
    suffix.extend_from_slice(extension);
    // A name that is nearly all "extension" is numbered at its end.
    if suffix.len().saturating_add(20) > limit {
        return fit_into(name, mark.as_bytes(), limit);
    }
    fit_into(stem, &suffix, limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Role, samples};

    /// An inbox with `cat.jpg` and its sidecar, and the job that is about to take them.
    fn dropped() -> (tempfile::TempDir, Places, Job) {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::sample(dir.path());
        std::fs::create_dir(&places.inbox).unwrap();
        let file = |name: &str| {
            std::fs::write(places.inbox.join(name), name).unwrap();
            let stamp = stamp(&places.inbox.join(name)).unwrap().unwrap();
            InputFile {
                bytes: stamp.size,
                version: Some(stamp.version()),
                ..samples::file(name, Role::Main, Folder::Inbox)
            }
        };
        let files = vec![file("cat.jpg"), file("cat.jpg.yaml")];
        (dir, places, samples::wrong("cat.jpg", files))
    }

    fn exchange(path: &Path, content: &str) {
        let new = path.with_extension("new");
        std::fs::write(&new, content).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    #[test]
    fn row_05_taking_is_finished_from_wherever_a_crash_left_the_files() {
        let (_dir, places, job) = dropped();
        std::fs::create_dir(&places.working).unwrap();
        let (from, to) = (places.inbox.join("cat.jpg"), places.working.join("cat.jpg"));
        std::fs::rename(&from, &to).unwrap();
        // Another picture was dropped under the name since: it is another job's.
        std::fs::write(&from, "the next cat").unwrap();
        let Taking::All(files) = finish_taking(&job, &places).unwrap() else {
            panic!("not all were taken");
        };
        assert!(files.iter().all(|file| file.at == Some(file.taken_at())));
        assert_eq!(std::fs::read(&to).unwrap(), b"cat.jpg");
        assert_eq!(std::fs::read(&from).unwrap(), b"the next cat");
        assert!(!places.inbox.join("cat.jpg.yaml").exists());
    }

    #[test]
    fn row_05_two_who_finish_the_same_take_at_the_same_time_agree() {
        for _ in 0..200 {
            let (_dir, places, job) = dropped();
            let done = std::thread::scope(|scope| {
                let one = scope.spawn(|| finish_taking(&job, &places).unwrap());
                let other = finish_taking(&job, &places).unwrap();
                [one.join().unwrap(), other]
            });
            assert!(
                done.iter().all(|done| matches!(done, Taking::All(_))),
                "{done:?}"
            );
            assert_eq!(std::fs::read_dir(&places.inbox).unwrap().count(), 0);
            assert_eq!(std::fs::read_dir(&places.working).unwrap().count(), 2);
        }
    }

    #[test]
    fn row_05_files_of_which_one_was_exchanged_before_they_were_taken_stay_together_in_the_inbox() {
        for exchanged in ["cat.jpg", "cat.jpg.yaml"] {
            let (_dir, places, job) = dropped();
            std::fs::create_dir(&places.working).unwrap();
            // A crash came between the two renames.
            let other = if exchanged == "cat.jpg" {
                "cat.jpg.yaml"
            } else {
                "cat.jpg"
            };
            std::fs::rename(places.inbox.join(other), places.working.join(other)).unwrap();
            exchange(&places.inbox.join(exchanged), "corrected");
            let Taking::Undone(files) = finish_taking(&job, &places).unwrap() else {
                panic!("another version was taken");
            };
            assert!(files.iter().all(|file| file.at.is_none()));
            assert_eq!(
                std::fs::read(places.inbox.join(exchanged)).unwrap(),
                b"corrected"
            );
            assert!(places.inbox.join(other).exists());
            // And again, should a crash come before the journal knows.
            assert!(matches!(
                finish_taking(&job, &places).unwrap(),
                Taking::Undone(_)
            ));
            assert_eq!(std::fs::read_dir(&places.inbox).unwrap().count(), 2);
        }
    }

    #[test]
    fn the_folder_for_jobs_in_progress_is_created_unless_files_should_be_in_it() {
        let (_dir, places, mut job) = dropped();
        create_working(&places.working, std::iter::once(&job)).unwrap();
        assert!(places.working.is_dir());
        std::fs::remove_dir(&places.working).unwrap();
        for file in &mut job.files {
            file.at = Some(file.taken_at());
        }
        let error = create_working(&places.working, std::iter::once(&job)).unwrap_err();
        assert!(error.to_string().contains("put it back"), "{error}");
        assert!(!places.working.exists());
    }

    #[test]
    fn row_15_a_taken_name_gets_a_number_before_the_extension() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("red.jpg"), "x").unwrap();
        let wanted = RelPath::new(Path::new("red.jpg")).unwrap();
        let promised = HashSet::from([RelPath::new(Path::new("red (2).jpg")).unwrap()]);
        let free = find_free_path(dir.path(), &wanted, &promised).unwrap();
        assert_eq!(free.as_path(), Path::new("red (3).jpg"));
        assert_eq!(number_name(OsStr::new("plain"), 2, 255), "plain (2)");
        assert_eq!(number_name(OsStr::new("a.b.yaml"), 9, 255), "a.b (9).yaml");
        assert_eq!(number_name(OsStr::new("a.b.yaml"), 1, 255), "a.b.yaml");
        let odd = OsString::from(format!("a.{}", "x".repeat(253)));
        assert_eq!(number_name(&odd, 2, 255).len(), 255);
    }

    #[test]
    fn a_file_with_the_name_of_a_folder_does_not_hold_an_input_up() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("shoes"), "x").unwrap();
        let wanted = RelPath::new(Path::new("shoes/red.jpg")).unwrap();
        let free = find_free_path(dir.path(), &wanted, &HashSet::new()).unwrap();
        assert_eq!(free.as_path(), Path::new("shoes (2)/red.jpg"));
    }

    #[test]
    fn a_shortened_and_numbered_name_keeps_its_extension() {
        let long = OsString::from(format!("{}.jpg", "a".repeat(300)));
        let name = number_name(&long, 12, 100).into_string().unwrap();
        assert!(name.len() <= 100 && name.ends_with("a (12).jpg"), "{name}");
    }
}
