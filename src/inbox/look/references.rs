//! What sidecars refer to: files that are no jobs of their own, in whatever form of Unicode their paths are written.

use std::collections::{BTreeSet, HashMap};

use crate::files::RelPath;
use crate::files::names::stem;
use crate::inbox::look::tree::Tree;
use crate::sidecar::local_path::{is_same, respelled};
use crate::sidecar::names::{Class, classify, comparable};

/// The files that sidecars refer to.
#[derive(Debug, Default)]
pub struct Named {
    /// Comparable names, by comparable folder.
    folders: HashMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    nothing: BTreeSet<Vec<u8>>,
}

impl Named {
    /// Those in a folder, as comparable names.
    pub fn in_folder(&self, folder: &RelPath) -> &BTreeSet<Vec<u8>> {
        let folder = comparable(folder.as_path().as_os_str());
        self.folders.get(&folder).unwrap_or(&self.nothing)
    }
}

impl Tree {
    /// The files that sidecars refer to.
    pub fn named(&self) -> Named {
        let mut named = Named::default();
        for file in self.references.values().flatten() {
            let folder = comparable(file.parent().as_path().as_os_str());
            let files = named.folders.entry(folder).or_default();
            files.insert(comparable(file.name()));
        }
        named
    }

    /// The files that a sidecar alone refers to: media that are there, that no other sidecar names, and that have none of their own.
    pub fn own_references(&self, sidecar: &RelPath) -> Vec<RelPath> {
        // Nearly every text of a sidecar is a prompt and no file's name, and thousands of sidecars may be wrong at once.
        let media = self.references.get(sidecar).into_iter().flatten();
        let media = media.filter(|file| matches!(classify(file.name()), Class::Medium(_)));
        let mut own: Vec<RelPath> = Vec::new();
        for file in media.filter_map(|wanted| self.as_sighted(wanted)) {
            let others = self
                .references
                .iter()
                .filter(|(other, _)| *other != sidecar);
            let is_named = others
                .flat_map(|(_, files)| files)
                .any(|other| is_same(other, &file));
            if !own.contains(&file) && !is_named && !self.has_sidecar(&file, sidecar) {
                own.push(file);
            }
        }
        own
    }

    /// A file under the path by which it was seen, if it was.
    pub(crate) fn as_sighted(&self, wanted: &RelPath) -> Option<RelPath> {
        // Nearly always; and thousands of names may lie beside it.
        if self.sighting(wanted).is_some() {
            return Some(wanted.clone());
        }
        let there = respelled(wanted, |folder| self.all_names(folder).cloned().collect())?;
        self.sighting(&there).map(|_| there)
    }

    /// Whether a medium has a sidecar beside it, other than this one.
    fn has_sidecar(&self, medium: &RelPath, but: &RelPath) -> bool {
        [medium.name(), stem(medium.name())].iter().any(|name| {
            [".yaml", ".yml"].iter().any(|ending| {
                let mut name = name.to_os_string();
                name.push(ending);
                let sidecar = medium.with_name(&name);
                sidecar != *but && self.sighting(&sidecar).is_some()
            })
        })
    }
}
