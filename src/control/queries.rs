//! What is asked of many jobs at once: pages of them, how many stand where, what was spent. The status page lives on these.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::control::actions::{line, values};
use crate::daemon::Shared;
use crate::engine::Engine;
use crate::files::{RelPath, shown};
use crate::inbox::WaitingFile;
use crate::job::{Job, JobId, State, StateName};
use crate::journal::{Count, Filter, JournalError, Spent};
use crate::policy::budget::{DAY, MONTH, SpendLimits};
use crate::policy::gate::Closed;
use crate::status::{Card, Line, Shown};

/// A page has at most so many jobs.
const PAGE_MAX: u32 = 500;
/// The longest look back on what was spent, in days.
const DAYS_MAX: u32 = 366;

/// Something that may be on a page.
enum Candidate {
    /// It lies in the inbox with this name.
    Waiting(String, Option<String>, Arc<Vec<WaitingFile>>, usize),
    Job(Arc<Job>),
}

/// A page of jobs of all states, the latest change first, with the place where the next page begins as the last result.
pub(crate) async fn jobs(
    shared: &Shared,
    filter: &Filter,
    before: Option<&(Timestamp, JobId)>,
    limit: u32,
) -> Result<Vec<Value>, String> {
    let limit = limit.clamp(1, PAGE_MAX);
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let text = filter.text.as_deref().map(str::to_lowercase);
    let wants = |state: StateName| filter.states.is_empty() || filter.states.contains(&state);
    let comes_after = |at: Timestamp, id: &JobId| {
        before.is_none_or(|(time, last)| at < *time || (at == *time && id > last))
    };
    let mut open: Vec<(Timestamp, JobId, Candidate)> = Vec::new();
    if wants(StateName::Waiting) {
        waiting(shared, filter, text.as_deref(), &mut open);
    }
    for job in shared.engine.ledger.jobs() {
        let is_of = filter
            .inbox
            .as_ref()
            .is_none_or(|inbox| *inbox == job.inbox);
        // What stands in the queue may be told as waiting; its line says which.
        let may_be = wants(job.state_name()) || (is_queued(&job) && wants(StateName::Waiting));
        if is_of && may_be && text.as_deref().is_none_or(|text| holds(shared, &job, text)) {
            open.push((
                as_paged(job.updated_at),
                job.id.clone(),
                Candidate::Job(job),
            ));
        }
    }
    open.retain(|(at, id, _)| comes_after(*at, id));
    open.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));

    let mut ended: Vec<Job> = Vec::new();
    if StateName::ENDED.into_iter().any(wants) {
        let journal = shared.engine.ledger.journal();
        let mut from = before.cloned();
        while ended.len() < size {
            let found = journal
                .ended_jobs(filter, from.as_ref(), limit)
                .await
                .map_err(|error| error.to_string())?;
            let is_last = found.len() < size;
            from = found
                .last()
                .map(|job| (as_paged(job.updated_at), job.id.clone()));
            let fits = |job: &Job| text.as_deref().is_none_or(|text| holds(shared, job, text));
            ended.extend(found.into_iter().filter(fits));
            if is_last {
                break;
            }
        }
        ended.truncate(size);
    }
    // One that ended while these were read is told once, as ended.
    let over: HashSet<&JobId> = ended.iter().map(|job| &job.id).collect();
    open.retain(|(_, id, _)| !over.contains(id));
    drop(over);

    let mut cards: Vec<Card> = Vec::new();
    let mut last = None;
    let (mut open, mut ended) = (open.into_iter().peekable(), ended.into_iter().peekable());
    while cards.len() < size {
        let from_open = match (open.peek(), ended.peek()) {
            (None, None) => break,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((at, id, _)), Some(job)) => {
                let ended = as_paged(job.updated_at);
                (*at, std::cmp::Reverse(id)) >= (ended, std::cmp::Reverse(&job.id))
            }
        };
        let card = if from_open {
            let Some((at, id, candidate)) = open.next() else {
                break;
            };
            last = Some((at, id));
            match candidate {
                Candidate::Waiting(inbox, frozen, held, index) => held
                    .get(index)
                    .map(|held| Card::waiting(waiting_line(&inbox, frozen.as_deref(), held))),
                Candidate::Job(job) => Some(card(shared, &job)),
            }
        } else {
            let Some(job) = ended.next() else {
                break;
            };
            last = Some((as_paged(job.updated_at), job.id.clone()));
            Some(card(shared, &job))
        };
        cards.extend(card.filter(|card| card.line.state.parse().is_ok_and(wants)));
    }
    let more = open.peek().is_some() || ended.peek().is_some() || cards.len() == size;
    let mut values = values(&cards)?;
    let next = last.filter(|_| more);
    values.push(serde_json::to_value(next).map_err(|error| error.to_string())?);
    Ok(values)
}

/// A time as pages are ordered by it: in microseconds, as the journal keeps it and as the end of a page names it. Jobs that a
/// finer clock would tell apart would be on no page if the border ran between them.
fn as_paged(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

/// What still lies in the inboxes.
fn waiting(
    shared: &Shared,
    filter: &Filter,
    text: Option<&str>,
    found: &mut Vec<(Timestamp, JobId, Candidate)>,
) {
    for handle in shared.inboxes().iter() {
        if filter
            .inbox
            .as_ref()
            .is_some_and(|inbox| *inbox != handle.name)
        {
            continue;
        }
        let view = handle.view();
        for list in view.waiting.values() {
            for (index, held) in list.iter().enumerate() {
                let is_it = text.is_none_or(|text| {
                    held.waiting.input.text().to_lowercase().contains(text)
                        || held.id.as_str().starts_with(text)
                });
                if is_it {
                    let candidate = Candidate::Waiting(
                        handle.name.clone(),
                        view.frozen.clone(),
                        list.clone(),
                        index,
                    );
                    found.push((as_paged(held.since), held.id.clone(), candidate));
                }
            }
        }
    }
}

/// The line of what still lies in an inbox.
pub(crate) fn waiting_line(inbox: &str, frozen: Option<&str>, held: &WaitingFile) -> Line {
    let waiting = &held.waiting;
    let reason = match frozen {
        Some(frozen) => format!("{}; the inbox is frozen: {frozen}", waiting.reason),
        None => waiting.reason.to_string(),
    };
    Line::waiting(&held.id, inbox, &waiting.input, reason, held.since)
}

/// A job with what the page shows of it.
pub(crate) fn card(shared: &Shared, job: &Job) -> Card {
    let outputs: &[RelPath] = match &job.state {
        State::Done { outputs, .. } => outputs,
        _ => &[],
    };
    Card {
        line: line(shared, job),
        prompt: prompt(shared, job).map(str::to_owned),
        inputs: Shown::inputs(job),
        results: outputs
            .iter()
            .enumerate()
            .map(|(index, path)| Shown::of(index, path.name()))
            .collect(),
        shown: shown(job.input.as_path().as_os_str()),
    }
}

/// The prompt that was or will be sent, where the endpoint has one.
fn prompt<'a>(shared: &Shared, job: &'a Job) -> Option<&'a str> {
    let plan = job.plan.as_ref()?;
    let endpoint = shared.engine.catalogue.endpoint(&plan.endpoint)?;
    let field = endpoint.endpoint.prompt.as_deref()?;
    crate::json::get_field(&plan.body, field)?.as_str()
}

/// Whether a job is one that a person looks for. `text` is in lower case.
fn holds(shared: &Shared, job: &Job, text: &str) -> bool {
    let has = |value: &str| value.to_lowercase().contains(text);
    job.id.as_str().starts_with(text)
        || has(&job.input.text())
        || job.model().is_some_and(has)
        || job.plan.as_ref().is_some_and(|plan| has(&plan.endpoint))
        || prompt(shared, job).is_some_and(has)
}

fn is_queued(job: &Job) -> bool {
    matches!(job.state, State::Queued { hold: None })
}

/// The contract's words for the states of open jobs: what is queued and cannot go on now is told as waiting. What stands in the
/// way is asked once for each inbox and model, since thousands of jobs may stand behind it.
pub(crate) struct StateWords<'a> {
    engine: &'a Engine,
    closed: HashMap<(String, String), bool>,
}

impl StateWords<'_> {
    pub(crate) fn new(engine: &Engine) -> StateWords<'_> {
        StateWords {
            engine,
            closed: HashMap::new(),
        }
    }

    pub(crate) fn of(&mut self, job: &Job) -> StateName {
        if !is_queued(job) {
            return job.state_name();
        }
        let engine = self.engine;
        let lane = crate::engine::lane_of(job);
        let stands = *self
            .closed
            .entry((job.inbox.clone(), lane.clone()))
            .or_insert_with(|| {
                engine.inboxes.is_frozen(&job.inbox)
                    || engine
                        .account
                        .gates()
                        .closed(&lane, Instant::now())
                        .is_some()
            });
        if stands {
            StateName::Waiting
        } else {
            job.state_name()
        }
    }
}

/// How many jobs are in which state, by inbox.
pub(crate) type Standing = BTreeMap<String, BTreeMap<String, u64>>;

/// How many jobs stand where: those in the inboxes and in motion as they are now, the ended ones as they were a moment ago.
///
/// # Errors
/// The journal cannot be read.
pub(crate) async fn standing(shared: &Shared) -> Result<Standing, JournalError> {
    let mut standing = Standing::new();
    let mut add = |inbox: &str, state: StateName, jobs: u64| {
        let states = standing.entry(inbox.to_owned()).or_default();
        let sum = states.entry(state.to_string()).or_default();
        *sum = sum.saturating_add(jobs);
    };
    for handle in shared.inboxes().iter() {
        let waiting: usize = handle.view().waiting.values().map(|held| held.len()).sum();
        add(
            &handle.name,
            StateName::Waiting,
            u64::try_from(waiting).unwrap_or(u64::MAX),
        );
    }
    let mut words = StateWords::new(&shared.engine);
    for job in shared.engine.ledger.jobs() {
        add(&job.inbox, words.of(&job), 1);
    }
    for count in ended(shared).await?.iter() {
        add(&count.inbox, count.state, count.jobs);
    }
    Ok(standing)
}

/// How many jobs have ended.
async fn ended(shared: &Shared) -> Result<Arc<Vec<Count>>, JournalError> {
    let journal = shared.engine.ledger.journal();
    let version = *shared.engine.ledger.changes().borrow();
    let counted = shared.counted.get(version, || journal.ended_counts());
    counted.await
}

/// What was spent over the two times that limits are for, by day, inbox and model.
pub(crate) struct Spending {
    day: Vec<Spent>,
    month: Vec<Spent>,
}

async fn spending(shared: &Shared) -> Result<Arc<Spending>, JournalError> {
    let journal = shared.engine.ledger.journal();
    let version = *shared.engine.ledger.changes().borrow();
    let now = Timestamp::now();
    let spent = shared.spending.get(version, async || {
        Ok(Spending {
            day: journal.spent_since(now - DAY).await?,
            month: journal.spent_since(now - MONTH).await?,
        })
    });
    spent.await
}

/// What was spent of the limits in one inbox, or in all.
fn spent_of(spending: &Spending, inbox: Option<&str>, limits: &SpendLimits) -> Value {
    let sum = |rows: &[Spent]| {
        let of = || {
            rows.iter()
                .filter(|row| inbox.is_none_or(|name| row.inbox == name))
        };
        // The sum of no figures at all would be -0.
        let credits = |of_row: &dyn Fn(&Spent) -> f64| of().fold(0.0, |sum, row| sum + of_row(row));
        json!({
            "charged": credits(&|row| row.charged),
            "estimated": credits(&|row| row.estimated),
            "tasks": of().map(|row| row.tasks).sum::<u64>(),
            "unknown": of().map(|row| row.unknown).sum::<u64>(),
        })
    };
    json!({
        "spent_24h": sum(&spending.day),
        "spent_30d": sum(&spending.month),
        "credits_per_day": limits.per_day,
        "credits_per_month": limits.per_month,
    })
}

/// What is going on, in one object.
pub(crate) async fn summary(shared: &Shared) -> Result<Value, String> {
    let standing = standing(shared).await.map_err(|error| error.to_string())?;
    let mut jobs: BTreeMap<&str, u64> = BTreeMap::new();
    for (state, count) in standing.values().flatten() {
        let sum = jobs.entry(state).or_default();
        *sum = sum.saturating_add(*count);
    }
    let engine = &shared.engine;
    let (stopped, held) = {
        let gates = engine.account.gates();
        let now = Instant::now();
        let word = |closed: &Closed| match closed {
            Closed::Key(_) => "key",
            Closed::Credits(_) => "credits",
            Closed::Trouble(_) => "trouble",
            Closed::Quota(_) => "quota",
        };
        let held: Vec<Value> = gates
            .closed_lanes(now)
            .map(|(lane, closed)| {
                json!({"model": lane, "kind": word(closed), "why": closed.as_str()})
            })
            .collect();
        let stopped = gates
            .stopped(now)
            .map(|closed| json!({"kind": word(closed), "why": closed.as_str()}));
        (stopped, held)
    };
    let organization = engine.account.organization().map(|(at, organization)| {
        let models: BTreeMap<&String, Value> = organization
            .models
            .iter()
            .map(|(model, limits)| {
                let limits = json!({
                    "max_concurrent": limits.max_concurrent,
                    "max_daily": limits.max_daily,
                    "used_today": limits.used_today,
                });
                (model, limits)
            })
            .collect();
        json!({
            "asked_at": at.to_string(),
            "credits": organization.credit_balance,
            "max_monthly_credits": organization.max_monthly_credit_spend,
            "models": models,
        })
    });
    let spending = spending(shared).await.map_err(|error| error.to_string())?;
    let settings = engine.settings.load();
    let by_inbox: BTreeMap<&String, Value> = settings
        .inboxes
        .iter()
        .map(|(name, known)| (name, spent_of(&spending, Some(name), &known.inbox.limits)))
        .collect();
    let mut summary = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "jobs": jobs,
        "inboxes": standing,
        "stopped": stopped,
        "models_held": held,
        "organization": organization,
        "spending": by_inbox,
    });
    let overall = spent_of(&spending, None, &settings.limits);
    if let (Value::Object(summary), Value::Object(overall)) = (&mut summary, overall) {
        summary.extend(overall);
    }
    Ok(summary)
}

/// When the first of the last `days` began, today being one of them. Days are those of UTC, as the journal counts them.
pub fn first_day(days: u32) -> Timestamp {
    let back = i64::from(days.clamp(1, DAYS_MAX)).saturating_sub(1);
    let now = Timestamp::now().as_second();
    let first = now
        .div_euclid(86_400)
        .saturating_sub(back)
        .saturating_mul(86_400);
    Timestamp::from_second(first).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What was spent in the last days, today being one of them, by day, inbox and model.
pub(crate) async fn spend(shared: &Shared, days: u32) -> Result<Vec<Value>, String> {
    let since = first_day(days);
    let spent = shared.engine.ledger.journal().spent_since(since).await;
    values(&spent.map_err(|error| error.to_string())?)
}
