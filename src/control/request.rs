//! What can be asked, and what is answered: the same for the control socket, the page and the command line.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::actions::{self, Resolution};
use super::queries::{self, Cursor, Page};
use super::refusal::Refusal;
use super::source::Source;
use super::summary::{Summary, summarize};
use crate::journal::{Filter, Spent};
use crate::status::{Card, Details, InboxLine, Line};

/// One request, as it goes over the control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// All jobs: those in the inbox and in progress, then at most `ended` of those that have ended, the latest first.
    Status {
        /// How many.
        ended: u32,
    },
    /// All inboxes.
    Inboxes,
    /// A page of the jobs that have ended, the latest first.
    Ended {
        /// Where the page before ended.
        before: Option<Cursor>,
        /// How many.
        limit: u32,
    },
    /// A page of jobs of all states, the latest change first.
    Jobs {
        /// Which.
        filter: Filter,
        /// Where the page before ended.
        before: Option<Cursor>,
        /// How many.
        limit: u32,
    },
    /// What is going on, in one object.
    Summary,
    /// What was spent, by day, inbox and model.
    Spend {
        /// In how many days, today being one of them.
        days: u32,
    },
    /// One job, with its history.
    Job {
        /// Its name, or the beginning of it.
        job: String,
    },
    /// Stop a job, and its task at Runway.
    Cancel {
        /// Its name, or the beginning of it.
        job: String,
    },
    /// Run a failed or cancelled job again.
    Retry {
        /// Its name, or the beginning of it.
        job: String,
    },
    /// Settle a job in doubt.
    Resolve {
        /// Its name, or the beginning of it.
        job: String,
        /// How.
        way: Resolution,
    },
}

/// What is answered.
#[derive(Debug)]
pub(crate) enum Reply {
    Lines(Vec<Line>),
    Ended(Page<Line>),
    Jobs(Page<Card>),
    Inboxes(Vec<InboxLine>),
    Summary(Box<Summary>),
    Spent(Vec<Spent>),
    /// What is still in an inbox has no details.
    Job(Box<Line>, Option<Box<Details>>),
    /// The job after a change.
    Changed(Box<Line>),
}

impl Reply {
    /// The answer on the control socket: a value for each line. A page's last line says where the next one begins.
    ///
    /// # Errors
    /// It has no JSON, which cannot happen with what is answered.
    pub(super) fn values(&self) -> Result<Vec<Value>, serde_json::Error> {
        match self {
            Reply::Lines(lines) => values(lines),
            Reply::Ended(page) => page_values(page),
            Reply::Jobs(page) => page_values(page),
            Reply::Inboxes(lines) => values(lines),
            Reply::Summary(summary) => values(&[summary]),
            Reply::Spent(rows) => values(rows),
            Reply::Job(line, details) => {
                let mut all = values(&[line])?;
                all.extend(values(details.as_slice())?);
                Ok(all)
            }
            Reply::Changed(line) => values(&[line]),
        }
    }
}

fn values<T: Serialize>(items: &[T]) -> Result<Vec<Value>, serde_json::Error> {
    items.iter().map(serde_json::to_value).collect()
}

fn page_values<T: Serialize>(page: &Page<T>) -> Result<Vec<Value>, serde_json::Error> {
    let mut all = values(&page.jobs)?;
    all.push(serde_json::to_value(&page.next)?);
    Ok(all)
}

/// Answers one request.
pub(crate) async fn answer(source: &Source<'_>, request: Request) -> Result<Reply, Refusal> {
    match request {
        Request::Status { ended } => queries::status(source, ended).await.map(Reply::Lines),
        Request::Inboxes => Ok(Reply::Inboxes(queries::inboxes(source.hub()?))),
        Request::Ended { before, limit } => {
            let page = queries::ended(source, before.as_ref(), limit).await;
            page.map(Reply::Ended)
        }
        Request::Jobs {
            filter,
            before,
            limit,
        } => {
            let page = queries::jobs(source.hub()?, &filter, before.as_ref(), limit).await;
            page.map(Reply::Jobs)
        }
        Request::Summary => {
            let summary = summarize(source.hub()?).await?;
            Ok(Reply::Summary(Box::new(summary)))
        }
        Request::Spend { days } => queries::spent(source, days).await.map(Reply::Spent),
        Request::Job { job } => {
            let (line, details) = queries::job(source, &job).await?;
            Ok(Reply::Job(line, details))
        }
        Request::Cancel { job } => actions::cancel(source.hub()?, &job).await.map(changed),
        Request::Retry { job } => actions::retry(source.hub()?, &job).await.map(changed),
        Request::Resolve { job, way } => {
            let line = actions::resolve(source.hub()?, &job, way).await;
            line.map(changed)
        }
    }
}

fn changed(line: Line) -> Reply {
    Reply::Changed(Box::new(line))
}
