//! Random `kill -9` of the daemon at every moment of jobs' lives, with drops going on and the API in trouble.
//!
//! `TAXIWAY_KILLS=20000` makes a long run, `TAXIWAY_SEED=N` repeats the stimuli of one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use taxiway::simulator::{Action, Match, Rule};

use crate::api::Remote;
use crate::audit::{Mode, Promise, Verdict, audit};
use crate::book::Book;
use crate::doubts::Doubts;
use crate::harness::{Job, Studio};
use crate::watcher::Watcher;
use crate::world::{
    Piece, binary, drop_pieces, film, large_picture, number, picture, seed, settle, words,
};

/// Kills in the run that every change goes through.
const KILLS: u64 = 2_000;
/// Kills that one studio lives through. Then everything comes to its end and is audited, so that what is looked at after
/// each kill stays small.
const KILLS_OF_ONE: u64 = 125;
/// Studios at once.
const THREADS: u64 = 6;
/// Jobs that may be open at once in a studio, those in doubt aside.
const MOST_OPEN: usize = 14;
/// How long it may take until all is at its end, once the trouble is over. Pauses that the API asked for, and those that
/// grew with each refusal, are part of it.
const PATIENCE: Duration = Duration::from_secs(150);

/// What one studio's life came to.
#[derive(Default)]
struct Tally {
    verdict: Verdict,
    kills: u64,
    jobs: usize,
    doubts: usize,
    /// How many kills met a job in each state.
    met: BTreeMap<String, u64>,
    /// Kills that met no job in motion.
    idle: u64,
}

#[test]
fn a_killed_daemon_loses_nothing_pays_nothing_twice_and_delivers_nothing_half() {
    let kills = number("TAXIWAY_KILLS").unwrap_or(KILLS);
    let seed = seed();
    let started = Instant::now();
    let lives: Vec<u64> = (0..kills.div_ceil(KILLS_OF_ONE)).collect();
    let next = std::sync::Mutex::new(lives.into_iter());
    let total = std::sync::Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let Some(life) = next.lock().unwrap().next() else {
                        return;
                    };
                    let count = KILLS_OF_ONE.min(kills - life * KILLS_OF_ONE);
                    let tally = live(seed.wrapping_add(life), life, count);
                    total.lock().unwrap().add(tally);
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    let met: Vec<String> = total
        .met
        .iter()
        .map(|(state, count)| format!("{state} {count}"))
        .collect();
    eprintln!(
        "kills: seed {seed}, {} kills, {} jobs ({} done, {} failed), {} tasks, {} outputs, {} doubts; {}; met: {}, nothing in motion {}; {:.1} s",
        total.kills,
        total.jobs,
        total.verdict.done,
        total.verdict.failed,
        total.verdict.tasks,
        total.verdict.outputs,
        total.doubts,
        total.verdict.figures(),
        met.join(", "),
        total.idle,
        started.elapsed().as_secs_f64(),
    );
    assert!(total.verdict.is_clean(), "seed {seed}: {}", total.verdict);
    if total.kills >= KILLS {
        for state in [
            "queued",
            "uploading",
            "submitting",
            "running",
            "downloading",
            "delivering",
        ] {
            assert!(total.met.contains_key(state), "no kill met {state}");
        }
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.verdict.join(other.verdict);
        self.kills += other.kills;
        self.jobs += other.jobs;
        self.doubts += other.doubts;
        self.idle += other.idle;
        for (state, count) in other.met {
            *self.met.entry(state).or_default() += count;
        }
    }
}

/// One studio through so many kills, to the audit.
fn live(seed: u64, life: u64, kills: u64) -> Tally {
    let mut rng = Rng::with_seed(seed);
    let mut remote = Remote::start(binary(), 0.1, None);
    let mut studio = Studio::builder()
        .no_simulator()
        .base_url(&remote.url())
        .binary(binary())
        .image_defaults()
        .inbox("settle: 100ms")
        .inbox("pair_wait: 50ms")
        .inbox("scan_interval: 100ms")
        .runway("poll_interval: 20ms")
        .open();
    let watcher = Watcher::start(&studio.outbox(""));
    let (mut book, mut doubts, mut tally) = (Book::default(), Doubts::default(), Tally::default());
    let mut open = 0;
    for _ in 0..kills {
        if rng.f64() < 0.15 {
            remote.set_faults(&trouble(&mut rng));
        }
        studio.spawn();
        let end = Instant::now() + Duration::from_millis(lifetime(&mut rng));
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(Duration::from_millis(rng.u64(1..40))));
            if open < MOST_OPEN && rng.f64() < 0.4 {
                let pieces = some_pieces(&mut rng, life, book.drops());
                drop_pieces(&studio, &mut book, &pieces);
                open += 1;
            }
        }
        studio.kill9();
        let jobs = studio.jobs();
        doubts.at_a_kill(&jobs);
        tally.met(&jobs);
        let inbox = std::fs::read_dir(studio.inbox("")).unwrap().count();
        open = inbox
            + jobs
                .iter()
                .filter(|job| !job.has_ended() && job.state() != "in_doubt")
                .count();
    }
    remote.set_faults(&[]);
    studio.start();
    let settled = settle(
        &studio,
        &mut book,
        &mut || remote.api(),
        &mut doubts,
        PATIENCE,
        &|_| false,
    );
    tally.verdict = watcher.stop();
    if let Err(words) = settled {
        tally.verdict.breach(Promise::Abandoned, words);
    }
    let api = remote.api();
    tally.verdict.join(audit(
        &studio,
        &book,
        &api,
        Mode {
            leftovers: false,
            ..Mode::default()
        },
    ));
    doubts.judge(&book, &api, &mut tally.verdict);
    tally.doubts = doubts.count();
    tally.jobs = tally.verdict.done + tally.verdict.failed;
    if !tally.verdict.is_clean() {
        eprintln!(
            "life {life} of seed {seed}: {}\n{}",
            tally.verdict,
            studio.report()
        );
    }
    tally
}

impl Tally {
    fn met(&mut self, jobs: &[Job]) {
        self.kills += 1;
        let mut states: Vec<&str> = jobs
            .iter()
            .filter(|job| !job.has_ended() && job.state() != "in_doubt")
            .map(Job::state)
            .collect();
        states.sort_unstable();
        states.dedup();
        if states.is_empty() {
            self.idle += 1;
        }
        for state in states {
            *self.met.entry(state.to_owned()).or_default() += 1;
        }
    }
}

/// How long a daemon lives, in milliseconds: a start takes some ten of them, the way of a job some two hundred.
fn lifetime(rng: &mut Rng) -> u64 {
    match rng.u32(..100) {
        0..15 => rng.u64(8..30),
        15..55 => rng.u64(30..90),
        55..85 => rng.u64(90..170),
        _ => rng.u64(170..260),
    }
}

/// A drop: a picture with its sidecar, a prompt alone, a picture alone, a large one with its sidecar, or nonsense.
fn some_pieces(rng: &mut Rng, life: u64, number: usize) -> Vec<Piece> {
    let mark = format!("kill {life} drop {number}");
    let folder = ["", "", "shoes/", "deep/er/"][rng.usize(..4)];
    let name = format!("{folder}{life}-{number}");
    let ask = match rng.u32(..100) {
        0..4 => " [[fail INTERNAL.BAD_OUTPUT.CODE01]]",
        4..6 => " [[fail SAFETY.INPUT.TEXT]]",
        6..8 => " [[fail ASSET.INVALID]]",
        8..16 => " [[slow 0.4]]",
        16..30 => " [[slow 0]]",
        _ => "",
    };
    let prompt = format!("{mark}{ask}");
    match rng.u32(..100) {
        0..35 => vec![
            film(format!("{name}.jpg.yaml"), &prompt),
            picture(format!("{name}.jpg"), &mark),
        ],
        35..65 => vec![words(format!("{name}.yaml"), &prompt)],
        65..85 => vec![picture(format!("{name}.jpg"), &mark)],
        85..96 => vec![
            film(format!("{name}.jpg.yaml"), &prompt),
            large_picture(format!("{name}.jpg"), &mark),
        ],
        _ => vec![Piece {
            path: format!("{name}.yaml"),
            bytes: format!("endpoint: text_to_video\nprompt: {mark}\nwhat: {number}\n")
                .into_bytes(),
            key: Some(mark),
        }],
    }
}

/// What goes wrong at the API for a while.
fn trouble(rng: &mut Rng) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut rule = |method: &str, path: &str, probability: f64, action: Action| {
        rules.push(Rule {
            when: Match {
                method: Some(method.to_owned()),
                path: Some(path.to_owned()),
                ..Match::default()
            },
            times: None,
            probability: Some(probability),
            action,
        });
    };
    let status = |code| Action::Status {
        code,
        body: None,
        headers: BTreeMap::new(),
    };
    let fails = |code: &str| Action::TaskFails {
        code: code.to_owned(),
        message: None,
        charged: None,
    };
    // A quiet time now and then, so that the rest is met by kills alone.
    let storm = [0.0, 0.5, 1.0, 1.0, 2.0][rng.usize(..5)];
    for path in ["/v1/image_to_video", "/v1/text_to_video"] {
        rule("POST", path, 0.02 * storm, Action::ResetBefore);
        rule("POST", path, 0.02 * storm, Action::ResetAfter);
        rule("POST", path, 0.01 * storm, status(429));
        rule("POST", path, 0.01 * storm, status(503));
        rule("POST", path, 0.02 * storm, status(500));
        rule(
            "POST",
            path,
            0.01 * storm,
            Action::Garbage {
                code: 200,
                html: rng.bool(),
            },
        );
        rule("POST", path, 0.01 * storm, Action::NoId);
        rule("POST", path, 0.03 * storm, fails("INTERNAL"));
        rule("POST", path, 0.02 * storm, fails("SAFETY.OUTPUT.VIDEO"));
        let ms = rng.u64(20..200);
        rule("POST", path, 0.2 * storm, Action::Slow { ms });
    }
    rule("GET", "/v1/tasks/", 0.03 * storm, status(500));
    rule("GET", "/v1/tasks/", 0.02 * storm, Action::ResetBefore);
    rule(
        "GET",
        "/v1/tasks/",
        0.02 * storm,
        Action::Garbage {
            code: 200,
            html: true,
        },
    );
    rule("POST", "/v1/uploads", 0.05 * storm, status(503));
    rule("POST", "/_storage", 0.1 * storm, Action::ResetAfter);
    rule("POST", "/_storage", 0.3 * storm, Action::Slow { ms: 60 });
    rule(
        "GET",
        "/_storage/output",
        0.06 * storm,
        Action::Truncate {
            bytes: rng.u64(..2_000),
        },
    );
    rule("GET", "/_storage/output", 0.04 * storm, Action::Expire);
    rule(
        "GET",
        "/_storage/output",
        0.03 * storm,
        Action::CorruptLength,
    );
    rule("GET", "/_storage/output", 0.03 * storm, Action::ResetBefore);
    rule(
        "GET",
        "/_storage/output",
        0.2 * storm,
        Action::Slow { ms: 30 },
    );
    rules
}
