//! Jobs that run again: because a person said so, or because they dropped a corrected sidecar.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::files::names::stem;
use crate::files::{RelPath, Stamp, advice, remove_file};
use crate::folders::note::{note_path, renew_note};
use crate::folders::put_back::put_back;
use crate::inbox::board::WaitingFile;
use crate::inbox::evaluate::rules::{Candidate, Waiting};
use crate::inbox::look::agenda::Agenda;
use crate::inbox::look::tree::Tree;
use crate::inbox::pace::TRY_AGAIN;
use crate::inbox::setup::Setup;
use crate::inbox::take::retries::{Retries, StillComing};
use crate::job::{Event, FailureKind, InputFile, Job, Role, State};
use crate::journal::JournalError;
use crate::ledger::LedgerError;
use crate::sidecar::names::{Class, classify};

/// The jobs of an inbox that run again.
pub(crate) struct Reruns {
    setup: Arc<Setup>,
    retries: Retries,
    /// Whether the retries that an earlier process left unfinished were continued.
    resumed: bool,
    /// Sidecars that wait for a medium and correct no failed job, by the version that was checked.
    no_corrections: HashMap<RelPath, Stamp>,
}

/// Which job a candidate is.
pub(crate) enum Rerun {
    /// One that runs again.
    Of(Box<Job>),
    /// One that runs again, whose files are on their way and may go back.
    Coming,
    /// One that runs again and cannot be taken now: why.
    Wait(String),
    /// A new one.
    No,
}

impl Reruns {
    pub(crate) fn new(setup: Arc<Setup>, retries: Retries) -> Reruns {
        Reruns {
            setup,
            retries,
            resumed: false,
            no_corrections: HashMap::new(),
        }
    }

    /// Whether an input is on its way back to the inbox to run again.
    pub(crate) fn is_coming(&self, input: &RelPath) -> bool {
        self.retries.is_coming(input)
    }

    /// Continues the retries that a person asked for before this thread began, once the journal can be read.
    pub(crate) fn resume(&mut self) {
        if self.resumed {
            return;
        }
        let journal = self.setup.ledger.journal();
        let jobs = journal.jobs_to_retry(&self.setup.name);
        match self.setup.runtime.block_on(jobs) {
            Ok(jobs) => {
                self.resumed = true;
                for job in jobs {
                    self.put_back(job);
                }
            }
            Err(error) => {
                tracing::debug!(inbox = %self.setup.name, %error, "which jobs are to run again is not known yet");
            }
        }
    }

    /// Moves the files of a job back to the inbox. That it is to run again is in the journal.
    fn put_back(&self, job: Job) {
        // A request of this moment, or one that the previous thread knew of.
        if self.retries.contains(&job.input) || !self.retries.expect(job.clone()) {
            return;
        }
        match put_back(&job, &self.setup.places) {
            Ok(()) => self.retries.arrive(&job),
            Err(why) if why.is_in_inbox => self.retries.arrive(&job),
            Err(why) => {
                tracing::warn!(job = %job.id, input = %job.input, "the job is not run again: {}", why.what);
                self.retries.forget(&job);
                // Before the journal forgets that there is something to do.
                if let Err(error) = renew_note(&job, &self.setup.places) {
                    tracing::warn!(job = %job.id, %error, "its note is gone and cannot be written again");
                }
                let dropped = self.setup.ledger.revive(job, Event::RetryDropped);
                if let Err(error) = self.setup.runtime.block_on(dropped) {
                    tracing::debug!(inbox = %self.setup.name, %error, "the next start tries it again");
                }
            }
        }
    }

    /// Checks sidecars that have waited for a medium for `patience`: where a job failed because of the sidecar of that name, this
    /// one is its correction, and the job continues with it.
    ///
    /// Only where nothing was sent: a job that has cost something runs again only when a person says so.
    pub(crate) fn use_corrections(
        &mut self,
        folder: &RelPath,
        waiting: &[WaitingFile],
        patience: Duration,
        tree: &Tree,
        agenda: &mut Agenda,
    ) {
        for file in waiting {
            let sidecar = &file.waiting.input;
            let Some(seen) = tree.sighting(sidecar) else {
                continue;
            };
            if classify(sidecar.name()) != Class::Sidecar
                || self.no_corrections.get(sidecar) == Some(&seen.stamp)
            {
                continue;
            }
            let waited = seen.since.elapsed();
            if waited < patience {
                agenda.evaluate_within(folder, patience.saturating_sub(waited));
                continue;
            }
            if let Err(error) = self.correct(folder, sidecar, seen.stamp, agenda) {
                tracing::debug!(%sidecar, %error, "whether it corrects a job is not known yet");
                agenda.evaluate_within(folder, TRY_AGAIN);
            }
        }
        self.no_corrections
            .retain(|sidecar, _| tree.sighting(sidecar).is_some());
    }

    /// Holds back sidecars that would be taken without their medium, which is in `failed` since their job failed because of them.
    pub(crate) fn hold_corrections(
        &mut self,
        folder: &RelPath,
        ready: Vec<Candidate>,
        tree: &Tree,
        agenda: &mut Agenda,
    ) -> (Vec<Candidate>, Vec<Waiting>) {
        let (mut others, mut waiting) = (Vec::new(), Vec::new());
        for candidate in ready {
            let seen = tree.sighting(&candidate.input);
            let stamp = seen
                .filter(|_| candidate.may_be_correction)
                .map(|seen| seen.stamp)
                .filter(|stamp| self.no_corrections.get(&candidate.input) != Some(stamp));
            let Some(stamp) = stamp else {
                others.push(candidate);
                continue;
            };
            let reason = match self.correct(folder, &candidate.input, stamp, agenda) {
                Ok(false) => {
                    others.push(candidate);
                    continue;
                }
                Ok(true) => "for its medium, which comes back from the failed job".to_owned(),
                Err(error) => {
                    agenda.evaluate_within(folder, TRY_AGAIN);
                    format!("whether a job failed because of it is not known yet: {error}")
                }
            };
            waiting.push(Waiting {
                input: candidate.input,
                reason: reason.into(),
            });
        }
        (others, waiting)
    }

    /// Has the job continue that failed because of a sidecar of this name. False if there is none.
    fn correct(
        &mut self,
        folder: &RelPath,
        sidecar: &RelPath,
        stamp: Stamp,
        agenda: &mut Agenda,
    ) -> Result<bool, JournalError> {
        let found = self.find_corrected_job(sidecar)?;
        self.no_corrections.insert(sidecar.clone(), stamp);
        let Some(job) = found else {
            return Ok(false);
        };
        let asked = self.setup.ledger.revive(job, Event::RetryAsked);
        match self.setup.runtime.block_on(asked) {
            Ok(job) => {
                tracing::info!(job = %job.id, %sidecar, "a corrected sidecar: its job continues");
                self.put_back((*job).clone());
                agenda.mark([folder.clone()]);
                agenda.evaluate_within(folder, Duration::ZERO);
            }
            Err(error) => {
                tracing::debug!(%sidecar, %error, "the job does not continue yet");
                self.no_corrections.remove(sidecar);
                agenda.evaluate_within(folder, TRY_AGAIN);
            }
        }
        Ok(true)
    }

    /// The latest job that failed before anything was sent, whose sidecar had this path, and whose medium is still in `failed`.
    fn find_corrected_job(&self, sidecar: &RelPath) -> Result<Option<Job>, JournalError> {
        /// Failed jobs that are checked.
        const CHECKED: u32 = 20;
        // The medium's path is the sidecar's without `.yaml`, or that with an extension.
        let start = sidecar.with_name(stem(sidecar.name()));
        let start = start.text();
        let journal = self.setup.ledger.journal();
        let jobs = journal.failed_jobs(&self.setup.name, &start, CHECKED);
        let jobs = self.setup.runtime.block_on(jobs)?;
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
            let is_there = |file: &InputFile| {
                let at = file.at.as_ref().map(|at| self.setup.places.path(at));
                at.is_some_and(|at| at.is_file())
            };
            input_was_wrong
                && job.attempts == 0
                && !job.retry_asked
                && had_it
                && matches!((media.next(), media.next()), (Some(only), None) if is_there(only))
        };
        Ok(jobs.into_iter().find(fits))
    }

    /// Whether a candidate is a job that a person asked to run again. Then it continues under its old name.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub(crate) fn take_up(
        &self,
        candidate: &Candidate,
        files: Vec<InputFile>,
    ) -> Result<Rerun, String> {
        let job = match self.retries.take(&candidate.input) {
            Ok(None) => return Ok(Rerun::No),
            Ok(Some(job)) => job,
            Err(StillComing) => return Ok(Rerun::Coming),
        };
        // Its old notes go before it is tried again, so that none outlives a crash in between.
        if let Err(why) = self.remove_notes(&job) {
            self.retries.arrive(&job);
            return Ok(Rerun::Wait(why));
        }
        let (plan, wrong) = match candidate.plan.clone() {
            Ok(plan) => (Some(Box::new(plan)), None),
            Err(failure) => (None, Some(failure)),
        };
        let event = Event::Retried { plan, wrong, files };
        let revived = self.setup.ledger.revive((*job).clone(), event);
        match self.setup.runtime.block_on(revived) {
            Ok(revived) => Ok(Rerun::Of(Box::new((*revived).clone()))),
            Err(error @ (LedgerError::Journal(_) | LedgerError::Stopped)) => {
                self.retries.arrive(&job);
                Err(error.to_string())
            }
            Err(
                error @ (LedgerError::Illegal(_)
                | LedgerError::Unknown(_)
                | LedgerError::Claimed { .. }),
            ) => {
                tracing::warn!(job = %job.id, input = %job.input, %error, "the old job cannot be run again: its files become a new one");
                Ok(Rerun::No)
            }
        }
    }

    fn remove_notes(&self, job: &Job) -> Result<(), String> {
        let noted = |file: &&InputFile| file.role == Role::Main || file.dropped == job.input;
        let noted = job.files.iter().filter(noted);
        for at in noted.filter_map(|file| file.at.as_ref()) {
            let note = note_path(&self.setup.places.path(at));
            match remove_file(&note) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(format!(
                        "the note of its last try, {}, cannot be removed: {error}. {}",
                        note.display(),
                        advice(&error)
                    ));
                }
            }
        }
        Ok(())
    }
}
