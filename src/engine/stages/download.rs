//! Fetching a finished task's outputs into part files beside where they will lie. A paid output is asked for however often
//! that takes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::stages::{StageError, blocking};
use crate::engine::{Engine, HANGS_AFTER, SENDING_HANGS_AFTER, is_of_another_account, poll_due};
use crate::files::RelPath;
use crate::files::{create_folders, open_part, sha256, sync_file, sync_parent};
use crate::folders::outbox;
use crate::job::{Delivery, Event, Failure, FailureKind, Job, Task};
use crate::media::{self, Probe, Wholeness};
use crate::policy::retry::Trouble;
use crate::runway::{CallError, DownloadError, OutputUrl, Seen, TaskId, TaskStatus};

/// The longest pause between two attempts, whatever a storage host asks for: addresses expire.
const LONGEST: Duration = Duration::from_secs(300);

/// Fetches all outputs.
pub async fn run(engine: &Arc<Engine>, job: &Arc<Job>, task: &Task) -> Result<(), StageError> {
    let folder = super::outbox(engine, job).await?;
    // The poll that found the task finished has just asked about it.
    let mut asked = Asked(None);
    let mut urls = match engine.take_outputs(&job.id) {
        Some(urls) => {
            asked = Asked(Some(Instant::now()));
            urls
        }
        None => fresh_urls(engine, job, task, &mut asked).await?,
    };
    let mut outputs = Vec::new();
    for index in 0..urls.len() {
        let (outbox, input, id) = (folder.clone(), job.input.clone(), job.id.clone());
        let part = blocking(engine, job, move || -> io::Result<RelPath> {
            let part = outbox::part_path(&outbox, &input, &id, index)?;
            match outbox.join(part.as_path()).parent() {
                Some(parent) => create_folders(parent).map(|()| part),
                None => Ok(part),
            }
        })
        .await?
        .map_err(StageError::disk(format!(
            "the outbox {} cannot be used",
            folder.display()
        )))?;
        let path = folder.join(part.as_path());
        let output = fetch(engine, job, task, &mut urls, &mut asked, index, path).await?;
        outputs.push(Delivery { part, ..output });
    }
    engine.clear_trouble(&job.id);
    engine
        .record(&job.id, Event::Fetched { outputs })
        .await
        .map(drop)
        .ok_or(StageError::LeftOff)
}

/// After so many tries at one address another is asked for, whatever went wrong.
const FRESH_EVERY: u32 = 5;

/// When the task was last asked about: not more often than once in `poll_interval`, here as elsewhere.
struct Asked(Option<Instant>);

/// Asks for the task again, which gives fresh addresses.
async fn fresh_urls(
    engine: &Arc<Engine>,
    job: &Job,
    task: &Task,
    asked: &mut Asked,
) -> Result<Vec<OutputUrl>, StageError> {
    if let Some(last) = asked.0 {
        let pause = poll_due(last, engine.settings().poll_interval);
        if !engine
            .pause(pause.saturating_duration_since(Instant::now()))
            .await
        {
            return Err(StageError::LeftOff);
        }
    }
    asked.0 = Some(Instant::now());
    let (Some(client), Ok(id), Some(plan)) = (
        engine.client(),
        task.id.parse::<TaskId>(),
        job.plan.as_ref(),
    ) else {
        return Err(StageError::Later(
            "the outputs wait for a valid API key".to_owned(),
        ));
    };
    let (kind, why) = match client.task(&plan.poll, &id).await {
        Ok(answer) => match answer.status {
            TaskStatus::Succeeded { output } if !output.is_empty() => {
                engine.got_through(&job.id);
                return Ok(output);
            }
            other => (
                FailureKind::Output,
                format!(
                    "Runway says {other:?} of the task {}, which had succeeded",
                    task.id
                ),
            ),
        },
        Err(CallError::NotFound { at }) if !is_of_another_account(engine, task) => (
            FailureKind::TaskGone,
            format!("Runway does not know the task {} any more ({at})", task.id),
        ),
        Err(error) => return Err(StageError::Later(error.to_string())),
    };
    // As long as a task that still runs is asked about: giving up early could give up what is paid for.
    if Trouble::TaskGone.is_repeated(engine.failed_in_a_row(&job.id)) {
        return Err(StageError::Later(format!(
            "{why}; its outputs are asked for again"
        )));
    }
    engine.got_through(&job.id);
    let failure = Failure {
        kind,
        what: format!("{why}: its output cannot be fetched"),
        details: Vec::new(),
        advice: format!(
            "Look for it in Runway's portal. If it is there after all, `taxiway resolve {} --adopt {}` fetches its output. `taxiway \
             retry {}` starts a new task, which costs again.",
            job.id, task.id, job.id
        ),
        task: Some(task.clone()),
    };
    let event = Event::Fails {
        failure,
        charged: None,
    };
    // The job is at its end, and this stage with it.
    engine.record(&job.id, event).await;
    Err(StageError::LeftOff)
}

/// Fetches one output, whole and durable in its part file.
async fn fetch(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    task: &Task,
    urls: &mut Vec<OutputUrl>,
    asked: &mut Asked,
    index: usize,
    path: PathBuf,
) -> Result<Delivery, StageError> {
    let mut seen = Seen::default();
    let mut attempt = 0_u32;
    let mut unproven = Unproven::default();
    let trouble = || format!("the output cannot be written to {}", path.display());
    loop {
        // Held for one attempt and never across a pause, so that what cannot be fetched holds nobody else up.
        let mut place = engine.downloads.enter(&job.inbox).await;
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
        // Other attempts may be long ago.
        place
            .during(HANGS_AFTER, super::outbox(engine, job))
            .await?;
        let opening = path.clone();
        let part = place
            .during(
                HANGS_AFTER,
                blocking(engine, job, move || open_part(&opening)),
            )
            .await?
            .map_err(StageError::disk(trouble()))?;
        let mut part = tokio::fs::File::from_std(part);
        let fetching = client.download(url, &mut part, &mut seen, |_, _| {});
        let fetched = tokio::select! {
            fetched = place.during(SENDING_HANGS_AFTER, fetching) => fetched,
            () = engine.stop.cancelled() => return Err(StageError::LeftOff),
        };
        match &fetched {
            Ok(done) => engine.ledger.metrics().downloaded(done.bytes),
            Err(error) => engine.ledger.metrics().download_failed(error),
        }
        let (why, retry_after) = match fetched {
            Ok(done) => {
                let (part, read, bytes) = (part.into_std().await, path.clone(), done.bytes);
                let syncing = blocking(engine, job, move || sync_file(&part));
                place
                    .during(HANGS_AFTER, syncing)
                    .await?
                    .map_err(StageError::disk(trouble()))?;
                let reading = blocking(engine, job, move || -> io::Result<(Probe, String)> {
                    // The journal is told of the part: its name has to survive as well as its content.
                    sync_parent(&read)?;
                    let probe = media::probe(&mut std::fs::File::open(&read)?)?;
                    Ok((probe, sha256(&read)?))
                });
                let what = format!("the output {} cannot be read back", path.display());
                let (probe, digest) = place
                    .during(HANGS_AFTER, reading)
                    .await?
                    .map_err(StageError::disk(what))?;
                drop(place);
                let proven = done.length_proven || unproven.is_steady(bytes, &digest);
                match unusable(&probe, done.content_type.as_deref(), proven) {
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
                        seen = Seen::default();
                        *urls = fresh_urls(engine, job, task, asked).await?;
                        (why, None)
                    }
                }
            }
            Err(DownloadError::Expired { .. }) => {
                drop(place);
                *urls = fresh_urls(engine, job, task, asked).await?;
                ("the address of the output expired".to_owned(), None)
            }
            Err(DownloadError::Disk(source)) => {
                return Err(StageError::Disk {
                    what: trouble(),
                    source,
                });
            }
            Err(DownloadError::Transient {
                host,
                why,
                retry_after,
            }) => {
                drop(place);
                // A host may be gone for good, and others have it.
                if attempt % FRESH_EVERY == FRESH_EVERY - 1 {
                    *urls = fresh_urls(engine, job, task, asked).await?;
                }
                (format!("{why} (host {host})"), retry_after)
            }
            Err(error @ DownloadError::Truncated { .. }) => {
                // The next try goes on where this one broke off; only without progress is there a reason to wait.
                tracing::debug!(job = %job.id, %error, "going on");
                drop(place);
                (error.to_string(), None)
            }
            Err(error @ (DownloadError::Refused { .. } | DownloadError::Insecure { .. })) => {
                drop(place);
                *urls = fresh_urls(engine, job, task, asked).await?;
                (error.to_string(), None)
            }
        };
        attempt = attempt.saturating_add(1);
        engine.note_trouble(&job.id, format!("the download is tried again: {why}"));
        if attempt == 5 {
            tracing::warn!(job = %job.id, input = %job.input, "the output cannot be fetched yet: {why}; trying goes on");
        }
        let pause = engine
            .retry_in(Trouble::Download, attempt, retry_after)
            .min(LONGEST);
        if !engine.pause(pause).await {
            return Err(StageError::LeftOff);
        }
    }
}

/// How often the same came in a row, of a length that nobody vouches for.
#[derive(Default)]
struct Unproven {
    last: Option<(u64, String)>,
    times: u32,
}

impl Unproven {
    /// Notes what came, and tells whether it came three times alike: a connection that breaks does not break three times at
    /// the same byte with the same content.
    fn is_steady(&mut self, bytes: u64, digest: &str) -> bool {
        let alike = matches!(&self.last, Some((size, known)) if *size == bytes && known == digest);
        self.times = if alike {
            self.times.saturating_add(1)
        } else {
            1
        };
        self.last = Some((bytes, digest.to_owned()));
        self.times >= 3
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn what_is_cut_short_elsewhere_each_time_is_never_taken_for_whole() {
        let mut unproven = Unproven::default();
        for bytes in [10, 20, 10, 20, 10, 20] {
            assert!(!unproven.is_steady(bytes, "d"));
        }
        assert!(!unproven.is_steady(20, "e"));
        assert!(!unproven.is_steady(20, "e"));
        assert!(unproven.is_steady(20, "e"));
    }
}
