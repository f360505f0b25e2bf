//! Downloads: an output's bytes go into a part file, and an interrupted download goes on where it stopped.
//!
//! A part file is only ever continued with bytes of the same object: the earlier try noted the object's entity tag and
//! length in [`Seen`], and the continuation must agree with it, or everything is fetched anew. What a crash leaves is a
//! part file that is shorter than it might be; without the `Seen` that belongs to it, it is started over.

use std::io;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_RANGE,
    LOCATION, RANGE, TRANSFER_ENCODING,
};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt, BufWriter, SeekFrom};
use tokio::time::timeout;

use super::client::{Client, header, retry_after, trouble};
use super::ids::{OutputUrl, host_of};
use crate::failpoint::{self, Point, Request};

/// How many redirects in a row are followed.
const MAX_REDIRECTS: usize = 5;
/// How much is collected before it is written, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// What is known about the object that a part file is a part of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its strong entity tag.
    etag: Option<String>,
    /// Its length in bytes.
    total: Option<u64>,
    /// Its media type, as the server says.
    content_type: Option<String>,
}

/// A download that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// The part file's length in bytes.
    pub bytes: u64,
    /// The media type, as the server says. The content counts more.
    pub content_type: Option<String>,
    /// Whether the server said how long the object is, or marked its end. Without that nobody can tell a whole object
    /// from one whose connection broke, other than by looking at the content.
    pub length_proven: bool,
}

/// Why a download is not whole.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The URL is no longer good (401, 403, 404 or 410): asking for the task again gives a fresh one.
    #[error(
        "the output's address has expired (host {host}, status {status}): ask for the task again to get a fresh one"
    )]
    Expired {
        /// The host.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// The connection ended before all bytes had come. What came is in the part file, and the next try goes on there.
    #[error(
        "the download broke off (host {host}) after {have} bytes of {}: go on from there",
        total.map_or_else(|| "an unknown number".to_owned(), |total| total.to_string())
    )]
    Truncated {
        /// The host.
        host: String,
        /// The part file's length in bytes.
        have: u64,
        /// The object's length in bytes, where the server tells.
        total: Option<u64>,
    },
    /// The network or the host had trouble: try again later. What came is in the part file.
    #[error(
        "the output could not be fetched (host {host}): {why}. Nothing is lost; try again later"
    )]
    Transient {
        /// The host.
        host: String,
        /// What went wrong.
        why: String,
        /// How long the host asks to wait, at most 24 hours.
        retry_after: Option<Duration>,
    },
    /// Another refusal.
    #[error(
        "the host refused to give the output (host {host}, status {status}): fetch it from Runway's web page, or ask \
         for the task again"
    )]
    Refused {
        /// The host.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// The output, or a redirect to it, is not on https.
    #[error(
        "the output's address is not https (host {host}), and nothing was fetched from there: check the base URL"
    )]
    Insecure {
        /// The host.
        host: String,
    },
    /// This machine's disk: full, say.
    #[error(
        "the output could not be written to the disk: {0}. Make room or mend the permissions; it is fetched again"
    )]
    Disk(#[source] io::Error),
}

impl Seen {
    /// Whether a continuation could be proven to belong to the same object.
    fn proves(&self) -> bool {
        self.etag.is_some() || self.total.is_some()
    }
}

/// What an answer's headers say about the object and the part of it that follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Headings {
    etag: Option<String>,
    content_type: Option<String>,
    content_length: Option<u64>,
    content_range: Option<ContentRange>,
    /// Whether the body marks its own end.
    chunked: bool,
}

/// A `Content-Range`, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ContentRange {
    /// Where the part begins; none in an answer that has no part (`bytes */TOTAL`).
    start: Option<u64>,
    total: Option<u64>,
}

/// What to do with an answer to a request for the bytes from `have` on.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// The body continues the part file.
    Append { total: Option<u64> },
    /// The body is the object from its beginning.
    FromStart { total: Option<u64> },
    /// The part file is the whole object already.
    Whole,
    /// What there is cannot be continued: ask again for everything.
    Restart,
    /// 401, 403, 404, 410.
    Expired,
    /// Try later.
    Later,
    /// Not media but a web page, which something on the way may have answered.
    Page,
    /// Another status.
    Refused,
}

fn plan(have: u64, seen: &Seen, status: u16, headings: &Headings) -> Plan {
    let page = headings
        .content_type
        .as_deref()
        .is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"));
    match status {
        200 | 206 if page => Plan::Page,
        200 => Plan::FromStart {
            total: headings.content_length,
        },
        206 => match headings.content_range {
            Some(ContentRange {
                start: Some(start),
                total,
            }) if start == have && same_object(seen, headings.etag.as_deref(), total) => {
                Plan::Append {
                    total: total.or(seen.total),
                }
            }
            Some(_) | None if have > 0 => Plan::Restart,
            // Everything was asked for, so a part is no answer.
            Some(_) | None => Plan::Later,
        },
        416 if have > 0 => {
            let total = headings.content_range.and_then(|range| range.total);
            if total == Some(have) && seen.total == Some(have) {
                Plan::Whole
            } else {
                Plan::Restart
            }
        }
        401 | 403 | 404 | 410 => Plan::Expired,
        408 | 425 | 429 | 500..=599 => Plan::Later,
        _ => Plan::Refused,
    }
}

/// Whether an answer is about the object that was seen before: nothing may speak against it, and something must speak
/// for it.
fn same_object(seen: &Seen, etag: Option<&str>, total: Option<u64>) -> bool {
    let tags = seen.etag.as_deref().zip(etag).map(|(a, b)| a == b);
    let totals = seen.total.zip(total).map(|(a, b)| a == b);
    match (tags, totals) {
        (Some(false), _) | (_, Some(false)) | (None, None) => false,
        (Some(true), _) | (_, Some(true)) => true,
    }
}

/// See [`Client::download`].
pub(super) async fn download(
    client: &Client,
    url: &OutputUrl,
    part: &mut File,
    seen: &mut Seen,
    mut progress: impl FnMut(u64, Option<u64>) + Send,
) -> Result<Downloaded, DownloadError> {
    let mut have = part
        .seek(SeekFrom::End(0))
        .await
        .map_err(DownloadError::Disk)?;
    if have > 0 && (!seen.proves() || seen.total.is_some_and(|total| total < have)) {
        have = 0;
    }
    let interrupted = |error: io::Error| DownloadError::Transient {
        host: url.host(),
        why: error.to_string(),
        retry_after: None,
    };
    failpoint::hit(Point::BeforeRequest(Request::Download)).map_err(interrupted)?;
    let (mut response, mut host) = fetch(client, url, have, seen).await?;
    let mut headings = headings(&response);
    let mut plan = plan(have, seen, response.status().as_u16(), &headings);
    if plan == Plan::Restart {
        have = 0;
        *seen = Seen::default();
        (response, host) = fetch(client, url, have, seen).await?;
        headings = self::headings(&response);
        plan = self::plan(have, seen, response.status().as_u16(), &headings);
    }

    let status = response.status().as_u16();
    let later = |why: String, retry_after| DownloadError::Transient {
        host: host.clone(),
        why,
        retry_after,
    };
    let total = match plan {
        Plan::Append { total } => total,
        Plan::FromStart { total } => {
            have = 0;
            total
        }
        Plan::Whole => {
            progress(have, Some(have));
            return Ok(Downloaded {
                bytes: have,
                content_type: seen.content_type.clone(),
                length_proven: true,
            });
        }
        Plan::Expired => return Err(DownloadError::Expired { host, status }),
        Plan::Later | Plan::Restart => {
            let wait = retry_after(response.headers());
            return Err(later(format!("status {status}"), wait));
        }
        Plan::Page => return Err(later("a web page came instead of media".to_owned(), None)),
        Plan::Refused => return Err(DownloadError::Refused { host, status }),
    };
    if have == 0 {
        // First the old bytes go, then what proves new ones: after a crash between the two nothing is mixed up.
        part.set_len(0).await.map_err(DownloadError::Disk)?;
        part.rewind().await.map_err(DownloadError::Disk)?;
    }
    *seen = Seen {
        etag: headings
            .etag
            .clone()
            .or_else(|| seen.etag.take().filter(|_| have > 0)),
        total,
        content_type: headings.content_type.clone(),
    };

    let mut out = BufWriter::with_capacity(BUFFER_BYTES, part);
    progress(have, total);
    let stall = client.timeouts().download_stall;
    let end = loop {
        match timeout(stall, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                if let Err(error) = out.write_all(&chunk).await {
                    break Err(DownloadError::Disk(error));
                }
                have += chunk.len() as u64;
                progress(have, total);
            }
            Ok(Ok(None)) => break Ok(()),
            Ok(Err(error)) if is_reset(&error) => break Err(later(trouble(error), None)),
            Ok(Err(_)) => {
                break Err(DownloadError::Truncated {
                    host: host.clone(),
                    have,
                    total,
                });
            }
            Err(_) => {
                let why = format!("nothing came for {} s", stall.as_secs());
                break Err(later(why, None));
            }
        }
    };
    // Whatever ended it, what came goes to the file, so that the next try has it.
    out.flush().await.map_err(DownloadError::Disk)?;
    end?;
    failpoint::hit(Point::AfterRequest(Request::Download)).map_err(interrupted)?;
    if let Some(total) = total {
        if have < total {
            return Err(DownloadError::Truncated {
                host,
                have,
                total: Some(total),
            });
        }
        if have > total {
            // The server contradicts itself, so nothing of it is worth keeping.
            let part = out.into_inner();
            part.set_len(0).await.map_err(DownloadError::Disk)?;
            part.rewind().await.map_err(DownloadError::Disk)?;
            *seen = Seen::default();
            return Err(later(
                format!("more than the announced {total} bytes came"),
                None,
            ));
        }
    }
    Ok(Downloaded {
        bytes: have,
        content_type: headings.content_type,
        length_proven: total.is_some() || headings.chunked,
    })
}

/// Asks for the object from byte `have` on, and follows redirects; also tells which host answered.
async fn fetch(
    client: &Client,
    url: &OutputUrl,
    have: u64,
    seen: &Seen,
) -> Result<(Response, String), DownloadError> {
    let stall = client.timeouts().download_stall;
    let mut url = url.url().clone();
    for _ in 0..=MAX_REDIRECTS {
        let host = host_of(&url);
        if !client.may_use(&url) {
            return Err(DownloadError::Insecure { host });
        }
        let transient = |host, why: &str| DownloadError::Transient {
            host,
            why: why.to_owned(),
            retry_after: None,
        };
        let mut request = client
            .storage()
            .get(url.clone())
            .header(ACCEPT_ENCODING, "identity");
        if have > 0 {
            request = request.header(RANGE, format!("bytes={have}-"));
            if let Some(etag) = &seen.etag {
                request = request.header(IF_RANGE, etag);
            }
        }
        let response = match timeout(stall, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(transient(host, &trouble(error))),
            Err(_) => {
                let why = format!("no answer for {} s", stall.as_secs());
                return Err(transient(host, &why));
            }
        };
        match response.status().as_u16() {
            301 | 302 | 303 | 307 | 308 => {
                let target = header(response.headers(), LOCATION.as_str())
                    .map(|location| url.join(location));
                let Some(Ok(target)) = target else {
                    return Err(transient(host, "a redirect leads nowhere"));
                };
                url = target;
            }
            _ => return Ok((response, host)),
        }
    }
    Err(DownloadError::Transient {
        host: host_of(&url),
        why: format!("more than {MAX_REDIRECTS} redirects in a row"),
        retry_after: None,
    })
}

fn headings(response: &Response) -> Headings {
    let headers = response.headers();
    Headings {
        // A weak tag does not promise the same bytes.
        etag: header(headers, ETAG.as_str())
            .filter(|tag| tag.starts_with('"'))
            .map(str::to_owned),
        content_type: header(headers, CONTENT_TYPE.as_str()).map(str::to_owned),
        content_length: content_length(headers),
        content_range: header(headers, CONTENT_RANGE.as_str()).and_then(content_range),
        chunked: headers.contains_key(TRANSFER_ENCODING),
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    header(headers, CONTENT_LENGTH.as_str())?
        .trim()
        .parse()
        .ok()
}

/// Reads `bytes START-END/TOTAL`, where the part may be `*` and so may the total.
fn content_range(text: &str) -> Option<ContentRange> {
    let (part, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let number = |text: &str| text.trim().parse::<u64>().map(Some);
    let total = match total.trim() {
        "*" => Ok(None),
        total => number(total),
    };
    let start = match part.trim() {
        "*" => Ok(None),
        part => number(part.split_once('-')?.0),
    };
    match (start, total) {
        (Ok(start), Ok(total)) => Some(ContentRange { start, total }),
        (Err(_), _) | (_, Err(_)) => None,
    }
}

/// Whether the connection was reset, rather than closed too early.
fn is_reset(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && matches!(
                io.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::TimedOut
            )
        {
            return true;
        }
        source = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(etag: Option<&str>, total: Option<u64>) -> Seen {
        Seen {
            etag: etag.map(str::to_owned),
            total,
            content_type: None,
        }
    }

    fn part(etag: Option<&str>, range: &str) -> Headings {
        Headings {
            etag: etag.map(str::to_owned),
            content_range: content_range(range),
            ..Headings::default()
        }
    }

    #[test]
    fn a_part_is_continued_only_with_bytes_of_the_same_object() {
        let range = "bytes 10-99/100";
        let total = Some(100);
        let append = Plan::Append { total };
        let cases = [
            (seen(Some("\"a\""), total), part(Some("\"a\""), range), true),
            (seen(None, total), part(None, range), true),
            (seen(Some("\"a\""), None), part(Some("\"a\""), range), true),
            (
                seen(Some("\"a\""), total),
                part(Some("\"b\""), range),
                false,
            ),
            (seen(None, Some(90)), part(None, range), false),
            (
                seen(Some("\"a\""), Some(90)),
                part(Some("\"a\""), range),
                false,
            ),
            (seen(Some("\"a\""), None), part(None, range), false),
            (seen(None, total), part(None, "bytes 10-99/*"), false),
            (seen(None, total), part(None, "bytes 9-99/100"), false),
            (seen(None, total), part(None, "items"), false),
        ];
        for (seen, headings, same) in cases {
            let plan = plan(10, &seen, 206, &headings);
            assert_eq!(plan == append, same, "{seen:?} {headings:?}");
            assert_eq!(plan == Plan::Restart, !same, "{seen:?} {headings:?}");
        }
    }

    #[test]
    fn an_answer_without_a_range_starts_over() {
        let headings = Headings {
            content_length: Some(100),
            ..Headings::default()
        };
        let plan = plan(10, &seen(None, Some(100)), 200, &headings);
        assert_eq!(plan, Plan::FromStart { total: Some(100) });
    }

    #[test]
    fn a_range_beyond_the_end_means_whole_only_where_the_lengths_agree() {
        let headings = part(None, "bytes */100");
        let total = |total| seen(None, Some(total));
        assert_eq!(plan(100, &total(100), 416, &headings), Plan::Whole);
        assert_eq!(plan(100, &total(90), 416, &headings), Plan::Restart);
        assert_eq!(plan(99, &total(100), 416, &headings), Plan::Restart);
        assert_eq!(plan(0, &Seen::default(), 416, &headings), Plan::Refused);
    }

    #[test]
    fn statuses_lead_to_a_fresh_url_a_later_try_or_a_refusal() {
        let plan = |status| plan(0, &Seen::default(), status, &Headings::default());
        for status in [401, 403, 404, 410] {
            assert_eq!(plan(status), Plan::Expired);
        }
        for status in [206, 408, 429, 500, 503, 520] {
            assert_eq!(plan(status), Plan::Later);
        }
        for status in [204, 300, 400, 451] {
            assert_eq!(plan(status), Plan::Refused);
        }
    }

    #[test]
    fn a_web_page_is_no_output() {
        let headings = Headings {
            content_type: Some("Text/HTML; charset=utf-8".to_owned()),
            ..Headings::default()
        };
        assert_eq!(plan(0, &Seen::default(), 200, &headings), Plan::Page);
    }

    #[test]
    fn content_ranges_are_read_and_nonsense_is_not() {
        assert_eq!(
            content_range("bytes 5-9/10"),
            Some(ContentRange {
                start: Some(5),
                total: Some(10)
            })
        );
        assert_eq!(
            content_range("bytes */10"),
            Some(ContentRange {
                start: None,
                total: Some(10)
            })
        );
        for bad in [
            "",
            "bytes",
            "bytes 5/10",
            "bytes x-9/10",
            "bytes 5-9/x",
            "pages 1-2/3",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
