//! A task that Runway accepted while the journal could not be written: its id is kept until there is room.

use taxiway::simulator::{Action, Rule};

use super::{Place, Stage, Trouble};
use crate::support::Studio;

/// A job whose task was accepted after the disk had become full.
fn accepted_on_a_full_disk() -> Stage {
    let slow = Rule::on("/v1/image_to_video", Action::Slow { ms: 1500 }).times(1);
    let builder = Studio::builder().simulator(|options| options.faults = vec![slow]);
    let mut stage = Stage::new(Place::State, Trouble::Full, builder);
    stage.drop("first.jpg");
    stage.studio.wait_state("first.jpg", "submitting");
    stage.begin(Trouble::Full);
    stage.studio.wait_until("the task is accepted", |studio| {
        studio.log().contains("Runway accepted this task")
    });
    let task = stage.studio.seen().tasks[0].id.clone();
    assert!(stage.studio.log().contains(&task));
    let job = stage.studio.job("first.jpg").unwrap();
    assert_eq!(job.state(), "submitting");
    assert!(job.reason().contains("journal.sqlite"), "{job:?}");
    stage
}

#[test(needs = [ROOT, MOUNT, EXT4])]
fn a_task_that_was_accepted_on_a_full_disk_is_written_down_once_there_is_room() {
    let mut stage = accepted_on_a_full_disk();
    stage.end(Trouble::Full);
    stage.studio.wait_done("first.jpg");
    assert_eq!(stage.studio.submissions().len(), 1);
    stage.audit();
}

#[test(needs = [ROOT, MOUNT, EXT4])]
fn a_task_that_was_accepted_on_a_full_disk_is_written_down_while_the_daemon_stops() {
    let mut stage = accepted_on_a_full_disk();
    stage.studio.signal(rustix::process::Signal::TERM);
    stage.studio.wait_until("it says that it stops", |studio| {
        studio.log().contains("stopping, and the journal")
    });
    stage.end(Trouble::Full);
    let status = stage.studio.wait_end(std::time::Duration::from_secs(10));
    assert!(status.success(), "{status}");
    stage.studio.start();
    stage.studio.wait_done("first.jpg");
    assert_eq!(stage.studio.submissions().len(), 1);
    stage.audit();
}

#[test(needs = [ROOT, MOUNT, EXT4])]
fn a_task_that_the_journal_could_not_hold_to_the_end_stands_beside_its_input() {
    let mut stage = accepted_on_a_full_disk();
    let status = stage.studio.stop();
    assert!(status.success(), "{status}");
    let task = stage.studio.seen().tasks[0].id.clone();
    let note = stage.studio.working("first.jpg.error.txt");
    let note = std::fs::read_to_string(note).unwrap();
    assert!(note.contains(&task), "{note}");
    stage.end(Trouble::Full);
    stage.studio.start();
    let job = stage.studio.wait_state("first.jpg", "in_doubt");
    let way = format!("taxiway resolve {} --adopt {task}", job.id());
    assert!(note.contains(&way), "{note}");
    stage
        .studio
        .cli_ok(&["resolve", job.id(), "--adopt", &task]);
    stage.studio.wait_done("first.jpg");
    assert_eq!(stage.studio.submissions().len(), 1);
    stage.audit();
}
