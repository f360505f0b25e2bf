//! The simulator from outside, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod faults;
mod storage;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// An answer, read to the end of its connection.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("a whole head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        Self {
            status: status.parse().unwrap(),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }
}

const KEY: &str = "authorization: Bearer key_test\r\nx-runway-version: 2024-11-06\r\n";

async fn raw(
    simulator: &Simulator,
    line: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<Got> {
    let mut socket = TcpStream::connect(simulator.address()).await?;
    let head = format!(
        "{line} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        simulator.address(),
        body.len()
    );
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body).await?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await?;
    Ok(Got::parse(&answer))
}

async fn call(simulator: &Simulator, line: &str, body: &Value) -> std::io::Result<Got> {
    let body = match body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    raw(simulator, line, KEY, &body).await
}

async fn fetch(simulator: &Simulator, url: &str, headers: &str) -> Got {
    let path = url.strip_prefix(&simulator.base_url()).unwrap();
    raw(simulator, &format!("GET {path}"), headers, b"")
        .await
        .unwrap()
}

fn instant() -> Options {
    Options {
        task_seconds: 0.0,
        ..Options::default()
    }
}

fn sound(prompt: &str) -> Value {
    json!({"model": "eleven_text_to_sound_v2", "promptText": prompt, "duration": 2})
}

async fn start_sound(simulator: &Simulator, prompt: &str) -> String {
    let got = call(simulator, "POST /v1/sound_effect", &sound(prompt))
        .await
        .unwrap();
    assert_eq!(got.status, 200, "{:?}", got.json());
    got.json()["id"].as_str().unwrap().to_owned()
}

async fn task(simulator: &Simulator, id: &str) -> Value {
    call(simulator, &format!("GET /v1/tasks/{id}"), &Value::Null)
        .await
        .unwrap()
        .json()
}

fn multipart(fields: &Value, file: &[u8], file_first: bool) -> (String, Vec<u8>) {
    let mut form = Vec::new();
    let mut texts = Vec::new();
    for (name, value) in fields.as_object().unwrap() {
        let value = value.as_str().unwrap();
        texts.extend(
            format!("--cut\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                .bytes(),
        );
    }
    let mut last =
        b"--cut\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n".to_vec();
    last.extend(file);
    last.extend(b"\r\n");
    let order = if file_first {
        [last, texts]
    } else {
        [texts, last]
    };
    order.iter().for_each(|part| form.extend(part));
    form.extend(b"--cut--\r\n");
    (
        "content-type: multipart/form-data; boundary=cut\r\n".to_owned(),
        form,
    )
}

async fn announce(simulator: &Simulator) -> Value {
    let body = json!({"filename": "a.png", "type": "ephemeral"});
    call(simulator, "POST /v1/uploads", &body)
        .await
        .unwrap()
        .json()
}

async fn upload(
    simulator: &Simulator,
    told: &Value,
    headers: &str,
    file: &[u8],
    file_first: bool,
) -> Got {
    let (kind, form) = multipart(&told["fields"], file, file_first);
    let path = told["uploadUrl"]
        .as_str()
        .unwrap()
        .strip_prefix(&simulator.base_url())
        .unwrap();
    raw(
        simulator,
        &format!("POST {path}"),
        &format!("{kind}{headers}"),
        &form,
    )
    .await
    .unwrap()
}

#[tokio::test]
async fn a_task_goes_from_request_to_a_file_that_names_it() {
    let simulator = Simulator::start(instant()).await.unwrap();
    let id = start_sound(&simulator, "rain").await;
    let done = task(&simulator, &id).await;
    assert_eq!(done["status"], "SUCCEEDED");
    assert!(done["cost"]["credits"].as_i64().unwrap() > 0);
    let file = fetch(&simulator, done["output"][0].as_str().unwrap(), "").await;
    assert_eq!(file.status, 200);
    assert_eq!(file.headers["content-type"], "audio/mpeg");
    assert!(
        file.body
            .windows(id.len())
            .any(|part| part == id.as_bytes())
    );
    let seen = simulator.snapshot();
    assert_eq!(seen.requests.len(), 3);
    assert_eq!(seen.requests[0].task.as_deref(), Some(id.as_str()));
    assert_eq!(
        seen.requests[0].body_sha256.as_deref(),
        Some(seen.tasks[0].body_sha256.as_str())
    );
    assert_eq!(seen.violations().count(), 0);
}

#[tokio::test]
async fn every_endpoint_of_the_catalogue_answers() {
    let simulator = Simulator::start(instant()).await.unwrap();
    let catalogue = Catalogue::built_in().unwrap();
    for endpoint in catalogue.endpoints() {
        let path = endpoint.path.replace("{id}", "abc");
        let got = call(&simulator, &format!("POST {path}"), &json!({"no": "field"}))
            .await
            .unwrap();
        assert_eq!(got.status, 400, "{path}");
        assert_eq!(got.json()["error"], "Validation of body failed", "{path}");
    }
}

#[tokio::test]
async fn a_workflow_answers_by_node_under_its_own_path() {
    let simulator = Simulator::start(instant()).await.unwrap();
    let got = call(&simulator, "POST /v1/workflows/abc", &json!({}))
        .await
        .unwrap()
        .json();
    let id = got["id"].as_str().unwrap();
    let line = format!("GET /v1/workflow_invocations/{id}");
    let done = call(&simulator, &line, &Value::Null).await.unwrap().json();
    assert_eq!(done["status"], "SUCCEEDED");
    assert_eq!(done["output"].as_object().unwrap().len(), 2);
    let line = format!("GET /v1/tasks/{id}");
    assert_eq!(
        call(&simulator, &line, &Value::Null).await.unwrap().status,
        404
    );
}

#[tokio::test]
async fn wrong_callers_are_told_so() {
    let options = Options {
        key: Some("key_right".into()),
        ..instant()
    };
    let simulator = Simulator::start(options).await.unwrap();
    let line = "GET /v1/organization";
    let version = "x-runway-version: 2024-11-06\r\n";
    let right = format!("authorization: Bearer key_right\r\n{version}");
    let status =
        async |line: &str, headers: &str| raw(&simulator, line, headers, b"").await.unwrap().status;
    assert_eq!(status(line, version).await, 401);
    assert_eq!(status(line, KEY).await, 401);
    assert_eq!(
        status(line, "authorization: Bearer key_right\r\n").await,
        400
    );
    assert_eq!(status(line, &right).await, 200);
    assert_eq!(status("GET /v1/nothing", &right).await, 404);
    assert_eq!(status("GET /v1/image_to_video", &right).await, 405);
    assert_eq!(status("GET /v1/tasks/none", &right).await, 404);
    let keys: Vec<_> = simulator
        .snapshot()
        .requests
        .iter()
        .map(|seen| seen.key_ok)
        .collect();
    assert_eq!(
        keys[..4],
        [Some(false), Some(false), Some(true), Some(true)]
    );
}

#[tokio::test]
async fn without_credits_nothing_starts() {
    let simulator = Simulator::start(instant()).await.unwrap();
    simulator.change(Change {
        credit_balance: Some(0),
        ..Change::default()
    });
    let got = call(&simulator, "POST /v1/sound_effect", &sound("rain"))
        .await
        .unwrap();
    assert_eq!(got.status, 400);
    assert!(
        got.json()["error"]
            .as_str()
            .unwrap()
            .contains("enough credits")
    );
    assert!(simulator.snapshot().tasks.is_empty());
}

#[tokio::test]
async fn over_the_daily_limit_the_answer_says_when_to_come_back() {
    let mut options = instant();
    options.tier.limits.default.max_daily = Some(1);
    let simulator = Simulator::start(options).await.unwrap();
    start_sound(&simulator, "one").await;
    let got = call(&simulator, "POST /v1/sound_effect", &sound("two"))
        .await
        .unwrap();
    assert_eq!(got.status, 429);
    assert!(got.headers["retry-after"].parse::<u64>().unwrap() > 86_000);
    let told = call(&simulator, "GET /v1/organization", &Value::Null)
        .await
        .unwrap()
        .json();
    assert_eq!(
        told["usage"]["models"]["eleven_text_to_sound_v2"]["dailyGenerations"],
        1
    );
}

#[tokio::test]
async fn what_was_started_and_spent_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options {
        dir: Some(dir.path().to_owned()),
        ..instant()
    };
    let simulator = Simulator::start(options()).await.unwrap();
    let id = start_sound(&simulator, "rain").await;
    let gone = start_sound(&simulator, "wind").await;
    let line = format!("DELETE /v1/tasks/{gone}");
    call(&simulator, &line, &Value::Null).await.unwrap();
    let told = announce(&simulator).await;
    upload(&simulator, &told, "", &Product::Png.file("mine"), false).await;
    let before = simulator.snapshot();
    simulator.stop().await;
    let simulator = Simulator::start(options()).await.unwrap();
    assert_eq!(simulator.snapshot(), before);
    assert_eq!(task(&simulator, &id).await["status"], "SUCCEEDED");
    let body = json!({"model": "gen4_turbo", "promptImage": told["runwayUri"], "ratio": "1280:720", "duration": 5});
    assert_eq!(
        call(&simulator, "POST /v1/image_to_video", &body)
            .await
            .unwrap()
            .status,
        200
    );
}

#[tokio::test]
async fn a_line_cut_off_by_a_crash_is_left_out_and_any_other_damage_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options {
        dir: Some(dir.path().to_owned()),
        ..instant()
    };
    let simulator = Simulator::start(options()).await.unwrap();
    start_sound(&simulator, "rain").await;
    simulator.stop().await;
    let path = dir.path().join("simulator.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{{\"started\": {{\"ord")).unwrap();
    let simulator = Simulator::start(options()).await.unwrap();
    assert_eq!(simulator.snapshot().tasks.len(), 1);
    simulator.stop().await;
    std::fs::write(&path, format!("nonsense\n{text}")).unwrap();
    let error = Simulator::start(options()).await.unwrap_err();
    assert!(error.to_string().contains("line 1"), "{error}");
}

#[tokio::test]
async fn the_side_door_shows_the_log_and_takes_settings() {
    let simulator = Simulator::start(instant()).await.unwrap();
    start_sound(&simulator, "one").await;
    start_sound(&simulator, "two").await;
    let got = call(&simulator, "GET /_simulator/log?since=1", &Value::Null)
        .await
        .unwrap()
        .json();
    assert_eq!(
        (&got["count"], got["requests"].as_array().unwrap().len()),
        (&json!(2), 1)
    );
    assert_eq!(got["requests"][0]["body"]["promptText"], "two");
    let set = json!({"task_seconds": 60.0, "key": "key_other"});
    assert_eq!(
        call(&simulator, "POST /_simulator/settings", &set)
            .await
            .unwrap()
            .status,
        200
    );
    assert_eq!(
        call(&simulator, "GET /v1/organization", &Value::Null)
            .await
            .unwrap()
            .status,
        401
    );
    let bad = call(&simulator, "POST /_simulator/settings", &json!({"sped": 1}))
        .await
        .unwrap();
    assert_eq!(bad.status, 400);
}

#[test]
fn ids_are_uuids_of_version_4() {
    for _ in 0..100 {
        let id = uuid::random_uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
    }
}
