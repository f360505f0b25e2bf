//! Notices that come from no event of a job: folders that cannot be used, and a low balance.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::engine::Engine;
use crate::status::notice::Kind;

/// How often folders and balance are checked.
const EVERY: Duration = Duration::from_secs(5);

/// Checks until the engine stops. `inboxes` answers with the names of all inboxes, and `low` with the balance that counts as low.
/// Each change gives one notice. After a restart, what is still wrong gives another.
pub(crate) async fn watch(
    engine: Arc<Engine>,
    inboxes: impl Fn() -> Vec<String>,
    low: impl Fn() -> Option<f64>,
) {
    let mut frozen: HashSet<String> = HashSet::new();
    let mut was_low = false;
    while engine.pause(EVERY).await {
        for inbox in inboxes() {
            let Some(why) = engine.inboxes.why_frozen(&inbox) else {
                frozen.remove(&inbox);
                continue;
            };
            let data = json!({ "inbox": inbox, "reason": why });
            if !frozen.contains(&inbox) && add_notices(&engine, Kind::Frozen, &data).await {
                frozen.insert(inbox);
            }
        }
        let balance = engine
            .account
            .organization()
            .map(|(_, organization)| organization.credit_balance);
        if let (Some(balance), Some(low)) = (balance, low()) {
            let is_low = balance < low;
            let data = json!({ "balance": balance, "low_balance": low });
            if is_low && !was_low && add_notices(&engine, Kind::LowBalance, &data).await {
                tracing::warn!(
                    balance,
                    "the balance is below {low} credits: buy more before the queue has to wait"
                );
                was_low = true;
            }
            was_low &= is_low;
        }
    }
}

/// Journals the notices of a change. Answers whether that worked; if not, the next check tries again.
async fn add_notices(engine: &Engine, kind: Kind, data: &serde_json::Value) -> bool {
    let notices = engine.ledger.rules().of(kind, Timestamp::now(), data);
    if notices.is_empty() {
        return true;
    }
    let written = engine.ledger.journal().add_notices(&notices).await;
    if let Err(error) = &written {
        tracing::debug!(%error, "the notice {} cannot be written yet", kind.word());
    }
    engine.ledger.notify_waiters();
    written.is_ok()
}
