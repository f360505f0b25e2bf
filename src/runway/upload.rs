//! Ephemeral uploads: the API gives a form, then the file goes to a storage host.
//!
//! The file is streamed from disk with a length that is known beforehand, since storage hosts do not accept chunked bodies. A
//! file that turns out shorter or longer is never sent to its end, so Runway gets the file that was checked, or nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use parking_lot::Mutex;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, Response};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::time::timeout;

use super::client::Client;
use super::ids::RunwayUri;
use super::outcome::{CallError, judge_call};
use super::text::plain;
use super::transport::{describe, read_bounded, read_retry_after};
use super::wire::{self, UploadSlot};
use crate::failpoint::{self, Point, Request};

/// How much of the file is read at once, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;
/// The longest file name, in characters, that Runway is given.
const NAME_MAX_CHARS: usize = 100;
const NO_REASON: &str = "the answer gave no reason";

/// Why a file was not uploaded. Nothing was charged in any case.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The API gave no upload form.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The API named a storage host without https.
    #[error(
        "Runway named an upload address that is not https (host {host}), and nothing was sent there: check the base URL"
    )]
    Insecure {
        /// The host.
        host: String,
    },
    /// The file's length changed: it is still being written, or was replaced.
    #[error(
        "the file changed during its upload (it had {expected} bytes and now has {found}): put it into the inbox again \
         when it is finished"
    )]
    Changed {
        /// The length that was promised, in bytes.
        expected: u64,
        /// The length that was found, in bytes.
        found: u64,
    },
    /// The file could not be read from this machine's disk.
    #[error(
        "the file could not be read for its upload: {0}. Check the disk and the file's permissions"
    )]
    Read(#[source] io::Error),
    /// The network or the storage host had trouble: upload again later.
    #[error(
        "the upload was not finished (host {host}): {why}. Nothing is lost; it may be repeated"
    )]
    Transient {
        /// The storage host.
        host: String,
        /// What went wrong.
        why: String,
        /// How long the host asks to wait, at most 24 hours.
        retry_after: Option<Duration>,
    },
    /// The storage host refused the file.
    #[error(
        "the upload was refused (host {host}, status {status}): {message}. Check that the file is valid"
    )]
    Refused {
        /// The storage host.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The host's reason, bounded.
        message: String,
    },
    /// The media type or the form cannot be sent.
    #[error("the upload cannot be written as a form: {why}. Check the file's media type")]
    Unsendable {
        /// What cannot be sent.
        why: String,
    },
}

impl Client {
    /// Uploads a file of `len` bytes for use in requests during the next 24 hours. Streams from disk, in little memory.
    /// Costs nothing, so it may be repeated.
    ///
    /// `name` is the file's name for Runway and `mime` its media type (`video/mp4`). The whole file is sent, wherever its
    /// cursor is.
    ///
    /// # Errors
    ///
    /// [`UploadError`]; [`UploadError::Changed`] where the file is not `len` bytes long, or changes its length meanwhile.
    pub async fn upload(
        &self,
        mut file: File,
        len: u64,
        name: &str,
        mime: &str,
    ) -> Result<RunwayUri, UploadError> {
        let found = file.metadata().await.map_err(UploadError::Read)?.len();
        if found != len {
            return Err(UploadError::Changed {
                expected: len,
                found,
            });
        }
        file.rewind().await.map_err(UploadError::Read)?;

        let name = make_safe_name(name);
        let UploadSlot { url, fields, uri } = self.ask_for_slot(&name).await?;
        let host = url.host();
        if !self.may_use(url.url()) {
            return Err(UploadError::Insecure { host });
        }
        let watch = Arc::new(Watch::default());
        let source = Source {
            file,
            len,
            sent: 0,
            watch: Arc::clone(&watch),
        };
        let form = make_form(fields, source, name, mime)?;
        let stall = self.timeouts().upload_stall;
        let sending = self
            .storage()
            .post(url.url().clone())
            .multipart(form)
            .send();
        failpoint::hit(Point::BeforeRequest(Request::Upload))
            .map_err(|error| transient(&host, error.to_string()))?;
        let answer = until_stalled(sending, &watch, stall).await;
        if let Some(fault) = watch.take_fault() {
            return Err(fault.into_error(len));
        }
        let response = match answer {
            None => {
                let why = format!("nothing was sent for {} s", stall.as_secs());
                return Err(transient(&host, why));
            }
            Some(Err(error)) if error.is_builder() => {
                return Err(UploadError::Unsendable {
                    why: describe(error),
                });
            }
            Some(Err(error)) => return Err(transient(&host, describe(error))),
            Some(Ok(response)) => response,
        };
        judge_upload(response, host, watch.sent() == len, stall).await?;
        Ok(uri)
    }

    /// Asks the API for a form.
    async fn ask_for_slot(&self, name: &str) -> Result<UploadSlot, CallError> {
        let path = "/v1/uploads";
        let at = self.place(&Method::POST, path);
        let body = serde_json::json!({ "filename": name, "type": "ephemeral" });
        let answer = self
            .call(Request::UploadSlot, Method::POST, path, Some(&body))
            .await?;
        wire::upload_slot(judge_call(&at, &answer)?).map_err(|why| CallError::garbage(&at, why))
    }
}

fn transient(host: &str, why: String) -> UploadError {
    UploadError::Transient {
        host: host.to_owned(),
        why,
        retry_after: None,
    }
}

/// What a storage host's answer means for the upload. `whole`: all of the file was sent.
async fn judge_upload(
    response: Response,
    host: String,
    whole: bool,
    stall: Duration,
) -> Result<(), UploadError> {
    let status = response.status().as_u16();
    failpoint::hit(Point::AfterRequest(Request::Upload))
        .map_err(|error| transient(&host, error.to_string()))?;
    match status {
        200..=299 if whole => Ok(()),
        200..=299 => Err(transient(
            &host,
            "the host answered before the whole file was sent".to_owned(),
        )),
        408 | 425 | 429 | 500..=599 => Err(UploadError::Transient {
            host,
            why: format!("status {status}"),
            retry_after: read_retry_after(response.headers()),
        }),
        _ => {
            let message = match timeout(stall, read_bounded(response)).await {
                Ok(Ok(body)) => read_storage_reason(&body),
                Ok(Err(_)) | Err(_) => NO_REASON.to_owned(),
            };
            Err(UploadError::Refused {
                host,
                status,
                message,
            })
        }
    }
}

/// Makes the form: all fields first, the file last, as storage hosts require.
fn make_form(
    fields: Vec<(String, String)>,
    source: Source,
    name: String,
    mime: &str,
) -> Result<Form, UploadError> {
    let len = source.len;
    let body = Body::wrap_stream(stream::unfold(Some(source), |source| async {
        let mut source = source?;
        match source.next().await {
            Ok(Some(chunk)) => Some((Ok(chunk), Some(source))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }));
    let part = Part::stream_with_length(body, len)
        .file_name(name)
        .mime_str(mime)
        .map_err(|error| UploadError::Unsendable {
            why: describe(error),
        })?;
    let form = fields
        .into_iter()
        .fold(Form::new(), |form, (name, value)| form.text(name, value));
    Ok(form.part("file", part))
}

/// Waits for the answer as long as the file makes progress; `None` after the time `stall` without either.
async fn until_stalled<F: Future>(sending: F, watch: &Watch, stall: Duration) -> Option<F::Output> {
    let mut sending = std::pin::pin!(sending);
    let mut before = 0;
    loop {
        match timeout(stall, &mut sending).await {
            Ok(answer) => return Some(answer),
            Err(_) if watch.sent() == before => return None,
            Err(_) => before = watch.sent(),
        }
    }
}

/// The progress of an upload, for those who wait for it.
#[derive(Default)]
struct Watch {
    sent: AtomicU64,
    fault: Mutex<Option<Fault>>,
}

/// Why the file's bytes ended early.
enum Fault {
    Changed { found: u64 },
    Read(io::Error),
}

impl Fault {
    fn into_error(self, expected: u64) -> UploadError {
        match self {
            Fault::Changed { found } => UploadError::Changed { expected, found },
            Fault::Read(error) => UploadError::Read(error),
        }
    }
}

impl Watch {
    /// How many of the file's bytes went to the network.
    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn set_fault(&self, fault: Fault) {
        *self.fault.lock() = Some(fault);
    }

    fn take_fault(&self) -> Option<Fault> {
        self.fault.lock().take()
    }
}

/// The file, as a source of exactly `len` bytes.
struct Source {
    file: File,
    len: u64,
    sent: u64,
    watch: Arc<Watch>,
}

impl Source {
    /// Reads the next bytes. The last ones are returned only once the file is known to end after them. An error ends the request
    /// and is kept in the watch, since the HTTP client would hide it.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self.read().await {
            Ok(chunk) => Ok(chunk),
            Err(fault) => {
                self.watch.set_fault(fault);
                Err(io::Error::other("the file could not be sent"))
            }
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>, Fault> {
        let left = self.len - self.sent;
        if left == 0 {
            return Ok(None);
        }
        let want = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let mut chunk = BytesMut::zeroed(want);
        let got = self.file.read(&mut chunk).await.map_err(Fault::Read)?;
        if got == 0 {
            return Err(Fault::Changed { found: self.sent });
        }
        chunk.truncate(got);
        // No file is as long as 2^64 bytes, and `got` is at most `left`.
        let sent = self.sent + got as u64;
        if sent == self.len && self.file.read(&mut [0]).await.map_err(Fault::Read)? > 0 {
            let found = self.file.metadata().await.map_err(Fault::Read)?.len();
            return Err(Fault::Changed { found });
        }
        self.sent = sent;
        self.watch.sent.store(sent, Ordering::Relaxed);
        Ok(Some(chunk.freeze()))
    }
}

/// Makes a file name that every storage host accepts: ASCII letters, digits, `.`, `-` and `_`, with its extension.
fn make_safe_name(name: &str) -> String {
    let safe: Vec<char> = name
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => c,
            _ => '_',
        })
        .collect();
    let start = safe.len().saturating_sub(NAME_MAX_CHARS);
    let safe: String = safe.into_iter().skip(start).collect();
    if safe.bytes().all(|b| b == b'.') {
        "file".to_owned()
    } else {
        safe
    }
}

/// Reads the reason in a storage host's answer: only its code, since the rest may repeat what was signed.
fn read_storage_reason(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"))
        .map(|(code, _)| plain(code))
        .filter(|code| !code.is_empty())
        .unwrap_or_else(|| NO_REASON.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_becomes_one_that_every_host_accepts() {
        assert_eq!(make_safe_name("red shoe.jpg"), "red_shoe.jpg");
        assert_eq!(make_safe_name("\"\r\n\u{202e}ü.png"), "_____.png");
        assert_eq!(make_safe_name(".."), "file");
        assert_eq!(make_safe_name(""), "file");
        let long = make_safe_name(&format!("{}.mp4", "x".repeat(400)));
        assert_eq!(long.len(), NAME_MAX_CHARS);
        assert!(long.ends_with(".mp4"));
    }

    #[test]
    fn a_storage_hosts_reason_is_its_code_alone() {
        let body = b"<Error><Code>EntityTooLarge</Code><StringToSign>secret</StringToSign></Error>";
        assert_eq!(read_storage_reason(body), "EntityTooLarge");
        assert_eq!(read_storage_reason(b"no"), "the answer gave no reason");
    }
}
