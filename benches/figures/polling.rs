//! How often tasks are asked about, and how late their end is noticed.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::studio::{Studio, count};
use crate::table::{Row, Sorted};
use crate::{Result, media};

/// How long a task takes, in seconds.
const LENGTH: i64 = 20;

/// Starts tasks all at once, waits until all are delivered, and reads the simulator's log.
pub fn run(quick: bool) -> Result<Vec<Row>> {
    let jobs: usize = if quick { 20 } else { 100 };
    let studio = Studio::new(LENGTH as f64)?;
    let defaults = json!({
        "prompt": "Slow dolly in", "model": "gen4_turbo", "ratio": "1280:720", "duration": 5,
    });
    let inbox = json!({"pair_wait": "0s", "defaults": defaults});
    studio.configure("5s", &[("studio", inbox)])?;
    let _daemon = studio.daemon()?;
    let filled = studio.path("filled");
    fs::create_dir(&filled)?;
    for number in 0..jobs {
        let picture = media::png(number as u64, 64, 36);
        fs::write(filled.join(format!("{number:03}.png")), picture)?;
    }
    fs::rename(&filled, studio.path("studio/inbox/tasks"))?;
    let outbox = studio.path("studio/outbox/tasks");
    studio.wait(
        "all delivered",
        Duration::from_secs(120),
        Duration::from_millis(200),
        || Ok((count(&outbox, ".mp4") >= jobs).then_some(())),
    )?;

    let mut asked: HashMap<String, Vec<Timestamp>> = HashMap::new();
    for seen in studio.simulator.requests()? {
        if let Some(task) = seen.path.strip_prefix("/v1/tasks/")
            && seen.method == "GET"
        {
            asked.entry(task.to_owned()).or_default().push(seen.time);
        }
    }
    let (mut questions, mut late, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
    for task in studio.simulator.tasks()? {
        // Without limits a task begins when it is made.
        let end = task.created_at + SignedDuration::from_secs(LENGTH);
        let times = asked.remove(&task.id).unwrap_or_default();
        let noticed = times.iter().find(|time| **time >= end);
        let noticed = noticed.ok_or("a task was delivered without a question")?;
        late.push(noticed.duration_since(end).as_secs_f64());
        questions.push(times.len() as f64);
        let pairs = times.iter().zip(times.iter().skip(1));
        gaps.extend(pairs.map(|(one, next)| next.duration_since(*one).as_secs_f64()));
    }
    let (questions, late, gaps) = (Sorted::new(questions), Sorted::new(late), Sorted::new(gaps));
    let time = |seconds: f64| format!("{seconds:.2} s");
    Ok(vec![
        Row::new("polling", "tasks, each of 20 s", jobs.to_string()),
        Row::new(
            "polling",
            "questions per task, mean",
            format!("{:.2}", questions.mean()),
        ),
        Row::new(
            "polling",
            "questions per task, most",
            format!("{:.0}", questions.at(1.0)),
        ),
        Row::new(
            "polling",
            "between two questions, least",
            time(gaps.at(0.0)),
        )
        .aim("no less than 5 s"),
        Row::new("polling", "noticed late by, median", time(late.at(0.5))),
        Row::new("polling", "noticed late by, p99", time(late.at(0.99))),
    ])
}
