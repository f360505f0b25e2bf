//! The folders of an inbox: where a job's files are, and how they move.

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
pub use take::{Taking, create_working, find_free_path, finish_taking};
