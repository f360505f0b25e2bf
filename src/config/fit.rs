//! How the inboxes of a configuration fit together: their names, their folders, and the mounts these lie on.

use std::path::Path;

use super::folders::{Claim, Meeting, Role, clash};
use super::reader::{Reader, Section};
use super::surroundings::Surroundings;
use super::{Configured, Folders, Inbox};
use crate::json::Step;

/// An inbox as it was read.
pub(super) struct Read {
    pub inbox: Inbox,
    /// The way to its mapping.
    pub path: Vec<Step>,
    /// Whether its name was given, and is not its folder's.
    pub named: bool,
    /// The folders that were given.
    pub configured: Configured,
}

impl Read {
    /// The way to the value that says where one of its folders lies.
    fn place(&self, role: Role) -> Vec<Step> {
        let configured = match role {
            Role::Inbox | Role::State => None,
            Role::Working => self.configured.working.as_ref(),
            Role::Outbox => self.configured.outbox.as_ref(),
            Role::Originals => self.configured.originals.as_ref(),
            Role::Failed => self.configured.failed.as_ref(),
        };
        let key = if configured.is_some() {
            role.word()
        } else {
            "path"
        };
        let mut path = self.path.clone();
        path.push(Step::Key(key.to_owned()));
        path
    }
}

/// No two inboxes are called the same.
pub(super) fn names(reader: &mut Reader<'_>, inboxes: &[Read]) {
    for (index, read) in inboxes.iter().enumerate() {
        let name = &read.inbox.name;
        let Some(first) = inboxes
            .iter()
            .take(index)
            .find(|other| other.inbox.name == *name)
        else {
            continue;
        };
        let mut path = read.path.clone();
        path.push(Step::Key(
            if read.named { "name" } else { "path" }.to_owned(),
        ));
        reader.problem(
            &path,
            format!(
                "two inboxes are called `{name}`: {} and {}",
                first.inbox.path.display(),
                read.inbox.path.display()
            ),
            "give one of them another `name`",
        );
    }
}

/// What a folder is called in problems.
fn describe(claim: &Claim, inboxes: &[Read]) -> String {
    let owner = claim
        .inbox
        .and_then(|index| inboxes.get(index))
        .map(|read| read.inbox.name.as_str());
    let path = claim.path.display();
    match (claim.role, owner) {
        (Role::Inbox, Some(name)) => format!("the inbox `{name}` ({path})"),
        (
            Role::Working | Role::Outbox | Role::Originals | Role::Failed | Role::State,
            Some(name),
        ) => format!("`{}` of the inbox `{name}` ({path})", claim.role.word()),
        (
            Role::Inbox
            | Role::Working
            | Role::Outbox
            | Role::Originals
            | Role::Failed
            | Role::State,
            None,
        ) => format!("`{}` ({path})", claim.role.word()),
    }
}

/// No folder gets into another's way, and each `working` folder is on its inbox's mount.
pub(super) fn overlaps(
    reader: &mut Reader<'_>,
    root: &Section<'_>,
    state_dir: &Path,
    file: &Path,
    inboxes: &[Read],
    surroundings: &Surroundings<'_>,
) {
    let mut claims: Vec<Claim> = Vec::new();
    for (index, read) in inboxes.iter().enumerate() {
        let Folders {
            working,
            outbox,
            originals,
            failed,
        } = &read.inbox.folders;
        for (role, path) in [
            (Role::Inbox, &read.inbox.path),
            (Role::Working, working),
            (Role::Outbox, outbox),
            (Role::Originals, originals),
            (Role::Failed, failed),
        ] {
            claims.push(Claim::new(role, Some(index), path, surroundings));
        }
    }
    claims.push(Claim::new(Role::State, None, state_dir, surroundings));

    let file = surroundings.resolve(file);
    let mut pairs: Vec<(Option<usize>, Option<usize>)> = Vec::new();
    for (index, claim) in claims.iter().enumerate() {
        let place = match claim.inbox.and_then(|index| inboxes.get(index)) {
            Some(read) => read.place(claim.role),
            None if root.get("state_dir").is_some() => root.way("state_dir"),
            None => Vec::new(),
        };
        // One problem for each folder says enough, and one for two inboxes: when these meet, so do their folders.
        let met = claims
            .iter()
            .take(index)
            .filter(|other| {
                claim.inbox == other.inbox || !pairs.contains(&(claim.inbox, other.inbox))
            })
            .find_map(|other| Some((other, clash(claim, other)?)));
        if let Some((other, relation)) = met {
            pairs.push((claim.inbox, other.inbox));
            let (a, b) = (describe(claim, inboxes), describe(other, inboxes));
            let what = match relation {
                Meeting::Same => format!("{a} and {b} are the same folder"),
                Meeting::Inside => format!("{a} lies inside {b}"),
                Meeting::Around => format!("{b} lies inside {a}"),
            };
            reader.problem(&place, what, hint(claim.role, other.role));
        }
        if claim.role == Role::Inbox && file.parent() == Some(claim.resolved.as_path()) {
            reader.problem(
                &place,
                format!(
                    "the configuration lies in {}, where it would be taken for a sidecar",
                    describe(claim, inboxes)
                ),
                "move the configuration to another folder, or watch a subfolder",
            );
        }
    }
    mounts(reader, inboxes, &claims, surroundings);
}

/// What to do about two folders that meet.
fn hint(first: Role, second: Role) -> &'static str {
    match (first, second) {
        (Role::Inbox, Role::Inbox) => {
            "watch one folder only (subfolders are watched with it), or folders beside each other"
        }
        (Role::Working, Role::Working) => {
            "give one of the inboxes a `working` of its own, or each inbox a parent folder of its own"
        }
        (
            Role::Inbox
            | Role::Working
            | Role::Outbox
            | Role::Originals
            | Role::Failed
            | Role::State,
            Role::Inbox
            | Role::Working
            | Role::Outbox
            | Role::Originals
            | Role::Failed
            | Role::State,
        ) => "name another folder; inside another one, only below a name that begins with `_`",
    }
}

/// Files come to `working` by a rename, which works within one mount only.
fn mounts(
    reader: &mut Reader<'_>,
    inboxes: &[Read],
    claims: &[Claim],
    surroundings: &Surroundings<'_>,
) {
    for (index, read) in inboxes.iter().enumerate() {
        let find = |role: Role| {
            claims
                .iter()
                .find(|claim| claim.inbox == Some(index) && claim.role == role)
        };
        let (Some(inbox), Some(working)) = (find(Role::Inbox), find(Role::Working)) else {
            continue;
        };
        let from = surroundings
            .mount_of(&inbox.resolved)
            .map(|mount| &mount.point);
        let to = surroundings
            .mount_of(&working.resolved)
            .map(|mount| &mount.point);
        if let (Some(from), Some(to)) = (from, to)
            && from != to
        {
            reader.problem(
                &read.place(Role::Working),
                format!(
                    "{} is on another filesystem (mounted at {}) than its inbox (mounted at {})",
                    describe(working, inboxes),
                    to.display(),
                    from.display()
                ),
                "name a folder on the inbox's filesystem, for example `_working` inside the inbox: files are taken by a rename",
            );
        }
    }
}
