//! What is asked of jobs: all of them, pages of them, one in full, and what was spent.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::Hub;
use super::find::{Found, find};
use super::lines::{card, inbox_line, is_queued, prompt, waiting_line};
use super::refusal::Refusal;
use super::source::Source;
use crate::inbox::WaitingFile;
use crate::job::{Job, JobId, StateName};
use crate::journal::{Filter, JournalError, Spent};
use crate::status::{Card, Details, InboxLine, Line, details};

/// The most jobs of a page.
const PAGE_MAX: u32 = 500;
/// The longest look back on what was spent, in days.
const DAYS_MAX: u32 = 366;

/// Where a page of jobs ends: the last job's time and name.
pub type Cursor = (Timestamp, JobId);

/// A page of jobs.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) jobs: Vec<T>,
    /// Where the next page begins, if there may be one.
    pub(crate) next: Option<Cursor>,
}

/// All jobs in inboxes and in progress, and `ended` of the others.
pub(crate) async fn status(source: &Source<'_>, ended: u32) -> Result<Vec<Line>, Refusal> {
    // A job moves on while its sources are read, from the inbox to the ledger to the journal. They are read in that order, so
    // that none is missed, and of several lines of a job the last one counts.
    let mut lines = source.waiting_lines();
    let open = source.open_jobs().await?;
    lines.extend(open.iter().map(|job| source.line(job)));
    let ended = source.ended_jobs(None, ended).await?;
    lines.extend(ended.iter().map(|job| source.line(job)));
    let latest: HashMap<String, usize> = lines
        .iter()
        .enumerate()
        .map(|(index, line)| (line.id.clone(), index))
        .collect();
    let lines = lines.into_iter().enumerate();
    let lines = lines.filter(|(index, line)| latest.get(&line.id) == Some(index));
    Ok(lines.map(|(_, line)| line).collect())
}

pub(crate) fn inboxes(hub: &Hub) -> Vec<InboxLine> {
    hub.inboxes().iter().map(inbox_line).collect()
}

/// A page of jobs that have ended, the latest first.
pub(super) async fn ended(
    source: &Source<'_>,
    before: Option<&Cursor>,
    limit: u32,
) -> Result<Page<Line>, Refusal> {
    let jobs = source.ended_jobs(before, limit).await?;
    Ok(Page {
        jobs: jobs.iter().map(|job| source.line(job)).collect(),
        next: jobs.last().map(|job| (job.updated_at, job.id.clone())),
    })
}

/// One job with all that is known of it.
pub(super) async fn job(
    source: &Source<'_>,
    text: &str,
) -> Result<(Box<Line>, Option<Box<Details>>), Refusal> {
    match find(source, text).await? {
        // What is still in an inbox has no details.
        Found::Waiting(line) => Ok((line, None)),
        Found::Job(job) => {
            let history = source.history(&job.id).await?;
            let details = Box::new(details(&job, &history));
            Ok((Box::new(source.line(&job)), Some(details)))
        }
    }
}

/// What was spent in the last days, today being one of them, by day (UTC, as the journal counts them), inbox and model.
pub(crate) async fn spent(source: &Source<'_>, days: u32) -> Result<Vec<Spent>, Refusal> {
    let back = i64::from(days.clamp(1, DAYS_MAX)).saturating_sub(1);
    let today = Timestamp::now().as_second().div_euclid(86_400);
    let first = today.saturating_sub(back).saturating_mul(86_400);
    let since = Timestamp::from_second(first).unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(source.spent_since(since).await?)
}

/// A page of jobs of all states, the latest change first.
pub(crate) async fn jobs(
    hub: &Hub,
    filter: &Filter,
    before: Option<&Cursor>,
    limit: u32,
) -> Result<Page<Card>, Refusal> {
    let limit = limit.clamp(1, PAGE_MAX);
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let wanted = Wanted {
        hub,
        filter,
        text: filter.text.as_deref().map(str::to_lowercase),
        before,
    };
    let mut found = wanted.in_inboxes();
    found.extend(wanted.open_jobs());
    let ended = wanted.ended_jobs(limit, size).await?;
    // One that ended while these were read is listed once, as ended.
    let over: HashSet<&JobId> = ended.iter().map(|entry| &entry.id).collect();
    found.retain(|entry| !over.contains(&entry.id));
    found.extend(ended);
    found.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.id.cmp(&b.id)));

    let (mut cards, mut last) = (Vec::new(), None);
    for entry in found {
        let card = entry.what.card(hub);
        cards.extend(card.filter(|card| wanted.has_state(card.line.state)));
        last = Some((entry.at, entry.id));
        if cards.len() == size {
            break;
        }
    }
    let is_full = cards.len() == size;
    Ok(Page {
        jobs: cards,
        next: last.filter(|_| is_full),
    })
}

/// Something that may be on a page, with its place there.
struct Entry {
    at: Timestamp,
    id: JobId,
    what: Candidate,
}

enum Candidate {
    /// One of those held in an inbox, with the inbox's name and why it is frozen. Its card is made once it is needed: there may
    /// be thousands.
    Waiting(Arc<Vec<WaitingFile>>, usize, String, Option<String>),
    Job(Arc<Job>),
}

impl Candidate {
    fn card(&self, hub: &Hub) -> Option<Card> {
        match self {
            Candidate::Waiting(held, index, inbox, frozen) => {
                let held = held.get(*index)?;
                Some(Card::waiting(waiting_line(inbox, frozen.as_deref(), held)))
            }
            Candidate::Job(job) => Some(card(hub, job)),
        }
    }
}

/// Which jobs a page is of.
struct Wanted<'a> {
    hub: &'a Hub,
    filter: &'a Filter,
    /// In lower case.
    text: Option<String>,
    before: Option<&'a Cursor>,
}

impl Wanted<'_> {
    fn has_state(&self, state: StateName) -> bool {
        self.filter.states.is_empty() || self.filter.states.contains(&state)
    }

    fn has_inbox(&self, inbox: &str) -> bool {
        let wanted = self.filter.inbox.as_ref();
        wanted.is_none_or(|wanted| wanted == inbox)
    }

    fn is_on_later_pages(&self, at: Timestamp, id: &JobId) -> bool {
        let before = self.before;
        before.is_none_or(|(time, last)| at < *time || (at == *time && id > last))
    }

    fn has_text(&self, job: &Job) -> bool {
        let Some(text) = self.text.as_deref() else {
            return true;
        };
        let has = |value: &str| value.to_lowercase().contains(text);
        job.id.as_str().starts_with(text)
            || has(&job.input.text())
            || job.model().is_some_and(has)
            || job.plan.as_ref().is_some_and(|plan| has(&plan.endpoint))
            || prompt(self.hub, job).is_some_and(has)
    }

    fn in_inboxes(&self) -> Vec<Entry> {
        let mut found = Vec::new();
        if !self.has_state(StateName::Waiting) {
            return found;
        }
        for handle in self.hub.inboxes().iter() {
            if !self.has_inbox(&handle.name) {
                continue;
            }
            let view = handle.view();
            for list in view.waiting.values() {
                for (index, held) in list.iter().enumerate() {
                    let at = as_paged(held.since);
                    let has_text = self.text.as_deref().is_none_or(|text| {
                        held.waiting.input.text().to_lowercase().contains(text)
                            || held.id.as_str().starts_with(text)
                    });
                    if has_text && self.is_on_later_pages(at, &held.id) {
                        let (name, frozen) = (handle.name.clone(), view.frozen.clone());
                        found.push(Entry {
                            at,
                            id: held.id.clone(),
                            what: Candidate::Waiting(list.clone(), index, name, frozen),
                        });
                    }
                }
            }
        }
        found
    }

    fn open_jobs(&self) -> Vec<Entry> {
        let jobs = self.hub.engine.ledger.jobs().into_iter().map(Entry::of);
        jobs.filter(|entry| {
            let Candidate::Job(job) = &entry.what else {
                return false;
            };
            // A queued job may turn out to be waiting; its line says which.
            let may_be = self.has_state(job.state_name())
                || (is_queued(job) && self.has_state(StateName::Waiting));
            may_be
                && self.has_inbox(&job.inbox)
                && self.is_on_later_pages(entry.at, &entry.id)
                && self.has_text(job)
        })
        .collect()
    }

    /// At most `size` ended jobs, read `limit` at a time.
    async fn ended_jobs(&self, limit: u32, size: usize) -> Result<Vec<Entry>, JournalError> {
        let mut ended: Vec<Entry> = Vec::new();
        if !StateName::ENDED
            .into_iter()
            .any(|state| self.has_state(state))
        {
            return Ok(ended);
        }
        let journal = self.hub.engine.ledger.journal();
        let mut from = self.before.cloned();
        while ended.len() < size {
            let found = journal
                .ended_jobs(self.filter, from.as_ref(), limit)
                .await?;
            let is_last = found.len() < size;
            from = found
                .last()
                .map(|job| (as_paged(job.updated_at), job.id.clone()));
            let fitting = found.into_iter().filter(|job| self.has_text(job));
            ended.extend(fitting.map(|job| Entry::of(Arc::new(job))));
            if is_last {
                break;
            }
        }
        ended.truncate(size);
        Ok(ended)
    }
}

impl Entry {
    fn of(job: Arc<Job>) -> Entry {
        Entry {
            at: as_paged(job.updated_at),
            id: job.id.clone(),
            what: Candidate::Job(job),
        }
    }
}

/// A time as pages are ordered by it: in microseconds, as the journal keeps it and as a cursor has it. Jobs that a finer clock
/// tells apart would be on no page if a page ended between them.
fn as_paged(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}
