//! Telling people: a command and a signed webhook, each told until it has heard, across restarts.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use taxiway::journal::{Notices as _, SqliteJournal};
use taxiway::notify::{Secret, sign};

use crate::support::{Studio, jpeg, text};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Names the Python to use, which must have the package standardwebhooks.
const PYTHON: &str = "TAXIWAY_TEST_PYTHON";

/// What came to the webhook: id, and text. What is not signed as it should be is refused.
#[derive(Clone)]
struct Hook {
    heard: Arc<Mutex<Vec<(String, Value)>>>,
    /// As it came, for others to judge: id, time, signature and body.
    raw: Arc<Mutex<Vec<[String; 4]>>>,
    answer: Arc<Mutex<StatusCode>>,
}

async fn hear(State(hook): State<Hook>, headers: HeaderMap, body: String) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, at) = (header("webhook-id"), header("webhook-timestamp"));
    let secret = Secret::parse(SECRET).unwrap();
    let signed = sign(&secret, &id, at.parse().unwrap(), &body);
    assert_eq!(header("webhook-signature"), signed);
    let raw = [id.clone(), at, signed, body.clone()];
    hook.raw.lock().unwrap().push(raw);
    let said = serde_json::from_str(&body).unwrap();
    hook.heard.lock().unwrap().push((id, said));
    *hook.answer.lock().unwrap()
}

impl Hook {
    /// Listens; answers with the address, too.
    fn listen(studio: &Studio) -> (Hook, String) {
        let hook = Hook {
            heard: Arc::default(),
            raw: Arc::default(),
            answer: Arc::new(Mutex::new(StatusCode::NO_CONTENT)),
        };
        let router = Router::new()
            .route("/hook", post(hear))
            .with_state(hook.clone());
        let url = studio.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/hook", listener.local_addr().unwrap());
            tokio::spawn(async move { axum::serve(listener, router).await });
            url
        });
        (hook, url)
    }

    fn heard(&self) -> Vec<(String, Value)> {
        self.heard.lock().unwrap().clone()
    }

    fn of(&self, kind: &str) -> Vec<(String, Value)> {
        let mut heard = self.heard();
        heard.retain(|(_, said)| said["type"] == kind);
        heard
    }
}

fn secret_file(studio: &Studio) {
    let mut file = fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(studio.path("secret"))
        .unwrap();
    writeln!(file, "{SECRET}").unwrap();
}

/// Adds lines below `notify` to the configuration.
fn configure(studio: &Studio, lines: &str) {
    let mut config = fs::read_to_string(&studio.config).unwrap();
    config.push_str("notify:\n");
    config.push_str(lines);
    fs::write(&studio.config, config).unwrap();
}

/// A studio that has not begun yet, and whoever is told of some kinds of things by its webhook.
fn hooked(on: &str) -> (Studio, Hook) {
    let studio = Studio::builder().image_defaults().open();
    let (hook, url) = Hook::listen(&studio);
    secret_file(&studio);
    configure(
        &studio,
        &format!("  on: [{on}]\n  webhook: {url}\n  webhook_secret_file: secret\n"),
    );
    (studio, hook)
}

#[test]
fn a_webhook_hears_what_became_of_jobs_signed_and_under_an_id() {
    let (mut studio, hook) = hooked("done, failed");
    studio.start();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.drop_file("wrong.yaml", "endpoint: text_to_video\nsped: 3\n");
    studio.wait_done("red.jpg");
    studio.wait_failed("wrong.yaml");
    studio.wait_until("both were told", |_| hook.heard().len() == 2);
    let (_, done) = hook.of("job.done").remove(0);
    assert_eq!(done["data"]["input"], "red.jpg");
    let output = done["data"]["outputs"][0].as_str().unwrap();
    assert_eq!(output, studio.outbox("red.mp4").to_str().unwrap());
    let (_, failed) = hook.of("job.failed").remove(0);
    let details = failed["data"]["details"].to_string();
    assert!(
        details.contains("wrong.yaml:2:1") && details.contains("sped"),
        "{details}"
    );
    assert!(failed["data"]["advice"].is_string());
}

#[test]
fn without_an_api_key_people_are_told_all_the_same() {
    let (mut studio, hook) = hooked("failed");
    studio.set_key(None);
    studio.start();
    studio.drop_file("wrong.yaml", "endpoint: text_to_video\nsped: 3\n");
    studio.wait_failed("wrong.yaml");
    studio.wait_until("it was told", |_| hook.of("job.failed").len() == 1);
}

#[test(needs = [SDK])]
fn a_webhook_is_genuine_to_the_library_of_standard_webhooks_and_a_changed_one_is_not() {
    let python = std::env::var_os(PYTHON).unwrap();
    let (mut studio, hook) = hooked("done");
    studio.start();
    studio.drop_file("r\u{f6}d \u{1f600}.jpg", jpeg("red"));
    studio.wait_until("it was told", |_| !hook.heard().is_empty());
    let came = hook.raw.lock().unwrap()[0].clone();
    let is_genuine = |[id, at, signature, body]: &[String; 4]| {
        let script = "import sys\nfrom standardwebhooks.webhooks import Webhook, WebhookVerificationError\n\
            secret, id, at, signature, body = sys.argv[1:]\n\
            headers = {'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature}\n\
            try: Webhook(secret).verify(body, headers)\n\
            except WebhookVerificationError as error: sys.exit(str(error))\n";
        let said = Command::new(&python)
            .args(["-c", script, SECRET, id, at, signature, body])
            .output()
            .unwrap();
        let words = text(&said.stderr);
        assert!(
            said.status.success() || words.contains("No matching signature"),
            "{words}"
        );
        said.status.success()
    };
    assert!(is_genuine(&came));
    let mut changed = came.clone();
    changed[3] = changed[3].replace("job.done", "job.gone");
    assert_ne!(changed, came);
    assert!(!is_genuine(&changed));
    let mut changed = came;
    changed[0].push('x');
    assert!(!is_genuine(&changed));
}

#[test]
fn what_nobody_heard_is_told_again_after_a_crash_under_the_same_id_and_work_goes_on() {
    let (mut studio, hook) = hooked("done");
    *hook.answer.lock().unwrap() = StatusCode::INTERNAL_SERVER_ERROR;
    studio.start();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    studio.wait_until("it was told in vain", |_| !hook.heard().is_empty());
    studio.wait_until("and that was noted", |studio| {
        studio.log().contains("the notice was not received")
    });
    studio.kill9();
    *hook.answer.lock().unwrap() = StatusCode::NO_CONTENT;
    let before = hook.heard().len();
    studio.start();
    studio.drop_file("blue.jpg", jpeg("blue"));
    studio.wait_done("blue.jpg");
    studio.wait_until("all were told", |_| hook.heard().len() >= before + 2);
    let ids: Vec<String> = hook
        .heard()
        .into_iter()
        .filter(|(_, said)| said["data"]["input"] == "red.jpg")
        .map(|(id, _)| id)
        .collect();
    assert!(
        ids.len() >= 2 && ids.iter().all(|id| *id == ids[0]),
        "{ids:?}"
    );
    // Whoever has heard it is not told again, once that is written down.
    studio.wait_until("nothing is left to be told", |studio| {
        let state = studio.path("state");
        let journal = studio.block_on(SqliteJournal::open_to_read(&state));
        let journal = journal.unwrap().unwrap();
        studio.block_on(journal.next_notice()).unwrap().is_none()
    });
    studio.restart();
    studio.drop_file("green.jpg", jpeg("green"));
    studio.wait_done("green.jpg");
    studio.wait_until("the third was told", |_| {
        hook.heard()
            .iter()
            .any(|(_, said)| said["data"]["input"] == "green.jpg")
    });
    assert_eq!(hook.heard().len(), ids.len() + 2);
}

#[test]
fn a_command_gets_the_notice_on_its_standard_input_and_one_that_hangs_holds_nobody_up() {
    let mut studio = Studio::builder().image_defaults().open();
    let script = studio.path("tell");
    let said = studio.path("said");
    fs::write(
        &script,
        format!(
            "#!/bin/sh\ncat >> {0}\necho >> {0}\nexec sleep 1000\n",
            said.display()
        ),
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    configure(
        &studio,
        &format!("  on: [done]\n  command: [{}]\n", script.display()),
    );
    studio.start();
    for name in ["red.jpg", "blue.jpg"] {
        studio.drop_file(name, jpeg(name));
        studio.wait_done(name);
    }
    studio.wait_until("both were told", |_| {
        let said = fs::read_to_string(&said).unwrap_or_default();
        said.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|notice| notice["type"] == "job.done")
            .count()
            == 2
    });
    // It still sleeps, and the daemon ends in time.
    assert!(studio.stop().success());
}

#[test]
fn a_frozen_folder_a_doubt_and_a_low_balance_are_told_once() {
    let reset = crate::support::fault(
        "/v1/image_to_video",
        1,
        taxiway::simulator::Action::ResetAfter,
    );
    let mut studio = Studio::builder()
        .image_defaults()
        .simulator(|options| options.faults.push(reset))
        .open();
    let (hook, url) = Hook::listen(&studio);
    secret_file(&studio);
    configure(
        &studio,
        &format!("  low_balance: 1000000\n  webhook: {url}\n  webhook_secret_file: secret\n"),
    );
    studio.start();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_state("red.jpg", "in_doubt");
    studio.wait_until("the doubt and the balance are told", |_| {
        hook.of("job.in_doubt").len() == 1 && hook.of("balance.low").len() == 1
    });
    fs::rename(studio.inbox(""), studio.path("away")).unwrap();
    studio.wait_until("the folder is told of", |_| {
        hook.of("inbox.frozen").len() == 1
    });
    let (_, frozen) = hook.of("inbox.frozen").remove(0);
    assert_eq!(frozen["data"]["inbox"], "inbox");
    fs::rename(studio.path("away"), studio.inbox("")).unwrap();
    studio.drop_file("blue.jpg", jpeg("blue"));
    studio.wait_done("blue.jpg");
    assert_eq!(hook.heard().len(), 3, "{:?}", hook.heard());
}

#[test]
fn a_webhook_without_a_private_secret_is_refused_with_words() {
    let studio = Studio::builder().open();
    let refused = |words: &str| {
        let output = studio.cli(&["run"]);
        assert_eq!(output.status.code(), Some(3));
        let said = crate::support::text(&output.stderr);
        assert!(said.contains(words), "{said}");
    };
    configure(&studio, "  webhook: https://example.com/hook\n");
    refused("`webhook` has no secret to sign with");
    let config = fs::read_to_string(&studio.config).unwrap();
    fs::write(
        &studio.config,
        format!("{config}  webhook_secret_file: secret\n"),
    )
    .unwrap();
    fs::write(studio.path("secret"), SECRET).unwrap();
    fs::set_permissions(studio.path("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    refused("other users can read");
    fs::set_permissions(studio.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(studio.path("secret"), "hunter2").unwrap();
    refused("is not a webhook secret");
}
