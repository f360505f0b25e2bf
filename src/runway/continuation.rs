//! Whether what an earlier download left can be continued: pure.
//!
//! A part file is continued only with bytes of the same object. The earlier try noted the object's entity tag and length in
//! [`ObjectInfo`], and the rest has to agree with it; otherwise everything is fetched again.

use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, TRANSFER_ENCODING,
};

use super::transport::text_header;

/// What is known about the object that a part file belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The strong entity tag.
    pub(super) etag: Option<String>,
    /// The length in bytes.
    pub(super) total: Option<u64>,
    /// The media type, as the server says.
    pub(super) content_type: Option<String>,
}

impl ObjectInfo {
    /// Whether a download that has `have` bytes of the object can continue, and prove that the rest belongs to it.
    pub(super) fn can_continue(&self, have: u64) -> bool {
        let is_known = self.etag.is_some() || self.total.is_some();
        is_known && self.total.is_none_or(|total| total >= have)
    }
}

/// What an answer's headers say about the object and the part of it that follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Headings {
    pub(super) etag: Option<String>,
    pub(super) content_type: Option<String>,
    content_length: Option<u64>,
    content_range: Option<ContentRange>,
    /// Whether the body marks its own end.
    pub(super) chunked: bool,
}

/// A `Content-Range`, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ContentRange {
    /// Where the part begins; `None` in an answer without a part (`bytes */TOTAL`).
    start: Option<u64>,
    total: Option<u64>,
}

/// What to do with an answer to a request for the bytes from `have` on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The body continues the part file.
    Append { total: Option<u64> },
    /// The body is the object from its beginning.
    FromStart { total: Option<u64> },
    /// The part file already has the whole object.
    Whole,
    /// The part file cannot be continued: ask for everything.
    Restart,
    /// 401, 403, 404, 410.
    Expired,
    /// Try later.
    Later,
    /// A web page instead of media, perhaps from a proxy.
    Page,
    /// Another status.
    Refused,
}

pub(super) fn choose_plan(have: u64, known: &ObjectInfo, status: u16, headings: &Headings) -> Plan {
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
            }) if start == have && same_object(known, headings.etag.as_deref(), total) => {
                Plan::Append {
                    total: total.or(known.total),
                }
            }
            Some(_) | None if have > 0 => Plan::Restart,
            // Everything was asked for, so a part is not an answer.
            Some(_) | None => Plan::Later,
        },
        416 if have > 0 => {
            let total = headings.content_range.and_then(|range| range.total);
            if total == Some(have) && known.total == Some(have) {
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

/// Whether an answer is about the known object: something has to match, and nothing may differ.
fn same_object(known: &ObjectInfo, etag: Option<&str>, total: Option<u64>) -> bool {
    let tags = known.etag.as_deref().zip(etag).map(|(a, b)| a == b);
    let totals = known.total.zip(total).map(|(a, b)| a == b);
    match (tags, totals) {
        (Some(false), _) | (_, Some(false)) | (None, None) => false,
        (Some(true), _) | (_, Some(true)) => true,
    }
}

/// Reads what an answer says about its object.
pub(super) fn read_headings(headers: &HeaderMap) -> Headings {
    Headings {
        // A weak tag does not promise the same bytes.
        etag: text_header(headers, ETAG.as_str())
            .filter(|tag| tag.starts_with('"'))
            .map(str::to_owned),
        content_type: text_header(headers, CONTENT_TYPE.as_str()).map(str::to_owned),
        content_length: read_content_length(headers),
        content_range: text_header(headers, CONTENT_RANGE.as_str()).and_then(read_content_range),
        chunked: headers.contains_key(TRANSFER_ENCODING),
    }
}

fn read_content_length(headers: &HeaderMap) -> Option<u64> {
    text_header(headers, CONTENT_LENGTH.as_str())?
        .trim()
        .parse()
        .ok()
}

/// Reads `bytes START-END/TOTAL`, where the part may be `*` and so may the total.
fn read_content_range(text: &str) -> Option<ContentRange> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn known(etag: Option<&str>, total: Option<u64>) -> ObjectInfo {
        ObjectInfo {
            etag: etag.map(str::to_owned),
            total,
            content_type: None,
        }
    }

    fn part(etag: Option<&str>, range: &str) -> Headings {
        Headings {
            etag: etag.map(str::to_owned),
            content_range: read_content_range(range),
            ..Headings::default()
        }
    }

    #[test]
    fn a_part_is_continued_only_with_bytes_of_the_same_object() {
        let range = "bytes 10-99/100";
        let total = Some(100);
        let append = Plan::Append { total };
        let cases = [
            (
                known(Some("\"a\""), total),
                part(Some("\"a\""), range),
                true,
            ),
            (known(None, total), part(None, range), true),
            (known(Some("\"a\""), None), part(Some("\"a\""), range), true),
            (
                known(Some("\"a\""), total),
                part(Some("\"b\""), range),
                false,
            ),
            (known(None, Some(90)), part(None, range), false),
            (
                known(Some("\"a\""), Some(90)),
                part(Some("\"a\""), range),
                false,
            ),
            (known(Some("\"a\""), None), part(None, range), false),
            (known(None, total), part(None, "bytes 10-99/*"), false),
            (known(None, total), part(None, "bytes 9-99/100"), false),
            (known(None, total), part(None, "items"), false),
        ];
        for (seen, headings, same) in cases {
            let plan = choose_plan(10, &seen, 206, &headings);
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
        let plan = choose_plan(10, &known(None, Some(100)), 200, &headings);
        assert_eq!(plan, Plan::FromStart { total: Some(100) });
    }

    #[test]
    fn a_range_beyond_the_end_means_whole_only_where_the_lengths_agree() {
        let headings = part(None, "bytes */100");
        let total = |total| known(None, Some(total));
        assert_eq!(choose_plan(100, &total(100), 416, &headings), Plan::Whole);
        assert_eq!(choose_plan(100, &total(90), 416, &headings), Plan::Restart);
        assert_eq!(choose_plan(99, &total(100), 416, &headings), Plan::Restart);
        assert_eq!(
            choose_plan(0, &ObjectInfo::default(), 416, &headings),
            Plan::Refused
        );
    }

    #[test]
    fn statuses_lead_to_a_fresh_url_a_later_try_or_a_refusal() {
        let plan = |status| choose_plan(0, &ObjectInfo::default(), status, &Headings::default());
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
    fn a_web_page_is_not_an_output() {
        let headings = Headings {
            content_type: Some("Text/HTML; charset=utf-8".to_owned()),
            ..Headings::default()
        };
        assert_eq!(
            choose_plan(0, &ObjectInfo::default(), 200, &headings),
            Plan::Page
        );
    }

    #[test]
    fn content_ranges_are_read_and_nonsense_is_not() {
        assert_eq!(
            read_content_range("bytes 5-9/10"),
            Some(ContentRange {
                start: Some(5),
                total: Some(10)
            })
        );
        assert_eq!(
            read_content_range("bytes */10"),
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
            assert_eq!(read_content_range(bad), None, "{bad}");
        }
    }
}
