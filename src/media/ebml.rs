//! WebM and Matroska: the segment's length must reach the file's end.
//!
//! Live recorders, and every writer until it is done, leave the length open: then nothing can be proven.

use std::io::{self, Read, Seek};

use super::findings::{Findings, Wholeness, ZEROS_IN_CODED_DATA};
use super::input::Input;

const HEADER: u64 = 0x1A45_DFA3;
const SEGMENT: u64 = 0x1853_8067;
const CLUSTER: u64 = 0x1F43_B675;
const INFO: u64 = 0x1549_A966;
const TIMESTAMP_SCALE: u64 = 0x2A_D7B1;
const DURATION: u64 = 0x4489;
const TRACKS: u64 = 0x1654_AE6B;
const TRACK: u64 = 0xAE;
const VIDEO: u64 = 0xE0;
const PIXEL_WIDTH: u64 = 0xB0;
const PIXEL_HEIGHT: u64 = 0xBA;

/// The most elements within one element; more than any real file has before its first cluster.
const MOST_CHILDREN: u32 = 1_000;

/// Nanoseconds in a unit of time where the file does not say otherwise.
const USUAL_SCALE: u64 = 1_000_000;

struct Element {
    id: u64,
    start: u64,
    /// `None`: of unknown length.
    end: Option<u64>,
}

pub(super) fn walk<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Findings> {
    let mut found = Findings::new(Wholeness::Unknowable);
    let file = input.length();
    let mut at = 0;
    for _ in 0..MOST_CHILDREN {
        if at == file {
            // Everything adds up, but it has no content.
            found.wholeness = Wholeness::partial("the segment with pictures and sound is missing");
            return Ok(found);
        }
        input.go_to(at)?;
        let Some(element) = read_element(input)? else {
            found.wholeness = Wholeness::partial("the header is cut short");
            return Ok(found);
        };
        if element.id == SEGMENT {
            let limit = element.end.unwrap_or(file).min(file);
            let clusters = read_segment(input, element.start, limit, &mut found)?;
            found.wholeness = match element.end {
                None => Wholeness::Unknowable,
                Some(end) if end > file => Wholeness::partial(format!(
                    "the segment reaches to byte {end}, and there are {file}"
                )),
                Some(end) if end < file => Wholeness::Unknowable,
                Some(_) if !clusters => Wholeness::partial("the segment has no pictures and sound"),
                Some(_) if input.ends_in_zeros(element.start, ZEROS_IN_CODED_DATA)? => {
                    Wholeness::Unknowable
                }
                Some(_) => Wholeness::Whole,
            };
            return Ok(found);
        }
        match element.end {
            Some(end) if end <= file && (element.id == HEADER || at > 0) => at = end,
            Some(_) | None => {
                found.wholeness = Wholeness::partial("the header is cut short");
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Reads what comes before the first cluster, and returns whether there is a cluster.
fn read_segment<R: Read + Seek>(
    input: &mut Input<R>,
    from: u64,
    to: u64,
    found: &mut Findings,
) -> io::Result<bool> {
    let mut at = from;
    for _ in 0..MOST_CHILDREN {
        if at >= to {
            break;
        }
        input.go_to(at)?;
        let Some(element) = read_element(input)? else {
            break;
        };
        if element.id == CLUSTER {
            return Ok(true);
        }
        let Some(end) = element.end.filter(|end| *end <= to) else {
            break;
        };
        match element.id {
            INFO => found.seconds = read_info(input, element.start, end)?,
            TRACKS => found.dimensions = read_tracks(input, element.start, end)?,
            _ => {}
        }
        at = end;
    }
    Ok(false)
}

fn read_info<R: Read + Seek>(input: &mut Input<R>, from: u64, to: u64) -> io::Result<Option<f64>> {
    let mut scale = USUAL_SCALE;
    let mut units = None;
    for element in children(input, from, to)? {
        match element {
            (TIMESTAMP_SCALE, start, end) => {
                scale = read_number(input, start, end)?.unwrap_or(scale)
            }
            (DURATION, start, end) => {
                input.go_to(start)?;
                units = match end.saturating_sub(start) {
                    4 => input
                        .take()?
                        .map(|bytes| f64::from(f32::from_be_bytes(bytes))),
                    8 => input.take()?.map(f64::from_be_bytes),
                    _ => None,
                };
            }
            _ => {}
        }
    }
    Ok(units.map(|units| units * scale as f64 / 1e9))
}

fn read_tracks<R: Read + Seek>(
    input: &mut Input<R>,
    from: u64,
    to: u64,
) -> io::Result<Option<(u32, u32)>> {
    for (id, start, end) in children(input, from, to)? {
        if id == TRACK
            && let Some(dimensions) = read_track(input, start, end)?
        {
            return Ok(Some(dimensions));
        }
    }
    Ok(None)
}

fn read_track<R: Read + Seek>(
    input: &mut Input<R>,
    from: u64,
    to: u64,
) -> io::Result<Option<(u32, u32)>> {
    let (mut width, mut height) = (None, None);
    for (id, start, end) in children(input, from, to)? {
        if id != VIDEO {
            continue;
        }
        for (id, start, end) in children(input, start, end)? {
            match id {
                PIXEL_WIDTH => width = read_number(input, start, end)?,
                PIXEL_HEIGHT => height = read_number(input, start, end)?,
                _ => {}
            }
        }
    }
    let side = |pixels: Option<u64>| pixels.and_then(|pixels| u32::try_from(pixels).ok());
    Ok(side(width).zip(side(height)))
}

/// The elements within an element: id, and content from and to. Those that do not fit are left out.
fn children<R: Read + Seek>(
    input: &mut Input<R>,
    from: u64,
    to: u64,
) -> io::Result<Vec<(u64, u64, u64)>> {
    let mut found = Vec::new();
    let mut at = from;
    for _ in 0..MOST_CHILDREN {
        if at >= to {
            break;
        }
        input.go_to(at)?;
        let Some(element) = read_element(input)? else {
            break;
        };
        let Some(end) = element.end.filter(|end| *end <= to) else {
            break;
        };
        found.push((element.id, element.start, end));
        at = end;
    }
    Ok(found)
}

/// An unsigned number of up to eight bytes.
fn read_number<R: Read + Seek>(
    input: &mut Input<R>,
    from: u64,
    to: u64,
) -> io::Result<Option<u64>> {
    input.go_to(from)?;
    let length = to.saturating_sub(from);
    if length > 8 {
        return Ok(None);
    }
    let mut number = 0_u64;
    for _ in 0..length {
        let Some(byte) = input.byte()? else {
            return Ok(None);
        };
        number = number << 8 | u64::from(byte);
    }
    Ok(Some(number))
}

fn read_element<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Option<Element>> {
    let Some(id) = read_variable(input, 4)? else {
        return Ok(None);
    };
    let Some(size) = read_variable(input, 8)? else {
        return Ok(None);
    };
    let start = input.position();
    let end = size.length().map(|length| start.saturating_add(length));
    Ok(Some(Element {
        id: id.with_marker,
        start,
        end,
    }))
}

/// A number whose first byte shows, by its leading zero bits, how many bytes follow.
struct Variable {
    with_marker: u64,
    bytes: u32,
}

impl Variable {
    /// The number as a length; all ones mean that it is unknown.
    fn length(&self) -> Option<u64> {
        // `bytes` is 1 to 8, so the mask has 7 to 56 bits.
        let mask = (1_u64 << (7 * self.bytes)) - 1;
        Some(self.with_marker & mask).filter(|length| *length != mask)
    }
}

fn read_variable<R: Read + Seek>(
    input: &mut Input<R>,
    most_bytes: u32,
) -> io::Result<Option<Variable>> {
    let Some(first) = input.byte()? else {
        return Ok(None);
    };
    let more = first.leading_zeros();
    if more >= most_bytes {
        return Ok(None);
    }
    let mut with_marker = u64::from(first);
    for _ in 0..more {
        let Some(byte) = input.byte()? else {
            return Ok(None);
        };
        with_marker = with_marker << 8 | u64::from(byte);
    }
    Ok(Some(Variable {
        with_marker,
        bytes: more + 1,
    }))
}
