//! Paths of local files in sidecars, in whatever form of Unicode they are written.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path};

use crate::diagnostic::Diagnostic;
use crate::files::RelPath;
use crate::files::names::stem;
use crate::sidecar::names::{Class, classify, nfc_key};
use crate::yaml::Node;

/// Whether a file is a place for what many jobs refer to: its name or one of its folders begins with `_`.
pub fn is_shared(file: &RelPath) -> bool {
    file.as_path()
        .components()
        .any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"_"))
}

/// The file below the inbox that a text in a media field means, or `None` where it is a URI that the API fetches itself.
///
/// # Errors
/// What is wrong with the text, and what to do.
pub fn resolve_local_path(uri: &str, folder: &RelPath) -> Result<Option<RelPath>, Diagnostic> {
    const HINT: &str = "write a path below the inbox, relative to this file's folder, or an https:// or runway:// URI";
    let wrong = |what: &str| Err(Diagnostic::new(format!("`{uri}` {what}"), HINT));
    let lower = uri.to_ascii_lowercase();
    if ["https://", "runway://", "data:"]
        .iter()
        .any(|scheme| lower.starts_with(scheme))
    {
        return Ok(None);
    }
    if lower.contains("://") {
        return wrong("is not an address that the API fetches");
    }
    let mut parts: Vec<std::ffi::OsString> = folder
        .as_path()
        .components()
        .map(|part| part.as_os_str().to_owned())
        .collect();
    for component in Path::new(uri).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_owned()),
            Component::CurDir => {}
            Component::ParentDir => {
                if parts.pop().is_none() {
                    return wrong("leads out of the inbox");
                }
            }
            Component::RootDir | Component::Prefix(_) => {
                return wrong("is not below the inbox");
            }
        }
    }
    let path: std::path::PathBuf = parts.iter().collect();
    match RelPath::new(&path) {
        Some(file) if !file.is_root() && !uri.contains('\0') => Ok(Some(file)),
        Some(_) | None => wrong("does not name a file"),
    }
}

/// Whether two paths name one file, whatever the form in which accents are written.
pub(crate) fn is_same(a: &RelPath, b: &RelPath) -> bool {
    let of = |path: &RelPath| nfc_key(path.as_path().as_os_str());
    a == b || of(a) == of(b)
}

/// A path by the names on disk, where sidecars and disks write accents in different forms. `names` lists a
/// folder; a name that is there as it was written counts first.
pub(crate) fn respell(
    wanted: &RelPath,
    names: impl Fn(&RelPath) -> Vec<OsString>,
) -> Option<RelPath> {
    let mut at = RelPath::default();
    for part in wanted.as_path().components() {
        let (part, names) = (part.as_os_str(), names(&at));
        let exact = names.iter().find(|name| *name == part);
        let wish = nfc_key(part);
        let name = exact.or_else(|| names.iter().find(|name| nfc_key(name) == wish))?;
        at = at.join(name);
    }
    Some(at)
}

/// The names of media in a text that cannot be read as YAML, apart from the medium that the text itself is for.
pub(crate) fn find_mentioned(bytes: &[u8], sidecar: &RelPath) -> Vec<RelPath> {
    let text = String::from_utf8_lossy(bytes);
    let quoted = text.split(['"', '\'', '\n']);
    let words = text.split(|c: char| c.is_whitespace() || "\"',:[]{}".contains(c));
    let own = nfc_key(stem(sidecar.name()));
    quoted
        .chain(words)
        .map(str::trim)
        .filter(|word| matches!(classify(OsStr::new(word)), Class::Medium(_)))
        // What leads out of the inbox, or is not a path, is not a file of the inbox.
        .filter_map(|word| resolve_local_path(word, &sidecar.parent()).ok().flatten())
        .filter(|file| !is_shared(file))
        .filter(|file| ![nfc_key(file.name()), nfc_key(stem(file.name()))].contains(&own))
        .collect()
}

/// All texts below a node that could be paths of the job's own files.
pub(crate) fn collect_references(node: &Node, folder: &RelPath) -> Vec<RelPath> {
    match node {
        Node::Str(text) if text.len() < 1000 && !text.contains('\n') => {
            match resolve_local_path(text, folder) {
                Ok(Some(file)) if !is_shared(&file) => vec![file],
                Ok(_) | Err(_) => Vec::new(),
            }
        }
        Node::Seq(items) => items
            .iter()
            .flat_map(|item| collect_references(item, folder))
            .collect(),
        Node::Map(entries) => entries
            .iter()
            .flat_map(|(_, value)| collect_references(value, folder))
            .collect(),
        Node::Null
        | Node::Bool(_)
        | Node::Int(_)
        | Node::UInt(_)
        | Node::Float(_)
        | Node::Str(_) => Vec::new(),
    }
}

/// The names in a folder on disk. One that cannot be listed is reported when a file in it is opened.
pub(crate) fn list_names(folder: &Path) -> Vec<OsString> {
    let listed = std::fs::read_dir(folder).into_iter().flatten();
    listed
        .filter_map(Result::ok)
        .map(|entry| entry.file_name())
        .collect()
}
