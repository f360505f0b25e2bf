//! Decides whose turn it is. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};

use jiff::Timestamp;

use crate::job::JobId;

/// A job that could start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) id: JobId,
    pub(crate) inbox: String,
    /// What counts against one limit at Runway: the model, or the endpoint where there is none.
    pub(crate) lane: String,
    /// Larger goes first.
    pub(crate) priority: i64,
    /// Older goes first.
    pub(crate) created_at: Timestamp,
}

/// Chooses the jobs that may start now, in order: by priority, then in turn between inboxes, then by age, as far as each lane
/// has room.
///
/// `room` is how many more tasks each lane may have; a lane that is not listed has none. `last` is the inbox that had the last
/// turn. `admit` is asked about each job that would have a place. A job that it refuses takes none, and the next one is asked
/// about.
pub(crate) fn choose_next(
    ready: Vec<Ready>,
    room: &HashMap<String, usize>,
    last: Option<&str>,
    mut admit: impl FnMut(&Ready) -> bool,
) -> Vec<Ready> {
    let mut room = room.clone();
    // Priorities from the largest down; in each, a queue by age for each inbox.
    let mut classes: BTreeMap<std::cmp::Reverse<i64>, BTreeMap<String, Vec<Ready>>> =
        BTreeMap::new();
    for job in ready {
        if room.get(&job.lane).is_some_and(|room| *room > 0) {
            classes
                .entry(std::cmp::Reverse(job.priority))
                .or_default()
                .entry(job.inbox.clone())
                .or_default()
                .push(job);
        }
    }
    let mut chosen = Vec::new();
    let mut last = last.map(str::to_owned);
    for (_, inboxes) in classes {
        let mut queues: VecDeque<(String, VecDeque<Ready>)> = inboxes
            .into_iter()
            .map(|(inbox, mut jobs)| {
                jobs.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
                (inbox, VecDeque::from(jobs))
            })
            .collect();
        // The inbox after the last one has the next turn.
        if let Some(last) = &last {
            let after = queues
                .iter()
                .position(|(inbox, _)| inbox > last)
                .unwrap_or(0);
            queues.rotate_left(after);
        }
        while let Some((inbox, mut jobs)) = queues.pop_front() {
            while let Some(job) = jobs.pop_front() {
                let Some(left) = room.get_mut(&job.lane).filter(|left| **left > 0) else {
                    continue;
                };
                if !admit(&job) {
                    continue;
                }
                *left = left.saturating_sub(1);
                last = Some(inbox.clone());
                chosen.push(job);
                break;
            }
            if !jobs.is_empty() && room.values().any(|left| *left > 0) {
                queues.push_back((inbox, jobs));
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ready(inbox: &str, lane: &str, priority: i64, second: i64) -> Ready {
        Ready {
            id: JobId::random(),
            inbox: inbox.into(),
            lane: lane.into(),
            priority,
            created_at: Timestamp::from_second(second).unwrap(),
        }
    }

    fn order(jobs: Vec<Ready>, room: &[(&str, usize)], last: Option<&str>) -> Vec<(String, i64)> {
        let room = room
            .iter()
            .map(|(lane, room)| ((*lane).to_owned(), *room))
            .collect();
        choose_next(jobs, &room, last, |_| true)
            .into_iter()
            .map(|job| (job.inbox, job.created_at.as_second()))
            .collect()
    }

    #[test]
    fn an_inbox_with_ten_thousand_files_does_not_keep_another_waiting() {
        let mut jobs: Vec<Ready> = (0..10_000).map(|n| ready("a", "m", 0, n)).collect();
        jobs.push(ready("b", "m", 0, 20_000));
        let order = order(jobs, &[("m", 2)], Some("b"));
        assert_eq!(order, vec![("a".to_owned(), 0), ("b".to_owned(), 20_000)]);
    }

    #[test]
    fn priority_goes_before_turn_and_turn_before_age() {
        let jobs = vec![
            ready("a", "m", 0, 1),
            ready("a", "m", 0, 2),
            ready("b", "m", 0, 3),
            ready("a", "m", 9, 4),
        ];
        let seconds: Vec<i64> = order(jobs, &[("m", 9)], None)
            .into_iter()
            .map(|(_, s)| s)
            .collect();
        assert_eq!(seconds, vec![4, 3, 1, 2]);
    }

    #[test]
    fn a_full_lane_does_not_keep_another_waiting() {
        let jobs = vec![ready("a", "full", 5, 1), ready("a", "free", 0, 2)];
        assert_eq!(
            order(jobs, &[("full", 0), ("free", 1)], None),
            vec![("a".to_owned(), 2)]
        );
    }

    #[test]
    fn a_job_that_is_not_admitted_takes_no_place_from_the_next() {
        let jobs = vec![ready("a", "m", 9, 1), ready("a", "m", 0, 2)];
        let room = HashMap::from([("m".to_owned(), 1)]);
        let chosen = choose_next(jobs, &room, None, |job| job.priority == 0);
        assert_eq!(chosen.len(), 1);
        assert_eq!(chosen[0].priority, 0);
    }

    proptest! {
        #[test]
        fn no_lane_gets_more_than_its_room_and_none_is_left_idle(
            jobs in prop::collection::vec((0..3_usize, 0..3_usize, -1..2_i64, 0..50_i64), 0..40),
            rooms in prop::collection::vec(0..5_usize, 3),
        ) {
            let all: Vec<Ready> = jobs.iter().map(|(i, l, p, s)| ready(&format!("i{i}"), &format!("l{l}"), *p, *s)).collect();
            let room: HashMap<String, usize> = rooms.iter().enumerate().map(|(l, n)| (format!("l{l}"), *n)).collect();
            let chosen = choose_next(all.clone(), &room, None, |_| true);
            for (lane, left) in &room {
                let waiting = all.iter().filter(|job| job.lane == *lane).count();
                let started = chosen.iter().filter(|job| job.lane == *lane).count();
                prop_assert_eq!(started, waiting.min(*left));
            }
        }
    }
}
