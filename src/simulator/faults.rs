//! Faults on request: rules that decide which requests fail, and how.
//!
//! A rule waits for requests that match it and then does one thing to them. An action applies only to certain requests: a download
//! cannot "answer without an id", and a submission cannot be an expired download, so a rule ignores such requests and does not
//! count them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The kinds of requests that faults distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A call of the API that starts a task.
    Start,
    /// Any other call of the API.
    Call,
    /// The bytes of an upload.
    Upload,
    /// The bytes of an output.
    Output,
}

/// Which requests a rule is for. A missing field matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// The HTTP method, in capitals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The beginning of the path, for example `/v1/image_to_video` or `/_storage/output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The `model` in the request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Only the n-th request that matches, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
}

/// What a rule does to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Refuse with this status and do nothing.
    Status {
        /// The HTTP status, 100 to 999; others count as 500.
        code: u16,
        /// The body: a string is sent as text, anything else as JSON. By default Runway's usual `{"error": …}`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<serde_json::Value>,
        /// More headers, for example `retry-after`.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
    },
    /// Close the connection with a TCP reset; the request has no effect.
    ResetBefore,
    /// Carry out the request (a task is started and charged), then reset the connection instead of answering.
    ResetAfter,
    /// Carry out the request, then wait before answering.
    Slow {
        /// How long, in milliseconds.
        ms: u64,
    },
    /// Carry out the request, then answer with something that cannot be read.
    Garbage {
        /// The HTTP status, 200 by default.
        #[serde(default = "ok")]
        code: u16,
        /// An HTML page, like a proxy's, instead of broken JSON.
        #[serde(default)]
        html: bool,
    },
    /// Start the task, but leave its id out of the answer.
    NoId,
    /// Interrupt a download after this many bytes.
    Truncate {
        /// How many bytes arrive.
        bytes: u64,
    },
    /// Answer a download as if its URL had expired.
    Expire,
    /// Announce one byte more in a download's `Content-Length` than arrives.
    CorruptLength,
    /// Start the task and let it fail at its end.
    TaskFails {
        /// `failureCode`, for example `INTERNAL.BAD_OUTPUT.CODE01`.
        code: String,
        /// `failure`, the message for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// Whether the credits stay spent. By default as Runway does it: moderation is charged, the rest refunded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        charged: Option<bool>,
    },
    /// Start the task and let it run forever.
    Stuck,
    /// Redirect the caller with a 307; the request has no effect.
    Redirect {
        /// The `Location`.
        to: String,
    },
}

fn ok() -> u16 {
    200
}

impl Action {
    /// Whether this action can happen to such a request.
    fn applies_to(&self, target: Target) -> bool {
        match self {
            Self::Status { .. }
            | Self::ResetBefore
            | Self::ResetAfter
            | Self::Slow { .. }
            | Self::Garbage { .. }
            | Self::Redirect { .. } => true,
            Self::NoId | Self::TaskFails { .. } | Self::Stuck => target == Target::Start,
            Self::Truncate { .. } | Self::Expire | Self::CorruptLength => target == Target::Output,
        }
    }

    /// The name as it is written in a rule.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::ResetBefore => "reset_before",
            Self::ResetAfter => "reset_after",
            Self::Slow { .. } => "slow",
            Self::Garbage { .. } => "garbage",
            Self::NoId => "no_id",
            Self::Truncate { .. } => "truncate",
            Self::Expire => "expire",
            Self::CorruptLength => "corrupt_length",
            Self::TaskFails { .. } => "task_fails",
            Self::Stuck => "stuck",
            Self::Redirect { .. } => "redirect",
        }
    }
}

/// One rule: which requests, how often, and what happens to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The requests it is for.
    #[serde(default, rename = "match")]
    pub when: Match,
    /// How often it acts; by default always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// The chance that it acts on a request that matches, 0 to 1; by default always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// What it does.
    pub action: Action,
}

impl Rule {
    /// A rule for every request whose path begins with `path`.
    pub fn on(path: impl Into<String>, action: Action) -> Self {
        Self {
            when: Match {
                path: Some(path.into()),
                ..Match::default()
            },
            times: None,
            probability: None,
            action,
        }
    }

    /// Limits the rule to one HTTP method.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.when.method = Some(method.into());
        self
    }

    /// Limits how often the rule acts.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }
}

/// The current rules, and how often each matched and acted.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Vec<Active>,
}

#[derive(Debug, Serialize)]
pub(super) struct Active {
    #[serde(flatten)]
    rule: Rule,
    /// The requests that matched.
    matched: u64,
    /// The requests that it acted on.
    acted: u64,
}

impl Faults {
    /// Replaces all rules and resets the counts.
    pub(super) fn replace(&mut self, rules: Vec<Rule>) {
        self.rules = rules
            .into_iter()
            .map(|rule| Active {
                rule,
                matched: 0,
                acted: 0,
            })
            .collect();
    }

    /// The rules and their counts.
    pub(super) fn active(&self) -> &[Active] {
        &self.rules
    }

    /// Chooses the action of the first rule that applies to a request. `chance` returns a number from 0 to 1.
    pub(super) fn choose(
        &mut self,
        target: Target,
        method: &str,
        path: &str,
        model: Option<&str>,
        mut chance: impl FnMut() -> f64,
    ) -> Option<Action> {
        for active in &mut self.rules {
            let rule = &active.rule;
            let when = &rule.when;
            let matches = rule.action.applies_to(target)
                && when.method.as_deref().is_none_or(|m| m == method)
                && when.path.as_deref().is_none_or(|p| path.starts_with(p))
                && when.model.as_deref().is_none_or(|m| Some(m) == model);
            if !matches {
                continue;
            }
            active.matched += 1;
            let due = when.nth.is_none_or(|n| n == active.matched)
                && rule.times.is_none_or(|times| active.acted < times)
                && rule.probability.is_none_or(|p| chance() < p);
            if due {
                active.acted += 1;
                return Some(rule.action.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn choose(faults: &mut Faults, target: Target, path: &str) -> Option<Action> {
        faults.choose(target, "POST", path, Some("gen4_turbo"), || 0.5)
    }

    #[test]
    fn a_rule_stops_after_its_times() {
        let mut faults = Faults::default();
        faults.replace(vec![Rule::on("/v1/", Action::ResetAfter).times(2)]);
        let hits = (0..5)
            .filter(|_| choose(&mut faults, Target::Start, "/v1/image_to_video").is_some())
            .count();
        assert_eq!(hits, 2);
    }

    #[test]
    fn nth_means_that_request_and_no_other() {
        let mut faults = Faults::default();
        let mut rule = Rule::on("/v1/", Action::ResetBefore);
        rule.when.nth = Some(3);
        faults.replace(vec![rule]);
        let hits: Vec<bool> = (0..5)
            .map(|_| choose(&mut faults, Target::Call, "/v1/tasks/x").is_some())
            .collect();
        assert_eq!(hits, [false, false, true, false, false]);
    }

    #[test]
    fn a_fault_of_downloads_ignores_submissions() {
        let mut faults = Faults::default();
        faults.replace(vec![Rule::on("/", Action::Expire).times(1)]);
        assert_eq!(
            choose(&mut faults, Target::Start, "/v1/image_to_video"),
            None
        );
        assert_eq!(
            choose(&mut faults, Target::Output, "/_storage/output/x"),
            Some(Action::Expire)
        );
    }

    #[test]
    fn rules_are_read_as_they_are_documented() {
        let rules: Vec<Rule> = serde_json::from_str(
            r#"[
            {"match": {"method": "POST", "path": "/v1/", "model": "gen4_turbo", "nth": 2}, "action": "reset_after"},
            {"times": 1, "probability": 0.25, "action": {"status": {"code": 503, "headers": {"retry-after": "1"}}}},
            {"action": {"garbage": {"html": true}}},
            {"action": {"task_fails": {"code": "INTERNAL"}}},
            {"action": "stuck"}]"#,
        )
        .unwrap();
        assert_eq!(rules.len(), 5);
        assert_eq!(rules[0].when.nth, Some(2));
    }

    #[test]
    fn a_misspelled_rule_is_refused() {
        assert!(serde_json::from_str::<Rule>(r#"{"action": "stuck", "tiems": 1}"#).is_err());
    }
}
