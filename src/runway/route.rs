//! How a media file gets into a request: inside the body as a data URI, or by an ephemeral upload.
//!
//! A data URI saves two requests, but swells the body by a third and is sent again with each job, so it is for small
//! files that one job uses. Limits as Runway documents them, taken as decimal megabytes to stay on the safe side.

use crate::media::Kind;

/// The largest file, in bytes, that an ephemeral upload takes.
pub const UPLOAD_MAX_BYTES: u64 = 200_000_000;
/// The smallest file, in bytes, that an ephemeral upload takes.
const UPLOAD_MIN_BYTES: u64 = 512;
/// Up to this size, in bytes, a data URI is cheaper than the two requests of an upload.
const CHEAP_INLINE_BYTES: u64 = 256 * 1024;
/// Room, in bytes, for `data:`, the media type and `;base64,`.
const DATA_URI_HEAD_BYTES: u64 = 128;

/// The way in which a file is handed to Runway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Encoded into the request's body with [`data_uri`](crate::media::encode_data_uri).
    DataUri,
    /// Uploaded first, then named by its `runway://` URI.
    Upload,
}

/// A file that Runway takes by no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the file has {bytes} bytes, and Runway takes uploads of up to {UPLOAD_MAX_BYTES} bytes: \
     make it smaller, or put it on a web server and name its https URL"
)]
pub struct TooBig {
    /// The file's size in bytes.
    pub bytes: u64,
}

/// Chooses the cheaper route that Runway allows for a file of `bytes` bytes. `shared` says that further jobs use the
/// same file, so that one upload serves them all.
///
/// # Errors
///
/// [`TooBig`] where the file exceeds what an upload may have.
pub fn route(kind: Kind, bytes: u64, shared: bool) -> Result<Route, TooBig> {
    if bytes > UPLOAD_MAX_BYTES {
        return Err(TooBig { bytes });
    }
    let fits = bytes.div_ceil(3) * 4 + DATA_URI_HEAD_BYTES <= data_uri_limit(kind);
    let inline = bytes < UPLOAD_MIN_BYTES || (bytes <= CHEAP_INLINE_BYTES && !shared);
    Ok(if fits && inline {
        Route::DataUri
    } else {
        Route::Upload
    })
}

/// The longest data URI, in bytes of its encoded text, that Runway takes for a kind of media.
fn data_uri_limit(kind: Kind) -> u64 {
    match kind {
        Kind::Image => 5_000_000,
        Kind::Video | Kind::Audio => 16_000_000,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_of_one_job_goes_inline_and_a_shared_one_is_uploaded() {
        for kind in [Kind::Image, Kind::Video, Kind::Audio] {
            assert_eq!(route(kind, 262_144, false), Ok(Route::DataUri));
            assert_eq!(route(kind, 262_145, false), Ok(Route::Upload));
            assert_eq!(route(kind, 262_144, true), Ok(Route::Upload));
        }
    }

    #[test]
    fn a_file_too_small_for_an_upload_goes_inline_even_when_shared() {
        assert_eq!(route(Kind::Image, 511, true), Ok(Route::DataUri));
        assert_eq!(route(Kind::Image, 512, true), Ok(Route::Upload));
    }

    #[test]
    fn two_hundred_megabytes_are_the_end() {
        assert_eq!(route(Kind::Video, 200_000_000, false), Ok(Route::Upload));
        let refusal = route(Kind::Video, 200_000_001, false).unwrap_err();
        assert_eq!(refusal, TooBig { bytes: 200_000_001 });
        assert!(refusal.to_string().contains("make it smaller"));
        assert!(route(Kind::Video, u64::MAX, false).is_err());
    }
}
