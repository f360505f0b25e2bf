//! A server that hangs: calls into its mount do not return. Its inbox says so; nobody else notices.

use std::fs;
use std::time::{Duration, Instant};

use taxiway::simulator::Action;

use crate::sshfs::Sshfs;
use crate::studio::with_share;
use crate::support::{PATIENCE, Studio, fault, jpeg, large_jpeg, unwrapped};

/// More jobs than the daemon has threads or places for, so that the hung inbox would fill whatever is shared.
const MANY: usize = 40;

/// How long an inbox on this machine may take for its jobs meanwhile.
const USUAL: Duration = Duration::from_secs(20);

fn until_ended(studio: &Studio, inbox: &str, count: usize) {
    studio.wait_until(&format!("{count} jobs of {inbox} are done"), |studio| {
        let jobs = studio.jobs();
        let done = jobs
            .iter()
            .filter(|job| job.inbox() == inbox && job.state() == "done");
        done.count() == count
    });
}

#[test(needs = [ROOT, FUSE, SSHFS, SFTP_SERVER])]
fn row_12_a_share_that_hangs_keeps_only_its_own_inbox_waiting() {
    let share = Sshfs::new();
    let mut studio = with_share(&share.path("inbox"))
        .runway("max_in_flight: 20")
        .task_seconds(1.0)
        .simulator(|options| {
            options.tier.limits.default.max_concurrent = Some(100);
            // Some are being fetched when it hangs.
            let slow = Action::Slow { ms: 2000 };
            options.faults = vec![fault("/_storage/output", 10, slow)];
        })
        .run();
    let mut expected = 0;
    let mut drop_many = |studio: &Studio, kind: &str, count: usize| {
        for number in 0..count {
            let name = format!("{kind}{number}.jpg");
            fs::write(share.data("inbox").join(&name), jpeg(&name)).unwrap();
        }
        expected += count;
        studio.wait_until("they are taken", |studio| studio.jobs().len() >= expected);
    };
    drop_many(&studio, "first", 20);
    studio.wait_until("some are being fetched", |studio| {
        studio.jobs().iter().any(|job| job.state() == "downloading")
    });
    drop_many(&studio, "more", MANY);
    let hung = share.hang_server();

    // Another inbox with many jobs goes on at once, and not only after somebody has noticed.
    let start = Instant::now();
    for number in 0..MANY {
        let name = format!("local{number}.jpg");
        studio.drop_file(&name, large_jpeg(&name, 100_000));
    }
    until_ended(&studio, "inbox", MANY);
    let took = start.elapsed();
    assert!(took < USUAL, "{took:?}\n{}", studio.report());

    studio.patience = 3 * PATIENCE;
    studio.wait_until("it says that the inbox does not respond", |studio| {
        unwrapped(&studio.cli_ok(&["status"])).contains("does not respond")
    });
    studio.wait_until("the log says so, too", |studio| {
        studio.log().contains("does not respond")
    });
    let ended = |job: &&crate::support::Job| job.inbox() == "nas" && job.has_ended();
    assert!(
        studio
            .jobs()
            .iter()
            .filter(ended)
            .all(|job| job.state() == "done")
    );
    studio.drop_file("later.jpg", jpeg("later"));
    studio.wait_done("later.jpg");

    drop(hung);
    until_ended(&studio, "nas", 20 + MANY);
    studio.wait_until("it says nothing of it any more", |studio| {
        !unwrapped(&studio.cli_ok(&["status"])).contains("does not respond")
    });
    studio.wait_until("and the log that it answers", |studio| {
        studio.log().contains("responds again")
    });
    assert_eq!(studio.submissions().len(), 20 + MANY + MANY + 1);
    let outputs = fs::read_dir(share.data("outbox")).unwrap().count();
    assert_eq!(outputs, 2 * (20 + MANY));
}

#[test(needs = [ROOT, FUSE, SSHFS, SFTP_SERVER])]
fn row_12_a_daemon_stops_in_time_while_a_share_hangs_and_goes_on_afterwards() {
    let share = Sshfs::new();
    let mut studio = with_share(&share.path("inbox")).task_seconds(2.0).run();
    for number in 0..5 {
        let name = format!("{number}.jpg");
        fs::write(share.data("inbox").join(&name), jpeg(&name)).unwrap();
    }
    studio.wait_until("they run", |studio| {
        studio
            .jobs()
            .iter()
            .filter(|job| job.state() == "running")
            .count()
            == 5
    });
    let hung = share.hang_mount();
    studio.wait_until("all tasks are over, and wait for the share", |studio| {
        studio
            .seen()
            .tasks
            .iter()
            .all(|task| task.status == "SUCCEEDED")
    });
    let status = studio.stop();
    assert!(status.success(), "{status}\n{}", studio.report());

    drop(hung);
    studio.start();
    until_ended(&studio, "nas", 5);
    assert_eq!(studio.submissions().len(), 5);
    assert_eq!(fs::read_dir(share.data("outbox")).unwrap().count(), 10);
}
