//! What a job asks of Runway, settled before anything leaves the machine.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::files::RelPath;
use crate::json::Step;
use crate::media::Kind;

/// A validated request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The endpoint's name, such as `image_to_video`.
    pub endpoint: String,
    /// The model, where the endpoint has models.
    pub model: Option<String>,
    /// Where the request goes, such as `/v1/image_to_video`.
    pub path: String,
    /// Where the task is followed, such as `/v1/tasks/{id}`.
    pub poll: String,
    /// The request's body as people wrote it: media are file names or URLs.
    pub body: Map<String, Value>,
    /// The places of the body that name a local file.
    pub media: Vec<MediaUse>,
    /// Expected price in credits; `None` where it is not known.
    pub estimated: Option<f64>,
    /// The sidecar's `priority`; larger goes first.
    pub priority: i64,
    /// The sidecar's `output`: the output's file name without extension.
    pub output: Option<String>,
    /// What people should know, although the request is valid.
    pub warnings: Vec<String>,
}

/// A local file in the request's body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MediaUse {
    /// Where its URI goes in the body.
    pub slot: Vec<Step>,
    /// Which file it is.
    pub file: FileRef,
    /// What its content is.
    pub kind: Kind,
    /// The content's media type, such as `image/jpeg`.
    pub mime: String,
}

/// A file that a request uses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileRef {
    /// One of the job's own files, by its index.
    Own(usize),
    /// A file below the inbox whose name or folder begins with `_`: many jobs may use it, and it stays where it is.
    Shared(RelPath),
}
