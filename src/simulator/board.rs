//! All tasks and the organization's balance, as a function of time: no clock is read here and nothing sleeps.
//!
//! Each model has a lane: as many tasks as its tier allows hold a place, the rest wait and are THROTTLED. Lanes are brought
//! up to date whenever somebody asks, in the order in which places became free, so the outcome does not depend on who polls
//! when.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::clock::Millis;
use super::tasks::{Ending, Kind, Limits, Order, Phase, Status, Task};

const DAY: Millis = 24 * 60 * 60 * 1000;

/// Why a task is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The balance does not cover it.
    OutOfCredits,
    /// The model's daily limit is reached.
    OverQuota {
        /// The seconds until the oldest task of the day no longer counts.
        retry_after: i64,
    },
}

/// The tasks of one model.
#[derive(Debug, Default)]
struct Lane {
    /// Those with a place, by the moment when they leave it.
    placed: BTreeSet<(Millis, String)>,
    /// Those that wait for a place. An id whose task no longer waits is skipped.
    waiting: VecDeque<String>,
    /// When the tasks of the last day were created.
    day: VecDeque<Millis>,
}

/// All tasks, the limits they are under, and the organization's balance.
#[derive(Debug)]
pub(super) struct Board {
    tasks: HashMap<String, Task>,
    /// Ids in order of creation, for listings.
    order: Vec<String>,
    lanes: HashMap<String, Lane>,
    limits: Limits,
    balance: i64,
}

impl Board {
    pub(super) fn new(limits: Limits, balance: i64) -> Self {
        Self {
            tasks: HashMap::new(),
            order: Vec::new(),
            lanes: HashMap::new(),
            limits,
            balance,
        }
    }

    /// Checks whether a task can be accepted now.
    pub(super) fn check(&mut self, order: &Order) -> Result<(), Refused> {
        self.advance(&order.model, order.created);
        let daily = self.limits.of(&order.model).max_daily;
        let day = self
            .lanes
            .get(&order.model)
            .map(|lane| &lane.day)
            .filter(|day| daily.is_some_and(|most| day.len() >= most as usize));
        if let Some(day) = day {
            let free = day.front().map_or(order.created, |oldest| oldest + DAY);
            return Err(Refused::OverQuota {
                retry_after: ((free - order.created + 999) / 1000).max(1),
            });
        }
        if self.balance < order.credits() {
            return Err(Refused::OutOfCredits);
        }
        Ok(())
    }

    /// Accepts a task and charges its credits.
    pub(super) fn accept(&mut self, order: Order) {
        let (id, model, now) = (order.id.clone(), order.model.clone(), order.created);
        self.advance(&model, now);
        self.balance -= order.credits();
        let phase = Phase::Waiting;
        self.tasks.insert(id.clone(), Task { order, phase });
        self.order.push(id.clone());
        let lane = self.lanes.entry(model.clone()).or_default();
        lane.waiting.push_back(id);
        lane.day.push_back(now);
        self.fill(&model, now);
        self.advance(&model, now);
    }

    /// The task of this id and kind as of now.
    pub(super) fn task(&mut self, kind: Kind, id: &str, now: Millis) -> Option<&Task> {
        let task = self.tasks.get(id).filter(|task| task.order.kind == kind)?;
        let model = task.order.model.clone();
        self.advance(&model, now);
        self.tasks.get(id)
    }

    /// Stops a task that has not ended, or deletes one that has. `false`: there is none.
    pub(super) fn withdraw(&mut self, kind: Kind, id: &str, now: Millis) -> bool {
        let Some(task) = self.task(kind, id, now) else {
            return false;
        };
        let model = task.order.model.clone();
        let credits = task.order.credits();
        let cost = match task.status(now) {
            Status::Pending | Status::Throttled => 0,
            Status::Running { .. } => credits,
            Status::Succeeded { .. } | Status::Failed { .. } | Status::Cancelled { .. } => {
                self.tasks.remove(id);
                return true;
            }
        };
        self.balance += credits - cost;
        if let Some(task) = self.tasks.get_mut(id) {
            if let Phase::Started { at } = task.phase
                && let Some(lane) = self.lanes.get_mut(&model)
            {
                lane.placed
                    .remove(&(end_of(&task.order, at), id.to_owned()));
            }
            task.phase = Phase::Cancelled { cost };
        }
        self.fill(&model, now);
        true
    }

    pub(super) fn set_limits(&mut self, limits: Limits, now: Millis) {
        self.advance_all(now);
        self.limits = limits;
        let models: Vec<String> = self.lanes.keys().cloned().collect();
        for model in models {
            self.fill(&model, now);
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn set_balance(&mut self, balance: i64) {
        self.balance = balance;
    }

    /// The organization's balance as of now.
    pub(super) fn balance(&mut self, now: Millis) -> i64 {
        self.advance_all(now);
        self.balance
    }

    /// How many tasks each model has started in the last day.
    pub(super) fn usage(&mut self, now: Millis) -> BTreeMap<&str, usize> {
        self.advance_all(now);
        self.lanes
            .iter()
            .map(|(model, lane)| (model.as_str(), lane.day.len()))
            .collect()
    }

    /// All tasks that were not deleted, oldest first.
    pub(super) fn all(&mut self, now: Millis) -> impl Iterator<Item = &Task> {
        self.advance_all(now);
        self.order.iter().filter_map(|id| self.tasks.get(id))
    }

    fn advance_all(&mut self, now: Millis) {
        let models: Vec<String> = self.lanes.keys().cloned().collect();
        for model in models {
            self.advance(&model, now);
        }
    }

    /// Ends the tasks of a model that are due, and starts the next ones at the moments when places became free.
    fn advance(&mut self, model: &str, now: Millis) {
        loop {
            let Some(lane) = self.lanes.get_mut(model) else {
                return;
            };
            while lane.day.front().is_some_and(|at| at + DAY <= now) {
                lane.day.pop_front();
            }
            let due = lane.placed.first().is_some_and(|(end, _)| *end <= now);
            let Some((end, id)) = due.then(|| lane.placed.pop_first()).flatten() else {
                return;
            };
            if let Some(task) = self.tasks.get_mut(&id) {
                let credits = task.order.credits();
                let (phase, refund) = match &task.order.ending {
                    Ending::Succeeds | Ending::Never => (Phase::Succeeded { cost: credits }, 0),
                    Ending::Fails {
                        code,
                        message,
                        charged,
                    } => {
                        let cost = if *charged { credits } else { 0 };
                        let failed = Phase::Failed {
                            code: code.clone(),
                            message: message.clone(),
                            cost,
                        };
                        (failed, credits - cost)
                    }
                };
                task.phase = phase;
                self.balance += refund;
            }
            self.fill(model, end);
        }
    }

    /// Gives free places to waiting tasks, from this moment on.
    fn fill(&mut self, model: &str, at: Millis) {
        let places = self.limits.of(model).max_concurrent;
        let Some(lane) = self.lanes.get_mut(model) else {
            return;
        };
        while places.is_none_or(|most| lane.placed.len() < most as usize) {
            let Some(id) = lane.waiting.pop_front() else {
                return;
            };
            if let Some(task) = self.tasks.get_mut(&id)
                && task.phase == Phase::Waiting
            {
                task.phase = Phase::Started { at };
                lane.placed.insert((end_of(&task.order, at), id));
            }
        }
    }
}

/// When a task leaves its place.
fn end_of(order: &Order, started: Millis) -> Millis {
    match order.ending {
        Ending::Succeeds | Ending::Fails { .. } => started.saturating_add(order.length()),
        Ending::Never => Millis::MAX,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::simulator::tasks::ModelLimits;

    fn board(max_concurrent: Option<u32>, max_daily: Option<u32>) -> Board {
        let default = ModelLimits {
            max_concurrent,
            max_daily,
        };
        let limits = Limits {
            default,
            models: BTreeMap::new(),
        };
        Board::new(limits, 100)
    }

    fn order(id: &str, created: Millis) -> Order {
        Order {
            id: id.into(),
            kind: Kind::Task,
            endpoint: "image_to_video".into(),
            model: "gen4_turbo".into(),
            created,
            seconds: 10.0,
            ending: Ending::Succeeds,
            estimated: 25.0,
            outputs: Vec::new(),
            body_sha256: String::new(),
        }
    }

    fn status(board: &mut Board, id: &str, now: Millis) -> Status {
        board.task(Kind::Task, id, now).unwrap().status(now)
    }

    #[test]
    fn a_task_is_pending_then_running_then_done() {
        let mut board = board(None, None);
        board.accept(order("a", 0));
        assert_eq!(status(&mut board, "a", 500), Status::Pending);
        assert_eq!(
            status(&mut board, "a", 5_500),
            Status::Running { progress: 0.5 }
        );
        assert_eq!(
            status(&mut board, "a", 10_000),
            Status::Succeeded { cost: 25 }
        );
        assert_eq!(board.balance(10_000), 75);
    }

    #[test]
    fn a_task_of_no_length_has_ended_at_the_first_poll() {
        let mut board = board(None, None);
        board.accept(Order {
            seconds: 0.0,
            ..order("a", 7)
        });
        assert_eq!(status(&mut board, "a", 7), Status::Succeeded { cost: 25 });
    }

    #[test]
    fn tasks_over_the_concurrency_limit_are_throttled_and_follow_in_order_whoever_polls() {
        let mut board = board(Some(1), None);
        for id in ["a", "b", "c"] {
            board.accept(order(id, 0));
        }
        assert_eq!(status(&mut board, "c", 1), Status::Throttled);
        // No one polled in between: b ran from 10 s, c from 20 s.
        assert_eq!(
            status(&mut board, "c", 25_500),
            Status::Running { progress: 0.5 }
        );
        assert_eq!(
            status(&mut board, "b", 25_500),
            Status::Succeeded { cost: 25 }
        );
    }

    #[test]
    fn cancelling_what_has_not_run_gives_the_credits_back_and_frees_the_place() {
        let mut board = board(Some(1), None);
        board.accept(order("a", 0));
        board.accept(order("b", 0));
        assert!(board.withdraw(Kind::Task, "a", 100));
        assert_eq!(status(&mut board, "a", 100), Status::Cancelled { cost: 0 });
        assert_eq!(status(&mut board, "b", 100), Status::Pending);
        assert_eq!(board.balance(100), 75);
    }

    #[test]
    fn cancelling_a_running_task_still_costs() {
        let mut board = board(None, None);
        board.accept(order("a", 0));
        assert!(board.withdraw(Kind::Task, "a", 5_000));
        assert_eq!(
            status(&mut board, "a", 5_000),
            Status::Cancelled { cost: 25 }
        );
        assert_eq!(board.balance(5_000), 75);
    }

    #[test]
    fn withdrawing_an_ended_task_deletes_it() {
        let mut board = board(None, None);
        board.accept(order("a", 0));
        assert!(board.withdraw(Kind::Task, "a", 20_000));
        assert!(board.task(Kind::Task, "a", 20_000).is_none());
        assert!(!board.withdraw(Kind::Task, "a", 20_000));
    }

    #[test]
    fn an_internal_failure_is_refunded_when_it_happens() {
        let mut board = board(None, None);
        board.accept(Order {
            ending: Ending::Fails {
                code: "INTERNAL".into(),
                message: "An error occurred.".into(),
                charged: false,
            },
            ..order("a", 0)
        });
        assert_eq!(board.balance(9_999), 75);
        assert_eq!(board.balance(10_000), 100);
    }

    #[test]
    fn the_balance_and_the_day_set_limits() {
        let mut board = board(None, Some(2));
        let dear = Order {
            estimated: 100.5,
            ..order("x", 0)
        };
        assert_eq!(board.check(&dear), Err(Refused::OutOfCredits));
        board.accept(order("a", 0));
        board.accept(order("b", 60_000));
        let third = order("c", 120_000);
        assert_eq!(
            board.check(&third),
            Err(Refused::OverQuota {
                retry_after: 24 * 3600 - 120
            })
        );
        assert_eq!(board.check(&order("c", DAY)), Ok(()));
    }

    #[test]
    fn a_stuck_task_never_ends() {
        let mut board = board(None, None);
        board.accept(Order {
            ending: Ending::Never,
            ..order("a", 0)
        });
        let late = 400 * DAY;
        assert_eq!(
            status(&mut board, "a", late),
            Status::Running { progress: 0.99 }
        );
    }
}
