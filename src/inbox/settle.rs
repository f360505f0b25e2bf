//! Whether a file is finished or still being written. Pure: what was seen, and a clock.
//!
//! Time is the daemon's own monotonic clock from what it saw itself: clocks of servers and clients differ, and copying
//! tools set old times on new files.

use std::time::{Duration, Instant};

use crate::job::Version;

/// What tells two versions of a file apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change of content, in nanoseconds since 1970, as the filesystem tells it.
    pub mtime: i128,
    /// Time of the last change of content, name or attributes, in nanoseconds since 1970.
    pub ctime: i128,
}

impl Stamp {
    /// The version as the journal keeps it.
    pub fn version(&self) -> Version {
        Version {
            inode: Some(self.ino),
            bytes: self.size,
            // Nanoseconds fit until the year 2262; what lies beyond is the same version each time all the same.
            modified: i64::try_from(self.mtime).unwrap_or(i64::MAX),
        }
    }
}

/// What is known of a file's writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// The version last seen.
    pub stamp: Stamp,
    /// When this version was first seen.
    pub since: Instant,
    /// Whether its writer closed it, or renamed it into place, and nobody has written since; known only where events can
    /// be trusted.
    pub closed: bool,
}

/// What its content says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Its own structure proves that nothing is missing.
    Whole,
    /// Its own structure says that something is missing: what.
    Partial(String),
    /// This kind of content proves neither.
    Unknowable,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It is finished.
    Finished,
    /// It is not, or that is not certain yet.
    NotYet {
        /// Why, in words.
        why: String,
        /// When to look again if nothing happens meanwhile.
        look_again: Instant,
    },
}

/// A file that is provably cut short is given this many times the quiet time before it is taken for broken: a copy over a
/// slow line may pause.
const PATIENCE: u32 = 3;

/// Judges a file. `settle` is how long it must be quiet where nothing else proves it finished.
pub fn judge(sighting: &Sighting, content: &Content, settle: Duration, now: Instant) -> Judgement {
    let quiet = now.saturating_duration_since(sighting.since);
    let (needed, why) = match content {
        Content::Whole if sighting.closed => return Judgement::Finished,
        Content::Whole | Content::Unknowable => (settle, "still being written".to_owned()),
        Content::Partial(missing) => (
            settle.saturating_mul(PATIENCE),
            format!("still being written: {missing}"),
        ),
    };
    if quiet >= needed {
        Judgement::Finished
    } else {
        Judgement::NotYet {
            why,
            look_again: sighting.since.checked_add(needed).unwrap_or(now),
        }
    }
}

/// What is known after another look: the same version keeps its time, a new one starts anew.
pub fn look(before: Option<&Sighting>, stamp: Stamp, closed: bool, now: Instant) -> Sighting {
    match before {
        Some(before) if before.stamp == stamp => Sighting {
            closed: closed || before.closed,
            ..*before
        },
        _ => Sighting {
            stamp,
            since: now,
            closed,
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
    fn a_whole_file_is_taken_as_soon_as_its_writer_closes_it() {
        let now = Instant::now();
        let seen = look(None, stamp(9), true, now);
        assert_eq!(
            judge(&seen, &Content::Whole, SETTLE, now),
            Judgement::Finished
        );
    }

    #[test]
    fn row_03_without_proof_a_file_must_be_quiet() {
        let now = Instant::now();
        let seen = look(None, stamp(9), true, now);
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
    fn a_file_that_is_cut_short_gets_more_time() {
        let now = Instant::now();
        let seen = look(None, stamp(9), false, now);
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

    proptest! {
        /// However a writer goes on, the file is never taken within the quiet time of its last change.
        #[test]
        fn a_change_starts_the_quiet_time_anew(gaps in prop::collection::vec(0_u64..4_999, 1..40)) {
            let mut now = Instant::now();
            let mut seen = look(None, stamp(0), false, now);
            for (size, gap) in (1_u64..).zip(gaps) {
                now += Duration::from_millis(gap);
                let early = matches!(judge(&seen, &Content::Whole, SETTLE, now), Judgement::NotYet { .. });
                prop_assert!(early);
                seen = look(Some(&seen), stamp(size), false, now);
            }
            prop_assert_eq!(judge(&seen, &Content::Whole, SETTLE, now + SETTLE), Judgement::Finished);
        }
    }
}
