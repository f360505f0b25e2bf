//! Serves inputs and outputs of jobs: whole, in part, or as a small picture.
//!
//! A request names a file by its job and its number there, never by a path. The path comes from the journal. The file is opened
//! below its folder without following links, and its size must be the one in the journal, so that a file that has replaced it is
//! not shown. Files are read a piece at a time on the threads for the inbox's own file work: a share that does not respond delays
//! only its own jobs.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;

use super::app::{App, page, trouble};
use crate::control::{Refusal, Source};
use crate::engine::Engine;
use crate::files::RelPath;
use crate::files::open_beneath;
use crate::folders::Places;
use crate::job::{Event, Job, JobId, Role, State as Standing, Verdict};
use crate::journal::JournalError;
use crate::media::{Format, HEAD_BYTES, sniff};
use crate::status::small_picture;

/// How many bytes are read at a time.
const PIECE: u64 = 256 * 1024;
/// How long opening a file may take before the request fails.
const OPENS_WITHIN: Duration = Duration::from_secs(10);
/// How many small pictures are kept.
const PICTURES: usize = 500;

/// The path of a job's file, and what the journal knows of its content.
struct Known {
    folder: PathBuf,
    below: PathBuf,
    bytes: Option<u64>,
    sha256: Option<String>,
}

/// An open file.
struct Opened {
    file: Arc<File>,
    length: u64,
    etag: String,
    format: Option<Format>,
}

fn gone() -> Response {
    trouble(
        StatusCode::NOT_FOUND,
        "there is no such file: it was moved, deleted or replaced",
    )
}

/// Serves a file, or a part of it.
pub(super) async fn file(
    State(app): State<Arc<App>>,
    Path((id, which, index)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let engine = &app.hub.engine;
    let found = async {
        let Some((job, known)) = locate(&app, &id, &which, &index).await? else {
            return Ok(None);
        };
        let opened = open(engine, &job, known).await;
        Ok::<_, JournalError>(opened.map(|opened| (job, opened)))
    };
    let (job, opened) = match tokio::time::timeout(OPENS_WITHIN, found).await {
        Ok(Ok(Some(found))) => found,
        Ok(Ok(None)) => return gone(),
        Ok(Err(error)) => return Refusal::from(error).into_response(),
        Err(_) => {
            return trouble(
                StatusCode::GATEWAY_TIMEOUT,
                "the file's folder does not respond: check its disk or share",
            );
        }
    };
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if text(&IF_NONE_MATCH)
        .is_some_and(|etags| etags.split(',').any(|etag| etag.trim() == opened.etag))
    {
        return (StatusCode::NOT_MODIFIED, [(ETAG, opened.etag)]).into_response();
    }
    let part = part(text(&RANGE), text(&IF_RANGE), &opened.etag, opened.length);
    let (status, from, length) = match part {
        Part::Whole => (StatusCode::OK, 0, opened.length),
        Part::From { first, last } => (
            StatusCode::PARTIAL_CONTENT,
            first,
            last.saturating_sub(first).saturating_add(1),
        ),
        Part::None => {
            let range = [(CONTENT_RANGE, format!("bytes */{}", opened.length))];
            let words = trouble(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "the requested range is beyond the end of the file",
            );
            return (range, words).into_response();
        }
    };
    let body = Body::from_stream(read(engine.clone(), job, opened.file, from, length));
    let mut answer = (status, body).into_response();
    let (kind, disposition) = match opened.format.filter(|format| is_shown(*format)) {
        Some(format) => (format.mime(), "inline"),
        None => ("application/octet-stream", "attachment"),
    };
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = value.parse() {
            answer.headers_mut().insert(name, value);
        }
    };
    set(CONTENT_TYPE, kind.to_owned());
    set(CONTENT_DISPOSITION, disposition.to_owned());
    set(CONTENT_LENGTH, length.to_string());
    set(ACCEPT_RANGES, "bytes".to_owned());
    set(CACHE_CONTROL, "private, no-cache".to_owned());
    set(ETAG, opened.etag);
    if status == StatusCode::PARTIAL_CONTENT {
        let last = from.saturating_add(length).saturating_sub(1);
        set(
            CONTENT_RANGE,
            format!("bytes {from}-{last}/{}", opened.length),
        );
    }
    answer
}

/// Whether browsers show the format and it cannot run scripts. SVG, HTML and all others are offered as downloads.
fn is_shown(format: Format) -> bool {
    matches!(
        format,
        Format::Jpeg
            | Format::Png
            | Format::Webp
            | Format::Gif
            | Format::Avif
            | Format::Mp4
            | Format::Mov
            | Format::M4a
            | Format::Webm
            | Format::Ogg
            | Format::Ogv
            | Format::Mp3
            | Format::Aac
            | Format::Wav
            | Format::Flac
    )
}

/// Parses a file's number in a URL. Only digits: `parse` would also accept a plus.
fn number(index: &str) -> Option<usize> {
    let is_number = index.bytes().all(|byte| byte.is_ascii_digit());
    index.parse().ok().filter(|_| is_number)
}

/// Finds a file by its job and its number there.
///
/// # Errors
/// The journal cannot be read.
async fn locate(
    app: &App,
    id: &str,
    which: &str,
    index: &str,
) -> Result<Option<(Arc<Job>, Known)>, JournalError> {
    let (Ok(id), Some(index)) = (id.parse::<JobId>(), number(index)) else {
        return Ok(None);
    };
    let Some(job) = Source::Hub(&app.hub).job(&id).await? else {
        return Ok(None);
    };
    let Some(places) = app
        .hub
        .engine
        .settings
        .inbox_of(&job)
        .map(|inbox| inbox.places)
    else {
        return Ok(None);
    };
    let known = match which {
        "input" => input(&job, index, &places),
        "output" => match output(&job, index) {
            None => None,
            Some(path) => {
                let history = app.hub.engine.ledger.journal().history(&id).await?;
                let fetched = history.iter().rev().find_map(|(_, event)| {
                    if let Event::Fetched { outputs } = event {
                        return outputs.get(index);
                    }
                    None
                });
                Some(Known {
                    folder: places.outbox,
                    below: path.as_path().to_owned(),
                    bytes: fetched.map(|output| output.bytes),
                    sha256: fetched.map(|output| output.sha256.clone()),
                })
            }
        },
        _ => None,
    };
    Ok(known.map(|known| (job, known)))
}

/// Returns the current path of an input image or video.
fn input(job: &Job, index: usize, places: &Places) -> Option<Known> {
    let file = job.files.get(index)?;
    if !matches!(file.role, Role::Main | Role::Reference) {
        return None;
    }
    let spot = file.at.as_ref()?;
    Some(Known {
        folder: places.folder(spot.folder).to_owned(),
        below: spot.path.as_path().to_owned(),
        bytes: Some(file.bytes),
        sha256: file.sha256.clone(),
    })
}

/// Returns the path of a delivered output.
fn output(job: &Job, index: usize) -> Option<&RelPath> {
    match &job.state {
        Standing::Done { outputs, .. }
        | Standing::Closing {
            verdict: Verdict::Done { outputs, .. },
            ..
        } => outputs.get(index),
        Standing::Closing {
            verdict: Verdict::Failed(_) | Verdict::Cancelled { .. },
            ..
        }
        | Standing::Taking { .. }
        | Standing::Queued { .. }
        | Standing::Uploading
        | Standing::Submitting { .. }
        | Standing::Running { .. }
        | Standing::Downloading { .. }
        | Standing::Delivering { .. }
        | Standing::Failed { .. }
        | Standing::Cancelled { .. }
        | Standing::InDoubt { .. } => None,
    }
}

async fn open(engine: &Engine, job: &Job, known: Known) -> Option<Opened> {
    let opening = engine.with_files(job, move || -> io::Result<Option<Opened>> {
        let file = open_beneath(&known.folder, &known.below)?;
        let meta = file.metadata()?;
        if known.bytes.is_some_and(|bytes| bytes != meta.len()) {
            return Ok(None);
        }
        let mut head = vec![0; HEAD_BYTES];
        let read = file.read_at(&mut head, 0)?;
        head.truncate(read);
        // The digest of the content, and what distinguishes another file of the same size.
        let content = known.sha256.unwrap_or_default();
        let etag = format!(
            "\"{}-{}-{}-{}\"",
            content.get(..32).unwrap_or_default(),
            meta.len(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        Ok(Some(Opened {
            file: Arc::new(file),
            length: meta.len(),
            etag,
            format: sniff(&head),
        }))
    });
    match opening.await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => {
            tracing::debug!(job = %job.id, %error, "a file cannot be shown");
            None
        }
        Err(_) => None,
    }
}

/// The content, piece by piece. A file that became shorter meanwhile breaks the answer off.
fn read(
    engine: Arc<Engine>,
    job: Arc<Job>,
    file: Arc<File>,
    from: u64,
    length: u64,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    let end = from.saturating_add(length);
    stream::try_unfold(
        (from, engine, job, file),
        move |(at, engine, job, file)| async move {
            if at >= end {
                return Ok(None);
            }
            let size = usize::try_from(end.saturating_sub(at).min(PIECE)).unwrap_or_default();
            let reading = file.clone();
            let piece = engine
                .with_files(&job, move || {
                    let mut piece = vec![0; size];
                    reading.read_exact_at(&mut piece, at).map(|()| piece)
                })
                .await
                .map_err(io::Error::other)??;
            let next = at.saturating_add(u64::try_from(piece.len()).unwrap_or_default());
            Ok(Some((Bytes::from(piece), (next, engine, job, file))))
        },
    )
}

/// What of a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// Both are in it.
    From {
        first: u64,
        last: u64,
    },
    /// Nothing that is there.
    None,
}

/// Reads `Range` (RFC 9110). What cannot be read, and several ranges at once, mean the whole file, which is always allowed.
fn part(range: Option<&str>, if_range: Option<&str>, etag: &str, length: u64) -> Part {
    let Some(range) = range else {
        return Part::Whole;
    };
    // A date, or the tag of what was there before: what is asked for belongs to another content.
    if if_range.is_some_and(|known| known.trim() != etag) {
        return Part::Whole;
    }
    let Some((unit, spec)) = range.split_once('=') else {
        return Part::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Part::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return Part::Whole;
    }
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return Part::Whole;
    }
    let end = length.checked_sub(1);
    match (first, last, end) {
        ("", "", _) => Part::Whole,
        ("", _, None) => Part::None,
        ("", suffix, Some(end)) => match suffix.parse::<u64>().unwrap_or(u64::MAX) {
            0 => Part::None,
            count => Part::From {
                first: length.saturating_sub(count),
                last: end,
            },
        },
        (first, last, end) => {
            let first = first.parse::<u64>().unwrap_or(u64::MAX);
            let last = match last {
                "" => u64::MAX,
                last => last.parse::<u64>().unwrap_or(u64::MAX),
            };
            if last < first {
                return Part::Whole;
            }
            match end {
                Some(end) if first <= end => Part::From {
                    first,
                    last: last.min(end),
                },
                Some(_) | None => Part::None,
            }
        }
    }
}

/// A small picture of an image.
pub(super) async fn picture(
    State(app): State<Arc<App>>,
    Path((id, which, index)): Path<(String, String, String)>,
) -> Response {
    let found = async {
        let located = locate(&app, &id, &which, &index).await;
        let (job, known) = located.unwrap_or_else(|error| {
            tracing::debug!(%error, "the journal does not tell of a picture");
            None
        })?;
        let key = (job.id.clone(), which.clone(), number(&index)?);
        let lock = || {
            let known = app.pictures.known.lock();
            known.unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(picture) = lock().get(&key) {
            return picture.clone();
        }
        let _turn = app.pictures.makers.acquire().await;
        let opened = open(&app.hub.engine, &job, known).await?;
        let file = opened.file.clone();
        let making = app
            .hub
            .engine
            .with_files(&job, move || file.try_clone().and_then(small_picture));
        let picture = match making.await {
            Ok(Ok(bytes)) => Some(Bytes::from(bytes)),
            Ok(Err(_)) | Err(_) => None,
        };
        let mut known = lock();
        if known.len() >= PICTURES {
            known.clear();
        }
        known.insert(key, picture.clone());
        picture
    };
    match tokio::time::timeout(OPENS_WITHIN, found).await {
        Ok(Some(bytes)) => {
            let headers = [
                (CONTENT_TYPE, "image/jpeg"),
                (CACHE_CONTROL, "private, max-age=3600"),
            ];
            (headers, bytes).into_response()
        }
        // An image that cannot be made small, or lies no more where it did, has a placeholder: nothing is wrong with the page.
        Ok(None) | Err(_) => page(super::page::ICON, "image/svg+xml"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_the_standard_says() {
        let from = |first, last| Part::From { first, last };
        for (range, expected) in [
            ("bytes=0-0", from(0, 0)),
            ("bytes=0-9", from(0, 9)),
            ("bytes=0-999999999999999999999999", from(0, 99)),
            ("bytes=99-", from(99, 99)),
            ("bytes=90-200", from(90, 99)),
            ("bytes=-1", from(99, 99)),
            ("bytes=-100", from(0, 99)),
            ("bytes=-5000", from(0, 99)),
            ("BYTES = 5-6", from(5, 6)),
            ("bytes=100-", Part::None),
            ("bytes=100-200", Part::None),
            ("bytes=999999999999999999999999-", Part::None),
            ("bytes=-0", Part::None),
            ("bytes=9-5", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=0-1,5-6", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=1--2", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(part(Some(range), None, "\"x\"", 100), expected, "{range}");
        }
        assert_eq!(part(None, None, "\"x\"", 100), Part::Whole);
        for range in ["bytes=0-", "bytes=-1", "bytes=0-0"] {
            assert_eq!(part(Some(range), None, "\"x\"", 0), Part::None, "{range}");
        }
    }

    #[test]
    fn a_part_of_another_content_is_not_told() {
        let asked = |tag| part(Some("bytes=0-0"), Some(tag), "\"x\"", 100);
        assert_eq!(asked("\"x\""), Part::From { first: 0, last: 0 });
        for other in ["\"y\"", "W/\"x\"", "x", "Fri, 27 Nov 2026 10:00:00 GMT", ""] {
            assert_eq!(asked(other), Part::Whole, "{other}");
        }
    }
}
