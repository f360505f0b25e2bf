//! Lines and cards: one job, or one inbox, as people and programs see it while the daemon runs.

use std::collections::HashMap;
use std::time::Instant;

use super::Hub;
use crate::engine::{Engine, lane_of};
use crate::files::shown;
use crate::inbox::{InboxHandle, WaitingFile};
use crate::job::{Job, State, StateName};
use crate::status::{Card, InboxLine, Line, Shown, outputs};

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

/// The line of a job. What stops the queue is said of each job in it.
pub(crate) fn line(hub: &Hub, job: &Job) -> Line {
    let engine = &hub.engine;
    let outbox = engine
        .settings
        .inbox_of(job)
        .map(|inbox| inbox.places.outbox);
    let mut line = Line::of(job, outbox.as_deref());
    if is_queued(job) {
        let lane = lane_of(job);
        if let Some(why) = engine.inboxes.why_frozen(&job.inbox) {
            line.state = StateName::Waiting;
            line.reason = Some(format!("for its inbox, which cannot be used now: {why}"));
        } else if let Some(closed) = engine.account.gates().closed(&lane, Instant::now()) {
            line.state = StateName::Waiting;
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

pub(super) fn is_queued(job: &Job) -> bool {
    matches!(job.state, State::Queued { hold: None })
}

/// The lines of what is still in the inboxes, by inbox and name.
pub(super) fn waiting_lines(hub: &Hub) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for handle in hub.inboxes().iter() {
        let view = handle.view();
        let held = view.waiting.values().flat_map(|held| held.iter());
        lines.extend(held.map(|held| waiting_line(&handle.name, view.frozen.as_deref(), held)));
    }
    lines.sort_by(|a, b| (&a.inbox, &a.input).cmp(&(&b.inbox, &b.input)));
    lines
}

pub(super) fn waiting_line(inbox: &str, frozen: Option<&str>, held: &WaitingFile) -> Line {
    let waiting = &held.waiting;
    let reason = match frozen {
        Some(frozen) => format!("{}; the inbox is frozen: {frozen}", waiting.reason),
        None => waiting.reason.to_string(),
    };
    Line::waiting(&held.id, inbox, &waiting.input, reason, held.since)
}

/// A job with what the page shows of it.
pub(crate) fn card(hub: &Hub, job: &Job) -> Card {
    Card {
        line: line(hub, job),
        prompt: prompt(hub, job).map(str::to_owned),
        inputs: Shown::inputs(job),
        results: outputs(job)
            .iter()
            .enumerate()
            .map(|(index, output)| Shown::of(index, output.name()))
            .collect(),
        shown: shown(job.input.as_path().as_os_str()),
    }
}

/// The prompt that was or will be sent, where the endpoint has one.
pub(super) fn prompt<'a>(hub: &Hub, job: &'a Job) -> Option<&'a str> {
    let plan = job.plan.as_ref()?;
    let endpoint = hub.engine.catalogue.endpoint(&plan.endpoint)?;
    let field = endpoint.endpoint.prompt.as_deref()?;
    crate::json::get_field(&plan.body, field)?.as_str()
}

/// The names of open jobs' states: a queued job that cannot continue now is waiting. What stands in the way is looked up once
/// for each inbox and model, since thousands of jobs may wait for the same reason.
pub(crate) struct StateNames<'a> {
    engine: &'a Engine,
    stopped: HashMap<(String, String), bool>,
}

impl StateNames<'_> {
    pub(crate) fn new(engine: &Engine) -> StateNames<'_> {
        StateNames {
            engine,
            stopped: HashMap::new(),
        }
    }

    pub(crate) fn name(&mut self, job: &Job) -> StateName {
        if !is_queued(job) {
            return job.state_name();
        }
        let engine = self.engine;
        let lane = lane_of(job);
        let is_stopped = *self
            .stopped
            .entry((job.inbox.clone(), lane.clone()))
            .or_insert_with(|| {
                engine.inboxes.is_frozen(&job.inbox)
                    || engine
                        .account
                        .gates()
                        .closed(&lane, Instant::now())
                        .is_some()
            });
        match is_stopped {
            true => StateName::Waiting,
            false => job.state_name(),
        }
    }
}
