//! What the journal remembers of an inbox's folders, for when the configuration names others, or the inbox no more.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::worker::Worker;
use crate::config::OnSuccess;
use crate::files::{advice, create_folders, exists, move_new};
use crate::job::Folder;
use crate::journal::{Journal, JournalError};
use crate::places::Places;

/// Where an inbox's folders lay when it was last watched, and what became of its inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Its folders.
    #[serde(flatten)]
    pub places: Places,
    /// What becomes of the inputs of finished jobs.
    pub on_success: OnSuccess,
}

impl Remembered {
    /// What is remembered of the inbox of a name.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn of(journal: &dyn Journal, name: &str) -> Result<Option<Remembered>, JournalError> {
        let text = journal.root(&key(name)).await?;
        Ok(text.and_then(|text| match serde_json::from_str(&text) {
            Ok(remembered) => Some(remembered),
            Err(error) => {
                tracing::warn!(inbox = name, %error, "which folders the inbox had before cannot be read");
                None
            }
        }))
    }

    /// Remembers it.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn keep(&self, journal: &dyn Journal, name: &str) -> Result<(), JournalError> {
        match serde_json::to_string(self) {
            Ok(text) => journal.remember_root(&key(name), &text).await,
            Err(error) => {
                tracing::error!(inbox = name, %error, "which folders the inbox has cannot be remembered");
                Ok(())
            }
        }
    }
}

fn key(name: &str) -> String {
    format!("folders of {name}")
}

impl Worker {
    /// Where the configuration names another `working` than before, the files of jobs in progress come along: to whoever
    /// looked for them in the new folder they would all be deleted, which is how a person cancels a job.
    pub(super) fn bring_files(&self) -> Result<(), String> {
        let name = &self.setup.name;
        let journal = self.setup.ledger.journal();
        let now = Remembered {
            places: self.setup.places.clone(),
            on_success: self.setup.on_success,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;
    use crate::journal::SqliteJournal;

    #[tokio::test]
    async fn folders_of_any_name_are_remembered_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let journal = SqliteJournal::open(dir.path()).await.unwrap();
        for name in [&b"studio"[..], b"st\xffdio"] {
            let remembered = Remembered {
                places: Places::sample(&dir.path().join(OsStr::from_bytes(name))),
                on_success: OnSuccess::Delete,
            };
            remembered.keep(&journal, "films").await.unwrap();
            let found = Remembered::of(&journal, "films").await.unwrap();
            assert_eq!(found, Some(remembered));
        }
        assert_eq!(Remembered::of(&journal, "others").await.unwrap(), None);
    }
}
