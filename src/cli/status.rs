//! `taxiway status`: jobs and their states, or one in full.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use tracing_subscriber::filter::LevelFilter;

use super::args::Global;
use super::error::CommandError;
use super::output;
use crate::config::Config;
use crate::control::{Client, ControlError, Cursor, Request};
use crate::job::StateName;
use crate::status::{Details, DoubtDetails, InboxLine, Line};

/// How many ended jobs people are shown.
const ENDED_SHOWN: u32 = 20;
/// How many ended jobs are asked for at once, where all of them are printed.
const PAGE: u32 = 1000;
/// How often `--watch` asks.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Show jobs and their states, or one job in full
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// A job's name, or the beginning of it
    job: Option<String>,
    /// Show it again and again
    #[arg(long)]
    watch: bool,
}

impl Status {
    pub(super) async fn run(self, global: &Global) -> Result<(), CommandError> {
        global.log(LevelFilter::WARN);
        let config = global.load()?;
        loop {
            let text = match &self.job {
                Some(job) => one(global, &config, job).await?,
                None if global.json => {
                    print_all(&config).await?;
                    String::new()
                }
                None => all(&config).await?,
            };
            if self.watch && output::colours(&std::io::stdout()) {
                // Home, draw, and clear what is left of the screen before.
                output::text(&format!("\x1b[H\x1b[2J{text}"))?;
            } else {
                output::text(&text)?;
            }
            if !self.watch {
                return Ok(());
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }
}

/// All jobs, for people.
async fn all(config: &Config) -> Result<String, CommandError> {
    let mut client = Client::new(config);
    let ended = ENDED_SHOWN;
    let lines: Vec<Line> = client.list(Request::Status { ended }).await?;
    let mut text = overview(config, &lines, client.has_daemon());
    if client.has_daemon() {
        text.push_str(&inboxes_list(&client.list(Request::Inboxes).await?));
    }
    Ok(text)
}

/// How each inbox is watched, and its problems.
fn inboxes_list(inboxes: &[InboxLine]) -> String {
    let mut text = String::from("\nInboxes:\n");
    for line in inboxes {
        let waiting = match line.waiting {
            0 => String::new(),
            waiting => format!(" {waiting} waiting."),
        };
        let how = match &line.frozen {
            Some(why) => format!("frozen: {why}."),
            None => format!("watched by {}.", line.watched),
        };
        let about = format!("{}: {how}{waiting}", line.inbox);
        text.push_str(&output::wrap(&output::plain(&about), 2));
        for what in &line.problems {
            text.push_str(&output::wrap(&output::plain(what), 4));
        }
    }
    text
}

/// Prints every job for programs, a line each. What has not ended is asked for first and printed last, so that a job that ends
/// meanwhile is printed once, as ended; what has ended comes in pages, since there may be very many.
async fn print_all(config: &Config) -> Result<(), CommandError> {
    let mut client = Client::new(config);
    let open = client.ask(Request::Status { ended: 0 }).await?;
    let id = |value: &Value| value["id"].as_str().unwrap_or_default().to_owned();
    let mut still_open: HashSet<String> = open.iter().map(id).collect();
    let mut before: Option<Cursor> = None;
    loop {
        let request = Request::Ended {
            before: before.take(),
            limit: PAGE,
        };
        let mut page = client.ask(request).await?;
        let next = page.pop().unwrap_or_default();
        for value in &page {
            still_open.remove(&id(value));
        }
        output::json_lines(&page)?;
        before = serde_json::from_value(next).map_err(ControlError::from)?;
        if before.is_none() {
            break;
        }
    }
    let rest = open.iter().filter(|value| still_open.contains(&id(value)));
    output::json_lines(&rest.collect::<Vec<_>>())
}

/// Says what came out of a job, or why it does not continue.
fn describe(line: &Line) -> String {
    match line.state {
        StateName::Done => line
            .outputs
            .first()
            .and_then(|output| Path::new(output).file_name())
            .map(|name| format!("→ {}", name.to_string_lossy()))
            .unwrap_or_default(),
        StateName::Running => String::new(),
        StateName::Waiting
        | StateName::Queued
        | StateName::Uploading
        | StateName::Submitting
        | StateName::Downloading
        | StateName::Delivering
        | StateName::Failed
        | StateName::Cancelled
        | StateName::InDoubt => line
            .reason
            .as_deref()
            .map(output::plain)
            .unwrap_or_default(),
    }
}

/// The table for people, within 80 columns where names allow it.
fn overview(config: &Config, lines: &[Line], running: bool) -> String {
    let mut text = String::new();
    if !running {
        text.push_str(&format!(
            "No daemon runs on {}; this is what its journal knows.\n\n",
            config.state_dir.display()
        ));
    }
    if lines.is_empty() {
        text.push_str("No jobs. Drop an image, a video or a sidecar into\n");
        for inbox in &config.inboxes {
            text.push_str(&format!("  {}\n", inbox.path.display()));
        }
        return text;
    }
    let mut rows = vec![
        ["JOB", "STATE", "CREDITS", "INPUT"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let mut notes = vec![String::new()];
    for line in lines {
        let state = match line.progress {
            Some(progress) if line.state == StateName::Running => {
                format!("running {:.0} %", progress * 100.0)
            }
            Some(_) | None => line.state.to_string(),
        };
        let credits = match line.credits.charged {
            Some(charged) => output::credits(Some(charged)),
            None => match line.credits.estimated {
                Some(estimated) => format!("~{estimated}"),
                None => String::new(),
            },
        };
        rows.push(vec![
            line.id.clone(),
            state,
            credits,
            output::fit(&line.input, 28),
        ]);
        notes.push(describe(line));
    }
    // A note that does not fit next to the rest is below it.
    let table = output::table(&rows);
    let width = table.lines().map(|row| row.chars().count()).max();
    let width = width.unwrap_or_default();
    for (row, note) in table.lines().zip(notes) {
        let beside = format!("{row:width$}  {note}");
        if note.is_empty() {
            text.push_str(row);
        } else if beside.chars().count() <= output::COLUMNS {
            text.push_str(&beside);
        } else {
            text.push_str(row);
            text.push('\n');
            text.push_str(output::wrap(&note, 12).trim_end());
        }
        text.push('\n');
    }
    text.push_str("\n`taxiway status JOB` shows all about one.\n");
    text
}

async fn one(global: &Global, config: &Config, job: &str) -> Result<String, CommandError> {
    let job = job.to_owned();
    let values = Client::new(config).ask(Request::Job { job }).await?;
    let mut values = values.into_iter();
    let empty = || CommandError::Failed("the daemon's answer is empty: ask again".to_owned());
    let line = values.next().ok_or_else(empty)?;
    if global.json {
        return Ok(format!("{line}\n"));
    }
    let line: Line = serde_json::from_value(line).map_err(ControlError::from)?;
    let details = values.next().map(serde_json::from_value);
    let details: Option<Details> = details.transpose().map_err(ControlError::from)?;
    let mut text = facts(&line);
    if let Some(details) = details {
        text.push_str(&details_text(&details));
    }
    Ok(text)
}

/// The line of one job, for people.
fn facts(line: &Line) -> String {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            rows.push(vec![name.to_owned(), value]);
        }
    };
    row("Job", line.id.clone());
    row("Inbox", line.inbox.clone());
    row("Input", line.input.clone());
    row("State", line.state.to_string());
    row("Reason", line.reason.clone().unwrap_or_default());
    row("Endpoint", line.endpoint.clone().unwrap_or_default());
    row("Model", line.model.clone().unwrap_or_default());
    row("Task", line.task_id.clone().unwrap_or_default());
    row(
        "Progress",
        line.progress
            .map(|progress| format!("{:.0} %", progress * 100.0))
            .unwrap_or_default(),
    );
    row("Attempts", line.attempts.to_string());
    row(
        "Credits",
        format!(
            "{} estimated, {} charged",
            output::credits(line.credits.estimated),
            output::credits(line.credits.charged)
        ),
    );
    for output in &line.outputs {
        row("Output", output.clone());
    }
    row("Since", format!("{:.0}", line.created_at));
    row("Changed", format!("{:.0}", line.updated_at));
    output::table(&rows)
}

/// What is known of one job beyond its line, for people.
fn details_text(details: &Details) -> String {
    let mut text = String::new();
    for warning in &details.warnings {
        text.push_str(&format!("\nWarning: {}\n", output::plain(warning)));
    }
    if let Some(failure) = &details.failure {
        for detail in &failure.details {
            text.push_str(&format!("  {}\n", output::plain(detail)));
        }
        let advice = output::plain(&failure.advice);
        text.push_str(&format!("\nWhat to do: {advice}\n"));
    }
    if let Some(doubt) = &details.doubt {
        text.push_str(&doubt_text(doubt));
    }
    if let Some(request) = &details.request {
        let request = serde_json::to_string_pretty(request).unwrap_or_default();
        text.push_str(&format!("\nRequest:\n{}\n", output::plain_lines(&request)));
    }
    if !details.history.is_empty() {
        let rows = details.history.iter();
        let rows: Vec<Vec<String>> = rows
            .map(|entry| vec![entry.at.clone(), entry.event.clone()])
            .collect();
        text.push_str(&format!("\nHistory:\n{}", output::table(&rows)));
    }
    text
}

/// What is known of a doubt, and the ways out of it.
fn doubt_text(doubt: &DoubtDetails) -> String {
    let ways = doubt.ways_out.iter();
    let ways: Vec<Vec<String>> = ways
        .map(|way| vec![format!("  {}", way.command), way.when.clone()])
        .collect();
    format!(
        "\nThe request went out after {}. {}\nWhat to do: look in Runway's portal for a task of that time. Then run one of\n{}",
        output::plain(&doubt.sent_after),
        output::plain(&doubt.evidence),
        output::table(&ways)
    )
}
