//! The control API: faults, settings, and the log of requests, over HTTP and in the same process.
//!
//! | path | does |
//! |---|---|
//! | `GET`, `POST /_simulator/faults` | shows the rules and how often each acted; replaces them with the list in the body |
//! | `GET /_simulator/log` | all requests; `?since=N` leaves out the first N |
//! | `GET /_simulator/tasks` | all tasks |
//! | `GET`, `POST /_simulator/settings` | shows the settings; changes those in the body |

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::{Answer, Denied, json_answer, refusal};
use super::clock::{Millis, now, to_timestamp};
use super::faults::Rule;
use super::log::Seen;
use super::state::{App, Change};
use super::tasks::{Status, Task};

/// The longest list of rules, in bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A task as the control API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeenTask {
    /// The id.
    pub id: String,
    /// The endpoint that started it, as sidecars name it.
    pub endpoint: String,
    /// The model, or the name of an endpoint without models.
    pub model: String,
    /// The status as the API writes it.
    pub status: String,
    /// When it was started.
    pub created_at: jiff::Timestamp,
    /// The estimated credits.
    pub estimated: f64,
    /// The charged credits, once it has ended.
    pub charged: Option<i64>,
    /// `failureCode`, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// SHA-256 of the body of the request that started it, in hexadecimal.
    pub body_sha256: String,
}

/// The requests and tasks of the simulator up to some moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// All requests, oldest first, except those to the control API.
    pub requests: Vec<Seen>,
    /// All tasks that were not deleted, oldest first.
    pub tasks: Vec<SeenTask>,
    /// The organization's credits.
    pub credit_balance: i64,
}

impl Snapshot {
    /// What callers did that they must never do.
    pub fn violations(&self) -> impl Iterator<Item = &str> {
        self.requests
            .iter()
            .flat_map(|seen| seen.violations.iter().map(String::as_str))
    }
}

pub(super) fn take_snapshot(app: &App) -> Snapshot {
    let now = now();
    let mut inner = app.lock();
    Snapshot {
        requests: inner.log.iter().cloned().collect(),
        tasks: inner.board.all(now).map(|task| show(task, now)).collect(),
        credit_balance: inner.board.balance(now),
    }
}

fn show(task: &Task, now: Millis) -> SeenTask {
    let status = task.status(now);
    SeenTask {
        id: task.order.id.clone(),
        endpoint: task.order.endpoint.clone(),
        model: task.order.model.clone(),
        status: status.as_str().to_owned(),
        created_at: to_timestamp(task.order.created),
        estimated: task.order.estimated,
        charged: status.cost(),
        failure: match &status {
            Status::Failed { code, .. } => Some(code.clone()),
            Status::Pending
            | Status::Throttled
            | Status::Running { .. }
            | Status::Succeeded { .. }
            | Status::Cancelled { .. } => None,
        },
        body_sha256: task.order.body_sha256.clone(),
    }
}

/// Handles all requests under `/_simulator/`.
pub(super) async fn handle(app: &App, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let body = match to_bytes(body, MAX_BODY_BYTES).await {
        Ok(body) => body,
        Err(error) => return refusal(StatusCode::PAYLOAD_TOO_LARGE, &error.to_string()),
    };
    let now = now();
    let get = parts.method == Method::GET;
    let post = parts.method == Method::POST;
    let value = match parts.uri.path() {
        "/_simulator/faults" if post => match read::<Vec<Rule>>(&body) {
            Ok(rules) => {
                let mut inner = app.lock();
                inner.faults.replace(rules);
                json!(inner.faults.active())
            }
            Err(denied) => return denied.by_api(),
        },
        "/_simulator/faults" if get => json!(app.lock().faults.active()),
        "/_simulator/settings" if post => match read::<Change>(&body) {
            Ok(change) => {
                let mut inner = app.lock();
                inner.change(change, now);
                json!(inner.current_settings(now))
            }
            Err(denied) => return denied.by_api(),
        },
        "/_simulator/settings" if get => json!(app.lock().current_settings(now)),
        "/_simulator/log" if get => log(app, parts.uri.query().unwrap_or_default()),
        "/_simulator/tasks" if get => {
            let mut inner = app.lock();
            let tasks: Vec<SeenTask> = inner.board.all(now).map(|task| show(task, now)).collect();
            json!(tasks)
        }
        "/_simulator/faults" | "/_simulator/settings" | "/_simulator/log" | "/_simulator/tasks" => {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed.");
        }
        _ => return refusal(StatusCode::NOT_FOUND, "The simulator has no such control."),
    };
    json_answer(StatusCode::OK, &value)
}

fn log(app: &App, query: &str) -> Value {
    let since: u64 = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("since=")?.parse().ok())
        .unwrap_or(0);
    let inner = app.lock();
    let requests: Vec<&Seen> = inner
        .log
        .iter()
        .filter(|seen| seen.number > since)
        .collect();
    json!({"count": inner.log.count(), "requests": requests})
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Denied> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("The body cannot be used: {error}.");
        Denied::new(StatusCode::BAD_REQUEST, message)
    })
}
