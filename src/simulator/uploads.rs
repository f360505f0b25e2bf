//! Ephemeral uploads: the announcement at the API, and the storage host.
//!
//! The storage host is as strict as the real one: all fields first and unchanged, the file last, a length in advance, and no
//! headers of the API. The bytes are counted and hashed as they arrive, and not kept.

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
use super::exchange::{answer_instead, choose_fault, conclude};
use super::faults::Target;
use super::log::{Seen, note_stray_headers};
use super::state::App;
use super::store::{Content, Upload};
use super::submit::detect_kind;
use super::uuid::random_uuid;
use crate::files::{hash_bytes, hex};
use crate::media::Kind;

/// The smallest upload, in bytes.
const MIN_BYTES: u64 = 512;
/// The largest upload, in bytes.
const MAX_BYTES: u64 = 200_000_000;
/// This many bytes at the beginning show what a file is.
const HEAD_BYTES: usize = 4096;
/// The longest form field, in bytes.
const MAX_FIELD_BYTES: usize = 64 * 1024;
/// How much of a refused request is read, in bytes.
const MAX_DRAINED_BYTES: u64 = 16 * 1024 * 1024;

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

/// Finds the kind of media of an upload, if its bytes have arrived and it has not expired.
pub(super) fn find_kind(app: &App, id: &str, now: Millis) -> Option<Kind> {
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
    let fault = choose_fault(app, Target::Upload, &seen, None);
    let answer = match fault.as_ref().and_then(answer_instead) {
        Some(answer) => {
            drain(request.into_body()).await;
            answer
        }
        None => match check_headers(app, id, &request) {
            Some(denied) => {
                drain(request.into_body()).await;
                denied.by_storage()
            }
            None => match read_form(app, id, request).await {
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

/// Refuses an upload whose headers are already wrong.
fn check_headers(app: &App, id: &str, request: &Request) -> Option<Denied> {
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
async fn read_form(app: &App, id: &str, request: Request) -> Result<Content, Denied> {
    let bad = |message: &'static str| Denied::new(StatusCode::BAD_REQUEST, message);
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
                let message =
                    format!("The field {missing:?} must come before the file, as it was given.");
                return Err(Denied::new(StatusCode::FORBIDDEN, message));
            }
            content = Some(read_file(&mut part).await?);
        } else {
            given.insert(name, read_field(&mut part).await?);
        }
    }
    content.ok_or_else(|| bad("The form has no part named file."))
}

/// Reads the text of a field.
async fn read_field(part: &mut Field<'_>) -> Result<String, Denied> {
    let mut bytes = Vec::new();
    while let Some(chunk) = part.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > MAX_FIELD_BYTES {
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

/// Reads the file: counts it, hashes it, and recognizes its format.
async fn read_file(part: &mut Field<'_>) -> Result<Content, Denied> {
    let mut bytes: u64 = 0;
    let mut sum = Sha256::new();
    let mut head = Vec::with_capacity(HEAD_BYTES);
    while let Some(chunk) = part.chunk().await.map_err(broken)? {
        bytes += chunk.len() as u64;
        if bytes > MAX_BYTES {
            let message = format!("EntityTooLarge: at most {MAX_BYTES} bytes can be uploaded.");
            return Err(Denied::new(StatusCode::BAD_REQUEST, message));
        }
        let room = HEAD_BYTES - head.len();
        head.extend(chunk.iter().take(room));
        sum.update(&chunk);
    }
    if bytes < MIN_BYTES {
        let message =
            format!("EntityTooSmall: at least {MIN_BYTES} bytes must be uploaded, not {bytes}.");
        return Err(Denied::new(StatusCode::BAD_REQUEST, message));
    }
    let sum: [u8; 32] = sum.finalize().into();
    Ok(Content {
        bytes,
        sha256: hex(&sum),
        kind: detect_kind(&head),
    })
}

fn broken(error: MultipartError) -> Denied {
    Denied::new(StatusCode::BAD_REQUEST, error.body_text())
}

/// Reads and discards the rest of a body, up to a limit, so that the caller gets the refusal instead of a broken pipe.
async fn drain(body: Body) {
    let mut chunks = body.into_data_stream();
    let mut read: u64 = 0;
    while let Some(Ok(chunk)) = chunks.next().await {
        read += chunk.len() as u64;
        if read > MAX_DRAINED_BYTES {
            return;
        }
    }
}
