//! How problems of an input become a job's failure or a reason to wait.

use crate::job::{Failure, FailureKind};
use crate::sidecar::layers::Finding;

/// The failure of an input that is wrong before anything was sent. Its problems are listed in the order of the text.
pub(crate) fn build_failure(what: &str, mut findings: Vec<Finding>) -> Failure {
    findings.sort_by_key(|finding| {
        let place = finding.place.map(|place| (place.line, place.column));
        (finding.label.clone(), place)
    });
    Failure {
        kind: FailureKind::Input,
        what: match findings.as_slice() {
            [only] => format!("{what}: {}", only.message),
            [] | [_, _, ..] => what.to_owned(),
        },
        details: findings.iter().map(ToString::to_string).collect(),
        advice: "Fix it and move the files back to the inbox. Nothing was sent, and no credits were charged.".to_owned(),
        task: None,
    }
}

/// Why files wait for defaults that have to be fixed.
pub(crate) fn describe_defaults_to_fix(problems: &[Finding]) -> String {
    let first = problems
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    format!("for the defaults to be fixed: {first}")
}
