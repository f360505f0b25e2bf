//! The engine drives jobs from the queue to delivery.
//!
//! Who talks to whom:
//!
//! - The [`dispatch`] task looks at all open jobs whenever one has changed. It decides whose turn it is, within what
//!   [`Account`] and [`spending`] allow, and spawns a driver for each job that can continue.
//! - A driver takes one job from state to state through the [`stages`], until the job has to wait for something. A limited
//!   number of uploads, downloads and pieces of file work run at once ([`Limiter`]).
//! - The [`poller`] task asks Runway about each running task when its time has come.
//! - All three change a job only by [`Engine::record`], which repeats until the ledger has made the event durable. The
//!   ledger's change wakes the dispatcher, and so the circle closes.
//! - The [`organization`] task keeps the account's limits fresh, and adds [`evidence`] to jobs in doubt.
//!
//! The files named after a struct know nothing of the engine; the others use it.

mod account;
pub(crate) mod dispatch;
mod doubt_note;
mod evidence;
mod in_flight;
mod inboxes;
mod limiter;
mod locks;
pub(crate) mod organization;
pub(crate) mod poller;
mod record;
mod settings;
mod spending;
pub(crate) mod stages;
mod tasks;

pub(crate) use account::lane_of;
pub(crate) use inboxes::{Frozen, explain_unconfigured};
pub(crate) use settings::{InboxSettings, Settings};

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::catalogue::Catalogue;
use crate::job::{Job, JobId};
use crate::ledger::Ledger;
use account::Account;
use in_flight::InFlight;
use inboxes::Inboxes;
use limiter::{HANGS_AFTER, Limiter};
use locks::Locks;
use settings::CurrentSettings;
use tasks::Tasks;

/// How many uploads are prepared and sent at once; each holds a buffer.
const UPLOADS_AT_ONCE: usize = 10;
const DOWNLOADS_AT_ONCE: usize = 10;
/// How many uploads, and how many downloads, are one inbox's.
const OF_ONE_INBOX: usize = 8;
/// How many threads do the file work of one inbox's jobs.
const FILE_WORK_AT_ONCE: usize = 16;

/// What all parts of the engine share.
pub struct Engine {
    pub(crate) ledger: Ledger,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) settings: Arc<CurrentSettings>,
    pub(crate) account: Account,
    pub(crate) inboxes: Inboxes,
    pub(crate) in_flight: Arc<InFlight>,
    uploads: Limiter,
    downloads: Limiter,
    file_work: Limiter,
    locks: Locks,
    /// Everything that has to end before the daemon does.
    pub(crate) tasks: Tasks,
    /// Ends everything.
    pub(crate) stop: CancellationToken,
    /// Wakes the dispatcher.
    wake: Arc<Notify>,
    /// Says that the outcome of a request became unknown, so Runway's counters are of interest.
    doubted: Notify,
    polls: mpsc::UnboundedSender<JobId>,
}

impl Engine {
    /// Makes an engine that does nothing yet, and the poller's queue.
    pub(crate) fn new(
        ledger: Ledger,
        catalogue: Arc<Catalogue>,
        settings: Settings,
    ) -> (Arc<Engine>, mpsc::UnboundedReceiver<JobId>) {
        let (polls, queue) = mpsc::unbounded_channel();
        let wake = Arc::new(Notify::new());
        let settings = Arc::new(CurrentSettings::new(settings, wake.clone()));
        let stop = CancellationToken::new();
        let engine = Engine {
            ledger,
            catalogue,
            account: Account::new(settings.clone(), wake.clone()),
            settings,
            inboxes: Inboxes::default(),
            in_flight: InFlight::new(wake.clone()),
            uploads: Limiter::new(UPLOADS_AT_ONCE, OF_ONE_INBOX),
            downloads: Limiter::new(DOWNLOADS_AT_ONCE, OF_ONE_INBOX),
            file_work: Limiter::per_inbox(FILE_WORK_AT_ONCE),
            locks: Locks::default(),
            tasks: Tasks::new(stop.clone()),
            stop,
            wake,
            doubted: Notify::new(),
            polls,
        };
        (Arc::new(engine), queue)
    }

    /// Waits. False if the daemon stops meanwhile.
    pub(crate) async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            () = self.stop.cancelled() => false,
        }
    }

    /// Does file work where it may block, on threads that only the job's own inbox uses.
    ///
    /// # Errors
    /// The work panicked, which has been reported.
    pub(crate) async fn with_files<T: Send + 'static>(
        &self,
        job: &Job,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let waiting = async {
            let permit = self.file_work.acquire(&job.inbox).await;
            tokio::task::spawn_blocking(move || {
                // Held until the work has ended, even if nobody waits for it any more.
                let _permit = permit;
                work()
            })
            .await
        };
        tokio::pin!(waiting);
        if let Ok(done) = tokio::time::timeout(HANGS_AFTER, &mut waiting).await {
            return done;
        }
        let _slow = self.in_flight.mark_slow(job);
        waiting.await
    }

    /// Has the poller follow a job's task from now on.
    fn follow(&self, id: &JobId) {
        if self.polls.send(id.clone()).is_err() {
            tracing::trace!(job = %id, "the poller has ended");
        }
    }
}

/// The time after a pause.
fn time_after(pause: Duration) -> Timestamp {
    // A pause that is no valid time counts as none: then only the dispatcher's own interval holds.
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO);
    let after = Timestamp::now().checked_add(pause);
    after.unwrap_or(Timestamp::MAX)
}
