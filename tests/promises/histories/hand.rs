//! Carries out what a history says, as a person and a machine would, and keeps the book exact: taking a file away is a rename
//! that either succeeds or shows that the daemon was faster, and no drop ever replaces a file.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::process::Signal;
use serde_json::json;

use super::ops::{Kind, Op};
use crate::api::Remote;
use crate::book::Book;
use crate::doubts::Doubts;
use crate::support::{Job, Studio, text};
use crate::world::{Piece, film, large_picture, picture, words};

/// A file of a piece of work, and where the person has it.
#[derive(Debug, Clone)]
enum Slot {
    Never,
    Dropped(Piece),
    /// Taken away; it lies at this path.
    Away(Piece, PathBuf),
}

const SIDECAR: usize = 0;
const MEDIUM: usize = 1;

struct Work {
    kind: Kind,
    name: String,
    version: u32,
    /// Of the book.
    drop: Option<usize>,
    slots: [Slot; 2],
}

pub struct Hand<'a> {
    pub studio: &'a mut Studio,
    pub remote: &'a mut Remote,
    pub book: Book,
    pub doubts: Doubts,
    /// What was done, and how it went.
    pub trace: Vec<String>,
    works: Vec<Work>,
    mark: String,
    /// The disk that can be filled.
    disk: Option<&'a Path>,
    user: Option<u32>,
    full: bool,
    taken: usize,
    /// Where the log of the daemon that runs begins.
    log_before: usize,
}

impl<'a> Hand<'a> {
    pub fn new(
        studio: &'a mut Studio,
        remote: &'a mut Remote,
        kinds: &[Kind],
        mark: &str,
        disk: Option<&'a Path>,
        user: Option<u32>,
    ) -> Hand<'a> {
        fs::create_dir(studio.path("taken-back")).unwrap();
        let works = kinds
            .iter()
            .enumerate()
            .map(|(number, kind)| Work {
                kind: *kind,
                // Some in a folder, some whose names are alike.
                name: match number % 3 {
                    0 => format!("piece{number}"),
                    1 => format!("shoes/piece{number}"),
                    _ => format!("shoes/piece{}", number - 2),
                },
                version: 1,
                drop: None,
                slots: [Slot::Never, Slot::Never],
            })
            .collect();
        Hand {
            studio,
            remote,
            book: Book::default(),
            doubts: Doubts::default(),
            trace: Vec::new(),
            works,
            mark: mark.to_owned(),
            disk,
            user,
            full: false,
            taken: 0,
            log_before: 0,
        }
    }

    pub fn act(&mut self, op: &Op) {
        let went = match op {
            Op::Drop(work) => self.drop_new(*work, &[SIDECAR, MEDIUM]),
            Op::DropSidecar(work) => self.drop_new(*work, &[SIDECAR]),
            Op::DropMedium(work) => self.drop_new(*work, &[MEDIUM]),
            Op::Edit(work) => self.edit(*work),
            Op::Rename(work) => self.rename(*work),
            Op::Delete(work) => {
                let got = [SIDECAR, MEDIUM].map(|slot| self.take_away(*work, slot));
                format!("{got:?}")
            }
            Op::DropAgain(work) => self.drop_again(*work),
            Op::Retry => self.retry(),
            Op::Cancel => self.cancel(),
            Op::Crash => self.crash(),
            Op::Start => self.start(),
            Op::Restart => self.restart(),
            Op::Reload => self.reload(),
            Op::KeyRefused => self.key("another"),
            Op::KeyMended => self.key(""),
            Op::Trouble(rules) => {
                self.remote.set_faults(rules);
                String::new()
            }
            Op::Calm => {
                self.remote.set_faults(&[]);
                String::new()
            }
            Op::Links(seconds) => {
                self.remote.set(&json!({ "url_seconds": seconds }));
                String::new()
            }
            Op::Full => self.fill(),
            Op::Room => self.room(),
            Op::Forbid(folder) => self.permissions(folder, 0o555),
            Op::Permit => {
                for folder in ["outbox", "failed", "working", "originals"] {
                    self.permissions(folder, 0o755);
                }
                String::new()
            }
        };
        self.trace.push(format!(
            "{} {op:?} {went}",
            jiff::Timestamp::now().strftime("%T%.3f")
        ));
    }

    /// Ends all trouble; the daemon runs afterwards.
    pub fn heal(&mut self) {
        for op in [
            Op::Room,
            Op::Permit,
            Op::Calm,
            Op::KeyMended,
            Op::Links(86_400.0),
        ] {
            self.act(&op);
        }
        if !self.is_alive() {
            self.studio.start();
        }
    }

    // ---- files

    fn piece(&self, work: usize, slot: usize) -> Option<Piece> {
        let this = &self.works[work];
        let mark = format!("{} piece {work} version {}", self.mark, this.version);
        let name = &this.name;
        let sidecar = if work.is_multiple_of(2) {
            format!("{name}.jpg.yaml")
        } else {
            format!("{name}.yaml")
        };
        match (this.kind, slot) {
            (Kind::Words, SIDECAR) => Some(words(format!("{name}-words.yaml"), &mark)),
            (Kind::Wrong, SIDECAR) => {
                let mut piece = words(format!("{name}-wrong.yaml"), &mark);
                piece.bytes.extend(b"what: 1\n");
                Some(piece)
            }
            (Kind::Pair | Kind::LargePair, SIDECAR) => Some(film(sidecar, &mark)),
            (Kind::Picture | Kind::Pair, MEDIUM) => Some(picture(format!("{name}.jpg"), &mark)),
            (Kind::LargePair, MEDIUM) => Some(large_picture(format!("{name}.jpg"), &mark)),
            _ => None,
        }
    }

    fn drop_new(&mut self, work: usize, slots: &[usize]) -> String {
        let mut went = Vec::new();
        for slot in slots.iter().copied() {
            if let (Slot::Never, Some(piece)) =
                (&self.works[work].slots[slot], self.piece(work, slot))
            {
                went.push(self.put(work, slot, piece));
            }
        }
        went.join(", ")
    }

    /// Drops a file that is new to the book.
    fn put(&mut self, work: usize, slot: usize, piece: Piece) -> String {
        if self.full || !self.place(&piece) {
            return format!("{} cannot be dropped", piece.path);
        }
        let path = format!("inbox/{}", piece.path);
        let drop = match self.works[work].drop {
            Some(drop) => drop,
            None => self.book.drop(&[]),
        };
        self.works[work].drop = Some(drop);
        self.book
            .late(drop, &path, &piece.bytes, piece.key.as_deref());
        let words = piece.path.clone();
        self.works[work].slots[slot] = Slot::Dropped(piece);
        words
    }

    /// Writes a file under a hidden name and gives it its own, unless something has it.
    fn place(&mut self, piece: &Piece) -> bool {
        let path = self.studio.inbox(&piece.path);
        self.folder_of(&path);
        self.taken += 1;
        let part = path.with_file_name(format!(".part-{}", self.taken));
        fs::write(&part, &piece.bytes).unwrap();
        let placed = rename_new(&part, &path);
        if !placed {
            fs::remove_file(&part).unwrap();
        }
        placed
    }

    /// Makes a file's folder, for the daemon's user.
    fn folder_of(&self, path: &Path) {
        let folder = path.parent().unwrap();
        fs::create_dir_all(folder).unwrap();
        if self.user.is_some() {
            chown(folder, self.user, self.user).unwrap();
        }
    }

    /// Takes a file out of the inbox, if it is still there.
    fn take_away(&mut self, work: usize, slot: usize) -> Option<String> {
        let Slot::Dropped(piece) = self.works[work].slots[slot].clone() else {
            return None;
        };
        self.taken += 1;
        let away = self.studio.path(format!("taken-back/{}", self.taken));
        if !rename_new(&self.studio.inbox(&piece.path), &away) {
            return None;
        }
        self.book.taken_back(&piece.bytes);
        let path = piece.path.clone();
        self.works[work].slots[slot] = Slot::Away(piece, away);
        Some(path)
    }

    fn edit(&mut self, work: usize) -> String {
        let got = [SIDECAR, MEDIUM].map(|slot| self.take_away(work, slot));
        self.works[work].version += 1;
        let mut went = Vec::new();
        for slot in [SIDECAR, MEDIUM] {
            if got[slot].is_some()
                && let Some(piece) = self.piece(work, slot)
            {
                went.push(self.put(work, slot, piece));
            }
        }
        went.join(", ")
    }

    fn rename(&mut self, work: usize) -> String {
        self.works[work].name.push_str("-renamed");
        let mut went = Vec::new();
        for slot in [SIDECAR, MEDIUM] {
            let (Slot::Dropped(piece), Some(new)) =
                (self.works[work].slots[slot].clone(), self.piece(work, slot))
            else {
                continue;
            };
            let (from, to) = (self.studio.inbox(&piece.path), self.studio.inbox(&new.path));
            if rename_new(&from, &to) {
                self.book
                    .renamed(&piece.bytes, &format!("inbox/{}", new.path));
                went.push(new.path.clone());
                self.works[work].slots[slot] = Slot::Dropped(Piece {
                    path: new.path,
                    ..piece
                });
            }
        }
        went.join(", ")
    }

    fn drop_again(&mut self, work: usize) -> String {
        let mut went = Vec::new();
        for slot in [SIDECAR, MEDIUM] {
            let Slot::Away(piece, away) = self.works[work].slots[slot].clone() else {
                continue;
            };
            let path = self.studio.inbox(&piece.path);
            self.folder_of(&path);
            if rename_new(&away, &path) {
                self.book
                    .dropped_again(&piece.bytes, &format!("inbox/{}", piece.path));
                went.push(piece.path.clone());
                self.works[work].slots[slot] = Slot::Dropped(piece);
            }
        }
        went.join(", ")
    }

    // ---- the daemon

    /// Whether a daemon runs that has not ended by itself, as one does whose disk is full at its start.
    fn is_alive(&mut self) -> bool {
        self.studio.ended();
        self.studio.runs()
    }

    fn crash(&mut self) -> String {
        if !self.is_alive() {
            return "no daemon ran".to_owned();
        }
        self.studio.kill9();
        self.look_at_journal()
    }

    /// What the journal says while no daemon runs. To look at it takes a little room.
    fn look_at_journal(&mut self) -> String {
        let full = self.full;
        if full {
            self.room();
        }
        let jobs = self.studio.jobs();
        self.doubts.at_a_kill(&jobs);
        if full {
            self.fill();
        }
        let states: Vec<String> = jobs
            .iter()
            .filter(|job| !job.has_ended())
            .map(|job| format!("{} {}", job.input(), job.state()))
            .collect();
        states.join(", ")
    }

    fn start(&mut self) -> String {
        if self.is_alive() {
            return "it runs".to_owned();
        }
        self.spawn();
        String::new()
    }

    fn spawn(&mut self) {
        self.log_before = self.studio.log().len();
        self.studio.spawn();
    }

    fn restart(&mut self) -> String {
        let mut states = String::new();
        if self.is_alive() {
            self.studio.stop();
            states = self.look_at_journal();
        }
        self.spawn();
        states
    }

    fn reload(&mut self) -> String {
        // Before it is ready a signal may end it.
        let log = self.studio.log();
        let ready = log.get(self.log_before..).unwrap_or_default();
        if self.full || !self.is_alive() || !ready.contains("ready: ") {
            return "not now".to_owned();
        }
        let old = fs::read_to_string(&self.studio.config).unwrap();
        let new = if old.contains("pair_wait: 50ms") {
            old.replace("pair_wait: 50ms", "pair_wait: 80ms")
        } else {
            old.replace("pair_wait: 80ms", "pair_wait: 50ms")
        };
        fs::write(&self.studio.config, new).unwrap();
        self.studio.signal(Signal::HUP);
        String::new()
    }

    fn key(&mut self, key: &str) -> String {
        self.remote.set(&json!({ "key": key }));
        String::new()
    }

    fn retry(&mut self) -> String {
        let Some(job) = self.a_job(|job| matches!(job.state(), "failed" | "cancelled")) else {
            return "no job".to_owned();
        };
        let input = format!("inbox/{}", job.input());
        let output = self.studio.cli(&["retry", job.id()]);
        if output.status.success() {
            for key in self.book.keys_at(&input) {
                self.book.allow_again(&key);
            }
        }
        format!("{input} {} {}", job.id(), text(&output.stderr).trim())
    }

    fn cancel(&mut self) -> String {
        let open = |job: &Job| !job.has_ended() && !job.0["endpoint"].is_null();
        let Some(job) = self.a_job(open) else {
            return "no job".to_owned();
        };
        let output = self.studio.cli(&["cancel", job.id()]);
        format!(
            "{} {} {}",
            job.input(),
            job.id(),
            text(&output.stderr).trim()
        )
    }

    /// A job for which something holds, if the daemon answers.
    fn a_job(&mut self, which: impl Fn(&Job) -> bool) -> Option<Job> {
        if self.full || !self.is_alive() {
            return None;
        }
        let output = self.studio.cli(&["status", "--json"]);
        let jobs = text(&output.stdout);
        jobs.lines()
            .filter_map(|line| serde_json::from_str(line).ok().map(Job))
            .find(which)
    }

    // ---- the machine

    fn fill(&mut self) -> String {
        let Some(disk) = self.disk else {
            return "no such disk".to_owned();
        };
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(disk.join("filling"))
            .unwrap();
        for size in [1 << 18, 1 << 12] {
            let some = vec![0; size];
            while file.write_all(&some).is_ok() {}
        }
        self.full = true;
        String::new()
    }

    fn room(&mut self) -> String {
        if let (true, Some(disk)) = (self.full, self.disk) {
            fs::remove_file(disk.join("filling")).unwrap();
        }
        self.full = false;
        String::new()
    }

    fn permissions(&mut self, folder: &str, mode: u32) -> String {
        let path = self.studio.path(folder);
        if self.user.is_none() || !path.exists() {
            return "not possible".to_owned();
        }
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        String::new()
    }
}

/// Renames a file onto nothing. `false`: it is not there, or something has the name.
fn rename_new(from: &Path, to: &Path) -> bool {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => true,
        Err(Errno::NOENT | Errno::EXIST) => false,
        Err(error) => panic!("{} to {}: {error}", from.display(), to.display()),
    }
}

/// A pause of so many milliseconds: a stimulus, nothing is waited for.
pub fn pause(milliseconds: u64) {
    if milliseconds > 0 {
        std::thread::sleep(Duration::from_millis(milliseconds));
    }
}
