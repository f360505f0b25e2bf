//! The one step that costs money: the intent is durable before the first byte leaves, the outcome after.

use std::sync::Arc;
use std::time::Duration;

use super::cancel;
use super::common::{StageError, files_failure, record};
use super::upload::{NotReady, prepare};
use crate::engine::evidence::count_used_before;
use crate::engine::{Engine, lane_of, time_after};
use crate::job::{Event, Failure, FailureKind, Hold, HoldReason, Job};
use crate::policy::gate::Closed;
use crate::policy::retry::{Holds, Policy, Then, Trouble};
use crate::runway::{Refusal, RefusalClass, Submission};

/// Makes the media ready and submits the request.
pub(super) async fn run(engine: &Engine, job: &Arc<Job>) -> Result<(), StageError> {
    let Some(plan) = &job.plan else {
        return fail(
            engine,
            job,
            files_failure("the job has no request".to_owned()),
        )
        .await;
    };
    let Some((client, account)) = engine.account.client_and_name() else {
        return requeue(engine, job, None).await;
    };
    let ready = match prepare(engine, job, plan, &client, &account).await {
        Ok(ready) => ready,
        Err(why) => return put_off(engine, job, why).await,
    };
    engine.in_flight.clear_failures(&job.id);
    // A cancellation that came during the upload ends the job here. After the intent it has to go through Runway.
    if engine
        .ledger
        .get(&job.id)
        .is_none_or(|job| job.cancel_asked)
    {
        return cancel::run(engine, job).await;
    }
    if engine.stop.is_cancelled() {
        return Err(StageError::LeftOff);
    }
    let event = Event::Intent {
        used_before: count_used_before(engine, job).await,
        files: ready.files,
    };
    record(engine, job, event).await?;
    // From here on the daemon does not stop by itself before the outcome is known and written down. If it is killed, the
    // job is in doubt.
    let outcome = client.submit(&plan.path, &ready.body).await;
    engine.ledger.metrics().count_submission(&outcome);
    drop(ready.body);
    match outcome {
        Submission::Accepted { task, estimated } => {
            if engine.account.gates().open_after_success(&lane_of(job)) {
                tracing::info!("requests get through again");
            }
            tracing::info!(job = %job.id, input = %job.input, task = %task, endpoint = plan.endpoint, model = plan.model, "submitted");
            let event = Event::Accepted {
                task: task.as_str().to_owned(),
                estimated,
                account: Some(account),
            };
            record(engine, job, event).await.map(drop)
        }
        Submission::NotSent(not_sent) => {
            let closed = Closed::Trouble(format!("for the network: {not_sent}"));
            engine.account.close_all(Trouble::NotSent, closed, None);
            requeue(engine, job, None).await
        }
        Submission::Refused(refusal) => {
            if refusal.class == RefusalClass::Invalid {
                forget_uploads(engine, &ready.uploads).await;
            }
            handle_refusal(engine, job, &refusal).await
        }
        Submission::Unknown(doubt) => leave_in_doubt(engine, job, doubt.to_string()).await,
    }
}

/// The media are not ready: the job fails, is cancelled or goes back to the queue. Nothing was sent.
async fn put_off(engine: &Engine, job: &Job, why: NotReady) -> Result<(), StageError> {
    match why {
        NotReady::Files(what) => fail(engine, job, files_failure(what)).await,
        NotReady::Refused(what) => {
            let failure = Failure {
                kind: FailureKind::Refused,
                what,
                details: Vec::new(),
                advice: "Save the file again in another format or smaller, then put the files back into the inbox. No credits were \
                         charged."
                    .to_owned(),
                task: None,
            };
            fail(engine, job, failure).await
        }
        NotReady::Later { why, retry_after } => {
            wait_in_queue(engine, job, why, Trouble::Upload, retry_after).await
        }
        NotReady::BadKey(message) => {
            engine.account.close_for_key(&message);
            requeue(engine, job, None).await
        }
        NotReady::Cancelled => cancel::run(engine, job).await,
        NotReady::Stage(StageError::LeftOff) => Err(StageError::LeftOff),
        NotReady::Stage(error @ (StageError::Disk { .. } | StageError::Later(_))) => {
            wait_in_queue(engine, job, error.to_string(), Trouble::Folder, None).await
        }
    }
}

/// The job goes back to the queue for a while, where it takes no place and no budget from others.
async fn wait_in_queue(
    engine: &Engine,
    job: &Job,
    why: String,
    trouble: Trouble,
    retry_after: Option<Duration>,
) -> Result<(), StageError> {
    let times = engine.in_flight.count_failure(&job.id);
    let pause = engine.settings.choose_pause(trouble, times, retry_after);
    if times == 1 {
        tracing::warn!(job = %job.id, input = %job.input, "{why}; it is tried again");
    }
    requeue(engine, job, Some(hold_for(why, pause))).await
}

fn hold_for(why: String, pause: Duration) -> Hold {
    Hold {
        reason: HoldReason::Retry(why),
        until: Some(time_after(pause)),
    }
}

/// Forgets the uploads of a refused request. One of them may be what Runway no longer knows or cannot use; next time it is
/// uploaded again.
async fn forget_uploads(engine: &Engine, uploads: &[String]) {
    for uri in uploads {
        if let Err(error) = engine.ledger.journal().forget_upload(uri).await {
            tracing::debug!(%error, "an upload is not forgotten");
        }
    }
}

/// It is unknown whether Runway accepted the request, so it is never sent again without somebody's decision.
async fn leave_in_doubt(engine: &Engine, job: &Job, why: String) -> Result<(), StageError> {
    tracing::error!(
        job = %job.id, input = %job.input,
        "in doubt: {why}. Settle it with `taxiway resolve {}`", job.id
    );
    let event = Event::Doubtful {
        why,
        used_after: None,
    };
    record(engine, job, event).await.map(drop)
}

/// The job fails before Runway accepted anything.
async fn fail(engine: &Engine, job: &Job, failure: Failure) -> Result<(), StageError> {
    let event = Event::Fails {
        failure,
        charged: None,
    };
    record(engine, job, event).await.map(drop)
}

async fn requeue(engine: &Engine, job: &Job, hold: Option<Hold>) -> Result<(), StageError> {
    let event = Event::Requeued { hold };
    record(engine, job, event).await.map(drop)
}

/// Runway refused the request: [`Trouble::policy`] says what follows.
async fn handle_refusal(engine: &Engine, job: &Job, refusal: &Refusal) -> Result<(), StageError> {
    let trouble = Trouble::from(refusal.class);
    let Policy { then, holds, .. } = trouble.policy();
    match (then, holds) {
        (Then::Again(_), Holds::Everything) => {
            if refusal.class == RefusalClass::BadKey {
                engine.account.close_for_key(&refusal.message);
            } else {
                let closed = Closed::Credits(format!(
                    "for credits: Runway says \"{}\"; buy some in Runway's portal",
                    refusal.message
                ));
                let retry_after = refusal.retry_after;
                engine.account.close_all(trouble, closed, retry_after);
            }
            requeue(engine, job, None).await
        }
        (Then::Again(_), Holds::Model | Holds::Job) => {
            let why = format!(
                "Runway says \"{}\" (status {})",
                refusal.message, refusal.status
            );
            let retry_after = refusal.retry_after;
            if holds == Holds::Model {
                let lane = lane_of(job);
                engine.account.close_lane(&lane, trouble, &why, retry_after);
            }
            let settings = &engine.settings;
            let pause = settings.choose_pause(trouble, job.attempts, retry_after);
            requeue(engine, job, Some(hold_for(why, pause))).await
        }
        (Then::Asks, _) => {
            let why = format!("status {}: {}", refusal.status, refusal.message);
            leave_in_doubt(engine, job, why).await
        }
        (Then::Fails, _) => {
            let advice = if refusal.class == RefusalClass::Forbidden {
                "Ask Runway whether your organization may use this model. No credits were charged."
            } else {
                "Fix what Runway names, then move the files back to the inbox. No credits were charged."
            };
            let failure = Failure {
                kind: FailureKind::Refused,
                what: format!("Runway refused the request: {}", refusal.message),
                details: vec![format!("{}, status {}", refusal.at, refusal.status)],
                advice: advice.to_owned(),
                task: None,
            };
            fail(engine, job, failure).await
        }
    }
}
