//! From a dropped file to a job.
//!
//! Each inbox has a thread of its own, so that a share that does not respond holds up only itself. The thread scans (which is
//! what counts), wakes early when the kernel reports a change, judges which files are finished, pairs them with their sidecars,
//! makes the request, and takes the files by a rename that the journal knows of beforehand.
//!
//! - `worker`: the thread's loop; [`spawn_after`] starts it with a [`Setup`]. [`InboxHandle`] and its view, which the thread keeps
//!   on its `board`, are what others see.
//! - `look`: what is in the inbox, which files are finished, and what is scanned when. `events`: hints from the kernel.
//! - `evaluate`: one folder's files become jobs and reasons to wait, by way of [`crate::sidecar`].
//! - `take`: which files are taken and how, and jobs that run again.
//! - `root`: the inbox's own folders and what they are on.

mod board;
mod evaluate;
mod events;
mod handle;
mod look;
mod pace;
mod root;
mod setup;
mod spawn;
mod take;
mod worker;

pub use board::{InboxView, WaitingFile};
pub use evaluate::rules::{Candidate, Evaluator, Waiting};
pub use handle::InboxHandle;
pub use look::scan::Ignore;
pub use look::settle::Writer;
pub use look::tree::Tree;
pub use root::probe::probe;
pub use root::trust::describe_watch;
pub use setup::{Setup, defaults_layer, places};
pub use spawn::spawn_after;
