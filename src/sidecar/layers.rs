//! What a job's request is made of, from weakest to strongest: the inbox's `defaults` in the configuration,
//! `_defaults.yaml` from the inbox down, the sidecar. Each key remembers where it came from, so that a problem can point
//! at it.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::catalogue::On;
use crate::diagnostic::{Diagnostic, Place};
use crate::files::RelPath;
use crate::json::Step;
use crate::yaml::Document;

/// One source of keys.
#[derive(Debug, Clone)]
pub struct Layer {
    /// What people call it: a file's path below the inbox, or the configuration's file.
    pub label: String,
    /// The folder that its relative paths start from.
    pub folder: RelPath,
    /// The keys.
    pub values: Map<String, Value>,
    /// The text that they were read from, and the path in it of the mapping of the keys.
    pub document: Option<(Arc<Document>, Vec<Step>)>,
}

impl Layer {
    /// Where a key or a value is in the text.
    pub fn place(&self, path: &[Step], on: On) -> Option<Place> {
        let (document, prefix) = self.document.as_ref()?;
        let full: Vec<Step> = prefix.iter().chain(path).cloned().collect();
        match on {
            On::Key => document.place_of_key(&full),
            On::Value => document.place_of_value(&full),
            // What is missing is missing from the mapping as a whole.
            On::Missing => None,
        }
    }
}

/// All layers, merged: the strongest layer that has a key gives its whole value.
#[derive(Debug, Clone)]
pub struct Merged {
    layers: Vec<Layer>,
    /// Whether the last layer is the sidecar. Keys of the others are defaults, for many jobs of different endpoints.
    has_sidecar: bool,
    keys: Map<String, Value>,
    origins: HashMap<String, usize>,
}

impl Merged {
    /// Merges layers, the weakest first. `sidecar` comes last where there is one.
    pub fn new(defaults: Vec<Layer>, sidecar: Option<Layer>) -> Merged {
        let has_sidecar = sidecar.is_some();
        let mut layers = defaults;
        layers.extend(sidecar);
        let mut keys = Map::new();
        let mut origins = HashMap::new();
        for (index, layer) in layers.iter().enumerate() {
            for (key, value) in &layer.values {
                keys.insert(key.clone(), value.clone());
                origins.insert(key.clone(), index);
            }
        }
        Merged {
            layers,
            has_sidecar,
            keys,
            origins,
        }
    }

    /// Replaces a key's value as if another one had been written there.
    pub fn replace(&mut self, key: &str, value: String) {
        self.keys.insert(key.to_owned(), Value::String(value));
    }

    /// A key's value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key)
    }

    /// All keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.keys.iter()
    }

    /// Whether a key was written in the sidecar itself.
    pub fn in_sidecar(&self, key: &str) -> bool {
        self.has_sidecar
            && self.origins.get(key).map(|index| index.saturating_add(1)) == Some(self.layers.len())
    }

    /// The layer that a key came from.
    pub fn origin(&self, key: &str) -> Option<&Layer> {
        self.layers.get(*self.origins.get(key)?)
    }

    /// The sidecar, where there is one; else the strongest defaults.
    pub fn strongest(&self) -> Option<&Layer> {
        self.layers.last()
    }

    /// All layers, the weakest first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// A problem with a key or with a value below it.
    pub fn problem(
        &self,
        path: &[Step],
        on: On,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Diagnostic {
        self.locate(path, on, Diagnostic::new(message, hint))
    }

    /// A problem with a key or with a value below it, at its place in the file where it is written.
    pub fn locate(&self, path: &[Step], on: On, problem: Diagnostic) -> Diagnostic {
        let key = match path.first() {
            Some(Step::Key(key)) => key.as_str(),
            Some(Step::Index(_)) | None => "",
        };
        let layer = self.origin(key).or_else(|| self.strongest());
        let source = layer.map_or("the inbox's defaults", |layer| layer.label.as_str());
        problem
            .in_source(source)
            .at(layer.and_then(|layer| layer.place(path, on)))
    }
}
