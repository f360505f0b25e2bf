//! The promises, checked on the real binary where they are hardest to keep.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../e2e/harness.rs"]
mod harness;
mod mount;
mod power_loss;
