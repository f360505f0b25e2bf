//! What drives jobs: the dispatcher decides whose turn it is, the poller follows tasks, and one driver for each job in
//! motion takes it from state to state through the [`crate::engine::stages`].

mod dispatch;
pub(crate) mod doubt_note;
mod evidence;
mod limiter;
mod poller;
pub(crate) mod stages;

pub use dispatch::run as dispatch;
pub use evidence::used_before;
pub use limiter::{HANGS_AFTER, Place, Room, SENDING_HANGS_AFTER};
pub use poller::{due as poll_due, is_of_another_account, run as poll};

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalogue::Catalogue;
use crate::config::{Inbox, MaxInFlight, OnDoubt};
use crate::folders::Places;
use crate::job::{Event, Job, JobId};
use crate::ledger::{Ledger, LedgerError};
use crate::policy::budget::SpendLimits;
use crate::policy::gate::{Closed, Gates};
use crate::policy::retry::Trouble;
use crate::runway::{Client, Organization, OutputUrl};

/// At most this many inputs are made ready and uploaded at once; each holds a buffer.
const UPLOADS_AT_ONCE: usize = 10;
/// At most this many outputs are fetched at once.
const DOWNLOADS_AT_ONCE: usize = 10;
/// At most this many of either are one inbox's.
const OF_ONE_INBOX: usize = 8;
/// At most this many threads do the work with files of one inbox's jobs.
const FILE_WORK_AT_ONCE: usize = 16;
/// Tasks at once for each model, where Runway sets no limit.
const UNLIMITED: usize = 100;
/// Tasks at once for a model as long as Runway has not said how many; the least that any tier allows.
const UNKNOWN_LIMIT: usize = 1;

/// How long the daemon's end waits for the note of a task that the journal cannot hold.
const NOTED_WITHIN: Duration = Duration::from_secs(2);
/// Time between two tries to write down an accepted task while the daemon stops.
const LAST_TRIES: Duration = Duration::from_millis(250);

/// What a reload of the configuration may change.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Time between two questions about one task.
    pub poll_interval: Duration,
    /// Tasks at once for each model.
    pub max_in_flight: MaxInFlight,
    /// What becomes of a submission whose outcome is unknown.
    pub on_doubt: OnDoubt,
    /// Limits on the spending of all inboxes together.
    pub limits: SpendLimits,
    /// The inboxes by name.
    pub inboxes: HashMap<String, InboxSettings>,
}

/// What the engine needs to know of an inbox.
#[derive(Debug, Clone)]
pub struct InboxSettings {
    /// Its folders.
    pub places: Places,
    /// Everything else that is configured.
    pub inbox: Arc<Inbox>,
}

/// What all parts of the engine share.
pub struct Engine {
    /// The owner of all jobs.
    pub ledger: Ledger,
    /// Endpoints, models and parameters.
    pub catalogue: Arc<Catalogue>,
    /// Ends everything.
    pub stop: CancellationToken,
    /// Everything that has to end before the daemon does.
    pub tasks: TaskTracker,
    settings: RwLock<Arc<Settings>>,
    /// The client, and what tells its account from others without holding the key.
    client: RwLock<Option<(Client, String)>>,
    gates: Mutex<Gates>,
    /// What it said, and when it was asked.
    organization: RwLock<Option<(Timestamp, Organization)>>,
    driving: Mutex<HashSet<JobId>>,
    /// Fresh addresses of outputs, from the poll that found the task finished.
    outputs: Mutex<HashMap<JobId, Vec<OutputUrl>>>,
    /// One upload for each content at a time, and one note for each job: others wait, and find it done.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Room for uploads.
    pub uploads: Room,
    /// Room for downloads.
    pub downloads: Room,
    /// Room for work with files.
    pub file_work: Room,
    /// Jobs whose work with files takes long, by the inbox that it may hang in.
    slow: Mutex<HashMap<JobId, String>>,
    /// How often in a row a job's uploads did not get through.
    failures: Mutex<HashMap<JobId, u32>>,
    /// What jobs in motion last ran into, for `status`.
    trouble: Mutex<HashMap<JobId, String>>,
    /// Whether an inbox's folder cannot be used at the moment; asked before anything is believed to be gone.
    frozen: OnceLock<FrozenCheck>,
    wake: Notify,
    /// A request's outcome became unknown: Runway's counters are of interest.
    pub(crate) doubted: Notify,
    polls: mpsc::UnboundedSender<JobId>,
}

/// Why nothing new is done for an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frozen {
    /// Its folder cannot be used at the moment, in words: nothing that is missing there counts as gone.
    Away(String),
    /// The configuration does not have it, and nobody watches its folder.
    NotConfigured,
}

/// Answers why nothing new is done for the named inbox at the moment, if so.
pub type FrozenCheck = Box<dyn Fn(&str) -> Option<Frozen> + Send + Sync>;

/// The engine and the poller's queue.
pub type Parts = (Arc<Engine>, mpsc::UnboundedReceiver<JobId>);

impl Engine {
    /// An engine that does nothing yet.
    pub fn new(ledger: Ledger, catalogue: Arc<Catalogue>, settings: Settings) -> Parts {
        let (polls, queue) = mpsc::unbounded_channel();
        let engine = Engine {
            ledger,
            catalogue,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            settings: RwLock::new(Arc::new(settings)),
            client: RwLock::new(None),
            gates: Mutex::default(),
            organization: RwLock::new(None),
            driving: Mutex::default(),
            outputs: Mutex::default(),
            turns: Mutex::default(),
            uploads: Room::new(UPLOADS_AT_ONCE, OF_ONE_INBOX),
            downloads: Room::new(DOWNLOADS_AT_ONCE, OF_ONE_INBOX),
            file_work: Room::for_each(FILE_WORK_AT_ONCE),
            slow: Mutex::default(),
            failures: Mutex::default(),
            trouble: Mutex::default(),
            frozen: OnceLock::new(),
            wake: Notify::new(),
            doubted: Notify::new(),
            polls,
        };
        (Arc::new(engine), queue)
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Says how to find out whether an inbox's folder cannot be used. Said once, at the start.
    pub fn set_frozen_check(&self, check: FrozenCheck) {
        if self.frozen.set(check).is_err() {
            tracing::debug!("the check was set before");
        }
    }

    /// Whether nothing new is done for an inbox at the moment.
    pub fn is_frozen(&self, inbox: &str) -> bool {
        self.frozen(inbox).is_some()
    }

    /// Why nothing new is done for an inbox at the moment, if so.
    pub fn why_frozen(&self, inbox: &str) -> Option<String> {
        self.frozen(inbox).map(|frozen| match frozen {
            Frozen::Away(why) => why,
            Frozen::NotConfigured => no_inbox(inbox),
        })
    }

    /// Why an inbox's folder cannot be used at the moment, if it cannot: its share is offline, or another filesystem lies there.
    /// Nothing that is missing there then counts as gone. Nobody knows it of an inbox that is not configured.
    pub fn why_away(&self, inbox: &str) -> Option<String> {
        match self.frozen(inbox)? {
            Frozen::Away(why) => Some(why),
            Frozen::NotConfigured => None,
        }
    }

    fn frozen(&self, inbox: &str) -> Option<Frozen> {
        self.frozen.get().and_then(|check| check(inbox))
    }

    /// Settings, with the inboxes that are known from before: one of them that is not configured any more may have open jobs, and
    /// take a last one in this moment.
    pub fn with_known(&self, mut settings: Settings) -> Settings {
        for (name, known) in &self.settings().inboxes {
            let inbox = settings.inboxes.entry(name.clone());
            inbox.or_insert_with(|| known.clone());
        }
        settings
    }

    /// Changes the settings.
    pub fn set_settings(&self, settings: Settings) {
        *self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.wake.notify_one();
    }

    /// The folders of a job's inbox; `None` if neither the configuration nor the journal has them.
    pub fn inbox(&self, job: &Job) -> Option<InboxSettings> {
        self.settings().inboxes.get(&job.inbox).cloned()
    }

    /// Runway's client, where there is a usable key.
    pub fn client(&self) -> Option<Client> {
        self.client_and_account().map(|(client, _)| client)
    }

    /// The same with what tells its API account from others.
    pub fn client_and_account(&self) -> Option<(Client, String)> {
        self.client
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Uses another client, or none and why.
    pub fn set_client(&self, client: Result<(Client, String), String>) {
        let client = match client {
            Ok(client) => {
                self.gates().open_all();
                Some(client)
            }
            Err(why) => {
                self.gates()
                    .close_all(Closed::Key(why), Instant::now(), |_| {
                        // Until a reload brings a key.
                        Duration::from_secs(365 * 24 * 3600)
                    });
                None
            }
        };
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
        self.wake.notify_one();
    }

    /// What tells the present key's API account from others; empty without a key.
    pub fn account(&self) -> String {
        let client = self.client_and_account();
        client.map(|(_, account)| account).unwrap_or_default()
    }

    /// The gates.
    pub fn gates(&self) -> MutexGuard<'_, Gates> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the API last said of the organization, and when it was asked.
    pub fn organization_at(&self) -> Option<(Timestamp, Organization)> {
        self.organization
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_organization(&self, asked_at: Timestamp, organization: Organization) {
        *self
            .organization
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some((asked_at, organization));
    }

    /// Wakes the dispatcher.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// What counts against one limit at Runway for this job.
    pub fn lane(job: &Job) -> String {
        job.plan.as_ref().map_or_else(String::new, |plan| {
            plan.model.clone().unwrap_or_else(|| plan.endpoint.clone())
        })
    }

    /// Tasks at once in a lane.
    fn lane_limit(&self, lane: &str) -> usize {
        match self.settings().max_in_flight {
            MaxInFlight::Fixed(limit) => usize::try_from(limit.get()).unwrap_or(usize::MAX),
            MaxInFlight::Auto => match self.organization_at() {
                None => UNKNOWN_LIMIT,
                Some((_, organization)) => match organization.models.get(lane) {
                    None => UNKNOWN_LIMIT,
                    Some(limits) => match limits.max_concurrent {
                        None => UNLIMITED,
                        Some(limit) => usize::try_from(limit).unwrap_or(UNLIMITED),
                    },
                },
            },
        }
    }

    /// Asks the API about the organization, and notes what it says.
    pub async fn refresh_organization(&self) -> Option<Organization> {
        let client = self.client()?;
        let asked_at = Timestamp::now();
        match client.organization().await {
            Ok(organization) => {
                self.set_organization(asked_at, organization.clone());
                self.wake.notify_one();
                Some(organization)
            }
            Err(error) => {
                tracing::debug!(%error, "the organization's limits are not known");
                self.ledger.metrics().call_failed("organization", &error);
                if let crate::runway::CallError::BadKey { message, .. } = &error {
                    self.close_for_key(message);
                }
                None
            }
        }
    }

    /// Stops submitting until the key is mended; said once.
    pub fn close_for_key(&self, message: &str) {
        let why = format!(
            "for a valid API key: Runway refused this one ({message}); put the right one where the configuration says, then reload"
        );
        let news = self
            .gates()
            .close_all(Closed::Key(why.clone()), Instant::now(), |times| {
                self.retry_in(Trouble::BadKey, times, None)
            });
        if news {
            tracing::error!("{why}. Nothing is lost: all work waits");
        }
    }

    /// Makes an event durable, however long the journal cannot be written: what has happened must not be forgotten.
    /// `None` when the daemon stops meanwhile, or the event cannot happen any more. The task that Runway accepted is tried
    /// until the daemon's last moment, and is written down elsewhere, too: nobody else knows of it.
    pub async fn record(&self, id: &JobId, event: Event) -> Option<Arc<Job>> {
        let mut noted = false;
        let mut attempt = 0_u32;
        loop {
            match self.ledger.apply(id, event.clone()).await {
                Ok(job) => {
                    if attempt > 0 {
                        self.clear_trouble(id);
                    }
                    return Some(job);
                }
                Err(LedgerError::Journal(error)) => {
                    attempt = attempt.saturating_add(1);
                    if attempt == 1 {
                        if let Event::Accepted { task, .. } = &event {
                            tracing::error!(job = %id, task, "Runway accepted this task, and the journal cannot hold it yet");
                        }
                        tracing::error!(job = %id, event = event.as_str(), %error, "trying again until it can be written");
                    }
                    self.note_trouble(id, error.to_string());
                    let pause = self.retry_in(Trouble::Journal, attempt, None);
                    if self.pause(pause).await {
                        continue;
                    }
                    let Event::Accepted { task, .. } = &event else {
                        return None;
                    };
                    if !noted {
                        noted = true;
                        tracing::error!(job = %id, task, "stopping, and the journal cannot hold this task yet: `taxiway resolve {id} --adopt {task}` brings it back");
                        // Its folder may hang, and the journal is to be tried until the last moment.
                        let noting = doubt_note::write_task(self, id, task);
                        if tokio::time::timeout(NOTED_WITHIN, noting).await.is_err() {
                            tracing::error!(job = %id, task, "the folder for a note of it does not answer");
                        }
                    }
                    tokio::time::sleep(LAST_TRIES).await;
                }
                Err(
                    error @ (LedgerError::Illegal(_)
                    | LedgerError::Unknown(_)
                    | LedgerError::Claimed { .. }),
                ) => {
                    if let Event::Accepted { task, .. } = &event {
                        tracing::error!(job = %id, task, %error, "Runway accepted this task, and the job does not wait for it any more");
                    }
                    tracing::debug!(job = %id, event = event.as_str(), %error, "came too late");
                    return None;
                }
                Err(LedgerError::Stopped) => return None,
            }
        }
    }

    /// How long to wait after the n-th time in a row, counted from 1, that the same went wrong.
    pub fn retry_in(&self, what: Trouble, times: u32, retry_after: Option<Duration>) -> Duration {
        let interval = self.settings().poll_interval;
        what.pause(times, interval, retry_after, fastrand::f64())
    }

    /// Waits; false when the daemon stops meanwhile.
    pub async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            () = self.stop.cancelled() => false,
        }
    }

    /// Notes what a job ran into, for `status`.
    pub fn note_trouble(&self, id: &JobId, what: String) {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.clone(), what);
    }

    /// The trouble is over.
    pub fn clear_trouble(&self, id: &JobId) {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }

    /// What a job last ran into.
    pub fn trouble(&self, id: &JobId) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    /// Keeps the addresses that a poll found.
    pub fn keep_outputs(&self, id: &JobId, urls: Vec<OutputUrl>) {
        self.outputs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.clone(), urls);
    }

    /// The addresses that a poll found, once.
    pub fn take_outputs(&self, id: &JobId) -> Option<Vec<OutputUrl>> {
        self.outputs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id)
    }

    /// The turn of one thing among those who want to do the same with it: upload a content, by its SHA-256, or write the note
    /// of a doubt, by its job.
    pub fn turn(&self, what: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody waits for any more are only held by the map.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(what.to_owned()).or_default().clone()
    }

    /// Once more a job did not get through what it has to do: how many times in a row.
    pub fn failed_in_a_row(&self, id: &JobId) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let times = failures.entry(id.clone()).or_default();
        *times = times.saturating_add(1);
        *times
    }

    /// A job got through it.
    pub fn got_through(&self, id: &JobId) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }

    /// Runs work with files where it may block: of a job's own inbox, on threads that others do not need.
    ///
    /// # Errors
    /// The work panicked, which has been reported.
    pub async fn with_files<T: Send + 'static>(
        &self,
        job: &Job,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        let waiting = async {
            let place = self.file_work.enter(&job.inbox).await;
            tokio::task::spawn_blocking(move || {
                // Held until the work is over, also if nobody waits for it any more.
                let _place = place;
                work()
            })
            .await
        };
        tokio::pin!(waiting);
        if let Ok(done) = tokio::time::timeout(HANGS_AFTER, &mut waiting).await {
            return done;
        }
        let _slow = Slow::new(self, job);
        waiting.await
    }

    /// Jobs whose work with files takes so long that it may hang, with their inboxes.
    pub fn slow_jobs(&self) -> HashMap<JobId, String> {
        self.slow
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Follows a job's task from now on.
    pub fn follow(&self, id: &JobId) {
        if self.polls.send(id.clone()).is_err() {
            tracing::trace!(job = %id, "the poller is gone");
        }
    }

    fn start_driving(&self, id: &JobId) -> bool {
        self.driving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.clone())
    }

    fn stop_driving(&self, id: &JobId) {
        self.driving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
        self.clear_trouble(id);
        self.wake.notify_one();
    }

    fn is_driven(&self, id: &JobId) -> bool {
        self.driving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(id)
    }
}

/// Marks a job whose work with files takes long, until it is over.
struct Slow<'a> {
    engine: &'a Engine,
    id: &'a JobId,
}

impl<'a> Slow<'a> {
    fn new(engine: &'a Engine, job: &'a Job) -> Slow<'a> {
        let mut slow = engine.slow.lock().unwrap_or_else(PoisonError::into_inner);
        slow.insert(job.id.clone(), job.inbox.clone());
        drop(slow);
        engine.note_trouble(
            &job.id,
            "its folders take long to answer: is their disk or share in order?".to_owned(),
        );
        engine.wake();
        Slow {
            engine,
            id: &job.id,
        }
    }
}

impl Drop for Slow<'_> {
    fn drop(&mut self) {
        let slow = self.engine.slow.lock();
        slow.unwrap_or_else(PoisonError::into_inner).remove(self.id);
        self.engine.clear_trouble(self.id);
        self.engine.wake();
    }
}

/// Why an inbox can do nothing that the configuration does not have.
pub fn no_inbox(name: &str) -> String {
    format!(
        "the configuration has no inbox '{name}' any more: put it back so that its jobs can go on"
    )
}

/// The time after a pause.
pub fn after(pause: Duration) -> Option<Timestamp> {
    // A pause beyond the end of time is no time at all, and then nothing but the pause itself holds.
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO);
    Some(
        Timestamp::now()
            .checked_add(pause)
            .unwrap_or(Timestamp::MAX),
    )
}
