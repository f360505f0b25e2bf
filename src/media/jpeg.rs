//! JPEG: markers from start to end.
//!
//! Segments with a length are stepped over, so a thumbnail's end marker within EXIF data does not count; coded data is
//! scanned, where a marker cannot occur by chance (every `FF` in it is followed by `00` or a restart number). A file is
//! whole when an end marker follows at least one scan. What comes after it does not matter: phones put further pictures
//! and films there.

use std::io::{self, Read, Seek};

use super::findings::{Findings, Wholeness};
use super::input::Input;

const START_OF_IMAGE: u8 = 0xD8;
const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;

pub(super) fn walk<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Findings> {
    let mut found = Findings::partial("the JPEG end marker is missing");
    let mut scans = 0_u32;
    while let Some(marker) = next_marker(input)? {
        match marker {
            START_OF_IMAGE => {}
            END_OF_IMAGE => {
                found.wholeness = if scans > 0 {
                    Wholeness::Whole
                } else {
                    Wholeness::partial("the JPEG ends before any picture data")
                };
                return Ok(found);
            }
            _ => {
                let Some(body) = segment_body(input)? else {
                    break;
                };
                let start = input.position();
                if is_frame_header(marker) {
                    found.dimensions = frame_dimensions(input)?;
                    input.go_to(start)?;
                }
                if !input.skip(body)? {
                    break;
                }
                if marker == START_OF_SCAN {
                    scans = scans.saturating_add(1);
                }
            }
        }
    }
    Ok(found)
}

/// The next marker that is not part of coded data. Bytes that belong to nothing are passed over, as decoders do.
fn next_marker<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Option<u8>> {
    loop {
        if input.find(|byte| byte == 0xFF)?.is_none() {
            return Ok(None);
        }
        // Any number of FF may stand before a marker's own byte.
        let Some(marker) = input.find(|byte| byte != 0xFF)? else {
            return Ok(None);
        };
        match marker {
            // A stuffed FF within coded data, markers without content, and bytes below any marker.
            0x00..=0xBF | 0xD0..=0xD7 => {}
            _ => return Ok(Some(marker)),
        }
    }
}

/// How many bytes follow the length field, or `None` when the file ends first or the length is impossible.
fn segment_body<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Option<u64>> {
    Ok(input
        .be_u16()?
        .and_then(|length| length.checked_sub(2))
        .map(u64::from))
}

/// SOF0 to SOF15, without the three other markers in that range.
fn is_frame_header(marker: u8) -> bool {
    matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC)
}

fn frame_dimensions<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Option<(u32, u32)>> {
    Ok(input.take()?.map(|[_precision, h0, h1, w0, w1]| {
        (
            u32::from(u16::from_be_bytes([w0, w1])),
            u32::from(u16::from_be_bytes([h0, h1])),
        )
    }))
}
