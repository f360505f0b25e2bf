//! The thread of one inbox: scan, judge, pair, take; then wait for a hint or for time to pass.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::files::{RelPath, advice};
use crate::inbox::board::Board;
use crate::inbox::evaluate::rules::{Candidate, Evaluator, Waiting};
use crate::inbox::events::hints::Events;
use crate::inbox::events::watch::Hint;
use crate::inbox::look::agenda::Agenda;
use crate::inbox::look::settle::Writer;
use crate::inbox::look::tree::Tree;
use crate::inbox::pace::{REFUSED_AGAIN, TRY_AGAIN, pause_after, rest_after};
use crate::inbox::root::check::{Presence, Root};
use crate::inbox::root::folders::OwnFolders;
use crate::inbox::setup::Setup;
use crate::inbox::take::again::{Rerun, Reruns};
use crate::inbox::take::claims::{Claims, Refusal};
use crate::inbox::take::deleted::cancel_deleted;
use crate::inbox::take::retries::Retries;
use crate::inbox::take::taking::Taker;
use crate::job::{Job, JobId};
use crate::sidecar::endpoint::Rules;

/// How often the root is checked, and a sign of life given, where nothing happens.
const CHECK_ROOT: Duration = Duration::from_secs(5);

/// At most this many jobs are made durable before their files move, so that little can happen to the files in between.
const TAKE_AT_ONCE: usize = 20;

/// The thread of one inbox. It decides what comes next; what is done is up to its parts.
pub(crate) struct Worker {
    setup: Arc<Setup>,
    root: Root,
    folders: OwnFolders,
    events: Events,
    agenda: Agenda,
    tree: Tree,
    board: Board,
    reruns: Reruns,
    taker: Taker,
    /// Folders that could not be read at the last scan, and why, which is logged once.
    unreadable: HashMap<RelPath, String>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    pub(crate) fn new(
        setup: Arc<Setup>,
        board: Board,
        events: Events,
        retries: Retries,
        stop: Arc<AtomicBool>,
    ) -> Worker {
        Worker {
            root: Root::new(setup.clone()),
            folders: OwnFolders::new(setup.clone()),
            events,
            agenda: Agenda::new(Instant::now()),
            tree: Tree::new(setup.places.inbox.clone(), setup.ignore.clone()),
            board,
            reruns: Reruns::new(setup.clone(), retries),
            taker: Taker::new(setup.clone()),
            unreadable: HashMap::new(),
            stop,
            setup,
        }
    }

    /// Runs until it is told to stop, once the thread has ended that watched this inbox before.
    pub(crate) fn run(mut self, previous: Option<JoinHandle<()>>) {
        if let Some(previous) = previous {
            self.board.wait_for(previous);
        }
        let mut hint = None;
        while self.goes_on() {
            hint = match self.check_root() {
                Ok(()) => self.do_round(hint),
                Err(why) => {
                    self.board.freeze(why);
                    self.events.wait(TRY_AGAIN)
                }
            };
        }
    }

    /// One round over what has changed. Returns the hint that ended the wait for the next one.
    fn do_round(&mut self, hint: Option<Hint>) -> Option<Hint> {
        let events_before = self.events.are_complete();
        let mut working_changed = self.note_events(hint);
        let remounted = self.root.update_mounts(self.events.are_complete());
        let mut watch_changed = !remounted.is_empty();
        self.agenda.mark(remounted);
        let trusted = self.is_trusted();
        let begun = Instant::now();
        let full = self.agenda.is_scan_due(begun);
        if full {
            self.mark_all();
        }
        let untrusted =
            !full && trusted && self.agenda.is_untrusted_scan_due(begun) && self.mark_untrusted();
        working_changed |= full || untrusted;
        self.scan(begun);
        self.schedule_scans(full, untrusted, begun);
        if trusted && !self.is_trusted() {
            // The watches have run out: until now scans only caught what events lost, from now on they are all there is.
            self.agenda.scan_all();
        }
        let took_any = self.evaluate_due();
        watch_changed |= events_before != self.events.are_complete();
        if watch_changed {
            self.publish_watch();
        }
        if working_changed && let Err(why) = cancel_deleted(&self.setup, &mut self.root) {
            self.board.freeze(why);
        }
        self.board.publish();
        let cost = match full || took_any {
            true => Duration::ZERO,
            false => begun.elapsed(),
        };
        self.wait(rest_after(cost))
    }

    /// Gives a sign of life. False once the thread is told to stop.
    fn goes_on(&self) -> bool {
        self.board.beat();
        !self.stop.load(Ordering::Relaxed)
    }

    /// Checks the root and the other folders, and starts over where the root is there for the first time or again.
    ///
    /// # Errors
    /// Why nothing can be done with the inbox.
    fn check_root(&mut self) -> Result<(), String> {
        let presence = self.root.check()?;
        match presence {
            Presence::Unchanged => {}
            Presence::Returned | Presence::New => {
                self.tree = Tree::new(self.setup.places.inbox.clone(), self.setup.ignore.clone());
                self.agenda.clear();
                self.agenda.scan_all();
            }
        }
        match presence {
            Presence::Unchanged => {}
            Presence::Returned => self.start_watching(),
            Presence::New => {
                self.folders.begin(&self.board);
                self.start_watching();
                let how = self.root.describe_watch(self.events.are_complete());
                tracing::info!(inbox = %self.setup.name, path = %self.setup.places.inbox.display(), "watching: {how}");
            }
        }
        self.board.thaw();
        self.reruns.resume();
        self.folders.try_again(&self.board);
        Ok(())
    }

    fn start_watching(&mut self) {
        self.events.start();
        self.publish_watch();
    }

    /// Shows how changes are noticed.
    fn publish_watch(&self) {
        let how = self.root.describe_watch(self.events.are_complete());
        self.board.set_backend(how);
    }

    /// Whether events of the inbox are trusted to report every change.
    fn is_trusted(&self) -> bool {
        self.root.trusts_events(self.events.are_complete())
    }

    /// The same for one folder.
    fn is_trusted_in(&self, folder: &RelPath) -> bool {
        let events = self.events.are_complete();
        self.root.trusts_events_in(folder, events)
    }

    /// Notes what events report. Returns whether something in `working` changed.
    fn note_events(&mut self, hint: Option<Hint>) -> bool {
        let report = self.events.collect(hint);
        let now = Instant::now();
        for (folder, closed) in report.defaults_written {
            if self.is_trusted_in(&folder) {
                self.tree.defaults().note_writer(&folder, closed, now);
            }
        }
        if report.defaults_changed {
            for folder in self.tree.folders() {
                self.agenda.evaluate_at(folder.clone(), now);
            }
        }
        self.agenda.mark(report.folders);
        if report.lost {
            self.agenda.rescan_all();
        }
        report.working_changed
    }

    /// Marks what a scan of the whole inbox has to visit. Where events report every change, folders whose own times have not
    /// changed are left out, unless events were lost.
    fn mark_all(&mut self) {
        let full = self.agenda.take_full_rescan() || !self.is_trusted();
        let folders = self.tree.folders().filter(|folder| {
            full || !self.is_trusted_in(folder) || !self.tree.is_unchanged(folder)
        });
        let marked: Vec<RelPath> = folders.cloned().chain([RelPath::default()]).collect();
        self.agenda.mark(marked);
    }

    /// Marks the folders whose events are not trusted although those of the inbox are. Returns whether there are any.
    fn mark_untrusted(&mut self) -> bool {
        let folders = self.tree.folders();
        let untrusted: Vec<RelPath> = folders
            .filter(|folder| !self.is_trusted_in(folder))
            .cloned()
            .collect();
        let any = !untrusted.is_empty();
        self.agenda.mark(untrusted);
        any
    }

    /// Scans every folder that may have changed, and those that are new below them.
    fn scan(&mut self, now: Instant) {
        let mut stack = self.agenda.take_marked();
        while let Some(folder) = stack.pop() {
            if !self.goes_on() {
                return;
            }
            // A hint may name a file, or a folder that is ignored.
            if !folder.is_root() && !self.tree.contains(&folder) && !self.is_new_folder(&folder) {
                continue;
            }
            let absolute = self.tree.absolute(&folder);
            // Watch before scanning: what comes between the two is then reported.
            self.events.watch_folder(&absolute);
            let trusted = self.is_trusted_in(&folder);
            let writer = |file: &Path| match trusted {
                true => self.events.writer(file),
                false => Writer::Unknown,
            };
            match self.tree.scan(&folder, &writer, now) {
                Ok(new) => {
                    self.unreadable.remove(&folder);
                    stack.extend(new);
                }
                Err(error) => {
                    let why = error.to_string();
                    if self.unreadable.get(&folder) != Some(&why) {
                        tracing::warn!(
                            inbox = %self.setup.name, folder = %absolute.display(), %error,
                            "the folder cannot be read. {}", advice(&error)
                        );
                        self.unreadable.insert(folder.clone(), why);
                    }
                }
            }
            if folder.is_root() || self.tree.contains(&folder) {
                self.agenda.evaluate_at(folder, now);
            }
        }
        // The folders of these files were scanned; what was reported about other places is of no use.
        self.events.forget_writers();
        for folder in self.tree.take_gone() {
            self.events.forget_folder(&self.tree.absolute(&folder));
            self.agenda.forget_folder(&folder);
            self.unreadable.remove(&folder);
            self.board.forget_folder(&folder);
        }
    }

    /// Whether a path that a hint named is a folder that the scan of its parent would have found.
    fn is_new_folder(&self, folder: &RelPath) -> bool {
        folder.as_path().components().all(|part| {
            let name = part.as_os_str();
            !name.as_encoded_bytes().starts_with(b"_") && !self.setup.ignore.matches(name)
        }) && std::fs::symlink_metadata(self.tree.absolute(folder)).is_ok_and(|meta| meta.is_dir())
    }

    /// Schedules the next scans after one of everything (`full`), or of the folders whose events are not trusted.
    fn schedule_scans(&mut self, full: bool, untrusted: bool, begun: Instant) {
        let (took, interval) = (begun.elapsed(), self.setup.inbox.scan_interval);
        if full || untrusted {
            let alone = interval.unwrap_or_else(|| pause_after(false, 0, took));
            self.agenda.schedule_untrusted_scan(alone);
        }
        if full {
            // What waited in folders that went away while nobody could see it.
            let tree = &self.tree;
            self.board
                .retain_folders(|folder| folder.is_root() || tree.contains(folder));
            self.board.set_scan_time(took);
            let folders = self.tree.folders().count();
            let interval =
                interval.unwrap_or_else(|| pause_after(self.is_trusted(), folders, took));
            self.agenda.schedule_scan(interval);
        }
    }

    /// Evaluates the folders that are due, and takes what is ready. Returns whether anything was ready.
    fn evaluate_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.agenda.take_due(now);
        if due.is_empty() {
            return false;
        }
        for folder in &due {
            self.tree.read_sidecars(folder);
        }
        let referenced = self.tree.collect_references();
        let setup = self.setup.clone();
        let mut any_ready = false;
        for folder in due {
            if !self.goes_on() || self.root.is_frozen() {
                break;
            }
            let settle = self.root.settle_time(&folder);
            let evaluator = Evaluator {
                rules: Rules {
                    catalogue: &setup.catalogue,
                    allow_unknown_models: setup.allow_unknown_models,
                },
                inbox: &setup.inbox,
                settle,
                max_input: setup.max_input,
                defaults: &setup.defaults,
            };
            let found = evaluator.evaluate(&mut self.tree, &folder, &referenced, now);
            if let Some(at) = found.look_again {
                self.agenda.evaluate_at(folder.clone(), at);
            }
            let mut waiting = found.waiting;
            let (ready, corrections) =
                self.reruns
                    .hold_corrections(&folder, found.ready, &self.tree, &mut self.agenda);
            waiting.extend(corrections);
            if !ready.is_empty() {
                any_ready = true;
                waiting.extend(self.take_ready(&folder, ready));
            }
            self.board.set_waiting(&folder, waiting);
            self.reruns.use_corrections(
                &folder,
                &self.board.waiting_in(&folder),
                setup.inbox.pair_wait.max(settle),
                &self.tree,
                &mut self.agenda,
            );
        }
        self.taker.finish_moves();
        any_ready
    }

    /// Takes what is ready in a folder, a few jobs at a time. Returns what cannot be taken now, and why.
    fn take_ready(&mut self, folder: &RelPath, ready: Vec<Candidate>) -> Vec<Waiting> {
        // The names under which they waited become the jobs'.
        let waited = self.board.waiting_in(folder);
        let names: HashMap<&RelPath, &JobId> = waited
            .iter()
            .map(|file| (&file.waiting.input, &file.id))
            .collect();
        let mut rest = ready.into_iter().map(|candidate| {
            let name = names.get(&candidate.input);
            let id = name.map_or_else(JobId::random, |id| (*id).clone());
            (id, candidate)
        });
        let setup = self.setup.clone();
        let mut claims = Claims::collect(&setup);
        let mut refused = Vec::new();
        while self.goes_on() {
            let ready: Vec<(JobId, Candidate)> = rest.by_ref().take(TAKE_AT_ONCE).collect();
            if ready.is_empty() {
                break;
            }
            let inputs: Vec<RelPath> = ready.iter().map(|(_, one)| one.input.clone()).collect();
            let taken = match (&mut claims, self.root.check_unchanged()) {
                (Ok(claims), Ok(())) => self.take(ready, claims),
                (Err(error), Ok(())) => Err(format!(
                    "the folder {} cannot be used: {error}. {}",
                    setup.places.working.display(),
                    advice(error)
                )),
                (_, Err(why)) => {
                    self.board.freeze(why.clone());
                    Err(why)
                }
            };
            match taken {
                Ok(more) => {
                    self.taker.clear_trouble();
                    refused.extend(more);
                }
                Err(why) => {
                    self.taker.note_trouble(&why);
                    self.agenda.evaluate_within(folder, TRY_AGAIN);
                    let reason: Arc<str> = format!("it cannot be taken now: {why}").into();
                    let inputs = inputs.into_iter().chain(rest.map(|(_, one)| one.input));
                    refused.extend(inputs.map(|input| Waiting {
                        input,
                        reason: reason.clone(),
                    }));
                    break;
                }
            }
        }
        if !refused.is_empty() {
            self.agenda.evaluate_within(folder, REFUSED_AGAIN);
        }
        refused
    }

    /// Takes candidates. A problem with one of them does not stop the others.
    ///
    /// # Errors
    /// None of them can be taken now.
    fn take(
        &mut self,
        candidates: Vec<(JobId, Candidate)>,
        claims: &mut Claims<'_>,
    ) -> Result<Vec<Waiting>, String> {
        let (mut refused, mut new, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
        for (id, candidate) in candidates {
            let input = candidate.input.clone();
            let folder = input.parent();
            let chosen = match self.reruns.is_coming(&input) {
                // They may go back to where they came from.
                true => Err(Refusal::Claimed),
                false => claims.choose(&candidate, &self.tree, &self.root),
            };
            match chosen {
                Ok(files) => match self.reruns.take_up(&candidate, files.clone())? {
                    Rerun::Of(job) => jobs.push(*job),
                    Rerun::No => {
                        let (name, plan) = (&self.setup.name, candidate.plan);
                        new.push(Job::taken(id, name, input, files, plan, Timestamp::now()));
                    }
                    Rerun::Coming => self.agenda.evaluate_within(&folder, TRY_AGAIN),
                    Rerun::Wait(reason) => {
                        self.agenda.evaluate_within(&folder, TRY_AGAIN);
                        let reason = reason.into();
                        refused.push(Waiting { input, reason });
                    }
                },
                Err(Refusal::LookAgain) => {
                    self.agenda.mark([folder.clone()]);
                    self.agenda.evaluate_at(folder, Instant::now());
                }
                Err(Refusal::Claimed) => self.agenda.evaluate_within(&folder, TRY_AGAIN),
                Err(Refusal::Wait(reason)) => {
                    let reason = reason.into();
                    refused.push(Waiting { input, reason });
                }
            }
        }
        let (inserted, claimed) = self.taker.insert(new)?;
        refused.extend(claimed);
        jobs.extend(inserted);
        for job in jobs {
            // What is left by a stop is finished by the next thread or by the engine.
            if !self.goes_on() {
                break;
            }
            let moved = self
                .taker
                .move_files(&job, &mut self.tree, &mut self.events);
            if !moved {
                let folder = job.input.parent();
                self.agenda.mark([folder.clone()]);
                self.agenda.evaluate_within(&folder, TRY_AGAIN);
            }
        }
        Ok(refused)
    }

    /// Waits for a hint until there is something to do, and never for so long that nobody checks the root. After a hint about files
    /// events gather for `rest`.
    fn wait(&self, rest: Duration) -> Option<Hint> {
        let now = Instant::now();
        let rested = now.checked_add(rest).unwrap_or(now);
        let untrusted = self.is_trusted() && self.root.has_mounts_inside();
        let until = self.agenda.next(untrusted);
        let left = until.saturating_duration_since(Instant::now());
        let hint = self.events.wait(left.min(CHECK_ROOT));
        match hint {
            Some(Hint::Folder(_) | Hint::Closed(_) | Hint::Written(_)) => self.rest_until(rested),
            Some(Hint::Everything | Hint::Overflow | Hint::Ended | Hint::Wake) | None => {}
        }
        hint
    }

    /// Sleeps until then; a stop wakes the thread.
    fn rest_until(&self, rested: Instant) {
        while !self.stop.load(Ordering::Relaxed) {
            let left = rested.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }
}
