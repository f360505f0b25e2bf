//! Jobs and their parts for tests of other modules.

use std::path::Path;

use jiff::Timestamp;

use super::{Failure, FailureKind, Folder, InputFile, Job, JobId, Plan, Role, Spot};
use crate::files::RelPath;

/// A path.
pub(crate) fn path(text: &str) -> RelPath {
    RelPath::new(Path::new(text)).unwrap()
}

/// A failure of a kind; nothing else about it matters.
pub(crate) fn failure(kind: FailureKind) -> Failure {
    Failure {
        kind,
        what: "wrong".to_owned(),
        details: vec![],
        advice: "fix it".to_owned(),
        task: None,
    }
}

/// A file in a folder under the name with which it was dropped.
pub(crate) fn file(name: &str, role: Role, folder: Folder) -> InputFile {
    InputFile {
        role,
        dropped: path(name),
        at: Some(Spot {
            folder,
            path: path(name),
        }),
        working: path(name),
        mount: None,
        bytes: 1,
        version: None,
        sha256: None,
    }
}

/// A job that asks for a video of a prompt, for 160 credits.
pub(crate) fn planned(input: &str, at: Timestamp) -> Job {
    let plan = Plan {
        endpoint: "text_to_video".into(),
        model: Some("veo3.1".into()),
        path: "/v1/text_to_video".into(),
        poll: "/v1/tasks/{id}".into(),
        body: serde_json::Map::new(),
        media: vec![],
        estimated: Some(160.0),
        priority: 0,
        output: None,
        warnings: vec![],
    };
    Job::taken(JobId::random(), "studio", path(input), vec![], Ok(plan), at)
}

/// A job with these files and an invalid input.
pub(crate) fn wrong(input: &str, files: Vec<InputFile>) -> Job {
    Job::taken(
        JobId::random(),
        "studio",
        path(input),
        files,
        Err(failure(FailureKind::Input)),
        Timestamp::UNIX_EPOCH,
    )
}
