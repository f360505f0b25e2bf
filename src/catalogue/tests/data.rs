//! What the built-in data holds, how it is looked up, and what is refused.

use serde_json::json;

use super::*;

#[test]
fn every_endpoint_is_found_by_its_name_and_leads_to_its_path() {
    let catalogue = catalogue();
    let found = catalogue.endpoint("image_to_video").unwrap();
    assert_eq!(found.path, "/v1/image_to_video");
    assert_eq!(found.endpoint.poll_path("t1"), "/v1/tasks/t1");
    let found = catalogue.endpoint("recipes/product_ad").unwrap();
    assert_eq!(found.path, "/v1/recipes/product_ad");
    assert!(catalogue.endpoint("no_such").is_none());
}

#[test]
fn a_workflow_is_named_with_its_id_and_has_its_own_place_to_poll() {
    let catalogue = catalogue();
    let found = catalogue.endpoint("workflows/ab-12_C").unwrap();
    assert_eq!(found.name, "workflows/ab-12_C");
    assert_eq!(found.path, "/v1/workflows/ab-12_C");
    assert_eq!(
        found.endpoint.poll_path("i1"),
        "/v1/workflow_invocations/i1"
    );
    for wrong in [
        "workflows",
        "workflows/",
        "workflows/a/b",
        "workflows/..",
        "workflows/a?b",
    ] {
        assert!(catalogue.endpoint(wrong).is_none(), "{wrong}");
    }
    assert_eq!(
        catalogue.nearest_endpoint("workflows").as_deref(),
        Some("workflows/THE-ID")
    );
}

#[test]
fn a_model_tells_its_endpoints() {
    let catalogue = catalogue();
    let names = |model| -> Vec<String> {
        let found = catalogue.endpoints_with_model(model);
        found.iter().map(|e| e.name.clone()).collect()
    };
    assert_eq!(names("gen4_turbo"), ["image_to_video"]);
    assert_eq!(names("veo3"), ["image_to_video", "text_to_video"]);
    assert!(names("").is_empty());
    assert!(names("gen9").is_empty());
}

#[test]
fn a_mistyped_endpoint_or_model_finds_the_one_that_was_meant() {
    let catalogue = catalogue();
    assert_eq!(
        catalogue.nearest_endpoint("image-to-video").as_deref(),
        Some("image_to_video")
    );
    assert_eq!(catalogue.nearest_model("gen4-turbo"), Some("gen4_turbo"));
    assert_eq!(catalogue.nearest_model("Veo3.1 fast"), Some("veo3.1_fast"));
    let upscale = catalogue.endpoint("video_upscale").unwrap().endpoint;
    assert_eq!(upscale.nearest_model("upscale_v2"), Some("upscale_v1"));
}

#[test]
fn models_that_the_newest_sdk_dropped_name_their_successors() {
    for (endpoint, model, successor) in [
        ("image_to_video", "gen3a_turbo", "gen4_turbo"),
        ("image_to_video", "veo3", "veo3.1"),
        ("text_to_video", "veo3", "veo3.1"),
        ("video_to_video", "gen4_aleph", "aleph2"),
        (
            "video_upscale",
            "upscale_v1",
            "magnific_video_upscaler_creative",
        ),
    ] {
        let (_, model) = at(endpoint, model);
        let dropped = model.dropped.as_ref().unwrap();
        assert_eq!(
            (dropped.successor.as_str(), dropped.last_sdk.as_str()),
            (successor, "4.0.0")
        );
    }
    let dropped = catalogue()
        .endpoints()
        .flat_map(Endpoint::models)
        .filter(|m| m.dropped.is_some());
    assert_eq!(dropped.count(), 5);
}

#[test]
fn endpoints_know_whether_they_can_do_without_media() {
    let catalogue = catalogue();
    let needing: Vec<&str> = catalogue
        .endpoints()
        .filter(|e| e.needs_media())
        .map(|e| e.name.as_str())
        .collect();
    assert_eq!(
        needing,
        [
            "character_performance",
            "image_to_video",
            "image_upscale",
            "recipes/ad_localization",
            "recipes/product_ad",
            "recipes/product_campaign_image",
            "recipes/product_swap",
            "recipes/product_ugc",
            "speech_to_speech",
            "video_to_audio",
            "video_to_hdr",
            "video_to_video",
            "video_upscale",
            "voice_dubbing",
            "voice_isolation",
        ]
    );
    // One model of text_to_image works from pictures only, the endpoint does not.
    assert!(at("text_to_image", "gen4_image_turbo").1.needs_media());
    assert!(!at("text_to_image", "gen4_image").1.needs_media());
}

#[test]
fn limits_that_the_sdk_says_in_prose_are_known() {
    let (_, model) = at("image_to_video", "gen4.5");
    let whole = |min, max| Shape::Integer {
        allowed: vec![],
        min: Some(min),
        max: Some(max),
    };
    assert_eq!(model.fields["duration"].shape, whole(2, 10));
    let prompt = Shape::String {
        allowed: vec![],
        min_length: Some(1),
        max_utf16: Some(1000),
    };
    assert_eq!(model.fields["promptText"].shape, prompt);
    let (_, model) = at("sound_effect", "eleven_text_to_sound_v2");
    let seconds = Shape::Number {
        min: Some(0.5),
        max: Some(30.0),
    };
    assert_eq!(model.fields["duration"].shape, seconds);
    let (_, model) = at("character_performance", "act_two");
    assert_eq!(model.fields["expressionIntensity"].shape, whole(1, 5));
    let (_, model) = at("text_to_image", "gen4_image_turbo");
    assert!(matches!(
        model.fields["referenceImages"].shape,
        Shape::Array {
            min_items: Some(1),
            max_items: Some(3),
            ..
        }
    ));
}

#[test]
fn a_permissive_model_takes_any_value_but_no_unknown_key() {
    let catalogue = catalogue();
    let endpoint = catalogue.endpoint("image_to_video").unwrap().endpoint;
    let model = &endpoint.permissive_model("gen9");
    let body = map(json!({
        "model": "gen9", "promptImage": [{"uri": "a.png"}], "duration": 77, "ratio": "1:1",
        "promptTxt": "x",
    }));
    let problems = check(endpoint, model, &body);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].diagnostic.hint, "did you mean `promptText`?");
    let slots = find_media_slots(model, &body);
    assert_eq!(slots.len(), 1);
    assert_eq!(format_path(&slots[0].path), "promptImage[0].uri");
    assert_eq!(
        place_media(model, "promptImage", Kind::Image, "b.png"),
        Some(json!("b.png"))
    );
}

#[test]
fn a_catalogue_that_is_no_json_is_refused_with_its_place() {
    let error = Catalogue::from_json("{\n \"schema\": 1,\n oops").unwrap_err();
    assert_eq!(error.place.map(|place| place.line), Some(3), "{error}");
    assert!(!error.to_string().contains("at line"), "{error}");
}

#[test]
fn a_catalogue_of_another_format_is_refused_as_such() {
    let error = Catalogue::from_json(r#"{"schema": 2, "whatever": true}"#).unwrap_err();
    assert!(error.message.contains("the format 2"), "{error}");
}

#[test]
fn a_catalogue_that_contradicts_itself_is_refused() {
    let good = json!({"schema": 1, "endpoints": {"x": {
        "path": "/v1/x", "poll": "/v1/tasks/{id}", "output": "image", "prompt": "promptText",
        "main_media": {"image": "uri"},
        "models": {"m": {"dropped": null, "price": null, "fields": {
            "model": {"required": true, "shape": {"type": "string", "enum": ["m"]}},
            "promptText": {"required": true, "shape": {"type": "string"}},
            "uri": {"required": true, "shape": {"type": "media", "accepts": ["image"]}},
        }}},
    }}});
    assert!(Catalogue::from_json(&good.to_string()).is_ok());
    for (pointer, wrong, told) in [
        ("/endpoints/x/path", json!("/x"), "`path`"),
        ("/endpoints/x/poll", json!("/v1/tasks"), "`poll`"),
        ("/endpoints/x/prompt", json!("promptTxt"), "prompt field"),
        (
            "/endpoints/x/main_media",
            json!({"video": "uri"}),
            "dropped video",
        ),
        ("/endpoints/x/models", json!({}), "no models"),
        (
            "/endpoints/x/models/m/fields/model",
            json!(null),
            "cannot be read",
        ),
        (
            "/endpoints/x/models/m/dropped",
            json!({"last_sdk": "1", "successor": "n"}),
            "successor",
        ),
        (
            "/endpoints/x/models/m/price",
            json!({"unit": "second", "rules": [{"credits": 1}], "source": ""}),
            "seconds_from",
        ),
        ("/endpoints", json!({}), "there is none"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = wrong;
        let error = Catalogue::from_json(&bad.to_string())
            .unwrap_err()
            .to_string();
        assert!(error.contains(told), "{pointer}: {error}");
    }
}

#[test]
fn the_schema_of_sidecars_knows_every_model_and_the_sidecars_own_keys() {
    let schema = sidecar_schema(catalogue());
    for key in SidecarKey::names() {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    let turbo = &schema["$defs"]["image_to_video:gen4_turbo"];
    assert_eq!(turbo["properties"]["ratio"]["enum"][0], "1280:720");
    // `prompt` stands for promptText.
    assert_eq!(turbo["properties"]["prompt"]["maxLength"], 1000);
    assert_eq!(
        schema["$defs"]["generate.video"]["properties"]["prompt"]["type"],
        "string"
    );
    assert!(schema["$defs"]["workflows"].is_object());
    // Every reference leads somewhere.
    let mut references = Vec::new();
    collect(&schema, &mut references);
    assert!(references.len() > 100);
    for reference in references {
        let name = reference.strip_prefix("#/$defs/").unwrap();
        assert!(schema["$defs"][name].is_object(), "{name}");
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                match inner {
                    Value::String(text) if key == "$ref" => references.push(text.clone()),
                    _ => collect(inner, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
