//! Whole media that are like no other.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// A film that players open; the simulator's own output.
const FILM: &[u8] = include_bytes!("../../src/simulator/media/video.mp4");

/// Bytes that look random, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

/// A grey picture of noise in PNG, `width` times `height` pixels of a byte each.
pub fn png(seed: u64, width: u16, height: u16) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(u32::from(width).to_be_bytes());
    header.extend(u32::from(height).to_be_bytes());
    // Eight bits, grey, and the only methods that there are for the rest (PNG, 11.2.2).
    header.extend([8, 0, 0, 0, 0]);
    let pixels = noise(seed, usize::from(width) * usize::from(height));
    let mut lines = Vec::new();
    for line in pixels.chunks(usize::from(width)) {
        lines.push(0);
        lines.extend(line);
    }
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut file, b"IHDR", &header);
    chunk(&mut file, b"IDAT", &stored(&lines));
    chunk(&mut file, b"IEND", &[]);
    file
}

fn chunk(file: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    let start = file.len();
    file.extend(length(content.len()).to_be_bytes());
    file.extend(name);
    file.extend(content);
    let sum = crc32(&file[start + 4..]);
    file.extend(sum.to_be_bytes());
}

/// Bytes as a zlib stream that does not compress (RFC 1950 and 1951).
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = bytes.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        stream.push(u8::from(blocks.peek().is_none()));
        // No longer than `u16::MAX` by the way they are cut.
        let size = block.len() as u16;
        stream.extend(size.to_le_bytes());
        stream.extend((!size).to_le_bytes());
        stream.extend(block);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    stream.extend((b << 16 | a).to_be_bytes());
    stream
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            let low = sum & 1;
            sum = (sum >> 1) ^ (0xEDB8_8320 * low);
        }
    }
    !sum
}

/// Everything here is far below the limit.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Writes a film of exactly `size` bytes: a short one, and a `free` box (ISO/IEC 14496-12, 8.1.2) that is a hole of the
/// filesystem except for its end.
pub fn film(path: &Path, seed: u64, size: u64) -> io::Result<()> {
    let end = noise(seed, 65_536);
    let film = FILM.len() as u64;
    let padding = u32::try_from(size - film).map_err(io::Error::other)?;
    let mut file = File::create_new(path)?;
    file.write_all(FILM)?;
    file.write_all(&padding.to_be_bytes())?;
    file.write_all(b"free")?;
    file.seek(SeekFrom::Start(size - end.len() as u64))?;
    file.write_all(&end)
}
