//! The operations of Runway's API, from what is dropped to what is delivered: what the API sees, what comes back, and what
//! the record says.

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use serde_json::{Value, json};
use taxiway::catalogue::Catalogue;
use taxiway::media::{Format, Wholeness, probe};

use crate::support::{
    Job, Studio, contains, jpeg, large_jpeg, logged, media, mp4, put, sha256, text,
};

/// A model that the newest SDK dropped, and the one that takes its place.
type Dropped = Option<(&'static str, &'static str)>;

/// One job: what is dropped, and what must come of it.
struct Case {
    /// The folder below the inbox that it is dropped into.
    folder: &'static str,
    /// The files, the sidecar among them.
    files: Vec<(&'static str, Vec<u8>)>,
    /// What the job is named after.
    input: &'static str,
    /// Where the request goes.
    path: &'static str,
    /// The body; a text `@NAME` stands for that file as a data URI.
    body: Value,
    /// The ending of the output's name.
    extension: &'static str,
    /// What it costs, where the guide tells.
    credits: Option<f64>,
    dropped: Dropped,
}

fn with_media(body: &Value, files: &[(&'static str, Vec<u8>)]) -> Value {
    match body {
        Value::String(words) => files
            .iter()
            .find(|(name, _)| words.strip_prefix('@') == Some(name))
            .map_or_else(|| body.clone(), |(_, bytes)| json!(logged(bytes))),
        Value::Array(items) => items.iter().map(|item| with_media(item, files)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), with_media(value, files)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => body.clone(),
    }
}

/// Drops all cases at once and checks each from end to end; then saves each record's request as a sidecar beside the same
/// media and checks that the same request is made.
fn all_come_back(cases: Vec<Case>) {
    let studio = Studio::builder().run();
    for case in &cases {
        for (name, bytes) in &case.files {
            studio.drop_file(Path::new(case.folder).join(name), bytes);
        }
    }
    let ended = studio.wait_all_ended(cases.len());
    for case in &cases {
        let input = format!("{}/{}", case.folder, case.input);
        let job = ended
            .iter()
            .find(|job| job.input() == input)
            .unwrap_or_else(|| panic!("no job {input}\n{}", studio.report()));
        assert_eq!(job.state(), "done", "{job:?}\n{}", studio.report());
        check_request(&studio, case, job);
        let output = check_output(&studio, case, job);
        check_record(&studio, case, job, &output);
        check_warning(&studio, case, job);
    }
    for case in &cases {
        let stem = Path::new(case.input).file_stem().unwrap().to_str().unwrap();
        let output = format!("{}/{stem}.{}", case.folder, case.extension);
        let request = &studio.record(&output)["request"];
        let folder = format!("again-{}", case.folder);
        for (name, bytes) in &case.files {
            if !name.ends_with(".yaml") {
                studio.drop_file(Path::new(&folder).join(name), bytes);
            }
        }
        let sidecar = if case.input.ends_with(".yaml") {
            case.input.to_owned()
        } else {
            format!("{}.yaml", case.input)
        };
        let words = serde_yaml::to_string(request).unwrap();
        studio.drop_file(Path::new(&folder).join(sidecar), words);
    }
    let ended = studio.wait_all_ended(2 * cases.len());
    for case in &cases {
        let input = format!("again-{}/{}", case.folder, case.input);
        let job = ended
            .iter()
            .find(|job| job.input() == input)
            .unwrap_or_else(|| panic!("no job {input}\n{}", studio.report()));
        assert_eq!(
            job.state(),
            "done",
            "the record's request of {}, saved as a sidecar, does not make it again: {job:?}",
            case.folder
        );
        check_request(&studio, case, job);
    }
    assert_eq!(studio.seen().violations().count(), 0);
}

fn check_request(studio: &Studio, case: &Case, job: &Job) {
    let seen = studio.seen();
    let started: Vec<_> = seen
        .requests
        .iter()
        .filter(|seen| seen.task.as_deref() == Some(job.task()))
        .collect();
    let [started] = started.as_slice() else {
        panic!("{job:?} has {} requests", started.len());
    };
    assert_eq!(started.method, "POST");
    assert_eq!(started.path, case.path);
    assert_eq!(started.key_ok, Some(true));
    assert_eq!(started.status, Some(200));
    let expected = with_media(&case.body, &case.files);
    assert_eq!(started.body.as_ref(), Some(&expected), "{}", case.folder);
}

/// The output lies in the outbox, whole, of the kind that its name says, and it is that of this job's task.
fn check_output(studio: &Studio, case: &Case, job: &Job) -> String {
    let stem = Path::new(case.input).file_stem().unwrap().to_str().unwrap();
    let output = format!("{}/{stem}.{}", case.folder, case.extension);
    assert_eq!(job.outputs(), [studio.outbox(&output)]);
    let bytes = fs::read(studio.outbox(&output)).unwrap();
    let found = probe(&mut Cursor::new(&bytes)).unwrap();
    assert_eq!(found.wholeness, Wholeness::Whole, "{output}");
    assert_eq!(
        found.format.map(Format::extension),
        Some(case.extension),
        "{output}"
    );
    assert!(
        contains(&bytes, job.task().as_bytes()),
        "{output} is not the output of {}",
        job.task()
    );
    output
}

fn check_record(studio: &Studio, case: &Case, job: &Job, output: &str) {
    let record = studio.record(output);
    let keys: Vec<&str> = record
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "job",
            "task",
            "endpoint",
            "model",
            "request",
            "inputs",
            "output",
            "credits",
            "created_at",
            "finished_at"
        ]
    );
    assert_eq!(record["job"], job.id());
    assert_eq!(record["task"], job.task());
    assert_eq!(record["endpoint"], job.0["endpoint"]);
    assert_eq!(record["model"], job.0["model"]);
    let inputs: BTreeSet<(String, String, u64)> = record["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| {
            (
                input["name"].as_str().unwrap().to_owned(),
                input["sha256"].as_str().unwrap().to_owned(),
                input["bytes"].as_u64().unwrap(),
            )
        })
        .collect();
    let dropped: BTreeSet<(String, String, u64)> = case
        .files
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), sha256(bytes), bytes.len() as u64))
        .collect();
    assert_eq!(inputs, dropped);
    let bytes = fs::read(studio.outbox(output)).unwrap();
    let name = Path::new(output).file_name().unwrap().to_str().unwrap();
    assert_eq!(
        record["output"],
        json!({"name": name, "sha256": sha256(&bytes), "bytes": bytes.len()})
    );
    let charged = record["credits"]["charged"].as_f64();
    assert_eq!(charged, job.charged(), "{output}");
    assert!(charged.is_some(), "{output}");
    if let Some(credits) = case.credits {
        assert_eq!(
            job.0["credits"],
            json!({"estimated": credits, "charged": credits}),
            "{output}"
        );
    }
    let time = |key: &str| {
        record[key]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    assert!(time("created_at") <= time("finished_at"));
    // Every input is kept, each where it belongs.
    for (file, bytes) in &case.files {
        let path = studio.originals(case.folder).join(file);
        assert_eq!(fs::read(&path).ok().as_ref(), Some(bytes), "{path:?}");
    }
}

fn check_warning(studio: &Studio, case: &Case, job: &Job) {
    let words = studio.cli_ok(&["status", job.id()]);
    match case.dropped {
        Some((model, successor)) => {
            assert!(
                words.contains("Warning") && words.contains(model) && words.contains(successor),
                "{words}"
            );
        }
        None => assert!(!words.contains("Warning"), "{words}"),
    }
}

#[test]
fn image_to_video_works_with_every_model_of_the_guide() {
    let case = |folder, sidecar: &str, body, credits, dropped| Case {
        folder,
        files: vec![
            ("shoe.jpg", jpeg(folder)),
            ("shoe.jpg.yaml", sidecar.as_bytes().to_vec()),
        ],
        input: "shoe.jpg",
        path: "/v1/image_to_video",
        body,
        extension: "mp4",
        credits,
        dropped,
    };
    all_come_back(vec![
        case(
            "gen4_turbo",
            "model: gen4_turbo\nprompt: Slow dolly in\nratio: \"1280:720\"\nduration: 5\nseed: 7\n",
            json!({"model": "gen4_turbo", "promptImage": "@shoe.jpg", "promptText": "Slow dolly in", "ratio": "1280:720", "duration": 5, "seed": 7}),
            Some(25.0),
            None,
        ),
        case(
            "gen3a_turbo",
            "model: gen3a_turbo\npromptText: Slow dolly in\nratio: \"1280:768\"\nduration: 10\n",
            json!({"model": "gen3a_turbo", "promptImage": "@shoe.jpg", "promptText": "Slow dolly in", "ratio": "1280:768", "duration": 10}),
            Some(50.0),
            Some(("gen3a_turbo", "gen4_turbo")),
        ),
        case(
            "veo3.1",
            "model: veo3.1\nprompt: Slow dolly in\nratio: \"1920:1080\"\nduration: 4\naudio: false\n",
            json!({"model": "veo3.1", "promptImage": "@shoe.jpg", "promptText": "Slow dolly in", "ratio": "1920:1080", "duration": 4, "audio": false}),
            Some(80.0),
            None,
        ),
        case(
            "veo3",
            "endpoint: image_to_video\nmodel: veo3\nprompt: Slow dolly in\nratio: \"1280:720\"\nduration: 8\n",
            json!({"model": "veo3", "promptImage": "@shoe.jpg", "promptText": "Slow dolly in", "ratio": "1280:720", "duration": 8}),
            Some(320.0),
            Some(("veo3", "veo3.1")),
        ),
    ]);
}

#[test]
fn text_to_video_works_with_every_model_of_the_guide() {
    let case = |folder, model: &'static str, duration: u32, credits, dropped| {
        Case {
        folder,
        files: vec![(
            "storm.yaml",
            format!("endpoint: text_to_video\nmodel: {model}\nprompt: A storm\nratio: \"1280:720\"\nduration: {duration}\n").into_bytes(),
        )],
        input: "storm.yaml",
        path: "/v1/text_to_video",
        body: json!({"model": model, "promptText": "A storm", "ratio": "1280:720", "duration": duration}),
        extension: "mp4",
        credits: Some(credits),
        dropped,
    }
    };
    all_come_back(vec![
        case("four", "veo3.1", 4, 160.0, None),
        case("six", "veo3.1_fast", 6, 90.0, None),
        case("eight", "veo3", 8, 320.0, Some(("veo3", "veo3.1"))),
    ]);
}

#[test]
fn video_to_video_upscaling_images_and_sounds_work_with_the_models_of_the_guide() {
    let film = mp4("aleph");
    let long = mp4("upscale");
    all_come_back(vec![
        Case {
            folder: "aleph",
            files: vec![
                ("walk.mp4", film),
                ("style.png", media("picture.png")),
                (
                    "walk.yaml",
                    b"model: gen4_aleph\nprompt: The same walk in snow\nratio: \"1280:720\"\nreferences:\n  - type: image\n    uri: style.png\n".to_vec(),
                ),
            ],
            input: "walk.mp4",
            path: "/v1/video_to_video",
            body: json!({
                "model": "gen4_aleph",
                "videoUri": "@walk.mp4",
                "promptText": "The same walk in snow",
                "ratio": "1280:720",
                "references": [{"type": "image", "uri": "@style.png"}],
            }),
            extension: "mp4",
            // 15 a second, and the sample says how long it is.
            credits: None,
            dropped: Some(("gen4_aleph", "aleph2")),
        },
        Case {
            folder: "upscale",
            files: vec![
                ("final cut.mp4", long),
                ("final cut.mp4.yaml", b"endpoint: video_upscale\nmodel: upscale_v1\n".to_vec()),
            ],
            input: "final cut.mp4",
            path: "/v1/video_upscale",
            body: json!({"model": "upscale_v1", "videoUri": "@final cut.mp4"}),
            extension: "mp4",
            credits: None,
            dropped: Some(("upscale_v1", "magnific_video_upscaler_creative")),
        },
        Case {
            folder: "turbo image",
            files: vec![
                ("ada.jpg", jpeg("ada")),
                ("hall.webp", media("lossy.webp")),
                (
                    "poster.yaml",
                    b"endpoint: text_to_image\nmodel: gen4_image_turbo\nprompt: \"@ada in @hall\"\nratio: \"1920:1080\"\nreferenceImages:\n  - { uri: ada.jpg, tag: ada }\n  - { uri: hall.webp, tag: hall }\n".to_vec(),
                ),
            ],
            input: "poster.yaml",
            path: "/v1/text_to_image",
            body: json!({
                "model": "gen4_image_turbo",
                "promptText": "@ada in @hall",
                "ratio": "1920:1080",
                "referenceImages": [{"uri": "@ada.jpg", "tag": "ada"}, {"uri": "@hall.webp", "tag": "hall"}],
            }),
            extension: "png",
            credits: Some(2.0),
            dropped: None,
        },
        Case {
            folder: "image",
            files: vec![(
                "poster.yaml",
                b"model: gen4_image\nprompt: A small airport\nratio: \"1280:720\"\nseed: 1\n".to_vec(),
            )],
            input: "poster.yaml",
            path: "/v1/text_to_image",
            body: json!({"model": "gen4_image", "promptText": "A small airport", "ratio": "1280:720", "seed": 1}),
            extension: "png",
            credits: Some(5.0),
            dropped: None,
        },
        Case {
            folder: "sound",
            files: vec![(
                "thunder.yaml",
                b"model: eleven_text_to_sound_v2\nprompt: Thunder\nduration: 0.5\nloop: true\n".to_vec(),
            )],
            input: "thunder.yaml",
            path: "/v1/sound_effect",
            body: json!({"model": "eleven_text_to_sound_v2", "promptText": "Thunder", "duration": 0.5, "loop": true}),
            extension: "mp3",
            credits: Some(2.0),
            dropped: None,
        },
    ]);
}

#[test]
fn every_other_endpoint_of_the_catalogue_works_from_dropped_files() {
    const WORKFLOW: &str = "0f6fd8a2-7f1a-4b60-9df4-5e2bd6e1f001";
    let case = |folder, files, input, path, body, extension| Case {
        folder,
        files,
        input,
        path,
        body,
        extension,
        credits: None,
        dropped: None,
    };
    let yaml = |words: &str| words.as_bytes().to_vec();
    let picture = || media("picture.png");
    let voice = || media("plain.mp3");
    let cases = vec![
        case(
            "avatar_videos",
            vec![(
                "hello.yaml",
                yaml(
                    "endpoint: avatar_videos\navatar: { type: runway-preset, presetId: game-character }\nspeech: { type: text, text: Hello }\n",
                ),
            )],
            "hello.yaml",
            "/v1/avatar_videos",
            json!({"model": "gwm1_avatars", "avatar": {"type": "runway-preset", "presetId": "game-character"}, "speech": {"type": "text", "text": "Hello"}}),
            "mp4",
        ),
        case(
            "character_performance",
            vec![
                ("ada.png", picture()),
                ("play.mp4", mp4("play")),
                (
                    "ada.png.yaml",
                    yaml(
                        "endpoint: character_performance\nmodel: act_two\nreference: { type: video, uri: play.mp4 }\n",
                    ),
                ),
            ],
            "ada.png",
            "/v1/character_performance",
            json!({"model": "act_two", "character": {"type": "image", "uri": "@ada.png"}, "reference": {"type": "video", "uri": "@play.mp4"}}),
            "mp4",
        ),
        case(
            "generate/audio",
            vec![(
                "say.yaml",
                yaml(
                    "endpoint: generate/audio\nconfigId: voice\ninput: { type: speech, promptText: Hello }\n",
                ),
            )],
            "say.yaml",
            "/v1/generate/audio",
            json!({"configId": "voice", "input": {"type": "speech", "promptText": "Hello"}}),
            "mp3",
        ),
        case(
            "generate/image",
            vec![(
                "draw.yaml",
                yaml("endpoint: generate/image\nconfigId: still\ninput: { promptText: A tower }\n"),
            )],
            "draw.yaml",
            "/v1/generate/image",
            json!({"configId": "still", "input": {"promptText": "A tower"}}),
            "png",
        ),
        case(
            "generate/video",
            vec![(
                "film.yaml",
                yaml(
                    "endpoint: generate/video\nconfigId: film\nprompt: A tower\ninput: { duration: 5 }\n",
                ),
            )],
            "film.yaml",
            "/v1/generate/video",
            json!({"configId": "film", "input": {"promptText": "A tower", "duration": 5}}),
            "mp4",
        ),
        case(
            "image_upscale",
            vec![
                ("small.png", picture()),
                ("small.png.yaml", yaml("endpoint: image_upscale\n")),
            ],
            "small.png",
            "/v1/image_upscale",
            json!({"model": "magnific_precision_upscaler_v2", "imageUri": "@small.png"}),
            "png",
        ),
        case(
            "recipes/ad_localization",
            vec![
                ("ad.png", picture()),
                (
                    "ad.yaml",
                    yaml(
                        "endpoint: recipes/ad_localization\ntargetLanguage: de\nversion: \"2026-06\"\n",
                    ),
                ),
            ],
            "ad.png",
            "/v1/recipes/ad_localization",
            json!({"referenceImage": {"uri": "@ad.png"}, "targetLanguage": "de", "version": "2026-06"}),
            "png",
        ),
        case(
            "recipes/marketing_stock_image",
            vec![(
                "stock.yaml",
                yaml(
                    "endpoint: recipes/marketing_stock_image\nprompt: A desk\nversion: \"2026-06\"\n",
                ),
            )],
            "stock.yaml",
            "/v1/recipes/marketing_stock_image",
            json!({"prompt": "A desk", "version": "2026-06"}),
            "png",
        ),
        case(
            "recipes/multi_shot_video",
            vec![(
                "story.yaml",
                yaml(
                    "endpoint: recipes/multi_shot_video\nmode: auto\nprompt: A day at the airport\nversion: \"2026-06\"\n",
                ),
            )],
            "story.yaml",
            "/v1/recipes/multi_shot_video",
            json!({"mode": "auto", "prompt": "A day at the airport", "version": "2026-06"}),
            "mp4",
        ),
        case(
            "recipes/product_ad",
            vec![
                ("shoe.png", picture()),
                (
                    "shoe.yaml",
                    yaml("endpoint: recipes/product_ad\nversion: \"2026-06\"\n"),
                ),
            ],
            "shoe.png",
            "/v1/recipes/product_ad",
            json!({"productImages": [{"uri": "@shoe.png"}], "version": "2026-06"}),
            "mp4",
        ),
        case(
            "recipes/product_campaign_image",
            vec![
                ("shoe.png", picture()),
                (
                    "shoe.yaml",
                    yaml(
                        "endpoint: recipes/product_campaign_image\nprompt: Gorpcore\nversion: \"2026-06\"\n",
                    ),
                ),
            ],
            "shoe.png",
            "/v1/recipes/product_campaign_image",
            json!({"image": {"uri": "@shoe.png"}, "prompt": "Gorpcore", "version": "2026-06"}),
            "png",
        ),
        case(
            "recipes/product_swap",
            vec![
                ("ad.mp4", mp4("swap")),
                ("old.jpg", jpeg("old")),
                ("new.jpg", jpeg("new")),
                (
                    "ad.mp4.yaml",
                    yaml(
                        "endpoint: recipes/product_swap\nnewProductImages: [{ uri: new.jpg }]\noriginalProductImage: { uri: old.jpg }\nversion: \"2026-06\"\n",
                    ),
                ),
            ],
            "ad.mp4",
            "/v1/recipes/product_swap",
            json!({"referenceVideo": {"uri": "@ad.mp4"}, "newProductImages": [{"uri": "@new.jpg"}], "originalProductImage": {"uri": "@old.jpg"}, "version": "2026-06"}),
            "mp4",
        ),
        case(
            "recipes/product_ugc",
            vec![
                ("person.jpg", jpeg("person")),
                ("shoe.jpg", jpeg("shoe")),
                (
                    "ugc.yaml",
                    yaml(
                        "endpoint: recipes/product_ugc\ncharacterImage: { uri: person.jpg }\nproductImage: { uri: shoe.jpg }\nversion: \"2026-06\"\n",
                    ),
                ),
            ],
            "ugc.yaml",
            "/v1/recipes/product_ugc",
            json!({"characterImage": {"uri": "@person.jpg"}, "productImage": {"uri": "@shoe.jpg"}, "version": "2026-06"}),
            "mp4",
        ),
        case(
            "speech_to_speech",
            vec![
                ("line.mp3", voice()),
                (
                    "line.yaml",
                    yaml(
                        "endpoint: speech_to_speech\nvoice: { type: runway-preset, presetId: Maya }\n",
                    ),
                ),
            ],
            "line.mp3",
            "/v1/speech_to_speech",
            json!({"model": "eleven_multilingual_sts_v2", "media": {"type": "audio", "uri": "@line.mp3"}, "voice": {"type": "runway-preset", "presetId": "Maya"}}),
            "wav",
        ),
        case(
            "text_to_speech",
            vec![(
                "say.yaml",
                yaml(
                    "endpoint: text_to_speech\nmodel: eleven_multilingual_v2\nprompt: Good evening\nvoice: { type: runway-preset, presetId: Maya }\n",
                ),
            )],
            "say.yaml",
            "/v1/text_to_speech",
            json!({"model": "eleven_multilingual_v2", "promptText": "Good evening", "voice": {"type": "runway-preset", "presetId": "Maya"}}),
            "mp3",
        ),
        case(
            "video_to_audio",
            vec![
                ("mute.mp4", mp4("mute")),
                ("mute.yaml", yaml("endpoint: video_to_audio\nduration: 5\n")),
            ],
            "mute.mp4",
            "/v1/video_to_audio",
            json!({"model": "mirelo_sfx_2_0", "videoUri": "@mute.mp4", "duration": 5}),
            "mp3",
        ),
        case(
            "video_to_hdr",
            vec![
                ("flat.mp4", mp4("flat")),
                ("flat.yaml", yaml("endpoint: video_to_hdr\n")),
            ],
            "flat.mp4",
            "/v1/video_to_hdr",
            json!({"model": "ruby", "videoUri": "@flat.mp4"}),
            "mp4",
        ),
        case(
            "voice_dubbing",
            vec![
                ("talk.wav", media("tone.wav")),
                (
                    "talk.yaml",
                    yaml("endpoint: voice_dubbing\ntargetLang: es\n"),
                ),
            ],
            "talk.wav",
            "/v1/voice_dubbing",
            json!({"model": "eleven_voice_dubbing", "audioUri": "@talk.wav", "targetLang": "es"}),
            "wav",
        ),
        case(
            "voice_isolation",
            vec![
                ("noise.flac", media("tone.flac")),
                ("noise.yaml", yaml("endpoint: voice_isolation\n")),
            ],
            "noise.flac",
            "/v1/voice_isolation",
            json!({"model": "eleven_voice_isolation", "audioUri": "@noise.flac"}),
            "wav",
        ),
    ];
    let mut covered: BTreeSet<String> = cases.iter().map(|case| case.folder.to_owned()).collect();
    covered.extend(
        [
            "image_to_video",
            "text_to_video",
            "video_to_video",
            "text_to_image",
            "video_upscale",
            "sound_effect",
            // Below: its outputs are by node.
            "workflows",
        ]
        .map(str::to_owned),
    );
    let all: BTreeSet<String> = Catalogue::built_in()
        .unwrap()
        .endpoints()
        .map(|endpoint| endpoint.name.clone())
        .collect();
    assert_eq!(covered, all, "each endpoint has a case");
    all_come_back(cases);

    let studio = Studio::builder().run();
    studio.drop_file("flow.yaml", format!("endpoint: workflows/{WORKFLOW}\n"));
    let job = studio.wait_done("flow.yaml");
    assert_eq!(
        studio.submission().path,
        format!("/v1/workflows/{WORKFLOW}")
    );
    let polled = format!("/v1/workflow_invocations/{}", job.task());
    assert!(
        studio
            .seen()
            .requests
            .iter()
            .any(|seen| seen.method == "GET" && seen.path == polled)
    );
    assert!(!job.outputs().is_empty());
    for output in job.outputs() {
        let bytes = fs::read(&output).unwrap();
        assert!(contains(&bytes, job.task().as_bytes()), "{output:?}");
    }
}

#[test]
fn large_media_are_uploaded_and_named_by_their_runway_uri() {
    let studio = Studio::builder().image_defaults().run();
    studio.drop_file("large.jpg", large_jpeg("large", 600_000));
    studio.wait_done("large.jpg");
    let seen = studio.seen();
    let stored: Vec<_> = seen
        .requests
        .iter()
        .filter(|seen| seen.path.starts_with("/_storage/upload"))
        .collect();
    assert_eq!(stored.len(), 1);
    assert_eq!(
        stored[0].body_sha256.as_deref(),
        Some(sha256(&large_jpeg("large", 600_000)).as_str())
    );
    let body = studio.submission().body.unwrap();
    assert!(
        body["promptImage"]
            .as_str()
            .unwrap()
            .starts_with("runway://"),
        "{body}"
    );
    assert_eq!(
        studio.record("large.mp4")["request"]["promptImage"],
        "large.jpg"
    );
    assert_eq!(seen.violations().count(), 0);
}

#[test]
fn check_warns_of_models_that_runways_sdk_dropped_and_names_the_successor() {
    let studio = Studio::builder().open();
    for (file, model, successor, more) in [
        (
            "a.jpg",
            "gen3a_turbo",
            "gen4_turbo",
            "prompt: x\nratio: \"1280:768\"\n",
        ),
        (
            "b.jpg",
            "veo3",
            "veo3.1",
            "prompt: x\nratio: \"1280:720\"\nduration: 8\n",
        ),
        (
            "c.mp4",
            "gen4_aleph",
            "aleph2",
            "prompt: x\nratio: \"1280:720\"\n",
        ),
        (
            "d.mp4",
            "upscale_v1",
            "magnific_video_upscaler_creative",
            "",
        ),
    ] {
        let bytes = if file.ends_with("jpg") {
            jpeg(file)
        } else {
            mp4(file)
        };
        put(&studio.inbox(file), &bytes);
        put(
            &studio.inbox(format!("{file}.yaml")),
            format!("model: {model}\n{more}").as_bytes(),
        );
        let output = studio.cli(&["check", studio.inbox(file).to_str().unwrap()]);
        let words = text(&output.stdout);
        assert!(output.status.success(), "{words}{}", text(&output.stderr));
        let warned = words.lines().any(|line| {
            line.contains("Warning") && line.contains(model) && line.contains(successor)
        });
        assert!(warned, "{words}");
    }
}

#[test]
fn an_unknown_model_is_refused_unless_the_configuration_lets_it_through() {
    let sidecar = "endpoint: image_to_video\nmodel: gen9_turbo\nprompt: x\nratio: \"1:1\"\n";
    let studio = Studio::builder().run();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.drop_file("red.jpg.yaml", sidecar);
    studio.wait_failed("red.jpg");
    let note = studio.note("red.jpg");
    assert!(
        note.contains("gen9_turbo") && note.contains("red.jpg.yaml:2:8"),
        "{note}"
    );
    assert!(studio.submissions().is_empty());

    let studio = Studio::builder()
        .runway("allow_unknown_models: true")
        .open();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.drop_file("red.jpg.yaml", sidecar);
    let words = studio.cli_ok(&["check"]);
    assert!(words.contains("gen9_turbo"), "{words}");
}

#[test]
fn a_running_job_shows_runways_status_and_progress_and_cancelling_it_ends_its_task() {
    let studio = Studio::builder().task_seconds(8.0).image_defaults().run();
    studio.drop_file("red.jpg", jpeg("red"));
    let job = studio.wait_for("the job runs with progress", |studio| {
        let job = studio.job("red.jpg")?;
        (job.state() == "running" && job.0["progress"].as_f64().is_some()).then_some(job)
    });
    let progress = job.0["progress"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&progress));
    assert!(job.reason().contains("RUNNING"), "{job:?}");
    let words = studio.cli_ok(&["status", job.id()]);
    assert!(words.contains(job.task()), "{words}");
    studio.cli_ok(&["cancel", job.id()]);
    let job = studio.wait_state("red.jpg", "cancelled");
    let deleted = studio.seen().requests.into_iter().any(|seen| {
        seen.method == "DELETE"
            && seen.path == format!("/v1/tasks/{}", job.task())
            && seen.status == Some(204)
    });
    assert!(deleted, "{}", studio.report());
    assert!(studio.failed("red.jpg").is_file());
    assert!(!studio.outbox("red.mp4").exists());
}

#[test]
fn credits_tells_balance_limits_and_todays_use() {
    let studio = Studio::builder().image_defaults().run();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    let told: Value = serde_json::from_str(&studio.cli_ok(&["credits", "--json"])).unwrap();
    assert_eq!(told["credit_balance"].as_f64(), Some(10_000.0 - 25.0));
    assert_eq!(told["models"]["gen4_turbo"]["used_today"], 1);
    assert_eq!(told["models"]["gen4_turbo"]["max_concurrent"], 5);
    let words = studio.cli_ok(&["credits"]);
    assert!(words.contains("9975"), "{words}");
    assert!(words.contains("gen4_turbo"), "{words}");
}
