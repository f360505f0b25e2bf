//! Whole studios as text, before and after what people do: each is compared with its file in `snapshots`.

use taxiway::simulator::Action;

use crate::support::{Studio, fault, jpeg, large_jpeg, media, mp4};

#[test]
fn a_job_of_each_main_endpoint_leaves_its_studio_like_this() {
    let studio = Studio::builder().run();
    let still = "endpoint: text_to_image\nmodel: gen4_image\nprompt: \"@ada\"\nratio: \"1920:1080\"\nreferenceImages: [{ uri: ada.png, tag: ada }]\n";
    // One after the other, so that the requests have one order.
    for (input, files) in [
        (
            "shoe.jpg",
            vec![
                ("shoe.jpg.yaml", b"model: gen4_turbo\nprompt: Slow dolly in\nratio: \"1280:720\"\nduration: 5\nseed: 7\n".to_vec()),
                ("shoe.jpg", jpeg("shoe")),
            ],
        ),
        (
            "large.jpg",
            vec![
                ("large.jpg.yaml", b"model: gen4_turbo\nprompt: Slow dolly in\nratio: \"1280:720\"\nduration: 10\n".to_vec()),
                ("large.jpg", large_jpeg("large", 6_000_000)),
            ],
        ),
        (
            "storm.yaml",
            vec![("storm.yaml", b"endpoint: text_to_video\nmodel: veo3.1\nprompt: A storm\nratio: \"1280:720\"\nduration: 4\n".to_vec())],
        ),
        (
            "still.yaml",
            vec![("ada.png", media("picture.png")), ("still.yaml", still.as_bytes().to_vec())],
        ),
        (
            "walk.mp4",
            vec![
                ("walk.yaml", b"model: gen4_aleph\nprompt: The same walk in snow\nratio: \"1280:720\"\n".to_vec()),
                ("walk.mp4", mp4("walk")),
            ],
        ),
        (
            "small.mp4",
            vec![
                ("small.mp4.yaml", b"endpoint: video_upscale\nmodel: upscale_v1\n".to_vec()),
                ("small.mp4", mp4("small")),
            ],
        ),
        (
            "rain.yaml",
            vec![("rain.yaml", b"endpoint: sound_effect\nmodel: eleven_text_to_sound_v2\nprompt: Rain\nduration: 3\n".to_vec())],
        ),
    ] {
        for (name, bytes) in files {
            studio.drop_file(name, bytes);
        }
        studio.wait_done(input);
    }
    studio.assert_snapshot("each_endpoint");
}

#[test]
fn jobs_that_fail_leave_their_studio_like_this() {
    let refused = Action::Status {
        code: 400,
        body: Some(serde_json::json!({"error": "Not this one."})),
        headers: Default::default(),
    };
    let fails = Action::TaskFails {
        code: "SAFETY.INPUT.IMAGE".to_owned(),
        message: None,
        charged: None,
    };
    let studio = Studio::builder()
        .image_defaults()
        .simulator(|options| {
            options.faults = vec![
                fault("/v1/image_to_video", 1, refused),
                fault("/v1/image_to_video", 1, fails),
            ];
        })
        .run();
    for name in ["refused.jpg", "sub/unsafe.jpg"] {
        studio.drop_file(name, jpeg(name));
        studio.wait_failed(name);
    }
    studio.drop_file("wrong.jpg.yaml", "promt: pan\n");
    studio.drop_file("wrong.jpg", jpeg("wrong"));
    studio.wait_failed("wrong.jpg");
    studio.assert_snapshot("failures");
}

#[test]
fn a_job_that_is_cancelled_leaves_its_studio_like_this() {
    let studio = Studio::builder().image_defaults().run();
    studio.drop_file("sub/red.jpg.yaml", "prompt: \"[[slow 30]]\"\n");
    studio.drop_file("sub/red.jpg", jpeg("red"));
    let job = studio.wait_state("sub/red.jpg", "running");
    studio.wait_until("Runway is asked for the task", |studio| {
        let requests = studio.seen().requests;
        requests
            .iter()
            .any(|seen| seen.path.starts_with("/v1/tasks/"))
    });
    studio.cli_ok(&["cancel", job.id()]);
    studio.wait_state("sub/red.jpg", "cancelled");
    studio.assert_snapshot("cancelled");
}
