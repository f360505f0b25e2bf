//! Files that other clients put into a share: they raise no events, and come as slowly as they come.

use std::fs::{self, File};
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use crate::share::{PIECE, Share};
use crate::studio::with_share;
use crate::support::{Studio, jpeg, large_jpeg, sha256, unwrapped};

/// Whether a picture was submitted as what it became in the end: that was read, that was recorded, and that was kept.
fn assert_whole(share: &Share, stem: &str, bytes: &[u8]) {
    let record = share.server.data(format!("outbox/{stem}.mp4.yaml"));
    let record = fs::read_to_string(record).unwrap();
    let record: serde_json::Value = serde_yaml::from_str(&record).unwrap();
    assert_eq!(record["inputs"][0]["sha256"], sha256(bytes), "{record}");
    let kept = share.server.data(format!("originals/{stem}.jpg"));
    assert!(fs::read(kept).unwrap() == bytes);
}

#[test(needs = [ROOT, FUSE, SMBD, SMBCLIENT, RCLONE])]
fn row_01_what_another_client_puts_is_found_by_scanning_and_the_choice_is_told() {
    let share = Share::new();
    let studio = with_share(&share.path("inbox")).run();
    share.server.put("inbox/red.jpg", jpeg("red"));
    let job = studio.wait_done("red.jpg");
    assert_eq!(job.inbox(), "nas");
    let chosen = "scans on fuse.rclone, where events do not report every change";
    let log = studio.log();
    assert!(log.contains(chosen), "{log}");
    let status = unwrapped(&studio.cli_ok(&["status"]));
    assert!(status.contains(chosen), "{status}");
    let check = unwrapped(&studio.cli_ok(&["check"]));
    assert!(check.contains(chosen), "{check}");
}

#[test(needs = [ROOT, FUSE, SMBD, SMBCLIENT, RCLONE])]
fn row_01_the_way_of_watching_can_be_chosen() {
    let share = Share::new();
    let studio = with_share(&share.path("inbox"))
        .inbox("watch: events")
        .inbox("scan_interval: 500ms")
        .another_inbox("scanned/inbox")
        .inbox("name: scanned")
        .inbox("watch: scan")
        .image_defaults()
        .run();
    let status = unwrapped(&studio.cli_ok(&["status"]));
    let log = studio.log();
    for words in [
        "events on fuse.rclone, as configured, and scans",
        "scans only, as configured, on ",
    ] {
        assert!(log.contains(words), "{log}");
        assert!(status.contains(words), "{status}");
    }
    // Events that do not come lose time and no file: scans go on.
    share.server.put("inbox/red.jpg", jpeg("red"));
    studio.drop_at("scanned/inbox/blue.jpg", jpeg("blue"));
    studio.wait_done("red.jpg");
    studio.wait_done("blue.jpg");
}

#[test(needs = [ROOT, FUSE, SMBD, SMBCLIENT, RCLONE])]
fn row_02_a_share_inside_a_local_inbox_is_scanned_for_itself() {
    let share = Share::new();
    let mut studio = Studio::builder()
        .image_defaults()
        // A scan of the whole inbox finds nothing within the test's time.
        .inbox("scan_interval: auto")
        .open();
    let folder = studio.inbox("nas");
    fs::create_dir(&folder).unwrap();
    let _bound = Bound::new(&share.path(""), &folder);
    studio.start();
    let status = unwrapped(&studio.cli_ok(&["status"]));
    for words in ["below nas: scans on fuse.rclone", "events on "] {
        assert!(status.contains(words), "{status}");
    }
    share.server.put("red.jpg", jpeg("red"));
    studio.wait_done("nas/red.jpg");
    assert!(studio.outbox("nas/red.mp4").is_file());
    assert!(studio.stop().success());
}

/// One folder shown at another place.
struct Bound(std::path::PathBuf);

impl Bound {
    fn new(what: &std::path::Path, at: &std::path::Path) -> Bound {
        let status = std::process::Command::new("mount")
            .arg("--bind")
            .args([what, at])
            .status()
            .unwrap();
        assert!(status.success());
        Bound(at.to_owned())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        crate::support::unmount(&self.0);
    }
}

#[test(needs = [ROOT, FUSE, SMBD, SMBCLIENT, RCLONE])]
fn row_03_a_slow_writer_on_the_share_is_waited_for_and_the_whole_file_is_submitted() {
    let share = Share::new();
    let studio = with_share(&share.path("inbox"))
        .inbox("settle: 2500ms")
        .run();
    // What comes first is a whole picture already, so that nothing but its growing shows that more is to come.
    let steady = large_jpeg("steady", 7 * PIECE);
    let pause = Duration::from_millis(500);
    let first = share.server.put_slowly("inbox/steady.jpg", &steady, pause);
    // And half a picture, whose other half is late: quiet for longer than `settle`.
    let halves = jpeg(&"late ".repeat(PIECE / 5 - 40));
    assert!(halves.len() > PIECE && halves.len() < 2 * PIECE);
    let pause = Duration::from_millis(3500);
    let second = share.server.put_slowly("inbox/halves.jpg", &halves, pause);
    let job = studio.wait_for("it is seen", |studio| studio.job("halves.jpg"));
    assert_eq!(job.state(), "waiting", "{job:?}");
    assert!(job.reason().contains("still being written"), "{job:?}");
    // Row 4: what was judged unfinished is judged again.
    studio.wait_done("steady.jpg");
    studio.wait_done("halves.jpg");
    first.join().unwrap();
    second.join().unwrap();
    assert_whole(&share, "steady", &steady);
    assert_whole(&share, "halves", &halves);
    assert_eq!(studio.submissions().len(), 2);
}

#[test(needs = [ROOT, FUSE, SMBD, SMBCLIENT, RCLONE])]
fn row_17_wrong_clocks_on_the_server_make_no_file_quiet_and_hold_none_up() {
    let share = Share::new();
    let studio = with_share(&share.path("inbox"))
        .inbox("settle: 2500ms")
        .run();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let tomorrow = SystemTime::now() + Duration::from_secs(24 * 60 * 60);

    share.server.put("inbox/tomorrow.jpg", jpeg("tomorrow"));
    let future = File::options()
        .write(true)
        .open(share.server.data("inbox/tomorrow.jpg"))
        .unwrap();
    future.set_modified(tomorrow).unwrap();

    // A copy that keeps the old time of what it copies, from its first byte on.
    let old = large_jpeg("old", 6 * PIECE);
    let mut file = File::create(share.server.data("inbox/old.jpg")).unwrap();
    for piece in old.chunks(PIECE) {
        file.write_all(piece).unwrap();
        file.set_modified(long_ago).unwrap();
        std::thread::sleep(Duration::from_millis(600));
    }
    drop(file);
    studio.wait_done("old.jpg");
    studio.wait_done("tomorrow.jpg");
    assert_whole(&share, "old", &old);
    assert_whole(&share, "tomorrow", &jpeg("tomorrow"));
    assert_eq!(studio.submissions().len(), 2);
}
