//! What a new configuration changes while the daemon runs.

use super::{Config, Limits, Runway, Web};

/// What differs between two configurations, in the configuration's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reload {
    /// Keys whose change takes effect only when the daemon is started again; until then the old values hold.
    pub needs_restart: Vec<&'static str>,
    /// Keys whose change takes effect at once.
    pub applied: Vec<&'static str>,
    /// Names of inboxes that are new.
    pub added: Vec<String>,
    /// Names of inboxes that are gone. Their jobs in progress go on to their end.
    pub removed: Vec<String>,
    /// Names of inboxes that are still there and configured differently.
    pub changed: Vec<String>,
}

impl Reload {
    /// Whether the two configurations say the same.
    pub fn is_nothing(&self) -> bool {
        self == &Reload::default()
    }
}

/// What `new` changes. An inbox is the same one when it has the same name. The API key is no part of the
/// configuration: it is read again at every reload, whatever else has changed.
pub fn difference(old: &Config, new: &Config) -> Reload {
    let mut reload = Reload::default();
    // Taken apart, so that a new field cannot be forgotten here.
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
    for (key, differs) in [
        ("state_dir", *state_dir != new.state_dir),
        ("journal", *journal != new.journal),
        ("runway.base_url", *base_url != new.runway.base_url),
        ("runway.api_version", *api_version != new.runway.api_version),
        ("runway.catalogue", *catalogue != new.runway.catalogue),
        ("web.listen", *listen != new.web.listen),
        ("web.token_file", *token_file != new.web.token_file),
        ("web.hosts", *hosts != new.web.hosts),
    ] {
        if differs {
            reload.needs_restart.push(key);
        }
    }
    for (key, differs) in [
        (
            "runway.api_key_file",
            *api_key_file != new.runway.api_key_file,
        ),
        (
            "runway.poll_interval",
            *poll_interval != new.runway.poll_interval,
        ),
        (
            "runway.max_in_flight",
            *max_in_flight != new.runway.max_in_flight,
        ),
        ("runway.on_doubt", *on_doubt != new.runway.on_doubt),
        (
            "runway.allow_unknown_models",
            *allow_unknown_models != new.runway.allow_unknown_models,
        ),
        ("notify", *notify != new.notify),
        ("limits", *spending != new.limits.spending),
        (
            "limits.max_input_size",
            *max_input_size != new.limits.max_input_size,
        ),
    ] {
        if differs {
            reload.applied.push(key);
        }
    }
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
    reload
}
