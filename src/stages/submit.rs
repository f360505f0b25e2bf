//! The one step that costs money: the intent is durable before the first byte leaves, the outcome after.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::upload::{NotReady, prepare};
use super::{StageError, cancel, files_failure};
use crate::engine::{Closed, Engine, after};
use crate::job::{Event, Failure, FailureKind, Hold, HoldReason, Job};
use crate::runway::{Refusal, RefusalClass, Submission, delay, no_sooner_than};

/// Pause after trouble on the way to Runway, at first and at most.
const BASE: Duration = Duration::from_secs(1);
const CAP: Duration = Duration::from_secs(120);

/// Makes the media ready and submits the request.
pub async fn run(engine: &Arc<Engine>, job: &Arc<Job>) -> Result<(), StageError> {
    let Some(plan) = &job.plan else {
        let failure = files_failure("the job has no request".to_owned(), Vec::new());
        return fails(engine, job, failure).await;
    };
    let Some(client) = engine.client() else {
        return record(engine, job, Event::Requeued { hold: None }).await;
    };
    let prepared = prepare(engine, job, plan, &client).await;
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
            let times = engine.upload_failed(&job.id);
            let pause = no_sooner_than(delay(times, BASE, CAP, fastrand::f64()), retry_after);
            if times == 1 {
                tracing::warn!(job = %job.id, input = %job.input, "{why}; it is tried again");
            }
            let hold = Hold {
                reason: HoldReason::Retry(why),
                until: after(pause),
            };
            return record(engine, job, Event::Requeued { hold: Some(hold) }).await;
        }
        Err(NotReady::BadKey(message)) => {
            engine.close_for_key(&message);
            return record(engine, job, Event::Requeued { hold: None }).await;
        }
        Err(NotReady::Cancelled) => return cancel(engine, job).await,
        Err(NotReady::Stage(error)) => return Err(error),
    };
    engine.upload_done(&job.id);
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
    record(
        engine,
        job,
        Event::Intent {
            used_before: None,
            files: ready.files,
        },
    )
    .await?;
    // From here on the daemon does not stop by itself before the outcome is known and written down; if it is killed, the
    // job is in doubt.
    let account = engine.account();
    let outcome = client.submit(&plan.path, &ready.body).await;
    drop(ready.body);
    let lane = Engine::lane(job);
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
            close_all(
                engine,
                Closed::Trouble(format!("for the network: {why}")),
                None,
            );
            record(engine, job, Event::Requeued { hold: None }).await
        }
        Submission::Refused(refusal) => refused(engine, job, &lane, &refusal).await,
        Submission::Unknown(doubt) => {
            tracing::error!(
                job = %job.id, input = %job.input,
                "in doubt: {doubt}. Settle it with `taxiway resolve {}`", job.id
            );
            let why = doubt.to_string();
            record(
                engine,
                job,
                Event::Doubtful {
                    why,
                    used_after: None,
                },
            )
            .await
        }
    }
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

fn close_all(engine: &Engine, why: Closed, retry_after: Option<Duration>) {
    let words = why.words().to_owned();
    let jitter = fastrand::f64();
    let news = engine.gates().close_all(why, Instant::now(), |times| {
        no_sooner_than(delay(times, BASE, CAP, jitter), retry_after)
    });
    if news {
        tracing::error!("submitting waits {words}. Nothing is lost");
    }
}

/// A request that Runway answered with a no: whether it is repeated is a matter of the refusal's class.
async fn refused(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    lane: &str,
    refusal: &Refusal,
) -> Result<(), StageError> {
    match refusal.class {
        RefusalClass::BadKey => {
            engine.close_for_key(&refusal.message);
            record(engine, job, Event::Requeued { hold: None }).await
        }
        RefusalClass::OutOfCredits => {
            let interval = engine.settings().poll_interval;
            let why = format!(
                "for credits: Runway says \"{}\"; buy some in Runway's portal",
                refusal.message
            );
            close_all(
                engine,
                Closed::Credits(why),
                Some(interval.saturating_mul(6)),
            );
            record(engine, job, Event::Requeued { hold: None }).await
        }
        RefusalClass::TooMany | RefusalClass::Overloaded => {
            let jitter = fastrand::f64();
            let why = format!(
                "Runway says \"{}\" (status {})",
                refusal.message, refusal.status
            );
            let news = engine.gates().close_lane(
                lane,
                Closed::Quota(format!("for {lane}: {why}")),
                Instant::now(),
                |times| no_sooner_than(delay(times, BASE, CAP, jitter), refusal.retry_after),
            );
            if news {
                tracing::warn!(lane, "submitting for this model waits: {why}");
            }
            let pause = no_sooner_than(delay(job.attempts, BASE, CAP, jitter), refusal.retry_after);
            let hold = Hold {
                reason: HoldReason::Retry(why),
                until: after(pause),
            };
            record(engine, job, Event::Requeued { hold: Some(hold) }).await
        }
        RefusalClass::Invalid
        | RefusalClass::Forbidden
        | RefusalClass::NotFound
        | RefusalClass::Other => {
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
