//! The media that finished tasks deliver: small real files that players open, made distinct for each task.
//!
//! The bytes of a file show which task made it: each has the id of its task and its number in a place that its format keeps for
//! comments, so the file stays valid.

use serde::{Deserialize, Serialize};

const VIDEO: &[u8] = include_bytes!("media/video.mp4");
const IMAGE: &[u8] = include_bytes!("media/image.png");
const MP3: &[u8] = include_bytes!("media/audio.mp3");
const WAV: &[u8] = include_bytes!("media/audio.wav");

/// The file formats that the simulator delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    /// H.264 video.
    Mp4,
    /// A picture.
    Png,
    /// Compressed audio.
    Mp3,
    /// Uncompressed audio.
    Wav,
}

impl Product {
    /// The file extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Png => "png",
            Self::Mp3 => "mp3",
            Self::Wav => "wav",
        }
    }

    /// The media type for `Content-Type`.
    pub(super) fn mime(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::Png => "image/png",
            Self::Mp3 => "audio/mpeg",
            Self::Wav => "audio/wav",
        }
    }

    /// A whole file of this format that carries `mark`, which should be short ASCII.
    pub(super) fn file(self, mark: &str) -> Vec<u8> {
        match self {
            Self::Mp4 => mp4(VIDEO, mark),
            Self::Png => png(IMAGE, mark),
            Self::Mp3 => mp3(MP3, mark),
            Self::Wav => wav(WAV, mark),
        }
    }
}

/// A length as the formats store it. Marks and samples have a few kilobytes, so it always fits.
fn to_length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Appends a `free` box, which readers skip (ISO/IEC 14496-12, 8.1.2).
fn mp4(base: &[u8], mark: &str) -> Vec<u8> {
    let mut file = base.to_vec();
    file.extend(to_length(8 + mark.len()).to_be_bytes());
    file.extend(b"free");
    file.extend(mark.as_bytes());
    file
}

/// Puts a `tEXt` chunk before the last one, `IEND`, which is always 12 bytes long (PNG, 5.3 and 11.3.3.2).
fn png(base: &[u8], mark: &str) -> Vec<u8> {
    const IEND: usize = 12;
    let (head, end) = base.split_at(base.len().saturating_sub(IEND));
    let mut chunk = b"tEXtComment\0".to_vec();
    chunk.extend(mark.as_bytes());
    let mut file = head.to_vec();
    file.extend(to_length(chunk.len() - 4).to_be_bytes());
    let sum = crc32(&chunk);
    file.extend(chunk);
    file.extend(sum.to_be_bytes());
    file.extend(end);
    file
}

/// The checksum of PNG chunks (PNG, annex D), bit by bit: a chunk here has some fifty bytes.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

/// Puts an ID3v2.3 tag with one `TXXX` frame in front, in place of the tag that is there (id3v2.3.0, 3.1 and 4.2.2).
fn mp3(base: &[u8], mark: &str) -> Vec<u8> {
    let audio = match base {
        [b'I', b'D', b'3', _, _, _, a, b, c, d, ..] => {
            let size = [a, b, c, d]
                .iter()
                .fold(0_usize, |n, byte| (n << 7) | usize::from(**byte & 0x7f));
            base.get(10 + size..).unwrap_or(base)
        }
        _ => base,
    };
    let mut text = b"\0taxiway\0".to_vec();
    text.extend(mark.as_bytes());
    let frame = to_length(text.len());
    let mut file = b"ID3\x03\0\0".to_vec();
    let size = frame + 10;
    for shift in [21, 14, 7, 0] {
        // Seven bits a byte; the mask makes the cast exact.
        file.push(((size >> shift) & 0x7f) as u8);
    }
    file.extend(b"TXXX");
    file.extend(frame.to_be_bytes());
    file.extend([0, 0]);
    file.extend(text);
    file.extend(audio);
    file
}

/// Appends a `LIST` chunk with a comment and corrects the length of the whole (RIFF, "INFO list chunk").
fn wav(base: &[u8], mark: &str) -> Vec<u8> {
    let mut text = mark.as_bytes().to_vec();
    text.push(0);
    let said = to_length(text.len());
    if text.len() % 2 == 1 {
        text.push(0);
    }
    let mut file = base.to_vec();
    if file.len() % 2 == 1 {
        file.push(0);
    }
    file.extend(b"LIST");
    file.extend(to_length(12 + text.len()).to_le_bytes());
    file.extend(b"INFOICMT");
    file.extend(said.to_le_bytes());
    file.extend(text);
    let riff = to_length(file.len().saturating_sub(8)).to_le_bytes();
    if let Some(place) = file.get_mut(4..8) {
        place.copy_from_slice(&riff);
    }
    file
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::media::{Wholeness, probe};

    const ALL: [Product; 4] = [Product::Mp4, Product::Png, Product::Mp3, Product::Wav];

    #[test]
    fn a_marked_file_is_whole_and_carries_its_mark() {
        for product in ALL {
            let file = product.file("0b2c4d6e-8f10-4a2b-9c3d-4e5f60718293/1");
            let probe = probe(&mut std::io::Cursor::new(&file)).unwrap();
            assert_eq!(probe.wholeness, Wholeness::Whole, "{product:?}");
            let format = probe.format.expect("a known format");
            assert_eq!(format.extension(), product.extension());
            assert!(
                file.windows(6).any(|bytes| bytes == b"0b2c4d"),
                "{product:?}"
            );
        }
    }

    #[test]
    fn files_of_two_tasks_differ() {
        for product in ALL {
            assert_ne!(product.file("a/0"), product.file("b/0"));
        }
    }

    #[test]
    fn the_checksum_is_the_one_png_asks_for() {
        assert_eq!(crc32(b"IEND"), 0xAE42_6082);
    }
}
