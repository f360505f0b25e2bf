//! The one owner of all open jobs.
//!
//! Every change of a job goes through one task: it asks the pure transition function, makes the answer durable, and only
//! then shows it to the rest of the program. Changes that arrive while the disk is busy share the next commit, so that
//! ten thousand jobs do not wait for the disk ten thousand times.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot, watch};

use crate::files::RelPath;
use crate::job::{Event, Illegal, Job, JobId, Progress, State, transition};
use crate::journal::{Entry, Journal, JournalError};
use crate::metrics::Metrics;
use crate::status::notice::Rules;

/// At most this many changes share one commit, so that the first of them does not wait for long.
const BATCH: usize = 512;

/// Why a change did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The event cannot happen to the job in its state.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// No such job is open.
    #[error("there is no open job {0}")]
    Unknown(JobId),
    /// The journal could not be written; nothing changed, and the same may be tried again.
    #[error("{0}")]
    Journal(Arc<JournalError>),
    /// A file of the new job already belongs to another one.
    #[error("{file} already belongs to job {job}")]
    Claimed {
        /// The file.
        file: String,
        /// The job that has it.
        job: JobId,
    },
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopped,
}

type Reply = oneshot::Sender<Result<Vec<Arc<Job>>, LedgerError>>;

enum Change {
    Insert(Vec<Job>),
    Apply {
        id: JobId,
        /// The job, where the event opens one that has ended.
        ended: Option<Box<Job>>,
        event: Box<Event>,
    },
}

type OpenJobs = HashMap<JobId, Arc<Job>>;

/// Credits by inbox.
pub type Credits = HashMap<String, f64>;

/// A handle to the ledger; cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    changes: mpsc::UnboundedSender<(Change, Reply)>,
    shared: Arc<Shared>,
}

/// What the handles and the ledger's task share.
struct Shared {
    jobs: RwLock<OpenJobs>,
    version: watch::Sender<u64>,
    journal: Arc<dyn Journal>,
    metrics: Metrics,
    rules: RwLock<Arc<Rules>>,
    notices: watch::Sender<()>,
    spent: Mutex<Credits>,
}

impl Ledger {
    /// Starts the ledger with the journal's open jobs. It ends when all handles are gone.
    pub async fn open(journal: Arc<dyn Journal>) -> Result<Ledger, JournalError> {
        let open = journal.open_jobs().await?;
        let metrics = Metrics::new(&open);
        let jobs = open
            .into_iter()
            .map(|job| (job.id.clone(), Arc::new(job)))
            .collect();
        let shared = Arc::new(Shared {
            jobs: RwLock::new(jobs),
            version: watch::Sender::new(0),
            journal,
            metrics,
            rules: RwLock::default(),
            notices: watch::Sender::new(()),
            spent: Mutex::default(),
        });
        let (changes, receiver) = mpsc::unbounded_channel();
        tokio::spawn(work(receiver, shared.clone()));
        Ok(Ledger { changes, shared })
    }

    /// The rules by which notices are sent.
    pub fn rules(&self) -> Arc<Rules> {
        self.shared.rules.read().clone()
    }

    /// Changes the rules by which notices are sent from now on.
    pub fn set_rules(&self, rules: Rules) {
        *self.shared.rules.write() = Arc::new(rules);
        self.notify_waiters();
    }

    /// Wakes the caller when there may be a notice to send. Subscribe before you ask the journal.
    pub fn notices(&self) -> watch::Receiver<()> {
        self.shared.notices.subscribe()
    }

    /// Wakes those who wait for [`Ledger::notices`].
    pub fn notify_waiters(&self) {
        self.shared.notices.send_replace(());
    }

    /// Waits until the task that writes has ended, which it does not do while the daemon runs.
    pub(crate) async fn closed(&self) {
        self.changes.closed().await;
    }

    /// The store behind it, for questions about jobs that have ended.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.shared.journal
    }

    /// The counters of the running daemon.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// By how much what jobs cost, or are expected to cost, has risen since the start, in credits by inbox. What turned out
    /// cheaper than expected is not taken off.
    pub fn spent(&self) -> Credits {
        self.shared.spent.lock().clone()
    }

    /// Adds new jobs, all or none.
    pub async fn insert(&self, jobs: Vec<Job>) -> Result<(), LedgerError> {
        self.send(Change::Insert(jobs)).await.map(drop)
    }

    /// Applies an event to an open job and answers with the job afterwards.
    pub async fn apply(&self, id: &JobId, event: Event) -> Result<Arc<Job>, LedgerError> {
        self.send_event(id.clone(), None, event).await
    }

    /// Applies an event to a job that has ended, which opens it again.
    pub async fn revive(&self, job: Job, event: Event) -> Result<Arc<Job>, LedgerError> {
        let id = job.id.clone();
        self.send_event(id, Some(Box::new(job)), event).await
    }

    async fn send_event(
        &self,
        id: JobId,
        ended: Option<Box<Job>>,
        event: Event,
    ) -> Result<Arc<Job>, LedgerError> {
        let change = Change::Apply {
            id: id.clone(),
            ended,
            event: Box::new(event),
        };
        let mut jobs = self.send(change).await?;
        jobs.pop().ok_or(LedgerError::Unknown(id))
    }

    async fn send(&self, change: Change) -> Result<Vec<Arc<Job>>, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.changes
            .send((change, reply))
            .map_err(|_| LedgerError::Stopped)?;
        answer.await.map_err(|_| LedgerError::Stopped)?
    }

    /// An open job as it was last made durable.
    pub fn get(&self, id: &JobId) -> Option<Arc<Job>> {
        self.shared.jobs.read().get(id).cloned()
    }

    /// All open jobs, in no order.
    pub fn jobs(&self) -> Vec<Arc<Job>> {
        self.shared.jobs.read().values().cloned().collect()
    }

    /// Notes what Runway said of a running task. Not durable: the next poll says it again.
    pub fn observe(&self, id: &JobId, latest: Progress) {
        let mut jobs = self.shared.jobs.write();
        if let Some(job) = jobs.get_mut(id)
            && let State::Running { seen, .. } = &mut Arc::make_mut(job).state
        {
            *seen = latest;
        }
    }

    /// Wakes the caller after a change of any job. Subscribe before you look at the jobs.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }
}

async fn work(mut receiver: mpsc::UnboundedReceiver<(Change, Reply)>, shared: Arc<Shared>) {
    let mut requests = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut requests, BATCH).await > 0 {
        let mut batch = Batch::new(&shared);
        let mut replies = Vec::with_capacity(requests.len());
        for (change, reply) in requests.drain(..) {
            replies.push((reply, batch.add(change, Timestamp::now())));
        }
        let committed = if batch.entries.is_empty() {
            Ok(())
        } else {
            let committed = shared.journal.commit(&batch.entries).await;
            committed.map_err(Arc::new)
        };
        if committed.is_ok() {
            shared.publish(batch);
        }
        for (reply, outcome) in replies {
            let answer = match (&committed, outcome) {
                (_, Err(error)) => Err(error),
                (Err(error), Ok(_)) => Err(LedgerError::Journal(error.clone())),
                (Ok(()), Ok(after)) => Ok(after),
            };
            // The caller may be gone, for instance at shutdown; the change stands all the same.
            if reply.send(answer).is_err() {
                tracing::trace!("nobody waits for this change any more");
            }
        }
    }
}

impl Shared {
    /// Shows the rest of the program what is durable now.
    fn publish(&self, batch: Batch<'_>) {
        for entry in &batch.entries {
            self.metrics.record(entry);
        }
        if batch.entries.iter().any(|entry| !entry.notices.is_empty()) {
            self.notices.send_replace(());
        }
        // Before the jobs, so that the cost of a job that is seen running is already in here.
        let mut spent = self.spent.lock();
        for (inbox, rise) in batch.rises {
            *spent.entry(inbox).or_default() += rise;
        }
        drop(spent);
        let mut jobs = self.jobs.write();
        for (id, job) in batch.changed {
            if job.is_open() {
                jobs.insert(id, job);
            } else {
                jobs.remove(&id);
            }
        }
        drop(jobs);
        self.version
            .send_modify(|version| *version = version.wrapping_add(1));
    }
}

/// Changes that share a commit. Later ones build on earlier ones.
struct Batch<'a> {
    shared: &'a Shared,
    rules: Arc<Rules>,
    changed: OpenJobs,
    entries: Vec<Entry>,
    /// By how much what jobs cost has risen, by inbox.
    rises: Vec<(String, f64)>,
}

impl<'a> Batch<'a> {
    fn new(shared: &'a Shared) -> Batch<'a> {
        Batch {
            shared,
            rules: shared.rules.read().clone(),
            changed: HashMap::new(),
            entries: Vec::new(),
            rises: Vec::new(),
        }
    }

    fn add(&mut self, change: Change, now: Timestamp) -> Result<Vec<Arc<Job>>, LedgerError> {
        match change {
            Change::Insert(new) => {
                self.refuse_claimed(&new)?;
                Ok(new.into_iter().map(|job| self.push(None, job)).collect())
            }
            Change::Apply { id, ended, event } => {
                let current = self.current(&id).or_else(|| ended.map(Arc::from));
                let job = current.ok_or(LedgerError::Unknown(id))?;
                let next = transition(&job, (*event).clone(), now)?;
                let rise = next.cost() - job.cost();
                if rise > 0.0 {
                    self.rises.push((next.inbox.clone(), rise));
                }
                Ok(vec![self.push(Some(*event), next)])
            }
        }
    }

    /// Two jobs for one file would be two requests for it. This decides, no matter who scanned the folder.
    fn refuse_claimed(&self, new: &[Job]) -> Result<(), LedgerError> {
        let jobs = self.shared.jobs.read();
        let open = jobs
            .values()
            .filter(|job| !self.changed.contains_key(&job.id))
            .chain(self.changed.values())
            .filter(|job| job.is_open());
        // The new ones are few and the open ones may be many, so the new ones make the tables.
        let files = || {
            new.iter()
                .flat_map(|job| job.files.iter().map(move |file| (job.inbox.as_str(), file)))
        };
        let working: HashMap<_, &RelPath> = files()
            .map(|(inbox, file)| ((inbox, &file.mount, &file.working), &file.dropped))
            .collect();
        let dropped: HashSet<(&str, &RelPath)> = files()
            .map(|(inbox, file)| (inbox, &file.dropped))
            .collect();
        for job in open {
            let taking = matches!(job.state, State::Taking { .. });
            for file in &job.files {
                let inbox = job.inbox.as_str();
                let same = match working.get(&(inbox, &file.mount, &file.working)) {
                    Some(dropped) => Some(*dropped),
                    None if taking && dropped.contains(&(inbox, &file.dropped)) => {
                        Some(&file.dropped)
                    }
                    None => None,
                };
                if let Some(file) = same {
                    return Err(LedgerError::Claimed {
                        file: file.to_string(),
                        job: job.id.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, event: Option<Event>, job: Job) -> Arc<Job> {
        let shared = Arc::new(job.clone());
        self.changed.insert(job.id.clone(), shared.clone());
        let notices = event
            .as_ref()
            .map_or_else(Vec::new, |event| self.rules.of_job(event, &job));
        self.entries.push(Entry {
            event,
            job,
            notices,
        });
        shared
    }

    fn current(&self, id: &JobId) -> Option<Arc<Job>> {
        if let Some(job) = self.changed.get(id) {
            return Some(job.clone());
        }
        self.shared.jobs.read().get(id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Folder, InputFile, Role, samples};
    use crate::journal::SqliteJournal;

    fn job(working: &str) -> Job {
        let file = InputFile {
            working: samples::path(working),
            ..samples::file("cat.jpg", Role::Main, Folder::Inbox)
        };
        samples::wrong("cat.jpg", vec![file])
    }

    #[tokio::test]
    async fn one_file_never_becomes_two_jobs() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Arc::new(SqliteJournal::open(dir.path()).await.unwrap());
        let ledger = Ledger::open(journal).await.unwrap();
        let first = job("cat.jpg");
        ledger.insert(vec![first.clone()]).await.unwrap();
        // Still being taken: the same file is refused, wherever it is to go.
        let again = ledger.insert(vec![job("cat (2).jpg")]).await;
        assert!(matches!(again, Err(LedgerError::Claimed { job, .. }) if job == first.id));
        // Once it has moved, another file may be dropped under its name, but not into its place.
        let files = first.files.clone();
        ledger
            .apply(&first.id, Event::Moved { files })
            .await
            .unwrap();
        assert!(ledger.insert(vec![job("cat.jpg")]).await.is_err());
        ledger.insert(vec![job("cat (2).jpg")]).await.unwrap();
    }

    #[tokio::test]
    async fn what_jobs_cost_is_counted_as_it_rises_and_never_falls() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Arc::new(SqliteJournal::open(dir.path()).await.unwrap());
        let ledger = Ledger::open(journal).await.unwrap();
        for (charged, spent) in [(Some(200.0), 200.0), (Some(20.0), 360.0), (None, 520.0)] {
            let job = samples::planned("storm.yaml", Timestamp::now());
            ledger.insert(vec![job.clone()]).await.unwrap();
            for event in [
                Event::Moved { files: vec![] },
                Event::Started,
                Event::Intent {
                    used_before: None,
                    files: vec![],
                },
                Event::Accepted {
                    task: job.id.to_string(),
                    estimated: None,
                    account: None,
                },
                Event::Succeeded { charged },
            ] {
                ledger.apply(&job.id, event).await.unwrap();
            }
            assert_eq!(ledger.spent().get("studio"), Some(&spent));
        }
    }

    #[tokio::test]
    async fn an_event_that_cannot_be_leaves_the_others_of_its_batch_alone() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Arc::new(SqliteJournal::open(dir.path()).await.unwrap());
        let ledger = Ledger::open(journal).await.unwrap();
        let one = job("cat.jpg");
        ledger.insert(vec![one.clone()]).await.unwrap();
        let (wrong, right) = tokio::join!(
            ledger.apply(&one.id, Event::Started),
            ledger.apply(&one.id, Event::CancelAsked)
        );
        assert!(matches!(wrong, Err(LedgerError::Illegal(_))));
        assert!(right.unwrap().cancel_asked);
    }
}
