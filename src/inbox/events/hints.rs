//! What the kernel tells an inbox's thread: which folders to look at, who still writes, and that something was lost.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::files::RelPath;
use crate::inbox::events::watch::{Hint, Watches};
use crate::inbox::look::defaults::DEFAULTS;
use crate::inbox::look::settle::Writer;
use crate::inbox::worker::Worker;

impl Worker {
    /// Asks for events of a folder.
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
                self.say_backend();
            } else if !full {
                tracing::debug!(folder = %folder.display(), %error, "the folder is not watched");
            }
        }
    }

    /// Sorts hints into folders to look at. Answers whether something in `working/` changed.
    pub(crate) fn note_hints(&mut self, first: Option<Hint>, next_scan: &mut Instant) -> bool {
        let mut working_changed = false;
        let mut defaults_changed = false;
        let mut hints: Vec<Hint> = first.into_iter().collect();
        hints.extend(self.receiver.try_iter());
        for hint in hints {
            let path = match hint {
                Hint::Wake => continue,
                Hint::Everything | Hint::Overflow | Hint::Ended => {
                    self.note_loss(&hint);
                    self.thorough = true;
                    *next_scan = Instant::now();
                    continue;
                }
                // Every take is a rename into `working`; nobody asks whether those are finished.
                Hint::Closed(path) if path.starts_with(&self.setup.places.working) => Some(path),
                Hint::Closed(path) if path.file_name().is_some_and(|name| name == DEFAULTS) => {
                    defaults_changed = true;
                    self.note_defaults(&path, true)
                }
                Hint::Written(path) if path.file_name().is_some_and(|name| name == DEFAULTS) => {
                    self.note_defaults(&path, false)
                }
                // Nobody looks at these, and whoever writes them may write for hours.
                Hint::Closed(path) | Hint::Written(path) if self.is_ignored(&path) => continue,
                Hint::Closed(path) => {
                    let folder = path.parent().map(Path::to_owned);
                    self.writers.insert(path, Writer::Done);
                    folder
                }
                Hint::Written(path) => {
                    let folder = path.parent().map(Path::to_owned);
                    self.writers.insert(path, Writer::Busy);
                    folder
                }
                Hint::Folder(path) => {
                    // Made or removed.
                    defaults_changed |= path.file_name().is_some_and(|name| name == DEFAULTS);
                    Some(path)
                }
            };
            let Some(path) = path else {
                continue;
            };
            if path.starts_with(&self.setup.places.working) {
                working_changed = true;
                continue;
            }
            if let Ok(below) = path.strip_prefix(&self.setup.places.inbox)
                && let Some(folder) = RelPath::new(below)
            {
                self.dirty.insert(folder);
            }
        }
        // Defaults hold for everything below them.
        if defaults_changed {
            let now = Instant::now();
            self.due
                .extend(self.tree.folders().map(|folder| (folder.clone(), now)));
        }
        working_changed
    }

    fn is_ignored(&self, path: &Path) -> bool {
        let name = path.file_name();
        name.is_some_and(|name| self.setup.ignore.matches(name))
    }

    /// Says why events were lost: once, since it may happen again and again.
    fn note_loss(&mut self, hint: &Hint) {
        if *hint == Hint::Overflow && !std::mem::replace(&mut self.overflowed, true) {
            tracing::warn!(
                inbox = %self.setup.name,
                "more happened at once than the kernel tells of: everything is scanned, now and whenever it happens again. Raise \
                 the limit with `sysctl fs.inotify.max_queued_events=131072`"
            );
        }
        if self.watches.as_ref().is_some_and(Watches::has_ended) {
            self.watches = None;
            tracing::warn!(
                inbox = %self.setup.name,
                "the thread that the kernel tells of changes has broken off: folders are scanned instead, until taxiway is started again"
            );
            self.say_backend();
        }
    }

    /// Notes what an event said of a file of defaults, and answers with its folder.
    fn note_defaults(&mut self, path: &Path, closed: bool) -> Option<PathBuf> {
        let folder = path.parent()?;
        let below = folder.strip_prefix(&self.setup.places.inbox).ok()?;
        let below = RelPath::new(below)?;
        if self.trusted_in(&below) {
            self.tree
                .defaults()
                .note_writer(&below, closed, Instant::now());
        }
        Some(folder.to_owned())
    }
}
