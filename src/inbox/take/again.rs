//! Running a job again: because a person said so, or because they dropped a corrected sidecar.

use std::sync::PoisonError;
use std::time::Duration;

use crate::files::RelPath;
use crate::files::Stamp;
use crate::files::names::stem;
use crate::files::{advice, remove_file};
use crate::folders::note::{note_path, renew_note};
use crate::folders::put_back::put_back;
use crate::inbox::evaluate::rules::{Candidate, Waiting};
use crate::inbox::handle::{expect, has_come};
use crate::inbox::worker::{TRY_AGAIN, Worker};
use crate::job::{Event, FailureKind, InputFile, Job, Role, State};
use crate::journal::JournalError;
use crate::ledger::LedgerError;
use crate::sidecar::names::{Class, classify};

/// Whether a candidate is a job that a person asked to run again.
pub(crate) enum Retried {
    /// It is.
    Again(Box<Job>),
    /// Its files are on their way, and may go back.
    Coming,
    /// It is, and cannot be taken now: why.
    Wait(String),
    /// It is a new job.
    No,
}

impl Worker {
    /// Whether an input is on its way back to the inbox to run again.
    pub(crate) fn is_coming(&self, input: &RelPath) -> bool {
        let retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        retries.get(input).is_some_and(|retry| retry.coming)
    }

    /// Goes on with retries that a person asked for before this thread began. False if the journal cannot be read now.
    pub(crate) fn resume_retries(&self) -> bool {
        let journal = self.setup.ledger.journal();
        let jobs = match self
            .runtime
            .block_on(journal.jobs_to_retry(&self.setup.name))
        {
            Ok(jobs) => jobs,
            Err(error) => {
                tracing::debug!(inbox = %self.setup.name, %error, "which jobs are to run again is not known yet");
                return false;
            }
        };
        for job in jobs {
            self.put_back(job);
        }
        true
    }

    /// Moves the files of a job that is to run again, which the journal knows, back to the inbox.
    fn put_back(&self, job: Job) {
        // A request of this moment, or one that the thread before knew of.
        let known = {
            let retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
            retries.contains_key(&job.input)
        };
        if known || !expect(&self.retries, job.clone()) {
            return;
        }
        match put_back(&job, &self.setup.places) {
            Ok(()) => has_come(&self.retries, &job),
            Err(why) if why.lies_in_inbox => has_come(&self.retries, &job),
            Err(why) => {
                tracing::warn!(job = %job.id, input = %job.input, "the job is not run again: {}", why.what);
                let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
                retries.remove(&job.input);
                drop(retries);
                // Before the journal forgets that there is something to do.
                if let Err(error) = renew_note(&job, &self.setup.places) {
                    tracing::warn!(job = %job.id, %error, "its note is gone and cannot be written again");
                }
                let dropped = self.setup.ledger.revive(job, Event::RetryDropped);
                if let Err(error) = self.runtime.block_on(dropped) {
                    tracing::debug!(inbox = %self.setup.name, %error, "the next start tries it again");
                }
            }
        }
    }

    /// Sidecars that wait for a medium, and have waited long enough for it to be dropped: where a job failed over the
    /// sidecar of that name, this one is its correction, and the job goes on with it.
    ///
    /// Only where nothing was sent: whatever cost something is run again by a person's word alone.
    pub(crate) fn use_corrections(&mut self, folder: &RelPath) {
        let held = self.held.get(folder).cloned().unwrap_or_default();
        for waiting in held.iter().map(|held| &held.waiting) {
            let sidecar = &waiting.input;
            let Some(seen) = self.tree.sighting(sidecar) else {
                continue;
            };
            if classify(sidecar.name()) != Class::Sidecar
                || self.corrections.get(sidecar) == Some(&seen.stamp)
            {
                continue;
            }
            let waited = seen.since.elapsed();
            let long = self.setup.inbox.pair_wait.max(self.settle(folder));
            if waited < long {
                self.look_later(folder, long.saturating_sub(waited));
                continue;
            }
            if let Err(error) = self.correct(folder, sidecar, seen.stamp) {
                tracing::debug!(%sidecar, %error, "whose correction it is is not known yet");
                self.look_later(folder, TRY_AGAIN);
            }
        }
        // What is gone needs no memory.
        let tree = &self.tree;
        self.corrections
            .retain(|sidecar, _| tree.sighting(sidecar).is_some());
    }

    /// Tells what can be taken from sidecars that would be taken without their medium, which lies in `failed` since their job
    /// failed over them.
    pub(crate) fn tell_corrections(
        &mut self,
        folder: &RelPath,
        ready: Vec<Candidate>,
    ) -> (Vec<Candidate>, Vec<Waiting>) {
        let (mut new, mut waiting) = (Vec::new(), Vec::new());
        for candidate in ready {
            let seen = self.tree.sighting(&candidate.input);
            let stamp = seen
                .filter(|_| candidate.may_be_correction)
                .map(|seen| seen.stamp)
                .filter(|stamp| self.corrections.get(&candidate.input) != Some(stamp));
            let Some(stamp) = stamp else {
                new.push(candidate);
                continue;
            };
            let reason = match self.correct(folder, &candidate.input, stamp) {
                Ok(false) => {
                    new.push(candidate);
                    continue;
                }
                Ok(true) => "for its medium, which comes back from the failed job".to_owned(),
                Err(error) => {
                    self.look_later(folder, TRY_AGAIN);
                    format!("whether a job failed over it is not known yet: {error}")
                }
            };
            waiting.push(Waiting {
                input: candidate.input,
                reason: reason.into(),
            });
        }
        (new, waiting)
    }

    /// Lets the job go on that failed over a sidecar of this name, if there is one.
    fn correct(
        &mut self,
        folder: &RelPath,
        sidecar: &RelPath,
        stamp: Stamp,
    ) -> Result<bool, JournalError> {
        let found = self.job_failed_over(sidecar)?;
        self.corrections.insert(sidecar.clone(), stamp);
        let Some(job) = found else {
            return Ok(false);
        };
        let asked = self.setup.ledger.revive(job, Event::RetryAsked);
        match self.runtime.block_on(asked) {
            Ok(job) => {
                tracing::info!(job = %job.id, %sidecar, "a corrected sidecar: its job goes on");
                self.put_back((*job).clone());
                self.dirty.insert(folder.clone());
                self.look_later(folder, Duration::ZERO);
            }
            Err(error) => {
                tracing::debug!(%sidecar, %error, "the job does not go on yet");
                self.corrections.remove(sidecar);
                self.look_later(folder, TRY_AGAIN);
            }
        }
        Ok(true)
    }

    /// The latest job that failed before anything was sent, whose sidecar had this path, and whose medium still lies in `failed`.
    fn job_failed_over(&self, sidecar: &RelPath) -> Result<Option<Job>, JournalError> {
        /// Failed jobs that are looked at.
        const LOOKED_AT: u32 = 20;
        // The medium's path is the sidecar's, less `.yaml`, or that with an extension.
        let start = sidecar.with_name(stem(sidecar.name()));
        let journal = self.setup.ledger.journal();
        let start = start.text();
        let jobs =
            self.runtime
                .block_on(journal.failed_jobs(&self.setup.name, &start, LOOKED_AT))?;
        let fits = |job: &Job| {
            let input_was_wrong = matches!(
                &job.state,
                State::Failed { failure } if failure.kind == FailureKind::Input
            );
            let had_it = job
                .files
                .iter()
                .any(|file| file.role == Role::Sidecar && file.dropped == *sidecar);
            let mut media = job.files.iter().filter(|file| file.role == Role::Main);
            let lies_there = |file: &InputFile| {
                let at = file.at.as_ref().map(|at| self.setup.places.path(at));
                at.is_some_and(|at| at.is_file())
            };
            input_was_wrong
                && job.attempts == 0
                && !job.retry_asked
                && had_it
                && matches!((media.next(), media.next()), (Some(only), None) if lies_there(only))
        };
        Ok(jobs.into_iter().find(fits))
    }

    /// The job that a person asked to run again, if this is its input: it goes on under its old name.
    pub(crate) fn retried(
        &self,
        candidate: &Candidate,
        files: Vec<InputFile>,
    ) -> Result<Retried, String> {
        let expected = || self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        let job = {
            let mut retries = expected();
            match retries.remove(&candidate.input) {
                None => return Ok(Retried::No),
                Some(retry) if retry.coming => {
                    retries.insert(candidate.input.clone(), retry);
                    return Ok(Retried::Coming);
                }
                Some(retry) => retry.job,
            }
        };
        // Its old notes go before it is another try, so that none outlives a crash in between.
        let noted = |file: &&InputFile| file.role == Role::Main || file.dropped == job.input;
        let noted = job.files.iter().filter(noted);
        for at in noted.filter_map(|file| file.at.as_ref()) {
            let note = note_path(&self.setup.places.path(at));
            match remove_file(&note) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    has_come(&self.retries, &job);
                    return Ok(Retried::Wait(format!(
                        "the note of its last try, {}, cannot be removed: {error}. {}",
                        note.display(),
                        advice(&error)
                    )));
                }
                _ => {}
            }
        }
        let (plan, wrong) = match candidate.plan.clone() {
            Ok(plan) => (Some(Box::new(plan)), None),
            Err(failure) => (None, Some(failure)),
        };
        let event = Event::Retried { plan, wrong, files };
        let revived = self
            .runtime
            .block_on(self.setup.ledger.revive((*job).clone(), event));
        match revived {
            Ok(revived) => Ok(Retried::Again(Box::new((*revived).clone()))),
            Err(error @ (LedgerError::Journal(_) | LedgerError::Stopped)) => {
                has_come(&self.retries, &job);
                Err(error.to_string())
            }
            Err(
                error @ (LedgerError::Illegal(_)
                | LedgerError::Unknown(_)
                | LedgerError::Claimed { .. }),
            ) => {
                tracing::warn!(job = %job.id, input = %job.input, %error, "the old job cannot be run again: its files become a new one");
                Ok(Retried::No)
            }
        }
    }
}
