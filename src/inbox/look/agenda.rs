//! Which folders have to be scanned and evaluated, and when.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::files::RelPath;

pub(crate) struct Agenda {
    /// Folders to scan now.
    dirty: BTreeSet<RelPath>,
    /// When folders are to be evaluated.
    due: HashMap<RelPath, Instant>,
    /// When everything is scanned.
    next_scan: Instant,
    /// When the folders are scanned whose events are not trusted although those of the inbox are.
    next_untrusted_scan: Instant,
    /// Whether the next scan of everything trusts nothing that was seen before.
    full_rescan: bool,
}

impl Agenda {
    pub(crate) fn new(now: Instant) -> Agenda {
        Agenda {
            dirty: BTreeSet::new(),
            due: HashMap::new(),
            next_scan: now,
            next_untrusted_scan: now,
            full_rescan: true,
        }
    }

    /// Starts over: what was seen before proves nothing.
    pub(crate) fn clear(&mut self) {
        self.dirty.clear();
        self.due.clear();
        self.full_rescan = true;
    }

    /// Has everything scanned now, also what seems to be unchanged.
    pub(crate) fn rescan_all(&mut self) {
        self.full_rescan = true;
        self.scan_all();
    }

    /// Has everything scanned now.
    pub(crate) fn scan_all(&mut self) {
        self.next_scan = Instant::now();
    }

    pub(crate) fn is_scan_due(&self, now: Instant) -> bool {
        now >= self.next_scan
    }

    pub(crate) fn is_untrusted_scan_due(&self, now: Instant) -> bool {
        now >= self.next_untrusted_scan
    }

    /// Whether the scan of everything that begins now has to trust nothing that was seen before.
    pub(crate) fn take_full_rescan(&mut self) -> bool {
        std::mem::take(&mut self.full_rescan)
    }

    pub(crate) fn schedule_scan(&mut self, pause: Duration) {
        self.next_scan = after(pause);
    }

    pub(crate) fn schedule_untrusted_scan(&mut self, pause: Duration) {
        self.next_untrusted_scan = after(pause);
    }

    /// Has folders scanned.
    pub(crate) fn mark(&mut self, folders: impl IntoIterator<Item = RelPath>) {
        self.dirty.extend(folders);
    }

    /// The folders that are to be scanned now.
    pub(crate) fn take_marked(&mut self) -> Vec<RelPath> {
        std::mem::take(&mut self.dirty).into_iter().collect()
    }

    /// Has a folder evaluated at a time, whatever was scheduled before.
    pub(crate) fn evaluate_at(&mut self, folder: RelPath, at: Instant) {
        self.due.insert(folder, at);
    }

    /// Has a folder evaluated after a pause, or earlier if that was scheduled before.
    pub(crate) fn evaluate_within(&mut self, folder: &RelPath, pause: Duration) {
        let at = after(pause);
        let due = self.due.entry(folder.clone()).or_insert(at);
        *due = at.min(*due);
    }

    /// Takes out the folders that are to be evaluated now.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<RelPath> {
        let due = self.due.extract_if(|_, at| *at <= now);
        due.map(|(folder, _)| folder).collect()
    }

    pub(crate) fn forget_folder(&mut self, folder: &RelPath) {
        self.due.remove(folder);
    }

    /// When there is something to do next. `untrusted` says whether there are folders whose events are not trusted.
    pub(crate) fn next(&self, untrusted: bool) -> Instant {
        let untrusted = untrusted.then_some(self.next_untrusted_scan);
        let due = self.due.values().copied().chain(untrusted);
        due.fold(self.next_scan, Instant::min)
    }
}

fn after(pause: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(pause).unwrap_or(now)
}
