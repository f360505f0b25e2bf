//! The outcome of a request, as types, and the pure functions that decide it.
//!
//! They follow the table in Runway's documentation of errors. For a request that starts a task the question is always: can a
//! task exist that is charged? If the answer is a certain no, the request may be sent again or the user informed. Otherwise it is
//! [`Submission::Unknown`], and is not sent again automatically.
//!
//! Statuses that the table does not have:
//!
//! - 406, 407, 410 to 417, 421, 422, 425, 426, 428, 431 and 451 say by their definition in RFC 9110 (and RFC 6585,
//!   7725, 8470) that the request was not carried out: refused.
//! - 408, 409, 501, a redirect (which is never followed) and undefined statuses do not say so: unknown.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use super::ids::TaskId;
use super::wire;

/// The longest pause that is accepted from `Retry-After`: the daily quota covers 24 hours.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The outcome of a request that starts a task. The variant decides whether it may be sent again.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Submission {
    /// No byte of the request left this machine: it may be sent again.
    NotSent(NotSent),
    /// Runway started no task. The class of the refusal decides whether and when to send again.
    Refused(Refusal),
    /// The task exists.
    Accepted {
        /// Its id.
        task: TaskId,
        /// Runway's estimate of its cost in credits, where it gave one.
        estimated: Option<f64>,
    },
    /// A task may exist and be charged. Not to be sent again unless the operator decides so.
    Unknown(Doubt),
}

/// A request that was not sent: no connection, or no TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSent {
    /// The request and the host, for people.
    pub at: String,
    /// The reason.
    pub why: String,
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "nothing was sent to Runway ({}): {}. No credits were charged; check the network, the request may be sent \
             again",
            self.at, self.why
        )
    }
}

/// A request that Runway refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The request and the host, for people.
    pub at: String,
    /// The HTTP status.
    pub status: u16,
    /// The kind of refusal.
    pub class: RefusalClass,
    /// Runway's message: its `error`, and its `issues` per field. Bounded.
    pub message: String,
    /// How long Runway asks to wait before the next try, at most 24 hours.
    pub retry_after: Option<Duration>,
}

/// The kind of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalClass {
    /// 400: something in the body. The user has to fix it.
    Invalid,
    /// 401: the key is wrong. Nothing else will be accepted either.
    BadKey,
    /// 402, or 400 and 403 about credits: possible again once there are credits.
    OutOfCredits,
    /// 403: the organization may not do this.
    Forbidden,
    /// 404, 405: no such endpoint or method.
    NotFound,
    /// 429: the daily quota, or too many requests. May be sent again later.
    TooMany,
    /// 502, 503, 504: Runway sheds load. May be sent again, with backoff.
    Overloaded,
    /// Another status that says that nothing was done.
    Other,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Runway refused the request ({}, status {}): {}. No credits were charged; {}",
            self.at,
            self.status,
            self.message,
            match self.class {
                RefusalClass::Invalid => "fix what it names, then try again",
                RefusalClass::BadKey =>
                    "put a valid API key where the configuration says, then reload",
                RefusalClass::OutOfCredits =>
                    "buy credits in Runway's developer portal, then try again",
                RefusalClass::Forbidden =>
                    "ask Runway whether your organization may use this model",
                RefusalClass::NotFound => "check the endpoint and the base URL",
                RefusalClass::TooMany | RefusalClass::Overloaded => "try again later",
                RefusalClass::Other => "compare the request with Runway's documentation",
            }
        )
    }
}

/// A request whose outcome is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The request and the host, for people.
    pub at: String,
    /// Why it is unknown.
    pub why: String,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// When the answer was written, by the answering server's clock: where to look for the task in Runway's portal.
    pub http_date: Option<Timestamp>,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "it is not known whether Runway accepted the request ({}): {}. A task may exist and be charged: look for it in \
             Runway's developer portal, then settle the job with `taxiway resolve`",
            self.at, self.why
        )
    }
}

/// Why a request that costs nothing (a poll, a cancellation, asking for credits) failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The network or Runway's servers had trouble: ask again later.
    #[error("no answer from Runway ({at}): {why}. Nothing is lost; the request may be repeated")]
    Transient {
        /// The request and the host, for people.
        at: String,
        /// What went wrong.
        why: String,
        /// How long Runway asks to wait, at most 24 hours.
        retry_after: Option<Duration>,
    },
    /// 401: the key is wrong.
    #[error(
        "Runway refused the API key ({at}): {message}. Put a valid API key where the configuration says, then reload"
    )]
    BadKey {
        /// The request and the host, for people.
        at: String,
        /// Runway's message.
        message: String,
    },
    /// 404 from the API itself: there is no such task, or it was deleted.
    #[error(
        "Runway does not have it ({at}). This is the answer for a task that was deleted: look for it in Runway's \
         developer portal"
    )]
    NotFound {
        /// The request and the host, for people.
        at: String,
    },
    /// Another refusal.
    #[error(
        "Runway refused the request ({at}, status {status}): {message}. Check the base URL and what the key may do"
    )]
    Refused {
        /// The request and the host, for people.
        at: String,
        /// The HTTP status.
        status: u16,
        /// Runway's message.
        message: String,
    },
    /// Not an answer of the API: perhaps a proxy answered. Ask again later.
    #[error(
        "the answer is not from Runway's API ({at}): {why}. Check the base URL and any proxy; the request may be \
         repeated"
    )]
    Garbage {
        /// The request and the host, for people.
        at: String,
        /// What came instead.
        why: String,
    },
}

impl CallError {
    /// A success whose body is not one that the API gives.
    pub(super) fn garbage(at: &str, wire::Unreadable(why): wire::Unreadable) -> CallError {
        CallError::Garbage {
            at: at.to_owned(),
            why,
        }
    }
}

/// The outcome of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// Runway accepted it. A task that was already running is not refunded, and may still finish.
    Accepted,
    /// The task no longer exists.
    Gone,
}

/// What the failure code of a task means for the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// Moderation: not to be repeated.
    Moderation {
        /// Whether the input was refused; then the credits are not refunded.
        input: bool,
    },
    /// An error inside Runway: the same request may be repeated.
    MayRepeat,
    /// A media file was refused: the user has to fix it.
    BadAsset,
    /// Anything else: not to be repeated automatically.
    Other,
}

/// Classifies the failure code of a task as Runway's documentation does. A job with an undocumented code is never repeated, since
/// that may cost credits.
#[must_use]
pub fn classify_failure(code: Option<&str>) -> FailureClass {
    let Some(code) = code else {
        return FailureClass::Other;
    };
    let is = |name: &str| {
        code.strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if is("SAFETY") {
        FailureClass::Moderation {
            input: is("SAFETY.INPUT"),
        }
    } else if code == "INTERNAL" || is("INTERNAL.BAD_OUTPUT") {
        FailureClass::MayRepeat
    } else if is("ASSET.INVALID") {
        FailureClass::BadAsset
    } else {
        FailureClass::Other
    }
}

/// The parts of an HTTP answer that decide the outcome.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) date: Option<Timestamp>,
    /// The body, or why it could not be read to its end.
    pub(super) body: Result<Vec<u8>, String>,
}

impl Answer {
    /// What an error answer says, even if its body was lost.
    fn complaint(&self) -> wire::Complaint {
        wire::complaint(self.body.as_deref().unwrap_or_default())
    }
}

/// Judges the answer to a request that starts a task.
pub(super) fn judge_submission(at: String, answer: &Answer) -> Submission {
    let refused = |at, class| {
        Submission::Refused(Refusal {
            at,
            status: answer.status,
            class,
            message: answer.complaint().message,
            retry_after: answer.retry_after,
        })
    };
    let unknown = |at, why| {
        Submission::Unknown(Doubt {
            at,
            why,
            status: Some(answer.status),
            http_date: answer.date,
        })
    };
    match answer.status {
        200..=299 => match &answer.body {
            Ok(body) => match wire::started(body) {
                Ok(wire::Started { task, estimated }) => Submission::Accepted { task, estimated },
                Err(wire::Unreadable(why)) => {
                    unknown(at, format!("status {}, but {why}", answer.status))
                }
            },
            Err(why) => unknown(
                at,
                format!(
                    "status {}, but the answer was cut off: {why}",
                    answer.status
                ),
            ),
        },
        400 if answer.complaint().about_credits => refused(at, RefusalClass::OutOfCredits),
        400 => refused(at, RefusalClass::Invalid),
        401 => refused(at, RefusalClass::BadKey),
        402 => refused(at, RefusalClass::OutOfCredits),
        403 if answer.complaint().about_credits => refused(at, RefusalClass::OutOfCredits),
        403 => refused(at, RefusalClass::Forbidden),
        404 | 405 => refused(at, RefusalClass::NotFound),
        406 | 407 | 410..=417 | 421 | 422 | 425 | 426 | 428 | 431 | 451 => {
            refused(at, RefusalClass::Other)
        }
        429 => refused(at, RefusalClass::TooMany),
        502..=504 => refused(at, RefusalClass::Overloaded),
        300..=399 => unknown(
            at,
            format!(
                "status {}, a redirect, which is not followed",
                answer.status
            ),
        ),
        _ => unknown(
            at,
            format!("status {}: {}", answer.status, answer.complaint().message),
        ),
    }
}

/// Judges the answer to a request that costs nothing, and returns the body of a success.
pub(super) fn judge_call<'a>(at: &str, answer: &'a Answer) -> Result<&'a [u8], CallError> {
    let at = at.to_owned();
    let message = || answer.complaint().message;
    // A web page with 401 or 404 comes from a proxy or a portal, and says nothing about the key or the task.
    let from_the_api = || matches!(&answer.body, Ok(body) if !wire::is_page(body));
    match answer.status {
        200..=299 => match &answer.body {
            Ok(body) => Ok(body),
            Err(why) => Err(CallError::Transient {
                at,
                why: format!("the answer was cut off: {why}"),
                retry_after: None,
            }),
        },
        401 if from_the_api() => Err(CallError::BadKey {
            at,
            message: message(),
        }),
        404 if from_the_api() => Err(CallError::NotFound { at }),
        408 | 409 | 425 | 429 | 500..=599 => Err(CallError::Transient {
            at,
            why: format!("status {}: {}", answer.status, message()),
            retry_after: answer.retry_after,
        }),
        status @ (401 | 404) => Err(CallError::Garbage {
            at,
            why: format!("status {status}: {}", message()),
        }),
        status @ 400..=499 => Err(CallError::Refused {
            at,
            status,
            message: message(),
        }),
        status => Err(CallError::Garbage {
            at,
            why: format!("status {status}, which the API does not use"),
        }),
    }
}

/// Reads an HTTP date, such as `Wed, 21 Oct 2015 07:28:00 GMT`. The obsolete forms are not read.
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

/// Reads `Retry-After`, seconds or an HTTP date, as a pause from `now`, which should be the answer's own `Date`, so that the two
/// clocks may differ. At most 24 hours.
pub(super) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let pause = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // All digits, so what does not fit is too large.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let until = http_date(text)?.duration_since(now);
        Duration::try_from(until).unwrap_or(Duration::ZERO)
    };
    Some(pause.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            retry_after: None,
            date: None,
            body: Ok(body.as_bytes().to_vec()),
        }
    }

    fn class(status: u16, body: &str) -> Option<RefusalClass> {
        match judge_submission("here".into(), &answer(status, body)) {
            Submission::Refused(refusal) => Some(refusal.class),
            Submission::Unknown(doubt) => {
                assert_eq!(doubt.status, Some(status));
                None
            }
            other => panic!("{status}: {other:?}"),
        }
    }

    #[test]
    fn submissions_are_judged_as_the_documentation_says() {
        let body = r#"{"error":"no"}"#;
        assert_eq!(class(400, body), Some(RefusalClass::Invalid));
        assert_eq!(class(401, body), Some(RefusalClass::BadKey));
        assert_eq!(class(402, body), Some(RefusalClass::OutOfCredits));
        assert_eq!(class(403, body), Some(RefusalClass::Forbidden));
        assert_eq!(class(404, body), Some(RefusalClass::NotFound));
        assert_eq!(class(405, body), Some(RefusalClass::NotFound));
        assert_eq!(class(429, body), Some(RefusalClass::TooMany));
        for status in [502, 503, 504] {
            assert_eq!(class(status, body), Some(RefusalClass::Overloaded));
        }
        assert_eq!(class(413, body), Some(RefusalClass::Other));
        let credits = r#"{"error":"You do not have enough credits to run this task."}"#;
        assert_eq!(class(400, credits), Some(RefusalClass::OutOfCredits));
        assert_eq!(class(403, credits), Some(RefusalClass::OutOfCredits));
    }

    #[test]
    fn whatever_is_not_certainly_refused_is_unknown() {
        for status in [
            100, 101, 300, 301, 307, 308, 408, 409, 418, 420, 499, 500, 501, 505, 507, 520, 529,
            599, 999,
        ] {
            assert_eq!(class(status, r#"{"error":"no"}"#), None, "{status}");
        }
        for body in ["", "<html>", "{}", r#"{"id":7}"#, r#"{"id":"../x"}"#, "OK"] {
            assert_eq!(class(200, body), None, "{body}");
        }
    }

    #[test]
    fn every_status_has_an_outcome_and_only_a_2xx_with_an_id_is_accepted() {
        for status in 0..=1000 {
            let answer = answer(status, r#"{"id":"t1","estimatedCost":{"credits":25}}"#);
            let outcome = judge_submission("here".into(), &answer);
            assert_eq!(
                matches!(outcome, Submission::Accepted { .. }),
                (200..300).contains(&status)
            );
        }
    }

    #[test]
    fn a_refusal_whose_body_was_lost_is_still_a_refusal() {
        let mut answer = answer(503, "");
        answer.body = Err("reset".into());
        assert!(matches!(
            judge_submission("here".into(), &answer),
            Submission::Refused(_)
        ));
        answer.status = 200;
        assert!(matches!(
            judge_submission("here".into(), &answer),
            Submission::Unknown(_)
        ));
    }

    #[test]
    fn a_page_at_404_does_not_mean_that_the_task_is_gone() {
        assert!(matches!(
            judge_call("here", &answer(404, "<html>")),
            Err(CallError::Garbage { .. })
        ));
        assert!(matches!(
            judge_call("here", &answer(404, r#"{"error":"not found"}"#)),
            Err(CallError::NotFound { .. })
        ));
        assert!(matches!(
            judge_call("here", &answer(401, "<html>")),
            Err(CallError::Garbage { .. })
        ));
        assert!(matches!(
            judge_call("here", &answer(401, "{}")),
            Err(CallError::BadKey { .. })
        ));
    }

    #[test]
    fn a_poll_that_meets_trouble_is_transient() {
        for status in [408, 429, 500, 502, 503, 504, 520] {
            assert!(matches!(
                judge_call("here", &answer(status, "")),
                Err(CallError::Transient { .. })
            ));
        }
        assert!(matches!(
            judge_call("here", &answer(302, "")),
            Err(CallError::Garbage { .. })
        ));
        assert!(matches!(
            judge_call("here", &answer(403, "")),
            Err(CallError::Refused { status: 403, .. })
        ));
    }

    #[test]
    fn failure_codes_are_classified_as_documented() {
        use FailureClass::{BadAsset, MayRepeat, Moderation, Other};
        for (code, class) in [
            ("SAFETY.INPUT.TEXT", Moderation { input: true }),
            ("SAFETY.INPUT", Moderation { input: true }),
            ("SAFETY.OUTPUT.VIDEO", Moderation { input: false }),
            ("INTERNAL", MayRepeat),
            ("INTERNAL.BAD_OUTPUT.CODE01", MayRepeat),
            ("INTERNAL.OTHER", Other),
            ("INTERNALS", Other),
            ("ASSET.INVALID", BadAsset),
            ("", Other),
        ] {
            assert_eq!(classify_failure(Some(code)), class, "{code}");
        }
        assert_eq!(classify_failure(None), Other);
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now = http_date("Wed, 21 Oct 2015 07:28:00 GMT").unwrap();
        let seconds = |text| retry_after(text, now).map(|pause| pause.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Wed, 21 Oct 2015 07:29:30 GMT"), Some(90));
        assert_eq!(seconds("Wed, 21 Oct 2015 07:20:00 GMT"), Some(0));
        assert_eq!(seconds("Sun, 21 Oct 2035 07:20:00 GMT"), Some(86_400));
        assert_eq!(seconds("99999999999999999999999"), Some(86_400));
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds("-5"), None);
        assert_eq!(seconds(""), None);
    }
}
