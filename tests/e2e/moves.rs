//! Folders of an inbox that the configuration moves, and jobs whose inbox or account is another's.

use std::fs;

use taxiway::simulator::{Action, Rule};

use crate::support::{KEY, Studio, jpeg, put};

/// Puts another text in a place of the configuration.
fn change(studio: &Studio, from: &str, to: &str) {
    let config = fs::read_to_string(&studio.config).unwrap();
    assert!(config.contains(from), "{config}");
    put(&studio.config, config.replace(from, to).as_bytes());
}

/// A studio whose configuration names its `working`, and whose tasks take some seconds, one after the other.
fn films_of(seconds: f64) -> Studio {
    Studio::builder()
        .task_seconds(seconds)
        .runway("max_in_flight: 1")
        .image_defaults()
        .inbox("working: working")
        .run()
}

#[test]
fn a_changed_working_folder_cancels_nothing_at_a_restart_and_its_files_come_along() {
    let mut studio = films_of(3.0);
    studio.drop_file("red.jpg", jpeg("red"));
    let before = studio.wait_state("red.jpg", "running");
    studio.drop_file("blue.jpg", jpeg("blue"));
    studio.wait_state("blue.jpg", "queued");
    studio.stop();
    change(&studio, "working: working", "working: elsewhere");
    studio.start();
    assert!(
        studio.path("elsewhere/red.jpg").is_file(),
        "{}",
        studio.report()
    );
    let red = studio.wait_done("red.jpg");
    assert_eq!(red.task(), before.task());
    studio.wait_done("blue.jpg");
    assert_eq!(studio.submissions().len(), 2);
    assert!(studio.originals("red.jpg").is_file());
}

#[test]
fn a_reload_that_moves_folders_waits_for_the_jobs_in_progress() {
    let studio = films_of(2.0);
    studio.drop_file("red.jpg", jpeg("red"));
    let before = studio.wait_state("red.jpg", "running");
    change(&studio, "working: working", "working: elsewhere");
    let said = studio.reload();
    assert!(said.contains("its folders stay as they were"), "{said}");
    let red = studio.wait_done("red.jpg");
    assert_eq!(red.task(), before.task());
    studio.reload();
    studio.drop_file("blue.jpg", jpeg("blue"));
    studio.wait_state("blue.jpg", "running");
    assert!(studio.path("elsewhere/blue.jpg").is_file());
    studio.wait_done("blue.jpg");
}

#[test]
fn a_working_folder_that_is_gone_with_its_files_freezes_the_inbox_until_it_is_back() {
    let mut studio = films_of(2.0);
    studio.drop_file("red.jpg", jpeg("red"));
    let before = studio.wait_state("red.jpg", "running");
    studio.stop();
    change(&studio, "working: working", "working: elsewhere");
    fs::rename(studio.path("working"), studio.path("away")).unwrap();
    studio.start();
    studio.wait_until("it is told", |studio| {
        studio
            .log()
            .contains("was its folder for jobs in progress before")
    });
    fs::rename(studio.path("away"), studio.path("working")).unwrap();
    let red = studio.wait_done("red.jpg");
    assert_eq!(red.task(), before.task());
}

/// Lets two names change places, at once.
fn exchange(studio: &Studio, one: &str, other: &str) {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let (one, other) = (studio.path(one), studio.path(other));
    renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
}

/// Pictures of two inboxes, of one model that runs one at a time; nothing is submitted before there is a key.
fn two_without_key() -> Studio {
    let studio = Studio::builder()
        .key(None)
        .simulator(|options| options.tier.limits.default.max_concurrent = Some(1))
        .image_defaults()
        .second_inbox()
        .image_defaults()
        .run();
    studio.drop_at("second/inbox/blue.jpg", jpeg("blue"));
    studio.wait_until("it is taken", |studio| {
        studio.path("second/working/blue.jpg").is_file()
    });
    studio
}

#[test]
fn a_working_folder_that_was_taken_away_is_not_made_anew_over_its_jobs() {
    let mut studio = films_of(2.0);
    studio.drop_file("red.jpg", jpeg("red"));
    let before = studio.wait_state("red.jpg", "running");
    studio.stop();
    fs::rename(studio.path("working"), studio.path("away")).unwrap();
    studio.start();
    studio.drop_file("blue.jpg", jpeg("blue"));
    studio.wait_reason("blue.jpg", "put it back");
    assert_eq!(studio.job("red.jpg").unwrap().task(), before.task());
    assert!(!studio.path("working").exists());
    fs::rename(studio.path("away"), studio.path("working")).unwrap();
    assert_eq!(studio.wait_done("red.jpg").task(), before.task());
    studio.wait_done("blue.jpg");
    assert_eq!(studio.submissions().len(), 2);
}

#[test]
fn jobs_of_an_inbox_that_is_gone_take_no_place_from_others_and_can_be_cancelled() {
    let mut studio = two_without_key();
    studio.stop();
    let whole = fs::read_to_string(&studio.config).unwrap();
    let (first, _) = whole.split_once("  - path: second/inbox").unwrap();
    put(&studio.config, first.as_bytes());
    studio.set_key(Some(KEY));
    studio.start();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    let blue = studio.job("blue.jpg").unwrap();
    assert!(
        blue.reason().contains("no longer has inbox 'second'"),
        "{blue:?}"
    );
    studio.cli_ok(&["cancel", blue.id()]);
    put(&studio.config, whole.as_bytes());
    studio.reload();
    studio.wait_state("blue.jpg", "cancelled");
    assert_eq!(studio.submissions().len(), 1);
}

/// A second inbox, of which `blue.jpg` is running and `green.jpg` is queued behind it, and what its configuration says of it.
fn second_at_work() -> (Studio, String) {
    let studio = Studio::builder()
        .task_seconds(2.0)
        .runway("max_in_flight: 1")
        .image_defaults()
        .second_inbox()
        .image_defaults()
        .run();
    studio.drop_at("second/inbox/blue.jpg", jpeg("blue"));
    studio.wait_state("blue.jpg", "running");
    studio.drop_at("second/inbox/green.jpg", jpeg("green"));
    studio.wait_state("green.jpg", "queued");
    let whole = fs::read_to_string(&studio.config).unwrap();
    let (_, second) = whole.split_once("  - path: second/inbox").unwrap();
    let second = format!("  - path: second/inbox{second}");
    (studio, second)
}

#[test]
fn what_an_inbox_has_running_that_is_gone_at_a_restart_is_delivered_and_the_rest_waits_for_it() {
    let (mut studio, second) = second_at_work();
    let before = studio.job("blue.jpg").unwrap();
    studio.stop();
    change(&studio, &second, "");
    studio.start();
    let log = studio.log();
    assert!(
        log.contains("the configuration does not have this inbox any more"),
        "{log}"
    );
    assert_eq!(studio.wait_done("blue.jpg").task(), before.task());
    assert!(studio.path("second/outbox/blue.mp4").is_file());
    assert!(studio.path("second/originals/blue.jpg").is_file());
    studio.wait_reason("green.jpg", "no longer has inbox 'second'");
    // A restart that accepts other folders knows no less of it, and other folders are refused while its job lies in those.
    studio.stop();
    studio.set_arguments(&["--accept-folders"]);
    studio.start();
    studio.wait_reason("green.jpg", "no longer has inbox 'second'");
    let config = fs::read_to_string(&studio.config).unwrap();
    let elsewhere = second.replace(
        "name: second",
        "name: second\n    working: second/elsewhere",
    );
    put(&studio.config, format!("{config}{elsewhere}").as_bytes());
    let said = studio.reload();
    assert!(said.contains("cannot have other folders yet"), "{said}");
    put(&studio.config, format!("{config}{second}").as_bytes());
    studio.reload();
    studio.wait_done("green.jpg");
    assert_eq!(studio.submissions().len(), 2);
}

#[test]
fn an_inbox_of_another_name_goes_on_with_its_jobs() {
    for restart in [true, false] {
        let (mut studio, _) = second_at_work();
        let before = studio.job("blue.jpg").unwrap();
        studio.drop_at("second/inbox/black.jpg", jpeg("black"));
        studio.wait_state("black.jpg", "queued");
        let renamed = |studio: &Studio| change(studio, "name: second", "name: third");
        if restart {
            studio.stop();
            renamed(&studio);
            studio.start();
        } else {
            renamed(&studio);
            studio.reload();
        }
        // Its folders are looked after as before.
        fs::remove_file(studio.path("second/working/black.jpg")).unwrap();
        studio.wait_state("black.jpg", "cancelled");
        assert_eq!(studio.wait_done("blue.jpg").task(), before.task());
        studio.wait_done("green.jpg");
        studio.drop_at("second/inbox/white.jpg", jpeg("white"));
        studio.wait_done("white.jpg");
        assert_eq!(studio.submissions().len(), 3, "restart: {restart}");
        assert!(!studio.log().contains("holds files of no job"));
    }
}

#[test]
fn a_folder_with_trouble_keeps_its_jobs_in_the_queue_and_takes_no_place_from_others() {
    let mut studio = two_without_key();
    studio.stop();
    // What its file is read from is no folder any more.
    fs::write(studio.path("second/away"), "").unwrap();
    exchange(&studio, "second/working", "second/away");
    studio.set_key(Some(KEY));
    studio.start();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    exchange(&studio, "second/working", "second/away");
    studio.wait_done("blue.jpg");
    assert_eq!(studio.submissions().len(), 2);
}

#[test]
fn a_task_of_another_account_takes_no_place_of_this_one_and_can_be_cancelled() {
    let mut studio = Studio::builder()
        .simulator(|options| options.tier.limits.default.max_concurrent = Some(2))
        .task_seconds(600.0)
        .image_defaults()
        .run();
    for name in ["red.jpg", "blue.jpg"] {
        studio.drop_file(name, jpeg(name));
    }
    let red = studio.wait_state("red.jpg", "running");
    let blue = studio.wait_state("blue.jpg", "running");
    studio.stop();
    // To another key these tasks do not exist.
    let gone = |task: &str| {
        let status = Action::Status {
            code: 404,
            body: None,
            headers: Default::default(),
        };
        Rule::on(format!("/v1/tasks/{task}"), status)
    };
    studio
        .sim()
        .set_faults(vec![gone(red.task()), gone(blue.task())]);
    studio.set_key(Some("key_another0123456789"));
    studio.start();
    // Two run elsewhere, and two are all that a model has: this one runs all the same, as far as taxiway goes.
    studio.drop_file("green.jpg", jpeg("green"));
    studio.wait_until("it is sent", |studio| studio.submissions().len() >= 3);
    studio.cli_ok(&["cancel", red.id()]);
    let cancelled = studio.wait_state("red.jpg", "cancelled");
    assert!(
        cancelled.reason().contains("another account"),
        "{cancelled:?}"
    );
    assert!(studio.note("red.jpg").contains(red.task()));
    // It may be the right key again some day.
    assert_eq!(studio.job("blue.jpg").unwrap().state(), "running");
}
