//! Trouble with Runway's API, rehearsed: what is safe to repeat is repeated, what may be paid for never is, and the rest
//! waits, says why, and goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;

use jiff::Timestamp;
use serde_json::json;
use taxiway::simulator::{Action, Change, Limits, ModelLimits, Options, Rule, Seen, Simulator};

use crate::support::{Builder, KEY, Studio, contains, fault, jpeg, large_jpeg, sha256, text, walk};

/// What every test ends with: the key went nowhere else and stands nowhere.
fn finish(studio: &Studio) {
    let violations: Vec<String> = studio.seen().violations().map(str::to_owned).collect();
    assert_eq!(violations, Vec::<String>::new());
    assert!(!studio.log().contains(KEY), "{}", studio.log());
}

fn status(code: u16) -> Action {
    Action::Status {
        code,
        body: None,
        headers: BTreeMap::new(),
    }
}

fn status_with(code: u16, body: serde_json::Value) -> Action {
    Action::Status {
        code,
        body: Some(body),
        headers: BTreeMap::new(),
    }
}

/// The rule for one model only.
fn of_model(mut rule: Rule, model: &str) -> Rule {
    rule.when.model = Some(model.to_owned());
    rule
}

/// A fault of submissions.
fn on_submit(times: u64, action: Action) -> Rule {
    fault("/v1/image_to_video", times, action)
}

/// A fault of the questions about tasks.
fn on_poll(times: u64, action: Action) -> Rule {
    fault("/v1/tasks/", times, action).method("GET")
}

/// A fault of downloads.
fn on_download(times: u64, action: Action) -> Rule {
    fault("/_storage/output/", times, action)
}

fn page() -> serde_json::Value {
    json!("<!doctype html><title>502 Bad Gateway</title>")
}

/// At once so many tasks of each model.
fn at_once(most: u32) -> Limits {
    Limits {
        default: ModelLimits {
            max_concurrent: Some(most),
            max_daily: None,
        },
        models: BTreeMap::new(),
    }
}

/// The submissions that started a task.
fn accepted(studio: &Studio) -> Vec<Seen> {
    let mut all = studio.submissions();
    all.retain(|seen| seen.task.is_some());
    all
}

fn count(studio: &Studio, method: &str, path: &str) -> usize {
    studio
        .seen()
        .requests
        .iter()
        .filter(|seen| seen.method == method && seen.path.starts_with(path))
        .count()
}

fn seconds_between(a: Timestamp, b: Timestamp) -> f64 {
    b.duration_since(a).as_secs_f64()
}

/// No task was asked about sooner than `interval` after the question before.
fn polls_keep_apart(studio: &Studio, interval: f64) {
    let mut last: BTreeMap<String, Timestamp> = BTreeMap::new();
    for seen in studio.seen().requests {
        if seen.method == "GET" && seen.path.starts_with("/v1/tasks/") {
            if let Some(before) = last.get(&seen.path) {
                let gap = seconds_between(*before, seen.time);
                assert!(
                    // A request may take a moment longer on its way than the one after it.
                    gap >= interval - 0.03,
                    "{} was asked about again after {gap:.3} s\n{}",
                    seen.path,
                    studio.report()
                );
            }
            last.insert(seen.path.clone(), seen.time);
        }
    }
}

fn prompt(seen: &Seen) -> String {
    seen.body.as_ref().unwrap()["promptText"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn sidecar(words: &str, more: &str) -> String {
    format!("model: gen4_turbo\nratio: \"1280:720\"\nduration: 5\nprompt: {words}\n{more}")
}

// ---- the key

#[test]
fn a_refused_key_is_said_once_and_work_goes_on_when_it_is_accepted() {
    let studio = Studio::builder()
        .simulator(|options| options.key = Some("key_another".to_owned()))
        .image_defaults()
        .run();
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        studio.drop_file(name, jpeg(name));
    }
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        studio.wait_reason(name, "for a valid API key");
    }
    // It is found out more than once, and said once.
    studio.wait_until("the key was refused again and again", |studio| {
        let refused = |seen: &&Seen| seen.status == Some(401);
        studio.seen().requests.iter().filter(refused).count() >= 6
    });
    let log = studio.log();
    let said = log
        .lines()
        .filter(|line| line.contains(" ERROR ") && line.contains("Runway refused this one"));
    assert_eq!(said.count(), 1, "{log}");
    assert_eq!(studio.seen().tasks, []);
    studio.sim().change(Change {
        key: Some(KEY.to_owned()),
        ..Change::default()
    });
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        studio.wait_done(name);
    }
    assert_eq!(accepted(&studio).len(), 3);
    assert!(!studio.failed("").exists() || fs::read_dir(studio.failed("")).unwrap().count() == 0);
    finish(&studio);
}

#[test]
fn a_new_key_in_the_key_file_is_used_after_a_reload() {
    let mut studio = Studio::builder()
        .simulator(|options| options.key = Some(KEY.to_owned()))
        .key(None)
        .runway("api_key_file: key")
        .runway("poll_interval: 1s")
        .image_defaults()
        .open();
    let key = studio.path("key");
    fs::write(&key, "key_old\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    studio.start();
    studio.drop_file("a.jpg", jpeg("a"));
    studio.wait_reason("a.jpg", "for a valid API key");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    studio.reload();
    studio.wait_done("a.jpg");
    assert_eq!(accepted(&studio).len(), 1);
    finish(&studio);
}

#[test]
fn a_key_that_is_refused_while_a_task_runs_loses_no_task() {
    let studio = Studio::builder().task_seconds(0.5).image_defaults().run();
    studio.drop_file("a.jpg", jpeg("a"));
    studio.wait_state("a.jpg", "running");
    studio.sim().change(Change {
        key: Some("key_another".to_owned()),
        ..Change::default()
    });
    studio.wait_until("the key was refused", |studio| {
        studio
            .seen()
            .requests
            .iter()
            .filter(|seen| seen.path.starts_with("/v1/tasks/") && seen.status == Some(401))
            .count()
            >= 2
    });
    assert_eq!(studio.job("a.jpg").unwrap().state(), "running");
    studio.sim().change(Change {
        key: Some(String::new()),
        ..Change::default()
    });
    studio.wait_done("a.jpg");
    assert_eq!(studio.submissions().len(), 1);
    finish(&studio);
}

// ---- credits and quotas

#[test]
fn without_credits_work_waits_and_goes_on_when_they_come() {
    let studio = Studio::builder()
        .simulator(|options| options.tier.credit_balance = 10)
        .image_defaults()
        .run();
    for name in ["a.jpg", "b.jpg"] {
        studio.drop_file(name, jpeg(name));
    }
    for name in ["a.jpg", "b.jpg"] {
        studio.wait_reason(name, "for credits");
    }
    assert_eq!(
        studio.log().matches("submitting waits for credits").count(),
        1,
        "{}",
        studio.log()
    );
    studio.sim().change(Change {
        credit_balance: Some(1000),
        ..Change::default()
    });
    for name in ["a.jpg", "b.jpg"] {
        studio.wait_done(name);
    }
    assert_eq!(accepted(&studio).len(), 2);
    finish(&studio);
}

#[test]
fn answers_that_speak_of_credits_fail_nothing() {
    let studio = Studio::builder().image_defaults().run();
    studio.sim().set_faults(vec![
        on_submit(1, status(402)),
        on_submit(
            1,
            status_with(
                403,
                json!({"error": "Your organization is out of credits."}),
            ),
        ),
    ]);
    studio.drop_file("a.jpg", jpeg("a"));
    studio.wait_done("a.jpg");
    assert_eq!(studio.submissions().len(), 3);
    assert_eq!(accepted(&studio).len(), 1);
    finish(&studio);
}

#[test]
fn retry_after_holds_its_model_back_and_no_other() {
    let studio = Studio::builder().run();
    let refused = Action::Status {
        code: 429,
        body: Some(json!({"error": "Slow down, please."})),
        headers: BTreeMap::from([("retry-after".to_owned(), "3".to_owned())]),
    };
    studio
        .sim()
        .set_faults(vec![of_model(on_submit(1, refused), "gen4_turbo")]);
    studio.drop_file("a.jpg", jpeg("a"));
    studio.drop_file("a.jpg.yaml", sidecar("first", ""));
    let job = studio.wait_reason("a.jpg", "Slow down, please.");
    assert!(job.reason().contains("again at 20"), "{job:?}");
    studio.drop_file("b.jpg", jpeg("b"));
    studio.drop_file("b.jpg.yaml", sidecar("second of the same model", ""));
    studio.drop_file("c.jpg", jpeg("c"));
    studio.drop_file("c.jpg.yaml", "model: gen3a_turbo\nprompt: another model\n");
    studio.wait_done("c.jpg");
    studio.wait_done("a.jpg");
    studio.wait_done("b.jpg");
    let submissions = studio.submissions();
    let of = |words: &str| -> Vec<Timestamp> {
        submissions
            .iter()
            .filter(|seen| prompt(seen) == words)
            .map(|seen| seen.time)
            .collect()
    };
    let (a, b, c) = (
        of("first"),
        of("second of the same model"),
        of("another model"),
    );
    assert_eq!((a.len(), b.len(), c.len()), (2, 1, 1));
    assert!(seconds_between(a[0], a[1]) >= 2.99, "{a:?}");
    assert!(seconds_between(a[0], b[0]) >= 2.99, "{a:?} {b:?}");
    assert!(seconds_between(a[0], c[0]) < 2.9, "{a:?} {c:?}");
    finish(&studio);
}

#[test]
fn a_used_up_daily_quota_parks_that_model_with_a_time() {
    let studio = Studio::builder()
        .simulator(|options| {
            options.tier.limits.models.insert(
                "gen4_turbo".to_owned(),
                ModelLimits {
                    max_concurrent: Some(5),
                    max_daily: Some(1),
                },
            );
        })
        .run();
    studio.drop_file("a.jpg", jpeg("a"));
    studio.drop_file("a.jpg.yaml", sidecar("one", ""));
    studio.wait_done("a.jpg");
    studio.drop_file("b.jpg", jpeg("b"));
    studio.drop_file("b.jpg.yaml", sidecar("two", ""));
    let job = studio.wait_reason("b.jpg", "daily limit");
    assert!(job.reason().contains("again at 20"), "{job:?}");
    studio.drop_file("c.jpg", jpeg("c"));
    studio.drop_file("c.jpg.yaml", "model: gen3a_turbo\nprompt: three\n");
    studio.wait_done("c.jpg");
    assert_eq!(studio.submissions().len(), 3);
    finish(&studio);
}

// ---- the network

#[test]
fn without_a_network_work_waits_and_goes_on_when_it_is_back() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    drop(listener);
    let mut studio = Studio::builder()
        .no_simulator()
        .base_url(&format!("http://{address}/v1"))
        .image_defaults()
        .run();
    studio.drop_file("small.jpg", jpeg("small"));
    studio.wait_reason("small.jpg", "for the network");
    studio.drop_file("large.jpg", large_jpeg("large", 300_000));
    studio.wait_until("the large one says what it waits for", |studio| {
        studio.job("large.jpg").is_some_and(|job| {
            matches!(job.state(), "waiting" | "uploading")
                && job.reason().contains(&address.port().to_string())
                || job.reason().contains("network")
        })
    });
    assert_eq!(
        studio
            .log()
            .matches("submitting waits for the network")
            .count(),
        1,
        "{}",
        studio.log()
    );
    let options = Options {
        listen: address,
        task_seconds: 0.1,
        ..Options::default()
    };
    studio.simulator = Some(studio.block_on(Simulator::start(options)).unwrap());
    studio.wait_done("small.jpg");
    studio.wait_done("large.jpg");
    assert_eq!(studio.submissions().len(), 2);
    finish(&studio);
}

#[test]
fn questions_that_get_no_proper_answer_are_asked_again() {
    let studio = Studio::builder().task_seconds(0.0).image_defaults().run();
    let html = |code| Action::Garbage { code, html: true };
    let cases = [
        ("page", 2, html(200)),
        (
            "half",
            2,
            Action::Garbage {
                code: 200,
                html: false,
            },
        ),
        ("login", 2, html(403)),
        // A page at 404 is not the API's word that the task is gone, however often it comes.
        ("proxy", 4, html(404)),
        ("error", 2, status(500)),
        ("busy", 2, status(503)),
        ("limited", 2, status(429)),
        ("reset", 2, Action::ResetBefore),
        ("gone for a moment", 2, status(404)),
        ("late", 1, Action::Slow { ms: 600 }),
        (
            "elsewhere",
            1,
            Action::Redirect {
                to: "https://example.com/".to_owned(),
            },
        ),
    ];
    let number = cases.len();
    for (name, times, action) in cases {
        studio.sim().set_faults(vec![on_poll(times, action)]);
        let input = format!("{name}.jpg");
        studio.drop_file(&input, jpeg(name));
        studio.wait_done(&input);
    }
    assert_eq!(studio.submissions().len(), number);
    polls_keep_apart(&studio, 0.05);
    finish(&studio);
}

#[test]
fn an_organization_that_cannot_be_asked_about_holds_nobody_up() {
    let studio = Studio::builder()
        .simulator(|options| options.faults = vec![Rule::on("/v1/organization", status(500))])
        .image_defaults()
        .run();
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        studio.drop_file(name, jpeg(name));
    }
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        studio.wait_done(name);
    }
    finish(&studio);
}

// ---- submissions

#[test]
fn a_submission_whose_outcome_is_unknown_is_never_sent_again_by_itself() {
    let mut studio = Studio::builder().image_defaults().run();
    let cases = [
        (
            "page",
            Action::Garbage {
                code: 200,
                html: true,
            },
        ),
        (
            "half",
            Action::Garbage {
                code: 200,
                html: false,
            },
        ),
        ("no id", Action::NoId),
        ("error", status(500)),
        ("reset after", Action::ResetAfter),
        // Nobody can tell from outside whether the API had read it.
        ("reset before", Action::ResetBefore),
        (
            "elsewhere",
            Action::Redirect {
                to: "/v1/text_to_image".to_owned(),
            },
        ),
        ("timeout", status(408)),
    ];
    let number = cases.len();
    for (name, action) in cases {
        studio.sim().set_faults(vec![on_submit(1, action)]);
        let input = format!("{name}.jpg");
        studio.drop_file(&input, jpeg(name));
        let job = studio.wait_state(&input, "in_doubt");
        assert!(
            job.reason()
                .contains(&format!("taxiway resolve {}", job.id())),
            "{job:?}"
        );
        assert_eq!(job.attempts(), 1);
        // People who see only the folder are told, too.
        let note = studio.working(format!("{input}.error.txt"));
        studio.wait_until("the note is there", |_| note.exists());
        assert!(
            fs::read_to_string(&note)
                .unwrap()
                .contains("taxiway resolve")
        );
        assert!(studio.working(&input).exists());
    }
    studio.sim().set_faults(Vec::new());
    studio.drop_file("good.jpg", jpeg("good"));
    studio.wait_done("good.jpg");
    studio.restart();
    studio.drop_file("another.jpg", jpeg("another"));
    studio.wait_done("another.jpg");
    let doubtful = studio
        .jobs()
        .iter()
        .filter(|job| job.state() == "in_doubt")
        .count();
    assert_eq!(doubtful, number, "{}", studio.report());
    assert_eq!(
        studio.submissions().len(),
        number + 2,
        "{}",
        studio.report()
    );
    finish(&studio);
}

#[test]
fn a_submission_that_was_surely_refused_for_now_is_sent_again_and_makes_one_task() {
    let studio = Studio::builder().run();
    let cases = [
        ("gen4_turbo", status_with(502, page())),
        ("gen3a_turbo", status(503)),
        ("veo3.1", status(504)),
        ("veo3", status(429)),
    ];
    studio.sim().set_faults(
        cases
            .iter()
            .map(|(model, action)| of_model(on_submit(1, action.clone()), model))
            .collect(),
    );
    for (model, _) in &cases {
        studio.drop_file(format!("{model}.jpg"), jpeg(model));
        let (ratio, seconds) = match *model {
            "gen4_turbo" => ("1280:720", 5),
            "gen3a_turbo" => ("1280:768", 5),
            _ => ("1280:720", 8),
        };
        studio.drop_file(
            format!("{model}.jpg.yaml"),
            format!(
                "endpoint: image_to_video\nmodel: {model}\nprompt: {model}\nratio: \"{ratio}\"\nduration: {seconds}\n"
            ),
        );
    }
    for (model, _) in &cases {
        let job = studio.wait_done(&format!("{model}.jpg"));
        assert_eq!(job.attempts(), 2, "{job:?}");
    }
    for (model, _) in &cases {
        let sent: Vec<Seen> = studio
            .submissions()
            .into_iter()
            .filter(|seen| prompt(seen) == *model)
            .collect();
        assert_eq!(sent.len(), 2, "{model}");
        assert_eq!(
            sent.iter().filter(|seen| seen.task.is_some()).count(),
            1,
            "{model}"
        );
        assert_eq!(sent[0].body_sha256, sent[1].body_sha256, "the same request");
        assert!(
            seconds_between(sent[0].time, sent[1].time) >= 0.45,
            "{model}: with a pause"
        );
    }
    finish(&studio);
}

#[test]
fn a_refusal_of_the_request_fails_with_the_apis_words() {
    let studio = Studio::builder().image_defaults().run();
    let issues = json!({
        "error": "Validation of body failed",
        "issues": [
            {"code": "custom", "message": "Too spicy for us", "path": ["promptText"]},
            {"code": "custom", "message": "Must not be blue", "path": ["promptImage", 0, "uri"]},
        ],
    });
    let cases = [
        (
            "invalid",
            status_with(400, issues),
            vec![
                "promptText: Too spicy for us",
                "promptImage[0].uri: Must not be blue",
                "status 400",
            ],
        ),
        (
            "forbidden",
            status_with(403, json!({"error": "This model is not for you."})),
            vec!["This model is not for you.", "status 403"],
        ),
        ("missing", status(404), vec!["status 404"]),
        ("large", status(413), vec!["status 413"]),
        (
            "page",
            status_with(403, page()),
            vec!["perhaps from a proxy"],
        ),
    ];
    let number = cases.len();
    for (name, action, words) in cases {
        studio.sim().set_faults(vec![on_submit(1, action)]);
        let input = format!("{name}.jpg");
        studio.drop_file(&input, jpeg(name));
        studio.wait_failed(&input);
        let note = studio.note(&input);
        for word in words {
            assert!(note.contains(word), "{name}: no {word:?} in\n{note}");
        }
        assert!(
            note.contains("What to do: ") && note.contains("none were charged"),
            "{note}"
        );
        assert_eq!(fs::read(studio.failed(&input)).unwrap(), jpeg(name));
    }
    assert_eq!(studio.submissions().len(), number, "none was repeated");
    finish(&studio);
}

#[test]
fn slow_answers_are_waited_for() {
    let studio = Studio::builder().image_defaults().run();
    studio.sim().set_faults(vec![
        on_submit(1, Action::Slow { ms: 1200 }),
        fault("/v1/uploads", 1, Action::Slow { ms: 400 }),
        fault("/_storage/upload/", 1, Action::Slow { ms: 400 }),
        on_poll(1, Action::Slow { ms: 400 }),
        on_download(1, Action::Slow { ms: 400 }),
    ]);
    studio.drop_file("a.jpg", large_jpeg("a", 300_000));
    studio.wait_done("a.jpg");
    assert_eq!(studio.submissions().len(), 1);
    finish(&studio);
}

#[test]
fn doubt_is_settled_by_sending_again_where_the_configuration_says_so() {
    let studio = Studio::builder()
        .runway("on_doubt: resubmit")
        .image_defaults()
        .run();
    studio
        .sim()
        .set_faults(vec![on_submit(1, Action::ResetAfter)]);
    studio.drop_file("a.jpg", jpeg("a"));
    let job = studio.wait_done("a.jpg");
    assert_eq!(job.attempts(), 2);
    assert_eq!(
        accepted(&studio).len(),
        2,
        "both tasks exist, as whoever configures this accepts"
    );
    assert!(
        studio.log().contains("on_doubt: resubmit"),
        "{}",
        studio.log()
    );
    finish(&studio);
}

#[test]
fn sending_again_because_of_doubt_keeps_pauses_that_grow() {
    let studio = Studio::builder()
        .runway("on_doubt: resubmit")
        .image_defaults()
        .run();
    studio
        .sim()
        .set_faults(vec![on_submit(1_000_000, status(500))]);
    studio.drop_file("a.jpg", jpeg("a"));
    studio.wait_until("it was sent three times", |studio| {
        studio.submissions().len() >= 3
    });
    // Each of these may cost credits: a minute of trouble must not become thousands of requests.
    let sent: Vec<Timestamp> = studio.submissions().iter().map(|seen| seen.time).collect();
    let gap = seconds_between(sent[0], sent[2]);
    assert!(
        gap >= 0.9,
        "three requests within {gap:.3} s\n{}",
        studio.report()
    );
    studio.sim().set_faults(Vec::new());
    studio.wait_done("a.jpg");
    finish(&studio);
}

// ---- tasks

#[test]
fn a_task_that_failed_by_moderation_or_its_input_is_never_repeated() {
    let studio = Studio::builder().image_defaults().run();
    let cases = [
        (
            "text",
            "SAFETY.INPUT.TEXT",
            "25 were charged",
            "would cost again",
        ),
        (
            "image",
            "SAFETY.INPUT.IMAGE",
            "25 were charged",
            "would cost again",
        ),
        (
            "output",
            "SAFETY.OUTPUT.VIDEO",
            "charged",
            "Change the prompt",
        ),
        (
            "asset",
            "ASSET.INVALID",
            "none were charged",
            "another format",
        ),
        ("unknown", "SOMETHING.NEW", "charged", "try again"),
    ];
    let number = cases.len();
    for (name, code, charged, advice) in cases {
        studio.sim().set_faults(vec![on_submit(
            1,
            Action::TaskFails {
                code: code.to_owned(),
                message: Some(format!("Runway's words about {name}")),
                charged: None,
            },
        )]);
        let input = format!("{name}.jpg");
        studio.drop_file(&input, jpeg(name));
        let job = studio.wait_failed(&input);
        let note = studio.note(&input);
        for word in [
            code,
            charged,
            advice,
            &format!("Runway's words about {name}"),
            job.task(),
        ] {
            assert!(note.contains(word), "no {word:?} in\n{note}");
        }
    }
    assert_eq!(studio.submissions().len(), number);
    finish(&studio);
}

#[test]
fn a_task_that_may_be_repeated_is_repeated_twice_and_every_attempt_is_counted() {
    let studio = Studio::builder().image_defaults().run();
    let fails = |charged| Action::TaskFails {
        code: "INTERNAL.BAD_OUTPUT.CODE01".to_owned(),
        message: Some("Bad output".to_owned()),
        charged: Some(charged),
    };
    studio
        .sim()
        .set_faults(vec![on_submit(1_000_000, fails(true))]);
    studio.drop_file("always.jpg", jpeg("always"));
    let job = studio.wait_failed("always.jpg");
    assert_eq!(job.attempts(), 3);
    assert_eq!(studio.submissions().len(), 3);
    assert_eq!(job.charged(), Some(75.0), "three times 25");
    assert!(
        studio.note("always.jpg").contains("75 were charged"),
        "{}",
        studio.note("always.jpg")
    );

    studio.sim().set_faults(vec![on_submit(2, fails(true))]);
    studio.drop_file("twice.jpg", jpeg("twice"));
    let job = studio.wait_done("twice.jpg");
    assert_eq!((job.attempts(), job.charged()), (3, Some(75.0)));
    assert_eq!(studio.record("twice.mp4")["credits"]["charged"], 75.0);

    studio.sim().set_faults(vec![on_submit(
        1,
        Action::TaskFails {
            code: "INTERNAL".to_owned(),
            message: None,
            charged: None,
        },
    )]);
    studio.drop_file("once.jpg", jpeg("once"));
    let job = studio.wait_done("once.jpg");
    assert_eq!(
        (job.attempts(), job.charged()),
        (2, Some(25.0)),
        "the first was refunded"
    );
    assert_eq!(studio.submissions().len(), 8);
    finish(&studio);
}

#[test]
fn a_throttled_task_waits_and_is_no_error() {
    let studio = Studio::builder()
        .simulator(|options| {
            options.tier.limits = at_once(1);
            options.task_seconds = 0.8;
        })
        .runway("max_in_flight: 3")
        .image_defaults()
        .run();
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        studio.drop_file(name, jpeg(name));
    }
    studio.wait_until("one is throttled", |studio| {
        studio.jobs().iter().any(|job| {
            job.state() == "running"
                && job.reason().contains("THROTTLED")
                && job.reason().contains("waits")
        })
    });
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        studio.wait_done(name);
    }
    assert_eq!(studio.submissions().len(), 3);
    finish(&studio);
}

#[test]
fn a_task_that_somebody_deleted_is_explained_and_not_paid_again() {
    let studio = Studio::builder().task_seconds(30.0).image_defaults().run();
    studio.drop_file("a.jpg", jpeg("a"));
    let task = studio.wait_state("a.jpg", "running").task().to_owned();
    studio
        .sim()
        .set_faults(vec![Rule::on(format!("/v1/tasks/{task}"), status(404))]);
    studio.wait_failed("a.jpg");
    let note = studio.note("a.jpg");
    for word in [
        &*task,
        "no longer knows the task",
        "Somebody deleted it",
        "What to do: ",
    ] {
        assert!(note.contains(word), "no {word:?} in\n{note}");
    }
    assert!(
        !note.contains("Credits: none were charged"),
        "the task may well have cost credits\n{note}"
    );
    assert_eq!(studio.submissions().len(), 1);
    finish(&studio);
}

#[test]
fn a_task_that_takes_forever_is_never_given_up() {
    let mut studio = Studio::builder().image_defaults().run();
    studio.sim().set_faults(vec![on_submit(1, Action::Stuck)]);
    studio.drop_file("a.jpg", jpeg("a"));
    let task = studio.wait_state("a.jpg", "running").task().to_owned();
    studio.restart();
    let before = count(&studio, "GET", &format!("/v1/tasks/{task}"));
    studio.wait_until("it is asked about again", |studio| {
        count(studio, "GET", &format!("/v1/tasks/{task}")) > before + 3
    });
    assert_eq!(studio.job("a.jpg").unwrap().state(), "running");
    assert_eq!(studio.submissions().len(), 1);
    finish(&studio);
}

// ---- polling

#[test]
fn a_task_is_asked_about_at_most_once_in_a_poll_interval() {
    let mut studio = Studio::builder()
        .task_seconds(1.5)
        .runway("poll_interval: 300ms")
        .image_defaults()
        .run();
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        studio.drop_file(name, jpeg(name));
    }
    studio.wait_until("all run", |studio| {
        studio
            .jobs()
            .iter()
            .filter(|job| job.state() == "running")
            .count()
            == 3
    });
    studio.reload();
    studio.restart();
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        studio.wait_done(name);
    }
    polls_keep_apart(&studio, 0.3);
    let polls = count(&studio, "GET", "/v1/tasks/");
    assert!(
        polls >= 6,
        "{polls}: they were polled for as long as they ran"
    );
    finish(&studio);
}

#[test]
fn cancelling_asks_about_the_task_no_more_often_than_the_poll_interval_allows() {
    let studio = Studio::builder()
        .task_seconds(20.0)
        .runway("poll_interval: 300ms")
        .image_defaults()
        .run();
    studio.drop_file("a.jpg", jpeg("a"));
    let job = studio.wait_state("a.jpg", "running");
    studio.wait_until("it was asked about", |studio| {
        count(studio, "GET", "/v1/tasks/") >= 2
    });
    studio.cli_ok(&["cancel", job.id()]);
    studio.wait_state("a.jpg", "cancelled");
    assert_eq!(count(&studio, "DELETE", "/v1/tasks/"), 1);
    polls_keep_apart(&studio, 0.3);
    finish(&studio);
}

#[test]
fn outputs_whose_addresses_expire_again_and_again_are_asked_for_at_the_poll_interval() {
    let studio = Studio::builder()
        .task_seconds(0.0)
        .runway("poll_interval: 1s")
        .image_defaults()
        .run();
    studio
        .sim()
        .set_faults(vec![on_download(4, Action::Expire)]);
    studio.drop_file("a.jpg", jpeg("a"));
    studio.wait_done("a.jpg");
    polls_keep_apart(&studio, 1.0);
    finish(&studio);
}

// ---- downloads

#[test]
fn a_download_that_goes_wrong_ends_whole() {
    let studio = Studio::builder().task_seconds(0.0).image_defaults().run();
    studio.drop_file("plain.jpg", jpeg("plain"));
    let plain = studio.wait_done("plain.jpg");
    // The simulator's films differ in nothing but their task's id.
    let without = |bytes: &[u8], task: &str| text(bytes).replace(task, "");
    let wanted = without(&fs::read(studio.outbox("plain.mp4")).unwrap(), plain.task());
    let cases = [
        ("truncated", 2, Action::Truncate { bytes: 1000 }),
        ("empty", 1, Action::Truncate { bytes: 0 }),
        ("reset", 2, Action::ResetBefore),
        ("expired", 2, Action::Expire),
        ("length", 2, Action::CorruptLength),
        (
            "page",
            2,
            Action::Garbage {
                code: 200,
                html: true,
            },
        ),
        (
            "json",
            1,
            Action::Garbage {
                code: 200,
                html: false,
            },
        ),
        ("error", 1, status(503)),
        ("refused", 1, status(400)),
        ("late", 1, Action::Slow { ms: 500 }),
    ];
    for (name, times, action) in cases {
        studio.sim().set_faults(vec![on_download(times, action)]);
        let input = format!("{name}.jpg");
        studio.drop_file(&input, jpeg(name));
        let job = studio.wait_done(&input);
        let bytes = fs::read(studio.outbox(format!("{name}.mp4"))).unwrap();
        assert!(
            without(&bytes, job.task()) == wanted,
            "{name}: {} bytes came",
            bytes.len()
        );
        assert!(contains(&bytes, job.task().as_bytes()), "{name}");
        let record = studio.record(&format!("{name}.mp4"));
        assert_eq!(record["output"]["sha256"], sha256(&bytes).as_str());
        assert_eq!(record["output"]["bytes"], bytes.len());
    }
    let left: Vec<String> = studio
        .tree()
        .into_iter()
        .filter(|path| path.contains(".part"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    assert_eq!(studio.submissions().len(), 11);
    finish(&studio);
}

// ---- the queue

#[test]
fn no_more_tasks_run_at_once_than_the_tier_allows() {
    let studio = Studio::builder()
        .simulator(|options| {
            options.tier.limits = at_once(2);
            options.task_seconds = 0.4;
        })
        .image_defaults()
        .run();
    for number in 0..6 {
        studio.drop_file(format!("{number}.jpg"), jpeg(&number.to_string()));
    }
    studio.wait_all_ended(6);
    let starts: Vec<Timestamp> = accepted(&studio).iter().map(|seen| seen.time).collect();
    assert_eq!(starts.len(), 6);
    for three in starts.windows(3) {
        let gap = seconds_between(three[0], three[2]);
        assert!(
            gap >= 0.39,
            "a third task was started after {gap:.3} s\n{}",
            studio.report()
        );
    }
    for two in starts.windows(3).take(1) {
        assert!(
            seconds_between(two[0], two[1]) < 0.39,
            "two at once are used"
        );
    }
    finish(&studio);
}

#[test]
fn a_tier_of_one_task_at_once_is_kept_even_before_it_is_known() {
    let studio = Studio::builder()
        .simulator(|options| {
            options.tier.limits = at_once(1);
            options.task_seconds = 0.4;
            options.faults = vec![fault("/v1/organization", 1, Action::Slow { ms: 1500 })];
        })
        .image_defaults()
        .run();
    for number in 0..3 {
        studio.drop_file(format!("{number}.jpg"), jpeg(&number.to_string()));
    }
    studio.wait_all_ended(3);
    let starts: Vec<Timestamp> = accepted(&studio).iter().map(|seen| seen.time).collect();
    for two in starts.windows(2) {
        let gap = seconds_between(two[0], two[1]);
        assert!(
            gap >= 0.39,
            "a second task was started after {gap:.3} s\n{}",
            studio.report()
        );
    }
    finish(&studio);
}

/// One task at once, and one that runs while the others are dropped.
fn behind_a_long_one(builder: Builder) -> Studio {
    let studio = builder.task_seconds(1.5).runway("max_in_flight: 1").run();
    studio.drop_file("long.jpg", jpeg("long"));
    studio.drop_file("long.jpg.yaml", sidecar("long", ""));
    studio.wait_state("long.jpg", "running");
    studio.sim().change(Change {
        task_seconds: Some(0.0),
        ..Change::default()
    });
    studio
}

#[test]
fn larger_priorities_go_first_and_then_age() {
    let studio = behind_a_long_one(Studio::builder());
    for (name, priority) in [("low", -1), ("first", 0), ("second", 0), ("high", 5)] {
        studio.drop_file(format!("{name}.jpg"), jpeg(name));
        studio.drop_file(
            format!("{name}.jpg.yaml"),
            sidecar(name, &format!("priority: {priority}\n")),
        );
        studio.wait_state(&format!("{name}.jpg"), "queued");
    }
    studio.wait_all_ended(5);
    let order: Vec<String> = studio.submissions().iter().map(prompt).collect();
    assert_eq!(order, ["long", "high", "first", "second", "low"]);
    finish(&studio);
}

#[test]
fn an_inbox_with_many_files_does_not_keep_another_waiting() {
    let studio = behind_a_long_one(Studio::builder().second_inbox());
    for number in 0..6 {
        let name = format!("many {number}");
        studio.drop_file(format!("{name}.jpg"), jpeg(&name));
        studio.drop_file(format!("{name}.jpg.yaml"), sidecar(&name, ""));
    }
    studio.wait_until("all are queued", |studio| {
        studio
            .jobs()
            .iter()
            .filter(|job| job.state() == "queued")
            .count()
            == 6
    });
    studio.drop_at("second/inbox/one.jpg", jpeg("one"));
    studio.drop_at("second/inbox/one.jpg.yaml", sidecar("one", ""));
    studio.wait_all_ended(8);
    let order: Vec<String> = studio.submissions().iter().map(prompt).collect();
    let place = order.iter().position(|words| words == "one").unwrap();
    assert!(place <= 2, "{order:?}");
    finish(&studio);
}

// ---- uploads

#[test]
fn small_media_go_in_the_request_and_large_ones_are_uploaded() {
    let studio = Studio::builder().image_defaults().run();
    for (name, size) in [("limit.jpg", 262_144), ("above.jpg", 262_145)] {
        studio.drop_file(name, large_jpeg(name, size));
        studio.wait_done(name);
    }
    let uris: Vec<String> = studio
        .submissions()
        .iter()
        .map(|seen| {
            seen.body.as_ref().unwrap()["promptImage"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert!(uris[0].starts_with("data:image/jpeg;base64,"), "{uris:?}");
    assert!(uris[1].starts_with("runway://"), "{uris:?}");
    let uploads: Vec<Seen> = studio
        .seen()
        .requests
        .into_iter()
        .filter(|seen| seen.path.starts_with("/_storage/upload/"))
        .collect();
    assert_eq!(uploads.len(), 1);
    assert_eq!(
        uploads[0].body_sha256.as_deref(),
        Some(&*sha256(&large_jpeg("above.jpg", 262_145)))
    );
    finish(&studio);
}

#[test]
fn the_same_bytes_are_uploaded_once_for_all_jobs_even_across_a_restart() {
    let mut studio = Studio::builder().image_defaults().run();
    let bytes = large_jpeg("the same", 400_000);
    for name in ["a.jpg", "b.jpg", "shoes/c.jpg"] {
        studio.drop_file(name, &bytes);
    }
    for name in ["a.jpg", "b.jpg", "shoes/c.jpg"] {
        studio.wait_done(name);
    }
    studio.restart();
    studio.drop_file("d.jpg", &bytes);
    studio.wait_done("d.jpg");
    assert_eq!(count(&studio, "POST", "/v1/uploads"), 1);
    assert_eq!(count(&studio, "POST", "/_storage/upload/"), 1);
    let uris: BTreeSet<String> = studio
        .submissions()
        .iter()
        .map(|seen| seen.body.as_ref().unwrap()["promptImage"].to_string())
        .collect();
    assert_eq!(uris.len(), 1, "{uris:?}");
    assert_eq!(accepted(&studio).len(), 4);
    finish(&studio);
}

#[test]
fn uploads_that_go_wrong_are_repeated() {
    let studio = Studio::builder().image_defaults().run();
    let cases = [
        ("asking", fault("/v1/uploads", 1, status(503))),
        ("page", fault("/v1/uploads", 1, status_with(502, page()))),
        ("storage", fault("/_storage/upload/", 1, status(500))),
        ("reset", fault("/_storage/upload/", 1, Action::ResetBefore)),
        ("limited", fault("/v1/uploads", 1, status(429))),
    ];
    for (name, rule) in cases {
        studio.sim().set_faults(vec![rule]);
        let input = format!("{name}.jpg");
        studio.drop_file(&input, large_jpeg(name, 300_000));
        studio.wait_done(&input);
    }
    assert_eq!(studio.submissions().len(), 5);
    finish(&studio);
}

#[test]
fn an_upload_that_is_refused_for_good_fails_with_the_hosts_words() {
    let studio = Studio::builder().image_defaults().run();
    let storage = json!("<Error><Code>AccessDenied</Code><Message>Not this one</Message></Error>");
    let cases = [
        (
            "storage",
            fault("/_storage/upload/", 1, status_with(403, storage)),
            "AccessDenied",
        ),
        (
            "asking",
            fault(
                "/v1/uploads",
                1,
                status_with(400, json!({"error": "That name will not do"})),
            ),
            "That name will not do",
        ),
    ];
    for (name, rule, words) in cases {
        studio.sim().set_faults(vec![rule]);
        let input = format!("{name}.jpg");
        studio.drop_file(&input, large_jpeg(name, 300_000));
        studio.wait_failed(&input);
        let note = studio.note(&input);
        for word in [words, "What to do: ", "none were charged"] {
            assert!(note.contains(word), "no {word:?} in\n{note}");
        }
        assert!(studio.failed(&input).exists());
    }
    assert_eq!(studio.submissions().len(), 0);
    studio.drop_file("good.jpg", large_jpeg("good", 300_000));
    studio.wait_done("good.jpg");
    finish(&studio);
}

#[test]
fn uploads_that_do_not_get_through_hold_nobody_else_up() {
    let studio = Studio::builder()
        .simulator(|options| options.tier.limits = at_once(50))
        .image_defaults()
        .run();
    studio
        .sim()
        .set_faults(vec![Rule::on("/_storage/upload/", status(503))]);
    for number in 0..10 {
        studio.drop_file(
            format!("{number}.jpg"),
            large_jpeg(&number.to_string(), 300_000),
        );
    }
    studio.wait_until("as many are tried as are uploaded at once", |studio| {
        let seen = studio.seen();
        let names: BTreeSet<String> = seen
            .requests
            .iter()
            .filter(|seen| seen.path == "/v1/uploads")
            .filter_map(|seen| Some(seen.body.as_ref()?["filename"].to_string()))
            .collect();
        names.len() >= 8
    });
    studio.drop_file(
        "storm.yaml",
        "endpoint: text_to_video\nmodel: veo3.1\nratio: \"1280:720\"\nduration: 4\nprompt: a storm\n",
    );
    studio.drop_file("small.jpg", jpeg("small"));
    studio.wait_done("storm.yaml");
    studio.wait_done("small.jpg");
    // Each says what it waits for.
    studio.wait_until("the uploads say why they wait", |studio| {
        studio
            .jobs()
            .iter()
            .filter(|job| job.reason().contains("503"))
            .count()
            >= 2
    });
    studio.sim().set_faults(Vec::new());
    studio.wait_until("all are done", |studio| {
        studio
            .jobs()
            .iter()
            .filter(|job| job.state() == "done")
            .count()
            == 12
    });
    finish(&studio);
}

// ---- secrets

/// Does everything that could leave a secret somewhere, then looks into every file there is.
fn leaves_no_secrets(builder: Builder, storage: Action) {
    let mut studio = builder.image_defaults().run();
    // An API that repeats the key and a signed address in its words.
    let words = format!("Bad: https://cdn.example/a.mp4?sig=01ab&expires=1 for Bearer {KEY}");
    studio.sim().set_faults(vec![
        fault("/_storage/upload/", 1, storage),
        on_poll(1, Action::ResetBefore),
        on_download(1, Action::Expire),
        on_download(1, Action::Truncate { bytes: 100 }),
        on_download(
            1,
            Action::Garbage {
                code: 200,
                html: true,
            },
        ),
        of_model(
            on_submit(1, status_with(400, json!({"error": words}))),
            "gen3a_turbo",
        ),
        of_model(on_submit(1, Action::ResetAfter), "veo3.1"),
    ]);
    studio.drop_file("upload.jpg", large_jpeg("upload", 300_000));
    studio.wait_until("the upload has ended one way or the other", |studio| {
        studio.job("upload.jpg").is_some_and(|job| job.has_ended())
    });
    studio.drop_file("a.jpg", large_jpeg("a", 300_000));
    studio.wait_done("a.jpg");
    studio.drop_file("b.jpg", jpeg("b"));
    studio.drop_file(
        "b.jpg.yaml",
        "model: gen3a_turbo\nratio: \"1280:768\"\nprompt: b\n",
    );
    studio.wait_failed("b.jpg");
    studio.drop_file("c.jpg", jpeg("c"));
    studio.drop_file(
        "c.jpg.yaml",
        "endpoint: image_to_video\nmodel: veo3.1\nduration: 4\nprompt: c\n",
    );
    studio.wait_state("c.jpg", "in_doubt");
    studio.sim().set_faults(vec![on_submit(1, status(401))]);
    studio.drop_file("d.jpg", jpeg("d"));
    studio.wait_done("d.jpg");
    for job in studio.jobs() {
        let full = studio.cli_ok(&["status", job.id()]);
        assert!(!full.contains(KEY) && !full.contains("sig="), "{full}");
    }
    studio.restart();
    let mut looked_at = 0;
    walk(&studio.root, &mut |path| {
        let Ok(bytes) = fs::read(path) else {
            // A socket.
            return;
        };
        looked_at += 1;
        let mut secrets: Vec<&[u8]> =
            vec![KEY.as_bytes(), b"sig=", b"expires=", b"X-Amz-Signature"];
        // In base64, as a header of another kind would have it.
        secrets.push(b"a2V5X3Rlc3Qw");
        for secret in secrets {
            if contains(&bytes, secret) {
                let words = text(&bytes);
                let at = words.find(&text(secret)).unwrap_or(0);
                let from = (0..=at.saturating_sub(200))
                    .rev()
                    .find(|at| words.is_char_boundary(*at))
                    .unwrap_or(0);
                panic!(
                    "{} stands in {}: {}",
                    text(secret),
                    path.display(),
                    words[from..].chars().take(500).collect::<String>()
                );
            }
        }
    });
    assert!(looked_at > 8, "{looked_at}");
    finish(&studio);
}

#[test]
fn no_secret_stands_in_any_file_even_with_a_verbose_log() {
    let refusal = json!("<Error><Code>AccessDenied</Code></Error>");
    leaves_no_secrets(
        Studio::builder().argument("--verbose"),
        status_with(403, refusal),
    );
}

#[test]
fn no_secret_stands_in_the_log_even_where_every_crate_says_all_it_can() {
    leaves_no_secrets(
        Studio::builder().env("TAXIWAY_LOG", "trace"),
        Action::ResetBefore,
    );
}
