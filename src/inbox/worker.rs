//! The thread of one inbox: scan, judge, pair, take; then wait for a hint or for time to pass.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Handle;

use super::evaluate::{Candidate, Evaluator, Waiting};
use super::layers::Layer;
use super::mounts;
use super::request::Rules;
use super::scan::{Ignore, stamp};
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

/// At most this many jobs are made durable in one go, so that the first of ten thousand does not wait for the last.
const TAKE_AT_ONCE: usize = 200;

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
#[derive(Debug, Clone, Default)]
pub struct InboxView {
    /// What stays in the inbox, by folder. Shared, since thousands of files may lie there.
    pub waiting: HashMap<RelPath, Arc<Vec<Held>>>,
    /// How changes are noticed and why, for people.
    pub backend: String,
    /// Why nothing can be done with the folder now.
    pub frozen: Option<String>,
    /// Whether the first scan is over.
    pub ready: bool,
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
    thread: std::thread::JoinHandle<()>,
}

/// Ended jobs whose inputs are on their way back to the inbox, by the input's path.
type Retries = Arc<Mutex<HashMap<RelPath, Box<Job>>>>;

impl InboxHandle {
    /// What it last knew.
    pub fn view(&self) -> InboxView {
        self.view
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the first scan is over.
    pub fn is_ready(&self) -> bool {
        self.view
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ready
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

/// Starts the thread of an inbox.
///
/// # Errors
/// The system refuses another thread.
pub fn spawn(setup: Setup, runtime: Handle) -> std::io::Result<InboxHandle> {
    let (hints, receiver) = channel();
    let view = Arc::new(Mutex::new(InboxView::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let retries = Retries::default();
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
        .spawn(move || worker.run())?;
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

/// What tells one filesystem under the root from another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    device: u64,
    mount: Option<mounts::Mount>,
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
    view: Arc<Mutex<InboxView>>,
    stop: Arc<AtomicBool>,
    retries: Retries,
    hints: Sender<Hint>,
    receiver: Receiver<Hint>,
    runtime: Handle,
}

impl Worker {
    fn run(mut self) {
        let mut next_scan = Instant::now();
        let mut hint = None;
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(why) = self.check_root() {
                self.freeze(why);
                next_scan = Instant::now();
                hint = self.wait(Instant::now().checked_add(TRY_AGAIN));
                continue;
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

    /// Waits for a hint, at most until `until`.
    fn wait(&mut self, until: Option<Instant>) -> Option<Hint> {
        let pause = until.map_or(TRY_AGAIN, |until| {
            until.saturating_duration_since(Instant::now())
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

    /// Whether the root is there and is what it was; begins anew where it is there for the first time.
    fn check_root(&mut self) -> Result<(), String> {
        let root = &self.setup.places.inbox;
        if self.identity.is_none() {
            create_folders(root).map_err(|error| {
                format!(
                    "{} cannot be made: {error}. Make it, or mend its permissions",
                    root.display()
                )
            })?;
        }
        let meta = std::fs::metadata(root).map_err(|error| {
            format!(
                "{} cannot be reached: {error}. Nothing in it is taken as deleted",
                root.display()
            )
        })?;
        let identity = Identity {
            device: meta.dev(),
            mount: mounts::here(root),
        };
        match &self.identity {
            Some(known) if *known == identity => Ok(()),
            Some(known) => Err(format!(
                "another filesystem lies at {} than before ({} instead of {}): is the share offline? Nothing in it is taken as deleted",
                root.display(),
                kind(identity.mount.as_ref()),
                kind(known.mount.as_ref()),
            )),
            None => {
                self.identity = Some(identity);
                self.begin();
                Ok(())
            }
        }
    }

    /// Chooses how changes are noticed, and says so.
    fn begin(&mut self) {
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
        self.watch_folder(&self.setup.places.working.clone());
        let backend = self.backend();
        tracing::info!(inbox = %self.setup.name, path = %self.setup.places.inbox.display(), "watching: {backend}");
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

    fn freeze(&mut self, why: String) {
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
                Hint::Closed(path) => {
                    let folder = path.parent().map(Path::to_owned);
                    self.closed.insert(path);
                    folder
                }
                Hint::Written(path) => {
                    self.closed.remove(&path);
                    path.parent().map(Path::to_owned)
                }
                Hint::Folder(path) => Some(path),
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
        let defaults: Vec<PathBuf> = self
            .closed
            .iter()
            .filter(|path| path.file_name().is_some_and(|name| name == DEFAULTS))
            .cloned()
            .collect();
        for path in defaults {
            self.closed.remove(&path);
            let now = Instant::now();
            self.due
                .extend(self.tree.folders().map(|folder| (folder.clone(), now)));
        }
        working_changed
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
            self.due.insert(folder, now);
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
            let found = evaluator.folder(&mut self.tree, &folder, &named, now);
            if let Some(at) = found.look_again {
                self.due.insert(folder.clone(), at);
            }
            // The names under which the ready ones waited are looked up before what waits is noted anew.
            let mut ready: Vec<(JobId, Candidate)> = found
                .ready
                .into_iter()
                .map(|candidate| (self.id_of(&candidate.input), candidate))
                .collect();
            self.hold(&folder, found.waiting);
            while !ready.is_empty() {
                let rest = ready.split_off(ready.len().min(TAKE_AT_ONCE));
                if let Err(error) = self.take(ready) {
                    tracing::error!(inbox = %self.setup.name, %error, "files cannot be taken now");
                    let again = now.checked_add(TRY_AGAIN).unwrap_or(now);
                    self.due.insert(folder.clone(), again);
                    break;
                }
                ready = rest;
            }
        }
    }

    /// Takes files: journal first, then the renames, then the journal again.
    fn take(&mut self, candidates: Vec<(JobId, Candidate)>) -> Result<(), TakeError> {
        let open = self.setup.ledger.jobs();
        let mine = || open.iter().filter(|job| job.inbox == self.setup.name);
        // Files of a job whose renames did not succeed yet still lie in the inbox.
        let claimed: HashSet<&RelPath> = mine()
            .filter(|job| matches!(job.state, State::Taking { .. }))
            .flat_map(|job| job.files.iter().map(|file| &file.dropped))
            .collect();
        let mut promised: HashSet<RelPath> = mine()
            .flat_map(|job| job.files.iter().map(|file| file.working.clone()))
            .collect();
        let mut jobs = Vec::new();
        let mut again = Vec::new();
        let mut used: HashSet<RelPath> = HashSet::new();
        for (id, candidate) in candidates {
            let unavailable = candidate.files.iter().any(|(_, file)| {
                claimed.contains(file) || used.contains(file) || !self.is_as_seen(file)
            });
            if unavailable {
                // Changed since it was looked at, or another job of this round has it: look again.
                self.dirty.insert(candidate.input.parent());
                self.due.insert(candidate.input.parent(), Instant::now());
                continue;
            }
            let mut files = Vec::new();
            for (role, file) in &candidate.files {
                let working = free_spot(&self.setup.places.working, file, &promised)
                    .map_err(TakeError::Folder)?;
                promised.insert(working.clone());
                used.insert(file.clone());
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
            match self.retried(&candidate, files.clone())? {
                Some(job) => again.push(job),
                None => {
                    let now = Timestamp::now();
                    jobs.push(Job::taken(
                        id,
                        &self.setup.name,
                        candidate.input,
                        files,
                        candidate.plan,
                        now,
                    ));
                }
            }
        }
        if !jobs.is_empty() {
            self.runtime
                .block_on(self.setup.ledger.insert(jobs.clone()))
                .map_err(TakeError::Ledger)?;
        }
        jobs.extend(again);
        let mut events = Vec::new();
        for job in &jobs {
            for file in &job.files {
                self.tree.taken(&file.dropped);
            }
            let folders: HashSet<PathBuf> = job
                .files
                .iter()
                .filter_map(|file| {
                    let path = self.setup.places.working.join(file.working.as_path());
                    path.parent().map(Path::to_owned)
                })
                .collect();
            match finish_taking(job, &self.setup.places) {
                Ok(Taking::All(files)) => events.push((job.id.clone(), Event::Moved { files })),
                // The engine finishes it, or finds that the person took it back.
                Ok(Taking::Missing(_)) => {}
                Err(error) => {
                    tracing::error!(job = %job.id, input = %job.input, %error, "the files cannot be moved to working yet");
                }
            }
            // So that a file that a person deletes there is noticed at once.
            for folder in folders {
                self.watch_folder(&folder);
            }
            tracing::info!(job = %job.id, inbox = %job.inbox, input = %job.input, "taken");
        }
        let ledger = &self.setup.ledger;
        let applied = self.runtime.block_on(futures_util::future::join_all(
            events
                .into_iter()
                .map(|(id, event)| async move { ledger.apply(&id, event).await }),
        ));
        for error in applied.into_iter().filter_map(Result::err) {
            // The job stands as `taking`, and the engine finishes it.
            tracing::warn!(%error, "taken files are not noted as moved yet");
        }
        Ok(())
    }

    /// The job that a person asked to run again, if this is its input: it goes on under its old name.
    fn retried(
        &self,
        candidate: &Candidate,
        files: Vec<InputFile>,
    ) -> Result<Option<Job>, TakeError> {
        let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(job) = retries.remove(&candidate.input) else {
            return Ok(None);
        };
        drop(retries);
        let (plan, wrong) = match candidate.plan.clone() {
            Ok(plan) => (Some(Box::new(plan)), None),
            Err(failure) => (None, Some(failure)),
        };
        let event = Event::Retried { plan, wrong, files };
        let revived = self
            .runtime
            .block_on(self.setup.ledger.revive(*job, event))
            .map_err(TakeError::Ledger)?;
        Ok(Some((*revived).clone()))
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
    }

    /// A person cancels a job by deleting its file from `working/`.
    fn notice_deleted(&self) {
        // A `working` folder that is not there says nothing about the files that were in it.
        if !self.setup.places.working.is_dir() {
            return;
        }
        for job in self.setup.ledger.jobs() {
            if job.inbox != self.setup.name || job.cancel_asked || !can_be_cancelled(&job.state) {
                continue;
            }
            let gone = job.files.iter().any(|file| {
                file.at.as_ref().is_some_and(|at| {
                    at.folder == Folder::Working
                        && matches!(
                            std::fs::symlink_metadata(self.setup.places.path(at)),
                            Err(error) if error.kind() == std::io::ErrorKind::NotFound
                        )
                })
            });
            // The engine moves files only in states that cannot be cancelled any more: look at the state once more.
            let still = self
                .setup
                .ledger
                .get(&job.id)
                .is_some_and(|job| can_be_cancelled(&job.state));
            if gone && still {
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

    fn publish(&self) {
        let thawed = self.update_view(|view| {
            view.waiting.clone_from(&self.held);
            view.ready = true;
            view.frozen.take().is_some()
        });
        if thawed {
            tracing::info!(inbox = %self.setup.name, "the folder is back: work goes on");
        }
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

/// Why files could not be taken.
#[derive(Debug, thiserror::Error)]
enum TakeError {
    #[error("the folder `working` cannot be used: {0}")]
    Folder(std::io::Error),
    #[error(transparent)]
    Ledger(LedgerError),
}
