//! Jobs in doubt: what is told of them, and that a task which was given up can be taken up again.

use std::fs;

use taxiway::simulator::{Action, Change, Rule};

use crate::support::{Job, KEY, Studio, fault, jpeg, text};

/// A studio whose first submission is answered so, with what that leaves in doubt.
fn in_doubt(action: Action) -> (Studio, Job) {
    let studio = Studio::builder().image_defaults().run();
    studio.drop_file("first.jpg", jpeg("first"));
    studio.wait_done("first.jpg");
    studio
        .sim()
        .set_faults(vec![fault("/v1/image_to_video", 1, action)]);
    studio.drop_file("red.jpg", jpeg("red"));
    let job = studio.wait_state("red.jpg", "in_doubt");
    (studio, job)
}

/// What `status JOB` tells once Runway's counters were looked at.
fn told(studio: &Studio, job: &Job) -> String {
    studio.wait_for("the counters were looked at", |studio| {
        let words = studio.cli_ok(&["status", job.id()]);
        words.contains(" now: ").then_some(words)
    })
}

#[test]
fn a_doubt_tells_when_the_request_went_out_what_came_back_whether_the_counters_moved_and_the_ways_out()
 {
    for (action, evidence, came_back) in [
        (
            Action::ResetAfter,
            "was 1 before and is 2 now: it moved",
            "",
        ),
        (
            Action::ResetBefore,
            "was 1 before and is 1 now: it did not move",
            "",
        ),
        (
            Action::Status {
                code: 500,
                body: None,
                headers: Default::default(),
            },
            "was 1 before and is 1 now: it did not move",
            "status 500",
        ),
    ] {
        let (studio, job) = in_doubt(action);
        let words = told(&studio, &job);
        for part in [
            evidence,
            came_back,
            "The request went out after 20",
            "evidence and no proof",
            &format!("taxiway resolve {} --adopt TASK_ID", job.id()),
            &format!("taxiway resolve {} --resubmit", job.id()),
            &format!("taxiway resolve {} --abandon", job.id()),
        ] {
            assert!(words.contains(part), "{part}\n{words}");
        }
        // Who sees only the folder reads the same.
        let note = studio.wait_for("the note tells the same", |studio| {
            let note = fs::read_to_string(studio.working("red.jpg.error.txt")).ok()?;
            note.contains(evidence).then_some(note)
        });
        for part in [
            came_back,
            "--adopt TASK_ID",
            "--resubmit",
            "--abandon",
            job.id(),
        ] {
            assert!(note.contains(part), "{part}\n{note}");
        }
    }
}

#[test]
fn the_counters_are_compared_also_where_the_daemon_was_killed_during_the_submission_and_others_went_on()
 {
    let mut studio = Studio::builder().image_defaults().run();
    studio.drop_file("first.jpg", jpeg("first"));
    studio.wait_done("first.jpg");
    let slow = Action::Slow { ms: 60_000 };
    studio
        .sim()
        .set_faults(vec![fault("/v1/image_to_video", 1, slow)]);
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_until("the request was taken on", |studio| {
        studio
            .submissions()
            .iter()
            .filter(|seen| seen.task.is_some())
            .count()
            == 2
            || studio.seen().tasks.len() == 2
    });
    studio.kill9();
    // What others start meanwhile is not taken for this one's.
    studio.drop_file("second.jpg", jpeg("second"));
    studio.start();
    studio.wait_done("second.jpg");
    let job = studio.wait_state("red.jpg", "in_doubt");
    let words = told(&studio, &job);
    assert!(words.contains("was 1 before and is "), "{words}");
    assert!(words.contains("it moved"), "{words}");
}

#[test]
fn a_task_that_was_given_up_is_taken_up_again_and_delivered() {
    let studio = Studio::builder().image_defaults().task_seconds(0.3).run();
    studio.drop_file("red.jpg", jpeg("red"));
    let task = studio.wait_state("red.jpg", "running").task().to_owned();
    let nothing_known = Action::Status {
        code: 404,
        body: Some(serde_json::json!({"error": "not found"})),
        headers: Default::default(),
    };
    studio
        .sim()
        .set_faults(vec![Rule::on(format!("/v1/tasks/{task}"), nothing_known)]);
    let failed = studio.wait_failed("red.jpg");
    let note = studio.note("red.jpg");
    assert!(note.contains(&format!("--adopt {task}")), "{note}");
    // It is asked for before it is believed.
    let refused = studio.cli(&["resolve", failed.id(), "--adopt", &task]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("knows no task"),
        "{refused:?}"
    );
    studio.sim().set_faults(Vec::new());
    studio.cli_ok(&["resolve", failed.id(), "--adopt", &task]);
    let done = studio.wait_for("it is done", |studio| {
        studio.job("red.jpg").filter(|job| job.state() == "done")
    });
    assert_eq!((done.id(), done.task()), (failed.id(), task.as_str()));
    assert!(studio.outbox("red.mp4").is_file());
    assert!(studio.originals("red.jpg").is_file());
    assert!(!studio.failed("red.jpg.error.txt").exists());
    assert_eq!(studio.submissions().len(), 1);
    assert_eq!(done.charged(), Some(25.0));
}

#[test]
fn a_mended_key_file_is_found_without_a_reload() {
    let mut studio = Studio::builder()
        .simulator(|options| options.key = Some(KEY.to_owned()))
        .key(None)
        .runway("api_key_file: key")
        .image_defaults()
        .open();
    let key = studio.path("key");
    studio.start();
    studio.drop_file("a.jpg", jpeg("a"));
    studio.wait_reason("a.jpg", "for an API key");
    crate::support::put(&key, b"key_old\n");
    // Readable by others is refused; the file is whole before anybody may read it.
    let mode = |mode| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o600);
    studio.wait_reason("a.jpg", "for a valid API key");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    studio.wait_done("a.jpg");
    studio.sim().change(Change::default());
    assert_eq!(
        studio
            .submissions()
            .iter()
            .filter(|seen| seen.task.is_some())
            .count(),
        1
    );
}

#[test]
fn a_file_that_runway_refuses_is_uploaded_anew_the_next_time() {
    let studio = Studio::builder().image_defaults().run();
    let picture = crate::support::large_jpeg("red", 400_000);
    let refusal = Action::Status {
        code: 400,
        body: Some(serde_json::json!({"error": "The asset cannot be read."})),
        headers: Default::default(),
    };
    studio
        .sim()
        .set_faults(vec![fault("/v1/image_to_video", 1, refusal)]);
    studio.drop_file("red.jpg", &picture);
    let failed = studio.wait_failed("red.jpg");
    studio.cli_ok(&["retry", failed.id()]);
    studio.wait_for("it is done", |studio| {
        studio.job("red.jpg").filter(|job| job.state() == "done")
    });
    let announced = |studio: &Studio| {
        let seen = studio.seen();
        seen.requests
            .iter()
            .filter(|seen| seen.path == "/v1/uploads")
            .count()
    };
    assert_eq!(announced(&studio), 2);
    // What went well is not uploaded twice.
    studio.drop_file("again.jpg", &picture);
    studio.wait_done("again.jpg");
    assert_eq!(announced(&studio), 2);
}
