//! What requests share, and answers that several of them give.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::{Notify, Semaphore, broadcast};

use super::guard::Rules;
use crate::control::{self, Hub};
use crate::job::JobId;

/// Browsers at once.
const LISTENERS: usize = 100;
/// Words that a browser may be behind.
const BEHIND: usize = 16;
/// Pictures that are made at once; each may take some memory.
const MAKERS: usize = 2;

/// What all requests share.
pub(super) struct App {
    pub(super) hub: Arc<Hub>,
    pub(super) rules: Rules,
    pub(super) events: Arc<Events>,
    pub(super) pictures: Pictures,
    pub(super) long_questions: Semaphore,
}

/// What a browser is told: what changed, or nothing but that it has to ask for everything.
pub(super) type Word = Option<Arc<str>>;

/// Who listens.
pub(super) struct Events {
    pub(super) words: broadcast::Sender<Word>,
    /// Somebody does.
    pub(super) came: Notify,
    pub(super) room: Arc<Semaphore>,
}

impl Default for Events {
    fn default() -> Events {
        Events {
            words: broadcast::Sender::new(BEHIND),
            came: Notify::new(),
            room: Arc::new(Semaphore::new(LISTENERS)),
        }
    }
}

/// Small pictures by job and file; `None` where there is none to be had.
pub(super) struct Pictures {
    pub(super) known: Mutex<HashMap<(JobId, String, usize), Option<Bytes>>>,
    pub(super) makers: Semaphore,
}

impl Default for Pictures {
    fn default() -> Pictures {
        Pictures {
            known: Mutex::default(),
            makers: Semaphore::new(MAKERS),
        }
    }
}

/// A part of the page, the same until the program is another.
pub(super) fn page(content: &'static str, kind: &'static str) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], content).into_response()
}

/// An answer that tells what is wrong.
pub(super) fn trouble(status: StatusCode, words: &str) -> Response {
    (status, axum::Json(json!({ "error": words }))).into_response()
}

impl IntoResponse for control::Refusal {
    fn into_response(self) -> Response {
        let words = self.to_string();
        let status = match self {
            control::Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
            control::Refusal::NotFound(_) => StatusCode::NOT_FOUND,
            control::Refusal::Conflict(_) => StatusCode::CONFLICT,
            control::Refusal::Unavailable(_) => {
                // Not a warning: the page asks again and again, and whoever has the trouble logs it.
                tracing::debug!("the page cannot answer: {words}");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        trouble(status, &words)
    }
}
