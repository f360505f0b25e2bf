//! Ended jobs whose inputs are on their way back to the inbox, to run again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::files::RelPath;
use crate::job::Job;

/// Ended jobs that are to run again, by the path of their input. Shared by an inbox's thread and its handle.
#[derive(Clone, Default)]
pub(crate) struct Retries(Arc<Mutex<HashMap<RelPath, Retry>>>);

/// An ended job that is to run again.
enum Retry {
    /// Its files are on their way. They are not taken, since they may go back.
    Coming(Box<Job>),
    /// Its files are in the inbox.
    Here(Box<Job>),
}

/// The files of a job that is to run again are on their way.
pub(crate) struct StillComing;

impl Retry {
    fn job(&self) -> &Job {
        match self {
            Retry::Coming(job) | Retry::Here(job) => job,
        }
    }
}

impl Retries {
    fn lock(&self) -> MutexGuard<'_, HashMap<RelPath, Retry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job that is made of this job's input is this job again. False if its files are on their way already.
    pub(crate) fn expect(&self, job: Job) -> bool {
        let mut retries = self.lock();
        if matches!(retries.get(&job.input), Some(Retry::Coming(_))) {
            return false;
        }
        retries.insert(job.input.clone(), Retry::Coming(Box::new(job)));
        true
    }

    /// The files of a job are in the inbox and stay there.
    pub(crate) fn arrive(&self, job: &Job) {
        let retry = Retry::Here(Box::new(job.clone()));
        self.lock().insert(job.input.clone(), retry);
    }

    /// Forgets that a job was expected.
    pub(crate) fn forget(&self, job: &Job) {
        let mut retries = self.lock();
        if retries
            .get(&job.input)
            .is_some_and(|retry| retry.job().id == job.id)
        {
            retries.remove(&job.input);
        }
    }

    pub(crate) fn contains(&self, input: &RelPath) -> bool {
        self.lock().contains_key(input)
    }

    pub(crate) fn is_coming(&self, input: &RelPath) -> bool {
        matches!(self.lock().get(input), Some(Retry::Coming(_)))
    }

    /// Takes out the job that runs again with an input, if there is one.
    ///
    /// # Errors
    /// Its files are still on their way.
    pub(crate) fn take(&self, input: &RelPath) -> Result<Option<Box<Job>>, StillComing> {
        let mut retries = self.lock();
        match retries.remove(input) {
            None => Ok(None),
            Some(Retry::Here(job)) => Ok(Some(job)),
            Some(coming @ Retry::Coming(_)) => {
                retries.insert(input.clone(), coming);
                Err(StillComing)
            }
        }
    }
}
