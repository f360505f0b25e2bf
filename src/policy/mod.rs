//! Decisions about money and time: what may be spent, whose turn it is, what is tried again and when. Pure.

pub(crate) mod backoff;
pub mod budget;
pub(crate) mod gate;
pub mod retry;
pub(crate) mod schedule;
