//! The daemon as a service: restarts, power cuts, signals, and what must not happen then.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use taxiway::simulator::{Action, Rule};

use crate::support::{Job, KEY, Studio, contains, jpeg, large_jpeg, put, text};

/// How long a stop may take, whatever is in flight.
const STOP: Duration = Duration::from_secs(10);

fn stop_in_time(studio: &mut Studio) {
    let started = Instant::now();
    studio.signal(Signal::TERM);
    let status = studio.wait_end(STOP);
    assert!(status.success(), "{status}\n{}", studio.report());
    assert!(started.elapsed() < STOP);
}

#[test]
fn running_tasks_are_picked_up_after_a_restart_and_not_submitted_again() {
    let mut studio = Studio::builder().task_seconds(3.0).image_defaults().run();
    studio.drop_file("red.jpg", jpeg("red"));
    let before = studio.wait_state("red.jpg", "running");
    studio.restart();
    let done = studio.wait_done("red.jpg");
    assert_eq!(done.task(), before.task());
    assert_eq!(done.id(), before.id());
    assert_eq!(studio.submissions().len(), 1);
    assert!(studio.originals("red.jpg").is_file());
}

#[test]
fn a_power_cut_while_tasks_run_costs_nothing() {
    let mut studio = Studio::builder().task_seconds(2.0).image_defaults().run();
    for name in ["a", "b", "c"] {
        studio.drop_file(format!("{name}.jpg"), jpeg(name));
    }
    let before: Vec<Job> = ["a.jpg", "b.jpg", "c.jpg"]
        .map(|input| studio.wait_state(input, "running"))
        .into();
    studio.kill9();
    studio.start();
    for job in before {
        let done = studio.wait_done(job.input());
        assert_eq!(done.task(), job.task());
        let bytes = fs::read(&done.outputs()[0]).unwrap();
        assert!(contains(&bytes, done.task().as_bytes()));
    }
    assert_eq!(studio.submissions().len(), 3);
}

/// A studio to which the first request to `path` is answered after `ms` milliseconds.
fn answered_late(path: &str, ms: u64) -> Studio {
    let rule = Rule::on(path, Action::Slow { ms }).times(1);
    Studio::builder()
        .simulator(|options| options.faults.push(rule))
        .image_defaults()
        .run()
}

#[test]
fn a_power_cut_during_a_submission_leaves_the_job_in_doubt_and_pays_once() {
    let mut studio = answered_late("/v1/image_to_video", 60_000);
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_state("red.jpg", "submitting");
    studio.wait_until("the simulator has it", |studio| {
        !studio.seen().tasks.is_empty()
    });
    studio.kill9();
    studio.start();
    let job = studio.wait_state("red.jpg", "in_doubt");
    assert!(!job.reason().is_empty());
    studio.restart();
    studio.drop_file("blue.jpg", jpeg("blue"));
    studio.wait_done("blue.jpg");
    assert_eq!(studio.job("red.jpg").unwrap().state(), "in_doubt");
    assert_eq!(studio.seen().tasks.len(), 2);
}

#[test]
fn however_often_the_power_is_cut_no_file_is_lost_and_no_job_is_paid_for_twice() {
    let count = 12;
    let mut studio = Studio::builder()
        .task_seconds(0.3)
        .runway("max_in_flight: 3")
        .image_defaults()
        .run();
    let name = |number: usize| format!("{number}.jpg");
    for number in 0..count {
        studio.drop_file(name(number), jpeg(&name(number)));
    }
    for cut in 0..8_u64 {
        // At a different moment each time.
        std::thread::sleep(Duration::from_millis(120 + 37 * cut));
        studio.kill9();
        studio.start();
    }
    let jobs = studio.wait_for("every job has ended or is in doubt", |studio| {
        let jobs = studio.jobs();
        let settled = jobs
            .iter()
            .all(|job| job.has_ended() || job.state() == "in_doubt");
        (jobs.len() == count && settled).then_some(jobs)
    });
    let mut paid: BTreeMap<String, usize> = BTreeMap::new();
    for seen in studio.submissions() {
        if seen.task.is_some() {
            *paid.entry(seen.body_sha256.unwrap()).or_default() += 1;
        }
    }
    assert!(paid.values().all(|times| *times == 1), "{paid:?}");
    for number in 0..count {
        let copies = studio.copies_of(&jpeg(&name(number)));
        assert_eq!(copies.len(), 1, "{copies:?}\n{}", studio.report());
    }
    for job in jobs {
        match job.state() {
            "done" => {
                assert_eq!(job.outputs().len(), 1);
                let bytes = fs::read(&job.outputs()[0]).unwrap();
                assert!(contains(&bytes, job.task().as_bytes()));
                assert!(studio.originals(job.input()).is_file());
            }
            "in_doubt" => {}
            other => panic!("{} is {other}\n{}", job.input(), studio.report()),
        }
    }
}

#[test]
fn a_stop_during_a_slow_submission_ends_in_time_and_leaves_nothing_to_chance() {
    let mut studio = answered_late("/v1/image_to_video", 60_000);
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_state("red.jpg", "submitting");
    studio.wait_until("the simulator has it", |studio| {
        !studio.seen().tasks.is_empty()
    });
    stop_in_time(&mut studio);
    studio.start();
    studio.wait_state("red.jpg", "in_doubt");
    assert_eq!(studio.submissions().len(), 1);
}

#[test]
fn a_stop_waits_for_a_submission_that_is_answered_soon() {
    let mut studio = answered_late("/v1/image_to_video", 1_500);
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_state("red.jpg", "submitting");
    stop_in_time(&mut studio);
    studio.start();
    studio.wait_done("red.jpg");
    assert_eq!(studio.submissions().len(), 1);
}

#[test]
fn a_stop_during_a_slow_upload_ends_in_time_and_the_job_goes_on_afterwards() {
    let mut studio = answered_late("/_storage/upload", 60_000);
    studio.drop_file("large.jpg", large_jpeg("large", 600_000));
    studio.wait_until("the bytes are on their way", |studio| {
        studio
            .seen()
            .requests
            .iter()
            .any(|seen| seen.path.starts_with("/_storage/upload"))
    });
    assert_eq!(studio.job("large.jpg").unwrap().state(), "uploading");
    stop_in_time(&mut studio);
    studio.start();
    studio.wait_done("large.jpg");
    assert_eq!(studio.submissions().len(), 1);
}

#[test]
fn an_interrupt_stops_it_cleanly_too() {
    let mut studio = Studio::builder().image_defaults().run();
    studio.signal(Signal::INT);
    assert!(studio.wait_end(STOP).success());
    assert!(!studio.path("state/control.sock").exists());
}

#[test]
fn a_reload_watches_a_new_inbox_and_drops_no_work() {
    let studio = Studio::builder().task_seconds(2.0).image_defaults().run();
    studio.drop_file("red.jpg", jpeg("red"));
    let before = studio.wait_state("red.jpg", "running");
    let mut config = fs::read_to_string(&studio.config).unwrap();
    config.push_str(
        "  - path: second/inbox\n    name: second\n    settle: 200ms\n    pair_wait: 300ms\n    defaults: { model: gen4_turbo, ratio: \"720:1280\", duration: 10 }\n",
    );
    put(&studio.config, config.as_bytes());
    let said = studio.reload();
    assert!(!said.contains("refused"), "{said}");
    studio.drop_at("second/inbox/blue.jpg", jpeg("blue"));
    let blue = studio.wait_done("blue.jpg");
    assert_eq!(blue.inbox(), "second");
    assert_eq!(blue.outputs(), [studio.path("second/outbox/blue.mp4")]);
    let red = studio.wait_done("red.jpg");
    assert_eq!(red.task(), before.task());
    assert_eq!(studio.submissions().len(), 2);
}

#[test]
fn a_bad_new_configuration_is_refused_and_the_old_one_stays() {
    let studio = Studio::builder().image_defaults().run();
    let config = fs::read_to_string(&studio.config).unwrap();
    for bad in [
        config.replace("settle", "settel"),
        "inboxes: [".to_owned(),
        String::new(),
    ] {
        put(&studio.config, bad.as_bytes());
        let said = studio.reload();
        assert!(said.contains("refused"), "{said}");
    }
    put(&studio.config, config.as_bytes());
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    let said = studio.reload();
    assert!(!said.contains("refused"), "{said}");
    studio.drop_file("blue.jpg", jpeg("blue"));
    studio.wait_done("blue.jpg");
}

#[test]
fn what_waits_keeps_its_name_over_a_reload_and_is_told_of_at_every_moment() {
    let studio = Studio::builder().image_defaults().run();
    studio.drop_file("lonely.jpg.yaml", "prompt: x\n");
    let before = studio.wait_reason("lonely.jpg.yaml", "for media");
    let config = fs::read_to_string(&studio.config).unwrap();
    for settle in 201..206 {
        let changed = config.replace("settle: 200ms", &format!("settle: {settle}ms"));
        put(&studio.config, changed.as_bytes());
        let said = studio.reload();
        assert!(said.contains("changed=[\"inbox\"]"), "{said}");
        for _ in 0..20 {
            let now = studio
                .job("lonely.jpg.yaml")
                .expect("nothing is said of it");
            assert_eq!(now.id(), before.id());
        }
    }
}

#[test]
fn an_inbox_taken_out_by_a_reload_is_left_alone_and_its_jobs_are_delivered() {
    let studio = Studio::builder()
        .task_seconds(2.0)
        .image_defaults()
        .second_inbox()
        .image_defaults()
        .run();
    studio.drop_at("second/inbox/blue.jpg", jpeg("blue"));
    let before = studio.wait_state("blue.jpg", "running");
    let whole = fs::read_to_string(&studio.config).unwrap();
    let (first, _) = whole.split_once("  - path: second/inbox").unwrap();
    put(&studio.config, first.as_bytes());
    studio.reload();
    studio.drop_at("second/inbox/green.jpg", jpeg("green"));
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    assert!(studio.path("second/inbox/green.jpg").is_file());
    // Paid work is not forgotten: once the inbox is back, it is delivered.
    put(&studio.config, whole.as_bytes());
    studio.reload();
    let blue = studio.wait_done("blue.jpg");
    assert_eq!(blue.task(), before.task());
    studio.wait_done("green.jpg");
    assert_eq!(studio.submissions().len(), 3);
}

#[test]
fn a_second_daemon_on_the_same_state_exits_with_5() {
    let studio = Studio::builder().image_defaults().run();
    let output = studio.cli(&["run"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    let words = text(&output.stderr);
    assert!(words.contains("state"), "{words}");
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    assert!(studio.cli(&["status"]).status.success());
}

fn change_journal(studio: &Studio, statement: &'static str) {
    use sqlx::Connection as _;
    let path = studio.path("state/journal.sqlite");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    studio.block_on(async move {
        let mut connection = sqlx::SqliteConnection::connect_with(&options)
            .await
            .unwrap();
        sqlx::raw_sql(statement)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    });
}

#[test]
fn a_journal_of_a_newer_version_stops_the_start_with_words() {
    let mut studio = Studio::builder().image_defaults().run();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    assert!(studio.stop().success());
    change_journal(&studio, "PRAGMA user_version = 99");
    let before = fs::read(studio.path("state/journal.sqlite")).unwrap();
    let output = studio.cli(&["run"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let words = text(&output.stderr);
    assert!(
        words.contains("newer") && words.contains("journal.sqlite"),
        "{words}"
    );
    assert_eq!(
        fs::read(studio.path("state/journal.sqlite")).unwrap(),
        before
    );
}

#[test]
fn an_unreadable_journal_stops_the_start_with_words_and_is_left_as_it_is() {
    let studio = Studio::builder().image_defaults().open();
    put(&studio.path("state/journal.sqlite"), &[b'x'; 5000]);
    studio.drop_file("red.jpg", jpeg("red"));
    let output = studio.cli(&["run"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let words = text(&output.stderr);
    assert!(words.contains("journal.sqlite"), "{words}");
    assert_eq!(
        fs::read(studio.path("state/journal.sqlite")).unwrap(),
        [b'x'; 5000]
    );
    assert!(studio.inbox("red.jpg").is_file());
    assert!(studio.seen().requests.is_empty());
}

#[test]
fn without_a_key_work_waits_and_a_reload_with_a_key_file_lets_it_go_on() {
    let studio = Studio::builder().key(None).image_defaults().run();
    studio.drop_file("red.jpg", jpeg("red"));
    let job = studio.wait_reason("red.jpg", "key");
    assert!(job.reason().contains("RUNWAYML_API_SECRET"), "{job:?}");
    assert!(studio.submissions().is_empty());
    put(&studio.path("api-key"), format!("{KEY}\n").as_bytes());
    let mode = |mode| fs::set_permissions(studio.path("api-key"), fs::Permissions::from_mode(mode));
    mode(0o644).unwrap();
    let config = fs::read_to_string(&studio.config)
        .unwrap()
        .replace("runway:\n", "runway:\n  api_key_file: api-key\n");
    put(&studio.config, config.as_bytes());
    // A key that others can read is refused.
    studio.reload();
    let job = studio.wait_reason("red.jpg", "api-key");
    assert!(job.reason().contains("chmod"), "{job:?}");
    mode(0o600).unwrap();
    studio.reload();
    studio.wait_done("red.jpg");
    assert_eq!(studio.submissions().len(), 1);
    assert!(!studio.log().contains(KEY));
}

#[test]
fn a_daily_budget_makes_jobs_wait_and_a_reload_with_a_larger_one_lets_them_go_on() {
    let studio = Studio::builder()
        .top("limits: { credits_per_day: 30 }")
        .image_defaults()
        .run();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    studio.drop_file("blue.jpg", jpeg("blue"));
    let job = studio.wait_reason("blue.jpg", "budget");
    assert!(job.reason().contains("30"), "{job:?}");
    assert_eq!(studio.submissions().len(), 1);
    let config = fs::read_to_string(&studio.config)
        .unwrap()
        .replace("credits_per_day: 30", "credits_per_day: 60");
    put(&studio.config, config.as_bytes());
    studio.reload();
    studio.wait_done("blue.jpg");
}

#[test]
fn the_simulator_going_away_and_coming_back_loses_no_task() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_owned();
    let mut studio = Studio::builder()
        .simulator(|options| {
            options.dir = Some(dir.clone());
            options.task_seconds = 1.0;
        })
        .image_defaults()
        .run();
    studio.drop_file("red.jpg", jpeg("red"));
    let before = studio.wait_state("red.jpg", "running");
    let simulator = studio.simulator.take().unwrap();
    let listen = simulator.address();
    studio.block_on(simulator.stop());
    studio.wait_until("the trouble is told", |studio| {
        studio
            .job("red.jpg")
            .is_some_and(|job| job.reason().contains("reach") || job.reason().contains("connect"))
    });
    let options = taxiway::simulator::Options {
        listen,
        dir: Some(dir),
        task_seconds: 1.0,
        ..Default::default()
    };
    let again = studio
        .block_on(taxiway::simulator::Simulator::start(options))
        .unwrap();
    studio.simulator = Some(again);
    let done = studio.wait_done("red.jpg");
    assert_eq!(done.task(), before.task());
    assert_eq!(studio.submissions().len(), 1);
}
