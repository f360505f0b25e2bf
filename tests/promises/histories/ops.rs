//! What can happen in a history, and its generator.

use std::collections::BTreeMap;

use fastrand::Rng;
use taxiway::simulator::{Action, Match, Rule};

/// What a person drops as one piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A sidecar that stands for itself.
    Words,
    /// A picture alone: the defaults say what becomes of it.
    Picture,
    /// A picture and its sidecar.
    Pair,
    /// The same, with a picture that is uploaded first.
    LargePair,
    /// A sidecar with mistakes.
    Wrong,
}

/// One thing that happens. Numbers are those of a history's pieces of work.
#[derive(Debug, Clone)]
pub enum Op {
    /// Drop all of it.
    Drop(usize),
    /// Drop its sidecar only.
    DropSidecar(usize),
    /// Drop its medium only.
    DropMedium(usize),
    /// Take away what still lies in the inbox, and drop a new version of that.
    Edit(usize),
    /// Give what still lies in the inbox another name.
    Rename(usize),
    /// Take away what still lies in the inbox.
    Delete(usize),
    /// Drop again what was taken away, as it was.
    DropAgain(usize),
    /// Run a job that failed again, if there is one.
    Retry,
    /// Cancel a job that is open, if there is one.
    Cancel,
    /// `kill -9`.
    Crash,
    /// Start the daemon, if none runs.
    Start,
    /// End the daemon cleanly, and start it.
    Restart,
    /// Change the configuration, and SIGHUP.
    Reload,
    /// The API takes another key only.
    KeyRefused,
    /// It takes any again.
    KeyMended,
    /// These rules are in force from now on.
    Trouble(Vec<Rule>),
    /// No rule is.
    Calm,
    /// Output URLs are good for so many seconds.
    Links(f64),
    /// The disk with everything on it is full.
    Full,
    /// It has room again.
    Room,
    /// The daemon may not write to a folder.
    Forbid(&'static str),
    /// It may again.
    Permit,
}

/// What a machine has for a history, beyond the ordinary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Means {
    /// A small disk of its own that can be filled.
    pub disk: bool,
    /// The daemon runs as another user than the test.
    pub user: bool,
}

/// A history: pieces of work, and what happens, each with a pause before it in milliseconds.
pub fn generate(rng: &mut Rng, means: Means) -> (Vec<Kind>, Vec<(u64, Op)>) {
    let kinds: Vec<Kind> = (0..rng.usize(4..=10))
        .map(|_| match rng.u32(..100) {
            0..25 => Kind::Words,
            25..50 => Kind::Picture,
            50..82 => Kind::Pair,
            82..95 => Kind::LargePair,
            _ => Kind::Wrong,
        })
        .collect();
    // Each piece is dropped somewhere in the history; all else comes in between.
    let mut ops: Vec<Op> = Vec::new();
    for (piece, kind) in kinds.iter().enumerate() {
        let late = matches!(kind, Kind::Pair | Kind::LargePair) && rng.f64() < 0.5;
        let what = match (late, rng.bool()) {
            (false, _) => vec![Op::Drop(piece)],
            (true, true) => vec![Op::DropSidecar(piece), Op::DropMedium(piece)],
            (true, false) => vec![Op::DropMedium(piece), Op::DropSidecar(piece)],
        };
        insert(rng, &mut ops, 0, what);
    }
    for _ in 0..rng.usize(1..6) {
        let piece = rng.usize(..kinds.len());
        // Mostly just after the drop, while the daemon looks at it.
        let from = ops
            .iter()
            .position(|op| matches!(op, Op::Drop(p) | Op::DropSidecar(p) | Op::DropMedium(p) if *p == piece))
            .map_or(0, |at| at + 1);
        let what = match rng.u32(..4) {
            0 => vec![Op::Edit(piece)],
            1 => vec![Op::Rename(piece)],
            2 => vec![Op::Delete(piece), Op::DropAgain(piece)],
            _ => vec![Op::Edit(piece), Op::Rename(piece)],
        };
        if rng.bool() {
            let from = from.min(ops.len());
            for (next, op) in what.into_iter().enumerate() {
                ops.insert((from + next).min(ops.len()), op);
            }
        } else {
            insert(rng, &mut ops, from, what);
        }
    }
    for _ in 0..rng.usize(1..5) {
        let what = match rng.u32(..100) {
            0..40 => vec![Op::Crash, Op::Start],
            40..50 => vec![Op::Restart],
            50..60 => vec![Op::Reload],
            60..68 => vec![Op::KeyRefused, Op::KeyMended],
            68..80 => match (means.disk, rng.bool()) {
                (true, true) => vec![Op::Full, Op::Crash, Op::Start, Op::Room],
                (true, false) => vec![Op::Full, Op::Room],
                (false, _) => vec![Op::Restart],
            },
            80..92 => {
                let folder = ["outbox", "failed", "working", "originals"][rng.usize(..4)];
                match (means.user, rng.f64() < 0.3) {
                    (true, true) => vec![Op::Forbid(folder), Op::Crash, Op::Start, Op::Permit],
                    (true, false) => vec![Op::Forbid(folder), Op::Permit],
                    (false, _) => vec![Op::Crash, Op::Start],
                }
            }
            92..96 => vec![Op::Retry],
            _ => vec![Op::Cancel],
        };
        insert(rng, &mut ops, 0, what);
    }
    if rng.f64() < 0.8 {
        let rules = trouble(rng);
        insert(rng, &mut ops, 0, vec![Op::Trouble(rules), Op::Calm]);
    }
    if rng.f64() < 0.1 {
        insert(rng, &mut ops, 0, vec![Op::Links(0.05), Op::Links(60.0)]);
    }
    let timed = ops
        .into_iter()
        .map(|op| {
            let pause = match rng.u32(..10) {
                0..4 => 0,
                4..8 => rng.u64(1..30),
                _ => rng.u64(30..150),
            };
            (pause, op)
        })
        .collect();
    (kinds, timed)
}

/// Puts some operations into a list, in their order, at random places from `from` on.
fn insert(rng: &mut Rng, ops: &mut Vec<Op>, from: usize, what: Vec<Op>) {
    let mut from = from.min(ops.len());
    for op in what {
        let at = rng.usize(from..=ops.len());
        ops.insert(at, op);
        from = at + 1;
    }
}

/// One to three things that go wrong at the API.
fn trouble(rng: &mut Rng) -> Vec<Rule> {
    const STARTS: [&str; 2] = ["/v1/image_to_video", "/v1/text_to_video"];
    const CODES: [&str; 6] = [
        "INTERNAL",
        "INTERNAL.BAD_OUTPUT.CODE01",
        "SAFETY.INPUT.TEXT",
        "SAFETY.OUTPUT.VIDEO",
        "ASSET.INVALID",
        "SOMETHING.NEW",
    ];
    let status = |code| Action::Status {
        code,
        body: None,
        headers: BTreeMap::new(),
    };
    (0..rng.usize(1..4))
        .map(|_| {
            let start = STARTS[rng.usize(..2)];
            let (method, path, action) = match rng.u32(..20) {
                0 => ("POST", start, status(400)),
                1 => ("POST", start, status(429)),
                2 => ("POST", start, status([502, 503, 504][rng.usize(..3)])),
                3 => ("POST", start, status([500, 408][rng.usize(..2)])),
                4 => ("POST", start, Action::ResetBefore),
                5 | 6 => ("POST", start, Action::ResetAfter),
                7 => (
                    "POST",
                    start,
                    Action::Slow {
                        ms: rng.u64(20..250),
                    },
                ),
                8 => (
                    "POST",
                    start,
                    Action::Garbage {
                        code: 200,
                        html: rng.bool(),
                    },
                ),
                9 => ("POST", start, Action::NoId),
                10..14 => {
                    let code = CODES[rng.usize(..CODES.len())].to_owned();
                    (
                        "POST",
                        start,
                        Action::TaskFails {
                            code,
                            message: None,
                            charged: None,
                        },
                    )
                }
                14 => ("GET", "/v1/tasks/", status([500, 503, 429][rng.usize(..3)])),
                15 => (
                    "GET",
                    "/v1/tasks/",
                    Action::Garbage {
                        code: 200,
                        html: true,
                    },
                ),
                16 => (
                    "GET",
                    "/_storage/output",
                    Action::Truncate {
                        bytes: rng.u64(..3_000),
                    },
                ),
                17 => ("GET", "/_storage/output", Action::Expire),
                18 => ("GET", "/_storage/output", Action::CorruptLength),
                _ => (
                    "POST",
                    "/_storage",
                    [Action::ResetAfter, status(503)][rng.usize(..2)].clone(),
                ),
            };
            Rule {
                when: Match {
                    method: Some(method.to_owned()),
                    path: Some(path.to_owned()),
                    ..Match::default()
                },
                times: Some(rng.u64(1..4)),
                probability: Some([0.5, 1.0][rng.usize(..2)]),
                action,
            }
        })
        .collect()
}
