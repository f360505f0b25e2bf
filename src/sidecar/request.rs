//! From a sidecar, its defaults and a dropped medium to a validated request. Pure: nothing here reads a disk.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::catalogue::{self, Catalogue, Endpoint, Model, On, SidecarKey, nearest};
use crate::diagnostic::Diagnostic;
use crate::files::RelPath;
use crate::json::{Step, get_field};
use crate::media::Kind;
use crate::sidecar::endpoint::{Rules, Subject, Unsettled, resolve};
use crate::sidecar::layers::{Layer, Merged};
use crate::sidecar::local_path::{is_same, is_shared, resolve_local_path};
use crate::sidecar::own_keys::{find_cut_short, read_own_keys};

/// The most problems of a kind that are listed one by one: each place costs one more reading of the text.
const MAX_LISTED: usize = 50;

/// A request that is valid as far as can be known without its files.
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
    /// Local files that the body names.
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
    /// Where in the body it is.
    pub slot: Vec<Step>,
    /// The file, below the inbox.
    pub file: RelPath,
    /// The kinds that the API takes there.
    pub kinds: Vec<Kind>,
    /// Whether its name or one of its folders begins with `_`, so that it stays where it is.
    pub shared: bool,
}

/// What a sidecar or a lone medium leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A request.
    Ready(Box<Draft>),
    /// A medium is missing that may still come.
    NeedsMedia(String),
    /// It is wrong, with every problem.
    Wrong(Vec<Diagnostic>),
}

/// Makes the request, or says what is missing or wrong.
pub fn plan(rules: Rules<'_>, merged: &Merged, subject: Subject<'_>) -> Outcome {
    let mut problems = find_cut_short(merged);
    let own = read_own_keys(merged, &mut problems);
    let (target, model) = match resolve(rules, merged, subject) {
        Ok(found) => found,
        Err(Unsettled::NeedsMedia(why)) if problems.is_empty() => return Outcome::NeedsMedia(why),
        Err(Unsettled::NeedsMedia(_)) => return Outcome::Wrong(problems),
        Err(Unsettled::Wrong(problem)) => {
            problems.push(*problem);
            problems.extend(check_further(rules, merged, subject));
            return Outcome::Wrong(problems);
        }
    };
    let endpoint = target.endpoint;
    let mut body = fill(rules.catalogue, endpoint, &model, merged, &mut problems);
    let uses_main = match place_main(endpoint, &model, merged, subject, &mut body) {
        Ok(uses_main) => uses_main,
        Err(problem) => {
            problems.push(*problem);
            return Outcome::Wrong(problems);
        }
    };
    if subject.main.is_none()
        && let Some(field) = find_missing_media(&model, &body)
    {
        return if problems.is_empty() {
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
            Outcome::Wrong(problems)
        };
    }
    problems.extend(check_body(endpoint, &model, merged, &body));
    let wanted = collect_wanted(&model, merged, subject, &body, &mut problems);
    if !problems.is_empty() {
        return Outcome::Wrong(problems);
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
/// so that all problems are reported at once.
fn check_further(rules: Rules<'_>, merged: &Merged, subject: Subject<'_>) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let mut guess = merged.clone();
    let catalogue = rules.catalogue;
    let text = |key: &str| merged.get(key).and_then(Value::as_str);
    if let Some(name) = text("endpoint").filter(|name| catalogue.endpoint(name).is_none())
        && let Some(near) = catalogue.nearest_endpoint(name)
    {
        guess.replace("endpoint", near);
    }
    if let Some(name) = text("model").filter(|name| catalogue.endpoints_with_model(name).is_empty())
        && let Some(near) = catalogue.nearest_model(name)
    {
        guess.replace("model", near.to_owned());
    }
    match resolve(rules, &guess, subject) {
        Ok((target, model)) => {
            let endpoint = target.endpoint;
            let mut body = fill(rules.catalogue, endpoint, &model, &guess, &mut problems);
            match place_main(endpoint, &model, &guess, subject, &mut body) {
                Ok(_) => problems.extend(check_body(endpoint, &model, &guess, &body)),
                Err(problem) => problems.push(*problem),
            }
        }
        Err(_) => report_unknown(rules.catalogue, merged, &mut problems),
    }
    problems
}

/// All problems of a body, each at the place where it was written.
fn check_body(
    endpoint: &Endpoint,
    model: &Model,
    merged: &Merged,
    body: &Map<String, Value>,
) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for problem in catalogue::check(endpoint, model, body) {
        report(merged, &mut problems, || {
            let path = find_written_path(endpoint, merged, &problem.path);
            merged.locate(&path, problem.on, problem.diagnostic)
        });
    }
    problems
}

/// Adds a problem unless there are very many already; says so once where there begin to be too many.
fn report(merged: &Merged, problems: &mut Vec<Diagnostic>, problem: impl FnOnce() -> Diagnostic) {
    match problems.len().cmp(&MAX_LISTED) {
        Ordering::Less => problems.push(problem()),
        Ordering::Equal => problems.push(merged.problem(
            &[],
            On::Missing,
            "there are more problems than are listed",
            "fix those that are, then check again",
        )),
        Ordering::Greater => {}
    }
}

fn find_missing_media<'m>(model: &'m Model, body: &Map<String, Value>) -> Option<&'m str> {
    model
        .fields
        .iter()
        .find(|(name, field)| {
            field.required && field.shape.needs_media() && !body.contains_key(name.as_str())
        })
        .map(|(name, _)| name.as_str())
}

/// Fills the body from the merged keys. Defaults that this endpoint does not know are left out, since they are meant for
/// jobs of many endpoints; a key that no endpoint knows is a mistake wherever it is.
fn fill(
    catalogue: &Catalogue,
    endpoint: &Endpoint,
    model: &Model,
    merged: &Merged,
    problems: &mut Vec<Diagnostic>,
) -> Map<String, Value> {
    let mut body = Map::new();
    if endpoint.takes_model() {
        body.insert("model".to_owned(), Value::String(model.name.clone()));
    }
    for (key, value) in merged.iter() {
        if SidecarKey::is_known(key) || key == "model" {
            continue;
        }
        if model.fields.contains_key(key) || merged.in_sidecar(key) {
            // Unknown keys of the sidecar go in as well: the check names them, with the nearest known one.
            body.insert(key.clone(), value.clone());
        } else if !is_known_anywhere(catalogue, key) {
            report(merged, problems, || {
                describe_unknown_key(catalogue, merged, key)
            });
        }
    }
    if merged.in_sidecar("model") && !endpoint.takes_model() {
        problems.push(merged.problem(
            &[Step::Key("model".to_owned())],
            On::Key,
            format!("{} takes no `model`", endpoint.spelling()),
            "take it out",
        ));
    }
    if let Some(prompt) = merged.get("prompt") {
        let path = [Step::Key("prompt".to_owned())];
        match &endpoint.prompt {
            Some(field) if get_field(&body, field).is_some() => {
                // The stronger layer counts; both in one layer is a mistake.
                let top = field.split('.').next().unwrap_or(field);
                if merged.in_sidecar("prompt") && merged.in_sidecar(top) {
                    problems.push(merged.problem(
                        &path,
                        On::Key,
                        format!("`prompt` and `{field}` are the same field"),
                        "keep one of them",
                    ));
                } else if merged.in_sidecar("prompt")
                    && !catalogue::put_field(model, &mut body, field, prompt.clone())
                {
                    problems.push(merged.problem(
                        &path,
                        On::Key,
                        format!("`prompt` cannot be put into `{field}`"),
                        format!("take `prompt` or `{top}` out"),
                    ));
                }
            }
            Some(field) if catalogue::put_field(model, &mut body, field, prompt.clone()) => {}
            Some(_) | None if merged.in_sidecar("prompt") => {
                problems.push(describe_no_prompt(endpoint, model, merged, &path));
            }
            Some(_) | None => {}
        }
    }
    body
}

fn describe_no_prompt(
    endpoint: &Endpoint,
    model: &Model,
    merged: &Merged,
    path: &[Step],
) -> Diagnostic {
    merged.problem(
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
        "take it out",
    )
}

fn is_known_anywhere(catalogue: &Catalogue, key: &str) -> bool {
    SidecarKey::is_known(key)
        || catalogue.endpoints().any(|endpoint| {
            endpoint
                .models()
                .any(|model| model.fields.contains_key(key))
        })
}

fn describe_unknown_key(catalogue: &Catalogue, merged: &Merged, key: &str) -> Diagnostic {
    // Models share most of their fields.
    let fields: BTreeSet<&String> = catalogue
        .endpoints()
        .flat_map(|endpoint| endpoint.models().flat_map(|model| model.fields.keys()))
        .collect();
    let known = SidecarKey::names()
        .into_iter()
        .chain(fields.into_iter().map(String::as_str));
    let hint = nearest(key, known).map(|near| format!("did you mean `{near}`?"));
    merged.problem(
        &[Step::Key(key.to_owned())],
        On::Key,
        format!("unknown key `{key}`"),
        hint.unwrap_or_else(|| "no endpoint knows it; take it out".to_owned()),
    )
}

/// Reports keys that no endpoint knows, for when the endpoint is not known and so the full check cannot run.
fn report_unknown(catalogue: &Catalogue, merged: &Merged, problems: &mut Vec<Diagnostic>) {
    for (key, _) in merged.iter() {
        if !is_known_anywhere(catalogue, key) {
            report(merged, problems, || {
                describe_unknown_key(catalogue, merged, key)
            });
        }
    }
}

/// Puts the dropped medium where the endpoint takes it, unless the body names it already. Returns whether it is used.
fn place_main(
    endpoint: &Endpoint,
    model: &Model,
    merged: &Merged,
    subject: Subject<'_>,
    body: &mut Map<String, Value>,
) -> Result<bool, Box<Diagnostic>> {
    let Some((main, kind)) = subject.main else {
        return Ok(false);
    };
    let named = catalogue::find_media_slots(model, body).iter().any(|slot| {
        let folder = find_layer(endpoint, merged, &slot.path).map(|layer| &layer.folder);
        matches!(resolve_local_path(&slot.uri, folder.unwrap_or(&main.parent())), Ok(Some(file)) if is_same(&file, main))
    });
    if named {
        return Ok(true);
    }
    let name = main.name().to_string_lossy();
    let Some(field) = model.main_media(kind) else {
        if !subject.exact && merged.strongest().is_some() && !model.needs_media() {
            return Ok(false);
        }
        return Err(Box::new(merged.problem(
            &[],
            On::Missing,
            format!(
                "{} takes no {kind}, but {name} was dropped with it",
                endpoint.spelling()
            ),
            format!(
                "write an `endpoint` that takes {kind}, and one of its models, or drop another file"
            ),
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
        // The dropped file replaces what only the defaults name.
        (Some(_), Some(value)) if !merged.in_sidecar(top) => Some(value),
        (_, _) => None,
    };
    if let Some(value) = placed
        && catalogue::put_field(model, body, field, value)
    {
        return Ok(true);
    }
    Err(Box::new(merged.problem(
        &[Step::Key(top.to_owned())],
        On::Value,
        format!("`{field}` is written here, and {name} was dropped for it, too"),
        format!("take `{field}` out, write {name} there, or drop {name} elsewhere"),
    )))
}

/// The layer that the value at a path of the body came from.
fn find_layer<'a>(endpoint: &Endpoint, merged: &'a Merged, path: &[Step]) -> Option<&'a Layer> {
    match find_written_path(endpoint, merged, path).first() {
        Some(Step::Key(key)) => merged.origin(key),
        Some(Step::Index(_)) | None => None,
    }
}

/// A path in the body as people wrote it: the prompt's field may be written as `prompt`.
fn find_written_path(endpoint: &Endpoint, merged: &Merged, path: &[Step]) -> Vec<Step> {
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
fn collect_wanted(
    model: &Model,
    merged: &Merged,
    subject: Subject<'_>,
    body: &Map<String, Value>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<Wanted> {
    let home = subject
        .main
        .map(|(main, _)| main.parent())
        .or_else(|| merged.strongest().map(|layer| layer.folder.clone()))
        .unwrap_or_default();
    let mut wanted = Vec::new();
    for slot in catalogue::find_media_slots(model, body) {
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
            None => resolve_local_path(&slot.uri, folder.unwrap_or(&home)),
        };
        match found {
            Ok(None) => {}
            Ok(Some(file)) => wanted.push(Wanted {
                shared: is_shared(&file),
                slot: slot.path,
                file,
                kinds: slot.kinds,
            }),
            Err(wrong) => report(merged, problems, || {
                merged.locate(&slot.path, On::Value, wrong)
            }),
        }
    }
    wanted
}
