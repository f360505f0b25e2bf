//! The configuration: from a YAML file to a [`Config`] in which everything fits together.
//!
//! A configuration is read in two steps. The text becomes typed values, each with its place; then the folders are
//! placed and compared, with what is known of the machine's mounts. Both collect problems rather than stop at the
//! first, and a `Config` exists only when there are none. Reading changes nothing on disk: folders that are missing are
//! made by the daemon.

mod error;
mod fit;
mod folders;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod key;
mod reader;
mod reload;
mod surroundings;
mod units;
mod validate;

use std::ffi::OsString;
use std::io::Read as _;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

pub use error::{ConfigError, Problem};
pub use folders::{Configured, Folders, place_folders, status_file};
pub use key::{ApiKey, KeyError, KeySource, TokenError, api_key, secret_text, web_token};
pub use reload::{Reload, difference};
pub use surroundings::Surroundings;
pub use units::{parse_duration, parse_size, show_duration};

use crate::json::Step;
use crate::policy::budget::SpendLimits;
use crate::status::notice::Kind;
use crate::yaml::{self, Document};

/// The environment: gives the value of a variable. A variable that is set to nothing counts as not set.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The API's base URL unless something else is set, without the `/v1`.
pub const BASE_URL: &str = "https://api.dev.runwayml.com";

/// The version of the API that this program speaks unless something else is set (header `X-Runway-Version`).
pub const API_VERSION: &str = "2024-11-06";

/// The shortest time between two polls of a task that the API's documentation allows; also the default.
pub const POLL_FLOOR: Duration = Duration::from_secs(5);

/// How long media waits for its sidecar by default.
pub const PAIR_WAIT: Duration = Duration::from_secs(10);

/// The largest input by default, in bytes: what the API takes at most as an upload.
pub const MAX_INPUT_SIZE: u64 = 200_000_000;

/// The commented example that `taxiway init` writes. Its paths are relative, so that it serves any folder as it is.
pub const EXAMPLE: &str = include_str!("../../config/taxiway.yaml");

/// Everything that the daemon is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file it was read from, absolute; nothing where a command made it up (`taxiway demo`).
    pub file: Option<PathBuf>,
    /// Where the journal lies and the lock that keeps a second daemon away.
    pub state_dir: PathBuf,
    /// What stores the journal.
    pub journal: JournalKind,
    /// How Runway is reached.
    pub runway: Runway,
    /// The watched folders, at least one.
    pub inboxes: Vec<Inbox>,
    /// What is refused or put off.
    pub limits: Limits,
    /// Who is told of what.
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

/// How Runway is reached and how it is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runway {
    /// The base URL without the trailing `/v1`. `https`, or `http` to a loopback address.
    pub base_url: Url,
    /// The header `X-Runway-Version`, a date.
    pub api_version: String,
    /// The file that holds the API key, absolute.
    pub api_key_file: Option<PathBuf>,
    /// The least time between two polls of one task.
    pub poll_interval: Duration,
    /// Tasks at once per model.
    pub max_in_flight: MaxInFlight,
    /// What becomes of a submission whose outcome is unknown.
    pub on_doubt: OnDoubt,
    /// A catalogue that is used instead of the built-in one, absolute.
    pub catalogue: Option<PathBuf>,
    /// Whether models that the catalogue does not know are submitted.
    pub allow_unknown_models: bool,
}

impl Default for Runway {
    fn default() -> Runway {
        Runway {
            #[allow(clippy::expect_used)]
            // A constant that is an URL; a test reads it.
            base_url: Url::parse(BASE_URL).expect("the constant is an URL"),
            api_version: API_VERSION.to_owned(),
            api_key_file: None,
            poll_interval: POLL_FLOOR,
            max_in_flight: MaxInFlight::Auto,
            on_doubt: OnDoubt::Hold,
            catalogue: None,
            allow_unknown_models: false,
        }
    }
}

/// Who is told of what.
#[derive(Debug, Clone, PartialEq)]
pub struct Notify {
    /// Of what.
    pub on: Vec<Kind>,
    /// A program and its arguments; empty for none.
    pub command: Vec<String>,
    /// Where a webhook is sent to, and the file with the secret that signs it.
    pub webhook: Option<(Url, PathBuf)>,
    /// Below which balance, in credits, somebody is told.
    pub low_balance: Option<f64>,
}

impl Default for Notify {
    fn default() -> Notify {
        Notify {
            on: vec![Kind::Failed, Kind::InDoubt, Kind::LowBalance, Kind::Frozen],
            command: Vec::new(),
            webhook: None,
            low_balance: None,
        }
    }
}

/// How many tasks of one model may be at work at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxInFlight {
    /// What the organization's tier allows.
    Auto,
    /// This many.
    Fixed(NonZeroU32),
}

/// What becomes of a submission whose outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDoubt {
    /// It waits for a person.
    Hold,
    /// It is submitted again, and may be paid twice.
    Resubmit,
}

/// A watched folder and where its files go.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbox {
    /// What it is called; no other inbox is called the same.
    pub name: String,
    /// The folder, absolute.
    pub path: PathBuf,
    /// Where its files go.
    pub folders: Folders,
    /// How changes in it are noticed.
    pub watch: Watch,
    /// How often it is scanned; nothing for automatic.
    pub scan_interval: Option<Duration>,
    /// How long a file must be quiet before it is taken for whole; nothing for automatic.
    pub settle: Option<Duration>,
    /// Whether an input is taken only once a marker says that it is finished (`cat.jpg.done`).
    pub marker_required: bool,
    /// How long media waits for its other half before the defaults alone make a job of it.
    pub pair_wait: Duration,
    /// What becomes of the inputs of finished jobs.
    pub on_success: OnSuccess,
    /// The most credits that may be spent on its jobs.
    pub limits: SpendLimits,
    /// Where people see the state; `None` where it is off.
    pub status_file: Option<PathBuf>,
    /// The same two where a filesystem is mounted at the inbox itself: it may not be mounted at the moment, which only
    /// whoever remembers it can know.
    pub on_mount: (Folders, Option<PathBuf>),
    /// Patterns of names that are no input, in addition to the built-in ones.
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

/// What becomes of the inputs of finished jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnSuccess {
    /// They go to `originals`.
    Keep,
    /// They are deleted.
    Delete,
}

/// An inbox's `defaults`: keys of a sidecar, unchecked, since the sidecar they become part of decides what they mean.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    /// The keys and values.
    pub values: Map<String, Value>,
    /// The configuration that they stand in and the way to them, so that a problem can point at its place.
    pub source: Option<(Arc<Document>, Vec<Step>)>,
}

/// Defaults are equal when they say the same, wherever they stand.
impl PartialEq for Defaults {
    fn eq(&self, other: &Defaults) -> bool {
        self.values == other.values
    }
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

/// Where the status page is, and who may see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Web {
    /// Where it listens; nothing if it is off.
    pub listen: Option<SocketAddr>,
    /// The file that holds the token that whoever looks has to know, absolute. There is one wherever the address is not of
    /// this machine alone.
    pub token_file: Option<PathBuf>,
    /// Names of this machine, beside its loopback names and the address itself, that a browser may ask for it by; in lower
    /// case, without a port.
    pub hosts: Vec<String>,
}

/// Whether a URL leads to this machine: `localhost`, 127.0.0.0/8 or `::1`.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
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

/// Reads a configuration from its text. `file` is where it lies, absolute: relative paths start from its folder.
/// Looks at nothing but its arguments.
///
/// # Errors
/// All the problems that it has.
pub fn read(
    bytes: &[u8],
    file: &Path,
    env: Env<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<Config, ConfigError> {
    let document = yaml::parse_bytes(bytes).map_err(|problems| ConfigError::Invalid {
        file: file.to_owned(),
        problems: problems.into_iter().map(Problem::from).collect(),
    })?;
    validate::validate(Arc::new(document), file, env, surroundings).map_err(|problems| {
        ConfigError::Invalid {
            file: file.to_owned(),
            problems,
        }
    })
}

/// The value of a variable that is set to something.
fn variable(env: Env<'_>, name: &str) -> Option<OsString> {
    env(name).filter(|value| !value.is_empty())
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

#[cfg(test)]
mod tests;
