//! The daemon: wires the parts, starts them in order, reloads, and stops within a deadline.

mod former;
mod key;
mod pages;
mod systemd;

pub use systemd::Notifier;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::config::{ApiKey, Config, JournalKind, KeyError, Reload, load_catalogue, merge};
use crate::control::{Cached, Request, Spending, answer, serve, socket_path};
use crate::diagnostic::Diagnostic;
use crate::engine::{self, Engine, Frozen, InboxSettings, Settings};
use crate::files::RelPath;
use crate::folders::Places;
use crate::folders::mounted::is_bare_mount_point;
use crate::inbox::{self, Ignore, InboxHandle, Setup};
use crate::job::State;
use crate::journal::{AlreadyRunning, Count, Journal, JournalError, SqliteJournal, StateLock};
use crate::ledger::Ledger;
use crate::notify::{self, Receivers, SecretError};
use crate::runway::ClientError;
use crate::sidecar::Layer;
use crate::status::notice::Rules;
use crate::web::{self, WebError};

/// How long everything may take to stop. What is not over then is left as it is: the journal knows where it stood.
pub const STOP_WITHIN: Duration = Duration::from_secs(8);

/// How long the work waits at the start for the first look at all folders.
const BEGINS_WITHIN: Duration = Duration::from_secs(2);

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another daemon has the state directory, or it cannot be used.
    #[error(transparent)]
    State(#[from] AlreadyRunning),
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The catalogue that the configuration names cannot be used.
    #[error("{0:#}")]
    Catalogue(#[from] Diagnostic),
    /// An inbox would get the folder of another whose jobs are in progress.
    #[error(
        "inbox '{other}' cannot have the folder of inbox '{inbox}' yet, whose jobs are in progress there: reload again once they are over, \
         or start taxiway anew"
    )]
    FolderInUse {
        /// Whose folder it is.
        inbox: String,
        /// Who would get it.
        other: String,
    },
    /// An inbox that was taken out of the configuration would come back with other folders than its jobs in progress have.
    #[error(
        "inbox '{inbox}' cannot have other folders yet: its jobs are in progress in those that it had before, such as {before}. Write those \
         back, or start taxiway anew, which moves them"
    )]
    FoldersInUse {
        /// Its name.
        inbox: String,
        /// Its `working` of before.
        before: PathBuf,
    },
    /// The webhook's secret cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The API's client cannot be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A pattern of names to ignore is none.
    #[error("inbox '{inbox}': `ignore` has a pattern that is none: {why}. Mend it")]
    Ignore {
        /// The inbox.
        inbox: String,
        /// Why.
        why: String,
    },
    /// The status page cannot be served.
    #[error(transparent)]
    Web(#[from] WebError),
    /// The control socket or a thread cannot be made.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
}

/// A running daemon.
pub struct Daemon {
    /// What drives jobs.
    pub engine: Arc<Engine>,
    shared: Arc<Shared>,
    _lock: StateLock,
    socket: PathBuf,
    page: Option<String>,
}

/// What the control socket and reloads share.
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    inboxes: Mutex<Vec<InboxHandle>>,
    config: Mutex<Config>,
    /// How many jobs have ended, as far as that was counted.
    pub(crate) counted: Cached<Vec<Count>>,
    /// What was spent, as far as that was added up.
    pub(crate) spending: Cached<Spending>,
    receivers: Arc<Mutex<Arc<Receivers>>>,
    /// Inboxes that are mount points whose filesystem was not mounted at the start.
    on_mounts: HashSet<PathBuf>,
}

impl Shared {
    pub(crate) fn inboxes(&self) -> MutexGuard<'_, Vec<InboxHandle>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn config(&self) -> MutexGuard<'_, Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an inbox's folders lie.
pub fn places(inbox: &crate::config::Inbox) -> Places {
    Places {
        inbox: inbox.path.clone(),
        working: inbox.folders.working.clone(),
        outbox: inbox.folders.outbox.clone(),
        originals: inbox.folders.originals.clone(),
        failed: inbox.folders.failed.clone(),
    }
}

/// The inbox's `defaults` as the weakest layer of its requests.
pub fn defaults_layer(config: &Config, inbox: &crate::config::Inbox) -> Layer {
    Layer {
        label: config.file.as_ref().map_or_else(
            || "the configuration".to_owned(),
            |file| file.display().to_string(),
        ),
        folder: RelPath::default(),
        values: inbox.defaults.values.clone(),
        document: inbox.defaults.source.clone(),
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        poll_interval: config.runway.poll_interval,
        max_in_flight: config.runway.max_in_flight,
        on_doubt: config.runway.on_doubt,
        limits: config.limits.spending,
        inboxes: config
            .inboxes
            .iter()
            .map(|inbox| {
                let settings = InboxSettings {
                    places: places(inbox),
                    inbox: Arc::new(inbox.clone()),
                };
                (inbox.name.clone(), settings)
            })
            .collect(),
    }
}

impl Daemon {
    /// Starts everything: lock, journal, engine, inboxes, control socket. With `accept_folders` an inbox may lie on another
    /// filesystem than when it was last used. Inboxes may not have had their first look when this
    /// answers; see [`Daemon::ready`].
    ///
    /// # Errors
    /// Nothing runs then.
    pub async fn start(
        mut config: Config,
        key: Result<ApiKey, KeyError>,
        accept_folders: bool,
    ) -> Result<Daemon, StartError> {
        let lock = StateLock::take(&config.state_dir)?;
        let page = web::bind(&config.web).await?;
        let journal: Arc<dyn Journal> = match config.journal {
            JournalKind::Sqlite => Arc::new(SqliteJournal::open(&config.state_dir).await?),
        };
        let ledger = Ledger::open(journal.clone()).await?;
        let former = former::remembered(&ledger, &config).await?;
        if accept_folders {
            journal.forget_folders().await?;
            // What is accepted is where the configuration's inboxes lie.
            for (name, remembered) in &former {
                remembered.keep(journal.as_ref(), name).await?;
            }
        }
        let on_mounts = place_on_mounts(journal.as_ref(), &mut config).await?;
        let catalogue = Arc::new(load_catalogue(&config)?);
        let mut settings = settings(&config);
        for (name, remembered) in &former {
            let known = former::settings(remembered);
            settings.inboxes.insert(name.clone(), known);
        }
        let receivers = Arc::new(Mutex::new(Arc::new(Receivers::default())));
        set_receivers(&ledger, &receivers, &config, &settings)?;
        let (engine, queue) = Engine::new(ledger, catalogue, settings);
        key::set(&engine, &config, key)?;
        former::tell(&engine, &config);
        let mut inboxes = Vec::new();
        for inbox in &config.inboxes {
            inboxes.push(spawn_inbox(&engine, &config, inbox, None)?);
        }
        let poller = engine::poller::run(engine.clone(), queue);
        engine.tasks.spawn_vital("the poller", poller);
        let watched = engine.clone();
        engine.tasks.spawn_vital("the ledger", async move {
            tokio::select! {
                () = watched.ledger.closed() => {}
                () = watched.stop.cancelled() => {}
            }
        });
        let socket = socket_path(&config.state_dir);
        let shared = Arc::new(Shared {
            engine: engine.clone(),
            inboxes: Mutex::new(inboxes),
            config: Mutex::new(config),
            counted: Cached::default(),
            spending: Cached::default(),
            receivers: receivers.clone(),
            on_mounts,
        });
        let inboxes = Arc::downgrade(&shared);
        engine.inboxes.set_check(Box::new(move |name| {
            let shared = inboxes.upgrade()?;
            let inboxes = shared.inboxes();
            match inboxes.iter().find(|inbox| inbox.serves(name)) {
                Some(inbox) => inbox.frozen().map(Frozen::Away),
                None => Some(Frozen::NotConfigured),
            }
        }));
        engine
            .tasks
            .spawn_vital("the dispatcher", begin(shared.clone()));
        let keys = shared.clone();
        engine
            .tasks
            .spawn_restarting("the watch over the API key", move || {
                key::watch(keys.clone())
            });
        let paged = shared.clone();
        engine
            .tasks
            .spawn_restarting("writing STATUS.html", move || pages::run(paged.clone()));
        let notified = engine.clone();
        engine.tasks.spawn_restarting("notifying", move || {
            let receivers = receivers.clone();
            notify::run(notified.clone(), move || {
                receivers
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone()
            })
        });
        let watched = shared.clone();
        engine
            .tasks
            .spawn_restarting("the watch over folders and the balance", move || {
                let (names, low) = (watched.clone(), watched.clone());
                notify::watch_health(
                    watched.engine.clone(),
                    move || {
                        names
                            .inboxes()
                            .iter()
                            .map(|inbox| inbox.name.clone())
                            .collect()
                    },
                    move || low.config().notify.low_balance,
                )
            });
        serve(shared.clone(), &socket).map_err(|source| StartError::Io {
            what: format!("the control socket {} cannot be made", socket.display()),
            source,
        })?;
        let page = page.map(|bound| web::serve(bound, shared.clone()));
        Ok(Daemon {
            engine,
            shared,
            page,
            _lock: lock,
            socket,
        })
    }

    /// The URL of the status page, where there is one.
    pub fn page(&self) -> Option<&str> {
        self.page.as_deref()
    }

    /// Whether every inbox has had its first look.
    pub fn is_ready(&self) -> bool {
        self.shared.inboxes().iter().all(InboxHandle::is_ready)
    }

    /// Waits until every inbox has had its first look.
    pub async fn ready(&self) {
        while !self.is_ready() {
            if !self.engine.pause(Duration::from_millis(10)).await {
                return;
            }
        }
    }

    /// The inboxes whose threads hang in their folders.
    pub fn hanging(&self) -> BTreeSet<String> {
        let inboxes = self.shared.inboxes();
        let hanging = inboxes.iter().filter(|handle| handle.is_stalled());
        hanging.map(|handle| handle.name.clone()).collect()
    }

    /// What the daemon is doing, in one line.
    pub fn summary(&self) -> String {
        let (mut waiting, mut frozen) = (0_usize, Vec::new());
        for handle in self.shared.inboxes().iter() {
            waiting += handle.count_waiting();
            if handle.is_over() {
                frozen.push(format!(
                    "{} (its watch has ended: restart taxiway)",
                    handle.name
                ));
            } else if handle.is_stalled() {
                frozen.push(format!("{} (the folder does not answer)", handle.name));
            } else if handle.frozen().is_some() {
                frozen.push(handle.name.clone());
            }
        }
        let (mut queued, mut running, mut ending, mut doubt) = (0_usize, 0_usize, 0_usize, 0_usize);
        for job in self.engine.ledger.jobs() {
            match job.state {
                State::Taking { .. } | State::Queued { .. } => queued += 1,
                State::Uploading | State::Submitting { .. } | State::Running { .. } => running += 1,
                State::Downloading { .. } | State::Delivering { .. } | State::Closing { .. } => {
                    ending += 1
                }
                State::InDoubt { .. } => doubt += 1,
                State::Done { .. } | State::Failed { .. } | State::Cancelled { .. } => {}
            }
        }
        let mut text = format!(
            "{running} running, {queued} queued, {ending} being delivered, {waiting} waiting in the inbox"
        );
        if doubt > 0 {
            text.push_str(&format!(", {doubt} in doubt"));
        }
        if !frozen.is_empty() {
            text.push_str(&format!(", frozen: {}", frozen.join(", ")));
        }
        if let Some(closed) = self.engine.account.gates().stopped(Instant::now()) {
            // One line: systemd's status has no more.
            let words = closed
                .as_str()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            text.push_str(&format!("; submitting waits {words}"));
        }
        text
    }

    /// Answers a request, as the control socket does.
    pub async fn answer(&self, request: Request) -> Result<Vec<serde_json::Value>, String> {
        answer(&self.shared, request).await
    }

    /// Takes a new configuration, without dropping work. What cannot change while the daemon runs stays as it was, and is
    /// named in the answer.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn reload(&self, new: Config, key: Result<ApiKey, KeyError>) -> Result<Reload, StartError> {
        let mut config = self.shared.config();
        let mut new = new;
        for inbox in &mut new.inboxes {
            if self.shared.on_mounts.contains(&inbox.path) {
                inbox.place_on_mount();
            }
        }
        let (mut merged, changes) = merge(&config, new);
        for inbox in &merged.inboxes {
            ignore(inbox)?;
        }
        keep_folders(&config, &mut merged, &self.engine, &self.shared.inboxes())?;
        former::check_return(&self.engine, &config, &merged)?;
        let settings = settings(&merged).with_known(&self.engine.settings.load());
        set_receivers(
            &self.engine.ledger,
            &self.shared.receivers,
            &merged,
            &settings,
        )?;
        key::set(&self.engine, &merged, key)?;
        self.engine.settings.replace(settings);
        former::tell(&self.engine, &merged);
        let settings = self.engine.settings.load();
        let mut handles = self.shared.inboxes();
        let everywhere = config.limits.max_input_size != merged.limits.max_input_size
            || config.runway.allow_unknown_models != merged.runway.allow_unknown_models;
        let old: HashMap<String, crate::config::Inbox> = config
            .inboxes
            .iter()
            .map(|inbox| (inbox.name.clone(), inbox.clone()))
            .collect();
        let mut kept = Vec::new();
        let mut leaving = Vec::new();
        for handle in handles.drain(..) {
            let same = merged.inboxes.iter().any(|inbox| {
                inbox.name == handle.name
                    && old.get(&inbox.name) == Some(inbox)
                    && handle.formerly == former::names(&settings, &merged, inbox)
            });
            if same && !everywhere {
                kept.push(handle);
            } else {
                handle.stop();
                leaving.push(handle);
            }
        }
        *handles = kept;
        for inbox in &merged.inboxes {
            if !handles.iter().any(|handle| handle.name == inbox.name) {
                // The new thread waits for the old one's end: two over one folder would get into each other's way.
                let old = leaving
                    .iter()
                    .position(|old: &InboxHandle| {
                        old.name == inbox.name || old.places.inbox == inbox.path
                    })
                    .map(|at| leaving.swap_remove(at));
                handles.push(spawn_inbox(&self.engine, &merged, inbox, old)?);
            }
        }
        drop(handles);
        *config = merged;
        Ok(changes)
    }

    /// Waits until a task without which nothing can work has ended unexpectedly, and answers with its name.
    pub async fn fails(&self) -> &'static str {
        self.engine.stop.cancelled().await;
        self.engine.tasks.failed().unwrap_or("the daemon")
    }

    /// Stops everything within [`STOP_WITHIN`]. Answers with the names of what was not over by then.
    pub async fn stop(self) -> Vec<String> {
        let deadline = tokio::time::Instant::now() + STOP_WITHIN;
        self.engine.stop.cancel();
        for inbox in self.shared.inboxes().iter() {
            inbox.stop();
        }
        let mut late = self.engine.tasks.finish(deadline).await;
        loop {
            let over = self.shared.inboxes().iter().all(InboxHandle::is_over);
            if over || tokio::time::Instant::now() >= deadline {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for inbox in self
            .shared
            .inboxes()
            .iter()
            .filter(|inbox| !inbox.is_over())
        {
            late.push(format!("the folder {}", inbox.places.inbox.display()));
        }
        if let Err(error) = std::fs::remove_file(&self.socket) {
            tracing::debug!(%error, "the control socket was gone already");
        }
        late
    }
}

/// Lets the work begin once every inbox knows whether its folders can be used. One that hangs keeps the others waiting for a
/// moment only, and counts as frozen then.
async fn begin(shared: Arc<Shared>) {
    let engine = shared.engine.clone();
    let limit = Instant::now() + BEGINS_WITHIN;
    while !shared.inboxes().iter().all(InboxHandle::has_begun) && Instant::now() < limit {
        if !engine.pause(Duration::from_millis(2)).await {
            return;
        }
    }
    engine::dispatch::run(engine).await;
}

/// Keeps the folders of inboxes whose jobs are in progress, and of those that cannot be used now: where their files lie is what
/// the journal knows of them.
fn keep_folders(
    before: &Config,
    new: &mut Config,
    engine: &Engine,
    handles: &[InboxHandle],
) -> Result<(), StartError> {
    let jobs = engine.ledger.jobs();
    let mut kept = Vec::new();
    for inbox in &mut new.inboxes {
        let Some(old) = before.inboxes.iter().find(|old| old.name == inbox.name) else {
            continue;
        };
        if (&old.path, &old.folders) == (&inbox.path, &inbox.folders) {
            continue;
        }
        let open = jobs.iter().filter(|job| job.inbox == inbox.name).count();
        let handle = handles.iter().find(|handle| handle.name == inbox.name);
        if open == 0 && handle.is_none_or(|handle| handle.frozen().is_none()) {
            continue;
        }
        tracing::warn!(
            inbox = %inbox.name, jobs = open,
            "its folders stay as they were while its jobs are in progress or its share is away. Reload again afterwards; starting taxiway \
             anew moves them at once"
        );
        inbox.path.clone_from(&old.path);
        inbox.folders = old.folders.clone();
        inbox.status_file.clone_from(&old.status_file);
        inbox.on_mount = old.on_mount.clone();
        kept.push(inbox.name.clone());
    }
    // Two inboxes over one folder would take each file twice.
    for own in new
        .inboxes
        .iter()
        .filter(|inbox| kept.contains(&inbox.name))
    {
        let meets = |other: &&crate::config::Inbox| {
            other.name != own.name
                && (other.path.starts_with(&own.path) || own.path.starts_with(&other.path))
        };
        if let Some(other) = new.inboxes.iter().find(meets) {
            return Err(StartError::FolderInUse {
                inbox: own.name.clone(),
                other: other.name.clone(),
            });
        }
    }
    Ok(())
}

/// The folders of an inbox that is a mount point lie inside it. Where it is not mounted yet, only the journal knows that it is
/// one; answers with the paths of those.
async fn place_on_mounts(
    journal: &dyn Journal,
    config: &mut Config,
) -> Result<HashSet<PathBuf>, JournalError> {
    let mut found = HashSet::new();
    for inbox in &mut config.inboxes {
        if is_bare_mount_point(journal, &inbox.path).await? {
            inbox.place_on_mount();
            found.insert(inbox.path.clone());
        }
    }
    Ok(found)
}

/// Sends notices as a configuration says.
fn set_receivers(
    ledger: &Ledger,
    receivers: &Mutex<Arc<Receivers>>,
    config: &Config,
    settings: &Settings,
) -> Result<(), StartError> {
    let notify = &config.notify;
    let webhook = notify.webhook.as_ref();
    let webhook = webhook.map(|(url, file)| (url, file.as_path()));
    let new = Receivers::new(&notify.command, webhook)?;
    let inboxes = settings.inboxes.iter();
    ledger.set_rules(Rules {
        kinds: notify.on.clone(),
        targets: new.targets(),
        outboxes: inboxes
            .map(|(name, inbox)| (name.clone(), inbox.places.outbox.clone()))
            .collect(),
    });
    *receivers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
    Ok(())
}

fn ignore(inbox: &crate::config::Inbox) -> Result<Ignore, StartError> {
    Ignore::new(&inbox.ignore).map_err(|error| StartError::Ignore {
        inbox: inbox.name.clone(),
        why: error.to_string(),
    })
}

fn spawn_inbox(
    engine: &Arc<Engine>,
    config: &Config,
    inbox: &crate::config::Inbox,
    old: Option<InboxHandle>,
) -> Result<InboxHandle, StartError> {
    let setup = Setup {
        name: inbox.name.clone(),
        formerly: former::names(&engine.settings.load(), config, inbox),
        places: places(inbox),
        inbox: Arc::new(inbox.clone()),
        max_input: config.limits.max_input_size,
        ignore: ignore(inbox)?,
        defaults: defaults_layer(config, inbox),
        catalogue: engine.catalogue.clone(),
        allow_unknown_models: config.runway.allow_unknown_models,
        ledger: engine.ledger.clone(),
        runtime: Handle::current(),
    };
    inbox::spawn_after(setup, old).map_err(|source| StartError::Io {
        what: format!("no thread can be started for inbox '{}'", inbox.name),
        source,
    })
}
