//! The dispatcher: looks at all open jobs whenever something changed, and starts what can go on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::{Engine, after, evidence, poller};
use crate::config::OnDoubt;
use crate::engine::stages;
use crate::job::{Event, Hold, HoldReason, Job, JobId, State};
use crate::journal::JournalError;
use crate::ledger::{Credits, Ledger};
use crate::policy::budget::{Budget, DAY, MONTH, SpendLimits, Spent};
use crate::policy::retry::Trouble;
use crate::policy::schedule::{self, Ready};

/// With many jobs a look at all of them takes a moment, so looks are not closer together than this.
const BREATH: Duration = Duration::from_millis(5);
/// How often the organization's limits and counters are asked for while there is work, and while there is none.
const REFRESH: Duration = Duration::from_secs(60);
const REFRESH_IDLE: Duration = Duration::from_secs(300);
/// How often an inbox is looked at again that cannot be used.
const FROZEN_AGAIN: Duration = Duration::from_secs(1);
/// With so many jobs whose work with files takes long, no more of that inbox are started.
const SLOW_AT_ONCE: usize = 8;
/// How often a spending limit is looked at again while it holds jobs back.
const BUDGET_AGAIN: Duration = Duration::from_secs(30);

/// Runs until the engine stops.
pub async fn run(engine: Arc<Engine>) {
    let mut changes = engine.ledger.changes();
    let mut state = Dispatcher {
        engine: engine.clone(),
        last_inbox: None,
        followed: HashMap::new(),
        doubts_told: HashMap::new(),
        month: None,
    };
    engine.tasks.spawn(watch_organization(engine.clone()));
    state.recover().await;
    while !engine.stop.is_cancelled() {
        changes.borrow_and_update();
        let look_again = state.look().await;
        let timer = tokio::time::sleep(look_again.saturating_duration_since(Instant::now()));
        tokio::select! {
            () = engine.stop.cancelled() => break,
            () = timer => {}
            () = engine.wake.notified() => {}
            changed = changes.changed() => if changed.is_err() { break },
        }
        tokio::time::sleep(BREATH).await;
    }
}

/// Keeps the tier's limits fresh, and looks whether what stood in the way is mended.
async fn watch_organization(engine: Arc<Engine>) {
    loop {
        let asked_at = Timestamp::now();
        let interval = engine.settings().poll_interval;
        let known = engine.refresh_organization().await;
        if let Some(organization) = &known {
            evidence::count_doubts(&engine, organization, asked_at, interval).await;
        }
        let pause = if known.is_none() {
            interval.saturating_mul(6).min(REFRESH_IDLE)
        } else if evidence::is_wanted(&engine) {
            interval
        } else if engine.ledger.jobs().is_empty() {
            REFRESH_IDLE
        } else {
            REFRESH
        };
        tokio::select! {
            going_on = engine.pause(pause) => if !going_on { return },
            () = engine.doubted.notified() => if !engine.pause(interval).await { return },
        }
    }
}

struct Dispatcher {
    engine: Arc<Engine>,
    last_inbox: Option<String>,
    /// Running jobs that the poller knows, and whether it knows that they are to be cancelled.
    followed: HashMap<JobId, bool>,
    /// Jobs in doubt beside whose input a note lies, with the event after which it was written.
    doubts_told: HashMap<JobId, u64>,
    /// What was spent in a month, as of a moment ago.
    month: Option<Month>,
}

impl Dispatcher {
    /// After a start: what was under way when the process ended.
    async fn recover(&mut self) {
        for job in self.engine.ledger.jobs() {
            match &job.state {
                // The process ended before the request was due to leave: nothing was sent.
                State::Uploading => {
                    self.engine
                        .record(&job.id, Event::Requeued { hold: None })
                        .await;
                }
                // It ended between the intent and the outcome: the request may have been sent.
                State::Submitting { .. } => {
                    tracing::warn!(job = %job.id, input = %job.input, "the process ended during its submission: in doubt");
                    let why =
                        "taxiway ended while the request was under way, so no answer was seen"
                            .to_owned();
                    self.engine
                        .record(
                            &job.id,
                            Event::Doubtful {
                                why,
                                used_after: None,
                            },
                        )
                        .await;
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
                | State::InDoubt { .. } => {}
            }
        }
    }

    /// Looks at all open jobs once. Answers when to look again if nothing changes.
    async fn look(&mut self) -> Instant {
        let now = Instant::now();
        let jobs = self.engine.ledger.jobs();
        let mut look_again = now.checked_add(Duration::from_secs(60)).unwrap_or(now);
        let mut busy: HashMap<String, usize> = HashMap::new();
        let mut waiting: Vec<Arc<Job>> = Vec::new();
        let mut running = HashMap::new();
        let mut doubtful = HashSet::new();
        let slow = self.engine.slow_jobs();
        let frozen = self.unusable(&jobs, &slow);
        for job in jobs {
            match &job.state {
                State::Taking { .. }
                | State::Downloading { .. }
                | State::Delivering { .. }
                | State::Closing { .. } => self.drive(&job),
                State::Queued { .. } if job.cancel_asked => self.drive(&job),
                // Nothing of it could be read; and it takes no place from others.
                State::Queued { .. } if frozen.contains(&job.inbox) => {
                    look_again = look_again.min(now.checked_add(FROZEN_AGAIN).unwrap_or(now));
                }
                State::Uploading if frozen.contains(&job.inbox) || slow.contains_key(&job.id) => {}
                State::Queued { hold } => {
                    let until = hold.as_ref().and_then(|hold| hold.until);
                    match until.map(|until| until.duration_since(Timestamp::now())) {
                        Some(left) if left > SignedDuration::ZERO => {
                            let left = Duration::try_from(left).unwrap_or(Duration::ZERO);
                            look_again = look_again.min(now.checked_add(left).unwrap_or(now));
                        }
                        _ if !self.engine.is_driven(&job.id) => waiting.push(job.clone()),
                        _ => {}
                    }
                }
                State::Uploading | State::Submitting { .. } => {
                    *busy.entry(Engine::lane(&job)).or_default() += 1;
                }
                State::Running { task, .. } => {
                    // What runs elsewhere takes no place of this account's.
                    if !poller::is_of_another_account(&self.engine, task) {
                        *busy.entry(Engine::lane(&job)).or_default() += 1;
                    }
                    running.insert(job.id.clone(), job.cancel_asked);
                }
                State::InDoubt { .. } => {
                    doubtful.insert(job.id.clone());
                    self.doubt(&job).await;
                }
                State::Done { .. } | State::Failed { .. } | State::Cancelled { .. } => {}
            }
        }
        for (id, cancel) in &running {
            if self.followed.get(id) != Some(cancel) {
                self.engine.follow(id);
            }
        }
        self.followed = running;
        self.doubts_told.retain(|id, _| doubtful.contains(id));
        if !waiting.is_empty() {
            look_again = look_again.min(self.start(waiting, &busy, now).await);
        }
        look_again
    }

    /// The inboxes that no job can be started of: their folder cannot be used, or hangs already under all that may hang.
    fn unusable(&self, jobs: &[Arc<Job>], slow: &HashMap<JobId, String>) -> HashSet<String> {
        let mut hanging: HashMap<&str, usize> = HashMap::new();
        for inbox in slow.values() {
            *hanging.entry(inbox).or_default() += 1;
        }
        let names: HashSet<&str> = jobs.iter().map(|job| job.inbox.as_str()).collect();
        names
            .into_iter()
            .filter(|name| {
                hanging
                    .get(name)
                    .is_some_and(|count| *count >= SLOW_AT_ONCE)
                    || self.engine.is_frozen(name)
            })
            .map(str::to_owned)
            .collect()
    }

    /// Starts what may start.
    async fn start(
        &mut self,
        waiting: Vec<Arc<Job>>,
        busy: &HashMap<String, usize>,
        now: Instant,
    ) -> Instant {
        let far = now.checked_add(Duration::from_secs(60)).unwrap_or(now);
        if self.engine.client().is_none() {
            return far;
        }
        let mut room: HashMap<String, usize> = HashMap::new();
        let mut ready = Vec::with_capacity(waiting.len());
        let mut look_again = far;
        {
            let gates = self.engine.gates();
            if let Some(opening) = gates.next_opening(now) {
                look_again = look_again.min(opening);
            }
            for job in &waiting {
                let lane = Engine::lane(job);
                if !room.contains_key(&lane) {
                    let left = match gates.closed(&lane, now) {
                        Some(_) => 0,
                        None => self
                            .engine
                            .lane_limit(&lane)
                            .saturating_sub(busy.get(&lane).copied().unwrap_or_default()),
                    };
                    room.insert(lane.clone(), left);
                }
                ready.push(Ready {
                    id: job.id.clone(),
                    inbox: job.inbox.clone(),
                    lane,
                    priority: job.plan.as_ref().map_or(0, |plan| plan.priority),
                    created_at: job.created_at,
                });
            }
        }
        let by_id: HashMap<&JobId, &Arc<Job>> = waiting.iter().map(|job| (&job.id, job)).collect();
        let mut budget = match budget(&self.engine, &mut self.month).await {
            Ok(budget) => budget,
            Err(error) => {
                tracing::error!(%error, "what was spent is not known: nothing new is submitted");
                return look_again.min(now.checked_add(BUDGET_AGAIN).unwrap_or(now));
            }
        };
        let mut refused: Vec<(JobId, Hold)> = Vec::new();
        let chosen = schedule::next(ready, &room, self.last_inbox.as_deref(), |ready| {
            let Some(job) = by_id.get(&ready.id) else {
                return false;
            };
            let price = job.plan.as_ref().and_then(|plan| plan.estimated);
            let Err(why) = budget.admit(&job.inbox, price) else {
                return true;
            };
            let hold = Hold {
                reason: HoldReason::Budget(why),
                until: None,
            };
            if !matches!(&job.state, State::Queued { hold: Some(before) } if *before == hold) {
                refused.push((job.id.clone(), hold));
            }
            look_again = look_again.min(now.checked_add(BUDGET_AGAIN).unwrap_or(now));
            false
        });
        if let Some(last) = chosen.last() {
            self.last_inbox = Some(last.inbox.clone());
        }
        let engine = &self.engine;
        let held = refused.into_iter().map(|(id, hold)| async move {
            engine.record(&id, Event::Held { hold: Some(hold) }).await
        });
        futures_util::future::join_all(held).await;
        // The state says at once that they have started, so that the next look does not start them again; all of them share
        // one wait for the disk.
        let started = futures_util::future::join_all(
            chosen
                .iter()
                .map(|ready| async move { engine.record(&ready.id, Event::Started).await }),
        );
        for job in started.await.into_iter().flatten() {
            self.drive(&job);
        }
        look_again
    }

    async fn doubt(&mut self, job: &Arc<Job>) {
        let State::InDoubt { doubt } = &job.state else {
            return;
        };
        match self.engine.settings().on_doubt {
            // Each of them may have been paid for, so there is an end to it.
            OnDoubt::Resubmit if Trouble::UnknownResubmit.is_repeated(job.doubts_before()) => {
                tracing::warn!(job = %job.id, input = %job.input, "in doubt, and submitted again as `on_doubt: resubmit` says");
                let pause = self.engine.retry_in(
                    Trouble::UnknownResubmit,
                    job.doubts_before().saturating_add(1),
                    None,
                );
                let hold = Hold {
                    reason: HoldReason::Retry("the submission before is in doubt".to_owned()),
                    until: after(pause),
                };
                self.engine
                    .record(
                        &job.id,
                        Event::Resubmitted {
                            intent_at: doubt.intent_at,
                            hold: Some(hold),
                        },
                    )
                    .await;
            }
            OnDoubt::Hold | OnDoubt::Resubmit
                if self.doubts_told.insert(job.id.clone(), job.seq) != Some(job.seq) =>
            {
                if doubt.used_after.is_none() {
                    self.engine.doubted.notify_one();
                }
                // Not waited for: the folder may hang.
                let (engine, job) = (self.engine.clone(), job.clone());
                self.engine
                    .tasks
                    .spawn(async move { super::doubt_note::write_doubt(&engine, &job).await });
            }
            OnDoubt::Hold | OnDoubt::Resubmit => {}
        }
    }

    fn drive(&self, job: &Arc<Job>) {
        if !self.engine.start_driving(&job.id) {
            return;
        }
        let driver = Driver {
            engine: self.engine.clone(),
            id: job.id.clone(),
        };
        self.engine.tasks.spawn(async move {
            // The whole of it moves in here, and ends with this task.
            let driver = driver;
            stages::drive(&driver.engine, &driver.id).await;
        });
    }
}

/// A job in motion; however its driver ends, the job can be driven again.
struct Driver {
    engine: Arc<Engine>,
    id: JobId,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.engine.stop_driving(&self.id);
    }
}

/// What may still be spent, by the settings, the journal, and what is in flight. Where the journal cannot be read, nothing.
async fn budget(engine: &Engine, month: &mut Option<Month>) -> Result<Budget, JournalError> {
    let settings = engine.settings();
    let limits: HashMap<String, SpendLimits> = settings
        .inboxes
        .iter()
        .map(|(name, settings)| (name.clone(), settings.inbox.limits))
        .collect();
    let all = || limits.values().chain([&settings.limits]);
    if all().all(SpendLimits::is_none) {
        return Ok(Budget::default());
    }
    // The jobs first: one that is accepted between the two reads then counts twice for this look, and not nowhere.
    let jobs = engine.ledger.jobs();
    let journal = engine.ledger.journal();
    let now = Timestamp::now();
    let mut spent: HashMap<String, Spent> = HashMap::new();
    for (inbox, credits) in journal.credits_by_inbox(now - DAY).await? {
        spent.entry(inbox).or_default().day = credits;
    }
    if all().any(|limits| limits.per_month.is_some()) {
        for (inbox, credits) in Month::spent(month, &engine.ledger).await? {
            spent.entry(inbox).or_default().month = credits;
        }
    }
    let mut budget = Budget::new(settings.limits, &limits, &spent);
    for job in jobs {
        let price = job.plan.as_ref().and_then(|plan| plan.estimated);
        match &job.state {
            // Not in the journal's sums yet.
            State::Uploading | State::Submitting { .. } | State::InDoubt { .. } => {
                budget.count(&job.inbox, price);
            }
            // In them, as nothing.
            State::Running { .. } if job.estimated().is_none() => budget.count(&job.inbox, None),
            _ => {}
        }
    }
    Ok(budget)
}

/// What was spent in 30 days, which may be very many tasks: summed up now and then, and what the ledger has counted since on top
/// of it. What has grown too old or turned out cheaper meanwhile still counts, so that no limit is exceeded by it.
struct Month {
    at: Instant,
    spent: Credits,
    /// What the ledger had counted before the sum.
    counted: Credits,
}

impl Month {
    /// How long a sum is used.
    const GOOD_FOR: Duration = Duration::from_secs(10);

    async fn spent(known: &mut Option<Month>, ledger: &Ledger) -> Result<Credits, JournalError> {
        let month = match known.take() {
            Some(month) if month.at.elapsed() < Month::GOOD_FOR => month,
            Some(_) | None => Month {
                at: Instant::now(),
                counted: ledger.spent(),
                spent: ledger
                    .journal()
                    .credits_by_inbox(Timestamp::now() - MONTH)
                    .await?,
            },
        };
        let mut spent = month.spent.clone();
        for (inbox, credits) in ledger.spent() {
            let before = month.counted.get(&inbox).copied().unwrap_or_default();
            *spent.entry(inbox).or_default() += credits - before;
        }
        *known = Some(month);
        Ok(spent)
    }
}

/// The first question about a task comes when it is due; kept here so that both ends agree.
pub(super) fn first_poll(engine: &Engine) -> Instant {
    poller::due(Instant::now(), engine.settings().poll_interval)
}
