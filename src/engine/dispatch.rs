//! The dispatcher: looks at all open jobs whenever something has changed, and starts what can continue.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Timestamp;

use super::spending::Spending;
use super::{Engine, doubt_note, lane_of, organization, stages, time_after};
use crate::config::OnDoubt;
use crate::job::{Event, Hold, HoldReason, Job, JobId, State};
use crate::policy::budget::Budget;
use crate::policy::retry::Trouble;
use crate::policy::schedule::{self, Ready};

/// The shortest time between two looks: with many jobs, a look takes a moment.
const BREATH: Duration = Duration::from_millis(5);
/// The longest time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often an inbox that cannot be used is checked again.
const FROZEN_AGAIN: Duration = Duration::from_secs(1);
/// With this many jobs whose file work takes long, no more jobs of that inbox are started.
const SLOW_AT_ONCE: usize = 8;
/// How often a spending limit that holds jobs back is checked again.
const BUDGET_AGAIN: Duration = Duration::from_secs(30);

/// Runs until the engine stops.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut changes = engine.ledger.changes();
    let mut dispatcher = Dispatcher {
        engine: engine.clone(),
        last_inbox: None,
        followed: HashMap::new(),
        doubts_noted: HashMap::new(),
        spending: Spending::default(),
    };
    let watched = engine.clone();
    engine
        .tasks
        .spawn_restarting("the watch over the organization's limits", move || {
            organization::watch(watched.clone())
        });
    dispatcher.recover().await;
    while !engine.stop.is_cancelled() {
        changes.borrow_and_update();
        let now = Instant::now();
        let pause = dispatcher.look(now).await;
        tokio::select! {
            () = engine.stop.cancelled() => break,
            () = tokio::time::sleep_until((now + pause).into()) => {}
            () = engine.wake.notified() => {}
            changed = changes.changed() => if changed.is_err() { break },
        }
        tokio::time::sleep(BREATH).await;
    }
}

struct Dispatcher {
    engine: Arc<Engine>,
    /// The inbox that had the last turn.
    last_inbox: Option<String>,
    /// Running jobs that the poller knows, and whether it knows that they are to be cancelled.
    followed: HashMap<JobId, bool>,
    /// Jobs in doubt with a note next to their input, and after which event it was written.
    doubts_noted: HashMap<JobId, u64>,
    spending: Spending,
}

/// All open jobs, by what the dispatcher has to do with them.
#[derive(Default)]
struct Found {
    /// Jobs with something to do for a driver.
    movable: Vec<Arc<Job>>,
    /// Jobs that could be submitted.
    waiting: Vec<Arc<Job>>,
    /// How many tasks each lane has.
    busy: HashMap<String, usize>,
    /// Running jobs, and whether they are to be cancelled.
    running: HashMap<JobId, bool>,
    doubtful: Vec<Arc<Job>>,
}

impl Dispatcher {
    /// After a start: continues what was in progress when the process ended.
    async fn recover(&mut self) {
        for job in self.engine.ledger.jobs() {
            let event = match &job.state {
                // The process ended before the request was due to leave: nothing was sent.
                State::Uploading => Event::Requeued { hold: None },
                // It ended between the intent and the outcome: the request may have been sent.
                State::Submitting { .. } => {
                    tracing::warn!(job = %job.id, input = %job.input, "the process ended during its submission: in doubt");
                    let why =
                        "taxiway ended while the request was under way, so no answer was seen";
                    Event::Doubtful {
                        why: why.to_owned(),
                        used_after: None,
                    }
                }
                State::Taking { .. }
                | State::Queued { .. }
                | State::Running { .. }
                | State::Downloading { .. }
                | State::Delivering { .. }
                | State::Closing { .. }
                | State::Done { .. }
                | State::Failed { .. }
                | State::Cancelled { .. }
                | State::InDoubt { .. } => continue,
            };
            self.engine.record(&job.id, event).await;
        }
    }

    /// Looks at all open jobs once. Answers after how long to look again if nothing changes.
    async fn look(&mut self, now: Instant) -> Duration {
        let (found, mut pause) = self.sort_jobs();
        for job in &found.movable {
            self.drive(job);
        }
        for (id, cancel) in &found.running {
            if self.followed.get(id) != Some(cancel) {
                self.engine.follow(id);
            }
        }
        let doubtful: HashSet<&JobId> = found.doubtful.iter().map(|job| &job.id).collect();
        self.doubts_noted.retain(|id, _| doubtful.contains(id));
        for job in &found.doubtful {
            self.treat_doubt(job).await;
        }
        if !found.waiting.is_empty() {
            pause = pause.min(self.start_waiting(&found, now).await);
        }
        self.followed = found.running;
        pause
    }

    fn sort_jobs(&self) -> (Found, Duration) {
        let jobs = self.engine.ledger.jobs();
        let slow = self.engine.in_flight.slow_jobs();
        let frozen = self.find_unusable(&jobs, &slow);
        let mut found = Found::default();
        let mut pause = LOOK_EVERY;
        for job in jobs {
            match &job.state {
                State::Taking { .. }
                | State::Downloading { .. }
                | State::Delivering { .. }
                | State::Closing { .. } => found.movable.push(job),
                State::Queued { .. } if job.cancel_asked => found.movable.push(job),
                // Its files could not be read, and it must not take another job's place.
                State::Queued { .. } if frozen.contains(&job.inbox) => {
                    pause = pause.min(FROZEN_AGAIN);
                }
                State::Uploading if frozen.contains(&job.inbox) || slow.contains_key(&job.id) => {}
                State::Queued { hold } => match hold.as_ref().and_then(time_left) {
                    Some(left) => pause = pause.min(left),
                    None if self.engine.in_flight.is_driven(&job.id) => {}
                    None => found.waiting.push(job),
                },
                State::Uploading | State::Submitting { .. } => {
                    *found.busy.entry(lane_of(&job)).or_default() += 1;
                }
                State::Running { task, .. } => {
                    // What runs in another account takes no place in this one.
                    if !self.engine.account.is_foreign(task) {
                        *found.busy.entry(lane_of(&job)).or_default() += 1;
                    }
                    found.running.insert(job.id.clone(), job.cancel_asked);
                }
                State::InDoubt { .. } => found.doubtful.push(job),
                State::Done { .. } | State::Failed { .. } | State::Cancelled { .. } => {}
            }
        }
        (found, pause)
    }

    /// The inboxes whose jobs cannot start: their folder cannot be used, or too much of their file work hangs.
    fn find_unusable(&self, jobs: &[Arc<Job>], slow: &HashMap<JobId, String>) -> HashSet<String> {
        let mut hanging: HashMap<&str, usize> = HashMap::new();
        for inbox in slow.values() {
            *hanging.entry(inbox).or_default() += 1;
        }
        let hangs = |name: &str| hanging.get(name).is_some_and(|jobs| *jobs >= SLOW_AT_ONCE);
        let names: HashSet<&str> = jobs.iter().map(|job| job.inbox.as_str()).collect();
        names
            .into_iter()
            .filter(|name| hangs(name) || self.engine.inboxes.is_frozen(name))
            .map(str::to_owned)
            .collect()
    }

    /// Starts the waiting jobs whose turn it is. Answers after how long to look again.
    async fn start_waiting(&mut self, found: &Found, now: Instant) -> Duration {
        let engine = self.engine.clone();
        if engine.account.client().is_none() {
            return LOOK_EVERY;
        }
        let (ready, free) = self.list_ready(found, now);
        let opening = engine.account.gates().next_opening(now);
        let mut pause = opening.map_or(LOOK_EVERY, |opening| opening.duration_since(now));
        let settings = engine.settings.load();
        let mut budget = match self.spending.load_budget(&settings, &engine.ledger).await {
            Ok(budget) => budget,
            Err(error) => {
                tracing::error!(%error, "the journal cannot say what was spent: nothing new is submitted");
                return pause.min(BUDGET_AGAIN);
            }
        };
        let by_id: HashMap<&JobId, &Arc<Job>> =
            found.waiting.iter().map(|job| (&job.id, job)).collect();
        let mut held: Vec<(JobId, Hold)> = Vec::new();
        let last = self.last_inbox.as_deref();
        let chosen = schedule::choose_next(ready, &free, last, |ready| {
            let Some(job) = by_id.get(&ready.id) else {
                return false;
            };
            let Some(hold) = hold_for_budget(job, &mut budget) else {
                return true;
            };
            if !matches!(&job.state, State::Queued { hold: Some(before) } if *before == hold) {
                held.push((job.id.clone(), hold));
            }
            pause = pause.min(BUDGET_AGAIN);
            false
        });
        if let Some(last) = chosen.last() {
            self.last_inbox = Some(last.inbox.clone());
        }
        let engine = &engine;
        let holding = held.into_iter().map(|(id, hold)| async move {
            engine.record(&id, Event::Held { hold: Some(hold) }).await
        });
        join_all(holding).await;
        // Their state says at once that they have started, so that the next look does not start them again. All of them
        // share one wait for the disk.
        let starting = chosen
            .iter()
            .map(|ready| async move { engine.record(&ready.id, Event::Started).await });
        for job in join_all(starting).await.into_iter().flatten() {
            self.drive(&job);
        }
        pause
    }

    /// The waiting jobs as the schedule wants them, and how many more tasks each of their lanes may have.
    fn list_ready(&self, found: &Found, now: Instant) -> (Vec<Ready>, HashMap<String, usize>) {
        let mut free = HashMap::new();
        let account = &self.engine.account;
        let gates = account.gates();
        let ready = found.waiting.iter().map(|job| {
            let lane = lane_of(job);
            free.entry(lane.clone()).or_insert_with(|| {
                let busy = found.busy.get(&lane).copied().unwrap_or_default();
                match gates.closed(&lane, now) {
                    Some(_) => 0,
                    None => account.lane_limit(&lane).saturating_sub(busy),
                }
            });
            Ready {
                id: job.id.clone(),
                inbox: job.inbox.clone(),
                lane,
                priority: job.plan.as_ref().map_or(0, |plan| plan.priority),
                created_at: job.created_at,
            }
        });
        (ready.collect(), free)
    }

    async fn treat_doubt(&mut self, job: &Arc<Job>) {
        let State::InDoubt { doubt } = &job.state else {
            return;
        };
        match self.engine.settings.load().on_doubt {
            // Each submission may have been paid for, so their number is limited.
            OnDoubt::Resubmit if Trouble::UnknownResubmit.is_repeated(job.doubts_before()) => {
                tracing::warn!(job = %job.id, input = %job.input, "in doubt, and submitted again as `on_doubt: resubmit` says");
                let pause = self.engine.settings.choose_pause(
                    Trouble::UnknownResubmit,
                    job.doubts_before().saturating_add(1),
                    None,
                );
                let hold = Hold {
                    reason: HoldReason::Retry("the previous submission is in doubt".to_owned()),
                    until: Some(time_after(pause)),
                };
                let event = Event::Resubmitted {
                    intent_at: doubt.intent_at,
                    hold: Some(hold),
                };
                self.engine.record(&job.id, event).await;
            }
            OnDoubt::Hold | OnDoubt::Resubmit
                if self.doubts_noted.insert(job.id.clone(), job.seq) != Some(job.seq) =>
            {
                if doubt.used_after.is_none() {
                    self.engine.doubted.notify_one();
                }
                // Not waited for: the folder may hang.
                let (engine, job) = (self.engine.clone(), job.clone());
                let name = format!("the note about job {}", job.id);
                self.engine.tasks.spawn(name, async move {
                    doubt_note::write_doubt(&engine, &job).await;
                });
            }
            OnDoubt::Hold | OnDoubt::Resubmit => {}
        }
    }

    fn drive(&self, job: &Job) {
        let Some(driven) = self.engine.in_flight.start_driving(&job.id) else {
            return;
        };
        let engine = self.engine.clone();
        let name = format!("job {} ({})", job.id, job.input);
        self.engine.tasks.spawn(name, async move {
            stages::drive(&engine, driven.id()).await;
        });
    }
}

/// How long a job is still held; `None` if it is not held for a time, or no longer.
fn time_left(hold: &Hold) -> Option<Duration> {
    let left = hold.until?.duration_since(Timestamp::now());
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

/// Why the spending limits hold a job back, if they do. A job that fits counts from now on.
fn hold_for_budget(job: &Job, budget: &mut Budget) -> Option<Hold> {
    let price = job.plan.as_ref().and_then(|plan| plan.estimated);
    let why = budget.admit(&job.inbox, price).err()?;
    Some(Hold {
        reason: HoldReason::Budget(why),
        until: None,
    })
}
