//! Answers in the wording of the API.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};

/// The answer to one request.
pub(super) type Answer = Response<Body>;

const DOCS: &str = "https://docs.dev.runwayml.com/api";

/// One problem of a request's body.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Issue {
    pub(super) code: &'static str,
    pub(super) message: String,
    /// The names and indices that lead to the place.
    pub(super) path: Vec<Value>,
}

/// A refusal, before it takes the form that the API or a storage host gives it.
#[derive(Debug)]
pub(super) struct Denied {
    status: StatusCode,
    message: Cow<'static, str>,
}

impl Denied {
    pub(super) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self { status, message }
    }

    pub(super) fn by_storage(self) -> Answer {
        text(self.status, self.message.into_owned())
    }

    pub(super) fn by_api(self) -> Answer {
        refusal(self.status, &self.message)
    }
}

/// An answer with a body of this type.
pub(super) fn content(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

pub(super) fn json_answer(status: StatusCode, value: &Value) -> Answer {
    content(status, "application/json", value.to_string())
}

/// An answer in plain text.
pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Answer {
    content(status, "text/plain; charset=utf-8", body.into())
}

/// An answer with no body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// A refusal by the API.
pub(super) fn refusal(status: StatusCode, error: &str) -> Answer {
    json_answer(status, &json!({"error": error, "docUrl": DOCS}))
}

/// The refusal of a body that does not fit its endpoint.
pub(super) fn invalid(issues: &[Issue]) -> Answer {
    let issues: Vec<Value> = issues
        .iter()
        .map(|issue| json!({"code": issue.code, "message": issue.message, "path": issue.path}))
        .collect();
    json_answer(
        StatusCode::BAD_REQUEST,
        &json!({"error": "Validation of body failed", "issues": issues, "docUrl": DOCS}),
    )
}

/// The refusal of a URL that has expired.
pub(super) fn too_late() -> Denied {
    Denied::new(
        StatusCode::FORBIDDEN,
        "Access denied: the URL has expired or its signature is wrong.",
    )
}

/// The answer at a URL that has expired.
pub(super) fn expired() -> Answer {
    too_late().by_storage()
}

/// Adds a header. A value that HTTP does not allow is left out and logged.
pub(super) fn with_header(mut answer: Answer, name: &str, value: &str) -> Answer {
    match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        (Ok(name), Ok(value)) => {
            answer.headers_mut().insert(name, value);
        }
        (Err(_), _) | (_, Err(_)) => {
            tracing::warn!(
                name,
                "the simulator was asked to send a header that HTTP does not allow"
            );
        }
    }
    answer
}
