//! Whether a folder can be used: a hidden file is created in it, renamed and removed. Modes and mount options do not count, since a
//! share's server may decide otherwise.

use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::failpoint::{self, Point};
use crate::files::{advice, open_own};
use crate::folders::Places;

/// What taxiway has to be able to do in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    List,
    Create,
    Rename,
    Remove,
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Step::List => "it cannot be listed",
            Step::Create => "files cannot be created in it",
            Step::Rename => "files cannot be renamed in it",
            Step::Remove => "files cannot be deleted from it",
        }
    }
}

/// Probes those of an inbox's folders that exist. Returns a sentence for each that cannot be used: which one it is, what cannot be done, as
/// which user, who owns the folder, and what to do.
///
/// A crash leaves at most one hidden file in each folder, which the next probe of the same inbox removes.
pub fn probe(inbox: &str, places: &Places) -> Vec<String> {
    let folders = [
        ("inbox", &places.inbox),
        ("working", &places.working),
        ("outbox", &places.outbox),
        ("originals", &places.originals),
        ("failed", &places.failed),
    ];
    let mut found = Vec::new();
    for (word, folder) in folders {
        match try_folder(folder, inbox) {
            Ok(()) => {}
            // That a folder could not be created is reported where it was tried.
            Err((Step::List, error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err((step, error)) => found.push(format!(
                "the {word} folder {} cannot be used: {}: {error}. taxiway runs as {}{}. {}",
                folder.display(),
                step.as_str(),
                describe_user(),
                describe_owner(folder),
                advice(&error)
            )),
        }
    }
    found
}

/// Two inboxes may share a folder and probe it at the same time, so the file's name contains the inbox's.
fn try_folder(folder: &Path, inbox: &str) -> Result<(), (Step, io::Error)> {
    let name = |number: u8| {
        let safe: String = inbox
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .take(60)
            .collect();
        folder.join(format!(".taxiway-probe-{safe}-{number}"))
    };
    let (first, second) = (name(1), name(2));
    std::fs::read_dir(folder).map_err(|error| (Step::List, error))?;
    let make = || {
        failpoint::hit(Point::ProbeCreate)?;
        // An earlier probe may have left it. A link that somebody put there to have another file emptied is not followed.
        open_own(&first)?
            // Some mounts create a file on the server only when something is written to it, or after it was closed.
            .write_all(b"taxiway checks whether it can write here\n")
    };
    let rename = || {
        failpoint::hit(Point::ProbeRename)?;
        std::fs::rename(&first, &second)
    };
    let tried = make()
        .map_err(|error| (Step::Create, error))
        .and_then(|()| rename().map_err(|error| (Step::Rename, error)));
    if let Err(failed) = tried {
        // The first failure is the one to report. On a full disk an empty file is left, and an interrupted probe may have left the
        // other one.
        for path in [&first, &second] {
            match remove(path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::debug!(%error, "{} stays", path.display()),
            }
        }
        return Err(failed);
    }
    // A failure that does not happen again has nothing to do with permissions, and no file must be left behind.
    remove(&second)
        .or_else(|_| remove(&second))
        .map_err(|error| (Step::Remove, error))
}

fn remove(path: &Path) -> io::Result<()> {
    failpoint::hit(Point::ProbeRemove)?;
    std::fs::remove_file(path)
}

/// The user and group of this process, for people.
fn describe_user() -> String {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    format!(
        "user {} and group {}",
        add_name("/etc/passwd", user.as_raw()),
        add_name("/etc/group", group.as_raw())
    )
}

/// Who owns a folder, for people.
fn describe_owner(folder: &Path) -> String {
    match std::fs::metadata(folder) {
        Ok(meta) => format!(
            ", and the folder belongs to user {} and group {} with mode {:04o}",
            add_name("/etc/passwd", meta.uid()),
            add_name("/etc/group", meta.gid()),
            meta.mode() & 0o7777
        ),
        // Why it cannot be accessed was reported already.
        Err(_) => String::new(),
    }
}

/// A number with its name from the local file: `33 (www-data)`. Names from elsewhere (LDAP) are left out.
fn add_name(file: &str, id: u32) -> String {
    let table = std::fs::read_to_string(file).unwrap_or_default();
    match find_name(&table, id) {
        Some(name) => format!("{id} ({name})"),
        None => id.to_string(),
    }
}

/// The name of a number in the text of `/etc/passwd` or `/etc/group`: `name:x:number:…`.
fn find_name(table: &str, id: u32) -> Option<&str> {
    let id = id.to_string();
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(root: &Path) -> Places {
        let at = |name: &str| root.join(name);
        Places {
            inbox: at("inbox"),
            working: at("working"),
            outbox: at("outbox"),
            originals: at("originals"),
            failed: at("failed"),
        }
    }

    #[test]
    fn row_14_folders_that_can_be_used_pass_and_nothing_is_left_in_them() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        for folder in [&places.inbox, &places.working, &places.outbox] {
            std::fs::create_dir(folder).unwrap();
        }
        // What an earlier probe left.
        std::fs::write(places.outbox.join(".taxiway-probe-my-studio-1"), "").unwrap();
        assert_eq!(probe("my studio", &places), Vec::<String>::new());
        assert_eq!(std::fs::read_dir(&places.outbox).unwrap().count(), 0);
    }

    #[test]
    fn row_14_what_cannot_be_done_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        // Not even root can list a file or make something in it.
        std::fs::write(&places.outbox, "").unwrap();
        let found = probe("studio", &places);
        assert_eq!(found.len(), 1, "{found:?}");
        for words in ["outbox", "cannot be listed", "taxiway runs as user"] {
            assert!(found[0].contains(words), "{words}: {}", found[0]);
        }
    }

    #[test]
    fn numbers_have_the_names_that_the_tables_give_them() {
        let table = "root:x:0:0:root:/root:/bin/sh\nstudio:x:998:997::/:/bin/false\n";
        assert_eq!(find_name(table, 998), Some("studio"));
        assert_eq!(find_name(table, 997), None);
    }
}
