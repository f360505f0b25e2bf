//! Markers by which programs say that a file is finished, and sidecars that are corrected after a mistake.

use std::fs;

use crate::support::{Builder, Studio, jpeg, media, text};

/// Nothing but a marker makes a file finished within a test's time.
fn slow_to_settle() -> Builder {
    Studio::builder()
        .image_defaults()
        .inbox("settle: 1h")
        .inbox("pair_wait: 0s")
        .inbox("watch: scan")
}

#[test]
fn row_03_a_marker_says_that_a_file_is_finished_and_travels_with_it() {
    let studio = slow_to_settle().run();
    studio.write_in_place("cat.jpg", jpeg("cat"));
    studio.wait_reason("cat.jpg", "still being written");
    studio.write_in_place("cat.jpg.done", "");
    studio.wait_done("cat.jpg");
    assert_eq!(
        studio.tree(),
        [
            "originals/cat.jpg",
            "originals/cat.jpg.done",
            "outbox/cat.mp4",
            "outbox/cat.mp4.yaml"
        ]
    );
    // It is no input of the request.
    let record = studio.record("cat.mp4");
    assert_eq!(record["inputs"].as_array().unwrap().len(), 1, "{record}");
}

#[test]
fn row_03_a_marker_without_its_file_waits_and_says_for_what() {
    let studio = slow_to_settle().run();
    studio.drop_file("cat.jpg.done", "");
    studio.wait_reason("cat.jpg.done", "cat.jpg is finished, which is not here");
    studio.drop_file("cat.jpg", jpeg("cat"));
    studio.wait_done("cat.jpg");
}

#[test]
fn where_markers_are_required_nothing_is_taken_before_its_own() {
    let studio = Studio::builder()
        .image_defaults()
        .inbox("done_marker: required")
        .inbox("settle: 100ms")
        .inbox("pair_wait: 0s")
        .run();
    studio.drop_file("cat.jpg", jpeg("cat"));
    studio.wait_reason("cat.jpg", "for its marker cat.jpg.done");
    let words =
        "endpoint: text_to_video\nmodel: veo3.1\nratio: \"1280:720\"\nduration: 4\nprompt: storm\n";
    studio.drop_file("storm.yaml", words);
    studio.wait_reason("storm.yaml", "for its marker storm.yaml.done");
    // A sidecar beside its medium needs none.
    studio.drop_file("dog.jpg.yaml", "prompt: runs\n");
    studio.wait_reason("dog.jpg.yaml", "for media");
    studio.drop_file("dog.jpg", jpeg("dog"));
    studio.wait_reason("dog.jpg", "for its marker dog.jpg.done");
    assert!(studio.submissions().is_empty());
    for name in ["cat.jpg.done", "dog.jpg.done", "storm.yaml.done"] {
        studio.drop_file(name, "");
    }
    for input in ["cat.jpg", "dog.jpg", "storm.yaml"] {
        studio.wait_done(input);
    }
    assert_eq!(studio.submissions().len(), 3);
}

#[test]
fn a_corrected_sidecar_that_is_dropped_lets_its_job_go_on_by_itself() {
    for name in ["cat.jpg.yaml", "cat.yaml"] {
        let studio = Studio::builder().image_defaults().run();
        studio.drop_file(name, "pormpt: A cat\n");
        studio.drop_file("cat.jpg", jpeg("cat"));
        let failed = studio.wait_failed("cat.jpg");
        let note = studio.note("cat.jpg");
        assert!(note.contains("drop it into the inbox"), "{note}");
        studio.drop_file(name, "prompt: A cat\n");
        let done = studio.wait_for("the job goes on", |studio| {
            studio.job("cat.jpg").filter(|job| job.state() == "done")
        });
        assert_eq!(done.id(), failed.id());
        assert_eq!(studio.submission().body.unwrap()["promptText"], "A cat");
        assert_eq!(studio.jobs().len(), 1, "{}", studio.report());
        // The old text is not lost, and says what became of it.
        let old = fs::read(studio.failed(name)).unwrap();
        assert_eq!(text(&old), "pormpt: A cat\n");
        assert!(studio.note(name).contains("not used any more"));
        assert!(studio.originals(name).is_file());
    }
}

#[test]
fn a_correction_that_would_do_without_its_picture_is_not_sent_without_it() {
    let studio = Studio::builder().inbox("pair_wait: 300ms").run();
    let sidecar =
        |key: &str| format!("model: veo3.1_fast\n{key}: A cat\nratio: \"1280:720\"\nduration: 4\n");
    studio.drop_file("cat.jpg", jpeg("cat"));
    studio.drop_file("cat.yaml", sidecar("pormptText"));
    let failed = studio.wait_failed("cat.jpg");
    studio.drop_file("cat.yaml", sidecar("promptText"));
    let done = studio.wait_for("the job goes on", |studio| {
        studio.job("cat.jpg").filter(|job| job.state() == "done")
    });
    assert_eq!(done.id(), failed.id());
    assert_eq!(studio.submission().path, "/v1/image_to_video");
    assert_eq!(studio.jobs().len(), 1, "{}", studio.report());
    // Where no job failed over it, the same sidecar alone is a job of its own.
    studio.drop_file("dog.yaml", sidecar("promptText"));
    studio.wait_done("dog.yaml");
}

#[test]
fn a_correction_waits_for_a_new_medium_first_and_takes_that() {
    let studio = Studio::builder()
        .image_defaults()
        .inbox("pair_wait: 2s")
        .run();
    studio.drop_file("cat.jpg", jpeg("old"));
    studio.drop_file("cat.jpg.yaml", "pormpt: A cat\n");
    studio.wait_failed("cat.jpg");
    studio.drop_file("cat.jpg.yaml", "prompt: A cat\n");
    studio.wait_reason("cat.jpg.yaml", "for media");
    studio.drop_file("cat.jpg", jpeg("new"));
    studio.wait_for("the new picture is done", |studio| {
        studio.originals("cat.jpg").is_file().then_some(())
    });
    assert_eq!(fs::read(studio.originals("cat.jpg")).unwrap(), jpeg("new"));
    assert_eq!(fs::read(studio.failed("cat.jpg")).unwrap(), jpeg("old"));
    assert_eq!(studio.submissions().len(), 1);
}

#[test]
fn a_sidecar_of_the_same_name_brings_nothing_back_that_was_submitted() {
    let refused = taxiway::simulator::Action::Status {
        code: 400,
        body: None,
        headers: std::collections::BTreeMap::new(),
    };
    let rule = crate::support::fault("/v1/image_to_video", 1, refused);
    let studio = Studio::builder()
        .image_defaults()
        .inbox("pair_wait: 100ms")
        .simulator(|options| options.faults.push(rule))
        .run();
    studio.drop_file("cat.jpg.yaml", "prompt: A cat\n");
    studio.drop_file("cat.jpg", jpeg("cat"));
    studio.wait_failed("cat.jpg");
    studio.drop_file("cat.jpg.yaml", "prompt: Another cat\n");
    studio.wait_reason("cat.jpg.yaml", "for media");
    // Another job comes and goes meanwhile, so the inbox has been looked at.
    studio.drop_file("dog.png", media("picture.png"));
    studio.wait_done("dog.png");
    assert!(studio.failed("cat.jpg").is_file());
    assert_eq!(studio.submissions().len(), 2);
}
