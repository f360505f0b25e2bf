//! Hints from the kernel that something changed. The scan decides; hints only make it come early.

pub(crate) mod hints;
pub(crate) mod watch;
