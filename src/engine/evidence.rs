//! Runway's own counters as evidence for a doubt: how many generations of the model it counted before the request went out,
//! and how many afterwards. Other programs with the same key count too, so this is evidence and not proof.

use std::time::Duration;

use jiff::Timestamp;

use super::Engine;
use crate::job::{Event, Job, State};
use crate::runway::Organization;

/// Computes what Runway's counter of the job's model should say by now: what it last said, and what was accepted since.
pub(super) async fn count_used_before(engine: &Engine, job: &Job) -> Option<u32> {
    let model = job.model()?;
    let (at, organization) = engine.account.organization()?;
    let used = organization.models.get(model)?.used_today?;
    Some(used.saturating_add(count_started(engine, model, at).await?))
}

/// Adds what the counters say now to every doubt that is old enough: `asked_at` is when they were asked for, and a request
/// that arrived counts within `delay`.
pub(super) async fn count_doubts(
    engine: &Engine,
    organization: &Organization,
    asked_at: Timestamp,
    delay: Duration,
) {
    for job in engine.ledger.jobs() {
        let (State::InDoubt { doubt }, Some(model)) = (&job.state, job.model()) else {
            continue;
        };
        let used = organization.models.get(model).and_then(|m| m.used_today);
        let age = asked_at.duration_since(job.updated_at);
        let is_due = Duration::try_from(age).is_ok_and(|age| age >= delay);
        let (Some(used), None, true) = (used, doubt.used_after, is_due) else {
            continue;
        };
        // What other jobs started meanwhile is known, and is not this job's.
        let Some(others) = count_started(engine, model, doubt.intent_at).await else {
            continue;
        };
        let event = Event::Counted {
            intent_at: doubt.intent_at,
            used_after: used.saturating_sub(others),
        };
        engine.record(&job.id, event).await;
    }
}

/// Whether a doubt waits for a count that Runway can give.
pub(super) fn is_wanted(engine: &Engine) -> bool {
    engine.ledger.jobs().iter().any(|job| {
        let is_counted = |model: &str| {
            engine
                .account
                .organization()
                .is_none_or(|(_, organization)| {
                    let limits = organization.models.get(model);
                    limits.is_some_and(|limits| limits.used_today.is_some())
                })
        };
        matches!(&job.state, State::InDoubt { doubt } if doubt.used_after.is_none())
            && job.model().is_some_and(is_counted)
    })
}

async fn count_started(engine: &Engine, model: &str, since: Timestamp) -> Option<u32> {
    match engine.ledger.journal().tasks_started(model, since).await {
        Ok(started) => Some(started),
        Err(error) => {
            tracing::debug!(%error, "how many tasks were started is unknown");
            None
        }
    }
}
