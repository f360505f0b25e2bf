//! How a media file gets into a request: as a data URI in the body, or by an ephemeral upload.
//!
//! A data URI saves two requests, but is a third larger than the file and is sent again with each job, so it is for small files
//! that one job uses. The limits are those of Runway's documentation, as decimal megabytes to be safe.

use crate::media::Kind;

/// The largest ephemeral upload, in bytes.
pub const UPLOAD_MAX_BYTES: u64 = 200_000_000;
/// The smallest ephemeral upload, in bytes.
const UPLOAD_MIN_BYTES: u64 = 512;
/// Up to this size, in bytes, a data URI costs less than the two requests of an upload.
const CHEAP_INLINE_BYTES: u64 = 256 * 1024;
/// Room, in bytes, for `data:`, the media type and `;base64,`.
const DATA_URI_HEAD_BYTES: u64 = 128;

/// How a file is sent to Runway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Inside the request's body with [`data_uri`](crate::media::encode_data_uri).
    DataUri,
    /// Uploaded first, then named by its `runway://` URI.
    Upload,
}

/// A file that is too large for Runway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the file has {bytes} bytes, and Runway accepts uploads of up to {UPLOAD_MAX_BYTES} bytes: \
     make it smaller, or put it on a web server and name its https URL"
)]
pub struct TooBig {
    /// The file's size in bytes.
    pub bytes: u64,
}

/// Chooses the cheaper route that Runway allows for a file of `bytes` bytes. `shared`: other jobs use the same file, so one upload
/// serves them all.
///
/// # Errors
///
/// [`TooBig`] if the file exceeds the limit for uploads.
pub fn choose_route(kind: Kind, bytes: u64, shared: bool) -> Result<Route, TooBig> {
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

/// The longest data URI that Runway accepts for a kind of media, in bytes of its encoded text.
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
            assert_eq!(choose_route(kind, 262_144, false), Ok(Route::DataUri));
            assert_eq!(choose_route(kind, 262_145, false), Ok(Route::Upload));
            assert_eq!(choose_route(kind, 262_144, true), Ok(Route::Upload));
        }
    }

    #[test]
    fn a_file_too_small_for_an_upload_goes_inline_even_if_shared() {
        assert_eq!(choose_route(Kind::Image, 511, true), Ok(Route::DataUri));
        assert_eq!(choose_route(Kind::Image, 512, true), Ok(Route::Upload));
    }

    #[test]
    fn two_hundred_megabytes_are_the_end() {
        assert_eq!(
            choose_route(Kind::Video, 200_000_000, false),
            Ok(Route::Upload)
        );
        let refusal = choose_route(Kind::Video, 200_000_001, false).unwrap_err();
        assert_eq!(refusal, TooBig { bytes: 200_000_001 });
        assert!(refusal.to_string().contains("make it smaller"));
        assert!(choose_route(Kind::Video, u64::MAX, false).is_err());
    }
}
