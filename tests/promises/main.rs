//! The promises — nothing lost, nothing paid twice, nothing half delivered, no doubt without a reason — under kills,
//! generated histories and broken disks. Each module drives the real binary; `audit` judges what is left at the end, from
//! outside only.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
extern crate taxiway_test_attribute;

mod api;
mod audit;
mod book;
mod disks;
mod doubts;
mod histories;
mod kills;
mod log;
mod mount;
mod points;
mod power_loss;
mod smoke;
#[path = "../support/mod.rs"]
mod support;
mod upgrade;
mod watcher;
mod world;

fn main() -> std::process::ExitCode {
    support::runner::main()
}
