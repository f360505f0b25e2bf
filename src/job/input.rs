//! The files of a job and where they are.

use std::ffi::OsStr;

use serde::{Deserialize, Serialize};

use crate::files::{RelPath, Version};

/// One of the folders of an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Folder {
    /// Where files are dropped.
    Inbox,
    /// Inputs of jobs in progress.
    Working,
    /// Inputs of finished jobs.
    Originals,
    /// Inputs of jobs that failed or were cancelled.
    Failed,
}

/// A place: a folder and a path below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Spot {
    /// The folder.
    pub folder: Folder,
    /// The path below it.
    pub path: RelPath,
}

/// What a file is for in its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The dropped medium.
    Main,
    /// The sidecar.
    Sidecar,
    /// A medium that the sidecar refers to.
    Reference,
    /// Says that another file of the job is finished.
    Marker,
}

/// A file that belongs to a job and moves with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// What it is for.
    pub role: Role,
    /// Where it was dropped, relative to the inbox.
    pub dropped: RelPath,
    /// Where it is now; `None` once it was deleted, by the person or with `on_success: delete`.
    pub at: Option<Spot>,
    /// Its path in `working/` while the job is in progress.
    pub working: RelPath,
    /// The mount point below the inbox of the filesystem that it was dropped on; `None` for the inbox's own filesystem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<RelPath>,
    /// Its size in bytes when it was taken.
    pub bytes: u64,
    /// Which version of the file the job was planned for; `None` in journals of 0.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Hex SHA-256 of its content, once it was prepared for the API.
    pub sha256: Option<String>,
}

/// The folder for inputs in progress at the top of a filesystem that is mounted inside an inbox.
const WORKING_INSIDE: &str = "_working";

impl InputFile {
    /// Where it is while its job is in progress: in `working` or, since only a rename within one mount is atomic, in a
    /// folder of its own on the mount inside the inbox that it was dropped on.
    pub fn taken_at(&self) -> Spot {
        match &self.mount {
            None => Spot {
                folder: Folder::Working,
                path: self.working.clone(),
            },
            Some(mount) => Spot {
                folder: Folder::Inbox,
                path: working_inside(mount).join(self.working.as_path().as_os_str()),
            },
        }
    }
}

/// The folder for inputs in progress of a mount inside an inbox.
pub fn working_inside(mount: &RelPath) -> RelPath {
    mount.join(OsStr::new(WORKING_INSIDE))
}
