//! FLAC: the last frame must end where the file ends, its checksum must hold, and it must be the last one.
//!
//! The header says how many samples there are; each frame says which samples it holds. So the last frame, found from
//! the end backwards, proves the whole file.

use std::io::{self, Read, Seek};

use super::findings::{Findings, Wholeness};
use super::input::Input;

/// The last frame is searched for in this many bytes. Frames of real encoders are below 100 KB.
const SEARCHED_BYTES: usize = 1024 * 1024;

/// How many frame headers are tried, from the end backwards. In coded sound a header occurs by chance once in ten million
/// bytes; a file made of nothing but headers must not take long.
const MOST_HEADERS: usize = 64;

/// Metadata blocks; a handful in real files.
const MOST_BLOCKS: u32 = 1_000;

/// What the header says.
struct StreamInfo {
    /// In samples; the same for every frame but the last one where the blocking is fixed.
    block: u64,
    samples_per_second: u32,
    /// Zero: the encoder did not know.
    samples: u64,
}

pub(super) fn walk<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Findings> {
    let Some(info) = read_metadata(input)? else {
        return Ok(Findings::partial("the FLAC header is cut short"));
    };
    let audio_at = input.position();
    let tail_at = audio_at.max(input.length().saturating_sub(SEARCHED_BYTES as u64));
    input.go_to(tail_at)?;
    let tail = input.take_up_to(SEARCHED_BYTES)?;
    let wholeness = match last_frame(without_tag(&tail), info.block) {
        None => Wholeness::partial("the last FLAC frame is cut short"),
        Some(_) if info.samples == 0 => Wholeness::Unknowable,
        Some(end) if end >= info.samples => Wholeness::Whole,
        Some(end) => {
            let samples = info.samples;
            Wholeness::partial(format!(
                "the FLAC ends after {end} of its {samples} samples"
            ))
        }
    };
    let seconds = (info.samples > 0 && info.samples_per_second > 0)
        .then(|| info.samples as f64 / f64::from(info.samples_per_second));
    Ok(Findings {
        seconds,
        ..Findings::new(wholeness)
    })
}

/// Some programs append the 128 bytes of an ID3v1 tag to a FLAC, where they do not belong.
fn without_tag(tail: &[u8]) -> &[u8] {
    match tail.split_last_chunk::<128>() {
        Some((frames, [b'T', b'A', b'G', ..])) => frames,
        Some(_) | None => tail,
    }
}

/// Goes to the first frame. `None` when the file ends before that.
fn read_metadata<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Option<StreamInfo>> {
    if let Some(length) = input.take()?.and_then(super::frames::id3v2_length) {
        input.go_to(length)?;
    } else {
        input.go_to(0)?;
    }
    if input.take()? != Some(*b"fLaC") {
        return Ok(None);
    }
    let mut info = None;
    for _ in 0..MOST_BLOCKS {
        let Some([flags, l0, l1, l2]) = input.take()? else {
            return Ok(None);
        };
        let length = u64::from(u32::from_be_bytes([0, l0, l1, l2]));
        let start = input.position();
        if flags & 0x7F == 0 {
            let Some(bytes) = input.take::<18>()? else {
                return Ok(None);
            };
            info = Some(stream_info(bytes));
            input.go_to(start)?;
        }
        if !input.skip(length)? {
            return Ok(None);
        }
        if flags & 0x80 != 0 {
            return Ok(info);
        }
    }
    Ok(None)
}

/// Least and most block size, least and most frame size, then 20 bits of rate, 8 of format and 36 of length.
fn stream_info(bytes: [u8; 18]) -> StreamInfo {
    let [b0, b1, _, _, _, _, _, _, _, _, packed @ ..] = bytes;
    let packed = u64::from_be_bytes(packed);
    StreamInfo {
        block: u16::from_be_bytes([b0, b1]).into(),
        // Twenty bits always fit.
        samples_per_second: (packed >> 44) as u32,
        samples: packed & 0xF_FFFF_FFFF,
    }
}

/// Finds the frame that ends exactly where `tail` ends, and returns up to which sample it reaches.
fn last_frame(tail: &[u8], block: u64) -> Option<u64> {
    let (covered, checksum) = tail.split_last_chunk::<2>()?;
    let checksum = u16::from_be_bytes(*checksum);
    let mut before = covered.len();
    for _ in 0..MOST_HEADERS {
        let (at, end) = last_header(covered, before, block)?;
        if covered.get(at..).map(crc16) == Some(checksum) {
            return Some(end);
        }
        before = at;
    }
    None
}

/// The last frame header that begins before `before`: where, and up to which sample its frame reaches.
fn last_header(bytes: &[u8], mut before: usize, block: u64) -> Option<(usize, u64)> {
    loop {
        before = bytes
            .get(..before)?
            .iter()
            .rposition(|byte| *byte == 0xFF)?;
        if let Some(end) = frame_end(bytes.get(before..)?, block) {
            return Some((before, end));
        }
    }
}

/// The number of the sample after this frame, if these bytes are a frame's header (RFC 9639, section 9.1).
fn frame_end(bytes: &[u8], fixed_block: u64) -> Option<u64> {
    let [0xFF, second @ (0xF8 | 0xF9), sizes, ..] = *bytes else {
        return None;
    };
    let (number, number_bytes) = coded_number(bytes.get(4..)?)?;
    let mut at = 4 + number_bytes;
    let samples = match sizes >> 4 {
        0 => return None,
        1 => 192,
        code @ 2..=5 => 576_u64 << (code - 2),
        6 => {
            at += 1;
            u64::from(*bytes.get(at - 1)?) + 1
        }
        7 => {
            at += 2;
            u64::from(u16::from_be_bytes(*bytes.get(at - 2..)?.first_chunk()?)) + 1
        }
        code => 256_u64 << (code - 8),
    };
    at += match sizes & 15 {
        12 => 1,
        13 | 14 => 2,
        15 => return None,
        _ => 0,
    };
    if crc8(bytes.get(..at)?) != *bytes.get(at)? {
        return None;
    }
    let variable = second & 1 == 1;
    let first_sample = if variable {
        number
    } else {
        number.checked_mul(fixed_block)?
    };
    first_sample.checked_add(samples)
}

/// A number coded as UTF-8 codes characters, but up to seven bytes long; and how many bytes it took.
fn coded_number(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let ones = first.leading_ones();
    let (mut number, more) = match ones {
        0 => (u64::from(first), 0),
        2..=7 => (u64::from(first) & (0x7F >> ones), ones as usize - 1),
        _ => return None,
    };
    for byte in bytes.get(1..)?.get(..more)? {
        if byte & 0xC0 != 0x80 {
            return None;
        }
        number = number << 6 | u64::from(byte & 0x3F);
    }
    Some((number, more + 1))
}

/// The checksum of frame headers: polynomial x⁸ + x² + x + 1.
fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| {
            if crc & 0x80 != 0 {
                crc << 1 ^ 0x07
            } else {
                crc << 1
            }
        })
    })
}

/// The checksum of frames: polynomial x¹⁶ + x¹⁵ + x² + 1.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            if crc & 0x8000 != 0 {
                crc << 1 ^ 0x8005
            } else {
                crc << 1
            }
        })
    })
}
