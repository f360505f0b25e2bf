//! The thread of one inbox: scan, judge, pair, take; then wait for a hint or for time to pass.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Handle;

use super::evaluate::{Candidate, Evaluator, Waiting};
use super::layers::Layer;
use super::mounts::{self, Identity, Realm, realm};
use super::request::Rules;
use super::scan::{Ignore, stamp};
use super::settle::Stamp;
use super::take::{Taking, finish_taking, free_spot};
use super::tree::{DEFAULTS, Tree};
use super::watch::{Hint, Watches};
use crate::catalogue::Catalogue;
use crate::config::Watch;
use crate::files::create_folders;
use crate::job::{Event, Folder, InputFile, Job, JobId, RelPath, Spot, State};
use crate::ledger::{Ledger, LedgerError};
use crate::places::Places;

/// How long a file must be quiet, where nobody set it.
const SETTLE_LOCAL: Duration = Duration::from_secs(5);
const SETTLE_NETWORK: Duration = Duration::from_secs(12);

/// Time between scans where events tell of every change: the scan only catches what was lost.
const SCAN_WITH_EVENTS: Duration = Duration::from_secs(60);
const SCAN_PER_FOLDER: Duration = Duration::from_millis(300);
/// Bounds of the time between scans where nothing else tells of changes. Between them a scan may take one part in twenty
/// of the time.
const SCAN_ALONE_MIN: Duration = Duration::from_secs(2);
const SCAN_ALONE_MAX: Duration = Duration::from_secs(300);
const SCAN_SHARE: u32 = 20;

/// How often a folder that cannot be used is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// How often single files are tried again that cannot be taken where they lie.
const REFUSED_AGAIN: Duration = Duration::from_secs(10);

/// At most this many jobs are made durable before their files move, so that little can happen to the files in between.
const TAKE_AT_ONCE: usize = 20;

/// How often the root is looked at, and a sign of life given, where nothing happens.
const LOOK_AT_ROOT: Duration = Duration::from_secs(5);

/// A thread that gave no sign of life for so long hangs in its folder.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// All that the thread of an inbox needs.
pub struct Setup {
    /// The inbox's name.
    pub name: String,
    /// Its folders.
    pub places: Places,
    /// How changes are noticed.
    pub watch: Watch,
    /// Time between scans; `None` adapts.
    pub scan_interval: Option<Duration>,
    /// How long a file must be quiet; `None` depends on the filesystem.
    pub settle: Option<Duration>,
    /// How long a half waits for the other.
    pub pair_wait: Duration,
    /// Largest input in bytes.
    pub max_input: u64,
    /// Names that are passed over.
    pub ignore: Ignore,
    /// The configuration's `defaults`.
    pub defaults: Layer,
    /// Endpoints, models and parameters.
    pub catalogue: Arc<Catalogue>,
    /// Whether models that the catalogue does not know are let through.
    pub allow_unknown_models: bool,
    /// The owner of all jobs.
    pub ledger: Ledger,
}

/// What an inbox's thread last knew.
#[derive(Debug, Clone)]
pub struct InboxView {
    /// What stays in the inbox, by folder. Shared, since thousands of files may lie there.
    pub waiting: HashMap<RelPath, Arc<Vec<Held>>>,
    /// How changes are noticed and why, for people.
    pub backend: String,
    /// Why nothing can be done with the folder now.
    pub frozen: Option<String>,
    /// Whether the first scan is over.
    pub ready: bool,
    /// When the thread last gave a sign of life.
    pub beat: Instant,
}

impl InboxView {
    fn new(now: Instant) -> InboxView {
        InboxView {
            waiting: HashMap::new(),
            backend: String::new(),
            frozen: None,
            ready: false,
            beat: now,
        }
    }

    fn is_stalled(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.beat) > STALLED_AFTER
    }
}

/// Something that stays in the inbox for now.
#[derive(Debug, Clone)]
pub struct Held {
    /// A name that becomes the job's.
    pub id: JobId,
    /// When it was first seen.
    pub since: Timestamp,
    /// What waits, and for what.
    pub waiting: Waiting,
}

/// A running inbox.
pub struct InboxHandle {
    /// The inbox's name.
    pub name: String,
    /// Its folders.
    pub places: Places,
    view: Arc<Mutex<InboxView>>,
    stop: Arc<AtomicBool>,
    hints: Sender<Hint>,
    retries: Retries,
    thread: JoinHandle<()>,
}

/// Ended jobs whose inputs are on their way back to the inbox, by the input's path.
type Retries = Arc<Mutex<HashMap<RelPath, Box<Job>>>>;

impl InboxHandle {
    /// What it last knew.
    pub fn view(&self) -> InboxView {
        self.peek().clone()
    }

    /// Whether the first scan is over, or nobody knows when it will be: a folder that hangs keeps only itself waiting.
    pub fn is_ready(&self) -> bool {
        let view = self.peek();
        view.ready || view.is_stalled(Instant::now())
    }

    /// Whether the thread hangs in its folder, as on a share whose server does not answer.
    pub fn is_stalled(&self) -> bool {
        self.peek().is_stalled(Instant::now())
    }

    fn peek(&self) -> MutexGuard<'_, InboxView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job that is made of this job's input is this job again. Said before the files move back to the inbox.
    pub fn expect_retry(&self, job: Job) {
        let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        retries.insert(job.input.clone(), Box::new(job));
    }

    /// Takes back what [`InboxHandle::expect_retry`] said.
    pub fn forget_retry(&self, job: &Job) {
        let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        retries.remove(&job.input);
    }

    /// Looks at the whole inbox now.
    pub fn look(&self) {
        if self.hints.send(Hint::Everything).is_err() {
            tracing::trace!(inbox = %self.name, "the inbox's thread is gone already");
        }
    }

    /// Tells the thread to stop. It does so after what it is doing; a folder that hangs may keep it.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        // A thread that is gone needs no waking.
        if self.hints.send(Hint::Wake).is_err() {
            tracing::trace!(inbox = %self.name, "the inbox's thread is gone already");
        }
    }

    /// Whether the thread is over.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

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
    let view = Arc::new(Mutex::new(InboxView::new(Instant::now())));
    let stop = Arc::new(AtomicBool::new(false));
    let mut retries = Retries::default();
    let mut before = None;
    if let Some(old) = old {
        old.stop();
        retries = old.retries;
        before = Some(old.thread);
    }
    let (name, places) = (setup.name.clone(), setup.places.clone());
    let worker = Worker {
        tree: Tree::new(setup.places.inbox.clone(), setup.ignore.clone()),
        defaults: setup.defaults.clone(),
        watches: None,
        identity: None,
        closed: HashSet::new(),
        dirty: BTreeSet::new(),
        thorough: true,
        due: HashMap::new(),
        held: HashMap::new(),
        news: false,
        frozen: false,
        trouble: None,
        moves: Vec::new(),
        view: view.clone(),
        stop: stop.clone(),
        retries: retries.clone(),
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
        places,
        view,
        stop,
        hints,
        retries,
        thread,
    })
}

struct Worker {
    setup: Setup,
    tree: Tree,
    defaults: Layer,
    watches: Option<Watches>,
    identity: Option<Identity>,
    closed: HashSet<PathBuf>,
    dirty: BTreeSet<RelPath>,
    /// Whether the next scan trusts nothing that was seen before.
    thorough: bool,
    due: HashMap<RelPath, Instant>,
    held: HashMap<RelPath, Arc<Vec<Held>>>,
    /// Whether `held` is not what the view says.
    news: bool,
    /// Whether the root could not be used at the last look.
    frozen: bool,
    /// Why files could not be taken; noted so that it is logged once.
    trouble: Option<String>,
    /// Taken files on their way into the journal.
    moves: Vec<tokio::task::JoinHandle<Result<Arc<Job>, LedgerError>>>,
    view: Arc<Mutex<InboxView>>,
    stop: Arc<AtomicBool>,
    retries: Retries,
    hints: Sender<Hint>,
    receiver: Receiver<Hint>,
    runtime: Handle,
}

impl Worker {
    fn run(mut self, before: Option<JoinHandle<()>>) {
        self.wait_for(before);
        let mut next_scan = Instant::now();
        let mut hint = None;
        while !self.is_stopped() {
            self.beat();
            match self.check_root() {
                Ok(anew) => {
                    if anew {
                        next_scan = Instant::now();
                    }
                    self.thaw();
                }
                Err(why) => {
                    self.freeze(why);
                    hint = self.wait(Instant::now().checked_add(TRY_AGAIN));
                    continue;
                }
            }
            let now = Instant::now();
            let mut working_changed = self.note_hints(hint.take(), &mut next_scan);
            let full = now >= next_scan;
            if full {
                self.mark_all();
                working_changed = true;
            }
            self.scan(now);
            if full {
                // What waited in folders that went away while nobody could look.
                let tree = &self.tree;
                self.held
                    .retain(|folder, _| folder.is_root() || tree.contains(folder));
                self.news = true;
                next_scan = Instant::now()
                    .checked_add(self.interval(now.elapsed()))
                    .unwrap_or(now);
            }
            self.evaluate_due();
            if working_changed {
                self.notice_deleted();
            }
            self.publish();
            let wake = self.due.values().copied().chain([next_scan]).min();
            hint = self.wait(wake);
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
            .filter(|folder| thorough || !self.tree.is_unchanged(folder))
            .cloned()
            .collect();
        self.dirty.extend(all);
    }

    fn is_stopped(&self) -> bool {
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

    fn beat(&self) {
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
    fn trusted(&self) -> bool {
        match self.setup.watch {
            Watch::Scan => false,
            Watch::Events => self.watches.is_some(),
            Watch::Auto => {
                let local = self
                    .identity
                    .as_ref()
                    .and_then(|identity| identity.mount.as_ref())
                    .is_some_and(mounts::Mount::is_local);
                local && self.watches.as_ref().is_some_and(|watches| !watches.full)
            }
        }
    }

    fn settle(&self) -> Duration {
        let auto = if self.trusted() {
            SETTLE_LOCAL
        } else {
            SETTLE_NETWORK
        };
        self.setup.settle.unwrap_or(auto)
    }

    fn interval(&self, cost: Duration) -> Duration {
        if let Some(interval) = self.setup.scan_interval {
            return interval;
        }
        let fair = cost.saturating_mul(SCAN_SHARE);
        if self.trusted() {
            // A few calls of the system a second at most, however many folders there are.
            let folders = u32::try_from(self.tree.folders().count()).unwrap_or(u32::MAX);
            let gentle = SCAN_PER_FOLDER.saturating_mul(folders);
            fair.saturating_mul(5).max(SCAN_WITH_EVENTS).max(gentle)
        } else {
            fair.clamp(SCAN_ALONE_MIN, SCAN_ALONE_MAX)
        }
    }

    /// What lies at the root now.
    fn look_at_root(&self) -> Result<Identity, String> {
        let root = &self.setup.places.inbox;
        let meta = std::fs::metadata(root).map_err(|error| {
            format!(
                "{} cannot be reached: {error}. Nothing in it is taken as deleted",
                root.display()
            )
        })?;
        Ok(Identity::new(meta.dev(), mounts::here(root)))
    }

    /// Whether the root is there and is what it was when this round began.
    fn root_is_known(&self) -> Result<(), String> {
        let now = self.look_at_root()?;
        match &self.identity {
            Some(known) if *known != now => Err(self.another(known, &now)),
            Some(_) | None => Ok(()),
        }
    }

    fn another(&self, known: &Identity, now: &Identity) -> String {
        format!(
            "another filesystem lies at {} than before ({} instead of {}): is the share offline? Nothing in it is taken as deleted",
            self.setup.places.inbox.display(),
            kind(now.mount.as_ref()),
            kind(known.mount.as_ref()),
        )
    }

    /// Whether the root is there and is what it was; begins anew where it is there for the first time. Answers whether
    /// everything has to be looked at.
    fn check_root(&mut self) -> Result<bool, String> {
        let root = &self.setup.places.inbox;
        if self.identity.is_none() {
            create_folders(root).map_err(|error| {
                format!(
                    "{} cannot be made: {error}. Make it, or mend its permissions",
                    root.display()
                )
            })?;
        }
        let now = self.look_at_root()?;
        match &self.identity {
            Some(known) if *known == now => {
                if self.frozen {
                    // An unmount took the watches with it, and times from before prove nothing.
                    self.forget_all();
                    self.start_watching();
                }
                Ok(self.frozen)
            }
            // The daemon was started before the share was mounted.
            Some(known) if now.is_mounted_over(known) => {
                if let Some(job) = self.hidden_job() {
                    return Err(format!(
                        "{} was mounted over while job {job} was in progress, whose files lie below it: unmount it until that job is over, or stop taxiway and start it again to give the job up",
                        root.display()
                    ));
                }
                self.forget_all();
                self.identity = Some(now);
                self.begin();
                Ok(true)
            }
            Some(known) => Err(self.another(known, &now)),
            None => {
                self.identity = Some(now);
                self.begin();
                Ok(true)
            }
        }
    }

    /// A job in progress whose file is not in `working`.
    fn hidden_job(&self) -> Option<JobId> {
        let jobs = self.setup.ledger.jobs();
        let hidden = jobs
            .iter()
            .find(|job| job.inbox == self.setup.name && self.is_deleted(job));
        hidden.map(|job| job.id.clone())
    }

    fn forget_all(&mut self) {
        self.tree = Tree::new(self.setup.places.inbox.clone(), self.setup.ignore.clone());
        self.watches = None;
        self.closed.clear();
        self.dirty.clear();
        self.due.clear();
        self.thorough = true;
    }

    /// Makes the folders that are missing, and starts watching.
    fn begin(&mut self) {
        let places = &self.setup.places;
        for folder in [
            &places.working,
            &places.outbox,
            &places.originals,
            &places.failed,
        ] {
            if let Err(error) = create_folders(folder) {
                tracing::error!(
                    inbox = %self.setup.name, %error,
                    "{} cannot be made: make it, or mend the permissions above it", folder.display()
                );
            }
        }
        self.start_watching();
        let backend = self.backend();
        tracing::info!(inbox = %self.setup.name, path = %self.setup.places.inbox.display(), "watching: {backend}");
    }

    /// Chooses how changes are noticed.
    fn start_watching(&mut self) {
        self.watches = match self.setup.watch {
            Watch::Scan => None,
            Watch::Auto | Watch::Events => match Watches::new(self.hints.clone()) {
                Ok(watches) => Some(watches),
                Err(error) => {
                    tracing::warn!(inbox = %self.setup.name, %error, "the kernel gives no events: the folder is scanned");
                    None
                }
            },
        };
        self.watch_folder(&self.setup.places.working.clone());
        let backend = self.backend();
        self.update_view(|view| view.backend = backend);
    }

    fn backend(&self) -> String {
        let mount = self
            .identity
            .as_ref()
            .and_then(|identity| identity.mount.as_ref());
        let kind = kind(mount);
        match (self.trusted(), self.setup.watch) {
            (true, Watch::Events) => format!("events on {kind}, as configured, and scans"),
            (true, _) => format!("events on {kind}, and scans"),
            (false, Watch::Scan) => format!("scans only, as configured, on {kind}"),
            (false, _) => format!("scans on {kind}, where events do not tell of every change"),
        }
    }

    fn thaw(&mut self) {
        self.frozen = false;
        if self.update_view(|view| view.frozen.take().is_some()) {
            tracing::info!(inbox = %self.setup.name, "the folder is back: work goes on");
        }
    }

    fn freeze(&mut self, why: String) {
        self.frozen = true;
        let news = self.update_view(|view| {
            let news = view.frozen.as_ref() != Some(&why);
            view.frozen = Some(why.clone());
            view.ready = true;
            news
        });
        if news {
            tracing::error!(inbox = %self.setup.name, "frozen: {why}");
        }
    }

    fn update_view<T>(&self, change: impl FnOnce(&mut InboxView) -> T) -> T {
        change(&mut self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn watch_folder(&mut self, folder: &Path) {
        let Some(watches) = &mut self.watches else {
            return;
        };
        if let Err(error) = watches.add(folder) {
            let full = matches!(error.kind, notify::ErrorKind::MaxFilesWatch);
            if full && !watches.full {
                watches.full = true;
                tracing::warn!(
                    inbox = %self.setup.name,
                    "the kernel allows no more watches: folders are scanned instead. Raise them with \
                     `sysctl fs.inotify.max_user_watches=524288`"
                );
            } else if !full {
                tracing::debug!(folder = %folder.display(), %error, "the folder is not watched");
            }
        }
    }

    /// Sorts hints into folders to look at. Answers whether something in `working/` changed.
    fn note_hints(&mut self, first: Option<Hint>, next_scan: &mut Instant) -> bool {
        let mut working_changed = false;
        let mut defaults_changed = false;
        let mut hints: Vec<Hint> = first.into_iter().collect();
        hints.extend(self.receiver.try_iter());
        for hint in hints {
            let path = match hint {
                Hint::Wake => continue,
                Hint::Everything => {
                    self.thorough = true;
                    *next_scan = Instant::now();
                    continue;
                }
                // Every take is a rename into `working`; nobody asks whether those are finished.
                Hint::Closed(path) if path.starts_with(&self.setup.places.working) => Some(path),
                Hint::Closed(path) if path.file_name().is_some_and(|name| name == DEFAULTS) => {
                    defaults_changed = true;
                    self.note_defaults(&path, true)
                }
                Hint::Written(path) if path.file_name().is_some_and(|name| name == DEFAULTS) => {
                    self.note_defaults(&path, false)
                }
                Hint::Closed(path) => {
                    let folder = path.parent().map(Path::to_owned);
                    self.closed.insert(path);
                    folder
                }
                Hint::Written(path) => {
                    self.closed.remove(&path);
                    path.parent().map(Path::to_owned)
                }
                Hint::Folder(path) => {
                    // Made or removed.
                    defaults_changed |= path.file_name().is_some_and(|name| name == DEFAULTS);
                    Some(path)
                }
            };
            let Some(path) = path else {
                continue;
            };
            if path.starts_with(&self.setup.places.working) {
                working_changed = true;
                continue;
            }
            if let Ok(below) = path.strip_prefix(&self.setup.places.inbox)
                && let Some(folder) = RelPath::new(below)
            {
                self.dirty.insert(folder);
            }
        }
        // Defaults hold for everything below them.
        if defaults_changed {
            let now = Instant::now();
            self.due
                .extend(self.tree.folders().map(|folder| (folder.clone(), now)));
        }
        working_changed
    }

    /// Notes what an event said of a file of defaults, and answers with its folder.
    fn note_defaults(&mut self, path: &Path, closed: bool) -> Option<PathBuf> {
        let folder = path.parent()?;
        let below = folder.strip_prefix(&self.setup.places.inbox).ok()?;
        if self.trusted() {
            self.tree
                .note_defaults(&RelPath::new(below)?, closed, Instant::now());
        }
        Some(folder.to_owned())
    }

    /// Looks at every folder that may have changed, and at those that are new below them.
    fn scan(&mut self, now: Instant) {
        let trusted = self.trusted();
        let mut stack: Vec<RelPath> = std::mem::take(&mut self.dirty).into_iter().collect();
        if stack.is_empty() {
            self.closed.clear();
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
            let closed = &self.closed;
            match self
                .tree
                .scan(&folder, &|path| trusted && closed.contains(path), now)
            {
                Ok(new) => stack.extend(new),
                Err(error) => {
                    tracing::warn!(inbox = %self.setup.name, folder = %absolute.display(), %error, "the folder cannot be read");
                }
            }
            if folder.is_root() || self.tree.contains(&folder) {
                self.due.insert(folder, now);
            }
        }
        // Their folders have been looked at; hints of other places are of no use to anybody.
        self.closed.clear();
        for folder in self.tree.take_gone() {
            let absolute = self.tree.absolute(&folder);
            if let Some(watches) = &mut self.watches {
                watches.forget(&absolute);
            }
            self.due.remove(&folder);
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

    /// Evaluates the folders whose time has come, and takes what is ready.
    fn evaluate_due(&mut self) {
        let now = Instant::now();
        let due: Vec<RelPath> = self
            .due
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(folder, _)| folder.clone())
            .collect();
        if due.is_empty() {
            return;
        }
        for folder in &due {
            self.due.remove(folder);
            self.tree.read_sidecars(folder);
        }
        let named = self.tree.named();
        let catalogue = self.setup.catalogue.clone();
        let defaults = self.defaults.clone();
        let evaluator = Evaluator {
            rules: Rules {
                catalogue: &catalogue,
                allow_unknown_models: self.setup.allow_unknown_models,
            },
            settle: self.settle(),
            pair_wait: self.setup.pair_wait,
            max_input: self.setup.max_input,
            defaults: &defaults,
        };
        for folder in due {
            if self.is_stopped() || self.frozen {
                break;
            }
            self.beat();
            let found = evaluator.folder(&mut self.tree, &folder, &named, now);
            if let Some(at) = found.look_again {
                self.due.insert(folder.clone(), at);
            }
            let mut waiting = found.waiting;
            if !found.ready.is_empty() {
                waiting.extend(self.take_ready(&folder, found.ready));
            }
            self.hold(&folder, waiting);
        }
        self.finish_moves();
    }

    /// Takes what is ready in a folder, a few at a time. Answers with what cannot be taken now, and why.
    fn take_ready(&mut self, folder: &RelPath, ready: Vec<Candidate>) -> Vec<Waiting> {
        let mut refused = Vec::new();
        // The names under which they waited become the jobs'.
        let mut ready: Vec<(JobId, Candidate)> = ready
            .into_iter()
            .map(|candidate| (self.id_of(&candidate.input), candidate))
            .collect();
        let mut claims = self.claims();
        while !ready.is_empty() && !self.is_stopped() {
            self.beat();
            let rest = ready.split_off(ready.len().min(TAKE_AT_ONCE));
            let inputs: Vec<RelPath> = ready.iter().map(|(_, one)| one.input.clone()).collect();
            let taken = match (&mut claims, self.root_is_known()) {
                (Ok(claims), Ok(())) => self.take(ready, claims),
                (Err(error), Ok(())) => Err(format!(
                    "the folder {} cannot be used: {error}",
                    self.setup.places.working.display()
                )),
                (_, Err(why)) => {
                    self.freeze(why.clone());
                    Err(why)
                }
            };
            match taken {
                Ok(more) => {
                    self.trouble = None;
                    refused.extend(more);
                }
                Err(why) => {
                    if self.trouble.as_ref() != Some(&why) {
                        tracing::error!(inbox = %self.setup.name, "files cannot be taken now: {why}");
                    }
                    self.look_later(folder, TRY_AGAIN);
                    self.trouble = Some(why.clone());
                    let reason: Arc<str> = format!("it cannot be taken now: {why}").into();
                    let rest = rest.into_iter().map(|(_, one)| one.input);
                    refused.extend(inputs.into_iter().chain(rest).map(|input| Waiting {
                        input,
                        reason: reason.clone(),
                    }));
                    break;
                }
            }
            ready = rest;
        }
        if !refused.is_empty() {
            self.look_later(folder, REFUSED_AGAIN);
        }
        refused
    }

    /// Looks at a folder again after a pause, or earlier where that was agreed already.
    fn look_later(&mut self, folder: &RelPath, pause: Duration) {
        let now = Instant::now();
        let again = now.checked_add(pause).unwrap_or(now);
        let due = self.due.entry(folder.clone()).or_insert(again);
        *due = again.min(*due);
    }

    /// What other jobs of this inbox have a claim to.
    fn claims(&self) -> std::io::Result<Claims> {
        let working = &self.setup.places.working;
        let realm_of = |folder: &Path| match realm(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                create_folders(folder)?;
                realm(folder)
            }
            other => other,
        };
        let mut claims = Claims {
            dropped: HashSet::new(),
            used: HashSet::new(),
            working: HashSet::new(),
            realm: realm_of(working)?,
            realms: HashMap::new(),
        };
        for job in self.setup.ledger.jobs() {
            if job.inbox != self.setup.name {
                continue;
            }
            // Files of a job whose renames did not succeed yet still lie in the inbox.
            let taking = matches!(job.state, State::Taking { .. });
            for file in &job.files {
                claims.working.insert(file.working.clone());
                if taking {
                    claims.dropped.insert(file.dropped.clone());
                }
            }
        }
        Ok(claims)
    }

    /// Takes files: journal first, then the renames, then the journal again. Trouble with one candidate holds no other up.
    ///
    /// # Errors
    /// None of them can be taken now.
    fn take(
        &mut self,
        candidates: Vec<(JobId, Candidate)>,
        claims: &mut Claims,
    ) -> Result<Vec<Waiting>, String> {
        let mut refused = Vec::new();
        let mut new = Vec::new();
        let mut jobs = Vec::new();
        for (id, candidate) in candidates {
            let files = match self.choose(&candidate, claims) {
                Ok(files) => files,
                Err(Refusal::LookAgain) => {
                    self.dirty.insert(candidate.input.parent());
                    self.due.insert(candidate.input.parent(), Instant::now());
                    continue;
                }
                Err(Refusal::Claimed) => {
                    self.look_later(&candidate.input.parent(), TRY_AGAIN);
                    continue;
                }
                Err(Refusal::Wait(reason)) => {
                    refused.push(Waiting {
                        input: candidate.input,
                        reason: reason.into(),
                    });
                    continue;
                }
            };
            match self.retried(&candidate, files.clone())? {
                Some(job) => jobs.push(job),
                None => new.push(Job::taken(
                    id,
                    &self.setup.name,
                    candidate.input,
                    files,
                    candidate.plan,
                    Timestamp::now(),
                )),
            }
        }
        let (inserted, claimed) = self.insert(new)?;
        refused.extend(claimed);
        jobs.extend(inserted);
        for job in jobs {
            // What is left so is finished by the next thread or by the engine.
            if self.is_stopped() {
                break;
            }
            self.move_files(&job);
        }
        Ok(refused)
    }

    /// Where each of a candidate's files goes.
    fn choose(
        &self,
        candidate: &Candidate,
        claims: &mut Claims,
    ) -> Result<Vec<InputFile>, Refusal> {
        for (_, file) in &candidate.files {
            if claims.dropped.contains(file) {
                return Err(Refusal::Claimed);
            }
            self.can_be_renamed(&file.parent(), claims)?;
            // Changed since it was looked at, or another job of this round has it.
            if claims.used.contains(file) || !self.is_as_seen(file) {
                return Err(Refusal::LookAgain);
            }
        }
        let mut files = Vec::new();
        for (role, file) in &candidate.files {
            let working =
                free_spot(&self.setup.places.working, file, &claims.working).map_err(|error| {
                    Refusal::Wait(format!(
                        "no place can be found for it in `working`: {error}"
                    ))
                })?;
            claims.working.insert(working.clone());
            files.push(InputFile {
                role: *role,
                dropped: file.clone(),
                at: Some(Spot {
                    folder: Folder::Inbox,
                    path: file.clone(),
                }),
                working,
                bytes: self
                    .tree
                    .sighting(file)
                    .map_or(0, |sighting| sighting.stamp.size),
                sha256: None,
            });
        }
        for (_, file) in &candidate.files {
            claims.used.insert(file.clone());
        }
        Ok(files)
    }

    /// Whether files of a folder can be renamed into `working`: not where another filesystem is mounted inside the inbox.
    fn can_be_renamed(&self, folder: &RelPath, claims: &mut Claims) -> Result<(), Refusal> {
        let found = match claims.realms.get(folder) {
            Some(realm) => *realm,
            None => match realm(&self.tree.absolute(folder)) {
                Ok(realm) => {
                    claims.realms.insert(folder.clone(), realm);
                    realm
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(Refusal::LookAgain);
                }
                Err(error) => {
                    return Err(Refusal::Wait(format!(
                        "its folder cannot be looked at: {error}"
                    )));
                }
            },
        };
        if found == claims.realm {
            Ok(())
        } else if folder.is_root() {
            Err(Refusal::Wait(format!(
                "`working` ({}) lies on another filesystem or mount than the inbox: configure a folder on the same one",
                self.setup.places.working.display()
            )))
        } else {
            Err(Refusal::Wait(
                "it lies on another filesystem than the inbox (a mount inside it): configure that folder as an inbox of its own"
                    .to_owned(),
            ))
        }
    }

    /// Makes new jobs durable. A file that another job has a claim to is refused, and the others go on.
    fn insert(&self, new: Vec<Job>) -> Result<(Vec<Job>, Vec<Waiting>), String> {
        if new.is_empty() {
            return Ok((new, Vec::new()));
        }
        let insert = |jobs: Vec<Job>| self.runtime.block_on(self.setup.ledger.insert(jobs));
        match insert(new.clone()) {
            Ok(()) => return Ok((new, Vec::new())),
            Err(LedgerError::Claimed { .. }) => {}
            Err(error) => return Err(error.to_string()),
        }
        let (mut inserted, mut refused) = (Vec::new(), Vec::new());
        for job in new {
            match insert(vec![job.clone()]) {
                Ok(()) => inserted.push(job),
                // Where the journal fails now, the others before have been inserted all the same.
                Err(error) => refused.push(Waiting {
                    input: job.input,
                    reason: error.to_string().into(),
                }),
            }
        }
        Ok((inserted, refused))
    }

    /// Renames a durable job's files into `working`, and has the journal note it.
    fn move_files(&mut self, job: &Job) {
        let unchanged = job.files.iter().all(|file| {
            let seen = self.tree.sighting(&file.dropped);
            seen.is_some_and(|seen| is_version(&self.tree.absolute(&file.dropped), &seen.stamp))
        });
        for file in &job.files {
            self.tree.taken(&file.dropped);
        }
        let now = self.setup.ledger.get(&job.id);
        let taking = now.is_some_and(|job| matches!(job.state, State::Taking { .. }));
        if unchanged && taking {
            match finish_taking(job, &self.setup.places) {
                Ok(Taking::All(files)) => {
                    let (ledger, id) = (self.setup.ledger.clone(), job.id.clone());
                    let event = Event::Moved { files };
                    let noted = async move { ledger.apply(&id, event).await };
                    self.moves.push(self.runtime.spawn(noted));
                }
                // The engine finishes it, or finds that the person took it back.
                Ok(Taking::Missing(_)) => {}
                Err(error) => {
                    tracing::error!(job = %job.id, input = %job.input, %error, "the files cannot be moved to working yet");
                }
            }
        } else {
            // The engine takes jobs, too, and was faster: what lies there now under the same name is another file. Or somebody
            // changed a file in this moment, and the engine finds that out.
            let folder = job.input.parent();
            self.dirty.insert(folder.clone());
            self.look_later(&folder, TRY_AGAIN);
        }
        // So that a file that a person deletes there is noticed at once.
        let folders: HashSet<PathBuf> = job
            .files
            .iter()
            .filter_map(|file| {
                let path = self.setup.places.working.join(file.working.as_path());
                path.parent().map(Path::to_owned)
            })
            .collect();
        for folder in folders {
            self.watch_folder(&folder);
        }
        tracing::info!(job = %job.id, inbox = %job.inbox, input = %job.input, "taken");
    }

    /// Waits until the journal knows of all renames.
    fn finish_moves(&mut self) {
        for noted in std::mem::take(&mut self.moves) {
            match self.runtime.block_on(noted) {
                Ok(Ok(_)) => {}
                // The engine was faster, or finishes it.
                Ok(Err(error)) => {
                    tracing::debug!(%error, "taken files are not noted as moved by the inbox's thread");
                }
                Err(error) => {
                    tracing::debug!(%error, "taken files are not noted as moved yet");
                }
            }
        }
    }

    /// The job that a person asked to run again, if this is its input: it goes on under its old name.
    fn retried(&self, candidate: &Candidate, files: Vec<InputFile>) -> Result<Option<Job>, String> {
        let expected = || self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(job) = expected().remove(&candidate.input) else {
            return Ok(None);
        };
        let (plan, wrong) = match candidate.plan.clone() {
            Ok(plan) => (Some(Box::new(plan)), None),
            Err(failure) => (None, Some(failure)),
        };
        let event = Event::Retried { plan, wrong, files };
        let revived = self
            .runtime
            .block_on(self.setup.ledger.revive((*job).clone(), event));
        match revived {
            Ok(revived) => Ok(Some((*revived).clone())),
            Err(error @ (LedgerError::Journal(_) | LedgerError::Stopped)) => {
                expected().insert(candidate.input.clone(), job);
                Err(error.to_string())
            }
            Err(
                error @ (LedgerError::Illegal(_)
                | LedgerError::Unknown(_)
                | LedgerError::Claimed { .. }),
            ) => {
                tracing::warn!(job = %job.id, input = %job.input, %error, "the old job cannot be run again: its files become a new one");
                Ok(None)
            }
        }
    }

    fn is_as_seen(&self, file: &RelPath) -> bool {
        let seen = self.tree.sighting(file).map(|sighting| sighting.stamp);
        seen.is_some() && matches!(stamp(&self.tree.absolute(file)), Ok(now) if now == seen)
    }

    /// The name under which the input waited, which becomes the job's.
    fn id_of(&self, input: &RelPath) -> JobId {
        self.held
            .get(&input.parent())
            .and_then(|held| held.iter().find(|held| held.waiting.input == *input))
            .map_or_else(JobId::random, |held| held.id.clone())
    }

    /// Notes what waits in a folder; what waited there before keeps its name.
    fn hold(&mut self, folder: &RelPath, waiting: Vec<Waiting>) {
        let before = self.held.remove(folder).unwrap_or_default();
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
            if job.inbox != self.setup.name || job.cancel_asked || !can_be_cancelled(&job.state) {
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
    fn is_deleted(&self, job: &Job) -> bool {
        job.files.iter().any(|file| {
            file.at.as_ref().is_some_and(|at| {
                at.folder == Folder::Working
                    && matches!(
                        std::fs::symlink_metadata(self.setup.places.path(at)),
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound
                    )
            })
        })
    }

    fn publish(&mut self) {
        let news = std::mem::take(&mut self.news);
        self.update_view(|view| {
            if news {
                view.waiting.clone_from(&self.held);
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

fn kind(mount: Option<&mounts::Mount>) -> &str {
    mount.map_or("a filesystem of unknown kind", |mount| mount.kind.as_str())
}

/// What jobs of an inbox have a claim to, and where files can be renamed.
struct Claims {
    /// Paths below the inbox of files that jobs are taking already.
    dropped: HashSet<RelPath>,
    /// Paths below the inbox of files that are taken in this round.
    used: HashSet<RelPath>,
    /// Paths below `working`.
    working: HashSet<RelPath>,
    /// Where `working` lies.
    realm: Realm,
    /// Where the inbox's folders lie.
    realms: HashMap<RelPath, Realm>,
}

/// Why a candidate is not taken now.
enum Refusal {
    /// It is no longer what it was: it is judged anew at once.
    LookAgain,
    /// A job has it that could not move it yet, and says so itself.
    Claimed,
    /// It has to wait: for what.
    Wait(String),
}

/// Whether the file at a path is the version that was seen. Its ctime is left out, since a change of mode or owner is none of
/// the content.
fn is_version(path: &Path, seen: &Stamp) -> bool {
    matches!(
        stamp(path),
        Ok(Some(now)) if (now.dev, now.ino, now.size, now.mtime) == (seen.dev, seen.ino, seen.size, seen.mtime)
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::journal::SqliteJournal;
    use std::fs;

    /// An inbox that takes whatever lies in it at once.
    fn setup(dir: &Path, ledger: Ledger) -> Setup {
        let place = |name: &str| dir.join(name);
        Setup {
            name: "studio".to_owned(),
            places: Places {
                inbox: place("inbox"),
                working: place("working"),
                outbox: place("outbox"),
                originals: place("originals"),
                failed: place("failed"),
            },
            watch: Watch::Scan,
            scan_interval: Some(Duration::from_millis(10)),
            settle: Some(Duration::ZERO),
            pair_wait: Duration::ZERO,
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
    fn a_file_that_was_exchanged_is_another_version() {
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
    fn a_thread_without_a_sign_of_life_hangs() {
        let now = Instant::now();
        let view = InboxView::new(now);
        assert!(!view.is_stalled(now + STALLED_AFTER));
        assert!(view.is_stalled(now + STALLED_AFTER + Duration::from_secs(1)));
    }
}
