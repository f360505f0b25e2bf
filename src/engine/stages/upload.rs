//! Making a job's media ready: each becomes a data URI or an ephemeral upload, and the same bytes are uploaded once while
//! Runway keeps them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::engine::stages::{StageError, blocking, inbox, mounted, on_its_mount};
use crate::engine::{Engine, HANGS_AFTER, SENDING_HANGS_AFTER};
use crate::files::{open_beneath, sha256_of};
use crate::folders::Places;
use crate::job::{FileRef, InputFile, Job, MediaUse, Plan};
use crate::journal::Upload;
use crate::json::set_slot;
use crate::runway::{CallError, Client, Route, UploadError, data_uri, route};

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
    /// The URIs in it that Runway gave for uploads.
    pub uploads: Vec<String>,
}

/// Why a job's media cannot be made ready.
pub enum NotReady {
    /// A file is gone, was changed or cannot be read: the job fails.
    Files(String),
    /// Runway refuses the key.
    BadKey(String),
    /// Runway refuses the file for good: the job fails.
    Refused(String),
    /// It did not get through: the job goes back to the queue, so that nobody else has to wait for it.
    Later {
        /// Why.
        why: String,
        /// How long the host asks to wait.
        retry_after: Option<Duration>,
    },
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

/// Where uploads go.
#[derive(Clone, Copy)]
struct Runway<'a> {
    client: &'a Client,
    /// What tells the client's API account from others.
    account: &'a str,
}

/// Makes the body.
pub async fn prepare(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    plan: &Plan,
    client: &Client,
    account: &str,
) -> Result<Ready, NotReady> {
    let places = inbox(engine, job)?.places;
    let files = {
        let mut place = engine.uploads.enter(&job.inbox).await;
        place
            .during(HANGS_AFTER, digest_files(engine, job, &places))
            .await?
    };
    let mut body: Map<String, Value> = plan.body.clone();
    let mut uploads = Vec::new();
    for media in &plan.media {
        let runway = Runway { client, account };
        let uri = uri_for(engine, job, &files, media, &places, runway).await?;
        if !set_slot(&mut body, &media.slot, &uri) {
            return Err(NotReady::Files(format!(
                "the request has no place for {} any more",
                name_of(&files, &media.file)
            )));
        }
        if uri.starts_with("runway://") {
            uploads.push(uri);
        }
    }
    Ok(Ready {
        body: Value::Object(body),
        files,
        uploads,
    })
}

/// Reads all of the job's own files once, so that the record can tell what was used, and notices what is gone or changed.
async fn digest_files(
    engine: &Engine,
    job: &Arc<Job>,
    places: &Places,
) -> Result<Vec<InputFile>, NotReady> {
    let mut files = job.files.clone();
    for file in &mut files {
        let Some(at) = &file.at else {
            return Err(NotReady::Cancelled);
        };
        let (folder, path) = (places.folder(at.folder).to_owned(), at.path.clone());
        let expected = file.bytes;
        let read = blocking(engine, job, move || -> io::Result<(u64, String)> {
            let file = open_beneath(&folder, path.as_path())?;
            Ok((file.metadata()?.len(), sha256_of(&file)?))
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
            Err(error) => {
                let (name, gone) = (file.dropped.to_string(), NotReady::Cancelled);
                return Err(unreadable(engine, job, places, &name, gone, error).await);
            }
        }
    }
    Ok(files)
}

/// Whether what is not there may be believed to be gone. A share that is offline, or a bare mount point in its place, says
/// nothing about the files that lie on it.
///
/// # Errors
/// The folders are away: the stage is done again.
pub(crate) async fn reachable(
    engine: &Engine,
    job: &Job,
    places: &Places,
) -> Result<(), StageError> {
    let working = places.working.clone();
    let there = blocking(engine, job, move || working.is_dir()).await?;
    if !there {
        return Err(StageError::Later(format!(
            "the folder {} is not there",
            places.working.display()
        )));
    }
    if let Some(why) = engine.why_away(&job.inbox) {
        return Err(StageError::Later(format!(
            "the inbox {} cannot be used at the moment: {why}",
            places.inbox.display()
        )));
    }
    on_its_mount(engine, &places.inbox).await?;
    mounted(engine, job, places).await
}

/// What it means that a file cannot be read; `gone` if it is really not there any more.
async fn unreadable(
    engine: &Engine,
    job: &Job,
    places: &Places,
    name: &str,
    gone: NotReady,
    error: io::Error,
) -> NotReady {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            match reachable(engine, job, places).await {
                Ok(()) => gone,
                Err(away) => away.into(),
            }
        }
        // The whole folder lost its permissions, which is no fault of the file's and passes.
        io::ErrorKind::PermissionDenied if !searchable(engine, job, &places.working).await => {
            let what = format!("{name} cannot be read in {}", places.working.display());
            StageError::disk(what)(error).into()
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput => {
            NotReady::Files(format!("{name} cannot be read: {error}"))
        }
        // A disk or a share has trouble, which passes.
        _ => StageError::disk(format!("{name} cannot be read"))(error).into(),
    }
}

/// Whether files in a folder can be reached at all.
async fn searchable(engine: &Engine, job: &Job, folder: &Path) -> bool {
    let inside = folder.join(".");
    matches!(
        blocking(engine, job, move || inside.metadata()).await,
        Ok(Ok(_))
    )
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
    runway: Runway<'_>,
) -> Result<String, NotReady> {
    let name = name_of(files, &media.file);
    let (folder, path, digest, gone) = match &media.file {
        FileRef::Own(index) => match files.get(*index) {
            Some(InputFile {
                at: Some(at),
                sha256,
                ..
            }) => (
                places.folder(at.folder).to_owned(),
                at.path.clone(),
                sha256.clone(),
                NotReady::Cancelled,
            ),
            Some(_) | None => return Err(NotReady::Cancelled),
        },
        FileRef::Shared(path) => (
            places.inbox.clone(),
            path.clone(),
            None,
            NotReady::Files(format!("{name} is not there any more")),
        ),
    };
    let shared = matches!(media.file, FileRef::Shared(_));
    let plain_name = path.name().to_string_lossy().into_owned();
    // Opened once: what is measured, hashed and sent is one and the same file, whatever its names lead to meanwhile.
    let opened = blocking(engine, job, move || -> io::Result<(File, u64)> {
        let file = open_beneath(&folder, path.as_path())?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    })
    .await?;
    let (mut file, bytes) = match opened {
        Ok(opened) => opened,
        Err(error) => return Err(unreadable(engine, job, places, &name, gone, error).await),
    };
    let trouble = |error| StageError::disk(format!("{name} cannot be read"))(error);
    match route(media.kind, bytes, shared)
        .map_err(|too_big| NotReady::Files(format!("{name}: {too_big}")))?
    {
        Route::DataUri => {
            let content = blocking(engine, job, move || -> io::Result<Vec<u8>> {
                let mut content = Vec::new();
                file.read_to_end(&mut content).map(|_| content)
            })
            .await?
            .map_err(trouble)?;
            Ok(data_uri(&media.mime, &content))
        }
        Route::Upload => {
            let digest = match digest {
                Some(digest) => digest,
                None => {
                    let hashing = file.try_clone().map_err(trouble)?;
                    blocking(engine, job, move || sha256_of(&hashing))
                        .await?
                        .map_err(trouble)?
                }
            };
            let content = Content {
                name,
                plain_name,
                file,
                bytes,
                digest,
                mime: media.mime.clone(),
            };
            upload(engine, job, runway, content).await
        }
    }
}

/// A file to upload.
struct Content {
    /// What people call it.
    name: String,
    /// The last part of its path.
    plain_name: String,
    file: File,
    bytes: u64,
    /// Hex SHA-256.
    digest: String,
    mime: String,
}

/// The URI of a content at Runway: uploaded now, or while it was still kept.
async fn upload(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    runway: Runway<'_>,
    content: Content,
) -> Result<String, NotReady> {
    let Content {
        name,
        plain_name,
        file,
        bytes,
        digest,
        mime,
    } = content;
    let Runway { client, account } = runway;
    let journal = engine.ledger.journal();
    // Whoever else wants the same content waits here, and then finds it uploaded.
    let turn = engine.turn(&digest);
    let waiting = tokio::time::timeout(SENDING_HANGS_AFTER, turn.lock());
    let _turn = match waiting.await {
        Ok(turn) => Some(turn),
        Err(_) => {
            // It may lie on a share that hangs. To upload it twice costs nothing.
            tracing::debug!(job = %job.id, "somebody else's upload of the same content takes long");
            None
        }
    };
    match journal
        .upload(account, &digest, Timestamp::now() + MARGIN)
        .await
    {
        Ok(Some(known)) => return Ok(known.uri),
        Ok(None) => {}
        Err(error) => return Err(StageError::Later(error.to_string()).into()),
    }
    let mut place = engine.uploads.enter(&job.inbox).await;
    if engine
        .ledger
        .get(&job.id)
        .is_none_or(|job| job.cancel_asked)
    {
        return Err(NotReady::Cancelled);
    }
    let trouble = |error| StageError::disk(format!("{name} cannot be read"))(error);
    let sending = tokio::fs::File::from_std(file.try_clone().map_err(trouble)?);
    let started = Timestamp::now();
    let sending = client.upload(sending, bytes, &plain_name, &mime);
    let sent = tokio::select! {
        sent = place.during(SENDING_HANGS_AFTER, sending) => sent,
        () = engine.stop.cancelled() => return Err(StageError::LeftOff.into()),
    };
    match &sent {
        Ok(_) => engine.ledger.metrics().uploaded(bytes),
        Err(error) => engine.ledger.metrics().upload_failed(error),
    }
    let uri = sent.map_err(|error| not_uploaded(&name, error))?;
    // Changed in place with the same length, it is not what its digest says, and others would get it for theirs.
    let after = place
        .during(HANGS_AFTER, blocking(engine, job, move || sha256_of(&file)))
        .await?
        .map_err(trouble)?;
    if after != digest {
        return Err(NotReady::Files(format!(
            "{name} was changed while the job was on its way"
        )));
    }
    let upload = Upload {
        uri: uri.as_str().to_owned(),
        expires_at: started + KEPT,
    };
    if let Err(error) = journal
        .remember_upload(account, &digest, &upload, Timestamp::now())
        .await
    {
        // Not remembered means uploaded again some day, which costs nothing.
        tracing::warn!(job = %job.id, %error, "the upload is not remembered");
    }
    Ok(upload.uri)
}

/// What an upload that failed means for the job. Nothing was paid, whatever it is.
fn not_uploaded(name: &str, error: UploadError) -> NotReady {
    let later = |why: String, retry_after| NotReady::Later {
        why: format!("the upload of {name} did not get through: {why}"),
        retry_after,
    };
    match error {
        UploadError::Call(CallError::BadKey { message, .. }) => NotReady::BadKey(message),
        UploadError::Changed { .. } | UploadError::Read(_) => {
            NotReady::Files(format!("{name}: {error}"))
        }
        UploadError::Call(CallError::Transient {
            at,
            why,
            retry_after,
        }) => later(format!("{why} ({at})"), retry_after),
        UploadError::Transient {
            host,
            why,
            retry_after,
        } => later(format!("{why} (host {host})"), retry_after),
        UploadError::Refused { .. } | UploadError::Call(CallError::Refused { .. }) => {
            NotReady::Refused(format!("the upload of {name} was refused: {error}"))
        }
        UploadError::Call(CallError::NotFound { .. } | CallError::Garbage { .. })
        | UploadError::Insecure { .. }
        | UploadError::Unsendable { .. } => later(error.to_string(), None),
    }
}
