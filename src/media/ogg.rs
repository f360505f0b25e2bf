//! Ogg: the last page must end where the file ends, be undamaged, and say that its stream ends with it.
//!
//! Pages are found from the end backwards, since walking all of a long film would be slow.

use std::io::{self, Read, Seek};

use super::findings::{Findings, Wholeness};
use super::input::Input;

/// A page is at most 27 bytes of header, 255 of lengths and 255 times 255 of content.
const LONGEST_PAGE: usize = 27 + 255 + 255 * 255;

/// In a page's flags: this stream ends here.
const LAST_PAGE: u8 = 4;

pub(super) fn walk<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Findings> {
    let tail_at = input.length().saturating_sub(LONGEST_PAGE as u64);
    input.go_to(tail_at)?;
    let tail = input.take_up_to(LONGEST_PAGE)?;
    let last = (0..tail.len())
        .rev()
        .filter_map(|at| tail.get(at..))
        .find(|page| page.starts_with(b"OggS\0"));
    Ok(Findings::new(match last {
        Some(page) if page_length(page) == Some(page.len()) && checksum_holds(page) => {
            if page.get(5).is_some_and(|flags| flags & LAST_PAGE != 0) {
                Wholeness::Whole
            } else {
                // Cut between two pages, or recorded by something that does not mark the end.
                Wholeness::Unknowable
            }
        }
        Some(_) | None => Wholeness::partial("the last Ogg page is cut short"),
    }))
}

fn page_length(page: &[u8]) -> Option<usize> {
    let segments = usize::from(*page.get(26)?);
    let lengths = page.get(27..)?.get(..segments)?;
    let content: usize = lengths.iter().map(|length| usize::from(*length)).sum();
    Some(content + segments + 27)
}

/// Whether the checksum in the page's header, bytes 22 to 25, is that of the page with zeros in its place.
fn checksum_holds(page: &[u8]) -> bool {
    let Some((front, checksum, rest)) = page.split_at_checked(22).and_then(|(front, rest)| {
        rest.split_first_chunk()
            .map(|(sum, rest)| (front, sum, rest))
    }) else {
        return false;
    };
    let covered = front.iter().chain(&[0; 4]).chain(rest);
    let found = covered.fold(0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            if crc & 0x8000_0000 != 0 {
                crc << 1 ^ 0x04C1_1DB7
            } else {
                crc << 1
            }
        })
    });
    found == u32::from_le_bytes(*checksum)
}
