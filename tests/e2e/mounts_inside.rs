//! Another filesystem that is mounted inside an inbox.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use taxiway::simulator::Action;

use crate::support::{Studio, fault, jpeg, mounted, unmount};

/// A folder that is mounted a second time, inside an inbox: files cannot be renamed across its edge, and it can go away and
/// come back with all that lies in it.
struct Inside {
    source: PathBuf,
    at: PathBuf,
}

impl Inside {
    fn mount(studio: &Studio) -> Inside {
        let inside = Inside {
            source: studio.path("source"),
            at: studio.inbox("nas"),
        };
        fs::create_dir_all(&inside.source).unwrap();
        fs::create_dir_all(&inside.at).unwrap();
        assert!(inside.again());
        inside
    }

    fn again(&self) -> bool {
        run(Command::new("mount")
            .arg("--bind")
            .args([&self.source, &self.at]))
    }

    fn away(&self) {
        unmount(&self.at);
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if mounted(&self.at).is_some() {
            unmount(&self.at);
        }
    }
}

fn run(command: &mut Command) -> bool {
    command.output().unwrap().status.success()
}

#[test(needs = [ROOT, MOUNT])]
fn row_02_files_on_a_mount_inside_the_inbox_are_taken_on_it_and_delivered_like_others() {
    let mut studio = Studio::builder().image_defaults().open();
    let _inside = Inside::mount(&studio);
    studio.start();
    studio.drop_file("nas/shoes/red.jpg.yaml", "prompt: red\n");
    studio.drop_file("nas/shoes/red.jpg", jpeg("red"));
    studio.drop_file("blue.jpg", jpeg("blue"));
    let job = studio.wait_done("nas/shoes/red.jpg");
    studio.wait_done("blue.jpg");
    assert_eq!(job.outputs(), [studio.outbox("nas/shoes/red.mp4")]);
    assert!(studio.originals("nas/shoes/red.jpg").is_file());
    assert!(studio.originals("nas/shoes/red.jpg.yaml").is_file());
    // Nothing is left of its way.
    let left: Vec<_> = studio
        .tree()
        .into_iter()
        .filter(|name| name.starts_with("inbox/") || name.starts_with("working/"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    assert!(studio.log().contains("another filesystem is mounted here"));
}

#[test(needs = [ROOT, MOUNT])]
fn row_10_a_mount_inside_the_inbox_that_goes_away_cancels_nothing_and_goes_on_when_it_is_back() {
    let slow = fault("/v1/image_to_video", 9, Action::Stuck);
    let mut studio = Studio::builder()
        .image_defaults()
        .runway("max_in_flight: 1")
        .simulator(|options| options.faults.push(slow))
        .open();
    let inside = Inside::mount(&studio);
    studio.start();
    studio.drop_file("nas/one.jpg", jpeg("one"));
    studio.wait_state("nas/one.jpg", "running");
    studio.drop_file("nas/two.jpg", jpeg("two"));
    studio.wait_for("the second is queued", |studio| {
        studio
            .job("nas/two.jpg")
            .filter(|job| job.state() == "queued")
    });
    inside.away();
    // The inbox is looked at more than once meanwhile.
    studio.drop_file("three.jpg", jpeg("three"));
    studio.wait_for("another file is taken", |studio| studio.job("three.jpg"));
    studio.drop_file("four.jpg", jpeg("four"));
    studio.wait_for("and another", |studio| studio.job("four.jpg"));
    // Deleting a file in `working` does count.
    studio.wait_until("the third lies in working", |studio| {
        studio.working("three.jpg").is_file()
    });
    fs::remove_file(studio.working("three.jpg")).unwrap();
    studio.wait_state("three.jpg", "cancelled");
    assert_eq!(studio.job("nas/one.jpg").unwrap().state(), "running");
    assert_eq!(studio.job("nas/two.jpg").unwrap().state(), "queued");
    assert!(inside.again());
    studio.sim().set_faults(Vec::new());
    let one = studio.job("nas/one.jpg").unwrap();
    studio.cli_ok(&["cancel", one.id()]);
    studio.wait_done("nas/two.jpg");
    assert!(studio.originals("nas/two.jpg").is_file());
    assert!(studio.failed("nas/one.jpg").is_file());
}
