//! Files of defaults, as they were last seen: which of them count, and which are still being written.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::diagnostic::Diagnostic;
use crate::files::{RelPath, Stamp, stamp};
use crate::inbox::pace::TEXT_SETTLE;
use crate::sidecar::layers::Layer;
use crate::sidecar::text::{Parsed, parse_file};

/// The name of the file with defaults for a folder and everything below it.
pub(crate) const DEFAULTS: &str = "_defaults.yaml";

/// The files of defaults below an inbox.
#[derive(Debug)]
pub(crate) struct Defaults {
    root: PathBuf,
    /// By folder, those that were asked for.
    files: HashMap<RelPath, DefaultsFile>,
}

/// A folder's file of defaults as it was last seen.
#[derive(Debug)]
struct DefaultsFile {
    /// `None` while there is none.
    version: Option<Stamp>,
    /// When this version, or that there is none, was first seen.
    since: Instant,
    /// Whether its writer closed it and nobody has written to it since.
    closed: bool,
    /// Whether it was old already when the folder was first scanned.
    old: bool,
    /// What was read from this version.
    parsed: Option<Arc<Parsed>>,
}

impl DefaultsFile {
    fn new(version: Option<Stamp>, now: Instant) -> DefaultsFile {
        DefaultsFile {
            version,
            since: now,
            closed: false,
            old: false,
            parsed: None,
        }
    }

    /// When this version counts if nothing changes until then; `None` if it counts now.
    fn unsettled_until(&self, settle: Duration, now: Instant) -> Option<Instant> {
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
pub(crate) enum Unusable {
    /// Somebody is writing them.
    Unsettled {
        /// The path of the file, for people.
        label: String,
        /// Whether it was removed a moment ago, as editors do before they write it again.
        gone: bool,
        /// When to check again if nothing changes until then.
        look_again: Instant,
    },
    /// They have to be fixed: all their problems.
    Wrong(Vec<Diagnostic>),
}

impl Defaults {
    pub(crate) fn new(root: PathBuf) -> Defaults {
        Defaults {
            root,
            files: HashMap::new(),
        }
    }

    /// The layers of defaults for a folder, from the inbox down, each unchanged for `settle`: half of a text would make
    /// another request than the one its author means.
    ///
    /// # Errors
    /// A file of defaults cannot be used, or not yet: jobs wait until it can.
    pub(crate) fn load_layers(
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
            let file = match self.update(&folder, settle, now) {
                Ok(file) => file,
                Err(problem) => {
                    problems.push(*problem);
                    continue;
                }
            };
            if let Some(look_again) = file.unsettled_until(settle, now) {
                return Err(Unusable::Unsettled {
                    label,
                    gone: file.version.is_none(),
                    look_again,
                });
            }
            match file.parsed.as_deref() {
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
    pub(crate) fn note_writer(&mut self, folder: &RelPath, closed: bool, now: Instant) {
        let path = self.root.join(folder.as_path()).join(DEFAULTS);
        // The error is reported when the file is needed.
        if let Ok(version) = stamp(&path) {
            self.see(folder, version, now).closed = closed;
        }
    }

    /// Forgets the files in a folder and below it.
    pub(crate) fn forget_below(&mut self, folder: &RelPath) {
        self.files
            .retain(|at, _| !at.as_path().starts_with(folder.as_path()));
    }

    /// The entry of a folder's file, which starts over where it is another version.
    fn see(&mut self, folder: &RelPath, version: Option<Stamp>, now: Instant) -> &mut DefaultsFile {
        let file = self
            .files
            .entry(folder.clone())
            .or_insert_with(|| DefaultsFile::new(version, now));
        if file.version != version {
            *file = DefaultsFile::new(version, now);
        }
        file
    }

    /// Checks whether a folder's file has changed, and reads it if it has.
    fn update(
        &mut self,
        folder: &RelPath,
        settle: Duration,
        now: Instant,
    ) -> Result<&DefaultsFile, Box<Diagnostic>> {
        let file = folder.join(OsStr::new(DEFAULTS));
        let path = self.root.join(file.as_path());
        let wrong = |message: String, hint: &str| {
            Box::new(Diagnostic::of_file(file.to_string(), message, hint))
        };
        // Only a file that does not exist means that there are no defaults: to ignore a limit that somebody wrote would cost credits.
        let version = match stamp(&path) {
            Ok(Some(version)) => Some(version),
            Ok(None) => {
                return Err(wrong(
                    "it is a link or not a file, and links are not followed".to_owned(),
                    "replace it with a file",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(wrong(
                    format!("it cannot be accessed: {error}"),
                    "fix the folder's permissions",
                ));
            }
        };
        let first = !self.files.contains_key(folder);
        let seen = self.see(folder, version, now);
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
            // Half a text may be valid, too: if the file changed while it was read, it is read again.
            if !matches!(stamp(&path), Ok(after) if after == version) {
                *seen = DefaultsFile::new(version, now);
            }
            seen.parsed = Some(Arc::new(parsed));
        }
        Ok(seen)
    }
}

/// Whether a version was written longer ago than `settle` by the system's clock. That is good enough for files that nobody saw
/// being written, so that a start need not wait.
fn is_older(version: &Stamp, settle: Duration) -> bool {
    let age = jiff::Timestamp::now()
        .as_nanosecond()
        .saturating_sub(version.mtime);
    u128::try_from(age).is_ok_and(|age| age >= settle.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const SETTLE: Duration = Duration::from_secs(5);

    fn defaults() -> (tempfile::TempDir, Defaults) {
        let dir = tempfile::tempdir().unwrap();
        let defaults = Defaults::new(dir.path().to_owned());
        (dir, defaults)
    }

    fn root() -> RelPath {
        RelPath::default()
    }

    #[test]
    fn defaults_count_once_they_are_quiet() {
        let (dir, mut defaults) = defaults();
        let now = Instant::now();
        assert!(
            defaults
                .load_layers(&root(), SETTLE, now)
                .unwrap()
                .is_empty()
        );
        fs::write(dir.path().join(DEFAULTS), "model: gen4_turbo\n").unwrap();
        assert!(matches!(
            defaults.load_layers(&root(), SETTLE, now),
            Err(Unusable::Unsettled { gone: false, look_again, .. }) if look_again == now + SETTLE
        ));
        // More text is another version, whose time starts again.
        let later = now + SETTLE / 2;
        fs::write(
            dir.path().join(DEFAULTS),
            "model: gen4_turbo\nduration: 5\n",
        )
        .unwrap();
        assert!(defaults.load_layers(&root(), SETTLE, later).is_err());
        assert!(defaults.load_layers(&root(), SETTLE, now + SETTLE).is_err());
        let layers = defaults
            .load_layers(&root(), SETTLE, later + SETTLE)
            .unwrap();
        assert!(layers.first().is_some_and(|layer| layer.values.len() == 2));
    }

    #[test]
    fn defaults_that_their_writer_closed_count_at_once_unless_they_are_empty() {
        let (dir, mut defaults) = defaults();
        let now = Instant::now();
        assert!(defaults.load_layers(&root(), SETTLE, now).is_ok());
        fs::write(dir.path().join(DEFAULTS), "").unwrap();
        defaults.note_writer(&root(), true, now);
        assert!(defaults.load_layers(&root(), SETTLE, now).is_err());
        fs::write(dir.path().join(DEFAULTS), "model: gen4_turbo\n").unwrap();
        assert!(defaults.load_layers(&root(), SETTLE, now).is_err());
        defaults.note_writer(&root(), true, now);
        // They may be closed after every line.
        assert!(defaults.load_layers(&root(), SETTLE, now).is_err());
        let soon = now + TEXT_SETTLE;
        assert_eq!(
            defaults.load_layers(&root(), SETTLE, soon).unwrap().len(),
            1
        );
        // Somebody opens them again.
        defaults.note_writer(&root(), false, now);
        assert!(defaults.load_layers(&root(), SETTLE, now).is_err());
    }

    #[test]
    fn old_defaults_count_at_once_at_the_start() {
        let (dir, mut defaults) = defaults();
        let file = fs::File::create(dir.path().join(DEFAULTS)).unwrap();
        fs::write(dir.path().join(DEFAULTS), "model: gen4_turbo\n").unwrap();
        let hour = Duration::from_secs(3600);
        file.set_modified(std::time::SystemTime::now() - hour)
            .unwrap();
        let layers = defaults
            .load_layers(&root(), SETTLE, Instant::now())
            .unwrap();
        assert_eq!(layers.len(), 1);
    }

    #[test]
    fn defaults_that_an_editor_moves_away_for_a_moment_are_not_left_out() {
        let (dir, mut defaults) = defaults();
        let now = Instant::now();
        fs::write(dir.path().join(DEFAULTS), "max_credits: 5\n").unwrap();
        defaults.note_writer(&root(), true, now);
        assert!(
            defaults
                .load_layers(&root(), SETTLE, now + TEXT_SETTLE)
                .is_ok()
        );
        fs::remove_file(dir.path().join(DEFAULTS)).unwrap();
        assert!(matches!(
            defaults.load_layers(&root(), SETTLE, now),
            Err(Unusable::Unsettled { gone: true, .. })
        ));
        assert!(
            defaults
                .load_layers(&root(), SETTLE, now + SETTLE)
                .unwrap()
                .is_empty()
        );
    }
}
