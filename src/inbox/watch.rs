//! Hints from the kernel. They only wake the scan, early and for one folder; losing them loses time and nothing else.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

/// Something may have changed.
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
    /// Not a hint about files: the daemon wants something, or stops.
    Wake,
}

/// One non-recursive watch for each folder.
pub struct Watches {
    watcher: RecommendedWatcher,
    /// Each with its inode: a folder that was removed and made again is another one.
    watched: HashMap<PathBuf, u64>,
    /// Whether the kernel refused a watch for want of room; said once.
    pub full: bool,
}

impl Watches {
    /// Watches that send their hints to `hints`.
    pub fn new(hints: Sender<Hint>) -> notify::Result<Watches> {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            for hint in translate(event) {
                // The other end goes away when the inbox is given up; then nobody wants hints.
                if hints.send(hint).is_err() {
                    return;
                }
            }
        })?;
        Ok(Watches {
            watcher,
            watched: HashMap::new(),
            full: false,
        })
    }

    /// Watches a folder; watching it again is nothing.
    pub fn add(&mut self, folder: &Path) -> notify::Result<()> {
        let inode = std::fs::metadata(folder).map_err(notify::Error::io)?.ino();
        match self.watched.get(folder) {
            Some(known) if *known == inode => return Ok(()),
            Some(_) => self.forget(folder),
            None => {}
        }
        self.watcher.watch(folder, RecursiveMode::NonRecursive)?;
        self.watched.insert(folder.to_owned(), inode);
        Ok(())
    }

    /// Forgets a folder that is gone.
    pub fn forget(&mut self, folder: &Path) {
        if self.watched.remove(folder).is_some()
            && let Err(error) = self.watcher.unwatch(folder)
        {
            // The kernel drops the watch of a removed folder by itself.
            tracing::trace!(folder = %folder.display(), %error, "the watch was gone already");
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
    if event.need_rescan() || event.paths.is_empty() {
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
    use super::*;

    #[test]
    fn row_08_an_overflow_means_scan_everything() {
        let overflow = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert_eq!(translate(Ok(overflow)), vec![Hint::Everything]);
        let error = notify::Error::generic("broken");
        assert_eq!(translate(Err(error)), vec![Hint::Everything]);
    }

    #[test]
    fn a_rename_into_the_folder_counts_as_closed() {
        let path = PathBuf::from("/in/cat.jpg");
        let event = notify::Event::new(EventKind::Modify(ModifyKind::Name(RenameMode::To)))
            .add_path(path.clone());
        assert_eq!(translate(Ok(event)), vec![Hint::Closed(path)]);
    }
}
