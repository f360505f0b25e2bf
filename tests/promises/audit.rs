//! The audit: at a moment when everything is at its end, the whole state is compared with the promises, from outside
//! only: folders, `taxiway status --json`, and what the API saw.
//!
//! What was dropped, taken back, and allowed to be paid again stands in the driver's [`Book`].

#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::Value;
use taxiway::media::{Wholeness, probe};

use crate::api::Api;
use crate::book::Book;
use crate::support::{Job, Studio, contains, sha256, text, walk};

/// The folders in which a dropped file may lie.
const FOLDERS: [&str; 4] = ["inbox", "working", "originals", "failed"];

/// What an audit leaves out or lets pass.
#[derive(Debug, Clone, Copy)]
pub struct Mode {
    /// Jobs may still be open (in doubt, or waiting for something that never comes): their files may lie in `working/`,
    /// and their tasks may have no output.
    pub open_jobs: bool,
    /// Whether hidden part files that nobody needs any more count.
    pub leftovers: bool,
    /// Inputs of delivered jobs are deleted (`on_success: delete`).
    pub deletes: bool,
}

impl Default for Mode {
    fn default() -> Mode {
        Mode {
            open_jobs: false,
            leftovers: true,
            deletes: false,
        }
    }
}

/// A promise, as the counts name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    Lost,
    PaidTwice,
    HalfDelivered,
    Abandoned,
    FalseDoubt,
    Leftover,
    Violation,
}

/// What an audit found.
#[derive(Debug, Default, Clone)]
pub struct Verdict {
    pub breaches: Vec<(Promise, String)>,
    pub done: usize,
    pub failed: usize,
    pub tasks: usize,
    pub outputs: usize,
}

impl Verdict {
    pub fn breach(&mut self, promise: Promise, words: impl Into<String>) {
        self.breaches.push((promise, words.into()));
    }

    pub fn count(&self, promise: Promise) -> usize {
        self.breaches.iter().filter(|(p, _)| *p == promise).count()
    }

    pub fn is_clean(&self) -> bool {
        self.breaches.is_empty()
    }

    /// Adds what another part of a run found.
    pub fn join(&mut self, other: Verdict) {
        self.breaches.extend(other.breaches);
        self.done += other.done;
        self.failed += other.failed;
        self.tasks += other.tasks;
        self.outputs += other.outputs;
    }

    /// The counts, in one line.
    pub fn figures(&self) -> String {
        format!(
            "{} lost, {} paid twice, {} half delivered, {} abandoned, {} false doubts, {} leftovers, {} violations",
            self.count(Promise::Lost),
            self.count(Promise::PaidTwice),
            self.count(Promise::HalfDelivered),
            self.count(Promise::Abandoned),
            self.count(Promise::FalseDoubt),
            self.count(Promise::Leftover),
            self.count(Promise::Violation),
        )
    }

    /// Fails the test unless every promise was kept.
    pub fn assert_clean(&self, studio: &Studio) {
        assert!(self.is_clean(), "{self}\n{}", studio.report());
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.figures())?;
        for (promise, words) in &self.breaches {
            writeln!(f, "  {promise:?}: {words}")?;
        }
        Ok(())
    }
}

/// Compares a studio with the promises. The daemon must run, so that `status` tells what waits in the inbox.
pub fn audit(studio: &Studio, book: &Book, api: &Api, mode: Mode) -> Verdict {
    let jobs = studio.jobs();
    let mut verdict = Verdict {
        done: jobs.iter().filter(|job| job.state() == "done").count(),
        failed: jobs.iter().filter(|job| job.state() == "failed").count(),
        tasks: api.tasks.len(),
        ..Verdict::default()
    };
    lost(studio, book, &jobs, mode, &mut verdict);
    notes(studio, &jobs, &mut verdict);
    paid_twice(book, api, &mut verdict);
    half_delivered(studio, &jobs, mode, &mut verdict);
    abandoned(&jobs, api, mode, &mut verdict);
    if mode.leftovers {
        leftovers(studio, &jobs, &mut verdict);
    }
    for seen in &api.requests {
        for words in &seen.violations {
            verdict.breach(
                Promise::Violation,
                format!("{} {}: {words}", seen.method, seen.path),
            );
        }
    }
    verdict
}

/// All files in some folders of the studio, as paths below it.
fn files_in<'a>(studio: &Studio, folders: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut found = Vec::new();
    for folder in folders {
        walk(&studio.path(folder), &mut |path| {
            let below = path.strip_prefix(&studio.root).unwrap();
            found.push(below.to_string_lossy().into_owned());
        });
    }
    found
}

/// Nothing lost: each dropped content lies in exactly one place, and in one that tells what became of it.
fn lost(studio: &Studio, book: &Book, jobs: &[Job], mode: Mode, verdict: &mut Verdict) {
    let mut places: HashMap<String, Vec<String>> = HashMap::new();
    for path in files_in(studio, FOLDERS) {
        match fs::read(studio.path(&path)) {
            Ok(bytes) => places.entry(sha256(&bytes)).or_default().push(path),
            Err(error) => verdict.breach(
                Promise::Lost,
                format!("{path} cannot be read at the end: {error}"),
            ),
        }
    }
    let waiting: HashSet<String> = jobs
        .iter()
        .filter(|job| job.state() == "waiting" && !job.reason().is_empty())
        .map(|job| format!("inbox/{}", job.input()))
        .collect();
    let waiting_drops: HashSet<usize> = book
        .contents()
        .iter()
        .filter(|content| waiting.contains(&content.path))
        .map(|content| content.drop)
        .collect();
    let ended = jobs.iter().all(Job::has_ended);
    for content in book.contents() {
        let found = places.get(&content.sha256).cloned().unwrap_or_default();
        let at = &content.path;
        if book.is_taken_back(content) {
            if !found.is_empty() {
                verdict.breach(
                    Promise::Lost,
                    format!("{at} was taken back, and lies at {found:?}"),
                );
            }
            continue;
        }
        match found.as_slice() {
            [] if mode.deletes => {}
            [] => verdict.breach(
                Promise::Lost,
                format!("{at} ({}) is nowhere", content.sha256),
            ),
            [place] if place.starts_with("inbox/") => {
                if place != at {
                    verdict.breach(
                        Promise::Lost,
                        format!("{at} lies in the inbox under another name, {place}"),
                    );
                } else if !waiting.contains(at) && !waiting_drops.contains(&content.drop) {
                    verdict.breach(
                        Promise::Lost,
                        format!("{at} lies in the inbox, and status says nothing of it"),
                    );
                }
            }
            [place] if place.starts_with("working/") => {
                if !mode.open_jobs || ended {
                    verdict.breach(
                        Promise::Lost,
                        format!("{at} was left behind at {place}, with no job at work on it"),
                    );
                }
            }
            [_] => {}
            several => verdict.breach(Promise::Lost, format!("{at} lies in {several:?}")),
        }
    }
}

/// Every failed job has its note, which says which job it is of. So has every cancelled one, unless the person took the
/// files away before anything was sent: there is nothing then beside which a note could stand.
fn notes(studio: &Studio, jobs: &[Job], verdict: &mut Verdict) {
    let notes: Vec<String> = files_in(studio, ["failed"])
        .into_iter()
        .filter(|path| path.ends_with(".error.txt"))
        .filter_map(|path| fs::read(studio.path(path)).ok())
        .map(|bytes| text(&bytes))
        .collect();
    for job in jobs {
        let taken_away = job.reason().contains("its file was deleted or exchanged");
        let ended_badly = job.state() == "failed" || (job.state() == "cancelled" && !taken_away);
        let named = format!("Job {}", job.id());
        if ended_badly && !notes.iter().any(|note| note.contains(&named)) {
            verdict.breach(
                Promise::Lost,
                format!(
                    "no note tells of job {} ({}, {})",
                    job.id(),
                    job.input(),
                    job.reason()
                ),
            );
        }
    }
}

/// Whether the daemon may repeat a task that failed with this code, by Runway's documentation.
fn may_be_repeated(code: Option<&str>) -> bool {
    code.is_some_and(|code| code == "INTERNAL" || code.starts_with("INTERNAL.BAD_OUTPUT"))
}

/// Nothing paid twice: for each key at most one task that did not fail in a way that may be repeated.
fn paid_twice(book: &Book, api: &Api, verdict: &mut Verdict) {
    let known: HashSet<&str> = book
        .contents()
        .iter()
        .filter_map(|content| content.key.as_deref())
        .collect();
    for (key, tasks) in api.tasks_by_key() {
        if !known.contains(key.as_str()) {
            // A prompt of the inbox's defaults is everybody's; a picture or prompt that nobody dropped is nobody's.
            verdict.breach(
                Promise::PaidTwice,
                format!("nobody dropped what was paid for: {key}"),
            );
            continue;
        }
        let once: Vec<String> = tasks
            .iter()
            .filter(|task| !may_be_repeated(task.failure.as_deref()))
            .map(|task| format!("{} {} {:?}", task.id, task.status, task.failure))
            .collect();
        let allowed = book.allowed(&key);
        if once.len() > allowed {
            verdict.breach(
                Promise::PaidTwice,
                format!("{key}: {} tasks, {allowed} allowed: {once:?}", once.len()),
            );
        }
    }
    let started: HashSet<&str> = api
        .keyed()
        .into_iter()
        .filter(|(_, keys)| !keys.is_empty())
        .filter_map(|(seen, _)| seen.task.as_deref())
        .collect();
    for task in &api.tasks {
        if !started.contains(task.id.as_str()) {
            verdict.breach(
                Promise::PaidTwice,
                format!("no request that can be told apart started task {}", task.id),
            );
        }
    }
}

/// The record beside an output, or what is wrong with the two of them. `output` is a path.
pub fn check_output(output: &Path) -> Result<Value, String> {
    let mut beside = output.as_os_str().to_owned();
    beside.push(".yaml");
    let words = fs::read_to_string(PathBuf::from(&beside))
        .map_err(|error| format!("{}: its record: {error}", output.display()))?;
    let record: Value = serde_yaml::from_str(&words)
        .map_err(|error| format!("{}: its record: {error}: {words:?}", output.display()))?;
    let bytes = fs::read(output).map_err(|error| format!("{}: {error}", output.display()))?;
    let say = |what: &str| Err(format!("{}: {what}: {words}", output.display()));
    if record["output"]["bytes"].as_u64() != Some(bytes.len() as u64) {
        return say(&format!("{} bytes, the record has others", bytes.len()));
    }
    if record["output"]["sha256"].as_str() != Some(&sha256(&bytes)) {
        return say("not the content that the record has");
    }
    if record["output"]["name"].as_str().map(str::as_bytes)
        != output
            .file_name()
            .map(std::os::unix::ffi::OsStrExt::as_bytes)
    {
        return say("not the name that the record has");
    }
    let task = record["task"].as_str().unwrap_or_default();
    if task.is_empty() || !contains(&bytes, task.as_bytes()) {
        return say("not the output of the record's task");
    }
    let whole = File::open(output)
        .and_then(|mut file| probe(&mut file))
        .is_ok_and(|probe| probe.wholeness == Wholeness::Whole);
    if !whole {
        return say("not whole");
    }
    Ok(record)
}

/// Whether a path is a record's. Outputs never end so.
pub fn is_record(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "yaml")
}

/// Whether a name is visible.
pub fn is_visible(path: &Path) -> bool {
    !path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Nothing half delivered: outputs and records belong together, fit, and are there once; each done job has all of its own.
fn half_delivered(studio: &Studio, jobs: &[Job], mode: Mode, verdict: &mut Verdict) {
    let by_id: HashMap<&str, &Job> = jobs.iter().map(|job| (job.id(), job)).collect();
    let mut contents: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut of_jobs: HashMap<String, BTreeSet<PathBuf>> = HashMap::new();
    let mut outputs = 0;
    walk(&studio.outbox(""), &mut |path| {
        if !is_visible(path) {
            return;
        }
        if is_record(path) {
            if !path.with_extension("").is_file() {
                // While its job is open, its output may be about to get its name.
                let text = fs::read_to_string(path).unwrap_or_default();
                let open = mode.open_jobs
                    && jobs
                        .iter()
                        .any(|job| !job.has_ended() && text.contains(job.id()));
                if !open {
                    verdict.breach(
                        Promise::HalfDelivered,
                        format!("a record without output: {}", path.display()),
                    );
                }
            }
            return;
        }
        outputs += 1;
        let record = match check_output(path) {
            Ok(record) => record,
            Err(words) => return verdict.breach(Promise::HalfDelivered, words),
        };
        let job = record["job"].as_str().unwrap_or_default();
        let task = record["task"].as_str().unwrap_or_default();
        match by_id.get(job) {
            None => verdict.breach(
                Promise::HalfDelivered,
                format!("{} is of job {job}, which nobody knows", path.display()),
            ),
            Some(known) => {
                let done = known.state() == "done" || (mode.open_jobs && !known.has_ended());
                if !done || known.task() != task {
                    verdict.breach(
                        Promise::HalfDelivered,
                        format!(
                            "{} is of job {job} and task {task}; that job is {} with task {}",
                            path.display(),
                            known.state(),
                            known.task()
                        ),
                    );
                }
            }
        }
        let digest = record["output"]["sha256"].as_str().unwrap_or_default();
        if let Some(twin) = contents.insert(digest.to_owned(), path.to_owned()) {
            verdict.breach(
                Promise::HalfDelivered,
                format!("{} and {} are the same", path.display(), twin.display()),
            );
        }
        of_jobs
            .entry(job.to_owned())
            .or_default()
            .insert(path.to_owned());
    });
    verdict.outputs = outputs;
    for job in jobs.iter().filter(|job| job.state() == "done") {
        let said: BTreeSet<PathBuf> = job.outputs().into_iter().collect();
        let there = of_jobs.remove(job.id()).unwrap_or_default();
        if said.is_empty() || said != there {
            verdict.breach(
                Promise::HalfDelivered,
                format!(
                    "job {} ({}) delivered {said:?}, and {there:?} is there",
                    job.id(),
                    job.input()
                ),
            );
        }
    }
}

/// No paid task is abandoned: each that succeeded belongs to a done job, and no two jobs have one task.
fn abandoned(jobs: &[Job], api: &Api, mode: Mode, verdict: &mut Verdict) {
    let mut owners: HashMap<&str, &Job> = HashMap::new();
    for job in jobs.iter().filter(|job| !job.task().is_empty()) {
        if let Some(other) = owners.insert(job.task(), job) {
            verdict.breach(
                Promise::PaidTwice,
                format!(
                    "jobs {} and {} have one task, {}",
                    job.id(),
                    other.id(),
                    job.task()
                ),
            );
        }
    }
    let in_doubt = jobs.iter().any(|job| job.state() == "in_doubt");
    for task in api.tasks.iter().filter(|task| task.status == "SUCCEEDED") {
        let owner = owners.get(task.id.as_str());
        let fine = match owner {
            Some(job) if job.state() == "done" => true,
            Some(job) => mode.open_jobs && !job.has_ended(),
            None => mode.open_jobs && in_doubt,
        };
        if !fine {
            verdict.breach(
                Promise::Abandoned,
                format!("task {} succeeded; its job: {owner:?}", task.id),
            );
        }
    }
    if !mode.open_jobs {
        for job in jobs
            .iter()
            .filter(|job| !job.has_ended() && job.state() != "waiting")
        {
            verdict.breach(Promise::Abandoned, format!("not at its end: {job:?}"));
        }
    }
}

/// Nothing hidden is left over, and nothing lies in `working/` without a job at work on it.
fn leftovers(studio: &Studio, jobs: &[Job], verdict: &mut Verdict) {
    let open: Vec<&Job> = jobs.iter().filter(|job| !job.has_ended()).collect();
    for path in files_in(studio, FOLDERS.into_iter().chain(["outbox"])) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let nobodys =
            name.starts_with(".taxiway-") && !open.iter().any(|job| name.contains(job.id()));
        if nobodys || (path.starts_with("working/") && open.is_empty()) {
            verdict.breach(Promise::Leftover, path);
        }
    }
}
