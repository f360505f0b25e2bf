//! Promises about real files: each sample in `tests/media`, whole, cut, and half filled.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{self, Cursor, Read, Seek};
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/media")
            .join(name),
    )
    .unwrap()
}

fn probed(bytes: &[u8]) -> Probe {
    probe(&mut Cursor::new(bytes)).unwrap()
}

fn is_partial(wholeness: &Wholeness) -> bool {
    matches!(wholeness, Wholeness::Partial { .. })
}

/// A sample that proves its end: name, format, whether it plays for a second, whether it shows 96 × 64 pixels.
type Provable = (&'static str, Format, bool, bool);

const PROVABLE: &[Provable] = &[
    ("baseline.jpg", Format::Jpeg, false, true),
    ("progressive.jpg", Format::Jpeg, false, true),
    ("exif-thumbnail.jpg", Format::Jpeg, false, true),
    ("picture.png", Format::Png, false, true),
    ("lossy.webp", Format::Webp, false, true),
    ("lossless.webp", Format::Webp, false, true),
    ("animated.webp", Format::Webp, false, true),
    ("picture.gif", Format::Gif, false, true),
    ("picture.heic", Format::Heic, false, false),
    ("picture.avif", Format::Avif, false, false),
    ("faststart.mp4", Format::Mp4, true, true),
    ("moov-at-end.mp4", Format::Mp4, true, true),
    ("fragmented.mp4", Format::Mp4, false, true),
    ("clip.mov", Format::Mov, true, true),
    ("clip.webm", Format::Webm, true, true),
    ("clip.mkv", Format::Matroska, true, true),
    ("clip.ogv", Format::Ogv, false, false),
    ("clip.avi", Format::Avi, false, false),
    ("tone.mp3", Format::Mp3, true, false),
    ("tone.wav", Format::Wav, true, false),
    ("tone.flac", Format::Flac, true, false),
    ("tone.m4a", Format::M4a, true, false),
    ("tone.ogg", Format::Ogg, false, false),
    ("tone.aiff", Format::Aiff, false, false),
];

/// Samples without proof.
const UNPROVABLE: &[(&str, Format)] = &[
    ("live.webm", Format::Webm),
    ("tone.aac", Format::Aac),
    ("clip.mpg", Format::Mpeg),
    ("picture.tiff", Format::Tiff),
    ("picture.bmp", Format::Bmp),
    ("picture.jxl", Format::Jxl),
];

#[test]
fn a_whole_file_is_whole_and_its_facts_are_right() {
    for (name, format, plays, shows) in PROVABLE {
        let bytes = sample(name);
        let probe = probed(&bytes);
        assert_eq!(probe.format, Some(*format), "{name}");
        assert_eq!(probe.wholeness, Wholeness::Whole, "{name}");
        assert_eq!(probe.dimensions, shows.then_some((96, 64)), "{name}");
        assert_eq!(probe.bytes, bytes.len() as u64, "{name}");
        // Encoders of sound add a little silence.
        let second = probe.seconds.map(|seconds| (seconds - 1.0).abs() < 0.1);
        assert_eq!(
            second,
            plays.then_some(true),
            "{name}: {:?} s",
            probe.seconds
        );
    }
}

#[test]
fn row_03_a_file_without_proof_of_its_end_is_neither_whole_nor_partial() {
    for (name, format) in UNPROVABLE {
        let probe = probed(&sample(name));
        assert_eq!(
            (probe.format, probe.wholeness),
            (Some(*format), Wholeness::Unknowable),
            "{name}"
        );
    }
}

#[test]
fn a_file_cut_anywhere_is_never_whole() {
    for (name, ..) in PROVABLE {
        let bytes = sample(name);
        for length in 0..bytes.len() {
            let probe = probed(&bytes[..length]);
            assert_ne!(
                probe.wholeness,
                Wholeness::Whole,
                "{name} cut to {length} of {} bytes",
                bytes.len()
            );
        }
    }
    for (name, _) in UNPROVABLE {
        let bytes = sample(name);
        for length in 0..bytes.len() {
            assert_ne!(
                probed(&bytes[..length]).wholeness,
                Wholeness::Whole,
                "{name} cut to {length}"
            );
        }
    }
}

#[test]
fn row_03_a_file_cut_in_its_content_says_what_is_missing() {
    for name in [
        "baseline.jpg",
        "progressive.jpg",
        "exif-thumbnail.jpg",
        "picture.png",
        "lossy.webp",
        "animated.webp",
        "picture.gif",
        "faststart.mp4",
        "moov-at-end.mp4",
        "fragmented.mp4",
        "clip.mov",
        "clip.webm",
        "tone.mp3",
        "tone.wav",
        "tone.flac",
        "tone.m4a",
        "plain.mp3",
        "tone.aac",
        "tone.ogg",
    ] {
        let bytes = sample(name);
        for length in [bytes.len() / 2 + 1, bytes.len() * 9 / 10, bytes.len() - 1] {
            let probe = probed(&bytes[..length]);
            assert!(
                is_partial(&probe.wholeness),
                "{name} cut to {length}: {:?}",
                probe.wholeness
            );
        }
    }
}

#[test]
fn reserved_space_that_is_not_filled_yet_is_not_whole() {
    for (name, format, ..) in PROVABLE {
        let whole = sample(name);
        let length = whole.len();
        for filled in [0, 12, length / 4, length / 2, length * 3 / 4] {
            // Sound that is not coded has zeros in its silences: a few prove nothing.
            if matches!(format, Format::Wav | Format::Aiff) && filled > 12 {
                continue;
            }
            let mut bytes = whole.clone();
            bytes[filled..].fill(0);
            let wholeness = probed(&bytes).wholeness;
            assert_ne!(
                wholeness,
                Wholeness::Whole,
                "{name} filled up to {filled} of {length}"
            );
        }
    }
}

/// A WAV with this many bytes of sound, then this many of silence.
fn wav(sound: u32, silence: u32) -> Vec<u8> {
    let mut bytes =
        b"RIFF....WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data".to_vec();
    bytes[4..8].copy_from_slice(&(sound + silence + 36).to_le_bytes());
    bytes.extend_from_slice(&(sound + silence).to_le_bytes());
    bytes.resize(bytes.len() + sound as usize, 0x55);
    bytes.resize(bytes.len() + silence as usize, 0);
    bytes
}

#[test]
fn a_wav_that_ends_in_a_second_of_silence_is_whole() {
    let probe = probed(&wav(100_000, 32_000));
    assert_eq!(
        (probe.wholeness, probe.seconds),
        (Wholeness::Whole, Some(132_000.0 / 32_000.0))
    );
}

#[test]
fn a_wav_that_ends_in_many_zeros_is_unknowable() {
    assert_eq!(
        probed(&wav(100_000, 100_000)).wholeness,
        Wholeness::Unknowable
    );
}

#[test]
fn row_03_an_mp3_that_nothing_closes_may_grow_wherever_a_frame_ends() {
    let bytes = sample("plain.mp3");
    let ends: Vec<usize> = (1..=bytes.len())
        .filter(|length| !is_partial(&probed(&bytes[..*length]).wholeness))
        .filter(|length| probed(&bytes[..*length]).format == Some(Format::Mp3))
        .collect();
    assert_eq!(ends.last(), Some(&bytes.len()));
    // 32 kbit/s at 22,050 Hz: frames of 104 or 105 bytes.
    assert!(
        ends.windows(2)
            .all(|pair| (104..=105).contains(&(pair[1] - pair[0]))),
        "{ends:?}"
    );
    for end in ends {
        let mut cut = bytes[..end].to_vec();
        assert_eq!(probed(&cut).wholeness, Wholeness::Unknowable);
        // A tag is the last that is written.
        cut.extend_from_slice(b"TAG");
        cut.extend_from_slice(&[b' '; 125]);
        assert_eq!(probed(&cut).wholeness, Wholeness::Whole);
    }
}

#[test]
fn tags_behind_an_mp3_belong_to_it() {
    let mut bytes = sample("tone.mp3");
    bytes.extend_from_slice(b"APETAGEX\xD0\x07\0\0\x20\0\0\0\0\0\0\0\0\0\0\xA0\0\0\0\0\0\0\0\0");
    bytes.extend_from_slice(b"APETAGEX\xD0\x07\0\0\x20\0\0\0\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\0\0");
    assert_eq!(probed(&bytes).wholeness, Wholeness::Whole);
    bytes.extend_from_slice(b"TAG");
    bytes.extend_from_slice(&[b' '; 125]);
    assert_eq!(probed(&bytes).wholeness, Wholeness::Whole);
    assert!(is_partial(&probed(&bytes[..bytes.len() - 130]).wholeness));

    let mut bytes = sample("tone.mp3");
    bytes.extend_from_slice(b"TAG");
    bytes.extend_from_slice(&[b' '; 125]);
    assert_eq!(probed(&bytes).wholeness, Wholeness::Whole);
    assert!(is_partial(&probed(&bytes[..bytes.len() - 1]).wholeness));
}

#[test]
fn what_phones_put_behind_the_jpeg_end_marker_does_not_matter() {
    let mut bytes = sample("baseline.jpg");
    bytes.extend_from_slice(b"a film of three seconds");
    assert_eq!(probed(&bytes).wholeness, Wholeness::Whole);
}

#[test]
fn a_jpeg_says_in_words_that_its_end_is_missing() {
    let bytes = sample("exif-thumbnail.jpg");
    let Wholeness::Partial { missing } = probed(&bytes[..bytes.len() - 2]).wholeness else {
        panic!("a JPEG without its end marker is partial");
    };
    assert_eq!(missing, "the JPEG end marker is missing");
}

#[test]
fn a_wav_whose_recorder_left_the_length_open_is_unknowable() {
    for open in [[0; 4], [0xFF; 4]] {
        let mut bytes = sample("tone.wav");
        bytes[4..8].copy_from_slice(&open);
        assert_eq!(probed(&bytes).wholeness, Wholeness::Unknowable);
    }
}

#[test]
fn a_wav_that_is_still_growing_past_its_length_is_unknowable() {
    let mut bytes = sample("tone.wav");
    bytes.extend_from_slice(&[0x81; 100]);
    assert_eq!(probed(&bytes).wholeness, Wholeness::Unknowable);
}

#[test]
fn an_mp4_whose_last_box_is_open_ended_is_unknowable_with_its_index_and_partial_without() {
    let bytes = sample("faststart.mp4");
    let at = bytes.windows(4).position(|name| name == b"mdat").unwrap() - 4;
    let mut open = bytes.clone();
    open[at..at + 4].fill(0);
    assert_eq!(probed(&open).wholeness, Wholeness::Unknowable);

    let recording = [
        b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\0mdat".as_slice(),
        &[7; 1000],
    ]
    .concat();
    assert!(is_partial(&probed(&recording).wholeness));
}

#[test]
fn an_mp4_with_64_bit_lengths_adds_up() {
    let bytes = sample("moov-at-end.mp4");
    let at = bytes.windows(4).position(|name| name == b"mdat").unwrap() - 4;
    let size = u32::from_be_bytes(*bytes[at..].first_chunk().unwrap());
    let mut long = bytes[..at].to_vec();
    long.extend_from_slice(b"\0\0\0\x01mdat");
    long.extend_from_slice(&(u64::from(size) + 8).to_be_bytes());
    long.extend_from_slice(&bytes[at + 8..]);
    assert_eq!(probed(&long).wholeness, Wholeness::Whole);
    long.pop();
    assert!(is_partial(&probed(&long).wholeness));
    long[at + 8..at + 16].fill(0xFF);
    assert!(is_partial(&probed(&long).wholeness));
}

#[test]
fn a_fragmented_mp4_without_its_final_index_is_never_whole() {
    let bytes = sample("fragmented.mp4");
    let at = bytes.windows(4).position(|name| name == b"mfra").unwrap() - 4;
    assert_eq!(probed(&bytes[..at]).wholeness, Wholeness::Unknowable);
}

#[test]
fn an_mp4_with_sound_alone_is_sound_whatever_its_brand() {
    let mut bytes = sample("tone.m4a");
    bytes[8..12].copy_from_slice(b"isom");
    assert_eq!(sniff(&bytes), Some(Format::Mp4));
    assert_eq!(probed(&bytes).format, Some(Format::M4a));
}

#[test]
fn a_flac_that_lacks_its_last_frames_is_partial_even_if_it_ends_with_a_frame() {
    let bytes = sample("tone.flac");
    let ends: Vec<usize> = (100..bytes.len())
        .filter(|length| {
            matches!(probed(&bytes[..*length]).wholeness,
                Wholeness::Partial { missing } if missing.contains("samples"))
        })
        .collect();
    assert!(!ends.is_empty(), "the sample has several frames");
}

#[test]
fn a_tag_behind_a_flac_does_not_hide_its_end() {
    let mut bytes = sample("tone.flac");
    bytes.extend_from_slice(b"TAG");
    bytes.extend_from_slice(&[b' '; 125]);
    assert_eq!(probed(&bytes).wholeness, Wholeness::Whole);
}

#[test]
fn a_damaged_last_flac_frame_is_not_whole() {
    let mut bytes = sample("tone.flac");
    let at = bytes.len() - 20;
    bytes[at] ^= 0x10;
    assert!(is_partial(&probed(&bytes).wholeness));
}

#[test]
fn the_reader_may_stand_anywhere() {
    let mut reader = Cursor::new(sample("picture.png"));
    reader.set_position(700);
    assert_eq!(probe(&mut reader).unwrap().wholeness, Wholeness::Whole);
}

#[test]
fn an_empty_file_has_no_format() {
    let probe = probed(b"");
    assert_eq!(
        (probe.format, probe.wholeness, probe.bytes),
        (None, Wholeness::Unknowable, 0)
    );
}

#[test]
fn what_is_no_media_is_told_apart() {
    for (bytes, format) in [
        (b"PK\x03\x04\x14\0".as_slice(), Format::Zip),
        (b"%PDF-1.7\n", Format::Pdf),
        (b"\n<!DOCTYPE html><html>", Format::Html),
        (
            b"<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\">",
            Format::Svg,
        ),
    ] {
        assert_eq!(sniff(bytes), Some(format));
    }
    for bytes in [
        b"".as_slice(),
        b"prompt: a cat\n",
        b"\xFF",
        b"\xFF\xFB\x90",
        b"RIFF\0\0\0\0CDXA",
        b"BM and so on",
    ] {
        assert_eq!(sniff(bytes), None, "{bytes:?}");
    }
}

#[test]
fn the_samples_of_the_simulator_and_the_demo_are_whole_and_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for folder in ["src/simulator/media", "src/demo/samples"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let probe = probe(&mut std::fs::File::open(&path).unwrap()).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(probe.wholeness, Wholeness::Whole, "{name}");
            assert_eq!(refusal(&probe, name), None);
            assert_eq!(probe.kind(), kind_by_extension(name), "{name}");
            assert!(probe.bytes < 60_000, "{name}");
            seen += 1;
        }
    }
    assert_eq!(seen, 9);
}

#[test]
fn a_refusal_says_what_the_file_is_and_what_to_do() {
    let refused = |sample_name: &str, name: &str| refusal(&probed(&sample(sample_name)), name);
    assert_eq!(
        refused("picture.gif", "cat.gif").unwrap(),
        "cat.gif is a GIF image, which Runway does not accept. Save it as PNG or JPEG, or as MP4 if it moves, and drop \
         that instead"
    );
    assert_eq!(
        refused("picture.heic", "cat.jpg").unwrap(),
        "cat.jpg is really a HEIC image (the content counts, not the extension), which Runway does not accept. Save it \
         as PNG or JPEG, and drop that instead"
    );
    assert!(
        refused("clip.avi", "walk.avi")
            .unwrap()
            .contains("is an AVI video")
    );
    for (name, format, ..) in PROVABLE {
        assert_eq!(
            refused(name, name).is_none(),
            format.accepted_by_api(),
            "{name}"
        );
    }
}

#[test]
fn a_wrong_extension_alone_is_no_reason_to_refuse() {
    assert_eq!(refusal(&probed(&sample("picture.png")), "cat.jpg"), None);
}

#[test]
fn empty_and_unknown_files_are_refused_with_words() {
    assert!(
        refusal(&probed(b""), "cat.jpg")
            .unwrap()
            .contains("cat.jpg is empty")
    );
    assert!(
        refusal(&probed(b"not a picture"), "cat.jpg")
            .unwrap()
            .contains("neither an image nor a video nor sound")
    );
}

#[test]
fn names_promise_kinds_that_the_api_refuses_too() {
    for (name, kind) in [
        ("cat.JPG", Some(Kind::Image)),
        ("a.b.gif", Some(Kind::Image)),
        ("IMG_1.HEIC", Some(Kind::Image)),
        ("scan.tiff", Some(Kind::Image)),
        ("raw.cr3", Some(Kind::Image)),
        ("walk.mov", Some(Kind::Video)),
        ("walk.avi", Some(Kind::Video)),
        ("tone.wav", Some(Kind::Audio)),
        ("tone.opus", Some(Kind::Audio)),
        ("cat.jpg.yaml", None),
        ("notes.txt", None),
        ("bundle.zip", None),
        (".jpg", None),
        ("jpg", None),
    ] {
        assert_eq!(kind_by_extension(name), kind, "{name}");
    }
}

#[test]
fn a_format_goes_by_its_usual_extension() {
    for (_, format, ..) in PROVABLE {
        let name = format!("name.{}", format.extension());
        assert_eq!(kind_by_extension(&name), format.kind(), "{name}");
    }
}

/// A reader that counts how much is read from it, over a file of any length that is zeros but for its parts.
struct Sparse {
    parts: Vec<(u64, Vec<u8>)>,
    length: u64,
    position: u64,
    read: u64,
}

impl Read for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        for (offset, byte) in (self.position..).zip(&mut buffer[..count]) {
            let part = self
                .parts
                .iter()
                .find(|(at, part)| (*at..*at + part.len() as u64).contains(&offset));
            *byte = part.map_or(0, |(at, part)| part[usize::try_from(offset - at).unwrap()]);
        }
        self.position += count as u64;
        self.read += count as u64;
        Ok(count)
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.position = match to {
            io::SeekFrom::Start(at) => at,
            io::SeekFrom::End(by) => self.length.checked_add_signed(by).unwrap(),
            io::SeekFrom::Current(by) => self.position.checked_add_signed(by).unwrap(),
        };
        Ok(self.position)
    }
}

#[test]
fn an_mp4_of_many_gigabytes_takes_few_reads() {
    let bytes = sample("moov-at-end.mp4");
    let data_at = bytes.windows(4).position(|name| name == b"mdat").unwrap() - 4;
    let moov_at = bytes.windows(4).position(|name| name == b"moov").unwrap() - 4;
    let data_bytes = 20_000_000_000_u64;
    let mut front = bytes[..data_at].to_vec();
    front.extend_from_slice(b"\0\0\0\x01mdat");
    front.extend_from_slice(&data_bytes.to_be_bytes());
    let index = bytes[moov_at..].to_vec();
    let index_at = data_at as u64 + data_bytes;
    let mut film = Sparse {
        length: index_at + index.len() as u64,
        parts: vec![(0, front), (index_at, index)],
        position: 0,
        read: 0,
    };
    let probe = probe(&mut film).unwrap();
    assert_eq!(probe.wholeness, Wholeness::Whole);
    assert!(film.read < 200_000, "{} bytes were read", film.read);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        probed(&bytes);
    }

    #[test]
    fn damaged_samples_never_panic(
        which in 0..PROVABLE.len(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
    ) {
        let mut bytes = sample(PROVABLE[which].0);
        for (at, byte) in damage {
            // Headers are where damage matters.
            let within = bytes.len().min(if byte & 1 == 0 { 64 } else { bytes.len() });
            let at = at.index(within);
            bytes[at] = byte;
        }
        bytes.truncate(length.index(bytes.len()) + 1);
        probed(&bytes);
    }
}
