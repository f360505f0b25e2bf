//! How the inboxes of a configuration fit together: their names, their folders, and the mounts these lie on.

use std::path::Path;

use super::folders::{Claim, Folders, Meeting, Role, clash};
use super::inbox::ReadInbox;
use super::reader::Section;
use super::surroundings::Surroundings;
use crate::diagnostic::Diagnostic;
use crate::json::Step;

impl ReadInbox {
    fn path_of(&self, key: &str) -> Vec<Step> {
        let mut path = self.path.clone();
        path.push(Step::Key(key.to_owned()));
        path
    }

    /// The path of the value that decides where one of its folders is.
    fn path_of_folder(&self, role: Role) -> Vec<Step> {
        let configured = match role {
            Role::Inbox | Role::State => None,
            Role::Working => self.configured.working.as_ref(),
            Role::Outbox => self.configured.outbox.as_ref(),
            Role::Originals => self.configured.originals.as_ref(),
            Role::Failed => self.configured.failed.as_ref(),
        };
        self.path_of(configured.map_or("path", |_| role.as_str()))
    }
}

/// Reports inboxes of the same name.
pub(super) fn check_names(root: &mut Section<'_, '_>, inboxes: &[ReadInbox]) {
    for (index, read) in inboxes.iter().enumerate() {
        let name = &read.inbox.name;
        let Some(first) = inboxes
            .iter()
            .take(index)
            .find(|other| other.inbox.name == *name)
        else {
            continue;
        };
        let message = format!(
            "two inboxes are called `{name}`: {} and {}",
            first.inbox.path.display(),
            read.inbox.path.display()
        );
        root.report_at(
            &read.path_of(if read.named { "name" } else { "path" }),
            Diagnostic::new(message, "give one of them another `name`"),
        );
    }
}

/// What a folder is called in problems.
fn describe(claim: &Claim, inboxes: &[ReadInbox]) -> String {
    let owner = claim
        .inbox
        .and_then(|index| inboxes.get(index))
        .map(|read| read.inbox.name.as_str());
    let path = claim.path.display();
    match (claim.role, owner) {
        (Role::Inbox, Some(name)) => format!("the inbox `{name}` ({path})"),
        (role, Some(name)) => format!("`{role}` of the inbox `{name}` ({path})"),
        (role, None) => format!("`{role}` ({path})"),
    }
}

/// Reports folders that get into each other's way, and `working` folders that are not on their inbox's mount.
pub(super) fn check_folders(
    root: &mut Section<'_, '_>,
    state_dir: &Path,
    file: &Path,
    inboxes: &[ReadInbox],
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
            Some(read) => read.path_of_folder(claim.role),
            None if root.has("state_dir") => root.path_of("state_dir"),
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
                Meeting::Inside => format!("{a} is inside {b}"),
                Meeting::Around => format!("{b} is inside {a}"),
            };
            root.report_at(
                &place,
                Diagnostic::new(what, advise(claim.role, other.role)),
            );
        }
        if claim.role == Role::Inbox && file.parent() == Some(claim.resolved.as_path()) {
            let message = format!(
                "the configuration is in {}, where it would be taken for a sidecar",
                describe(claim, inboxes)
            );
            let hint = "move the configuration to another folder, or watch a subfolder";
            root.report_at(&place, Diagnostic::new(message, hint));
        }
    }
    check_mounts(root, inboxes, &claims, surroundings);
}

/// What to do about two folders that meet.
fn advise(first: Role, second: Role) -> &'static str {
    if first == Role::Inbox && second == Role::Inbox {
        "watch one folder only (subfolders are watched with it), or folders next to each other"
    } else if first == Role::Working && second == Role::Working {
        "give one of the inboxes a `working` of its own, or each inbox a parent folder of its own"
    } else {
        "name another folder; inside another one, only below a name that begins with `_`"
    }
}

/// Reports `working` folders on another mount: files come there by a rename, which works within one mount only.
fn check_mounts(
    root: &mut Section<'_, '_>,
    inboxes: &[ReadInbox],
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
            let message = format!(
                "{} is on another filesystem (mounted at {}) than its inbox (mounted at {})",
                describe(working, inboxes),
                to.display(),
                from.display()
            );
            let hint = "name a folder on the inbox's filesystem, for example `_working` inside the inbox: files are taken by a rename";
            root.report_at(
                &read.path_of_folder(Role::Working),
                Diagnostic::new(message, hint),
            );
        }
    }
}
