//! Every durable boundary and every request has its failure points, and every point is tried: what is added without is found
//! here.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::process::Command;

use taxiway::failpoint::{Point, Request};
use taxiway::job::Event;

use super::scenarios::{self, Scenario};
use super::{Pass, undisturbed};
use crate::support::{Studio, text};

/// The calls that change what is there after a crash.
const CALLS: &str = "trace=open,openat,openat2,creat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,\
                     mkdir,mkdirat,truncate,fsync,fdatasync,sync_file_range,write";

/// What lies in the state directory and needs no points of its own.
const ALLOWED: [(&str, &str); 4] = [
    (
        "state/journal.sqlite",
        "SQLite's own; each commit has its points",
    ),
    (
        "state/lock",
        "only the lock on it counts, which ends with the process",
    ),
    ("state/control.sock", "made anew at each start"),
    ("state.trace", "the points themselves"),
];

/// Points that no scenario passes, and why.
const UNTRIED: [(Point, &str); 5] = [
    (
        Point::Link,
        "only where the filesystem cannot rename without replacing",
    ),
    (
        Point::BeforeCommit("released"),
        "nothing in the program lifts a hold that way",
    ),
    (
        Point::BeforeCommit("not_taken"),
        "only where a file is exchanged in the moment of a crash, which `histories` and `inbox::take` try",
    ),
    (
        Point::AfterCommit("not_taken"),
        "only where a file is exchanged in the moment of a crash, which `histories` and `inbox::take` try",
    ),
    (
        Point::AfterCommit("released"),
        "nothing in the program lifts a hold that way",
    ),
];

fn scenarios() -> Vec<&'static Scenario> {
    [
        scenarios::DELIVERIES,
        scenarios::REFUSALS,
        scenarios::PERSONS,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Does something with each scenario, all at a time: most of it is waiting.
fn each<T: Send>(act: impl Fn(&'static Scenario) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let act = &act;
        let threads: Vec<_> = scenarios()
            .into_iter()
            .map(|scenario| scope.spawn(move || act(scenario)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// The points that stand directly before a call.
fn guards(call: &str, arguments: &str) -> &'static [Point] {
    match call {
        "rename" | "renameat" | "renameat2" => &[
            Point::BeforeRename,
            Point::BeforeReplace,
            Point::ProbeRename,
        ],
        "link" | "linkat" => &[Point::Link],
        "unlinkat" if arguments.contains("AT_REMOVEDIR") => &[Point::RemoveFolder],
        "unlink" | "unlinkat" => &[Point::Remove, Point::ProbeRemove],
        "rmdir" => &[Point::RemoveFolder],
        "mkdir" | "mkdirat" => &[Point::MakeFolder],
        "fsync" | "fdatasync" => &[Point::SyncFile, Point::SyncFolder],
        "open" | "openat" | "openat2" | "creat" => {
            &[Point::NewPart, Point::OpenPart, Point::ProbeCreate]
        }
        _ => &[],
    }
}

/// What a call is about, as a path below the studio's folder; `None` if it lies elsewhere.
fn place(root: &Path, call: &str, arguments: &str) -> Option<String> {
    let path = match call {
        "fsync" | "fdatasync" | "sync_file_range" | "write" => {
            arguments.split_once('<')?.1.split_once('>')?.0.to_owned()
        }
        _ => {
            let name = arguments.split('"').nth(1)?;
            let folder = || {
                arguments
                    .split_once('<')
                    .and_then(|(_, rest)| rest.split_once('>'))
            };
            match name.starts_with('/') {
                true => name.to_owned(),
                false => format!("{}/{name}", folder()?.0),
            }
        }
    };
    let below = Path::new(&path).strip_prefix(root).ok()?;
    Some(below.to_string_lossy().into_owned())
}

/// Calls in a trace that no point stands before, and how many one does.
fn unguarded(root: &Path, trace: &str) -> (Vec<String>, usize) {
    let mut last: HashMap<&str, String> = HashMap::new();
    let mut missing = Vec::new();
    let mut guarded = 0;
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let Some((call, arguments)) = rest.trim_start().split_once('(') else {
            continue;
        };
        // What a call that was interrupted in the trace comes back with has another form, and is none.
        let Some(place) = place(root, call, arguments) else {
            continue;
        };
        if call == "write" {
            if place == "state.trace" {
                let text = arguments.split('"').nth(1).unwrap_or_default();
                let point = text
                    .trim_end_matches("\\n")
                    .split_once(' ')
                    .map(|(_, point)| point);
                last.insert(thread, point.unwrap_or_default().to_owned());
            }
            continue;
        }
        let opens_to_read = call.starts_with("open")
            && !["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"]
                .iter()
                .any(|flag| arguments.contains(flag));
        // SQLite syncs the folder of its files, too.
        let is_sqlite_s_folder = place == "state" && call.ends_with("sync");
        let point = last.get(thread).cloned().unwrap_or_default();
        if opens_to_read || ALLOWED.iter().any(|(path, _)| place.starts_with(path)) {
            continue;
        }
        if guards(call, arguments)
            .iter()
            .any(|guard| guard.to_string() == point)
        {
            guarded += 1;
        } else if !is_sqlite_s_folder {
            missing.push(format!("{place}: {line}"));
        }
        // One point stands for one call.
        last.remove(thread);
    }
    (missing, guarded)
}

#[test(needs = [STRACE])]
fn every_durable_step_has_a_point_directly_before_it() {
    let guarded: usize = each(|scenario| {
        let words = [
            "strace",
            "-D",
            "-f",
            "-y",
            "-s",
            "200",
            "-o",
            "{root}/state.calls",
            "-e",
            CALLS,
        ];
        let (studio, _) = undisturbed(scenario, |studio| studio.set_wrapper(&words));
        let trace = studio.wait_for("the trace is whole", |studio| {
            let trace = fs::read_to_string(studio.path("state.calls")).ok()?;
            trace.contains("+++ exited with 0 +++").then_some(trace)
        });
        let (missing, guarded) = unguarded(&studio.root, &trace);
        assert!(
            missing.is_empty(),
            "{}: steps without a failure point:\n{}",
            scenario.name,
            missing.join("\n")
        );
        guarded
    })
    .into_iter()
    .sum();
    assert!(guarded > 300, "only {guarded} steps were seen");
    println!("{guarded} durable steps, each with its point");
}

#[test]
fn a_step_without_a_point_is_found() {
    let trace = concat!(
        "7 write(3</r/state.trace>, \"error files.rename.before\\n\", 26) = 26\n",
        "8 write(3</r/state.trace>, \"error files.sync\\n\", 17) = 17\n",
        "7 renameat2(AT_FDCWD</r>, \"/r/inbox/a\", AT_FDCWD</r>, \"/r/working/a\", RENAME_NOREPLACE <unfinished ...>\n",
        "8 fsync(9</r/outbox/.p>) = 0\n",
        "7 <... renameat2 resumed>) = 0\n",
        "7 fsync(9</r/working>) = 0\n",
        "8 openat(AT_FDCWD</r>, \"outbox/x\", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0666) = 9</r/outbox/x>\n",
        "8 openat(AT_FDCWD</r>, \"/r/outbox/x\", O_RDONLY|O_CLOEXEC) = 9</r/outbox/x>\n",
        "8 openat(AT_FDCWD</r>, \"/elsewhere\", O_RDWR|O_CREAT) = 9</elsewhere>\n",
        "8 unlink(\"/r/state/control.sock\") = 0\n",
    );
    let (missing, guarded) = unguarded(Path::new("/r"), trace);
    assert_eq!((missing.len(), guarded), (2, 2), "{missing:#?}");
    assert!(missing[0].starts_with("working: ") && missing[1].starts_with("outbox/x: "));
}

/// All points that there are.
fn all_points() -> Vec<Point> {
    let commits = Event::POINTS
        .iter()
        .copied()
        .chain(["insert", "upload", "migration"]);
    let commits = commits.flat_map(|word| [Point::BeforeCommit(word), Point::AfterCommit(word)]);
    let requests = Request::ALL
        .into_iter()
        .flat_map(|request| [Point::BeforeRequest(request), Point::AfterRequest(request)]);
    let plain = Point::PLAIN.iter().copied();
    plain.chain(commits).chain(requests).collect()
}

#[test]
fn every_point_is_passed_by_some_scenario_and_every_request_has_two() {
    let all = each(|scenario| {
        let (studio, passes) = undisturbed(scenario, |_| {});
        for end in ["before", "after"] {
            let start = format!("http.{end}/");
            let points = passes
                .iter()
                .filter(|pass| pass.point.starts_with(&start))
                .count();
            // Where a request was reset there is an answer of a kind, too: that there is none.
            assert_eq!(requests(&studio), points, "{}: {start}", scenario.name);
        }
        passes
    });
    let passed: BTreeSet<String> = all
        .into_iter()
        .flatten()
        .map(|Pass { point, .. }| point)
        .collect();
    let is_untried = |point: &Point| UNTRIED.iter().any(|(untried, _)| untried == point);
    let (untried, tried): (Vec<Point>, Vec<Point>) = all_points()
        .into_iter()
        .partition(|point| is_untried(point));
    let is_passed = |point: &Point| passed.contains(&point.to_string());
    let missing: Vec<&Point> = tried.iter().filter(|point| !is_passed(point)).collect();
    assert!(missing.is_empty(), "no scenario passes {missing:?}");
    let wrong: Vec<&Point> = untried.iter().filter(|point| is_passed(point)).collect();
    assert!(wrong.is_empty(), "these are passed after all: {wrong:?}");
    println!("{} points, all of them passed", passed.len());
}

/// How many requests the simulator saw.
fn requests(studio: &Studio) -> usize {
    studio.seen().requests.len()
}

#[test(needs = [RELEASE_BINARY])]
fn a_release_binary_has_no_points() {
    let binary = std::env::var_os("TAXIWAY_TEST_RELEASE").unwrap();
    let names = Point::PLAIN
        .iter()
        .map(Point::to_string)
        .chain(["http.before/", "commit.before/", "TAXIWAY_FAILPOINT"].map(str::to_owned));
    let output = Command::new("grep")
        .args(["--text", "--only-matching", "--fixed-strings"])
        .args(names.map(|name| format!("--regexp={name}")))
        .arg("--")
        .arg(binary)
        .output()
        .unwrap();
    // That nothing was found, and neither that something was nor that the file cannot be read.
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
}
