//! The catalogue as a whole: it is what its script makes from the pinned SDKs, and it
//! holds everything that the API guide names.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
extern crate taxiway_test_attribute;

mod support {
    pub mod runner;
}

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use taxiway::catalogue::{Catalogue, check};

fn main() -> std::process::ExitCode {
    support::runner::main()
}

#[test(needs = [SDK_SOURCES])]
fn the_checked_in_catalogue_is_what_its_script_makes_from_the_pinned_sdks() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/catalogue/generate.py");
    let run = Command::new("python3")
        .arg(script)
        .arg("--check")
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
}

#[test]
fn every_endpoint_that_starts_a_task_is_there() {
    let catalogue = Catalogue::built_in().unwrap();
    let names: Vec<&str> = catalogue.endpoints().map(|e| e.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "avatar_videos",
            "character_performance",
            "generate/audio",
            "generate/image",
            "generate/video",
            "image_to_video",
            "image_upscale",
            "recipes/ad_localization",
            "recipes/marketing_stock_image",
            "recipes/multi_shot_video",
            "recipes/product_ad",
            "recipes/product_campaign_image",
            "recipes/product_swap",
            "recipes/product_ugc",
            "sound_effect",
            "speech_to_speech",
            "text_to_image",
            "text_to_speech",
            "text_to_video",
            "video_to_audio",
            "video_to_hdr",
            "video_to_video",
            "video_upscale",
            "voice_dubbing",
            "voice_isolation",
            "workflows",
        ]
    );
}

#[test]
fn every_model_that_the_guide_names_is_there() {
    let catalogue = Catalogue::built_in().unwrap();
    for (endpoint, models) in [
        (
            "image_to_video",
            &["gen4_turbo", "gen3a_turbo", "veo3.1", "veo3"][..],
        ),
        ("text_to_video", &["veo3.1", "veo3.1_fast", "veo3"]),
        ("video_to_video", &["gen4_aleph"]),
        ("text_to_image", &["gen4_image_turbo", "gen4_image"]),
        ("video_upscale", &["upscale_v1"]),
        ("sound_effect", &["eleven_text_to_sound_v2"]),
    ] {
        let endpoint = catalogue.endpoint(endpoint).unwrap().endpoint;
        for model in models {
            assert!(endpoint.model(model).is_some(), "{} {model}", endpoint.name);
        }
    }
    let newest = catalogue.endpoint("image_to_video").unwrap().endpoint;
    assert_eq!(newest.models().filter(|m| m.dropped.is_none()).count(), 25);
}

#[test]
fn every_request_of_the_guide_is_right() {
    let catalogue = Catalogue::built_in().unwrap();
    let image = "runway://image";
    let video = "https://example.com/video.mp4";
    let requests: [(&str, Value); 20] = [
        (
            "image_to_video",
            json!({"model": "gen4_turbo", "promptImage": image, "promptText": "Slow dolly in",
                   "ratio": "1280:720", "duration": 5, "seed": 7}),
        ),
        (
            "image_to_video",
            json!({"model": "gen4_turbo", "promptImage": [{"uri": image, "position": "first"}],
                   "ratio": "1280:720"}),
        ),
        (
            "image_to_video",
            json!({"model": "gen3a_turbo", "promptText": "x", "ratio": "768:1280", "duration": 10,
                   "promptImage": [{"uri": image, "position": "first"}, {"uri": image, "position": "last"}]}),
        ),
        (
            "image_to_video",
            json!({"model": "veo3.1", "promptImage": image, "ratio": "1280:720", "duration": 8}),
        ),
        (
            "image_to_video",
            json!({"model": "veo3", "promptImage": image, "ratio": "1280:720", "duration": 8}),
        ),
        (
            "text_to_video",
            json!({"model": "veo3.1", "promptText": "x", "ratio": "1280:720", "duration": 4}),
        ),
        (
            "text_to_video",
            json!({"model": "veo3.1_fast", "promptText": "x", "ratio": "1280:720", "duration": 6}),
        ),
        (
            "text_to_video",
            json!({"model": "veo3", "promptText": "x", "ratio": "1280:720", "duration": 8}),
        ),
        (
            "video_to_video",
            json!({"model": "gen4_aleph", "videoUri": video, "promptText": "x", "ratio": "1280:720",
                   "references": [{"type": "image", "uri": image}]}),
        ),
        (
            "video_to_video",
            json!({"model": "aleph2", "videoUri": video, "ratio": "1280:720"}),
        ),
        (
            "text_to_image",
            json!({"model": "gen4_image", "promptText": "@cat in a hat", "ratio": "1920:1080",
                   "referenceImages": [{"uri": image, "tag": "cat"}]}),
        ),
        (
            "text_to_image",
            json!({"model": "gen4_image_turbo", "promptText": "x", "ratio": "1280:720",
                   "referenceImages": [{"uri": image, "tag": "cat"}]}),
        ),
        (
            "video_upscale",
            json!({"model": "upscale_v1", "videoUri": video}),
        ),
        (
            "video_upscale",
            json!({"model": "magnific_video_upscaler_creative", "videoUri": video}),
        ),
        (
            "sound_effect",
            json!({"model": "eleven_text_to_sound_v2", "promptText": "x", "duration": 0.5, "loop": true}),
        ),
        (
            "sound_effect",
            json!({"model": "eleven_text_to_sound_v2", "promptText": "x", "duration": 30}),
        ),
        (
            "character_performance",
            json!({"model": "act_two", "character": {"type": "image", "uri": image},
                   "reference": {"type": "video", "uri": video}, "ratio": "1280:720"}),
        ),
        (
            "generate/video",
            json!({"configId": "c", "input": {"promptText": "x", "duration": 5}}),
        ),
        (
            "recipes/ad_localization",
            json!({"referenceImage": {"uri": image}, "targetLanguage": "ja", "version": "2026-06"}),
        ),
        (
            "workflows/1234",
            json!({"nodeOutputs": {"n": {"prompt": {"type": "primitive", "value": "x"}}}}),
        ),
    ];
    for (endpoint, body) in requests {
        let endpoint = catalogue.endpoint(endpoint).unwrap().endpoint;
        let model = endpoint
            .model(body["model"].as_str().unwrap_or(""))
            .unwrap();
        let problems = check(endpoint, model, body.as_object().unwrap());
        assert!(problems.is_empty(), "{body}: {problems:?}");
    }
}
