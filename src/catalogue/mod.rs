//! What Runway's API offers: endpoints, models, parameters and prices, as data.
//!
//! The data is `config/catalogue/runway.json`, made from Runway's official SDK by
//! `config/catalogue/generate.py` and compiled in; a file can replace it at run
//! time. Nothing in this program names a model: whether a request is right, where its
//! media are and what it will cost is asked here.
//!
//! - `load`: JSON to [`Catalogue`], with its own consistency checked.
//! - `shape`: what a value may be ([`Shape`]), and its description for people.
//! - `check`: all problems of a request body at once ([`check()`]).
//! - `fields`: reading and writing a field by its dotted name.
//! - `slots`: where a body has media ([`find_media_slots`]), and the value that puts
//!   a dropped file where it belongs ([`place_media`]).
//! - `price`: credits, as far as they are known ([`Model::estimate`]).
//! - `nearest`: the known word that a mistyped one probably meant.
//! - `sidecar_key`: the keys of a sidecar that are not fields of a request body.
//! - `schema`: the JSON Schema of sidecars, for editors ([`sidecar_schema`]).

mod check;
mod endpoints;
mod fields;
mod load;
mod nearest;
mod price;
mod schema;
mod shape;
mod sidecar_key;
mod slots;

pub use check::{On, Problem, check, format_path};
pub use endpoints::{Catalogue, Dropped, Endpoint, EndpointRef, Model, Output};
pub use fields::put_field;
pub use nearest::nearest;
pub use price::{Price, Rule, SecondsFrom, Unit};
pub use schema::sidecar_schema;
pub use shape::{Field, Shape, When};
pub use sidecar_key::SidecarKey;
pub use slots::{MediaSlot, find_media_slots, place_media};

#[cfg(test)]
mod tests;
