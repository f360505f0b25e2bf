//! The folders of an inbox: which could not be created yet, and which cannot be used.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::files::create_folders;
use crate::folders::mounted::remember_mount;
use crate::inbox::board::Board;
use crate::inbox::root::probe::probe;
use crate::inbox::root::working::report_orphans;
use crate::inbox::setup::Setup;

/// How often folders are probed again while something is wrong with them.
const PROBE_AGAIN: Duration = Duration::from_secs(10);

/// The folders of an inbox besides the inbox itself.
pub(crate) struct OwnFolders {
    setup: Arc<Setup>,
    /// Folders that were never there since the watch began. One that was there and is gone may be a share that is offline, and
    /// nothing is created in its place.
    not_created_yet: Vec<PathBuf>,
    /// What the last probe found, and when that was.
    unusable: Vec<String>,
    probed: Instant,
}

impl OwnFolders {
    pub(crate) fn new(setup: Arc<Setup>) -> OwnFolders {
        OwnFolders {
            setup,
            not_created_yet: Vec::new(),
            unusable: Vec::new(),
            probed: Instant::now(),
        }
    }

    /// Creates the folders that are missing when the watch begins, and checks them.
    pub(crate) fn begin(&mut self, board: &Board) {
        let places = &self.setup.places;
        self.not_created_yet = [
            &places.working,
            &places.outbox,
            &places.originals,
            &places.failed,
        ]
        .map(Clone::clone)
        .into();
        for (folder, error) in self.try_create() {
            tracing::error!(
                inbox = %self.setup.name, %error,
                "{} cannot be created and is tried again: fix the permissions above it, or make room", folder.display()
            );
        }
        self.remember_mounts();
        self.probe(board);
        report_orphans(&self.setup);
    }

    /// Creates folders that could not be created before, and probes again where something was wrong.
    pub(crate) fn try_again(&mut self, board: &Board) {
        if !self.unusable.is_empty() && self.probed.elapsed() > PROBE_AGAIN {
            self.probe(board);
        }
        for (folder, error) in self.try_create() {
            tracing::debug!(inbox = %self.setup.name, %error, "{} cannot be created yet", folder.display());
        }
    }

    /// Returns the folders that still cannot be created.
    fn try_create(&mut self) -> Vec<(PathBuf, io::Error)> {
        let mut failed = Vec::new();
        for folder in std::mem::take(&mut self.not_created_yet) {
            let created = match self.setup.find_missing_mount(&folder) {
                Some(why) => Err(io::Error::other(why)),
                None if folder == self.setup.places.working => self.setup.create_working(),
                None => create_folders(&folder),
            };
            if let Err(error) = created {
                self.not_created_yet.push(folder.clone());
                failed.push((folder, error));
            }
        }
        failed
    }

    /// Remembers what the folders are on. Those that wait for their mount are on nothing yet.
    fn remember_mounts(&self) {
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
            if self.not_created_yet.contains(folder) {
                continue;
            }
            let remembered = remember_mount(journal.as_ref(), folder);
            if let Err(error) = self.setup.runtime.block_on(remembered) {
                tracing::debug!(inbox = %self.setup.name, %error, "what the folder is on is not remembered");
            }
        }
    }

    /// Probes all folders, and reports what cannot be done in them.
    fn probe(&mut self, board: &Board) {
        let found = probe(&self.setup.name, &self.setup.places);
        for what in found.iter().filter(|what| !self.unusable.contains(what)) {
            tracing::error!(inbox = %self.setup.name, "{what}");
        }
        if found.is_empty() && !self.unusable.is_empty() {
            tracing::info!(inbox = %self.setup.name, "all folders can be used again");
        }
        self.probed = Instant::now();
        board.set_unusable(found.clone());
        self.unusable = found;
    }
}
