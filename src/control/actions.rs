//! Changes that people ask for: cancel a job, run it again, settle a doubt.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Hub;
use super::find::{Found, find};
use super::lines::line;
use super::refusal::Refusal;
use super::source::Source;
use crate::engine::explain_unconfigured;
use crate::folders::Places;
use crate::folders::mounted::{find_missing_mount, is_mounted};
use crate::folders::{NotPutBack, put_back};
use crate::inbox::InboxHandle;
use crate::job::{Event, Failure, FailureKind, Job, State};
use crate::ledger::LedgerError;
use crate::runway::{CallError, TaskId, TaskStatus};
use crate::status::Line;

/// How long a person waits at most for folders that do not respond.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// How a job in doubt is settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// Runway took it: this is its task.
    Adopt(String),
    /// Runway did not take it: send it again.
    Resubmit,
    /// Give it up.
    Abandon,
}

/// Stops a job, and its task at Runway.
pub(super) async fn cancel(hub: &Arc<Hub>, job: &str) -> Result<Line, Refusal> {
    let job = match find(&Source::Hub(hub), job).await? {
        Found::Job(job) => job,
        Found::Waiting(line) => {
            return Err(Refusal::Conflict(format!(
                "{} is still in the inbox and not a job yet: take the file out of the inbox",
                line.input
            )));
        }
    };
    if matches!(job.state, State::InDoubt { .. }) {
        return Err(Refusal::Conflict(format!(
            "job {} is in doubt: settle it with `taxiway resolve {} --abandon`, or adopt its task first",
            job.id, job.id
        )));
    }
    match hub.engine.ledger.apply(&job.id, Event::CancelAsked).await {
        Ok(job) => Ok(line(hub, &job)),
        Err(LedgerError::Unknown(_)) => Err(Refusal::Conflict(format!(
            "job {} is {} already",
            job.id,
            job.state_name()
        ))),
        Err(LedgerError::Illegal(_)) => Err(Refusal::Conflict(format!(
            "job {} is {}: its output is paid for and is delivered",
            job.id,
            job.state_name()
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Moves a job's inputs back to the inbox; it continues under its name once they are taken again.
pub(super) async fn retry(hub: &Arc<Hub>, job: &str) -> Result<Line, Refusal> {
    let job = match find(&Source::Hub(hub), job).await? {
        Found::Job(job) => Arc::unwrap_or_clone(job),
        Found::Waiting(line) => {
            return Err(Refusal::Conflict(format!(
                "{} is waiting already: {}",
                line.input,
                line.reason.unwrap_or_default()
            )));
        }
    };
    if !matches!(job.state, State::Failed { .. } | State::Cancelled { .. }) {
        return Err(Refusal::Conflict(format!(
            "job {} is {}: only failed and cancelled jobs can be run again",
            job.id,
            job.state_name()
        )));
    }
    let Some(inbox) = hub.engine.settings.inbox_of(&job) else {
        return Err(Refusal::Conflict(explain_unconfigured(&job.inbox)));
    };
    let places = inbox.places;
    let away = match hub.engine.inboxes.why_frozen(&job.inbox) {
        Some(why) => Some(why),
        None => find_missing_mount(hub.engine.ledger.journal().as_ref(), &places.inbox).await?,
    };
    if let Some(why) = away {
        return Err(Refusal::Conflict(format!(
            "the inbox '{}' cannot be used now, so nothing was moved: {why}",
            job.inbox
        )));
    }
    if !with_handle(hub, &job, |handle| handle.expect_retry(job.clone()))? {
        return Ok(back_in_the_inbox(&job));
    }
    // From here on the next start goes on with it, whatever happens in between.
    let ledger = &hub.engine.ledger;
    let job = match ledger.revive(job.clone(), Event::RetryAsked).await {
        Ok(job) => job,
        Err(error) => {
            with_handle(hub, &job, |handle| handle.forget_retry(&job))?;
            return Err(error.into());
        }
    };
    let going_back = move_back(hub.clone(), job.clone(), places);
    let name = format!("moving the files of job {} back", job.id);
    let going_back = hub.engine.tasks.spawn(name, going_back);
    match tokio::time::timeout(ANSWER_WITHIN, going_back).await {
        Ok(Ok(outcome)) => outcome.map(|()| back_in_the_inbox(&job)),
        Ok(Err(error)) => Err(Refusal::Conflict(format!(
            "moving the files back ended early: {error}"
        ))),
        Err(_) => Err(Refusal::Conflict(format!(
            "the folders of inbox '{}' do not respond: job {} runs again once they do",
            job.inbox, job.id
        ))),
    }
}

/// Moves a job's files back to the inbox, and lets the inbox know.
async fn move_back(hub: Arc<Hub>, job: Arc<Job>, places: Places) -> Result<(), Refusal> {
    let moving = job.clone();
    let moved = hub
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
        Ok(()) => with_handle(&hub, &job, |handle| {
            handle.retry_has_come(&job);
            handle.look();
        }),
        // An input that could not be taken back to where it was goes on as this job.
        Err(why) if why.is_in_inbox => {
            with_handle(&hub, &job, |handle| handle.retry_has_come(&job))?;
            Err(Refusal::Conflict(why.what))
        }
        Err(why) => {
            let ledger = &hub.engine.ledger;
            if let Err(error) = ledger.revive((*job).clone(), Event::RetryDropped).await {
                tracing::warn!(job = %job.id, %error, "the next start tries to run the job again");
            }
            with_handle(&hub, &job, |handle| handle.forget_retry(&job))?;
            Err(Refusal::Conflict(why.what))
        }
    }
}

fn back_in_the_inbox(job: &Job) -> Line {
    Line::waiting(
        &job.id,
        &job.inbox,
        &job.input,
        "back in the inbox, to be taken again".to_owned(),
        Timestamp::now(),
    )
}

fn with_handle<T>(hub: &Hub, job: &Job, act: impl FnOnce(&InboxHandle) -> T) -> Result<T, Refusal> {
    let handles = hub.inboxes();
    let handle = handles.iter().find(|handle| handle.serves(&job.inbox));
    handle
        .map(act)
        .ok_or_else(|| Refusal::Conflict(explain_unconfigured(&job.inbox)))
}

/// Settles a job in doubt, or gives a job that was given up its task after all.
pub(super) async fn resolve(hub: &Arc<Hub>, job: &str, way: Resolution) -> Result<Line, Refusal> {
    let job = match find(&Source::Hub(hub), job).await? {
        Found::Job(job) => job,
        Found::Waiting(line) => {
            return Err(Refusal::Conflict(format!(
                "{} is not in doubt: it waits in the inbox",
                line.input
            )));
        }
    };
    if let (State::Failed { failure }, Resolution::Adopt(task)) = (&job.state, &way)
        && failure.kind.may_have_a_task()
    {
        return take_up_again(hub, &job, task).await;
    }
    let State::InDoubt { doubt } = &job.state else {
        return Err(Refusal::Conflict(format!(
            "job {} is {}, not in doubt",
            job.id,
            job.state_name()
        )));
    };
    // Only this doubt is settled: another may have taken its place while Runway is asked.
    let intent_at = doubt.intent_at;
    let event = match way {
        Resolution::Resubmit => Event::Resubmitted {
            intent_at,
            hold: None,
        },
        Resolution::Abandon => Event::Abandoned {
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
        Resolution::Adopt(task) => {
            adopted(hub, &job, &task, Some(intent_at)).await?
        }
    };
    let job = hub.engine.ledger.apply(&job.id, event).await?;
    Ok(line(hub, &job))
}

/// A job that was given up goes on with a task that exists after all.
async fn take_up_again(hub: &Arc<Hub>, job: &Job, task: &str) -> Result<Line, Refusal> {
    if job.retry_asked {
        return Err(Refusal::Conflict(format!(
            "job {} is about to run again, which would cost once more: take its files out of the inbox and restart taxiway, \
             which drops the retry, then adopt the task",
            job.id
        )));
    }
    let event = adopted(hub, job, task, None).await?;
    let ledger = &hub.engine.ledger;
    let job = ledger.revive(job.clone(), event).await?;
    Ok(line(hub, &job))
}

/// The event of a task that a person names, once Runway has confirmed it.
async fn adopted(
    hub: &Arc<Hub>,
    job: &Job,
    task: &str,
    intent_at: Option<Timestamp>,
) -> Result<Event, Refusal> {
    let id: TaskId = task
        .parse()
        .map_err(|error| Refusal::Conflict(format!("'{task}': {error}")))?;
    check_task(hub, job, &id).await?;
    Ok(Event::Adopted {
        task: id.as_str().to_owned(),
        intent_at,
        account: Some(hub.engine.account.name()),
    })
}

/// A task is believed only if Runway knows it, and no other job of ours has it.
async fn check_task(hub: &Hub, job: &Job, id: &TaskId) -> Result<(), Refusal> {
    let no = |why: String| Err(Refusal::Conflict(why));
    let Some(client) = hub.engine.account.client() else {
        return no("without an API key Runway cannot be asked whether the task exists".to_owned());
    };
    let plan = job.plan.as_ref();
    let poll = plan.map_or("/v1/tasks/{id}", |plan| plan.poll.as_str());
    let journal = hub.engine.ledger.journal();
    match journal.owner_of_task(id.as_str()).await? {
        Some(owner) if owner != job.id => {
            return no(format!("the task {id} belongs to job {owner} already"));
        }
        Some(_) | None => {}
    }
    match client.task(poll, id).await {
        Ok(task) => match task.status {
            TaskStatus::Failed { .. } | TaskStatus::Cancelled => no(format!(
                "the task {id} exists, and ended without an output: `--abandon` gives the job up, `--resubmit` sends it again"
            )),
            TaskStatus::Pending
            | TaskStatus::Throttled
            | TaskStatus::Running { .. }
            | TaskStatus::Succeeded { .. }
            | TaskStatus::Other(_) => Ok(()),
        },
        Err(CallError::NotFound { .. }) => no(format!(
            "Runway knows no task {id}: look it up in Runway's portal once more"
        )),
        Err(error) => no(error.to_string()),
    }
}
