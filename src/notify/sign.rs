//! The signature of a webhook, by the Standard Webhooks specification, version 1.0.0, "Signature scheme", symmetric: `v1,` and
//! the base64 of HMAC-SHA256 over `id.timestamp.body`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// What such a secret begins with.
const PREFIX: &str = "whsec_";
/// The specification asks for 24 to 64 bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that signs. It has no `Debug`, so its bytes cannot be logged.
pub struct Secret(hmac::Key);

impl Secret {
    /// Parses a secret as it is handed out: `whsec_` and base64.
    pub fn parse(text: &str) -> Option<Secret> {
        let coded = text.trim().strip_prefix(PREFIX)?;
        let bytes = STANDARD.decode(coded).ok()?;
        LENGTHS
            .contains(&bytes.len())
            .then(|| Secret(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }
}

/// Computes the header `webhook-signature` of a message. `timestamp` is in seconds since 1970.
pub fn sign(secret: &Secret, id: &str, timestamp: i64, body: &str) -> String {
    let signed = format!("{id}.{timestamp}.{body}");
    let tag = hmac::sign(&secret.0, signed.as_bytes());
    format!("v1,{}", STANDARD.encode(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_that_the_reference_libraries_make() {
        // The example that the libraries of Standard Webhooks test themselves with.
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = sign(
            &secret,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            "{\"test\": 2432232314}",
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_malformed_secret_is_refused() {
        for text in [
            "",
            "whsec_",
            "whsec_????",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_c2hvcnQ=",
        ] {
            assert!(Secret::parse(text).is_none(), "{text}");
        }
    }
}
