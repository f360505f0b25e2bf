//! HTTP below the client: making connections, reading answers, describing errors.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Response;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use rustls::crypto::CryptoProvider;
use url::{Host, Url};

use super::outcome;
use super::text::plain;

/// The largest answer of the API that is read, in bytes.
const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Whether a URL's host is this machine: 127.0.0.0/8, ::1 or `localhost`.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// Installs the cryptography of this process, without which no HTTP client can be made.
pub fn provide_crypto() {
    if CryptoProvider::get_default().is_none() {
        match rustls::crypto::ring::default_provider().install_default() {
            // An error means that another thread was first. Either way there is a provider now.
            Ok(()) | Err(_) => {}
        }
    }
}

/// Builds an HTTP client without redirects and retries, HTTP/1.1 only, with the machine's TLS roots.
pub(super) fn build_http(
    loopback: bool,
    connect_timeout: Duration,
    further: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, String> {
    provide_crypto();
    let builder = || {
        let builder = further(reqwest::Client::builder())
            .user_agent(concat!("taxiway/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .connect_timeout(connect_timeout);
        if loopback {
            builder.no_proxy()
        } else {
            builder
        }
    };
    let made = match builder().build() {
        // The simulator uses plain http and must work on a machine without TLS roots.
        Err(_) if loopback => builder().tls_certs_only([]).build(),
        made => made,
    };
    made.map_err(describe)
}

/// Reads the body of an answer, or returns why it could not be read to its end.
pub(super) async fn read_bounded(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > ANSWER_MAX_BYTES => {
                return Err(format!("it is longer than {ANSWER_MAX_BYTES} bytes"));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(describe(error)),
        }
    }
}

/// Reads how long an answer asks to wait.
pub(super) fn read_retry_after(headers: &HeaderMap) -> Option<Duration> {
    let now = text_header(headers, DATE.as_str())
        .and_then(outcome::http_date)
        .unwrap_or_else(Timestamp::now);
    outcome::retry_after(text_header(headers, RETRY_AFTER.as_str())?, now)
}

/// A header, if it is there and is text.
pub(super) fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Describes an error of the network with its causes, and without the URL, which may be signed.
pub(super) fn describe(error: reqwest::Error) -> String {
    let timed_out = error.is_timeout();
    let error = error.without_url();
    let mut words = vec![error.to_string()];
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words.push(cause_words);
        }
        source = cause.source();
    }
    let words = plain(&words.join(": "));
    if timed_out {
        format!("no answer in time ({words})")
    } else {
        words
    }
}
