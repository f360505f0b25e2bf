//! What no event of a job tells of: folders that cannot be used, and a balance that runs low.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::engine::Engine;
use crate::status::notice::Kind;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(5);

/// Looks until the engine stops. `inboxes` answers with the names of all inboxes, and `low` with the balance that counts as low.
/// Each change is told once; a restart tells again what is still so.
pub async fn watch(
    engine: std::sync::Arc<Engine>,
    inboxes: impl Fn() -> Vec<String>,
    low: impl Fn() -> Option<f64>,
) {
    let mut frozen: HashSet<String> = HashSet::new();
    let mut was_low = false;
    while engine.pause(EVERY).await {
        for inbox in inboxes() {
            match engine.why_frozen(&inbox) {
                None => {
                    frozen.remove(&inbox);
                }
                Some(why) => {
                    if !frozen.contains(&inbox) {
                        let data = json!({ "inbox": inbox, "reason": why });
                        if tell(&engine, Kind::Frozen, &data).await {
                            frozen.insert(inbox);
                        }
                    }
                }
            }
        }
        let balance = engine
            .organization_at()
            .map(|(_, organization)| organization.credit_balance);
        if let (Some(balance), Some(low)) = (balance, low()) {
            let is_low = balance < low;
            let data = json!({ "balance": balance, "low_balance": low });
            if is_low && !was_low && tell(&engine, Kind::LowBalance, &data).await {
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

/// Writes down that people are to be told. Answers whether that could be done; if not, it is tried again at the next look.
async fn tell(engine: &Engine, kind: Kind, data: &serde_json::Value) -> bool {
    let notices = engine.ledger.rules().of(kind, Timestamp::now(), data);
    if notices.is_empty() {
        return true;
    }
    let written = engine.ledger.journal().add_notices(&notices).await;
    if let Err(error) = &written {
        tracing::debug!(%error, "{} cannot be told of yet", kind.word());
    }
    engine.ledger.told_something();
    written.is_ok()
}
