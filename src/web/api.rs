//! The JSON API: the questions of the control socket, over HTTP. `docs/API.md` describes it for programs.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{App, guard, trouble};
use crate::control::{Request, Way, answer};
use crate::job::{JobId, UnknownState};
use crate::journal::Filter;

/// Jobs on a page unless the question says how many.
const PAGE: u32 = 50;
/// Days of spending unless the question says how many.
const DAYS: u32 = 30;
/// The longest text that is searched for, in bytes.
const TEXT_MAX: usize = 200;

/// What can be asked of the list of jobs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    state: Option<String>,
    inbox: Option<String>,
    q: Option<String>,
    before: Option<String>,
    limit: Option<u32>,
}

fn filled(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

impl Wanted {
    fn request(self) -> Result<Request, String> {
        let mut states = Vec::new();
        for state in filled(self.state).iter().flat_map(|list| list.split(',')) {
            states.push(
                state
                    .parse()
                    .map_err(|error: UnknownState| error.to_string())?,
            );
        }
        let text = filled(self.q);
        if text.as_ref().is_some_and(|text| text.len() > TEXT_MAX) {
            return Err(format!("`q` is longer than {TEXT_MAX} bytes"));
        }
        let before = filled(self.before)
            .map(|text| {
                cursor(&text)
                    .ok_or_else(|| "`before` is not what an earlier page gave as `next`".to_owned())
            })
            .transpose()?;
        Ok(Request::Jobs {
            filter: Filter {
                states,
                inbox: filled(self.inbox),
                text,
            },
            before,
            limit: self.limit.unwrap_or(PAGE),
        })
    }
}

/// The place where a page begins, as the page before it told: the time in microseconds and the job.
fn cursor(text: &str) -> Option<(Timestamp, JobId)> {
    let (time, id) = text.split_once('-')?;
    let time = Timestamp::from_microsecond(time.parse().ok()?).ok()?;
    Some((time, id.parse().ok()?))
}

/// A page of jobs.
pub(super) async fn jobs(
    State(app): State<Arc<App>>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return trouble(StatusCode::BAD_REQUEST, &error.body_text()),
    };
    let request = match wanted.request() {
        Ok(request) => request,
        Err(why) => return trouble(StatusCode::BAD_REQUEST, &why),
    };
    let _turn = app.long_questions.acquire().await;
    match answer(&app.shared, request).await {
        Ok(mut jobs) => {
            let next = jobs.pop().unwrap_or_default();
            let next = serde_json::from_value::<Option<(Timestamp, JobId)>>(next)
                .ok()
                .flatten()
                .map(|(time, id)| format!("{}-{id}", time.as_microsecond()));
            Json(json!({ "jobs": jobs, "next": next })).into_response()
        }
        Err(why) => trouble(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// One job with all that is known of it.
pub(super) async fn job(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    match one(&app, &id).await {
        Ok(job) => Json(job).into_response(),
        Err(answer) => answer,
    }
}

/// The job of an id, which has to be whole: the page never guesses.
async fn one(app: &App, id: &str) -> Result<Value, Response> {
    let unknown = || trouble(StatusCode::NOT_FOUND, "there is no such job");
    let id = id.parse::<JobId>().map_err(|_| unknown())?;
    let known = super::files::job(app, &id).await;
    let known = known.map_err(|error| super::unreadable(&error))?;
    let request = Request::Job {
        job: id.to_string(),
    };
    let mut found = answer(&app.shared, request)
        .await
        .map_err(|_| unknown())?
        .into_iter();
    let line = found.next().unwrap_or_default();
    let details = found.next().unwrap_or_default();
    // What the list shows beside the line is shown here, too.
    let card = match known {
        Some(job) => {
            serde_json::to_value(crate::control::card(&app.shared, &job)).unwrap_or_default()
        }
        None => line,
    };
    Ok(json!({ "job": card, "details": details }))
}

/// Stops a job.
pub(super) async fn cancel(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    change(&app, &id, |job| Request::Cancel { job }).await
}

/// Runs a job again.
pub(super) async fn retry(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    change(&app, &id, |job| Request::Retry { job }).await
}

/// How a doubt is settled: `{"way": "adopt", "task": "…"}`, `{"way": "resubmit"}`, `{"way": "abandon"}`.
#[derive(Debug, Deserialize)]
#[serde(tag = "way", rename_all = "snake_case", deny_unknown_fields)]
enum Settlement {
    Adopt { task: String },
    Resubmit {},
    Abandon {},
}

/// Settles a doubt.
pub(super) async fn resolve(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let way = match serde_json::from_slice(&body) {
        Ok(Settlement::Adopt { task }) => Way::Adopt(task.trim().to_owned()),
        Ok(Settlement::Resubmit {}) => Way::Resubmit,
        Ok(Settlement::Abandon {}) => Way::Abandon,
        Err(error) => {
            let words = format!(
                "the body does not say how ({error}): it is {{\"way\": \"adopt\", \"task\": \"…\"}}, {{\"way\": \"resubmit\"}} \
                 or {{\"way\": \"abandon\"}}"
            );
            return trouble(StatusCode::BAD_REQUEST, &words);
        }
    };
    change(&app, &id, |job| Request::Resolve { job, way }).await
}

async fn change(app: &App, id: &str, request: impl FnOnce(String) -> Request) -> Response {
    if let Err(answer) = one(app, id).await {
        return answer;
    }
    // It is done to its end, also where whoever asked goes away.
    let (shared, request) = (app.shared.clone(), request(id.to_owned()));
    let work = async move { answer(&shared, request).await };
    let done = app.shared.engine.tasks.spawn("an answer", work).await;
    let done = done.unwrap_or_else(|error| Err(error.to_string()));
    match done {
        Ok(lines) => Json(json!({ "job": lines.into_iter().next() })).into_response(),
        Err(why) => trouble(StatusCode::CONFLICT, &why),
    }
}

/// All inboxes.
pub(super) async fn inboxes(State(app): State<Arc<App>>) -> Response {
    match answer(&app.shared, Request::Inboxes).await {
        Ok(inboxes) => Json(json!({ "inboxes": inboxes })).into_response(),
        Err(why) => trouble(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// What is going on.
pub(super) async fn summary(State(app): State<Arc<App>>) -> Response {
    let _turn = app.long_questions.acquire().await;
    match answer(&app.shared, Request::Summary).await {
        Ok(found) => Json(found.into_iter().next().unwrap_or_default()).into_response(),
        Err(why) => trouble(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// What can be asked of spending.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Days {
    days: Option<u32>,
}

/// What was spent.
pub(super) async fn spend(
    State(app): State<Arc<App>>,
    days: Result<Query<Days>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let days = match days {
        Ok(Query(days)) => days.days.unwrap_or(DAYS),
        Err(error) => return trouble(StatusCode::BAD_REQUEST, &error.body_text()),
    };
    let _turn = app.long_questions.acquire().await;
    match answer(&app.shared, Request::Spend { days }).await {
        Ok(spent) => Json(json!({ "days": days, "spent": spent })).into_response(),
        Err(why) => trouble(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// Whether every inbox has had its first look. Which one has not is told to those who may know.
pub(super) async fn ready(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let late: Vec<String> = app
        .shared
        .inboxes()
        .iter()
        .filter(|inbox| !inbox.has_looked())
        .map(|inbox| match inbox.is_stalled() {
            true => format!("inbox '{}': the folder does not answer", inbox.name),
            false => format!("inbox '{}' has not had its first look yet", inbox.name),
        })
        .collect();
    if late.is_empty() {
        return Json(json!({ "ready": true })).into_response();
    }
    let reasons = guard::is_known(&app.rules, &headers).then_some(late);
    let body = Json(json!({ "ready": false, "reasons": reasons }));
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::job::StateName;

    fn wanted(state: &str, before: &str) -> Wanted {
        Wanted {
            state: Some(state.to_owned()),
            inbox: None,
            q: None,
            before: Some(before.to_owned()),
            limit: None,
        }
    }

    #[test]
    fn a_page_begins_where_the_one_before_said() {
        let request = wanted("done,failed", "1790000000000000-0123456789")
            .request()
            .unwrap();
        let Request::Jobs { filter, before, .. } = request else {
            panic!("{request:?}");
        };
        assert_eq!(filter.states, [StateName::Done, StateName::Failed]);
        let (time, id) = before.unwrap();
        assert_eq!(time.as_second(), 1_790_000_000);
        assert_eq!(id.as_str(), "0123456789");
    }

    #[test]
    fn what_cannot_be_asked_is_told_in_words() {
        assert!(
            wanted("gone", "")
                .request()
                .unwrap_err()
                .contains("waiting")
        );
        for before in [
            "x",
            "1-",
            "-0123456789",
            "1-../../etc",
            "99999999999999999999-0123456789",
        ] {
            assert!(wanted("", before).request().is_err(), "{before}");
        }
    }
}
