//! What the journal remembers of an inbox's folders, for when the configuration names others or no longer has the inbox.

use serde::{Deserialize, Serialize};

use crate::config::OnSuccess;
use crate::folders::Places;
use crate::journal::{Journal, JournalError};

/// The folders of an inbox when it was last watched, and what happens to its inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The folders.
    #[serde(flatten)]
    pub places: Places,
    /// What happens to the inputs of finished jobs.
    pub on_success: OnSuccess,
}

impl Remembered {
    /// Reads what is remembered of an inbox.
    pub async fn read(
        journal: &dyn Journal,
        name: &str,
    ) -> Result<Option<Remembered>, JournalError> {
        let text = journal.folder(&key(name)).await?;
        Ok(text.and_then(|text| match serde_json::from_str(&text) {
            Ok(remembered) => Some(remembered),
            Err(error) => {
                tracing::warn!(inbox = name, %error, "the folders that the inbox had before cannot be read");
                None
            }
        }))
    }

    /// Writes it to the journal.
    pub async fn write(&self, journal: &dyn Journal, name: &str) -> Result<(), JournalError> {
        match serde_json::to_string(self) {
            Ok(text) => journal.remember_folder(&key(name), &text).await,
            Err(error) => {
                tracing::error!(inbox = name, %error, "the folders of the inbox cannot be remembered");
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
            remembered.write(&journal, "films").await.unwrap();
            let found = Remembered::read(&journal, "films").await.unwrap();
            assert_eq!(found, Some(remembered));
        }
        assert_eq!(Remembered::read(&journal, "others").await.unwrap(), None);
    }
}
