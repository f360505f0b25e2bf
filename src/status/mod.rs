//! Jobs as people and programs see them. Pure but for decoding pictures.

mod lines;
pub(crate) mod notice;
mod page;
mod picture;

pub use lines::*;
pub(crate) use lines::{Details, DoubtDetails, details, outputs};
pub use page::*;
pub use picture::{picture, small_picture};
