//! What every request goes through: an entry in the log, a possible fault, and the end of its answer.

use axum::http::{Method, StatusCode};
use serde_json::Value;

use super::answers::{Answer, content, empty, expired, json_answer, refusal, text, with_header};
use super::clock::{now, to_timestamp};
use super::connection::Peer;
use super::faults::{Action, Target};
use super::log::Seen;
use super::state::App;

/// Makes the log entry for a new request.
pub(super) fn begin(peer: &Peer, method: &Method, path: &str) -> Seen {
    Seen {
        number: 0,
        time: to_timestamp(now()),
        peer: peer.address.to_string(),
        method: method.to_string(),
        path: path.to_owned(),
        status: None,
        key_ok: None,
        body_sha256: None,
        body: None,
        task: None,
        fault: None,
        violations: Vec::new(),
    }
}

/// Chooses the fault for a request, if a rule applies.
pub(super) fn choose_fault(
    app: &App,
    target: Target,
    seen: &Seen,
    model: Option<&str>,
) -> Option<Action> {
    let mut inner = app.lock();
    inner
        .faults
        .choose(target, &seen.method, &seen.path, model, fastrand::f64)
}

/// The answer of a fault that replaces the request.
pub(super) fn answer_instead(fault: &Action) -> Option<Answer> {
    match fault {
        Action::Status {
            code,
            body,
            headers,
        } => {
            let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let answer = match body {
                None => refusal(
                    status,
                    status.canonical_reason().unwrap_or("Trouble on request."),
                ),
                Some(Value::String(body)) => text(status, body.as_str()),
                Some(value) => json_answer(status, value),
            };
            Some(headers.iter().fold(answer, |answer, (name, value)| {
                with_header(answer, name, value)
            }))
        }
        Action::Redirect { to } => Some(with_header(
            empty(StatusCode::TEMPORARY_REDIRECT),
            "location",
            to,
        )),
        Action::ResetBefore => Some(empty(StatusCode::NO_CONTENT)),
        Action::Expire => Some(expired()),
        Action::ResetAfter
        | Action::Slow { .. }
        | Action::Garbage { .. }
        | Action::NoId
        | Action::Truncate { .. }
        | Action::CorruptLength
        | Action::TaskFails { .. }
        | Action::Stuck => None,
    }
}

/// The last step of every request: what a fault does to the answer, the entry in the log, the wait.
pub(super) async fn conclude(
    app: &App,
    peer: &Peer,
    mut seen: Seen,
    fault: Option<Action>,
    mut answer: Answer,
) -> Answer {
    let mut wait = None;
    let mut reset = false;
    match &fault {
        Some(Action::ResetBefore | Action::ResetAfter) => reset = true,
        Some(Action::Slow { ms }) => wait = Some(std::time::Duration::from_millis(*ms)),
        Some(Action::Garbage { code, html }) => {
            let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::OK);
            answer = if *html {
                content(
                    status,
                    "text/html",
                    "<!doctype html><title>Sign in</title><p>This is the network's login page.</p>\n",
                )
            } else {
                content(status, "application/json", "{\"id\": \"17")
            };
        }
        Some(
            Action::Status { .. }
            | Action::NoId
            | Action::Truncate { .. }
            | Action::Expire
            | Action::CorruptLength
            | Action::TaskFails { .. }
            | Action::Stuck
            | Action::Redirect { .. },
        )
        | None => {}
    }
    seen.fault = fault.as_ref().map(|fault| fault.as_str().to_owned());
    seen.status = (!reset).then(|| answer.status().as_u16());
    app.lock().record(seen);
    if let Some(wait) = wait {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = app.closing.cancelled() => {}
        }
    }
    if reset {
        peer.reset();
    }
    answer
}
