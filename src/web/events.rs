//! What changes, told to browsers as it happens (server-sent events).
//!
//! One task looks for changes, whether one browser listens or fifty, and only while one does. It tells of each change of jobs
//! at most four times a second. A browser that reads too slowly misses some, is told so, and asks for everything again.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use super::app::{App, Events, Word, trouble};
use crate::control::Hub;
use crate::control::{card, inbox_line};
use crate::job::{Job, JobId, State as Standing};

/// At most one word in this time.
const AT_MOST_EVERY: Duration = Duration::from_millis(250);
/// What the ledger does not tell of (progress, the inboxes) is looked at so often.
const LOOK: Duration = Duration::from_millis(1000);
/// With more jobs than this the browser does better to ask for a page.
const JOBS_AT_ONCE: usize = 100;
/// A sign of life, so that proxies keep the connection.
const ALIVE: Duration = Duration::from_secs(10);

/// What tells one version of an open job from the next: what the ledger counts, what Runway last said, and what stands in its
/// way.
type Version = (u64, u64);

fn version(hub: &Hub, job: &Job) -> Version {
    let mut hash = DefaultHasher::new();
    hub.engine.in_flight.trouble(&job.id).hash(&mut hash);
    if let Standing::Running { seen, .. } = &job.state {
        seen.status.hash(&mut hash);
        // In whole percent, as it is shown.
        seen.progress
            .map(|progress| (progress * 100.0).round().to_bits())
            .hash(&mut hash);
    }
    (job.seq, hash.finish())
}

/// What tells one state of all inboxes and gates from the next.
fn surroundings(hub: &Hub) -> u64 {
    let mut hash = DefaultHasher::new();
    for handle in hub.inboxes().iter() {
        let line = inbox_line(handle);
        handle.revision().hash(&mut hash);
        (
            line.inbox,
            line.watched,
            line.frozen,
            line.problems,
            line.waiting,
        )
            .hash(&mut hash);
    }
    let gates = hub.engine.account.gates();
    let now = std::time::Instant::now();
    gates
        .stopped(now)
        .map(|closed| closed.as_str())
        .hash(&mut hash);
    let mut lanes: Vec<_> = gates
        .closed_lanes(now)
        .map(|(lane, closed)| (lane, closed.as_str()))
        .collect();
    lanes.sort_unstable();
    lanes.hash(&mut hash);
    hash.finish()
}

/// Looks for changes until the engine stops.
pub(super) async fn watch(hub: Arc<Hub>, events: Arc<Events>) {
    let engine = hub.engine.clone();
    let mut changes = engine.ledger.changes();
    let mut known: Option<(HashMap<JobId, Version>, u64)> = None;
    let mut number = 0_u64;
    while engine.pause(AT_MOST_EVERY).await {
        if events.words.receiver_count() == 0 {
            known = None;
            // Nobody to look for costs nothing.
            tokio::select! {
                () = events.came.notified() => continue,
                () = engine.stop.cancelled() => return,
            }
        }
        if known.is_some() {
            // Whichever comes first; the ledger lives as long as the engine.
            let _changed = tokio::time::timeout(LOOK, changes.changed()).await;
        }
        let jobs: HashMap<JobId, Arc<Job>> = engine
            .ledger
            .jobs()
            .into_iter()
            .map(|job| (job.id.clone(), job))
            .collect();
        let now: HashMap<JobId, Version> = jobs
            .iter()
            .map(|(id, job)| (id.clone(), version(&hub, job)))
            .collect();
        let around = surroundings(&hub);
        let Some((before, around_before)) = known.replace((now.clone(), around)) else {
            // What changed between a browser's question and this first look is in no word: it asks once more.
            tell(&events, None);
            continue;
        };
        let mut changed: Vec<&JobId> = now
            .iter()
            .filter(|(id, version)| before.get(*id) != Some(*version))
            .map(|(id, _)| id)
            .collect();
        changed.extend(before.keys().filter(|id| !now.contains_key(*id)));
        if changed.is_empty() && around == around_before {
            continue;
        }
        number = number.wrapping_add(1);
        let all = changed.len() <= JOBS_AT_ONCE && around == around_before;
        let mut cards = Vec::new();
        for id in changed.into_iter().take(JOBS_AT_ONCE) {
            match jobs.get(id) {
                Some(job) => cards.push(card(&hub, job)),
                None => match engine.ledger.journal().job(id).await {
                    Ok(job) => cards.extend(job.map(|job| card(&hub, &job))),
                    Err(error) => tracing::debug!(%error, "a job that has ended is not told of"),
                },
            }
        }
        let word = json!({ "number": number, "jobs": cards, "all": all }).to_string();
        tell(&events, Some(word.into()));
    }
}

fn tell(events: &Events, word: Word) {
    if events.words.send(word).is_err() {
        tracing::trace!("the last browser has gone");
    }
}

/// A browser listens.
pub(super) async fn stream(State(app): State<Arc<App>>) -> Response {
    let Ok(place) = app.events.room.clone().try_acquire_owned() else {
        return trouble(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many pages are open: close some, and this one continues automatically",
        );
    };
    let listener = Listener {
        words: app.events.words.subscribe(),
        greeted: false,
        stop: app.hub.engine.stop.clone(),
        _place: place,
    };
    app.events.came.notify_one();
    let events = stream::unfold(listener, async |mut listener| {
        let event = listener.next().await?;
        Some((Ok::<Event, Infallible>(event), listener))
    });
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(ALIVE))
        .into_response()
}

/// One browser's ear.
struct Listener {
    words: broadcast::Receiver<Word>,
    greeted: bool,
    stop: tokio_util::sync::CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        if !self.greeted {
            self.greeted = true;
            // Whatever changed until now, the browser asks for it now.
            return Some(Event::default().event("all").data("{}"));
        }
        let word = tokio::select! {
            () = self.stop.cancelled() => return None,
            word = self.words.recv() => word,
        };
        match word {
            Ok(Some(word)) => Some(Event::default().event("change").data(word)),
            Ok(None) | Err(RecvError::Lagged(_)) => Some(Event::default().event("all").data("{}")),
            Err(RecvError::Closed) => None,
        }
    }
}
