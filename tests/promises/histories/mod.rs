//! Generated histories: a person who drops, edits, renames and takes away while daemon, API and disk have their troubles.
//! After each, everything is mended, doubts are settled truthfully, and all that is left is compared with the promises.
//!
//! `TAXIWAY_HISTORIES=N` runs more, `TAXIWAY_SEED=N` repeats the stimuli of one.

mod hand;
mod ops;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tempfile::TempDir;

use self::hand::{Hand, pause};
use self::ops::{Means, generate};
use crate::api::Remote;
use crate::audit::{Mode, Promise, Verdict, audit};
use crate::support::{Job, Studio, can_run};
use crate::watcher::Watcher;
use crate::world::{binary, number, settle};

/// Histories in the run that every change goes through.
const HISTORIES: u64 = 400;
/// Histories at once. They mostly wait.
const WORKERS: u64 = 8;
/// How long it may take until all is at its end, once everything is mended: pauses grow while there is trouble.
const PATIENCE: Duration = Duration::from_secs(60);
/// The user `nobody`, as whom the daemon runs where the test may say so.
const NOBODY: u32 = 65_534;
/// A run that fails so often shows no more.
const ENOUGH: usize = 5;

#[test]
fn no_history_breaks_a_promise() {
    let only = number("TAXIWAY_SEED");
    let histories = only.map_or_else(|| number("TAXIWAY_HISTORIES").unwrap_or(HISTORIES), |_| 1);
    let first = only.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    let started = Instant::now();
    let next = AtomicU64::new(0);
    let total = Mutex::new((Verdict::default(), 0_usize, 0_usize));
    let failures: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let user = can_be_nobody().then_some(NOBODY);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(histories) {
            scope.spawn(|| {
                let disk = Disk::mount();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= histories || failures.lock().unwrap().len() >= ENOUGH {
                        return;
                    }
                    let seed = first.wrapping_add(number);
                    let (verdict, ops, doubts, story) = live(seed, disk.as_ref(), user);
                    if !verdict.is_clean() {
                        failures
                            .lock()
                            .unwrap()
                            .push(format!("TAXIWAY_SEED={seed}: {verdict}\n{story}"));
                    }
                    let mut total = total.lock().unwrap();
                    total.0.join(verdict);
                    total.1 += ops;
                    total.2 += doubts;
                }
            });
        }
    });
    let (verdict, ops, doubts) = total.into_inner().unwrap();
    let failures = failures.into_inner().unwrap();
    eprintln!(
        "histories: {histories} from seed {first}, {ops} operations, {} done, {} failed, {} tasks, {} outputs, {doubts} doubts; {}; disks that fill: {}, another user: {}; {:.1} s",
        verdict.done,
        verdict.failed,
        verdict.tasks,
        verdict.outputs,
        verdict.figures(),
        if Disk::mount().is_some() { "yes" } else { "no" },
        if user.is_some() { "yes" } else { "no" },
        started.elapsed().as_secs_f64(),
    );
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// One history. Answers with what the audit says, how much happened, how many doubts there were, and the story of it.
fn live(seed: u64, disk: Option<&Disk>, user: Option<u32>) -> (Verdict, usize, usize, String) {
    let mut rng = Rng::with_seed(seed);
    let means = Means {
        disk: disk.is_some(),
        user: user.is_some(),
    };
    let (kinds, ops) = generate(&mut rng, means);
    let mut remote = Remote::start(binary(), [0.0, 0.05, 0.15][rng.usize(..3)], None);
    let mut builder = Studio::builder()
        .no_simulator()
        .base_url(&remote.url())
        .binary(binary())
        .image_defaults()
        .inbox("settle: 100ms")
        .inbox("pair_wait: 50ms")
        .inbox("scan_interval: 100ms")
        .runway("poll_interval: 20ms");
    if let Some(disk) = disk {
        builder = builder.below(disk.folder.path());
    }
    if let Some(user) = user {
        builder = builder.user(user);
    }
    let mut studio = builder.open();
    studio.start();
    let watcher = Watcher::start(&studio.outbox(""));
    let mark = format!("history {seed}");
    let disk = disk.map(|disk| disk.folder.path());
    let mut hand = Hand::new(&mut studio, &mut remote, &kinds, &mark, disk, user);
    for (before, op) in &ops {
        pause(*before);
        hand.act(op);
    }
    hand.heal();
    let (mut book, mut doubts, trace) = (hand.book, hand.doubts, hand.trace);
    let rests = |job: &Job| is_lone_sidecar(&studio, job);
    let settled = settle(
        &studio,
        &mut book,
        &mut || remote.api(),
        &mut doubts,
        PATIENCE,
        &rests,
    );
    let mut verdict = watcher.stop();
    if let Err(words) = settled {
        verdict.breach(Promise::Abandoned, words);
    }
    let api = remote.api();
    verdict.join(audit(&studio, &book, &api, Mode::default()));
    doubts.judge(&book, &api, &mut verdict);
    let story = if verdict.is_clean() {
        String::new()
    } else {
        if let Some(status) = studio.ended() {
            verdict.breach(Promise::Abandoned, format!("the daemon ended: {status}"));
        }
        let report = studio.report();
        format!("{kinds:?}\n{}\n{report}", trace.join("\n"))
    };
    (verdict, ops.len(), doubts.count(), story)
}

/// Whether a job is a sidecar that waits for a medium which went without it, or was taken away.
fn is_lone_sidecar(studio: &Studio, job: &Job) -> bool {
    let mut media = false;
    crate::support::walk(&studio.inbox(""), &mut |path| {
        media |= path.extension().is_some_and(|extension| extension == "jpg");
    });
    !media && job.state() == "waiting" && job.reason().contains("for media")
}

/// Whether the daemon can run as another user: the test is root, and that user can run the program.
fn can_be_nobody() -> bool {
    rustix::process::geteuid().is_root() && can_run(NOBODY, binary())
}

/// A small disk of its own, if this machine lets the test have one.
struct Disk {
    folder: TempDir,
}

impl Disk {
    fn mount() -> Option<Disk> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let folder = tempfile::Builder::new()
            .prefix("taxiway-disk-")
            .tempdir()
            .unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m,mode=755", "taxiway-test"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            return None;
        }
        // The folder above is its maker's alone.
        allow(folder.path());
        Some(Disk { folder })
    }
}

fn allow(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Drop for Disk {
    fn drop(&mut self) {
        let gone = Command::new("umount")
            .arg("--lazy")
            .arg(self.folder.path())
            .status();
        if !gone.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.folder.path().display());
        }
    }
}
