//! The thread of one inbox: scan, judge, pair, take; then wait for a hint or for time to pass.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Handle;

use super::evaluate::rules::{Evaluator, Waiting};
use super::handle::{Held, InboxHandle, InboxView, NOT_LOOKED, Retries, Setup};
use super::pace::{SETTLE_LOCAL, SETTLE_NETWORK, pause, rest};
use crate::config::Watch;
use crate::files::RelPath;
use crate::files::Stamp;
use crate::files::advice;
use crate::files::mounts::Mount;
use crate::folders::mounted::{below, is_mounted};
use crate::inbox::events::watch::{Hint, Watches};
use crate::inbox::look::settle::Writer;
use crate::inbox::look::tree::Tree;
use crate::inbox::root::filesystem::{self, Identity};
use crate::job::{Event, Job, JobId, State};
use crate::ledger::LedgerError;
use crate::sidecar::endpoint::Rules;
use crate::sidecar::layers::Layer;

/// How often the root is looked at, and a sign of life given, where nothing happens.
const LOOK_AT_ROOT: Duration = Duration::from_secs(5);

/// How often a folder that cannot be used is tried again.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Starts the thread of an inbox, which another thread may have watched until now. The new one begins when the `old` one is over, however
/// long that takes: two threads must never take from one folder. The retries that the old one expected are the new one's.
///
/// # Errors
/// The system refuses another thread.
pub fn spawn_after(
    setup: Setup,
    old: Option<InboxHandle>,
    runtime: Handle,
) -> std::io::Result<InboxHandle> {
    let (hints, receiver) = channel();
    // Over the same folders the old thread's word stands until the new one has looked: what waits there goes on waiting, under
    // the same names.
    let same = old.as_ref().filter(|old| old.places == setup.places);
    let frozen = match same {
        Some(old) => old.frozen(),
        None => Some(NOT_LOOKED.to_owned()),
    };
    let held = same.map(|old| old.view().waiting).unwrap_or_default();
    let view = Arc::new(Mutex::new(InboxView {
        waiting: held.clone(),
        ..InboxView::new(Instant::now(), frozen)
    }));
    let stop = Arc::new(AtomicBool::new(false));
    let mut retries = Retries::default();
    let mut before = None;
    if let Some(old) = old {
        old.stop();
        retries = old.retries;
        before = Some(old.thread);
    }
    let (name, places) = (setup.name.clone(), setup.places.clone());
    let formerly = setup.formerly.clone();
    let worker = Worker {
        tree: Tree::new(setup.places.inbox.clone(), setup.ignore.clone()),
        defaults: setup.defaults.clone(),
        watches: None,
        identity: None,
        inside: Vec::new(),
        unmade: Vec::new(),
        unusable: Vec::new(),
        probed: Instant::now(),
        writers: HashMap::new(),
        dirty: BTreeSet::new(),
        thorough: true,
        due: HashMap::new(),
        held,
        news: false,
        overflowed: false,
        frozen: false,
        unreadable: HashMap::new(),
        trouble: None,
        moves: Vec::new(),
        view: view.clone(),
        stop: stop.clone(),
        retries: retries.clone(),
        resumed: false,
        corrections: HashMap::new(),
        hints: hints.clone(),
        receiver,
        runtime,
        setup,
    };
    let thread = std::thread::Builder::new()
        .name(format!("inbox {name}"))
        .spawn(move || worker.run(before))?;
    Ok(InboxHandle {
        name,
        formerly,
        places,
        view,
        stop,
        hints,
        retries,
        thread,
    })
}

/// The thread's own knowledge.
pub(super) struct Worker {
    pub(super) setup: Setup,
    pub(super) tree: Tree,
    pub(super) defaults: Layer,
    pub(super) watches: Option<Watches>,
    pub(super) identity: Option<Identity>,
    /// What is mounted inside the inbox, and where.
    pub(super) inside: Vec<(RelPath, Mount)>,
    /// Folders that could not be made when the watch began.
    pub(super) unmade: Vec<PathBuf>,
    /// What the last probe of the folders found wrong, and when it was.
    pub(super) unusable: Vec<String>,
    pub(super) probed: Instant,
    /// What events said of the writers of files since those were looked at.
    pub(super) writers: HashMap<PathBuf, Writer>,
    pub(super) dirty: BTreeSet<RelPath>,
    /// Whether the next scan trusts nothing that was seen before.
    pub(super) thorough: bool,
    pub(super) due: HashMap<RelPath, Instant>,
    pub(super) held: HashMap<RelPath, Arc<Vec<Held>>>,
    /// Whether `held` is not what the view says.
    pub(super) news: bool,
    /// Whether the kernel's queue has overflowed; noted so that it is said once.
    pub(super) overflowed: bool,
    /// Whether the root could not be used at the last look.
    pub(super) frozen: bool,
    /// Folders that could not be read at the last look, and why; noted so that each is logged once.
    pub(super) unreadable: HashMap<RelPath, String>,
    /// Why files could not be taken; noted so that it is logged once.
    pub(super) trouble: Option<String>,
    /// Taken files on their way into the journal.
    pub(super) moves: Vec<tokio::task::JoinHandle<Result<Arc<Job>, LedgerError>>>,
    pub(super) view: Arc<Mutex<InboxView>>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) retries: Retries,
    /// Whether retries that an earlier process left half done were gone on with.
    pub(super) resumed: bool,
    /// Sidecars that wait for a medium and are no correction of a job that failed, by the version that was looked at.
    pub(super) corrections: HashMap<RelPath, Stamp>,
    pub(super) hints: Sender<Hint>,
    pub(super) receiver: Receiver<Hint>,
    pub(super) runtime: Handle,
}

impl Worker {
    fn run(mut self, before: Option<JoinHandle<()>>) {
        self.wait_for(before);
        let mut next_scan = Instant::now();
        let mut next_inside = Instant::now();
        let mut hint = None;
        while !self.is_stopped() {
            self.beat();
            match self.check_root() {
                Ok(anew) => {
                    if anew {
                        next_scan = Instant::now();
                    }
                    self.thaw();
                    if !self.resumed {
                        self.resumed = self.resume_retries();
                    }
                    self.probe_again();
                    for (folder, error) in self.make_folders() {
                        tracing::debug!(inbox = %self.setup.name, %error, "{} cannot be made yet", folder.display());
                    }
                }
                Err(why) => {
                    self.freeze(why);
                    hint = self.wait(Instant::now().checked_add(TRY_AGAIN));
                    continue;
                }
            }
            let now = Instant::now();
            let mut working_changed = self.note_hints(hint.take(), &mut next_scan);
            self.note_mounts();
            let trusted = self.trusted();
            let full = now >= next_scan;
            if full {
                self.mark_all();
                working_changed = true;
            }
            let inside = !full && now >= next_inside && self.trusted() && self.mark_inside();
            working_changed |= inside;
            self.scan(now);
            if full || inside {
                let pause = self.interval_alone(now.elapsed());
                next_inside = Instant::now().checked_add(pause).unwrap_or(now);
            }
            if full {
                // What waited in folders that went away while nobody could look.
                let (tree, before) = (&self.tree, self.held.len());
                self.held
                    .retain(|folder, _| folder.is_root() || tree.contains(folder));
                self.news |= self.held.len() != before;
                let took = now.elapsed();
                self.update_view(|view| view.scan = Some(took));
                next_scan = Instant::now()
                    .checked_add(self.interval(now.elapsed()))
                    .unwrap_or(now);
            }
            if trusted && !self.trusted() {
                // The watches have run out: until now scans only caught what events lost, from now on they are all there is.
                next_scan = Instant::now();
            }
            let took = self.evaluate_due();
            if working_changed {
                self.notice_deleted();
            }
            self.publish();
            let cost = if full || took {
                Duration::ZERO
            } else {
                now.elapsed()
            };
            let rested = Instant::now().checked_add(rest(cost));
            let inside = (self.trusted() && !self.inside.is_empty()).then_some(next_inside);
            let wake = self
                .due
                .values()
                .copied()
                .chain([next_scan])
                .chain(inside)
                .min();
            hint = self.wait(wake);
            if matches!(
                hint,
                Some(Hint::Folder(_) | Hint::Closed(_) | Hint::Written(_))
            ) {
                self.rest_until(rested);
            }
        }
    }

    /// Lets events gather until then.
    fn rest_until(&self, rested: Option<Instant>) {
        const STEP: Duration = Duration::from_millis(10);
        while !self.is_stopped()
            && let Some(left) = rested.and_then(|at| at.checked_duration_since(Instant::now()))
            && !left.is_zero()
        {
            std::thread::sleep(left.min(STEP));
        }
    }

    /// Marks what a scan of the whole inbox has to look at. Where events tell of every change, a folder whose own times have
    /// not changed is left out, unless events were lost.
    fn mark_all(&mut self) {
        let thorough = std::mem::take(&mut self.thorough) || !self.trusted();
        self.dirty.insert(RelPath::default());
        let all: Vec<RelPath> = self
            .tree
            .folders()
            .filter(|folder| {
                thorough || !self.trusted_in(folder) || !self.tree.is_unchanged(folder)
            })
            .cloned()
            .collect();
        self.dirty.extend(all);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits for the thread that watched this folder before.
    fn wait_for(&self, before: Option<JoinHandle<()>>) {
        let Some(before) = before else {
            return;
        };
        if !before.is_finished() {
            self.update_view(|view| {
                view.frozen = Some("waiting for the previous watch to end".to_owned());
            });
        }
        if before.join().is_err() {
            tracing::error!(inbox = %self.setup.name, "the previous watch of this folder broke off by a mistake in the program");
        }
        self.update_view(|view| view.frozen = None);
    }

    pub(super) fn beat(&self) {
        self.update_view(|view| view.beat = Instant::now());
    }

    /// Waits for a hint, at most until `until`, and never for so long that nobody looks at the root.
    fn wait(&mut self, until: Option<Instant>) -> Option<Hint> {
        let pause = until.map_or(TRY_AGAIN, |until| {
            until
                .saturating_duration_since(Instant::now())
                .min(LOOK_AT_ROOT)
        });
        // Neither a time-out nor a closed channel is anything but the end of the wait.
        self.receiver.recv_timeout(pause).into_iter().next()
    }

    /// Whether events of this root can be trusted to tell of every change.
    pub(super) fn trusted(&self) -> bool {
        self.trust().0
    }

    /// The same, with words for people.
    pub(super) fn trust(&self) -> (bool, String) {
        let mount = self.identity.as_ref();
        let mount = mount.and_then(|identity| identity.mount.as_ref());
        let events = self.watches.as_ref().is_some_and(|watches| !watches.full);
        filesystem::trust(self.setup.inbox.watch, mount, events)
    }

    /// The mount that a folder of the inbox lies on.
    pub(super) fn mount_of(&self, folder: &RelPath) -> Option<&Mount> {
        let inside = self
            .inside
            .iter()
            .filter(|(at, _)| folder.as_path().starts_with(at.as_path()));
        // Of nested ones the deepest.
        let inside = inside.max_by_key(|(at, _)| at.as_path().components().count());
        match inside {
            Some((_, mount)) => Some(mount),
            None => self.identity.as_ref()?.mount.as_ref(),
        }
    }

    /// Whether events can be trusted to tell of every change in a folder: what is true of the inbox need not be true of what
    /// is mounted inside it.
    pub(super) fn trusted_in(&self, folder: &RelPath) -> bool {
        match self.setup.inbox.watch {
            Watch::Auto => self.trusted() && self.mount_of(folder).is_some_and(Mount::is_local),
            Watch::Events | Watch::Scan => self.trusted(),
        }
    }

    /// How long a file in a folder must be quiet.
    pub(super) fn settle(&self, folder: &RelPath) -> Duration {
        let auto = match self.mount_of(folder).is_some_and(Mount::is_local) {
            true => SETTLE_LOCAL,
            false => SETTLE_NETWORK,
        };
        self.setup.inbox.settle.unwrap_or(auto)
    }

    /// Notes what is mounted inside the inbox now. What came or went is looked at.
    fn note_mounts(&mut self) {
        let now = below(&self.setup.places.inbox);
        if now == self.inside {
            return;
        }
        let before = std::mem::replace(&mut self.inside, now);
        for (at, mount) in &self.inside {
            if !before.iter().any(|(known, _)| known == at) {
                let (_, how) =
                    filesystem::trust(self.setup.inbox.watch, Some(mount), self.trusted());
                tracing::info!(inbox = %self.setup.name, folder = %at, "another filesystem is mounted here: {how}");
            }
        }
        let changed = before.iter().chain(&self.inside).map(|(at, _)| at.clone());
        self.dirty.extend(changed);
        self.say_backend();
    }

    /// Marks the folders that events say too little of although they can be trusted in the inbox itself. Answers whether there
    /// are any.
    fn mark_inside(&mut self) -> bool {
        let quiet: Vec<RelPath> = self
            .tree
            .folders()
            .filter(|folder| !self.trusted_in(folder))
            .cloned()
            .collect();
        let any = !quiet.is_empty();
        self.dirty.extend(quiet);
        any
    }

    fn interval(&self, cost: Duration) -> Duration {
        self.setup
            .inbox
            .scan_interval
            .unwrap_or_else(|| pause(self.trusted(), self.tree.folders().count(), cost))
    }

    /// The same where nothing but scans tells of changes.
    fn interval_alone(&self, cost: Duration) -> Duration {
        self.setup
            .inbox
            .scan_interval
            .unwrap_or_else(|| pause(false, 0, cost))
    }

    pub(super) fn update_view<T>(&self, change: impl FnOnce(&mut InboxView) -> T) -> T {
        change(&mut self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at every folder that may have changed, and at those that are new below them.
    fn scan(&mut self, now: Instant) {
        let mut stack: Vec<RelPath> = std::mem::take(&mut self.dirty).into_iter().collect();
        if stack.is_empty() {
            self.writers.clear();
            return;
        }
        while let Some(folder) = stack.pop() {
            if self.is_stopped() {
                return;
            }
            self.beat();
            // A hint may name a file, or a folder that is passed over.
            if !folder.is_root() && !self.tree.contains(&folder) && !self.is_new_folder(&folder) {
                continue;
            }
            let absolute = self.tree.absolute(&folder);
            // Watch before looking: what comes between the two is then hinted at.
            self.watch_folder(&absolute);
            let trusted = self.trusted_in(&folder);
            let writers = trusted.then_some(&self.writers);
            let writer = |path: &Path| {
                let told = writers.and_then(|writers| writers.get(path));
                told.copied().unwrap_or(Writer::Unknown)
            };
            match self.tree.scan(&folder, &writer, now) {
                Ok(new) => {
                    self.unreadable.remove(&folder);
                    stack.extend(new);
                }
                Err(error) => {
                    let why = error.to_string();
                    if self.unreadable.get(&folder) != Some(&why) {
                        tracing::warn!(
                            inbox = %self.setup.name, folder = %absolute.display(), %error,
                            "the folder cannot be read. {}", advice(&error)
                        );
                        self.unreadable.insert(folder.clone(), why);
                    }
                }
            }
            if folder.is_root() || self.tree.contains(&folder) {
                self.due.insert(folder, now);
            }
        }
        // Their folders have been looked at; hints of other places are of no use to anybody.
        self.writers.clear();
        for folder in self.tree.take_gone() {
            let absolute = self.tree.absolute(&folder);
            if let Some(watches) = &mut self.watches {
                watches.forget(&absolute);
            }
            self.due.remove(&folder);
            self.unreadable.remove(&folder);
            self.held.remove(&folder);
            self.news = true;
        }
    }

    /// Whether a path that a hint named is a folder that its parent's scan would have found.
    fn is_new_folder(&self, folder: &RelPath) -> bool {
        folder.as_path().components().all(|part| {
            let name = part.as_os_str();
            !name.as_encoded_bytes().starts_with(b"_") && !self.setup.ignore.matches(name)
        }) && std::fs::symlink_metadata(self.tree.absolute(folder)).is_ok_and(|meta| meta.is_dir())
    }

    /// Evaluates the folders whose time has come, and takes what is ready. Answers whether anything was.
    fn evaluate_due(&mut self) -> bool {
        let mut any = false;
        let now = Instant::now();
        let due: Vec<RelPath> = self
            .due
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(folder, _)| folder.clone())
            .collect();
        if due.is_empty() {
            return any;
        }
        for folder in &due {
            self.due.remove(folder);
            self.tree.read_sidecars(folder);
        }
        let referenced = self.tree.collect_references();
        let (catalogue, inbox) = (self.setup.catalogue.clone(), self.setup.inbox.clone());
        let defaults = self.defaults.clone();
        let evaluator = Evaluator {
            rules: Rules {
                catalogue: &catalogue,
                allow_unknown_models: self.setup.allow_unknown_models,
            },
            inbox: &inbox,
            settle: SETTLE_NETWORK,
            max_input: self.setup.max_input,
            defaults: &defaults,
        };
        for folder in due {
            if self.is_stopped() || self.frozen {
                break;
            }
            self.beat();
            let evaluator = Evaluator {
                settle: self.settle(&folder),
                ..evaluator
            };
            let found = evaluator.evaluate(&mut self.tree, &folder, &referenced, now);
            if let Some(at) = found.look_again {
                self.due.insert(folder.clone(), at);
            }
            let mut waiting = found.waiting;
            let (ready, corrections) = self.tell_corrections(&folder, found.ready);
            waiting.extend(corrections);
            if !ready.is_empty() {
                any = true;
                waiting.extend(self.take_ready(&folder, ready));
            }
            self.hold(&folder, waiting);
            self.use_corrections(&folder);
        }
        self.finish_moves();
        any
    }

    /// Looks at a folder again after a pause, or earlier where that was agreed already.
    pub(super) fn look_later(&mut self, folder: &RelPath, pause: Duration) {
        let now = Instant::now();
        let again = now.checked_add(pause).unwrap_or(now);
        let due = self.due.entry(folder.clone()).or_insert(again);
        *due = again.min(*due);
    }

    /// Notes what waits in a folder; what waited there before keeps its name.
    pub(super) fn hold(&mut self, folder: &RelPath, waiting: Vec<Waiting>) {
        let before = self.held.get(folder).cloned().unwrap_or_default();
        let same = before.len() == waiting.len()
            && before
                .iter()
                .zip(&waiting)
                .all(|(held, now)| held.waiting == *now);
        if same {
            return;
        }
        let known: HashMap<&RelPath, &Held> = before
            .iter()
            .map(|held| (&held.waiting.input, held))
            .collect();
        let held = waiting
            .into_iter()
            .map(|waiting| {
                let (id, since) = match known.get(&waiting.input) {
                    Some(held) => (held.id.clone(), held.since),
                    None => (JobId::random(), Timestamp::now()),
                };
                Held { id, since, waiting }
            })
            .collect();
        self.held.insert(folder.clone(), Arc::new(held));
        self.news = true;
    }

    /// A person cancels a job by deleting its file from `working/`.
    fn notice_deleted(&mut self) {
        // A `working` folder that is not there says nothing about the files that were in it.
        if !self.setup.places.working.is_dir() {
            return;
        }
        for job in self.setup.ledger.jobs() {
            if !self.is_ours(&job) || job.cancel_asked || !can_be_cancelled(&job.state) {
                continue;
            }
            if !self.is_deleted(&job) {
                continue;
            }
            // A share that went away in this moment has deleted nothing.
            if let Err(why) = self.root_is_known() {
                return self.freeze(why);
            }
            // The engine moves files only in states that cannot be cancelled any more: look at the state once more.
            let still = self
                .setup
                .ledger
                .get(&job.id)
                .is_some_and(|job| can_be_cancelled(&job.state));
            if still && self.setup.places.working.is_dir() {
                tracing::info!(job = %job.id, input = %job.input, "its file was deleted from working: cancelling");
                if let Err(error) = self
                    .runtime
                    .block_on(self.setup.ledger.apply(&job.id, Event::CancelAsked))
                {
                    tracing::warn!(job = %job.id, %error, "cannot be cancelled now");
                }
            }
        }
    }

    /// Whether a file of a job that was in `working` is not there.
    pub(super) fn is_deleted(&self, job: &Job) -> bool {
        job.files.iter().any(|file| {
            file.at.as_ref().is_some_and(|at| {
                *at == file.taken_at()
                    && matches!(
                        std::fs::symlink_metadata(self.setup.places.path(at)),
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound
                    )
                    // A mount inside the inbox that went away has deleted nothing.
                    && file.mount.as_ref().is_none_or(|mount| {
                        is_mounted(&self.setup.places.inbox, mount)
                    })
            })
        })
    }

    fn publish(&mut self) {
        let news = std::mem::take(&mut self.news);
        self.update_view(|view| {
            if news {
                view.waiting.clone_from(&self.held);
                view.news = view.news.wrapping_add(1);
            }
            view.ready = true;
        });
    }
}

fn can_be_cancelled(state: &State) -> bool {
    matches!(
        state,
        State::Queued { .. } | State::Uploading | State::Submitting { .. } | State::Running { .. }
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::catalogue::Catalogue;
    use crate::config::Inbox;
    use crate::files::stamp;
    use crate::folders::Places;
    use crate::inbox::Ignore;
    use crate::inbox::handle::STALLED_AFTER;
    use crate::inbox::take::claim::is_version;
    use crate::journal::SqliteJournal;
    use crate::ledger::Ledger;
    use std::fs;

    /// An inbox that takes whatever lies in it at once.
    fn setup(dir: &Path, ledger: Ledger) -> Setup {
        let place = |name: &str| dir.join(name);
        Setup {
            name: "studio".to_owned(),
            formerly: Vec::new(),
            places: Places {
                inbox: place("inbox"),
                working: place("working"),
                outbox: place("outbox"),
                originals: place("originals"),
                failed: place("failed"),
            },
            inbox: Arc::new(Inbox {
                watch: Watch::Scan,
                scan_interval: Some(Duration::from_millis(10)),
                settle: Some(Duration::ZERO),
                pair_wait: Duration::ZERO,
                ..Inbox::default()
            }),
            max_input: 1_000_000,
            ignore: Ignore::new(&[]).unwrap(),
            defaults: Layer {
                label: "the configuration".to_owned(),
                folder: RelPath::default(),
                values: serde_json::Map::new(),
                document: None,
            },
            catalogue: Arc::new(Catalogue::built_in().unwrap()),
            allow_unknown_models: false,
            ledger,
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    }

    async fn ledger(dir: &Path) -> Ledger {
        let journal = SqliteJournal::open(dir).await.unwrap();
        Ledger::open(Arc::new(journal)).await.unwrap()
    }

    fn eventually(what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_new_watch_begins_when_the_old_one_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = runtime();
        let ledger = runtime.block_on(ledger(dir.path()));
        let mut old = spawn_after(
            setup(dir.path(), ledger.clone()),
            None,
            runtime.handle().clone(),
        )
        .unwrap();
        // A thread that hangs in its folder.
        let (release, hang) = channel::<()>();
        let first = std::mem::replace(
            &mut old.thread,
            std::thread::spawn(move || hang.recv().unwrap()),
        );
        old.stop();
        first.join().unwrap();
        let new = spawn_after(
            setup(dir.path(), ledger),
            Some(old),
            runtime.handle().clone(),
        )
        .unwrap();
        eventually("it says what it waits for", || {
            new.view()
                .frozen
                .is_some_and(|why| why.contains("previous watch"))
        });
        assert!(!new.is_ready());
        release.send(()).unwrap();
        eventually("it begins", || {
            new.is_ready() && new.view().frozen.is_none()
        });
        new.stop();
        new.thread.join().unwrap();
    }

    #[test]
    fn a_file_in_working_that_is_in_the_way_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("inbox/sub")).unwrap();
        fs::create_dir_all(dir.path().join("working")).unwrap();
        fs::write(dir.path().join("working/sub"), "").unwrap();
        for name in ["sub/one.yaml", "sub/two.yaml", "three.yaml"] {
            fs::write(
                dir.path().join("inbox").join(name),
                "endpoint: sound_effect\nmodle: x\n",
            )
            .unwrap();
        }
        let runtime = runtime();
        let ledger = runtime.block_on(ledger(dir.path()));
        let handle = spawn_after(
            setup(dir.path(), ledger.clone()),
            None,
            runtime.handle().clone(),
        )
        .unwrap();
        eventually("all are taken and noted as moved", || {
            let jobs = ledger.jobs();
            jobs.len() == 3
                && jobs
                    .iter()
                    .all(|job| !matches!(job.state, State::Taking { .. }))
        });
        handle.stop();
        handle.thread.join().unwrap();
        assert!(!dir.path().join("inbox/sub/one.yaml").exists());
    }

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

    #[test]
    fn row_12_a_thread_without_a_sign_of_life_hangs() {
        let now = Instant::now();
        let view = InboxView::new(now, None);
        assert!(!view.is_stalled_at(now + STALLED_AFTER));
        assert!(view.is_stalled_at(now + STALLED_AFTER + Duration::from_secs(1)));
    }
}
