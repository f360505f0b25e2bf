//! `taxiway cancel`, `retry` and `resolve`.

use super::args::Global;
use super::error::CommandError;
use super::output;
use crate::control::{ControlError, Request, Resolution, ask};
use crate::status::Line;

/// Stop jobs, and their tasks at Runway
#[derive(Debug, clap::Args)]
pub(super) struct Cancel {
    /// Names of jobs, or their beginnings
    #[arg(required = true)]
    job: Vec<String>,
}

impl Cancel {
    pub(super) async fn run(self, global: &Global) -> Result<(), CommandError> {
        let request = |job| Request::Cancel { job };
        ask_each(global, self.job, request, "is being cancelled").await
    }
}

/// Run failed or cancelled jobs again
#[derive(Debug, clap::Args)]
pub(super) struct Retry {
    /// Names of jobs, or their beginnings
    #[arg(required = true)]
    job: Vec<String>,
}

impl Retry {
    pub(super) async fn run(self, global: &Global) -> Result<(), CommandError> {
        let request = |job| Request::Retry { job };
        ask_each(global, self.job, request, "is run again").await
    }
}

/// Settle a job whose submission's outcome is unknown
#[derive(Debug, clap::Args)]
pub(super) struct Resolve {
    /// The job's name, or the beginning of it
    job: String,
    #[command(flatten)]
    way: Way,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Way {
    /// Runway took the request: this is its task, whose output is fetched
    #[arg(long, value_name = "TASK_ID")]
    adopt: Option<String>,
    /// Runway did not take it: send it again
    #[arg(long)]
    resubmit: bool,
    /// Give it up
    #[arg(long)]
    abandon: bool,
}

impl Resolve {
    pub(super) async fn run(self, global: &Global) -> Result<(), CommandError> {
        let (way, words) = match self.way {
            Way {
                adopt: Some(task), ..
            } => {
                let words = format!("continues with the task {task}");
                (Resolution::Adopt(task), words)
            }
            Way { resubmit: true, .. } => (Resolution::Resubmit, "is submitted again".to_owned()),
            Way { .. } => (Resolution::Abandon, "is given up".to_owned()),
        };
        let request = |job| Request::Resolve {
            job,
            way: way.clone(),
        };
        ask_each(global, vec![self.job], request, &words).await
    }
}

/// Asks for each job; a refusal for one does not keep the others from being asked for.
async fn ask_each(
    global: &Global,
    jobs: Vec<String>,
    request: impl Fn(String) -> Request,
    words: &str,
) -> Result<(), CommandError> {
    let config = global.load()?;
    let mut refused = Vec::new();
    for job in jobs {
        let results = match ask(&config.state_dir, &request(job)).await {
            Ok(results) => results,
            Err(error) => {
                refused.push(error.to_string());
                continue;
            }
        };
        if global.json {
            output::json_lines(&results)?;
            continue;
        }
        for result in results {
            let line: Line = serde_json::from_value(result).map_err(ControlError::from)?;
            let text = format!("{} ({}) {words}", line.id, line.input);
            output::line(&output::plain(&text))?;
        }
    }
    match refused.is_empty() {
        true => Ok(()),
        false => Err(CommandError::Failed(refused.join("\ntaxiway: "))),
    }
}
