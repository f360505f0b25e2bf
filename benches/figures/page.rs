//! How quickly the status page answers with a long history.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::restart::{Dropped, fill};
use crate::studio::Studio;
use crate::table::{Row, Sorted};
use crate::usage::memory;
use crate::{Result, media};

/// Jobs that wait in the queue; the rest have ended.
const QUEUED: usize = 500;
const REQUESTS: usize = 200;

/// What is asked for: the first look, a page far back, one of few that are like that, and what stands beside them.
const QUESTIONS: [(&str, &str); 7] = [
    ("GET /", "/"),
    ("GET /api/jobs", "/api/jobs"),
    (
        "GET /api/jobs, all queued",
        "/api/jobs?state=queued,waiting&limit=50",
    ),
    ("GET /api/jobs, all failed", "/api/jobs?state=failed"),
    (
        "GET /api/jobs, a search without a hit",
        "/api/jobs?q=nowhere",
    ),
    ("GET /api/summary", "/api/summary"),
    ("GET /metrics", "/metrics"),
];

/// Fills a journal, starts the daemon and asks.
pub fn run(quick: bool) -> Result<Vec<Row>> {
    let (jobs, requests) = if quick {
        (1_000, 40)
    } else {
        (10_000, REQUESTS)
    };
    let studio = Studio::new(1e6)?;
    studio.configure("5s", &[("studio", json!({}))])?;
    let path = studio.path("taxiway.yaml");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    config["web"] = json!({"listen": "127.0.0.1:0"});
    fs::write(&path, config.to_string())?;
    let (state, working) = (studio.path("state"), studio.path("studio/working/open"));
    fs::create_dir_all(&state)?;
    fs::create_dir_all(&working)?;
    let mut histories = Vec::new();
    for number in 0..QUEUED.min(jobs / 2) {
        let name = format!("{number:04}.png");
        let picture = media::png(number as u64, 64, 36);
        fs::write(working.join(&name), &picture)?;
        histories.push(Dropped::new(&format!("open/{name}"), picture.len() as u64)?.open(None));
    }
    let past = (0..jobs - histories.len()).map(|number| {
        Ok(Dropped::new(&format!("{:03}/{number:06}.png", number / 1000), 2_500)?.finished())
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(fill(&state, past.chain(histories.into_iter().map(Ok))))?;
    let daemon = studio.daemon()?;
    let log = studio.log()?;
    let address = log
        .split_once("the status page is at http://")
        .and_then(|(_, rest)| rest.split_once('/'))
        .map(|(address, _)| address.to_owned())
        .ok_or("no status page")?;
    let mut rows = vec![Row::new("page", "jobs in the journal", jobs.to_string())];
    for (name, target) in QUESTIONS {
        let mut times = Vec::new();
        for _ in 0..requests {
            times.push(ask(&address, target)?.as_secs_f64() * 1e3);
        }
        let times = Sorted::new(times);
        let median = Row::new(
            "page",
            format!("{name}, median"),
            format!("{:.1} ms", times.at(0.5)),
        );
        let aimed = name == "GET /" || name == "GET /api/jobs";
        rows.push(if aimed {
            median.aim("under 100 ms")
        } else {
            median
        });
        rows.push(Row::new(
            "page",
            format!("{name}, p99"),
            format!("{:.1} ms", times.at(0.99)),
        ));
    }
    let peak = memory(daemon.process())?.peak;
    rows.push(Row::new(
        "page",
        "peak memory",
        crate::table::megabytes(peak),
    ));
    Ok(rows)
}

/// The time from connecting to the end of the answer.
fn ask(address: &str, target: &str) -> Result<Duration> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(format!("GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let took = start.elapsed();
    if !answer.starts_with(b"HTTP/1.0 200") {
        return Err(format!("{target}: {}", String::from_utf8_lossy(&answer)).into());
    }
    Ok(took)
}
