//! A share that goes away and comes back: nothing counts as deleted, nothing is written where it was, others go on, and
//! in the end everything is delivered once.

use std::fs;
use std::path::{Path, PathBuf};

use taxiway::simulator::Action;

use crate::share::Share;
use crate::studio::with_share;
use crate::support::{Studio, fault, jpeg};

/// How a share goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The program behind the mount dies: everything in it fails.
    Killed,
    /// It is unmounted: an empty folder remains that can be written to.
    Unmounted,
    /// The server is gone, and the mount remains.
    ServerStopped,
}

impl Way {
    fn go(self, share: &mut Share) {
        match self {
            Way::Killed => share.kill_mount(),
            Way::Unmounted => share.unmount(),
            Way::ServerStopped => share.server.stop(),
        }
    }

    fn come_back(self, share: &mut Share) {
        match self {
            Way::Killed => share.mount_again(),
            Way::Unmounted => share.mount(),
            Way::ServerStopped => share.server.start(),
        }
    }
}

fn states(studio: &Studio) -> Vec<(String, String)> {
    let mut states: Vec<_> = studio
        .jobs()
        .iter()
        .map(|job| (job.input().to_owned(), job.state().to_owned()))
        .collect();
    states.sort();
    states
}

/// The share goes away in this way while one file waits, one job is queued, one runs and one is being fetched, and comes
/// back.
fn goes_and_comes_back(way: Way, inbox: &str) {
    let mut share = Share::new();
    let root = share.path(inbox);
    let mut studio = with_share(&root)
        .inbox("pair_wait: 1h")
        .runway("max_in_flight: 1")
        .task_seconds(3.0)
        .simulator(|options| {
            // The first output takes so long that the share goes meanwhile.
            let slow = Action::Slow { ms: 3000 };
            options.faults = vec![fault("/_storage/output", 1, slow)];
        })
        .run();
    let inside = if inbox.is_empty() { "_" } else { "" };
    let server = |folder: &str| share.server.data(format!("{inside}{folder}"));
    let outbox = server("outbox");
    let originals = server("originals");
    let put = |share: &Share, stem: &str, prompt: bool| {
        let at = Path::new(inbox).join(stem);
        if prompt {
            let sidecar = format!("{}.jpg.yaml", at.display());
            share.server.put(&sidecar, format!("prompt: {stem}\n"));
        }
        share
            .server
            .put(&format!("{}.jpg", at.display()), jpeg(stem));
    };
    put(&share, "fetched", true);
    studio.wait_state("fetched.jpg", "running");
    put(&share, "running", true);
    studio.wait_state("running.jpg", "queued");
    put(&share, "queued", true);
    studio.wait_state("queued.jpg", "queued");
    put(&share, "waiting", false);
    studio.wait_reason("waiting.jpg", "sidecar");
    studio.wait_state("fetched.jpg", "downloading");
    studio.wait_state("running.jpg", "running");

    way.go(&mut share);
    studio.wait_reason("waiting.jpg", "frozen");
    let status = studio.cli_ok(&["status"]);
    assert!(status.contains("frozen"), "{status}");
    // Another inbox goes on meanwhile, from the drop to the delivery.
    studio.drop_file("local.jpg", jpeg("local"));
    studio.drop_file("local.jpg.yaml", "prompt: local\n");
    studio.wait_done("local.jpg");
    // And what runs at Runway goes on there, while everything else waits where it is.
    studio.wait_until("the second task is over", |studio| {
        let tasks = studio.seen().tasks;
        tasks
            .iter()
            .filter(|task| task.model == "gen4_turbo")
            .count()
            == 2
            && tasks.iter().all(|task| task.status == "SUCCEEDED")
    });
    studio.wait_state("running.jpg", "downloading");
    let seen = states(&studio);
    let now = |name: &str| {
        let found = seen.iter().find(|(input, _)| input == name);
        found.map(|(_, state)| state.as_str()).unwrap_or_default()
    };
    assert_eq!(now("waiting.jpg"), "waiting", "{seen:?}");
    for name in ["fetched.jpg", "queued.jpg", "running.jpg"] {
        assert!(
            !["done", "failed", "cancelled"].contains(&now(name)),
            "{seen:?}"
        );
    }
    assert_eq!(studio.submissions().len(), 3, "{}", studio.report());
    if way == Way::Unmounted {
        assert_eq!(share.listing(), Vec::<PathBuf>::new());
    }

    way.come_back(&mut share);
    for name in ["fetched.jpg", "running.jpg", "queued.jpg"] {
        studio.wait_done(name);
    }
    let sidecar = Path::new(inbox).join("waiting.jpg.yaml");
    share
        .server
        .put(&sidecar.to_string_lossy(), "prompt: waiting\n");
    studio.wait_done("waiting.jpg");
    let status = studio.cli_ok(&["status"]);
    assert!(!status.contains("frozen"), "{status}");
    assert!(studio.log().contains("is back"), "{}", studio.log());

    let mut expected = Vec::new();
    for stem in ["fetched", "queued", "running", "waiting"] {
        assert!(fs::read(originals.join(format!("{stem}.jpg"))).unwrap() == jpeg(stem));
        expected.extend([format!("{stem}.mp4"), format!("{stem}.mp4.yaml")]);
    }
    let mut found: Vec<String> = fs::read_dir(&outbox)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, expected);
    // One task for each picture, on the share and elsewhere.
    assert_eq!(studio.submissions().len(), 5, "{}", studio.report());
    assert_eq!(studio.seen().tasks.len(), 5);
    assert!(studio.stop().success());
}

#[test(needs = [ROOT, FUSE, SMBD, SMBCLIENT, RCLONE])]
fn row_10_a_mount_that_dies_freezes_its_inbox_only_and_all_is_delivered_once_it_is_back() {
    goes_and_comes_back(Way::Killed, "inbox");
}

#[test(needs = [ROOT, FUSE, SMBD, SMBCLIENT, RCLONE])]
fn row_10_a_share_that_is_unmounted_leaves_its_mountpoint_empty_until_it_is_back() {
    goes_and_comes_back(Way::Unmounted, "inbox");
}

#[test(needs = [ROOT, FUSE, SMBD, SMBCLIENT, RCLONE])]
fn row_10_an_inbox_that_is_the_mountpoint_itself_takes_nothing_for_deleted() {
    goes_and_comes_back(Way::Unmounted, "");
}

#[test(needs = [ROOT, FUSE, SMBD, SMBCLIENT, RCLONE])]
fn row_10_a_server_that_stops_under_a_living_mount_freezes_its_inbox_until_it_is_back() {
    goes_and_comes_back(Way::ServerStopped, "inbox");
}

#[test(needs = [ROOT, FUSE, SMBD, SMBCLIENT, RCLONE])]
fn row_10_nothing_is_delivered_under_the_bare_mountpoint_of_an_outbox() {
    let mut share = Share::new();
    let studio = Studio::builder()
        .image_defaults()
        .task_seconds(2.0)
        .inbox(&format!("outbox: {}", share.path("").display()))
        .run();
    studio.drop_file("first.jpg", jpeg("first"));
    studio.wait_done("first.jpg");
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_state("red.jpg", "running");
    share.unmount();
    studio.wait_state("red.jpg", "downloading");
    studio.wait_until("it says why it is not delivered", |studio| {
        studio
            .job("red.jpg")
            .is_some_and(|job| job.reason().contains("nothing is mounted at"))
    });
    assert_eq!(share.listing(), Vec::<PathBuf>::new());
    share.mount();
    studio.wait_done("red.jpg");
    assert!(share.server.data("red.mp4").is_file());
    assert!(share.server.data("red.mp4.yaml").is_file());
    assert_eq!(studio.submissions().len(), 2);
}

/// Starts the daemon again while the share on which its inbox lies is not mounted.
fn starts_without_the_share(inbox: &str) {
    let mut share = Share::new();
    let mut studio = with_share(&share.path(inbox)).task_seconds(1.0).run();
    let at = |name: &str| Path::new(inbox).join(name).to_string_lossy().into_owned();
    share.server.put(&at("first.jpg"), jpeg("first"));
    studio.wait_done("first.jpg");
    share.server.put(&at("red.jpg"), jpeg("red"));
    studio.wait_state("red.jpg", "running");
    assert!(studio.stop().success());
    share.server.put(&at("blue.jpg"), jpeg("blue"));
    share.unmount();

    studio.start();
    studio.wait_until("it says that the inbox is frozen", |studio| {
        studio.cli_ok(&["status"]).contains("frozen")
    });
    studio.drop_file("local.jpg", jpeg("local"));
    studio.wait_done("local.jpg");
    let red = studio.job("red.jpg").unwrap();
    assert!(!red.has_ended(), "{red:?}");
    assert_eq!(share.listing(), Vec::<PathBuf>::new());
    assert!(!share.path("../outbox").exists());

    share.mount();
    for name in ["red.jpg", "blue.jpg"] {
        studio.wait_done(name);
    }
    let inside = if inbox.is_empty() { "_" } else { "" };
    for name in ["first", "red", "blue"] {
        let output = share.server.data(format!("{inside}outbox/{name}.mp4"));
        assert!(output.is_file(), "{}", output.display());
    }
    assert_eq!(studio.submissions().len(), 4);
}

#[test(needs = [ROOT, FUSE, SMBD, SMBCLIENT, RCLONE])]
fn row_10_a_daemon_that_starts_before_the_share_is_mounted_waits_for_it() {
    starts_without_the_share("inbox");
}

#[test(needs = [ROOT, FUSE, SMBD, SMBCLIENT, RCLONE])]
fn row_10_a_daemon_that_starts_before_its_inbox_is_mounted_waits_for_it() {
    starts_without_the_share("");
}
