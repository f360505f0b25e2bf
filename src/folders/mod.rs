//! Where a job's files are, and how they move.

pub(crate) mod mounted;
pub(crate) mod note;
pub(crate) mod outbox;
pub(crate) mod places;
pub(crate) mod put_back;
pub(crate) mod remembered;
pub(crate) mod take;

pub use places::Places;
pub use put_back::{NotPutBack, put_back};
pub use remembered::Remembered;
pub use take::{Taking, finish_taking, free_spot, make_working};
