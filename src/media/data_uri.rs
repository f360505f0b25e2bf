//! Media as text inside a request or a page.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The data URI of some bytes with the given media type (`image/png`).
#[must_use]
pub(crate) fn encode_data_uri(mime: &str, bytes: &[u8]) -> String {
    let mut uri = format!("data:{mime};base64,");
    STANDARD.encode_string(bytes, &mut uri);
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_uri_names_its_type_and_pads() {
        assert_eq!(
            encode_data_uri("image/png", b"a"),
            "data:image/png;base64,YQ=="
        );
        assert_eq!(
            encode_data_uri("audio/mpeg", b""),
            "data:audio/mpeg;base64,"
        );
    }
}
