//! Every rule on a small trace that keeps it and on ones that break it.

use std::path::PathBuf;

use super::rules::{Places, breaches};
use super::trace::{Op, What};

fn places() -> Places {
    Places {
        root: "/r".into(),
        inbox: "/r/inbox".into(),
        working: "/r/working".into(),
        outbox: "/r/outbox".into(),
        originals: "/r/originals".into(),
        failed: "/r/failed".into(),
        journal: "/r/state/journal.sqlite".into(),
    }
}

/// A line of a little language: `commit moved`, `sync /r/outbox`, `rename /a /b`, and so on; each is over before the next
/// begins.
fn ops(script: &str) -> Vec<Op> {
    let mut all = Vec::new();
    let mut add = |what| {
        let at = all.len();
        all.push(Op {
            begin: at,
            end: at,
            what,
        });
    };
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let words: Vec<&str> = line.split(' ').collect();
        let path = |index: usize| PathBuf::from(words[index]);
        let wal = || PathBuf::from("/r/state/journal.sqlite-wal");
        match words[0] {
            "commit" => {
                let text = match words[1] {
                    "insert" => "{\"id\":\"job0\"}".to_owned(),
                    word => format!("job0 {{\"event\":\"{word}\"}}"),
                };
                add(What::Write(wal(), text.into_bytes()));
                add(What::Sync(wal()));
            }
            "commit-unsynced" => {
                let text = format!("job0 {{\"event\":\"{}\"}}", words[1]);
                add(What::Write(wal(), text.into_bytes()));
            }
            "create" => add(What::Create(path(1))),
            "write" => add(What::Write(path(1), b"x".to_vec())),
            "sync" => add(What::Sync(path(1))),
            "rename" => add(What::Rename(path(1), path(2))),
            "link" => add(What::Link(path(1), path(2))),
            "unlink" => add(What::Unlink(path(1))),
            "mkdir" => add(What::Mkdir(path(1))),
            "send" => add(What::Send(format!("POST {} HTTP/1.1", words[1]).into())),
            other => panic!("{other}"),
        }
    }
    all
}

/// A delivered job, as it has to be.
const DELIVERED: &str = "
    mkdir /r/state
    sync /r
    create /r/state/journal.sqlite
    create /r/state/journal.sqlite-wal
    sync /r/state
    commit insert
    rename /r/inbox/a.jpg /r/working/a.jpg
    sync /r/working
    sync /r/inbox
    commit moved
    commit started
    commit intent
    send /v1/image_to_video
    commit accepted
    commit succeeded
    create /r/outbox/.taxiway-job0-0.part
    write /r/outbox/.taxiway-job0-0.part
    sync /r/outbox/.taxiway-job0-0.part
    sync /r/outbox
    commit fetched
    commit named
    create /r/outbox/.taxiway-1-0.part
    write /r/outbox/.taxiway-1-0.part
    sync /r/outbox/.taxiway-1-0.part
    rename /r/outbox/.taxiway-1-0.part /r/outbox/a.mp4.yaml
    sync /r/outbox
    rename /r/outbox/.taxiway-job0-0.part /r/outbox/a.mp4
    sync /r/outbox
    commit delivered
    commit moves_chosen
    rename /r/working/a.jpg /r/originals/a.jpg
    sync /r/originals
    sync /r/working
    commit closed
    write /r/state/journal.sqlite
    sync /r/state/journal.sqlite
    unlink /r/state/journal.sqlite-wal";

/// The end of a job whose input is copied.
const COPIED: &str = "
    commit moves_chosen
    mkdir /r/originals/sub
    sync /r/originals
    create /r/originals/sub/.taxiway-1-0.part
    write /r/originals/sub/.taxiway-1-0.part
    sync /r/originals/sub/.taxiway-1-0.part
    rename /r/originals/sub/.taxiway-1-0.part /r/originals/sub/a.jpg
    sync /r/originals/sub
    unlink /r/working/a.jpg
    sync /r/working
    commit closed";

/// The take of a job where the filesystem needs a hard link.
const LINKED: &str = "
    commit insert
    link /r/inbox/a.jpg /r/working/a.jpg
    sync /r/working
    unlink /r/inbox/a.jpg
    sync /r/working
    sync /r/inbox
    commit moved";

const EVENTS: [&str; 11] = [
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

fn found(script: &str, events: &[&str]) -> Vec<String> {
    breaches(&ops(script), &places(), "job0", events)
}

/// The script without its `nth` line (from 0) that is this one.
fn without(script: &str, line: &str, nth: usize) -> String {
    let mut seen = 0;
    let mut dropped = false;
    let kept: Vec<&str> = script
        .lines()
        .filter(|one| {
            let hit = one.trim() == line && {
                seen += 1;
                seen == nth + 1
            };
            dropped |= hit;
            !hit
        })
        .collect();
    assert!(dropped, "{line} is not there");
    kept.join("\n")
}

/// The script with a line moved in front of another.
fn moved(script: &str, line: &str, before: &str) -> String {
    without(script, line, 0).replacen(before, &format!("{line}\n{before}"), 1)
}

#[track_caller]
fn breaks(script: &str, words: &str) {
    let events: &[&str] = &[];
    let found = found(script, events);
    assert!(
        found.iter().any(|breach| breach.contains(words)),
        "{words:?} is not in {found:#?}"
    );
}

#[test]
fn the_right_order_is_no_breach() {
    assert_eq!(found(DELIVERED, &EVENTS), [""; 0]);
    assert_eq!(found(COPIED, &["moves_chosen", "closed"]), [""; 0]);
    assert_eq!(found(LINKED, &["insert", "moved"]), [""; 0]);
}

#[test]
fn an_event_that_is_missing_not_synced_or_out_of_order_is_a_breach() {
    let missing = found(&without(DELIVERED, "commit started", 0), &EVENTS);
    assert_eq!(missing, ["the event started never became durable"]);
    let unsynced = "commit insert\ncommit-unsynced moved";
    assert_eq!(
        found(unsynced, &["insert", "moved"]),
        ["the event moved never became durable"]
    );
    let turned = found(
        "commit insert\ncommit moved\ncommit started",
        &["insert", "started", "moved"],
    );
    assert_eq!(
        turned,
        ["the event moved was durable before its predecessor"]
    );
}

#[test]
fn a_name_before_the_content_is_a_breach() {
    let words = "got its name before its content was durable";
    breaks(
        &without(DELIVERED, "sync /r/outbox/.taxiway-job0-0.part", 0),
        words,
    );
    breaks(
        &without(DELIVERED, "sync /r/outbox/.taxiway-1-0.part", 0),
        words,
    );
    breaks(
        &without(COPIED, "sync /r/originals/sub/.taxiway-1-0.part", 0),
        words,
    );
    // Synced, and then written once more.
    breaks(
        &moved(
            DELIVERED,
            "sync /r/outbox/.taxiway-1-0.part",
            "write /r/outbox/.taxiway-1-0.part",
        ),
        words,
    );
    breaks(
        "create /r/failed/a.jpg.error.txt",
        "was made under its name",
    );
}

#[test]
fn a_take_out_of_order_is_a_breach() {
    breaks(
        &moved(
            DELIVERED,
            "rename /r/inbox/a.jpg /r/working/a.jpg",
            "commit insert",
        ),
        "taken before the job was durable",
    );
    breaks(
        &without(DELIVERED, "sync /r/inbox", 0),
        "moved was committed before the folder /r/inbox was durable",
    );
    breaks(
        &without(DELIVERED, "sync /r/working", 0),
        "moved was committed before the folder /r/working was durable",
    );
    breaks(
        &without(DELIVERED, "commit moved", 0),
        "and moved never became durable",
    );
}

#[test]
fn a_request_before_its_intent_is_a_breach() {
    breaks(
        &moved(DELIVERED, "send /v1/image_to_video", "commit intent"),
        "the request left before its intent was durable",
    );
    breaks(
        "commit-unsynced intent\nsend /v1/image_to_video",
        "the request left before its intent was durable",
    );
    breaks(
        &moved(DELIVERED, "commit accepted", "send /v1/image_to_video"),
        "noted before the request had left",
    );
    assert_eq!(found("send /v1/uploads", &[]), [""; 0]);
}

#[test]
fn a_fetch_that_is_not_durable_is_a_breach() {
    breaks(
        &without(DELIVERED, "sync /r/outbox/.taxiway-job0-0.part", 0),
        "fetched was committed before /r/outbox/.taxiway-job0-0.part was durable",
    );
    breaks(
        &without(DELIVERED, "sync /r/outbox", 0),
        "fetched was committed before the name",
    );
}

#[test]
fn a_delivery_out_of_order_is_a_breach() {
    let named = without(DELIVERED, "commit named", 0);
    breaks(&named, "/r/outbox/a.mp4 got its name before the choice");
    breaks(
        &named,
        "/r/outbox/a.mp4.yaml got its name before the choice",
    );
    breaks(
        &without(DELIVERED, "sync /r/outbox", 2),
        "delivered was committed before the folder /r/outbox",
    );
    breaks(
        &moved(
            DELIVERED,
            "rename /r/outbox/.taxiway-job0-0.part /r/outbox/a.mp4",
            "rename /r/outbox/.taxiway-1-0.part /r/outbox/a.mp4.yaml",
        ),
        "got its name before its record was durable",
    );
    breaks(
        &without(DELIVERED, "sync /r/outbox", 1),
        "got its name before its record was durable",
    );
}

#[test]
fn a_close_out_of_order_is_a_breach() {
    let rename = "rename /r/working/a.jpg /r/originals/a.jpg";
    breaks(
        &moved(DELIVERED, rename, "commit moves_chosen"),
        "was moved before the choice",
    );
    breaks(
        &without(DELIVERED, "sync /r/originals", 0),
        "closed was committed before the folder /r/originals",
    );
    breaks(
        &without(DELIVERED, "sync /r/working", 1),
        "closed was committed before the folder /r/working",
    );
    breaks(
        &without(COPIED, "sync /r/working", 0),
        "closed was committed before the removal of /r/working/a.jpg",
    );
    breaks(
        "unlink /r/working/a.jpg\nsync /r/working\ncommit moves_chosen\ncommit closed",
        "removed before the choice",
    );
}

#[test]
fn a_folder_that_a_power_cut_takes_away_is_a_breach() {
    breaks(
        &without(DELIVERED, "sync /r", 0),
        "before the new folder /r/state was durable",
    );
    breaks(
        &without(COPIED, "sync /r/originals", 0),
        "before the new folder /r/originals/sub was durable",
    );
}

#[test]
fn a_journal_that_a_power_cut_takes_away_is_a_breach() {
    breaks(
        &without(DELIVERED, "sync /r/state", 0),
        "a job was noted before the name /r/state/journal.sqlite-wal was durable",
    );
}

#[test]
fn a_name_that_goes_before_its_replacement_is_a_breach() {
    breaks(
        &without(COPIED, "sync /r/originals/sub", 0),
        "went before its copy",
    );
    breaks(
        &without(LINKED, "sync /r/working", 0),
        "went before its other name",
    );
    breaks(
        &without(DELIVERED, "sync /r/state/journal.sqlite", 0),
        "the log went before the database was durable",
    );
}
