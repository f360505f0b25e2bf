//! Real shares: a Samba server and a mount of it, and a mount whose server stops answering. What other clients put there
//! raises no events here, and what was mounted goes away and comes back.
//!
//! Needs root, `/dev/fuse`, and Samba, rclone and sshfs. Where one is missing, its tests count as ignored.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
extern crate taxiway_test_attribute;

mod accents;
mod arrive;
mod away;
mod hang;
mod outputs;
mod share;
mod sshfs;
mod studio;
#[path = "../support/mod.rs"]
mod support;

fn main() -> std::process::ExitCode {
    support::runner::main()
}
