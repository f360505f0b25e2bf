//! Folders: where a file lies is what state it is in.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use taxiway::media::{Wholeness, probe};
use taxiway::simulator::Action;

use crate::support::{Job, Studio, contains, fault, jpeg, media, put, sha256, walk};

fn exists(path: impl AsRef<Path>) -> bool {
    path.as_ref().symlink_metadata().is_ok()
}

/// All files below a folder, as paths below it.
fn files_in(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    walk(folder, &mut |path| {
        found.push(
            path.strip_prefix(folder)
                .unwrap()
                .to_string_lossy()
                .into_owned(),
        );
    });
    found.sort();
    found
}

#[test]
fn subfolders_are_kept_on_the_way() {
    let studio = Studio::builder().image_defaults().run();
    studio.drop_file("shoes/new/red.jpg", jpeg("red"));
    studio.drop_file("shoes/new/bad.jpg.yaml", "promt: x\n");
    studio.drop_file("shoes/new/bad.jpg", jpeg("bad"));
    let job = studio.wait_done("shoes/new/red.jpg");
    assert_eq!(job.outputs(), [studio.outbox("shoes/new/red.mp4")]);
    assert!(studio.outbox("shoes/new/red.mp4.yaml").is_file());
    assert_eq!(
        fs::read(studio.originals("shoes/new/red.jpg")).unwrap(),
        jpeg("red")
    );
    studio.wait_failed("shoes/new/bad.jpg");
    for file in ["bad.jpg", "bad.jpg.yaml", "bad.jpg.error.txt"] {
        assert!(
            studio.failed("shoes/new").join(file).is_file(),
            "{}",
            studio.report()
        );
    }
    assert!(files_in(&studio.path("working")).is_empty());
    assert!(files_in(&studio.path("inbox")).is_empty());
}

#[test]
fn where_a_file_lies_is_what_state_it_is_in() {
    let studio = Studio::builder()
        .runway("max_in_flight: 1")
        .task_seconds(2.0)
        .inbox("pair_wait: 1h")
        .image_defaults()
        .run();
    let lies = |name: &str| -> Vec<&str> {
        ["inbox", "working", "originals", "failed"]
            .into_iter()
            .filter(|folder| exists(studio.path(folder).join(name)))
            .collect()
    };
    studio.drop_file("wait.jpg", jpeg("wait"));
    studio.wait_reason("wait.jpg", "sidecar");
    assert_eq!(lies("wait.jpg"), ["inbox"]);

    studio.drop_file("run.jpg.yaml", "prompt: x\n");
    studio.drop_file("run.jpg", jpeg("run"));
    studio.wait_state("run.jpg", "running");
    assert_eq!(lies("run.jpg"), ["working"]);
    assert_eq!(lies("run.jpg.yaml"), ["working"]);

    studio.drop_file("queue.jpg.yaml", "prompt: x\n");
    studio.drop_file("queue.jpg", jpeg("queue"));
    studio.wait_state("queue.jpg", "queued");
    studio.wait_until("the queued file is in working", |_| {
        lies("queue.jpg") == ["working"]
    });
    let queued = studio.job("queue.jpg").unwrap();
    studio.cli_ok(&["cancel", queued.id()]);
    studio.wait_state("queue.jpg", "cancelled");
    assert_eq!(lies("queue.jpg"), ["failed"]);
    assert!(studio.note("queue.jpg").contains("cancel"));

    studio.wait_done("run.jpg");
    assert_eq!(lies("run.jpg"), ["originals"]);
    assert_eq!(lies("run.jpg.yaml"), ["originals"]);
    assert_eq!(lies("wait.jpg"), ["inbox"]);
    assert_eq!(studio.submissions().len(), 1);
}

#[test]
fn row_15_nothing_is_overwritten_in_any_folder() {
    let mut studio = Studio::builder().image_defaults().open();
    studio.drop_at("outbox/red.mp4", "mine");
    studio.drop_at("outbox/red (2).mp4.yaml", "mine, too");
    studio.drop_at("originals/red.jpg", "an older one");
    studio.drop_at("failed/bad.jpg", "another older one");
    studio.drop_file("red.jpg", jpeg("red"));
    studio.drop_file("bad.jpg", jpeg("bad"));
    studio.drop_file("bad.jpg.yaml", "promt: x\n");
    studio.start();
    let job = studio.wait_done("red.jpg");
    // A name counts as taken where its record's is.
    assert_eq!(job.outputs(), [studio.outbox("red (3).mp4")]);
    assert!(studio.outbox("red (3).mp4.yaml").is_file());
    studio.wait_failed("bad.jpg");
    for (path, content) in [
        ("outbox/red.mp4", "mine"),
        ("outbox/red (2).mp4.yaml", "mine, too"),
        ("originals/red.jpg", "an older one"),
        ("failed/bad.jpg", "another older one"),
    ] {
        assert_eq!(fs::read_to_string(studio.path(path)).unwrap(), content);
    }
    assert_eq!(
        fs::read(studio.originals("red (2).jpg")).unwrap(),
        jpeg("red")
    );
    assert_eq!(fs::read(studio.failed("bad (2).jpg")).unwrap(), jpeg("bad"));
    assert_eq!(
        studio.record("red (3).mp4")["output"]["name"],
        "red (3).mp4"
    );

    // The same name again.
    studio.drop_file("red.jpg", jpeg("red again"));
    studio.wait_until("the second is delivered", |studio| {
        exists(studio.outbox("red (4).mp4"))
    });
    studio.wait_until("both originals are kept", |studio| {
        fs::read(studio.originals("red (3).jpg")).is_ok_and(|bytes| bytes == jpeg("red again"))
    });
}

#[test]
fn row_15_media_of_the_same_stem_do_not_share_an_output() {
    let mut studio = Studio::builder().image_defaults().open();
    studio.drop_file("a.png", media("picture.png"));
    studio.drop_file("a.jpg", jpeg("a"));
    studio.start();
    let png = studio.wait_done("a.png");
    let jpg = studio.wait_done("a.jpg");
    let mut names: Vec<_> = [&png, &jpg].iter().flat_map(|job| job.outputs()).collect();
    names.sort();
    assert_eq!(names, [studio.outbox("a (2).mp4"), studio.outbox("a.mp4")]);
    for job in [png, jpg] {
        let bytes = fs::read(&job.outputs()[0]).unwrap();
        assert!(contains(&bytes, job.task().as_bytes()));
    }
}

#[test]
fn several_outputs_are_numbered_and_each_has_its_record() {
    let studio = Studio::builder().run();
    studio.drop_at("outbox/still-2.png", "mine");
    studio.drop_file(
        "still.yaml",
        "endpoint: generate/image\nconfigId: still\nprompt: A tower\ninput: { outputCount: 3 }\n",
    );
    let job = studio.wait_done("still.yaml");
    let names = ["still-1.png", "still-2 (2).png", "still-3.png"];
    assert_eq!(job.outputs(), names.map(|name| studio.outbox(name)));
    let mut sums = Vec::new();
    for name in names {
        let bytes = fs::read(studio.outbox(name)).unwrap();
        assert_eq!(
            probe(&mut Cursor::new(&bytes)).unwrap().wholeness,
            Wholeness::Whole
        );
        let record = studio.record(name);
        assert_eq!(record["output"]["sha256"], sha256(&bytes));
        assert_eq!(record["output"]["name"], name);
        assert_eq!(record["task"], job.task());
        sums.push(sha256(&bytes));
    }
    sums.dedup();
    assert_eq!(sums.len(), 3, "the outputs differ");
    assert_eq!(fs::read(studio.outbox("still-2.png")).unwrap(), b"mine");
}

#[test]
fn the_extension_comes_from_the_content_and_only_the_last_one_is_replaced() {
    let studio = Studio::builder().image_defaults().run();
    studio.drop_file("scene 1.v2.JPEG", jpeg("scene"));
    studio.drop_file(
        "logo.final.yaml",
        "model: gen4_image\nprompt: x\nratio: \"1280:720\"\n",
    );
    let job = studio.wait_done("scene 1.v2.JPEG");
    assert_eq!(job.outputs(), [studio.outbox("scene 1.v2.mp4")]);
    let job = studio.wait_done("logo.final.yaml");
    assert_eq!(job.outputs(), [studio.outbox("logo.final.png")]);
}

#[test]
fn on_success_delete_removes_the_inputs_of_finished_jobs_and_of_no_others() {
    let mut studio = Studio::builder()
        .image_defaults()
        .inbox("on_success: delete")
        .open();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.drop_file("red.jpg.yaml", "prompt: x\n");
    studio.drop_file("_style/x.png", media("picture.png"));
    studio.drop_file(
        "poster.yaml",
        "model: gen4_image_turbo\nprompt: x\nratio: \"1920:1080\"\nreferenceImages: [{ uri: _style/x.png }]\n",
    );
    studio.drop_file("bad.jpg", jpeg("bad"));
    studio.drop_file("bad.jpg.yaml", "prompt: \"[[fail INTERNAL]]\"\nratio: x\n");
    studio.start();
    studio.wait_done("red.jpg");
    studio.wait_done("poster.yaml");
    studio.wait_failed("bad.jpg");
    assert!(studio.copies_of(&jpeg("red")).is_empty());
    assert!(!exists(studio.originals("red.jpg")));
    assert!(!exists(studio.working("red.jpg.yaml")));
    assert!(studio.failed("bad.jpg").is_file());
    assert!(studio.inbox("_style/x.png").is_file());
    assert!(studio.outbox("red.mp4").is_file());
}

#[test]
fn deleting_a_queued_file_in_working_cancels_its_job() {
    let studio = Studio::builder()
        .runway("max_in_flight: 1")
        .task_seconds(2.0)
        .image_defaults()
        .run();
    studio.drop_file("first.jpg", jpeg("first"));
    studio.wait_state("first.jpg", "running");
    studio.drop_file("second.jpg", jpeg("second"));
    studio.wait_until("the second is in working", |studio| {
        exists(studio.working("second.jpg"))
    });
    studio.wait_state("second.jpg", "queued");
    fs::remove_file(studio.working("second.jpg")).unwrap();
    let job = studio.wait_state("second.jpg", "cancelled");
    assert!(!job.reason().is_empty(), "{job:?}");
    studio.wait_done("first.jpg");
    assert_eq!(studio.submissions().len(), 1);
}

#[test]
fn deleting_a_running_jobs_file_in_working_cancels_its_task_at_runway() {
    let studio = Studio::builder().task_seconds(30.0).image_defaults().run();
    studio.drop_file("red.jpg.yaml", "prompt: x\n");
    studio.drop_file("red.jpg", jpeg("red"));
    let job = studio.wait_state("red.jpg", "running");
    fs::remove_file(studio.working("red.jpg")).unwrap();
    studio.wait_state("red.jpg", "cancelled");
    let deletes: Vec<_> = studio
        .seen()
        .requests
        .into_iter()
        .filter(|seen| seen.method == "DELETE")
        .map(|seen| seen.path)
        .collect();
    assert_eq!(deletes, [format!("/v1/tasks/{}", job.task())]);
    assert!(!exists(studio.outbox("red.mp4")));
    // The sidecar is still there, in one place.
    assert_eq!(
        studio.copies_of(b"prompt: x\n"),
        ["failed/red.jpg.yaml"],
        "{}",
        studio.report()
    );
}

#[test]
fn row_06_a_failed_task_is_told_in_plain_words_and_moving_the_file_back_tries_again() {
    let studio = Studio::builder()
        .simulator(|options| {
            options.faults = vec![fault(
                "/v1/image_to_video",
                1,
                Action::TaskFails {
                    code: "SAFETY.INPUT.IMAGE".to_owned(),
                    message: Some("The picture was refused by moderation.".to_owned()),
                    charged: Some(true),
                },
            )];
        })
        .image_defaults()
        .run();
    studio.drop_file("red.jpg", jpeg("red"));
    let job = studio.wait_failed("red.jpg");
    assert_eq!(job.charged(), Some(25.0));
    let note = studio.note("red.jpg");
    for words in [
        "SAFETY.INPUT.IMAGE",
        "The picture was refused by moderation.",
        "25",
        "inbox",
    ] {
        assert!(note.contains(words), "{words:?} in {note}");
    }
    fs::rename(studio.failed("red.jpg"), studio.inbox("red.jpg")).unwrap();
    studio.wait_until("it is delivered", |studio| {
        studio
            .job("red.jpg")
            .is_some_and(|job| job.state() == "done")
    });
    assert!(studio.outbox("red.mp4").is_file());
    assert_eq!(studio.submissions().len(), 2);
    assert_eq!(fs::read(studio.originals("red.jpg")).unwrap(), jpeg("red"));
}

#[test]
fn folders_may_lie_inside_the_inbox_below_underscore_names() {
    let studio = Studio::builder()
        .inbox("working: inbox/_working")
        .inbox("outbox: inbox/_outbox")
        .inbox("originals: inbox/_originals")
        .inbox("failed: inbox/_failed")
        .image_defaults()
        .run();
    studio.drop_file("sub/red.jpg", jpeg("red"));
    studio.drop_file("bad.jpg.yaml", "promt: x\n");
    studio.drop_file("bad.jpg", jpeg("bad"));
    let job = studio.wait_done("sub/red.jpg");
    assert_eq!(job.outputs(), [studio.inbox("_outbox/sub/red.mp4")]);
    assert!(studio.inbox("_outbox/sub/red.mp4.yaml").is_file());
    assert!(studio.inbox("_originals/sub/red.jpg").is_file());
    studio.wait_failed("bad.jpg");
    assert!(studio.inbox("_failed/bad.jpg.error.txt").is_file());
    // One more job, so that a scan has passed over what lies there: nothing of it is an input.
    studio.drop_file("blue.jpg", jpeg("blue"));
    studio.wait_done("blue.jpg");
    assert_eq!(studio.jobs().len(), 3, "{}", studio.report());
    assert_eq!(studio.submissions().len(), 2);
}

#[test]
fn row_13_litter_is_ignored() {
    let litter = [
        ".DS_Store",
        "._red.jpg",
        ".hidden.jpg",
        "Thumbs.db",
        "desktop.ini",
        "@eaDir/thumb.jpg",
        ".stfolder/x.jpg",
        "~$red.jpg",
        "red.jpg.part",
        "red.jpg.partial",
        "red.jpg.crdownload",
        "red.jpg.tmp",
        ".red.jpg.swp",
        ".syncthing.red.jpg.tmp",
        ".smbdeleteAAA01",
        ".nfs000000000012",
        ".fuse_hidden0001",
        "#recycle/old.jpg",
        ".Trash-1000/old.jpg",
        ".~lock.red.odt#",
        "old.jpg.error.txt",
        "draft-1.jpg",
    ];
    let mut studio = Studio::builder()
        .image_defaults()
        .inbox("ignore: [\"draft-*\"]")
        .open();
    for (number, name) in litter.iter().enumerate() {
        let path = studio.inbox(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, jpeg(&number.to_string())).unwrap();
    }
    studio.start();
    studio.drop_file("good.jpg", jpeg("good"));
    studio.wait_done("good.jpg");
    assert_eq!(studio.jobs().len(), 1, "{}", studio.report());
    for name in litter {
        assert!(exists(studio.inbox(name)), "{name}");
    }
}

#[test]
fn names_that_begin_with_an_underscore_are_never_inputs() {
    let names = [
        "_red.jpg",
        "_job.yaml",
        "_shared/blue.jpg",
        "sub/_old/deep/green.jpg",
    ];
    let mut studio = Studio::builder().image_defaults().open();
    for name in names {
        let bytes = if name.ends_with("yaml") {
            b"model: gen4_image\nprompt: x\nratio: \"1280:720\"\n".to_vec()
        } else {
            jpeg(name)
        };
        studio.drop_file(name, bytes);
    }
    studio.start();
    studio.drop_file("good.jpg", jpeg("good"));
    studio.wait_done("good.jpg");
    assert_eq!(studio.jobs().len(), 1, "{}", studio.report());
    for name in names {
        assert!(exists(studio.inbox(name)), "{name}");
    }
}

#[test]
fn row_07_a_whole_tree_moved_in_is_taken_to_the_last_file() {
    let studio = Studio::builder()
        .image_defaults()
        .task_seconds(0.0)
        .inbox("scan_interval: 1h")
        .run();
    let mut expected = Vec::new();
    for folder in 0..20 {
        for file in 0..2 {
            let name = format!("season/{folder}/deep/{file}.jpg");
            put(
                &studio.path("staging").join(&name),
                &jpeg(&format!("{folder} {file}")),
            );
            expected.push(name);
        }
    }
    fs::rename(studio.path("staging/season"), studio.inbox("season")).unwrap();
    studio.wait_until("all are delivered", |studio| {
        files_in(&studio.path("originals")).len() == expected.len()
    });
    let ended = studio.wait_all_ended(expected.len());
    assert!(ended.iter().all(|job| job.state() == "done"));
    expected.sort();
    assert_eq!(files_in(&studio.path("originals")), expected);
    assert_eq!(studio.submissions().len(), expected.len());
}

#[test]
fn row_07_folders_made_one_by_one_with_a_file_each_are_all_taken() {
    let studio = Studio::builder()
        .image_defaults()
        .task_seconds(0.0)
        .inbox("scan_interval: 1h")
        .run();
    for folder in 0..40 {
        studio.write_in_place(format!("{folder}/x.jpg"), jpeg(&folder.to_string()));
    }
    let ended = studio.wait_all_ended(40);
    assert!(ended.iter().all(|job| job.state() == "done"));
    assert_eq!(files_in(&studio.path("originals")).len(), 40);
}

#[test]
fn what_lies_there_at_the_start_is_taken() {
    let mut studio = Studio::builder().image_defaults().open();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.drop_file("sub/blue.jpg", jpeg("blue"));
    studio.start();
    studio.wait_done("red.jpg");
    studio.wait_done("sub/blue.jpg");
}

#[test]
fn row_03_half_a_picture_waits_until_the_rest_has_come() {
    let bytes = jpeg("a picture that comes in two halves");
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    let studio = Studio::builder().image_defaults().inbox("settle: 1h").run();
    let path = studio.inbox("red.jpg");
    let mut file = fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut file, first).unwrap();
    let job = studio.wait_for("it is seen", |studio| studio.job("red.jpg"));
    assert_eq!(job.state(), "waiting");
    assert!(job.reason().contains("written"), "{job:?}");
    drop(file);
    // Closed, and still not whole.
    let job = studio.wait_for("its half is told", |studio| studio.job("red.jpg"));
    assert_eq!(job.state(), "waiting", "{job:?}");
    assert!(studio.submissions().is_empty());
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, rest).unwrap();
    drop(file);
    studio.wait_done("red.jpg");
    assert_eq!(fs::read(studio.originals("red.jpg")).unwrap(), bytes);
}

#[test]
fn an_output_appears_whole_and_with_its_record_or_not_at_all() {
    let studio = Studio::builder()
        .image_defaults()
        .simulator(|options| {
            options.faults = vec![fault(
                "/_storage/output",
                2,
                Action::Truncate { bytes: 1000 },
            )];
        })
        .run();
    studio.drop_file("red.jpg", jpeg("red"));
    let output = studio.outbox("red.mp4");
    let bytes = studio.wait_for("the output appears", |_| fs::read(&output).ok());
    assert_eq!(
        probe(&mut Cursor::new(&bytes)).unwrap().wholeness,
        Wholeness::Whole
    );
    assert_eq!(studio.record("red.mp4")["output"]["sha256"], sha256(&bytes));
    studio.wait_done("red.jpg");
    let left: Vec<String> = files_in(&studio.path("outbox"));
    assert_eq!(left, ["red.mp4", "red.mp4.yaml"], "no part file is left");
}

#[test]
fn a_person_may_take_everything_from_the_outbox_at_once() {
    let studio = Studio::builder().image_defaults().run();
    for number in 0..3 {
        studio.drop_file("red.jpg", jpeg(&number.to_string()));
        studio.wait_until("it is delivered", |studio| exists(studio.outbox("red.mp4")));
        fs::remove_file(studio.outbox("red.mp4")).unwrap();
        fs::remove_file(studio.outbox("red.mp4.yaml")).unwrap();
        studio.wait_until("it is done", |studio| {
            studio
                .job("red.jpg")
                .is_some_and(|job| job.state() == "done")
        });
    }
    assert_eq!(studio.submissions().len(), 3);
}

#[test]
fn row_10_an_inbox_that_vanishes_is_frozen_while_others_go_on_and_goes_on_when_it_is_back() {
    let studio = Studio::builder()
        .image_defaults()
        .second_inbox()
        .image_defaults()
        .run();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    fs::rename(studio.path("inbox"), studio.path("away")).unwrap();
    studio.drop_at("second/inbox/blue.jpg", jpeg("blue"));
    studio.wait_done("blue.jpg");
    studio.wait_until("the log tells of it", |studio| {
        studio.log().contains("frozen")
    });
    assert!(
        !exists(studio.path("inbox")),
        "nothing is made in its place"
    );
    put(&studio.path("away/green.jpg"), &jpeg("green"));
    fs::rename(studio.path("away"), studio.path("inbox")).unwrap();
    let job: Job = studio.wait_done("green.jpg");
    assert_eq!(job.outputs(), [studio.outbox("green.mp4")]);
}
