//! Finds the configuration, reads it, and checks that everything in it fits together.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::ConfigError;
use super::fit::{check_folders, check_names};
use super::inbox::{self, Inbox, ReadInbox};
use super::notify::{self, Notify};
use super::reader::{Reader, Section, normalize, size, text};
use super::runway::{self, Runway};
use super::surroundings::{Env, Surroundings, variable};
use super::web::{self, Web};
use crate::diagnostic::{Diagnostic, Place};
use crate::policy::budget::SpendLimits;
use crate::yaml::{self, Document, Node};

/// The largest input by default, in bytes: what the API takes at most as an upload.
pub const MAX_INPUT_SIZE: u64 = 200_000_000;

/// Everything that is configured.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file it was read from, absolute; `None` where a command made it up (`taxiway demo`).
    pub file: Option<PathBuf>,
    /// The folder of the journal, and of the lock that keeps a second daemon away.
    pub state_dir: PathBuf,
    /// What stores the journal.
    pub journal: JournalKind,
    /// How Runway is reached.
    pub runway: Runway,
    /// The watched folders, at least one.
    pub inboxes: Vec<Inbox>,
    /// What is refused or put off.
    pub limits: Limits,
    /// Who is notified of what.
    pub notify: Notify,
    /// The status page.
    pub web: Web,
}

/// What stores the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalKind {
    /// A SQLite file in the state directory.
    Sqlite,
}

/// What is refused or put off.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// The most credits that may be spent.
    pub spending: SpendLimits,
    /// The largest input, in bytes.
    pub max_input_size: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            spending: SpendLimits::default(),
            max_input_size: MAX_INPUT_SIZE,
        }
    }
}

/// Finds the configuration and reads it: `explicit` (from `--config`), else `$TAXIWAY_CONFIG`, else `./taxiway.yaml`,
/// else `/etc/taxiway/taxiway.yaml`. One that is named must be there; no other is looked for then.
///
/// # Errors
/// No configuration, an unreadable one, or all the problems of one that can be read.
pub fn load(explicit: Option<&Path>, env: Env<'_>) -> Result<Config, ConfigError> {
    let file = find(explicit, env)?;
    let unreadable = |source| ConfigError::Unreadable {
        file: file.clone(),
        source,
    };
    let mut bytes = Vec::new();
    std::fs::File::open(&file)
        // One byte more than is allowed shows that there are too many.
        .and_then(|opened| {
            opened
                .take(yaml::MAX_BYTES as u64 + 1)
                .read_to_end(&mut bytes)
        })
        .map_err(unreadable)?;
    read(&bytes, &file, env, &Surroundings::of_this_machine())
}

/// Reads a configuration from its text. `file` is its path, absolute: relative paths start from its folder.
/// Depends on nothing but its arguments.
///
/// # Errors
/// All the problems that it has.
pub(super) fn read(
    bytes: &[u8],
    file: &Path,
    env: Env<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<Config, ConfigError> {
    yaml::parse_bytes(bytes)
        .and_then(|document| read_document(Arc::new(document), file, env, surroundings))
        .map_err(|problems| {
            let source = file.display().to_string();
            let in_file = |problem: Diagnostic| problem.in_source(source.clone());
            ConfigError::Invalid(problems.into_iter().map(in_file).collect())
        })
}

fn read_document(
    document: Arc<Document>,
    file: &Path,
    env: Env<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<Config, Vec<Diagnostic>> {
    if *document.root() == Node::Null {
        let empty = Diagnostic::new(
            "there is nothing in the file",
            "write `key: value` lines, or delete the file",
        );
        return Err(vec![empty.at(Some(Place::START))]);
    }
    let base = file.parent().unwrap_or(Path::new("/"));
    let mut reader = Reader::new(&document, base);
    let config = reader.root(|root| read_root(root, file, env, surroundings));
    let problems = reader.finish();
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(problems)
    }
}

fn read_root(
    root: &mut Section<'_, '_>,
    file: &Path,
    env: Env<'_>,
    surroundings: &Surroundings<'_>,
) -> Config {
    let state_dir = root.take_path("state_dir");
    let state_dir = state_dir.unwrap_or_else(|| default_state_dir(env, root.base()));
    let journal = root.take("journal", parse_journal);
    let runway = root.section("runway", |section| runway::read(section, env));
    let inboxes = read_inboxes(root, surroundings);
    let limits = root.section("limits", |section| Limits {
        spending: inbox::read_spending(section),
        max_input_size: section
            .take("max_input_size", size)
            .unwrap_or(MAX_INPUT_SIZE),
    });
    let notify = root.section("notify", notify::read);
    let web = root.section("web", web::read);
    check_names(root, &inboxes);
    check_folders(root, &state_dir, file, &inboxes, surroundings);
    Config {
        file: Some(file.to_owned()),
        state_dir,
        journal: journal.unwrap_or(JournalKind::Sqlite),
        runway,
        inboxes: inboxes.into_iter().map(|read| read.inbox).collect(),
        limits,
        notify,
        web,
    }
}

fn read_inboxes(root: &mut Section<'_, '_>, surroundings: &Surroundings<'_>) -> Vec<ReadInbox> {
    let inboxes = root.sections("inboxes", "an inbox", |section| {
        inbox::read(section, surroundings)
    });
    const NONE: &str = "no inbox is configured, so that there is nothing to watch";
    const ADD: &str = "add `inboxes:` and below it `  - path: /the/folder`";
    match root.node("inboxes") {
        // A document that is not a mapping has been reported as such.
        None if root.is_mapping() => root.report_missing(NONE, ADD),
        Some(Node::Null | Node::Seq(_)) if inboxes.is_empty() => root.report("inboxes", NONE, ADD),
        None | Some(_) => {}
    }
    inboxes.into_iter().flatten().collect()
}

/// `$STATE_DIRECTORY`, which systemd sets and which may list several, else `.taxiway` next to the configuration.
fn default_state_dir(env: Env<'_>, base: &Path) -> PathBuf {
    variable(env, "STATE_DIRECTORY")
        .and_then(|folders| std::env::split_paths(&folders).next())
        .map_or_else(
            || base.join(".taxiway"),
            |folder| normalize(&base.join(folder)),
        )
}

fn parse_journal(node: &Node) -> Result<JournalKind, Diagnostic> {
    let text = text(node)?;
    let message = if text == "sqlite" {
        return Ok(JournalKind::Sqlite);
    } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        "names a PostgreSQL database, which this version cannot use yet".to_owned()
    } else if text.contains("://") {
        // A URL may contain a password, so that it is not repeated, however it begins.
        "names a database, which cannot be used".to_owned()
    } else {
        format!("cannot be `{text}`")
    };
    Err(Diagnostic::new(
        message,
        "write `sqlite`, or delete the line",
    ))
}

/// The file to read, absolute.
fn find(explicit: Option<&Path>, env: Env<'_>) -> Result<PathBuf, ConfigError> {
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|source| ConfigError::Unreadable {
            file: path.to_owned(),
            source,
        })
    };
    if let Some(path) = explicit {
        return absolute(path);
    }
    if let Some(path) = variable(env, "TAXIWAY_CONFIG") {
        return absolute(Path::new(&path));
    }
    let places = [
        absolute(Path::new("taxiway.yaml"))?,
        PathBuf::from("/etc/taxiway/taxiway.yaml"),
    ];
    for place in &places {
        match place.try_exists() {
            Ok(true) => return Ok(place.clone()),
            Ok(false) => {}
            Err(source) => {
                return Err(ConfigError::Unreadable {
                    file: place.clone(),
                    source,
                });
            }
        }
    }
    Err(ConfigError::NotFound {
        looked: places.to_vec(),
    })
}
