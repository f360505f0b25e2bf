//! Runway's side of the engine: the client and its account, what the API says about the organization, and the gates that
//! stop submissions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::Notify;

use super::settings::CurrentSettings;
use crate::config::MaxInFlight;
use crate::job::{Job, Task};
use crate::metrics::Metrics;
use crate::policy::gate::{Closed, Gates};
use crate::policy::retry::Trouble;
use crate::runway::{CallError, Client, Organization};

/// Tasks at once for a model without a limit at Runway.
const UNLIMITED: usize = 100;
/// Tasks at once for a model until Runway has said how many; the least that any tier allows.
const UNKNOWN_LIMIT: usize = 1;
/// How long the gate stays closed without a key: until a reload brings one.
const UNTIL_RELOAD: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) struct Account {
    settings: Arc<CurrentSettings>,
    /// The client, and a name for its API account that does not contain the key.
    client: RwLock<Option<(Client, String)>>,
    gates: Mutex<Gates>,
    /// What the API last said about the organization, and when it was asked.
    organization: RwLock<Option<(Timestamp, Organization)>>,
    /// Wakes the dispatcher.
    wake: Arc<Notify>,
}

impl Account {
    pub(crate) fn new(settings: Arc<CurrentSettings>, wake: Arc<Notify>) -> Account {
        Account {
            settings,
            client: RwLock::default(),
            gates: Mutex::default(),
            organization: RwLock::default(),
            wake,
        }
    }

    /// Runway's client, where there is a usable key.
    pub(crate) fn client(&self) -> Option<Client> {
        self.client_and_name().map(|(client, _)| client)
    }

    pub(crate) fn client_and_name(&self) -> Option<(Client, String)> {
        self.client.read().clone()
    }

    /// The name of the present key's account; empty without a key.
    pub(crate) fn name(&self) -> String {
        let client = self.client_and_name();
        client.map(|(_, name)| name).unwrap_or_default()
    }

    /// Whether a task was started with the key of another account.
    pub(crate) fn is_foreign(&self, task: &Task) -> bool {
        let of_task = task.account.as_ref();
        of_task.is_some_and(|account| *account != self.name())
    }

    /// Uses another client, or none, and why.
    pub(crate) fn set_client(&self, client: Result<(Client, String), String>) {
        let client = match client {
            Ok(client) => {
                self.gates().open_all();
                Some(client)
            }
            Err(why) => {
                let closed = Closed::Key(why);
                self.gates()
                    .close_all(closed, Instant::now(), |_| UNTIL_RELOAD);
                None
            }
        };
        *self.client.write() = client;
        self.wake.notify_one();
    }

    pub(crate) fn gates(&self) -> MutexGuard<'_, Gates> {
        self.gates.lock()
    }

    /// Stops all submissions for a while. Logged once.
    pub(crate) fn close_all(&self, trouble: Trouble, why: Closed, retry_after: Option<Duration>) {
        let words = why.as_str().to_owned();
        let pause = |times| self.settings.choose_pause(trouble, times, retry_after);
        if self.gates().close_all(why, Instant::now(), pause) {
            tracing::error!("submitting waits {words}. Nothing is lost");
        }
    }

    /// Stops all submissions until the key is fixed. Logged once.
    pub(crate) fn close_for_key(&self, message: &str) {
        let why = format!(
            "for a valid API key: Runway refused this one ({message}); put the right one where the configuration says, then reload"
        );
        self.close_all(Trouble::BadKey, Closed::Key(why), None);
    }

    /// Stops the submissions of one lane for a while. Logged once.
    pub(crate) fn close_lane(
        &self,
        lane: &str,
        trouble: Trouble,
        why: &str,
        retry_after: Option<Duration>,
    ) {
        let pause = |times| self.settings.choose_pause(trouble, times, retry_after);
        let closed = Closed::Quota(format!("for {lane}: {why}"));
        if self.gates().close_lane(lane, closed, Instant::now(), pause) {
            tracing::warn!(lane, "submitting for this model waits: {why}");
        }
    }

    /// What the API last said about the organization, and when it was asked.
    pub(crate) fn organization(&self) -> Option<(Timestamp, Organization)> {
        self.organization.read().clone()
    }

    /// Asks the API about the organization, and keeps the answer.
    pub(crate) async fn refresh_organization(&self, metrics: &Metrics) -> Option<Organization> {
        let client = self.client()?;
        let asked_at = Timestamp::now();
        match client.organization().await {
            Ok(organization) => {
                *self.organization.write() = Some((asked_at, organization.clone()));
                self.wake.notify_one();
                Some(organization)
            }
            Err(error) => {
                tracing::debug!(%error, "the organization's limits are unknown");
                metrics.count_call_failure("organization", &error);
                if let CallError::BadKey { message, .. } = &error {
                    self.close_for_key(message);
                }
                None
            }
        }
    }

    /// How many tasks may run at once in a lane.
    pub(crate) fn lane_limit(&self, lane: &str) -> usize {
        let organization = match self.settings.load().max_in_flight {
            MaxInFlight::Fixed(limit) => return usize::try_from(limit.get()).unwrap_or(usize::MAX),
            MaxInFlight::Auto => self.organization.read(),
        };
        let model = organization
            .as_ref()
            .and_then(|(_, said)| said.models.get(lane));
        match model.map(|limits| limits.max_concurrent) {
            None => UNKNOWN_LIMIT,
            Some(None) => UNLIMITED,
            Some(Some(limit)) => usize::try_from(limit).unwrap_or(UNLIMITED),
        }
    }
}

/// The lane of a job: what counts against one limit at Runway, which is the model, or the endpoint where there is none.
pub(crate) fn lane_of(job: &Job) -> String {
    job.plan.as_ref().map_or_else(String::new, |plan| {
        plan.model.clone().unwrap_or_else(|| plan.endpoint.clone())
    })
}
