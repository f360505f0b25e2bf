//! `taxiway status`: jobs and their states, or one in full.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{CommandError, Global, load, output};
use crate::config::Config;
use crate::control::{ControlError, Request, ask};
use crate::journal::{Filter, Jobs as _, SqliteJournal};
use crate::status::{InboxLine, Line, details};

/// How many ended jobs people are shown.
const ENDED_SHOWN: u32 = 20;
/// How many ended jobs are asked for at once, where all of them are told.
const PAGE: u32 = 1000;
/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Shows jobs.
pub async fn run(global: &Global, job: Option<&str>, watch: bool) -> Result<(), CommandError> {
    let config = load(global)?;
    loop {
        let text = match job {
            Some(job) => one(global, &config, job).await?,
            None if global.json => {
                tell_all(&config).await?;
                String::new()
            }
            None => all(&config).await?,
        };
        if watch && output::colours(&std::io::stdout()) {
            // Home, draw, and clear what is left of the picture before.
            output::text(&format!("\x1b[H\x1b[2J{text}"))?;
        } else {
            output::text(&text)?;
        }
        if !watch {
            return Ok(());
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

/// The picture for people.
async fn all(config: &Config) -> Result<String, CommandError> {
    let ended = ENDED_SHOWN;
    let (values, running) = match ask(&config.state_dir, &Request::Status { ended }).await {
        Ok(values) => (values, true),
        Err(ControlError::NotRunning(_)) => (from_journal(config, ended).await?, false),
        Err(error) => return Err(error.into()),
    };
    let lines: Vec<Line> = values
        .into_iter()
        .map(serde_json::from_value)
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    let mut text = overview(config, &lines, running);
    if running {
        let inboxes = ask(&config.state_dir, &Request::Inboxes).await?;
        let inboxes: Vec<InboxLine> = inboxes
            .into_iter()
            .map(serde_json::from_value)
            .collect::<Result<_, _>>()
            .map_err(unreadable)?;
        text.push_str(&inboxes_list(&inboxes));
    }
    Ok(text)
}

/// How each inbox is watched, and what is wrong with it.
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

fn unreadable(error: serde_json::Error) -> CommandError {
    CommandError::Failed(format!("the daemon's answer cannot be read: {error}"))
}

/// Every job for programs, a line each. What has not ended is asked for first and told last, so that a job that ends meanwhile
/// is told once, as ended; what has ended comes in pages, since there may be very many.
async fn tell_all(config: &Config) -> Result<(), CommandError> {
    let open = match ask(&config.state_dir, &Request::Status { ended: 0 }).await {
        Ok(open) => open,
        Err(ControlError::NotRunning(_)) => return tell_journal(config).await,
        Err(error) => return Err(error.into()),
    };
    let id = |value: &Value| value["id"].as_str().unwrap_or_default().to_owned();
    let mut still_open: HashSet<String> = open.iter().map(id).collect();
    let mut before = None;
    loop {
        let request = Request::Ended {
            before: before.take(),
            limit: PAGE,
        };
        let mut page = ask(&config.state_dir, &request).await?;
        let next = page.pop().unwrap_or_default();
        let mut text = String::new();
        for value in page {
            still_open.remove(&id(&value));
            text.push_str(&format!("{value}\n"));
        }
        output::text(&text)?;
        before = serde_json::from_value(next).map_err(unreadable)?;
        if before.is_none() {
            break;
        }
    }
    let rest = open.iter().filter(|value| still_open.contains(&id(value)));
    output::text(&rest.map(|value| format!("{value}\n")).collect::<String>())
}

/// The same without a daemon.
async fn tell_journal(config: &Config) -> Result<(), CommandError> {
    let Some(journal) = open_journal(&config.state_dir).await? else {
        return Ok(());
    };
    let failed = |error: crate::journal::JournalError| CommandError::Failed(error.to_string());
    let tell = |jobs: &[crate::job::Job]| -> Result<(), CommandError> {
        let mut text = String::new();
        for job in jobs {
            let line = Line::of(job, outbox(config, &job.inbox));
            text.push_str(&serde_json::to_string(&line).map_err(unreadable)?);
            text.push('\n');
        }
        output::text(&text)
    };
    tell(&journal.open_jobs().await.map_err(failed)?)?;
    let mut before = None;
    loop {
        let page = journal
            .ended_jobs(&Filter::default(), before.as_ref(), PAGE)
            .await
            .map_err(failed)?;
        tell(&page)?;
        match page.last() {
            Some(last) => before = Some((last.updated_at, last.id.clone())),
            None => return Ok(()),
        }
    }
}

/// Without a daemon the journal still tells what it knows; what lies in the inboxes is not looked at.
async fn from_journal(config: &Config, ended: u32) -> Result<Vec<Value>, CommandError> {
    let Some(journal) = open_journal(&config.state_dir).await? else {
        return Ok(Vec::new());
    };
    let failed = |error: crate::journal::JournalError| CommandError::Failed(error.to_string());
    let mut jobs = journal.open_jobs().await.map_err(failed)?;
    jobs.extend(
        journal
            .ended_jobs(&Filter::default(), None, ended)
            .await
            .map_err(failed)?,
    );
    jobs.iter()
        .map(|job| {
            serde_json::to_value(Line::of(job, outbox(config, &job.inbox)))
                .map_err(|error| CommandError::Failed(error.to_string()))
        })
        .collect()
}

fn outbox<'a>(config: &'a Config, inbox: &str) -> Option<&'a Path> {
    config
        .inboxes
        .iter()
        .find(|candidate| candidate.name == inbox)
        .map(|inbox| inbox.folders.outbox.as_path())
}

/// The journal, if there is one.
async fn open_journal(state_dir: &Path) -> Result<Option<SqliteJournal>, CommandError> {
    if !SqliteJournal::file(state_dir).exists() {
        return Ok(None);
    }
    SqliteJournal::open_to_read(state_dir)
        .await
        .map_err(|error| CommandError::Failed(error.to_string()))
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
            Some(progress) if line.state == "running" => {
                format!("running {:.0} %", progress * 100.0)
            }
            _ => line.state.clone(),
        };
        let credits = match line.credits.charged {
            Some(charged) => output::credits(Some(charged)),
            None => match line.credits.estimated {
                Some(estimated) => format!("~{estimated}"),
                None => String::new(),
            },
        };
        let note = match (line.state.as_str(), &line.reason) {
            ("done", _) => line
                .outputs
                .first()
                .and_then(|output| Path::new(output).file_name())
                .map(|name| format!("→ {}", name.to_string_lossy()))
                .unwrap_or_default(),
            ("running", _) | (_, None) => String::new(),
            (_, Some(reason)) => output::plain(reason),
        };
        rows.push(vec![
            line.id.clone(),
            state,
            credits,
            output::fit(&line.input, 28),
        ]);
        notes.push(note);
    }
    // What does not fit beside the rest stands below it.
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
    text.push_str("\n`taxiway status JOB` tells all about one.\n");
    text
}

async fn one(global: &Global, config: &Config, job: &str) -> Result<String, CommandError> {
    let values = match ask(
        &config.state_dir,
        &Request::Job {
            job: job.to_owned(),
        },
    )
    .await
    {
        Ok(values) => values,
        Err(ControlError::NotRunning(_)) => one_from_journal(config, job).await?,
        Err(error) => return Err(error.into()),
    };
    let Some(first) = values.first() else {
        return Err(CommandError::Failed(
            "the daemon's answer is empty".to_owned(),
        ));
    };
    if global.json {
        return Ok(format!("{first}\n"));
    }
    let line: Line = serde_json::from_value(first.clone()).map_err(|error| {
        CommandError::Failed(format!("the daemon's answer cannot be read: {error}"))
    })?;
    Ok(full(&line, values.get(1)))
}

async fn one_from_journal(config: &Config, job: &str) -> Result<Vec<Value>, CommandError> {
    let unknown = || {
        CommandError::Failed(format!(
            "there is no job '{job}': `taxiway status` lists them"
        ))
    };
    let failed = |error: crate::journal::JournalError| CommandError::Failed(error.to_string());
    let journal = open_journal(&config.state_dir).await?.ok_or_else(unknown)?;
    let ids = journal
        .find_ids(&job.to_ascii_lowercase())
        .await
        .map_err(failed)?;
    let [id] = ids.as_slice() else {
        return Err(unknown());
    };
    let job = journal.job(id).await.map_err(failed)?.ok_or_else(unknown)?;
    let history = journal.history(id).await.map_err(failed)?;
    let line = serde_json::to_value(Line::of(&job, outbox(config, &job.inbox)))
        .map_err(|error| CommandError::Failed(error.to_string()))?;
    Ok(vec![line, details(&job, &history)])
}

/// What is known of a doubt, and the ways out of it.
fn in_doubt(doubt: &serde_json::Map<String, Value>) -> String {
    let word = |value: &Value| output::plain(value.as_str().unwrap_or_default());
    let told = |key: &str| doubt.get(key).map(word).unwrap_or_default();
    let mut text = format!(
        "\nThe request went out after {}. {}\nWhat to do: look in Runway's portal for a task of that time. Then run one of\n",
        told("sent_after"),
        told("evidence")
    );
    let ways = doubt.get("ways_out").and_then(Value::as_array);
    let rows: Vec<Vec<String>> = ways
        .into_iter()
        .flatten()
        .map(|way| vec![format!("  {}", word(&way["command"])), word(&way["when"])])
        .collect();
    text.push_str(&output::table(&rows));
    text
}

/// Everything about one job, for people.
fn full(line: &Line, details: Option<&Value>) -> String {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            rows.push(vec![name.to_owned(), value]);
        }
    };
    row("Job", line.id.clone());
    row("Inbox", line.inbox.clone());
    row("Input", line.input.clone());
    row("State", line.state.clone());
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
    let mut text = output::table(&rows);
    let Some(details) = details else {
        return text;
    };
    let strings = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| item.as_str().map(output::plain))
            .collect()
    };
    for warning in strings(&details["warnings"]) {
        text.push_str(&format!("\nWarning: {warning}\n"));
    }
    if let Some(failure) = details["failure"].as_object() {
        for detail in strings(&failure["details"]) {
            text.push_str(&format!("  {detail}\n"));
        }
        text.push_str(&format!(
            "\nWhat to do: {}\n",
            output::plain(failure["advice"].as_str().unwrap_or_default())
        ));
    }
    if let Some(doubt) = details["doubt"].as_object() {
        text.push_str(&in_doubt(doubt));
    }
    if let Some(request) = details.get("request").filter(|request| !request.is_null()) {
        let request = output::plain_lines(&format!("{request:#}"));
        text.push_str(&format!("\nRequest:\n{request}\n"));
    }
    if let Some(history) = details["history"]
        .as_array()
        .filter(|history| !history.is_empty())
    {
        text.push_str("\nHistory:\n");
        let rows: Vec<Vec<String>> = history
            .iter()
            .map(|entry| {
                ["at", "event"]
                    .iter()
                    .map(|key| entry[*key].as_str().unwrap_or_default().to_owned())
                    .collect()
            })
            .collect();
        text.push_str(&output::table(&rows));
    }
    text
}
