//! Examining a file: its format, and whether it is whole.

use std::io::{self, Read, Seek};

use crate::media::findings::{Findings, Wholeness};
use crate::media::format::Format;
use crate::media::input::Input;
use crate::media::kind::Kind;
use crate::media::sniff::{HEAD_BYTES, sniff};
use crate::media::{boxes, ebml, flac, frames, gif, jpeg, ogg, png, riff};

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
