//! The paths of an inbox's folders.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::job::{Folder, Spot};

/// The folders of one inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// Where files are dropped.
    #[serde(with = "crate::files::stored_path")]
    pub inbox: PathBuf,
    /// Inputs of jobs in progress; on the same filesystem as the inbox.
    #[serde(with = "crate::files::stored_path")]
    pub working: PathBuf,
    /// Finished outputs and their records.
    #[serde(with = "crate::files::stored_path")]
    pub outbox: PathBuf,
    /// Inputs of finished jobs.
    #[serde(with = "crate::files::stored_path")]
    pub originals: PathBuf,
    /// Inputs of jobs that failed or were cancelled.
    #[serde(with = "crate::files::stored_path")]
    pub failed: PathBuf,
}

impl Places {
    /// A folder that holds inputs.
    pub fn folder(&self, folder: Folder) -> &Path {
        match folder {
            Folder::Inbox => &self.inbox,
            Folder::Working => &self.working,
            Folder::Originals => &self.originals,
            Folder::Failed => &self.failed,
        }
    }

    /// Folders of the usual names in a directory.
    #[cfg(test)]
    pub(crate) fn sample(dir: &std::path::Path) -> Places {
        Places {
            inbox: dir.join("inbox"),
            working: dir.join("working"),
            outbox: dir.join("outbox"),
            originals: dir.join("originals"),
            failed: dir.join("failed"),
        }
    }

    /// The path of a spot.
    pub fn path(&self, spot: &Spot) -> PathBuf {
        self.folder(spot.folder).join(spot.path.as_path())
    }
}
