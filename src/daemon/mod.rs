//! The daemon: wires the parts, starts them in order, reloads, and stops within a deadline.

mod error;
mod key;
mod pages;
mod reload;
mod shared;
mod systemd;
mod unconfigured;

pub use error::StartError;
pub use systemd::Notifier;

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;

use self::shared::Shared;
use crate::config::{ApiKey, Config, Inbox, JournalKind, KeyError, load_catalogue};
use crate::control::{Hub, serve, socket_path};
use crate::engine::{self, Engine, Frozen, InboxSettings, Settings};
use crate::folders::mounted::is_bare_mount_point;
use crate::inbox::{self, Ignore, InboxHandle, InboxView, Setup, defaults_layer, places};
use crate::job::{JobId, State};
use crate::journal::{Journal, JournalError, SqliteJournal, StateLock};
use crate::ledger::Ledger;
use crate::notify::{self, Receivers};
use crate::status::notice::Rules;
use crate::web;

/// How long everything may take to stop. What has not ended then is abandoned: the journal knows its state.
pub const STOP_WITHIN: Duration = Duration::from_secs(8);

/// How long work waits at the start for the first check of all folders.
const BEGINS_WITHIN: Duration = Duration::from_secs(2);

/// How often a wait for an inbox checks whether its thread still responds.
const CHECK_AGAIN: Duration = Duration::from_millis(250);

/// A running daemon.
pub struct Daemon {
    /// What drives jobs.
    pub engine: Arc<Engine>,
    shared: Arc<Shared>,
    _lock: StateLock,
    socket: PathBuf,
    page: Option<String>,
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
    /// Starts everything: lock, journal, engine, inboxes, control socket. With `accept_folders`, an inbox may be on another
    /// filesystem than when it was last used. The first scans may not have finished when this returns; see [`Daemon::ready`].
    ///
    /// # Errors
    /// It cannot start; nothing runs then.
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
        let unconfigured = unconfigured::remembered(&ledger, &config).await?;
        if accept_folders {
            journal.forget_folders().await?;
            // This accepts the folders of inboxes in the configuration. Those of other inboxes stay as they were.
            for (name, remembered) in &unconfigured {
                remembered.write(journal.as_ref(), name).await?;
            }
        }
        let on_mounts = place_on_mounts(journal.as_ref(), &mut config).await?;
        let catalogue = Arc::new(load_catalogue(&config)?);
        let mut settings = settings(&config);
        for (name, remembered) in &unconfigured {
            let known = unconfigured::settings(remembered);
            settings.inboxes.insert(name.clone(), known);
        }
        let receivers = Arc::new(Mutex::new(Arc::new(Receivers::default())));
        set_receivers(&ledger, &receivers, &config, &settings)?;
        let (engine, queue) = Engine::new(ledger, catalogue, settings);
        key::set(&engine, &config, key)?;
        unconfigured::tell(&engine, &config);
        let mut inboxes = Vec::new();
        for inbox in &config.inboxes {
            inboxes.push(spawn_inbox(&engine, &config, inbox, None)?);
        }
        let socket = socket_path(&config.state_dir);
        let hub = Arc::new(Hub::new(engine.clone(), inboxes));
        let shared = Arc::new(Shared {
            hub: hub.clone(),
            config: Mutex::new(config),
            receivers,
            on_mounts,
        });
        set_folder_check(&hub);
        spawn_vital_tasks(&hub, queue);
        spawn_helpers(&shared);
        serve(hub.clone(), &socket).map_err(|source| StartError::Io {
            what: format!("the control socket {} cannot be made", socket.display()),
            source,
        })?;
        let page = page.map(|bound| web::serve(bound, hub.clone()));
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

    /// Waits until every inbox has had its first scan. False if the daemon stops before.
    pub async fn ready(&self) -> bool {
        let ready = wait_for_inboxes(&self.shared.hub, InboxView::is_ready);
        self.engine.stop.run_until_cancelled(ready).await.is_some()
    }

    /// The inboxes whose folders do not respond.
    pub fn hanging(&self) -> BTreeSet<String> {
        let inboxes = self.shared.hub.inboxes();
        let hanging = inboxes.iter().filter(|handle| handle.is_stalled());
        hanging.map(|handle| handle.name.clone()).collect()
    }

    /// What the daemon is doing, in one line.
    pub fn summary(&self) -> String {
        let (mut waiting, mut frozen) = (0_usize, Vec::new());
        for handle in self.shared.hub.inboxes().iter() {
            waiting += handle.count_waiting();
            if handle.is_over() {
                frozen.push(format!(
                    "{} (its watch has ended: restart taxiway)",
                    handle.name
                ));
            } else if handle.is_stalled() {
                frozen.push(format!("{} (the folder does not respond)", handle.name));
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

    /// What the answers to requests need.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.shared.hub
    }

    /// Waits until a vital task has ended unexpectedly, and returns its name.
    pub async fn fails(&self) -> &'static str {
        self.engine.stop.cancelled().await;
        self.engine.tasks.failed().unwrap_or("the daemon")
    }

    /// Stops everything within [`STOP_WITHIN`]. Returns the names of what had not ended by then.
    pub async fn stop(self) -> Vec<String> {
        let deadline = tokio::time::Instant::now() + STOP_WITHIN;
        self.engine.stop.cancel();
        for inbox in self.shared.hub.inboxes().iter() {
            inbox.stop();
        }
        let mut late = self.engine.tasks.finish(deadline).await;
        let hub = &self.shared.hub;
        let threads: Vec<_> = hub
            .inboxes()
            .iter()
            .map(|inbox| (inbox.places.inbox.clone(), inbox.subscribe()))
            .collect();
        for (folder, mut view) in threads {
            // It fails once the thread has ended.
            let end = view.wait_for(|_| false);
            if tokio::time::timeout_at(deadline, end).await.is_err() {
                late.push(format!("the folder {}", folder.display()));
            }
        }
        if let Err(error) = std::fs::remove_file(&self.socket) {
            tracing::debug!(%error, "the control socket was gone already");
        }
        late
    }
}

/// Has the engine ask whether the folders of an inbox can be used.
fn set_folder_check(hub: &Arc<Hub>) {
    let inboxes = Arc::downgrade(hub);
    hub.engine.inboxes.set_check(Box::new(move |name| {
        let hub = inboxes.upgrade()?;
        let inboxes = hub.inboxes();
        match inboxes.iter().find(|inbox| inbox.serves(name)) {
            Some(inbox) => inbox.frozen().map(Frozen::Away),
            None => Some(Frozen::NotConfigured),
        }
    }));
}

/// Spawns the tasks without which nothing can work.
fn spawn_vital_tasks(hub: &Arc<Hub>, queue: UnboundedReceiver<JobId>) {
    let engine = &hub.engine;
    let poller = engine::poller::run(engine.clone(), queue);
    engine.tasks.spawn_vital("the poller", poller);
    let watched = engine.clone();
    engine.tasks.spawn_vital("the ledger", async move {
        tokio::select! {
            () = watched.ledger.closed() => {}
            () = watched.stop.cancelled() => {}
        }
    });
    engine
        .tasks
        .spawn_vital("the dispatcher", begin(hub.clone()));
}

/// Spawns the tasks that are restarted when they end: the work continues without them.
fn spawn_helpers(shared: &Arc<Shared>) {
    let tasks = &shared.hub.engine.tasks;
    let keys = shared.clone();
    tasks.spawn_restarting("the watch over the API key", move || {
        key::watch(keys.clone())
    });
    let paged = shared.clone();
    tasks.spawn_restarting("writing STATUS.html", move || pages::run(paged.clone()));
    let notified = shared.clone();
    tasks.spawn_restarting("notifying", move || {
        let receivers = notified.receivers.clone();
        notify::run(notified.hub.engine.clone(), move || {
            receivers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        })
    });
    let watched = shared.clone();
    tasks.spawn_restarting("the watch over folders and the balance", move || {
        let (named, low) = (watched.hub.clone(), watched.clone());
        let names = move || {
            let inboxes = named.inboxes();
            inboxes.iter().map(|inbox| inbox.name.clone()).collect()
        };
        notify::watch_health(watched.hub.engine.clone(), names, move || {
            low.config().notify.low_balance
        })
    });
}

/// Starts the work once every inbox has checked whether its folders can be used. One that does not respond delays the others only
/// briefly, and counts as frozen then.
async fn begin(hub: Arc<Hub>) {
    let checked = wait_for_inboxes(&hub, |view| view.checked);
    let engine = hub.engine.clone();
    let limited = tokio::time::timeout(BEGINS_WITHIN, checked);
    if engine.stop.run_until_cancelled(limited).await.is_none() {
        return;
    }
    engine::dispatch::run(engine).await;
}

/// Waits until all inboxes, also those of a configuration that is loaded meanwhile, are as `is` says.
async fn wait_for_inboxes(hub: &Hub, is: fn(&InboxView) -> bool) {
    loop {
        let views: Vec<_> = hub.inboxes().iter().map(InboxHandle::subscribe).collect();
        let Some(mut view) = views.into_iter().find(|view| !is(&view.borrow())) else {
            return;
        };
        // A thread that does not respond does not report it, and a thread that has ended may have been replaced.
        let change = async {
            if view.wait_for(is).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        if tokio::time::timeout(CHECK_AGAIN, change).await.is_err() {
            tracing::trace!("still waiting for an inbox");
        }
    }
}

/// Puts the folders of each inbox that is a mount point inside it. While it is not mounted, only the journal knows that it is a
/// mount point; returns the paths of those inboxes.
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

/// Sets who gets which notices.
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

fn ignore(inbox: &Inbox) -> Result<Ignore, StartError> {
    Ignore::new(&inbox.ignore).map_err(|error| StartError::Ignore {
        inbox: inbox.name.clone(),
        why: error.to_string(),
    })
}

fn spawn_inbox(
    engine: &Arc<Engine>,
    config: &Config,
    inbox: &Inbox,
    old: Option<InboxHandle>,
) -> Result<InboxHandle, StartError> {
    let setup = Setup {
        name: inbox.name.clone(),
        formerly: unconfigured::names(&engine.settings.load(), config, inbox),
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
