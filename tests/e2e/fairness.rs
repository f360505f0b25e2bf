//! Several inboxes at once: none keeps another waiting, and nothing of theirs gets mixed up.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use taxiway::simulator::Seen;

use crate::support::{Studio, contains, in_memory, jpeg, logged, sha256, text, walk};

/// Tasks of the one model at once.
const AT_ONCE: usize = 2;
/// Files in the inbox that has many.
const MANY: usize = 10_000;

fn is_of(seen: &Seen, words: &str) -> bool {
    seen.body.as_ref().unwrap()["promptImage"] == logged(&jpeg(words))
}

/// Drops a picture into the other inbox; it has to be sent after two turns of the first one at most, and soon.
fn the_other_is_next(studio: &Studio, words: &str) {
    let before = studio.submissions().len();
    let start = Instant::now();
    studio.drop_at(format!("second/inbox/{words}.jpg"), jpeg(words));
    let all = studio.wait_for("the other inbox's picture is sent", |studio| {
        let all = studio.submissions();
        all.iter().any(|seen| is_of(seen, words)).then_some(all)
    });
    let took = start.elapsed();
    let place = all.iter().position(|seen| is_of(seen, words)).unwrap();
    let further = place - before;
    // Those that had their turn when it came, and one more turn.
    assert!(
        further <= 2 * AT_ONCE,
        "{further} others were sent before it, in {took:?}"
    );
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn an_inbox_with_ten_thousand_files_does_not_keep_another_waiting() {
    let mut studio = Studio::builder()
        .below(&in_memory())
        .simulator(|options| options.tier.credit_balance = 10_000_000)
        .runway(&format!("max_in_flight: {AT_ONCE}"))
        .task_seconds(1.0)
        .image_defaults()
        .second_inbox()
        .inbox("pair_wait: 0s")
        .image_defaults()
        .open();
    for number in 0..MANY {
        fs::write(
            studio.inbox(format!("{number}.jpg")),
            jpeg(&number.to_string()),
        )
        .unwrap();
    }
    studio.start();
    // While they are being taken.
    studio.wait_until("the first is sent", |studio| {
        !studio.submissions().is_empty()
    });
    the_other_is_next(&studio, "early");
    assert!(
        fs::read_dir(studio.path("inbox")).unwrap().next().is_some(),
        "all were taken already"
    );
    // When all of them have a place in the queue.
    studio.patience = Duration::from_secs(120);
    studio.wait_until("all are taken", |studio| {
        fs::read_dir(studio.path("inbox")).unwrap().next().is_none()
    });
    the_other_is_next(&studio, "late");
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(folder, &mut |path| found.push(path.to_owned()));
    found.sort();
    found
}

const INPUTS: [&str; 4] = ["red.jpg", "red.jpeg", "shoes/red.jpg", "shoes/new/red.jpg"];

/// Drops the same names into several inboxes, good ones and one that fails; every output, record, original and note has to
/// belong to its own job.
fn nothing_gets_mixed_up(studio: &Studio, inboxes: &[&str], folder_of: impl Fn(&str) -> String) {
    for inbox in inboxes {
        for name in INPUTS {
            studio.drop_at(
                format!("{}/{name}", folder_of(inbox)),
                jpeg(&format!("{inbox} {name}")),
            );
        }
        let bad = format!("{}/shoes/bad.jpg", folder_of(inbox));
        studio.drop_at(format!("{bad}.yaml"), format!("promt: {inbox}\n"));
        studio.drop_at(bad, jpeg(&format!("{inbox} bad")));
    }
    let ended = studio.wait_all_ended(inboxes.len() * (INPUTS.len() + 1));
    let mut outputs = BTreeSet::new();
    for inbox in inboxes {
        for name in INPUTS {
            let mut jobs = ended
                .iter()
                .filter(|job| job.inbox() == *inbox && job.input() == name);
            let (Some(job), None) = (jobs.next(), jobs.next()) else {
                panic!("not one job for {inbox} {name}\n{}", studio.report());
            };
            assert_eq!(job.state(), "done", "{job:?}\n{}", studio.report());
            let [output] = job.outputs().try_into().unwrap();
            let bytes = fs::read(&output).unwrap();
            assert!(contains(&bytes, job.task().as_bytes()), "{job:?}");
            let record = format!("{}.yaml", output.display());
            let record: serde_json::Value =
                serde_yaml::from_str(&fs::read_to_string(record).unwrap()).unwrap();
            assert_eq!(record["job"], job.id());
            assert_eq!(record["task"], job.task());
            assert_eq!(record["output"]["sha256"], sha256(&bytes));
            let own = sha256(&jpeg(&format!("{inbox} {name}")));
            assert_eq!(record["inputs"][0]["sha256"], own, "{record}");
            assert!(outputs.insert(output), "{job:?}");
        }
    }
    // Nothing lies anywhere but these, and all that was dropped is still there.
    for inbox in inboxes {
        for name in INPUTS {
            let copies = studio.copies_of(&jpeg(&format!("{inbox} {name}")));
            assert_eq!(copies.len(), 1, "{copies:?}");
            assert!(copies[0].contains("originals"), "{copies:?}");
        }
        let copies = studio.copies_of(&jpeg(&format!("{inbox} bad")));
        assert_eq!(copies.len(), 1, "{copies:?}");
        // Its note lies beside it under its own name, and so does its sidecar.
        let picture = studio.path(&copies[0]);
        let note = PathBuf::from(format!("{}.error.txt", picture.display()));
        assert!(fs::read_to_string(&note).unwrap().contains("promt"));
        let sidecars = studio.copies_of(format!("promt: {inbox}\n").as_bytes());
        assert_eq!(sidecars.len(), 1, "{sidecars:?}");
        assert_eq!(
            studio.path(&sidecars[0]).parent(),
            picture.parent(),
            "{sidecars:?}"
        );
    }
}

#[test]
fn row_15_several_inboxes_share_an_outbox_and_nothing_gets_mixed_up() {
    let mut builder = Studio::builder().inbox("name: a");
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        if number > 0 {
            builder = builder
                .another_inbox(&format!("{name}/inbox"))
                .inbox(&format!("name: {name}"));
        }
        builder = builder
            .inbox("outbox: shared/outbox")
            .inbox("originals: shared/originals")
            .inbox("failed: shared/failed")
            .image_defaults();
    }
    let studio = builder.run();
    nothing_gets_mixed_up(&studio, &["a", "b", "c"], |name| {
        if name == "a" {
            "inbox".to_owned()
        } else {
            format!("{name}/inbox")
        }
    });
    let films = files(&studio.path("shared/outbox"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "mp4"))
        .count();
    assert_eq!(films, 3 * INPUTS.len());
}

#[test]
fn row_15_the_folders_of_one_inbox_inside_another_are_no_inputs_and_nothing_gets_mixed_up() {
    let studio = Studio::builder()
        .inbox("name: a")
        .inbox("outbox: inbox/_out")
        .image_defaults()
        .another_inbox("b/inbox")
        .inbox("name: b")
        // Inside the other inbox, its outbox inside the other's, too.
        .inbox("working: inbox/deep/_b/working")
        .inbox("outbox: inbox/_out/b")
        .inbox("originals: inbox/_b/originals")
        .inbox("failed: inbox/_b/failed")
        .image_defaults()
        .run();
    nothing_gets_mixed_up(&studio, &["a", "b"], |name| {
        if name == "a" {
            "inbox".to_owned()
        } else {
            format!("{name}/inbox")
        }
    });
}

#[test]
fn an_inbox_inside_another_is_refused_with_both_names() {
    for inner in ["inbox/second", "inbox/_second"] {
        let mut studio = Studio::builder()
            .image_defaults()
            .another_inbox(inner)
            .inbox("name: second")
            .image_defaults()
            .open();
        studio.spawn();
        let status = studio.wait_end(Duration::from_secs(20));
        assert_eq!(status.code(), Some(3), "{}", studio.log());
        let checked = text(&studio.cli(&["check"]).stderr);
        for words in [inner, "inside"] {
            assert!(checked.contains(words), "{words:?} in {checked}");
        }
    }
}
