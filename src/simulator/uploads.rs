//! Ephemeral uploads: the announcement at the API, and the storage host's side of them.
//!
//! The storage host is strict, as the real one is: all fields first and unchanged, the file last, a length that was
//! said beforehand, and none of the API's headers. The bytes are counted and hashed as they stream through, never
//! held.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::answers::{Answer, Denied, Issue, empty, invalid, json_answer};
use super::clock::Millis;
use super::connection::Peer;
use super::exchange::{conclude, instead, meet};
use super::faults::Target;
use super::log::{Seen, note_stray_headers};
use super::state::App;
use super::store::{Content, Upload};
use super::submit::kind_of;
use super::uuid::random_uuid;
use crate::files::{hash_bytes, hex};
use crate::media::Kind;

/// The fewest bytes of an upload.
const LEAST: u64 = 512;
/// The most bytes of an upload.
const MOST: u64 = 200_000_000;
/// So many bytes at the beginning tell what a file is.
const HEAD: usize = 4096;
/// The most bytes of one form field.
const FIELD: usize = 64 * 1024;
/// The most bytes of a refused request that are read all the same.
const POLITE: u64 = 16 * 1024 * 1024;

/// `POST /v1/uploads`.
pub(super) fn announce(app: &App, base: &str, body: &Map<String, Value>, now: Millis) -> Answer {
    let mut issues = Vec::new();
    let filename = body
        .get("filename")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if filename.is_empty() {
        issues.push(Issue {
            code: "invalid_type",
            message: "Expected a file name".to_owned(),
            path: vec!["filename".into()],
        });
    }
    if body.get("type").and_then(Value::as_str) != Some("ephemeral") {
        issues.push(Issue {
            code: "invalid_value",
            message: "Expected \"ephemeral\"".to_owned(),
            path: vec!["type".into()],
        });
    }
    if !issues.is_empty() {
        return invalid(&issues);
    }
    let upload = Upload {
        id: random_uuid(),
        filename: filename.to_owned(),
        created: now,
        content: None,
    };
    let mut inner = app.lock();
    let answer = json!({
        "uploadUrl": format!("{base}/_storage/upload/{}", upload.id),
        "fields": fields(&inner.secret, &upload.id),
        "runwayUri": format!("runway://{}", upload.id),
    });
    inner.put_upload(upload);
    json_answer(StatusCode::OK, &answer)
}

/// The form fields that go with an upload.
fn fields(secret: &str, id: &str) -> BTreeMap<&'static str, String> {
    let signature = hash_bytes(format!("{secret}/upload/{id}").as_bytes());
    BTreeMap::from([
        ("bucket", "simulated-uploads".to_owned()),
        ("key", format!("ephemeral/{id}")),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("X-Amz-Signature", signature),
    ])
}

/// The kind of media that an upload holds, if it is there and has not expired.
pub(super) fn kind(app: &App, id: &str, now: Millis) -> Option<Kind> {
    let inner = app.lock();
    let upload = inner.uploads.get(id)?;
    let expires = upload.created + (inner.settings.upload_seconds * 1000.0) as Millis;
    if expires <= now {
        return None;
    }
    upload.content.as_ref()?.kind
}

/// `POST` to the URL of an upload.
pub(super) async fn receive(
    app: &App,
    peer: &Peer,
    mut seen: Seen,
    id: &str,
    request: Request,
) -> Answer {
    note_stray_headers(request.headers(), &mut seen);
    let fault = meet(app, Target::Upload, &seen, None);
    let answer = match fault.as_ref().and_then(instead) {
        Some(answer) => {
            drain(request.into_body()).await;
            answer
        }
        None => match refuse_unread(app, id, &request) {
            Some(denied) => {
                drain(request.into_body()).await;
                denied.by_storage()
            }
            None => match form(app, id, request).await {
                Ok(content) => {
                    seen.body_sha256 = Some(content.sha256.clone());
                    let mut inner = app.lock();
                    if let Some(upload) = inner.uploads.get(id) {
                        let upload = Upload {
                            content: Some(content),
                            ..upload.clone()
                        };
                        inner.put_upload(upload);
                    }
                    empty(StatusCode::NO_CONTENT)
                }
                Err(denied) => denied.by_storage(),
            },
        },
    };
    conclude(app, peer, seen, fault, answer).await
}

/// Why an upload is refused by its headers alone.
fn refuse_unread(app: &App, id: &str, request: &Request) -> Option<Denied> {
    if request.method() != axum::http::Method::POST {
        return Some(Denied::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "Only POST works here.",
        ));
    }
    if !app.lock().uploads.contains_key(id) {
        return Some(Denied::new(
            StatusCode::NOT_FOUND,
            "There is no such upload.",
        ));
    }
    let headers = request.headers();
    if headers.contains_key("authorization") {
        return Some(Denied::new(
            StatusCode::BAD_REQUEST,
            "Only one authorization mechanism is allowed: the form's signature. Leave the API key out.",
        ));
    }
    if !headers.contains_key("content-length") {
        return Some(Denied::new(
            StatusCode::LENGTH_REQUIRED,
            "You must provide the Content-Length HTTP header.",
        ));
    }
    None
}

/// Reads the form: the fields, then the file.
async fn form(app: &App, id: &str, request: Request) -> Result<Content, Denied> {
    let bad = |words: &'static str| Denied::new(StatusCode::BAD_REQUEST, words);
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|error| Denied::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let wanted = fields(&app.lock().secret, id);
    let mut given = BTreeMap::new();
    let mut content = None;
    while let Some(mut part) = form.next_field().await.map_err(broken)? {
        let name = part.name().unwrap_or_default().to_owned();
        if content.is_some() {
            return Err(bad("The file must be the last part of the form."));
        }
        if name == "file" {
            if let Some((missing, _)) = wanted
                .iter()
                .find(|(name, value)| given.get(**name) != Some(*value))
            {
                let words =
                    format!("The field {missing:?} must come before the file, as it was given.");
                return Err(Denied::new(StatusCode::FORBIDDEN, words));
            }
            content = Some(file(&mut part).await?);
        } else {
            given.insert(name, field(&mut part).await?);
        }
    }
    content.ok_or_else(|| bad("The form has no part named file."))
}

/// A field's text.
async fn field(part: &mut Field<'_>) -> Result<String, Denied> {
    let mut bytes = Vec::new();
    while let Some(chunk) = part.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > FIELD {
            return Err(Denied::new(
                StatusCode::BAD_REQUEST,
                "A form field is too long.",
            ));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes)
        .map_err(|_| Denied::new(StatusCode::BAD_REQUEST, "A form field is not in UTF-8."))
}

/// What comes as the file: counted, hashed, and known by its beginning.
async fn file(part: &mut Field<'_>) -> Result<Content, Denied> {
    let mut bytes: u64 = 0;
    let mut sum = Sha256::new();
    let mut head = Vec::with_capacity(HEAD);
    while let Some(chunk) = part.chunk().await.map_err(broken)? {
        bytes += chunk.len() as u64;
        if bytes > MOST {
            let words = format!("EntityTooLarge: at most {MOST} bytes can be uploaded.");
            return Err(Denied::new(StatusCode::BAD_REQUEST, words));
        }
        let room = HEAD - head.len();
        head.extend(chunk.iter().take(room));
        sum.update(&chunk);
    }
    if bytes < LEAST {
        let words =
            format!("EntityTooSmall: at least {LEAST} bytes must be uploaded, {bytes} came.");
        return Err(Denied::new(StatusCode::BAD_REQUEST, words));
    }
    let sum: [u8; 32] = sum.finalize().into();
    Ok(Content {
        bytes,
        sha256: hex(&sum),
        kind: kind_of(&head),
    })
}

fn broken(error: MultipartError) -> Denied {
    Denied::new(StatusCode::BAD_REQUEST, error.body_text())
}

/// Reads and throws away what still comes, within reason, so that the caller gets to see the refusal rather than a
/// broken pipe.
async fn drain(body: Body) {
    let mut chunks = body.into_data_stream();
    let mut read: u64 = 0;
    while let Some(Ok(chunk)) = chunks.next().await {
        read += chunk.len() as u64;
        if read > POLITE {
            return;
        }
    }
}
