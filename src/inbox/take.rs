//! Taking files: an atomic rename into `working/` that the journal knows of before it happens.
//!
//! A crash before the journal's commit leaves the files in the inbox, where the next scan finds them. A crash after it
//! leaves a job whose files lie in the inbox, in `working/`, or some in each; [`finish_taking`] moves the rest.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::pair::stem;
use crate::files::{create_folders, fit_name_into, rename_new, sync_folder, usable_folder};
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

/// Lengths of file names in bytes: what nearly all filesystems take, then what even those take that encrypt or encode them.
const NAMES: [usize; 2] = [255, 100];

/// A path below `folder` that nothing bears: `wanted`, or with ` (2)`, ` (3)` before the extension. `promised` are paths
/// that are already promised to others. A folder whose name a file bears is numbered, too, and a name that is too long
/// there is shortened.
///
/// # Errors
/// The folder cannot be looked at.
pub fn free_spot(
    folder: &Path,
    wanted: &RelPath,
    promised: &HashSet<RelPath>,
) -> io::Result<RelPath> {
    let usable = usable_folder(folder, wanted.parent().as_path())?;
    // It is made of plain parts, as what it was made from.
    let usable = RelPath::new(&usable).ok_or(io::ErrorKind::InvalidInput)?;
    first_free(wanted.name(), |name| {
        let candidate = usable.join(name);
        let taken = promised.contains(&candidate)
            || match std::fs::symlink_metadata(folder.join(candidate.as_path())) {
                Ok(_) => true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                Err(error) => return Err(error),
            };
        Ok((!taken).then_some(candidate))
    })
}

/// The first name that `free` takes: the name itself, numbered, or shorter.
fn first_free(
    name: &OsStr,
    free: impl Fn(&OsStr) -> io::Result<Option<RelPath>>,
) -> io::Result<RelPath> {
    let mut limits = NAMES.into_iter().peekable();
    while let Some(limit) = limits.next() {
        for number in 1_u32.. {
            match free(&numbered(name, number, limit)) {
                Ok(Some(path)) => return Ok(path),
                Ok(None) => {}
                // This filesystem takes shorter names only.
                Err(error)
                    if error.kind() == io::ErrorKind::InvalidFilename
                        && limits.peek().is_some() =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Err(io::ErrorKind::InvalidFilename.into())
}

/// `red.jpg` and 2 → `red (2).jpg`; with 1 the name itself. At most `limit` bytes long.
fn numbered(name: &OsStr, number: u32, limit: usize) -> OsString {
    let mark = match number {
        1 => String::new(),
        number => format!(" ({number})"),
    };
    let stem = stem(name);
    let extension = name.as_bytes().get(stem.len()..).unwrap_or_default();
    let mut suffix = mark.clone().into_bytes();
    suffix.extend_from_slice(extension);
    // A name whose "extension" fills nearly all of it is numbered at its end.
    if suffix.len().saturating_add(20) > limit {
        return fit_name_into(name, mark.as_bytes(), limit);
    }
    fit_name_into(stem, &suffix, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_gets_a_number_before_the_extension() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("red.jpg"), "x").unwrap();
        let wanted = RelPath::new(Path::new("red.jpg")).unwrap();
        let promised = HashSet::from([RelPath::new(Path::new("red (2).jpg")).unwrap()]);
        let free = free_spot(dir.path(), &wanted, &promised).unwrap();
        assert_eq!(free.as_path(), Path::new("red (3).jpg"));
        assert_eq!(numbered(OsStr::new("plain"), 2, 255), "plain (2)");
        assert_eq!(numbered(OsStr::new("a.b.yaml"), 9, 255), "a.b (9).yaml");
        assert_eq!(numbered(OsStr::new("a.b.yaml"), 1, 255), "a.b.yaml");
        let odd = OsString::from(format!("a.{}", "x".repeat(253)));
        assert_eq!(numbered(&odd, 2, 255).len(), 255);
    }

    #[test]
    fn a_file_with_the_name_of_a_folder_does_not_hold_an_input_up() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("shoes"), "x").unwrap();
        let wanted = RelPath::new(Path::new("shoes/red.jpg")).unwrap();
        let free = free_spot(dir.path(), &wanted, &HashSet::new()).unwrap();
        assert_eq!(free.as_path(), Path::new("shoes (2)/red.jpg"));
    }

    #[test]
    fn a_name_is_shortened_where_the_filesystem_takes_shorter_ones_only() {
        let long = OsString::from(format!("{}.jpg", "a".repeat(200)));
        let free = first_free(&long, |name| {
            if name.len() > 143 {
                return Err(io::ErrorKind::InvalidFilename.into());
            }
            Ok(RelPath::new(Path::new(name)))
        });
        let name = free.unwrap().to_string();
        assert!(name.len() <= 100 && name.ends_with("a.jpg"), "{name}");
    }
}
