//! Real shares: a Samba server and a mount of it, and a mount whose server stops answering. What other clients put there
//! raises no events here, and what was mounted goes away and comes back.
//!
//! Needs root, `/dev/fuse`, and Samba, rclone and sshfs; says so and leaves a test out where one is missing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod accents;
mod arrive;
mod away;
mod hang;
#[path = "../e2e/harness.rs"]
mod harness;
mod outputs;
mod share;
mod sshfs;
mod studio;
