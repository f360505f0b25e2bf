//! `taxiway run`: the daemon in the foreground.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

use tracing_subscriber::filter::LevelFilter;

use super::args::Global;
use super::error::CommandError;
use crate::config::find_key;
use crate::daemon::{Daemon, Notifier};

/// How often the one-line status is updated for a service manager, and how often inboxes are checked without one.
const STATUS_EVERY: Duration = Duration::from_secs(1);
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// Run the daemon in the foreground
///
/// SIGTERM and SIGINT stop it cleanly, SIGHUP reads the configuration again.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// Take the inboxes' folders as they are now, also where another filesystem was mounted when they were last used
    #[arg(long)]
    accept_folders: bool,
}

impl Run {
    pub(super) async fn run(self, global: &Global) -> Result<(), CommandError> {
        global.log(LevelFilter::INFO);
        run(global, self.accept_folders).await
    }
}

/// Runs the daemon until a signal ends it.
async fn run(global: &Global, accept_folders: bool) -> Result<(), CommandError> {
    let config = global.load()?;
    // Signals are caught before anything is touched, so that none is missed.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| CommandError::Failed(format!("signals cannot be caught: {error}")))?;
    let mut notifier = Notifier::default();
    let key = find_key(&config);
    let daemon = Daemon::start(config, key, accept_folders).await?;
    let mut told_ready = false;
    let mut hanging = BTreeSet::new();
    let mut status = tokio::time::interval(match Notifier::has_listener() {
        true => STATUS_EVERY,
        false => CHECK_EVERY,
    });
    let watchdog = Notifier::watchdog_interval();
    let mut alive = tokio::time::interval(watchdog.unwrap_or(Duration::from_secs(3600)));
    let mut failed = None;
    loop {
        tokio::select! {
            true = daemon.ready(), if !told_ready => {
                told_ready = true;
                notifier.status(daemon.summary());
                notifier.ready();
                tracing::info!("ready: {}", daemon.summary());
            }
            _ = status.tick() => {
                notifier.status(daemon.summary());
                log_hangs(&mut hanging, daemon.hanging());
            }
            _ = alive.tick() => if watchdog.is_some() { notifier.alive() },
            name = daemon.fails() => {
                failed = Some(name);
                break;
            }
            signal = signals.next() => match signal {
                Some(SIGHUP) => {
                    notifier.reloading();
                    reload(global, &daemon);
                    notifier.ready();
                }
                Some(signal) => {
                    tracing::info!(signal, "stopping");
                    break;
                }
                None => break,
            },
        }
    }
    notifier.stopping();
    signals.handle().close();
    let late = daemon.stop().await;
    if late.is_empty() {
        tracing::info!("stopped");
    } else {
        tracing::warn!(
            "stopped without waiting longer for {}; the journal knows where it stood",
            late.join(", ")
        );
    }
    match failed {
        None => Ok(()),
        Some(name) => Err(CommandError::Failed(format!(
            "{name} ended unexpectedly: see the log, and start taxiway again"
        ))),
    }
}

/// Logs which inboxes have hung in their folders since the last time, and which no longer do: their threads cannot say so.
fn log_hangs(before: &mut BTreeSet<String>, now: BTreeSet<String>) {
    for inbox in now.difference(before) {
        tracing::error!(%inbox, "the folder does not respond: is its share's server running? Other inboxes continue");
    }
    for inbox in before.difference(&now) {
        tracing::info!(%inbox, "the folder responds again");
    }
    *before = now;
}

/// Reads the configuration again. A bad one is refused, and the old one stays.
fn reload(global: &Global, daemon: &Daemon) {
    let new = match global.load() {
        Ok(new) => new,
        Err(error) => {
            tracing::error!("the new configuration is refused, and the old one stays:\n{error}");
            return;
        }
    };
    let key = find_key(&new);
    match daemon.reload(new, key) {
        Ok(changes) => {
            if !changes.needs_restart.is_empty() {
                tracing::warn!(
                    "these changes need a restart: {}",
                    changes.needs_restart.join(", ")
                );
            }
            tracing::info!(
                applied = ?changes.applied, added = ?changes.added, removed = ?changes.removed, changed = ?changes.changed,
                "configuration and key read again"
            );
        }
        Err(error) => {
            tracing::error!("the new configuration is refused, and the old one stays: {error}")
        }
    }
}
