//! The process is ended at each failure point, and in turn each point's step fails: whatever happens, the studio comes to
//! the end that it comes to undisturbed.

mod count;
mod scenarios;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use taxiway::failpoint::{Point, Request};

use crate::api::Api;
use crate::audit::{Mode, Promise, Verdict, audit};
use crate::support::{Job, PATIENCE, Studio};

use scenarios::{Person, Scenario};

/// Studios at a time in one test. Most of a case is waiting.
const AT_ONCE: usize = 6;
/// How often one point of a question that is asked again and again is tried.
const OF_QUESTIONS: usize = 2;

/// What happens at the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Kill,
    Error,
}

/// One disturbance.
#[derive(Clone)]
struct Case {
    scenario: &'static Scenario,
    point: String,
    nth: usize,
    how: How,
}

impl Case {
    fn word(&self) -> String {
        let how = match self.how {
            How::Kill => "kill",
            How::Error => "error",
        };
        format!("{}#{}={how}", self.point, self.nth)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.scenario.name, self.word())
    }
}

/// A point that was passed, and whether its step can fail.
struct Pass {
    point: String,
    can_fail: bool,
}

fn open(scenario: &Scenario, person: &mut Person) -> Studio {
    let builder = Studio::builder()
        .task_seconds(0.05)
        .runway("poll_interval: 20ms");
    let builder = builder
        .inbox("settle: 100ms")
        .inbox("pair_wait: 10ms")
        .inbox("scan_interval: 100ms");
    let mut studio = (scenario.build)(builder).open();
    (scenario.before)(&studio);
    for file in (scenario.dropped)() {
        person.drops(&studio, file);
    }
    let trace = studio.path("state.trace");
    studio.set_env("TAXIWAY_FAILPOINT_TRACE", trace.to_str());
    studio
}

fn passes(studio: &Studio) -> Vec<Pass> {
    let trace = fs::read_to_string(studio.path("state.trace")).unwrap_or_default();
    let pass = |line: &str| {
        let (how, point) = line.split_once(' ').unwrap();
        Pass {
            point: point.to_owned(),
            can_fail: how == "error",
        }
    };
    trace.lines().map(pass).collect()
}

/// Goes on until all jobs are at their ends (`true`), or the daemon has ended: killed, or because it cannot start. Then it
/// says why, and whoever started it starts it again.
fn drive(studio: &mut Studio, scenario: &Scenario, person: &mut Person) -> bool {
    let limit = Instant::now() + 3 * PATIENCE;
    loop {
        if let Some(jobs) = person.look(studio) {
            (scenario.person)(person, studio, &jobs);
            if ended_as(&jobs, scenario.ends) {
                return true;
            }
        } else if let Some(status) = studio.ended() {
            let was_ready = studio.log().contains("ready: ");
            assert!(
                status.signal() == Some(9) || !was_ready,
                "the daemon ended: {status}\n{}",
                studio.report()
            );
            return false;
        }
        assert!(
            Instant::now() < limit,
            "{} does not come to its end\n{}",
            scenario.name,
            studio.report()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ended_as(jobs: &[Job], ends: &[(&str, &str)]) -> bool {
    let mut found: Vec<_> = jobs.iter().map(|job| (job.input(), job.state())).collect();
    let mut wanted = ends.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    found == wanted && !wanted.is_empty()
}

/// Compares everything with the promises, and with how it is undisturbed.
fn judge(studio: &mut Studio, scenario: &Scenario, person: &Person) -> Verdict {
    let mode = Mode {
        deletes: scenario
            .files
            .iter()
            .all(|file| file.starts_with("outbox/")),
        ..Mode::default()
    };
    let mut verdict = audit(studio, &person.book, &Api::from(studio.seen()), mode);
    verdict.breaches.retain(|(promise, words)| match promise {
        // The person decided against these.
        Promise::Abandoned => !person.dismissed.iter().any(|task| words.contains(task)),
        _ => true,
    });
    verdict.assert_clean(studio);
    let mut files = studio.tree();
    files.retain(|name| !name.starts_with("state."));
    let seen = studio.seen();
    let spent = 10_000 - seen.credit_balance;
    // A task that was cancelled twice is gone.
    let started: HashSet<&str> = seen
        .requests
        .iter()
        .filter_map(|seen| seen.task.as_deref())
        .collect();
    assert_eq!(
        (files, started.len(), spent),
        (
            scenario.files.iter().map(|&file| file.to_owned()).collect(),
            scenario.tasks,
            scenario.spent
        ),
        "files, tasks and credits\n{}",
        studio.report()
    );
    let status = studio.stop();
    assert!(status.success(), "{status}\n{}", studio.report());
    verdict
}

/// The failure that a scenario always has, as `TAXIWAY_FAILPOINT` takes it.
fn always(scenario: &Scenario) -> Option<String> {
    let (point, nth) = scenario.always?;
    Some(format!("{point}#{nth}=error"))
}

/// Runs a scenario undisturbed, to its end and the daemon's; answers with the points that it passes.
fn undisturbed(scenario: &Scenario, prepare: impl FnOnce(&mut Studio)) -> (Studio, Vec<Pass>) {
    let mut person = Person::default();
    let mut studio = open(scenario, &mut person);
    let always = always(scenario);
    studio.set_env("TAXIWAY_FAILPOINT", always.as_deref());
    prepare(&mut studio);
    studio.spawn();
    let over = drive(&mut studio, scenario, &mut person);
    assert!(over, "{}: the daemon ended", scenario.name);
    let passes = passes(&studio);
    judge(&mut studio, scenario, &person);
    (studio, passes)
}

/// The disturbances that a scenario allows.
fn cases(scenario: &'static Scenario) -> Vec<Case> {
    let (_, passes) = undisturbed(scenario, |_| {});
    let mut counts: HashMap<String, (usize, usize)> = HashMap::new();
    let mut cases = Vec::new();
    let mut begun = scenario.from.is_none();
    let questions: Vec<String> = [Request::Poll, Request::Organization]
        .into_iter()
        .flat_map(|request| [Point::BeforeRequest(request), Point::AfterRequest(request)])
        .map(|point| point.to_string())
        .collect();
    for Pass { point, can_fail } in passes {
        begun = begun || scenario.from.is_some_and(|from| from.to_string() == point);
        let (nth, tried) = counts.entry(point.clone()).or_default();
        *nth += 1;
        let is_question = questions.contains(&point);
        if !begun || (is_question && *tried == OF_QUESTIONS) {
            continue;
        }
        *tried += 1;
        let case = |how| Case {
            scenario,
            point: point.clone(),
            nth: *nth,
            how,
        };
        cases.push(case(How::Kill));
        cases.extend(can_fail.then(|| case(How::Error)));
    }
    assert!(begun, "{} never passes {:?}", scenario.name, scenario.from);
    cases
}

/// Runs a scenario with one disturbance. Answers with whether the point was reached.
fn run(case: &Case) -> bool {
    let scenario = case.scenario;
    let mut person = Person::default();
    let mut studio = open(scenario, &mut person);
    let points = match always(scenario) {
        None => case.word(),
        Some(always) => format!("{always};{}", case.word()),
    };
    studio.set_env("TAXIWAY_FAILPOINT", Some(&points));
    studio.spawn();
    let mut over = drive(&mut studio, scenario, &mut person);
    let reached = match case.how {
        How::Kill => !over,
        How::Error => {
            let all = passes(&studio);
            let passed = all.iter().filter(|pass| pass.point == case.point).count();
            passed >= case.nth
        }
    };
    if !over {
        studio.set_env("TAXIWAY_FAILPOINT", None);
        studio.spawn();
        over = drive(&mut studio, scenario, &mut person);
        assert!(over, "the daemon ended again\n{}", studio.report());
    }
    judge(&mut studio, scenario, &person);
    reached
}

/// Disturbs scenarios at each of their points.
fn disturb(what: &str, scenarios: &'static [Scenario]) -> Vec<Case> {
    let start = Instant::now();
    let all: Vec<Case> = scenarios.iter().flat_map(cases).collect();
    let next = AtomicUsize::new(0);
    let missed = Mutex::new(Vec::new());
    let broken = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match catch_unwind(AssertUnwindSafe(|| run(case))) {
                        Ok(true) => {}
                        Ok(false) => missed.lock().unwrap().push(case),
                        Err(_) => {
                            eprintln!("broken: {case}");
                            broken.lock().unwrap().push(case);
                        }
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    let broken = broken.into_inner().unwrap();
    let points: HashSet<&str> = all.iter().map(|case| case.point.as_str()).collect();
    let kills = all.iter().filter(|case| case.how == How::Kill).count();
    println!(
        "{what}: {} points, {kills} kills, {} errors ({} not reached) in {:.0} s: {} broken",
        points.len(),
        all.len() - kills,
        missed.len(),
        start.elapsed().as_secs_f64(),
        broken.len()
    );
    let list = |cases: &[&Case]| {
        let lines: Vec<String> = cases.iter().map(|case| format!("  {case}\n")).collect();
        lines.concat()
    };
    print!("{}", list(&missed));
    assert!(broken.is_empty(), "broken:\n{}", list(&broken));
    assert!(
        missed.len() * 20 <= all.len(),
        "too many points were not reached:\n{}",
        list(&missed)
    );
    all
}

#[test]
fn deliveries_survive_a_kill_and_an_error_at_every_point() {
    disturb("deliveries", scenarios::DELIVERIES);
}

#[test]
fn refusals_survive_a_kill_and_an_error_at_every_point() {
    disturb("refusals", scenarios::REFUSALS);
}

#[test]
fn what_a_person_decides_survives_a_kill_and_an_error_at_every_point() {
    disturb("persons", scenarios::PERSONS);
}
