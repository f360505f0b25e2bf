//! Estimates in credits.

use serde_json::json;

use super::*;

fn credits(endpoint: &str, model: &str, body: Value, input_seconds: Option<f64>) -> Option<f64> {
    let (_, model) = at(endpoint, model);
    model.estimate(&map(body), input_seconds)
}

#[test]
fn a_video_is_paid_by_the_second_of_its_duration() {
    for (endpoint, model, body, cost) in [
        ("image_to_video", "gen4_turbo", json!({"duration": 5}), 25.0),
        (
            "image_to_video",
            "gen3a_turbo",
            json!({"duration": 10}),
            50.0,
        ),
        ("image_to_video", "gen4.5", json!({"duration": 5}), 60.0),
        (
            "image_to_video",
            "gen4.5",
            json!({"duration": 5, "outputFormat": "mp4"}),
            60.0,
        ),
        (
            "image_to_video",
            "gen4.5",
            json!({"duration": 5, "outputFormat": "prores"}),
            85.0,
        ),
        (
            "image_to_video",
            "gen4.5",
            json!({"duration": 5, "outputFormat": "hlg"}),
            160.0,
        ),
        ("text_to_video", "veo3", json!({"duration": 8}), 320.0),
        ("text_to_video", "seedance2", json!({"duration": 5}), 180.0),
    ] {
        assert_eq!(credits(endpoint, model, body, None), Some(cost), "{model}");
    }
}

#[test]
fn sound_costs_more_and_is_reckoned_with_unless_it_is_off() {
    for (model, off, on) in [("veo3.1", 160.0, 320.0), ("veo3.1_fast", 80.0, 120.0)] {
        for endpoint in ["image_to_video", "text_to_video"] {
            let cost = |body| credits(endpoint, model, body, None);
            assert_eq!(cost(json!({"duration": 8, "audio": false})), Some(off));
            assert_eq!(cost(json!({"duration": 8, "audio": true})), Some(on));
            assert_eq!(cost(json!({"duration": 8})), Some(on));
        }
    }
}

#[test]
fn without_a_duration_the_cost_is_unknown() {
    assert_eq!(
        credits("image_to_video", "gen4_turbo", json!({}), Some(5.0)),
        None
    );
    assert_eq!(
        credits(
            "text_to_video",
            "seedance2",
            json!({"duration": "auto"}),
            None
        ),
        None
    );
    assert_eq!(
        credits(
            "image_to_video",
            "gen4_turbo",
            json!({"duration": -5}),
            None
        ),
        None
    );
}

#[test]
fn what_is_as_long_as_its_input_is_paid_by_the_inputs_seconds() {
    for (endpoint, model, seconds, cost) in [
        ("video_to_video", "gen4_aleph", 4.2, 75.0),
        ("character_performance", "act_two", 10.0, 50.0),
        ("voice_isolation", "eleven_voice_isolation", 13.0, 3.0),
        ("voice_dubbing", "eleven_voice_dubbing", 13.0, 7.0),
        ("speech_to_speech", "eleven_multilingual_sts_v2", 13.0, 5.0),
    ] {
        assert_eq!(
            credits(endpoint, model, json!({}), Some(seconds)),
            Some(cost),
            "{model}"
        );
        assert_eq!(credits(endpoint, model, json!({}), None), None, "{model}");
    }
}

#[test]
fn an_image_is_paid_by_its_size_or_quality_and_their_number() {
    for (model, body, cost) in [
        ("gen4_image", json!({"ratio": "1280:720"}), Some(5.0)),
        ("gen4_image", json!({"ratio": "1920:1080"}), Some(8.0)),
        ("gen4_image_turbo", json!({}), Some(2.0)),
        ("gemini_2.5_flash", json!({}), Some(5.0)),
        ("muse_image", json!({"outputCount": 3}), Some(3.0)),
        ("muse_image", json!({}), None),
        (
            "ideogram_4_0",
            json!({"outputCount": 2, "quality": "high"}),
            Some(22.0),
        ),
        ("ideogram_4_0", json!({"outputCount": 2}), None),
        ("gpt_image_2", json!({"outputCount": 1}), None),
    ] {
        assert_eq!(credits("text_to_image", model, body, None), cost, "{model}");
    }
}

#[test]
fn sounds_have_a_flat_price_and_speech_one_by_its_length() {
    assert_eq!(
        credits("sound_effect", "eleven_text_to_sound_v2", json!({}), None),
        Some(2.0)
    );
    let speak = |text: &str| {
        credits(
            "text_to_speech",
            "eleven_multilingual_v2",
            json!({"promptText": text}),
            None,
        )
    };
    assert_eq!(speak(&"a".repeat(50)), Some(1.0));
    assert_eq!(speak(&"a".repeat(51)), Some(2.0));
    assert_eq!(
        credits("text_to_speech", "eleven_multilingual_v2", json!({}), None),
        None
    );
}

#[test]
fn a_model_without_a_price_has_no_estimate() {
    let body = json!({"duration": 5});
    assert_eq!(
        credits("image_to_video", "kling_4", body.clone(), Some(5.0)),
        None
    );
    let (endpoint, _) = at("image_to_video", "gen4_turbo");
    assert_eq!(
        endpoint
            .permissive_model("gen4_turbo")
            .estimate(&map(body), None),
        None
    );
}
