//! The JSON API: what the control socket answers, over HTTP. `docs/API.md` describes it for programs.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::app::App;
use super::guard;
use crate::control::{
    Cursor, Refusal, Reply, Request, Resolution, Source, Summary, answer, card,
    inboxes as list_inboxes, jobs as list_jobs, spent, summarize,
};
use crate::job::{JobId, UnknownState};
use crate::journal::Filter;
use crate::status::InboxLine;

/// Jobs on a page unless the request says how many.
const PAGE: u32 = 50;
/// Days of spending unless the request says how many.
const DAYS: u32 = 30;
/// The longest text that is searched for, in bytes.
const TEXT_MAX: usize = 200;

/// The parameters of the list of jobs.
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
    fn parse(self) -> Result<(Filter, Option<Cursor>, u32), Refusal> {
        let states = filled(self.state);
        let states = states
            .iter()
            .flat_map(|list| list.split(','))
            .map(str::parse);
        let states = states
            .collect::<Result<_, _>>()
            .map_err(|error: UnknownState| Refusal::Invalid(error.to_string()))?;
        let text = filled(self.q);
        if text.as_ref().is_some_and(|text| text.len() > TEXT_MAX) {
            let why = format!("`q` is longer than {TEXT_MAX} bytes");
            return Err(Refusal::Invalid(why));
        }
        let before = match filled(self.before) {
            None => None,
            Some(text) => Some(parse_cursor(&text).ok_or_else(|| {
                Refusal::Invalid("`before` is not what an earlier page gave as `next`".to_owned())
            })?),
        };
        let filter = Filter {
            states,
            inbox: filled(self.inbox),
            text,
        };
        Ok((filter, before, self.limit.unwrap_or(PAGE)))
    }
}

/// The end of a page as the page itself gave it: the time in microseconds and the job.
fn parse_cursor(text: &str) -> Option<Cursor> {
    let (time, id) = text.split_once('-')?;
    let time = Timestamp::from_microsecond(time.parse().ok()?).ok()?;
    Some((time, id.parse().ok()?))
}

fn parameters<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    match query {
        Ok(Query(parameters)) => Ok(parameters),
        Err(error) => Err(Refusal::Invalid(error.body_text())),
    }
}

/// A page of jobs.
pub(super) async fn jobs(
    State(app): State<Arc<App>>,
    query: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Refusal> {
    let (filter, before, limit) = parameters(query)?.parse()?;
    let _turn = app.long_questions.acquire().await;
    let page = list_jobs(&app.hub, &filter, before.as_ref(), limit).await?;
    let next = page.next;
    let next = next.map(|(time, id)| format!("{}-{id}", time.as_microsecond()));
    Ok(Json(json!({ "jobs": page.jobs, "next": next })).into_response())
}

/// A job's name has to be whole: the page never guesses.
fn parse_id(id: &str) -> Result<JobId, Refusal> {
    id.parse().map_err(|_| unknown())
}

fn unknown() -> Refusal {
    Refusal::NotFound("there is no such job".to_owned())
}

/// Asks about one job, or for a change of it.
async fn ask(source: &Source<'_>, request: Request) -> Result<Reply, Refusal> {
    match answer(source, request).await {
        Err(Refusal::NotFound(_)) => Err(unknown()),
        answer => answer,
    }
}

/// One job with all that is known of it.
pub(super) async fn job(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = parse_id(&id)?;
    let source = Source::Hub(&app.hub);
    let known = source.job(&id).await?;
    let request = Request::Job {
        job: id.to_string(),
    };
    let Reply::Job(line, details) = ask(&source, request).await? else {
        return Err(unknown());
    };
    // What the list shows of a job is shown here, too.
    let job = match known {
        Some(job) => json!(card(&app.hub, &job)),
        None => json!(line),
    };
    Ok(Json(json!({ "job": job, "details": details })).into_response())
}

/// Stops a job.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    change(&app, &id, |job| Request::Cancel { job }).await
}

/// Runs a job again.
pub(super) async fn retry(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
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
) -> Result<Response, Refusal> {
    let way = match serde_json::from_slice(&body) {
        Ok(Settlement::Adopt { task }) => Resolution::Adopt(task.trim().to_owned()),
        Ok(Settlement::Resubmit {}) => Resolution::Resubmit,
        Ok(Settlement::Abandon {}) => Resolution::Abandon,
        Err(error) => {
            return Err(Refusal::Invalid(format!(
                "the body does not say how ({error}): it is {{\"way\": \"adopt\", \"task\": \"…\"}}, {{\"way\": \"resubmit\"}} \
                 or {{\"way\": \"abandon\"}}"
            )));
        }
    };
    change(&app, &id, |job| Request::Resolve { job, way }).await
}

async fn change(
    app: &App,
    id: &str,
    request: impl FnOnce(String) -> Request,
) -> Result<Response, Refusal> {
    let request = request(parse_id(id)?.to_string());
    // It is done to its end, also where the browser goes away.
    let hub = app.hub.clone();
    let work = async move { ask(&Source::Hub(&hub), request).await };
    let done = app.hub.engine.tasks.spawn("an answer", work).await;
    match done.map_err(|error| Refusal::Conflict(error.to_string()))?? {
        Reply::Changed(line) => Ok(Json(json!({ "job": line })).into_response()),
        reply => Err(Refusal::Unavailable(format!("no change: {reply:?}"))),
    }
}

/// All inboxes.
pub(super) async fn inboxes(State(app): State<Arc<App>>) -> Response {
    let inboxes: Vec<InboxLine> = list_inboxes(&app.hub);
    Json(json!({ "inboxes": inboxes })).into_response()
}

/// What is going on.
pub(super) async fn summary(State(app): State<Arc<App>>) -> Result<Json<Summary>, Refusal> {
    let _turn = app.long_questions.acquire().await;
    Ok(Json(summarize(&app.hub).await?))
}

/// The parameters of spending.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Days {
    days: Option<u32>,
}

/// What was spent.
pub(super) async fn spend(
    State(app): State<Arc<App>>,
    query: Result<Query<Days>, QueryRejection>,
) -> Result<Response, Refusal> {
    let days = parameters(query)?.days.unwrap_or(DAYS);
    let _turn = app.long_questions.acquire().await;
    let spent = spent(&Source::Hub(&app.hub), days).await?;
    Ok(Json(json!({ "days": days, "spent": spent })).into_response())
}

/// Whether every inbox has had its first scan. Which one has not is only for those who know the token.
pub(super) async fn ready(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let late: Vec<String> = app
        .hub
        .inboxes()
        .iter()
        .filter(|inbox| !inbox.has_looked())
        .map(|inbox| match inbox.is_stalled() {
            true => format!("inbox '{}': the folder does not respond", inbox.name),
            false => format!("inbox '{}' has not had its first scan yet", inbox.name),
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
        let (filter, before, _) = wanted("done,failed", "1790000000000000-0123456789")
            .parse()
            .unwrap();
        assert_eq!(filter.states, [StateName::Done, StateName::Failed]);
        let (time, id) = before.unwrap();
        assert_eq!(time.as_second(), 1_790_000_000);
        assert_eq!(id.as_str(), "0123456789");
    }

    #[test]
    fn what_cannot_be_asked_is_refused_in_words() {
        assert!(
            wanted("gone", "")
                .parse()
                .unwrap_err()
                .to_string()
                .contains("waiting")
        );
        for before in [
            "x",
            "1-",
            "-0123456789",
            "1-../../etc",
            "99999999999999999999-0123456789",
        ] {
            assert!(wanted("", before).parse().is_err(), "{before}");
        }
    }
}
