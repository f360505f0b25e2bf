//! Events of the kernel as hints. They only start the scan of a folder early; a lost one costs time and nothing else.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

/// What may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Something in this folder.
    Folder(PathBuf),
    /// This file was closed by its writer, or renamed into place.
    Closed(PathBuf),
    /// This file was written to.
    Written(PathBuf),
    /// Anything anywhere: events were lost.
    Everything,
    /// The same, because there were more than the kernel keeps.
    Overflow,
    /// A watcher has ended, the present one or an earlier one.
    Ended,
    /// Nothing: the thread is told to stop.
    Wake,
}

/// Lives as long as the watcher's thread, and reports its end, whatever the reason.
struct Life {
    ended: Arc<AtomicBool>,
    hints: Sender<Hint>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Nobody receives it if the inbox's own thread has ended.
        self.hints.send(Hint::Ended).unwrap_or_default();
    }
}

/// One non-recursive watch for each folder.
pub struct Watches {
    /// `Some` until this is dropped.
    watcher: Option<RecommendedWatcher>,
    /// Whether the watcher's thread has ended. The watcher's own functions panic then, even the one that drops it.
    ended: Arc<AtomicBool>,
    /// With device and inode: a folder that was removed and created again is another one.
    watched: HashMap<PathBuf, (u64, u64)>,
    /// By device and inode: the kernel has one watch for a folder, whatever its name is by now.
    names: HashMap<(u64, u64), PathBuf>,
    /// Whether the kernel refused a watch because there are too many.
    pub full: bool,
}

impl Watches {
    /// Watches that send their hints to `hints`.
    pub fn new(hints: Sender<Hint>) -> notify::Result<Watches> {
        let ended = Arc::new(AtomicBool::new(false));
        let life = Life {
            ended: ended.clone(),
            hints,
        };
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            for hint in translate(event) {
                // The receiver goes away with the inbox's thread; then nobody needs hints.
                if life.hints.send(hint).is_err() {
                    return;
                }
            }
        })?;
        Ok(Watches {
            watcher: Some(watcher),
            ended,
            watched: HashMap::new(),
            names: HashMap::new(),
            full: false,
        })
    }

    /// Whether no event will come any more.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Watches a folder. Does nothing if it is watched already.
    pub fn add(&mut self, folder: &Path) -> notify::Result<()> {
        let meta = std::fs::metadata(folder).map_err(notify::Error::io)?;
        let identity = (meta.dev(), meta.ino());
        match self.watched.get(folder) {
            Some(known) if *known == identity => return Ok(()),
            Some(_) => self.forget(folder),
            None => {}
        }
        // It was renamed: if its old name were forgotten afterwards, the watch under the new one would end.
        if let Some(other) = self.names.get(&identity).cloned() {
            self.forget(&other);
        }
        let ended = self.has_ended();
        let Some(watcher) = self.watcher.as_mut().filter(|_| !ended) else {
            return Err(notify::Error::generic("the watcher has ended"));
        };
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        self.watched.insert(folder.to_owned(), identity);
        self.names.insert(identity, folder.to_owned());
        Ok(())
    }

    /// Stops watching a folder that is gone.
    pub fn forget(&mut self, folder: &Path) {
        let Some(identity) = self.watched.remove(folder) else {
            return;
        };
        self.names.remove(&identity);
        let ended = self.has_ended();
        if let Some(watcher) = self.watcher.as_mut().filter(|_| !ended)
            && let Err(error) = watcher.unwatch(folder)
        {
            // The kernel removes the watch of a removed folder itself.
            tracing::trace!(folder = %folder.display(), %error, "the watch was gone already");
        }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        // Dropping it would panic. It holds little, and this is rare.
        if self.has_ended()
            && let Some(watcher) = self.watcher.take()
        {
            std::mem::forget(watcher);
        }
    }
}

fn translate(event: notify::Result<notify::Event>) -> Vec<Hint> {
    let event = match event {
        Ok(event) => event,
        Err(error) => {
            tracing::debug!(%error, "the watcher reports an error: everything is scanned");
            return vec![Hint::Everything];
        }
    };
    // An overflow carries no path.
    if event.need_rescan() {
        return vec![Hint::Overflow];
    }
    if event.paths.is_empty() {
        return vec![Hint::Everything];
    }
    let mut hints = Vec::new();
    for path in event.paths {
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => hints.push(Hint::Closed(path)),
            EventKind::Access(_) => {}
            EventKind::Modify(ModifyKind::Data(_)) => hints.push(Hint::Written(path)),
            EventKind::Any
            | EventKind::Create(_)
            | EventKind::Modify(_)
            | EventKind::Remove(_)
            | EventKind::Other => {
                let folder = path.parent().map(Path::to_path_buf);
                hints.push(folder.map_or(Hint::Everything, Hint::Folder));
                // The watched folder itself was removed or renamed.
                hints.push(Hint::Folder(path));
            }
        }
    }
    hints
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn row_08_an_overflow_means_scan_everything() {
        let overflow = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert_eq!(translate(Ok(overflow)), vec![Hint::Overflow]);
        let error = notify::Error::generic("broken");
        assert_eq!(translate(Err(error)), vec![Hint::Everything]);
    }

    #[test]
    fn row_07_a_renamed_folder_stays_watched() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        std::fs::create_dir(&old).unwrap();
        let (hints, receiver) = std::sync::mpsc::channel();
        let mut watches = Watches::new(hints).unwrap();
        watches.add(&old).unwrap();
        std::fs::rename(&old, &new).unwrap();
        // A scan finds the new name, and afterwards that the old one is gone.
        watches.add(&new).unwrap();
        watches.forget(&old);
        std::fs::write(new.join("cat.jpg"), "").unwrap();
        let closed = Hint::Closed(new.join("cat.jpg"));
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while receiver
            .recv_timeout(limit.saturating_duration_since(std::time::Instant::now()))
            .unwrap()
            != closed
        {}
    }

    #[test]
    fn row_03_a_rename_into_the_folder_counts_as_closed() {
        let path = PathBuf::from("/in/cat.jpg");
        let event = notify::Event::new(EventKind::Modify(ModifyKind::Name(RenameMode::To)))
            .add_path(path.clone());
        assert_eq!(translate(Ok(event)), vec![Hint::Closed(path)]);
    }
}
