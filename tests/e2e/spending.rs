//! Limits on spending: of all inboxes and of each, across restarts, with work in flight and with prices that nobody knows.

use crate::support::{Builder, Studio, jpeg, mp4};

/// Jobs of 25 credits each.
fn films() -> Builder {
    Studio::builder()
        .image_defaults()
        .inbox("pair_wait: 0s")
        .runway("max_in_flight: 9")
}

fn drop_pictures(studio: &Studio, folder: &str, count: usize) {
    for number in 0..count {
        let name = format!("{folder}/{number}.jpg");
        studio.drop_at(&name, jpeg(&name));
    }
}

/// Waits until nothing moves: `done` jobs are done, and all others wait for budget.
fn rests_with(studio: &Studio, done: usize, held: usize) {
    studio.wait_until(&format!("{done} are done and {held} wait"), |studio| {
        let jobs = studio.jobs();
        let done_now = jobs.iter().filter(|job| job.state() == "done").count();
        let held_now = jobs
            .iter()
            .filter(|job| job.state() == "waiting" && job.reason().contains("for budget"))
            .count();
        assert!(done_now <= done, "too much was spent\n{}", studio.report());
        (done_now, held_now) == (done, held)
    });
}

#[test]
fn a_limit_of_one_inbox_holds_its_own_jobs_and_no_others() {
    let studio = films()
        .inbox("limits: { credits_per_day: 60 }")
        .second_inbox()
        .inbox("pair_wait: 0s")
        .image_defaults()
        .run();
    drop_pictures(&studio, "inbox", 4);
    drop_pictures(&studio, "second/inbox", 4);
    rests_with(&studio, 6, 2);
    let held = studio.job("2.jpg").map(|job| job.inbox().to_owned());
    assert!(held.is_some());
    for job in studio.jobs().iter().filter(|job| job.state() == "waiting") {
        assert_eq!(job.inbox(), "inbox");
        assert!(job.reason().contains("of inbox 'inbox' is 60 credits"));
    }
    assert_eq!(studio.submissions().len(), 6);
}

#[test]
fn limits_hold_for_inboxes_at_once_with_work_in_flight_and_across_restarts() {
    let mut studio = films()
        .task_seconds(0.4)
        .top("limits: { credits_per_day: 1000, credits_per_month: 130 }")
        .second_inbox()
        .inbox("pair_wait: 0s")
        .image_defaults()
        .run();
    drop_pictures(&studio, "inbox", 5);
    drop_pictures(&studio, "second/inbox", 5);
    let comes_to_rest = |studio: &Studio| {
        let jobs = studio.jobs();
        let settled = |job: &crate::support::Job| {
            job.has_ended() || job.state() == "in_doubt" || job.reason().contains("for budget")
        };
        jobs.len() == 10 && jobs.iter().all(settled)
    };
    // In the midst of it, and again.
    for _ in 0..3 {
        let before = studio.submissions().len();
        studio.wait_until(
            "something more was sent, or nothing more may be",
            |studio| studio.submissions().len() > before || comes_to_rest(studio),
        );
        studio.kill9();
        studio.start();
    }
    studio.wait_until("what may be spent is spent", comes_to_rest);
    // A doubt may have been paid for, so it counts, too.
    let spent = 10_000 - studio.seen().credit_balance;
    assert!(spent <= 125, "{spent}\n{}", studio.report());
    let held = |studio: &Studio| {
        let jobs = studio.jobs();
        let held = jobs.iter().filter(|job| job.reason().contains("month"));
        held.count()
    };
    assert_eq!(held(&studio), 5, "{}", studio.report());
    // When there is room they go on by themselves.
    let config = std::fs::read_to_string(&studio.config).unwrap();
    std::fs::write(&studio.config, config.replace("month: 130", "month: 1000")).unwrap();
    studio.signal(rustix::process::Signal::HUP);
    studio.wait_until("the rest went out", |studio| held(studio) == 0);
}

#[test]
fn jobs_of_unknown_price_go_one_at_a_time_and_at_most_one_goes_over_the_limit() {
    // Nobody knows beforehand what upscaling costs; the simulator takes 10 credits.
    let studio = Studio::builder()
        .runway("max_in_flight: 9")
        .inbox("pair_wait: 0s")
        .top("limits: { credits_per_day: 15 }")
        .defaults("{ endpoint: video_upscale, model: upscale_v1 }")
        .run();
    for number in 0..4 {
        studio.drop_file(format!("{number}.mp4"), mp4(&number.to_string()));
    }
    rests_with(&studio, 2, 2);
    assert_eq!(studio.submissions().len(), 2);
    assert_eq!(10_000 - studio.seen().credit_balance, 20);
}

#[test]
fn spend_tells_by_day_inbox_and_model_with_and_without_a_daemon() {
    let mut studio = films().run();
    assert!(studio.cli_ok(&["spend"]).contains("Nothing was spent"));
    drop_pictures(&studio, "inbox", 2);
    rests_with(&studio, 2, 0);
    for stopped in [false, true] {
        if stopped {
            studio.stop();
        }
        let told = studio.cli_ok(&["spend"]);
        assert!(told.contains("gen4_turbo"), "{told}");
        assert!(
            told.contains("50 credits (1 credit is $0.01) for 2 tasks in 30 days."),
            "{told}"
        );
        assert!(
            told.lines().all(|line| line.chars().count() <= 80),
            "{told}"
        );
        let rows = studio.cli_ok(&["spend", "--days", "1", "--json"]);
        let row: serde_json::Value = serde_json::from_str(rows.trim()).unwrap();
        assert_eq!(
            (&row["inbox"], &row["model"], &row["tasks"], &row["charged"]),
            (
                &"inbox".into(),
                &"gen4_turbo".into(),
                &2.into(),
                &50.0.into()
            )
        );
    }
}
