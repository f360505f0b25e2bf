//! JSON to [`Catalogue`]: read strictly, and checked against itself, since a file
//! may replace the built-in data and a slip there must not cost credits later.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::fields::shape_at;
use super::{Catalogue, Dropped, Endpoint, Field, ID, Model, Output, Price};
use crate::media::Kind;

/// The format that this program reads.
const SCHEMA: u32 = 1;

/// Why a catalogue cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// Not JSON, or not of the catalogue's form.
    #[error(
        "the catalogue cannot be read, line {line}, column {column}: {message}. \
         Restore the file, or leave out `runway.catalogue` to use the built-in one."
    )]
    Unreadable {
        /// What the reader found.
        message: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Made for another version of this program.
    #[error(
        "the catalogue has the format {found}, and this version of taxiway reads {SCHEMA}. \
         Make it anew with this version's config/catalogue/generate.py, or leave out \
         `runway.catalogue` to use the built-in one."
    )]
    OtherSchema {
        /// The format's number in the file.
        found: u32,
    },
    /// Well formed, but not true to itself.
    #[error("the catalogue contradicts itself at {at}: {what}. Correct it there.")]
    Contradiction {
        /// Endpoint and model.
        at: String,
        /// What is wrong.
        what: String,
    },
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
    /// Stands for the endpoint's where this model differs.
    main_media: Option<BTreeMap<Kind, String>>,
}

pub(super) fn load(text: &str) -> Result<Catalogue, CatalogueError> {
    let header: Header = serde_json::from_str(text).map_err(unreadable)?;
    if header.schema != SCHEMA {
        return Err(CatalogueError::OtherSchema {
            found: header.schema,
        });
    }
    let raw: RawCatalogue = serde_json::from_str(text).map_err(unreadable)?;
    let mut endpoints = BTreeMap::new();
    for (name, raw) in raw.endpoints {
        let endpoint = endpoint(&name, raw)?;
        endpoints.insert(name, endpoint);
    }
    if endpoints.is_empty() {
        return Err(contradiction("endpoints", "there is none"));
    }
    Ok(Catalogue { endpoints })
}

fn endpoint(name: &str, raw: RawEndpoint) -> Result<Endpoint, CatalogueError> {
    if !raw.path.starts_with("/v1/") {
        return Err(contradiction(name, "`path` must begin with /v1/"));
    }
    if !raw.poll.starts_with("/v1/") || !raw.poll.contains(ID) {
        return Err(contradiction(
            name,
            "`poll` must begin with /v1/ and hold {id}",
        ));
    }
    if raw.models.is_empty() {
        return Err(contradiction(name, "it has no models"));
    }
    if raw.models.len() > 1 && raw.models.contains_key("") {
        return Err(contradiction(
            name,
            "a model without a name stands among others",
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

fn check_model(endpoint: &str, model: &Model, names: &[String]) -> Result<(), CatalogueError> {
    let at = || format!("{endpoint}, model {:?}", model.name);
    if model.fields.contains_key("model") == model.name.is_empty() {
        return Err(contradiction(
            at(),
            "it must have a `model` field if and only if it has a name",
        ));
    }
    for (kind, field) in &model.main_media {
        if super::place_media(model, field, *kind, "").is_none() {
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

fn unreadable(error: serde_json::Error) -> CatalogueError {
    let place = format!(" at line {} column {}", error.line(), error.column());
    CatalogueError::Unreadable {
        message: error.to_string().replace(&place, ""),
        line: error.line(),
        column: error.column(),
    }
}

fn contradiction(at: impl Into<String>, what: impl Into<String>) -> CatalogueError {
    CatalogueError::Contradiction {
        at: at.into(),
        what: what.into(),
    }
}
