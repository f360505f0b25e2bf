//! The inbox's own folders: whether they are there, on which filesystem, and whether they can be used.

pub(crate) mod check;
pub(crate) mod folders;
pub(crate) mod identity;
pub(crate) mod probe;
pub(crate) mod trust;
pub(crate) mod working;
