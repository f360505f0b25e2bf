//! The JSON that programs rely on, as `golden.txt` has it: of the control socket, the HTTP API and the commands, with and without a
//! daemon. Names of jobs and tasks, times, paths and texts for people are replaced, so that only names and values are compared.
//!
//! `TAXIWAY_GOLDEN=write` writes the file again, for answers that change on purpose.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};
use taxiway::simulator::Action;

use crate::support::{Studio, fault, jpeg, mp4, text};

/// Keys whose values are texts for people: their wording is free.
const WORDS: [&str; 13] = [
    "reason", "error", "why", "what", "advice", "details", "evidence", "when", "watched",
    "problems", "warnings", "reasons", "waiting",
];
/// Keys whose figures depend on when Runway was asked.
const FIGURES: [&str; 6] = [
    "credits",
    "used_today",
    "used_before",
    "used_after",
    "credit_balance",
    "age",
];

/// What was asked and answered, a line each.
struct Script {
    lines: Vec<String>,
    /// Names of jobs, and what is written for them.
    names: Vec<(String, String)>,
}

impl Script {
    fn title(&mut self, title: &str) {
        self.lines.push(format!("\n# {title}"));
    }

    /// Notes an answer: as JSON where it is JSON, a line for each object.
    fn note(&mut self, studio: &Studio, asked: &str, answer: &str) {
        self.lines.push(format!("> {}", self.plain(studio, asked)));
        for line in answer.lines() {
            let line = match serde_json::from_str::<Value>(line) {
                Ok(mut value) => {
                    value.sort_all_objects();
                    self.replace(studio, "", &mut value);
                    value.to_string()
                }
                Err(_) => self.plain(studio, line),
            };
            self.lines.push(line);
        }
    }

    fn replace(&self, studio: &Studio, key: &str, value: &mut Value) {
        match value {
            Value::Object(map) => {
                // Which models there are is the simulator's affair.
                if key == "models" {
                    map.retain(|model, _| model == "gen4_turbo");
                }
                map.iter_mut()
                    .for_each(|(key, value)| self.replace(studio, key, value));
            }
            Value::Array(list) if list.is_empty() => {}
            Value::Array(_) if WORDS.contains(&key) => *value = json!(["<words>"]),
            Value::Array(list) => list
                .iter_mut()
                .for_each(|value| self.replace(studio, key, value)),
            Value::String(_) if WORDS.contains(&key) => *value = json!("<words>"),
            Value::String(text) => *text = self.plain(studio, text),
            Value::Number(_) if FIGURES.contains(&key) => *value = json!("<figure>"),
            Value::Number(share)
                if key == "progress" && *share != json!(1.0).as_number().cloned().unwrap() =>
            {
                *value = json!("<share>");
            }
            Value::Number(_) | Value::Null | Value::Bool(_) => {}
        }
    }

    fn plain(&self, studio: &Studio, text: &str) -> String {
        if text.parse::<jiff::Timestamp>().is_ok() {
            return "<time>".to_owned();
        }
        if text.parse::<jiff::civil::Date>().is_ok() {
            return "<day>".to_owned();
        }
        if is_task(text) {
            return "<task>".to_owned();
        }
        let mut text = text.replace(studio.root.to_str().unwrap(), "<root>");
        // The end of a page: the time in microseconds, and the job.
        if let Some((time, id)) = text.split_once('-')
            && time.len() == 16
            && self.names.iter().any(|(known, _)| known == id)
        {
            text = format!("<time>-{id}");
        }
        for (id, name) in &self.names {
            text = text.replace(id, name);
        }
        text.replace(env!("CARGO_PKG_VERSION"), "<version>")
    }

    fn socket(&mut self, studio: &Studio, request: &Value) {
        let answer = ask_socket(studio, &request.to_string());
        self.note(studio, &request.to_string(), &answer);
    }

    fn get(&mut self, studio: &Studio, target: &str) {
        let (status, body) = ask_page(studio, "GET", target, "");
        self.note(studio, &format!("GET {target}: {status}"), &body);
    }

    fn post(&mut self, studio: &Studio, target: &str, body: &str) {
        let (status, answer) = ask_page(studio, "POST", target, body);
        self.note(studio, &format!("POST {target} {body}: {status}"), &answer);
    }

    fn command(&mut self, studio: &Studio, arguments: &[&str]) {
        let output = studio.cli(arguments);
        let asked = format!("taxiway {}: {}", arguments.join(" "), output.status);
        self.note(studio, &asked, &text(&output.stdout));
    }
}

fn is_task(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12]
        && text
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

fn ask_socket(studio: &Studio, request: &str) -> String {
    let mut stream = UnixStream::connect(studio.path("state/control.sock")).unwrap();
    stream.write_all(format!("{request}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn ask_page(studio: &Studio, method: &str, target: &str, body: &str) -> (String, String) {
    let log = studio.log();
    let (_, rest) = log.rsplit_once("the status page is at http://").unwrap();
    let mut stream = TcpStream::connect(rest.split('/').next().unwrap()).unwrap();
    let head = "Host: localhost\r\nX-Taxiway: 1\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/json";
    let length = body.len();
    let request =
        format!("{method} {target} HTTP/1.0\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

/// One job in each state that stays: done, failed, in doubt, cancelled, running, queued, and waiting in the inbox.
fn in_every_state() -> (Studio, Script) {
    let studio = Studio::builder()
        .image_defaults()
        .inbox("limits: { credits_per_day: 500 }")
        .second_inbox()
        .top("web: { listen: 127.0.0.1:0 }\nlimits: { credits_per_month: 9000 }")
        .runway("max_in_flight: 1")
        .run();
    let mut script = Script {
        lines: Vec::new(),
        names: Vec::new(),
    };
    studio.drop_file("done.jpg", jpeg("done"));
    studio.wait_done("done.jpg");
    studio.drop_file(
        "failed.yaml",
        "endpoint: text_to_video\nmodel: gen4_turbo\npromt: x\n",
    );
    studio.wait_failed("failed.yaml");
    studio
        .sim()
        .set_faults(vec![fault("/v1/image_to_video", 1, Action::ResetAfter)]);
    studio.drop_file("doubt.jpg", jpeg("doubt"));
    let doubt = studio.wait_state("doubt.jpg", "in_doubt");
    studio.wait_until("the counters were looked at", |studio| {
        studio.cli_ok(&["status", doubt.id()]).contains(" now: ")
    });
    for name in ["cancelled", "running"] {
        studio.drop_file(format!("{name}.jpg.yaml"), "prompt: \"[[stuck]]\"\n");
        studio.drop_file(format!("{name}.jpg"), jpeg(name));
        let job = studio.wait_for("it runs", |studio| {
            studio
                .job(&format!("{name}.jpg"))
                .filter(|job| job.0["progress"].is_number())
        });
        if name == "cancelled" {
            studio.cli_ok(&["cancel", job.id()]);
            studio.wait_state("cancelled.jpg", "cancelled");
        }
    }
    studio.drop_file("queued.jpg", jpeg("queued"));
    studio.wait_state("queued.jpg", "queued");
    studio.drop_file("lonely.mp4", mp4("lonely"));
    studio.wait_state("lonely.mp4", "waiting");
    for job in studio.jobs() {
        let name = job.input().split('.').next().unwrap().to_owned();
        script
            .names
            .push((job.id().to_owned(), format!("<{name}>")));
    }
    (studio, script)
}

fn id(script: &Script, name: &str) -> String {
    let name = format!("<{name}>");
    script
        .names
        .iter()
        .find(|(_, known)| *known == name)
        .unwrap()
        .0
        .clone()
}

#[test]
fn what_programs_read_stays_as_it_is() {
    let (mut studio, mut script) = in_every_state();
    // What has ended is added up every two seconds at most.
    studio.wait_until("all that has ended is counted", |studio| {
        let (_, body) = ask_page(studio, "GET", "/api/summary", "");
        let summary: Value = serde_json::from_str(&body).unwrap();
        let jobs = &summary["jobs"];
        ["done", "failed", "cancelled", "queued", "waiting"]
            .iter()
            .all(|state| jobs[*state] == 1)
            && summary["spent_24h"]["tasks"] == 3
            && summary["organization"].is_object()
    });
    ask_everything(&studio, &mut script);
    change_everything(&studio, &mut script);
    assert!(studio.stop().success());
    without_a_daemon(&studio, &mut script);

    let found = script.lines.join("\n") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/golden.txt");
    if std::env::var_os("TAXIWAY_GOLDEN").is_some() {
        fs::write(path, found).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap();
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "golden.txt:{}", number + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

fn ask_everything(studio: &Studio, script: &mut Script) {
    script.title("The control socket");
    for request in [
        json!({"do": "status", "ended": 20}),
        json!({"do": "inboxes"}),
        json!({"do": "ended", "before": null, "limit": 2}),
        json!({"do": "jobs", "filter": {"states": ["waiting", "failed"], "inbox": null, "text": null}, "before": null, "limit": 1}),
        json!({"do": "jobs", "filter": {"states": [], "inbox": "second", "text": null}, "before": null, "limit": 5}),
        json!({"do": "jobs", "filter": {"states": [], "inbox": null, "text": "STUCK"}, "before": null, "limit": 5}),
        json!({"do": "summary"}),
        json!({"do": "spend", "days": 3}),
        json!({"do": "job", "job": id(script, "done")}),
        json!({"do": "job", "job": id(script, "failed")}),
        json!({"do": "job", "job": id(script, "doubt")}),
        json!({"do": "job", "job": id(script, "lonely")}),
        json!({"do": "job", "job": ""}),
        json!({"do": "job", "job": "0123456789"}),
        json!({"do": "dance"}),
    ] {
        script.socket(studio, &request);
    }
    for job in ["lonely", "doubt", "done"] {
        for action in ["cancel", "retry", "resolve"] {
            if (job, action) == ("doubt", "resolve") {
                continue;
            }
            let job = id(script, job);
            script.socket(
                studio,
                &json!({"do": action, "job": job, "way": "resubmit"}),
            );
        }
    }

    script.title("The HTTP API");
    for target in [
        "/api/jobs",
        "/api/jobs?state=done,failed&inbox=inbox&limit=1",
        "/api/jobs?q=nothing",
        "/api/jobs?state=gone",
        "/api/jobs?before=x",
        "/api/jobs?unknown=1",
        "/api/jobs/0123456789",
        "/api/inboxes",
        "/api/summary",
        "/api/spend?days=2",
        "/api/spend?days=x",
        "/files/0123456789/output/0",
        "/healthz",
        "/readyz",
        "/nothing",
    ] {
        script.get(studio, target);
    }
    for job in ["done", "failed", "doubt", "running", "lonely"] {
        let id = id(script, job);
        script.get(studio, &format!("/api/jobs/{id}"));
    }
    let (status, body) = ask_page(studio, "GET", "/metrics", "");
    // Figures and labels' values change; families and labels do not.
    let mut series: Vec<String> = Vec::new();
    for line in body.lines().filter(|line| !line.starts_with("# HELP")) {
        let name = line.rsplit_once(' ').unwrap().0;
        let labels = name.split('"').step_by(2).collect::<Vec<_>>().join("");
        let shown = if line.starts_with('#') { line } else { &labels };
        if series.last().map(String::as_str) != Some(shown) {
            series.push(shown.to_owned());
        }
    }
    script.note(
        studio,
        &format!("GET /metrics: {status}"),
        &series.join("\n"),
    );
}

fn change_everything(studio: &Studio, script: &mut Script) {
    script.title("Changes over HTTP");
    for (job, action, body) in [
        ("lonely", "cancel", "{}"),
        ("lonely", "retry", "{}"),
        ("lonely", "resolve", r#"{"way": "abandon"}"#),
        ("done", "cancel", "{}"),
        ("doubt", "cancel", "{}"),
        ("doubt", "retry", "{}"),
        ("doubt", "resolve", r#"{"way": "guess"}"#),
        ("doubt", "resolve", r#"{"way": "adopt", "task": "x"}"#),
        ("doubt", "resolve", r#"{"way": "abandon"}"#),
        ("running", "cancel", "{}"),
    ] {
        let id = id(script, job);
        script.post(studio, &format!("/api/jobs/{id}/{action}"), body);
    }
    script.post(studio, "/api/jobs/0123456789/cancel", "{}");
    script.get(studio, "/api/jobs/0123456789/cancel");
    studio.wait_state("running.jpg", "cancelled");
    studio.wait_done("queued.jpg");
    studio.wait_failed("doubt.jpg");

    script.title("Commands with a daemon");
    let ids = ["failed", "done", "doubt"].map(|name| id(script, name));
    let [failed, done, doubt] = ids.each_ref().map(String::as_str);
    for arguments in [
        ["status", "--json"].as_slice(),
        &["status", "--json", done],
        &["status", "--json", "0123456789"],
        &["spend", "--json"],
        &["credits", "--json"],
        &["check", "--json"],
        &["cancel", "--json", done],
        &["resolve", "--json", done, "--resubmit"],
        &["resolve", "--json", doubt, "--adopt", "x"],
        &["retry", "--json", done, "0123456789"],
        &["retry", "--json", failed],
    ] {
        script.command(studio, arguments);
    }
    studio.wait_until("it failed again", |studio| {
        studio.failed("failed.yaml").exists()
    });
    studio.wait_failed("failed.yaml");
}

fn without_a_daemon(studio: &Studio, script: &mut Script) {
    script.title("Commands without a daemon");
    studio.drop_file("_defaults.yaml", "seed: 7\n");
    studio.drop_file("good.jpg", jpeg("good"));
    studio.drop_file("wrong.jpg", jpeg("wrong"));
    studio.drop_file("wrong.jpg.yaml", "promt: x\n");
    let done = id(script, "done");
    for arguments in [
        ["status", "--json"].as_slice(),
        &["status", "--json", &done],
        &["status", "--json", "0123456789"],
        &["spend", "--json", "--days", "2"],
        &["credits", "--json"],
        &["check", "--json"],
        &["cancel", "--json", &done],
    ] {
        script.command(studio, arguments);
    }
}
