//! From a dropped file to a job.
//!
//! Each inbox has a thread of its own, so that a share that hangs keeps only itself waiting. The thread scans (the truth),
//! is woken early by the kernel's hints, judges which files are finished, pairs them with their sidecars, makes the
//! request, and takes the files by a rename that the journal knows of beforehand.
//!
//! - `scan`: what lies in a folder; `watch`: hints; `mounts`: whether hints can be trusted there.
//! - `settle`: finished or still being written. `pair`: what belongs together. Both pure.
//! - `layers`, `endpoint`, `request`: from a sidecar and its defaults to a validated request. Pure.
//! - `tree`: what was last seen below the inbox, with what was read from it; `references`: what sidecars refer to there.
//! - `evaluate`, `media_use`: one folder's files to jobs and reasons to wait.
//! - `take`: the rename into `working/`; `claim`: which files, and when; `put_back`, `again`: the way back, to be taken again.
//! - `worker`: the thread; `root`: what it does when its folder goes and comes back; `remembered`: where its folders lay before; `probe`: whether they can be used; `handle`: how others see it.

mod again;
mod claim;
mod endpoint;
mod evaluate;
mod filesystem;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handle;
mod hints;
mod layers;
mod media_use;
mod pace;
mod pair;
mod probe;
mod put_back;
mod references;
mod remembered;
mod request;
mod root;
mod scan;
mod settle;
mod take;
mod tree;
mod watch;
mod worker;

pub use evaluate::{Candidate, Evaluator, Waiting};
pub use filesystem::{here as mount_here, is_mounted, trust};
pub use handle::{Held, InboxHandle, InboxView, Setup};
pub use layers::Finding;
pub use layers::Layer;
pub use probe::probe;
pub use put_back::{NotPutBack, put_back};
pub use remembered::Remembered;
pub use request::{Outcome, Rules, settles_endpoint};
pub use root::{bare, is_bare_mount_point, remember};
pub use scan::Ignore;
pub use settle::Writer;
pub use take::{Taking, finish_taking, free_spot, make_working};
pub use tree::Tree;
pub use worker::spawn_after;
