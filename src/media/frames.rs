//! MP3 and AAC (ADTS): frames, one after the other, up to the exact end.
//!
//! Neither has a length in front. Most MP3 files begin with a frame that holds no sound but a count of all frames (the
//! "Xing" or "Info" header); then fewer frames than that are proof of a missing end. Without it a file that ends with a
//! frame is taken as whole: a file cut exactly between two frames is a shorter sound and cannot be told from one. Tags
//! (ID3, APE) at the start and the end are skipped. AAC streams have no such count at all, and are never proven whole.

use std::io::{self, Read, Seek};

use super::findings::{Findings, Wholeness};
use super::format::Format;
use super::input::Input;

/// One frame's header.
#[derive(Clone, Copy, PartialEq)]
struct Frame {
    format: Format,
    /// With the header.
    bytes: u64,
    samples: u32,
    samples_per_second: u32,
    /// Where, after the header, a frame with a count has it.
    count_at: usize,
}

impl Frame {
    fn parse(header: [u8; 7]) -> Option<Frame> {
        let [0xFF, second, ..] = header else {
            return None;
        };
        match second {
            // Twelve bits of sync and a layer of 0 are AAC.
            _ if second & 0xF6 == 0xF0 => Frame::parse_aac(header),
            _ if second & 0xE0 == 0xE0 => Frame::parse_mpeg(header),
            _ => None,
        }
    }

    /// MPEG audio of layer I, II or III (ISO 11172-3, 13818-3).
    fn parse_mpeg([_, second, third, fourth, ..]: [u8; 7]) -> Option<Frame> {
        let first_version = match second >> 3 & 3 {
            3 => true,
            0 | 2 => false,
            _ => return None,
        };
        let layer = match second >> 1 & 3 {
            3 => 1_u8,
            2 => 2,
            1 => 3,
            _ => return None,
        };
        let kilobits: [u32; 14] = match (first_version, layer) {
            (true, 1) => [
                32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448,
            ],
            (true, 2) => [
                32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384,
            ],
            (true, _) => [
                32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
            ],
            (false, 1) => [
                32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256,
            ],
            (false, _) => [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
        };
        // 0 is "free": its length would have to be searched for. 15 is forbidden.
        let bits = kilobits
            .get(usize::from(third >> 4).checked_sub(1)?)?
            .checked_mul(1000)?;
        let divisor = match second >> 3 & 3 {
            3 => 1,
            2 => 2,
            _ => 4,
        };
        let samples_per_second =
            [44_100_u32, 48_000, 32_000].get(usize::from(third >> 2 & 3))? / divisor;
        let samples = match (layer, first_version) {
            (1, _) => 384,
            (2, _) | (_, true) => 1152,
            (_, false) => 576,
        };
        let padding = u32::from(third >> 1 & 1);
        let bytes = if layer == 1 {
            (12 * bits / samples_per_second + padding) * 4
        } else {
            samples / 8 * bits / samples_per_second + padding
        };
        let mono = fourth >> 6 == 3;
        let count_at = match (first_version, mono) {
            (true, false) => 32,
            (true, true) | (false, false) => 17,
            (false, true) => 9,
        };
        Some(Frame {
            format: Format::Mp3,
            bytes: bytes.into(),
            samples,
            samples_per_second,
            count_at,
        })
    }

    /// AAC in ADTS (ISO 13818-7).
    fn parse_aac([_, _, third, fourth, fifth, sixth, seventh]: [u8; 7]) -> Option<Frame> {
        const RATES: [u32; 13] = [
            96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
            8_000, 7_350,
        ];
        let samples_per_second = *RATES.get(usize::from(third >> 2 & 15))?;
        let bytes = u64::from(fourth & 3) << 11 | u64::from(fifth) << 3 | u64::from(sixth >> 5);
        let blocks = u32::from(seventh & 3) + 1;
        (bytes >= 7).then_some(Frame {
            format: Format::Aac,
            bytes,
            samples: 1024 * blocks,
            samples_per_second,
            count_at: 0,
        })
    }

    /// Frames of one stream differ in length, not in what they are.
    fn continues(&self, previous: &Frame) -> bool {
        self.format == previous.format && self.samples_per_second == previous.samples_per_second
    }
}

/// Recognizes frames without a tag by two in a row that match.
pub(super) fn sniff(head: &[u8]) -> Option<Format> {
    let first = Frame::parse(*head.first_chunk()?)?;
    let second = Frame::parse(
        *head
            .get(usize::try_from(first.bytes).ok()?..)?
            .first_chunk()?,
    )?;
    second.continues(&first).then_some(first.format)
}

/// The length in bytes of an ID3v2 tag with this header, header and footer included.
pub(super) fn id3v2_length(header: [u8; 10]) -> Option<u64> {
    let [b'I', b'D', b'3', _, _, flags, s0, s1, s2, s3] = header else {
        return None;
    };
    let size = [s0, s1, s2, s3].iter().try_fold(0_u64, |size, byte| {
        (*byte < 0x80).then(|| size << 7 | u64::from(*byte))
    })?;
    let footer = if flags & 0x10 != 0 { 10 } else { 0 };
    Some(size + 10 + footer)
}

pub(super) fn walk_mp3<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Findings> {
    let stream = match walk_frames(input)? {
        Ok(stream) => stream,
        Err(wholeness) => return Ok(Findings::new(wholeness)),
    };
    let seconds = stream.seconds();
    let frames = stream.frames;
    Ok(match (stream.end, stream.count) {
        (Wholeness::Whole, Some(count)) if frames < u64::from(count) => {
            Findings::partial(format!("the MP3 has {frames} of its {count} frames"))
        }
        // Without a count and without a tag after the frames, more frames may still follow.
        (Wholeness::Whole, None) if !stream.is_closed => Findings {
            seconds,
            ..Findings::new(Wholeness::Unknowable)
        },
        (Wholeness::Whole, Some(_) | None) => Findings {
            seconds,
            ..Findings::new(Wholeness::Whole)
        },
        (end @ (Wholeness::Partial { .. } | Wholeness::Unknowable), _) => Findings::new(end),
    })
}

pub(super) fn walk_aac<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Findings> {
    let stream = match walk_frames(input)? {
        Ok(stream) => stream,
        Err(wholeness) => return Ok(Findings::new(wholeness)),
    };
    let seconds = stream.seconds();
    Ok(match stream.end {
        Wholeness::Whole => Findings {
            seconds,
            ..Findings::new(Wholeness::Unknowable)
        },
        end @ (Wholeness::Partial { .. } | Wholeness::Unknowable) => Findings::new(end),
    })
}

struct Stream {
    /// Frames that hold sound.
    frames: u64,
    samples: u64,
    samples_per_second: u32,
    /// How many frames there should be, where the file says so.
    count: Option<u32>,
    /// Whether the frames and tags reach the exact end.
    end: Wholeness,
    /// Whether something follows the frames, such as a tag.
    is_closed: bool,
}

impl Stream {
    fn seconds(&self) -> Option<f64> {
        (self.samples_per_second > 0)
            .then(|| self.samples as f64 / f64::from(self.samples_per_second))
    }
}

/// Walks over all frames. `Err`: there is no first one.
fn walk_frames<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Result<Stream, Wholeness>> {
    skip_leading_tags(input)?;
    let Some(first) = peek_frame(input)? else {
        // An unusual kind of frame, or a tag and nothing after it.
        let nothing = input.position() >= input.length()
            || input.ends_in_zeros(input.position(), u64::MAX)?;
        return Ok(Err(if nothing {
            Wholeness::partial("there are no sound frames yet")
        } else {
            Wholeness::Unknowable
        }));
    };
    let mut stream = Stream {
        frames: 0,
        samples: 0,
        samples_per_second: first.samples_per_second,
        count: read_count(input, &first)?,
        end: Wholeness::Unknowable,
        is_closed: false,
    };
    let mut holds_sound = stream.count.is_none();
    while let Some(frame) = peek_frame(input)?.filter(|frame| frame.continues(&first)) {
        if !input.skip(frame.bytes)? {
            stream.end = Wholeness::partial("the last frame is cut short");
            return Ok(Ok(stream));
        }
        if holds_sound {
            stream.frames += 1;
            stream.samples = stream.samples.saturating_add(frame.samples.into());
        }
        holds_sound = true;
    }
    stream.is_closed = input.position() < input.length();
    stream.end = read_end(input)?;
    Ok(Ok(stream))
}

fn skip_leading_tags<R: Read + Seek>(input: &mut Input<R>) -> io::Result<()> {
    // Some files have two tags; none has more than a few.
    for _ in 0..8 {
        let start = input.position();
        match input.take()?.and_then(id3v2_length) {
            Some(length) => input.go_to(start.saturating_add(length).min(input.length()))?,
            None => {
                input.go_to(start)?;
                break;
            }
        }
    }
    Ok(())
}

/// Reads the frame header at this position without moving on.
fn peek_frame<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Option<Frame>> {
    let start = input.position();
    let frame = input.take()?.and_then(Frame::parse);
    input.go_to(start)?;
    Ok(frame)
}

/// The number of frames that follow, as the first frame may say.
fn read_count<R: Read + Seek>(input: &mut Input<R>, first: &Frame) -> io::Result<Option<u32>> {
    if first.format != Format::Mp3 {
        return Ok(None);
    }
    let start = input.position();
    let bytes = input.take_up_to(64)?;
    input.go_to(start)?;
    let Some(header) = bytes
        .get(4 + first.count_at..)
        .and_then(<[u8]>::first_chunk::<12>)
    else {
        return Ok(None);
    };
    Ok(match header {
        // The last bit of the flags says that the number is there.
        [b'X', b'i', b'n', b'g', _, _, _, flags, n0, n1, n2, n3]
        | [b'I', b'n', b'f', b'o', _, _, _, flags, n0, n1, n2, n3]
            if flags & 1 == 1 =>
        {
            Some(u32::from_be_bytes([*n0, *n1, *n2, *n3]))
        }
        _ => None,
    })
}

/// Judges what follows the last frame: nothing, tags, the beginning of a frame, zeros, or something unknown.
fn read_end<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Wholeness> {
    let start = input.position();
    let left = input.length().saturating_sub(start);
    if left == 0 {
        return Ok(Wholeness::Whole);
    }
    let tag = input.take_up_to(32)?;
    if tag.starts_with(b"TAG") {
        return Ok(if left == 128 {
            Wholeness::Whole
        } else if left < 128 {
            Wholeness::partial("the tag at the end is cut short")
        } else {
            Wholeness::Unknowable
        });
    }
    if let [
        b'A',
        b'P',
        b'E',
        b'T',
        b'A',
        b'G',
        b'E',
        b'X',
        _,
        _,
        _,
        _,
        s0,
        s1,
        s2,
        s3,
        ..,
    ] = *tag.as_slice()
    {
        // The length is that of all but this header.
        let end = u64::from(u32::from_le_bytes([s0, s1, s2, s3])).saturating_add(32);
        return Ok(if left < end {
            Wholeness::partial("the tag at the end is cut short")
        } else if left == end || left == end.saturating_add(128) {
            Wholeness::Whole
        } else {
            Wholeness::Unknowable
        });
    }
    // Fewer bytes than a header takes, and they look like one; or the beginning of a tag.
    let cut = left < 7 && tag.first() == Some(&0xFF)
        || b"TAG".starts_with(&tag)
        || b"APETAGEX".starts_with(&tag);
    Ok(if cut || input.ends_in_zeros(start, u64::MAX)? {
        Wholeness::partial("the last frame is cut short")
    } else {
        Wholeness::Unknowable
    })
}
