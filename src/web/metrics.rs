//! `/metrics`: what the daemon counts, in the text format of Prometheus. Pure: text of a [`Snapshot`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;

use super::app::App;
use super::prometheus::Family;
use crate::control::{Counts, Hub, Refusal, count_jobs, kind_of_stop};
use crate::job::{State as JobState, StateName};
use crate::metrics::{Figures, QUEUE_BOUNDS, TASK_BOUNDS};

/// What the metrics are made of.
#[derive(Debug, Clone, Default, PartialEq)]
struct Snapshot {
    version: &'static str,
    figures: Figures,
    jobs: Counts,
    inboxes: Vec<Root>,
    /// `key`, `credits` or `trouble`.
    stopped: Option<&'static str>,
    balance: Option<f64>,
    limit: Option<f64>,
}

/// An inbox.
#[derive(Debug, Clone, Default, PartialEq)]
struct Root {
    name: String,
    backend: String,
    scan_seconds: Option<f64>,
    is_frozen: bool,
    has_looked: bool,
    problems: usize,
    /// Age of what waits longest in it or in the queue, in seconds; 0 where nothing waits.
    oldest: f64,
}

/// What may stop all submitting.
const STOPS: [&str; 4] = ["credits", "key", "quota", "trouble"];

/// Answers a collector.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    let _turn = app.long_questions.acquire().await;
    let jobs = count_jobs(&app.hub).await?;
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, text(&snapshot(&app.hub, jobs))).into_response())
}

fn snapshot(hub: &Hub, mut jobs: Counts) -> Snapshot {
    let engine = &hub.engine;
    let now = Timestamp::now();
    let mut oldest: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut waits = |inbox: &str, since: Timestamp| {
        let known = oldest.entry(inbox.to_owned()).or_insert(since);
        *known = since.min(*known);
    };
    for job in engine.ledger.jobs() {
        if matches!(job.state, JobState::Taking { .. } | JobState::Queued { .. }) {
            waits(&job.inbox, job.created_at);
        }
    }
    let handles = hub.inboxes();
    for handle in handles.iter() {
        for held in handle.view().waiting.values().flat_map(|held| held.iter()) {
            waits(&handle.name, held.since);
        }
    }
    let inboxes = handles
        .iter()
        .map(|handle| {
            let view = handle.view();
            Root {
                name: handle.name.clone(),
                backend: view.backend,
                scan_seconds: view.scan.map(|scan| scan.as_secs_f64()),
                is_frozen: view.frozen.is_some() || handle.is_stalled(),
                has_looked: view.ready,
                problems: view.unusable.len(),
                oldest: oldest.get(&handle.name).map_or(0.0, |since| {
                    now.duration_since(*since).as_secs_f64().max(0.0)
                }),
            }
        })
        .collect();
    let stopped = engine
        .account
        .gates()
        .stopped(Instant::now())
        .map(kind_of_stop);
    for handle in handles.iter() {
        let states = jobs.entry(handle.name.clone()).or_default();
        for state in StateName::ALL {
            states.entry(state).or_default();
        }
    }
    let mut figures = engine.ledger.metrics().figures();
    figures.begin_at_zero(handles.iter().map(|handle| handle.name.as_str()));
    Snapshot {
        version: env!("CARGO_PKG_VERSION"),
        figures,
        jobs,
        inboxes,
        stopped,
        balance: engine
            .account
            .organization()
            .map(|(_, organization)| organization.credit_balance),
        limit: engine.settings.load().limits.per_day,
    }
}

fn text(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    let mut build = Family::new(
        &mut text,
        "taxiway_build_info",
        "gauge",
        "Version of taxiway.",
    );
    build.add(&[("version", snapshot.version)], 1);
    write_jobs(&mut text, &snapshot.jobs);
    write_inboxes(&mut text, &snapshot.inboxes);
    write_limits(&mut text, snapshot);
    write_spending(&mut text, &snapshot.figures);
    write_traffic(&mut text, &snapshot.figures);
    text
}

fn write_jobs(text: &mut String, counts: &Counts) {
    let mut jobs = Family::new(
        text,
        "taxiway_jobs",
        "gauge",
        "Jobs by inbox and state, including ended ones. Read from the journal, so it survives restarts.",
    );
    for (inbox, states) in counts {
        for (state, count) in states {
            jobs.add(&[("inbox", inbox), ("state", state.as_str())], count);
        }
    }
    let mut doubts = Family::new(
        text,
        "taxiway_in_doubt",
        "gauge",
        "Jobs whose request may or may not have started a task. Each needs a decision.",
    );
    for (inbox, states) in counts {
        let count = states.get(&StateName::InDoubt).copied();
        doubts.add(&[("inbox", inbox)], count.unwrap_or_default());
    }
}

fn write_inboxes(text: &mut String, inboxes: &[Root]) {
    let mut of_roots = |name, help, value: &dyn Fn(&Root) -> Option<String>| {
        let mut family = Family::new(text, name, "gauge", help);
        for root in inboxes {
            if let Some(value) = value(root) {
                family.add(&[("inbox", &root.name)], value);
            }
        }
    };
    let flag = |is: bool| Some(u8::from(is).to_string());
    of_roots(
        "taxiway_oldest_waiting_seconds",
        "Age of the oldest file or job that waits in an inbox or in its queue.",
        &|root| Some(root.oldest.to_string()),
    );
    of_roots(
        "taxiway_frozen",
        "1 while an inbox cannot be used.",
        &|root| flag(root.is_frozen),
    );
    of_roots(
        "taxiway_inbox_ready",
        "1 once an inbox has had its first scan.",
        &|root| flag(root.has_looked),
    );
    of_roots(
        "taxiway_folder_problems",
        "Problems with the folders of an inbox.",
        &|root| Some(root.problems.to_string()),
    );
    of_roots(
        "taxiway_scan_seconds",
        "Duration of the last full scan of an inbox.",
        &|root| root.scan_seconds.map(|seconds| seconds.to_string()),
    );
    let mut watched = Family::new(
        text,
        "taxiway_watch_info",
        "gauge",
        "How changes in an inbox are noticed.",
    );
    for root in inboxes {
        watched.add(&[("inbox", &root.name), ("backend", &root.backend)], 1);
    }
}

fn write_limits(text: &mut String, snapshot: &Snapshot) {
    let mut stopped = Family::new(
        text,
        "taxiway_submitting_stopped",
        "gauge",
        "1 while nothing is submitted for this reason.",
    );
    for reason in STOPS {
        stopped.add(
            &[("reason", reason)],
            u8::from(snapshot.stopped == Some(reason)),
        );
    }
    let mut balance = Family::new(
        text,
        "taxiway_balance_credits",
        "gauge",
        "Credits of the organization as last reported by Runway. Absent until the first report.",
    );
    if let Some(credits) = snapshot.balance {
        balance.add(&[], credits);
    }
    let mut limit = Family::new(
        text,
        "taxiway_credits_per_day_limit",
        "gauge",
        "Value of limits.credits_per_day. Absent if there is no limit.",
    );
    if let Some(credits) = snapshot.limit {
        limit.add(&[], credits);
    }
}

fn write_spending(text: &mut String, figures: &Figures) {
    let mut ended = Family::new(
        text,
        "taxiway_jobs_ended_total",
        "counter",
        "Jobs that have ended since the start.",
    );
    for ((inbox, state), count) in &figures.ended {
        ended.add(&[("inbox", inbox), ("state", state)], count);
    }
    let mut of_inboxes = |name, help, all: &BTreeMap<String, f64>| {
        let mut family = Family::new(text, name, "counter", help);
        for (inbox, value) in all {
            family.add(&[("inbox", inbox)], value);
        }
    };
    of_inboxes(
        "taxiway_credits_estimated_total",
        "Estimated credits of the tasks started since the start.",
        &figures.estimated,
    );
    of_inboxes(
        "taxiway_credits_charged_total",
        "Credits charged by Runway since the start.",
        &figures.charged,
    );
    let mut unknown = Family::new(
        text,
        "taxiway_tasks_of_unknown_price_total",
        "counter",
        "Tasks of unknown price started since the start.",
    );
    for (inbox, tasks) in &figures.unknown {
        unknown.add(&[("inbox", inbox)], tasks);
    }
}

fn write_traffic(text: &mut String, figures: &Figures) {
    for (name, help, value) in [
        (
            "taxiway_polls_total",
            "Status requests for tasks since the start.",
            figures.polls,
        ),
        (
            "taxiway_uploaded_bytes_total",
            "Bytes uploaded successfully since the start.",
            figures.uploaded,
        ),
        (
            "taxiway_downloaded_bytes_total",
            "Bytes of outputs downloaded since the start.",
            figures.downloaded,
        ),
    ] {
        Family::new(text, name, "counter", help).add(&[], value);
    }
    let mut errors = Family::new(
        text,
        "taxiway_api_errors_total",
        "counter",
        "Failed requests to Runway since the start, by call and kind of error.",
    );
    for ((call, kind), count) in &figures.errors {
        errors.add(&[("call", call), ("kind", kind)], count);
    }
    Family::new(
        text,
        "taxiway_queue_seconds",
        "histogram",
        "Time that jobs spent in the queue.",
    )
    .histograms(&figures.queue, &QUEUE_BOUNDS);
    Family::new(
        text,
        "taxiway_task_seconds",
        "histogram",
        "Time from a task's acceptance to its success.",
    )
    .histograms(&figures.tasks, &TASK_BOUNDS);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::metrics::Histogram;

    /// One series: its name, its labels, its value.
    type Series = (String, Vec<(String, String)>, f64);

    /// Reads the format strictly: every family is described once and before its series, which stand together; names, labels
    /// and values are what the format allows; no series comes twice.
    fn parse(text: &str) -> (HashMap<String, String>, Vec<Series>) {
        let is_name = |name: &str| {
            !name.is_empty()
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        assert!(text.ends_with('\n'));
        let (mut types, mut helped): (HashMap<String, String>, HashSet<String>) =
            Default::default();
        let (mut all, mut known): (Vec<Series>, HashSet<String>) = Default::default();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(is_name(name) && !help.is_empty(), "{line}");
                assert!(helped.insert(name.to_owned()), "twice: {line}");
                current = name.to_owned();
                continue;
            }
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, current);
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none());
                continue;
            }
            let (mut labels, end) = (Vec::new(), line.find(['{', ' ']).unwrap());
            let name = &line[..end];
            assert!(is_name(name), "{line}");
            let kind = &types[&current];
            let suffix = name
                .strip_prefix(current.as_str())
                .unwrap_or_else(|| panic!("{line} in {current}"));
            match kind.as_str() {
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                "counter" => assert!(suffix.is_empty() && name.ends_with("_total"), "{line}"),
                _ => assert_eq!(suffix, "", "{line}"),
            }
            let mut rest = &line[end..];
            if let Some(mut inner) = rest.strip_prefix('{') {
                loop {
                    let (label, after) = inner.split_once("=\"").unwrap();
                    assert!(is_name(label), "{line}");
                    let (mut value, mut at) = (String::new(), 0);
                    loop {
                        let c = after[at..].chars().next().unwrap();
                        at += c.len_utf8();
                        match c {
                            '"' => break,
                            '\\' => {
                                let escaped = after[at..].chars().next().unwrap();
                                at += 1;
                                value.push(match escaped {
                                    '\\' => '\\',
                                    '"' => '"',
                                    'n' => '\n',
                                    other => panic!("\\{other} in {line}"),
                                });
                            }
                            c => value.push(c),
                        }
                    }
                    labels.push((label.to_owned(), value));
                    inner = &after[at..];
                    match inner.strip_prefix(',') {
                        Some(more) => inner = more,
                        None => break,
                    }
                }
                rest = inner.strip_prefix('}').unwrap();
            }
            let value: f64 = rest.strip_prefix(' ').unwrap().parse().unwrap();
            let mut names: Vec<&String> = labels.iter().map(|(name, _)| name).collect();
            names.dedup();
            assert_eq!(names.len(), labels.len(), "{line}");
            let mut key = labels.clone();
            key.sort();
            assert!(known.insert(format!("{name} {key:?}")), "twice: {line}");
            all.push((name.to_owned(), labels, value));
        }
        assert_eq!(types.len(), helped.len());
        (types, all)
    }

    fn value(all: &[Series], name: &str, wanted: &[(&str, &str)]) -> f64 {
        let found = all.iter().find(|(known, labels, _)| {
            known == name
                && wanted.iter().all(|(label, value)| {
                    labels.contains(&((*label).to_owned(), (*value).to_owned()))
                })
        });
        found.unwrap_or_else(|| panic!("{name} {wanted:?}")).2
    }

    #[test]
    fn the_format_is_kept_whatever_inboxes_and_models_are_called() {
        let odd = "a \"quoted\" \\ name\nof two lines, {x=\"1\"} ü";
        let mut snapshot = Snapshot {
            version: "0.1.0",
            stopped: Some("key"),
            balance: Some(12.5),
            ..Snapshot::default()
        };
        for name in ["plain", odd] {
            let states = BTreeMap::from([(StateName::Done, 3), (StateName::InDoubt, 1)]);
            snapshot.jobs.insert(name.to_owned(), states);
            snapshot.inboxes.push(Root {
                name: name.to_owned(),
                backend: "events, since \"ext4\" has them".to_owned(),
                oldest: 1.5,
                scan_seconds: Some(0.001),
                ..Root::default()
            });
            let histogram = Histogram {
                counts: [1, 0, 2, 0, 0, 0, 0, 0, 1],
                sum: 4000.25,
            };
            snapshot
                .figures
                .tasks
                .insert(name.to_owned(), histogram.clone());
            snapshot.figures.queue.insert(name.to_owned(), histogram);
            snapshot.figures.charged.insert(name.to_owned(), 5.0);
            snapshot.figures.ended.insert((name.to_owned(), "done"), 2);
        }
        snapshot.figures.errors.insert(("poll", "network"), 7);
        let (_, all) = parse(&text(&snapshot));
        assert_eq!(
            value(&all, "taxiway_jobs", &[("inbox", odd), ("state", "done")]),
            3.0
        );
        assert_eq!(value(&all, "taxiway_in_doubt", &[("inbox", odd)]), 1.0);
        assert_eq!(
            value(&all, "taxiway_submitting_stopped", &[("reason", "key")]),
            1.0
        );
        assert_eq!(
            value(&all, "taxiway_submitting_stopped", &[("reason", "credits")]),
            0.0
        );
        assert_eq!(value(&all, "taxiway_balance_credits", &[]), 12.5);
        // A histogram's buckets hold those before them, and the last holds all.
        for (le, expected) in [
            ("5", 1.0),
            ("15", 1.0),
            ("30", 3.0),
            ("3600", 3.0),
            ("+Inf", 4.0),
        ] {
            let bucket = value(
                &all,
                "taxiway_task_seconds_bucket",
                &[("model", odd), ("le", le)],
            );
            assert_eq!(bucket, expected, "{le}");
        }
        assert_eq!(
            value(&all, "taxiway_task_seconds_count", &[("model", odd)]),
            4.0
        );
        // What is not known is not told as nothing.
        let (_, none) = parse(&text(&Snapshot::default()));
        assert!(
            none.iter()
                .all(|(name, _, _)| name != "taxiway_balance_credits")
        );
    }

    #[test]
    fn the_dashboard_and_the_alerts_ask_only_for_what_is_told() {
        let (types, _) = parse(&text(&Snapshot::default()));
        for (file, content) in [
            (
                "grafana-dashboard.json",
                include_str!("../../config/grafana-dashboard.json"),
            ),
            ("alerts.yaml", include_str!("../../config/alerts.yaml")),
        ] {
            let mut asked = 0;
            for word in content.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
                if !word.starts_with("taxiway_") {
                    continue;
                }
                asked += 1;
                let base = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| word.strip_suffix(suffix))
                    .filter(|base| types.get(*base).is_some_and(|kind| kind == "histogram"));
                assert!(types.contains_key(base.unwrap_or(word)), "{word} in {file}");
            }
            assert!(asked > 5, "{file}");
        }
        let dashboard: serde_json::Value =
            serde_json::from_str(include_str!("../../config/grafana-dashboard.json")).unwrap();
        assert!(dashboard["panels"].as_array().unwrap().len() > 8);
        crate::yaml::parse(include_str!("../../config/alerts.yaml")).unwrap();
    }
}
