//! What was last seen below an inbox, and what was read from the files there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};

use super::layers::{Finding, Layer};
use super::pair::{Class, classify, comparable};
use super::request::{is_shared, local_file};
use super::scan::{Entry, Ignore, folder_times, read_folder, stamp};
use super::settle::{Content, Sighting, Stamp, look};
use crate::files::open_plain;
use crate::job::RelPath;
use crate::media::{self, Probe, Wholeness};
use crate::yaml::{self, Document, Node, ProblemKind, to_json};

/// The name of the file with defaults for a folder and what lies below it.
pub const DEFAULTS: &str = "_defaults.yaml";

/// A sidecar as it was read.
#[derive(Debug, Clone)]
pub enum Parsed {
    /// A mapping.
    Mapping {
        /// The text with its places.
        document: Arc<Document>,
        /// The keys.
        values: Map<String, Value>,
    },
    /// Nothing in it, or nothing yet.
    Empty,
    /// Not a sidecar, and why.
    Wrong(Vec<Finding>),
}

/// One file as it was last seen.
#[derive(Debug, Clone)]
struct Seen {
    sighting: Sighting,
    /// What was read from this version, once it was.
    read: Option<Read>,
}

#[derive(Debug, Clone)]
enum Read {
    Medium(Arc<Probe>),
    Sidecar(Arc<Parsed>),
}

#[derive(Debug, Default)]
struct Folder {
    /// The folder's own times just before it was read; `None` where they cannot prove that nothing has changed since.
    times: Option<(i128, i128)>,
    files: BTreeMap<OsString, Seen>,
    /// What is passed over with a reason: links and the like.
    odd: BTreeMap<OsString, &'static str>,
    folders: BTreeSet<OsString>,
}

/// What was last seen below an inbox.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    ignore: Ignore,
    folders: HashMap<RelPath, Folder>,
    /// Folders that were found to be gone since somebody asked.
    gone: Vec<RelPath>,
    defaults: HashMap<RelPath, (Stamp, Arc<Parsed>)>,
    /// What each sidecar refers to. Most files are no sidecars, so this stays small where a tree is large.
    references: HashMap<RelPath, Vec<RelPath>>,
}

/// A folder's times prove nothing while they are this young, in nanoseconds: another change may fall into the same tick of
/// the filesystem's clock.
const RACY: i128 = 2_000_000_000;

impl Tree {
    /// Nothing seen yet.
    pub fn new(root: PathBuf, ignore: Ignore) -> Tree {
        Tree {
            root,
            ignore,
            folders: HashMap::new(),
            gone: Vec::new(),
            defaults: HashMap::new(),
            references: HashMap::new(),
        }
    }

    /// The inbox's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path below the inbox as the system takes it.
    pub fn absolute(&self, path: &RelPath) -> PathBuf {
        self.root.join(path.as_path())
    }

    /// All folders that were seen.
    pub fn folders(&self) -> impl Iterator<Item = &RelPath> {
        self.folders.keys()
    }

    /// Whether a folder was seen and is not known to be gone.
    pub fn contains(&self, folder: &RelPath) -> bool {
        self.folders.contains_key(folder)
    }

    /// The folders that were found to be gone since this was last asked.
    pub fn take_gone(&mut self) -> Vec<RelPath> {
        let mut gone = std::mem::take(&mut self.gone);
        gone.retain(|folder| !self.contains(folder));
        gone
    }

    /// How many files were seen.
    pub fn count(&self) -> usize {
        self.folders.values().map(|folder| folder.files.len()).sum()
    }

    /// Looks at one folder. Answers with the folders below it that are new, which have to be looked at, too; a folder that
    /// is gone is forgotten with all below it.
    ///
    /// # Errors
    /// Other trouble with reading it, such as a missing permission; what was seen before stays.
    pub fn scan(
        &mut self,
        path: &RelPath,
        closed: &dyn Fn(&Path) -> bool,
        now: Instant,
    ) -> io::Result<Vec<RelPath>> {
        let absolute = self.absolute(path);
        let times = self.times_of(path);
        let entries = match read_folder(&absolute, &self.ignore) {
            Ok(entries) => entries,
            Err(error)
                if !path.is_root()
                    && matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
            {
                self.forget(path);
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut before = self.folders.remove(path).unwrap_or_default();
        let mut folder = Folder {
            times,
            ..Folder::default()
        };
        let mut new = Vec::new();
        for (name, entry) in entries {
            match entry {
                Entry::File(stamp) => {
                    let old = before.files.remove(&name);
                    let sighting = look(
                        old.as_ref().map(|seen| &seen.sighting),
                        stamp,
                        closed(&absolute.join(&name)),
                        now,
                    );
                    let read = old
                        .filter(|old| old.sighting.stamp == stamp)
                        .and_then(|old| old.read);
                    if read.is_none() {
                        self.references.remove(&path.join(&name));
                    }
                    folder.files.insert(name, Seen { sighting, read });
                }
                Entry::Folder => {
                    let below = path.join(&name);
                    if !before.folders.remove(&name) || !self.folders.contains_key(&below) {
                        new.push(below);
                    }
                    folder.folders.insert(name);
                }
                Entry::Link => {
                    folder.odd.insert(
                        name,
                        "it is a link, and links are not followed: drop the file itself",
                    );
                }
                Entry::Special => {
                    folder.odd.insert(name, "it is neither a file nor a folder");
                }
            }
        }
        for gone in before.folders {
            self.forget(&path.join(&gone));
        }
        for gone in before.files.into_keys() {
            self.references.remove(&path.join(&gone));
        }
        self.folders.insert(path.clone(), folder);
        Ok(new)
    }

    /// Whether no name in a folder has come or gone since it was read, as far as its own times can tell. Files that were
    /// written in place do not show.
    pub fn is_unchanged(&self, path: &RelPath) -> bool {
        let before = self.folders.get(path).and_then(|folder| folder.times);
        before.is_some() && before == self.times_of(path)
    }

    fn times_of(&self, path: &RelPath) -> Option<(i128, i128)> {
        let (mtime, ctime) = folder_times(&self.absolute(path)).unwrap_or_default()?;
        let now = jiff::Timestamp::now().as_nanosecond();
        (now.saturating_sub(mtime.max(ctime)) > RACY).then_some((mtime, ctime))
    }

    fn forget(&mut self, path: &RelPath) {
        self.references
            .retain(|file, _| !file.as_path().starts_with(path.as_path()));
        let gone = self
            .folders
            .extract_if(|folder, _| folder.as_path().starts_with(path.as_path()));
        self.gone.extend(gone.map(|(folder, _)| folder));
        self.defaults
            .retain(|folder, _| !folder.as_path().starts_with(path.as_path()));
    }

    /// Forgets a file that was taken.
    pub fn taken(&mut self, file: &RelPath) {
        self.references.remove(file);
        if let Some(folder) = self.folders.get_mut(&file.parent()) {
            folder.files.remove(file.name());
        }
    }

    /// The files of a folder.
    pub fn names(&self, folder: &RelPath) -> Vec<OsString> {
        self.folders
            .get(folder)
            .map(|folder| folder.files.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// What is passed over in a folder, with the reason.
    pub fn odd(&self, folder: &RelPath) -> Vec<(OsString, &'static str)> {
        self.folders
            .get(folder)
            .map(|folder| {
                folder
                    .odd
                    .iter()
                    .map(|(name, why)| (name.clone(), *why))
                    .collect()
            })
            .unwrap_or_default()
    }

    /// A file as it was last seen.
    pub fn sighting(&self, file: &RelPath) -> Option<Sighting> {
        self.seen(file).map(|seen| seen.sighting)
    }

    fn seen(&self, file: &RelPath) -> Option<&Seen> {
        self.folders.get(&file.parent())?.files.get(file.name())
    }

    fn seen_mut(&mut self, file: &RelPath) -> Option<&mut Seen> {
        self.folders
            .get_mut(&file.parent())?
            .files
            .get_mut(file.name())
    }

    /// What a medium's content is. Read once for each version.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn probe(&mut self, file: &RelPath) -> io::Result<Arc<Probe>> {
        if let Some(Seen {
            read: Some(Read::Medium(probe)),
            ..
        }) = self.seen(file)
        {
            return Ok(probe.clone());
        }
        let probe = Arc::new(media::probe(&mut open_plain(&self.absolute(file))?)?);
        if let Some(seen) = self.seen_mut(file) {
            seen.read = Some(Read::Medium(probe.clone()));
        }
        Ok(probe)
    }

    /// A sidecar's content. Read once for each version.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn sidecar(&mut self, file: &RelPath) -> io::Result<Arc<Parsed>> {
        if let Some(Seen {
            read: Some(Read::Sidecar(parsed)),
            ..
        }) = self.seen(file)
        {
            return Ok(parsed.clone());
        }
        let parsed = Arc::new(parse_file(&self.absolute(file), &file.to_string())?);
        if let Parsed::Mapping { document, .. } = parsed.as_ref() {
            let found = references(document.root(), &file.parent());
            self.references.insert(file.clone(), found);
        }
        if let Some(seen) = self.seen_mut(file) {
            seen.read = Some(Read::Sidecar(parsed.clone()));
        }
        Ok(parsed)
    }

    /// Reads all sidecars of a folder that were not read yet.
    pub fn read_sidecars(&mut self, folder: &RelPath) {
        for name in self.names(folder) {
            if classify(&name) == Class::Sidecar {
                let file = folder.join(&name);
                if let Err(error) = self.sidecar(&file) {
                    tracing::debug!(%file, %error, "the sidecar cannot be read yet");
                }
            }
        }
    }

    /// The files that sidecars refer to, as comparable names by folder: they are no jobs of their own.
    pub fn named(&self) -> HashMap<RelPath, BTreeSet<Vec<u8>>> {
        let mut named: HashMap<RelPath, BTreeSet<Vec<u8>>> = HashMap::new();
        for file in self.references.values().flatten() {
            named
                .entry(file.parent())
                .or_default()
                .insert(comparable(file.name()));
        }
        named
    }

    /// What a file's content says about its being finished.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn content(&mut self, file: &RelPath) -> io::Result<Content> {
        match classify(file.name()) {
            Class::Medium(_) => Ok(match &self.probe(file)?.wholeness {
                Wholeness::Whole => Content::Whole,
                Wholeness::Partial { missing } => Content::Partial(missing.clone()),
                Wholeness::Unknowable => Content::Unknowable,
            }),
            Class::Sidecar => Ok(match self.sidecar(file)?.as_ref() {
                Parsed::Mapping { .. } => Content::Whole,
                Parsed::Empty => Content::Partial("it is empty".to_owned()),
                Parsed::Wrong(_) => Content::Unknowable,
            }),
            Class::Other => Ok(Content::Unknowable),
        }
    }

    /// The layers of defaults for a folder, from the inbox down, each as it is now.
    ///
    /// # Errors
    /// A file of defaults that cannot be used, with every problem in it: jobs wait until it is mended.
    pub fn defaults(&mut self, folder: &RelPath) -> Result<Vec<Layer>, Vec<Finding>> {
        let mut layers = Vec::new();
        let mut problems = Vec::new();
        let mut at = RelPath::default();
        let mut folders = vec![at.clone()];
        for part in folder.as_path().components() {
            at = at.join(part.as_os_str());
            folders.push(at.clone());
        }
        for folder in folders {
            match self.read_defaults(&folder).as_deref() {
                None | Some(Parsed::Empty) => {}
                Some(Parsed::Wrong(findings)) => problems.extend(findings.iter().cloned()),
                Some(Parsed::Mapping { document, values }) => layers.push(Layer {
                    label: folder.join(OsStr::new(DEFAULTS)).to_string(),
                    folder: folder.clone(),
                    values: values.clone(),
                    document: Some((document.clone(), Vec::new())),
                }),
            }
        }
        if problems.is_empty() {
            Ok(layers)
        } else {
            Err(problems)
        }
    }

    fn read_defaults(&mut self, folder: &RelPath) -> Option<Arc<Parsed>> {
        let file = folder.join(OsStr::new(DEFAULTS));
        let path = self.absolute(&file);
        let wrong = |message: String, hint: &str| {
            Some(Arc::new(Parsed::Wrong(vec![Finding::about(
                file.to_string(),
                message,
                hint,
            )])))
        };
        // Only a file that is not there means that there are no defaults: leaving out a limit that somebody wrote would cost.
        let version = match stamp(&path) {
            Ok(Some(version)) => version,
            Ok(None) => {
                return wrong(
                    "it is a link or no file at all, and links are not followed".to_owned(),
                    "put a file there",
                );
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.defaults.remove(folder);
                return None;
            }
            Err(error) => {
                return wrong(
                    format!("it cannot be looked at: {error}"),
                    "mend the folder's permissions",
                );
            }
        };
        if let Some((known, parsed)) = self.defaults.get(folder)
            && *known == version
        {
            return Some(parsed.clone());
        }
        let parsed = match parse_file(&path, &file.to_string()) {
            Ok(parsed) => parsed,
            Err(error) => Parsed::Wrong(vec![Finding::about(
                file.to_string(),
                format!("it cannot be read: {error}"),
                "make it readable for the user that taxiway runs as",
            )]),
        };
        let parsed = Arc::new(parsed);
        self.defaults
            .insert(folder.clone(), (version, parsed.clone()));
        Some(parsed)
    }
}

/// Reads a sidecar or a file of defaults. At most one byte more than is allowed is read.
pub fn parse_file(path: &Path, label: &str) -> io::Result<Parsed> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    open_plain(path)?
        .take(yaml::MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(parse_sidecar(&bytes, label))
}

/// Reads the text of a sidecar.
pub fn parse_sidecar(bytes: &[u8], label: &str) -> Parsed {
    match yaml::parse_bytes(bytes) {
        Ok(document) => match to_json(document.root()) {
            Value::Object(values) => Parsed::Mapping {
                document: Arc::new(document),
                values,
            },
            _ => Parsed::Wrong(vec![Finding {
                label: label.to_owned(),
                place: document.place_of_value(&[]),
                message: format!(
                    "a sidecar is a list of `key: value` lines, and this is {}",
                    document.root().describe()
                ),
                hint: Some("write, for instance, `prompt: Slow dolly in`".to_owned()),
            }]),
        },
        Err(problems)
            if problems
                .iter()
                .any(|problem| problem.kind == ProblemKind::Empty) =>
        {
            Parsed::Empty
        }
        Err(problems) => Parsed::Wrong(
            problems
                .into_iter()
                .map(|problem| Finding {
                    label: label.to_owned(),
                    place: Some(problem.place),
                    message: problem.what,
                    hint: Some(problem.hint),
                })
                .collect(),
        ),
    }
}

/// All texts below a node that could be paths of the job's own files.
fn references(node: &Node, folder: &RelPath) -> Vec<RelPath> {
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
