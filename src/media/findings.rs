//! The result of a walk over a file's structure.

use crate::media::format::Format;

/// This many zero bytes at the end of a file raise doubt: its writer may have reserved the space and not filled it. Coded
/// pictures and sound never end in so many.
pub(super) const ZEROS_IN_CODED_DATA: u64 = 64;

/// Whether a file has everything that its structure declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wholeness {
    /// The file reaches the end that its structure declares.
    Whole,
    /// Something is missing.
    Partial {
        /// What is missing, as a clause for people: `the JPEG end marker is missing`.
        missing: String,
    },
    /// Neither can be proven.
    Unknowable,
}

impl Wholeness {
    pub(super) fn partial(missing: impl Into<String>) -> Self {
        Wholeness::Partial {
            missing: missing.into(),
        }
    }
}

pub(super) struct Findings {
    pub(super) wholeness: Wholeness,
    pub(super) seconds: Option<f64>,
    pub(super) dimensions: Option<(u32, u32)>,
    /// A more exact format than the first bytes show.
    pub(super) format: Option<Format>,
}

impl Findings {
    pub(super) fn new(wholeness: Wholeness) -> Self {
        Self {
            wholeness,
            seconds: None,
            dimensions: None,
            format: None,
        }
    }

    pub(super) fn partial(missing: impl Into<String>) -> Self {
        Self::new(Wholeness::partial(missing))
    }
}
