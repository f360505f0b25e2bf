//! Finished outputs, and their signed, expiring URLs.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::answers::{Answer, Denied, content, text, too_late, with_header};
use super::clock::{Millis, now};
use super::connection::Peer;
use super::exchange::{answer_instead, choose_fault, conclude};
use super::faults::{Action, Target};
use super::log::{Seen, note_stray_headers};
use super::media::Product;
use super::state::{App, Inner};
use super::tasks::{Kind, Order};
use crate::files::hash_bytes;

/// Makes output URLs.
pub(super) struct Links<'a> {
    /// The URL of the simulator.
    pub(super) base: &'a str,
    /// Signs them.
    pub(super) secret: &'a str,
    /// When they expire.
    pub(super) expires: Millis,
}

impl Links<'_> {
    /// The URL of one output of a task.
    pub(super) fn url(&self, order: &Order, index: usize) -> Option<String> {
        let name = format!("{index}.{}", order.outputs.get(index)?.extension());
        let path = format!("/_storage/output/{}/{name}", order.id);
        let signature = sign(self.secret, &path, self.expires);
        Some(format!(
            "{}{path}?sig={signature}&expires={}",
            self.base, self.expires
        ))
    }
}

fn sign(secret: &str, path: &str, expires: Millis) -> String {
    hash_bytes(format!("{secret}{path}/{expires}").as_bytes())
}

/// `GET` of an output.
pub(super) async fn deliver(app: &App, peer: &Peer, mut seen: Seen, parts: &Parts) -> Answer {
    note_stray_headers(&parts.headers, &mut seen);
    let fault = choose_fault(app, Target::Output, &seen, None);
    let answer = match fault.as_ref().and_then(answer_instead) {
        Some(answer) => answer,
        None => match find(&mut app.lock(), parts, now()) {
            Ok((product, mark)) => serve(product, &mark, parts, fault.as_ref()),
            Err(denied) => denied.by_storage(),
        },
    };
    conclude(app, peer, seen, fault, answer).await
}

/// Finds the output that is asked for: its format, and the mark in it.
fn find(inner: &mut Inner, parts: &Parts, now: Millis) -> Result<(Product, String), Denied> {
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return Err(Denied::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "Only GET works here.",
        ));
    }
    if parts.headers.contains_key("authorization") {
        return Err(Denied::new(
            StatusCode::BAD_REQUEST,
            "Only one authorization mechanism is allowed: the URL's signature. Leave the API key out.",
        ));
    }
    let path = parts.uri.path();
    let mut signature = "";
    let mut expires = 0;
    for pair in parts.uri.query().unwrap_or_default().split('&') {
        match pair.split_once('=') {
            Some(("sig", value)) => signature = value,
            Some(("expires", value)) => expires = value.parse().unwrap_or(0),
            Some(_) | None => {}
        }
    }
    if signature != sign(&inner.secret, path, expires) || expires <= now {
        return Err(too_late());
    }
    let missing = || Denied::new(StatusCode::NOT_FOUND, "There is no such output.");
    let (id, name) = path
        .strip_prefix("/_storage/output/")
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(missing)?;
    let index: usize = name
        .split('.')
        .next()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(missing)?;
    [Kind::Task, Kind::Workflow]
        .into_iter()
        .find_map(|kind| {
            let task = inner.board.task(kind, id, now)?;
            task.order.outputs.get(index).copied()
        })
        .map(|product| (product, format!("{id}/{index}")))
        .ok_or_else(missing)
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    Whole,
    /// From the first to before the second.
    Part(usize, usize),
    /// Beyond the end.
    Beyond,
}

/// Reads a `Range` header (RFC 9110, 14.1 and 14.2). Several ranges at once, and invalid ones, count as none.
fn read_range(range: Option<&str>, length: usize) -> Range {
    let Some((first, last)) = range
        .and_then(|range| range.strip_prefix("bytes="))
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Range::Whole;
    };
    match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), _) if first >= length => Range::Beyond,
        (Ok(first), Ok(last)) if last >= first => {
            Range::Part(first, last.saturating_add(1).min(length))
        }
        (Ok(first), Err(_)) if last.is_empty() => Range::Part(first, length),
        (Err(_), Ok(count)) if first.is_empty() => match count {
            0 => Range::Beyond,
            _ => Range::Part(length.saturating_sub(count), length),
        },
        (Ok(_) | Err(_), Ok(_) | Err(_)) => Range::Whole,
    }
}

/// Answers with the file, or the part that is asked for.
fn serve(product: Product, mark: &str, parts: &Parts, fault: Option<&Action>) -> Answer {
    let file = Bytes::from(product.file(mark));
    // Format and mark decide the content.
    let tag = hash_bytes(format!("{}/{mark}", product.extension()).as_bytes());
    let tag = format!("\"{tag}\"");
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let same = header("if-range").is_none_or(|asked| asked == tag);
    let range = header("range").filter(|_| same && parts.method == Method::GET);
    let (status, body, place) = match read_range(range, file.len()) {
        Range::Whole => (StatusCode::OK, file.clone(), None),
        Range::Part(from, to) => (
            StatusCode::PARTIAL_CONTENT,
            file.slice(from..to),
            Some(format!("bytes {from}-{}/{}", to - 1, file.len())),
        ),
        Range::Beyond => {
            let answer = text(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "The range is beyond the end of the file.",
            );
            return with_header(answer, "content-range", &format!("bytes */{}", file.len()));
        }
    };
    let length = match fault {
        Some(Action::CorruptLength) => body.len() + 1,
        Some(_) | None => body.len(),
    };
    let body = match fault {
        Some(Action::Truncate { bytes }) => {
            let bytes = usize::try_from(*bytes).unwrap_or(usize::MAX);
            cut_off(body.slice(..bytes.min(body.len())))
        }
        Some(Action::CorruptLength) => cut_off(body),
        Some(_) | None => Body::from(body),
    };
    let answer = content(status, product.mime(), body);
    let answer = with_header(answer, "content-length", &length.to_string());
    let answer = with_header(answer, "accept-ranges", "bytes");
    let answer = with_header(answer, "etag", &tag);
    match place {
        Some(place) => with_header(answer, "content-range", &place),
        None => answer,
    }
}

/// A body that sends these bytes and then closes the connection.
fn cut_off(bytes: Bytes) -> Body {
    let end = stream::once(async {
        // Pending once, so that the bytes are written before the error closes the connection.
        tokio::task::yield_now().await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted))
    });
    Body::from_stream(stream::iter([Ok(bytes)]).chain(end))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        assert_eq!(read_range(None, 10), Range::Whole);
        assert_eq!(read_range(Some("bytes=3-"), 10), Range::Part(3, 10));
        assert_eq!(read_range(Some("bytes=3-5"), 10), Range::Part(3, 6));
        assert_eq!(read_range(Some("bytes=3-99"), 10), Range::Part(3, 10));
        assert_eq!(read_range(Some("bytes=-4"), 10), Range::Part(6, 10));
        assert_eq!(read_range(Some("bytes=10-"), 10), Range::Beyond);
        assert_eq!(read_range(Some("bytes=5-3"), 10), Range::Whole);
        assert_eq!(read_range(Some("bytes=0-1,4-5"), 10), Range::Whole);
        assert_eq!(read_range(Some("lines=1-2"), 10), Range::Whole);
    }
}
