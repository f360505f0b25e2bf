//! Recognizing the format of a file by its first bytes.
//!
//! The content counts, never the extension: a PNG that is named `cat.jpg` is a PNG, here and at Runway.

use crate::media::format::Format;
use crate::media::frames;

/// How many bytes from the start of a file [`sniff`] uses.
pub const HEAD_BYTES: usize = 4096;

/// Recognizes the format of a file by its first bytes; at most [`HEAD_BYTES`] are used.
///
/// An MP4 that holds only sound but does not say so in its brand counts as [`Format::Mp4`]; [`super::probe`] checks its tracks.
pub fn sniff(head: &[u8]) -> Option<Format> {
    let head = head.get(..HEAD_BYTES).unwrap_or(head);
    sniff_signature(head)
        .or_else(|| sniff_audio_frames(head))
        .or_else(|| sniff_text(head))
}

fn sniff_signature(head: &[u8]) -> Option<Format> {
    let form = head.get(8..12).unwrap_or_default();
    match head {
        [0xFF, 0xD8, 0xFF, ..] => Some(Format::Jpeg),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Format::Png),
        [b'R', b'I', b'F', b'F', ..] => match form {
            b"WEBP" => Some(Format::Webp),
            b"WAVE" => Some(Format::Wav),
            b"AVI " => Some(Format::Avi),
            _ => None,
        },
        [b'R', b'F', b'6', b'4', ..] | [b'B', b'W', b'6', b'4', ..] if form == b"WAVE" => {
            Some(Format::Wav)
        }
        [b'F', b'O', b'R', b'M', ..] if form == b"AIFF" || form == b"AIFC" => Some(Format::Aiff),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Format::Gif),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Format::Tiff),
        // The four reserved bytes are zero in every bitmap; the two letters alone would match too much.
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Some(Format::Bmp),
        [0xFF, 0x0A, ..] => Some(Format::Jxl),
        [
            0,
            0,
            0,
            12,
            b'J',
            b'X',
            b'L',
            b' ',
            b'\r',
            b'\n',
            0x87,
            b'\n',
            ..,
        ] => Some(Format::Jxl),
        [b'8', b'B', b'P', b'S', ..] => Some(Format::Psd),
        [0x1A, 0x45, 0xDF, 0xA3, ..] => sniff_ebml(head),
        [b'O', b'g', b'g', b'S', ..] => Some(sniff_ogg(head)),
        [b'f', b'L', b'a', b'C', ..] => Some(Format::Flac),
        [b'F', b'L', b'V', 1, ..] => Some(Format::Flv),
        [0x30, 0x26, 0xB2, 0x75, 0x8E, 0x66, 0xCF, 0x11, ..] => Some(Format::Asf),
        [0, 0, 1, 0xBA | 0xB3, ..] => Some(Format::Mpeg),
        [b'F', b'U', b'J', b'I', b'F', b'I', b'L', b'M', ..] => Some(Format::Tiff),
        // A transport stream is packets of 188 bytes, or of 192 in cameras, each with the same byte near its start.
        [0x47, ..] if head.get(188) == Some(&0x47) && head.get(376) == Some(&0x47) => {
            Some(Format::Mpeg)
        }
        [_, _, _, _, 0x47, ..] if head.get(196) == Some(&0x47) && head.get(388) == Some(&0x47) => {
            Some(Format::Mpeg)
        }
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Format::Zip),
        [b'%', b'P', b'D', b'F', b'-', ..] => Some(Format::Pdf),
        _ => sniff_boxes(head),
    }
}

/// MP4 and its relatives: the first box is `ftyp`, or, in old QuickTime files, another one of a few.
fn sniff_boxes(head: &[u8]) -> Option<Format> {
    match head.get(4..8)? {
        b"ftyp" => {
            let size = u32::from_be_bytes(*head.first_chunk()?);
            let end = usize::try_from(size).unwrap_or(usize::MAX).min(head.len());
            Some(sniff_brands(head.get(8..end).unwrap_or_default()))
        }
        b"moov" | b"mdat" | b"wide" | b"pnot" => Some(Format::Mov),
        _ => None,
    }
}

/// `brands` is the content of `ftyp`: the major brand, four bytes of version, and the compatible brands.
fn sniff_brands(brands: &[u8]) -> Format {
    let major = brands.get(..4).unwrap_or_default();
    let compatible = |brand: &[u8]| brands.chunks_exact(4).skip(2).any(|one| one == brand);
    match major {
        b"qt  " => Format::Mov,
        b"M4A " | b"M4B " | b"M4P " => Format::M4a,
        b"avif" | b"avis" => Format::Avif,
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" => Format::Heic,
        b"mif1" | b"msf1" if compatible(b"avif") || compatible(b"avis") => Format::Avif,
        b"mif1" | b"msf1" => Format::Heic,
        b"crx " => Format::Tiff,
        _ => Format::Mp4,
    }
}

/// WebM and Matroska differ by the document type in the EBML header (element `42 82`).
fn sniff_ebml(head: &[u8]) -> Option<Format> {
    let header = head.get(..64).unwrap_or(head);
    let at = header.windows(2).position(|id| id == [0x42, 0x82])?;
    let name = header.get(at + 3..)?;
    if name.starts_with(b"webm") {
        Some(Format::Webm)
    } else if name.starts_with(b"matroska") {
        Some(Format::Matroska)
    } else {
        None
    }
}

/// Ogg begins with one page for each stream in it, each of which begins with its codec's name.
fn sniff_ogg(head: &[u8]) -> Format {
    if head.windows(7).any(|bytes| bytes == b"\x80theora") {
        Format::Ogv
    } else {
        Format::Ogg
    }
}

/// MP3 and AAC have no signature, only frame headers; two that match count as proof.
fn sniff_audio_frames(head: &[u8]) -> Option<Format> {
    if head.starts_with(b"ID3") {
        // The tag may be longer than the head. What follows it is nearly always MPEG audio.
        let tag = frames::id3v2_length(*head.first_chunk()?)?;
        let audio = usize::try_from(tag)
            .ok()
            .and_then(|tag| head.get(tag..))
            .unwrap_or_default();
        return Some(match audio {
            [b'f', b'L', b'a', b'C', ..] => Format::Flac,
            _ => frames::sniff(audio).unwrap_or(Format::Mp3),
        });
    }
    frames::sniff(head)
}

/// Text formats: only the start counts, after a byte order mark and white space.
fn sniff_text(head: &[u8]) -> Option<Format> {
    let text = head
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(head)
        .trim_ascii_start();
    let begins = |tag: &[u8]| {
        text.get(..tag.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(tag))
    };
    let svg = || {
        text.windows(5)
            .any(|bytes| bytes == b"<svg " || bytes == b"<svg\n" || bytes == b"<svg>")
    };
    if begins(b"<svg") || (begins(b"<?xml") && svg()) {
        Some(Format::Svg)
    } else if begins(b"<!doctype html") || begins(b"<html") || begins(b"<head") {
        Some(Format::Html)
    } else {
        None
    }
}
