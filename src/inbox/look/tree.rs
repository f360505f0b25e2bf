//! What was last seen below an inbox, and what was read from the files there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::files::RelPath;
use crate::files::Stamp;
use crate::files::names::stem;
use crate::files::{ends_in_zeros, folder_times, has_hole, open_plain, stamp};
use crate::inbox::evaluate::TEXT_SETTLE;
use crate::inbox::look::scan::{Entry, Ignore, read_folder};
use crate::inbox::look::settle::{Content, Sighting, Writer, look};
use crate::media::{self, Probe, Wholeness};
use crate::sidecar::layers::{Finding, Layer};
use crate::sidecar::local_path::{mentioned, references};
use crate::sidecar::names::{Class, classify, comparable};
use crate::sidecar::text::{Parsed, parse_file, parse_sidecar, read_text};

/// The name of the file with defaults for a folder and what lies below it.
pub const DEFAULTS: &str = "_defaults.yaml";

/// One file as it was last seen.
#[derive(Debug, Clone)]
struct Seen {
    sighting: Sighting,
    /// What was read from this version, once it was.
    read: Option<Read>,
}

#[derive(Debug, Clone)]
enum Read {
    Medium {
        probe: Arc<Probe>,
        /// Whether room was reserved for it that was not filled yet, as far as can be seen.
        unfilled: bool,
    },
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
    /// What sidecars were for that have gone, as comparable names, and when that was seen.
    parted: HashMap<Vec<u8>, Instant>,
}

impl Folder {
    /// Notes that a sidecar has gone. Editors move one away before they write it anew.
    fn part(&mut self, sidecar: &OsStr, now: Instant) {
        self.parted.insert(comparable(stem(sidecar)), now);
    }

    /// Forgets what concerns no file that is here.
    fn forget_parted(&mut self) {
        if self.parted.is_empty() {
            return;
        }
        let here: BTreeSet<Vec<u8>> = self
            .files
            .keys()
            .flat_map(|name| [comparable(name), comparable(stem(name))])
            .collect();
        self.parted.retain(|name, _| here.contains(name));
    }
}

/// A folder's file of defaults as it was last seen.
#[derive(Debug)]
struct Defaults {
    /// `None` while there is none.
    version: Option<Stamp>,
    /// When this version, or that there is none, was first seen.
    since: Instant,
    /// Whether its writer closed it and nobody has written since.
    closed: bool,
    /// Whether it was so already when the folder was looked at for the first time, and old.
    old: bool,
    /// What was read from this version, once it was.
    parsed: Option<Arc<Parsed>>,
}

impl Defaults {
    fn new(version: Option<Stamp>, now: Instant) -> Defaults {
        Defaults {
            version,
            since: now,
            closed: false,
            old: false,
            parsed: None,
        }
    }

    /// When this version counts if nothing happens meanwhile; `None` if it counts now.
    fn unsettled(&self, settle: Duration, now: Instant) -> Option<Instant> {
        let whole = matches!(self.parsed.as_deref(), Some(Parsed::Mapping { .. }));
        let settle = match self.closed && whole {
            true => settle.min(TEXT_SETTLE),
            false => settle,
        };
        let at = self.since.checked_add(settle).unwrap_or(now);
        (!self.old && now < at).then_some(at)
    }
}

/// Why the defaults of a folder cannot be used now.
#[derive(Debug)]
pub enum Unusable {
    /// Somebody is writing them: which file, and when to look again.
    Unsettled {
        /// The file's label.
        label: String,
        /// Whether it was removed a moment ago, as editors do before they write it anew.
        gone: bool,
        /// When to look again if nothing happens meanwhile.
        look_again: Instant,
    },
    /// They have to be mended: every problem in them.
    Wrong(Vec<Finding>),
}

/// What was last seen below an inbox.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    ignore: Ignore,
    folders: HashMap<RelPath, Folder>,
    /// Folders that were found to be gone since somebody asked.
    gone: Vec<RelPath>,
    defaults: HashMap<RelPath, Defaults>,
    /// What each sidecar refers to. Most files are no sidecars, so this stays small where a tree is large.
    pub(crate) references: HashMap<RelPath, Vec<RelPath>>,
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
        writer: &dyn Fn(&Path) -> Writer,
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
            parted: std::mem::take(&mut before.parted),
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
                        writer(&absolute.join(&name)),
                        now,
                    );
                    let read = old
                        .filter(|old| old.sighting.stamp == stamp)
                        .and_then(|old| old.read);
                    // What a changed sidecar referred to stays its own until it says otherwise: it may be half written.
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
                Entry::Unreadable => {
                    // What a sidecar referred to stays its own, while nobody can read it.
                    before.files.remove(&name);
                    folder.odd.insert(
                        name,
                        "it cannot be looked at: is its disk or share in order?",
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
        let mut parted = Vec::new();
        for gone in before.files.into_keys() {
            parted.extend(self.references.remove(&path.join(&gone)));
            if classify(&gone) == Class::Sidecar {
                folder.part(&gone, now);
            }
        }
        self.folders.insert(path.clone(), folder);
        for file in parted.into_iter().flatten() {
            if let Some(folder) = self.folders.get_mut(&file.parent()) {
                folder.parted.insert(comparable(file.name()), now);
            }
        }
        if let Some(folder) = self.folders.get_mut(path) {
            folder.forget_parted();
        }
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

    /// All names in a folder that were seen, of files and of folders.
    pub(crate) fn all_names(&self, folder: &RelPath) -> impl Iterator<Item = &OsString> {
        let folder = self.folders.get(folder).into_iter();
        folder.flat_map(|folder| folder.files.keys().chain(&folder.folders))
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

    /// When a file lost a sidecar, which may come back in a moment.
    pub fn parted(&self, file: &RelPath) -> Option<Instant> {
        let parted = &self.folders.get(&file.parent())?.parted;
        if parted.is_empty() {
            return None;
        }
        let name = file.name();
        [comparable(name), comparable(stem(name))]
            .iter()
            .filter_map(|name| parted.get(name))
            .max()
            .copied()
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
        self.medium(file).map(|(probe, _)| probe)
    }

    /// What a medium's content is, and whether room was reserved for it that was not filled yet.
    fn medium(&mut self, file: &RelPath) -> io::Result<(Arc<Probe>, bool)> {
        if let Some(Seen {
            read: Some(Read::Medium { probe, unfilled }),
            ..
        }) = self.seen(file)
        {
            return Ok((probe.clone(), *unfilled));
        }
        let mut opened = open_plain(&self.absolute(file))?;
        // Before it is read: a hole that is filled meanwhile is noticed at the next look.
        let hole = has_hole(&opened)?;
        let probe = Arc::new(media::probe(&mut opened)?);
        // Where the rest is shorter than a block there is no hole. Sound that is whole may well end in zeros.
        let unfilled = hole || probe.wholeness == Wholeness::Unknowable && ends_in_zeros(&opened)?;
        if let Some(seen) = self.seen_mut(file) {
            seen.read = Some(Read::Medium {
                probe: probe.clone(),
                unfilled,
            });
        }
        Ok((probe, unfilled))
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
        let bytes = read_text(&self.absolute(file))?;
        let parsed = Arc::new(parse_sidecar(&bytes, &file.to_string()));
        match parsed.as_ref() {
            Parsed::Mapping { document, .. } => {
                let found = references(document.root(), &file.parent());
                self.references.insert(file.clone(), found);
            }
            // It has to be mended, and what it means to refer to must not go out by itself meanwhile.
            Parsed::Wrong(_) => {
                let found = mentioned(&bytes, file);
                self.references
                    .entry(file.clone())
                    .or_default()
                    .extend(found);
            }
            Parsed::Empty => {}
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

    /// What a file's content says about its being finished.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn content(&mut self, file: &RelPath) -> io::Result<Content> {
        match classify(file.name()) {
            Class::Medium(_) => {
                let (probe, unfilled) = self.medium(file)?;
                Ok(match &probe.wholeness {
                    Wholeness::Partial { missing } => Content::Partial(missing.clone()),
                    Wholeness::Whole | Wholeness::Unknowable if probe.bytes == 0 => {
                        Content::Partial("it is empty".to_owned())
                    }
                    // Its beginning may come last.
                    Wholeness::Whole | Wholeness::Unknowable if probe.format.is_none() => {
                        Content::Partial("its content is of no known kind".to_owned())
                    }
                    // Its structure may be all there, and the pictures not yet.
                    Wholeness::Whole | Wholeness::Unknowable if unfilled => Content::Partial(
                        "room is reserved for it that is not filled yet".to_owned(),
                    ),
                    Wholeness::Whole => Content::Whole,
                    Wholeness::Unknowable => Content::Unknowable,
                })
            }
            Class::Sidecar => Ok(match self.sidecar(file)?.as_ref() {
                Parsed::Mapping { .. } => Content::Whole,
                Parsed::Empty => Content::Partial("it is empty".to_owned()),
                Parsed::Wrong(_) => Content::Unknowable,
            }),
            Class::Other => Ok(Content::Unknowable),
        }
    }

    /// The layers of defaults for a folder, from the inbox down, each as it is now and was for `settle`: half of them would be
    /// another request than the one that somebody meant.
    ///
    /// # Errors
    /// A file of defaults that cannot be used, or not yet: jobs wait until it can.
    pub fn defaults(
        &mut self,
        folder: &RelPath,
        settle: Duration,
        now: Instant,
    ) -> Result<Vec<Layer>, Unusable> {
        let mut layers = Vec::new();
        let mut problems = Vec::new();
        let mut at = RelPath::default();
        let mut folders = vec![at.clone()];
        for part in folder.as_path().components() {
            at = at.join(part.as_os_str());
            folders.push(at.clone());
        }
        for folder in folders {
            let label = folder.join(OsStr::new(DEFAULTS)).to_string();
            let seen = match self.look_at_defaults(&folder, settle, now) {
                Ok(seen) => seen,
                Err(problem) => {
                    problems.push(*problem);
                    continue;
                }
            };
            if let Some(look_again) = seen.unsettled(settle, now) {
                return Err(Unusable::Unsettled {
                    label,
                    gone: seen.version.is_none(),
                    look_again,
                });
            }
            match seen.parsed.as_deref() {
                None | Some(Parsed::Empty) => {}
                Some(Parsed::Wrong(findings)) => problems.extend(findings.iter().cloned()),
                Some(Parsed::Mapping { document, values }) => layers.push(Layer {
                    label,
                    folder: folder.clone(),
                    values: values.clone(),
                    document: Some((document.clone(), Vec::new())),
                }),
            }
        }
        if problems.is_empty() {
            Ok(layers)
        } else {
            Err(Unusable::Wrong(problems))
        }
    }

    /// Notes that the writer of a folder's defaults closed them, or that somebody writes to them again.
    pub fn note_defaults(&mut self, folder: &RelPath, closed: bool, now: Instant) {
        let path = self.absolute(&folder.join(OsStr::new(DEFAULTS)));
        // What cannot be looked at is told of when it is wanted.
        let Ok(version) = stamp(&path) else {
            return;
        };
        let seen = self
            .defaults
            .entry(folder.clone())
            .or_insert_with(|| Defaults::new(version, now));
        if seen.version != version {
            *seen = Defaults::new(version, now);
        }
        seen.closed = closed;
    }

    fn look_at_defaults(
        &mut self,
        folder: &RelPath,
        settle: Duration,
        now: Instant,
    ) -> Result<&Defaults, Box<Finding>> {
        let file = folder.join(OsStr::new(DEFAULTS));
        let path = self.absolute(&file);
        let wrong =
            |message: String, hint: &str| Box::new(Finding::about(file.to_string(), message, hint));
        // Only a file that is not there means that there are no defaults: leaving out a limit that somebody wrote would cost.
        let version = match stamp(&path) {
            Ok(Some(version)) => Some(version),
            Ok(None) => {
                return Err(wrong(
                    "it is a link or no file at all, and links are not followed".to_owned(),
                    "put a file there",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(wrong(
                    format!("it cannot be looked at: {error}"),
                    "mend the folder's permissions",
                ));
            }
        };
        let first = !self.defaults.contains_key(folder);
        let seen = self
            .defaults
            .entry(folder.clone())
            .or_insert_with(|| Defaults::new(version, now));
        if seen.version != version {
            *seen = Defaults::new(version, now);
        }
        if first {
            seen.old = version.is_none_or(|version| is_older(&version, settle));
        }
        if seen.version.is_some() && seen.parsed.is_none() {
            let parsed = match parse_file(&path, &file.to_string()) {
                Ok(parsed) => parsed,
                Err(error) => Parsed::Wrong(vec![*wrong(
                    format!("it cannot be read: {error}"),
                    "make it readable for the user that taxiway runs as",
                )]),
            };
            // Half a text may be one as well: what changed while it was read is read again.
            if !matches!(stamp(&path), Ok(after) if after == version) {
                *seen = Defaults::new(version, now);
            }
            seen.parsed = Some(Arc::new(parsed));
        }
        Ok(seen)
    }
}

/// Whether a version was written longer ago than `settle`, by the clock on the wall. Good enough where nothing was seen of its
/// writing, so that a start need not wait.
fn is_older(version: &Stamp, settle: Duration) -> bool {
    let age = jiff::Timestamp::now()
        .as_nanosecond()
        .saturating_sub(version.mtime);
    u128::try_from(age).is_ok_and(|age| age >= settle.as_nanos())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use std::fs;

    const SETTLE: Duration = Duration::from_secs(5);

    fn tree() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path().to_owned(), Ignore::new(&[]).unwrap());
        (dir, tree)
    }

    fn root() -> RelPath {
        RelPath::default()
    }

    #[test]
    fn defaults_count_once_they_are_quiet() {
        let (dir, mut tree) = tree();
        let now = Instant::now();
        assert!(tree.defaults(&root(), SETTLE, now).unwrap().is_empty());
        fs::write(dir.path().join(DEFAULTS), "model: gen4_turbo\n").unwrap();
        assert!(matches!(
            tree.defaults(&root(), SETTLE, now),
            Err(Unusable::Unsettled { gone: false, look_again, .. }) if look_again == now + SETTLE
        ));
        // More text is another version, whose time begins anew.
        let later = now + SETTLE / 2;
        fs::write(
            dir.path().join(DEFAULTS),
            "model: gen4_turbo\nduration: 5\n",
        )
        .unwrap();
        assert!(tree.defaults(&root(), SETTLE, later).is_err());
        assert!(tree.defaults(&root(), SETTLE, now + SETTLE).is_err());
        let layers = tree.defaults(&root(), SETTLE, later + SETTLE).unwrap();
        assert!(layers.first().is_some_and(|layer| layer.values.len() == 2));
    }

    #[test]
    fn defaults_that_their_writer_closed_count_at_once_unless_they_are_empty() {
        let (dir, mut tree) = tree();
        let now = Instant::now();
        assert!(tree.defaults(&root(), SETTLE, now).is_ok());
        fs::write(dir.path().join(DEFAULTS), "").unwrap();
        tree.note_defaults(&root(), true, now);
        assert!(tree.defaults(&root(), SETTLE, now).is_err());
        fs::write(dir.path().join(DEFAULTS), "model: gen4_turbo\n").unwrap();
        assert!(tree.defaults(&root(), SETTLE, now).is_err());
        tree.note_defaults(&root(), true, now);
        // They may be closed after every line.
        assert!(tree.defaults(&root(), SETTLE, now).is_err());
        let soon = now + TEXT_SETTLE;
        assert_eq!(tree.defaults(&root(), SETTLE, soon).unwrap().len(), 1);
        // Somebody opens them again.
        tree.note_defaults(&root(), false, now);
        assert!(tree.defaults(&root(), SETTLE, now).is_err());
    }

    #[test]
    fn old_defaults_count_at_once_at_the_start() {
        let (dir, mut tree) = tree();
        let file = fs::File::create(dir.path().join(DEFAULTS)).unwrap();
        fs::write(dir.path().join(DEFAULTS), "model: gen4_turbo\n").unwrap();
        let hour = Duration::from_secs(3600);
        file.set_modified(std::time::SystemTime::now() - hour)
            .unwrap();
        let layers = tree.defaults(&root(), SETTLE, Instant::now()).unwrap();
        assert_eq!(layers.len(), 1);
    }

    #[test]
    fn defaults_that_an_editor_moves_away_for_a_moment_are_not_left_out() {
        let (dir, mut tree) = tree();
        let now = Instant::now();
        fs::write(dir.path().join(DEFAULTS), "max_credits: 5\n").unwrap();
        tree.note_defaults(&root(), true, now);
        assert!(tree.defaults(&root(), SETTLE, now + TEXT_SETTLE).is_ok());
        fs::remove_file(dir.path().join(DEFAULTS)).unwrap();
        assert!(matches!(
            tree.defaults(&root(), SETTLE, now),
            Err(Unusable::Unsettled { gone: true, .. })
        ));
        assert!(
            tree.defaults(&root(), SETTLE, now + SETTLE)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn row_07_folders_that_are_gone_are_told_once() {
        let (dir, mut tree) = tree();
        let now = Instant::now();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let scan = |tree: &mut Tree, path: &str| {
            let path = RelPath::new(Path::new(path)).unwrap();
            tree.scan(&path, &|_| Writer::Unknown, now).unwrap()
        };
        assert_eq!(scan(&mut tree, "").len(), 1);
        assert_eq!(scan(&mut tree, "a").len(), 1);
        assert!(scan(&mut tree, "a/b").is_empty());
        fs::remove_dir_all(dir.path().join("a")).unwrap();
        scan(&mut tree, "");
        assert_eq!(tree.take_gone().len(), 2);
        assert!(tree.take_gone().is_empty());
        assert!(tree.contains(&root()));
    }
}
