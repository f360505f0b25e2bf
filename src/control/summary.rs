//! What is going on, in one object: how many jobs are in which state, what holds them up, what was spent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;

use super::Hub;
use super::hub::Spending;
use super::lines::StateNames;
use crate::engine::Engine;
use crate::job::StateName;
use crate::journal::{Count, JournalError, Spent};
use crate::policy::budget::{DAY, MONTH, SpendLimits};
use crate::policy::gate::Closed;
use crate::runway::ModelLimits;

/// How many jobs are in which state, by inbox.
pub(crate) type Counts = BTreeMap<String, BTreeMap<StateName, u64>>;

/// See `docs/API.md`.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    version: &'static str,
    jobs: BTreeMap<StateName, u64>,
    inboxes: Counts,
    stopped: Option<Stop>,
    models_held: Vec<HeldModel>,
    organization: Option<Account>,
    spending: BTreeMap<String, Budget>,
    #[serde(flatten)]
    overall: Budget,
}

/// What stops submitting.
#[derive(Debug, Serialize)]
struct Stop {
    kind: &'static str,
    why: String,
}

#[derive(Debug, Serialize)]
struct HeldModel {
    model: String,
    #[serde(flatten)]
    stop: Stop,
}

/// The organization as Runway last described it.
#[derive(Debug, Serialize)]
struct Account {
    asked_at: Timestamp,
    credits: f64,
    max_monthly_credits: Option<f64>,
    models: BTreeMap<String, ModelLimits>,
}

/// What was spent, and the limits.
#[derive(Debug, Serialize)]
struct Budget {
    spent_24h: Sum,
    spent_30d: Sum,
    credits_per_day: Option<f64>,
    credits_per_month: Option<f64>,
}

#[derive(Debug, Default, Serialize)]
struct Sum {
    charged: f64,
    estimated: f64,
    tasks: u64,
    unknown: u64,
}

/// Says what is going on.
pub(crate) async fn summarize(hub: &Hub) -> Result<Summary, JournalError> {
    let inboxes = count_jobs(hub).await?;
    let mut jobs: BTreeMap<StateName, u64> = BTreeMap::new();
    for (state, count) in inboxes.values().flatten() {
        let sum = jobs.entry(*state).or_default();
        *sum = sum.saturating_add(*count);
    }
    let spending = load_spending(hub).await?;
    let settings = hub.engine.settings.load();
    let (stopped, models_held) = list_stops(&hub.engine);
    let organization = hub.engine.account.organization();
    Ok(Summary {
        version: env!("CARGO_PKG_VERSION"),
        jobs,
        inboxes,
        stopped,
        models_held,
        organization: organization.map(|(asked_at, organization)| Account {
            asked_at,
            credits: organization.credit_balance,
            max_monthly_credits: organization.max_monthly_credit_spend,
            models: organization.models,
        }),
        spending: settings
            .inboxes
            .iter()
            .map(|(name, inbox)| {
                let budget = Budget::new(&spending, Some(name), &inbox.inbox.limits);
                (name.clone(), budget)
            })
            .collect(),
        overall: Budget::new(&spending, None, &settings.limits),
    })
}

fn list_stops(engine: &Engine) -> (Option<Stop>, Vec<HeldModel>) {
    let stop = |closed: &Closed| Stop {
        kind: kind_of_stop(closed),
        why: closed.as_str().to_owned(),
    };
    let gates = engine.account.gates();
    let now = Instant::now();
    let held = gates.closed_lanes(now).map(|(lane, closed)| HeldModel {
        model: lane.to_owned(),
        stop: stop(closed),
    });
    let held = held.collect();
    (gates.stopped(now).map(stop), held)
}

/// What stops submitting, as the API and the metrics call it.
pub(crate) fn kind_of_stop(closed: &Closed) -> &'static str {
    match closed {
        Closed::Key(_) => "key",
        Closed::Credits(_) => "credits",
        Closed::Trouble(_) => "trouble",
        Closed::Quota(_) => "quota",
    }
}

/// Counts jobs: those in the inboxes and in progress as they are now, the ended ones as they were a moment ago.
pub(crate) async fn count_jobs(hub: &Hub) -> Result<Counts, JournalError> {
    let mut counts = Counts::new();
    let mut add = |inbox: &str, state: StateName, jobs: u64| {
        let states = counts.entry(inbox.to_owned()).or_default();
        let sum = states.entry(state).or_default();
        *sum = sum.saturating_add(jobs);
    };
    for handle in hub.inboxes().iter() {
        let waiting = u64::try_from(handle.count_waiting()).unwrap_or(u64::MAX);
        add(&handle.name, StateName::Waiting, waiting);
    }
    let mut names = StateNames::new(&hub.engine);
    for job in hub.engine.ledger.jobs() {
        add(&job.inbox, names.name(&job), 1);
    }
    for count in count_ended(hub).await?.iter() {
        add(&count.inbox, count.state, count.jobs);
    }
    Ok(counts)
}

async fn count_ended(hub: &Hub) -> Result<Arc<Vec<Count>>, JournalError> {
    let ledger = &hub.engine.ledger;
    let version = *ledger.changes().borrow();
    let counted = hub.ended.get(version, || ledger.journal().ended_counts());
    counted.await
}

async fn load_spending(hub: &Hub) -> Result<Arc<Spending>, JournalError> {
    let journal = hub.engine.ledger.journal();
    let version = *hub.engine.ledger.changes().borrow();
    let now = Timestamp::now();
    let spent = hub.spending.get(version, async || {
        Ok(Spending {
            day: journal.spent_since(now - DAY).await?,
            month: journal.spent_since(now - MONTH).await?,
        })
    });
    spent.await
}

impl Budget {
    /// What was spent of the limits in one inbox, or in all.
    fn new(spending: &Spending, inbox: Option<&str>, limits: &SpendLimits) -> Budget {
        Budget {
            spent_24h: Sum::new(&spending.day, inbox),
            spent_30d: Sum::new(&spending.month, inbox),
            credits_per_day: limits.per_day,
            credits_per_month: limits.per_month,
        }
    }
}

impl Sum {
    fn new(rows: &[Spent], inbox: Option<&str>) -> Sum {
        let mut sum = Sum::default();
        for row in rows {
            if inbox.is_none_or(|name| row.inbox == name) {
                sum.charged += row.charged;
                sum.estimated += row.estimated;
                sum.tasks = sum.tasks.saturating_add(row.tasks);
                sum.unknown = sum.unknown.saturating_add(row.unknown);
            }
        }
        sum
    }
}
