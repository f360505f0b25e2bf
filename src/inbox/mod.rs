//! From a dropped file to a job.
//!
//! Each inbox has a thread of its own, so that a share that does not respond keeps only itself waiting. The thread scans (the truth),
//! is woken early by the kernel's hints, judges which files are finished, pairs them with their sidecars, makes the
//! request, and takes the files by a rename that the journal knows of beforehand.
//!
//! - [`look`]: what is in the inbox, and which files are finished. [`events`]: hints from the kernel.
//! - [`evaluate`]: one folder's files become jobs and reasons to wait, by way of [`crate::sidecar`].
//! - `take`: which files are taken and when, and the way back. [`root`]: the inbox's own folders.
//! - `worker`: the thread; `handle`: how others see it.

pub(crate) mod evaluate;
pub(crate) mod events;
mod handle;
pub(crate) mod look;
mod pace;
pub(crate) mod root;
mod take;
mod worker;

pub use evaluate::rules::{Candidate, Evaluator, Waiting};
pub use handle::{Held, InboxHandle, InboxView, Setup};
pub use look::scan::Ignore;
pub use look::settle::Writer;
pub use look::tree::Tree;
pub use root::filesystem::trust;
pub use root::probe::probe;
pub use worker::spawn_after;
