//! Where answers come from: the daemon, or its journal while no daemon runs.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::Hub;
use super::lines;
use super::refusal::Refusal;
use crate::config::Config;
use crate::job::{Event, Job, JobId};
use crate::journal::{Filter, Journal, JournalError, Spent};
use crate::status::Line;

/// What is asked.
pub(crate) enum Source<'a> {
    /// The running daemon.
    Hub(&'a Arc<Hub>),
    /// The journal alone, if there is one yet; what is in the inboxes is not known then.
    Journal(Option<&'a dyn Journal>, &'a Config),
}

impl Source<'_> {
    /// The daemon, for what nothing else knows or can do.
    pub(super) fn hub(&self) -> Result<&Arc<Hub>, Refusal> {
        match self {
            Source::Hub(hub) => Ok(hub),
            Source::Journal(_, config) => Err(Refusal::Unavailable(no_daemon(&config.state_dir))),
        }
    }

    fn journal(&self) -> Option<&dyn Journal> {
        match self {
            Source::Hub(hub) => Some(hub.engine.ledger.journal().as_ref()),
            Source::Journal(journal, _) => *journal,
        }
    }

    /// The line of a job.
    pub(super) fn line(&self, job: &Job) -> Line {
        match self {
            Source::Hub(hub) => lines::line(hub, job),
            Source::Journal(_, config) => {
                let of_job = |inbox: &&crate::config::Inbox| inbox.name == job.inbox;
                let inbox = config.inboxes.iter().find(of_job);
                Line::of(job, inbox.map(|inbox| inbox.folders.outbox.as_path()))
            }
        }
    }

    /// The lines of what waits in the inboxes.
    pub(super) fn waiting_lines(&self) -> Vec<Line> {
        match self {
            Source::Hub(hub) => lines::waiting_lines(hub),
            Source::Journal(..) => Vec::new(),
        }
    }

    /// All open jobs, the oldest first.
    pub(super) async fn open_jobs(&self) -> Result<Vec<Arc<Job>>, JournalError> {
        let mut jobs = match self {
            Source::Hub(hub) => hub.engine.ledger.jobs(),
            Source::Journal(Some(journal), _) => {
                let jobs = journal.open_jobs().await?;
                jobs.into_iter().map(Arc::new).collect()
            }
            Source::Journal(None, _) => Vec::new(),
        };
        jobs.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(jobs)
    }

    /// Jobs that have ended, the latest first.
    pub(super) async fn ended_jobs(
        &self,
        before: Option<&(Timestamp, JobId)>,
        limit: u32,
    ) -> Result<Vec<Job>, JournalError> {
        match self.journal() {
            Some(journal) => journal.ended_jobs(&Filter::default(), before, limit).await,
            None => Ok(Vec::new()),
        }
    }

    /// A job that is open or has ended.
    pub(crate) async fn job(&self, id: &JobId) -> Result<Option<Arc<Job>>, JournalError> {
        if let Source::Hub(hub) = self
            && let Some(job) = hub.engine.ledger.get(id)
        {
            return Ok(Some(job));
        }
        match self.journal() {
            Some(journal) => Ok(journal.job(id).await?.map(Arc::new)),
            None => Ok(None),
        }
    }

    /// The names of jobs that begin so.
    pub(super) async fn find_ids(&self, start: &str) -> Result<Vec<JobId>, JournalError> {
        match self.journal() {
            Some(journal) => journal.find_ids(start).await,
            None => Ok(Vec::new()),
        }
    }

    pub(super) async fn history(
        &self,
        id: &JobId,
    ) -> Result<Vec<(Timestamp, Event)>, JournalError> {
        match self.journal() {
            Some(journal) => journal.history(id).await,
            None => Ok(Vec::new()),
        }
    }

    pub(super) async fn spent_since(&self, since: Timestamp) -> Result<Vec<Spent>, JournalError> {
        match self.journal() {
            Some(journal) => journal.spent_since(since).await,
            None => Ok(Vec::new()),
        }
    }
}

/// What is said where only a daemon could answer.
pub(super) fn no_daemon(state_dir: &Path) -> String {
    format!(
        "no daemon runs on the state in {}: start it with `taxiway run`",
        state_dir.display()
    )
}
