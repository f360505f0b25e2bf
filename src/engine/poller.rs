//! The poller: one queue for all running tasks, ordered by when each is due. A task is polled at most once in
//! `poll_interval`, with jitter, and less often after errors. No task is ever given up because of errors.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::time::DelayQueue;

use super::{Engine, time_after};
use crate::job::{
    Event, Failure, FailureKind, Hold, HoldReason, Job, JobId, Progress, State, Task,
};
use crate::policy::retry::Trouble;
use crate::runway::{
    CallError, Cancelled, Client, FailureClass, Task as Answer, TaskId, TaskStatus,
    classify_failure,
};

/// How many polls run at once.
const POLLS_AT_ONCE: usize = 16;

/// Computes when to ask next: after the interval plus up to a quarter of it, so that tasks are not polled all at once.
pub(super) fn next_poll(now: Instant, interval: Duration) -> Instant {
    now + interval.mul_f64(1.0 + fastrand::f64() * 0.25)
}

/// What the poller remembers about a task between two polls.
#[derive(Debug, Default, Clone)]
struct PollState {
    errors: u32,
    /// How often in a row the answer was 404.
    gone: u32,
    /// How often the task had succeeded without an output.
    empty: u32,
    cancel_sent: bool,
}

/// What a poll leads to.
enum Next {
    /// Ask again, not before this time.
    At(Instant),
    /// The task needs no more asking.
    Never,
}

struct Poller {
    engine: Arc<Engine>,
    /// All tasks that are followed. One that is known keeps its time: even a cancellation waits for the next poll.
    followed: HashMap<JobId, PollState>,
    queue: DelayQueue<JobId>,
    polls: JoinSet<(JobId, PollState, Next)>,
    /// The jobs of the polls in progress, in case one ends by a panic.
    polled: HashMap<Id, JobId>,
}

/// Runs until the engine stops.
pub(crate) async fn run(engine: Arc<Engine>, mut new: mpsc::UnboundedReceiver<JobId>) {
    let mut poller = Poller {
        engine: engine.clone(),
        followed: HashMap::new(),
        queue: DelayQueue::new(),
        polls: JoinSet::new(),
        polled: HashMap::new(),
    };
    loop {
        tokio::select! {
            () = engine.stop.cancelled() => return,
            id = new.recv() => match id {
                Some(id) => poller.follow(id),
                None => return,
            },
            Some(due) = poller.queue.next(), if poller.polls.len() < POLLS_AT_ONCE => {
                poller.begin(due.into_inner());
            }
            Some(done) = poller.polls.join_next_with_id() => poller.finish(done),
        }
    }
}

impl Poller {
    fn follow(&mut self, id: JobId) {
        if let Entry::Vacant(entry) = self.followed.entry(id.clone()) {
            entry.insert(PollState::default());
            self.schedule(id, self.default_time());
        }
    }

    fn default_time(&self) -> Instant {
        next_poll(Instant::now(), self.engine.settings.load().poll_interval)
    }

    fn schedule(&mut self, id: JobId, at: Instant) {
        self.queue.insert_at(id, at.into());
    }

    fn begin(&mut self, id: JobId) {
        let mut state = self.followed.get(&id).cloned().unwrap_or_default();
        let (engine, job) = (self.engine.clone(), id.clone());
        let poll = self.polls.spawn(async move {
            let next = poll(&engine, &job, &mut state).await;
            (job, state, next)
        });
        self.polled.insert(poll.id(), id);
    }

    fn finish(&mut self, done: Result<(Id, (JobId, PollState, Next)), JoinError>) {
        match done {
            Ok((task, (id, state, next))) => {
                self.polled.remove(&task);
                match next {
                    Next::At(at) => {
                        self.followed.insert(id.clone(), state);
                        self.schedule(id, at);
                    }
                    Next::Never => {
                        self.followed.remove(&id);
                    }
                }
            }
            Err(error) => {
                let Some(id) = self.polled.remove(&error.id()) else {
                    return;
                };
                tracing::error!(job = %id, %error, "a poll ended unexpectedly: its task is polled again");
                self.schedule(id, self.default_time());
            }
        }
    }
}

/// A poll of one task.
struct Poll<'a> {
    engine: &'a Engine,
    job: &'a Job,
    task: &'a Task,
    interval: Duration,
    /// When to ask again where nothing is wrong.
    later: Instant,
}

/// Asks about one task, and acts on the answer.
async fn poll(engine: &Engine, id: &JobId, state: &mut PollState) -> Next {
    let Some(job) = engine.ledger.get(id) else {
        return Next::Never;
    };
    let State::Running { task, .. } = &job.state else {
        return Next::Never;
    };
    let interval = engine.settings.load().poll_interval;
    let poll = Poll {
        engine,
        job: &job,
        task,
        interval,
        later: next_poll(Instant::now(), interval),
    };
    let Some(client) = engine.account.client() else {
        return Next::At(poll.later);
    };
    let (Ok(task_id), Some(plan)) = (task.id.parse::<TaskId>(), job.plan.as_ref()) else {
        return Next::At(poll.later);
    };
    engine.ledger.metrics().count_poll();
    match client.task(&plan.poll, &task_id).await {
        Ok(answer) => {
            if state.errors > 0 {
                engine.in_flight.clear_trouble(id);
            }
            (state.errors, state.gone) = (0, 0);
            if job.cancel_asked && !state.cancel_sent && !has_ended(&answer.status) {
                return poll.cancel(&client, &task_id, state).await;
            }
            poll.act(answer, state).await
        }
        Err(error) => {
            engine.ledger.metrics().count_call_failure("poll", &error);
            match error {
                CallError::NotFound { .. } => poll.handle_unknown(error, state).await,
                CallError::Transient { .. }
                | CallError::BadKey { .. }
                | CallError::Refused { .. }
                | CallError::Garbage { .. } => poll.back_off(&error, state),
            }
        }
    }
}

impl Poll<'_> {
    /// Cancels the task. What has ended is not deleted: a paid output is delivered. The next poll says what it cost.
    async fn cancel(&self, client: &Client, id: &TaskId, state: &mut PollState) -> Next {
        match client.cancel(id).await {
            Ok(Cancelled::Accepted | Cancelled::Gone) => {
                state.cancel_sent = true;
                Next::At(self.later)
            }
            Err(error) => {
                let metrics = self.engine.ledger.metrics();
                metrics.count_call_failure("cancel", &error);
                self.back_off(&error, state)
            }
        }
    }

    /// Runway answered 404.
    async fn handle_unknown(&self, error: CallError, state: &mut PollState) -> Next {
        // Another account does not know this one's tasks: the key was changed, and may be changed back.
        if self.engine.account.is_foreign(self.task) {
            if !self.job.cancel_asked {
                return self.back_off(&error, state);
            }
            let why = format!(
                "cancelled here; Runway could not be asked to cancel it, since the API key belongs to another account than the task \
                 {}, which may continue and cost credits",
                self.task.id
            );
            return self.end_cancelled(&why, None).await;
        }
        if state.cancel_sent {
            let why = "cancelled; Runway no longer lists the task";
            return self.end_cancelled(why, None).await;
        }
        state.gone = state.gone.saturating_add(1);
        // Giving it up early could give up what is paid for.
        if Trouble::TaskGone.is_repeated(state.gone) {
            let in_flight = &self.engine.in_flight;
            in_flight.note_trouble(&self.job.id, error.to_string());
            return Next::At(self.later);
        }
        let (id, task) = (&self.job.id, &self.task.id);
        let failure = Failure {
            kind: FailureKind::TaskGone,
            what: format!("Runway no longer knows the task {task}"),
            details: vec![error.to_string()],
            advice: format!(
                "Somebody deleted it in Runway's portal or by the API, or the key now belongs to another organization. If it is \
                 there after all, `taxiway resolve {id} --adopt {task}` fetches its output. `taxiway retry {id}` starts a new task, \
                 which costs again."
            ),
            task: Some(self.task.clone()),
        };
        self.fail(failure, None).await
    }

    /// There was no answer: asks again, after longer and longer pauses, but never stops asking.
    fn back_off(&self, error: &CallError, state: &mut PollState) -> Next {
        let (engine, job) = (self.engine, self.job);
        state.errors = state.errors.saturating_add(1);
        if state.errors == 3 {
            tracing::warn!(job = %job.id, %error, "its task cannot be polled; trying continues");
        }
        engine.in_flight.note_trouble(&job.id, error.to_string());
        let retry_after = match error {
            CallError::Transient { retry_after, .. } => *retry_after,
            CallError::BadKey { message, .. } => {
                engine.account.close_for_key(message);
                None
            }
            CallError::NotFound { .. } | CallError::Refused { .. } | CallError::Garbage { .. } => {
                None
            }
        };
        let pause = engine
            .settings
            .choose_pause(Trouble::Poll, state.errors, retry_after);
        Next::At(Instant::now() + pause.max(self.interval))
    }

    /// Acts on Runway's answer.
    async fn act(&self, answer: Answer, state: &mut PollState) -> Next {
        let charged = answer.cost;
        match answer.status {
            TaskStatus::Pending => self.observe("PENDING", None),
            TaskStatus::Throttled => self.observe("THROTTLED", None),
            TaskStatus::Running { progress } => self.observe("RUNNING", progress),
            TaskStatus::Other(status) => self.observe(&status, None),
            TaskStatus::Succeeded { output } if output.is_empty() => {
                state.empty = state.empty.saturating_add(1);
                self.observe("SUCCEEDED", Some(1.0));
                if !Trouble::NoOutput.is_repeated(state.empty) {
                    return self.fail_without_output(charged).await;
                }
            }
            TaskStatus::Succeeded { output } => {
                let (engine, job) = (self.engine, self.job);
                engine.in_flight.keep_outputs(&job.id, output);
                tracing::info!(job = %job.id, input = %job.input, task = self.task.id, "succeeded");
                return self.end(Event::Succeeded { charged }).await;
            }
            TaskStatus::Failed { failure, code } => {
                return self
                    .handle_failure(&failure, code.as_deref(), charged)
                    .await;
            }
            TaskStatus::Cancelled if self.job.cancel_asked => {
                return self.end_cancelled("cancelled", charged).await;
            }
            TaskStatus::Cancelled => {
                let why = "cancelled at Runway, not by taxiway";
                return self.end_cancelled(why, charged).await;
            }
        }
        Next::At(self.later)
    }

    fn observe(&self, status: &str, progress: Option<f64>) {
        let seen = Progress {
            status: status.to_owned(),
            progress,
        };
        self.engine.ledger.observe(&self.job.id, seen);
    }

    async fn fail_without_output(&self, charged: Option<f64>) -> Next {
        let (id, task) = (&self.job.id, &self.task.id);
        let failure = Failure {
            kind: FailureKind::Output,
            what: "Runway says that the task succeeded, but lists no output".to_owned(),
            details: vec![format!("task {task}")],
            advice: format!(
                "Look for the task in Runway's portal, and ask Runway's support with the task's id. Once it lists its output, \
                 `taxiway resolve {id} --adopt {task}` fetches it."
            ),
            task: Some(self.task.clone()),
        };
        self.fail(failure, charged).await
    }

    /// The task failed at Runway: it is repeated, or the job fails.
    async fn handle_failure(
        &self,
        message: &str,
        code: Option<&str>,
        charged: Option<f64>,
    ) -> Next {
        let (engine, job) = (self.engine, self.job);
        let label = code.unwrap_or("no failure code");
        let class = classify_failure(code);
        let trouble = Trouble::from(class);
        if trouble.is_repeated(job.task_failures) && !job.cancel_asked {
            let failed = job.task_failures.saturating_add(1);
            let pause = engine.settings.choose_pause(trouble, failed, None);
            tracing::warn!(job = %job.id, input = %job.input, code = label, "its task failed at Runway and is repeated");
            let hold = Hold {
                reason: HoldReason::Retry(format!("Runway's task failed ({label}: {message})")),
                until: Some(time_after(pause)),
            };
            return self.end(Event::TaskRetry { charged, hold }).await;
        }
        let failure = Failure {
            kind: FailureKind::Task,
            what: format!("Runway's task failed: {message}"),
            details: vec![
                format!("failure code: {label}"),
                format!("task {}", self.task.id),
            ],
            advice: advise(class).to_owned(),
            task: Some(self.task.clone()),
        };
        self.fail(failure, charged).await
    }

    async fn fail(&self, failure: Failure, charged: Option<f64>) -> Next {
        self.end(Event::Fails { failure, charged }).await
    }

    async fn end_cancelled(&self, why: &str, charged: Option<f64>) -> Next {
        let why = why.to_owned();
        self.end(Event::Cancelled { why, charged }).await
    }

    /// Records the event after which the task needs no more asking.
    async fn end(&self, event: Event) -> Next {
        self.engine.record(&self.job.id, event).await;
        Next::Never
    }
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

/// Says what to do after a task failed for good.
fn advise(class: FailureClass) -> &'static str {
    match class {
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
    }
}
