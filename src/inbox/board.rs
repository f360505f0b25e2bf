//! What an inbox's thread last knew, as the rest of the daemon sees it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::files::RelPath;
use crate::inbox::evaluate::rules::Waiting;
use crate::job::JobId;

/// A thread without a sign of life for so long hangs in its folder.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Something that stays in the inbox for now.
#[derive(Debug, Clone)]
pub struct WaitingFile {
    /// A name that becomes the job's.
    pub id: JobId,
    /// When it was first seen.
    pub since: Timestamp,
    /// What waits, and for what.
    pub waiting: Waiting,
}

/// What waits, by folder. Shared, since there may be thousands of files.
type WaitingFiles = HashMap<RelPath, Arc<Vec<WaitingFile>>>;

/// What an inbox's thread last knew.
#[derive(Debug, Clone)]
pub struct InboxView {
    /// What stays in the inbox, by folder.
    pub waiting: WaitingFiles,
    /// How often what waits has changed.
    pub revision: u64,
    /// How changes are noticed and why, for people.
    pub backend: String,
    /// What cannot be done in which of its folders, a sentence each.
    pub unusable: Vec<String>,
    /// Why nothing can be done with the folder now.
    pub frozen: Option<String>,
    /// Whether the thread has checked whether its folders can be used.
    pub checked: bool,
    /// Whether the first scan has finished, or cannot begin.
    pub ready: bool,
    /// How long the last scan of the whole inbox took.
    pub scan: Option<Duration>,
    /// When the thread last gave a sign of life.
    pub heartbeat: Instant,
}

impl InboxView {
    /// A view of folders that were not checked yet.
    pub(crate) fn new(now: Instant) -> InboxView {
        InboxView {
            waiting: HashMap::new(),
            revision: 0,
            backend: String::new(),
            unusable: Vec::new(),
            frozen: Some("its folders have not been checked yet".to_owned()),
            checked: false,
            ready: false,
            scan: None,
            heartbeat: now,
        }
    }

    /// What is known of the same folders before the new thread has checked them: what waits there keeps waiting, under the same
    /// names.
    pub(crate) fn continued(&self, now: Instant) -> InboxView {
        InboxView {
            waiting: self.waiting.clone(),
            frozen: self.frozen.clone(),
            checked: self.checked,
            ..InboxView::new(now)
        }
    }

    /// Whether the first scan has finished, or its folder does not respond: then it keeps only itself waiting.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready || self.is_stalled_at(Instant::now())
    }

    pub(crate) fn is_stalled_at(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heartbeat) > STALLED_AFTER
    }
}

/// The thread's side of the view.
pub(crate) struct Board {
    inbox: String,
    waiting: WaitingFiles,
    /// Whether `waiting` is not what the view says.
    changed: bool,
    view: watch::Sender<InboxView>,
}

impl Board {
    pub(crate) fn new(inbox: String, view: InboxView) -> Board {
        Board {
            inbox,
            waiting: view.waiting.clone(),
            changed: false,
            view: watch::Sender::new(view),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<InboxView> {
        self.view.subscribe()
    }

    /// What waits in a folder.
    pub(crate) fn waiting_in(&self, folder: &RelPath) -> Arc<Vec<WaitingFile>> {
        self.waiting.get(folder).cloned().unwrap_or_default()
    }

    /// Notes what waits in a folder. What waited there before keeps its name.
    pub(crate) fn set_waiting(&mut self, folder: &RelPath, waiting: Vec<Waiting>) {
        let before = self.waiting_in(folder);
        if before.iter().map(|file| &file.waiting).eq(&waiting) {
            return;
        }
        let known: HashMap<&RelPath, &WaitingFile> = before
            .iter()
            .map(|file| (&file.waiting.input, file))
            .collect();
        let files = waiting
            .into_iter()
            .map(|waiting| {
                let (id, since) = match known.get(&waiting.input) {
                    Some(file) => (file.id.clone(), file.since),
                    None => (JobId::random(), Timestamp::now()),
                };
                WaitingFile { id, since, waiting }
            })
            .collect();
        self.waiting.insert(folder.clone(), Arc::new(files));
        self.changed = true;
    }

    /// Forgets what waited in all folders but those that `keep` names.
    pub(crate) fn retain_folders(&mut self, keep: impl Fn(&RelPath) -> bool) {
        let before = self.waiting.len();
        self.waiting.retain(|folder, _| keep(folder));
        self.changed |= self.waiting.len() != before;
    }

    pub(crate) fn forget_folder(&mut self, folder: &RelPath) {
        self.waiting.remove(folder);
        self.changed = true;
    }

    /// Publishes what waits after a scan.
    pub(crate) fn publish(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        self.view.send_if_modified(|view| {
            if changed {
                view.waiting.clone_from(&self.waiting);
                view.revision = view.revision.wrapping_add(1);
            }
            !std::mem::replace(&mut view.ready, true) || changed
        });
    }

    /// Gives a sign of life, which wakes nobody.
    pub(crate) fn beat(&self) {
        self.view.send_if_modified(|view| {
            view.heartbeat = Instant::now();
            false
        });
    }

    pub(crate) fn set_backend(&self, backend: String) {
        self.view.send_modify(|view| view.backend = backend);
    }

    pub(crate) fn set_unusable(&self, unusable: Vec<String>) {
        self.view.send_modify(|view| view.unusable = unusable);
    }

    pub(crate) fn set_scan_time(&self, took: Duration) {
        self.view.send_if_modified(|view| {
            view.scan = Some(took);
            false
        });
    }

    /// Shows why nothing is done while another thread still watches the same folders.
    pub(crate) fn wait_for(&self, previous: std::thread::JoinHandle<()>) {
        let mut frozen = None;
        let why = "waiting for the previous watch to end".to_owned();
        let must_wait = !previous.is_finished();
        if must_wait {
            self.view
                .send_modify(|view| frozen = view.frozen.replace(why));
        }
        if previous.join().is_err() {
            tracing::error!(inbox = %self.inbox, "the previous watch of this folder ended because of a bug");
        }
        if must_wait {
            self.view.send_modify(|view| view.frozen = frozen);
        }
    }

    /// Shows that the folders can be used.
    pub(crate) fn thaw(&self) {
        let mut returned = false;
        self.view.send_if_modified(|view| {
            let was_frozen = view.frozen.take().is_some();
            let was_checked = std::mem::replace(&mut view.checked, true);
            returned = was_frozen && was_checked;
            was_frozen || !was_checked
        });
        if returned {
            tracing::info!(inbox = %self.inbox, "the folder is back: work continues");
        }
    }

    /// Shows why nothing is done with the folders.
    pub(crate) fn freeze(&self, why: String) {
        let mut is_new = false;
        self.view.send_if_modified(|view| {
            is_new = view.frozen.as_ref() != Some(&why);
            view.frozen = Some(why.clone());
            let known = (view.ready, view.checked);
            (view.ready, view.checked) = (true, true);
            is_new || known != (true, true)
        });
        if is_new {
            tracing::error!(inbox = %self.inbox, "frozen: {why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_12_a_thread_without_a_sign_of_life_hangs() {
        let now = Instant::now();
        let view = InboxView::new(now);
        assert!(!view.is_stalled_at(now + STALLED_AFTER));
        assert!(view.is_stalled_at(now + STALLED_AFTER + Duration::from_secs(1)));
    }

    #[test]
    fn subscribers_wake_for_changes_and_not_for_signs_of_life() {
        let mut board = Board::new("studio".to_owned(), InboxView::new(Instant::now()));
        let mut view = board.subscribe();
        board.publish();
        assert!(view.has_changed().unwrap() && view.borrow_and_update().ready);
        board.beat();
        board.set_scan_time(Duration::ZERO);
        board.publish();
        assert!(!view.has_changed().unwrap());
        let waiting = vec![Waiting {
            input: RelPath::default(),
            reason: "for media".into(),
        }];
        board.set_waiting(&RelPath::default(), waiting.clone());
        board.publish();
        assert_eq!(view.borrow_and_update().revision, 1);
        board.set_waiting(&RelPath::default(), waiting);
        board.publish();
        assert!(!view.has_changed().unwrap());
    }
}
