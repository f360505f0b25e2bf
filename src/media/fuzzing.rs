//! What holds for any file. See [`crate::fuzzing`].

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use super::{Format, Probe, Wholeness, probe, refusal};

/// Whatever the bytes claim: the answer is the same twice, little is read, and a file that lacks its end is not called
/// whole where its format can tell.
///
/// # Panics
/// Where that does not hold.
pub fn media(bytes: &[u8]) {
    let found = look(bytes);
    assert_eq!(found, look(bytes), "the same bytes are two things");
    assert_eq!(found.bytes, bytes.len() as u64);
    assert!(found.format.is_some() || found.wholeness == Wholeness::Unknowable);
    assert!(
        found
            .seconds
            .is_none_or(|seconds| seconds.is_finite() && seconds >= 0.0)
    );
    if let Some(why) = refusal(&found, "a") {
        assert!(!why.is_empty());
    }
    // Cuts of all sizes, the same ones for the same bytes.
    let length = bytes.len();
    let somewhere = bytes.iter().fold(length, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    for less in [1, 2, 7, length / 2, somewhere % length.max(1)] {
        if let Some(cut) = length
            .checked_sub(less)
            .filter(|_| less > 0)
            .and_then(|left| bytes.get(..left))
        {
            cut_short(&found, bytes, &look(cut));
        }
    }
}

/// What a cut at the end may change.
fn cut_short(whole: &Probe, bytes: &[u8], cut: &Probe) {
    if cut.wholeness != Wholeness::Whole {
        return;
    }
    let lost = whole.bytes.saturating_sub(cut.bytes);
    let Some(format) = cut.format else {
        panic!("whole, and nobody knows what");
    };
    match format {
        // These say themselves where they end, and what follows is nobody's: so with more behind it the file is no less
        // whole. In other words, a file that lacks its end has no part that is whole.
        Format::Jpeg | Format::Png | Format::Gif => {
            assert_eq!(
                (whole.format, &whole.wholeness, whole.dimensions),
                (cut.format, &cut.wholeness, cut.dimensions),
                "bytes behind the end change what is before it"
            );
        }
        // The length in front must be that of the file, but for one byte that makes it even.
        Format::Webp | Format::Wav | Format::Aiff => assert!(
            whole.wholeness != Wholeness::Whole || lost <= 1,
            "whole with and without its last {lost} bytes"
        ),
        Format::Webm | Format::Matroska => assert!(
            whole.wholeness != Wholeness::Whole,
            "whole with and without its last {lost} bytes"
        ),
        // Made of parts; a cut between two of them cannot always be told, but one within the last part can. No box is
        // shorter than 8 bytes, no page of Ogg than 27.
        Format::Mp4
        | Format::Mov
        | Format::M4a
        | Format::Heic
        | Format::Avif
        | Format::Ogv
        | Format::Ogg => assert!(
            whole.wholeness != Wholeness::Whole || whole.format != cut.format || lost >= 8,
            "whole with and without its last {lost} bytes: {:02x?}",
            bytes.get(bytes.len().saturating_sub(16)..)
        ),
        // Parts of these may be as short as a cut (AVI), or are told by checksums of 16 bits that fuzzers guess (FLAC).
        // Frames of MP3 are never shorter than 24 bytes, but tags and frames behind each other are told by what is there.
        Format::Avi | Format::Flac | Format::Mp3 => {}
        other => panic!("nothing proves that {} is whole", other.name()),
    }
}

fn look(bytes: &[u8]) -> Probe {
    let mut reader = Counting {
        bytes: Cursor::new(bytes),
        read: 0,
    };
    let found = match probe(&mut reader) {
        Ok(found) => found,
        Err(error) => panic!("{error}"),
    };
    // Most is read once; indices are visited again, each time with a buffer around them.
    let bound = (bytes.len() as u64)
        .saturating_mul(32)
        .saturating_add(1 << 20);
    assert!(
        reader.read <= bound,
        "{} bytes read of {}",
        reader.read,
        bytes.len()
    );
    found
}

/// A file that counts what is read of it.
struct Counting<'a> {
    bytes: Cursor<&'a [u8]>,
    read: u64,
}

impl Read for Counting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.read = self.read.saturating_add(read as u64);
        Ok(read)
    }
}

impl Seek for Counting<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}
