//! A running inbox as the rest of the daemon sees it: what its thread last knew, and how to speak to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::watch;

use crate::files::RelPath;
use crate::folders::Places;
use crate::inbox::board::InboxView;
use crate::inbox::evaluate::rules::Waiting;
use crate::inbox::events::watch::Hint;
use crate::inbox::take::retries::Retries;
use crate::job::Job;

/// A running inbox.
pub struct InboxHandle {
    /// The inbox's name.
    pub name: String,
    /// Names that it had before.
    pub formerly: Vec<String>,
    /// Its folders.
    pub places: Places,
    pub(super) view: watch::Receiver<InboxView>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) hints: Sender<Hint>,
    pub(super) retries: Retries,
    pub(super) thread: JoinHandle<()>,
}

impl InboxHandle {
    /// Whether the jobs of an inbox are this one's, which has its name or had it before.
    pub fn serves(&self, inbox: &str) -> bool {
        self.name == inbox || self.formerly.iter().any(|name| name == inbox)
    }

    /// What its thread knows, to wait for changes. The sender is gone once the thread has ended.
    pub fn subscribe(&self) -> watch::Receiver<InboxView> {
        self.view.clone()
    }

    /// What its thread last knew. Do not keep it across an `await`: the thread waits meanwhile.
    pub(super) fn peek(&self) -> watch::Ref<'_, InboxView> {
        self.view.borrow()
    }

    /// A copy of what its thread last knew.
    pub fn view(&self) -> InboxView {
        self.peek().clone()
    }

    /// How often what waits in it has changed since the start.
    pub fn revision(&self) -> u64 {
        self.peek().revision
    }

    /// Whether the first scan has finished.
    pub fn has_looked(&self) -> bool {
        self.peek().ready
    }

    /// Why nothing can be done with its folder now, if nothing can.
    pub fn frozen(&self) -> Option<String> {
        let view = self.peek();
        if view.is_stalled_at(Instant::now()) {
            let why =
                "the folder does not respond: check its share's server. Other inboxes continue";
            return Some(why.to_owned());
        }
        view.frozen.clone()
    }

    /// How changes in it are noticed, and why so.
    pub fn backend(&self) -> String {
        self.peek().backend.clone()
    }

    /// What cannot be done in which of its folders.
    pub fn unusable(&self) -> Vec<String> {
        self.peek().unusable.clone()
    }

    /// How much stays in the inbox.
    pub fn count_waiting(&self) -> usize {
        self.peek().waiting.values().map(|files| files.len()).sum()
    }

    /// The first of what stays in the inbox, by path, at most `limit`. There may be thousands, and nobody needs them all.
    pub fn first_waiting(&self, limit: usize) -> Vec<Waiting> {
        let view = self.peek();
        let mut folders: Vec<&RelPath> = view.waiting.keys().collect();
        folders.sort_unstable();
        let files = folders
            .into_iter()
            .filter_map(|folder| view.waiting.get(folder));
        files
            .flat_map(|files| files.iter().map(|file| file.waiting.clone()))
            .take(limit)
            .collect()
    }

    /// Whether the thread hangs in its folder, as on a share whose server does not respond.
    pub fn is_stalled(&self) -> bool {
        self.peek().is_stalled_at(Instant::now())
    }

    /// The next job that is made of this job's input is this job again. Called before the files move back to the inbox; they are
    /// not taken until [`InboxHandle::retry_has_come`]. False if they are on their way already.
    pub fn expect_retry(&self, job: Job) -> bool {
        self.retries.expect(job)
    }

    /// The files of this job are in the inbox and stay there.
    pub fn retry_has_come(&self, job: &Job) {
        self.retries.arrive(job);
    }

    /// Undoes [`InboxHandle::expect_retry`].
    pub fn forget_retry(&self, job: &Job) {
        self.retries.forget(job);
    }

    /// Has the whole inbox scanned now.
    pub fn look(&self) {
        self.send(Hint::Everything);
    }

    /// Asks the thread to stop. It does so after what it is doing; a folder that hangs may keep it.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.send(Hint::Wake);
        self.thread.thread().unpark();
    }

    fn send(&self, hint: Hint) {
        if self.hints.send(hint).is_err() {
            tracing::trace!(inbox = %self.name, "the inbox's thread has ended already");
        }
    }

    /// Whether the thread has ended.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}
