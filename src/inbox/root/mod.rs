//! The inbox's own folders: whether they are there, on which filesystem, and whether they can be used.

mod bring;
pub(crate) mod check;
pub(crate) mod filesystem;
pub(crate) mod probe;
