//! Which endpoint and model a sidecar means. What it does not say follows from the media's kind or from the model.

use serde_json::Value;

use crate::catalogue::{Catalogue, Endpoint, EndpointRef, Model, On};
use crate::diagnostic::Diagnostic;
use crate::files::RelPath;
use crate::json::Step;
use crate::media::Kind;
use crate::sidecar::layers::Merged;

/// What requests are checked against.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Endpoints, models and parameters.
    pub catalogue: &'a Catalogue,
    /// Whether models that the catalogue does not know are let through.
    pub allow_unknown_models: bool,
}

/// What a request is for.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The dropped medium: its path below the inbox and its kind.
    pub main: Option<(&'a RelPath, Kind)>,
    /// Whether the sidecar's name contains a medium's whole name (`cat.jpg.yaml`), so that it is for that one.
    pub exact: bool,
    /// Whether enough time has passed for the other half to have come.
    pub waited: bool,
}

/// Why the endpoint and the model are not known.
pub(crate) enum Unsettled {
    /// A medium is missing that may still come.
    NeedsMedia(String),
    /// They are wrong, or ambiguous.
    Wrong(Box<Diagnostic>),
}

/// Finds the endpoint and the model of a request.
pub(crate) fn resolve<'c>(
    rules: Rules<'c>,
    merged: &Merged,
    subject: Subject<'_>,
) -> Result<(EndpointRef<'c>, Model), Unsettled> {
    let search = Search {
        rules,
        merged,
        subject,
    };
    let model = search.text("model")?;
    let target = match search.text("endpoint")? {
        Some(name) => search.find_named(name)?,
        None => search.find_implied(model)?,
    };
    let model = search.find_model(&target, model)?;
    Ok((target, model))
}

struct Search<'a, 'c> {
    rules: Rules<'c>,
    merged: &'a Merged,
    subject: Subject<'a>,
}

impl<'a, 'c> Search<'a, 'c> {
    fn wrong(&self, key: &str, on: On, message: String, hint: String) -> Unsettled {
        let path = [Step::Key(key.to_owned())];
        Unsettled::Wrong(Box::new(self.merged.problem(&path, on, message, hint)))
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, Unsettled> {
        match self.merged.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(
                key,
                On::Value,
                format!("`{key}` is {other}, not a name"),
                "write the name as text".to_owned(),
            )),
        }
    }

    fn find_named(&self, name: &str) -> Result<EndpointRef<'c>, Unsettled> {
        let catalogue = self.rules.catalogue;
        catalogue.endpoint(name).ok_or_else(|| {
            let hint = match catalogue.nearest_endpoint(name) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are: {}", list(catalogue.endpoints())),
            };
            let message = format!("there is no endpoint `{name}`");
            self.wrong("endpoint", On::Value, message, hint)
        })
    }

    fn find_model(&self, target: &EndpointRef<'_>, name: Option<&str>) -> Result<Model, Unsettled> {
        let endpoint = target.endpoint;
        if !endpoint.takes_model() {
            let only = endpoint.model("").cloned();
            return Ok(only.unwrap_or_else(|| endpoint.permissive_model("")));
        }
        let known = || endpoint.model_names().collect::<Vec<_>>().join(", ");
        let Some(name) = name else {
            let mut current = endpoint.models().filter(|model| model.dropped.is_none());
            if let (Some(only), None) = (current.next(), current.next()) {
                return Ok(only.clone());
            }
            let hint = format!("{} has: {}", target.name, known());
            return Err(self.wrong("model", On::Missing, "`model` is missing".to_owned(), hint));
        };
        match endpoint.model(name) {
            Some(model) => Ok(model.clone()),
            None if self.rules.allow_unknown_models => Ok(endpoint.permissive_model(name)),
            None => {
                let near = endpoint
                    .nearest_model(name)
                    .map(|near| format!("did you mean `{near}`? "))
                    .unwrap_or_default();
                Err(self.wrong(
                    "model",
                    On::Value,
                    format!("{} has no model `{name}`", target.name),
                    format!("{near}its models are: {}", known()),
                ))
            }
        }
    }

    /// The endpoint where none is written.
    fn find_implied(&self, model: Option<&str>) -> Result<EndpointRef<'c>, Unsettled> {
        let name = match model {
            Some(model) => self.imply_by_model(model)?,
            None => self.imply_by_media()?,
        };
        let catalogue = self.rules.catalogue;
        catalogue.endpoint(&name).ok_or_else(|| {
            self.wrong(
                "endpoint",
                On::Missing,
                format!("there is no endpoint `{name}`"),
                format!("write `endpoint`, one of: {}", list(catalogue.endpoints())),
            )
        })
    }

    fn imply_by_media(&self) -> Result<String, Unsettled> {
        let Some((_, kind)) = self.subject.main else {
            return Err(Unsettled::NeedsMedia(
                "for media (or write `endpoint` or `model` if none is to come)".to_owned(),
            ));
        };
        usual_endpoint(kind).map(str::to_owned).ok_or_else(|| {
            self.wrong(
                "endpoint",
                On::Value,
                format!("{kind} needs an `endpoint`: several could be meant"),
                format!("write one of: {}", self.list_takers(kind)),
            )
        })
    }

    fn imply_by_model(&self, model: &str) -> Result<String, Unsettled> {
        let catalogue = self.rules.catalogue;
        let candidates = catalogue.endpoints_with_model(model);
        let kind = self.subject.main.map(|(_, kind)| kind);
        if candidates.is_empty() {
            let usual = kind.and_then(usual_endpoint);
            if let (true, Some(name)) = (self.rules.allow_unknown_models, usual) {
                return Ok(name.to_owned());
            }
            let hint = match catalogue.nearest_model(model) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "see Runway's list of models; `runway.allow_unknown_models: true` with an `endpoint` lets it through".to_owned(),
            };
            let message = format!("there is no model `{model}`");
            return Err(self.wrong("model", On::Value, message, hint));
        }
        match kind {
            Some(kind) => self.imply_with_media(model, &candidates, kind),
            None => self.imply_without_media(model, &candidates),
        }
    }

    /// The endpoint with this model that takes the dropped medium.
    fn imply_with_media(
        &self,
        model: &str,
        candidates: &[&Endpoint],
        kind: Kind,
    ) -> Result<String, Unsettled> {
        let takes = |endpoint: &&&Endpoint| {
            let model = endpoint.model(model);
            model.is_some_and(|model| model.main_media(kind).is_some())
        };
        let fits: Vec<&Endpoint> = candidates.iter().filter(takes).copied().collect();
        let usual = usual_endpoint(kind);
        if let Some(usual) = usual.filter(|usual| fits.iter().any(|e| e.name == *usual)) {
            return Ok(usual.to_owned());
        }
        match (fits.as_slice(), candidates) {
            ([only], _) => Ok(only.name.clone()),
            ([], [only]) if !self.subject.exact => Ok(only.spelling()),
            ([], _) => {
                let usual = usual.and_then(|usual| self.rules.catalogue.endpoint(usual));
                let hint = match usual {
                    Some(usual) => {
                        let models: Vec<&str> = usual.endpoint.model_names().collect();
                        format!("{} has: {}", usual.name, models.join(", "))
                    }
                    None => format!("these take {kind}: {}", self.list_takers(kind)),
                };
                let message = format!("{model} takes no {kind}");
                Err(self.wrong("model", On::Value, message, hint))
            }
            (several, _) => Err(self.several_fit(model, several)),
        }
    }

    /// The endpoint with this model that needs no medium, or whose medium the sidecar names.
    fn imply_without_media(
        &self,
        model: &str,
        candidates: &[&Endpoint],
    ) -> Result<String, Unsettled> {
        let has_model = |endpoint: &Endpoint, is: &dyn Fn(&Model) -> bool| {
            endpoint.model(model).is_some_and(is)
        };
        let lacks_media = |model: &Model| lacks_media(model, self.merged);
        let (needing, ready): (Vec<&Endpoint>, Vec<&Endpoint>) = candidates
            .iter()
            .copied()
            .partition(|endpoint| has_model(endpoint, &lacks_media));
        let needs = list(needing.iter().copied());
        match ready.as_slice() {
            // The same model also works with media, which may still be on its way.
            [only] if needing.is_empty() || (self.subject.waited && !self.subject.exact) => {
                Ok(only.name.clone())
            }
            [only] => Err(Unsettled::NeedsMedia(format!(
                "for media for {needs}, or for the wait to end: then it becomes {} (`endpoint` settles it at once)",
                only.spelling()
            ))),
            [] => Err(Unsettled::NeedsMedia(format!(
                "for media: {needs} needs it"
            ))),
            several => {
                // With media named in the sidecar, the endpoint that takes them is meant.
                let mut naming = several
                    .iter()
                    .filter(|endpoint| has_model(endpoint, &Model::needs_media));
                match (naming.next(), naming.next()) {
                    (Some(only), None) => Ok(only.name.clone()),
                    (_, _) => Err(self.several_fit(model, several)),
                }
            }
        }
    }

    fn several_fit(&self, model: &str, endpoints: &[&Endpoint]) -> Unsettled {
        self.wrong(
            "endpoint",
            On::Value,
            format!("{model} could be meant for several endpoints"),
            format!(
                "write `endpoint`, one of: {}",
                list(endpoints.iter().copied())
            ),
        )
    }

    /// The endpoints that take a dropped file of this kind.
    fn list_takers(&self, kind: Kind) -> String {
        let takes = |endpoint: &&Endpoint| endpoint.main_media(kind).is_some();
        list(self.rules.catalogue.endpoints().filter(takes))
    }
}

/// Where media goes that nothing else is written for.
fn usual_endpoint(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Image => Some("image_to_video"),
        Kind::Video => Some("video_to_video"),
        Kind::Audio => None,
    }
}

fn list<'a>(endpoints: impl Iterator<Item = &'a Endpoint>) -> String {
    let names: Vec<String> = endpoints.map(Endpoint::spelling).collect();
    names.join(", ")
}

/// Whether a required medium is not written anywhere.
fn lacks_media(model: &Model, merged: &Merged) -> bool {
    model.fields.iter().any(|(name, field)| {
        field.required && field.shape.needs_media() && merged.get(name).is_none()
    })
}
