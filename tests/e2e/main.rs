//! The whole program through the doors that people use: the real binary, real folders, real HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod api_trouble;
mod bad_input;
mod commands;
mod doubts;
mod folders;
mod harness;
mod markers;
mod mounts_inside;
mod names;
mod operations;
mod service;
mod sidecars;
mod status_file;
mod web;
