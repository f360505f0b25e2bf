//! Making a job's media ready: each becomes a data URI or an ephemeral upload, and the same bytes are uploaded once while
//! Runway keeps them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::common::{StageError, blocking, check_reachable, load_inbox};
use crate::engine::Engine;
use crate::engine::limiter::{HANGS_AFTER, SENDING_HANGS_AFTER};
use crate::files::{RelPath, hash_file, open_beneath};
use crate::folders::Places;
use crate::job::{FileRef, InputFile, Job, MediaUse, Plan};
use crate::journal::Upload;
use crate::json::set_slot;
use crate::runway::{CallError, Client, Route, UploadError, choose_route};

/// How long Runway keeps an ephemeral upload (its documentation on inputs).
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// An upload is used again only if it is kept for at least this long, since the request may have to wait.
const MARGIN: SignedDuration = SignedDuration::from_hours(1);

/// A request that can be sent.
pub(super) struct Ready {
    pub(super) body: Value,
    /// The job's files, with their digests.
    pub(super) files: Vec<InputFile>,
    /// The URIs in the body that Runway gave for uploads.
    pub(super) uploads: Vec<String>,
}

/// Why a job's media cannot be made ready.
pub(super) enum NotReady {
    /// A file is gone, was changed or cannot be read: the job fails.
    Files(String),
    /// Runway refuses the key.
    BadKey(String),
    /// Runway refuses the file for good: the job fails.
    Refused(String),
    /// The upload failed for now: the job goes back to the queue, so that nobody else has to wait for it.
    Later {
        why: String,
        /// How long the host asks to wait.
        retry_after: Option<Duration>,
    },
    /// A person cancelled meanwhile, by deleting the file or by command.
    Cancelled,
    /// The stage is repeated later.
    Stage(StageError),
}

impl From<StageError> for NotReady {
    fn from(error: StageError) -> NotReady {
        NotReady::Stage(error)
    }
}

/// What all media of one request share.
struct Preparation<'a> {
    engine: &'a Engine,
    job: &'a Arc<Job>,
    places: &'a Places,
    client: &'a Client,
    /// The name of the client's API account.
    account: &'a str,
}

/// Makes the body.
pub(super) async fn prepare(
    engine: &Engine,
    job: &Arc<Job>,
    plan: &Plan,
    client: &Client,
    account: &str,
) -> Result<Ready, NotReady> {
    let places = &load_inbox(engine, job)?.places;
    let preparation = Preparation {
        engine,
        job,
        places,
        client,
        account,
    };
    let files = {
        let mut permit = engine.uploads.acquire(&job.inbox).await;
        permit.run(HANGS_AFTER, preparation.digest_files()).await?
    };
    let mut body: Map<String, Value> = plan.body.clone();
    let mut uploads = Vec::new();
    for media in &plan.media {
        let uri = preparation.make_uri(&files, media).await?;
        if !set_slot(&mut body, &media.slot, &uri) {
            return Err(NotReady::Files(format!(
                "the request no longer has a place for {}",
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

/// Where a medium is.
struct Source {
    /// What people call it.
    name: String,
    folder: PathBuf,
    path: RelPath,
    /// Hex SHA-256, where it is known already.
    digest: Option<String>,
    /// What it means if the file is gone.
    gone: NotReady,
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

impl Preparation<'_> {
    async fn block<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StageError> {
        blocking(self.engine, self.job, work).await
    }

    /// Reads all of the job's own files once, so that the record can say what was used, and notices what is gone or changed.
    async fn digest_files(&self) -> Result<Vec<InputFile>, NotReady> {
        let mut files = self.job.files.clone();
        for file in &mut files {
            let Some(at) = &file.at else {
                return Err(NotReady::Cancelled);
            };
            let (folder, path) = (self.places.folder(at.folder).to_owned(), at.path.clone());
            let expected = file.bytes;
            let reading = self.block(move || -> io::Result<(u64, String)> {
                let file = open_beneath(&folder, path.as_path())?;
                Ok((file.metadata()?.len(), hash_file(&file)?))
            });
            match reading.await? {
                Ok((bytes, digest)) if bytes == expected => file.sha256 = Some(digest),
                Ok((bytes, _)) => {
                    return Err(NotReady::Files(format!(
                        "{} was changed while the job waited: it had {expected} bytes and has {bytes}",
                        file.dropped
                    )));
                }
                Err(error) => {
                    let name = file.dropped.to_string();
                    return Err(self
                        .judge_unreadable(&name, NotReady::Cancelled, error)
                        .await);
                }
            }
        }
        Ok(files)
    }

    /// What it means that a file cannot be read; `gone` if it is really not there any more.
    async fn judge_unreadable(&self, name: &str, gone: NotReady, error: io::Error) -> NotReady {
        let places = self.places;
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                match check_reachable(self.engine, self.job, places).await {
                    Ok(()) => gone,
                    Err(away) => away.into(),
                }
            }
            // The whole folder lost its permissions, which is not the file's fault and passes.
            io::ErrorKind::PermissionDenied if !self.is_searchable(&places.working).await => {
                let what = format!("{name} cannot be read in {}", places.working.display());
                StageError::disk(what)(error).into()
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput => {
                NotReady::Files(format!("{name} cannot be read: {error}"))
            }
            // A disk or a share has a problem, which passes.
            _ => cannot_read(name)(error).into(),
        }
    }

    /// Whether files in a folder can be reached at all.
    async fn is_searchable(&self, folder: &Path) -> bool {
        let inside = folder.join(".");
        matches!(self.block(move || inside.metadata()).await, Ok(Ok(_)))
    }

    fn locate(&self, files: &[InputFile], media: &MediaUse) -> Result<Source, NotReady> {
        let name = name_of(files, &media.file);
        match &media.file {
            FileRef::Own(index) => {
                let file = files.get(*index).ok_or(NotReady::Cancelled)?;
                let at = file.at.as_ref().ok_or(NotReady::Cancelled)?;
                Ok(Source {
                    name,
                    folder: self.places.folder(at.folder).to_owned(),
                    path: at.path.clone(),
                    digest: file.sha256.clone(),
                    gone: NotReady::Cancelled,
                })
            }
            FileRef::Shared(path) => Ok(Source {
                gone: NotReady::Files(format!("{name} is not there any more")),
                name,
                folder: self.places.inbox.clone(),
                path: path.clone(),
                digest: None,
            }),
        }
    }

    async fn make_uri(&self, files: &[InputFile], media: &MediaUse) -> Result<String, NotReady> {
        let Source {
            name,
            folder,
            path,
            digest,
            gone,
        } = self.locate(files, media)?;
        let shared = matches!(media.file, FileRef::Shared(_));
        let plain_name = path.name().to_string_lossy().into_owned();
        // Opened once: what is measured, hashed and sent is the same file, whatever its names lead to meanwhile.
        let opening = self.block(move || -> io::Result<(File, u64)> {
            let file = open_beneath(&folder, path.as_path())?;
            let bytes = file.metadata()?.len();
            Ok((file, bytes))
        });
        let (mut file, bytes) = match opening.await? {
            Ok(opened) => opened,
            Err(error) => return Err(self.judge_unreadable(&name, gone, error).await),
        };
        let too_big = |too_big| NotReady::Files(format!("{name}: {too_big}"));
        match choose_route(media.kind, bytes, shared).map_err(too_big)? {
            Route::DataUri => {
                let reading = self.block(move || -> io::Result<Vec<u8>> {
                    let mut content = Vec::new();
                    file.read_to_end(&mut content).map(|_| content)
                });
                let content = reading.await?.map_err(cannot_read(&name))?;
                Ok(crate::media::encode_data_uri(&media.mime, &content))
            }
            Route::Upload => {
                let digest = match digest {
                    Some(digest) => digest,
                    None => {
                        let hashing = file.try_clone().map_err(cannot_read(&name))?;
                        let digest = self.block(move || hash_file(&hashing)).await?;
                        digest.map_err(cannot_read(&name))?
                    }
                };
                self.upload(Content {
                    name,
                    plain_name,
                    file,
                    bytes,
                    digest,
                    mime: media.mime.clone(),
                })
                .await
            }
        }
    }

    /// The URI of a content at Runway: uploaded now, or earlier if it is still kept.
    async fn upload(&self, content: Content) -> Result<String, NotReady> {
        let (engine, job) = (self.engine, self.job);
        let journal = engine.ledger.journal();
        // Another job with the same content waits here, and then finds it uploaded.
        let waiting = engine.locks.lock_for(&content.digest);
        let _lock = match tokio::time::timeout(SENDING_HANGS_AFTER, waiting).await {
            Ok(lock) => Some(lock),
            Err(_) => {
                // The other's file may be on a share that hangs. To upload the content twice costs nothing.
                tracing::debug!(job = %job.id, "somebody else's upload of the same content takes long");
                None
            }
        };
        let good_until = Timestamp::now() + MARGIN;
        match journal
            .upload(self.account, &content.digest, good_until)
            .await
        {
            Ok(Some(known)) => return Ok(known.uri),
            Ok(None) => {}
            Err(error) => return Err(StageError::Later(error.to_string()).into()),
        }
        let upload = self.send(&content).await?;
        let digest = &content.digest;
        if let Err(error) = journal
            .remember_upload(self.account, digest, &upload, Timestamp::now())
            .await
        {
            // An upload that is not remembered is repeated some day, which costs nothing.
            tracing::warn!(job = %job.id, %error, "the upload is not remembered");
        }
        Ok(upload.uri)
    }

    async fn send(&self, content: &Content) -> Result<Upload, NotReady> {
        let (engine, job) = (self.engine, self.job);
        let mut permit = engine.uploads.acquire(&job.inbox).await;
        if engine
            .ledger
            .get(&job.id)
            .is_none_or(|job| job.cancel_asked)
        {
            return Err(NotReady::Cancelled);
        }
        let clone = || content.file.try_clone().map_err(cannot_read(&content.name));
        let started = Timestamp::now();
        let bytes = content.bytes;
        let sending = self.client.upload(
            tokio::fs::File::from_std(clone()?),
            bytes,
            &content.plain_name,
            &content.mime,
        );
        let sent = tokio::select! {
            sent = permit.run(SENDING_HANGS_AFTER, sending) => sent,
            () = engine.stop.cancelled() => return Err(StageError::LeftOff.into()),
        };
        match &sent {
            Ok(_) => engine.ledger.metrics().count_upload(bytes),
            Err(error) => engine.ledger.metrics().count_upload_failure(error),
        }
        let uri = sent.map_err(|error| judge_upload_error(&content.name, error))?;
        // If the file was changed with the same length, the content is not what its digest says, and others would get it for
        // theirs.
        let file = clone()?;
        let hashing = self.block(move || hash_file(&file));
        let after = permit.run(HANGS_AFTER, hashing).await?;
        if after.map_err(cannot_read(&content.name))? != content.digest {
            return Err(NotReady::Files(format!(
                "{} was changed while the job was on its way",
                content.name
            )));
        }
        Ok(Upload {
            uri: uri.as_str().to_owned(),
            expires_at: started + KEPT,
        })
    }
}

fn name_of(files: &[InputFile], file: &FileRef) -> String {
    match file {
        FileRef::Own(index) => files
            .get(*index)
            .map_or_else(String::new, |file| file.dropped.to_string()),
        FileRef::Shared(path) => path.to_string(),
    }
}

fn cannot_read(name: &str) -> impl FnOnce(io::Error) -> StageError {
    StageError::disk(format!("{name} cannot be read"))
}

/// What a failed upload means for the job. Nothing was paid in any case.
fn judge_upload_error(name: &str, error: UploadError) -> NotReady {
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
