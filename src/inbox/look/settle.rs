//! Whether a file is finished or still being written. Pure: what was seen, and a clock.
//!
//! Only the daemon's own monotonic clock counts, from when it saw a change itself: the clocks of servers and clients differ, and
//! copying tools set old times on new files.

use std::time::{Duration, Instant};

use crate::files::Stamp;

/// What events say about a file's writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Nothing: there was no event, or events are not trusted.
    Unknown,
    /// It was written to and has not been closed since.
    Busy,
    /// It was closed, or renamed into place, and has not been written to since.
    Done,
}

/// A file as it was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// The version last seen.
    pub stamp: Stamp,
    /// When this version was first seen.
    pub since: Instant,
    /// Its writer, as far as events are trusted.
    pub writer: Writer,
}

/// What a file's content says about whether something is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Its own structure proves that nothing is missing.
    Whole,
    /// Its own structure says that something is missing: what.
    Partial(String),
    /// This kind of content shows neither.
    Unknowable,
}

/// Whether a file is finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It is finished.
    Finished,
    /// It is not finished, or that is not certain yet.
    NotYet {
        /// Why, for people.
        why: String,
        /// When to check again if nothing changes until then.
        look_again: Instant,
    },
}

/// A file that is provably incomplete gets this many times the quiet time before it counts as broken: a copy over a slow
/// connection may pause.
const PATIENCE: u32 = 3;

/// The same for a file that its writer still has open: copies over an unreliable connection pause for long. There is an end to
/// it, since a program may forget to close the file, and the event that reports it may be lost.
const PATIENCE_WITH_WRITER: u32 = 12;

/// Judges a file. `settle` is how long it must be quiet where nothing else proves it finished.
pub fn judge(sighting: &Sighting, content: &Content, settle: Duration, now: Instant) -> Judgement {
    let quiet = now.saturating_duration_since(sighting.since);
    let (times, why) = match (content, sighting.writer) {
        (Content::Whole, Writer::Done) => return Judgement::Finished,
        (Content::Whole | Content::Unknowable, Writer::Busy) => (
            PATIENCE_WITH_WRITER,
            "still being written: a program has it open".to_owned(),
        ),
        (Content::Partial(missing), Writer::Busy) => (
            PATIENCE_WITH_WRITER,
            format!("still being written: {missing}, and a program has it open"),
        ),
        (Content::Partial(missing), Writer::Unknown | Writer::Done) => {
            (PATIENCE, format!("still being written: {missing}"))
        }
        (Content::Whole, Writer::Unknown)
        | (Content::Unknowable, Writer::Unknown | Writer::Done) => {
            (1, "still being written".to_owned())
        }
    };
    let needed = settle.saturating_mul(times);
    if quiet >= needed {
        Judgement::Finished
    } else {
        Judgement::NotYet {
            why,
            look_again: sighting.since.checked_add(needed).unwrap_or(now),
        }
    }
}

/// The sighting after another scan: the same version keeps its time, a new one starts over. `writer` is what events have reported
/// since the last scan.
pub fn update_sighting(
    before: Option<&Sighting>,
    stamp: Stamp,
    writer: Writer,
    now: Instant,
) -> Sighting {
    let same = before.filter(|before| before.stamp == stamp);
    // A writer stays one until it closes the file, whatever else is done to the file meanwhile.
    let busy = before.filter(|before| {
        before.writer == Writer::Busy
            && (before.stamp.dev, before.stamp.ino) == (stamp.dev, stamp.ino)
    });
    Sighting {
        stamp,
        since: same.map_or(now, |same| same.since),
        writer: match (writer, same.or(busy)) {
            (Writer::Unknown, Some(before)) => before.writer,
            (Writer::Unknown, None) | (Writer::Busy | Writer::Done, _) => writer,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTLE: Duration = Duration::from_secs(5);

    fn stamp(size: u64) -> Stamp {
        Stamp {
            dev: 1,
            ino: 2,
            size,
            mtime: 3,
            ctime: 4,
        }
    }

    #[test]
    fn row_03_a_whole_file_is_taken_as_soon_as_its_writer_closes_it() {
        let now = Instant::now();
        let seen = update_sighting(None, stamp(9), Writer::Done, now);
        assert_eq!(
            judge(&seen, &Content::Whole, SETTLE, now),
            Judgement::Finished
        );
    }

    #[test]
    fn row_03_without_proof_a_file_must_be_quiet() {
        let now = Instant::now();
        let seen = update_sighting(None, stamp(9), Writer::Done, now);
        assert!(matches!(
            judge(&seen, &Content::Unknowable, SETTLE, now + SETTLE / 2),
            Judgement::NotYet { look_again, .. } if look_again == now + SETTLE
        ));
        assert_eq!(
            judge(&seen, &Content::Unknowable, SETTLE, now + SETTLE),
            Judgement::Finished
        );
    }

    #[test]
    fn row_03_a_file_that_is_cut_short_gets_more_time() {
        let now = Instant::now();
        let seen = update_sighting(None, stamp(9), Writer::Unknown, now);
        let partial = Content::Partial("the end is missing".into());
        assert!(matches!(
            judge(&seen, &partial, SETTLE, now + SETTLE),
            Judgement::NotYet { .. }
        ));
        assert_eq!(
            judge(&seen, &partial, SETTLE, now + SETTLE * PATIENCE),
            Judgement::Finished
        );
    }

    #[test]
    fn row_03_a_file_that_a_program_has_open_gets_more_time_and_not_for_ever() {
        let now = Instant::now();
        let mut seen = update_sighting(None, stamp(9), Writer::Busy, now);
        for content in [
            Content::Whole,
            Content::Unknowable,
            Content::Partial("x".into()),
        ] {
            let early = judge(&seen, &content, SETTLE, now + SETTLE * PATIENCE);
            assert!(matches!(early, Judgement::NotYet { .. }), "{content:?}");
            let late = judge(&seen, &content, SETTLE, now + SETTLE * PATIENCE_WITH_WRITER);
            assert_eq!(late, Judgement::Finished, "{content:?}");
        }
        // Its attributes change, and it is open still; then it is closed.
        let later = now + SETTLE;
        seen = update_sighting(
            Some(&seen),
            Stamp {
                ctime: 5,
                ..stamp(9)
            },
            Writer::Unknown,
            later,
        );
        assert_eq!((seen.writer, seen.since), (Writer::Busy, later));
        seen = update_sighting(Some(&seen), seen.stamp, Writer::Done, later + SETTLE);
        assert_eq!(
            judge(&seen, &Content::Whole, SETTLE, later + SETTLE),
            Judgement::Finished
        );
        // What the closed file becomes afterwards is another version, whose writer is unknown.
        seen = update_sighting(Some(&seen), stamp(10), Writer::Unknown, later + SETTLE);
        assert_eq!(seen.writer, Writer::Unknown);
    }

    proptest! {
        /// However a writer continues, the file is never taken within the quiet time after its last change.
        #[test]
        fn row_03_a_change_starts_the_quiet_time_again(gaps in prop::collection::vec(0_u64..4_999, 1..40)) {
            let mut now = Instant::now();
            let mut seen = update_sighting(None, stamp(0), Writer::Unknown, now);
            for (size, gap) in (1_u64..).zip(gaps) {
                now += Duration::from_millis(gap);
                let early = matches!(judge(&seen, &Content::Whole, SETTLE, now), Judgement::NotYet { .. });
                prop_assert!(early);
                seen = update_sighting(Some(&seen), stamp(size), Writer::Unknown, now);
            }
            prop_assert_eq!(judge(&seen, &Content::Whole, SETTLE, now + SETTLE), Judgement::Finished);
        }
    }
}
