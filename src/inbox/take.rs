//! Taking files: an atomic rename into `working/` that the journal knows of before it happens.
//!
//! A crash before the journal's commit leaves the files in the inbox, where the next scan finds them. A crash after it
//! leaves a job whose files lie in the inbox, in `working/`, or some in each; [`finish_taking`] moves the rest.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::pair::stem;
use crate::files::{create_folders, fit_name, rename_new, sync_folder};
use crate::job::{Folder, InputFile, Job, RelPath, Spot};
use crate::places::Places;

/// What became of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taking {
    /// All lie in `working/`.
    All(Vec<InputFile>),
    /// Some are gone, because a person removed them meanwhile.
    Missing(Vec<InputFile>),
}

/// Moves a job's files to `working/`, wherever a crash left them, and makes that durable.
///
/// # Errors
/// The folder cannot be used now; the same may be tried again.
pub fn finish_taking(job: &Job, places: &Places) -> io::Result<Taking> {
    let mut files = job.files.clone();
    let mut missing = false;
    let mut folders = HashSet::new();
    for file in &mut files {
        let target = places.working.join(file.working.as_path());
        let Some(at) = file.at.clone() else {
            continue;
        };
        if at.folder != Folder::Working {
            let source = places.path(&at);
            if let Some(parent) = target.parent() {
                create_folders(parent)?;
                folders.insert(parent.to_owned());
            }
            folders.extend(source.parent().map(Path::to_owned));
            match rename_new(&source, &target) {
                Ok(()) => {}
                // The rename happened before a crash, or the source was removed by a person.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if !target.try_exists()? {
                        file.at = None;
                        missing = true;
                        continue;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        file.at = Some(Spot {
            folder: Folder::Working,
            path: file.working.clone(),
        });
    }
    for folder in folders {
        match sync_folder(&folder) {
            // The person removed the folder, after its files had left it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(if missing {
        Taking::Missing(files)
    } else {
        Taking::All(files)
    })
}

/// A path below `folder` that nothing bears: `wanted`, or with ` (2)`, ` (3)` before the extension. `promised` are paths
/// that are already promised to others.
///
/// # Errors
/// The folder cannot be looked at.
pub fn free_spot(
    folder: &Path,
    wanted: &RelPath,
    promised: &HashSet<RelPath>,
) -> io::Result<RelPath> {
    let mut candidate = wanted.clone();
    for number in 2_u32.. {
        let taken = promised.contains(&candidate)
            || match std::fs::symlink_metadata(folder.join(candidate.as_path())) {
                Ok(_) => true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                Err(error) => return Err(error),
            };
        if !taken {
            return Ok(candidate);
        }
        candidate = wanted.with_name(&numbered(wanted.name(), number));
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// `red.jpg` and 2 → `red (2).jpg`.
fn numbered(name: &std::ffi::OsStr, number: u32) -> OsString {
    let stem = stem(name);
    let extension = name.as_bytes().get(stem.len()..).unwrap_or_default();
    let mut suffix = format!(" ({number})").into_bytes();
    suffix.extend_from_slice(extension);
    // A name whose "extension" fills it all is numbered at its end.
    if suffix.len() > 200 {
        let mut whole = name.as_bytes().to_vec();
        whole.extend_from_slice(format!(" ({number})").as_bytes());
        return OsString::from_vec(whole);
    }
    fit_name(stem, &suffix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn a_taken_name_gets_a_number_before_the_extension() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("red.jpg"), "x").unwrap();
        let wanted = RelPath::new(Path::new("red.jpg")).unwrap();
        let promised = HashSet::from([RelPath::new(Path::new("red (2).jpg")).unwrap()]);
        let free = free_spot(dir.path(), &wanted, &promised).unwrap();
        assert_eq!(free.as_path(), Path::new("red (3).jpg"));
        assert_eq!(numbered(OsStr::new("plain"), 2), "plain (2)");
        assert_eq!(numbered(OsStr::new("a.b.yaml"), 9), "a.b (9).yaml");
    }
}
