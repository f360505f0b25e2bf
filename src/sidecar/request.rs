//! From a sidecar, its defaults and a dropped medium to a validated request. Pure: nothing here looks at a disk.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::catalogue::{self, Catalogue, Endpoint, Model, On, SIDECAR_KEYS, nearest};
use crate::files::RelPath;
use crate::json::{Step, get_field};
use crate::media::Kind;
use crate::sidecar::endpoint::{Unsettled, resolve};
use crate::sidecar::layers::{Finding, Layer, Merged};
use crate::sidecar::local_path::{is_same, is_shared, local_file};

/// Keys that are set aside for what does not exist yet.
const RESERVED: [&str; 2] = ["count", "then"];

/// The most problems of a kind that are listed one by one: each place costs one more reading of the text.
const MAX_LISTED: usize = 50;

/// What a request is for.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The dropped medium: its path below the inbox and its kind.
    pub main: Option<(&'a RelPath, Kind)>,
    /// Whether the sidecar's name holds a medium's whole name (`cat.jpg.yaml`), so that it is for that one.
    pub exact: bool,
    /// Whether enough time has passed for the other half to have come.
    pub waited: bool,
}

/// A request that is valid as far as it can be told without looking at its files.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The endpoint's name.
    pub endpoint: String,
    /// The model's name; empty where the endpoint has none.
    pub model: String,
    /// Where the request goes.
    pub path: String,
    /// Where its task is followed.
    pub poll: String,
    /// The body, with media as people wrote them.
    pub body: Map<String, Value>,
    /// Local files that stand in the body.
    pub wanted: Vec<Wanted>,
    /// Whether the dropped medium is part of the request.
    pub uses_main: bool,
    /// `priority`.
    pub priority: i64,
    /// `max_credits`.
    pub max_credits: Option<f64>,
    /// `output`.
    pub output: Option<String>,
    /// What people should know.
    pub warnings: Vec<String>,
}

/// A local file that a request needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Where in the body it stands.
    pub slot: Vec<Step>,
    /// The file, below the inbox.
    pub file: RelPath,
    /// The kinds that the API takes there.
    pub kinds: Vec<Kind>,
    /// Whether its name or one of its folders begins with `_`, so that it stays where it is.
    pub shared: bool,
}

/// What became of a sidecar or a lone medium.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A request.
    Ready(Box<Draft>),
    /// A medium is missing that may still come.
    NeedsMedia(String),
    /// It is wrong, with every problem.
    Wrong(Vec<Finding>),
}

/// What the planner needs to know besides the files.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Endpoints, models and parameters.
    pub catalogue: &'a Catalogue,
    /// Whether models that the catalogue does not know are let through.
    pub allow_unknown_models: bool,
}

/// Makes the request, or says what is missing or wrong.
pub fn plan(rules: Rules<'_>, merged: &Merged, subject: Subject<'_>) -> Outcome {
    let mut findings = cut_short(merged);
    let own = own_keys(merged, &mut findings);
    let (target, model) = match resolve(rules, merged, subject) {
        Ok(found) => found,
        Err(Unsettled::NeedsMedia(why)) if findings.is_empty() => return Outcome::NeedsMedia(why),
        Err(Unsettled::NeedsMedia(_)) => return Outcome::Wrong(findings),
        Err(Unsettled::Wrong(finding)) => {
            findings.push(*finding);
            findings.extend(further(rules, merged, subject));
            return Outcome::Wrong(findings);
        }
    };
    let endpoint = target.endpoint;
    let mut body = fill(rules.catalogue, endpoint, &model, merged, &mut findings);
    let uses_main = match place_main(endpoint, &model, merged, subject, &mut body) {
        Ok(uses_main) => uses_main,
        Err(finding) => {
            findings.push(*finding);
            return Outcome::Wrong(findings);
        }
    };
    if subject.main.is_none()
        && let Some(field) = missing_media(&model, &body)
    {
        return if findings.is_empty() {
            Outcome::NeedsMedia(format!(
                "for media: {} needs {field}{}",
                target.name,
                if subject.exact {
                    ", the file that the sidecar is named after"
                } else {
                    ""
                }
            ))
        } else {
            Outcome::Wrong(findings)
        };
    }
    findings.extend(checked(endpoint, &model, merged, &body));
    let wanted = wanted(&model, merged, subject, &body, &mut findings);
    if !findings.is_empty() {
        return Outcome::Wrong(findings);
    }
    let mut warnings = Vec::new();
    if let Some(dropped) = &model.dropped {
        warnings.push(format!(
            "{} is no longer listed by Runway's SDK (last in {}): it may be refused; its successor is {}",
            model.name, dropped.last_sdk, dropped.successor
        ));
    }
    Outcome::Ready(Box::new(Draft {
        endpoint: target.name,
        model: model.name.clone(),
        path: target.path,
        poll: endpoint.poll.clone(),
        body,
        wanted,
        uses_main,
        priority: own.priority,
        max_credits: own.max_credits,
        output: own.output,
        warnings,
    }))
}

/// Whether a request's body, saved as a sidecar, leads to its own endpoint without naming it.
pub fn settles_endpoint(catalogue: &Catalogue, plan_of: &crate::job::Plan) -> bool {
    let layer = Layer {
        label: String::new(),
        folder: RelPath::default(),
        values: plan_of.body.clone(),
        document: None,
    };
    let rules = Rules {
        catalogue,
        allow_unknown_models: false,
    };
    let subject = Subject {
        main: None,
        exact: false,
        waited: true,
    };
    match plan(rules, &Merged::new(Vec::new(), Some(layer)), subject) {
        Outcome::Ready(draft) => draft.endpoint == plan_of.endpoint,
        Outcome::NeedsMedia(_) | Outcome::Wrong(_) => false,
    }
}

/// What else is wrong where the endpoint or the model is: the rest is checked as if the nearest known name had been written,
/// so that people are told everything at once.
fn further(rules: Rules<'_>, merged: &Merged, subject: Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut guess = merged.clone();
    if let Some(near) = nearest_name(merged, "endpoint", |name| {
        rules
            .catalogue
            .endpoint(name)
            .is_none()
            .then(|| rules.catalogue.nearest_endpoint(name))
    }) {
        guess.replace("endpoint", near);
    }
    if let Some(near) = nearest_name(merged, "model", |name| {
        rules
            .catalogue
            .endpoints_with_model(name)
            .is_empty()
            .then(|| rules.catalogue.nearest_model(name).map(str::to_owned))
    }) {
        guess.replace("model", near);
    }
    match resolve(rules, &guess, subject) {
        Ok((target, model)) => {
            let endpoint = target.endpoint;
            let mut body = fill(rules.catalogue, endpoint, &model, &guess, &mut findings);
            match place_main(endpoint, &model, &guess, subject, &mut body) {
                Ok(_) => findings.extend(checked(endpoint, &model, &guess, &body)),
                Err(finding) => findings.push(*finding),
            }
        }
        Err(_) => unknown_everywhere(rules.catalogue, merged, &mut findings),
    }
    findings
}

/// The known name that a key's value probably meant, where `look` finds that it is unknown.
fn nearest_name(
    merged: &Merged,
    key: &str,
    look: impl Fn(&str) -> Option<Option<String>>,
) -> Option<String> {
    look(merged.get(key)?.as_str()?)?
}

/// All problems of a body, each where it was written.
fn checked(
    endpoint: &Endpoint,
    model: &Model,
    merged: &Merged,
    body: &Map<String, Value>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for problem in catalogue::check(endpoint, model, body) {
        note(merged, &mut findings, || {
            let path = as_written(endpoint, merged, &problem.path);
            merged.finding(&path, problem.on, problem.message, problem.hint)
        });
    }
    findings
}

/// Adds a finding unless there are very many already; where they begin to be too many, says so once.
fn note(merged: &Merged, findings: &mut Vec<Finding>, finding: impl FnOnce() -> Finding) {
    match findings.len().cmp(&MAX_LISTED) {
        Ordering::Less => findings.push(finding()),
        Ordering::Equal => findings.push(merged.finding(
            &[],
            On::Missing,
            "there are more problems than are listed".to_owned(),
            Some("mend those that are, then look again".to_owned()),
        )),
        Ordering::Greater => {}
    }
}

/// The sidecar's own keys.
#[derive(Default)]
struct Own {
    priority: i64,
    max_credits: Option<f64>,
    output: Option<String>,
}

fn own_keys(merged: &Merged, findings: &mut Vec<Finding>) -> Own {
    let mut own = Own::default();
    let mut wrong = |key: &str, message: String, hint: &str| {
        let path = [Step::Key(key.to_owned())];
        findings.push(merged.finding(&path, On::Value, message, Some(hint.to_owned())));
    };
    for key in RESERVED {
        if merged.get(key).is_some() {
            wrong(
                key,
                format!("`{key}` is reserved for a later version"),
                "take it out; one sidecar is one request for now",
            );
        }
    }
    match merged.get("priority") {
        None => {}
        Some(value) => match value.as_i64() {
            Some(priority) => own.priority = priority,
            None => wrong(
                "priority",
                format!("`priority` is {value}, not a whole number"),
                "write a whole number; larger goes first, 0 is the default",
            ),
        },
    }
    match merged.get("max_credits") {
        None => {}
        Some(value) => match value.as_f64().filter(|credits| *credits >= 0.0) {
            Some(credits) => own.max_credits = Some(credits),
            None => wrong(
                "max_credits",
                format!("`max_credits` is {value}, not a number of credits"),
                "write a number of 0 or more",
            ),
        },
    }
    match merged.get("output") {
        None => {}
        Some(value) => match value.as_str() {
            Some(name) if usable_name(name) => own.output = Some(name.to_owned()),
            _ => wrong(
                "output",
                format!("`output` is {value}, which cannot be a file's name"),
                "write a name without extension, slashes or line breaks, not beginning with a dot",
            ),
        },
    }
    own
}

/// Whether a name can be given to an output.
fn usable_name(name: &str) -> bool {
    !name.trim().is_empty()
        && name.len() <= 200
        && !name.starts_with('.')
        && !name
            .chars()
            .any(|c| c == '/' || c == '\0' || c.is_control())
}

/// Prompts that YAML cut short at a `#`, without a word.
fn cut_short(merged: &Merged) -> Vec<Finding> {
    let mut findings = Vec::new();
    for layer in merged.layers() {
        let Some((document, _)) = &layer.document else {
            continue;
        };
        for cut in document.cut_short(&is_prose) {
            findings.push(Finding {
                label: layer.label.clone(),
                place: Some(cut.place),
                message: format!(
                    "YAML reads `{}` as a comment, so it would be left out without a word",
                    cut.lost.trim()
                ),
                hint: Some("put the text in quotes, or write it below `|`".to_owned()),
            });
        }
    }
    findings
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

fn missing_media<'m>(model: &'m Model, body: &Map<String, Value>) -> Option<&'m str> {
    model
        .fields
        .iter()
        .find(|(name, field)| {
            field.required && field.shape.needs_media() && !body.contains_key(name.as_str())
        })
        .map(|(name, _)| name.as_str())
}

/// Fills the body from the merged keys. Defaults that this endpoint does not know are left out, since they are meant for
/// jobs of many endpoints; a key that nobody knows is a mistake wherever it stands.
fn fill(
    catalogue: &Catalogue,
    endpoint: &Endpoint,
    model: &Model,
    merged: &Merged,
    findings: &mut Vec<Finding>,
) -> Map<String, Value> {
    let mut body = Map::new();
    if endpoint.takes_model() {
        body.insert("model".to_owned(), Value::String(model.name.clone()));
    }
    for (key, value) in merged.iter() {
        if SIDECAR_KEYS.contains(&key.as_str())
            || RESERVED.contains(&key.as_str())
            || key == "model"
        {
            continue;
        }
        let known_here = model.fields.contains_key(key);
        if known_here || (merged.in_sidecar(key) && key != "model") {
            // Unknown keys of the sidecar go in as well: the check names them, with the nearest known one.
            body.insert(key.clone(), value.clone());
        } else if !known_anywhere(catalogue, key) {
            note(merged, findings, || unknown_key(catalogue, merged, key));
        }
    }
    if merged.in_sidecar("model") && !endpoint.takes_model() {
        findings.push(merged.finding(
            &[Step::Key("model".to_owned())],
            On::Key,
            format!("{} takes no `model`", endpoint.spelling()),
            Some("take it out".to_owned()),
        ));
    }
    if let Some(prompt) = merged.get("prompt") {
        let path = [Step::Key("prompt".to_owned())];
        match &endpoint.prompt {
            Some(field) if get_field(&body, field).is_some() => {
                // The stronger layer's word counts; both in one layer is a mistake.
                let top = field.split('.').next().unwrap_or(field);
                if merged.in_sidecar("prompt") && merged.in_sidecar(top) {
                    findings.push(merged.finding(
                        &path,
                        On::Key,
                        format!("`prompt` and `{field}` are the same field"),
                        Some("keep one of them".to_owned()),
                    ));
                } else if merged.in_sidecar("prompt")
                    && !catalogue::put_field(model, &mut body, field, prompt.clone())
                {
                    findings.push(merged.finding(
                        &path,
                        On::Key,
                        format!("`prompt` cannot be put into `{field}`"),
                        None,
                    ));
                }
            }
            Some(field) if catalogue::put_field(model, &mut body, field, prompt.clone()) => {}
            Some(_) | None if merged.in_sidecar("prompt") => {
                findings.push(no_prompt(endpoint, model, merged, &path));
            }
            Some(_) | None => {}
        }
    }
    body
}

fn no_prompt(endpoint: &Endpoint, model: &Model, merged: &Merged, path: &[Step]) -> Finding {
    merged.finding(
        path,
        On::Key,
        format!(
            "{} takes no prompt{}",
            endpoint.spelling(),
            if model.name.is_empty() {
                String::new()
            } else {
                format!(" with {}", model.name)
            }
        ),
        Some("take it out".to_owned()),
    )
}

fn known_anywhere(catalogue: &Catalogue, key: &str) -> bool {
    SIDECAR_KEYS.contains(&key)
        || RESERVED.contains(&key)
        || catalogue.endpoints().any(|endpoint| {
            endpoint
                .models()
                .any(|model| model.fields.contains_key(key))
        })
}

fn unknown_key(catalogue: &Catalogue, merged: &Merged, key: &str) -> Finding {
    // Models share most of their fields.
    let fields: BTreeSet<&String> = catalogue
        .endpoints()
        .flat_map(|endpoint| endpoint.models().flat_map(|model| model.fields.keys()))
        .collect();
    let known = SIDECAR_KEYS
        .iter()
        .copied()
        .chain(fields.into_iter().map(String::as_str));
    let hint = nearest(key, known).map(|near| format!("did you mean `{near}`?"));
    merged.finding(
        &[Step::Key(key.to_owned())],
        On::Key,
        format!("unknown key `{key}`"),
        hint.or_else(|| Some("no endpoint knows it; take it out".to_owned())),
    )
}

/// Keys that nobody knows, for when the endpoint could not be settled and so the full check could not run.
fn unknown_everywhere(catalogue: &Catalogue, merged: &Merged, findings: &mut Vec<Finding>) {
    for (key, _) in merged.iter() {
        if !known_anywhere(catalogue, key) {
            note(merged, findings, || unknown_key(catalogue, merged, key));
        }
    }
}

/// Puts the dropped medium where the endpoint takes it, unless the body names it already. Answers whether it is used.
fn place_main(
    endpoint: &Endpoint,
    model: &Model,
    merged: &Merged,
    subject: Subject<'_>,
    body: &mut Map<String, Value>,
) -> Result<bool, Box<Finding>> {
    let Some((main, kind)) = subject.main else {
        return Ok(false);
    };
    let named = catalogue::media_slots(model, body).iter().any(|slot| {
        let folder = slot_layer(endpoint, merged, &slot.path).map(|layer| &layer.folder);
        matches!(local_file(&slot.uri, folder.unwrap_or(&main.parent())), Ok(Some(file)) if is_same(&file, main))
    });
    if named {
        return Ok(true);
    }
    let name = main.name().to_string_lossy();
    let Some(field) = model.main_media(kind) else {
        if !subject.exact && merged.strongest().is_some() && !model.needs_media() {
            return Ok(false);
        }
        return Err(Box::new(merged.finding(
            &[],
            On::Missing,
            format!(
                "{} takes no {kind}, but {name} was dropped with it",
                endpoint.spelling()
            ),
            Some(format!(
                "these take {kind}: write `endpoint`, and a `model` of it, or drop another file"
            )),
        )));
    };
    let top = field.split('.').next().unwrap_or(field);
    let value = catalogue::place_media(model, field, kind, &name);
    let placed = match (get_field(body, field), value) {
        (None, Some(value)) => Some(value),
        // A list of references keeps what is there, in its places, and takes one more.
        (Some(Value::Array(there)), Some(Value::Array(new))) => {
            Some(Value::Array(there.iter().cloned().chain(new).collect()))
        }
        // What only the defaults name gives way to the file that was dropped.
        (Some(_), Some(value)) if !merged.in_sidecar(top) => Some(value),
        (_, _) => None,
    };
    if let Some(value) = placed
        && catalogue::put_field(model, body, field, value)
    {
        return Ok(true);
    }
    Err(Box::new(merged.finding(
        &[Step::Key(top.to_owned())],
        On::Value,
        format!("`{field}` is written here, and {name} was dropped for it, too"),
        Some(format!(
            "take `{field}` out, write {name} there, or drop {name} elsewhere"
        )),
    )))
}

/// The layer that the value at a path of the body came from.
fn slot_layer<'a>(endpoint: &Endpoint, merged: &'a Merged, path: &[Step]) -> Option<&'a Layer> {
    match as_written(endpoint, merged, path).first() {
        Some(Step::Key(key)) => merged.origin(key),
        Some(Step::Index(_)) | None => None,
    }
}

/// A path in the body as people wrote it: the prompt's field may stand as `prompt`.
fn as_written(endpoint: &Endpoint, merged: &Merged, path: &[Step]) -> Vec<Step> {
    let dotted: Vec<&str> = path
        .iter()
        .filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        })
        .collect();
    let is_prompt = endpoint.prompt.as_deref() == Some(dotted.join(".").as_str());
    let top = dotted.first().copied().unwrap_or_default();
    if is_prompt && merged.get("prompt").is_some() && !merged.in_sidecar(top) {
        vec![Step::Key("prompt".to_owned())]
    } else {
        path.to_vec()
    }
}

/// The local files that the body names.
fn wanted(
    model: &Model,
    merged: &Merged,
    subject: Subject<'_>,
    body: &Map<String, Value>,
    findings: &mut Vec<Finding>,
) -> Vec<Wanted> {
    let home = subject
        .main
        .map(|(main, _)| main.parent())
        .or_else(|| merged.strongest().map(|layer| layer.folder.clone()))
        .unwrap_or_default();
    let mut wanted = Vec::new();
    for slot in catalogue::media_slots(model, body) {
        let folder = match slot.path.first() {
            Some(Step::Key(key)) => merged.origin(key).map(|layer| &layer.folder),
            Some(Step::Index(_)) | None => None,
        };
        let is_main = |uri: &str| {
            subject
                .main
                .filter(|(main, _)| main.name().to_string_lossy() == uri)
                .map(|(main, _)| main.clone())
        };
        let found = match is_main(&slot.uri) {
            Some(main) => Ok(Some(main)),
            None => local_file(&slot.uri, folder.unwrap_or(&home)),
        };
        match found {
            Ok(None) => {}
            Ok(Some(file)) => wanted.push(Wanted {
                shared: is_shared(&file),
                slot: slot.path,
                file,
                kinds: slot.kinds,
            }),
            Err((message, hint)) => note(merged, findings, || {
                merged.finding(&slot.path, On::Value, message, Some(hint))
            }),
        }
    }
    wanted
}
