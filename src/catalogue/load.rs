//! JSON to [`Catalogue`]: read strictly, and checked against itself, since a file
//! may replace the built-in data and a mistake there must not cost credits later.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::endpoints::{Catalogue, Dropped, Endpoint, ID, Model, Output};
use super::fields::shape_at;
use super::price::Price;
use super::shape::Field;
use super::slots::place_media;
use crate::diagnostic::{Diagnostic, Place};
use crate::media::Kind;

/// The format that this program reads.
const SCHEMA: u32 = 1;

impl Catalogue {
    /// The catalogue that was compiled in.
    ///
    /// # Errors
    /// None in a tested build; the tests load it.
    pub fn built_in() -> Result<Self, Diagnostic> {
        Self::from_json(include_str!("../../config/catalogue/runway.json"))
    }

    /// Reads a catalogue in the format of `config/catalogue/runway.json`.
    ///
    /// # Errors
    /// The text is not JSON of that format, or contradicts itself.
    pub fn from_json(text: &str) -> Result<Self, Diagnostic> {
        let header: Header = serde_json::from_str(text).map_err(unreadable)?;
        if header.schema != SCHEMA {
            return Err(Diagnostic::new(
                format!(
                    "the catalogue has the format {}, and this version of taxiway reads {SCHEMA}",
                    header.schema
                ),
                "generate it again with this version's config/catalogue/generate.py, or delete `runway.catalogue` from the \
                 configuration to use the built-in one",
            ));
        }
        let raw: RawCatalogue = serde_json::from_str(text).map_err(unreadable)?;
        if raw.endpoints.is_empty() {
            return Err(contradiction("endpoints", "there is none"));
        }
        let mut endpoints = BTreeMap::new();
        for (name, raw) in raw.endpoints {
            let endpoint = build_endpoint(&name, raw)?;
            endpoints.insert(name, endpoint);
        }
        Ok(Catalogue { endpoints })
    }
}

#[derive(Deserialize)]
struct Header {
    schema: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCatalogue {
    #[serde(rename = "schema")]
    _schema: u32,
    #[serde(rename = "sources", default)]
    _sources: serde::de::IgnoredAny,
    endpoints: BTreeMap<String, RawEndpoint>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEndpoint {
    path: String,
    poll: String,
    output: RawOutput,
    prompt: Option<String>,
    main_media: BTreeMap<Kind, String>,
    models: BTreeMap<String, RawModel>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawOutput {
    Image,
    Video,
    Audio,
    Any,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    dropped: Option<Dropped>,
    price: Option<Price>,
    fields: BTreeMap<String, Field>,
    /// Replaces the endpoint's where this model differs.
    main_media: Option<BTreeMap<Kind, String>>,
}

fn build_endpoint(name: &str, raw: RawEndpoint) -> Result<Endpoint, Diagnostic> {
    if !raw.path.starts_with("/v1/") {
        return Err(contradiction(name, "`path` must begin with /v1/"));
    }
    if !raw.poll.starts_with("/v1/") || !raw.poll.contains(ID) {
        return Err(contradiction(
            name,
            "`poll` must begin with /v1/ and contain {id}",
        ));
    }
    if raw.models.is_empty() {
        return Err(contradiction(name, "it has no models"));
    }
    if raw.models.len() > 1 && raw.models.contains_key("") {
        return Err(contradiction(
            name,
            "a model without a name is among others",
        ));
    }
    let names: Vec<String> = raw.models.keys().cloned().collect();
    let mut models = BTreeMap::new();
    for (model_name, raw_model) in raw.models {
        let model = Model {
            name: model_name.clone(),
            dropped: raw_model.dropped,
            price: raw_model.price,
            fields: raw_model.fields,
            main_media: raw_model
                .main_media
                .unwrap_or_else(|| raw.main_media.clone()),
        };
        check_model(name, &model, &names)?;
        models.insert(model_name, model);
    }
    if let Some(prompt) = &raw.prompt
        && models
            .values()
            .all(|m| shape_at(&m.fields, prompt).is_none())
    {
        return Err(contradiction(
            name,
            format!("no model has its prompt field `{prompt}`"),
        ));
    }
    Ok(Endpoint {
        name: name.to_owned(),
        path: raw.path,
        poll: raw.poll,
        output: match raw.output {
            RawOutput::Image => Output::Media(Kind::Image),
            RawOutput::Video => Output::Media(Kind::Video),
            RawOutput::Audio => Output::Media(Kind::Audio),
            RawOutput::Any => Output::Any,
        },
        prompt: raw.prompt,
        main_media: raw.main_media,
        models,
    })
}

fn check_model(endpoint: &str, model: &Model, names: &[String]) -> Result<(), Diagnostic> {
    let at = || format!("{endpoint}, model {:?}", model.name);
    if model.fields.contains_key("model") == model.name.is_empty() {
        return Err(contradiction(
            at(),
            "it must have a `model` field if and only if it has a name",
        ));
    }
    for (kind, field) in &model.main_media {
        if place_media(model, field, *kind, "").is_none() {
            return Err(contradiction(
                at(),
                format!("`{field}` cannot take a dropped {kind}"),
            ));
        }
    }
    if let Some(dropped) = &model.dropped
        && !names.contains(&dropped.successor)
    {
        return Err(contradiction(
            at(),
            format!("its successor {:?} is unknown", dropped.successor),
        ));
    }
    Ok(())
}

fn unreadable(error: serde_json::Error) -> Diagnostic {
    let (line, column) = (error.line(), error.column());
    let suffix = format!(" at line {line} column {column}");
    Diagnostic::new(
        format!("the catalogue cannot be read: {}", error.to_string().replace(&suffix, "")),
        "restore the file, or delete `runway.catalogue` from the configuration to use the built-in one",
    )
    .at(Some(Place { line, column }))
}

fn contradiction(at: impl std::fmt::Display, what: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::new(
        format!("the catalogue contradicts itself at {at}: {what}"),
        "correct it there",
    )
}
