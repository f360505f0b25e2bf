//! taxiway: drop an image, a video or a prompt into a folder; the finished Runway generation comes back in another.
//!
//! # The path of a file
//!
//! A **sidecar** says, in YAML, what to do with a medium, or describes a whole job by itself. The `inbox` module scans a
//! watched folder, judges which files are finished, pairs media with their sidecars, and makes the request (`sidecar`) that
//! the [`catalogue`] says is valid. Then it takes the files: it writes a **job** into the [`journal`] and renames them into
//! `working/`.
//!
//! The `ledger` owns all open jobs. Whatever happens to one is an event. [`job::transition`] is the one pure function that
//! says what the job is afterwards, and nothing acts on an event before the journal has made it durable.
//!
//! The `engine` decides whose turn it is (`policy`), and takes jobs through its stages: media are prepared, the request that
//! costs money is sent once (`runway`), its **task** is followed, its outputs are fetched into part files, and each becomes a
//! **file** in the outbox by a rename that never replaces anything (`folders`). At the end the inputs go to `originals/`, or
//! to `failed/` with a note that says why.
//!
//! The `daemon` wires these together, [`cli`] is what people type, `web` is what they open, [`control`] answers both, and
//! [`simulator`] stands in for Runway where there is no key. `docs/ARCHITECTURE.md` has the layers, the invariants and the
//! reasons.

pub mod catalogue;
pub mod cli;
pub mod config;
pub mod control;
mod daemon;
mod diagnostic;
mod engine;
pub mod failpoint;
pub mod files;
mod folders;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod inbox;
pub mod job;
pub mod journal;
pub mod json;
mod ledger;
pub mod media;
mod metrics;
pub mod notify;
pub mod policy;
mod runway;
mod sidecar;
pub mod simulator;
mod status;
mod web;
pub mod yaml;
