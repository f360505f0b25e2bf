//! What people ask of a running daemon.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::queries;
use crate::daemon::Shared;
use crate::engine::explain_unconfigured;
use crate::folders::Places;
use crate::folders::mounted::{bare, is_mounted};
use crate::folders::{NotPutBack, put_back};
use crate::inbox::{InboxHandle, InboxView};
use crate::job::{Event, Failure, FailureKind, Job, JobId, State};
use crate::journal::Filter;
use crate::ledger::LedgerError;
use crate::runway::{CallError, TaskId, TaskStatus};
use crate::status::{self, InboxLine, Line};

/// How long a person waits at most for folders that do not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// All jobs: those in the inbox and in motion, then at most `ended` of those that have ended, the latest first.
    Status {
        /// How many.
        ended: u32,
    },
    /// All inboxes.
    Inboxes,
    /// A page of the jobs that have ended, the latest first, with the place where the next page begins as the last result.
    Ended {
        /// Where the page before ended.
        before: Option<(Timestamp, JobId)>,
        /// How many.
        limit: u32,
    },
    /// A page of jobs of all states, the latest change first, with the place where the next page begins as the last result.
    Jobs {
        /// Which.
        filter: Filter,
        /// Where the page before ended.
        before: Option<(Timestamp, JobId)>,
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
    /// One job, with its history as the second result.
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
        way: Way,
    },
}

/// How a job in doubt is settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Runway took it: this is its task.
    Adopt(String),
    /// Runway did not take it: send it again.
    Resubmit,
    /// Give it up.
    Abandon,
}

/// Answers one request with a line for each result.
pub(crate) async fn answer(shared: &Arc<Shared>, request: Request) -> Result<Vec<Value>, String> {
    match request {
        Request::Status { ended } => {
            let mut lines = open_lines(shared);
            let jobs = shared
                .engine
                .ledger
                .journal()
                .ended_jobs(&Filter::default(), None, ended)
                .await;
            let jobs = jobs.map_err(|error| error.to_string())?;
            lines.extend(jobs.iter().map(|job| line(shared, job)));
            values(&unique(lines))
        }
        Request::Inboxes => {
            let lines: Vec<InboxLine> = shared.inboxes().iter().map(inbox_line).collect();
            values(&lines)
        }
        Request::Ended { before, limit } => {
            let jobs = shared
                .engine
                .ledger
                .journal()
                .ended_jobs(&Filter::default(), before.as_ref(), limit)
                .await
                .map_err(|error| error.to_string())?;
            let lines: Vec<Line> = jobs.iter().map(|job| line(shared, job)).collect();
            let mut values = values(&lines)?;
            let next = jobs.last().map(|job| (job.updated_at, job.id.clone()));
            values.push(serde_json::to_value(next).map_err(|error| error.to_string())?);
            Ok(values)
        }
        Request::Jobs {
            filter,
            before,
            limit,
        } => queries::jobs(shared, &filter, before.as_ref(), limit).await,
        Request::Summary => Ok(vec![queries::summary(shared).await?]),
        Request::Spend { days } => queries::spend(shared, days).await,
        Request::Job { job } => match find(shared, &job).await? {
            Found::Waiting(line) => values(&[*line]),
            Found::Job(job) => {
                let history = shared.engine.ledger.journal().history(&job.id).await;
                let history = history.map_err(|error| error.to_string())?;
                let mut values = values(&[line(shared, &job)])?;
                values.push(status::details(&job, &history));
                Ok(values)
            }
        },
        Request::Cancel { job } => match find(shared, &job).await? {
            Found::Waiting(line) => Err(format!(
                "{} still lies in the inbox and is no job yet: take the file out of the inbox",
                line.input
            )),
            Found::Job(job) => cancel(shared, &job).await,
        },
        Request::Retry { job } => match find(shared, &job).await? {
            Found::Waiting(line) => Err(format!(
                "{} is waiting already: {}",
                line.input,
                line.reason.unwrap_or_default()
            )),
            Found::Job(job) => retry(shared, *job).await,
        },
        Request::Resolve { job, way } => match find(shared, &job).await? {
            Found::Waiting(line) => Err(format!(
                "{} is not in doubt: it waits in the inbox",
                line.input
            )),
            Found::Job(job) => resolve(shared, &job, way).await,
        },
    }
}

pub(crate) fn inbox_line(handle: &InboxHandle) -> InboxLine {
    InboxLine {
        inbox: handle.name.clone(),
        path: handle.places.inbox.to_string_lossy().into_owned(),
        watched: handle.backend(),
        frozen: handle.frozen(),
        problems: handle.unusable(),
        waiting: handle.count_waiting(),
    }
}

pub(crate) fn values<T: Serialize>(lines: &[T]) -> Result<Vec<Value>, String> {
    lines
        .iter()
        .map(|line| serde_json::to_value(line).map_err(|error| error.to_string()))
        .collect()
}

pub(crate) fn line(shared: &Shared, job: &Job) -> Line {
    let engine = &shared.engine;
    let outbox = engine
        .settings
        .inbox_of(job)
        .map(|inbox| inbox.places.outbox);
    let mut line = Line::of(job, outbox.as_deref());
    // What keeps the queue standing is said of each job that stands.
    if matches!(job.state, State::Queued { hold: None }) {
        let lane = crate::engine::lane_of(job);
        if let Some(why) = engine.inboxes.why_frozen(&job.inbox) {
            line.state = "waiting".to_owned();
            line.reason = Some(format!("for its inbox, which cannot be used now: {why}"));
        } else if let Some(closed) = engine.account.gates().closed(&lane, Instant::now()) {
            line.state = "waiting".to_owned();
            line.reason = Some(closed.as_str().to_owned());
        }
    }
    if let Some(trouble) = engine.in_flight.trouble(&job.id) {
        line.reason = Some(match line.reason.take() {
            Some(reason) => format!("{reason}; {trouble}"),
            None => trouble,
        });
    }
    line
}

fn open_lines(shared: &Shared) -> Vec<Line> {
    let mut lines: Vec<Line> = waiting_lines(shared);
    let mut jobs = shared.engine.ledger.jobs();
    jobs.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    lines.extend(jobs.iter().map(|job| line(shared, job)));
    lines
}

/// One line for each job. A job moves on while its sources are read, from the inbox's view to the ledger to the journal; they
/// are read in that order, so that none is missed, and the latest word counts.
fn unique(lines: Vec<Line>) -> Vec<Line> {
    let mut latest: HashMap<String, usize> = HashMap::new();
    for (index, line) in lines.iter().enumerate() {
        latest.insert(line.id.clone(), index);
    }
    lines
        .into_iter()
        .enumerate()
        .filter(|(index, line)| latest.get(&line.id) == Some(index))
        .map(|(_, line)| line)
        .collect()
}

fn waiting_lines(shared: &Shared) -> Vec<Line> {
    let inboxes = shared.inboxes();
    let mut lines: Vec<Line> = inboxes
        .iter()
        .flat_map(|handle: &InboxHandle| {
            let view: InboxView = handle.view();
            let name = handle.name.clone();
            let lines: Vec<Line> = view
                .waiting
                .values()
                .flat_map(|held| held.iter())
                .map(|held| queries::waiting_line(&name, view.frozen.as_deref(), held))
                .collect();
            lines
        })
        .collect();
    lines.sort_by(|a, b| (&a.inbox, &a.input).cmp(&(&b.inbox, &b.input)));
    lines
}

enum Found {
    Waiting(Box<Line>),
    Job(Box<Job>),
}

/// The job that a person means: by its name, or the beginning of it.
async fn find(shared: &Shared, text: &str) -> Result<Found, String> {
    let text = text.trim().to_ascii_lowercase();
    let unknown = || format!("there is no job '{text}': `taxiway status` lists them");
    if text.is_empty() {
        return Err(unknown());
    }
    let waiting: Vec<Line> = waiting_lines(shared)
        .into_iter()
        .filter(|line| line.id.starts_with(&text))
        .collect();
    let mut ids = shared
        .engine
        .ledger
        .journal()
        .find_ids(&text)
        .await
        .map_err(|error| error.to_string())?;
    if let Ok(exact) = text.parse::<JobId>() {
        ids.retain(|id| *id == exact);
    }
    let waiting: Vec<Line> = waiting
        .into_iter()
        .filter(|line| !ids.iter().any(|id| id.as_str() == line.id))
        .collect();
    match (ids.as_slice(), waiting.as_slice()) {
        ([id], []) => {
            let job = match shared.engine.ledger.get(id) {
                Some(job) => Some((*job).clone()),
                None => shared
                    .engine
                    .ledger
                    .journal()
                    .job(id)
                    .await
                    .map_err(|error| error.to_string())?,
            };
            job.map(|job| Found::Job(Box::new(job))).ok_or_else(unknown)
        }
        ([], [line]) => Ok(Found::Waiting(Box::new(line.clone()))),
        ([], []) => Err(unknown()),
        _ => Err(format!(
            "'{text}' could mean several jobs: write more of the name"
        )),
    }
}

async fn cancel(shared: &Arc<Shared>, job: &Job) -> Result<Vec<Value>, String> {
    if matches!(job.state, State::InDoubt { .. }) {
        return Err(format!(
            "job {} is in doubt: settle it with `taxiway resolve {} --abandon`, or adopt its task first",
            job.id, job.id
        ));
    }
    match shared
        .engine
        .ledger
        .apply(&job.id, Event::CancelAsked)
        .await
    {
        Ok(job) => values(&[line(shared, &job)]),
        Err(LedgerError::Unknown(_)) => {
            Err(format!("job {} is {} already", job.id, job.state_name()))
        }
        Err(LedgerError::Illegal(_)) => Err(format!(
            "job {} is {}: its output is paid for and is delivered",
            job.id,
            job.state_name()
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// Moves the inputs back to the inbox; the job goes on under its name once they are taken again.
async fn retry(shared: &Arc<Shared>, job: Job) -> Result<Vec<Value>, String> {
    if !matches!(job.state, State::Failed { .. } | State::Cancelled { .. }) {
        return Err(format!(
            "job {} is {}: only failed and cancelled jobs can be run again",
            job.id,
            job.state_name()
        ));
    }
    let Some(inbox) = shared.engine.settings.inbox_of(&job) else {
        return Err(explain_unconfigured(&job.inbox));
    };
    let places = inbox.places;
    let away = match shared.engine.inboxes.why_frozen(&job.inbox) {
        Some(why) => Some(why),
        None => bare(shared.engine.ledger.journal().as_ref(), &places.inbox)
            .await
            .map_err(|error| error.to_string())?,
    };
    if let Some(why) = away {
        return Err(format!(
            "the inbox '{}' cannot be used now, so nothing was moved: {why}",
            job.inbox
        ));
    }
    if !with_handle(shared, &job, |handle| handle.expect_retry(job.clone()))? {
        return back_in_the_inbox(&job);
    }
    // From here on the next start goes on with it, whatever happens in between.
    let ledger = &shared.engine.ledger;
    let job = match ledger.revive(job.clone(), Event::RetryAsked).await {
        Ok(job) => job,
        Err(error) => {
            with_handle(shared, &job, |handle| handle.forget_retry(&job))?;
            return Err(error.to_string());
        }
    };
    let name = format!("moving the files of job {} back", job.id);
    let going_back = shared
        .engine
        .tasks
        .spawn(name, go_back(shared.clone(), job.clone(), places));
    match tokio::time::timeout(ANSWER_WITHIN, going_back).await {
        Ok(Ok(outcome)) => outcome.and_then(|()| back_in_the_inbox(&job)),
        Ok(Err(error)) => Err(format!("moving the files back ended early: {error}")),
        Err(_) => Err(format!(
            "the folders of inbox '{}' do not answer: job {} is run again once they do",
            job.inbox, job.id
        )),
    }
}

/// Moves a job's files back to the inbox, and tells the inbox of it.
async fn go_back(shared: Arc<Shared>, job: Arc<Job>, places: Places) -> Result<(), String> {
    let moving = job.clone();
    let moved = shared
        .engine
        .with_files(&job, move || {
            let mounts = moving.files.iter().filter_map(|file| file.mount.as_ref());
            match mounts.into_iter().find(|at| !is_mounted(&places.inbox, at)) {
                None => put_back(&moving, &places),
                Some(at) => Err(NotPutBack::from(format!(
                    "nothing is mounted at {}, where its files were dropped",
                    places.inbox.join(at.as_path()).display()
                ))),
            }
        })
        .await
        .unwrap_or_else(|error| Err(NotPutBack::from(error.to_string())));
    match moved {
        Ok(()) => with_handle(&shared, &job, |handle| {
            handle.retry_has_come(&job);
            handle.look();
        }),
        // An input that could not be taken back to where it was goes on as this job.
        Err(why) if why.lies_in_inbox => {
            with_handle(&shared, &job, |handle| handle.retry_has_come(&job))?;
            Err(why.what)
        }
        Err(why) => {
            let ledger = &shared.engine.ledger;
            if let Err(error) = ledger.revive((*job).clone(), Event::RetryDropped).await {
                tracing::warn!(job = %job.id, %error, "the next start tries to run the job again");
            }
            with_handle(&shared, &job, |handle| handle.forget_retry(&job))?;
            Err(why.what)
        }
    }
}

fn back_in_the_inbox(job: &Job) -> Result<Vec<Value>, String> {
    values(&[Line::waiting(
        &job.id,
        &job.inbox,
        &job.input,
        "back in the inbox, to be taken again".to_owned(),
        Timestamp::now(),
    )])
}

fn with_handle<T>(
    shared: &Shared,
    job: &Job,
    act: impl FnOnce(&InboxHandle) -> T,
) -> Result<T, String> {
    let handles = shared.inboxes();
    let handle = handles.iter().find(|handle| handle.serves(&job.inbox));
    handle
        .map(act)
        .ok_or_else(|| explain_unconfigured(&job.inbox))
}

async fn resolve(shared: &Arc<Shared>, job: &Job, way: Way) -> Result<Vec<Value>, String> {
    let doubt = match (&job.state, &way) {
        (State::InDoubt { doubt }, _) => doubt,
        (State::Failed { failure }, Way::Adopt(task)) if failure.kind.may_have_a_task() => {
            return take_up_again(shared, job, task).await;
        }
        _ => {
            return Err(format!(
                "job {} is {}, not in doubt",
                job.id,
                job.state_name()
            ));
        }
    };
    // Only this doubt is settled: another may have taken its place while Runway is asked.
    let intent_at = doubt.intent_at;
    let event = match way {
        Way::Resubmit => Event::Resubmitted {
            intent_at,
            hold: None,
        },
        Way::Abandon => Event::Abandoned {
            failure: Failure {
                kind: FailureKind::Abandoned,
                what: "given up: it was not known whether Runway took the request".to_owned(),
                details: Vec::new(),
                advice: "To run it after all, move the files back to the inbox. If Runway did take the first request, that costs again."
                    .to_owned(),
                task: None,
            },
            intent_at,
        },
        Way::Adopt(task) => {
            adopted(shared, job, &task, Some(intent_at)).await?
        }
    };
    let job = shared
        .engine
        .ledger
        .apply(&job.id, event)
        .await
        .map_err(|error| error.to_string())?;
    values(&[line(shared, &job)])
}

/// A job that was given up goes on with a task that exists after all.
async fn take_up_again(shared: &Arc<Shared>, job: &Job, task: &str) -> Result<Vec<Value>, String> {
    if job.retry_asked {
        return Err(format!(
            "job {} is about to run again, which would cost once more: take its files out of the inbox and start taxiway anew, \
             which drops the retry, then adopt the task",
            job.id
        ));
    }
    let event = adopted(shared, job, task, None).await?;
    let ledger = &shared.engine.ledger;
    let revived = ledger.revive(job.clone(), event).await;
    let job = revived.map_err(|error| error.to_string())?;
    values(&[line(shared, &job)])
}

/// The event of a task that a person names, once Runway has confirmed it.
async fn adopted(
    shared: &Arc<Shared>,
    job: &Job,
    task: &str,
    intent_at: Option<Timestamp>,
) -> Result<Event, String> {
    let id: TaskId = task.parse().map_err(|error| format!("'{task}': {error}"))?;
    known_task(shared, job, &id).await?;
    Ok(Event::Adopted {
        task: id.as_str().to_owned(),
        intent_at,
        account: Some(shared.engine.account.name()),
    })
}

/// A task is believed only if Runway knows it, and no other job of ours has it.
async fn known_task(shared: &Arc<Shared>, job: &Job, id: &TaskId) -> Result<(), String> {
    let Some(client) = shared.engine.account.client() else {
        return Err("without an API key Runway cannot be asked whether the task exists".to_owned());
    };
    let poll = job
        .plan
        .as_ref()
        .map_or("/v1/tasks/{id}", |plan| plan.poll.as_str());
    let owner = shared
        .engine
        .ledger
        .journal()
        .owner_of_task(id.as_str())
        .await
        .map_err(|error| error.to_string())?;
    if let Some(owner) = owner.filter(|owner| *owner != job.id) {
        return Err(format!("the task {id} belongs to job {owner} already"));
    }
    match client.task(poll, id).await {
        Ok(task)
            if matches!(
                task.status,
                TaskStatus::Failed { .. } | TaskStatus::Cancelled
            ) =>
        {
            Err(format!(
                "the task {id} exists, and ended without an output: `--abandon` gives the job up, `--resubmit` sends it again"
            ))
        }
        Ok(_) => Ok(()),
        Err(CallError::NotFound { .. }) => Err(format!(
            "Runway knows no task {id}: look it up in Runway's portal once more"
        )),
        Err(error) => Err(error.to_string()),
    }
}
