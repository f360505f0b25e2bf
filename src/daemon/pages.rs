//! Gathers the content of `STATUS.html` and writes it: one page for each folder that contains inboxes, when something has
//! changed and at most every few seconds. A problem with a page never delays work.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{Timestamp, tz::TimeZone};
use tokio::task::{JoinError, JoinHandle};

use super::shared::Shared;
use crate::control::{StateNames, line};
use crate::files::mounts::Mount;
use crate::files::{open_beneath, write_over};
use crate::folders::mounted::find_mount;
use crate::inbox::InboxHandle;
use crate::job::{Folder, Job, JobId, Role, State, StateName};
use crate::journal::Filter;
use crate::status::Line;
use crate::status::{Done, Inbox, Link, Page, ROWS, Running, Trouble, Waiting, picture, way};

/// How often a page is written at most.
const EVERY: Duration = Duration::from_secs(3);
/// How many ended jobs are read.
const ENDED: u32 = 200;
/// How many open jobs of an inbox are read: more than are shown.
const LINES: usize = 300;
/// How many of each kind are shown.
const SHOWN: usize = 12;

/// Small pictures by job; `None` where none can be made.
type Pictures = HashMap<JobId, Option<String>>;

/// What is known of one page.
#[derive(Default)]
struct Written {
    /// Its last content.
    page: Option<Page>,
    /// Its filesystem when all its inboxes could last be used.
    mount: Option<Mount>,
    /// The last write, which takes long on a share that does not respond.
    write: Option<JoinHandle<()>>,
}

impl Written {
    fn is_busy(&self) -> bool {
        self.write
            .as_ref()
            .is_some_and(|write| !write.is_finished())
    }

    /// Writes the page once an earlier write has ended.
    fn write(&mut self, path: PathBuf, page: Page) {
        self.page = Some(page.clone());
        let earlier = self.write.take();
        self.write = Some(tokio::spawn(async move {
            if let Some(earlier) = earlier {
                log_panic(earlier.await);
            }
            log_panic(tokio::task::spawn_blocking(move || write(&path, &page)).await);
        }));
    }
}

fn log_panic(write: Result<(), JoinError>) {
    if let Err(error) = write {
        tracing::error!(%error, "a status page was not written");
    }
}

/// Writes the pages until the daemon stops.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut written: HashMap<PathBuf, Written> = HashMap::new();
    let mut pictures = Pictures::new();
    let mut changes = shared.hub.engine.ledger.changes();
    changes.mark_changed();
    let mut past = Vec::new();
    loop {
        let going_on = shared.hub.engine.pause(EVERY).await;
        // Most of the time nothing has ended since, and the journal need not be asked.
        if changes.has_changed().unwrap_or(true) {
            changes.mark_unchanged();
            past = ended(&shared).await.unwrap_or(past);
        }
        let pages = gather(&shared, &past, &mut pictures, !going_on).await;
        written.retain(|path, _| pages.contains_key(path));
        for (path, page) in pages {
            let known = written.entry(path.clone()).or_default();
            // A page that changes during a write is written in a later round. After the last round there is none.
            if known.page.as_ref() == Some(&page) || (going_on && known.is_busy()) {
                continue;
            }
            // While a share is offline, no page is written to its bare mount point.
            let mount = path.parent().and_then(find_mount);
            if page.inboxes.iter().all(|inbox| inbox.frozen.is_none()) {
                known.mount = mount;
            } else if known.mount != mount {
                continue;
            }
            known.write(path, page);
        }
        if !going_on {
            // A share that does not respond keeps its old page.
            let writes = written.into_values().filter_map(|known| known.write);
            let all = futures_util::future::join_all(writes);
            match tokio::time::timeout(Duration::from_secs(1), all).await {
                Ok(ended) => ended.into_iter().for_each(log_panic),
                Err(_) => tracing::debug!("not every status page says that taxiway has stopped"),
            }
            return;
        }
    }
}

fn write(path: &Path, page: &Page) {
    // A missing folder may be a share that is offline: it is not created.
    if !path.parent().is_some_and(Path::is_dir) {
        return;
    }
    let html = page.html(&moment(Timestamp::now()));
    if let Err(error) = write_over(path, html.as_bytes()) {
        tracing::debug!(%error, "{} cannot be written", path.display());
    }
}

/// Formats a time in the machine's time zone.
fn moment(at: Timestamp) -> String {
    let zoned = at.to_zoned_datetime(TimeZone::system());
    zoned.strftime("%Y-%m-%d %H:%M %Z").to_string()
}

/// Reads the jobs that ended last; `None` if the journal cannot be read now.
async fn ended(shared: &Shared) -> Option<Vec<Job>> {
    let journal = shared.hub.engine.ledger.journal();
    match journal.ended_jobs(&Filter::default(), None, ENDED).await {
        Ok(jobs) => Some(jobs),
        Err(error) => {
            tracing::debug!(%error, "the status page shows no later jobs");
            None
        }
    }
}

async fn gather(
    shared: &Arc<Shared>,
    past: &[Job],
    pictures: &mut Pictures,
    ended: bool,
) -> BTreeMap<PathBuf, Page> {
    let inboxes: Vec<(String, PathBuf, PathBuf)> = shared
        .config()
        .inboxes
        .iter()
        .filter_map(|inbox| {
            let page = inbox.status_file.clone()?;
            Some((inbox.name.clone(), inbox.path.clone(), page))
        })
        .collect();
    if inboxes.is_empty() {
        return BTreeMap::new();
    }
    let stopped = shared
        .hub
        .engine
        .account
        .gates()
        .stopped(Instant::now())
        .map(|closed| closed.as_str().to_owned());
    let mut jobs = shared.hub.engine.ledger.jobs();
    jobs.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    let mut pages: BTreeMap<PathBuf, Page> = BTreeMap::new();
    let mut shown = HashSet::new();
    let mut names = StateNames::new(&shared.hub.engine);
    for (name, folder, path) in inboxes {
        let mut inbox = Inbox {
            folder: folder.display().to_string(),
            frozen: frozen(shared, &name),
            problems: problems(shared, &name),
            name: name.clone(),
            ..Inbox::default()
        };
        add_waiting(shared, &mut inbox);
        let serves = |job: &Job| {
            let handles = shared.hub.inboxes();
            let handle = handles.iter().find(|handle| handle.name == name);
            handle.is_some_and(|handle| handle.serves(&job.inbox))
        };
        let own = jobs.iter().filter(|job| serves(job));
        for (index, job) in own.enumerate() {
            // A job in doubt needs a decision: it is shown however many jobs are before it.
            if index < LINES || matches!(job.state, State::InDoubt { .. }) {
                add_open(&mut inbox, &line(&shared.hub, job));
            } else if names.name(job) == StateName::Waiting {
                inbox.more_waiting = inbox.more_waiting.saturating_add(1);
            } else {
                inbox.more_running = inbox.more_running.saturating_add(1);
            }
        }
        for job in past.iter().filter(|job| serves(job)) {
            add_ended(shared, &mut inbox, job, &path, pictures).await;
            shown.insert(job.id.clone());
        }
        let page = pages.entry(path).or_default();
        page.stopped.clone_from(&stopped);
        page.ended = ended;
        page.inboxes.push(inbox);
    }
    pictures.retain(|id, _| shown.contains(id));
    pages
}

fn frozen(shared: &Shared, name: &str) -> Option<String> {
    shared
        .hub
        .inboxes()
        .iter()
        .find(|inbox| inbox.name == name)?
        .frozen()
}

/// Returns the problems with an inbox's folders.
fn problems(shared: &Shared, name: &str) -> Vec<String> {
    let inboxes = shared.hub.inboxes();
    let handle = inboxes.iter().find(|inbox| inbox.name == name);
    handle.map_or_else(Vec::new, InboxHandle::unusable)
}

/// Adds the files that wait in the inbox, as many as are shown, and counts the rest.
fn add_waiting(shared: &Shared, inbox: &mut Inbox) {
    let inboxes = shared.hub.inboxes();
    let Some(handle) = inboxes.iter().find(|handle| handle.name == inbox.name) else {
        return;
    };
    let first = handle.first_waiting(ROWS);
    inbox.more_waiting = handle.count_waiting().saturating_sub(first.len());
    inbox
        .waiting
        .extend(first.into_iter().map(|waiting| Waiting {
            input: waiting.input.text(),
            reason: match &inbox.frozen {
                Some(frozen) => format!("{}; the inbox is frozen: {frozen}", waiting.reason),
                None => waiting.reason.to_string(),
            },
        }));
}

fn add_open(inbox: &mut Inbox, line: &Line) {
    let reason = line.reason.clone().unwrap_or_default();
    match line.state {
        StateName::Waiting => inbox.waiting.push(Waiting {
            input: line.input.clone(),
            reason,
        }),
        StateName::InDoubt => inbox.doubts.push(Trouble {
            input: line.input.clone(),
            what: vec!["It is not known whether Runway accepted this job.".to_owned()],
            advice: reason,
            at: moment(line.updated_at),
        }),
        state => inbox.running.push(Running {
            input: line.input.clone(),
            state: match reason.as_str() {
                "" => state.to_string(),
                reason => format!("{state}: {reason}"),
            },
            // Whole steps of five, so that a page is not written for every percent.
            progress: line
                .progress
                .map(|progress| (progress * 20.0).floor() / 20.0),
        }),
    }
}

async fn add_ended(
    shared: &Arc<Shared>,
    inbox: &mut Inbox,
    job: &Job,
    page: &Path,
    pictures: &mut Pictures,
) {
    let at = moment(job.updated_at);
    let input = job.input.to_string();
    match &job.state {
        State::Failed { failure } if inbox.failed.len() < SHOWN => {
            let what = std::iter::once(&failure.what).chain(&failure.details);
            inbox.failed.push(Trouble {
                input,
                what: what.cloned().collect(),
                advice: failure.advice.clone(),
                at,
            });
        }
        State::Cancelled { why, .. } if inbox.failed.len() < SHOWN => inbox.failed.push(Trouble {
            input,
            what: vec![why.clone()],
            advice: "To run it after all, move its files from `failed` back to the inbox."
                .to_owned(),
            at,
        }),
        State::Done { outputs, .. } if inbox.done.len() < SHOWN => {
            let outbox = shared
                .hub
                .engine
                .settings
                .inbox_of(job)
                .map(|inbox| inbox.places.outbox);
            let links = outputs.iter().map(|output| Link {
                name: output.to_string(),
                way: outbox
                    .as_ref()
                    .and_then(|outbox| way_to(page, &outbox.join(output.as_path()))),
            });
            inbox.done.push(Done {
                input,
                picture: picture_of(shared, job, pictures).await,
                outputs: links.collect(),
                credits: job
                    .charged()
                    .map_or_else(|| "?".to_owned(), |credits| credits.to_string()),
                at,
            });
        }
        State::Failed { .. } | State::Cancelled { .. } | State::Done { .. } => {}
        State::Taking { .. }
        | State::Queued { .. }
        | State::Uploading
        | State::Submitting { .. }
        | State::Running { .. }
        | State::Downloading { .. }
        | State::Delivering { .. }
        | State::Closing { .. }
        | State::InDoubt { .. } => {}
    }
}

/// Returns the link from a page to a file below the page's folder.
fn way_to(page: &Path, file: &Path) -> Option<String> {
    let below = file.strip_prefix(page.parent()?).ok()?;
    let parts: Vec<_> = below.components().map(|part| part.as_os_str()).collect();
    Some(way(&parts))
}

/// Returns a small picture of a job's first input, which is made once.
async fn picture_of(shared: &Arc<Shared>, job: &Job, pictures: &mut Pictures) -> Option<String> {
    if let Some(known) = pictures.get(&job.id) {
        return known.clone();
    }
    let places = shared.hub.engine.settings.inbox_of(job)?.places;
    let media = |role| job.files.iter().find(|file| file.role == role);
    let at = media(Role::Main)
        .or_else(|| media(Role::Reference))?
        .at
        .clone()?;
    if at.folder != Folder::Originals {
        return None;
    }
    let folder = places.folder(at.folder).to_owned();
    let made = tokio::task::spawn_blocking(move || {
        open_beneath(&folder, at.path.as_path()).and_then(picture)
    });
    // If the share does not respond, or the picture takes too long, there is none.
    let made = match tokio::time::timeout(Duration::from_secs(5), made).await {
        Ok(Ok(Ok(uri))) => Some(uri),
        Ok(Ok(Err(error))) => {
            tracing::debug!(job = %job.id, %error, "there is no small picture of its input");
            None
        }
        Ok(Err(_)) | Err(_) => None,
    };
    pictures.insert(job.id.clone(), made.clone());
    made
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_page_is_written_after_an_earlier_write_that_takes_long() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("STATUS.html");
        let (ends, end) = tokio::sync::oneshot::channel();
        let mut known = Written {
            write: Some(tokio::spawn(async { end.await.unwrap() })),
            ..Written::default()
        };
        assert!(known.is_busy());
        known.write(path.clone(), Page::default());
        tokio::task::yield_now().await;
        assert!(known.is_busy() && !path.exists());
        ends.send(()).unwrap();
        known.write.take().unwrap().await.unwrap();
        assert!(path.exists());
    }
}
