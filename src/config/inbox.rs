//! The configuration's `inboxes`: the watched folders. Each key of an inbox is named here and nowhere else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::folders::{Configured, Folders, place_folders, place_status_file};
use super::reader::{Section, choice, credits, duration, or_auto, text};
use super::surroundings::Surroundings;
use crate::diagnostic::Diagnostic;
use crate::json::Step;
use crate::policy::budget::SpendLimits;
use crate::yaml::{Document, Node, to_json};

/// How long media waits for its sidecar by default.
const PAIR_WAIT: Duration = Duration::from_secs(10);

/// The shortest wait that makes sense: below it the daemon would do nothing but scan.
const SHORTEST: Duration = Duration::from_millis(100);

/// A watched folder and where its files go.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbox {
    /// Its name; no other inbox has the same.
    pub name: String,
    /// The folder, absolute.
    pub path: PathBuf,
    /// Where its files go.
    pub folders: Folders,
    /// How changes in it are noticed.
    pub watch: Watch,
    /// How often it is scanned; `None` for automatic.
    pub scan_interval: Option<Duration>,
    /// How long a file must be quiet before it counts as whole; `None` for automatic.
    pub settle: Option<Duration>,
    /// Whether an input is taken only once a marker says that it is finished (`cat.jpg.done`).
    pub marker_required: bool,
    /// How long media waits for its sidecar before the defaults alone make a job of it.
    pub pair_wait: Duration,
    /// What happens to the inputs of finished jobs.
    pub on_success: OnSuccess,
    /// The most credits that may be spent on its jobs.
    pub limits: SpendLimits,
    /// Where `STATUS.html` is written; `None` where it is off.
    pub status_file: Option<PathBuf>,
    /// `folders` and `status_file` for when a filesystem is mounted at the inbox itself. It may not be mounted at the
    /// moment; only the journal knows that then.
    pub on_mount: (Folders, Option<PathBuf>),
    /// Patterns of names that are not inputs, in addition to the built-in ones.
    pub ignore: Vec<String>,
    /// Keys that every sidecar of this inbox starts from.
    pub defaults: Defaults,
}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox {
            name: String::new(),
            path: PathBuf::new(),
            folders: Folders::default(),
            watch: Watch::Auto,
            scan_interval: None,
            settle: None,
            marker_required: false,
            pair_wait: PAIR_WAIT,
            on_success: OnSuccess::Keep,
            limits: SpendLimits::default(),
            status_file: None,
            on_mount: (Folders::default(), None),
            ignore: Vec::new(),
            defaults: Defaults::default(),
        }
    }
}

impl Inbox {
    /// Places everything as if a filesystem were mounted at the inbox itself.
    pub fn place_on_mount(&mut self) {
        let (folders, status_file) = self.on_mount.clone();
        self.folders = folders;
        self.status_file = status_file;
    }
}

/// How changes in an inbox are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// By events where the filesystem has them, else by scanning.
    Auto,
    /// By events, and a scan now and then.
    Events,
    /// By scanning alone.
    Scan,
}

/// What happens to the inputs of finished jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnSuccess {
    /// They go to `originals`.
    Keep,
    /// They are deleted.
    Delete,
}

/// An inbox's `defaults`: keys of a sidecar, unchecked, since their meaning depends on the sidecar that they are merged
/// with.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    /// The keys and values.
    pub values: Map<String, Value>,
    /// The configuration that they are in and the path to them, so that a problem can point at its place.
    pub source: Option<(Arc<Document>, Vec<Step>)>,
}

/// Defaults are equal when they say the same, wherever they are.
impl PartialEq for Defaults {
    fn eq(&self, other: &Defaults) -> bool {
        self.values == other.values
    }
}

/// An inbox as it was read.
pub(super) struct ReadInbox {
    pub inbox: Inbox,
    /// The path of its mapping in the document.
    pub path: Vec<Step>,
    /// Whether its name was given, and is not its folder's.
    pub named: bool,
    /// The folders that were given.
    pub configured: Configured,
}

/// Reads one inbox; `None` if its folder is not known, which is reported.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    surroundings: &Surroundings<'_>,
) -> Option<ReadInbox> {
    let default = Inbox::default();
    let name = section.take("name", parse_name);
    let path = section.take_path("path");
    let configured = Configured {
        working: section.take_path("working"),
        outbox: section.take_path("outbox"),
        originals: section.take_path("originals"),
        failed: section.take_path("failed"),
    };
    let watch = choice(&[
        ("auto", Watch::Auto),
        ("events", Watch::Events),
        ("scan", Watch::Scan),
    ]);
    let on_success = choice(&[("keep", OnSuccess::Keep), ("delete", OnSuccess::Delete)]);
    let marker = choice(&[("optional", false), ("required", true)]);
    let has_page = choice(&[("auto", true), ("off", false)]);
    let mut inbox = Inbox {
        watch: section.take("watch", watch).unwrap_or(default.watch),
        scan_interval: section
            .take("scan_interval", or_auto(duration(SHORTEST)))
            .flatten(),
        settle: section
            .take("settle", or_auto(duration(SHORTEST)))
            .flatten(),
        pair_wait: section
            .take("pair_wait", duration(Duration::ZERO))
            .unwrap_or(default.pair_wait),
        on_success: section
            .take("on_success", on_success)
            .unwrap_or(default.on_success),
        status_file: section
            .take("status_file", has_page)
            .unwrap_or(true)
            .then(PathBuf::new),
        marker_required: section
            .take("done_marker", marker)
            .unwrap_or(default.marker_required),
        limits: section.section("limits", read_spending),
        ignore: section.take_list("ignore", "a pattern of `ignore`", parse_pattern),
        defaults: read_defaults(section),
        name: default.name,
        path: default.path,
        folders: default.folders,
        on_mount: default.on_mount,
    };
    if section.is_mapping() && !section.has("path") {
        section.report_missing("this inbox has no `path`", "add `path: /the/folder`");
    }
    inbox.path = path?;
    let named = name.is_some();
    let folder_name = inbox.path.file_name().unwrap_or(inbox.path.as_os_str());
    inbox.name = name.unwrap_or_else(|| folder_name.to_string_lossy().into_owned());
    place(&mut inbox, &configured, surroundings);
    Some(ReadInbox {
        inbox,
        path: section.path().to_vec(),
        named,
        configured,
    })
}

/// Decides where the inbox's other folders and its page are.
fn place(inbox: &mut Inbox, configured: &Configured, surroundings: &Surroundings<'_>) {
    let resolved = surroundings.resolve(&inbox.path);
    let parent_writable = surroundings.parent_writable(&resolved);
    let place = |mount_point| {
        let page = || place_status_file(&inbox.path, mount_point, parent_writable);
        (
            place_folders(
                &inbox.path,
                configured.clone(),
                mount_point,
                parent_writable,
            ),
            inbox.status_file.as_ref().map(|_| page()),
        )
    };
    let (folders, status_file) = place(surroundings.is_mount_point(&resolved));
    inbox.on_mount = place(true);
    inbox.folders = folders;
    inbox.status_file = status_file;
}

/// The limits on spending that a section names.
pub(super) fn read_spending(section: &mut Section<'_, '_>) -> SpendLimits {
    SpendLimits {
        per_day: section.take("credits_per_day", credits),
        per_month: section.take("credits_per_month", credits),
    }
}

fn parse_name(node: &Node) -> Result<String, Diagnostic> {
    let text = text(node)?;
    if text.chars().count() > 64 {
        return Err(Diagnostic::new(
            "has more than 64 characters",
            "write a shorter one",
        ));
    }
    Ok(text.to_owned())
}

fn parse_pattern(node: &Node) -> Result<String, Diagnostic> {
    let text = text(node)?;
    match globset::Glob::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Diagnostic::new(
            format!("cannot be understood: {}", error.kind()),
            "write a name with `*` and `?` in it, between quotes: `\"*.bak\"`",
        )),
    }
}

fn read_defaults(section: &mut Section<'_, '_>) -> Defaults {
    let node = section.node("defaults");
    match node.map(|node| (node, to_json(node))) {
        None | Some((Node::Null, _)) => Defaults::default(),
        Some((_, Value::Object(values))) => {
            let source = (Arc::clone(section.document()), section.path_of("defaults"));
            Defaults {
                values,
                source: Some(source),
            }
        }
        Some((node, _)) => {
            section.report(
                "defaults",
                format!("`defaults` is {}, and must be a mapping", node.describe()),
                "write the keys of a sidecar below it: `defaults: { model: gen4_turbo, duration: 5 }`",
            );
            Defaults::default()
        }
    }
}
