//! What the kernel's events say: which folders to scan, which files are still being written, and whether something was lost.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use crate::config::Watch;
use crate::files::RelPath;
use crate::inbox::events::watch::{Hint, Watches};
use crate::inbox::look::defaults::DEFAULTS;
use crate::inbox::look::settle::Writer;
use crate::inbox::setup::Setup;

/// The watches of an inbox and what they report.
pub(crate) struct Events {
    setup: Arc<Setup>,
    sender: Sender<Hint>,
    receiver: Receiver<Hint>,
    /// `None` where nothing is watched.
    watches: Option<Watches>,
    /// What was reported about the writers of files since the last scan.
    writers: HashMap<PathBuf, Writer>,
    /// Whether the kernel's queue has overflowed before, which is logged once.
    overflowed: bool,
}

/// What was reported since the last time.
#[derive(Default)]
pub(crate) struct Report {
    /// Folders in which something changed.
    pub(crate) folders: Vec<RelPath>,
    /// Folders whose defaults were closed by their writer (`true`) or written to (`false`).
    pub(crate) defaults_written: Vec<(RelPath, bool)>,
    /// Whether defaults came, went or were closed. They apply to everything below them.
    pub(crate) defaults_changed: bool,
    /// Whether something in `working` changed.
    pub(crate) working_changed: bool,
    /// Whether events were lost, so that anything may have changed.
    pub(crate) lost: bool,
}

impl Events {
    pub(crate) fn new(setup: Arc<Setup>, sender: Sender<Hint>, receiver: Receiver<Hint>) -> Events {
        Events {
            setup,
            sender,
            receiver,
            watches: None,
            writers: HashMap::new(),
            overflowed: false,
        }
    }

    /// Starts over with new watches, if the configuration wants any.
    pub(crate) fn start(&mut self) {
        self.writers.clear();
        // The old watches end before the new ones begin.
        self.watches = None;
        self.watches = match self.setup.inbox.watch {
            Watch::Scan => None,
            Watch::Auto | Watch::Events => match Watches::new(self.sender.clone()) {
                Ok(watches) => Some(watches),
                Err(error) => {
                    tracing::warn!(
                        inbox = %self.setup.name, %error,
                        "the kernel gives no events: folders are scanned instead. If there are too few instances, raise them with \
                         `sysctl fs.inotify.max_user_instances=1024`"
                    );
                    None
                }
            },
        };
        let setup = self.setup.clone();
        self.watch_folder(&setup.places.working);
        // Before anybody is told that the inbox can be used: a file that is finished from then on has its events.
        self.watch_folder(&setup.places.inbox);
    }

    /// Whether there are events of all folders.
    pub(crate) fn are_complete(&self) -> bool {
        self.watches.as_ref().is_some_and(|watches| !watches.full)
    }

    /// Watches a folder, if folders are watched.
    pub(crate) fn watch_folder(&mut self, folder: &Path) {
        let Some(watches) = &mut self.watches else {
            return;
        };
        if let Err(error) = watches.add(folder) {
            let full = matches!(error.kind, notify::ErrorKind::MaxFilesWatch);
            if full && !watches.full {
                watches.full = true;
                tracing::warn!(
                    inbox = %self.setup.name,
                    "the kernel allows no more watches: folders are scanned instead. Raise them with \
                     `sysctl fs.inotify.max_user_watches=524288`"
                );
            } else if !full {
                tracing::debug!(folder = %folder.display(), %error, "the folder is not watched");
            }
        }
    }

    pub(crate) fn forget_folder(&mut self, folder: &Path) {
        if let Some(watches) = &mut self.watches {
            watches.forget(folder);
        }
    }

    /// What was reported about a file's writer since the last scan.
    pub(crate) fn writer(&self, file: &Path) -> Writer {
        self.writers.get(file).copied().unwrap_or(Writer::Unknown)
    }

    /// Forgets what was reported about writers, once the files were scanned.
    pub(crate) fn forget_writers(&mut self) {
        self.writers.clear();
    }

    /// Waits for the next hint.
    pub(crate) fn wait(&self, at_most: Duration) -> Option<Hint> {
        // A time-out and a closed channel both end the wait.
        self.receiver.recv_timeout(at_most).ok()
    }

    /// Sorts the hints that have come, `first` before the others.
    pub(crate) fn collect(&mut self, first: Option<Hint>) -> Report {
        let mut report = Report::default();
        let mut hints: Vec<Hint> = first.into_iter().collect();
        hints.extend(self.receiver.try_iter());
        for hint in hints {
            let path = match hint {
                Hint::Wake => continue,
                Hint::Everything | Hint::Overflow | Hint::Ended => {
                    self.note_loss(&hint);
                    report.lost = true;
                    continue;
                }
                // Every take is a rename into `working`, and nothing there has to be finished.
                Hint::Closed(path) if path.starts_with(&self.setup.places.working) => path,
                Hint::Closed(path) | Hint::Written(path)
                    if !is_defaults(&path) && self.is_ignored(&path) =>
                {
                    continue;
                }
                Hint::Closed(path) => match self.note_writer(path, Writer::Done, &mut report) {
                    Some(folder) => folder,
                    None => continue,
                },
                Hint::Written(path) => match self.note_writer(path, Writer::Busy, &mut report) {
                    Some(folder) => folder,
                    None => continue,
                },
                // Created or removed.
                Hint::Folder(path) => {
                    report.defaults_changed |= is_defaults(&path);
                    path
                }
            };
            if path.starts_with(&self.setup.places.working) {
                report.working_changed = true;
            } else {
                report.folders.extend(self.below_inbox(&path));
            }
        }
        report
    }

    /// Notes what a file's writer does. Returns the folder to scan.
    fn note_writer(
        &mut self,
        path: PathBuf,
        writer: Writer,
        report: &mut Report,
    ) -> Option<PathBuf> {
        let folder = path.parent()?.to_owned();
        if is_defaults(&path) {
            let closed = writer == Writer::Done;
            report.defaults_changed |= closed;
            let below = self.below_inbox(&folder)?;
            report.defaults_written.push((below, closed));
        } else {
            self.writers.insert(path, writer);
        }
        Some(folder)
    }

    fn below_inbox(&self, path: &Path) -> Option<RelPath> {
        let below = path.strip_prefix(&self.setup.places.inbox).ok()?;
        RelPath::new(below)
    }

    /// Nobody looks at ignored files, and they may be written for hours.
    fn is_ignored(&self, path: &Path) -> bool {
        let name = path.file_name();
        name.is_some_and(|name| self.setup.ignore.matches(name))
    }

    /// Logs why events were lost: once, since it may happen again and again.
    fn note_loss(&mut self, hint: &Hint) {
        if *hint == Hint::Overflow && !std::mem::replace(&mut self.overflowed, true) {
            tracing::warn!(
                inbox = %self.setup.name,
                "more happened at once than the kernel reports: everything is scanned, now and whenever it happens again. Raise \
                 the limit with `sysctl fs.inotify.max_queued_events=131072`"
            );
        }
        if self.watches.as_ref().is_some_and(Watches::has_ended) {
            self.watches = None;
            tracing::warn!(
                inbox = %self.setup.name,
                "the thread that reports the kernel's events has ended: folders are scanned instead, until taxiway is restarted"
            );
        }
    }
}

fn is_defaults(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == DEFAULTS)
}
