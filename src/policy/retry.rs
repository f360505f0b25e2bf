//! What each failure leads to: the one table. Pure.
//!
//! Everything that can go wrong with a job is a [`Trouble`], and [`Trouble::policy`] says what follows: whether the job fails,
//! waits for a person or is tried again; what waits with it; how often, and after which pause. The same table is in
//! `docs/RETRIES.md`, and a test compares the two.
//!
//! Runway's documentation says what may be repeated (errors, task failures). Nothing else is ever repeated, whatever the
//! configuration says, except with `on_doubt: resubmit`.

use std::time::Duration;

use super::backoff::compute_delay;
use crate::runway::{FailureClass, RefusalClass};

/// Something that went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// A request that starts a task never left: no connection, no TLS.
    NotSent,
    /// 429 to a request that starts a task: a model's daily quota, or too many requests.
    TooMany,
    /// 502, 503 or 504 to a request that starts a task.
    Overloaded,
    /// 401, or no key.
    BadKey,
    /// 402, or 400 and 403 that speak of credits.
    OutOfCredits,
    /// 400 to a request that starts a task.
    Invalid,
    /// Another answer which says that no task was started.
    Refused,
    /// No answer, 500, 408, a 2xx without an id, or anything undocumented to a request that starts a task.
    Unknown,
    /// The same with `on_doubt: resubmit`.
    UnknownResubmit,
    /// A file could not be uploaded.
    Upload,
    /// Runway's storage refused a file.
    UploadRefused,
    /// A task could not be polled.
    Poll,
    /// 404 to a question about a task.
    TaskGone,
    /// A task that succeeded lists no output.
    NoOutput,
    /// A task failed with `INTERNAL` or `INTERNAL.BAD_OUTPUT.*`.
    TaskInternal,
    /// A task failed with `SAFETY.*`.
    TaskModeration,
    /// A task failed with `ASSET.INVALID`.
    TaskAsset,
    /// A task failed with another code, or none.
    TaskOther,
    /// An output could not be fetched, whatever the reason.
    Download,
    /// A folder cannot be used: full, read-only, offline, without permission.
    Folder,
    /// The journal cannot be written.
    Journal,
}

/// What happens to the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is tried again automatically, at most this often. After that the job fails or, with a doubt, waits for a person.
    Again(Option<u32>),
    /// It fails: a person has to change something.
    Fails,
    /// It waits for a person's decision: a task that costs credits may exist.
    Asks,
}

/// What waits meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// This job alone.
    Job,
    /// Everything of the same model.
    Model,
    /// All submissions.
    Everything,
}

/// A length of time, in milliseconds or in poll intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// Milliseconds.
    Millis(u64),
    /// Multiples of `runway.poll_interval`.
    Polls(u32),
}

impl Span {
    fn resolve(self, poll_interval: Duration) -> Duration {
        match self {
            Span::Millis(millis) => Duration::from_millis(millis),
            Span::Polls(polls) => poll_interval.saturating_mul(polls),
        }
    }
}

/// The pause before the next attempt: `first`, doubled after each failure up to `longest`, less a random part of up to half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) first: Span,
    /// Never below `first`.
    pub(crate) longest: Span,
}

impl Pause {
    const fn millis(first: u64, longest: u64) -> Pause {
        Pause {
            first: Span::Millis(first),
            longest: Span::Millis(longest),
        }
    }

    const fn polls(first: u32, longest: Span) -> Pause {
        Pause {
            first: Span::Polls(first),
            longest,
        }
    }
}

/// What follows from a [`Trouble`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) then: Then,
    pub(crate) holds: Holds,
    /// Zero where there is no next attempt.
    pub(crate) pause: Pause,
}

impl Trouble {
    /// What follows from it.
    pub(crate) fn policy(self) -> Policy {
        const MINUTES_5: Span = Span::Millis(300_000);
        let network = Pause::millis(1_000, 120_000);
        let disk = Pause::millis(500, 30_000);
        let again = |holds, pause| Policy {
            then: Then::Again(None),
            holds,
            pause,
        };
        let ends = |then| Policy {
            then,
            holds: Holds::Job,
            pause: Pause::millis(0, 0),
        };
        match self {
            Trouble::NotSent => again(Holds::Everything, network),
            Trouble::TooMany | Trouble::Overloaded => again(Holds::Model, network),
            Trouble::BadKey | Trouble::OutOfCredits => {
                again(Holds::Everything, Pause::polls(6, MINUTES_5))
            }
            Trouble::Invalid | Trouble::Refused | Trouble::UploadRefused => ends(Then::Fails),
            Trouble::Unknown => ends(Then::Asks),
            Trouble::UnknownResubmit => Policy {
                then: Then::Again(Some(4)),
                holds: Holds::Job,
                pause: Pause::millis(1_000, 300_000),
            },
            Trouble::Upload => again(Holds::Job, network),
            Trouble::Poll => again(Holds::Job, Pause::polls(2, MINUTES_5)),
            // Each attempt is a poll: ten minutes of them at the default interval.
            Trouble::TaskGone | Trouble::NoOutput => Policy {
                then: Then::Again(Some(120)),
                holds: Holds::Job,
                pause: Pause::polls(1, Span::Polls(1)),
            },
            Trouble::TaskInternal => Policy {
                then: Then::Again(Some(2)),
                holds: Holds::Job,
                pause: Pause::polls(2, MINUTES_5),
            },
            Trouble::TaskModeration | Trouble::TaskAsset | Trouble::TaskOther => ends(Then::Fails),
            Trouble::Download | Trouble::Folder | Trouble::Journal => again(Holds::Job, disk),
        }
    }

    /// Whether it is tried again automatically, after `failed` earlier attempts with the same trouble.
    pub(crate) fn is_repeated(self, failed: u32) -> bool {
        match self.policy().then {
            Then::Again(None) => true,
            Then::Again(Some(times)) => failed < times,
            Then::Fails | Then::Asks => false,
        }
    }

    /// Computes the pause after the `failed`-th attempt in a row with this trouble, counted from 1, and at least as long as the
    /// server asks. `jitter` is from 0 to 1.
    pub(crate) fn pause(
        self,
        failed: u32,
        poll_interval: Duration,
        retry_after: Option<Duration>,
        jitter: f64,
    ) -> Duration {
        let Pause { first, longest } = self.policy().pause;
        let first = first.resolve(poll_interval);
        let longest = longest.resolve(poll_interval).max(first);
        let pause = compute_delay(failed, first, longest, jitter);
        pause.max(retry_after.unwrap_or_default())
    }
}

impl From<RefusalClass> for Trouble {
    fn from(class: RefusalClass) -> Trouble {
        match class {
            RefusalClass::Invalid => Trouble::Invalid,
            RefusalClass::BadKey => Trouble::BadKey,
            RefusalClass::OutOfCredits => Trouble::OutOfCredits,
            RefusalClass::TooMany => Trouble::TooMany,
            RefusalClass::Overloaded => Trouble::Overloaded,
            RefusalClass::Forbidden | RefusalClass::NotFound | RefusalClass::Other => {
                Trouble::Refused
            }
        }
    }
}

impl From<FailureClass> for Trouble {
    fn from(class: FailureClass) -> Trouble {
        match class {
            FailureClass::Moderation { .. } => Trouble::TaskModeration,
            FailureClass::MayRepeat => Trouble::TaskInternal,
            FailureClass::BadAsset => Trouble::TaskAsset,
            FailureClass::Other => Trouble::TaskOther,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use std::fmt::Write as _;

    /// In the order of the documentation.
    const ALL: [Trouble; 21] = [
        Trouble::NotSent,
        Trouble::TooMany,
        Trouble::Overloaded,
        Trouble::BadKey,
        Trouble::OutOfCredits,
        Trouble::Invalid,
        Trouble::Refused,
        Trouble::Unknown,
        Trouble::UnknownResubmit,
        Trouble::Upload,
        Trouble::UploadRefused,
        Trouble::Poll,
        Trouble::TaskGone,
        Trouble::NoOutput,
        Trouble::TaskInternal,
        Trouble::TaskModeration,
        Trouble::TaskAsset,
        Trouble::TaskOther,
        Trouble::Download,
        Trouble::Folder,
        Trouble::Journal,
    ];

    /// A description for the documentation.
    fn describe(trouble: Trouble) -> &'static str {
        match trouble {
            Trouble::NotSent => "submit: no connection, no name, no TLS",
            Trouble::TooMany => "submit: 429, a model's daily quota or too many requests",
            Trouble::Overloaded => "submit: 502, 503, 504",
            Trouble::BadKey => "any request: 401, or no usable key",
            Trouble::OutOfCredits => "submit: 402, or 400 and 403 that speak of credits",
            Trouble::Invalid => "submit: 400",
            Trouble::Refused => {
                "submit: 403, 404, 405, and others that say that nothing was done (406, 407, 410–417, 421, 422, 425, 426, 428, \
                 431, 451)"
            }
            Trouble::Unknown => {
                "submit: 500, 408, 409, a redirect, any status not named here, a time-out or reset after sending began, a 2xx \
                 without a readable id, a crash before the answer was written down"
            }
            Trouble::UnknownResubmit => "the same, with `on_doubt: resubmit`",
            Trouble::Upload => "upload: anything but a refusal",
            Trouble::UploadRefused => "upload: the file is refused for good",
            Trouble::Poll => "poll: no answer, 4xx, 5xx, or an unreadable answer",
            Trouble::TaskGone => "poll: 404, under the key that the task was accepted by",
            Trouble::NoOutput => "poll: `SUCCEEDED` without outputs",
            Trouble::TaskInternal => "task: `INTERNAL`, `INTERNAL.BAD_OUTPUT.*`",
            Trouble::TaskModeration => "task: `SAFETY.*`",
            Trouble::TaskAsset => "task: `ASSET.INVALID`",
            Trouble::TaskOther => "task: another code, or none",
            Trouble::Download => {
                "download: broken off, expired, refused, not what was promised, host away"
            }
            Trouble::Folder => "a folder: full, read-only, offline, no permission",
            Trouble::Journal => "the journal: its disk full, read-only, no permission",
        }
    }

    fn span(span: Span) -> String {
        match span {
            Span::Millis(millis) if millis % 60_000 == 0 => format!("{} min", millis / 60_000),
            Span::Millis(millis) if millis % 1_000 == 0 => format!("{} s", millis / 1_000),
            Span::Millis(millis) => format!("{millis} ms"),
            Span::Polls(polls) => format!("{polls} × `poll_interval`"),
        }
    }

    /// The table as the documentation has it.
    fn table() -> String {
        let mut text =
            "| what went wrong | what follows | what waits | pause |\n|---|---|---|---|\n"
                .to_owned();
        for trouble in ALL {
            let Policy { then, holds, pause } = trouble.policy();
            let (follows, repeats) = match then {
                Then::Again(None) => ("again, however often".to_owned(), true),
                Then::Again(Some(times)) => {
                    let end = match trouble {
                        Trouble::UnknownResubmit => "in doubt",
                        _ => "failed",
                    };
                    (format!("again, {times} times at most; then {end}"), true)
                }
                Then::Fails => ("failed".to_owned(), false),
                Then::Asks => ("**in doubt**: a person decides".to_owned(), false),
            };
            let waits = match holds {
                _ if !repeats => "",
                Holds::Job => "the job",
                Holds::Model => "the model's queue",
                Holds::Everything => "every submission",
            };
            let pause = match (repeats, pause.first == pause.longest) {
                (false, _) => String::new(),
                (true, true) => span(pause.first),
                (true, false) => format!("{} to {}", span(pause.first), span(pause.longest)),
            };
            writeln!(
                text,
                "| {} | {follows} | {waits} | {pause} |",
                describe(trouble)
            )
            .unwrap();
        }
        text
    }

    #[test]
    fn the_documentation_has_the_same_table() {
        let documented = include_str!("../../docs/RETRIES.md");
        let table = table();
        assert!(
            documented.contains(&table),
            "docs/RETRIES.md should hold:\n\n{table}"
        );
    }

    #[test]
    fn what_may_have_been_paid_for_is_not_repeated_automatically() {
        assert_eq!(Trouble::Unknown.policy().then, Then::Asks);
        for failed in 0..10 {
            assert!(!Trouble::Unknown.is_repeated(failed));
            assert!(!Trouble::TaskModeration.is_repeated(failed));
            assert_eq!(Trouble::TaskInternal.is_repeated(failed), failed < 2);
            // What is paid for is fetched however often that takes.
            assert!(Trouble::Download.is_repeated(u32::MAX) && Trouble::Poll.is_repeated(u32::MAX));
        }
    }

    #[test]
    fn pauses_grow_to_their_bound_and_never_undercut_what_the_server_asks() {
        let poll = Duration::from_secs(5);
        for trouble in ALL {
            let mut before = Duration::ZERO;
            for failed in 1..40 {
                let pause = trouble.pause(failed, poll, None, 0.0);
                assert!(pause >= before, "{trouble:?}");
                assert!(trouble.pause(failed, poll, None, 1.0) >= pause / 2);
                before = pause;
            }
            assert!(
                before <= Duration::from_secs(300),
                "{trouble:?} waits {before:?}"
            );
            let asked = Duration::from_secs(3600);
            assert_eq!(trouble.pause(1, poll, Some(asked), 1.0), asked);
        }
    }
}
