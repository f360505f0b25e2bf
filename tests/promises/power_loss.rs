//! What a power cut leaves behind: the order write → sync file → rename → sync folder → journal commit, checked from the
//! system calls of the real binary. A test that kills the process cannot see a sync that is missing.

mod rules;
#[cfg(test)]
mod rules_tests;
mod trace;

use std::fs;
use std::process::Command;

use taxiway::simulator::Action;

use self::rules::{Places, breaches};
use crate::harness::{Builder, Studio, fault, jpeg};
use crate::mount::{Mount, is_root};

/// A studio whose daemon's calls are noted; `None` where that is not possible here.
fn traced(builder: Builder, more: &[&str]) -> Option<Studio> {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("left out: strace is not installed");
        return None;
    }
    // With -D the daemon is the child that signals go to, and strace stands aside.
    let calls = format!("trace={}", trace::CALLS);
    let mut words = vec![
        "strace",
        "-D",
        "-f",
        "-tt",
        "-y",
        "-s",
        "65536",
        "-o",
        "{root}/trace",
        "-e",
        &calls,
    ];
    words.extend(more);
    Some(builder.wrapper(&words).open())
}

/// Ends the daemon and checks all that it did for its only job.
fn check(mut studio: Studio, input: &str, expected: &[&str]) {
    let job = studio.job(input).unwrap();
    let status = studio.stop();
    assert!(status.success(), "{status}\n{}", studio.report());
    let trace = studio.wait_for("the trace is whole", |studio| {
        let text = fs::read(studio.path("trace")).ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let last = text.lines().last()?.contains("+++ exited with 0 +++");
        (last && text.ends_with('\n')).then_some(text)
    });
    let ops = trace::parse(&trace);
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

#[test]
fn a_delivered_job_with_a_sidecar_survives_a_power_cut_anywhere() {
    let Some(mut studio) = traced(Studio::builder().image_defaults(), &[]) else {
        return;
    };
    studio.start();
    studio.drop_file("red.jpg.yaml", "prompt: slow pan\n");
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    check(studio, "red.jpg", &DELIVERED);
}

#[test]
fn a_job_in_a_new_subfolder_survives_a_power_cut_anywhere() {
    let Some(mut studio) = traced(Studio::builder().image_defaults(), &[]) else {
        return;
    };
    studio.start();
    studio.drop_file("shoes/new/red.jpg", jpeg("red"));
    studio.wait_done("shoes/new/red.jpg");
    check(studio, "shoes/new/red.jpg", &DELIVERED);
}

#[test]
fn a_job_that_is_deleted_at_its_end_survives_a_power_cut_anywhere() {
    let builder = Studio::builder()
        .image_defaults()
        .inbox("on_success: delete");
    let Some(mut studio) = traced(builder, &[]) else {
        return;
    };
    studio.start();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    assert!(studio.copies_of(&jpeg("red")).is_empty());
    check(studio, "red.jpg", &DELIVERED);
}

#[test]
fn a_failed_job_and_its_note_survive_a_power_cut_anywhere() {
    let refused = Action::Status {
        code: 400,
        body: None,
        headers: Default::default(),
    };
    let builder = Studio::builder().image_defaults().simulator(|options| {
        options.faults = vec![fault("/v1/image_to_video", 1, refused)];
    });
    let Some(mut studio) = traced(builder, &[]) else {
        return;
    };
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

#[test]
fn a_cancelled_job_survives_a_power_cut_anywhere() {
    let builder = Studio::builder().image_defaults().task_seconds(30.0);
    let Some(mut studio) = traced(builder, &[]) else {
        return;
    };
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

#[test]
fn inputs_that_are_copied_to_another_filesystem_survive_a_power_cut_anywhere() {
    if !is_root() {
        return;
    }
    let Some(mut studio) = traced(Studio::builder().image_defaults(), &[]) else {
        return;
    };
    let _originals = Mount::tmpfs(&studio.path("originals"), "8m");
    let _outbox = Mount::tmpfs(&studio.path("outbox"), "8m");
    studio.start();
    studio.drop_file("shoes/red.jpg.yaml", "prompt: slow pan\n");
    studio.drop_file("shoes/red.jpg", jpeg("red"));
    studio.wait_done("shoes/red.jpg");
    assert!(studio.originals("shoes/red.jpg").is_file());
    check(studio, "shoes/red.jpg", &DELIVERED);
}

#[test]
fn where_names_need_hard_links_a_job_survives_a_power_cut_anywhere() {
    // As some network shares answer, which do not know the flag that refuses to replace a file.
    let inject = ["-e", "inject=renameat2:error=EINVAL"];
    let Some(mut studio) = traced(Studio::builder().image_defaults(), &inject) else {
        return;
    };
    studio.start();
    studio.drop_file("shoes/red.jpg", jpeg("red"));
    studio.wait_done("shoes/red.jpg");
    check(studio, "shoes/red.jpg", &DELIVERED);
}
