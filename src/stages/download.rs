//! Fetching a finished task's outputs into part files beside where they will lie. A paid output is asked for however often
//! that takes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{StageError, blocking};
use crate::engine::{Engine, trouble_pause};
use crate::files::{create_folders, sha256};
use crate::job::{Delivery, Event, Job, Task};
use crate::media::{self, Probe, Wholeness};
use crate::outbox;
use crate::runway::{
    CallError, DownloadError, OutputUrl, Seen, TaskId, TaskStatus, no_sooner_than,
};

/// The longest pause between two attempts.
const CAP: Duration = Duration::from_secs(300);

/// Fetches all outputs.
pub async fn run(engine: &Arc<Engine>, job: &Arc<Job>, task: &Task) -> Result<(), StageError> {
    let folder = super::outbox(engine, job).await?;
    let mut urls = match engine.take_outputs(&job.id) {
        Some(urls) => urls,
        None => fresh_urls(engine, job, task).await?,
    };
    let _room = engine.downloads.acquire().await;
    let mut outputs = Vec::new();
    for index in 0..urls.len() {
        let part = outbox::part_path(&job.input, &job.id, index);
        let path = folder.join(part.as_path());
        if let Some(parent) = path.parent().map(PathBuf::from) {
            blocking(move || create_folders(&parent))
                .await?
                .map_err(StageError::disk("the outbox cannot be used"))?;
        }
        let output = fetch(engine, job, task, &mut urls, index, path).await?;
        outputs.push(Delivery { part, ..output });
    }
    engine.clear_trouble(&job.id);
    engine
        .record(&job.id, Event::Fetched { outputs })
        .await
        .map(drop)
        .ok_or(StageError::LeftOff)
}

/// Asks for the task again, which gives fresh addresses.
async fn fresh_urls(
    engine: &Arc<Engine>,
    job: &Job,
    task: &Task,
) -> Result<Vec<OutputUrl>, StageError> {
    let (Some(client), Ok(id), Some(plan)) = (
        engine.client(),
        task.id.parse::<TaskId>(),
        job.plan.as_ref(),
    ) else {
        return Err(StageError::Later(
            "the outputs wait for a valid API key".to_owned(),
        ));
    };
    match client.task(&plan.poll, &id).await {
        Ok(answer) => match answer.status {
            TaskStatus::Succeeded { output } if !output.is_empty() => Ok(output),
            other => Err(StageError::Later(format!(
                "Runway says {other:?} of a task that had succeeded"
            ))),
        },
        Err(CallError::NotFound { at }) => Err(StageError::Later(format!(
            "Runway does not know the task {} at the moment ({at}); its outputs are asked for again",
            task.id
        ))),
        Err(error) => Err(StageError::Later(error.to_string())),
    }
}

/// Fetches one output, whole and durable in its part file.
async fn fetch(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    task: &Task,
    urls: &mut Vec<OutputUrl>,
    index: usize,
    path: PathBuf,
) -> Result<Delivery, StageError> {
    let mut seen = Seen::default();
    let mut attempt = 0_u32;
    let mut unproven = 0_u32;
    loop {
        let Some(client) = engine.client() else {
            return Err(StageError::Later(
                "the outputs wait for a valid API key".to_owned(),
            ));
        };
        let Some(url) = urls.get(index) else {
            return Err(StageError::Later(
                "Runway lists fewer outputs than before".to_owned(),
            ));
        };
        let mut part = tokio::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .await
            .map_err(StageError::disk("the outbox cannot be written"))?;
        let fetched = tokio::select! {
            fetched = client.download(url, &mut part, &mut seen, |_, _| {}) => fetched,
            () = engine.stop.cancelled() => return Err(StageError::LeftOff),
        };
        let (why, retry_after) = match fetched {
            Ok(done) => {
                part.sync_all()
                    .await
                    .map_err(StageError::disk("the output cannot be made durable"))?;
                drop(part);
                let (read, bytes) = (path.clone(), done.bytes);
                let (probe, digest) = blocking(move || -> std::io::Result<(Probe, String)> {
                    let probe = media::probe(&mut std::fs::File::open(&read)?)?;
                    Ok((probe, sha256(&read)?))
                })
                .await?
                .map_err(StageError::disk("the output cannot be read back"))?;
                match unusable(
                    &probe,
                    done.content_type.as_deref(),
                    done.length_proven || unproven > 2,
                ) {
                    None => {
                        let extension = outbox::extension(&probe, done.content_type.as_deref());
                        return Ok(Delivery {
                            part: Default::default(),
                            name: None,
                            sha256: digest,
                            bytes,
                            extension,
                        });
                    }
                    Some(why) => {
                        unproven = unproven.saturating_add(1);
                        seen = Seen::default();
                        *urls = fresh_urls(engine, job, task).await?;
                        (why, None)
                    }
                }
            }
            Err(DownloadError::Expired { .. }) => {
                let before = attempt;
                *urls = fresh_urls(engine, job, task).await?;
                if before == 0 {
                    attempt = 1;
                    continue;
                }
                ("the address of the output expired".to_owned(), None)
            }
            Err(DownloadError::Disk(source)) => {
                return Err(StageError::Disk {
                    what: "the output cannot be written to the outbox".to_owned(),
                    source,
                });
            }
            Err(DownloadError::Transient {
                host,
                why,
                retry_after,
            }) => (format!("{why} (host {host})"), retry_after),
            Err(error @ DownloadError::Truncated { .. }) => {
                // The next try goes on where this one broke off; only without progress is there a reason to wait.
                tracing::debug!(job = %job.id, %error, "going on");
                (error.to_string(), None)
            }
            Err(error @ (DownloadError::Refused { .. } | DownloadError::Insecure { .. })) => {
                *urls = fresh_urls(engine, job, task).await?;
                (error.to_string(), None)
            }
        };
        attempt = attempt.saturating_add(1);
        engine.note_trouble(&job.id, format!("the download is tried again: {why}"));
        if attempt == 5 {
            tracing::warn!(job = %job.id, input = %job.input, "the output cannot be fetched yet: {why}; trying goes on");
        }
        let pause = no_sooner_than(trouble_pause(attempt), retry_after).min(CAP);
        if !engine.pause(pause).await {
            return Err(StageError::LeftOff);
        }
    }
}

/// Why what came is not an output, if it is none: a text or a web page in its place, or a file that its own structure says
/// is cut short although nobody said how long it should be.
fn unusable(probe: &Probe, content_type: Option<&str>, length_proven: bool) -> Option<String> {
    if probe.bytes == 0 {
        return Some("nothing came".to_owned());
    }
    let textual = content_type.is_some_and(|kind| {
        let kind = kind.to_ascii_lowercase();
        ["text/", "application/json", "application/xml"]
            .iter()
            .any(|text| kind.starts_with(text))
    });
    if matches!(probe.format, Some(media::Format::Html | media::Format::Pdf))
        || (probe.format.is_none() && textual)
    {
        return Some("a page or a text came in place of the output".to_owned());
    }
    match &probe.wholeness {
        Wholeness::Partial { missing } if !length_proven => {
            Some(format!("it is cut short: {missing}"))
        }
        Wholeness::Partial { .. } | Wholeness::Whole | Wholeness::Unknowable => None,
    }
}
