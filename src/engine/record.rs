//! Making events durable, however long the journal cannot be written.

use std::sync::Arc;
use std::time::Duration;

use super::{Engine, doubt_note};
use crate::job::{Event, Job, JobId};
use crate::ledger::LedgerError;
use crate::policy::retry::Trouble;

/// How long the stop waits for the note about a task that the journal cannot hold.
const NOTED_WITHIN: Duration = Duration::from_secs(2);
/// The time between two attempts to write down an accepted task while the daemon stops.
const LAST_TRIES: Duration = Duration::from_millis(250);

impl Engine {
    /// Makes an event durable, however long the journal cannot be written: what has happened must not be forgotten.
    /// `None` if the daemon stops meanwhile, or if the event cannot happen any more. A task that Runway accepted is tried
    /// until the daemon's last moment, and is also written next to the input, since nothing else knows about it.
    pub(crate) async fn record(&self, id: &JobId, event: Event) -> Option<Arc<Job>> {
        let mut noted = false;
        let mut attempt = 0_u32;
        loop {
            match self.ledger.apply(id, event.clone()).await {
                Ok(job) => {
                    if attempt > 0 {
                        self.in_flight.clear_trouble(id);
                    }
                    return Some(job);
                }
                Err(LedgerError::Journal(error)) => {
                    attempt = attempt.saturating_add(1);
                    if attempt == 1 {
                        if let Event::Accepted { task, .. } = &event {
                            tracing::error!(job = %id, task, "Runway accepted this task, and the journal cannot hold it yet");
                        }
                        tracing::error!(job = %id, event = event.as_str(), %error, "trying again until it can be written");
                    }
                    self.in_flight.note_trouble(id, error.to_string());
                    let pause = self.settings.choose_pause(Trouble::Journal, attempt, None);
                    if self.pause(pause).await {
                        continue;
                    }
                    let Event::Accepted { task, .. } = &event else {
                        return None;
                    };
                    if !noted {
                        noted = true;
                        self.note_task(id, task).await;
                    }
                    tokio::time::sleep(LAST_TRIES).await;
                }
                Err(
                    error @ (LedgerError::Illegal(_)
                    | LedgerError::Unknown(_)
                    | LedgerError::Claimed { .. }),
                ) => {
                    if let Event::Accepted { task, .. } = &event {
                        tracing::error!(job = %id, task, %error, "Runway accepted this task, and the job no longer waits for it");
                    }
                    tracing::debug!(job = %id, event = event.as_str(), %error, "came too late");
                    return None;
                }
                Err(LedgerError::Stopped) => {
                    if let Event::Accepted { task, .. } = &event {
                        self.note_task(id, task).await;
                    }
                    return None;
                }
            }
        }
    }

    /// Writes down, outside the journal, which task Runway accepted.
    async fn note_task(&self, id: &JobId, task: &str) {
        tracing::error!(job = %id, task, "stopping, and the journal cannot hold this task yet: `taxiway resolve {id} --adopt {task}` brings it back");
        // Its folder may hang, and the journal has to be tried until the last moment.
        let noting = doubt_note::write_task(self, id, task);
        if tokio::time::timeout(NOTED_WITHIN, noting).await.is_err() {
            tracing::error!(job = %id, task, "the folder for a note about it does not respond");
        }
    }
}
