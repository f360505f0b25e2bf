//! How soon after its writer closed it a picture is taken, and its request arrives at the API.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::studio::{Studio, milliseconds_between};
use crate::table::{Row, Sorted, milliseconds};
use crate::{Result, media};

const SIDECAR: &str = "\
prompt: Slow dolly in
model: gen4_turbo
ratio: \"1280:720\"
duration: 5
";

/// Drops that do not count: connections are made, and the organization's limits are learnt.
const WARM: usize = 3;

/// Drops pictures one after the other, each beside a sidecar that lies there already.
pub fn run(quick: bool) -> Result<Vec<Row>> {
    let drops = if quick { 20 } else { 100 };
    let studio = Studio::new(0.0)?;
    studio.configure("50ms", &[("studio", json!({}))])?;
    let _daemon = studio.daemon()?;
    let inbox = studio.path("studio/inbox");
    let mut closed = HashMap::new();
    for number in 0..drops + WARM {
        let name = format!("drop-{number:04}.png");
        fs::write(inbox.join(format!("{name}.yaml")), SIDECAR)?;
        let picture = media::png(number as u64, 64, 36);
        // A text counts once it has been quiet for a second; and drops do not march in step with anything.
        std::thread::sleep(Duration::from_millis(1_100 + fastrand::u64(..50)));
        let mut file = File::create_new(inbox.join(&name))?;
        file.write_all(&picture)?;
        closed.insert(name.clone(), Timestamp::now());
        drop(file);
        let original = studio.path("studio/originals").join(&name);
        studio.wait(
            "the picture is done",
            Duration::from_secs(20),
            Duration::from_millis(5),
            || Ok(original.exists().then_some(())),
        )?;
    }
    let requests = studio.simulator.requests()?;
    let arrived: Vec<f64> = requests
        .iter()
        .filter(|seen| seen.method == "POST" && seen.path == "/v1/image_to_video")
        .enumerate()
        .skip(WARM)
        // One after the other, so they came in the order of the drops.
        .filter_map(|(number, seen)| {
            let from = closed.get(&format!("drop-{number:04}.png"))?;
            Some(milliseconds_between(*from, seen.time))
        })
        .collect();
    let taken: Vec<f64> = studio
        .log()?
        .lines()
        .filter_map(|line| taken_line(line, &closed))
        .skip(WARM)
        .collect();
    if arrived.len() != drops || taken.len() != drops {
        return Err(format!(
            "{drops} pictures, {} requests and {} lines of the log",
            arrived.len(),
            taken.len()
        )
        .into());
    }
    let soon = taken.iter().filter(|time| **time <= 100.0).count();
    let (taken, arrived) = (Sorted::new(taken), Sorted::new(arrived));
    let rows = |what: &str, times: &Sorted| {
        [("median", 0.5), ("p99", 0.99), ("max", 1.0)].map(|(rank, share)| {
            Row::new(
                "latency",
                format!("closed → {what}, {rank}"),
                milliseconds(times.at(share)),
            )
        })
    };
    let mut all = Vec::from(rows("taken", &taken));
    all.push(
        Row::new(
            "latency",
            "taken within 100 ms",
            format!("{soon} of {drops}"),
        )
        .aim("all"),
    );
    all.extend(rows("request", &arrived));
    Ok(all)
}

/// The time from a picture's closing to the daemon's line that it was taken, in milliseconds.
fn taken_line(line: &str, closed: &HashMap<String, Timestamp>) -> Option<f64> {
    let (time, rest) = line.split_once(' ')?;
    let input = rest
        .trim_start()
        .strip_prefix("INFO taken ")?
        .rsplit_once("input=")?
        .1;
    let from = closed.get(input.trim_matches('"'))?;
    Some(milliseconds_between(*from, time.parse().ok()?))
}
