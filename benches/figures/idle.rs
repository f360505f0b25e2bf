//! What it costs to wait: many files that nobody can do anything with yet, and tasks that take their time.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::studio::Studio;
use crate::table::{Row, megabytes, seconds};
use crate::usage::{memory, processor_seconds, system_calls};
use crate::{Result, media};

const TASKS: u64 = 50;
const FOLDERS: u64 = 1_000;

/// Long enough for files to count as finished and for halves to have waited for each other, after which nothing is due.
const CALM: Duration = Duration::from_secs(20);

/// Fills one inbox with files that wait, starts tasks that do not end from another, and watches.
pub fn run(quick: bool) -> Result<Vec<Row>> {
    let (each, window) = if quick { (10, 10) } else { (100, 60) };
    let window = Duration::from_secs(window);
    // Longer than anybody measures.
    let studio = Studio::new(1e6)?;
    let defaults = json!({
        "prompt": "Slow dolly in", "model": "gen4_turbo", "ratio": "1280:720", "duration": 5,
    });
    let busy = json!({"pair_wait": "0s", "defaults": defaults});
    studio.configure("5s", &[("archive", json!({})), ("busy", busy)])?;
    for folder in 0..FOLDERS {
        let folder_path = studio.path("archive/inbox").join(format!("{folder:04}"));
        fs::create_dir_all(&folder_path)?;
        for file in 0..each {
            let picture = media::png(folder * each + file, 16, 9);
            fs::write(folder_path.join(format!("{file:03}.png")), picture)?;
        }
    }
    let daemon = studio.daemon()?;
    let filled = studio.path("filled");
    fs::create_dir(&filled)?;
    for number in 0..TASKS {
        let picture = media::png(number, 64, 36);
        fs::write(filled.join(format!("{number:02}.png")), picture)?;
    }
    fs::rename(&filled, studio.path("busy/inbox/tasks"))?;
    studio.wait(
        "all tasks are started",
        Duration::from_secs(60),
        Duration::from_millis(100),
        || Ok((studio.simulator.tasks()?.len() as u64 >= TASKS).then_some(())),
    )?;
    std::thread::sleep(CALM);

    let requests = studio.simulator.requests()?.len();
    let used = processor_seconds(daemon.process())?;
    let start = Instant::now();
    std::thread::sleep(window);
    let used = processor_seconds(daemon.process())? - used;
    let took = start.elapsed().as_secs_f64();
    let requests = studio.simulator.requests()?.len() - requests;
    let memory = memory(daemon.process())?;
    // Apart, since being traced takes time.
    let calls = system_calls(daemon.process(), window.min(Duration::from_secs(20)))?;
    let traced = window.min(Duration::from_secs(20)).as_secs_f64();
    let mut rows = vec![
        Row::new(
            "idle",
            "waiting files, running tasks",
            format!("{} and {TASKS}", FOLDERS * each),
        ),
        Row::new("idle", "until ready", seconds(daemon.ready_after)),
        Row::new(
            "idle",
            format!("processor, over {} s", window.as_secs()),
            format!("{:.2} %", used / took * 100.0),
        )
        .aim("under 1 % of a core"),
        Row::new("idle", "memory", megabytes(memory.now)),
        Row::new("idle", "peak memory", megabytes(memory.peak)),
        Row::new(
            "idle",
            "requests",
            format!("{:.1}/s", requests as f64 / took),
        ),
    ];
    let Some(calls) = calls else {
        rows.push(Row::new("idle", "system calls", "left out: no strace"));
        return Ok(rows);
    };
    let rate = |count: u64| format!("{:.1}/s", count as f64 / traced);
    rows.push(Row::new("idle", "system calls", rate(calls.values().sum())));
    let mut order: Vec<(String, u64)> = calls.into_iter().collect();
    order.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (name, count) in order.into_iter().take(4) {
        rows.push(Row::new("idle", format!("  {name}"), rate(count)));
    }
    Ok(rows)
}
