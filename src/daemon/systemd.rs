//! Notifies systemd: ready, reloading, stopping, status, alive. Without systemd, all of this does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Notifies the service manager.
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

    /// Whether a service manager listens.
    pub fn has_listener() -> bool {
        std::env::var_os("NOTIFY_SOCKET").is_some()
    }

    /// Reports that every inbox has been scanned, or that a reload has finished.
    pub fn ready(&self) {
        Self::send(&[NotifyState::Ready]);
    }

    /// Reports that the configuration is being read again.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => Self::send(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "the clock cannot be read"),
        }
    }

    /// Reports that the daemon is stopping.
    pub fn stopping(&self) {
        Self::send(&[NotifyState::Stopping]);
    }

    /// Reports a status of one line, if it has changed.
    pub fn status(&mut self, status: String) {
        if status != self.last_status {
            Self::send(&[NotifyState::Status(&status)]);
            self.last_status = status;
        }
    }

    /// Reports that the daemon is alive.
    pub fn alive(&self) {
        Self::send(&[NotifyState::Watchdog]);
    }

    /// How often [`Notifier::alive`] is due: half of what the service manager allows.
    pub fn watchdog_interval() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 2)
    }
}
