//! Jobs as `status --json` shows them, and waiting for them. A test waits for a condition and within a bound; when the bound is
//! passed, it fails with all that can be known: the jobs, the requests, the daemon's log, and the files.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::studio::Studio;
use super::text;

/// How long a condition may take to come true.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long between two looks.
pub(super) const LOOK: Duration = Duration::from_millis(30);

/// A job as `status --json` tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job(pub Value);

impl Job {
    fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.text("id")
    }

    pub fn inbox(&self) -> &str {
        self.text("inbox")
    }

    pub fn input(&self) -> &str {
        self.text("input")
    }

    pub fn state(&self) -> &str {
        self.text("state")
    }

    /// Empty where there is none.
    pub fn reason(&self) -> &str {
        self.text("reason")
    }

    /// Empty where there is none.
    pub fn task(&self) -> &str {
        self.text("task_id")
    }

    pub fn outputs(&self) -> Vec<PathBuf> {
        self.0["outputs"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|path| PathBuf::from(path.as_str().unwrap()))
            .collect()
    }

    pub fn attempts(&self) -> u64 {
        self.0["attempts"].as_u64().unwrap()
    }

    /// What Runway charged, in credits.
    pub fn charged(&self) -> Option<f64> {
        self.0["credits"]["charged"].as_f64()
    }

    /// Whether it is done, failed or cancelled.
    pub fn has_ended(&self) -> bool {
        matches!(self.state(), "done" | "failed" | "cancelled")
    }
}

impl Studio {
    /// All jobs, as `status --json` tells them. Where one is told twice, the later line counts: that each is told once is
    /// a test of its own, in `commands`.
    pub fn jobs(&self) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        for job in self.status_lines() {
            jobs.retain(|other| other.id() != job.id());
            jobs.push(job);
        }
        jobs
    }

    /// All lines of `status --json`, as they are.
    pub fn status_lines(&self) -> Vec<Job> {
        self.cli_ok(&["status", "--json"])
            .lines()
            .map(|line| {
                Job(serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("{error} in {line:?}")))
            })
            .collect()
    }

    /// The latest job of an input, by its path below its inbox: one that failed and was dropped again counts once.
    pub fn job(&self, input: &str) -> Option<Job> {
        let mut all = self.jobs();
        all.retain(|job| job.input() == input);
        all.sort_by_key(|job| job.text("created_at").parse::<jiff::Timestamp>().unwrap());
        all.pop()
    }

    /// Waits until something is there, and answers with it.
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&Studio) -> Option<T>) -> T {
        let limit = Instant::now() + self.patience;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            self.bound(limit, what);
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until something is so.
    pub fn wait_until(&self, what: &str, mut look: impl FnMut(&Studio) -> bool) {
        self.wait_for(what, |studio| look(studio).then_some(()));
    }

    /// Waits until the job of an input is in a state. If it ends in another, that is an error at once.
    pub fn wait_state(&self, input: &str, state: &str) -> Job {
        self.wait_for(&format!("{input} is {state}"), |studio| {
            let job = studio.job(input)?;
            if job.state() == state {
                return Some(job);
            }
            assert!(
                !job.has_ended(),
                "{input} should be {state}, and is {}: {}\n{}",
                job.state(),
                job.reason(),
                studio.report()
            );
            None
        })
    }

    /// Waits until the job of an input is done.
    pub fn wait_done(&self, input: &str) -> Job {
        self.wait_state(input, "done")
    }

    /// Waits until the job of an input has failed.
    pub fn wait_failed(&self, input: &str) -> Job {
        self.wait_state(input, "failed")
    }

    /// Waits until the job of an input waits with a reason that holds these words.
    pub fn wait_reason(&self, input: &str, words: &str) -> Job {
        self.wait_for(&format!("{input} waits: {words}"), |studio| {
            let job = studio.job(input)?;
            (job.state() == "waiting" && job.reason().contains(words)).then_some(job)
        })
    }

    /// Waits until `count` jobs have ended, all of them; answers with them.
    pub fn wait_all_ended(&self, count: usize) -> Vec<Job> {
        self.wait_for(&format!("{count} jobs have ended"), |studio| {
            let jobs = studio.jobs();
            (jobs.len() == count && jobs.iter().all(Job::has_ended)).then_some(jobs)
        })
    }

    pub(super) fn bound(&self, limit: Instant, what: &str) {
        if Instant::now() > limit {
            panic!("waited too long until: {what}\n{}", self.report());
        }
    }

    /// All that can be known, for a test that fails.
    pub fn report(&self) -> String {
        let status = self
            .command()
            .args(["status", "--json", "--config"])
            .arg(&self.config)
            .output()
            .map_or_else(
                |error| error.to_string(),
                |output| format!("{}{}", text(&output.stdout), text(&output.stderr)),
            );
        let requests = self
            .simulator
            .as_ref()
            .map_or_else(String::new, |simulator| {
                let snapshot = simulator.snapshot();
                let skip = snapshot.requests.len().saturating_sub(40);
                let mut lines = String::new();
                for seen in snapshot.requests.iter().skip(skip) {
                    writeln!(
                        lines,
                        "{} {} {} {:?} {:?}",
                        seen.time, seen.method, seen.path, seen.status, seen.fault
                    )
                    .unwrap();
                }
                lines
            });
        format!(
            "--- status --json\n{status}--- requests\n{requests}--- log\n{}--- files\n{}\n",
            self.log(),
            self.tree().join("\n")
        )
    }
}

/// Waits until something is so of which no studio knows.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < limit, "waited too long until: {what}");
        std::thread::sleep(LOOK);
    }
}
