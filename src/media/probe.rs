//! Examining a file: its format, and whether it is whole.

use std::io::{self, Read, Seek};

use crate::media::findings::{Findings, Wholeness};
use crate::media::format::Format;
use crate::media::input::Input;
use crate::media::kind::Kind;
use crate::media::sniff::{HEAD_BYTES, sniff};
use crate::media::{boxes, ebml, flac, frames, gif, jpeg, ogg, png, riff};

/// What is known about a file after examining it.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// The format by content; `None` if it is unknown.
    pub format: Option<Format>,
    /// Whether the file is whole. Always [`Wholeness::Unknowable`] for an unknown format.
    pub wholeness: Wholeness,
    /// How long it plays, in seconds, if the file states it.
    pub seconds: Option<f64>,
    /// Width and height in pixels as stored, before any rotation, if the file states them.
    pub dimensions: Option<(u32, u32)>,
    /// The length of the file in bytes.
    pub bytes: u64,
}

impl Probe {
    /// The kind of media; `None` if the content is not media.
    pub fn kind(&self) -> Option<Kind> {
        self.format.and_then(Format::kind)
    }
}

/// Examines a file from its beginning to its end.
///
/// The position of the reader does not matter, and changes.
///
/// # Errors
///
/// Only those of the reader. Invalid content is a result, not an error.
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
        // Formats that are always refused, and unknown content.
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
