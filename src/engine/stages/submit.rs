//! The one step that costs money: the intent is durable before the first byte leaves, the outcome after.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::stages::upload::{NotReady, prepare};
use crate::engine::stages::{StageError, cancel, files_failure};
use crate::engine::{Engine, after, used_before};
use crate::job::{Event, Failure, FailureKind, Hold, HoldReason, Job};
use crate::policy::gate::Closed;
use crate::policy::retry::{Holds, Policy, Then, Trouble};
use crate::runway::{Refusal, RefusalClass, Submission};

/// Makes the media ready and submits the request.
pub async fn run(engine: &Arc<Engine>, job: &Arc<Job>) -> Result<(), StageError> {
    let Some(plan) = &job.plan else {
        let failure = files_failure("the job has no request".to_owned(), Vec::new());
        return fails(engine, job, failure).await;
    };
    let Some((client, account)) = engine.client_and_account() else {
        return record(engine, job, Event::Requeued { hold: None }).await;
    };
    let prepared = prepare(engine, job, plan, &client, &account).await;
    let ready = match prepared {
        Ok(ready) => ready,
        Err(NotReady::Files(what)) => {
            let failure = files_failure(what, Vec::new());
            return fails(engine, job, failure).await;
        }
        Err(NotReady::Refused(what)) => {
            let failure = Failure {
                kind: FailureKind::Refused,
                what,
                details: Vec::new(),
                advice: "Save the file again in another format or smaller, then put the files back into the inbox. No credits were \
                         charged."
                    .to_owned(),
                task: None,
            };
            return fails(engine, job, failure).await;
        }
        Err(NotReady::Later { why, retry_after }) => {
            return wait_in_queue(engine, job, why, Trouble::Upload, retry_after).await;
        }
        Err(NotReady::BadKey(message)) => {
            engine.close_for_key(&message);
            return record(engine, job, Event::Requeued { hold: None }).await;
        }
        Err(NotReady::Cancelled) => return cancel(engine, job).await,
        Err(NotReady::Stage(StageError::LeftOff)) => return Err(StageError::LeftOff),
        Err(NotReady::Stage(error)) => {
            return wait_in_queue(engine, job, error.to_string(), Trouble::Folder, None).await;
        }
    };
    engine.got_through(&job.id);
    // A cancellation that came during the upload ends the job here; after the intent it has to go by Runway.
    if engine
        .ledger
        .get(&job.id)
        .is_none_or(|job| job.cancel_asked)
    {
        return cancel(engine, job).await;
    }
    if engine.stop.is_cancelled() {
        return Err(StageError::LeftOff);
    }
    let event = Event::Intent {
        used_before: used_before(engine, job).await,
        files: ready.files,
    };
    record(engine, job, event).await?;
    // From here on the daemon does not stop by itself before the outcome is known and written down; if it is killed, the
    // job is in doubt.
    let outcome = client.submit(&plan.path, &ready.body).await;
    engine.ledger.metrics().submitted(&outcome);
    drop(ready.body);
    let lane = Engine::lane(job);
    if let Submission::Refused(Refusal {
        class: RefusalClass::Invalid,
        ..
    }) = &outcome
    {
        forget_uploads(engine, &ready.uploads).await;
    }
    match outcome {
        Submission::Accepted { task, estimated } => {
            if engine.gates().passed(&lane) {
                tracing::info!("requests get through again");
            }
            tracing::info!(job = %job.id, input = %job.input, task = %task, endpoint = plan.endpoint, model = plan.model, "submitted");
            let event = Event::Accepted {
                task: task.as_str().to_owned(),
                estimated,
                account: Some(account),
            };
            record(engine, job, event).await
        }
        Submission::NotSent(not_sent) => {
            let why = not_sent.to_string();
            let closed = Closed::Trouble(format!("for the network: {why}"));
            close_all(engine, Trouble::NotSent, closed, None);
            record(engine, job, Event::Requeued { hold: None }).await
        }
        Submission::Refused(refusal) => refused(engine, job, &lane, &refusal).await,
        Submission::Unknown(doubt) => doubtful(engine, job, doubt.to_string()).await,
    }
}

/// The job goes back to the queue for a while, where it takes no place and no budget from others.
async fn wait_in_queue(
    engine: &Arc<Engine>,
    job: &Job,
    why: String,
    trouble: Trouble,
    retry_after: Option<Duration>,
) -> Result<(), StageError> {
    let times = engine.failed_in_a_row(&job.id);
    let pause = engine.retry_in(trouble, times, retry_after);
    if times == 1 {
        tracing::warn!(job = %job.id, input = %job.input, "{why}; it is tried again");
    }
    let hold = Hold {
        reason: HoldReason::Retry(why),
        until: after(pause),
    };
    record(engine, job, Event::Requeued { hold: Some(hold) }).await
}

/// What a request was refused with may have been an upload that Runway no longer knows or cannot use: next time it is
/// uploaded anew.
async fn forget_uploads(engine: &Engine, uploads: &[String]) {
    for uri in uploads {
        if let Err(error) = engine.ledger.journal().forget_upload(uri).await {
            tracing::debug!(%error, "an upload is not forgotten");
        }
    }
}

/// Nobody knows whether Runway took the request on: it is never sent again without a word.
async fn doubtful(engine: &Arc<Engine>, job: &Job, why: String) -> Result<(), StageError> {
    tracing::error!(
        job = %job.id, input = %job.input,
        "in doubt: {why}. Settle it with `taxiway resolve {}`", job.id
    );
    let used_after = None;
    record(engine, job, Event::Doubtful { why, used_after }).await
}

/// The job fails before Runway took anything on.
async fn fails(engine: &Arc<Engine>, job: &Job, failure: Failure) -> Result<(), StageError> {
    let event = Event::Fails {
        failure,
        charged: None,
    };
    record(engine, job, event).await
}

async fn record(engine: &Arc<Engine>, job: &Job, event: Event) -> Result<(), StageError> {
    engine
        .record(&job.id, event)
        .await
        .map(drop)
        .ok_or(StageError::LeftOff)
}

fn close_all(engine: &Engine, trouble: Trouble, why: Closed, retry_after: Option<Duration>) {
    let words = why.words().to_owned();
    let pause = |times| engine.retry_in(trouble, times, retry_after);
    if engine.gates().close_all(why, Instant::now(), pause) {
        tracing::error!("submitting waits {words}. Nothing is lost");
    }
}

/// A request that Runway answered with a no: [`Trouble::policy`] says what follows.
async fn refused(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    lane: &str,
    refusal: &Refusal,
) -> Result<(), StageError> {
    let trouble = Trouble::from(refusal.class);
    let Policy { then, holds, .. } = trouble.policy();
    match (then, holds) {
        (Then::Again(_), Holds::Everything) => {
            match refusal.class {
                RefusalClass::BadKey => engine.close_for_key(&refusal.message),
                _ => {
                    let why = format!(
                        "for credits: Runway says \"{}\"; buy some in Runway's portal",
                        refusal.message
                    );
                    close_all(engine, trouble, Closed::Credits(why), refusal.retry_after);
                }
            }
            record(engine, job, Event::Requeued { hold: None }).await
        }
        (Then::Again(_), Holds::Model | Holds::Job) => {
            let why = format!(
                "Runway says \"{}\" (status {})",
                refusal.message, refusal.status
            );
            let pause = |times| engine.retry_in(trouble, times, refusal.retry_after);
            let closed = Closed::Quota(format!("for {lane}: {why}"));
            if holds == Holds::Model
                && engine
                    .gates()
                    .close_lane(lane, closed, Instant::now(), pause)
            {
                tracing::warn!(lane, "submitting for this model waits: {why}");
            }
            let hold = Hold {
                reason: HoldReason::Retry(why),
                until: after(pause(job.attempts)),
            };
            record(engine, job, Event::Requeued { hold: Some(hold) }).await
        }
        (Then::Asks, _) => {
            let why = format!("status {}: {}", refusal.status, refusal.message);
            doubtful(engine, job, why).await
        }
        (Then::Fails, _) => {
            let failure = Failure {
                kind: FailureKind::Refused,
                what: format!("Runway refused the request: {}", refusal.message),
                details: vec![format!("{}, status {}", refusal.at, refusal.status)],
                advice: match refusal.class {
                    RefusalClass::Forbidden => {
                        "Ask Runway whether your organization may use this model. No credits were charged.".to_owned()
                    }
                    _ => "Mend what Runway names, then move the files back to the inbox. No credits were charged.".to_owned(),
                },
                task: None,
            };
            fails(engine, job, failure).await
        }
    }
}
