//! What the journal remembers of an inbox's folders, for when the configuration names others, or the inbox no more.

use serde::{Deserialize, Serialize};

use crate::config::OnSuccess;
use crate::folders::Places;
use crate::journal::{Journal, JournalError};

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
        let text = journal.folder(&key(name)).await?;
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
            Ok(text) => journal.remember_folder(&key(name), &text).await,
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
