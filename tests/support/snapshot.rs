//! A whole studio as text: its files, its jobs and what Runway's API saw. What differs from run to run is replaced: names of jobs and
//! tasks, times, ports and the studio's own folder.
//!
//! A test compares it with a file in `tests/e2e/snapshots`; where it differs, the test fails with the lines that do.
//! `TAXIWAY_TEST_SNAPSHOTS=write` writes the files again, for what changes on purpose.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::studio::Studio;

/// Keys of a job whose values are times.
const TIMES: [&str; 2] = ["created_at", "updated_at"];

impl Studio {
    /// Compares the studio with the snapshot of this name. Everything in it should have come to its end.
    pub fn assert_snapshot(&self, name: &str) {
        let found = self.snapshot();
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/e2e/snapshots")
            .join(format!("{name}.txt"));
        if std::env::var_os("TAXIWAY_TEST_SNAPSHOTS").is_some_and(|how| how == "write") {
            fs::write(&path, found).unwrap();
            return;
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            expected == found,
            "the studio is not as {} has it (-: expected, +: found); if that is on purpose, TAXIWAY_TEST_SNAPSHOTS=write\n{}",
            path.display(),
            differing_lines(&expected, &found)
        );
    }

    /// The studio as text.
    pub fn snapshot(&self) -> String {
        let mut jobs = self.jobs();
        jobs.sort_by(|a, b| (a.inbox(), a.input()).cmp(&(b.inbox(), b.input())));
        let mut text = String::from("# files\n");
        for file in self.tree() {
            writeln!(text, "{file}").unwrap();
        }
        text.push_str("\n# jobs\n");
        for job in &jobs {
            let mut shown = job.0.clone();
            for key in TIMES {
                assert!(shown[key].is_string(), "{shown}");
                shown[key] = "TIME".into();
            }
            if shown["progress"].as_f64().is_some_and(|share| share < 1.0) {
                shown["progress"] = "SHARE".into();
            }
            writeln!(text, "{}", serde_json::to_string_pretty(&shown).unwrap()).unwrap();
        }
        text.push_str("\n# what the API saw\n");
        text.push_str(&self.seen_lines());
        let mut text = text.replace(&*self.root.to_string_lossy(), "STUDIO");
        for (number, job) in jobs.iter().enumerate() {
            text = text.replace(job.id(), &format!("JOB-{}", number + 1));
        }
        for (number, task) in self.tasks_by_start().iter().enumerate() {
            text = text.replace(task, &format!("TASK-{}", number + 1));
        }
        replace_after(&text, "runway://", "UPLOAD")
    }

    /// Tasks in the order in which they were started, those that were deleted among them.
    fn tasks_by_start(&self) -> Vec<String> {
        let requests = self.seen().requests;
        requests.into_iter().filter_map(|seen| seen.task).collect()
    }

    /// The requests, each question once: how often the daemon asks depends on time.
    fn seen_lines(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for seen in self.seen().requests {
            if seen.path.starts_with("/v1/organization") {
                continue;
            }
            let path = match seen.path.strip_prefix("/_storage/upload") {
                Some(_) => "/_storage/upload/…".to_owned(),
                None => seen.path,
            };
            let status = seen
                .status
                .map_or("reset".to_owned(), |code| code.to_string());
            let mut line = format!("{} {path}: {status}", seen.method);
            for (what, value) in [("starts", seen.task), ("fault", seen.fault)] {
                line.extend(value.map(|value| format!(", {what} {value}")));
            }
            if let Some(body) = seen.body.filter(|body| *body != Value::Null) {
                let body = serde_json::to_string_pretty(&body).unwrap();
                line.push_str(&format!("\n{body}"));
            }
            if seen.method != "GET" || !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines.join("\n") + "\n"
    }
}

/// Replaces each word that follows this start.
fn replace_after(text: &str, start: &str, word: &str) -> String {
    let mut parts = text.split(start);
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "-_".contains(c));
        all.push_str(&format!("{start}{word}{rest}"));
    }
    all
}

/// The lines that only one of two texts has, in their order, each with a line before it for its place.
fn differing_lines(expected: &str, found: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    // How many lines both have in common from here on.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = match old[i] == new[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    let mut before = None;
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            before = Some(old[i]);
            (i, j) = (i + 1, j + 1);
            continue;
        }
        if let Some(line) = before.take() {
            text.push_str(&format!("  {line}\n"));
        }
        if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            text.push_str(&format!("- {}\n", old[i]));
            i += 1;
        } else {
            text.push_str(&format!("+ {}\n", new[j]));
            j += 1;
        }
    }
    text
}
