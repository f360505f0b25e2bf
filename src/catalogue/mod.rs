//! What Runway's API offers: endpoints, models, parameters and prices, as data.
//!
//! The data is `config/catalogue/runway.json`, made from Runway's official SDK by
//! `config/catalogue/generate.py` and compiled in; a file can replace it at run
//! time. Nothing in this program names a model: whoever wants to know whether a
//! request is right, where its media stand or what it will cost asks here.
//!
//! - `load`: JSON to [`Catalogue`], with its own consistency checked.
//! - `shape`: what a value may be ([`Shape`]), and words for people about it.
//! - `check`: all problems of a request body at once ([`check()`]).
//! - `fields`: reading and writing a field by its dotted name.
//! - `slots`: where a body holds media ([`media_slots`]), and the value that puts
//!   a dropped file where it belongs ([`place_media`]).
//! - `price`: credits, as far as they are known ([`estimate`]).
//! - `nearest`: the known word that a mistyped one probably meant.
//! - `schema`: the JSON Schema of sidecars, for editors ([`sidecar_schema`]).

mod check;
mod fields;
mod load;
mod nearest;
mod price;
mod schema;
mod shape;
mod slots;

use std::collections::BTreeMap;

pub use check::{On, Problem, check, dotted};
pub use fields::put_field;
pub use load::CatalogueError;
pub use nearest::nearest;
pub use price::{Price, Rule, SecondsFrom, Unit, estimate};
pub use schema::sidecar_schema;
pub use shape::{Field, Shape, When};
pub use slots::{MediaSlot, media_slots, place_media};

use crate::media::Kind;

/// The sidecar's own keys, which are no fields of a request body.
pub const SIDECAR_KEYS: [&str; 5] = ["endpoint", "prompt", "priority", "max_credits", "output"];

/// Where a path holds an id that the person names.
const ID: &str = "{id}";

/// All endpoints that start a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    endpoints: BTreeMap<String, Endpoint>,
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
    /// The path to post to; may hold `{id}`, see [`Catalogue::endpoint`].
    pub path: String,
    /// The path to ask for the task's status, with `{id}` for the task's id.
    pub poll: String,
    /// What it makes.
    pub output: Output,
    /// The field that takes the prompt; a dot leads into a nested object
    /// (`input.promptText`). For [`get_field`] and [`put_field`].
    pub prompt: Option<String>,
    main_media: BTreeMap<Kind, String>,
    models: BTreeMap<String, Model>,
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
    main_media: BTreeMap<Kind, String>,
}

/// Where a model went.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    /// The last pinned SDK version that lists the model.
    pub last_sdk: String,
    /// The model at the same endpoint that Runway offers in its place.
    pub successor: String,
}

impl Catalogue {
    /// The catalogue that was compiled in.
    ///
    /// # Errors
    /// None in a tested build; the tests load it.
    pub fn built_in() -> Result<Self, CatalogueError> {
        Self::from_json(include_str!("../../config/catalogue/runway.json"))
    }

    /// Reads a catalogue in the format of `config/catalogue/runway.json`.
    ///
    /// # Errors
    /// When the text is not JSON of that format, or contradicts itself.
    pub fn from_json(text: &str) -> Result<Self, CatalogueError> {
        load::load(text)
    }

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

    /// The model, at whichever endpoint, that a mistyped name probably meant.
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

    /// The name as one types it: `workflows/THE-ID` where an id belongs to it.
    pub fn spelling(&self) -> String {
        if self.wants_id() {
            format!("{}/THE-ID", self.name)
        } else {
            self.name.clone()
        }
    }

    /// The path that tells the status of a task of this endpoint.
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
    /// The field that takes a dropped file of this kind, for [`place_media`] and
    /// [`put_field`]; a dot leads into a nested object.
    pub fn main_media(&self, kind: Kind) -> Option<&str> {
        self.main_media.get(&kind).map(String::as_str)
    }

    /// Whether a field is required that nothing but media can fill.
    pub fn needs_media(&self) -> bool {
        self.fields
            .values()
            .any(|field| field.required && field.shape.needs_media())
    }
}

/// Whether this can stand in a path as it is.
fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests;
