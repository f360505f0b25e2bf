//! `taxiway cancel`, `retry` and `resolve`.

use serde_json::Value;

use super::{CommandError, Global, load, output};
use crate::control::{Request, Way, ask};

/// Stops jobs.
pub async fn cancel(global: &Global, jobs: &[String]) -> Result<(), CommandError> {
    each(
        global,
        jobs,
        |job| Request::Cancel { job },
        "is being cancelled",
    )
    .await
}

/// Runs failed or cancelled jobs again.
pub async fn retry(global: &Global, jobs: &[String]) -> Result<(), CommandError> {
    each(global, jobs, |job| Request::Retry { job }, "is run again").await
}

/// Settles a job in doubt.
pub async fn resolve(global: &Global, job: &str, way: Way) -> Result<(), CommandError> {
    let words = match &way {
        Way::Adopt(task) => format!("goes on with the task {task}"),
        Way::Resubmit => "is submitted again".to_owned(),
        Way::Abandon => "is given up".to_owned(),
    };
    let jobs = [job.to_owned()];
    each(
        global,
        &jobs,
        |job| Request::Resolve {
            job,
            way: way.clone(),
        },
        &words,
    )
    .await
}

/// Asks for each job; a no for one does not keep the others from being asked for.
async fn each(
    global: &Global,
    jobs: &[String],
    request: impl Fn(String) -> Request,
    words: &str,
) -> Result<(), CommandError> {
    let config = load(global)?;
    let mut refused = Vec::new();
    for job in jobs {
        match ask(&config.state_dir, &request(job.clone())).await {
            Ok(results) => {
                for result in results {
                    say(global, &result, words)?;
                }
            }
            Err(error) => refused.push(error.to_string()),
        }
    }
    if refused.is_empty() {
        Ok(())
    } else {
        Err(CommandError::Failed(refused.join("\ntaxiway: ")))
    }
}

fn say(global: &Global, result: &Value, words: &str) -> Result<(), CommandError> {
    if global.json {
        return output::line(&result.to_string());
    }
    let field = |name: &str| output::plain(result[name].as_str().unwrap_or_default());
    output::line(&format!("{} ({}) {words}", field("id"), field("input")))
}
