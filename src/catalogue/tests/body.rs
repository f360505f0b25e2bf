//! What `check` says about bodies.

use serde_json::json;

use super::*;

/// The problems of a body, as "place: message (hint)".
fn problems(endpoint: &str, model: &str, body: Value) -> Vec<String> {
    let (endpoint, model) = at(endpoint, model);
    check(endpoint, model, &map(body))
        .iter()
        .map(|p| {
            let (message, hint) = (&p.diagnostic.message, &p.diagnostic.hint);
            format!("{:?} {}: {message} ({hint})", p.on, format_path(&p.path))
        })
        .collect()
}

/// The only problem of gen4_turbo's body with one field set to a value.
fn turbo(field: &str, value: Value) -> String {
    let mut body = json!({"model": "gen4_turbo", "promptImage": "cat.jpg", "ratio": "1280:720"});
    body[field] = value;
    let mut found = problems("image_to_video", "gen4_turbo", body);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn the_least_body_of_every_model_is_right_and_lacking_any_part_is_not() {
    for endpoint in catalogue().endpoints() {
        for model in endpoint.models() {
            let body = least_body(&model.fields);
            let found = check(endpoint, model, &body);
            assert!(
                found.is_empty(),
                "{} {}: {found:?}",
                endpoint.name,
                model.name
            );
            for key in body.keys() {
                let mut lacking = body.clone();
                lacking.remove(key);
                let found = check(endpoint, model, &lacking);
                assert!(
                    found
                        .iter()
                        .any(|p| p.on == On::Missing && format_path(&p.path) == *key),
                    "{} {} without {key}: {found:?}",
                    endpoint.name,
                    model.name
                );
            }
        }
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let found = problems(
        "image_to_video",
        "gen4.5",
        json!({"model": "gen4.5", "promptImage": "cat.jpg", "ratio": "16:9", "duration": 12,
               "sed": 7, "audio": true}),
    );
    assert_eq!(
        found,
        [
            "Value ratio: `ratio` cannot be \"16:9\" (allowed: \"1280:720\", \"720:1280\", \
             \"1104:832\", \"960:960\", \"832:1104\" or \"1584:672\")",
            "Value duration: `duration` cannot be 12 (allowed: a whole number from 2 to 10)",
            "Key sed: `sed` is not a field of image_to_video with gen4.5 (did you mean `seed`?)",
            &found[3],
            "Missing promptText: `promptText` is missing (give a text of at most 1000 characters)",
        ]
    );
    assert!(found[3].contains("or use a model that takes it: ") && found[3].contains("veo3.1"));
}

#[test]
fn a_key_of_the_sidecar_is_offered_as_a_hint_too() {
    assert!(turbo("priorty", json!(1)).contains("did you mean `priority`?"));
    assert!(turbo("colour", json!(1)).contains("the known fields are contentModeration, duration"));
}

#[test]
fn a_number_where_a_text_is_wanted_is_to_be_put_in_quotes() {
    let found = problems(
        "video_upscale",
        "enhance_frame_rate",
        json!({"model": "enhance_frame_rate", "videoUri": "a.mp4", "targetFramerate": 24}),
    );
    assert_eq!(
        found,
        [
            "Value targetFramerate: `targetFramerate` must be a text, and is the number 24 \
          (put it in quotes: \"24\")"
        ]
    );
    let found = turbo("ratio", json!(1.5));
    assert!(found.contains("allowed: \"1280:720\""), "{found}");
}

#[test]
fn a_number_in_quotes_is_to_be_written_without() {
    let found = turbo("duration", json!("5"));
    assert!(
        found.ends_with(
            "must be a whole number, and is the text \"5\" (write it without quotes: 5)"
        )
    );
}

#[test]
fn a_whole_number_may_be_written_as_a_float() {
    let body =
        json!({"model": "gen4_turbo", "promptImage": "a", "ratio": "1280:720", "duration": 5.0});
    assert!(problems("image_to_video", "gen4_turbo", body).is_empty());
    assert!(turbo("duration", json!(5.5)).contains("must be a whole number"));
}

#[test]
fn an_empty_value_is_told_apart_from_a_wrong_one() {
    assert!(
        turbo("duration", Value::Null)
            .contains("has no value (give a whole number, or remove the line)")
    );
    assert!(turbo("promptText", json!("")).contains("`promptText` is empty"));
    assert!(turbo("promptImage", json!(" ")).contains("`promptImage` is empty"));
}

#[test]
fn prompts_are_measured_in_utf16_code_units() {
    let body = |prompt: String| json!({"model": "gen4_turbo", "promptImage": "a", "ratio": "1280:720", "promptText": prompt});
    // A cat face is one character and two UTF-16 code units.
    assert!(problems("image_to_video", "gen4_turbo", body("🐱".repeat(500))).is_empty());
    let found = problems("image_to_video", "gen4_turbo", body("🐱".repeat(501)));
    assert_eq!(
        found,
        [
            "Value promptText: `promptText` is 1002 characters long (counted in UTF-16 code units), \
          2 more than allowed (shorten it to 1000)"
        ]
    );
}

#[test]
fn durations_of_a_fixed_set_are_listed() {
    let found = problems(
        "text_to_video",
        "veo3.1",
        json!({"model": "veo3.1", "promptText": "x", "ratio": "1280:720", "duration": 5}),
    );
    assert_eq!(
        found,
        ["Value duration: `duration` cannot be 5 (allowed: 4, 6 or 8)"]
    );
}

#[test]
fn a_number_or_a_word_are_explained_in_one_sentence() {
    let body =
        |duration: Value| json!({"model": "seedance2", "promptText": "x", "duration": duration});
    assert!(problems("text_to_video", "seedance2", body(json!("auto"))).is_empty());
    assert!(problems("text_to_video", "seedance2", body(json!(7))).is_empty());
    let found = problems("text_to_video", "seedance2", body(json!("long")));
    assert_eq!(
        found,
        ["Value duration: `duration` cannot be \"long\" (allowed: a whole number, or \"auto\")"]
    );
    let found = problems("text_to_video", "seedance2", body(json!([7])));
    assert!(
        found[0].contains("must be a whole number or a text, and is a list"),
        "{found:?}"
    );
}

#[test]
fn problems_deep_inside_tell_the_whole_way_there() {
    let found = turbo(
        "promptImage",
        json!([{"uri": "a.png", "position": "middle"}]),
    );
    assert!(
        found.starts_with("Value promptImage[0].position: "),
        "{found}"
    );
    let found = turbo("promptImage", json!([{"position": "first"}]));
    assert!(found.starts_with("Missing promptImage[0].uri: "), "{found}");
    let found = turbo(
        "promptImage",
        json!([{"uri": "a", "position": "first", "postion": "x"}]),
    );
    assert_eq!(
        found,
        "Key promptImage[0].postion: `postion` is not a field of `promptImage[0]` \
         (did you mean `position`?)"
    );
    let found = turbo(
        "contentModeration",
        json!({"publicFigureThreshold": "high"}),
    );
    assert!(
        found.starts_with("Value contentModeration.publicFigureThreshold: "),
        "{found}"
    );
}

#[test]
fn of_several_forms_the_one_that_was_meant_is_judged() {
    let found = turbo("promptImage", json!(5));
    assert!(
        found.contains("must be a path or URI or a list, and is the number 5"),
        "{found}"
    );
    let act = |character: Value| {
        problems(
            "character_performance",
            "act_two",
            json!({"model": "act_two", "character": character,
                   "reference": {"type": "video", "uri": "b.mp4"}}),
        )
    };
    assert!(act(json!({"type": "image", "uri": "a.png"})).is_empty());
    assert_eq!(
        act(json!({"type": "gif", "uri": "a.gif"})),
        [
            "Value character.type: `character.type` cannot be \"gif\" (allowed: \"image\" or \"video\")"
        ]
    );
    assert_eq!(
        act(json!({"uri": "a.png"})),
        ["Missing character.type: `character.type` is missing (give \"image\" or \"video\")"]
    );
    assert_eq!(
        act(json!({"type": "video", "url": "a.png"})),
        [
            "Key character.url: `url` is not a field of `character` (did you mean `uri`?)",
            "Missing character.uri: `character.uri` is missing \
             (give a video file: a path, an https:// URL or a runway:// URI)",
        ]
    );
}

#[test]
fn lists_that_are_too_long_or_too_short_are_counted() {
    let body = |n: usize| {
        json!({"model": "gen4_image_turbo", "promptText": "x", "ratio": "1024:1024",
               "referenceImages": vec![json!({"uri": "a.png"}); n]})
    };
    assert!(problems("text_to_image", "gen4_image_turbo", body(3)).is_empty());
    for (n, count) in [(0, "0 items"), (4, "4 items")] {
        let found = problems("text_to_image", "gen4_image_turbo", body(n));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(&format!(
            "`referenceImages` has {count} (give a list of 1 to 3 items"
        )));
    }
}

#[test]
fn a_field_of_the_other_mode_does_not_belong() {
    let recipe = |body: Value| problems("recipes/multi_shot_video", "", body);
    assert!(recipe(json!({"mode": "auto", "prompt": "x", "version": "2026-06"})).is_empty());
    assert_eq!(
        recipe(json!({"mode": "custom", "prompt": "x", "version": "2026-06"})),
        [
            "Key prompt: `prompt` does not belong here (remove it, or set `mode` to \"auto\")",
            "Missing shots: `shots` is missing \
             (give a list of 3 to 5 items, each a mapping with the keys duration, prompt)",
        ]
    );
}

#[test]
fn a_workflow_takes_typed_values_under_names_of_ones_own() {
    let run = |item: Value| {
        problems(
            "workflows",
            "",
            json!({"nodeOutputs": {"n1": {"out": item}}}),
        )
    };
    assert!(run(json!({"type": "primitive", "value": 5})).is_empty());
    assert!(run(json!({"type": "primitive", "value": "text"})).is_empty());
    assert!(run(json!({"type": "image", "uri": "a.png"})).is_empty());
    let found = run(json!({"type": "picture", "uri": "a.png"}));
    assert!(
        found[0].starts_with("Value nodeOutputs.n1.out.type: "),
        "{found:?}"
    );
}
