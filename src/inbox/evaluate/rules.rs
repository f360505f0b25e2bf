//! The rules by which an inbox's files are evaluated, and what the evaluation finds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Inbox;
use crate::files::RelPath;
use crate::job::{Failure, Plan, Role};
use crate::sidecar::endpoint::Rules;
use crate::sidecar::layers::Layer;

/// The rules of one inbox.
#[derive(Debug, Clone, Copy)]
pub struct Evaluator<'a> {
    /// What requests are checked against.
    pub rules: Rules<'a>,
    /// The inbox's configuration.
    pub inbox: &'a Inbox,
    /// How long a file must be quiet.
    pub settle: Duration,
    /// Largest input, in bytes.
    pub max_input: u64,
    /// The inbox's `defaults` in the configuration.
    pub defaults: &'a Layer,
}

/// A job that can be taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The file that it is named after.
    pub input: RelPath,
    /// Its files, where they were dropped.
    pub files: Vec<(Role, RelPath)>,
    /// The request, or why there is none.
    pub plan: Result<Plan, Failure>,
    /// Whether it is a sidecar that makes a request with a medium as well as without, so that it may be the correction of a
    /// sidecar that made a job fail together with its medium.
    pub may_be_correction: bool,
}

/// Something that stays in the inbox for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The medium, or the sidecar where there is none.
    pub input: RelPath,
    /// What it waits for. Shared, since thousands of files may wait for the same.
    pub reason: Arc<str>,
}

/// What is found in one folder.
#[derive(Debug, Default)]
pub struct Found {
    /// Jobs that can be taken.
    pub ready: Vec<Candidate>,
    /// What stays.
    pub waiting: Vec<Waiting>,
    /// When to evaluate the folder again if nothing changes until then.
    pub(crate) look_again: Option<Instant>,
}

impl Found {
    pub(crate) fn wait(&mut self, input: &RelPath, reason: impl Into<Arc<str>>) {
        self.waiting.push(Waiting {
            input: input.clone(),
            reason: reason.into(),
        });
    }

    pub(crate) fn look_again_at(&mut self, at: Instant) {
        self.look_again = Some(self.look_again.map_or(at, |before| before.min(at)));
    }
}
