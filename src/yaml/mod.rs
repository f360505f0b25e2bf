//! YAML with places: text in, a tree of values out, and for each value its line and column.
//!
//! This is the only module that knows which crate reads YAML. The rest of the program sees [`Document`] and [`Node`],
//! so that the crate can be replaced in one spot.
//!
//! What a person writes by hand is read strictly, since a misread sidecar costs credits: a key that appears twice, a
//! key that is not a text, tags, merge keys, a second document and numbers that JSON cannot hold are problems and not
//! surprises. All problems that leave the text readable are reported together. [`Document::cut_short`] finds text
//! that YAML silently takes for a comment.

mod cut;
mod document;
mod node;
mod problems;
mod read;
mod write;

pub use cut::CutShort;
pub use document::{Document, parse, parse_bytes};
pub use node::Node;
pub use problems::MAX_BYTES;
pub use write::{WriteError, to_json, to_yaml};

#[cfg(test)]
mod tests;
