//! How files are taken: the journal first, then the renames into `working/`, then the journal again.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::files::{Stamp, stamp};
use crate::folders::take::{Taking, finish_taking};
use crate::inbox::evaluate::rules::Waiting;
use crate::inbox::events::hints::Events;
use crate::inbox::look::tree::Tree;
use crate::inbox::setup::Setup;
use crate::job::{Event, Job, State};
use crate::ledger::LedgerError;

/// Takes files.
pub(crate) struct Taker {
    setup: Arc<Setup>,
    /// Why files could not be taken, which is logged once.
    trouble: Option<String>,
    /// Taken files that the journal does not know of yet.
    moves: Vec<JoinHandle<Result<Arc<Job>, LedgerError>>>,
}

impl Taker {
    pub(crate) fn new(setup: Arc<Setup>) -> Taker {
        Taker {
            setup,
            trouble: None,
            moves: Vec::new(),
        }
    }

    /// Notes that files could be taken.
    pub(crate) fn clear_trouble(&mut self) {
        self.trouble = None;
    }

    /// Notes why no files can be taken now.
    pub(crate) fn note_trouble(&mut self, why: &str) {
        if self.trouble.as_deref() != Some(why) {
            tracing::error!(inbox = %self.setup.name, "files cannot be taken now: {why}");
            self.trouble = Some(why.to_owned());
        }
    }

    /// Makes new jobs durable. A file that another job has a claim to is refused; the others continue.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub(crate) fn insert(&self, new: Vec<Job>) -> Result<(Vec<Job>, Vec<Waiting>), String> {
        if new.is_empty() {
            return Ok((new, Vec::new()));
        }
        let insert = |jobs: Vec<Job>| self.setup.runtime.block_on(self.setup.ledger.insert(jobs));
        match insert(new.clone()) {
            Ok(()) => return Ok((new, Vec::new())),
            Err(LedgerError::Claimed { .. }) => {}
            Err(error) => return Err(error.to_string()),
        }
        let (mut inserted, mut refused) = (Vec::new(), Vec::new());
        for job in new {
            match insert(vec![job.clone()]) {
                Ok(()) => inserted.push(job),
                // If the journal fails now, the jobs before were inserted all the same.
                Err(error) => refused.push(Waiting {
                    input: job.input,
                    reason: error.to_string().into(),
                }),
            }
        }
        Ok((inserted, refused))
    }

    /// Renames a durable job's files into `working`, and has the journal note it. False if what is in the inbox now may be other
    /// files.
    pub(crate) fn move_files(&mut self, job: &Job, tree: &mut Tree, events: &mut Events) -> bool {
        let unchanged = job.files.iter().all(|file| {
            let seen = tree.sighting(&file.dropped);
            seen.is_some_and(|seen| is_version(&tree.absolute(&file.dropped), &seen.stamp))
        });
        for file in &job.files {
            tree.forget_file(&file.dropped);
        }
        // The engine takes jobs, too, and may have been faster.
        let now = self.setup.ledger.get(&job.id);
        let is_taking = now.is_some_and(|job| matches!(job.state, State::Taking { .. }));
        let as_expected = unchanged && is_taking;
        if as_expected {
            match finish_taking(job, &self.setup.places) {
                Ok(Taking::All(files)) => {
                    let (ledger, id) = (self.setup.ledger.clone(), job.id.clone());
                    let event = Event::Moved { files };
                    let noted = async move { ledger.apply(&id, event).await };
                    self.moves.push(self.setup.runtime.spawn(noted));
                }
                // The engine finishes it, or finds that the person took it back.
                Ok(Taking::Undone(_)) => {}
                Err(error) => {
                    // The engine tries it again, and reports what to do.
                    tracing::debug!(job = %job.id, input = %job.input, %error, "the files cannot be moved to working yet");
                }
            }
        }
        // So that a file that a person deletes there is noticed at once.
        let paths = job
            .files
            .iter()
            .map(|file| self.setup.places.path(&file.taken_at()));
        let folders: HashSet<PathBuf> = paths
            .filter_map(|path| path.parent().map(Path::to_owned))
            .collect();
        for folder in folders {
            events.watch_folder(&folder);
        }
        tracing::info!(job = %job.id, inbox = %job.inbox, input = %job.input, "taken");
        as_expected
    }

    /// Waits until the journal knows of all renames.
    pub(crate) fn finish_moves(&mut self) {
        for noted in std::mem::take(&mut self.moves) {
            match self.setup.runtime.block_on(noted) {
                Ok(Ok(_)) => {}
                // The engine was faster, or finishes it.
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the inbox's thread did not note taken files as moved");
                }
                Err(error) => {
                    tracing::debug!(%error, "taken files are not noted as moved yet");
                }
            }
        }
    }
}

/// Whether the file at a path is the version that was seen. Its ctime is left out, since a change of mode or owner does not change
/// the content.
fn is_version(path: &Path, seen: &Stamp) -> bool {
    matches!(
        stamp(path),
        Ok(Some(now)) if (now.dev, now.ino, now.size, now.mtime) == (seen.dev, seen.ino, seen.size, seen.mtime)
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn row_05_a_file_that_was_exchanged_is_another_version() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cat.jpg");
        fs::write(&path, "a").unwrap();
        let seen = stamp(&path).unwrap().unwrap();
        assert!(is_version(&path, &seen));
        let other = dir.path().join("other.jpg");
        fs::write(&other, "b").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!is_version(&path, &seen));
        fs::remove_file(&path).unwrap();
        assert!(!is_version(&path, &seen));
    }
}
