//! The commands: what they print, what they change, and their exit codes.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use taxiway::simulator::Action;

use crate::support::{Job, PATIENCE, Studio, fault, jpeg, mp4, put, text};

fn code(output: &Output) -> i32 {
    output
        .status
        .code()
        .unwrap_or_else(|| panic!("{}", output.status))
}

/// What a refusal says.
fn refusal(output: &Output) -> String {
    assert!(
        !output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    text(&output.stderr)
}

#[test]
fn what_init_makes_runs() {
    let studio = Studio::builder().open();
    let dir = studio.path("my studio");
    let taxiway = |arguments: &[&str]| {
        let mut command = studio.command();
        command
            .args(arguments)
            .env("RUNWAYML_BASE_URL", studio.sim().base_url());
        command
    };
    let made = taxiway(&["init", dir.to_str().unwrap()]).output().unwrap();
    assert_eq!(code(&made), 0, "{}", text(&made.stderr));
    for name in ["inbox", "outbox", "taxiway.yaml", "inbox/_sample.yaml"] {
        assert!(dir.join(name).exists(), "{name}");
    }
    let config = dir.join("taxiway.yaml");
    let at = ["--config", config.to_str().unwrap()];

    let checked = taxiway(&["check", at[0], at[1]]).output().unwrap();
    assert_eq!(code(&checked), 0, "{}", text(&checked.stderr));

    let mut daemon = taxiway(&["run", at[0], at[1]])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    fs::copy(
        dir.join("inbox/_sample.yaml"),
        dir.join("inbox/red.jpg.yaml"),
    )
    .unwrap();
    put(&dir.join("inbox/red.jpg"), &jpeg("red"));
    let limit = Instant::now() + PATIENCE;
    while !dir.join("outbox/red.mp4").exists() && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(50));
    }
    let status = taxiway(&["status", at[0], at[1]]).output().unwrap();
    let pid = rustix::process::Pid::from_child(&daemon);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut log = String::new();
    daemon
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert!(daemon.wait().unwrap().success());
    assert!(
        dir.join("outbox/red.mp4").is_file(),
        "{}{log}",
        text(&status.stdout)
    );
    assert!(dir.join("outbox/red.mp4.yaml").is_file());
}

#[test]
fn init_leaves_what_is_there_as_it_is() {
    let studio = Studio::builder().open();
    let dir = studio.path("own");
    put(&dir.join("taxiway.yaml"), b"# mine\n");
    let output = studio
        .command()
        .args(["init", dir.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(fs::read(dir.join("taxiway.yaml")).unwrap(), b"# mine\n");
    if code(&output) != 0 {
        assert_eq!(code(&output), 1);
        assert!(refusal(&output).contains("taxiway.yaml"));
    }
}

#[test]
fn check_tells_what_would_be_submitted_and_what_it_would_cost_and_submits_nothing() {
    let studio = Studio::builder().image_defaults().open();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.drop_file("sub/blue.jpg", jpeg("blue"));
    studio.drop_file("sub/blue.jpg.yaml", "duration: 10\nprompt: x\n");
    let words = studio.cli_ok(&["check"]);
    for word in [
        "red.jpg",
        "sub/blue.jpg",
        "image_to_video",
        "gen4_turbo",
        "25",
        "50",
        "75",
    ] {
        assert!(words.contains(word), "{word:?} in {words}");
    }
    let mut rows: Vec<Value> = studio
        .cli_ok(&["check", "--json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    rows.sort_by_key(|row| row["input"].to_string());
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["input"], "red.jpg");
    assert_eq!(rows[0]["credits"]["estimated"], json!(25.0));
    assert_eq!(rows[1]["request"]["duration"], 10);
    assert_eq!(rows[1]["request"]["promptText"], "x");
    assert!(studio.seen().requests.is_empty(), "{}", studio.report());
    assert!(studio.inbox("red.jpg").is_file());
    assert!(!studio.path("state").exists(), "check leaves no state");
}

#[test]
fn check_tells_every_problem_with_its_place_and_exits_with_3() {
    let studio = Studio::builder().image_defaults().open();
    studio.drop_file("good.jpg", jpeg("good"));
    studio.drop_file("bad.jpg", jpeg("bad"));
    studio.drop_file("bad.jpg.yaml", "promt: x\nduration: five\n");
    studio.drop_file("sub/worse.yaml", "endpoint: text_to_vidio\n");
    let output = studio.cli(&["check"]);
    assert_eq!(code(&output), 3, "{}", text(&output.stderr));
    let words = text(&output.stdout);
    for word in [
        "bad.jpg.yaml:1:1",
        "prompt",
        "bad.jpg.yaml:2:11",
        "sub/worse.yaml:1:11",
        "text_to_video",
        "good.jpg",
    ] {
        assert!(words.contains(word), "{word:?} in {words}");
    }
    let output = studio.cli(&["check", "--json"]);
    assert_eq!(code(&output), 3);
    let rows: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let bad = rows.iter().find(|row| row["input"] == "bad.jpg").unwrap();
    assert_eq!(bad["valid"], false);
    assert_eq!(bad["problems"].as_array().unwrap().len(), 2, "{bad}");
    assert!(studio.seen().requests.is_empty());
}

#[test]
fn check_looks_at_the_paths_it_is_given_and_needs_no_configuration_for_that() {
    let studio = Studio::builder().image_defaults().open();
    studio.drop_file("bad.jpg", jpeg("bad"));
    studio.drop_file("bad.jpg.yaml", "promt: x\n");
    studio.drop_file("sub/good.jpg", jpeg("good"));
    for path in ["sub", "sub/good.jpg"] {
        let words = studio.cli_ok(&["check", studio.inbox(path).to_str().unwrap()]);
        assert!(words.contains("good.jpg"), "{words}");
        assert!(!words.contains("bad.jpg"), "{words}");
    }
    for path in ["bad.jpg", "bad.jpg.yaml", "."] {
        let output = studio.cli(&["check", studio.inbox(path).to_str().unwrap()]);
        assert_eq!(code(&output), 3, "{path}: {}", text(&output.stdout));
    }
    let output = studio.cli(&["check", "nowhere"]);
    assert_eq!(code(&output), 1);
    assert!(refusal(&output).contains("nowhere"));

    // Outside of any inbox, and with no configuration anywhere.
    let folder = studio.path("elsewhere");
    put(
        &folder.join("storm.yaml"),
        b"endpoint: text_to_video\nmodel: veo3.1\nprompt: x\nratio: \"1280:720\"\nduration: 4\n",
    );
    let output = studio
        .command()
        .current_dir(&folder)
        .args(["check", "storm.yaml"])
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("160"));
}

#[test]
fn a_wrong_configuration_is_told_with_every_place_and_exits_with_3() {
    let studio = Studio::builder()
        .config_text("runway:\n  base_ulr: {url}\n  poll_interval: soon\ninboxes:\n  - path: inbox\n    settel: 5s\n")
        .open();
    for command in ["check", "run", "status", "credits"] {
        let output = studio.cli(&[command]);
        assert_eq!(code(&output), 3, "{command}");
        let words = refusal(&output);
        for word in [
            "taxiway.yaml:2:3",
            "base_url",
            "taxiway.yaml:3:18",
            "taxiway.yaml:6:5",
            "settle",
        ] {
            assert!(words.contains(word), "{command}: {word:?} in {words}");
        }
    }
}

#[test]
fn check_online_asks_whether_the_key_works() {
    let mut studio = Studio::builder()
        .simulator(|options| options.key = Some("key_right".to_owned()))
        .key(Some("key_right"))
        .open();
    let words = studio.cli_ok(&["check", "--online"]);
    assert!(words.contains("10000"), "{words}");
    assert_eq!(studio.seen().requests.len(), 1);

    studio.set_key(Some("key_wrong"));
    for arguments in [["check", "--online"].as_slice(), &["credits"]] {
        let output = studio.cli(arguments);
        assert_eq!(code(&output), 4, "{}", text(&output.stderr));
        assert!(!refusal(&output).contains("key_wrong"));
    }
    studio.set_key(None);
    let output = studio.cli(&["check", "--online"]);
    assert_eq!(code(&output), 4, "{}", text(&output.stderr));
    assert!(refusal(&output).contains("RUNWAYML_API_SECRET"));
}

/// The line of a job, with the fields and kinds of the contract.
fn check_line(job: &Job) {
    let line = job.0.as_object().unwrap();
    let keys: Vec<&str> = line.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "id",
            "inbox",
            "input",
            "state",
            "reason",
            "endpoint",
            "model",
            "task_id",
            "progress",
            "attempts",
            "credits",
            "outputs",
            "created_at",
            "updated_at"
        ]
    );
    let credits: Vec<&str> = line["credits"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(credits, ["estimated", "charged"]);
    for key in ["id", "inbox", "input", "state"] {
        assert!(line[key].is_string(), "{key} in {job:?}");
    }
    for key in ["reason", "endpoint", "model", "task_id"] {
        assert!(
            line[key].is_string() || line[key].is_null(),
            "{key} in {job:?}"
        );
        assert_ne!(line[key], "", "what is not known is null: {key} in {job:?}");
    }
    let states = [
        "waiting",
        "queued",
        "uploading",
        "submitting",
        "running",
        "downloading",
        "delivering",
        "done",
        "failed",
        "cancelled",
        "in_doubt",
    ];
    assert!(states.contains(&job.state()), "{job:?}");
    assert!(line["attempts"].is_u64() && line["outputs"].is_array());
    let time = |key: &str| {
        line[key]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    assert!(time("created_at") <= time("updated_at"), "{job:?}");
}

#[test]
fn status_json_has_the_fields_of_the_contract_in_every_state() {
    let studio = Studio::builder().image_defaults().run();
    assert_eq!(studio.cli_ok(&["status", "--json"]), "");
    studio.drop_file("hum.mp3", crate::support::media("plain.mp3"));
    studio.drop_file("done.jpg", jpeg("done"));
    studio.drop_file("bad.jpg.yaml", "promt: x\n");
    studio.drop_file("bad.jpg", jpeg("bad"));
    studio.drop_file("slow.jpg.yaml", "prompt: \"[[stuck]]\"\n");
    studio.drop_file("slow.jpg", jpeg("slow"));
    let waiting = studio.wait_reason("hum.mp3", "sidecar");
    let done = studio.wait_done("done.jpg");
    let failed = studio.wait_failed("bad.jpg");
    let running = studio.wait_state("slow.jpg", "running");
    for job in [&waiting, &done, &failed, &running] {
        check_line(job);
        assert_eq!(job.inbox(), "inbox");
    }
    for key in ["endpoint", "model", "task_id", "progress"] {
        assert!(waiting.0[key].is_null(), "{key} in {waiting:?}");
        assert!(failed.0[key].is_null(), "{key} in {failed:?}");
    }
    assert_eq!(waiting.attempts(), 0);
    assert_eq!(failed.attempts(), 0);
    assert_eq!(done.attempts(), 1);
    assert_eq!(done.0["progress"], json!(1.0));
    assert!(done.0["reason"].is_null());
    assert_eq!(
        done.0["outputs"],
        json!([studio.outbox("done.mp4").to_str().unwrap()])
    );
    assert_eq!(
        running.0["credits"],
        json!({"estimated": 25.0, "charged": null})
    );
    assert_eq!(running.0["model"], "gen4_turbo");
}

#[test]
fn status_tells_each_job_once() {
    let studio = Studio::builder().image_defaults().task_seconds(0.0).run();
    for number in 0..30 {
        studio.drop_file(format!("{number}.jpg"), jpeg(&number.to_string()));
    }
    studio.wait_until("all are done", |studio| {
        let lines = studio.status_lines();
        let ids: BTreeSet<&str> = lines.iter().map(Job::id).collect();
        assert_eq!(ids.len(), lines.len(), "a job is told twice: {lines:#?}");
        let inputs: BTreeSet<&str> = lines.iter().map(Job::input).collect();
        assert_eq!(
            inputs.len(),
            lines.len(),
            "an input is told twice: {lines:#?}"
        );
        lines.len() == 30 && lines.iter().all(|job| job.state() == "done")
    });
}

#[test]
fn status_tells_people_the_same_and_one_job_in_full_and_works_without_a_daemon() {
    let mut studio = Studio::builder().image_defaults().run();
    let words = studio.cli_ok(&["status"]);
    assert!(words.contains("Drop"), "{words}");
    studio.drop_file("red.jpg", jpeg("red"));
    studio.drop_file("bad.jpg.yaml", "promt: x\n");
    studio.drop_file("bad.jpg", jpeg("bad"));
    let red = studio.wait_done("red.jpg");
    let bad = studio.wait_failed("bad.jpg");
    for stopped in [false, true] {
        if stopped {
            assert!(studio.stop().success());
        }
        let words = studio.cli_ok(&["status"]);
        for word in ["red.jpg", "done", "red.mp4", "bad.jpg", "failed", red.id()] {
            assert!(words.contains(word), "{word:?} in {words}");
        }
        let words = studio.cli_ok(&["status", &red.id()[..6]]);
        for word in [
            red.id(),
            red.task(),
            "red.mp4",
            "gen4_turbo",
            "25",
            "History",
        ] {
            assert!(words.contains(word), "{word:?} in {words}");
        }
        let words = studio.cli_ok(&["status", bad.id()]);
        for word in ["bad.jpg.yaml:1:1", "prompt", "What to do"] {
            assert!(words.contains(word), "{word:?} in {words}");
        }
        let line: Value =
            serde_json::from_str(&studio.cli_ok(&["status", red.id(), "--json"])).unwrap();
        assert_eq!(line, red.0);
        assert_eq!(studio.jobs().len(), 2);
        let output = studio.cli(&["status", "nosuchjob"]);
        assert_eq!(code(&output), 1);
        assert!(refusal(&output).contains("nosuchjob"));
    }
}

#[test]
fn cancel_stops_some_jobs_and_says_why_it_cannot_stop_others() {
    let studio = Studio::builder()
        .runway("max_in_flight: 1")
        .image_defaults()
        .run();
    studio.drop_file("done.jpg", jpeg("done"));
    let done = studio.wait_done("done.jpg");
    studio.drop_file("run.jpg.yaml", "prompt: \"[[stuck]]\"\n");
    studio.drop_file("run.jpg", jpeg("run"));
    let running = studio.wait_state("run.jpg", "running");
    studio.drop_file("queue.jpg", jpeg("queue"));
    let queued = studio.wait_state("queue.jpg", "queued");
    let output = studio.cli(&["cancel", done.id(), running.id(), queued.id(), "nosuchjob"]);
    assert_eq!(code(&output), 1);
    let words = refusal(&output);
    assert!(
        words.contains(done.id()) && words.contains("nosuchjob"),
        "{words}"
    );
    studio.wait_state("run.jpg", "cancelled");
    studio.wait_state("queue.jpg", "cancelled");
    assert_eq!(studio.job("done.jpg").unwrap().state(), "done");
    assert_eq!(studio.submissions().len(), 2);
    for name in ["run.jpg", "run.jpg.yaml", "queue.jpg"] {
        assert!(studio.failed(name).is_file(), "{}", studio.report());
    }
}

#[test]
fn retry_runs_failed_and_cancelled_jobs_again_under_their_names() {
    let studio = Studio::builder()
        .simulator(|options| {
            options.faults = vec![fault(
                "/v1/image_to_video",
                1,
                Action::Status {
                    code: 400,
                    body: Some(json!({"error": "Not this one."})),
                    headers: Default::default(),
                },
            )];
        })
        .image_defaults()
        .run();
    studio.drop_file("sub/red.jpg.yaml", "prompt: x\n");
    studio.drop_file("sub/red.jpg", jpeg("red"));
    let failed = studio.wait_failed("sub/red.jpg");
    assert!(studio.note("sub/red.jpg").contains("Not this one."));
    studio.cli_ok(&["retry", failed.id()]);
    let done = studio.wait_for("it is done", |studio| {
        studio
            .job("sub/red.jpg")
            .filter(|job| job.state() == "done")
    });
    studio.assert_snapshot("retried");

    let output = studio.cli(&["retry", done.id()]);
    assert_eq!(code(&output), 1);
    assert!(refusal(&output).contains("done"));

    studio.drop_file("blue.jpg.yaml", "prompt: \"[[slow 3]]\"\n");
    studio.drop_file("blue.jpg", jpeg("blue"));
    let running = studio.wait_state("blue.jpg", "running");
    studio.cli_ok(&["cancel", running.id()]);
    studio.wait_state("blue.jpg", "cancelled");
    studio.cli_ok(&["retry", running.id()]);
    studio.wait_for("it is done", |studio| {
        studio.job("blue.jpg").filter(|job| job.state() == "done")
    });
}

/// A studio with one job in doubt, whose task the simulator did start.
fn in_doubt() -> (Studio, Job, String) {
    let studio = Studio::builder()
        .simulator(|options| {
            options.faults = vec![fault("/v1/image_to_video", 1, Action::ResetAfter)];
        })
        .image_defaults()
        .run();
    studio.drop_file("red.jpg", jpeg("red"));
    let job = studio.wait_state("red.jpg", "in_doubt");
    assert!(!job.reason().is_empty(), "{job:?}");
    let task = studio.submission().task.unwrap();
    (studio, job, task)
}

#[test]
fn resolve_adopts_the_task_of_a_job_in_doubt() {
    let (studio, job, task) = in_doubt();
    let words = studio.cli_ok(&["status", job.id()]);
    assert!(words.contains("resolve"), "{words}");
    let output = studio.cli(&[
        "resolve",
        job.id(),
        "--adopt",
        "00000000-0000-4000-8000-000000000000",
    ]);
    assert_eq!(code(&output), 1);
    assert!(refusal(&output).contains("00000000-0000-4000-8000-000000000000"));
    studio.cli_ok(&["resolve", job.id(), "--adopt", &task]);
    let done = studio.wait_done("red.jpg");
    assert_eq!(done.task(), task);
    assert_eq!(studio.submissions().len(), 1);
    assert!(studio.outbox("red.mp4").is_file());
}

#[test]
fn resolve_resubmits_a_job_in_doubt_once() {
    let (studio, job, first) = in_doubt();
    studio.cli_ok(&["resolve", job.id(), "--resubmit"]);
    let done = studio.wait_done("red.jpg");
    assert_ne!(done.task(), first);
    assert_eq!(studio.submissions().len(), 2);
    let output = studio.cli(&["resolve", job.id(), "--resubmit"]);
    assert_eq!(code(&output), 1);
    assert!(refusal(&output).contains("done"));
}

#[test]
fn resolve_abandons_a_job_in_doubt() {
    let (studio, job, _) = in_doubt();
    studio.cli_ok(&["resolve", job.id(), "--abandon"]);
    let ended = studio.wait_for("it has ended", |studio| {
        studio.job("red.jpg").filter(Job::has_ended)
    });
    assert!(
        ["failed", "cancelled"].contains(&ended.state()),
        "{ended:?}"
    );
    assert!(studio.failed("red.jpg").is_file());
    assert!(!studio.note("red.jpg").is_empty());
    assert_eq!(studio.submissions().len(), 1);
}

#[test]
fn a_job_in_doubt_is_never_sent_again_by_itself_and_can_be_retried_only_by_resolving() {
    let (mut studio, job, _) = in_doubt();
    studio.restart();
    studio.drop_file("blue.jpg", jpeg("blue"));
    studio.wait_done("blue.jpg");
    assert_eq!(studio.job("red.jpg").unwrap().state(), "in_doubt");
    for command in ["cancel", "retry"] {
        let output = studio.cli(&[command, job.id()]);
        assert_eq!(code(&output), 1, "{command}");
        assert!(refusal(&output).contains("doubt"));
    }
    assert_eq!(studio.submissions().len(), 2);
}

#[test]
fn wrong_usage_exits_with_2() {
    let studio = Studio::builder().open();
    for arguments in [
        ["nosuchcommand"].as_slice(),
        &["status", "--nosuchoption"],
        &["cancel"],
        &["resolve", "x"],
        &["resolve", "x", "--abandon", "--resubmit"],
        &["simulate", "--listen", "here"],
        &[],
    ] {
        let output = studio.command().args(arguments).output().unwrap();
        assert_eq!(code(&output), 2, "{arguments:?}");
    }
    for arguments in [["--help"].as_slice(), &["--version"], &["run", "--help"]] {
        let output = studio.command().args(arguments).output().unwrap();
        assert_eq!(code(&output), 0, "{arguments:?}");
        assert!(!output.stdout.is_empty());
    }
}

#[test]
fn commands_that_need_a_daemon_say_so_without_one() {
    let studio = Studio::builder().open();
    for arguments in [
        ["cancel", "x"].as_slice(),
        &["retry", "x"],
        &["resolve", "x", "--abandon"],
    ] {
        let output = studio.cli(arguments);
        assert_eq!(code(&output), 1, "{arguments:?}");
        let words = refusal(&output);
        assert!(words.contains("taxiway run"), "{words}");
    }
}

#[test]
fn the_configuration_is_the_first_of_the_option_the_variable_and_the_folder() {
    let studio = Studio::builder().open();
    let inbox = |name: &str| {
        let file = studio.path(format!("{name}/taxiway.yaml"));
        put(
            &file,
            format!("inboxes:\n  - path: inbox-of-{name}\n").as_bytes(),
        );
        file
    };
    let (option, variable, folder) = (inbox("option"), inbox("variable"), inbox("folder"));
    let status = |with_option: bool, with_variable: bool| {
        let mut command = studio.command();
        command.current_dir(folder.parent().unwrap()).arg("status");
        if with_option {
            command.arg("--config").arg(&option);
        }
        if with_variable {
            command.env("TAXIWAY_CONFIG", &variable);
        }
        let output = command.output().unwrap();
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        text(&output.stdout)
    };
    for (with_option, with_variable, name) in [
        (true, true, "option"),
        (true, false, "option"),
        (false, true, "variable"),
        (false, false, "folder"),
    ] {
        let words = status(with_option, with_variable);
        // Relative to the file, and not to where the command was typed.
        let expected = format!("{name}/inbox-of-{name}");
        assert!(words.contains(&expected), "{expected} in {words}");
    }
    let output = studio
        .command()
        .current_dir(studio.path("inbox"))
        .arg("status")
        .output()
        .unwrap();
    if !Path::new("/etc/taxiway/taxiway.yaml").exists() {
        assert_eq!(code(&output), 3);
        let words = refusal(&output);
        assert!(words.contains("taxiway init"), "{words}");
    }
}

#[test]
fn global_options_mean_the_same_wherever_they_appear() {
    let studio = Studio::builder().image_defaults().run();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    let config = studio.config.to_str().unwrap();
    let expected = studio.cli_ok(&["status", "--json"]);
    for arguments in [
        ["--config", config, "--json", "status"],
        ["--json", "status", "--config", config],
        ["status", "--config", config, "--json"],
    ] {
        let output = studio.command().args(arguments).output().unwrap();
        assert_eq!(text(&output.stdout), expected, "{arguments:?}");
    }
    let output = studio
        .command()
        .args(["--verbose", "status", "--config", config])
        .output()
        .unwrap();
    assert_eq!(code(&output), 0);
}

#[test]
fn nothing_is_coloured_where_there_is_no_terminal() {
    let studio = Studio::builder().image_defaults().run();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    for arguments in [["status"].as_slice(), &["check"], &["credits"]] {
        assert!(!studio.cli_ok(arguments).contains('\x1b'));
    }
    assert!(!studio.log().contains('\x1b'), "{}", studio.log());
}

#[test(needs = [SCRIPT])]
fn nothing_is_coloured_on_a_terminal_where_no_color_is_set() {
    let studio = Studio::builder().image_defaults().run();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    let mut command = Command::new("script");
    let line = format!(
        "{} status --config {}",
        env!("CARGO_BIN_EXE_taxiway"),
        studio.config.display()
    );
    command
        .args(["-qec", &line, "/dev/null"])
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let words = text(&output.stdout);
    assert!(words.contains("red.jpg"), "{words}");
    assert!(!words.contains("\x1b["), "{words:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let studio = Studio::builder().image_defaults().task_seconds(0.0).run();
    for number in 0..5 {
        studio.drop_file(format!("{number}.jpg"), jpeg(&number.to_string()));
    }
    studio.wait_all_ended(5);
    for arguments in [
        ["status", "--json"].as_slice(),
        &["status"],
        &["schema"],
        &["check"],
        &["completions", "bash"],
    ] {
        let mut child = studio
            .command()
            .args(arguments)
            .arg("--config")
            .arg(&studio.config)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 0, "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
    }
    let line = format!(
        "set -o pipefail; '{}' status --config '{}' | head -1",
        env!("CARGO_BIN_EXE_taxiway"),
        studio.config.display()
    );
    let output = Command::new("bash").args(["-c", &line]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
}

#[test]
fn the_demo_ends_by_itself_within_a_minute_and_names_what_it_made() {
    let studio = Studio::builder().no_simulator().key(None).open();
    let dir = studio.path("demo folder");
    let started = Instant::now();
    let output = studio
        .command()
        .arg("demo")
        .arg(&dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let words = text(&output.stdout);
    assert_eq!(code(&output), 0, "{words}{}", text(&output.stderr));
    assert!(started.elapsed() < Duration::from_secs(60));
    assert!(!words.contains('\x1b'), "{words}");
    for word in [
        "image to video",
        "video to video",
        "text to video",
        "text to image",
        "upscale",
        "sound effect",
        "failed",
        "cancelled",
    ] {
        assert!(words.contains(word), "{word:?} in {words}");
    }
    let mut outputs = 0;
    crate::support::walk(&dir.join("outbox"), &mut |path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.ends_with(".yaml") {
            outputs += 1;
            assert!(words.contains(name), "{name} in {words}");
        }
    });
    assert!(outputs >= 6, "{words}");
    let output = studio.command().arg("demo").arg(&dir).output().unwrap();
    assert_eq!(code(&output), 1, "a second demo leaves the folder alone");
}

#[test]
fn simulate_prints_its_url_on_the_first_line() {
    let studio = Studio::builder().no_simulator().open();
    let mut child = studio
        .command()
        .args([
            "simulate",
            "--listen",
            "127.0.0.1:0",
            "--task-seconds",
            "0.5",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    put(&studio.config, b"inboxes: [{ path: inbox }]\n");
    let checked = studio
        .command()
        .args(["check", "--online"])
        .env("RUNWAYML_BASE_URL", format!("{}/v1", line.trim_end()))
        .output()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    child.wait().unwrap();
    assert!(line.starts_with("http://127.0.0.1:"), "{line}");
    assert_eq!(code(&checked), 0, "{}", text(&checked.stderr));
}

#[test]
fn models_lists_what_the_catalogue_knows_and_shows_the_fields_of_one() {
    let studio = Studio::builder().open();
    let list = studio.cli_ok(&["models"]);
    let row = list
        .lines()
        .find(|line| line.starts_with("image_to_video") && line.contains("gen4_turbo "));
    assert!(
        row.is_some_and(|row| row.ends_with("5 per second")),
        "{list}"
    );
    let fields = studio.cli_ok(&["models", "gen4_turbo"]);
    for word in [
        "promptImage, required",
        "\"1280:720\"",
        "5 credits per second",
    ] {
        assert!(fields.contains(word), "{word}: {fields}");
    }
    // Each line of the JSON is a model at an endpoint; an endpoint's name shows all its models.
    let lines = |name: &str| -> Vec<Value> {
        let all = studio.cli_ok(&["models", name, "--json"]);
        all.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let one = lines("upscale_v1");
    assert_eq!(one.len(), 1);
    assert_eq!(one[0]["endpoint"], "video_upscale");
    assert!(
        one[0]["successor"].is_string() && one[0]["price"].is_null(),
        "{}",
        one[0]
    );
    let all = lines("text_to_image");
    let image = all
        .iter()
        .find(|line| line["model"] == "gen4_image")
        .unwrap();
    let ratio = image["fields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|field| field["name"] == "ratio")
        .unwrap();
    assert!(
        ratio["allowed"]
            .as_array()
            .unwrap()
            .contains(&json!("1920:1080")),
        "{ratio}"
    );
    assert_eq!(image["price"]["rules"][1]["credits"], 8.0);
    let unknown = studio.cli(&["models", "gen4_trubo"]);
    assert_eq!(code(&unknown), 1);
    assert!(refusal(&unknown).contains("did you mean `gen4_turbo`?"));
}

#[test]
fn schema_describes_the_keys_of_sidecars() {
    let studio = Studio::builder().open();
    let schema: Value = serde_json::from_str(&studio.cli_ok(&["schema"])).unwrap();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let words = schema.to_string();
    for word in [
        "endpoint",
        "prompt",
        "priority",
        "max_credits",
        "output",
        "promptImage",
        "referenceImages",
        "gen4_turbo",
        "image_to_video",
        "recipes/product_ad",
    ] {
        assert!(words.contains(&format!("\"{word}\"")), "{word}");
    }
    // It needs no configuration.
    let output = studio
        .command()
        .current_dir("/")
        .arg("schema")
        .output()
        .unwrap();
    assert_eq!(code(&output), 0);
}

#[test]
fn completions_are_there_for_the_usual_shells() {
    let studio = Studio::builder().open();
    for shell in ["bash", "zsh", "fish"] {
        let words = text(
            &studio
                .command()
                .args(["completions", shell])
                .output()
                .unwrap()
                .stdout,
        );
        for command in ["status", "resolve", "simulate"] {
            assert!(words.contains(command), "{shell}");
        }
    }
    let script = studio.path("taxiway.bash");
    let bash = studio
        .command()
        .args(["completions", "bash"])
        .output()
        .unwrap()
        .stdout;
    fs::write(&script, bash).unwrap();
    let output = Command::new("bash")
        .arg("-n")
        .arg(&script)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn what_only_its_owner_may_read_is_so() {
    let studio = Studio::builder().image_defaults().run();
    studio.drop_file("walk.mp4", mp4("walk"));
    studio.wait_reason("walk.mp4", "sidecar");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&studio.path("state/control.sock")) & 0o077, 0);
}
