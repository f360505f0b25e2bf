//! Small pictures of inputs.

use std::fs::File;
use std::io::{self, BufReader, Cursor};

use image::{ImageFormat, ImageReader, Limits};

/// The longest side in pixels: sharp at the size in which the page shows it on a dense screen.
const SIDE: u32 = 160;
/// Larger pictures, in pixels of a side, are not worth the time.
const LARGEST: u32 = 16_384;
/// The most memory, in bytes, that decoding one may take.
const MEMORY: u64 = 192 * 1024 * 1024;

/// A small picture of an image as a data URI, a few kilobytes long.
///
/// # Errors
/// As [`small_picture`].
pub fn picture(file: File) -> io::Result<String> {
    small_picture(file).map(|bytes| crate::media::encode_data_uri("image/jpeg", &bytes))
}

/// A small picture of an image, as a JPEG of a few kilobytes.
///
/// # Errors
/// The file is no image that can be read, or is too large.
pub fn small_picture(file: File) -> io::Result<Vec<u8>> {
    let mut reader = ImageReader::new(BufReader::new(file)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST);
    limits.max_image_height = Some(LARGEST);
    limits.max_alloc = Some(MEMORY);
    reader.limits(limits);
    let small = reader
        .decode()
        .map_err(io::Error::other)?
        .thumbnail(SIDE, SIDE)
        .to_rgb8();
    let mut bytes = Vec::new();
    small
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Jpeg)
        .map_err(io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use std::path::Path;

    #[test]
    fn pictures_are_small_and_what_is_none_is_an_error() {
        let open = |name: &str| {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media");
            File::open(folder.join(name)).unwrap()
        };
        let uri = picture(open("baseline.jpg")).unwrap();
        assert!(uri.starts_with("data:image/jpeg;base64,"), "{uri}");
        assert!(uri.len() < 12_000, "{}", uri.len());
        assert!(picture(open("faststart.mp4")).is_err());
    }
}
