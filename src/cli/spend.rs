//! `taxiway spend`: what was spent, by day, inbox and model.

use tracing_subscriber::filter::LevelFilter;

use super::args::Global;
use super::error::CommandError;
use super::output;
use crate::control::{Client, Request};
use crate::journal::Spent;

/// Show what was spent, by day, inbox and model
#[derive(Debug, clap::Args)]
pub(super) struct Spend {
    /// In how many days, today being one of them
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=366))]
    days: u32,
}

impl Spend {
    pub(super) async fn run(self, global: &Global) -> Result<(), CommandError> {
        global.log(LevelFilter::WARN);
        let config = global.load()?;
        let days = self.days;
        let spent: Vec<Spent> = Client::new(&config).list(Request::Spend { days }).await?;
        match global.json {
            true => output::json_lines(&spent),
            false => output::text(&table(&spent, days)),
        }
    }
}

/// The table for people, the latest day first.
fn table(spent: &[Spent], days: u32) -> String {
    if spent.is_empty() {
        return format!("Nothing was spent in the last {days} days.\n");
    }
    let mut rows = vec![output::row([
        "DAY (UTC)",
        "INBOX",
        "MODEL",
        "TASKS",
        "CREDITS",
        "",
    ])];
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

/// How certain a sum is: what is only expected, and what is unknown, is never counted as nothing.
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
