//! Which files are taken, how, and by which job.

pub(crate) mod again;
pub(crate) mod claims;
pub(crate) mod deleted;
pub(crate) mod retries;
pub(crate) mod taking;
