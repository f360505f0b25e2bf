//! MP4, QuickTime, M4A, HEIC and AVIF: boxes that must add up to the file's length.
//!
//! A box has its own length, so a film of many gigabytes takes a few dozen reads. The boxes add up in a whole file,
//! and in two others: one whose writer reserved the space before filling it, which shows as zeros at the end, and a
//! fragmented film that was cut between two fragments, which only its final index (`mfra`) rules out.

use std::io::{self, Read, Seek};

use super::findings::{Findings, Wholeness, ZEROS_IN_CODED_DATA};
use super::format::Format;
use super::input::Input;

/// The walk stops after this many boxes. A fragmented film of ten hours has about 40,000.
const MOST_BOXES: u32 = 200_000;

/// Boxes within one box. Films have a handful of tracks.
const MOST_CHILDREN: u32 = 1_000;

struct Header {
    name: [u8; 4],
    /// Where the content begins.
    start: u64,
    /// Where the next box begins; `None`: the box continues to the end of the file, wherever that will be.
    end: Option<u64>,
}

enum Step {
    Box(Header),
    /// Fewer bytes are left than a header takes.
    Short,
    /// These bytes are not a header.
    Nonsense,
}

fn read_header<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Step> {
    let at = input.position();
    let Some([s0, s1, s2, s3, name @ ..]) = input.take::<8>()? else {
        return Ok(Step::Short);
    };
    // Names are printable ASCII, or begin with the copyright sign of old Macs.
    if !name.iter().all(|byte| matches!(byte, 0x20..=0x7E | 0xA9)) {
        return Ok(Step::Nonsense);
    }
    let size = match u32::from_be_bytes([s0, s1, s2, s3]) {
        0 => {
            return Ok(Step::Box(Header {
                name,
                start: input.position(),
                end: None,
            }));
        }
        1 => match input.take()? {
            Some(bytes) => u64::from_be_bytes(bytes),
            None => return Ok(Step::Short),
        },
        size => u64::from(size),
    };
    let start = input.position();
    match at.checked_add(size) {
        Some(end) if end >= start => Ok(Step::Box(Header {
            name,
            start,
            end: Some(end),
        })),
        Some(_) | None => Ok(Step::Nonsense),
    }
}

/// What the boxes of the top level are.
#[derive(Default)]
struct Outline {
    /// `moov` in films, `meta` in pictures: content from and to.
    index: Option<(u64, u64)>,
    data: bool,
    fragments: bool,
    /// Whether the last box is `mfra`, the index that ends a fragmented film.
    final_index: bool,
    /// Where the content of the last box begins.
    last_start: u64,
    /// Whether a box continues to the end of the file, wherever that will be.
    open_ended: bool,
    /// What does not add up.
    fault: Option<Wholeness>,
}

fn read_outline<R: Read + Seek>(input: &mut Input<R>, index: [u8; 4]) -> io::Result<Outline> {
    let file = input.length();
    let mut outline = Outline::default();
    input.go_to(0)?;
    for _ in 0..MOST_BOXES {
        let at = input.position();
        if at == file {
            return Ok(outline);
        }
        let header = match read_header(input)? {
            Step::Box(header) => header,
            Step::Short => {
                outline.fault = Some(Wholeness::partial("the last box is cut short"));
                return Ok(outline);
            }
            Step::Nonsense => {
                outline.fault = Some(Wholeness::partial(format!(
                    "the boxes break off at byte {at}"
                )));
                return Ok(outline);
            }
        };
        let end = header.end.unwrap_or(file);
        outline.last_start = header.start;
        outline.final_index = header.name == *b"mfra";
        match &header.name {
            b"mdat" => outline.data = true,
            b"moof" => outline.fragments = true,
            name if *name == index => outline.index = Some((header.start, end)),
            _ => {}
        }
        if end > file {
            let name = String::from_utf8_lossy(&header.name).into_owned();
            outline.fault = Some(Wholeness::partial(format!(
                "the {name} box reaches to byte {end}, and there are {file}"
            )));
            return Ok(outline);
        }
        if header.end.is_none() {
            outline.open_ended = true;
            return Ok(outline);
        }
        input.go_to(end)?;
    }
    outline.fault = Some(Wholeness::Unknowable);
    Ok(outline)
}

/// Films and sound: an index (`moov`) and data (`mdat`). An MP4 whose tracks are all sound turns out to be M4A.
pub(super) fn walk_film<R: Read + Seek>(
    input: &mut Input<R>,
    sniffed: Format,
) -> io::Result<Findings> {
    let outline = read_outline(input, *b"moov")?;
    let index = match outline.index {
        Some((from, to)) => read_index(input, from, to)?,
        None => Index::default(),
    };
    let wholeness = if let Some(fault) = outline.fault {
        fault
    } else if outline.index.is_none() {
        Wholeness::partial("the film's index (moov) is missing; it is often written last")
    } else if !outline.data {
        Wholeness::partial("the film's data (mdat) is missing")
    } else if outline.open_ended
        || (outline.fragments && !outline.final_index)
        || input.ends_in_zeros(outline.last_start, ZEROS_IN_CODED_DATA)?
    {
        Wholeness::Unknowable
    } else {
        Wholeness::Whole
    };
    Ok(Findings {
        wholeness,
        seconds: index.seconds,
        dimensions: index.dimensions,
        format: (sniffed == Format::Mp4 && index.sound && !index.pictures).then_some(Format::M4a),
    })
}

/// Still pictures: an index (`meta`) and data (`mdat`).
pub(super) fn walk_picture<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Findings> {
    let outline = read_outline(input, *b"meta")?;
    Ok(Findings::new(if let Some(fault) = outline.fault {
        fault
    } else if outline.index.is_none() {
        Wholeness::partial("the picture's index (meta) is missing")
    } else if !outline.data
        || outline.open_ended
        || input.ends_in_zeros(outline.last_start, ZEROS_IN_CODED_DATA)?
    {
        Wholeness::Unknowable
    } else {
        Wholeness::Whole
    }))
}

/// What the index says about the film.
#[derive(Default)]
struct Index {
    seconds: Option<f64>,
    dimensions: Option<(u32, u32)>,
    pictures: bool,
    sound: bool,
}

fn read_index<R: Read + Seek>(input: &mut Input<R>, from: u64, to: u64) -> io::Result<Index> {
    let mut index = Index::default();
    for (name, start, end) in children(input, from, to)? {
        match &name {
            b"mvhd" => index.seconds = film_seconds(input, start)?,
            b"trak" => read_track(input, start, end, &mut index)?,
            _ => {}
        }
    }
    Ok(index)
}

fn read_track<R: Read + Seek>(
    input: &mut Input<R>,
    from: u64,
    to: u64,
    index: &mut Index,
) -> io::Result<()> {
    let mut size = None;
    for (name, start, end) in children(input, from, to)? {
        match &name {
            b"tkhd" => size = track_dimensions(input, end)?,
            b"mdia" => {
                for (name, start, _) in children(input, start, end)? {
                    if name != *b"hdlr" {
                        continue;
                    }
                    input.go_to(start)?;
                    // Version and flags, the handler's class, then its type.
                    match input.take::<12>()? {
                        Some([.., b'v', b'i', b'd', b'e']) => {
                            index.pictures = true;
                            index.dimensions = index.dimensions.or(size);
                        }
                        Some([.., b's', b'o', b'u', b'n']) => index.sound = true,
                        Some(_) | None => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The boxes within a box: name, and content from and to. Those that do not fit are left out.
fn children<R: Read + Seek>(
    input: &mut Input<R>,
    from: u64,
    to: u64,
) -> io::Result<Vec<([u8; 4], u64, u64)>> {
    let mut found = Vec::new();
    let mut at = from;
    for _ in 0..MOST_CHILDREN {
        if at >= to {
            break;
        }
        input.go_to(at)?;
        let Step::Box(header) = read_header(input)? else {
            break;
        };
        let end = header.end.unwrap_or(to);
        if end > to {
            break;
        }
        found.push((header.name, header.start, end));
        at = end;
    }
    Ok(found)
}

/// `mvhd`: units per second, and how many of them the film lasts.
fn film_seconds<R: Read + Seek>(input: &mut Input<R>, start: u64) -> io::Result<Option<f64>> {
    input.go_to(start)?;
    let Some([version, _, _, _]) = input.take()? else {
        return Ok(None);
    };
    let (scale, units) = if version == 1 {
        input.skip(16)?;
        let Some([s0, s1, s2, s3, units @ ..]) = input.take::<12>()? else {
            return Ok(None);
        };
        (
            u32::from_be_bytes([s0, s1, s2, s3]),
            Some(u64::from_be_bytes(units)).filter(|units| *units != u64::MAX),
        )
    } else {
        input.skip(8)?;
        let Some([s0, s1, s2, s3, units @ ..]) = input.take::<8>()? else {
            return Ok(None);
        };
        let units = Some(u32::from_be_bytes(units)).filter(|units| *units != u32::MAX);
        (u32::from_be_bytes([s0, s1, s2, s3]), units.map(u64::from))
    };
    // Fragmented films have zero here: their index does not know.
    let units = units.filter(|units| *units > 0 && scale > 0);
    Ok(units.map(|units| units as f64 / f64::from(scale)))
}

/// `tkhd` ends with width and height, each with 16 bits before the point and 16 after.
fn track_dimensions<R: Read + Seek>(
    input: &mut Input<R>,
    end: u64,
) -> io::Result<Option<(u32, u32)>> {
    input.go_to(end.saturating_sub(8))?;
    Ok(input.take()?.map(|[w0, w1, _, _, h0, h1, _, _]| {
        (
            u32::from(u16::from_be_bytes([w0, w1])),
            u32::from(u16::from_be_bytes([h0, h1])),
        )
    }))
}
