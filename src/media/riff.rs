//! RIFF (WebP, WAV, AVI) and its big-endian ancestor IFF (AIFF): the length in front of the file must reach its end.
//!
//! A recorder that cannot seek back to the front leaves the length empty, and a careful one corrects it now and then while it
//! writes. So a length of zero, of the maximum, or of less than the file proves nothing.

use std::io::{self, Read, Seek};

use super::findings::{Findings, Wholeness, ZEROS_IN_CODED_DATA};
use super::input::Input;

/// The walk stops after this many chunks, more than any real file has.
const MOST_CHUNKS: u32 = 10_000;

/// Sound may end in silence, which is zeros: only this many zero bytes at the end raise doubt.
const LONGEST_SILENCE: u64 = 64 * 1024;

/// What writers store for a length that they do not know.
const UNKNOWN: u32 = u32::MAX;

pub(super) fn walk<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Findings> {
    let Some([m0, m1, m2, m3, l0, l1, l2, l3, form @ ..]) = input.take::<12>()? else {
        return Ok(Findings::partial("the header is cut short"));
    };
    let number = if [m0, m1, m2, m3] == *b"FORM" {
        u32::from_be_bytes
    } else {
        u32::from_le_bytes
    };
    let length = number([l0, l1, l2, l3]);
    let chunks = read_chunks(input, number)?;
    let end = u64::from(length).saturating_add(8);
    let file = input.length();
    let doubtful_zeros = match &form {
        b"WEBP" | b"AVI " => ZEROS_IN_CODED_DATA,
        _ => LONGEST_SILENCE,
    };
    let wholeness = if length == 0 || length == UNKNOWN || chunks.open_ended {
        Wholeness::Unknowable
    } else if &form == b"AVI " && end < file {
        follow_avi(input, end)?
    } else if end > file {
        Wholeness::partial(format!(
            "the header promises {end} bytes, and there are {file}"
        ))
    } else if file > end.saturating_add(end & 1) {
        Wholeness::Unknowable
    } else if !chunks.content {
        Wholeness::partial("there is a header, and no content")
    } else if input.ends_in_zeros(chunks.first_at, doubtful_zeros)? {
        Wholeness::Unknowable
    } else {
        Wholeness::Whole
    };
    Ok(Findings {
        wholeness,
        seconds: chunks.seconds(),
        dimensions: chunks.dimensions,
        format: None,
    })
}

#[derive(Default)]
struct Chunks {
    /// Where the first chunk's content begins.
    first_at: u64,
    /// Whether a chunk with picture or sound data was seen.
    content: bool,
    /// Whether the length of the data chunk means "not known yet".
    open_ended: bool,
    bytes_per_second: Option<u32>,
    data_bytes: Option<u32>,
    dimensions: Option<(u32, u32)>,
}

impl Chunks {
    fn seconds(&self) -> Option<f64> {
        let rate = self.bytes_per_second.filter(|rate| *rate > 0)?;
        let bytes = self.data_bytes.filter(|_| !self.open_ended)?;
        Some(f64::from(bytes) / f64::from(rate))
    }
}

fn read_chunks<R: Read + Seek>(
    input: &mut Input<R>,
    number: fn([u8; 4]) -> u32,
) -> io::Result<Chunks> {
    let mut chunks = Chunks {
        first_at: 20,
        ..Chunks::default()
    };
    for _ in 0..MOST_CHUNKS {
        let Some([n0, n1, n2, n3, l0, l1, l2, l3]) = input.take()? else {
            break;
        };
        let length = number([l0, l1, l2, l3]);
        let start = input.position();
        match &[n0, n1, n2, n3] {
            b"fmt " => {
                // Format tag, channels, samples per second, then bytes per second.
                if let Some([_, _, _, _, _, _, _, _, rate @ ..]) = input.take::<12>()? {
                    chunks.bytes_per_second = Some(number(rate));
                }
            }
            b"data" => {
                chunks.content = true;
                chunks.data_bytes = Some(length);
                chunks.open_ended = length == 0 || length == UNKNOWN;
            }
            b"VP8X" => {
                if let Some([_, _, _, _, w0, w1, w2, h0, h1, h2]) = input.take()? {
                    let less_one = |low, middle, high| u32::from_le_bytes([low, middle, high, 0]);
                    chunks.dimensions = Some((
                        less_one(w0, w1, w2).saturating_add(1),
                        less_one(h0, h1, h2).saturating_add(1),
                    ));
                }
            }
            b"VP8 " => {
                chunks.content = true;
                // Frame tag, start code, then 14 bits of width and of height, each with two bits of scale.
                if let Some([_, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1]) = input.take()? {
                    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
                    chunks.dimensions = chunks.dimensions.or(Some((side(w0, w1), side(h0, h1))));
                }
            }
            b"VP8L" => {
                chunks.content = true;
                if let Some([0x2F, bits @ ..]) = input.take::<5>()? {
                    let bits = u32::from_le_bytes(bits);
                    let side = |bits: u32| (bits & 0x3FFF).saturating_add(1);
                    chunks.dimensions = chunks.dimensions.or(Some((side(bits), side(bits >> 14))));
                }
            }
            b"ANMF" | b"SSND" => chunks.content = true,
            b"LIST" => chunks.content |= input.take()? == Some(*b"movi"),
            _ => {}
        }
        input.go_to(start)?;
        let padded = u64::from(length).saturating_add(u64::from(length & 1));
        if !input.skip(padded)? {
            break;
        }
    }
    Ok(chunks)
}

/// AVI files beyond 1 GB are several RIFF parts, one after the other.
fn follow_avi<R: Read + Seek>(input: &mut Input<R>, mut end: u64) -> io::Result<Wholeness> {
    for _ in 0..MOST_CHUNKS {
        if end == input.length() {
            return Ok(Wholeness::Whole);
        }
        input.go_to(end)?;
        match input.take()? {
            Some([b'R', b'I', b'F', b'F', l0, l1, l2, l3]) => {
                let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
                end = end.saturating_add(8).saturating_add(length);
            }
            Some(_) => return Ok(Wholeness::Unknowable),
            None => return Ok(Wholeness::partial("the last part of the AVI is cut short")),
        }
    }
    Ok(Wholeness::Unknowable)
}
