//! How problems of an input become a job's failure or a reason to wait.

use crate::diagnostic::Diagnostic;
use crate::job::{Failure, FailureKind};

/// The failure of an input that is wrong before anything was sent. Its problems are listed in the order of the text.
pub(crate) fn build_failure(what: &str, mut findings: Vec<Diagnostic>) -> Failure {
    findings.sort_by_key(|finding| {
        let place = finding.place.map(|place| (place.line, place.column));
        (finding.source.clone(), place)
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
pub(crate) fn describe_defaults_to_fix(problems: &[Diagnostic]) -> String {
    let first = problems
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    format!("for the defaults to be fixed: {first}")
}
