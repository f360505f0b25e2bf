//! Keeps what Runway says about the organization fresh: its limits, its balance, and its counters as evidence for doubts.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Engine, evidence};

/// How often the organization is asked about while there is work, and while there is none.
const REFRESH: Duration = Duration::from_secs(60);
const REFRESH_IDLE: Duration = Duration::from_secs(300);

/// Runs until the engine stops.
pub(crate) async fn watch(engine: Arc<Engine>) {
    loop {
        let asked_at = Timestamp::now();
        let interval = engine.settings.load().poll_interval;
        let metrics = engine.ledger.metrics();
        let known = engine.account.refresh_organization(metrics).await;
        if let Some(organization) = &known {
            evidence::count_doubts(&engine, organization, asked_at, interval).await;
        }
        let pause = if known.is_none() {
            interval.saturating_mul(6).min(REFRESH_IDLE)
        } else if evidence::is_wanted(&engine) {
            interval
        } else if engine.ledger.jobs().is_empty() {
            REFRESH_IDLE
        } else {
            REFRESH
        };
        tokio::select! {
            going_on = engine.pause(pause) => if !going_on { return },
            () = engine.doubted.notified() => if !engine.pause(interval).await { return },
        }
    }
}
