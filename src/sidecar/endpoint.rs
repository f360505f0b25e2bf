//! Which endpoint and model a sidecar means. What it does not write, the media's kind or the model settles.

use serde_json::Value;

use crate::catalogue::{Catalogue, Endpoint, EndpointRef, Model, On};
use crate::json::Step;
use crate::media::Kind;
use crate::sidecar::layers::{Finding, Merged};
use crate::sidecar::request::{Rules, Subject};

/// Why an endpoint and a model could not be settled.
pub(crate) enum Unsettled {
    /// A medium is missing that may still come.
    NeedsMedia(String),
    /// It cannot be settled.
    Wrong(Box<Finding>),
}

/// The endpoint and the model of a request.
pub(crate) fn resolve<'c>(
    rules: Rules<'c>,
    merged: &Merged,
    subject: Subject<'_>,
) -> Result<(EndpointRef<'c>, Model), Unsettled> {
    let wrong = |key: &str, on: On, message: String, hint: Option<String>| {
        let path = [Step::Key(key.to_owned())];
        Unsettled::Wrong(Box::new(merged.finding(&path, on, message, hint)))
    };
    let text = |key: &str| match merged.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(other) => Err(wrong(
            key,
            On::Value,
            format!("`{key}` is {other}, not a name"),
            Some("write the name as text".to_owned()),
        )),
    };
    let model_name = text("model")?;
    let target = match text("endpoint")? {
        Some(name) => rules.catalogue.endpoint(name).ok_or_else(|| {
            let known: Vec<String> = rules
                .catalogue
                .endpoints()
                .map(Endpoint::spelling)
                .collect();
            let hint = match rules.catalogue.nearest_endpoint(name) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are: {}", known.join(", ")),
            };
            wrong(
                "endpoint",
                On::Value,
                format!("there is no endpoint `{name}`"),
                Some(hint),
            )
        })?,
        None => {
            let name =
                implied_endpoint(rules, merged, subject, model_name).map_err(|unsettled| {
                    match unsettled {
                        Implied::NeedsMedia(why) => Unsettled::NeedsMedia(why),
                        Implied::Wrong(key, message, hint) => wrong(key, On::Value, message, hint),
                    }
                })?;
            rules.catalogue.endpoint(&name).ok_or_else(|| {
                wrong(
                    "endpoint",
                    On::Missing,
                    format!("there is no endpoint `{name}`"),
                    None,
                )
            })?
        }
    };
    let endpoint = target.endpoint;
    let model = if endpoint.takes_model() {
        match model_name {
            Some(name) => match endpoint.model(name) {
                Some(model) => model.clone(),
                None if rules.allow_unknown_models => endpoint.permissive_model(name),
                None => {
                    let known: Vec<&str> = endpoint.model_names().collect();
                    let near = endpoint
                        .nearest_model(name)
                        .map(|near| format!("did you mean `{near}`? "))
                        .unwrap_or_default();
                    return Err(wrong(
                        "model",
                        On::Value,
                        format!("{} has no model `{name}`", target.name),
                        Some(format!("{near}its models are: {}", known.join(", "))),
                    ));
                }
            },
            None => {
                let mut current = endpoint.models().filter(|model| model.dropped.is_none());
                match (current.next(), current.next()) {
                    (Some(only), None) => only.clone(),
                    _ => {
                        let known: Vec<&str> = endpoint.model_names().collect();
                        return Err(wrong(
                            "model",
                            On::Missing,
                            "`model` is missing".to_owned(),
                            Some(format!("{} has: {}", target.name, known.join(", "))),
                        ));
                    }
                }
            }
        }
    } else {
        endpoint
            .model("")
            .cloned()
            .unwrap_or_else(|| endpoint.permissive_model(""))
    };
    Ok((target, model))
}

enum Implied {
    NeedsMedia(String),
    Wrong(&'static str, String, Option<String>),
}

/// Which endpoint is meant where none is written: the media's kind or the model settles it.
fn implied_endpoint(
    rules: Rules<'_>,
    merged: &Merged,
    subject: Subject<'_>,
    model: Option<&str>,
) -> Result<String, Implied> {
    let usual = subject.main.and_then(|(_, kind)| match kind {
        Kind::Image => Some("image_to_video"),
        Kind::Video => Some("video_to_video"),
        Kind::Audio => None,
    });
    let Some(model) = model else {
        return match (subject.main, usual) {
            (Some(_), Some(name)) => Ok(name.to_owned()),
            (Some((_, kind)), None) => Err(Implied::Wrong(
                "endpoint",
                format!("{kind} needs an `endpoint`: several could be meant"),
                Some(format!(
                    "write one of: {}",
                    takers(rules.catalogue, kind).join(", ")
                )),
            )),
            (None, _) => Err(Implied::NeedsMedia(
                "for media (or write `endpoint` or `model` if none is to come)".to_owned(),
            )),
        };
    };
    let candidates = rules.catalogue.endpoints_with_model(model);
    if candidates.is_empty() {
        if let (true, Some(name)) = (rules.allow_unknown_models, usual) {
            return Ok(name.to_owned());
        }
        return Err(Implied::Wrong(
            "model",
            format!("there is no model `{model}`"),
            rules
                .catalogue
                .nearest_model(model)
                .map(|near| format!("did you mean `{near}`?"))
                .or_else(|| {
                    Some("see Runway's list of models; `runway.allow_unknown_models: true` with an `endpoint` lets it through".to_owned())
                }),
        ));
    }
    let names = |endpoints: &[&Endpoint]| {
        endpoints
            .iter()
            .map(|endpoint| endpoint.spelling())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match subject.main {
        Some((_, kind)) => {
            let fits: Vec<&Endpoint> = candidates
                .iter()
                .copied()
                .filter(|endpoint| {
                    endpoint
                        .model(model)
                        .is_some_and(|model| model.main_media(kind).is_some())
                })
                .collect();
            if let Some(usual) = usual.filter(|usual| fits.iter().any(|e| e.name == *usual)) {
                return Ok(usual.to_owned());
            }
            match fits.as_slice() {
                [only] => Ok(only.name.clone()),
                [] if !subject.exact && candidates.len() == 1 => Ok(names(&candidates)),
                [] => Err(Implied::Wrong(
                    "model",
                    format!("{model} takes no {kind}"),
                    Some(match usual {
                        Some(usual) => format!(
                            "{usual} has: {}",
                            rules
                                .catalogue
                                .endpoint(usual)
                                .map(|e| e.endpoint.model_names().collect::<Vec<_>>().join(", "))
                                .unwrap_or_default()
                        ),
                        None => format!(
                            "these take {kind}: {}",
                            takers(rules.catalogue, kind).join(", ")
                        ),
                    }),
                )),
                several => Err(Implied::Wrong(
                    "endpoint",
                    format!("{model} could be meant for several endpoints"),
                    Some(format!("write `endpoint`, one of: {}", names(several))),
                )),
            }
        }
        None => {
            let (needing, ready): (Vec<&Endpoint>, Vec<&Endpoint>) =
                candidates.iter().copied().partition(|endpoint| {
                    endpoint
                        .model(model)
                        .is_some_and(|model| still_needs_media(model, merged))
                });
            match (ready.as_slice(), needing.is_empty()) {
                ([only], true) => Ok(only.name.clone()),
                // The same model also works with media, which may still be on its way.
                ([only], false) if subject.waited && !subject.exact => Ok(only.name.clone()),
                ([only], false) => Err(Implied::NeedsMedia(format!(
                    "for media for {}, or for the wait to end: then it becomes {} (`endpoint` settles it at once)",
                    names(&needing),
                    only.spelling()
                ))),
                ([], _) => Err(Implied::NeedsMedia(format!(
                    "for media: {} needs it",
                    names(&needing)
                ))),
                (several, _) => {
                    // With media named in the sidecar, the endpoint that takes them is meant.
                    let naming: Vec<&Endpoint> = several
                        .iter()
                        .copied()
                        .filter(|e| e.model(model).is_some_and(Model::needs_media))
                        .collect();
                    match naming.as_slice() {
                        [only] => Ok(only.name.clone()),
                        _ => Err(Implied::Wrong(
                            "endpoint",
                            format!("{model} could be meant for several endpoints"),
                            Some(format!("write `endpoint`, one of: {}", names(several))),
                        )),
                    }
                }
            }
        }
    }
}

/// The endpoints that take a dropped file of this kind.
fn takers(catalogue: &Catalogue, kind: Kind) -> Vec<String> {
    catalogue
        .endpoints()
        .filter(|endpoint| endpoint.main_media(kind).is_some())
        .map(Endpoint::spelling)
        .collect()
}

/// Whether a required medium is not written anywhere.
fn still_needs_media(model: &Model, merged: &Merged) -> bool {
    model.fields.iter().any(|(name, field)| {
        field.required && field.shape.needs_media() && merged.get(name).is_none()
    })
}
