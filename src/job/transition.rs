//! The one total transition function.

use jiff::Timestamp;

use super::{Charge, Charged, Doubt, Event, Job, Progress, State, StateName, Task, Verdict};

/// An event that cannot happen to a job in its state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("job {job} is {state}: it cannot be {event}")]
pub struct Illegal {
    /// The job.
    pub job: String,
    /// The name of its state.
    pub state: StateName,
    /// The event's name in the history.
    pub event: &'static str,
}

/// The job after `event`, or why that cannot be.
///
/// Total: every pair of a state and an event has an answer. The job's `seq` grows by one with every event.
pub fn transition(job: &Job, event: Event, now: Timestamp) -> Result<Job, Illegal> {
    let name = event.as_str();
    let mut next = job.clone();
    // The state moves out, so that its data moves on without copies.
    let state = std::mem::replace(&mut next.state, State::Uploading);
    next.state = next_state(&mut next, state, event, now).ok_or_else(|| Illegal {
        job: job.id.to_string(),
        state: job.state_name(),
        event: name,
    })?;
    next.seq = job.seq.saturating_add(1);
    next.updated_at = now;
    Ok(next)
}

/// The transition table: the state after `event`; `None` where that event cannot happen. Changes the rest of `job`, too.
///
/// The last arm names every state and every event, so that a new one does not compile before its rows are written.
#[rustfmt::skip]
fn next_state(job: &mut Job, state: State, event: Event, now: Timestamp) -> Option<State> {
    use {Event as E, State as S};
    Some(match (state, event) {
        // Taking: its files are on their way to `working`.
        (S::Taking { wrong: None }, E::Moved { files }) => {
            job.files = files;
            S::Queued { hold: None }
        }
        (S::Taking { wrong: Some(failure) }, E::Moved { files }) => {
            job.files = files;
            close(Verdict::Failed(failure))
        }
        (S::Taking { .. }, E::NotTaken { files }) => {
            job.files = files;
            close(Verdict::Cancelled {
                why: "cancelled: its file was deleted or exchanged before it was taken".to_owned(),
                task: None,
            })
        }

        // Queued: it waits for its turn, or for what holds it.
        (S::Queued { .. }, E::Held { hold }) => S::Queued { hold },
        (S::Queued { .. }, E::Started) => S::Uploading,

        // Uploading: nothing that costs was sent.
        (S::Uploading, E::Requeued { hold }) => S::Queued { hold },
        (S::Uploading, E::Intent { used_before, files }) => {
            job.files = files;
            job.attempts = job.attempts.saturating_add(1);
            S::Submitting { intent_at: now, used_before }
        }

        // Submitting: the request that costs may be on its way.
        (S::Submitting { .. }, E::Requeued { hold }) => S::Queued { hold },
        (S::Submitting { .. }, E::Accepted { task, estimated, account }) => {
            run(job, task, estimated, account, now)
        }
        (S::Submitting { intent_at, used_before }, E::Doubtful { why, used_after }) => {
            S::InDoubt { doubt: Doubt { intent_at, why, used_before, used_after } }
        }

        // InDoubt: whatever settles it names the doubt that it means.
        (S::InDoubt { doubt }, E::Counted { intent_at, used_after })
            if doubt.intent_at == intent_at =>
        {
            S::InDoubt { doubt: Doubt { used_after: Some(used_after), ..doubt } }
        }
        (S::InDoubt { doubt }, E::Adopted { task, intent_at, account })
            if Some(doubt.intent_at) == intent_at =>
        {
            // Whoever adopts a task wants its output, whatever was asked before.
            job.cancel_asked = false;
            run(job, task, None, account, now)
        }
        (S::InDoubt { doubt }, E::Resubmitted { intent_at, hold })
            if doubt.intent_at == intent_at =>
        {
            charge_doubt(job, &doubt);
            // A person who says this wants it sent; a rule of the configuration knows nothing of what was asked.
            job.cancel_asked &= hold.is_some();
            S::Queued { hold }
        }
        (S::InDoubt { doubt }, E::Abandoned { failure, intent_at })
            if doubt.intent_at == intent_at =>
        {
            charge_doubt(job, &doubt);
            close(Verdict::Failed(failure))
        }

        // Running: Runway has it.
        (S::Running { task, .. }, E::Succeeded { charged }) => {
            settle_charge(job, charged);
            S::Downloading { task }
        }
        (S::Running { .. }, E::TaskRetry { charged, hold }) => {
            settle_charge(job, charged);
            job.task_failures = job.task_failures.saturating_add(1);
            S::Queued { hold: Some(hold) }
        }

        // Downloading and Delivering: its output is paid for.
        (S::Downloading { task }, E::Fetched { outputs }) => S::Delivering { task, outputs },
        (S::Delivering { task, .. }, E::Refetch) => S::Downloading { task },
        (S::Delivering { task, mut outputs }, E::Named { names }) if names.len() == outputs.len() => {
            for (output, name) in outputs.iter_mut().zip(names) {
                output.name = Some(name);
            }
            S::Delivering { task, outputs }
        }
        (S::Delivering { task, outputs }, E::Delivered)
            if outputs.iter().all(|output| output.name.is_some()) =>
        {
            let outputs = outputs.into_iter().filter_map(|output| output.name).collect();
            close(Verdict::Done { task, outputs })
        }

        // Closing: the verdict stands, the inputs move.
        (S::Closing { verdict, .. }, E::MovesChosen { moves }) => {
            S::Closing { verdict, moves: Some(moves) }
        }
        (S::Closing { verdict, .. }, E::Closed { files }) => {
            job.files = files;
            match verdict {
                Verdict::Done { task, outputs } => S::Done { task, outputs },
                Verdict::Failed(failure) => S::Failed { failure },
                Verdict::Cancelled { why, task } => S::Cancelled { why, task },
            }
        }

        // Failed and Cancelled: they may run again.
        (state @ (S::Failed { .. } | S::Cancelled { .. }), E::RetryAsked) => {
            job.retry_asked = true;
            state
        }
        (state @ (S::Failed { .. } | S::Cancelled { .. }), E::RetryDropped) => {
            job.retry_asked = false;
            state
        }
        (S::Failed { .. } | S::Cancelled { .. }, E::Retried { plan, wrong, files }) => {
            job.retry_asked = false;
            job.plan = plan.map(|plan| *plan);
            job.files = files;
            job.cancel_asked = false;
            job.task_failures = 0;
            S::Taking { wrong }
        }
        // While its files are on their way to run again, a task would be its second.
        (S::Failed { failure }, E::Adopted { task, intent_at: None, account })
            if failure.kind.may_have_a_task() && !job.retry_asked =>
        {
            if let Some(last) = job.charges.last_mut()
                && last.what == Charged::Doubt
            {
                // The request that was given up is this task: it costs once, and as the task.
                last.charged = Some(0.0);
            }
            job.cancel_asked = false;
            run(job, task, None, account, now)
        }

        // In several states: it fails, or is cancelled before its output is paid for.
        (
            S::Taking { .. } | S::Queued { .. } | S::Uploading | S::Submitting { .. } | S::Running { .. }
            | S::Downloading { .. } | S::Delivering { .. },
            E::Fails { failure, charged },
        ) => {
            settle_charge(job, charged);
            close(Verdict::Failed(failure))
        }
        (
            state @ (S::Taking { .. } | S::Queued { .. } | S::Uploading | S::Submitting { .. } | S::Running { .. }),
            E::CancelAsked,
        ) => {
            job.cancel_asked = true;
            state
        }
        (S::Taking { .. } | S::Queued { .. } | S::Uploading, E::Cancelled { why, charged }) => {
            settle_charge(job, charged);
            close(Verdict::Cancelled { why, task: None })
        }
        (S::Running { task, .. }, E::Cancelled { why, charged }) => {
            settle_charge(job, charged);
            close(Verdict::Cancelled { why, task: Some(task) })
        }

        // Everything else cannot happen.
        (
            S::Taking { .. } | S::Queued { .. } | S::Uploading | S::Submitting { .. } | S::InDoubt { .. }
            | S::Running { .. } | S::Downloading { .. } | S::Delivering { .. } | S::Closing { .. } | S::Done { .. }
            | S::Failed { .. } | S::Cancelled { .. },
            E::Moved { .. } | E::NotTaken { .. } | E::Held { .. } | E::Started | E::Requeued { .. } | E::Intent { .. }
            | E::Accepted { .. } | E::Adopted { .. } | E::Doubtful { .. } | E::Counted { .. } | E::Succeeded { .. }
            | E::TaskRetry { .. } | E::Fetched { .. } | E::Refetch | E::Named { .. } | E::Delivered | E::Fails { .. }
            | E::CancelAsked | E::Cancelled { .. } | E::MovesChosen { .. } | E::Closed { .. } | E::Abandoned { .. }
            | E::Resubmitted { .. } | E::RetryAsked | E::RetryDropped | E::Retried { .. },
        ) => return None,
    })
}

/// Begins to move the inputs to where the verdict sends them.
fn close(verdict: Verdict) -> State {
    State::Closing {
        verdict,
        moves: None,
    }
}

/// Follows a task that Runway has accepted.
fn run(
    job: &mut Job,
    task: String,
    estimated: Option<f64>,
    account: Option<String>,
    now: Timestamp,
) -> State {
    // A task that was given up and is adopted again costs once.
    let what = Charged::Task(task.clone());
    if job.charges.iter().all(|charge| charge.what != what) {
        job.charges.push(Charge {
            what,
            at: now,
            estimated: estimated.or_else(|| job.plan.as_ref().and_then(|plan| plan.estimated)),
            charged: None,
        });
    }
    State::Running {
        task: Task {
            id: task,
            accepted_at: now,
            account,
        },
        seen: Progress::default(),
    }
}

/// Counts a request in doubt that is given up or sent again: it may have been paid for, at the expected price.
fn charge_doubt(job: &mut Job, doubt: &Doubt) {
    job.charges.push(Charge {
        what: Charged::Doubt,
        at: doubt.intent_at,
        estimated: job.plan.as_ref().and_then(|plan| plan.estimated),
        charged: None,
    });
}

/// Writes down what the last task cost, where Runway said so.
fn settle_charge(job: &mut Job, charged: Option<f64>) {
    if let (Some(charge), Some(credits)) = (job.charges.last_mut(), charged) {
        charge.charged = Some(credits);
    }
}

#[cfg(test)]
mod tests;
