//! The whole program through the doors that people use: the real binary, real folders, real HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
extern crate taxiway_test_attribute;

mod api_trouble;
mod bad_input;
mod commands;
mod doubts;
mod fairness;
mod folders;
mod golden;
mod markers;
mod mounts_inside;
mod moves;
mod names;
mod notify;
mod operations;
mod permissions;
mod rows;
mod scans;
mod service;
mod sidecars;
mod snapshots;
mod spending;
mod status_file;
#[path = "../support/mod.rs"]
mod support;
mod web;
mod writers;

fn main() -> std::process::ExitCode {
    support::runner::main()
}
