//! Where an inbox's other folders are, and whether folders get into each other's way.
//!
//! A file's place is its state, so two states must not share a folder, and what is put into one folder must not turn up
//! in another as a new input. Names that begin with `_` are never inputs: below such a name a folder may be inside
//! another one.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::surroundings::Surroundings;

/// The name of the page; never an input.
const STATUS_FILE: &str = "STATUS.html";

/// Where the files of an inbox go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folders {
    /// Inputs of jobs in progress; on the inbox's own mount.
    pub working: PathBuf,
    /// Finished outputs and their records.
    pub outbox: PathBuf,
    /// Inputs of finished jobs.
    pub originals: PathBuf,
    /// Inputs of failed jobs, each with its reason.
    pub failed: PathBuf,
}

/// The folders that the configuration names, absolute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Configured {
    /// For inputs of jobs in progress.
    pub working: Option<PathBuf>,
    /// For outputs.
    pub outbox: Option<PathBuf>,
    /// For inputs of finished jobs.
    pub originals: Option<PathBuf>,
    /// For inputs of failed jobs.
    pub failed: Option<PathBuf>,
}

/// The places of an inbox's folders: as configured, else next to the inbox, or inside it below names with `_` where the
/// inbox is itself a mount point or nothing can be made next to it.
pub(super) fn place_folders(
    inbox: &Path,
    configured: Configured,
    mount_point: bool,
    parent_writable: bool,
) -> Folders {
    let parent = inbox.parent().filter(|_| !mount_point && parent_writable);
    let place = |configured: Option<PathBuf>, name: &str| {
        configured.unwrap_or_else(|| match parent {
            Some(parent) => parent.join(name),
            None => inbox.join(format!("_{name}")),
        })
    };
    Folders {
        working: place(configured.working, "working"),
        outbox: place(configured.outbox, "outbox"),
        originals: place(configured.originals, "originals"),
        failed: place(configured.failed, "failed"),
    }
}

/// Where `STATUS.html` is: next to the inbox, or in it where nothing can be made next to it.
pub(super) fn place_status_file(inbox: &Path, mount_point: bool, parent_writable: bool) -> PathBuf {
    let parent = inbox.parent().filter(|_| !mount_point && parent_writable);
    parent.unwrap_or(inbox).join(STATUS_FILE)
}

/// What a folder is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Inbox,
    Working,
    Outbox,
    Originals,
    Failed,
    State,
}

impl Role {
    /// Its key in the configuration.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Role::Inbox => "inbox",
            Role::Working => "working",
            Role::Outbox => "outbox",
            Role::Originals => "originals",
            Role::Failed => "failed",
            Role::State => "state_dir",
        }
    }

    /// Whether several inboxes may put the same things there: nothing is ever overwritten, and people come and take.
    fn may_be_shared(self) -> bool {
        match self {
            Role::Outbox | Role::Originals | Role::Failed => true,
            Role::Inbox | Role::Working | Role::State => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A folder that is used.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub role: Role,
    /// The index of the inbox that it belongs to; `None` for the state directory.
    pub inbox: Option<usize>,
    /// As it is written.
    pub path: PathBuf,
    /// With links followed.
    pub resolved: PathBuf,
}

impl Claim {
    pub(super) fn new(
        role: Role,
        inbox: Option<usize>,
        path: &Path,
        surroundings: &Surroundings<'_>,
    ) -> Claim {
        Claim {
            role,
            inbox,
            path: path.to_owned(),
            resolved: surroundings.resolve(path),
        }
    }
}

/// How two folders overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meeting {
    /// They are one folder.
    Same,
    /// The first is inside the second.
    Inside,
    /// The second is inside the first.
    Around,
}

/// Whether a relative path leads through a name that begins with `_`.
fn is_hidden(path: &Path) -> bool {
    path.components().any(|part| match part {
        Component::Normal(name) => name.as_encoded_bytes().starts_with(b"_"),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {
            false
        }
    })
}

/// How two folders get into each other's way; `None` if they do not.
pub(super) fn clash(first: &Claim, second: &Claim) -> Option<Meeting> {
    // Links may make one folder of two names, so that both forms count. The path as written comes first, since people
    // know it.
    meet(first, second, &first.path, &second.path)
        .or_else(|| meet(first, second, &first.resolved, &second.resolved))
}

/// How two folders get into each other's way if they are at these paths.
fn meet(first: &Claim, second: &Claim, at_first: &Path, at_second: &Path) -> Option<Meeting> {
    let shared =
        first.role == second.role && first.inbox != second.inbox && first.role.may_be_shared();
    let may_nest = |inner: &Claim, outer: &Claim, hidden: bool| match outer.role {
        // No file may be found by two scans.
        Role::Inbox => hidden && inner.role != Role::Inbox,
        // Nothing is looked for in the state directory but the journal's own files.
        Role::State => true,
        Role::Working | Role::Outbox | Role::Originals | Role::Failed => hidden || shared,
    };
    if at_first == at_second {
        (!shared).then_some(Meeting::Same)
    } else if let Ok(below) = at_first.strip_prefix(at_second) {
        (!may_nest(first, second, is_hidden(below))).then_some(Meeting::Inside)
    } else if let Ok(below) = at_second.strip_prefix(at_first) {
        (!may_nest(second, first, is_hidden(below))).then_some(Meeting::Around)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn claim(role: Role, inbox: usize, path: &str) -> Claim {
        Claim {
            role,
            inbox: Some(inbox),
            path: path.into(),
            resolved: path.into(),
        }
    }

    fn clashes(first: (Role, usize, &str), second: (Role, usize, &str)) -> bool {
        let first = claim(first.0, first.1, first.2);
        let second = claim(second.0, second.1, second.2);
        let forth = clash(&first, &second).is_some();
        assert_eq!(
            forth,
            clash(&second, &first).is_some(),
            "the order makes no difference"
        );
        forth
    }

    #[test]
    fn folders_are_siblings_unless_the_inbox_is_a_mount_point_or_its_parent_is_closed() {
        let place = |mount_point, writable| {
            place_folders(
                Path::new("/srv/studio/inbox"),
                Configured::default(),
                mount_point,
                writable,
            )
        };
        let beside = Folders {
            working: "/srv/studio/working".into(),
            outbox: "/srv/studio/outbox".into(),
            originals: "/srv/studio/originals".into(),
            failed: "/srv/studio/failed".into(),
        };
        let inside = Folders {
            working: "/srv/studio/inbox/_working".into(),
            outbox: "/srv/studio/inbox/_outbox".into(),
            originals: "/srv/studio/inbox/_originals".into(),
            failed: "/srv/studio/inbox/_failed".into(),
        };
        assert_eq!(place(false, true), beside);
        assert_eq!(place(true, true), inside);
        assert_eq!(place(false, false), inside);
        assert_eq!(place(true, false), inside);
    }

    #[test]
    fn a_configured_folder_stays_where_it_is_and_the_others_have_their_defaults() {
        let configured = Configured {
            outbox: Some("/out".into()),
            ..Configured::default()
        };
        let folders = place_folders(Path::new("/in"), configured, true, true);
        assert_eq!(folders.outbox, Path::new("/out"));
        assert_eq!(folders.failed, Path::new("/in/_failed"));
    }

    #[test]
    fn the_root_folder_has_nothing_beside_it() {
        let folders = place_folders(Path::new("/"), Configured::default(), false, true);
        assert_eq!(folders.working, Path::new("/_working"));
    }

    #[test]
    fn folders_that_hold_different_things_must_not_meet() {
        use Role::{Failed, Inbox, Originals, Outbox, State, Working};
        for (first, second) in [
            ((Inbox, 0, "/a"), (Inbox, 1, "/a")),
            ((Inbox, 0, "/a"), (Inbox, 1, "/a/b")),
            ((Inbox, 0, "/a"), (Inbox, 1, "/a/_b")),
            ((Inbox, 0, "/a"), (Outbox, 0, "/a")),
            ((Inbox, 0, "/a"), (Outbox, 0, "/a/out")),
            ((Inbox, 0, "/a"), (Outbox, 1, "/a/out")),
            ((Inbox, 0, "/a/in"), (Outbox, 0, "/a")),
            ((Inbox, 0, "/a/in"), (Working, 1, "/a")),
            ((Working, 0, "/w"), (Working, 1, "/w")),
            ((Working, 0, "/w"), (Working, 1, "/w/b")),
            ((Outbox, 0, "/o"), (Failed, 0, "/o")),
            ((Outbox, 0, "/o"), (Failed, 1, "/o")),
            ((Originals, 0, "/o/x"), (Outbox, 0, "/o")),
            ((State, 9, "/a/state"), (Inbox, 0, "/a")),
            ((State, 9, "/a"), (Inbox, 0, "/a")),
            ((State, 9, "/o/state"), (Outbox, 0, "/o")),
        ] {
            assert!(clashes(first, second), "{first:?} {second:?}");
        }
    }

    #[test]
    fn folders_that_do_no_harm_to_each_other_are_allowed() {
        use Role::{Failed, Inbox, Originals, Outbox, State, Working};
        for (first, second) in [
            ((Inbox, 0, "/a/in"), (Outbox, 0, "/a/inbox-out")),
            ((Inbox, 0, "/a"), (Outbox, 0, "/a/_out")),
            ((Inbox, 0, "/a"), (Working, 1, "/a/x/_w/y")),
            ((Outbox, 0, "/o"), (Failed, 0, "/o/_failed")),
            ((Outbox, 0, "/o"), (Outbox, 1, "/o")),
            ((Outbox, 0, "/o"), (Outbox, 1, "/o/b")),
            ((Originals, 0, "/o"), (Originals, 1, "/o")),
            ((State, 9, "/s"), (Inbox, 0, "/s/inbox")),
            ((State, 9, "/a/_state"), (Inbox, 0, "/a")),
        ] {
            assert!(!clashes(first, second), "{first:?} {second:?}");
        }
    }

    #[test]
    fn two_names_of_one_folder_are_one_folder() {
        let mut link = claim(Role::Outbox, 0, "/link");
        link.resolved = "/in/out".into();
        assert_eq!(
            clash(&link, &claim(Role::Inbox, 0, "/in")),
            Some(Meeting::Inside)
        );
    }
}
