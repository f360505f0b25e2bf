//! The root of an inbox: whether it is there, whether it is what it was, and what follows when it goes and comes back.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::Watch;
use crate::files::mounts::Mount;
use crate::files::shown;
use crate::files::{advice, create_folders};
use crate::folders::mounted::{bare, here, remember};
use crate::folders::take::make_working;
use crate::inbox::events::watch::Watches;
use crate::inbox::handle::NOT_LOOKED;
use crate::inbox::look::tree::Tree;
use crate::inbox::root::filesystem::{self, Identity};
use crate::inbox::root::probe::probe;
use crate::inbox::worker::Worker;
use crate::job::{Job, JobId};

/// How often folders are tried out again while something is wrong with them.
const PROBE_AGAIN: Duration = Duration::from_secs(10);

/// Files of no job are counted up to this number.
const ORPHANS_MAX: usize = 1_000;

impl Worker {
    /// What lies at the root now.
    fn look_at_root(&self) -> Result<Identity, String> {
        let root = &self.setup.places.inbox;
        // Its files count as there only while it can be listed and searched; a look at its own entry in its parent needs neither.
        // The first entry is read, since a mount whose server is gone may still open a folder.
        let look = || {
            std::fs::read_dir(root)?.next().transpose()?;
            std::fs::metadata(root.join("."))
        };
        let meta = look().map_err(|error| {
            format!(
                "{} cannot be reached: {error}. Nothing in it is taken as deleted. {}",
                root.display(),
                advice(&error)
            )
        })?;
        Ok(Identity::new(meta.dev(), here(root)))
    }

    /// Whether the root is there and is what it was when this round began.
    pub(crate) fn root_is_known(&self) -> Result<(), String> {
        let now = self.look_at_root()?;
        match &self.identity {
            Some(known) if *known != now => Err(self.another(known, &now)),
            Some(_) | None => Ok(()),
        }
    }

    fn another(&self, known: &Identity, now: &Identity) -> String {
        format!(
            "another filesystem lies at {} than before ({} instead of {}): is the share offline? Nothing in it is taken as deleted",
            self.setup.places.inbox.display(),
            kind(now.mount.as_ref()),
            kind(known.mount.as_ref()),
        )
    }

    /// Whether the root is there and is what it was; begins anew where it is there for the first time. Answers whether
    /// everything has to be looked at.
    pub(crate) fn check_root(&mut self) -> Result<bool, String> {
        let root = &self.setup.places.inbox;
        if self.identity.is_none() {
            if let Some(why) = self.is_bare(root) {
                return Err(why);
            }
            create_folders(root).map_err(|error| {
                format!(
                    "{} cannot be made: {error}. Make it, or mend its permissions",
                    root.display()
                )
            })?;
        }
        let now = self.look_at_root()?;
        match &self.identity {
            Some(known) if *known == now => {
                if self.frozen {
                    // An unmount took the watches with it, and times from before prove nothing.
                    self.forget_all();
                    self.start_watching();
                }
                Ok(self.frozen)
            }
            // The daemon was started before the share was mounted.
            Some(known) if now.is_mounted_over(known) => {
                if let Some(job) = self.hidden_job() {
                    return Err(format!(
                        "{} was mounted over while job {job} was in progress, whose files lie below it: unmount it until that job is over, or stop taxiway and start it again to give the job up",
                        root.display()
                    ));
                }
                self.bring_files()?;
                self.forget_all();
                self.identity = Some(now);
                self.begin();
                Ok(true)
            }
            Some(known) => Err(self.another(known, &now)),
            None => {
                self.bring_files()?;
                self.identity = Some(now);
                self.begin();
                Ok(true)
            }
        }
    }

    /// Why nothing is to be done at a folder yet: what it lay on, or is to lie on, is not mounted.
    pub(crate) fn is_bare(&self, folder: &Path) -> Option<String> {
        let journal = self.setup.ledger.journal();
        self.runtime
            .block_on(bare(journal.as_ref(), folder))
            .unwrap_or_else(|error| Some(error.to_string()))
    }

    /// Remembers what the folders lie on, for later. Those that wait for their mount lie on nothing yet.
    fn remember(&self) {
        let places = &self.setup.places;
        let journal = self.setup.ledger.journal();
        let folders = [
            &places.inbox,
            &places.working,
            &places.outbox,
            &places.originals,
            &places.failed,
        ];
        for folder in folders {
            if self.unmade.contains(folder) {
                continue;
            }
            if let Err(error) = self.runtime.block_on(remember(journal.as_ref(), folder)) {
                tracing::debug!(inbox = %self.setup.name, %error, "what the folder lies on is not remembered");
            }
        }
    }

    /// A job in progress whose file is not in `working`.
    fn hidden_job(&self) -> Option<JobId> {
        let jobs = self.setup.ledger.jobs();
        let hidden = jobs
            .iter()
            .find(|job| self.is_ours(job) && self.is_deleted(job));
        hidden.map(|job| job.id.clone())
    }

    fn forget_all(&mut self) {
        self.tree = Tree::new(self.setup.places.inbox.clone(), self.setup.ignore.clone());
        self.watches = None;
        self.writers.clear();
        self.dirty.clear();
        self.due.clear();
        self.thorough = true;
    }

    /// Makes the folders that are missing, and starts watching.
    fn begin(&mut self) {
        let places = &self.setup.places;
        self.unmade = [
            &places.working,
            &places.outbox,
            &places.originals,
            &places.failed,
        ]
        .map(Clone::clone)
        .into();
        for (folder, error) in self.make_folders() {
            tracing::error!(
                inbox = %self.setup.name, %error,
                "{} cannot be made and is tried again: mend the permissions above it, or make room", folder.display()
            );
        }
        self.remember();
        self.probe_folders();
        self.tell_of_orphans();
        self.start_watching();
        let (_, backend) = self.trust();
        tracing::info!(inbox = %self.setup.name, path = %self.setup.places.inbox.display(), "watching: {backend}");
    }

    /// Says which files in `working` belong to no job, as after a journal was lost or restored from an older copy. They are
    /// left where they are: whether they were submitted is not known here.
    fn tell_of_orphans(&self) {
        let jobs = self.setup.ledger.jobs();
        let ours: HashSet<&Path> = jobs
            .iter()
            .filter(|job| self.is_ours(job))
            .flat_map(|job| job.files.iter().map(|file| file.working.as_path()))
            .collect();
        let working = &self.setup.places.working;
        let mut orphans = Vec::new();
        if let Err(error) = find_others(working, working, &ours, &mut orphans) {
            tracing::warn!(inbox = %self.setup.name, %error, "{} cannot be looked at", working.display());
        }
        if let Some(first) = orphans.first() {
            tracing::warn!(
                inbox = %self.setup.name, files = orphans.len(),
                "{} holds files of no job, such as {}: the journal does not know whether they were submitted. Look in the outbox and \
                 in Runway's portal, then move them back to the inbox to run them",
                working.display(), shown(first.as_os_str())
            );
        }
    }

    /// Whether a job is this inbox's, under this name or one that it had before.
    pub(crate) fn is_ours(&self, job: &Job) -> bool {
        job.inbox == self.setup.name || self.setup.formerly.contains(&job.inbox)
    }

    /// See [`make_working`].
    pub(crate) fn make_own_working(&self) -> io::Result<()> {
        let jobs = self.setup.ledger.jobs();
        let own = jobs.iter().filter(|job| self.is_ours(job));
        make_working(&self.setup.places.working, own.map(AsRef::as_ref))
    }

    /// Makes the folders that were never there since the watch began; answers with those that cannot be made. One that was
    /// there and is gone may be a share that is offline, and nothing is made in its place.
    pub(crate) fn make_folders(&mut self) -> Vec<(PathBuf, io::Error)> {
        let mut failed = Vec::new();
        for folder in std::mem::take(&mut self.unmade) {
            let made = match self.is_bare(&folder) {
                Some(why) => Err(io::Error::other(why)),
                None if folder == self.setup.places.working => self.make_own_working(),
                None => create_folders(&folder),
            };
            if let Err(error) = made {
                self.unmade.push(folder.clone());
                failed.push((folder, error));
            }
        }
        failed
    }

    /// Chooses how changes are noticed.
    fn start_watching(&mut self) {
        self.watches = match self.setup.inbox.watch {
            Watch::Scan => None,
            Watch::Auto | Watch::Events => match Watches::new(self.hints.clone()) {
                Ok(watches) => Some(watches),
                Err(error) => {
                    tracing::warn!(
                        inbox = %self.setup.name, %error,
                        "the kernel gives no events: folders are scanned instead. Where it is for want of instances, raise them with \
                         `sysctl fs.inotify.max_user_instances=1024`"
                    );
                    None
                }
            },
        };
        self.watch_folder(&self.setup.places.working.clone());
        self.say_backend();
    }

    /// Tells those who ask for the status how changes are noticed.
    pub(crate) fn say_backend(&self) {
        let (trusted, mut backend) = self.trust();
        for (at, mount) in &self.inside {
            let (_, how) = filesystem::trust(self.setup.inbox.watch, Some(mount), trusted);
            backend.push_str(&format!("; below {at}: {how}"));
        }
        self.update_view(|view| view.backend = backend);
    }

    /// Tries out the folders, and says what cannot be done in them.
    fn probe_folders(&mut self) {
        let found = probe(&self.setup.name, &self.setup.places);
        for what in found.iter().filter(|what| !self.unusable.contains(what)) {
            tracing::error!(inbox = %self.setup.name, "{what}");
        }
        if found.is_empty() && !self.unusable.is_empty() {
            tracing::info!(inbox = %self.setup.name, "all folders can be used again");
        }
        self.probed = Instant::now();
        self.unusable = found;
        self.update_view(|view| view.unusable.clone_from(&self.unusable));
    }

    /// Tries out the folders again where something was wrong with them.
    pub(crate) fn probe_again(&mut self) {
        if !self.unusable.is_empty() && self.probed.elapsed() > PROBE_AGAIN {
            self.probe_folders();
        }
    }

    pub(crate) fn thaw(&mut self) {
        self.frozen = false;
        let was = self.update_view(|view| view.frozen.take());
        if was.is_some_and(|why| why != NOT_LOOKED) {
            tracing::info!(inbox = %self.setup.name, "the folder is back: work goes on");
        }
    }

    pub(crate) fn freeze(&mut self, why: String) {
        self.frozen = true;
        let news = self.update_view(|view| {
            let news = view.frozen.as_ref() != Some(&why);
            view.frozen = Some(why.clone());
            view.ready = true;
            news
        });
        if news {
            tracing::error!(inbox = %self.setup.name, "frozen: {why}");
        }
    }
}

/// Finds files below `folder` that are none of `ours`, as paths below `root`. Hidden files and notes are no inputs.
fn find_others(
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
            find_others(root, &path, ours, found)?;
        } else if let Ok(below) = path.strip_prefix(root)
            && !ours.contains(below)
        {
            found.push(below.to_owned());
        }
    }
    Ok(())
}

fn kind(mount: Option<&Mount>) -> &str {
    mount.map_or("a filesystem of unknown kind", |mount| mount.kind.as_str())
}
