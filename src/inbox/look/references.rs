//! What sidecars refer to: files that are no jobs of their own.

use std::collections::{BTreeSet, HashMap};

use crate::files::RelPath;
use crate::sidecar::local_path::is_same;
use crate::sidecar::names::nfc_key;

/// What each sidecar refers to. Most files are no sidecars, so this stays small where a tree is large.
#[derive(Debug, Default)]
pub(crate) struct References(HashMap<RelPath, Vec<RelPath>>);

impl References {
    /// What a sidecar refers to, whether it is there or not.
    pub(crate) fn of(&self, sidecar: &RelPath) -> &[RelPath] {
        self.0.get(sidecar).map_or(&[], Vec::as_slice)
    }

    /// Whether a sidecar other than this one refers to a file.
    pub(crate) fn is_named_by_another(&self, file: &RelPath, sidecar: &RelPath) -> bool {
        self.0
            .iter()
            .filter(|(another, _)| *another != sidecar)
            .flat_map(|(_, files)| files)
            .any(|named| is_same(named, file))
    }

    pub(crate) fn set(&mut self, sidecar: &RelPath, files: Vec<RelPath>) {
        self.0.insert(sidecar.clone(), files);
    }

    pub(crate) fn add(&mut self, sidecar: &RelPath, files: Vec<RelPath>) {
        self.0.entry(sidecar.clone()).or_default().extend(files);
    }

    pub(crate) fn remove(&mut self, sidecar: &RelPath) -> Vec<RelPath> {
        self.0.remove(sidecar).unwrap_or_default()
    }

    pub(crate) fn forget_below(&mut self, folder: &RelPath) {
        self.0
            .retain(|sidecar, _| !sidecar.as_path().starts_with(folder.as_path()));
    }

    pub(crate) fn collect_names(&self) -> ReferencedNames {
        let mut folders: HashMap<Vec<u8>, BTreeSet<Vec<u8>>> = HashMap::new();
        for file in self.0.values().flatten() {
            let folder = nfc_key(file.parent().as_path().as_os_str());
            let names = folders.entry(folder).or_default();
            names.insert(nfc_key(file.name()));
        }
        ReferencedNames {
            folders,
            none: BTreeSet::new(),
        }
    }
}

/// The names that sidecars refer to, as [`nfc_key`]s.
#[derive(Debug)]
pub struct ReferencedNames {
    folders: HashMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    none: BTreeSet<Vec<u8>>,
}

impl ReferencedNames {
    pub(crate) fn in_folder(&self, folder: &RelPath) -> &BTreeSet<Vec<u8>> {
        let folder = nfc_key(folder.as_path().as_os_str());
        self.folders.get(&folder).unwrap_or(&self.none)
    }
}
