//! The sidecar's own keys, which are not fields of a request.

use crate::catalogue::{On, SidecarKey};
use crate::diagnostic::Diagnostic;
use crate::json::Step;
use crate::sidecar::layers::Merged;

/// The sidecar's own keys.
#[derive(Default)]
pub(crate) struct Own {
    pub(crate) priority: i64,
    pub(crate) max_credits: Option<f64>,
    pub(crate) output: Option<String>,
}

pub(crate) fn read_own_keys(merged: &Merged, problems: &mut Vec<Diagnostic>) -> Own {
    let mut own = Own::default();
    for key in SidecarKey::RESERVED {
        if merged.get(key).is_some() {
            problems.push(merged.problem(
                &[Step::Key(key.to_owned())],
                On::Value,
                format!("`{key}` is reserved for a later version"),
                "take it out; one sidecar is one request for now",
            ));
        }
    }
    for key in SidecarKey::ALL {
        let Some(value) = merged.get(key.as_str()) else {
            continue;
        };
        let (is_valid, wanted, hint) = match key {
            // They are read with the request.
            SidecarKey::Endpoint | SidecarKey::Prompt => continue,
            SidecarKey::Priority => {
                let priority = value.as_i64();
                own.priority = priority.unwrap_or_default();
                (
                    priority.is_some(),
                    "not a whole number",
                    "write a whole number; larger goes first, 0 is the default",
                )
            }
            SidecarKey::MaxCredits => {
                own.max_credits = value.as_f64().filter(|credits| *credits >= 0.0);
                (
                    own.max_credits.is_some(),
                    "not a number of credits",
                    "write a number of 0 or more",
                )
            }
            SidecarKey::Output => {
                let name = value.as_str().filter(|name| is_usable_name(name));
                own.output = name.map(str::to_owned);
                (
                    own.output.is_some(),
                    "which cannot be a file's name",
                    "write a name without extension, slashes or line breaks, not beginning with a dot",
                )
            }
        };
        if !is_valid {
            let path = [Step::Key(key.to_string())];
            let message = format!("`{key}` is {value}, {wanted}");
            problems.push(merged.problem(&path, On::Value, message, hint));
        }
    }
    own
}

/// Whether an output can have this name.
fn is_usable_name(name: &str) -> bool {
    !name.trim().is_empty()
        && name.len() <= 200
        && !name.starts_with('.')
        && !name
            .chars()
            .any(|c| c == '/' || c == '\0' || c.is_control())
}

/// Prompts that YAML silently cuts short at a `#`.
pub(crate) fn find_cut_short(merged: &Merged) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for layer in merged.layers() {
        let Some((document, _)) = &layer.document else {
            continue;
        };
        for cut in document.cut_short(&is_prose) {
            let message = format!(
                "YAML reads `{}` as a comment, so it would be left out without a word",
                cut.lost.trim()
            );
            let hint = "put the text in quotes, or write it below `|`";
            let problem = Diagnostic::new(message, hint).in_source(layer.label.as_str());
            problems.push(problem.at(Some(cut.place)));
        }
    }
    problems
}

/// Whether a value is text for people or models, in which a `#` may well be meant.
fn is_prose(path: &[Step]) -> bool {
    let key = path.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key.to_ascii_lowercase()),
        Step::Index(_) => None,
    });
    key.is_some_and(|key| {
        ["prompt", "text", "concept", "description", "script"]
            .iter()
            .any(|word| key.contains(word))
    })
}
