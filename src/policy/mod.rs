//! Decisions about money and time: what may be spent, whose turn it is, what is tried again and when. Pure.

pub mod backoff;
pub mod budget;
pub mod gate;
pub mod retry;
pub mod schedule;
