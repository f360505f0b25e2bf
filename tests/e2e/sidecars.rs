//! Sidecars: how they find their media, what they start from, what they may say, and how mistakes are told.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::{Builder, Job, Studio, jpeg, large_jpeg, media, mp4};

/// Long enough that nothing in a test happens because it has passed.
const LONG: &str = "pair_wait: 1h";

/// A sidecar that makes a film from a picture.
fn film(prompt: &str) -> String {
    format!("prompt: {prompt}\nmodel: gen4_turbo\nratio: \"1280:720\"\nduration: 5\n")
}

fn patient() -> Builder {
    Studio::builder().image_defaults().inbox(LONG)
}

/// The body of the request that started the job's task.
fn body(studio: &Studio, job: &Job) -> Value {
    let seen = studio.seen();
    let mut started = seen
        .requests
        .into_iter()
        .filter(|seen| seen.task.as_deref() == Some(job.task()));
    started
        .next()
        .and_then(|seen| seen.body)
        .unwrap_or_else(|| panic!("{job:?}\n{}", studio.report()))
}

/// Drops a picture with a sidecar that is wrong; answers with what the note says. Nothing may have been sent, and both
/// files must lie in `failed/`.
fn refused(sidecar: &str) -> String {
    let mut studio = Studio::builder().image_defaults().open();
    studio.drop_file("red.jpg.yaml", sidecar);
    studio.drop_file("red.jpg", jpeg("red"));
    studio.start();
    let job = studio.wait_failed("red.jpg");
    assert!(studio.submissions().is_empty(), "{}", studio.report());
    assert_eq!(fs::read(studio.failed("red.jpg")).unwrap(), jpeg("red"));
    assert_eq!(
        fs::read_to_string(studio.failed("red.jpg.yaml")).unwrap(),
        sidecar
    );
    assert!(job.charged().is_none_or(|credits| credits == 0.0));
    let note = studio.note("red.jpg");
    assert!(note.contains("credits"), "{note}");
    note
}

#[test]
fn row_15_a_sidecar_may_come_after_its_medium() {
    let studio = patient().run();
    studio.drop_file("cat.jpg", jpeg("cat"));
    studio.wait_reason("cat.jpg", "sidecar");
    studio.drop_file("cat.jpg.yaml", film("exact"));
    let job = studio.wait_done("cat.jpg");
    assert_eq!(body(&studio, &job)["promptText"], "exact");

    studio.drop_file("dog.jpg", jpeg("dog"));
    studio.wait_reason("dog.jpg", "sidecar");
    studio.drop_file("dog.yaml", film("stem"));
    let job = studio.wait_done("dog.jpg");
    assert_eq!(body(&studio, &job)["promptText"], "stem");
    assert!(studio.originals("cat.jpg.yaml").is_file());
    assert!(studio.originals("dog.yaml").is_file());
}

#[test]
fn row_15_a_sidecar_may_come_before_its_medium() {
    let studio = patient().run();
    studio.drop_file("cat.jpg.yaml", film("exact"));
    studio.drop_file("dog.yml", film("stem"));
    studio.wait_reason("cat.jpg.yaml", "media");
    studio.wait_reason("dog.yml", "media");
    studio.drop_file("cat.jpg", jpeg("cat"));
    studio.drop_file("dog.jpg", jpeg("dog"));
    let cat = studio.wait_done("cat.jpg");
    let dog = studio.wait_done("dog.jpg");
    assert_eq!(body(&studio, &cat)["promptText"], "exact");
    assert_eq!(body(&studio, &dog)["promptText"], "stem");
    assert_eq!(studio.submissions().len(), 2);
    assert_eq!(studio.jobs().len(), 2);
}

#[test]
fn the_sidecar_with_the_whole_name_goes_before_the_one_with_the_stem() {
    let mut studio = patient().open();
    studio.drop_file("cat.yaml", film("stem"));
    studio.drop_file("cat.jpg.yaml", film("exact"));
    studio.drop_file("cat.jpg", jpeg("cat"));
    studio.start();
    let job = studio.wait_done("cat.jpg");
    assert_eq!(body(&studio, &job)["promptText"], "exact");
    assert_eq!(studio.submissions().len(), 1);
    assert!(studio.inbox("cat.yaml").is_file(), "{}", studio.report());
}

#[test]
fn sidecars_ending_in_yml_count_with_the_whole_name_and_with_the_stem() {
    let mut studio = patient().open();
    studio.drop_file("cat.jpg", jpeg("cat"));
    studio.drop_file("cat.jpg.yml", film("exact"));
    studio.drop_file("dog.jpg", jpeg("dog"));
    studio.drop_file("dog.yml", film("stem"));
    studio.start();
    let cat = studio.wait_done("cat.jpg");
    let dog = studio.wait_done("dog.jpg");
    assert_eq!(body(&studio, &cat)["promptText"], "exact");
    assert_eq!(body(&studio, &dog)["promptText"], "stem");
}

#[test]
fn each_layer_of_defaults_is_stronger_than_the_one_above_it() {
    let mut studio = Studio::builder()
        .defaults(r#"{ model: gen4_turbo, ratio: "1280:720", duration: 5, seed: 1 }"#)
        .open();
    studio.drop_file("_defaults.yaml", "ratio: \"720:1280\"\nseed: 2\n");
    studio.drop_file("shoes/_defaults.yaml", "seed: 3\nprompt: shoes\n");
    studio.drop_file("shoes/new/_defaults.yaml", "duration: 10\n");
    studio.drop_file("top.jpg", jpeg("top"));
    studio.drop_file("shoes/plain.jpg", jpeg("plain"));
    studio.drop_file("shoes/own.jpg", jpeg("own"));
    studio.drop_file("shoes/own.jpg.yaml", "seed: 4\n");
    studio.drop_file("shoes/new/deep.jpg", jpeg("deep"));
    studio.start();
    for (input, ratio, duration, seed, prompt) in [
        ("top.jpg", "720:1280", 5, 2, Value::Null),
        ("shoes/plain.jpg", "720:1280", 5, 3, json!("shoes")),
        ("shoes/own.jpg", "720:1280", 5, 4, json!("shoes")),
        ("shoes/new/deep.jpg", "720:1280", 10, 3, json!("shoes")),
    ] {
        let job = studio.wait_done(input);
        let body = body(&studio, &job);
        assert_eq!(body["ratio"], ratio, "{input}");
        assert_eq!(body["duration"], duration, "{input}");
        assert_eq!(body["seed"], seed, "{input}");
        assert_eq!(body["promptText"], prompt, "{input}");
    }
    assert!(studio.inbox("shoes/_defaults.yaml").is_file());
    assert_eq!(studio.jobs().len(), 4);
}

#[test]
fn defaults_that_are_mended_let_what_waited_for_them_go_on() {
    let mut studio = Studio::builder().open();
    studio.drop_file("_defaults.yaml", "modle: gen4_turbo\n");
    studio.drop_file("red.jpg", jpeg("red"));
    studio.start();
    let job = studio.wait_for("the mistake is told", |studio| {
        studio
            .job("red.jpg")
            .filter(|job| job.reason().contains("modle"))
    });
    assert_eq!(job.state(), "waiting");
    assert!(job.reason().contains("_defaults.yaml"), "{job:?}");
    assert!(studio.submissions().is_empty());
    studio.drop_file(
        "_defaults.yaml",
        "model: gen4_turbo\nratio: \"1280:720\"\nduration: 5\n",
    );
    studio.wait_done("red.jpg");
}

#[test]
fn a_file_that_a_sidecar_refers_to_belongs_to_its_job_and_travels_with_it() {
    const POSTER: &str = "model: gen4_image_turbo\nprompt: \"@ada in @hall\"\nratio: \"1920:1080\"\nreferenceImages:\n  - { uri: ada.jpg, tag: ada }\n  - { uri: refs/hall.jpg, tag: hall }\n";
    let studio = patient().task_seconds(30.0).run();
    studio.drop_file("poster.yaml", POSTER);
    studio.wait_reason("poster.yaml", "ada.jpg");
    studio.drop_file("ada.jpg", jpeg("ada"));
    studio.wait_reason("poster.yaml", "refs/hall.jpg");
    studio.drop_file("refs/hall.jpg", jpeg("hall"));
    let job = studio.wait_state("poster.yaml", "running");
    for file in ["poster.yaml", "ada.jpg", "refs/hall.jpg"] {
        assert!(studio.working(file).is_file(), "{}", studio.report());
        assert!(!studio.inbox(file).exists(), "{}", studio.report());
    }
    assert_eq!(studio.jobs().len(), 1, "{}", studio.report());
    let body = body(&studio, &job);
    assert!(
        body["referenceImages"][0]["uri"]
            .as_str()
            .unwrap()
            .starts_with("data:")
    );
    assert_eq!(body["referenceImages"][1]["tag"], "hall");
}

#[test]
fn a_reference_that_lay_there_first_is_no_job_of_its_own_once_a_sidecar_names_it() {
    let studio = patient().run();
    studio.drop_file("ada.jpg", jpeg("ada"));
    studio.wait_reason("ada.jpg", "sidecar");
    studio.drop_file(
        "poster.yaml",
        "model: gen4_image_turbo\nprompt: \"@ada\"\nratio: \"1920:1080\"\nreferenceImages: [{ uri: ada.jpg, tag: ada }]\n",
    );
    studio.wait_done("poster.yaml");
    assert!(studio.originals("ada.jpg").is_file());
    assert!(studio.outbox("poster.png").is_file());
    assert_eq!(studio.jobs().len(), 1, "{}", studio.report());
    assert_eq!(studio.submissions().len(), 1);
}

#[test]
fn a_picture_below_an_underscore_name_serves_many_jobs_and_stays_where_it_is() {
    let mut studio = Studio::builder().image_defaults().open();
    let style = media("picture.png");
    studio.drop_file("_style/x.png", &style);
    for name in ["one", "sub/two"] {
        let way = if name.contains('/') { "../" } else { "" };
        studio.drop_file(
            format!("{name}.yaml"),
            format!("model: gen4_image_turbo\nprompt: \"@style {name}\"\nratio: \"1920:1080\"\nreferenceImages: [{{ uri: {way}_style/x.png, tag: style }}]\n"),
        );
    }
    studio.start();
    let one = studio.wait_done("one.yaml");
    let two = studio.wait_done("sub/two.yaml");
    assert_eq!(fs::read(studio.inbox("_style/x.png")).unwrap(), style);
    assert!(!studio.originals("_style").exists());
    let uri = |job: &Job| body(&studio, job)["referenceImages"][0]["uri"].clone();
    assert_eq!(uri(&one), uri(&two));
    assert_eq!(studio.jobs().len(), 2);
    let uploads = studio
        .seen()
        .requests
        .iter()
        .filter(|seen| seen.path == "/v1/uploads")
        .count();
    assert!(uploads <= 1, "{}", studio.report());
}

#[test]
fn a_medium_without_a_sidecar_is_a_job_by_its_defaults_after_the_wait() {
    let studio = Studio::builder()
        .image_defaults()
        .inbox("pair_wait: 1s")
        .run();
    studio.drop_file("red.jpg", jpeg("red"));
    let waiting = studio.wait_reason("red.jpg", "sidecar");
    assert_eq!(waiting.state(), "waiting");
    let job = studio.wait_done("red.jpg");
    assert_eq!(job.id(), waiting.id(), "the name stays");
    assert_eq!(job.0["endpoint"], "image_to_video");
    assert_eq!(body(&studio, &job)["duration"], 5);
}

#[test]
fn a_medium_whose_defaults_make_no_request_waits_and_says_for_what() {
    let studio = Studio::builder()
        .defaults("{ model: gen4_turbo, duration: 5 }")
        .run();
    studio.drop_file("red.jpg", jpeg("red"));
    let job = studio.wait_reason("red.jpg", "sidecar");
    assert!(job.reason().contains("ratio"), "{job:?}");
    studio.drop_file("walk.mp4", mp4("walk"));
    let job = studio.wait_reason("walk.mp4", "sidecar");
    assert!(!job.reason().is_empty());
    assert!(studio.submissions().is_empty());
    assert!(studio.inbox("red.jpg").is_file());
}

#[test]
fn a_video_without_an_endpoint_goes_to_video_to_video() {
    let studio = Studio::builder().defaults("{ model: aleph2 }").run();
    studio.drop_file("walk.mp4", mp4("walk"));
    let job = studio.wait_done("walk.mp4");
    assert_eq!(job.0["endpoint"], "video_to_video");
    assert_eq!(studio.submission().path, "/v1/video_to_video");
}

#[test]
fn audio_needs_an_endpoint() {
    let studio = Studio::builder().run();
    studio.drop_file("hum.mp3", media("plain.mp3"));
    let job = studio.wait_reason("hum.mp3", "endpoint");
    assert!(job.reason().contains("sidecar"), "{job:?}");
    studio.drop_file("talk.mp3.yaml", "priority: 1\n");
    studio.drop_file("talk.mp3", media("tone.mp3"));
    studio.wait_failed("talk.mp3");
    let note = studio.note("talk.mp3");
    assert!(
        note.contains("endpoint") && note.contains("voice_isolation"),
        "{note}"
    );
    assert!(studio.submissions().is_empty());
}

#[test]
fn two_media_with_one_sidecar_by_stem_fail_with_words() {
    let mut studio = Studio::builder().image_defaults().open();
    studio.drop_file("cat.jpg", jpeg("cat"));
    studio.drop_file("cat.mp4", mp4("cat"));
    studio.drop_file("cat.yaml", film("which?"));
    studio.drop_file("dog.jpg", jpeg("dog"));
    studio.start();
    let job = studio.wait_failed("cat.yaml");
    assert!(job.reason().contains("cat.yaml"), "{job:?}");
    studio.wait_done("dog.jpg");
    for file in ["cat.jpg", "cat.mp4", "cat.yaml"] {
        assert!(studio.failed(file).is_file(), "{}", studio.report());
    }
    let note = studio.note("cat.yaml");
    for word in ["cat.jpg", "cat.mp4", "cat.jpg.yaml"] {
        assert!(note.contains(word), "{note}");
    }
    assert_eq!(studio.submissions().len(), 1);
}

#[test]
fn jobs_of_higher_priority_go_first() {
    let studio = Studio::builder()
        .runway("max_in_flight: 1")
        .image_defaults()
        .run();
    studio.drop_file("first.jpg.yaml", "prompt: \"[[slow 2]]\"\n");
    studio.drop_file("first.jpg", jpeg("first"));
    studio.wait_state("first.jpg", "running");
    for (name, priority) in [("low", -1), ("middle", 0), ("high", 7)] {
        studio.drop_file(
            format!("{name}.jpg.yaml"),
            format!("prompt: {name}\npriority: {priority}\n"),
        );
        studio.drop_file(format!("{name}.jpg"), jpeg(name));
    }
    for name in ["low", "middle", "high"] {
        studio.wait_done(&format!("{name}.jpg"));
    }
    let order: Vec<Value> = studio
        .submissions()
        .into_iter()
        .skip(1)
        .map(|seen| seen.body.unwrap()["promptText"].clone())
        .collect();
    assert_eq!(order, ["high", "middle", "low"]);
}

#[test]
fn a_job_that_would_cost_more_than_max_credits_is_refused_before_anything_is_sent() {
    let note = refused("prompt: x\nmax_credits: 24\n");
    assert!(note.contains("25") && note.contains("24"), "{note}");
    assert!(note.contains("red.jpg.yaml:2:"), "{note}");

    let studio = Studio::builder().image_defaults().run();
    studio.drop_file("red.jpg.yaml", "max_credits: 25\n");
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
}

#[test]
fn output_names_the_output() {
    let studio = Studio::builder().image_defaults().run();
    studio.drop_file("shoes/red.jpg.yaml", "output: My film v1.2\n");
    studio.drop_file("shoes/red.jpg", jpeg("red"));
    let job = studio.wait_done("shoes/red.jpg");
    assert_eq!(job.outputs(), [studio.outbox("shoes/My film v1.2.mp4")]);
    assert!(studio.outbox("shoes/My film v1.2.mp4.yaml").is_file());
}

#[test]
fn output_cannot_lead_elsewhere() {
    let note = refused("prompt: x\noutput: ../../film\n");
    assert!(note.contains("red.jpg.yaml:2:9"), "{note}");
    assert!(note.contains("output"), "{note}");
}

#[test]
fn count_and_then_are_reserved() {
    let note = refused("count: 4\nprompt: x\nthen: [{ endpoint: video_upscale }]\n");
    assert!(note.contains("reserved"), "{note}");
    assert!(note.contains("red.jpg.yaml:1:"), "{note}");
    assert!(note.contains("red.jpg.yaml:3:"), "{note}");
}

#[test]
fn all_problems_are_told_at_once_with_their_places_and_hints() {
    let note = refused(
        "promt: Planes land at dawn\nmodel: gen4_turbo\nratio: 16:10\nduration: five\nseed: 1.5\npriority: high\n",
    );
    for (place, word) in [
        ("red.jpg.yaml:1:1", "prompt"),
        ("red.jpg.yaml:3:8", "1280:720"),
        ("red.jpg.yaml:4:11", "duration"),
        ("red.jpg.yaml:5:7", "seed"),
        ("red.jpg.yaml:6:11", "priority"),
    ] {
        let line = note.lines().find(|line| line.contains(place));
        let line = line.unwrap_or_else(|| panic!("nothing at {place} in {note}"));
        assert!(line.contains(word), "{word} in {line}");
    }
    assert!(note.contains("promt"), "{note}");
}

#[test]
fn a_prompt_that_yaml_would_cut_short_is_told() {
    let note = refused("model: gen4_turbo\nprompt: a cat #cinematic\n");
    assert!(note.contains("#cinematic"), "{note}");
    assert!(note.contains("red.jpg.yaml:2:"), "{note}");
    assert!(note.contains("quotes") || note.contains('|'), "{note}");
}

#[test]
fn a_prompt_in_a_block_keeps_its_number_sign() {
    let studio = Studio::builder().image_defaults().run();
    studio.drop_file(
        "cat.jpg.yaml",
        "prompt: |\n  Slow dolly in; the cat turns its head. #cinematic\nduration: 5 # seconds\n",
    );
    studio.drop_file("cat.jpg", jpeg("cat"));
    studio.wait_done("cat.jpg");
    let body = studio.submission().body.unwrap();
    assert_eq!(
        body["promptText"].as_str().unwrap().trim_end(),
        "Slow dolly in; the cat turns its head. #cinematic"
    );
}

#[test]
fn row_16_a_path_that_leaves_the_inbox_is_refused() {
    for (path, place) in [
        ("../secret.jpg", "post.yaml:4:"),
        ("/etc/passwd", "post.yaml:4:"),
        ("a/../../secret.jpg", "post.yaml:4:"),
        ("file:///etc/passwd", "post.yaml:4:"),
        ("http://example.com/red.jpg", "post.yaml:4:"),
    ] {
        let studio = Studio::builder().run();
        studio.drop_at("secret.jpg", jpeg("secret"));
        studio.drop_file(
            "post.yaml",
            format!("model: gen4_turbo\nratio: \"1280:720\"\nduration: 5\npromptImage: {path}\n"),
        );
        studio.wait_failed("post.yaml");
        let note = studio.note("post.yaml");
        assert!(note.contains(path), "{note}");
        assert!(note.contains(place), "{note}");
        assert!(studio.submissions().is_empty());
        assert_eq!(
            studio.copies_of(&jpeg("secret")),
            ["secret.jpg"],
            "{}",
            studio.report()
        );
    }
}

#[test]
fn row_16_a_link_is_not_followed() {
    let studio = Studio::builder().image_defaults().run();
    studio.drop_at("outside/secret.jpg", jpeg("secret"));
    symlink(studio.path("outside/secret.jpg"), studio.inbox("link.jpg")).unwrap();
    symlink(studio.path("outside"), studio.inbox("folder")).unwrap();
    studio.drop_file(
        "post.yaml",
        "model: gen4_turbo\nratio: \"1280:720\"\nduration: 5\npromptImage: folder/secret.jpg\n",
    );
    studio.drop_file("good.jpg", jpeg("good"));
    studio.wait_done("good.jpg");
    let job = studio.wait_for("the link is told", |studio| studio.job("link.jpg"));
    assert!(job.reason().contains("link"), "{job:?}");
    let job = studio.wait_for("the sidecar is told", |studio| studio.job("post.yaml"));
    assert!(
        ["waiting", "failed"].contains(&job.state()) && !job.reason().is_empty(),
        "{job:?}"
    );
    assert_eq!(studio.submissions().len(), 1);
    assert_eq!(
        studio.copies_of(&jpeg("secret")).len(),
        2,
        "the file and the link to it"
    );
}

#[test]
fn urls_that_the_api_fetches_itself_are_kept() {
    let studio = Studio::builder().image_defaults().run();
    studio.drop_file("large.jpg", large_jpeg("large", 600_000));
    let large = studio.wait_done("large.jpg");
    let uri = body(&studio, &large)["promptImage"].clone();
    studio.drop_file(
        "web.yaml",
        "model: gen4_turbo\npromptImage: https://example.com/red.jpg?x=1#y\n",
    );
    studio.drop_file(
        "stored.yaml",
        format!(
            "model: gen4_turbo\npromptImage: {}\n",
            uri.as_str().unwrap()
        ),
    );
    let web = studio.wait_done("web.yaml");
    let stored = studio.wait_done("stored.yaml");
    assert_eq!(
        body(&studio, &web)["promptImage"],
        "https://example.com/red.jpg?x=1#y"
    );
    assert_eq!(body(&studio, &stored)["promptImage"], uri);
    assert_eq!(
        studio.record("web.mp4")["request"]["promptImage"],
        "https://example.com/red.jpg?x=1#y"
    );
}

#[test]
fn a_list_of_first_and_last_pictures_is_one_job_with_both() {
    let mut studio = Studio::builder().image_defaults().open();
    studio.drop_file("start.jpg", jpeg("start"));
    studio.drop_file("end.jpg", jpeg("end"));
    studio.drop_file(
        "move.yaml",
        "model: veo3.1\nprompt: from here to there\nratio: \"1280:720\"\nduration: 4\npromptImage:\n  - { uri: start.jpg, position: first }\n  - { uri: end.jpg, position: last }\n",
    );
    studio.start();
    let job = studio.wait_done("move.yaml");
    let body = body(&studio, &job);
    assert_eq!(body["promptImage"][0]["position"], "first");
    assert_eq!(body["promptImage"][1]["position"], "last");
    let uris: Vec<&str> = [0, 1]
        .iter()
        .map(|index| body["promptImage"][*index]["uri"].as_str().unwrap())
        .collect();
    assert_ne!(uris[0], uris[1]);
    assert_eq!(studio.jobs().len(), 1, "{}", studio.report());
    assert_eq!(
        studio.record("move.mp4")["request"]["promptImage"],
        json!([{"uri": "start.jpg", "position": "first"}, {"uri": "end.jpg", "position": "last"}])
    );
    for file in ["start.jpg", "end.jpg", "move.yaml"] {
        assert!(studio.originals(file).is_file(), "{}", studio.report());
    }
}

#[test]
fn a_sidecar_that_names_its_own_medium_uses_it_once() {
    let studio = Studio::builder().image_defaults().inbox(LONG).run();
    studio.drop_file(
        "cat.yaml",
        "promptImage: cat.jpg\nprompt: x\nmodel: gen4_turbo\nratio: \"1280:720\"\nduration: 5\n",
    );
    studio.drop_file("cat.jpg", jpeg("cat"));
    studio.wait_for("it is done", |studio| {
        studio.jobs().into_iter().find(|job| job.state() == "done")
    });
    assert_eq!(studio.jobs().len(), 1, "{}", studio.report());
    assert_eq!(studio.submissions().len(), 1);
    assert!(studio.originals("cat.jpg").is_file());
    assert!(studio.originals("cat.yaml").is_file());
}

#[test]
fn row_06_a_corrected_sidecar_moved_back_with_its_medium_is_tried_again() {
    let mut studio = Studio::builder().image_defaults().open();
    studio.drop_file("red.jpg.yaml", "promt: a cat\n");
    studio.drop_file("red.jpg", jpeg("red"));
    studio.start();
    studio.wait_failed("red.jpg");
    fs::write(studio.failed("red.jpg.yaml"), "prompt: a cat\n").unwrap();
    fs::rename(studio.failed("red.jpg.yaml"), studio.inbox("red.jpg.yaml")).unwrap();
    fs::rename(studio.failed("red.jpg"), studio.inbox("red.jpg")).unwrap();
    studio.wait_for("it is done", |studio| {
        studio.job("red.jpg").filter(|job| job.state() == "done")
    });
    assert_eq!(studio.submission().body.unwrap()["promptText"], "a cat");
    assert!(studio.outbox("red.mp4").is_file());
}

#[test]
fn a_sidecar_without_media_is_a_job_by_itself_named_after_it() {
    let studio = patient().run();
    studio.drop_file(
        "storm.yaml",
        "endpoint: text_to_video\nmodel: veo3.1_fast\nprompt: A storm\nratio: \"1280:720\"\nduration: 4\n",
    );
    let job = studio.wait_done("storm.yaml");
    assert_eq!(job.outputs(), [studio.outbox("storm.mp4")]);
    assert!(studio.originals("storm.yaml").is_file());
}

#[test]
fn row_03_a_sidecar_still_being_written_is_not_taken() {
    let studio = Studio::builder().image_defaults().run();
    // The writer holds it open while half of it is there.
    let path = studio.inbox("red.jpg.yaml");
    let mut file = fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut file, b"prompt: half a th").unwrap();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_reason("red.jpg", "");
    std::io::Write::write_all(&mut file, b"ought\n").unwrap();
    drop(file);
    studio.wait_done("red.jpg");
    assert_eq!(
        studio.submission().body.unwrap()["promptText"],
        "half a thought"
    );
}
