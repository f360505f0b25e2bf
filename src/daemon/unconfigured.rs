//! Inboxes that the configuration does not have any more, or has under another name. Their jobs are paid for, or lie in folders
//! that nobody else looks after, so they go on: under a new name as before, without an inbox as far as they cost nothing more.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::config::{Config, Inbox};
use crate::engine::{Engine, InboxSettings, Settings};
use crate::folders::Remembered;
use crate::journal::JournalError;
use crate::ledger::Ledger;

use super::StartError;
use crate::inbox::places;

/// The inboxes of open jobs that the configuration does not have, as the journal remembers them.
pub(super) async fn remembered(
    ledger: &Ledger,
    config: &Config,
) -> Result<BTreeMap<String, Remembered>, JournalError> {
    let mut found = BTreeMap::new();
    for job in ledger.jobs() {
        let is_configured = config.inboxes.iter().any(|inbox| inbox.name == job.inbox);
        if is_configured || found.contains_key(&job.inbox) {
            continue;
        }
        let remembered = Remembered::read(ledger.journal().as_ref(), &job.inbox).await?;
        if let Some(remembered) = remembered {
            found.insert(job.inbox.clone(), remembered);
        }
    }
    Ok(found)
}

/// The engine's settings for one that is remembered.
pub(super) fn settings(remembered: &Remembered) -> InboxSettings {
    InboxSettings {
        places: remembered.places.clone(),
        inbox: Arc::new(Inbox {
            on_success: remembered.on_success,
            ..Inbox::default()
        }),
    }
}

/// The names that an inbox had before: those of inboxes that are not configured and had its folders.
pub(super) fn names(settings: &Settings, config: &Config, inbox: &Inbox) -> Vec<String> {
    let is_configured = |name: &String| config.inboxes.iter().any(|inbox| inbox.name == *name);
    let own = places(inbox);
    let mut names: Vec<String> = settings
        .inboxes
        .iter()
        .filter(|(name, _)| !is_configured(name))
        .filter(|(_, known)| {
            (&known.places.inbox, &known.places.working) == (&own.inbox, &own.working)
        })
        .map(|(name, _)| name.clone())
        .collect();
    names.sort();
    names
}

/// Says what becomes of the open jobs of inboxes that are not configured.
pub(super) fn tell(engine: &Engine, config: &Config) {
    let settings = engine.settings.load();
    let mut jobs: HashMap<String, usize> = HashMap::new();
    for job in engine.ledger.jobs() {
        *jobs.entry(job.inbox.clone()).or_default() += 1;
    }
    for inbox in &config.inboxes {
        for name in names(&settings, config, inbox) {
            if let Some(jobs) = jobs.remove(&name) {
                tracing::info!(
                    inbox = %inbox.name, jobs,
                    "goes on with the jobs of '{name}', as it was called before"
                );
            }
        }
    }
    jobs.retain(|name, _| config.inboxes.iter().all(|inbox| inbox.name != *name));
    for (name, jobs) in jobs {
        tracing::warn!(
            inbox = %name, jobs,
            "the configuration does not have this inbox any more, and its jobs are in progress: what Runway has is followed and \
             delivered to its folders of before; put it back for what waits to be sent"
        );
    }
}

/// Refuses an inbox that comes back with other folders while files of its jobs lie in those that it had: only a start moves them.
pub(super) fn check_return(
    engine: &Engine,
    before: &Config,
    new: &Config,
) -> Result<(), StartError> {
    let (known, jobs) = (engine.settings.load(), engine.ledger.jobs());
    for inbox in &new.inboxes {
        if before.inboxes.iter().any(|old| old.name == inbox.name) {
            continue;
        }
        let has_jobs = jobs.iter().any(|job| job.inbox == inbox.name);
        if let Some(known) = known.inboxes.get(&inbox.name)
            && has_jobs
            && known.places != places(inbox)
        {
            return Err(StartError::FoldersInUse {
                inbox: inbox.name.clone(),
                before: known.places.working.clone(),
            });
        }
    }
    Ok(())
}
