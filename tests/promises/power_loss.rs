//! What a power cut leaves behind: the order write → sync file → rename → sync folder → journal commit, checked from the
//! system calls of the real binary. A test that kills the process cannot see a sync that is missing.

mod rules;
#[cfg(test)]
mod rules_tests;
mod trace;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use taxiway::failpoint::Point;
use taxiway::simulator::Action;

use self::rules::{Places, breaches};
use self::trace::{Op, What};
use crate::mount::Mount;
use crate::support::{Builder, Studio, fault, jpeg};

/// A studio whose daemon's calls are noted.
fn traced(builder: Builder, more: &[&str]) -> Studio {
    let mut studio = builder.open();
    follow(&mut studio, more);
    studio
}

/// From now on the daemon's calls are noted. With -D the daemon is the child that signals go to, and strace stands aside.
fn follow(studio: &mut Studio, more: &[&str]) {
    let calls = format!("trace={}", trace::CALLS);
    let words = "strace -D -f -tt -y -s 65536 -o {root}/trace -e";
    let mut words: Vec<&str> = words.split(' ').collect();
    words.push(&calls);
    words.extend(more);
    studio.set_wrapper(&words);
}

/// The next daemon ends at the `nth` call of this kind on this path, before the call is done.
fn cut_at(studio: &mut Studio, call: &str, path: &str, nth: u32) {
    let path = format!("{{root}}/{path}");
    let calls = format!("trace={call}");
    let inject = format!("inject={call}:error=EIO:signal=KILL:when={nth}");
    let words = "strace -D -f -o {root}/first -P";
    let mut words: Vec<&str> = words.split(' ').collect();
    words.extend([path.as_str(), "-e", &calls, "-e", &inject]);
    studio.set_wrapper(&words);
}

/// Ends the daemon and answers with all that it did.
fn operations(studio: &mut Studio) -> (String, Vec<Op>) {
    let status = studio.stop();
    assert!(status.success(), "{status}\n{}", studio.report());
    let trace = studio.wait_for("the trace is whole", |studio| {
        let text = fs::read(studio.path("trace")).ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let last = text.lines().last()?.contains("+++ exited with 0 +++");
        (last && text.ends_with('\n')).then_some(text)
    });
    let ops = trace::parse(&trace);
    (trace, ops)
}

/// Ends the daemon and checks all that it did for its only job.
fn check(mut studio: Studio, input: &str, expected: &[&str]) {
    let job = studio.job(input).unwrap();
    let (trace, ops) = operations(&mut studio);
    let places = Places {
        root: studio.root.clone(),
        inbox: studio.path("inbox"),
        working: studio.path("working"),
        outbox: studio.path("outbox"),
        originals: studio.path("originals"),
        failed: studio.path("failed"),
        journal: studio.path("state/journal.sqlite"),
    };
    let found = breaches(&ops, &places, job.id(), expected);
    if !found.is_empty()
        && let Some(keep) = std::env::var_os("TAXIWAY_KEEP_TRACE")
    {
        fs::write(keep, &trace).unwrap();
    }
    assert!(
        found.is_empty(),
        "a power cut could break what was promised:\n{}\n(TAXIWAY_KEEP_TRACE=FILE keeps the trace)",
        found.join("\n")
    );
}

const DELIVERED: [&str; 11] = [
    "insert",
    "moved",
    "started",
    "intent",
    "accepted",
    "succeeded",
    "fetched",
    "named",
    "delivered",
    "moves_chosen",
    "closed",
];

#[test(needs = [STRACE])]
fn a_delivered_job_with_a_sidecar_survives_a_power_cut_anywhere() {
    let mut studio = traced(Studio::builder().image_defaults(), &[]);
    studio.start();
    studio.drop_file("red.jpg.yaml", "prompt: slow pan\n");
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    check(studio, "red.jpg", &DELIVERED);
}

#[test(needs = [STRACE])]
fn a_job_in_a_new_subfolder_survives_a_power_cut_anywhere() {
    let mut studio = traced(Studio::builder().image_defaults(), &[]);
    studio.start();
    studio.drop_file("shoes/new/red.jpg", jpeg("red"));
    studio.wait_done("shoes/new/red.jpg");
    check(studio, "shoes/new/red.jpg", &DELIVERED);
}

#[test(needs = [STRACE])]
fn a_job_that_is_deleted_at_its_end_survives_a_power_cut_anywhere() {
    let builder = Studio::builder()
        .image_defaults()
        .inbox("on_success: delete");
    let mut studio = traced(builder, &[]);
    studio.start();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    assert!(studio.copies_of(&jpeg("red")).is_empty());
    check(studio, "red.jpg", &DELIVERED);
}

#[test(needs = [STRACE])]
fn a_failed_job_and_its_note_survive_a_power_cut_anywhere() {
    let refused = Action::Status {
        code: 400,
        body: None,
        headers: Default::default(),
    };
    let builder = Studio::builder().image_defaults().simulator(|options| {
        options.faults = vec![fault("/v1/image_to_video", 1, refused)];
    });
    let mut studio = traced(builder, &[]);
    studio.start();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_failed("red.jpg");
    assert!(!studio.note("red.jpg").is_empty());
    let events = [
        "insert",
        "moved",
        "started",
        "intent",
        "fails",
        "moves_chosen",
        "closed",
    ];
    check(studio, "red.jpg", &events);
}

#[test(needs = [STRACE])]
fn a_cancelled_job_survives_a_power_cut_anywhere() {
    let builder = Studio::builder().image_defaults().task_seconds(30.0);
    let mut studio = traced(builder, &[]);
    studio.start();
    studio.drop_file("red.jpg", jpeg("red"));
    let job = studio.wait_state("red.jpg", "running");
    studio.cli_ok(&["cancel", job.id()]);
    studio.wait_state("red.jpg", "cancelled");
    let events = [
        "insert",
        "moved",
        "started",
        "intent",
        "accepted",
        "cancel_asked",
        "cancelled",
        "moves_chosen",
        "closed",
    ];
    check(studio, "red.jpg", &events);
}

#[test(needs = [ROOT, MOUNT, STRACE])]
fn inputs_that_are_copied_to_another_filesystem_survive_a_power_cut_anywhere() {
    let mut studio = traced(Studio::builder().image_defaults(), &[]);
    let _originals = Mount::tmpfs(&studio.path("originals"), "8m");
    let _outbox = Mount::tmpfs(&studio.path("outbox"), "8m");
    studio.start();
    studio.drop_file("shoes/red.jpg.yaml", "prompt: slow pan\n");
    studio.drop_file("shoes/red.jpg", jpeg("red"));
    studio.wait_done("shoes/red.jpg");
    assert!(studio.originals("shoes/red.jpg").is_file());
    check(studio, "shoes/red.jpg", &DELIVERED);
}

#[test(needs = [STRACE])]
fn where_names_need_hard_links_a_job_survives_a_power_cut_anywhere() {
    // As some network shares answer, which do not know the flag that refuses to replace a file.
    let inject = ["-e", "inject=renameat2:error=EINVAL"];
    let mut studio = traced(Studio::builder().image_defaults(), &inject);
    studio.start();
    studio.drop_file("shoes/red.jpg", jpeg("red"));
    studio.wait_done("shoes/red.jpg");
    check(studio, "shoes/red.jpg", &DELIVERED);
}

/// What a daemon that was killed between a rename and its sync leaves is not durable: the next one has to sync it before it
/// says so, although there is nothing left to rename.
#[test(needs = [STRACE])]
fn what_a_killed_daemon_renamed_is_synced_by_the_next_one() {
    // The folder, the rename into it after which the daemon ends, and what relies on its being durable. The second rename is
    // that of the record.
    for (folder, nth, event) in [
        ("working", 1, "moved"),
        ("outbox", 3, "delivered"),
        ("originals", 4, "closed"),
    ] {
        let mut studio = traced(Studio::builder().image_defaults(), &[]);
        let point = format!("{}#{nth}=kill", Point::AfterRename);
        studio.set_env("TAXIWAY_FAILPOINT", Some(&point));
        studio.start();
        studio.drop_file("red.jpg", jpeg("red"));
        let status = studio.wait_end(Duration::from_secs(20));
        assert_eq!(status.signal(), Some(9), "{folder}: {}", studio.report());
        studio.set_env("TAXIWAY_FAILPOINT", None);
        follow(&mut studio, &[]);
        studio.start();
        studio.wait_done("red.jpg");
        assert_eq!(studio.submissions().len(), 1, "{}", studio.report());
        let path = studio.path(folder);
        let (_, ops) = operations(&mut studio);
        let text = format!("\"event\":\"{event}\"");
        let commit = ops.iter().find(|op| {
            matches!(&op.what, What::Write(_, bytes) if crate::support::contains(bytes, text.as_bytes()))
        });
        let commit = commit.unwrap_or_else(|| panic!("{event} is not there"));
        let synced = ops.iter().any(|op| {
            matches!(&op.what, What::Sync(synced) if *synced == path) && op.end < commit.begin
        });
        assert!(synced, "{folder} was not synced before {event}");
    }
}

/// The same where the inputs are copied: the copy's name and content are made durable before the source goes.
#[test(needs = [ROOT, MOUNT, STRACE])]
fn what_a_killed_daemon_copied_is_synced_before_the_source_goes() {
    let mut studio = traced(Studio::builder().image_defaults(), &[]);
    let _originals = Mount::tmpfs(&studio.path("originals"), "8m");
    cut_at(&mut studio, "fsync", "originals", 1);
    studio.start();
    studio.drop_file("red.jpg", jpeg("red"));
    let status = studio.wait_end(Duration::from_secs(20));
    assert_eq!(status.signal(), Some(9), "{}", studio.report());
    assert!(studio.working("red.jpg").is_file() && studio.originals("red.jpg").is_file());
    follow(&mut studio, &[]);
    studio.start();
    studio.wait_done("red.jpg");
    let (source, copy) = (studio.working("red.jpg"), studio.originals("red.jpg"));
    let (_, ops) = operations(&mut studio);
    let gone = ops
        .iter()
        .find(|op| op.what == What::Unlink(source.clone()));
    let gone = gone.unwrap_or_else(|| panic!("{} still lies there", source.display()));
    for path in [copy.as_path(), copy.parent().unwrap()] {
        let sync = What::Sync(path.to_owned());
        assert!(
            ops.iter().any(|op| op.what == sync && op.end < gone.begin),
            "{} was not synced before the source went",
            path.display()
        );
    }
}
