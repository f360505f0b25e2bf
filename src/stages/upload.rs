//! Making a job's media ready: each becomes a data URI or an ephemeral upload, and the same bytes are uploaded once while
//! Runway keeps them.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{StageError, blocking, inbox};
use crate::catalogue::set_slot;
use crate::engine::{Engine, trouble_pause};
use crate::files::{open_plain, sha256};
use crate::job::{FileRef, InputFile, Job, MediaUse, Plan};
use crate::journal::Upload;
use crate::places::Places;
use crate::runway::{CallError, Client, Route, UploadError, data_uri, no_sooner_than, route};

/// How long Runway keeps an ephemeral upload (its documentation on inputs).
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// An upload is used again only if it is good for at least this long, since the request may have to wait.
const MARGIN: SignedDuration = SignedDuration::from_hours(1);

/// A body that can be sent, and the job's files with their digests.
pub struct Ready {
    /// The request's body.
    pub body: Value,
    /// The job's files.
    pub files: Vec<InputFile>,
}

/// Why a job's media cannot be made ready.
pub enum NotReady {
    /// A file is gone, was changed or cannot be read: the job fails.
    Files(String),
    /// Runway refuses the key.
    BadKey(String),
    /// The person cancelled meanwhile, by deleting the file or by command.
    Cancelled,
    /// The stage is done again later.
    Stage(StageError),
}

impl From<StageError> for NotReady {
    fn from(error: StageError) -> NotReady {
        NotReady::Stage(error)
    }
}

/// Makes the body.
pub async fn prepare(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    plan: &Plan,
    client: &Client,
) -> Result<Ready, NotReady> {
    let places = inbox(engine, job)?.places;
    let files = digest_files(job, &places).await?;
    let mut body: Map<String, Value> = plan.body.clone();
    for media in &plan.media {
        let uri = uri_for(engine, job, &files, media, &places, client).await?;
        if !set_slot(&mut body, &media.slot, &uri) {
            return Err(NotReady::Files(format!(
                "the request has no place for {} any more",
                name_of(&files, &media.file)
            )));
        }
    }
    Ok(Ready {
        body: Value::Object(body),
        files,
    })
}

/// Reads all of the job's own files once, so that the record can tell what was used, and notices what is gone or changed.
async fn digest_files(job: &Arc<Job>, places: &Places) -> Result<Vec<InputFile>, NotReady> {
    let mut files = job.files.clone();
    for file in &mut files {
        let Some(at) = &file.at else {
            return Err(NotReady::Cancelled);
        };
        let path = places.path(at);
        let expected = file.bytes;
        let read = blocking(move || -> io::Result<(u64, String)> {
            let bytes = std::fs::metadata(&path)?.len();
            Ok((bytes, sha256(&path)?))
        })
        .await?;
        match read {
            Ok((bytes, digest)) if bytes == expected => file.sha256 = Some(digest),
            Ok((bytes, _)) => {
                return Err(NotReady::Files(format!(
                    "{} was changed while the job waited: it had {expected} bytes and has {bytes}",
                    file.dropped
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(NotReady::Cancelled);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(NotReady::Files(format!(
                    "{} cannot be read: {error}",
                    file.dropped
                )));
            }
            Err(error) => {
                return Err(
                    StageError::disk(format!("{} cannot be read", file.dropped))(error).into(),
                );
            }
        }
    }
    Ok(files)
}

/// The whole content of a small file.
fn read_plain(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open_plain(path)?.read_to_end(&mut content)?;
    Ok(content)
}

fn name_of(files: &[InputFile], file: &FileRef) -> String {
    match file {
        FileRef::Own(index) => files
            .get(*index)
            .map_or_else(String::new, |file| file.dropped.to_string()),
        FileRef::Shared(path) => path.to_string(),
    }
}

async fn uri_for(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    files: &[InputFile],
    media: &MediaUse,
    places: &Places,
    client: &Client,
) -> Result<String, NotReady> {
    let name = name_of(files, &media.file);
    let (path, digest, shared): (PathBuf, Option<String>, bool) = match &media.file {
        FileRef::Own(index) => match files.get(*index) {
            Some(InputFile {
                at: Some(at),
                sha256,
                ..
            }) => (places.path(at), sha256.clone(), false),
            Some(_) | None => return Err(NotReady::Cancelled),
        },
        FileRef::Shared(path) => (places.inbox.join(path.as_path()), None, true),
    };
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => NotReady::Files(format!("{name} is not there any more")),
        _ => NotReady::Files(format!("{name} cannot be read: {error}")),
    };
    let look = path.clone();
    let bytes = blocking(move || std::fs::metadata(look).map(|meta| meta.len()))
        .await?
        .map_err(gone)?;
    match route(media.kind, bytes, shared)
        .map_err(|too_big| NotReady::Files(format!("{name}: {too_big}")))?
    {
        Route::DataUri => {
            let content = blocking(move || read_plain(&path)).await?.map_err(gone)?;
            Ok(data_uri(&media.mime, &content))
        }
        Route::Upload => {
            let digest = match digest {
                Some(digest) => digest,
                None => {
                    let path = path.clone();
                    blocking(move || sha256(&path)).await?.map_err(gone)?
                }
            };
            let content = Content {
                name,
                path,
                bytes,
                digest,
                mime: media.mime.clone(),
            };
            upload(engine, job, client, content).await
        }
    }
}

/// A file to upload.
struct Content {
    /// What people call it.
    name: String,
    path: PathBuf,
    bytes: u64,
    /// Hex SHA-256.
    digest: String,
    mime: String,
}

/// The URI of a content at Runway: uploaded now, or while it was still kept.
async fn upload(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    client: &Client,
    content: Content,
) -> Result<String, NotReady> {
    let Content {
        name,
        path,
        bytes,
        digest,
        mime,
    } = content;
    let account = engine.account();
    let journal = engine.ledger.journal();
    // Whoever else wants the same content waits here, and then finds it uploaded.
    let turn = engine.upload_turn(&digest);
    let _turn = turn.lock().await;
    let mut attempt = 0_u32;
    loop {
        match journal
            .upload(&account, &digest, Timestamp::now() + MARGIN)
            .await
        {
            Ok(Some(known)) => return Ok(known.uri),
            Ok(None) => {}
            Err(error) => return Err(StageError::Later(error.to_string()).into()),
        }
        if engine
            .ledger
            .get(&job.id)
            .is_none_or(|job| job.cancel_asked)
        {
            return Err(NotReady::Cancelled);
        }
        let opening = path.clone();
        let file = blocking(move || open_plain(&opening))
            .await?
            .map(tokio::fs::File::from_std)
            .map_err(|error| NotReady::Files(format!("{name} cannot be read: {error}")))?;
        let started = Timestamp::now();
        let plain_name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let sent = tokio::select! {
            sent = client.upload(file, bytes, &plain_name, &mime) => sent,
            () = engine.stop.cancelled() => return Err(StageError::LeftOff.into()),
        };
        let retry_after = match sent {
            Ok(uri) => {
                let upload = Upload {
                    uri: uri.as_str().to_owned(),
                    expires_at: started + KEPT,
                };
                if let Err(error) = journal
                    .remember_upload(&account, &digest, &upload, Timestamp::now())
                    .await
                {
                    // Not remembered means uploaded again some day, which costs nothing.
                    tracing::warn!(job = %job.id, %error, "the upload is not remembered");
                }
                engine.clear_trouble(&job.id);
                return Ok(upload.uri);
            }
            Err(UploadError::Call(CallError::BadKey { message, .. })) => {
                return Err(NotReady::BadKey(message));
            }
            Err(error @ (UploadError::Changed { .. } | UploadError::Read(_))) => {
                return Err(NotReady::Files(format!("{name}: {error}")));
            }
            Err(UploadError::Call(CallError::Transient {
                at,
                why,
                retry_after,
            })) => {
                engine.note_trouble(&job.id, format!("the upload of {name} waits: {why} ({at})"));
                retry_after
            }
            Err(UploadError::Transient {
                host,
                why,
                retry_after,
            }) => {
                engine.note_trouble(
                    &job.id,
                    format!("the upload of {name} waits: {why} (host {host})"),
                );
                retry_after
            }
            Err(
                error @ (UploadError::Call(
                    CallError::NotFound { .. }
                    | CallError::Refused { .. }
                    | CallError::Garbage { .. },
                )
                | UploadError::Insecure { .. }
                | UploadError::Refused { .. }
                | UploadError::Unsendable { .. }),
            ) => {
                // Refused for good is not told apart from refused for now, and trying again costs nothing.
                engine.note_trouble(
                    &job.id,
                    format!("the upload of {name} was refused: {error}"),
                );
                Some(Duration::from_secs(5))
            }
        };
        attempt = attempt.saturating_add(1);
        if !engine
            .pause(no_sooner_than(trouble_pause(attempt), retry_after))
            .await
        {
            return Err(StageError::LeftOff.into());
        }
    }
}
