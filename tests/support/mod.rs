//! What the test programs share.

pub mod runner;
mod studio;

pub use studio::*;
