//! Each request from beginning to end: its route, its fault, its answer.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::answers::{Answer, Denied, empty, invalid, json_answer, refusal, with_header};
use super::board::Refused;
use super::clock::{Millis, now, to_timestamp};
use super::connection::Peer;
use super::exchange::{answer_instead, begin, choose_fault, conclude};
use super::faults::{Action, Target};
use super::log::{Seen, shorten};
use super::state::App;
use super::submit::{Context, NODES, list_lanes, make_order};
use super::tasks::{Kind, Order, Status, Task};
use super::{control, files, uploads};
use crate::catalogue::EndpointRef;
use crate::files::hash_bytes;

const VERSION: &str = "2024-11-06";
/// The longest request, in bytes: several data URIs of the greatest length.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Handles every request.
pub(super) async fn handle(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Answer {
    let path = request.uri().path();
    if path.starts_with("/_simulator/") {
        return control::handle(&app, request).await;
    }
    let mut seen = begin(&peer, request.method(), path);
    if let Some(upload) = path.strip_prefix("/_storage/upload/") {
        let id = upload.to_owned();
        return uploads::receive(&app, &peer, seen, &id, request).await;
    }
    if path.starts_with("/_storage/output/") {
        return files::deliver(&app, &peer, seen, &request.into_parts().0).await;
    }
    let (parts, body) = request.into_parts();
    let body = match to_bytes(body, MAX_BODY_BYTES).await {
        Ok(body) => body,
        Err(error) => {
            let answer = refusal(StatusCode::PAYLOAD_TOO_LARGE, "The body cannot be read.");
            tracing::debug!(%error, "a request's body was cut off or is too long");
            return conclude(&app, &peer, seen, None, answer).await;
        }
    };
    let value: Option<Value> = serde_json::from_slice(&body).ok();
    if !body.is_empty() {
        seen.body_sha256 = Some(hash_bytes(&body));
        seen.body = value.as_ref().map(shorten);
    }
    let route = Route::of(&app, parts.uri.path());
    let target = match &route {
        Some(Route::Start(_)) if parts.method == Method::POST => Target::Start,
        Some(
            Route::Start(_)
            | Route::Organization
            | Route::Usage
            | Route::Uploads
            | Route::Task { .. },
        )
        | None => Target::Call,
    };
    let model = value.as_ref().and_then(|body| body.get("model")?.as_str());
    let fault = choose_fault(&app, target, &seen, model);
    let answer = match fault.as_ref().and_then(answer_instead) {
        Some(answer) => answer,
        None => {
            let call = Call {
                app: &app,
                parts: &parts,
                value: value.as_ref(),
                fault: fault.as_ref(),
                now: now(),
            };
            call.answer(route, &mut seen)
        }
    };
    conclude(&app, &peer, seen, fault, answer).await
}

/// A route of the API.
enum Route<'a> {
    Organization,
    Usage,
    Uploads,
    Task { kind: Kind, id: String },
    Start(EndpointRef<'a>),
}

impl<'a> Route<'a> {
    fn of(app: &'a App, path: &str) -> Option<Self> {
        let name = path.strip_prefix("/v1/")?;
        let by_id = |prefix: &str| {
            name.strip_prefix(prefix)
                .filter(|id| !id.is_empty() && !id.contains('/'))
                .map(str::to_owned)
        };
        match name {
            "organization" => Some(Self::Organization),
            "organization/usage" => Some(Self::Usage),
            "uploads" => Some(Self::Uploads),
            _ => {
                if let Some(id) = by_id("tasks/") {
                    let kind = Kind::Task;
                    Some(Self::Task { kind, id })
                } else if let Some(id) = by_id("workflow_invocations/") {
                    let kind = Kind::Workflow;
                    Some(Self::Task { kind, id })
                } else {
                    let target = app.catalogue.endpoint(name)?;
                    (target.path == path).then_some(Self::Start(target))
                }
            }
        }
    }

    /// The methods that the API accepts here.
    fn methods(&self) -> &'static [Method] {
        match self {
            Self::Organization => &[Method::GET],
            Self::Usage | Self::Uploads | Self::Start(_) => &[Method::POST],
            Self::Task { .. } => &[Method::GET, Method::DELETE],
        }
    }
}

/// A call of the API, with everything needed to answer it.
struct Call<'a> {
    app: &'a App,
    parts: &'a Parts,
    /// The body, if it is JSON.
    value: Option<&'a Value>,
    fault: Option<&'a Action>,
    now: Millis,
}

impl Call<'_> {
    fn answer(&self, route: Option<Route<'_>>, seen: &mut Seen) -> Answer {
        let Some(route) = route else {
            return refusal(StatusCode::NOT_FOUND, "Not found.");
        };
        if !route.methods().contains(&self.parts.method) {
            let allowed: Vec<&str> = route.methods().iter().map(Method::as_str).collect();
            let answer = refusal(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed.");
            return with_header(answer, "allow", &allowed.join(", "));
        }
        let key_ok = key_is_right(&self.parts.headers, self.app.lock().settings.key.as_deref());
        seen.key_ok = Some(key_ok);
        if !key_ok {
            return refusal(
                StatusCode::UNAUTHORIZED,
                "You did not provide a valid API key. Check the Authorization header.",
            );
        }
        let version = self.parts.headers.get("x-runway-version");
        if version.is_none_or(|version| version.as_bytes() != VERSION.as_bytes()) {
            return refusal(
                StatusCode::BAD_REQUEST,
                "The X-Runway-Version header is missing, or names a version that is not known.",
            );
        }
        match route {
            Route::Organization => self.organization(),
            Route::Usage => self.usage(),
            Route::Uploads => match self.object() {
                Ok(body) => uploads::announce(self.app, &self.base(), body, self.now),
                Err(denied) => denied.by_api(),
            },
            Route::Task { kind, id } if self.parts.method == Method::DELETE => {
                if self.app.lock().withdraw(kind, &id, self.now) {
                    empty(StatusCode::NO_CONTENT)
                } else {
                    no_task()
                }
            }
            Route::Task { kind, id } => self.task(kind, &id),
            Route::Start(target) => match self.object() {
                Ok(body) => self.start(&target, body, seen),
                Err(denied) => denied.by_api(),
            },
        }
    }

    /// The body as a JSON object.
    fn object(&self) -> Result<&Map<String, Value>, Denied> {
        self.value
            .and_then(Value::as_object)
            .ok_or_else(|| Denied::new(StatusCode::BAD_REQUEST, "The body must be a JSON object."))
    }

    /// The URL under which the caller reached the simulator.
    fn base(&self) -> String {
        let host = self
            .parts
            .headers
            .get("host")
            .and_then(|host| host.to_str().ok())
            .unwrap_or(&self.app.authority);
        format!("http://{host}")
    }

    fn start(
        &self,
        target: &EndpointRef<'_>,
        body: &Map<String, Value>,
        seen: &mut Seen,
    ) -> Answer {
        let task_seconds = self.app.lock().settings.task_seconds;
        let context = Context {
            now: self.now,
            task_seconds,
            fault: self.fault,
            body_sha256: seen.body_sha256.as_deref().unwrap_or_default(),
            upload: &|id| uploads::find_kind(self.app, id, self.now),
        };
        let order = match make_order(target, body, &context) {
            Ok(order) => order,
            Err(issues) => return invalid(&issues),
        };
        let (id, kind, estimated) = (order.id.clone(), order.kind, order.estimated);
        match self.app.lock().start(order) {
            Ok(()) => {}
            Err(Refused::OutOfCredits) => {
                return refusal(
                    StatusCode::BAD_REQUEST,
                    "You do not have enough credits to run this task.",
                );
            }
            Err(Refused::OverQuota { retry_after }) => {
                let answer = refusal(
                    StatusCode::TOO_MANY_REQUESTS,
                    "You have reached the daily limit of generations for this model.",
                );
                return with_header(answer, "retry-after", &retry_after.to_string());
            }
        }
        let mut fields = Map::new();
        if self.fault != Some(&Action::NoId) {
            fields.insert("id".to_owned(), id.as_str().into());
        }
        match kind {
            Kind::Task => {
                fields.insert("estimatedCost".to_owned(), json!({"credits": estimated}));
            }
            Kind::Workflow => {}
        }
        seen.task = Some(id);
        json_answer(StatusCode::OK, &Value::Object(fields))
    }

    fn task(&self, kind: Kind, id: &str) -> Answer {
        let base = self.base();
        let mut inner = self.app.lock();
        let links = files::Links {
            base: &base,
            secret: &inner.secret.clone(),
            expires: self.now + (inner.settings.url_seconds * 1000.0) as Millis,
        };
        match inner.board.task(kind, id, self.now) {
            Some(task) => json_answer(StatusCode::OK, &show(task, self.now, &links)),
            None => no_task(),
        }
    }

    fn organization(&self) -> Answer {
        let mut inner = self.app.lock();
        let most = inner.settings.max_monthly_credit_spend;
        let balance = inner.board.balance(self.now);
        let limits = inner.board.limits().clone();
        let usage = inner.board.usage(self.now);
        let names = list_lanes(&self.app.catalogue);
        let tier: Map<String, Value> = names
            .iter()
            .map(|name| {
                let limits = limits.of(name);
                let shown = json!({
                    "maxConcurrentGenerations": limits.max_concurrent,
                    "maxDailyGenerations": limits.max_daily,
                });
                ((*name).to_owned(), shown)
            })
            .collect();
        let used: Map<String, Value> = names
            .iter()
            .map(|name| {
                let count = usage.get(name).copied().unwrap_or(0);
                ((*name).to_owned(), json!({"dailyGenerations": count}))
            })
            .collect();
        json_answer(
            StatusCode::OK,
            &json!({
                "creditBalance": balance,
                "tier": {"maxMonthlyCreditSpend": most, "models": tier},
                "usage": {"models": used},
            }),
        )
    }

    /// The credits that each model used on each day (UTC), oldest day first.
    fn usage(&self) -> Answer {
        let mut days = std::collections::BTreeMap::<String, Map<String, Value>>::new();
        let mut inner = self.app.lock();
        for task in inner.board.all(self.now) {
            let spent = task.status(self.now).cost().unwrap_or(0);
            let day = to_timestamp(task.order.created)
                .strftime("%Y-%m-%d")
                .to_string();
            let models = days.entry(day).or_default();
            let before = models
                .get(&task.order.model)
                .and_then(Value::as_i64)
                .unwrap_or(0);
            models.insert(task.order.model.clone(), (before + spent).into());
        }
        let mut models: Vec<String> = days.values().flat_map(|day| day.keys().cloned()).collect();
        models.sort();
        models.dedup();
        let results: Vec<Value> = days
            .into_iter()
            .map(|(date, spent)| {
                let credits: Vec<Value> = spent
                    .into_iter()
                    .map(|(model, amount)| json!({"model": model, "amount": amount}))
                    .collect();
                json!({"date": date, "usedCredits": credits})
            })
            .collect();
        json_answer(
            StatusCode::OK,
            &json!({"models": models, "results": results}),
        )
    }
}

fn no_task() -> Answer {
    refusal(StatusCode::NOT_FOUND, "No task with that ID was found.")
}

/// Whether the request carries the right key.
fn key_is_right(headers: &HeaderMap, right: Option<&str>) -> bool {
    let given = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(str::trim)
        .filter(|key| !key.is_empty());
    match (given, right) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(given), Some(right)) => given == right,
    }
}

/// A task as the API shows it.
fn show(task: &Task, now: Millis, links: &files::Links<'_>) -> Value {
    let order = &task.order;
    let status = task.status(now);
    let mut fields = Map::new();
    fields.insert("id".to_owned(), order.id.as_str().into());
    fields.insert(
        "createdAt".to_owned(),
        to_timestamp(order.created).to_string().into(),
    );
    fields.insert("status".to_owned(), status.as_str().into());
    let estimated = ("estimatedCost", json!({"credits": order.estimated}));
    let more = match status {
        Status::Pending | Status::Throttled => vec![estimated],
        Status::Running { progress } => match order.kind {
            Kind::Task => vec![("progress", progress.into()), estimated],
            Kind::Workflow => vec![("progress", progress.into()), ("output", json!({}))],
        },
        Status::Succeeded { cost } => {
            vec![
                ("output", show_outputs(order, links)),
                ("cost", json!({"credits": cost})),
            ]
        }
        Status::Failed {
            code,
            message,
            cost,
        } => vec![
            ("failure", message.into()),
            ("failureCode", code.into()),
            ("cost", json!({"credits": cost})),
        ],
        Status::Cancelled { cost } => vec![("cost", json!({"credits": cost}))],
    };
    fields.extend(
        more.into_iter()
            .map(|(name, value)| (name.to_owned(), value)),
    );
    Value::Object(fields)
}

/// The output URLs: a list, or by node if a workflow made them.
fn show_outputs(order: &Order, links: &files::Links<'_>) -> Value {
    let urls = (0..order.outputs.len()).filter_map(|index| links.url(order, index));
    match order.kind {
        Kind::Task => urls.map(Value::from).collect(),
        Kind::Workflow => NODES
            .iter()
            .zip(urls)
            .map(|(node, url)| ((*node).to_owned(), json!([url])))
            .collect::<Map<String, Value>>()
            .into(),
    }
}
