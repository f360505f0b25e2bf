//! The API's JSON, read into types.
//!
//! The API changes quickly, and older versions of it leave fields out, so unknown fields are ignored, a field of the wrong type
//! counts as missing, and an unknown status means that the task is not finished. An answer that would have to be guessed, such
//! as a finished task whose output is unreadable, is [`Unreadable`], and the caller asks again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::ids::{OutputUrl, RunwayUri, TaskId};
use super::text::plain;

/// Runway's side of a job, from `GET /v1/tasks/{id}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The id.
    pub id: TaskId,
    /// When it was submitted, by Runway's clock.
    pub created_at: Option<Timestamp>,
    /// Its status.
    pub status: TaskStatus,
    /// The estimated cost in credits, for tasks that have not ended.
    pub estimated: Option<f64>,
    /// The charged credits, for tasks that have ended. Older API versions do not have it.
    pub cost: Option<f64>,
}

/// The status of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskStatus {
    /// Queued by Runway.
    Pending,
    /// Waits at Runway because of the tier's concurrency limit. Not an error.
    Throttled,
    /// In progress.
    Running {
        /// From 0 to 1, if Runway says so.
        progress: Option<f64>,
    },
    /// Done.
    Succeeded {
        /// The URLs of the outputs, in Runway's order. They expire; asking for the task again gives new ones. Empty if Runway lists
        /// none.
        output: Vec<OutputUrl>,
    },
    /// Ended without a result.
    Failed {
        /// Runway's reason for people, bounded.
        failure: String,
        /// Runway's reason for programs; see [`classify_failure`](super::classify_failure).
        code: Option<String>,
    },
    /// Cancelled, or deleted.
    Cancelled,
    /// A status that this version does not know: the task counts as not finished.
    Other(String),
}

/// The answer to `GET /v1/organization`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Organization {
    /// Credits left.
    pub credit_balance: f64,
    /// The most credits that the tier lets the organization buy in a month.
    pub max_monthly_credit_spend: Option<f64>,
    /// The limits and the use of each model.
    pub models: BTreeMap<String, ModelLimits>,
}

/// What the tier allows for one model, and what was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ModelLimits {
    /// Tasks at once; `None` if Runway sets or states no limit.
    pub max_concurrent: Option<u32>,
    /// Tasks in 24 hours; `None` if Runway sets or states no limit.
    pub max_daily: Option<u32>,
    /// Tasks started in the past day.
    pub used_today: Option<u32>,
}

/// An answer that is not what the API documents, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) String);

/// The answer to a request that started a task.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Started {
    pub(super) task: TaskId,
    pub(super) estimated: Option<f64>,
}

/// The answer to `POST /v1/uploads`. Its fields hold signatures, hence no `Debug`.
pub(super) struct UploadSlot {
    pub(super) url: OutputUrl,
    pub(super) fields: Vec<(String, String)>,
    pub(super) uri: RunwayUri,
}

/// What the body of an answer is.
enum Body {
    Json(Value),
    Page,
    Empty,
    Other,
}

fn body(bytes: &[u8]) -> Body {
    let bytes = bytes.trim_ascii();
    if bytes.is_empty() {
        return Body::Empty;
    }
    match serde_json::from_slice(bytes) {
        Ok(value) => Body::Json(value),
        Err(_) if bytes.starts_with(b"<") => Body::Page,
        Err(_) => Body::Other,
    }
}

fn json(bytes: &[u8]) -> Result<Value, Unreadable> {
    match body(bytes) {
        Body::Json(value) => Ok(value),
        Body::Page => Err(unreadable("a web page was received instead of JSON")),
        Body::Empty => Err(unreadable("the answer was empty")),
        Body::Other => Err(unreadable("the answer was not JSON")),
    }
}

fn unreadable(why: &str) -> Unreadable {
    Unreadable(why.to_owned())
}

/// Whether a body is a web page, perhaps from a proxy.
pub(super) fn is_page(bytes: &[u8]) -> bool {
    matches!(body(bytes), Body::Page)
}

/// Reads the answer to a request that started a task.
pub(super) fn started(bytes: &[u8]) -> Result<Started, Unreadable> {
    let value = json(bytes)?;
    Ok(Started {
        task: task_id(&value)?,
        estimated: credits(&value, "estimatedCost"),
    })
}

/// Reads a task.
pub(super) fn task(bytes: &[u8]) -> Result<Task, Unreadable> {
    let value = json(bytes)?;
    let Some(status) = value.get("status").and_then(Value::as_str) else {
        return Err(unreadable("the answer has no task status"));
    };
    let status = match status {
        "PENDING" => TaskStatus::Pending,
        "THROTTLED" => TaskStatus::Throttled,
        "RUNNING" => TaskStatus::Running {
            progress: value
                .get("progress")
                .and_then(Value::as_f64)
                .map(|progress| progress.clamp(0.0, 1.0)),
        },
        "SUCCEEDED" => TaskStatus::Succeeded {
            output: output(&value)?,
        },
        "FAILED" => TaskStatus::Failed {
            failure: match value.get("failure").and_then(Value::as_str) {
                Some(failure) => plain(failure),
                None => "Runway gave no reason".to_owned(),
            },
            code: value
                .get("failureCode")
                .and_then(Value::as_str)
                .map(plain)
                .filter(|code| !code.is_empty()),
        },
        "CANCELLED" => TaskStatus::Cancelled,
        other => TaskStatus::Other(plain(other)),
    };
    Ok(Task {
        id: task_id(&value)?,
        created_at: value
            .get("createdAt")
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok()),
        status,
        estimated: credits(&value, "estimatedCost"),
        cost: credits(&value, "cost"),
    })
}

/// Reads an organization.
pub(super) fn organization(bytes: &[u8]) -> Result<Organization, Unreadable> {
    let value = json(bytes)?;
    let Some(credit_balance) = value.get("creditBalance").and_then(Value::as_f64) else {
        return Err(unreadable("the answer has no credit balance"));
    };
    let mut models: BTreeMap<String, ModelLimits> = BTreeMap::new();
    for (name, limits) in entries(&value, "/tier/models") {
        let entry = models.entry(name.clone()).or_default();
        entry.max_concurrent = count(limits, "maxConcurrentGenerations");
        entry.max_daily = count(limits, "maxDailyGenerations");
    }
    for (name, usage) in entries(&value, "/usage/models") {
        let entry = models.entry(name.clone()).or_default();
        entry.used_today = count(usage, "dailyGenerations");
    }
    Ok(Organization {
        credit_balance,
        max_monthly_credit_spend: value
            .pointer("/tier/maxMonthlyCreditSpend")
            .and_then(Value::as_f64),
        models,
    })
}

/// Reads the answer to `POST /v1/uploads`.
pub(super) fn upload_slot(bytes: &[u8]) -> Result<UploadSlot, Unreadable> {
    let value = json(bytes)?;
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let Some(url) = text("uploadUrl").and_then(OutputUrl::parse) else {
        return Err(unreadable("the answer has no usable upload URL"));
    };
    let Some(uri) = text("runwayUri").and_then(RunwayUri::parse) else {
        return Err(unreadable("the answer has no runway:// URI"));
    };
    let mut fields = Vec::new();
    for (name, field) in entries(&value, "/fields") {
        match field {
            Value::String(text) => fields.push((name.clone(), text.clone())),
            Value::Number(number) => fields.push((name.clone(), number.to_string())),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                return Err(unreadable("a field of the upload form is not text"));
            }
        }
    }
    Ok(UploadSlot { url, fields, uri })
}

/// What an error answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    /// The API's `error` and its `issues` per field, or what was received instead; bounded, and without secrets.
    pub(super) message: String,
    /// Whether the API complains about credits rather than about a field.
    pub(super) about_credits: bool,
}

/// Reads the body of an error answer. Never fails, since an error that cannot be read is still an error.
pub(super) fn complaint(bytes: &[u8]) -> Complaint {
    let words = |message: &str| Complaint {
        message: message.to_owned(),
        about_credits: false,
    };
    let value = match body(bytes) {
        Body::Json(value) => value,
        Body::Page => {
            return words(
                "a web page was received instead of the API's message, perhaps from a proxy",
            );
        }
        Body::Empty => return words("the answer gave no reason"),
        Body::Other => return words("the answer's reason cannot be read"),
    };
    let error = ["/error", "/error/message", "/message"]
        .iter()
        .find_map(|place| value.pointer(place).and_then(Value::as_str))
        .unwrap_or("the answer gave no reason");
    let issues: Vec<String> = value
        .get("issues")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(issue)
        .collect();
    let about_credits = issues.is_empty() && error.to_ascii_lowercase().contains("credit");
    let message = if issues.is_empty() {
        plain(error)
    } else {
        plain(&format!("{error}: {}", issues.join("; ")))
    };
    Complaint {
        message,
        about_credits,
    }
}

/// One of the API's issues as `field: message`.
fn issue(value: &Value) -> String {
    let message = value
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or("not accepted");
    let mut field = String::new();
    for step in value
        .get("path")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        match step {
            Value::Number(index) => field.push_str(&format!("[{index}]")),
            Value::String(name) if field.is_empty() => field.push_str(name),
            Value::String(name) => {
                field.push('.');
                field.push_str(name);
            }
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {}
        }
    }
    if field.is_empty() {
        message.to_owned()
    } else {
        format!("{field}: {message}")
    }
}

fn task_id(value: &Value) -> Result<TaskId, Unreadable> {
    value
        .get("id")
        .and_then(Value::as_str)
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| unreadable("the answer has no readable task id"))
}

/// The outputs: a list of URLs, or for workflows a map from a node to such a list.
fn output(value: &Value) -> Result<Vec<OutputUrl>, Unreadable> {
    let lists: Vec<&Vec<Value>> = match value.get("output") {
        Some(Value::Array(list)) => vec![list],
        Some(Value::Object(nodes)) => nodes.values().filter_map(Value::as_array).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => {
            return Err(unreadable("the task succeeded, but its output is missing"));
        }
    };
    lists
        .into_iter()
        .flatten()
        .map(|url| {
            url.as_str()
                .and_then(OutputUrl::parse)
                .ok_or_else(|| unreadable("the task succeeded, but an output's URL cannot be read"))
        })
        .collect()
}

/// Reads credits. Less than zero would raise a spending limit, so it counts as missing.
fn credits(value: &Value, name: &str) -> Option<f64> {
    let credits = value.get(name)?.get("credits")?.as_f64()?;
    (credits >= 0.0).then_some(credits)
}

/// Reads a count. A number that is too large for the type becomes the largest.
fn count(value: &Value, name: &str) -> Option<u32> {
    let count = value.get(name)?.as_u64()?;
    Some(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The entries of the object at a place; none if there is no object.
fn entries<'a>(value: &'a Value, place: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value
        .pointer(place)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn status_of(text: &str) -> TaskStatus {
        task(text.as_bytes()).unwrap().status
    }

    #[test]
    fn every_documented_status_is_read_with_its_own_data() {
        let pending = task(br#"{"id":"t1","createdAt":"2026-02-03T04:05:06.789Z","status":"PENDING","estimatedCost":{"credits":25},"new":[1]}"#).unwrap();
        assert_eq!(pending.status, TaskStatus::Pending);
        assert_eq!(pending.estimated, Some(25.0));
        assert_eq!(
            pending.created_at,
            Some("2026-02-03T04:05:06.789Z".parse().unwrap())
        );
        assert_eq!(
            status_of(r#"{"id":"t1","status":"THROTTLED"}"#),
            TaskStatus::Throttled
        );
        assert_eq!(
            status_of(r#"{"id":"t1","status":"RUNNING","progress":0.25}"#),
            TaskStatus::Running {
                progress: Some(0.25)
            }
        );
        assert_eq!(
            status_of(
                r#"{"id":"t1","status":"FAILED","failure":"no","failureCode":"SAFETY.INPUT.TEXT"}"#
            ),
            TaskStatus::Failed {
                failure: "no".into(),
                code: Some("SAFETY.INPUT.TEXT".into())
            }
        );
        let done =
            task(br#"{"id":"t1","status":"SUCCEEDED","output":["https://a/1?s=1","https://a/2"],"cost":{"credits":12.5}}"#)
                .unwrap();
        assert!(matches!(&done.status, TaskStatus::Succeeded { output } if output.len() == 2));
        assert_eq!(done.cost, Some(12.5));
        assert_eq!(
            status_of(r#"{"id":"t1","status":"CANCELLED"}"#),
            TaskStatus::Cancelled
        );
    }

    #[test]
    fn an_older_api_without_costs_and_dates_is_read_all_the_same() {
        let task = task(br#"{"id":"t1","status":"RUNNING","createdAt":5,"cost":{"credits":null}}"#)
            .unwrap();
        assert_eq!(task.created_at, None);
        assert_eq!((task.estimated, task.cost), (None, None));
        assert_eq!(task.status, TaskStatus::Running { progress: None });
    }

    #[test]
    fn credits_below_zero_count_as_missing() {
        let task = task(br#"{"id":"t1","status":"RUNNING","estimatedCost":{"credits":-1},"cost":{"credits":-25.5}}"#)
            .unwrap();
        assert_eq!((task.estimated, task.cost), (None, None));
    }

    #[test]
    fn an_unknown_status_is_a_task_that_is_not_finished() {
        assert_eq!(
            status_of(r#"{"id":"t1","status":"REWINDING"}"#),
            TaskStatus::Other("REWINDING".into())
        );
    }

    #[test]
    fn a_workflow_lists_outputs_by_node() {
        let TaskStatus::Succeeded { output } = status_of(
            r#"{"id":"t1","status":"SUCCEEDED","output":{"n2":["https://a/1"],"n1":["https://b/2","https://b/3"]}}"#,
        ) else {
            panic!("not succeeded");
        };
        let hosts: Vec<String> = output.iter().map(OutputUrl::host).collect();
        assert_eq!(hosts, ["a", "b", "b"]);
    }

    #[test]
    fn a_finished_task_with_unreadable_output_is_not_guessed_at() {
        for bad in [
            r#"{"id":"t1","status":"SUCCEEDED"}"#,
            r#"{"id":"t1","status":"SUCCEEDED","output":[7]}"#,
            r#"{"id":"t1","status":"SUCCEEDED","output":["file:///etc/passwd"]}"#,
            r#"{"status":"PENDING"}"#,
            r#"{"id":"t1"}"#,
            "<html>",
            "",
            "[]",
        ] {
            assert!(task(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_organization_joins_limits_and_use() {
        let organization = organization(
            br#"{"creditBalance":1234,"tier":{"maxMonthlyCreditSpend":9999,"models":{
                "gen4_turbo":{"maxConcurrentGenerations":2,"maxDailyGenerations":50},
                "veo3.1":{"maxConcurrentGenerations":null,"maxDailyGenerations":99999999999}}},
                "usage":{"models":{"gen4_turbo":{"dailyGenerations":7},"old":{"dailyGenerations":1}}}}"#,
        )
        .unwrap();
        assert_eq!(organization.credit_balance, 1234.0);
        assert_eq!(organization.max_monthly_credit_spend, Some(9999.0));
        assert_eq!(
            organization.models["gen4_turbo"],
            ModelLimits {
                max_concurrent: Some(2),
                max_daily: Some(50),
                used_today: Some(7)
            }
        );
        assert_eq!(organization.models["veo3.1"].max_concurrent, None);
        assert_eq!(organization.models["veo3.1"].max_daily, Some(u32::MAX));
        assert_eq!(organization.models["old"].used_today, Some(1));
    }

    #[test]
    fn issues_are_listed_field_by_field() {
        let complaint = complaint(
            br#"{"error":"Validation of body failed","issues":[
                {"code":"too_big","message":"at most 1000 credits of text","path":["promptText"]},
                {"message":"no URL","path":["referenceImages",0,"uri"]},{"code":"odd"}]}"#,
        );
        assert_eq!(
            complaint.message,
            "Validation of body failed: promptText: at most 1000 credits of text; \
             referenceImages[0].uri: no URL; not accepted"
        );
        assert!(!complaint.about_credits);
    }

    #[test]
    fn a_complaint_about_credits_differs_from_one_about_a_field() {
        assert!(
            complaint(br#"{"error":"You do not have enough credits to run this task."}"#)
                .about_credits
        );
        assert!(!complaint(br#"{"error":"Model variant not available"}"#).about_credits);
    }

    #[test]
    fn an_error_answer_that_is_not_json_says_what_was_received() {
        assert!(complaint(b"<!doctype html>").message.contains("proxy"));
        assert_eq!(complaint(b"").message, "the answer gave no reason");
        assert_eq!(
            complaint(b"oops").message,
            "the answer's reason cannot be read"
        );
    }
}
