//! The status page and its API: who is let in, what is told, what can be changed, and that none of it holds the daemon up.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use taxiway::simulator::Action;

use crate::support::{Builder, Studio, fault, jpeg, text};

const TOKEN: &str = "token-0123456789abcdef0123456789";
/// What a change comes with.
const PROOF: [(&str, &str); 3] = [
    ("X-Taxiway", "1"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Content-Type", "application/json"),
];

/// An answer over HTTP.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", text(&self.body)))
    }

    /// A header's value; empty where there is none.
    fn header(&self, name: &str) -> &str {
        let start = format!("{name}:");
        self.head
            .lines()
            .find(|line| {
                line.get(..start.len())
                    .is_some_and(|begin| begin.eq_ignore_ascii_case(&start))
            })
            .map_or("", |line| line[start.len()..].trim())
    }
}

/// A studio with a page on a port of its own.
fn page() -> Builder {
    Studio::builder()
        .image_defaults()
        .top("web: { listen: 127.0.0.1:0 }")
}

/// A studio whose page asks for a token.
fn page_with_token() -> Studio {
    let mut studio = Studio::builder()
        .image_defaults()
        .top("web: { listen: 127.0.0.1:0, token_file: token, hosts: [studio.example] }")
        .open();
    write_token(&studio, TOKEN, 0o600);
    studio.start();
    studio
}

fn write_token(studio: &Studio, token: &str, mode: u32) {
    fs::write(studio.path("token"), format!("{token}\n")).unwrap();
    fs::set_permissions(studio.path("token"), fs::Permissions::from_mode(mode)).unwrap();
}

/// Where the page of the daemon that was started last is.
fn address(studio: &Studio) -> SocketAddr {
    let log = studio.log();
    let (_, rest) = log.rsplit_once("the status page is at http://").unwrap();
    let end = rest.find('/').unwrap();
    rest[..end].parse().unwrap()
}

fn connect(studio: &Studio) -> TcpStream {
    let stream = TcpStream::connect(address(studio)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// Sends bytes and reads all that comes until the other end closes.
fn send(studio: &Studio, request: &[u8]) -> Answer {
    let mut stream = connect(studio);
    stream.write_all(request).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {:?}", text(&bytes)));
    let head = text(&bytes[..end]);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head,
        body: bytes[end + 4..].to_vec(),
    }
}

/// A request with these headers, and `Host: localhost` unless they have one.
fn ask(
    studio: &Studio,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    // As HTTP/1.0 it comes whole, without chunks, and the connection ends.
    let mut request = format!("{method} {target} HTTP/1.0\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    send(studio, request.as_bytes())
}

fn get(studio: &Studio, target: &str) -> Answer {
    ask(studio, "GET", target, &[], "")
}

fn post(studio: &Studio, target: &str, body: &str) -> Answer {
    ask(studio, "POST", target, &PROOF, body)
}

/// A job that runs and does not end by itself.
fn running(studio: &Studio, name: &str) -> String {
    studio.drop_file(name, jpeg(name));
    studio.wait_state(name, "running").id().to_owned()
}

#[test]
fn a_foreign_host_is_refused_whatever_is_asked() {
    let studio = page().run();
    for target in ["/", "/page.css", "/healthz", "/api/jobs", "/api/events"] {
        for host in ["evil.example", "localhost.evil.example", "192.0.2.7:7878"] {
            let answer = ask(&studio, "GET", target, &[("Host", host)], "");
            assert_eq!(answer.status, 421, "{target} {host}");
            assert!(
                answer.json()["error"]
                    .as_str()
                    .unwrap()
                    .contains("web.hosts")
            );
        }
    }
    // None, two, and a target that names another.
    assert_eq!(send(&studio, b"GET / HTTP/1.0\r\n\r\n").status, 421);
    let two = b"GET / HTTP/1.0\r\nHost: localhost\r\nHost: evil.example\r\n\r\n";
    assert!(matches!(send(&studio, two).status, 400 | 421));
    let other = b"GET http://evil.example/api/jobs HTTP/1.0\r\nHost: localhost\r\n\r\n";
    assert_eq!(send(&studio, other).status, 421);
    for host in ["localhost:1234", "127.0.0.1", "[::1]:80"] {
        let answer = ask(&studio, "GET", "/healthz", &[("Host", host)], "");
        assert_eq!(answer.status, 200, "{host}");
    }
}

#[test]
fn a_change_without_proof_of_its_origin_changes_nothing() {
    let studio = page().task_seconds(600.0).run();
    let id = running(&studio, "red.jpg");
    let cancel = format!("/api/jobs/{id}/cancel");
    let [ours, site, json] = PROOF;
    for wrong in [
        vec![],
        vec![json],
        vec![site, json],
        vec![ours, json],
        vec![ours, site],
        vec![ours, json, ("Sec-Fetch-Site", "cross-site")],
        vec![ours, json, ("Sec-Fetch-Site", "same-site")],
        vec![ours, json, ("Origin", "http://evil.example")],
        vec![ours, json, ("Origin", "null")],
        vec![ours, json, site, ("Origin", "http://evil.example")],
        vec![ours, site, ("Content-Type", "text/plain")],
        vec![
            ours,
            site,
            ("Content-Type", "application/x-www-form-urlencoded"),
        ],
    ] {
        let answer = ask(&studio, "POST", &cancel, &wrong, "{}");
        assert_eq!(answer.status, 403, "{wrong:?}");
    }
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        for what in ["cancel", "retry", "resolve"] {
            let answer = ask(
                &studio,
                method,
                &format!("/api/jobs/{id}/{what}"),
                &PROOF,
                "{}",
            );
            assert_eq!(answer.status, 405, "{method} {what}");
        }
    }
    assert_eq!(studio.wait_state("red.jpg", "running").id(), id);
    let answer = post(&studio, &cancel, "{}");
    assert_eq!(answer.status, 200, "{answer:?}");
    studio.wait_state("red.jpg", "cancelled");
}

#[test]
fn nobody_is_let_in_without_the_token() {
    let studio = page_with_token();
    let bearer = format!("Bearer {TOKEN}");
    for target in [
        "/",
        "/page.js",
        "/api/jobs",
        "/api/events",
        "/api/summary",
        "/nothing",
    ] {
        assert_eq!(get(&studio, target).status, 401, "{target}");
        let query = format!("{target}?token={TOKEN}&access_token={TOKEN}");
        assert_eq!(get(&studio, &query).status, 401, "{query}");
    }
    for wrong in ["Bearer wrong", TOKEN, "Basic dG9rZW4="] {
        let answer = ask(&studio, "GET", "/api/jobs", &[("Authorization", wrong)], "");
        assert_eq!(answer.status, 401, "{wrong}");
    }
    let right = [
        ("Authorization", bearer.as_str()),
        ("Host", "studio.example"),
    ];
    assert_eq!(ask(&studio, "GET", "/api/jobs", &right, "").status, 200);
    // What machines ask without a token tells nothing more than yes or no.
    assert_eq!(get(&studio, "/healthz").status, 200);
    assert_eq!(get(&studio, "/readyz").status, 200);
    // Nothing of the token is in the log.
    assert!(!studio.log().contains(TOKEN));
}

#[test]
fn the_form_lets_in_with_the_token_and_the_cookie_is_no_token() {
    let studio = page_with_token();
    let form = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Origin", "http://localhost"),
    ];
    let page = get(&studio, "/");
    assert!(text(&page.body).contains("action=\"/login\""));
    let wrong = ask(&studio, "POST", "/login", &form, "token=wrong");
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, ""));
    assert!(text(&wrong.body).contains("That is not the token"));
    let foreign = [form[0], ("Origin", "http://evil.example")];
    let answer = ask(
        &studio,
        "POST",
        "/login",
        &foreign,
        &format!("token={TOKEN}"),
    );
    assert_eq!((answer.status, answer.header("set-cookie")), (403, ""));
    let answer = ask(&studio, "POST", "/login", &form, &format!("token={TOKEN}"));
    assert_eq!(answer.status, 303);
    let cookie = answer.header("set-cookie");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    assert!(!cookie.contains(TOKEN), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let answer = ask(&studio, "GET", "/api/jobs", &[("Cookie", cookie)], "");
    assert_eq!(answer.status, 200);
    // The cookie alone is no proof of origin.
    let headers = [
        ("Cookie", cookie),
        ("X-Taxiway", "1"),
        ("Content-Type", "application/json"),
    ];
    let answer = ask(
        &studio,
        "POST",
        "/api/jobs/0123456789/cancel",
        &headers,
        "{}",
    );
    assert_eq!(answer.status, 403);
}

#[test]
fn a_page_that_cannot_be_or_would_be_open_to_others_is_a_start_that_does_not_happen() {
    // Open to others, without a token.
    let mut studio = Studio::builder().top("web: { listen: '0.0.0.0:0' }").open();
    studio.spawn();
    assert_eq!(studio.wait_end(Duration::from_secs(10)).code(), Some(3));
    assert!(studio.log().contains("token_file"), "{}", studio.log());
    // What a proxy passes on comes from others, too.
    let mut studio = Studio::builder()
        .top("web: { listen: '127.0.0.1:0', hosts: [studio.example] }")
        .open();
    studio.spawn();
    assert_eq!(studio.wait_end(Duration::from_secs(10)).code(), Some(3));
    assert!(studio.log().contains("token_file"), "{}", studio.log());
    // A token that others can read, that is none, that is not there.
    for (token, mode, words) in [
        (Some(TOKEN), 0o644, "chmod 600"),
        (Some("short"), 0o600, "openssl rand"),
        (None, 0, "cannot be read"),
    ] {
        let mut studio = Studio::builder()
            .top("web: { listen: '0.0.0.0:0', token_file: token }")
            .open();
        if let Some(token) = token {
            write_token(&studio, token, mode);
        }
        studio.drop_file("red.jpg", jpeg("red"));
        studio.spawn();
        assert_eq!(studio.wait_end(Duration::from_secs(10)).code(), Some(1));
        assert!(studio.log().contains(words), "{words}: {}", studio.log());
        assert!(!studio.log().contains(TOKEN));
    }
    // An address that is taken: what, where, and what to do. Nothing was begun.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let mut studio = Studio::builder()
        .image_defaults()
        .top(&format!("web: {{ listen: '{at}' }}"))
        .open();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.spawn();
    assert_eq!(studio.wait_end(Duration::from_secs(10)).code(), Some(1));
    let log = studio.log();
    for part in [
        &at.to_string(),
        "web.listen",
        "Another program listens there",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert_eq!(studio.tree(), ["inbox/red.jpg"]);
    assert!(studio.submissions().is_empty());
}

#[test]
fn every_answer_keeps_the_browser_on_a_short_lead() {
    let studio = page().run();
    for target in [
        "/",
        "/page.js",
        "/page.css",
        "/api/jobs",
        "/nothing",
        "/api/jobs/0123456789",
    ] {
        let answer = get(&studio, target);
        let policy = answer.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{target}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(
            answer.header("x-content-type-options"),
            "nosniff",
            "{target}"
        );
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{target}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        if target.starts_with("/api") {
            assert_eq!(answer.header("cache-control"), "no-store", "{target}");
        }
    }
    // Nothing on the page comes from elsewhere, and nothing is in line.
    let page = text(&get(&studio, "/").body);
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains(" style="));
    let other = [("Sec-Fetch-Site", "cross-site")];
    assert_eq!(ask(&studio, "GET", "/api/jobs", &other, "").status, 403);
}

#[test]
fn the_api_tells_jobs_as_status_does_in_pages_by_state_inbox_and_words() {
    let studio = page().run();
    for name in ["red.jpg", "green.jpg", "blue.jpg"] {
        studio.drop_file(name, jpeg(name));
        studio.wait_done(name);
    }
    studio.drop_file("bad.jpg", jpeg("bad"));
    studio.drop_file("bad.jpg.yaml", "promt: x\nmodel: gen4_turbo\n");
    studio.wait_failed("bad.jpg");
    let mut told = studio.status_lines();
    told.sort_by(|a, b| b.0["updated_at"].as_str().cmp(&a.0["updated_at"].as_str()));
    let mut paged = Vec::new();
    let mut next = String::new();
    loop {
        let page = get(&studio, &format!("/api/jobs?limit=2&before={next}")).json();
        paged.extend(page["jobs"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(cursor) => next = cursor.to_owned(),
            None => break,
        }
    }
    assert_eq!(paged.len(), 4, "{paged:#?}");
    for (line, job) in told.iter().zip(&paged) {
        for (key, value) in line.0.as_object().unwrap() {
            assert_eq!(&job[key], value, "{key}");
        }
    }
    let inputs = |query: &str| -> Vec<String> {
        let page = get(&studio, &format!("/api/jobs?{query}")).json();
        let jobs = page["jobs"].as_array().unwrap().clone();
        jobs.iter()
            .map(|job| job["input"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(inputs("state=failed"), ["bad.jpg"]);
    assert_eq!(inputs("state=done").len(), 3);
    assert_eq!(inputs("state=failed,done&q=GREEN"), ["green.jpg"]);
    assert_eq!(inputs(&format!("q={}", told[0].id())), [told[0].input()]);
    assert_eq!(inputs("inbox=nowhere"), [""; 0]);
    for wrong in ["state=gone", "before=x", "limit=many", "page=2", "limit=-1"] {
        let answer = get(&studio, &format!("/api/jobs?{wrong}"));
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(!answer.json()["error"].as_str().unwrap().is_empty());
    }
    let one = get(&studio, &format!("/api/jobs/{}", told[0].id())).json();
    assert_eq!(one["job"]["state"], "failed");
    assert!(!one["details"]["history"].as_array().unwrap().is_empty());
    let summary = get(&studio, "/api/summary").json();
    assert_eq!(summary["jobs"]["done"], 3, "{summary}");
    assert_eq!(summary["inboxes"]["inbox"]["failed"], 1, "{summary}");
    let spent = get(&studio, "/api/spend?days=2").json();
    let rows = spent["spent"].as_array().unwrap();
    let tasks: u64 = rows.iter().map(|row| row["tasks"].as_u64().unwrap()).sum();
    assert_eq!(tasks, 3, "{spent}");
    let inboxes = get(&studio, "/api/inboxes").json();
    let path = studio.inbox("");
    assert_eq!(
        inboxes["inboxes"][0]["path"].as_str().unwrap(),
        path.to_str().unwrap().trim_end_matches('/')
    );
}

#[test]
fn a_job_is_cancelled_run_again_and_settled_over_the_api() {
    let studio = page().task_seconds(600.0).run();
    let id = running(&studio, "red.jpg");
    assert_eq!(
        post(&studio, &format!("/api/jobs/{id}/cancel"), "{}").status,
        200
    );
    studio.wait_state("red.jpg", "cancelled");
    // What cannot be is told in words and changes nothing.
    let again = post(&studio, &format!("/api/jobs/{id}/cancel"), "{}");
    assert_eq!(again.status, 409);
    assert!(
        again.json()["error"]
            .as_str()
            .unwrap()
            .contains("cancelled already")
    );
    assert_eq!(
        post(&studio, &format!("/api/jobs/{id}/retry"), "{}").status,
        200
    );
    studio.wait_for("it runs again", |studio| {
        studio.job("red.jpg").filter(|job| job.state() == "running")
    });
    studio
        .sim()
        .set_faults(vec![fault("/v1/image_to_video", 1, Action::ResetBefore)]);
    studio.drop_file("blue.jpg", jpeg("blue"));
    let doubt = studio.wait_state("blue.jpg", "in_doubt");
    let resolve = format!("/api/jobs/{}/resolve", doubt.id());
    for wrong in [
        "",
        "{}",
        r#"{"way":"maybe"}"#,
        r#"{"way":"adopt"}"#,
        r#"{"way":"abandon","x":1}"#,
    ] {
        assert_eq!(post(&studio, &resolve, wrong).status, 400, "{wrong}");
    }
    let answer = post(&studio, &resolve, r#"{"way":"adopt","task":"nonsense"}"#);
    assert_eq!(answer.status, 409, "{answer:?}");
    assert_eq!(post(&studio, &resolve, r#"{"way":"resubmit"}"#).status, 200);
    studio.wait_state("blue.jpg", "running");
    // A job is named whole: the beginning of a name is not guessed at, and what is no name is no job.
    for id in [
        &doubt.id()[..6],
        "..",
        "%2e%2e%2f",
        "0123456789",
        "'; drop table jobs",
    ] {
        let target = format!("/api/jobs/{}/cancel", id.replace(' ', "%20"));
        assert_eq!(post(&studio, &target, "{}").status, 404, "{id}");
    }
}

#[test]
fn only_files_of_known_jobs_are_told_and_parts_of_them_as_asked() {
    let studio = page().run();
    studio.drop_file("red.jpg", jpeg("red"));
    let job = studio.wait_done("red.jpg");
    let output = &job.outputs()[0];
    let content = fs::read(output).unwrap();
    let target = format!("/files/{}/output/0", job.id());
    let whole = get(&studio, &target);
    assert_eq!(
        (whole.status, whole.header("content-type")),
        (200, "video/mp4")
    );
    assert_eq!(whole.body, content);
    let etag = whole.header("etag").to_owned();
    let last = content.len() - 1;
    let tail = format!("bytes={last}-");
    let beyond = format!("bytes={}-", content.len());
    for (range, status, expected) in [
        ("bytes=0-0", 206, &content[..1]),
        ("bytes=1-3", 206, &content[1..4]),
        (tail.as_str(), 206, &content[last..]),
        ("bytes=-2", 206, &content[last - 1..]),
        ("bytes=0-99999999999", 206, &content[..]),
        ("bytes=5-2", 200, &content[..]),
        ("bytes=0-1,3-4", 200, &content[..]),
        ("lines=1-2", 200, &content[..]),
    ] {
        let answer = ask(&studio, "GET", &target, &[("Range", range)], "");
        assert_eq!(answer.status, status, "{range}");
        assert_eq!(answer.body, expected, "{range}");
    }
    for range in [beyond.as_str(), "bytes=-0"] {
        let answer = ask(&studio, "GET", &target, &[("Range", range)], "");
        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(
            answer.header("content-range"),
            format!("bytes */{}", content.len())
        );
    }
    let ranged = ask(
        &studio,
        "GET",
        &target,
        &[("Range", "bytes=1-3"), ("If-Range", &etag)],
        "",
    );
    assert_eq!(ranged.status, 206);
    assert_eq!(
        ranged.header("content-range"),
        format!("bytes 1-3/{}", content.len())
    );
    let other = [("Range", "bytes=1-3"), ("If-Range", "\"other\"")];
    assert_eq!(ask(&studio, "GET", &target, &other, "").status, 200);
    assert_eq!(
        ask(&studio, "GET", &target, &[("If-None-Match", &etag)], "").status,
        304
    );
    assert_eq!(ask(&studio, "HEAD", &target, &[], "").body, b"");
    let input = get(&studio, &format!("/files/{}/input/0", job.id()));
    assert_eq!((input.status, input.body), (200, jpeg("red")));
    let picture = get(&studio, &format!("/files/{}/input/0/picture", job.id()));
    assert_eq!(picture.header("content-type"), "image/jpeg");

    // Nothing else can be named.
    let id = job.id();
    for target in [
        format!("/files/{id}/output/1"),
        format!("/files/{id}/output/-1"),
        format!("/files/{id}/output/+0"),
        format!("/files/{id}/output/00000000000000000000000000001"),
        format!("/files/{id}/output/0%2f..%2f0"),
        format!("/files/{id}/output/..%2f..%2f..%2fetc%2fpasswd"),
        format!("/files/{id}/output/../../../taxiway.yaml"),
        format!("/files/{id}/record/0"),
        format!("/files/{id}/..%2foutput/0"),
        "/files/../../etc/passwd".to_owned(),
        "/files/..%2f..%2f/output/0".to_owned(),
        "/files/0123456789/output/0".to_owned(),
        "//etc/passwd".to_owned(),
    ] {
        assert_eq!(get(&studio, &target).status, 404, "{target}");
    }
    // A sidecar is the job's and no medium.
    studio.drop_file("blue.jpg", jpeg("blue"));
    studio.drop_file("blue.jpg.yaml", "prompt: secret words\n");
    let blue = studio.wait_done("blue.jpg");
    let answers = (0..2)
        .map(|index| get(&studio, &format!("/files/{}/input/{index}", blue.id())))
        .collect::<Vec<_>>();
    assert!(answers.iter().any(|answer| answer.status == 404));
    assert!(
        answers
            .iter()
            .all(|answer| !text(&answer.body).contains("secret words"))
    );

    // Another file in an output's place, a link above all, is not told.
    let secret = studio.path("secret");
    fs::write(&secret, &content).unwrap();
    fs::remove_file(output).unwrap();
    assert_eq!(get(&studio, &target).status, 404);
    symlink(&secret, output).unwrap();
    assert_eq!(get(&studio, &target).status, 404);
    fs::remove_file(output).unwrap();
    fs::write(output, "<script>alert(1)</script>").unwrap();
    assert_eq!(get(&studio, &target).status, 404);
    // Even of the right size, what is no picture, sound or film is for saving and never shown.
    let mut html = b"<!doctype html><script>alert(1)</script>".to_vec();
    html.resize(content.len(), b' ');
    fs::write(output, &html).unwrap();
    let answer = get(&studio, &target);
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("content-disposition"), "attachment");
    // A folder on the way that is a link leads nowhere either.
    let real = studio.path("elsewhere");
    fs::rename(studio.path("originals"), &real).unwrap();
    fs::create_dir(studio.path("originals")).unwrap();
    symlink(real.join("red.jpg"), studio.originals("red.jpg")).unwrap();
    assert_eq!(get(&studio, &format!("/files/{id}/input/0")).status, 404);
}

#[test]
fn large_bodies_half_requests_and_silent_listeners_do_not_hold_the_daemon_up() {
    let mut studio = page().task_seconds(600.0).run();
    let id = running(&studio, "red.jpg");
    let answer = post(
        &studio,
        &format!("/api/jobs/{id}/cancel"),
        &"x".repeat(100_000),
    );
    assert_eq!(answer.status, 413);
    assert_eq!(studio.wait_state("red.jpg", "running").id(), id);
    // Half a head, half a body, and fifty who listen and never read.
    let mut held = Vec::new();
    for half in [
        "GET / HTTP/1.1\r\nHost: loc",
        "POST /api/jobs/0123456789/cancel HTTP/1.1\r\nHost: localhost\r\nX-Taxiway: 1\r\nSec-Fetch-Site: same-origin\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    ] {
        let mut stream = connect(&studio);
        stream.write_all(half.as_bytes()).unwrap();
        held.push(stream);
    }
    for _ in 0..50 {
        let mut stream = connect(&studio);
        stream
            .write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        held.push(stream);
    }
    // Work and answers go on meanwhile.
    let begin = Instant::now();
    for number in 0..20 {
        studio.drop_file(format!("{number}.jpg"), jpeg(&number.to_string()));
    }
    studio.wait_until("all are taken", |studio| {
        let page = get(studio, "/api/jobs?limit=100").json();
        page["jobs"].as_array().unwrap().len() == 21
    });
    assert!(
        begin.elapsed() < Duration::from_secs(15),
        "{:?}",
        begin.elapsed()
    );
    let begin = Instant::now();
    assert!(studio.stop().success());
    assert!(
        begin.elapsed() < Duration::from_secs(6),
        "{:?}",
        begin.elapsed()
    );
    drop(held);
}

#[test]
fn the_metrics_tell_what_happened() {
    let studio = page().run();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    studio
        .sim()
        .set_faults(vec![fault("/v1/image_to_video", 1, Action::ResetBefore)]);
    studio.drop_file("blue.jpg", jpeg("blue"));
    studio.wait_state("blue.jpg", "in_doubt");
    studio.drop_file("lonely.yaml", "endpoint: image_to_video\n");
    studio.wait_reason("lonely.yaml", "for media");
    let told = |line: &str| {
        studio.wait_until(line, |studio| {
            let answer = get(studio, "/metrics");
            assert!(answer.header("content-type").contains("version=0.0.4"));
            text(&answer.body).lines().any(|found| found == line)
        });
    };
    told("taxiway_jobs{inbox=\"inbox\",state=\"done\"} 1");
    told("taxiway_jobs{inbox=\"inbox\",state=\"waiting\"} 1");
    told("taxiway_in_doubt{inbox=\"inbox\"} 1");
    told("taxiway_jobs_ended_total{inbox=\"inbox\",state=\"done\"} 1");
    // What has not happened is told, too: an alert may be on it.
    told("taxiway_jobs_ended_total{inbox=\"inbox\",state=\"failed\"} 0");
    told("taxiway_jobs{inbox=\"inbox\",state=\"running\"} 0");
    told("taxiway_tasks_of_unknown_price_total{inbox=\"inbox\"} 0");
    told("taxiway_credits_charged_total{inbox=\"inbox\"} 25");
    told("taxiway_credits_estimated_total{inbox=\"inbox\"} 25");
    told("taxiway_task_seconds_count{model=\"gen4_turbo\"} 1");
    told("taxiway_queue_seconds_count{model=\"gen4_turbo\"} 2");
    told("taxiway_api_errors_total{call=\"submit\",kind=\"doubt\"} 1");
    told("taxiway_frozen{inbox=\"inbox\"} 0");
    told("taxiway_inbox_ready{inbox=\"inbox\"} 1");
    let words = text(&get(&studio, "/metrics").body);
    let value = |name: &str| -> f64 {
        let line = words.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert!(value("taxiway_polls_total") >= 1.0);
    assert!(value("taxiway_downloaded_bytes_total") > 1000.0);
    assert!(value("taxiway_scan_seconds") > 0.0);
    assert!(value("taxiway_oldest_waiting_seconds") > 0.0);
    assert!(value("taxiway_balance_credits") > 0.0);
}

#[test]
fn what_was_spent_and_may_be_is_told_over_all_and_by_inbox() {
    let studio = page()
        .top("limits: { credits_per_month: 500 }")
        .inbox("limits: { credits_per_day: 60 }")
        .second_inbox()
        .image_defaults()
        .run();
    let before = get(&studio, "/api/summary").json();
    let nothing = before["spending"]["second"]["spent_30d"]["charged"].as_f64();
    // Nothing is not less than nothing.
    assert_eq!(nothing.map(f64::to_bits), Some(0.0_f64.to_bits()));
    for name in ["inbox/red.jpg", "second/inbox/blue.jpg"] {
        studio.drop_at(name, jpeg(name));
    }
    studio.wait_done("red.jpg");
    studio.wait_done("blue.jpg");
    studio.wait_until("both are added up", |studio| {
        let summary = get(studio, "/api/summary").json();
        let charged = |told: &Value, time: &str| told[time]["charged"].as_f64();
        let (one, two) = (
            &summary["spending"]["inbox"],
            &summary["spending"]["second"],
        );
        assert_eq!(
            [
                &summary["credits_per_day"],
                &summary["credits_per_month"],
                &one["credits_per_day"],
                &one["credits_per_month"],
                &two["credits_per_day"],
            ],
            [
                &Value::Null,
                &json!(500.0),
                &json!(60.0),
                &Value::Null,
                &Value::Null
            ]
        );
        [&summary, one, two].map(|told| (charged(told, "spent_24h"), charged(told, "spent_30d")))
            == [
                (Some(50.0), Some(50.0)),
                (Some(25.0), Some(25.0)),
                (Some(25.0), Some(25.0)),
            ]
    });
}

#[test]
fn what_changes_is_told_as_it_happens() {
    let studio = page().run();
    let mut stream = connect(&studio);
    stream
        .write_all(b"GET /api/events HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut told = String::new();
    let mut buffer = [0; 65536];
    let mut until = |words: &str| {
        let limit = Instant::now() + Duration::from_secs(20);
        while !told.contains(words) {
            assert!(Instant::now() < limit, "{words}: {told}");
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "{words}: {told}");
            told.push_str(&text(&buffer[..read]));
        }
        told.clone()
    };
    // The second says that changes are watched for from now on.
    let both = "event: all\ndata: {}\n\nevent: all";
    assert!(until(both).contains("text/event-stream"));
    studio.drop_file("red.jpg", jpeg("red"));
    let told = until("\"state\":\"done\"");
    assert!(told.contains("event: change"), "{told}");
    assert!(told.contains("\"input\":\"red.jpg\""), "{told}");
    // At most four times a second, each line of changes one word.
    let words = told.matches("event: change").count();
    assert!(words < 40, "{words}");
}

#[test]
fn the_demo_names_the_page_and_shows_it_while_it_runs() {
    let studio = Studio::builder().open();
    let mut child = studio
        .command()
        .args(["demo", "here"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut words = String::new();
    let mut buffer = [0; 4096];
    let url = loop {
        if let Some((_, rest)) = words.split_once("Its page, while this runs: http://")
            && let Some((address, _)) = rest.split_once('/')
        {
            break address.to_owned();
        }
        let read = out.read(&mut buffer).unwrap();
        assert!(read > 0, "{words}");
        words.push_str(&text(&buffer[..read]));
    };
    let mut stream = TcpStream::connect(url).unwrap();
    stream
        .write_all(b"GET /api/jobs HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    out.read_to_string(&mut words).unwrap();
    assert!(child.wait().unwrap().success(), "{words}");
}
