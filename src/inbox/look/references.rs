//! What sidecars refer to: files that are no jobs of their own, in whatever form of Unicode their paths are written.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::files::RelPath;
use crate::files::names::stem;
use crate::inbox::evaluate::pair::{Class, classify, comparable};
use crate::inbox::look::tree::Tree;
use crate::sidecar::request::{is_shared, local_file};
use crate::yaml::Node;

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

/// Whether two paths name one file, whatever the form in which accents are written.
pub(crate) fn is_same(a: &RelPath, b: &RelPath) -> bool {
    let of = |path: &RelPath| comparable(path.as_path().as_os_str());
    a == b || of(a) == of(b)
}

/// A path by the names that lie on the disk, where sidecars and disks write accents in different forms. `names` lists a
/// folder; a name that is there as it was written counts first.
pub(crate) fn respelled(
    wanted: &RelPath,
    names: impl Fn(&RelPath) -> Vec<OsString>,
) -> Option<RelPath> {
    let mut at = RelPath::default();
    for part in wanted.as_path().components() {
        let (part, names) = (part.as_os_str(), names(&at));
        let exact = names.iter().find(|name| *name == part);
        let wish = comparable(part);
        let name = exact.or_else(|| names.iter().find(|name| comparable(name) == wish))?;
        at = at.join(name);
    }
    Some(at)
}

/// The names of media in a text that cannot be read as YAML, apart from the medium that the text itself is for.
pub(crate) fn mentioned(bytes: &[u8], sidecar: &RelPath) -> Vec<RelPath> {
    let text = String::from_utf8_lossy(bytes);
    let quoted = text.split(['"', '\'', '\n']);
    let words = text.split(|c: char| c.is_whitespace() || "\"',:[]{}".contains(c));
    let own = comparable(stem(sidecar.name()));
    quoted
        .chain(words)
        .map(str::trim)
        .filter(|word| matches!(classify(OsStr::new(word)), Class::Medium(_)))
        // What leads out of the inbox, or is no path, is no file of the inbox's.
        .filter_map(|word| local_file(word, &sidecar.parent()).ok().flatten())
        .filter(|file| !is_shared(file))
        .filter(|file| ![comparable(file.name()), comparable(stem(file.name()))].contains(&own))
        .collect()
}

/// All texts below a node that could be paths of the job's own files.
pub(crate) fn references(node: &Node, folder: &RelPath) -> Vec<RelPath> {
    match node {
        Node::Str(text) if text.len() < 1000 && !text.contains('\n') => {
            match local_file(text, folder) {
                Ok(Some(file)) if !is_shared(&file) => vec![file],
                Ok(_) | Err(_) => Vec::new(),
            }
        }
        Node::Seq(items) => items
            .iter()
            .flat_map(|item| references(item, folder))
            .collect(),
        Node::Map(entries) => entries
            .iter()
            .flat_map(|(_, value)| references(value, folder))
            .collect(),
        Node::Null
        | Node::Bool(_)
        | Node::Int(_)
        | Node::UInt(_)
        | Node::Float(_)
        | Node::Str(_) => Vec::new(),
    }
}

/// The names in a folder of the disk. One that cannot be listed is told of when a file in it is looked at.
pub(crate) fn names_on_disk(folder: &Path) -> Vec<OsString> {
    let listed = std::fs::read_dir(folder).into_iter().flatten();
    listed
        .filter_map(Result::ok)
        .map(|entry| entry.file_name())
        .collect()
}
