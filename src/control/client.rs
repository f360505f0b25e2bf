//! How the command line asks: the daemon over its control socket, or the journal while no daemon runs.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::refusal::Refusal;
use super::request::{Request, answer};
use super::socket::{short_path, socket_path};
use super::source::{Source, no_daemon};
use crate::config::Config;
use crate::journal::{Journal, JournalError, SqliteJournal};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No daemon runs on this state.
    #[error("{}", no_daemon(.0))]
    NotRunning(PathBuf),
    /// It does not answer.
    #[error(
        "the daemon cannot be asked ({socket}): {source}. Run this as the user that the daemon runs as, or as root"
    )]
    Io {
        /// The socket.
        socket: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// It answered something else, as a daemon of another version may.
    #[error("the daemon's answer cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

impl From<Refusal> for ControlError {
    fn from(refusal: Refusal) -> ControlError {
        ControlError::Refused(refusal.to_string())
    }
}

impl From<JournalError> for ControlError {
    fn from(error: JournalError) -> ControlError {
        ControlError::Refused(error.to_string())
    }
}

/// Asks the daemon that runs on a state directory.
///
/// # Errors
/// It does not run, cannot be reached, or says no.
pub async fn ask(state_dir: &Path, request: &Request) -> Result<Vec<Value>, ControlError> {
    let socket = socket_path(state_dir);
    let fail = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ControlError::NotRunning(state_dir.to_owned())
        }
        _ => ControlError::Io {
            socket: socket.clone(),
            source,
        },
    };
    let (path, _folder) = short_path(&socket).map_err(fail)?;
    let mut stream = UnixStream::connect(&path).await.map_err(fail)?;
    let request = serde_json::to_string(request)?;
    stream
        .write_all(format!("{request}\n").as_bytes())
        .await
        .map_err(fail)?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.map_err(fail)?;
    let lines = text.lines().map(serde_json::from_str::<Value>);
    // A daemon that is killed leaves half an answer, or none.
    let lines: Vec<Value> = lines
        .collect::<Result<_, _>>()
        .map_err(|error| fail(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    match lines.split_first() {
        Some((head, results)) if head["ok"] == Value::Bool(true) => Ok(results.to_vec()),
        Some((head, _)) => {
            let why = head["error"].as_str().unwrap_or("the daemon says no");
            Err(ControlError::Refused(why.to_owned()))
        }
        None => Err(fail(io::ErrorKind::UnexpectedEof.into())),
    }
}

/// Asks the daemon of a configuration, or its journal while no daemon runs.
pub(crate) struct Client<'a> {
    config: &'a Config,
    journal: Option<SqliteJournal>,
    has_daemon: bool,
}

impl Client<'_> {
    pub(crate) fn new(config: &Config) -> Client<'_> {
        Client {
            config,
            journal: None,
            has_daemon: true,
        }
    }

    /// Whether the last answer was a daemon's.
    pub(crate) fn has_daemon(&self) -> bool {
        self.has_daemon
    }

    pub(crate) async fn ask(&mut self, request: Request) -> Result<Vec<Value>, ControlError> {
        let state_dir = &self.config.state_dir;
        match ask(state_dir, &request).await {
            Err(ControlError::NotRunning(_)) => self.has_daemon = false,
            answer => return answer,
        }
        if self.journal.is_none() && SqliteJournal::file(state_dir).exists() {
            self.journal = SqliteJournal::open_to_read(state_dir).await?;
        }
        let journal = self.journal.as_ref().map(|journal| journal as &dyn Journal);
        let source = Source::Journal(journal, self.config);
        Ok(answer(&source, request).await?.values()?)
    }

    /// Asks for results of one kind.
    pub(crate) async fn list<T: DeserializeOwned>(
        &mut self,
        request: Request,
    ) -> Result<Vec<T>, ControlError> {
        let values = self.ask(request).await?;
        let items = values.into_iter().map(serde_json::from_value);
        Ok(items.collect::<Result<_, _>>()?)
    }
}
