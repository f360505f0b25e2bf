//! Media files: what a file is, and whether it is whole.
//!
//! A file in an inbox may still be incomplete: a copy over a slow link, a scanner that writes page by page, a camera. Taking
//! half a file means paying for a generation from half a picture, so a file is taken without delay only if its content proves
//! that nothing is missing. [`probe`] recognizes the format by content, walks the file's structure to its end (chunks of a PNG,
//! markers of a JPEG, boxes of an MP4, frames of an MP3), and returns one of three answers:
//!
//! - [`Wholeness::Whole`]: the structure declares where the end is, and the file reaches it;
//! - [`Wholeness::Partial`]: the structure shows that something is missing;
//! - [`Wholeness::Unknowable`]: the format, or this file, proves neither.
//!
//! Nothing here decodes pictures or sound. The cost is bounded: containers are walked by seeking from part to part, only JPEG,
//! MP3 and AAC are read from end to end, and memory is a few buffers however large the file. Any bytes are accepted and never
//! cause a panic.

mod boxes;
mod data_uri;
mod ebml;
mod findings;
mod flac;
mod format;
mod frames;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gif;
mod input;
mod jpeg;
mod kind;
mod ogg;
mod png;
mod probe;
mod refusal;
mod riff;
mod sniff;
#[cfg(test)]
mod tests;

pub(crate) use data_uri::encode_data_uri;
pub use findings::Wholeness;
pub use format::Format;
pub use kind::Kind;
pub use probe::{Probe, probe};
pub use refusal::{kind_by_extension, refusal};
pub use sniff::{HEAD_BYTES, sniff};
