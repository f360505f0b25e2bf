//! Starting and stopping while the state directory has trouble.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::{Place, Stage, Trouble, has};
use crate::support::{Studio, text};

/// A start during the trouble is refused with what to do, and destroys nothing: the next one goes on.
fn refused_start(trouble: Trouble) {
    let builder = Studio::builder().task_seconds(30.0);
    let mut stage = Stage::new(Place::State, trouble, builder);
    stage.drop("first.jpg");
    let job = stage.studio.wait_state("first.jpg", "running");
    // Without a clean end, so that what the journal holds lies in its log.
    stage.studio.kill9();
    let holds = |stage: &Stage| -> Vec<Vec<u8>> {
        let files = stage.journal_files();
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    };
    let before = holds(&stage);
    // What the system removes at a crash of the whole machine, so that it would have to be made anew.
    fs::remove_file(stage.mount.path().join("journal.sqlite-shm")).unwrap();
    match trouble {
        Trouble::Full => stage.mount.fill(),
        Trouble::ReadOnly => assert!(stage.mount.remount("ro")),
        Trouble::Forbidden => stage.set_mode(0o555),
    }
    let from = stage.studio.log().len();
    stage.studio.spawn();
    let status = stage.studio.wait_end(Duration::from_secs(40));
    let log = stage.studio.log();
    let said = log.get(from..).unwrap_or_default();
    assert_eq!(status.code(), Some(1), "{said}");
    let folder = stage.mount.path().to_string_lossy().into_owned();
    assert!(
        said.contains(&folder) && has(said, "writable|room|permission"),
        "{said}"
    );
    for wrong in ["not a readable journal", "backup", "move it away"] {
        assert!(!said.contains(wrong), "{wrong}: {said}");
    }
    assert_eq!(holds(&stage), before);
    match trouble {
        Trouble::Full => stage.mount.make_room(),
        Trouble::ReadOnly => assert!(stage.mount.remount("rw")),
        Trouble::Forbidden => stage.set_mode(0o755),
    }
    stage.studio.start();
    let again = stage.studio.wait_state("first.jpg", "running");
    assert_eq!((again.id(), again.task()), (job.id(), job.task()));
    stage.studio.cli_ok(&["cancel", job.id()]);
    stage.studio.wait_state("first.jpg", "cancelled");
    assert_eq!(stage.studio.submissions().len(), 1);
    stage.audit();
}

#[test(needs = [ROOT, MOUNT, EXT4])]
fn a_start_with_a_full_state_directory_is_refused_and_destroys_nothing() {
    refused_start(Trouble::Full);
}

#[test(needs = [ROOT, MOUNT, EXT4])]
fn a_start_with_a_read_only_state_directory_is_refused_and_destroys_nothing() {
    refused_start(Trouble::ReadOnly);
}

#[test(needs = [ROOT, MOUNT, EXT4])]
fn a_start_without_permission_for_the_state_directory_is_refused_and_destroys_nothing() {
    refused_start(Trouble::Forbidden);
}

/// A filesystem with an error goes read-only by itself and stays so until it is unmounted and checked.
#[test(needs = [ROOT, MOUNT, EXT4, EXT4_ERRORS])]
fn a_state_directory_whose_filesystem_had_an_error_is_gone_on_with_after_a_repair() {
    let builder = Studio::builder().task_seconds(1.5);
    let mut stage = Stage::new(Place::State, Trouble::ReadOnly, builder);
    stage.drop("first.jpg");
    stage.studio.wait_state("first.jpg", "running");
    stage.mount.break_filesystem();
    stage.drop("second.jpg");
    stage.studio.wait_reason("second.jpg", "journal.sqlite");
    let status = stage.studio.stop();
    assert!(status.success(), "{status}");
    stage.mount.repair();
    stage.studio.start();
    stage.studio.wait_all_ended(2);
    stage.audit();
}

#[test(needs = [ROOT, MOUNT, EXT4])]
fn sigterm_ends_the_daemon_in_time_while_the_journal_cannot_be_written() {
    let builder = Studio::builder().task_seconds(1.0);
    let mut stage = Stage::new(Place::State, Trouble::Full, builder);
    stage.drop("first.jpg");
    stage.studio.wait_state("first.jpg", "running");
    stage.begin(Trouble::Full);
    stage.drop("second.jpg");
    stage.studio.wait_reason("second.jpg", "journal.sqlite");
    // At most ten seconds.
    let status = stage.studio.stop();
    assert!(status.success(), "{status}");
    stage.end(Trouble::Full);
    stage.studio.start();
    stage.studio.wait_all_ended(2);
    assert_eq!(stage.studio.submissions().len(), 2);
    stage.audit();
}

#[test(needs = [ROOT, MOUNT, EXT4])]
fn status_without_a_daemon_looks_at_a_journal_on_a_read_only_disk() {
    let builder = Studio::builder();
    let mut stage = Stage::new(Place::State, Trouble::ReadOnly, builder);
    stage.drop("first.jpg");
    stage.studio.wait_done("first.jpg");
    assert!(stage.studio.stop().success());
    assert!(stage.mount.remount("ro"));
    let output = stage.studio.cli(&["status", "--json"]);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains("first.jpg"), "{said}");
    assert!(stage.mount.remount("rw"));
    // Nobody else has it open: the mount can be undone as it is.
    let busy = Command::new("fuser")
        .arg("-m")
        .arg(stage.mount.path())
        .output();
    assert!(busy.is_err() || !busy.unwrap().status.success());
}
