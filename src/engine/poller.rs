//! The poller: one due-ordered queue for all running tasks. Each task is asked about at most once in `poll_interval`, with
//! jitter, and later after trouble; no task is ever given up.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::sync::mpsc;

use super::{Engine, after, dispatch};
use crate::job::{Event, Failure, FailureKind, Hold, HoldReason, Job, JobId, Seen, State, Task};
use crate::policy::retry::Trouble;
use crate::runway::{
    CallError, Cancelled, FailureClass, Task as Answer, TaskId, TaskStatus, classify_failure,
};

/// At most this many questions at once.
const POLLS_AT_ONCE: usize = 16;

/// When to ask next: after the interval, plus up to a quarter of it, so that tasks do not march in step.
pub fn due(now: Instant, interval: Duration) -> Instant {
    now.checked_add(interval.mul_f64(1.0 + fastrand::f64() * 0.25))
        .unwrap_or(now)
}

/// What the poller remembers of a task between two questions.
#[derive(Debug, Default, Clone)]
struct Memory {
    /// When the next question is due; entries of the queue with another time are stale.
    due: Option<Instant>,
    errors: u32,
    /// How often in a row it answered 404.
    gone: u32,
    /// How often it succeeded without an output.
    empty: u32,
    cancel_sent: bool,
}

/// Runs until the engine stops.
pub async fn run(engine: Arc<Engine>, mut queue: mpsc::UnboundedReceiver<JobId>) {
    let mut heap: BinaryHeap<Reverse<(Instant, JobId)>> = BinaryHeap::new();
    let memories: Arc<Mutex<HashMap<JobId, Memory>>> = Arc::default();
    let asking: Arc<Mutex<HashSet<JobId>>> = Arc::default();
    let room = Arc::new(Semaphore::new(POLLS_AT_ONCE));
    let (again, mut asked) = mpsc::unbounded_channel::<(JobId, Option<Instant>)>();
    loop {
        let next = heap.peek().map(|Reverse((at, _))| *at);
        let timer = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let schedule = tokio::select! {
            () = engine.stop.cancelled() => return,
            () = timer => None,
            new = queue.recv() => match new {
                // One that is known keeps its time: a cancellation waits for the next question, too.
                Some(id) if lock(&memories).get(&id).is_some_and(|memory| memory.due.is_some()) => {
                    continue;
                }
                Some(id) => Some((id, Some(dispatch::first_poll(&engine)))),
                None => return,
            },
            done = asked.recv() => match done {
                Some((id, at)) => {
                    lock(&asking).remove(&id);
                    Some((id, at))
                }
                None => return,
            },
        };
        match schedule {
            Some((id, Some(at))) => {
                let mut memories = lock(&memories);
                let memory = memories.entry(id.clone()).or_default();
                memory.due = Some(at);
                heap.push(Reverse((at, id)));
            }
            Some((id, None)) => {
                lock(&memories).remove(&id);
            }
            None => {}
        }
        let now = Instant::now();
        while let Some(Reverse((at, _))) = heap.peek() {
            if *at > now {
                break;
            }
            let Some(Reverse((at, id))) = heap.pop() else {
                break;
            };
            let current = lock(&memories)
                .get(&id)
                .is_some_and(|memory| memory.due == Some(at));
            if !current || !lock(&asking).insert(id.clone()) {
                continue;
            }
            let (engine, memories, room, again) = (
                engine.clone(),
                memories.clone(),
                room.clone(),
                again.clone(),
            );
            let tasks = engine.tasks.clone();
            let question = Question {
                // Should the question break off, the task is asked about again.
                again_at: Some(due(Instant::now(), engine.settings().poll_interval)),
                id,
                again,
            };
            tasks.spawn(async move {
                // The whole of it moves in here, and ends with this task.
                let mut question = question;
                let _permit = room.acquire().await;
                let mut memory = lock(&memories)
                    .get(&question.id)
                    .cloned()
                    .unwrap_or_default();
                let at = tokio::select! {
                    at = ask(&engine, &question.id, &mut memory) => at,
                    () = engine.stop.cancelled() => return,
                };
                if at.is_some() {
                    lock(&memories).insert(question.id.clone(), memory);
                }
                question.again_at = at;
            });
        }
    }
}

/// A question under way; however it ends, the poller hears of it.
struct Question {
    id: JobId,
    again_at: Option<Instant>,
    again: mpsc::UnboundedSender<(JobId, Option<Instant>)>,
}

impl Drop for Question {
    fn drop(&mut self) {
        if self.again.send((self.id.clone(), self.again_at)).is_err() {
            tracing::trace!("the poller is gone");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks about one task, and acts on the answer. Answers when to ask again, or `None` when the task needs no more asking.
async fn ask(engine: &Arc<Engine>, id: &JobId, memory: &mut Memory) -> Option<Instant> {
    let job = engine.ledger.get(id)?;
    let State::Running { task, .. } = &job.state else {
        return None;
    };
    let interval = engine.settings().poll_interval;
    let later = Some(due(Instant::now(), interval));
    let Some(client) = engine.client() else {
        return later;
    };
    let (Ok(task_id), Some(plan)) = (task.id.parse::<TaskId>(), job.plan.as_ref()) else {
        return later;
    };
    engine.ledger.metrics().polled();
    let answer = client.task(&plan.poll, &task_id).await;
    if let Err(error) = &answer {
        engine.ledger.metrics().call_failed("poll", error);
    }
    match answer {
        Ok(answer) => {
            if memory.errors > 0 {
                engine.clear_trouble(id);
            }
            (memory.errors, memory.gone) = (0, 0);
            if job.cancel_asked && !memory.cancel_sent && !has_ended(&answer.status) {
                // What has ended is not deleted: a paid output is delivered. The next question tells what it cost.
                return match client.cancel(&task_id).await {
                    Ok(Cancelled::Accepted | Cancelled::Gone) => {
                        memory.cancel_sent = true;
                        later
                    }
                    Err(error) => {
                        engine.ledger.metrics().call_failed("cancel", &error);
                        trouble(engine, &job, &error, interval, memory)
                    }
                };
            }
            act(engine, &job, task, answer, memory)
                .await
                .then_some(later)
                .flatten()
        }
        // Another account knows nothing of this one's tasks: the key was changed, and may be changed back.
        Err(error @ CallError::NotFound { .. }) if is_of_another_account(engine, task) => {
            if !job.cancel_asked {
                return trouble(engine, &job, &error, interval, memory);
            }
            let why = format!(
                "cancelled here; Runway could not be told, since the API key is another account's than that of the task {}, which may \
                 go on and cost",
                task.id
            );
            cancelled(engine, id, &why, None).await;
            None
        }
        Err(CallError::NotFound { .. }) if memory.cancel_sent => {
            cancelled(
                engine,
                id,
                "cancelled; Runway no longer lists the task",
                None,
            )
            .await;
            None
        }
        Err(error @ CallError::NotFound { .. }) => {
            memory.gone = memory.gone.saturating_add(1);
            // Giving it up early could give up what is paid for.
            if Trouble::TaskGone.is_repeated(memory.gone) {
                engine.note_trouble(id, error.to_string());
                return later;
            }
            let failure = Failure {
                kind: FailureKind::TaskGone,
                what: format!("Runway does not know the task {} any more", task.id),
                details: vec![error.to_string()],
                advice: format!(
                    "Somebody deleted it in Runway's portal or by the API, or the key now belongs to another organization. If it is \
                     there after all, `taxiway resolve {id} --adopt {}` fetches its output. `taxiway retry {id}` starts a new task, \
                     which costs again.",
                    task.id
                ),
                task: Some(task.clone()),
            };
            engine
                .record(
                    id,
                    Event::Fails {
                        failure,
                        charged: None,
                    },
                )
                .await;
            None
        }
        Err(error) => trouble(engine, &job, &error, interval, memory),
    }
}

/// Whether a task was started with a key of another account than the present one.
pub fn is_of_another_account(engine: &Engine, task: &Task) -> bool {
    let of_task = task.account.as_ref();
    of_task.is_some_and(|account| *account != engine.account())
}

/// Whether a task can no longer be stopped.
fn has_ended(status: &TaskStatus) -> bool {
    match status {
        TaskStatus::Succeeded { .. } | TaskStatus::Failed { .. } | TaskStatus::Cancelled => true,
        TaskStatus::Pending
        | TaskStatus::Throttled
        | TaskStatus::Running { .. }
        | TaskStatus::Other(_) => false,
    }
}

/// The answer did not come: ask again, ever later, but never stop asking.
fn trouble(
    engine: &Engine,
    job: &Job,
    error: &CallError,
    interval: Duration,
    memory: &mut Memory,
) -> Option<Instant> {
    memory.errors = memory.errors.saturating_add(1);
    if memory.errors == 3 {
        tracing::warn!(job = %job.id, %error, "its task cannot be asked about; asking goes on");
    }
    engine.note_trouble(&job.id, error.to_string());
    let retry_after = match error {
        CallError::Transient { retry_after, .. } => *retry_after,
        CallError::BadKey { message, .. } => {
            engine.close_for_key(message);
            None
        }
        CallError::NotFound { .. } | CallError::Refused { .. } | CallError::Garbage { .. } => None,
    };
    let pause = engine
        .retry_in(Trouble::Poll, memory.errors, retry_after)
        .max(interval);
    let now = Instant::now();
    Some(now.checked_add(pause).unwrap_or(now))
}

/// Acts on Runway's answer. Answers whether the task has to be asked about again.
async fn act(
    engine: &Arc<Engine>,
    job: &Job,
    task: &Task,
    answer: Answer,
    memory: &mut Memory,
) -> bool {
    let charged = answer.cost;
    let seen = |status: &str, progress| Seen {
        status: status.to_owned(),
        progress,
    };
    match answer.status {
        TaskStatus::Pending => engine.ledger.observe(&job.id, seen("PENDING", None)),
        TaskStatus::Throttled => engine.ledger.observe(&job.id, seen("THROTTLED", None)),
        TaskStatus::Running { progress } => {
            engine.ledger.observe(&job.id, seen("RUNNING", progress))
        }
        TaskStatus::Other(status) => engine.ledger.observe(&job.id, seen(&status, None)),
        TaskStatus::Succeeded { output } if output.is_empty() => {
            memory.empty = memory.empty.saturating_add(1);
            engine.ledger.observe(&job.id, seen("SUCCEEDED", Some(1.0)));
            if Trouble::NoOutput.is_repeated(memory.empty) {
                return true;
            }
            let failure = Failure {
                kind: FailureKind::Output,
                what: "Runway says that the task succeeded, and lists no output".to_owned(),
                details: vec![format!("task {}", task.id)],
                advice: format!(
                    "Look for the task in Runway's portal, and ask Runway's support with the task's id. Once it lists its output, \
                     `taxiway resolve {} --adopt {}` fetches it.",
                    job.id, task.id
                ),
                task: Some(task.clone()),
            };
            engine
                .record(&job.id, Event::Fails { failure, charged })
                .await;
            return false;
        }
        TaskStatus::Succeeded { output } => {
            engine.keep_outputs(&job.id, output);
            tracing::info!(job = %job.id, input = %job.input, task = task.id, "succeeded");
            engine.record(&job.id, Event::Succeeded { charged }).await;
            return false;
        }
        TaskStatus::Failed { failure, code } => {
            failed(engine, job, task, failure, code, charged).await;
            return false;
        }
        TaskStatus::Cancelled => {
            let why = if job.cancel_asked {
                "cancelled"
            } else {
                "cancelled at Runway, not by taxiway"
            };
            cancelled(engine, &job.id, why, charged).await;
            return false;
        }
    }
    true
}

async fn cancelled(engine: &Arc<Engine>, id: &JobId, why: &str, charged: Option<f64>) {
    let event = Event::Cancelled {
        why: why.to_owned(),
        charged,
    };
    engine.record(id, event).await;
}

async fn failed(
    engine: &Arc<Engine>,
    job: &Job,
    task: &Task,
    words: String,
    code: Option<String>,
    charged: Option<f64>,
) {
    let label = code.clone().unwrap_or_else(|| "no failure code".to_owned());
    let class = classify_failure(code.as_deref());
    let trouble = Trouble::from(class);
    if trouble.is_repeated(job.task_failures) && !job.cancel_asked {
        let failed = job.task_failures.saturating_add(1);
        let until = after(engine.retry_in(trouble, failed, None));
        tracing::warn!(job = %job.id, input = %job.input, code = label, "its task failed at Runway and is repeated");
        let hold = Hold {
            reason: HoldReason::Retry(format!("Runway's task failed ({label}: {words})")),
            until,
        };
        engine
            .record(&job.id, Event::TaskRetry { charged, hold })
            .await;
        return;
    }
    let advice = match class {
        FailureClass::Moderation { input: true } => {
            "Runway's moderation refused the input; such requests are not refunded. Change the prompt or the picture, then move \
             the files back to the inbox. Sending the same again would cost again."
        }
        FailureClass::Moderation { input: false } => {
            "Runway's moderation refused the result. Change the prompt, then move the files back to the inbox."
        }
        FailureClass::MayRepeat => {
            "Runway failed several times. Move the files back to the inbox later, or use `taxiway retry`."
        }
        FailureClass::BadAsset => {
            "Runway could not use a file. Save it again in another format, then move the files back to the inbox."
        }
        FailureClass::Other => {
            "Read what Runway says, then move the files back to the inbox to try again."
        }
    };
    let failure = Failure {
        kind: FailureKind::Task,
        what: format!("Runway's task failed: {words}"),
        details: vec![
            format!("failure code: {label}"),
            format!("task {}", task.id),
        ],
        advice: advice.to_owned(),
        task: Some(task.clone()),
    };
    engine
        .record(&job.id, Event::Fails { failure, charged })
        .await;
}
