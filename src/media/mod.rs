//! Media files: what a file is, and whether it is whole.
//!
//! A file in an inbox may still be on its way: a copy over a slow link, a scanner that writes page by page, a camera.
//! Taking half a file means paying for a generation from half a picture, so before a file is taken at once its content
//! must prove that nothing is missing. [`probe`] tells the format by content, walks the file's own structure to its end
//! (chunks of a PNG, markers of a JPEG, boxes of an MP4, frames of an MP3), and says one of three things:
//!
//! - [`Wholeness::Whole`]: the structure says where the end is, and the file reaches it;
//! - [`Wholeness::Partial`]: the structure says what is missing;
//! - [`Wholeness::Unknowable`]: the format, or this file, has no proof either way; only time can tell.
//!
//! Nothing here decodes pictures or sound. The cost is bounded: containers are walked by seeking from part to part,
//! only JPEG, MP3 and AAC are read from end to end, and memory is a few buffers however large the file. Any bytes at all
//! may be given; the answer may then be "unknown", never a panic.

mod boxes;
mod ebml;
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
mod refusal;
mod riff;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Seek};

use input::Input;

pub use format::{Format, HEAD_BYTES, sniff};
pub use kind::Kind;
pub use refusal::{kind_by_extension, refusal};

/// This many zero bytes at the end of a file raise doubt: its writer may have reserved the space and not filled it.
/// Coded pictures and sound never have so many.
const ZEROS_IN_CODED_DATA: u64 = 64;

/// Whether a file has everything that its own structure promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wholeness {
    /// The file reaches the end that its structure declares.
    Whole,
    /// Something is missing.
    Partial {
        /// What is missing, as a clause for people: `the JPEG end marker is missing`.
        missing: String,
    },
    /// There is no proof either way.
    Unknowable,
}

impl Wholeness {
    fn partial(missing: impl Into<String>) -> Self {
        Wholeness::Partial {
            missing: missing.into(),
        }
    }
}

/// What was found out about a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// The format by content; `None` when it is none that is known here.
    pub format: Option<Format>,
    /// Whether the file is whole. Always [`Wholeness::Unknowable`] where the format is not known.
    pub wholeness: Wholeness,
    /// How long it plays, in seconds, where the file simply says so.
    pub seconds: Option<f64>,
    /// Width and height in pixels as stored, before any rotation, where the file simply says so.
    pub dimensions: Option<(u32, u32)>,
    /// The length of the file in bytes.
    pub bytes: u64,
}

impl Probe {
    /// The kind of media that the content is, if it is media.
    pub fn kind(&self) -> Option<Kind> {
        self.format.and_then(Format::kind)
    }
}

/// What the walk over one format found.
struct Findings {
    wholeness: Wholeness,
    seconds: Option<f64>,
    dimensions: Option<(u32, u32)>,
    /// A better answer than the first bytes gave.
    format: Option<Format>,
}

impl Findings {
    fn new(wholeness: Wholeness) -> Self {
        Self {
            wholeness,
            seconds: None,
            dimensions: None,
            format: None,
        }
    }

    fn partial(missing: impl Into<String>) -> Self {
        Self::new(Wholeness::partial(missing))
    }
}

/// Examines a file from its beginning to its end.
///
/// The reader may stand anywhere, and is left anywhere.
///
/// # Errors
///
/// Only those of the reader. Content that makes no sense is an answer, not an error.
pub fn probe<R: Read + Seek>(reader: &mut R) -> io::Result<Probe> {
    let mut input = Input::new(reader)?;
    let bytes = input.length();
    let head = input.take_up_to(HEAD_BYTES)?;
    let format = sniff(&head);
    input.go_to(0)?;
    let found = match format {
        Some(Format::Jpeg) => jpeg::walk(&mut input)?,
        Some(Format::Png) => png::walk(&mut input)?,
        Some(Format::Gif) => gif::walk(&mut input)?,
        Some(Format::Webp | Format::Wav | Format::Avi | Format::Aiff) => riff::walk(&mut input)?,
        Some(film @ (Format::Mp4 | Format::Mov | Format::M4a)) => {
            boxes::walk_film(&mut input, film)?
        }
        Some(Format::Heic | Format::Avif) => boxes::walk_picture(&mut input)?,
        Some(Format::Webm | Format::Matroska) => ebml::walk(&mut input)?,
        Some(Format::Ogv | Format::Ogg) => ogg::walk(&mut input)?,
        Some(Format::Mp3) => frames::walk_mp3(&mut input)?,
        Some(Format::Aac) => frames::walk_aac(&mut input)?,
        Some(Format::Flac) => flac::walk(&mut input)?,
        // Formats that are refused whatever their state, and bytes that nobody knows.
        Some(
            Format::Tiff
            | Format::Bmp
            | Format::Jxl
            | Format::Svg
            | Format::Psd
            | Format::Mpeg
            | Format::Asf
            | Format::Flv
            | Format::Zip
            | Format::Pdf
            | Format::Html,
        )
        | None => Findings::new(Wholeness::Unknowable),
    };
    Ok(Probe {
        format: found.format.or(format),
        wholeness: found.wholeness,
        seconds: found
            .seconds
            .filter(|seconds| seconds.is_finite() && *seconds >= 0.0),
        dimensions: found
            .dimensions
            .filter(|(width, height)| *width > 0 && *height > 0),
        bytes,
    })
}
