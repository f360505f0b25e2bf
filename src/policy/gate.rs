//! Gates that stop submissions: a bad key, missing credits, no network, a model's quota.
//!
//! A gate is closed for everything or for one lane, and opens after a time. While it is closed the queue waits, and the log
//! says so once, not for each job.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Why a gate is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The API refused the key, or there is none.
    Key(String),
    /// The organization is out of credits.
    Credits(String),
    /// The API cannot be reached, or sheds load.
    Trouble(String),
    /// A model's quota is used up, or requests come too fast.
    Quota(String),
}

impl Closed {
    /// The reason, for people.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Closed::Key(why) | Closed::Credits(why) | Closed::Trouble(why) | Closed::Quota(why) => {
                why
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Bar {
    why: Closed,
    until: Instant,
    times: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Gates {
    all: Option<Bar>,
    lanes: HashMap<String, Bar>,
}

impl Gates {
    /// Closes the gate for everything. Answers whether it was open or closed for another reason. `pause` computes for how long,
    /// from how many times in a row it was closed.
    pub(crate) fn close_all(
        &mut self,
        why: Closed,
        now: Instant,
        pause: impl Fn(u32) -> Duration,
    ) -> bool {
        let (bar, is_new) = shut(self.all.as_ref(), why, now, pause);
        self.all = Some(bar);
        is_new
    }

    /// Closes the gate for one lane, otherwise like [`Gates::close_all`].
    pub(crate) fn close_lane(
        &mut self,
        lane: &str,
        why: Closed,
        now: Instant,
        pause: impl Fn(u32) -> Duration,
    ) -> bool {
        let (bar, is_new) = shut(self.lanes.get(lane), why, now, pause);
        self.lanes.insert(lane.to_owned(), bar);
        is_new
    }

    /// Opens what is closed for a lane, since a request was accepted. Answers whether anything was closed.
    pub(crate) fn open_after_success(&mut self, lane: &str) -> bool {
        let one = self.lanes.remove(lane).is_some();
        self.all.take().is_some() || one
    }

    /// Opens all gates, to try again at once.
    pub(crate) fn open_all(&mut self) {
        self.all = None;
        self.lanes.clear();
    }

    /// Why a lane cannot pass now, if it cannot.
    pub(crate) fn closed(&self, lane: &str, now: Instant) -> Option<&Closed> {
        [self.all.as_ref(), self.lanes.get(lane)]
            .into_iter()
            .flatten()
            .find(|bar| bar.until > now)
            .map(|bar| &bar.why)
    }

    /// Why nothing is submitted, for people. A bad key and missing credits count until a request has been accepted: an attempt in
    /// between does not mean that they are fixed.
    pub(crate) fn stopped(&self, now: Instant) -> Option<&Closed> {
        self.all
            .as_ref()
            .filter(|bar| bar.until > now || matches!(bar.why, Closed::Key(_) | Closed::Credits(_)))
            .map(|bar| &bar.why)
    }

    /// The lanes that cannot pass now for a reason of their own.
    pub(crate) fn closed_lanes(&self, now: Instant) -> impl Iterator<Item = (&str, &Closed)> {
        self.lanes
            .iter()
            .filter(move |(_, bar)| bar.until > now)
            .map(|(lane, bar)| (lane.as_str(), &bar.why))
    }

    /// Whether everything waits for a valid key, also between two attempts.
    pub(crate) fn wait_for_key(&self) -> bool {
        let why = self.all.as_ref().map(|bar| &bar.why);
        matches!(why, Some(Closed::Key(_)))
    }

    /// When the next gate opens.
    pub(crate) fn next_opening(&self, now: Instant) -> Option<Instant> {
        self.all
            .iter()
            .chain(self.lanes.values())
            .map(|bar| bar.until)
            .filter(|until| *until > now)
            .min()
    }
}

fn shut(
    before: Option<&Bar>,
    why: Closed,
    now: Instant,
    pause: impl Fn(u32) -> Duration,
) -> (Bar, bool) {
    let same =
        before.filter(|bar| std::mem::discriminant(&bar.why) == std::mem::discriminant(&why));
    // Requests that were under way when the gate closed get the same answer: they count once.
    let still = same.filter(|bar| bar.until > now);
    let times = match (same, still) {
        (_, Some(bar)) => bar.times,
        (Some(bar), None) => bar.times.saturating_add(1),
        (None, _) => 1,
    };
    let until = match still {
        Some(bar) => bar.until,
        None => now.checked_add(pause(times)).unwrap_or(now),
    };
    (Bar { why, until, times }, same.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(times: u32) -> Duration {
        Duration::from_secs(u64::from(times))
    }

    #[test]
    fn a_closed_gate_is_reported_once_and_opens_after_a_time() {
        let mut gates = Gates::default();
        let now = Instant::now();
        let bad = || Closed::Key("bad key".into());
        assert!(gates.close_all(bad(), now, second));
        assert!(!gates.close_all(bad(), now, second));
        assert!(gates.closed("m", now).is_some());
        assert!(gates.closed("m", now + second(1)).is_none());
        // Closed again after it had opened: twice as long, and not reported.
        assert!(!gates.close_all(bad(), now + second(2), second));
        assert!(gates.closed("m", now + second(3)).is_some());
        assert!(gates.open_after_success("m"));
        assert!(gates.closed("m", now + second(3)).is_none());
    }

    #[test]
    fn a_bad_key_is_shown_between_two_attempts_and_a_network_problem_is_not() {
        let mut gates = Gates::default();
        let now = Instant::now();
        gates.close_all(Closed::Key("bad key".into()), now, second);
        let later = now + second(2);
        assert!(gates.closed("m", later).is_none());
        assert!(gates.stopped(later).is_some());
        gates.open_after_success("m");
        assert!(gates.stopped(later).is_none());
        gates.close_all(Closed::Trouble("no network".into()), now, second);
        assert!(gates.stopped(now).is_some() && gates.stopped(later).is_none());
    }

    #[test]
    fn a_models_quota_parks_that_model_and_no_other() {
        let mut gates = Gates::default();
        let now = Instant::now();
        gates.close_lane("veo3", Closed::Quota("daily quota".into()), now, second);
        assert!(gates.closed("veo3", now).is_some());
        assert!(gates.closed("gen4_turbo", now).is_none());
        assert_eq!(gates.next_opening(now), Some(now + second(1)));
    }
}
