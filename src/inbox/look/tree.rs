//! What was last seen below an inbox, and what was read from the files there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::files::names::stem;
use crate::files::{RelPath, Stamp, ends_in_zeros, folder_times, has_hole, open_plain};
use crate::inbox::look::defaults::Defaults;
use crate::inbox::look::references::{ReferencedNames, References};
use crate::inbox::look::scan::{Entry, Ignore, read_folder};
use crate::inbox::look::settle::{Content, Sighting, Writer, update_sighting};
use crate::media::{self, Probe, Wholeness};
use crate::sidecar::local_path::{collect_references, find_mentioned, respell};
use crate::sidecar::names::{Class, classify, nfc_key};
use crate::sidecar::text::{Parsed, parse_sidecar, read_text};

/// One file as it was last seen.
#[derive(Debug, Clone)]
struct FileEntry {
    sighting: Sighting,
    /// What was read from this version.
    content: Option<FileContent>,
}

impl FileEntry {
    /// The entry after another scan. What was read stays while the version is the same.
    fn update(before: Option<FileEntry>, stamp: Stamp, writer: Writer, now: Instant) -> FileEntry {
        let known = before.as_ref().map(|before| &before.sighting);
        FileEntry {
            sighting: update_sighting(known, stamp, writer, now),
            content: before
                .filter(|before| before.sighting.stamp == stamp)
                .and_then(|before| before.content),
        }
    }
}

#[derive(Debug, Clone)]
enum FileContent {
    Medium {
        probe: Arc<Probe>,
        /// Whether space is reserved for it that is not filled yet, as far as can be seen.
        unfilled: bool,
    },
    Sidecar(Arc<Parsed>),
}

#[derive(Debug, Default)]
struct FolderEntry {
    /// The folder's own times just before it was read; `None` where they cannot prove that nothing has changed since.
    times: Option<(i128, i128)>,
    files: BTreeMap<OsString, FileEntry>,
    /// What is not looked into, such as links, with the reason.
    skipped: BTreeMap<OsString, &'static str>,
    folders: BTreeSet<OsString>,
    /// When a sidecar was found to be gone, by the [`nfc_key`] of what it was for. Editors move a sidecar away before they write
    /// it again.
    sidecar_gone_at: HashMap<Vec<u8>, Instant>,
}

impl FolderEntry {
    /// Forgets when sidecars went that are for no file in this folder.
    fn prune_gone_sidecars(&mut self) {
        if self.sidecar_gone_at.is_empty() {
            return;
        }
        let here: BTreeSet<Vec<u8>> = self
            .files
            .keys()
            .flat_map(|name| [nfc_key(name), nfc_key(stem(name))])
            .collect();
        self.sidecar_gone_at.retain(|name, _| here.contains(name));
    }
}

/// What was last seen below an inbox.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    ignore: Ignore,
    folders: HashMap<RelPath, FolderEntry>,
    /// Folders that were found to be gone since [`Tree::take_gone`].
    gone: Vec<RelPath>,
    defaults: Defaults,
    references: References,
}

/// While a folder's times are younger than this, in nanoseconds, they prove nothing: another change may fall into the same tick
/// of the filesystem's clock.
const RACY: i128 = 2_000_000_000;

impl Tree {
    /// A tree in which nothing was seen yet.
    pub fn new(root: PathBuf, ignore: Ignore) -> Tree {
        Tree {
            defaults: Defaults::new(root.clone()),
            root,
            ignore,
            folders: HashMap::new(),
            gone: Vec::new(),
            references: References::default(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The absolute path of a path below the inbox.
    pub fn absolute(&self, path: &RelPath) -> PathBuf {
        self.root.join(path.as_path())
    }

    /// The files of defaults.
    pub(crate) fn defaults(&mut self) -> &mut Defaults {
        &mut self.defaults
    }

    /// All folders that were seen.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &RelPath> {
        self.folders.keys()
    }

    /// Whether a folder was seen and is not known to be gone.
    pub(crate) fn contains(&self, folder: &RelPath) -> bool {
        self.folders.contains_key(folder)
    }

    /// The folders that were found to be gone since the last call.
    pub(crate) fn take_gone(&mut self) -> Vec<RelPath> {
        let mut gone = std::mem::take(&mut self.gone);
        gone.retain(|folder| !self.contains(folder));
        gone
    }

    /// Scans one folder. Returns the new folders in it, which have to be scanned, too. A folder that is gone is forgotten with
    /// everything below it.
    ///
    /// # Errors
    /// The folder cannot be read, for instance because of its permissions; what was seen before stays.
    pub fn scan(
        &mut self,
        path: &RelPath,
        writer: &dyn Fn(&Path) -> Writer,
        now: Instant,
    ) -> io::Result<Vec<RelPath>> {
        let absolute = self.absolute(path);
        let times = self.read_times(path);
        let entries = match read_folder(&absolute, &self.ignore) {
            Ok(entries) => entries,
            Err(error)
                if !path.is_root()
                    && matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
            {
                self.forget_below(path);
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut before = self.folders.remove(path).unwrap_or_default();
        let mut folder = FolderEntry {
            times,
            sidecar_gone_at: std::mem::take(&mut before.sidecar_gone_at),
            ..FolderEntry::default()
        };
        let mut new = Vec::new();
        for (name, entry) in entries {
            let skipped = match entry {
                Entry::File(stamp) => {
                    let known = before.files.remove(&name);
                    let writer = writer(&absolute.join(&name));
                    // What a sidecar referred to stays its own until it says otherwise: it may be half written.
                    let file = FileEntry::update(known, stamp, writer, now);
                    folder.files.insert(name, file);
                    continue;
                }
                Entry::Folder => {
                    let below = path.join(&name);
                    if !before.folders.remove(&name) || !self.folders.contains_key(&below) {
                        new.push(below);
                    }
                    folder.folders.insert(name);
                    continue;
                }
                Entry::Unreadable => {
                    // What a sidecar referred to stays its own while it cannot be read.
                    before.files.remove(&name);
                    "it cannot be accessed: check its disk or share"
                }
                Entry::Link => "it is a link, and links are not followed: drop the file itself",
                Entry::Special => "it is neither a file nor a folder",
            };
            folder.skipped.insert(name, skipped);
        }
        self.folders.insert(path.clone(), folder);
        self.note_gone(path, before, now);
        Ok(new)
    }

    /// Forgets the files and folders that are gone from a folder, and notes which files lost a sidecar.
    fn note_gone(&mut self, path: &RelPath, gone: FolderEntry, now: Instant) {
        for folder in gone.folders {
            self.forget_below(&path.join(&folder));
        }
        for name in gone.files.into_keys() {
            for file in self.references.remove(&path.join(&name)) {
                if let Some(folder) = self.folders.get_mut(&file.parent()) {
                    folder.sidecar_gone_at.insert(nfc_key(file.name()), now);
                }
            }
            if classify(&name) == Class::Sidecar
                && let Some(folder) = self.folders.get_mut(path)
            {
                folder.sidecar_gone_at.insert(nfc_key(stem(&name)), now);
            }
        }
        if let Some(folder) = self.folders.get_mut(path) {
            folder.prune_gone_sidecars();
        }
    }

    /// Whether no name in a folder has come or gone since it was scanned, as far as the folder's own times show it. Files that
    /// were written in place do not change them.
    pub(crate) fn is_unchanged(&self, path: &RelPath) -> bool {
        let before = self.folders.get(path).and_then(|folder| folder.times);
        before.is_some() && before == self.read_times(path)
    }

    fn read_times(&self, path: &RelPath) -> Option<(i128, i128)> {
        let (mtime, ctime) = folder_times(&self.absolute(path)).unwrap_or_default()?;
        let now = jiff::Timestamp::now().as_nanosecond();
        (now.saturating_sub(mtime.max(ctime)) > RACY).then_some((mtime, ctime))
    }

    fn forget_below(&mut self, path: &RelPath) {
        self.references.forget_below(path);
        let gone = self
            .folders
            .extract_if(|folder, _| folder.as_path().starts_with(path.as_path()));
        self.gone.extend(gone.map(|(folder, _)| folder));
        self.defaults.forget_below(path);
    }

    /// Forgets a file that was taken.
    pub(crate) fn forget_file(&mut self, file: &RelPath) {
        self.references.remove(file);
        if let Some(folder) = self.folders.get_mut(&file.parent()) {
            folder.files.remove(file.name());
        }
    }

    /// The names of the files in a folder.
    pub(crate) fn names(&self, folder: &RelPath) -> Vec<OsString> {
        self.folders
            .get(folder)
            .map(|folder| folder.files.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// What is not looked into in a folder, with the reason.
    pub(crate) fn skipped(&self, folder: &RelPath) -> impl Iterator<Item = (&OsStr, &'static str)> {
        let skipped = self.folders.get(folder).map(|folder| &folder.skipped);
        let skipped = skipped.into_iter().flatten();
        skipped.map(|(name, why)| (name.as_os_str(), *why))
    }

    /// When a file lost a sidecar, which may come back in a moment.
    pub(crate) fn sidecar_gone_at(&self, file: &RelPath) -> Option<Instant> {
        let gone = &self.folders.get(&file.parent())?.sidecar_gone_at;
        if gone.is_empty() {
            return None;
        }
        let name = file.name();
        [nfc_key(name), nfc_key(stem(name))]
            .iter()
            .filter_map(|name| gone.get(name))
            .max()
            .copied()
    }

    /// A file as it was last seen.
    pub(crate) fn sighting(&self, file: &RelPath) -> Option<Sighting> {
        self.entry(file).map(|entry| entry.sighting)
    }

    /// The path under which a file was seen: names may be written in another form of Unicode.
    pub(crate) fn find_seen(&self, wanted: &RelPath) -> Option<RelPath> {
        // Usually the names are the same, and there may be thousands of them.
        if self.entry(wanted).is_some() {
            return Some(wanted.clone());
        }
        let names = |folder: &RelPath| -> Vec<OsString> {
            let folder = self.folders.get(folder).into_iter();
            folder
                .flat_map(|folder| folder.files.keys().chain(&folder.folders))
                .cloned()
                .collect()
        };
        respell(wanted, names).filter(|there| self.entry(there).is_some())
    }

    fn entry(&self, file: &RelPath) -> Option<&FileEntry> {
        self.folders.get(&file.parent())?.files.get(file.name())
    }

    fn set_content(&mut self, file: &RelPath, content: FileContent) {
        if let Some(folder) = self.folders.get_mut(&file.parent())
            && let Some(entry) = folder.files.get_mut(file.name())
        {
            entry.content = Some(content);
        }
    }

    /// What a medium is. Read once for each version.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn probe(&mut self, file: &RelPath) -> io::Result<Arc<Probe>> {
        self.read_medium(file).map(|(probe, _)| probe)
    }

    /// What a medium is, and whether space is reserved for it that is not filled yet.
    fn read_medium(&mut self, file: &RelPath) -> io::Result<(Arc<Probe>, bool)> {
        let known = self.entry(file).and_then(|entry| entry.content.as_ref());
        if let Some(FileContent::Medium { probe, unfilled }) = known {
            return Ok((probe.clone(), *unfilled));
        }
        let mut opened = open_plain(&self.absolute(file))?;
        // Before the content is read: a hole that is filled meanwhile is noticed at the next scan.
        let hole = has_hole(&opened)?;
        let probe = Arc::new(media::probe(&mut opened)?);
        // Where the rest is shorter than a block there is no hole. A whole sound may well end in zeros.
        let unfilled = hole || probe.wholeness == Wholeness::Unknowable && ends_in_zeros(&opened)?;
        let content = FileContent::Medium {
            probe: probe.clone(),
            unfilled,
        };
        self.set_content(file, content);
        Ok((probe, unfilled))
    }

    /// What a sidecar says. Read once for each version.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read_sidecar(&mut self, file: &RelPath) -> io::Result<Arc<Parsed>> {
        let known = self.entry(file).and_then(|entry| entry.content.as_ref());
        if let Some(FileContent::Sidecar(parsed)) = known {
            return Ok(parsed.clone());
        }
        let bytes = read_text(&self.absolute(file))?;
        let parsed = Arc::new(parse_sidecar(&bytes, &file.to_string()));
        match parsed.as_ref() {
            Parsed::Mapping { document, .. } => {
                let found = collect_references(document.root(), &file.parent());
                self.references.set(file, found);
            }
            // It has to be fixed, and meanwhile the files that it seems to name are no jobs of their own.
            Parsed::Wrong(_) => self.references.add(file, find_mentioned(&bytes, file)),
            Parsed::Empty => {}
        }
        self.set_content(file, FileContent::Sidecar(parsed.clone()));
        Ok(parsed)
    }

    /// Reads all sidecars of a folder that were not read yet.
    pub fn read_sidecars(&mut self, folder: &RelPath) {
        for name in self.names(folder) {
            if classify(&name) == Class::Sidecar {
                let file = folder.join(&name);
                if let Err(error) = self.read_sidecar(&file) {
                    tracing::debug!(%file, %error, "the sidecar cannot be read yet");
                }
            }
        }
    }

    /// What a file's content says about whether the file is finished.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read_content(&mut self, file: &RelPath) -> io::Result<Content> {
        match classify(file.name()) {
            Class::Medium(_) => {
                let (probe, unfilled) = self.read_medium(file)?;
                Ok(match &probe.wholeness {
                    Wholeness::Partial { missing } => Content::Partial(missing.clone()),
                    Wholeness::Whole | Wholeness::Unknowable if probe.bytes == 0 => {
                        Content::Partial("it is empty".to_owned())
                    }
                    // Its beginning may be written last.
                    Wholeness::Whole | Wholeness::Unknowable if probe.format.is_none() => {
                        Content::Partial("its content is of an unknown kind".to_owned())
                    }
                    // Its structure may be complete, and the pictures not yet.
                    Wholeness::Whole | Wholeness::Unknowable if unfilled => Content::Partial(
                        "space is reserved for it that is not filled yet".to_owned(),
                    ),
                    Wholeness::Whole => Content::Whole,
                    Wholeness::Unknowable => Content::Unknowable,
                })
            }
            Class::Sidecar => Ok(match self.read_sidecar(file)?.as_ref() {
                Parsed::Mapping { .. } => Content::Whole,
                Parsed::Empty => Content::Partial("it is empty".to_owned()),
                Parsed::Wrong(_) => Content::Unknowable,
            }),
            Class::Other => Ok(Content::Unknowable),
        }
    }

    /// The names that sidecars refer to.
    pub fn collect_references(&self) -> ReferencedNames {
        self.references.collect_names()
    }

    /// The files that only this sidecar refers to: media that are there, that no other sidecar names, and that have no sidecar
    /// of their own.
    pub(crate) fn own_references(&self, sidecar: &RelPath) -> Vec<RelPath> {
        // Most texts in a sidecar are prompts and not names of files, and thousands of sidecars may be wrong at once.
        let media = self.references.of(sidecar).iter();
        let media = media.filter(|file| matches!(classify(file.name()), Class::Medium(_)));
        let mut own: Vec<RelPath> = Vec::new();
        for file in media.filter_map(|wanted| self.find_seen(wanted)) {
            if !own.contains(&file)
                && !self.references.is_named_by_another(&file, sidecar)
                && !self.has_another_sidecar(&file, sidecar)
            {
                own.push(file);
            }
        }
        own
    }

    /// Whether there is a sidecar for a medium other than this one.
    fn has_another_sidecar(&self, medium: &RelPath, sidecar: &RelPath) -> bool {
        [medium.name(), stem(medium.name())].iter().any(|name| {
            [".yaml", ".yml"].iter().any(|ending| {
                let mut name = name.to_os_string();
                name.push(ending);
                let another = medium.with_name(&name);
                another != *sidecar && self.entry(&another).is_some()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn row_07_folders_that_are_gone_are_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = Tree::new(dir.path().to_owned(), Ignore::new(&[]).unwrap());
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
        assert!(tree.contains(&RelPath::default()));
    }
}
