//! The root of an inbox: whether it is there, whether it is what it was, and what is mounted inside it.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Watch;
use crate::files::mounts::Mount;
use crate::files::{RelPath, advice, create_folders};
use crate::folders::mounted::{find_mount, find_mounts_below};
use crate::inbox::pace::{SETTLE_LOCAL, SETTLE_NETWORK};
use crate::inbox::root::identity::Identity;
use crate::inbox::root::trust::{describe_watch, trusts_events};
use crate::inbox::root::working::{find_hidden_job, move_from_former};
use crate::inbox::setup::Setup;

/// The root of an inbox as it was at the last check.
pub(crate) struct Root {
    setup: Arc<Setup>,
    /// `None` until it was there for the first time.
    identity: Option<Identity>,
    /// What is mounted inside the inbox, and where.
    mounts_inside: Vec<(RelPath, Mount)>,
    /// Whether the last check failed.
    frozen: bool,
}

/// What a check found.
pub(crate) enum Presence {
    /// The root is what it was.
    Unchanged,
    /// It can be used again. An unmount took the watches with it, and what was seen before proves nothing.
    Returned,
    /// It is there for the first time, or something was mounted over it.
    New,
}

impl Root {
    pub(crate) fn new(setup: Arc<Setup>) -> Root {
        Root {
            setup,
            identity: None,
            mounts_inside: Vec::new(),
            frozen: false,
        }
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Checks whether the root is there and is what it was.
    ///
    /// # Errors
    /// Why nothing can be done with the inbox.
    pub(crate) fn check(&mut self) -> Result<Presence, String> {
        let checked = self.find_presence();
        self.frozen = checked.is_err();
        checked
    }

    /// Checks whether the root is still what it was at the last [`Root::check`].
    ///
    /// # Errors
    /// Why nothing can be done with the inbox.
    pub(crate) fn check_unchanged(&mut self) -> Result<(), String> {
        let checked = self.identify().and_then(|now| match &self.identity {
            Some(known) if *known != now => Err(self.describe_exchange(known, &now)),
            Some(_) | None => Ok(()),
        });
        // Only the next check notices that it has returned.
        self.frozen |= checked.is_err();
        checked
    }

    fn find_presence(&mut self) -> Result<Presence, String> {
        let root = &self.setup.places.inbox;
        let Some(known) = &self.identity else {
            if let Some(why) = self.setup.find_missing_mount(root) {
                return Err(why);
            }
            create_folders(root).map_err(|error| {
                format!(
                    "{} cannot be created: {error}. Create it, or fix its permissions",
                    root.display()
                )
            })?;
            let now = self.identify()?;
            move_from_former(&self.setup)?;
            self.identity = Some(now);
            return Ok(Presence::New);
        };
        let now = self.identify()?;
        if now == *known {
            return Ok(match self.frozen {
                true => Presence::Returned,
                false => Presence::Unchanged,
            });
        }
        // The daemon was started before the share was mounted.
        if !now.is_mounted_over(known) {
            return Err(self.describe_exchange(known, &now));
        }
        if let Some(job) = find_hidden_job(&self.setup) {
            return Err(format!(
                "{} was mounted over while job {job} was in progress, whose files are below it: unmount it until that job has ended, or stop taxiway and start it again to give the job up",
                root.display()
            ));
        }
        move_from_former(&self.setup)?;
        self.identity = Some(now);
        Ok(Presence::New)
    }

    /// What is at the root now.
    fn identify(&self) -> Result<Identity, String> {
        let root = &self.setup.places.inbox;
        // Its files count as there only while it can be listed and searched; its own entry in its parent needs neither.
        // The first entry is read, since a mount whose server is gone may still open a folder.
        let look = || {
            std::fs::read_dir(root)?.next().transpose()?;
            std::fs::metadata(root.join("."))
        };
        let meta = look().map_err(|error| {
            format!(
                "{} cannot be reached: {error}. Nothing in it counts as deleted. {}",
                root.display(),
                advice(&error)
            )
        })?;
        Ok(Identity::new(meta.dev(), find_mount(root)))
    }

    fn describe_exchange(&self, known: &Identity, now: &Identity) -> String {
        let kind = |identity: &Identity| match &identity.mount {
            Some(mount) => mount.kind.clone(),
            None => "a filesystem of unknown kind".to_owned(),
        };
        format!(
            "another filesystem is at {} than before ({} instead of {}): is the share offline? Nothing in it counts as deleted",
            self.setup.places.inbox.display(),
            kind(now),
            kind(known),
        )
    }

    /// Updates what is mounted inside the inbox. Returns the folders where something was mounted or unmounted.
    pub(crate) fn update_mounts(&mut self, events: bool) -> Vec<RelPath> {
        let now = find_mounts_below(&self.setup.places.inbox);
        if now == self.mounts_inside {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.mounts_inside, now);
        let trusted = self.trusts_events(events);
        for (at, mount) in &self.mounts_inside {
            if !before.iter().any(|(known, _)| known == at) {
                let how = describe_watch(self.setup.inbox.watch, Some(mount), trusted);
                tracing::info!(inbox = %self.setup.name, folder = %at, "another filesystem is mounted here: {how}");
            }
        }
        let changed = before.iter().chain(&self.mounts_inside);
        changed.map(|(at, _)| at.clone()).collect()
    }

    /// Whether anything is mounted inside the inbox.
    pub(crate) fn has_mounts_inside(&self) -> bool {
        !self.mounts_inside.is_empty()
    }

    /// The mount that a folder of the inbox is on.
    pub(crate) fn mount_of(&self, folder: &RelPath) -> Option<&Mount> {
        let inside = self
            .mounts_inside
            .iter()
            .filter(|(at, _)| folder.as_path().starts_with(at.as_path()));
        // Of nested ones the deepest.
        let inside = inside.max_by_key(|(at, _)| at.as_path().components().count());
        match inside {
            Some((_, mount)) => Some(mount),
            None => self.mount(),
        }
    }

    /// Whether events of the root are trusted to report every change. `events` says whether there are any.
    pub(crate) fn trusts_events(&self, events: bool) -> bool {
        trusts_events(self.setup.inbox.watch, self.mount(), events)
    }

    fn mount(&self) -> Option<&Mount> {
        self.identity.as_ref()?.mount.as_ref()
    }

    /// Whether events are trusted to report every change in a folder: what is true of the inbox need not be true of what is mounted
    /// inside it.
    pub(crate) fn trusts_events_in(&self, folder: &RelPath, events: bool) -> bool {
        self.trusts_events(events)
            && match self.setup.inbox.watch {
                Watch::Auto => self.mount_of(folder).is_some_and(Mount::is_local),
                Watch::Events | Watch::Scan => true,
            }
    }

    /// How changes in the inbox are noticed, for people.
    pub(crate) fn describe_watch(&self, events: bool) -> String {
        let watch = self.setup.inbox.watch;
        let trusted = self.trusts_events(events);
        let mut how = describe_watch(watch, self.mount(), events);
        for (at, mount) in &self.mounts_inside {
            let inside = describe_watch(watch, Some(mount), trusted);
            how.push_str(&format!("; below {at}: {inside}"));
        }
        how
    }

    /// How long a file in a folder must be quiet.
    pub(crate) fn settle_time(&self, folder: &RelPath) -> Duration {
        let auto = match self.mount_of(folder).is_some_and(Mount::is_local) {
            true => SETTLE_LOCAL,
            false => SETTLE_NETWORK,
        };
        self.setup.inbox.settle.unwrap_or(auto)
    }
}
