//! Which files are taken, and when.

pub(crate) mod again;
pub(crate) mod claim;
