//! Random `kill -9` of the daemon at every moment of jobs' lives, with drops going on and the API in trouble.
//!
//! `TAXIWAY_KILLS=20000` makes a long run, `TAXIWAY_SEED=N` repeats the stimuli of one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fastrand::Rng;
use taxiway::simulator::{Action, Match, Rule};

use crate::api::Remote;
use crate::audit::{Mode, Promise, Verdict, audit};
use crate::book::Book;
use crate::doubts::Doubts;
use crate::support::{Job, Studio};
use crate::watcher::Watcher;
use crate::world::{
    Piece, binary, drop_pieces, film, large_picture, number, picture, seed, settle, words,
};

/// Kills in the run that every change goes through.
const KILLS: u64 = 1_000;
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

/// How long between two looks at whether a daemon is ready.
const LOOK: Duration = Duration::from_millis(3);
/// Bounds of what a job is taken to need.
const SHORTEST_JOB: Duration = Duration::from_millis(150);
const LONGEST_JOB: Duration = Duration::from_secs(3);
/// Lives that may be added until each state was met.
const MORE_LIVES: u64 = 8;
/// The states that kills have to meet.
const STATES: [&str; 6] = [
    "queued",
    "uploading",
    "submitting",
    "running",
    "downloading",
    "delivering",
];

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
    let lives = kills.div_ceil(KILLS_OF_ONE);
    let mut total = Tally::default();
    live_all(seed, 0..lives, kills, &mut total);
    // Which moments a kill meets is a matter of luck, less so with more of them.
    let mut more = lives..lives + MORE_LIVES;
    while kills >= KILLS && total.verdict.is_clean() && !total.has_met_all() {
        let Some(life) = more.next() else { break };
        live_all(seed, life..life + 1, (life + 1) * KILLS_OF_ONE, &mut total);
    }
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
        for state in STATES {
            assert!(total.met.contains_key(state), "no kill met {state}");
        }
        assert!(
            total.idle * 2 < total.kills,
            "{} of {} kills met nothing in motion",
            total.idle,
            total.kills
        );
    }
}

/// Lives through these numbers, several at once. Together with those before them they have so many kills.
fn live_all(seed: u64, lives: Range<u64>, kills: u64, total: &mut Tally) {
    let next = Mutex::new(lives);
    let total = Mutex::new(total);
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
}

impl Tally {
    fn has_met_all(&self) -> bool {
        STATES.iter().all(|state| self.met.contains_key(*state))
    }

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
    let mut pace = Pace::measure(&mut studio, &mut book);
    let mut open = 0;
    for _ in 0..kills {
        if rng.f64() < 0.15 {
            remote.set_faults(&trouble(&mut rng));
        }
        let from = studio.log().len();
        studio.spawn();
        let (begin, end) = pace.choose_lifetime(&mut rng);
        let mut is_ready = false;
        let mut next_drop = begin;
        loop {
            let now = Instant::now();
            if now >= end {
                break;
            }
            if !is_ready && studio.is_ready_since(from) {
                is_ready = true;
                pace.saw_start(begin.elapsed());
            }
            if now >= next_drop {
                next_drop = now + Duration::from_millis(rng.u64(1..40));
                if open < MOST_OPEN && rng.f64() < 0.4 {
                    let pieces = some_pieces(&mut rng, life, book.drops());
                    drop_pieces(&studio, &mut book, &pieces);
                    open += 1;
                }
            }
            let next = if is_ready { next_drop } else { now + LOOK };
            std::thread::sleep(next.min(end).saturating_duration_since(Instant::now()));
        }
        if !is_ready {
            pace.saw_no_start(end - begin);
        }
        studio.kill9();
        let jobs = studio.jobs();
        doubts.at_a_kill(&jobs);
        let is_idle = !tally.met(&jobs);
        pace.saw_kill(is_idle && open > 0);
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
    /// Counts the states that a kill met. Answers whether anything was in motion.
    fn met(&mut self, jobs: &[Job]) -> bool {
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
        let is_moving = !states.is_empty();
        for state in states {
            *self.met.entry(state.to_owned()).or_default() += 1;
        }
        is_moving
    }
}

/// How fast this machine is now, which decides how long a daemon lives: a busy one, or a build without optimisations, takes ten
/// times as long for a start as another, and a daemon that never gets beyond its start proves nothing.
struct Pace {
    /// From the start of the process until it is ready.
    start: Duration,
    /// What a job takes from its drop to its delivery.
    job: Duration,
}

impl Pace {
    /// Measures some starts, the last with a job.
    fn measure(studio: &mut Studio, book: &mut Book) -> Pace {
        let mut start = Duration::ZERO;
        for _ in 0..3 {
            if studio.runs() {
                studio.kill9();
            }
            let begin = Instant::now();
            studio.start();
            start = start.max(begin.elapsed());
        }
        let begin = Instant::now();
        drop_pieces(
            studio,
            book,
            &[words("measured.yaml".to_owned(), "measured")],
        );
        studio.wait_for("the first job is delivered", |studio| {
            studio.outbox("measured.mp4").exists().then_some(())
        });
        let job = begin.elapsed();
        // Else it would be in motion at every kill that follows before a start is over.
        studio.wait_done("measured.yaml");
        studio.kill9();
        Pace { start, job }
    }

    /// When the next daemon starts, which is now, and when it is killed.
    fn choose_lifetime(&self, rng: &mut Rng) -> (Instant, Instant) {
        let between = |low: f64, high: f64, rng: &mut Rng| low + rng.f64() * (high - low);
        let life = match rng.u32(..100) {
            0..15 => self.start.mul_f64(between(0.3, 1.1, rng)),
            15..55 => self.start + self.job.mul_f64(between(0.0, 0.3, rng)),
            55..85 => self.start + self.job.mul_f64(between(0.3, 0.7, rng)),
            _ => self.start + self.job.mul_f64(between(0.7, 1.1, rng)),
        };
        let begin = Instant::now();
        (begin, begin + life)
    }

    /// A start took so long: the estimate follows.
    fn saw_start(&mut self, took: Duration) {
        self.start = self.start.mul_f64(0.8) + took.mul_f64(0.2);
    }

    /// A daemon was killed after so long, and was not ready.
    fn saw_no_start(&mut self, after: Duration) {
        if after > self.start {
            self.start = after.mul_f64(1.1);
        }
    }

    /// A kill met something in motion, or nothing although there were jobs.
    fn saw_kill(&mut self, met_nothing: bool) {
        let factor = if met_nothing { 1.03 } else { 0.99 };
        self.job = self.job.mul_f64(factor).clamp(SHORTEST_JOB, LONGEST_JOB);
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
