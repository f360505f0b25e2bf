//! Which inboxes cannot be used at the moment. Nothing that is missing from such an inbox counts as deleted.

use std::sync::OnceLock;

/// Why nothing new is done for an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frozen {
    /// Its folder cannot be used at the moment, and why.
    Away(String),
    /// The configuration does not have it, so nothing watches its folder.
    NotConfigured,
}

/// Says why the named inbox is frozen, if it is.
pub(crate) type FrozenCheck = Box<dyn Fn(&str) -> Option<Frozen> + Send + Sync>;

/// Asks the inboxes' own threads, which the engine does not know, through a check that is set once at the start.
#[derive(Default)]
pub(crate) struct Inboxes {
    check: OnceLock<FrozenCheck>,
}

impl Inboxes {
    pub(crate) fn set_check(&self, check: FrozenCheck) {
        if self.check.set(check).is_err() {
            tracing::debug!("the check for frozen inboxes was set before");
        }
    }

    pub(crate) fn is_frozen(&self, inbox: &str) -> bool {
        self.check(inbox).is_some()
    }

    /// Why nothing new is done for an inbox, if so.
    pub(crate) fn why_frozen(&self, inbox: &str) -> Option<String> {
        self.check(inbox).map(|frozen| match frozen {
            Frozen::Away(why) => why,
            Frozen::NotConfigured => explain_unconfigured(inbox),
        })
    }

    /// Why an inbox's folder cannot be used, if so: its share is offline, or another filesystem is mounted there. For an inbox
    /// that is not configured nothing knows this.
    pub(crate) fn why_away(&self, inbox: &str) -> Option<String> {
        match self.check(inbox)? {
            Frozen::Away(why) => Some(why),
            Frozen::NotConfigured => None,
        }
    }

    fn check(&self, inbox: &str) -> Option<Frozen> {
        self.check.get().and_then(|check| check(inbox))
    }
}

/// Says why the jobs of an inbox wait that the configuration does not have.
pub(crate) fn explain_unconfigured(name: &str) -> String {
    format!(
        "the configuration no longer has inbox '{name}': put it back so that its jobs can continue"
    )
}
