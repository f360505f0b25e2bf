//! What the test programs share: a studio with folders of its own, the simulator and the daemon, and all that is needed to drive it and
//! to look at it.

// Not every program uses all of it.
#![allow(dead_code, unused_imports)]

mod api;
mod daemon;
mod files;
mod mounts;
pub mod runner;
mod snapshot;
mod studio;
mod wait;

pub use api::*;
pub use daemon::{helper, kill};
pub use files::*;
pub use mounts::*;
pub use studio::{Builder, KEY, Studio};
pub use wait::{Job, PATIENCE, wait_until};
