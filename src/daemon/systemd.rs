//! Telling systemd how the service is: ready, stopping, status, alive. Without systemd all of this is nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Talks to the service manager.
#[derive(Debug, Default)]
pub struct Notifier {
    last_status: String,
}

impl Notifier {
    fn send(states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }

    /// Whether there is a service manager that wants to know.
    pub fn has_listener() -> bool {
        std::env::var_os("NOTIFY_SOCKET").is_some()
    }

    /// Every inbox is watched.
    pub fn ready(&self) {
        Self::send(&[NotifyState::Ready]);
    }

    /// The configuration is being read again.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => Self::send(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "the clock cannot be read"),
        }
    }

    /// The daemon stops.
    pub fn stopping(&self) {
        Self::send(&[NotifyState::Stopping]);
    }

    /// What is going on, in one line; sent when it changes.
    pub fn status(&mut self, status: String) {
        if status != self.last_status {
            Self::send(&[NotifyState::Status(&status)]);
            self.last_status = status;
        }
    }

    /// The daemon is alive.
    pub fn alive(&self) {
        Self::send(&[NotifyState::Watchdog]);
    }

    /// How often [`Notifier::alive`] is due: half of what the service manager allows.
    pub fn watchdog_interval() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 2)
    }
}
