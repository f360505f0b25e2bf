//! Media in bodies: where they stand, and how dropped files get in.

use serde_json::json;

use super::*;
use crate::json::{Step, get_field, set_slot};

fn slots(endpoint: &str, model: &str, body: Value) -> Vec<(String, String, Vec<Kind>)> {
    let (_, model) = at(endpoint, model);
    find_media_slots(model, &map(body))
        .into_iter()
        .map(|slot| (format_path(&slot.path), slot.uri, slot.kinds))
        .collect()
}

fn slot(path: &str, uri: &str, kind: Kind) -> (String, String, Vec<Kind>) {
    (path.to_owned(), uri.to_owned(), vec![kind])
}

#[test]
fn a_dropped_file_placed_in_the_main_field_is_found_again_there() {
    let mut placed = 0;
    for endpoint in catalogue().endpoints() {
        for model in endpoint.models() {
            for kind in [Kind::Image, Kind::Video, Kind::Audio] {
                let Some(field) = model.main_media(kind) else {
                    continue;
                };
                let value = place_media(model, field, kind, "dropped").unwrap();
                let mut body = least_body(&model.fields);
                assert!(put_field(model, &mut body, field, value));
                let found = check(endpoint, model, &body);
                assert!(
                    found.is_empty(),
                    "{} {}: {found:?}",
                    endpoint.name,
                    model.name
                );
                let slots = find_media_slots(model, &body);
                let slot = slots.iter().find(|s| s.uri == "dropped").unwrap();
                assert!(
                    slot.kinds.contains(&kind),
                    "{} {}",
                    endpoint.name,
                    model.name
                );
                assert!(set_slot(&mut body, &slot.path, "runway://new"));
                assert!(
                    find_media_slots(model, &body)
                        .iter()
                        .any(|s| s.uri == "runway://new")
                );
                placed += 1;
            }
        }
    }
    assert!(placed > 70, "{placed}");
}

#[test]
fn a_dropped_file_takes_the_form_that_its_field_wants() {
    for (endpoint, model, kind, field, value) in [
        (
            "image_to_video",
            "gen4_turbo",
            Kind::Image,
            "promptImage",
            json!("f"),
        ),
        (
            "image_to_video",
            "kling_4",
            Kind::Image,
            "promptImage",
            json!("f"),
        ),
        (
            "video_to_video",
            "aleph2",
            Kind::Video,
            "videoUri",
            json!("f"),
        ),
        (
            "video_to_video",
            "seedance2",
            Kind::Video,
            "promptVideo",
            json!("f"),
        ),
        (
            "text_to_image",
            "gen4_image",
            Kind::Image,
            "referenceImages",
            json!([{"uri": "f"}]),
        ),
        (
            "character_performance",
            "act_two",
            Kind::Video,
            "character",
            json!({"type": "video", "uri": "f"}),
        ),
        (
            "speech_to_speech",
            "eleven_multilingual_sts_v2",
            Kind::Audio,
            "media",
            json!({"type": "audio", "uri": "f"}),
        ),
        (
            "avatar_videos",
            "gwm1_avatars",
            Kind::Audio,
            "speech",
            json!({"type": "audio", "audio": "f"}),
        ),
        (
            "generate/video",
            "",
            Kind::Video,
            "input.referenceVideos",
            json!([{"role": "source", "uri": "f"}]),
        ),
    ] {
        let (_, model) = at(endpoint, model);
        assert_eq!(model.main_media(kind), Some(field), "{endpoint}");
        assert_eq!(
            place_media(model, field, kind, "f"),
            Some(value),
            "{endpoint}"
        );
    }
}

#[test]
fn a_kind_that_a_field_does_not_take_is_not_placed() {
    let (_, model) = at("image_to_video", "gen4_turbo");
    assert_eq!(model.main_media(Kind::Video), None);
    assert_eq!(place_media(model, "promptImage", Kind::Audio, "f"), None);
    assert_eq!(place_media(model, "promptText", Kind::Image, "f"), None);
    assert_eq!(place_media(model, "nothing", Kind::Image, "f"), None);
    // Some models of text_to_image take no pictures at all.
    assert_eq!(
        at("text_to_image", "recraft_v4_1_flash")
            .1
            .main_media(Kind::Image),
        None
    );
}

#[test]
fn media_are_found_wherever_the_body_holds_them() {
    assert_eq!(
        slots(
            "image_to_video",
            "veo3.1",
            json!({"promptText": "not a.png", "promptImage": [
                {"uri": "a.png", "position": "first"}, {"uri": "b.png", "position": "last"}]}),
        ),
        [
            slot("promptImage[0].uri", "a.png", Kind::Image),
            slot("promptImage[1].uri", "b.png", Kind::Image),
        ]
    );
    assert_eq!(
        slots(
            "video_to_video",
            "gen4_aleph",
            json!({"videoUri": "v.mp4", "references": [{"type": "image", "uri": "r.png"}]}),
        ),
        [
            slot("videoUri", "v.mp4", Kind::Video),
            slot("references[0].uri", "r.png", Kind::Image)
        ]
    );
    assert_eq!(
        slots(
            "video_to_video",
            "aleph2",
            json!({"keyframes": [{"at": 0.5, "uri": "k.png"}]})
        ),
        [slot("keyframes[0].uri", "k.png", Kind::Image)]
    );
    assert_eq!(
        slots("text_to_image", "ideogram_4_5", json!({"maskUri": "m.png"})),
        [slot("maskUri", "m.png", Kind::Image)]
    );
    assert_eq!(
        slots(
            "sound_effect",
            "seed_audio",
            json!({"referenceAudios": ["a.mp3", "b.mp3"]})
        ),
        [
            slot("referenceAudios[0]", "a.mp3", Kind::Audio),
            slot("referenceAudios[1]", "b.mp3", Kind::Audio),
        ]
    );
    assert_eq!(
        slots(
            "workflows",
            "",
            json!({"nodeOutputs": {"n": {"a": {"type": "video", "uri": "v.mp4"},
                                         "b": {"type": "primitive", "value": "x"}}}}),
        ),
        [slot("nodeOutputs.n.a.uri", "v.mp4", Kind::Video)]
    );
    assert_eq!(
        slots(
            "generate/audio",
            "",
            json!({"input": {"voice": {"type": "reference-audio", "audioUri": "v.mp3"}}})
        ),
        [slot("input.voice.audioUri", "v.mp3", Kind::Audio)]
    );
}

#[test]
fn media_are_found_in_lists_that_the_sdk_leaves_untyped() {
    assert_eq!(
        slots(
            "image_to_video",
            "kling_4",
            json!({
                "promptImage": [{"uri": "a.png", "position": "first"}],
                "referenceVideos": [{"uri": "v.mp4"}],
            })
        ),
        [
            slot("promptImage[0].uri", "a.png", Kind::Image),
            slot("referenceVideos[0].uri", "v.mp4", Kind::Video),
        ]
    );
}

#[test]
fn the_media_of_a_body_that_is_wrong_elsewhere_are_found_all_the_same() {
    assert_eq!(
        slots(
            "character_performance",
            "act_two",
            json!({"character": {"type": "video", "uri": "c.mp4", "oops": 1}}),
        ),
        [slot("character.uri", "c.mp4", Kind::Video)]
    );
}

#[test]
fn every_required_media_of_every_model_is_a_slot() {
    for endpoint in catalogue().endpoints() {
        for model in endpoint.models() {
            let body = least_body(&model.fields);
            let written = Value::Object(body.clone())
                .to_string()
                .matches("runway://x")
                .count();
            let found = find_media_slots(model, &body);
            assert_eq!(found.len(), written, "{} {}", endpoint.name, model.name);
            // Speech may be a text as well: there, media are possible, not needed.
            assert!(!model.needs_media() || written > 0, "{}", endpoint.name);
        }
    }
}

#[test]
fn a_slot_that_is_not_there_is_not_set() {
    let mut body = map(json!({"a": [{"uri": "x"}], "n": 5}));
    let step = |key: &str| Step::Key(key.to_owned());
    assert!(set_slot(
        &mut body,
        &[step("a"), Step::Index(0), step("uri")],
        "y"
    ));
    assert_eq!(body["a"][0]["uri"], "y");
    assert!(!set_slot(
        &mut body,
        &[step("a"), Step::Index(1), step("uri")],
        "z"
    ));
    assert!(!set_slot(&mut body, &[step("n")], "z"));
    assert!(!set_slot(&mut body, &[step("none")], "z"));
    assert!(!set_slot(&mut body, &[], "z"));
    assert_eq!(body, map(json!({"a": [{"uri": "y"}], "n": 5})));
}

#[test]
fn a_prompt_reaches_its_field_however_deep_it_lies() {
    let mut placed = 0;
    for endpoint in catalogue().endpoints() {
        let Some(prompt) = &endpoint.prompt else {
            continue;
        };
        for model in endpoint.models() {
            let mut body = Map::new();
            assert!(
                put_field(model, &mut body, prompt, json!("hello")),
                "{}",
                endpoint.name
            );
            assert_eq!(get_field(&body, prompt), Some(&json!("hello")));
            placed += 1;
        }
    }
    assert!(placed > 90, "{placed}");
    let (_, model) = at("avatar_videos", "gwm1_avatars");
    let mut body = Map::new();
    assert!(put_field(model, &mut body, "speech.text", json!("hi")));
    assert_eq!(
        Value::Object(body),
        json!({"speech": {"type": "text", "text": "hi"}})
    );
}

#[test]
fn a_nested_field_keeps_what_stands_beside_it() {
    let (_, model) = at("generate/video", "");
    let mut body = map(json!({"configId": "c", "input": {"seed": 7}}));
    assert!(put_field(model, &mut body, "input.promptText", json!("x")));
    assert_eq!(
        Value::Object(body),
        json!({"configId": "c", "input": {"seed": 7, "promptText": "x"}})
    );
    let mut body = map(json!({"input": "text"}));
    assert!(!put_field(model, &mut body, "input.promptText", json!("x")));
    assert!(!put_field(model, &mut body, "input.nothing", json!("x")));
    assert_eq!(Value::Object(body), json!({"input": "text"}));
}
