//! Thousands of small pictures at once.

use std::fs;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use crate::studio::{Studio, count};
use crate::table::{Row, megabytes, seconds};
use crate::usage::{memory, processor_seconds};
use crate::{Result, media};

/// Moves a filled folder into the inbox, and waits until everything is delivered and every input rests.
pub fn run(quick: bool) -> Result<Vec<Row>> {
    let jobs: usize = if quick { 500 } else { 10_000 };
    let studio = Studio::new(0.0)?;
    let defaults = json!({
        "prompt": "Slow dolly in", "model": "gen4_turbo", "ratio": "1280:720", "duration": 5,
    });
    let inbox = json!({"pair_wait": "0s", "defaults": defaults});
    studio.configure("50ms", &[("studio", inbox)])?;
    let daemon = studio.daemon()?;
    let filled = studio.path("filled");
    fs::create_dir(&filled)?;
    for number in 0..jobs {
        let picture = media::png(number as u64, 64, 36);
        fs::write(filled.join(format!("{number:05}.png")), picture)?;
    }

    let (before, other) = (
        processor_seconds(daemon.process())?,
        processor_seconds(studio.simulator.process())?,
    );
    let (start, moved) = (Instant::now(), Timestamp::now());
    fs::rename(&filled, studio.path("studio/inbox/burst"))?;
    let (outbox, originals) = (
        studio.path("studio/outbox/burst"),
        studio.path("studio/originals/burst"),
    );
    // Counting takes time on the same cores.
    let look = Duration::from_millis(250);
    let limit = Duration::from_secs(1800);
    let delivered = studio.wait("all delivered", limit, look, || {
        Ok((count(&outbox, ".mp4") >= jobs).then(|| start.elapsed()))
    })?;
    studio.wait("all originals at rest", limit, look, || {
        Ok((count(&originals, ".png") >= jobs).then_some(()))
    })?;
    let whole = start.elapsed();
    let used = processor_seconds(daemon.process())? - before;
    let other = processor_seconds(studio.simulator.process())? - other;
    let thousands = jobs as f64 / 1000.0;
    let first = studio.simulator.first("/v1/image_to_video")?;
    Ok(vec![
        Row::new("burst", "pictures", jobs.to_string()),
        Row::new(
            "burst",
            "until the first request",
            seconds(first.duration_since(moved).unsigned_abs()),
        ),
        Row::new("burst", "until all are delivered", seconds(delivered)),
        Row::new("burst", "until all inputs rest, too", seconds(whole)),
        Row::new(
            "burst",
            "jobs per second",
            format!("{:.0}/s", jobs as f64 / whole.as_secs_f64()),
        ),
        Row::new(
            "burst",
            "processor time for 1,000 jobs",
            format!("{:.2} s", used / thousands),
        ),
        Row::new(
            "burst",
            "the simulator's, on the same cores",
            format!("{:.2} s", other / thousands),
        ),
        Row::new(
            "burst",
            "peak memory",
            megabytes(memory(daemon.process())?.peak),
        ),
    ])
}
