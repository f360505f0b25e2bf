//! The order that a power cut asks for, checked on the operations of a daemon that had one job.
//!
//! `a` comes before `b` where `a` had come back before `b` began. A journal commit is what was written to the write-ahead
//! log between two syncs of it; which event it carries is told by the first appearance of the event's text.

use std::path::{Path, PathBuf};

use super::trace::{Op, What};

/// Where things lie.
pub struct Places {
    pub root: PathBuf,
    pub inbox: PathBuf,
    pub working: PathBuf,
    pub outbox: PathBuf,
    pub originals: PathBuf,
    pub failed: PathBuf,
    pub journal: PathBuf,
}

/// A journal commit: from its first write to the end of the sync.
#[derive(Debug, Clone, Copy)]
struct Commit {
    begin: usize,
    durable: usize,
}

/// Everything in a trace that a power cut could punish, in words. `expected` are the events of the job in their order; one
/// that is not there is a breach, so that a trace that shows nothing proves nothing.
pub fn breaches(ops: &[Op], places: &Places, job: &str, expected: &[&str]) -> Vec<String> {
    let check = Check { ops, places, job };
    let mut found = Vec::new();
    check.events_are_durable(expected, &mut found);
    check.names_come_last(&mut found);
    check.taking(&mut found);
    check.paying(&mut found);
    check.fetching(&mut found);
    check.delivering(&mut found);
    check.closing(&mut found);
    check.folders_are_durable(&mut found);
    check.the_journal_has_a_name(&mut found);
    check.nothing_goes_before_its_replacement(&mut found);
    found
}

struct Check<'a> {
    ops: &'a [Op],
    places: &'a Places,
    job: &'a str,
}

impl Check<'_> {
    fn wal(&self) -> PathBuf {
        let mut name = self.places.journal.clone().into_os_string();
        name.push("-wal");
        name.into()
    }

    /// The commit that carries these bytes for the first time.
    fn commit_of(&self, text: &str) -> Option<Commit> {
        let wal = self.wal();
        let mut begin = None;
        let mut found = false;
        for op in self.ops {
            match &op.what {
                What::Write(path, bytes) if *path == wal => {
                    begin.get_or_insert(op.begin);
                    found |= contains(bytes, text.as_bytes());
                }
                What::Sync(path) if *path == wal => {
                    if let (true, Some(begin)) = (found, begin) {
                        return Some(Commit {
                            begin,
                            durable: op.end,
                        });
                    }
                    begin = None;
                }
                _ => {}
            }
        }
        None
    }

    /// `insert` is where the job's name is seen first.
    fn event(&self, word: &str) -> Option<Commit> {
        match word {
            "insert" => self.commit_of(self.job),
            word => self.commit_of(&format!("\"event\":\"{word}\"")),
        }
    }

    fn is_durable_before(&self, word: &str, moment: usize) -> bool {
        self.event(word)
            .is_some_and(|commit| commit.durable < moment)
    }

    /// Whether something was synced, from beginning to end within these lines.
    fn synced(&self, path: &Path, after: usize, before: usize) -> bool {
        self.ops.iter().any(|op| {
            matches!(&op.what, What::Sync(synced) if synced == path)
                && op.begin > after
                && op.end < before
        })
    }

    /// Renames and hard links: what, from, to.
    fn namings(&self) -> impl Iterator<Item = (&Op, &Path, &Path)> {
        self.ops.iter().filter_map(|op| match &op.what {
            What::Rename(from, to) | What::Link(from, to) => {
                Some((op, from.as_path(), to.as_path()))
            }
            _ => None,
        })
    }

    fn is_managed(&self, path: &Path) -> bool {
        let places = self.places;
        [
            &places.working,
            &places.outbox,
            &places.originals,
            &places.failed,
        ]
        .iter()
        .any(|folder| path.starts_with(folder))
    }

    fn events_are_durable(&self, expected: &[&str], found: &mut Vec<String>) {
        let mut last = 0;
        for word in expected {
            match self.event(word) {
                None => found.push(format!("the event {word} never became durable")),
                Some(commit) if commit.durable < last => {
                    found.push(format!(
                        "the event {word} was durable before its predecessor"
                    ));
                }
                Some(commit) => last = commit.durable,
            }
        }
    }

    /// Whatever gets a visible name has its content on the disk by then.
    fn names_come_last(&self, found: &mut Vec<String>) {
        for op in self.ops {
            match &op.what {
                What::Create(path) if self.is_managed(path) && !is_hidden(path) => {
                    found.push(format!("{} was made under its name", path.display()));
                }
                _ => {}
            }
        }
        for (op, from, to) in self.namings() {
            if !self.is_managed(to) || is_hidden(to) {
                continue;
            }
            let writes = self.ops.iter().filter(
                |write| matches!(&write.what, What::Write(path, _) if path == from && write.begin < op.end),
            );
            let Some(last) = writes.map(|write| write.end).max() else {
                // Somebody else wrote it, and dropped it.
                continue;
            };
            if !self.synced(from, last, op.begin) {
                found.push(format!(
                    "{} got its name before its content was durable",
                    to.display()
                ));
            }
        }
    }

    /// The folders of a rename are durable before a commit begins that relies on it.
    fn is_settled(&self, op: &Op, from: &Path, to: &Path, word: &str, found: &mut Vec<String>) {
        let Some(commit) = self.event(word) else {
            found.push(format!(
                "{} got its name, and {word} never became durable",
                to.display()
            ));
            return;
        };
        for folder in [from.parent(), to.parent()].into_iter().flatten() {
            if !self.synced(folder, op.end, commit.begin) {
                found.push(format!(
                    "{word} was committed before the folder {} was durable, from {} to {}",
                    folder.display(),
                    from.display(),
                    to.display()
                ));
            }
        }
    }

    fn taking(&self, found: &mut Vec<String>) {
        for (op, from, to) in self.namings() {
            if !to.starts_with(&self.places.working) || !from.starts_with(&self.places.inbox) {
                continue;
            }
            if !self.is_durable_before("insert", op.begin) {
                found.push(format!(
                    "{} was taken before the job was durable",
                    from.display()
                ));
            }
            self.is_settled(op, from, to, "moved", found);
        }
    }

    fn paying(&self, found: &mut Vec<String>) {
        for op in self.ops {
            let What::Send(bytes) = &op.what else {
                continue;
            };
            let starts = bytes.starts_with(b"POST /v1/")
                && !bytes.starts_with(b"POST /v1/uploads")
                && !bytes.starts_with(b"POST /v1/organization");
            if !starts {
                continue;
            }
            if !self.is_durable_before("intent", op.begin) {
                found.push("the request left before its intent was durable".to_owned());
            }
            if self
                .event("accepted")
                .is_some_and(|commit| commit.begin < op.end)
            {
                found.push("the answer was noted before the request had left".to_owned());
            }
        }
    }

    /// The journal is told of a part file that is durable, with its name.
    fn fetching(&self, found: &mut Vec<String>) {
        let Some(commit) = self.event("fetched") else {
            return;
        };
        let parts = self.ops.iter().filter_map(|op| match &op.what {
            What::Write(path, _) if path.starts_with(&self.places.outbox) => {
                let name = path.file_name()?.to_string_lossy();
                name.contains(self.job).then_some((op, path))
            }
            _ => None,
        });
        for (op, part) in parts {
            if !self.synced(part, op.end, commit.begin) {
                found.push(format!(
                    "fetched was committed before {} was durable",
                    part.display()
                ));
            }
            let folder = part.parent().unwrap_or(part);
            let made = self
                .ops
                .iter()
                .find(|made| matches!(&made.what, What::Create(path) if path == part));
            if !made.is_some_and(|made| self.synced(folder, made.end, commit.begin)) {
                found.push(format!(
                    "fetched was committed before the name {} was durable",
                    part.display()
                ));
            }
        }
    }

    fn delivering(&self, found: &mut Vec<String>) {
        let outbox = &self.places.outbox;
        for (op, from, to) in self.namings() {
            if !to.starts_with(outbox) || is_hidden(to) {
                continue;
            }
            if !self.is_durable_before("named", op.begin) {
                found.push(format!(
                    "{} got its name before the choice was durable",
                    to.display()
                ));
            }
            self.is_settled(op, from, to, "delivered", found);
            let mut record = to.as_os_str().to_owned();
            record.push(".yaml");
            let record = PathBuf::from(record);
            let is_record = to.extension().is_some_and(|extension| extension == "yaml");
            let folder = to.parent().unwrap_or(to);
            let has_record = self.namings().any(|(other, _, name)| {
                name == record && other.end < op.begin && self.synced(folder, other.end, op.begin)
            });
            if !is_record && !has_record {
                found.push(format!(
                    "{} got its name before its record was durable",
                    to.display()
                ));
            }
        }
    }

    fn closing(&self, found: &mut Vec<String>) {
        let places = self.places;
        for (op, from, to) in self.namings() {
            let rests = to.starts_with(&places.originals) || to.starts_with(&places.failed);
            if !rests || is_hidden(to) {
                continue;
            }
            if !self.is_durable_before("moves_chosen", op.begin) {
                found.push(format!(
                    "{} was moved before the choice was durable",
                    to.display()
                ));
            }
            self.is_settled(op, from, to, "closed", found);
        }
        for op in self.ops {
            let What::Unlink(path) = &op.what else {
                continue;
            };
            if !path.starts_with(&places.working) || is_hidden(path) {
                continue;
            }
            if !self.is_durable_before("moves_chosen", op.begin) {
                found.push(format!(
                    "{} was removed before the choice was durable",
                    path.display()
                ));
            }
            let folder = path.parent().unwrap_or(path);
            let closed = self.event("closed").map_or(0, |commit| commit.begin);
            if !self.synced(folder, op.end, closed) {
                found.push(format!(
                    "closed was committed before the removal of {} was durable",
                    path.display()
                ));
            }
        }
    }

    /// The parent of a new folder is durable before the next commit.
    fn folders_are_durable(&self, found: &mut Vec<String>) {
        let wal = self.wal();
        for op in self.ops {
            let What::Mkdir(path) = &op.what else {
                continue;
            };
            if !path.starts_with(&self.places.root) {
                continue;
            }
            let next = self.ops.iter().find(|next| {
                next.begin > op.end && matches!(&next.what, What::Write(to, _) if *to == wal)
            });
            let (Some(next), Some(parent)) = (next, path.parent()) else {
                continue;
            };
            if !self.synced(parent, op.end, next.begin) {
                found.push(format!(
                    "the journal went on before the new folder {} was durable",
                    path.display()
                ));
            }
        }
    }

    /// The journal's files are found again after a power cut by the time the first job relies on them.
    fn the_journal_has_a_name(&self, found: &mut Vec<String>) {
        let Some(insert) = self.event("insert") else {
            return;
        };
        let folder = self.places.journal.parent().unwrap_or(&self.places.journal);
        for file in [&self.places.journal, &self.wal()] {
            let made = self
                .ops
                .iter()
                .find(|op| matches!(&op.what, What::Create(path) if path == file));
            if made.is_some_and(|made| !self.synced(folder, made.end, insert.begin)) {
                found.push(format!(
                    "a job was noted before the name {} was durable",
                    file.display()
                ));
            }
        }
    }

    /// A name goes only when what takes its place is durable: another name of the same file, a copy, or the database itself
    /// in place of its log. A deletion that was chosen has no replacement.
    fn nothing_goes_before_its_replacement(&self, found: &mut Vec<String>) {
        for op in self.ops {
            let What::Unlink(path) = &op.what else {
                continue;
            };
            // What tries a folder out is nobody's.
            if is_probe(path) {
                continue;
            }
            if *path == self.wal() {
                let written = self.ops.iter().filter(|write| {
                    matches!(&write.what, What::Write(to, _) if *to == self.places.journal && write.end < op.begin)
                });
                let last = written.map(|write| write.end).max();
                if last.is_some_and(|last| !self.synced(&self.places.journal, last, op.begin)) {
                    found.push("the log went before the database was durable".to_owned());
                }
                continue;
            }
            let linked = self.ops.iter().find_map(|link| match &link.what {
                What::Link(from, to) if from == path && link.end < op.begin => Some((link, to)),
                _ => None,
            });
            if let Some((link, to)) = linked {
                let folder = to.parent().unwrap_or(to);
                if !self.synced(folder, link.end, op.begin) {
                    found.push(format!(
                        "{} went before its other name {} was durable",
                        path.display(),
                        to.display()
                    ));
                }
                continue;
            }
            let copy = self.namings().find(|(naming, _, to)| {
                !to.starts_with(&self.places.working)
                    && to.file_name() == path.file_name()
                    && naming.end < op.begin
            });
            if path.starts_with(&self.places.working)
                && let Some((naming, _, to)) = copy
            {
                let folder = to.parent().unwrap_or(to);
                if !self.synced(folder, naming.end, op.begin) {
                    found.push(format!(
                        "{} went before its copy {} was durable",
                        path.display(),
                        to.display()
                    ));
                }
            }
        }
    }
}

fn is_probe(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b".taxiway-probe-"))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}
