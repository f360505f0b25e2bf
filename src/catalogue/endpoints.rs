//! Endpoints and their models.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::nearest::nearest;
use super::price::Price;
use super::shape::{Field, Shape};
use crate::media::Kind;

/// Where a path has an id that the person names.
pub(super) const ID: &str = "{id}";

/// All endpoints that start a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    pub(super) endpoints: BTreeMap<String, Endpoint>,
}

/// What comes out of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Always media of this kind.
    Media(Kind),
    /// Whatever the workflow makes.
    Any,
}

/// One endpoint that starts a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// The last part of the API path: `image_to_video`, `recipes/product_ad`;
    /// `workflows` for the one whose path ends in an id.
    pub name: String,
    /// The path to post to; may contain `{id}`, see [`Catalogue::endpoint`].
    pub path: String,
    /// The path to ask for the task's status, with `{id}` for the task's id.
    pub poll: String,
    /// What it makes.
    pub output: Output,
    /// The field that takes the prompt; a dot leads into a nested object
    /// (`input.promptText`).
    pub prompt: Option<String>,
    pub(super) main_media: BTreeMap<Kind, String>,
    pub(super) models: BTreeMap<String, Model>,
}

/// An endpoint as a sidecar names it, with the path that really is posted to.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointRef<'a> {
    /// The endpoint.
    pub endpoint: &'a Endpoint,
    /// The name as asked for: `image_to_video`, `workflows/1234`.
    pub name: String,
    /// The concrete path, under the API's base URL: `/v1/workflows/1234`.
    pub path: String,
}

/// One model at one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The name that goes into the body's `model`; empty for the only "model" of
    /// an endpoint that has no such field.
    pub name: String,
    /// Set when the newest SDK no longer lists it.
    pub dropped: Option<Dropped>,
    /// What it costs, if that is known.
    pub price: Option<Price>,
    /// The fields of the request body, `model` among them.
    pub fields: BTreeMap<String, Field>,
    pub(super) main_media: BTreeMap<Kind, String>,
}

/// What replaces a model that Runway no longer lists.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    /// The last pinned SDK version that lists the model.
    pub last_sdk: String,
    /// The model at the same endpoint that Runway offers in its place.
    pub successor: String,
}

impl Catalogue {
    /// All endpoints, by name.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.values()
    }

    /// The endpoint that a sidecar names, with its concrete path. A name such as
    /// `workflows/1234` stands for the endpoint whose path ends in an id; without
    /// the id there is no such endpoint.
    pub fn endpoint(&self, name: &str) -> Option<EndpointRef<'_>> {
        if let Some(endpoint) = self.endpoints.get(name) {
            return (!endpoint.wants_id()).then(|| EndpointRef {
                endpoint,
                name: name.to_owned(),
                path: endpoint.path.clone(),
            });
        }
        let (family, id) = name.rsplit_once('/')?;
        let endpoint = self.endpoints.get(family).filter(|e| e.wants_id())?;
        is_id(id).then(|| EndpointRef {
            endpoint,
            name: name.to_owned(),
            path: endpoint.path.replace(ID, id),
        })
    }

    /// The endpoints that have a model of this name.
    pub fn endpoints_with_model(&self, model: &str) -> Vec<&Endpoint> {
        self.endpoints()
            .filter(|e| e.takes_model() && e.models.contains_key(model))
            .collect()
    }

    /// The spelling of the endpoint that a mistyped name probably meant.
    pub fn nearest_endpoint(&self, word: &str) -> Option<String> {
        let spellings: Vec<String> = self.endpoints().map(Endpoint::spelling).collect();
        if let Some(endpoint) = self.endpoints.get(word) {
            // Known, but written without its id.
            return Some(endpoint.spelling());
        }
        nearest(word, spellings.iter().map(String::as_str)).map(str::to_owned)
    }

    /// The model, at any endpoint, that a mistyped name probably meant.
    pub fn nearest_model(&self, word: &str) -> Option<&str> {
        nearest(word, self.endpoints().flat_map(Endpoint::model_names))
    }
}

impl Endpoint {
    /// Whether the request body has a `model` field.
    pub fn takes_model(&self) -> bool {
        !self.models.contains_key("")
    }

    /// A model by name; `""` where the endpoint takes none.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.get(name)
    }

    /// All models, by name.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.models.values()
    }

    /// The names of all models that can be asked for.
    pub fn model_names(&self) -> impl Iterator<Item = &str> {
        self.models
            .keys()
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }

    /// The model here that a mistyped name probably meant.
    pub fn nearest_model(&self, word: &str) -> Option<&str> {
        nearest(word, self.model_names())
    }

    /// The field that usually takes a dropped file of this kind. Models differ:
    /// where one is known, ask [`Model::main_media`].
    pub fn main_media(&self, kind: Kind) -> Option<&str> {
        self.main_media.get(&kind).map(String::as_str)
    }

    /// Whether no model here works without media.
    pub fn needs_media(&self) -> bool {
        self.models().all(Model::needs_media)
    }

    /// The name as people write it: `workflows/THE-ID` where an id belongs to it.
    pub fn spelling(&self) -> String {
        if self.wants_id() {
            format!("{}/THE-ID", self.name)
        } else {
            self.name.clone()
        }
    }

    /// The path of the status of a task of this endpoint.
    pub fn poll_path(&self, task: &str) -> String {
        self.poll.replace(ID, task)
    }

    /// A stand-in for a model that the catalogue does not know: every field that
    /// any model here knows, with any value, and nothing required. Media are still
    /// found where known models have them.
    pub fn permissive_model(&self, name: &str) -> Model {
        let mut likes: BTreeMap<&str, Vec<Shape>> = BTreeMap::new();
        for model in self.models() {
            for (field, known) in &model.fields {
                let like = likes.entry(field).or_default();
                if !like.contains(&known.shape) {
                    like.push(known.shape.clone());
                }
            }
        }
        let fields = likes
            .into_iter()
            .map(|(field, like)| (field.to_owned(), Field::optional(Shape::Any { like })))
            .collect();
        Model {
            name: name.to_owned(),
            dropped: None,
            price: None,
            fields,
            main_media: self.main_media.clone(),
        }
    }

    fn wants_id(&self) -> bool {
        self.path.contains(ID)
    }
}

impl Model {
    /// The field that takes a dropped file of this kind, for [`place_media`](super::place_media) and
    /// [`put_field`](super::put_field); a dot leads into a nested object.
    pub fn main_media(&self, kind: Kind) -> Option<&str> {
        self.main_media.get(&kind).map(String::as_str)
    }

    /// The credits that a request will probably cost; `None` when that is not known.
    ///
    /// `input_seconds` is the length of the input media, if there is any and its
    /// length could be read.
    pub fn estimate(&self, body: &Map<String, Value>, input_seconds: Option<f64>) -> Option<f64> {
        self.price.as_ref()?.estimate(body, input_seconds)
    }

    /// Whether a field is required that nothing but media can fill.
    pub fn needs_media(&self) -> bool {
        self.fields
            .values()
            .any(|field| field.required && field.shape.needs_media())
    }
}

/// Whether this can be part of a path as it is.
fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
