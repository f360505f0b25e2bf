//! taxiway: drop an image, a video or a prompt into a folder; the finished Runway generation comes back in another.
//!
//! # The way of a file
//!
//! A **sidecar** describes, in YAML, what to do with a medium, or a whole piece of work by itself. [`inbox`] looks at a
//! watched folder, judges which files are finished, pairs media with their sidecars, and makes the request that
//! [`catalogue`] says is valid. Then it takes the files: it writes a **job** into the [`journal`] and renames them into
//! `working/`.
//!
//! The [`ledger`] owns all open jobs. Whatever happens to one is an event; [`job::transition`] is the one pure function
//! that says what the job is afterwards, and nothing acts on an event before the journal has made it durable.
//!
//! The [`engine`] decides whose turn it is ([`schedule`]), and drives jobs through the [`stages`]: media are made ready,
//! the request that costs money is sent once ([`runway`]), its **task** is followed, its outputs are fetched into part
//! files, and each becomes a **file** in the [`outbox`] by a rename that never replaces anything. At the end the inputs
//! go to `originals/`, or to `failed/` with a note that says why.
//!
//! [`daemon`] wires these together, [`cli`] is what people type, [`status`] and [`web`] are what they see, and [`simulator`]
//! stands in for Runway where there is no key. `docs/ARCHITECTURE.md` has the map, the invariants and the reasons.

pub mod catalogue;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod diagnostic;
pub mod engine;
pub mod failpoint;
pub mod files;
pub mod folders;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod inbox;
pub mod job;
pub mod journal;
pub mod json;
pub mod ledger;
pub mod media;
pub mod metrics;
pub mod notify;
pub mod policy;
pub mod runway;
pub mod sidecar;
pub mod simulator;
pub mod status;
pub mod web;
pub mod yaml;
