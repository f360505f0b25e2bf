//! What a new configuration changes while the daemon runs.

use super::load::{Config, Limits};
use super::runway::Runway;
use super::web::Web;

/// The differences between two configurations, by their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reload {
    /// Keys whose change takes effect only when the daemon is started again; until then the old values hold.
    pub needs_restart: Vec<&'static str>,
    /// Keys whose change takes effect at once.
    pub applied: Vec<&'static str>,
    /// Names of inboxes that are new.
    pub added: Vec<String>,
    /// Names of inboxes that are gone. Their jobs in progress continue to their end.
    pub removed: Vec<String>,
    /// Names of inboxes that are still there and configured differently.
    pub changed: Vec<String>,
}

impl Reload {
    /// Whether the two configurations say the same.
    pub fn is_empty(&self) -> bool {
        self == &Reload::default()
    }

    fn compare<T: PartialEq>(&mut self, key: &'static str, old: &T, new: &T) {
        if old != new {
            self.applied.push(key);
        }
    }

    /// Notes a change that needs a restart, and keeps the old value until then.
    fn keep<T: PartialEq + Clone>(&mut self, key: &'static str, old: &T, new: &mut T) {
        if old != new {
            self.needs_restart.push(key);
            new.clone_from(old);
        }
    }
}

/// Merges a new configuration into the one that the daemon runs with: the new one, but for the keys that need a restart,
/// which keep their old values. An inbox is the same one when it has the same name. The API key is not part of the
/// configuration: it is read again at every reload, whatever else has changed.
pub fn merge(old: &Config, mut new: Config) -> (Config, Reload) {
    let mut reload = Reload::default();
    // Destructured, so that a new field cannot be forgotten here.
    let Config {
        file: _,
        state_dir,
        journal,
        runway,
        inboxes,
        limits,
        notify,
        web,
    } = old;
    let Runway {
        base_url,
        api_version,
        api_key_file,
        poll_interval,
        max_in_flight,
        on_doubt,
        catalogue,
        allow_unknown_models,
    } = runway;
    let Limits {
        spending,
        max_input_size,
    } = limits;
    let Web {
        listen,
        token_file,
        hosts,
    } = web;

    // Running tasks and stored jobs belong to these.
    reload.keep("state_dir", state_dir, &mut new.state_dir);
    reload.keep("journal", journal, &mut new.journal);
    let to = &mut new.runway;
    reload.keep("runway.base_url", base_url, &mut to.base_url);
    reload.keep("runway.api_version", api_version, &mut to.api_version);
    reload.keep("runway.catalogue", catalogue, &mut to.catalogue);
    reload.compare("runway.api_key_file", api_key_file, &to.api_key_file);
    reload.compare("runway.poll_interval", poll_interval, &to.poll_interval);
    reload.compare("runway.max_in_flight", max_in_flight, &to.max_in_flight);
    reload.compare("runway.on_doubt", on_doubt, &to.on_doubt);
    let unknown = &to.allow_unknown_models;
    reload.compare("runway.allow_unknown_models", allow_unknown_models, unknown);
    reload.compare("notify", notify, &new.notify);
    reload.compare("limits", spending, &new.limits.spending);
    let size = &new.limits.max_input_size;
    reload.compare("limits.max_input_size", max_input_size, size);
    reload.keep("web.listen", listen, &mut new.web.listen);
    reload.keep("web.token_file", token_file, &mut new.web.token_file);
    reload.keep("web.hosts", hosts, &mut new.web.hosts);
    for inbox in inboxes {
        match new.inboxes.iter().find(|other| other.name == inbox.name) {
            None => reload.removed.push(inbox.name.clone()),
            Some(other) if other != inbox => reload.changed.push(inbox.name.clone()),
            Some(_) => {}
        }
    }
    for inbox in &new.inboxes {
        if inboxes.iter().all(|other| other.name != inbox.name) {
            reload.added.push(inbox.name.clone());
        }
    }
    (new, reload)
}
