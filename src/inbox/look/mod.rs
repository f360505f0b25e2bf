//! What is in an inbox: the scan, what was last seen, and which files are finished.

pub(crate) mod agenda;
pub(crate) mod defaults;
pub(crate) mod finished;
pub(crate) mod references;
pub(crate) mod scan;
pub(crate) mod settle;
pub(crate) mod tree;
