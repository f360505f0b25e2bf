//! Fetching a finished task's outputs into part files next to where they will be. A paid output is asked for however often
//! that takes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::common::{StageError, blocking, find_outbox, record};
use crate::engine::Engine;
use crate::engine::limiter::{HANGS_AFTER, Permit, SENDING_HANGS_AFTER};
use crate::engine::poller::next_poll;
use crate::files::{RelPath, create_folders, hash_path, open_part, sync_file, sync_parent};
use crate::folders::outbox;
use crate::job::{Delivery, Event, Failure, FailureKind, Job, Task};
use crate::media::{self, Probe, Wholeness};
use crate::policy::retry::Trouble;
use crate::runway::{
    CallError, DownloadError, Downloaded, ObjectInfo, OutputUrl, TaskId, TaskStatus,
};

/// The longest pause between two attempts, whatever a storage host asks for: addresses expire.
const LONGEST: Duration = Duration::from_secs(300);
/// After this many attempts at one address a fresh one is asked for, whatever went wrong.
const FRESH_EVERY: u32 = 5;

/// Fetches all outputs.
pub(super) async fn run(engine: &Engine, job: &Arc<Job>, task: &Task) -> Result<(), StageError> {
    let folder = find_outbox(engine, job).await?;
    let mut addresses = Addresses {
        engine,
        job,
        task,
        urls: Vec::new(),
        asked_at: None,
    };
    match engine.in_flight.take_outputs(&job.id) {
        Some(urls) => {
            addresses.urls = urls;
            // The poll that found the task finished has just asked.
            addresses.asked_at = Some(Instant::now());
        }
        None => addresses.refresh().await?,
    }
    let mut outputs = Vec::new();
    for index in 0..addresses.urls.len() {
        let (outbox, input, id) = (folder.clone(), job.input.clone(), job.id.clone());
        let choosing = blocking(engine, job, move || -> io::Result<RelPath> {
            let part = outbox::name_part(&outbox, &input, &id, index)?;
            match outbox.join(part.as_path()).parent() {
                Some(parent) => create_folders(parent).map(|()| part),
                None => Ok(part),
            }
        });
        let part = choosing.await?.map_err(StageError::disk(format!(
            "the outbox {} cannot be used",
            folder.display()
        )))?;
        let path = folder.join(part.as_path());
        let output = fetch(&mut addresses, index, path).await?;
        outputs.push(Delivery { part, ..output });
    }
    engine.in_flight.clear_trouble(&job.id);
    record(engine, job, Event::Fetched { outputs })
        .await
        .map(drop)
}

/// Where a task's outputs can be fetched. The addresses expire, and asking for the task again gives fresh ones.
struct Addresses<'a> {
    engine: &'a Engine,
    job: &'a Arc<Job>,
    task: &'a Task,
    urls: Vec<OutputUrl>,
    /// When the task was last asked about: at most once in `poll_interval`, here as in the poller.
    asked_at: Option<Instant>,
}

impl Addresses<'_> {
    /// Asks for fresh addresses.
    async fn refresh(&mut self) -> Result<(), StageError> {
        let (engine, task) = (self.engine, self.task);
        if let Some(last) = self.asked_at {
            let due = next_poll(last, engine.settings.load().poll_interval);
            let pause = due.saturating_duration_since(Instant::now());
            if !engine.pause(pause).await {
                return Err(StageError::LeftOff);
            }
        }
        self.asked_at = Some(Instant::now());
        let (Some(client), Ok(id), Some(plan)) = (
            engine.account.client(),
            task.id.parse::<TaskId>(),
            self.job.plan.as_ref(),
        ) else {
            return Err(without_key());
        };
        match client.task(&plan.poll, &id).await {
            Ok(answer) => match answer.status {
                TaskStatus::Succeeded { output } if !output.is_empty() => {
                    engine.in_flight.clear_failures(&self.job.id);
                    self.urls = output;
                    Ok(())
                }
                other @ (TaskStatus::Succeeded { .. }
                | TaskStatus::Failed { .. }
                | TaskStatus::Cancelled
                | TaskStatus::Pending
                | TaskStatus::Throttled
                | TaskStatus::Running { .. }
                | TaskStatus::Other(_)) => {
                    let what = format!(
                        "Runway says {other:?} about the task {}, which had succeeded",
                        task.id
                    );
                    Err(self.count_loss(FailureKind::Output, what).await)
                }
            },
            Err(CallError::NotFound { at }) if !engine.account.is_foreign(task) => {
                let what = format!("Runway no longer knows the task {} ({at})", task.id);
                Err(self.count_loss(FailureKind::TaskGone, what).await)
            }
            Err(error) => Err(StageError::Later(error.to_string())),
        }
    }

    /// Runway does not have the outputs. They are asked for as long as a task that still runs is asked about, since giving up
    /// early could give up what is paid for. Then the job fails.
    async fn count_loss(&self, kind: FailureKind, why: String) -> StageError {
        let (engine, job, task) = (self.engine, self.job, self.task);
        if Trouble::TaskGone.is_repeated(engine.in_flight.count_failure(&job.id)) {
            return StageError::Later(format!("{why}; its outputs are asked for again"));
        }
        engine.in_flight.clear_failures(&job.id);
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
        // The job has ended, and this stage with it.
        engine.record(&job.id, event).await;
        StageError::LeftOff
    }
}

fn without_key() -> StageError {
    StageError::Later("the outputs wait for a valid API key".to_owned())
}

/// Why an attempt failed, and how long the host asks to wait.
type Setback = (String, Option<Duration>);

/// Fetches one output, complete and durable in its part file.
async fn fetch(
    addresses: &mut Addresses<'_>,
    index: usize,
    path: PathBuf,
) -> Result<Delivery, StageError> {
    let (engine, job) = (addresses.engine, addresses.job);
    let mut seen = ObjectInfo::default();
    let mut attempt = 0_u32;
    let mut unproven = Unproven::default();
    loop {
        // Held for one attempt and never across a pause, so that what cannot be fetched delays nobody else.
        let mut permit = engine.downloads.acquire(&job.inbox).await;
        let fetched = download(addresses, index, &path, &mut seen, &mut permit).await?;
        let (why, retry_after) = match fetched {
            Ok((part, done)) => {
                let (probe, digest) = read_back(addresses, part, &path, &mut permit).await?;
                drop(permit);
                let proven = done.length_proven || unproven.is_steady(done.bytes, &digest);
                let content_type = done.content_type.as_deref();
                let Some(why) = explain_unusable(&probe, content_type, proven) else {
                    return Ok(Delivery {
                        part: RelPath::default(),
                        name: None,
                        sha256: digest,
                        bytes: done.bytes,
                        extension: outbox::choose_extension(&probe, content_type),
                    });
                };
                seen = ObjectInfo::default();
                addresses.refresh().await?;
                (why, None)
            }
            Err(error) => {
                drop(permit);
                recover(addresses, error, attempt, &path).await?
            }
        };
        attempt = attempt.saturating_add(1);
        let trouble = format!("the download is tried again: {why}");
        engine.in_flight.note_trouble(&job.id, trouble);
        if attempt == 5 {
            tracing::warn!(job = %job.id, input = %job.input, "the output cannot be fetched yet: {why}; trying continues");
        }
        let pause = engine
            .settings
            .choose_pause(Trouble::Download, attempt, retry_after)
            .min(LONGEST);
        if !engine.pause(pause).await {
            return Err(StageError::LeftOff);
        }
    }
}

/// Attempts to download one output into its part file.
async fn download(
    addresses: &Addresses<'_>,
    index: usize,
    path: &std::path::Path,
    seen: &mut ObjectInfo,
    permit: &mut Permit,
) -> Result<Result<(std::fs::File, Downloaded), DownloadError>, StageError> {
    let (engine, job) = (addresses.engine, addresses.job);
    let client = engine.account.client().ok_or_else(without_key)?;
    let url = addresses
        .urls
        .get(index)
        .ok_or_else(|| StageError::Later("Runway lists fewer outputs than before".to_owned()))?;
    // The last attempt may be long ago.
    permit.run(HANGS_AFTER, find_outbox(engine, job)).await?;
    let opening = path.to_owned();
    let opening = blocking(engine, job, move || open_part(&opening));
    let part = permit.run(HANGS_AFTER, opening).await?;
    let part = part.map_err(StageError::disk(cannot_write(path)))?;
    let mut part = tokio::fs::File::from_std(part);
    let fetching = client.download(url, &mut part, seen, |_, _| {});
    let fetched = tokio::select! {
        fetched = permit.run(SENDING_HANGS_AFTER, fetching) => fetched,
        () = engine.stop.cancelled() => return Err(StageError::LeftOff),
    };
    match &fetched {
        Ok(done) => engine.ledger.metrics().count_download(done.bytes),
        Err(error) => engine.ledger.metrics().count_download_failure(error),
    }
    match fetched {
        Ok(done) => Ok(Ok((part.into_std().await, done))),
        Err(error) => Ok(Err(error)),
    }
}

/// Makes a part file durable, and reads what it contains.
async fn read_back(
    addresses: &Addresses<'_>,
    part: std::fs::File,
    path: &std::path::Path,
    permit: &mut Permit,
) -> Result<(Probe, String), StageError> {
    let (engine, job) = (addresses.engine, addresses.job);
    let syncing = blocking(engine, job, move || sync_file(&part));
    let synced = permit.run(HANGS_AFTER, syncing).await?;
    synced.map_err(StageError::disk(cannot_write(path)))?;
    let read = path.to_owned();
    let reading = blocking(engine, job, move || -> io::Result<(Probe, String)> {
        // The journal will name the part file: its name has to survive as well as its content.
        sync_parent(&read)?;
        let probe = media::probe(&mut std::fs::File::open(&read)?)?;
        Ok((probe, hash_path(&read)?))
    });
    let what = format!("the output {} cannot be read back", path.display());
    let read = permit.run(HANGS_AFTER, reading).await?;
    read.map_err(StageError::disk(what))
}

fn cannot_write(path: &std::path::Path) -> String {
    format!("the output cannot be written to {}", path.display())
}

/// After a failed attempt: asks for fresh addresses where that may help.
async fn recover(
    addresses: &mut Addresses<'_>,
    error: DownloadError,
    attempt: u32,
    path: &std::path::Path,
) -> Result<Setback, StageError> {
    match error {
        DownloadError::Expired { .. } => {
            addresses.refresh().await?;
            Ok(("the address of the output expired".to_owned(), None))
        }
        DownloadError::Disk(source) => Err(StageError::disk(cannot_write(path))(source)),
        DownloadError::Transient {
            host,
            why,
            retry_after,
        } => {
            // A host may be gone for good, while others have the output.
            if attempt % FRESH_EVERY == FRESH_EVERY - 1 {
                addresses.refresh().await?;
            }
            Ok((format!("{why} (host {host})"), retry_after))
        }
        // The next attempt continues where this one broke off.
        DownloadError::Truncated { .. } => {
            tracing::debug!(job = %addresses.job.id, %error, "continuing");
            Ok((error.to_string(), None))
        }
        DownloadError::Refused { .. } | DownloadError::Insecure { .. } => {
            addresses.refresh().await?;
            Ok((error.to_string(), None))
        }
    }
}

/// How often the same content came in a row, where nothing proves its length.
#[derive(Default)]
struct Unproven {
    last: Option<(u64, String)>,
    times: u32,
}

impl Unproven {
    /// Notes what came, and answers whether it came three times in a row: a connection does not break three times at the same
    /// byte with the same content.
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

/// Why what came is not an output, if so: it is a text or a web page, or its own structure says that it is cut short and nothing
/// proves its length.
fn explain_unusable(
    probe: &Probe,
    content_type: Option<&str>,
    length_proven: bool,
) -> Option<String> {
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
