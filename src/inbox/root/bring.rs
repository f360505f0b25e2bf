//! Where the configuration names another `working`, the files of jobs in progress move there.

use std::io;
use std::path::Path;

use crate::files::{advice, create_folders, exists, move_new};
use crate::folders::Remembered;
use crate::inbox::worker::Worker;
use crate::job::Folder;

impl Worker {
    /// Where the configuration names another `working` than before, the files of jobs in progress come along: to whoever
    /// looked for them in the new folder they would all be deleted, which is how a person cancels a job.
    pub(crate) fn bring_files(&self) -> Result<(), String> {
        let name = &self.setup.name;
        let journal = self.setup.ledger.journal();
        let now = Remembered {
            places: self.setup.places.clone(),
            on_success: self.setup.inbox.on_success,
        };
        let before = self
            .runtime
            .block_on(Remembered::of(journal.as_ref(), name))
            .map_err(|error| error.to_string())?;
        if before.as_ref() == Some(&now) {
            return Ok(());
        }
        let working = &now.places.working;
        if let Some(before) = before.map(|before| before.places.working)
            && before != *working
        {
            for job in self.setup.ledger.jobs() {
                for file in job.files.iter().filter(|_| job.inbox == *name) {
                    let at = file.at.as_ref();
                    let at = at.filter(|at| at.folder == Folder::Working && file.mount.is_none());
                    if let Some(at) = at {
                        let from = before.join(at.path.as_path());
                        self.bring(&from, &working.join(at.path.as_path()), &before)
                            .map_err(|why| format!("{why} (job {})", job.id))?;
                    }
                }
            }
        }
        self.runtime
            .block_on(now.keep(journal.as_ref(), name))
            .map_err(|error| error.to_string())
    }

    /// Moves one file from the `working` of before, if it lies there still.
    fn bring(&self, from: &Path, to: &Path, before: &Path) -> Result<(), String> {
        let told = |error: io::Error| {
            format!(
                "{} cannot be moved to {}: {error}. {}",
                from.display(),
                to.display(),
                advice(&error)
            )
        };
        if exists(to).map_err(told)? {
            return Ok(());
        }
        if exists(from).map_err(told)? {
            if let Some(why) = self.is_bare(&self.setup.places.working) {
                return Err(why);
            }
            if let Some(folder) = to.parent() {
                create_folders(folder).map_err(told)?;
            }
            move_new(from, to).map_err(told)?;
            tracing::info!(inbox = %self.setup.name, "{} has come to {}", from.display(), to.display());
        } else if !before.is_dir() {
            return Err(format!(
                "{} is gone, which was its folder for jobs in progress before, and with it {}: write it back as `working`, mount what \
                 it lay on, or move its content to {}. `taxiway run --accept-folders` gives it up",
                before.display(),
                from.display(),
                self.setup.places.working.display()
            ));
        }
        Ok(())
    }
}
