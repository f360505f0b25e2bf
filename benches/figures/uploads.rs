//! The largest inputs that Runway takes, as many at once as the daemon sends.

use std::fs;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use crate::studio::Studio;
use crate::table::{Row, megabytes, seconds};
use crate::usage::{memory, processor_seconds};
use crate::{Result, media};

const FILMS: u64 = 8;

/// Just below the 200 MB of Runway's uploads.
const BYTES: u64 = 199_990_000;

/// Moves a folder of films into the inbox, and waits until all their tasks are started.
pub fn run(quick: bool) -> Result<Vec<Row>> {
    let bytes = if quick { BYTES / 10 } else { BYTES };
    let studio = Studio::new(0.0)?;
    let defaults = json!({
        "prompt": "Make it snow", "model": "gen4_aleph", "ratio": "1280:720",
    });
    let inbox = json!({"pair_wait": "0s", "defaults": defaults});
    studio.configure("50ms", &[("studio", inbox)])?;
    let daemon = studio.daemon()?;
    let filled = studio.path("filled");
    fs::create_dir(&filled)?;
    for number in 0..FILMS {
        media::film(&filled.join(format!("{number}.mp4")), number, bytes)?;
    }
    let quiet = memory(daemon.process())?.peak;
    let used = processor_seconds(daemon.process())?;
    let (start, moved) = (Instant::now(), Timestamp::now());
    fs::rename(&filled, studio.path("studio/inbox/films"))?;
    let took = studio.wait(
        "all films are uploaded",
        Duration::from_secs(600),
        Duration::from_millis(50),
        || {
            let tasks = studio.simulator.tasks()?.len() as u64;
            Ok((tasks >= FILMS).then(|| start.elapsed()))
        },
    )?;
    let used = processor_seconds(daemon.process())? - used;
    let uploads = studio
        .simulator
        .requests()?
        .iter()
        .filter(|seen| seen.path.starts_with("/_storage/upload/"))
        .count();
    let peak = memory(daemon.process())?.peak;
    let first = studio.simulator.first("/v1/uploads")?;
    let quiet_time = first.duration_since(moved).unsigned_abs();
    let sending = took.saturating_sub(quiet_time);
    let all = FILMS * bytes;
    Ok(vec![
        Row::new(
            "uploads",
            "films",
            format!("{FILMS} of {}", megabytes(bytes)),
        ),
        Row::new("uploads", "uploads", uploads.to_string()).aim("8"),
        Row::new("uploads", "until the first upload", seconds(quiet_time)),
        Row::new("uploads", "until all tasks are started", seconds(took)),
        Row::new(
            "uploads",
            "from the first upload on",
            format!("{:.0} MB/s", all as f64 / 1e6 / sending.as_secs_f64()),
        ),
        Row::new(
            "uploads",
            "processor time for 1 GB",
            format!("{:.2} s", used / (all as f64 / 1e9)),
        ),
        Row::new("uploads", "peak memory before", megabytes(quiet)),
        Row::new("uploads", "peak memory", megabytes(peak)).aim("under 64 MB"),
    ])
}
