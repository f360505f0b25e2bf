//! A new configuration for a running daemon.

use std::collections::HashMap;

use super::{Daemon, StartError, ignore, key, set_receivers, settings, spawn_inbox, unconfigured};
use crate::config::{ApiKey, Config, Inbox, KeyError, Reload, merge};
use crate::engine::Engine;
use crate::inbox::InboxHandle;

impl Daemon {
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
        keep_folders(
            &config,
            &mut merged,
            &self.engine,
            &self.shared.hub.inboxes(),
        )?;
        unconfigured::check_return(&self.engine, &config, &merged)?;
        let settings = settings(&merged).with_known(&self.engine.settings.load());
        set_receivers(
            &self.engine.ledger,
            &self.shared.receivers,
            &merged,
            &settings,
        )?;
        key::set(&self.engine, &merged, key)?;
        self.engine.settings.replace(settings);
        unconfigured::tell(&self.engine, &merged);
        let settings = self.engine.settings.load();
        let mut handles = self.shared.hub.inboxes();
        let everywhere = config.limits.max_input_size != merged.limits.max_input_size
            || config.runway.allow_unknown_models != merged.runway.allow_unknown_models;
        let old: HashMap<String, Inbox> = config
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
                    && handle.formerly == unconfigured::names(&settings, &merged, inbox)
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
            "its folders stay as they were while its jobs are in progress or its share is away. Reload again afterwards; restarting \
             taxiway moves them at once"
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
        let meets = |other: &&Inbox| {
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
