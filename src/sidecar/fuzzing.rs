//! What holds for any sidecar and any defaults next to it. See [`crate::fuzzing`].

use std::path::{Component, Path};
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::catalogue::{Catalogue, find_media_slots};
use crate::diagnostic::Diagnostic;
use crate::files::RelPath;
use crate::fuzzing::has_place;
use crate::media::Kind;
use crate::sidecar::endpoint::{Rules, Subject};
use crate::sidecar::layers::{Layer, Merged};
use crate::sidecar::request::{Draft, Outcome, plan};
use crate::sidecar::text::{Parsed, parse_sidecar};
use crate::yaml::to_yaml;

/// On a line of its own it ends the defaults; the sidecar follows. Without it everything is the sidecar.
const BETWEEN: &[u8] = b"\n%%%\n";
const SIDECAR: &str = "shoes/red.yaml";
const DEFAULTS: &str = "shoes/_defaults.yaml";

/// A sidecar, next to the medium that its first line names as a comment: all problems have a place in the file, the same text means the same,
/// and what is accepted names nothing outside the inbox and means the same when it is written and read again.
///
/// # Panics
/// Where that does not hold.
pub fn sidecar(bytes: &[u8]) {
    let (defaults, sidecar) = split(bytes);
    let defaults = defaults.map(|bytes| (bytes, read(bytes, DEFAULTS)));
    let own = read(sidecar, SIDECAR);
    let (Some(own), true) = (
        own,
        defaults
            .as_ref()
            .is_none_or(|(_, defaults)| defaults.is_some()),
    ) else {
        return;
    };
    let below: Vec<Layer> = defaults
        .into_iter()
        .filter_map(|(_, defaults)| defaults)
        .collect();
    let merged = Merged::new(below, Some(own));
    let media = [
        ("# red.jpg", Kind::Image),
        ("# red.mp4", Kind::Video),
        ("# red.mp3", Kind::Audio),
    ];
    let beside = media
        .into_iter()
        .find(|(line, _)| sidecar.starts_with(line.as_bytes()))
        .map(|(line, kind)| {
            (
                rel(Path::new("shoes").join(line.trim_start_matches("# "))),
                kind,
            )
        });
    let subject = Subject {
        main: beside.as_ref().map(|(main, kind)| (main, *kind)),
        exact: beside
            .as_ref()
            .is_some_and(|(_, kind)| *kind == Kind::Video),
        waited: true,
    };
    let outcome = plan(rules(), &merged, subject);
    assert_eq!(
        outcome,
        plan(rules(), &merged, subject),
        "the same text has two meanings"
    );
    match outcome {
        Outcome::NeedsMedia(why) => assert!(!why.is_empty()),
        Outcome::Wrong(problems) => {
            assert!(!problems.is_empty(), "wrong without a problem");
            check(&problems, bytes, sidecar);
        }
        Outcome::Ready(draft) => {
            stays_below_the_inbox(&draft);
            means_the_same_when_written(&draft, subject);
        }
    }
}

fn split(bytes: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let at = bytes
        .windows(BETWEEN.len())
        .position(|window| window == BETWEEN);
    match at.and_then(|at| bytes.split_at_checked(at)) {
        Some((defaults, rest)) => (
            Some(defaults),
            rest.get(BETWEEN.len()..).unwrap_or_default(),
        ),
        None => (None, bytes),
    }
}

fn rules() -> Rules<'static> {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    Rules {
        catalogue: CATALOGUE.get_or_init(|| match Catalogue::built_in() {
            Ok(catalogue) => catalogue,
            Err(error) => panic!("{error}"),
        }),
        allow_unknown_models: false,
    }
}

fn rel(path: impl AsRef<Path>) -> RelPath {
    match RelPath::new(path.as_ref()) {
        Some(path) => path,
        None => panic!("no relative path"),
    }
}

/// Reads a text twice; nothing where it is wrong.
fn read(bytes: &[u8], label: &str) -> Option<Layer> {
    let first = parse_sidecar(bytes, label);
    let layer = |values, document| Layer {
        label: label.to_owned(),
        folder: rel("shoes"),
        values,
        document,
    };
    match (first, parse_sidecar(bytes, label)) {
        (
            Parsed::Mapping { document, values },
            Parsed::Mapping {
                document: again, ..
            },
        ) => {
            assert_eq!(document, again, "the same text has two meanings");
            Some(layer(values, Some((document, Vec::new()))))
        }
        (Parsed::Empty, Parsed::Empty) => Some(layer(Map::new(), None)),
        (Parsed::Wrong(problems), Parsed::Wrong(again)) => {
            assert_eq!(problems, again, "the same text has two meanings");
            assert!(!problems.is_empty(), "wrong without a problem");
            for problem in &problems {
                let Some(place) = problem.place else {
                    panic!("a problem of the text without a place: {problem}");
                };
                assert!(has_place(bytes, place), "no such place: {problem}");
                assert!(!problem.hint.is_empty());
            }
            None
        }
        (one, other) => panic!("the same text is {one:?} and {other:?}"),
    }
}

/// A problem of what the keys mean has a place where something is written that is wrong; what is missing has none.
fn check(problems: &[Diagnostic], all: &[u8], sidecar: &[u8]) {
    for problem in problems {
        assert!(!problem.message.is_empty());
        let text = match problem.source.as_str() {
            SIDECAR => sidecar,
            DEFAULTS => split(all).0.unwrap_or_default(),
            other => panic!("a problem of another file: {other}"),
        };
        if let Some(place) = problem.place {
            assert!(has_place(text, place), "no such place: {problem}");
        }
    }
}

fn stays_below_the_inbox(draft: &Draft) {
    for wanted in &draft.wanted {
        let path = wanted.file.as_path();
        assert!(
            !wanted.file.is_root()
                && path
                    .components()
                    .all(|part| matches!(part, Component::Normal(_)))
                && !path.as_os_str().as_encoded_bytes().contains(&0),
            "{path:?} is not below the inbox"
        );
    }
    let Some(endpoint) = rules().catalogue.endpoint(&draft.endpoint) else {
        panic!("accepted for an endpoint that is not there");
    };
    let endpoint = endpoint.endpoint;
    let model = endpoint.model(&draft.model).cloned();
    let model = model.unwrap_or_else(|| endpoint.permissive_model(&draft.model));
    for slot in find_media_slots(&model, &draft.body) {
        let lower = slot.uri.to_ascii_lowercase();
        let fetched = ["https://", "runway://", "data:"]
            .iter()
            .any(|scheme| lower.starts_with(scheme));
        assert!(
            fetched || draft.wanted.iter().any(|wanted| wanted.slot == slot.path),
            "no file is wanted for {}",
            slot.uri
        );
    }
}

/// Written out as one sidecar without defaults, as the record of an output does it.
fn means_the_same_when_written(draft: &Draft, subject: Subject<'_>) {
    let mut whole = Map::new();
    whole.insert("endpoint".to_owned(), json!(draft.endpoint));
    whole.extend(draft.body.clone());
    whole.insert("priority".to_owned(), json!(draft.priority));
    if let Some(credits) = draft.max_credits {
        whole.insert("max_credits".to_owned(), json!(credits));
    }
    if let Some(output) = &draft.output {
        whole.insert("output".to_owned(), json!(output));
    }
    let whole = Value::Object(whole);
    let text = match to_yaml(&whole) {
        Ok(text) => text,
        Err(error) => panic!("{error}: {whole}"),
    };
    let Parsed::Mapping { document, values } = parse_sidecar(text.as_bytes(), SIDECAR) else {
        panic!("what was written cannot be read: {text}");
    };
    assert_eq!(
        Value::Object(values.clone()),
        whole,
        "reads differently: {text}"
    );
    let layer = Layer {
        label: SIDECAR.to_owned(),
        folder: rel("shoes"),
        values,
        document: Some((document, Vec::new())),
    };
    match plan(rules(), &Merged::new(Vec::new(), Some(layer)), subject) {
        Outcome::Ready(again) => assert_eq!(*again, *draft, "means something else: {text}"),
        other => panic!("what was accepted is not: {other:?}: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each place costs one more reading of the text, so that a sidecar of nothing but mistakes kept its inbox busy.
    #[test]
    fn a_sidecar_with_thousands_of_mistakes_is_answered_with_the_first_of_them() {
        let mut text = "endpoint: text_to_video\nmodel: veo3.1\nprompt: x\n".to_owned();
        for number in 0..3000 {
            text.push_str(&format!("key{number}: 1\n"));
        }
        let Some(layer) = read(text.as_bytes(), SIDECAR) else {
            panic!("not read");
        };
        let subject = Subject {
            main: None,
            exact: false,
            waited: true,
        };
        let Outcome::Wrong(problems) =
            plan(rules(), &Merged::new(Vec::new(), Some(layer)), subject)
        else {
            panic!("not wrong");
        };
        assert!(problems.len() < 110, "{}", problems.len());
        assert!(
            problems
                .iter()
                .any(|problem| problem.message.contains("more problems"))
        );
    }
}
