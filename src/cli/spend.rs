//! `taxiway spend`: what was spent, by day, inbox and model.

use serde_json::Value;

use super::{CommandError, Global, load, output};
use crate::control::{ControlError, Request, ask, first_day};
use crate::journal::{Spending as _, Spent, SqliteJournal};

/// Shows what was spent in the last `days`, today being one of them.
pub async fn run(global: &Global, days: u32) -> Result<(), CommandError> {
    let config = load(global)?;
    let spent = match ask(&config.state_dir, &Request::Spend { days }).await {
        Ok(values) => values,
        Err(ControlError::NotRunning(_)) => from_journal(&config.state_dir, days).await?,
        Err(error) => return Err(error.into()),
    };
    if global.json {
        return output::text(
            &spent
                .iter()
                .map(|row| format!("{row}\n"))
                .collect::<String>(),
        );
    }
    let spent: Vec<Spent> = spent
        .into_iter()
        .map(serde_json::from_value)
        .collect::<Result<_, _>>()
        .map_err(|error| CommandError::Failed(format!("the answer cannot be read: {error}")))?;
    output::text(&table(&spent, days))
}

/// Without a daemon the journal still tells.
async fn from_journal(state_dir: &std::path::Path, days: u32) -> Result<Vec<Value>, CommandError> {
    let failed = |error: crate::journal::JournalError| CommandError::Failed(error.to_string());
    if !SqliteJournal::file(state_dir).exists() {
        return Ok(Vec::new());
    }
    let Some(journal) = SqliteJournal::open_to_read(state_dir)
        .await
        .map_err(failed)?
    else {
        return Ok(Vec::new());
    };
    let spent = journal.spent_since(first_day(days)).await.map_err(failed)?;
    spent
        .iter()
        .map(|spent| {
            serde_json::to_value(spent).map_err(|error| CommandError::Failed(error.to_string()))
        })
        .collect()
}

/// The table for people, the latest day first.
fn table(spent: &[Spent], days: u32) -> String {
    if spent.is_empty() {
        return format!("Nothing was spent in the last {days} days.\n");
    }
    let mut rows = vec![
        ["DAY (UTC)", "INBOX", "MODEL", "TASKS", "CREDITS", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    let (mut tasks, mut credits, mut unknown) = (0_u64, 0.0, 0_u64);
    for spent in spent.iter().rev() {
        let sum = spent.charged + spent.estimated;
        tasks = tasks.saturating_add(spent.tasks);
        unknown = unknown.saturating_add(spent.unknown);
        credits += sum;
        rows.push(vec![
            spent.day.clone(),
            output::fit(&spent.inbox, 24),
            output::fit(spent.model.as_deref().unwrap_or("-"), 28),
            spent.tasks.to_string(),
            sum.to_string(),
            beside(spent.estimated, spent.unknown),
        ]);
    }
    let mut text = output::table(&rows);
    text.push_str(&format!(
        "\n{credits} credits (1 credit is $0.01) for {tasks} tasks in {days} days{}.\n",
        match unknown {
            0 => String::new(),
            unknown => format!(", and {unknown} tasks of unknown price"),
        }
    ));
    text
}

/// How certain a sum is: what is only expected, and what nobody knows, is never taken for nothing.
fn beside(estimated: f64, unknown: u64) -> String {
    let mut parts = Vec::new();
    if estimated > 0.0 {
        parts.push(format!("{estimated} of them expected"));
    }
    if unknown > 0 {
        parts.push(format!("and {unknown} of unknown price"));
    }
    parts.join(", ")
}
