//! The control socket: how `taxiway status`, `cancel`, `retry` and `resolve` reach the daemon. One request, a line of JSON,
//! for each connection; the answer is one line that says whether it went well, then one line for each result.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::{UnixListener, UnixStream};

use crate::control::actions::{Request, answer};
use crate::daemon::Shared;

/// The longest request, in bytes.
const REQUEST_MAX: u64 = 64 * 1024;
/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the socket lies.
pub fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

/// A path that names the socket within the 108 bytes that the system allows: by way of its folder's descriptor where the
/// folder's own path is too long.
fn short_path(socket: &Path) -> io::Result<(PathBuf, Option<std::fs::File>)> {
    if socket.as_os_str().len() < 100 {
        return Ok((socket.to_owned(), None));
    }
    let folder = std::fs::File::open(socket.parent().unwrap_or(Path::new(".")))?;
    let name = socket.file_name().unwrap_or_default();
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok((short, Some(folder)))
}

/// Serves requests until the engine stops.
pub(crate) fn serve(shared: Arc<Shared>, socket: &Path) -> io::Result<()> {
    // The lock on the state directory says that whoever made this one is gone.
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (path, _folder) = short_path(socket)?;
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let engine = shared.engine.clone();
    let listener = Arc::new(listener);
    engine
        .tasks
        .spawn_restarting("the control socket", move || {
            accept(shared.clone(), listener.clone())
        });
    Ok(())
}

async fn accept(shared: Arc<Shared>, listener: Arc<UnixListener>) {
    loop {
        let stream = tokio::select! {
            () = shared.engine.stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the control socket has trouble");
                    if !shared.engine.pause(Duration::from_secs(1)).await {
                        return;
                    }
                    continue;
                }
            },
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(&shared, stream).await {
                tracing::debug!(%error, "a conversation on the control socket ended early");
            }
        });
    }
}

async fn converse(shared: &Arc<Shared>, stream: UnixStream) -> io::Result<()> {
    let (read, write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(REQUEST_MAX));
    tokio::time::timeout(PATIENCE, reader.read_line(&mut line))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let outcome = match serde_json::from_str::<Request>(&line) {
        Ok(request) => answer(shared, request).await,
        Err(error) => Err(format!(
            "this daemon does not understand the request ({error}): is it of another version?"
        )),
    };
    let mut writer = BufWriter::new(write);
    match outcome {
        Ok(results) => {
            write_line(&mut writer, &json!({"ok": true})).await?;
            for result in results {
                write_line(&mut writer, &result).await?;
            }
        }
        Err(why) => write_line(&mut writer, &json!({"ok": false, "error": why})).await?,
    }
    writer.flush().await?;
    writer.shutdown().await
}

async fn write_line(writer: &mut (impl AsyncWriteExt + Unpin), value: &Value) -> io::Result<()> {
    writer.write_all(format!("{value}\n").as_bytes()).await
}

/// Why the daemon gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No daemon runs on this state.
    #[error("no daemon runs on the state in {0}: start it with `taxiway run`")]
    NotRunning(PathBuf),
    /// It cannot be talked to.
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
    let request = serde_json::to_string(request).map_err(|error| fail(io::Error::other(error)))?;
    stream
        .write_all(format!("{request}\n").as_bytes())
        .await
        .map_err(fail)?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.map_err(fail)?;
    let mut lines = text.lines().map(serde_json::from_str::<Value>);
    let garbled = || {
        fail(io::Error::new(
            io::ErrorKind::InvalidData,
            "the answer cannot be read",
        ))
    };
    match lines.next() {
        Some(Ok(head)) if head["ok"] == Value::Bool(true) => {
            lines.collect::<Result<_, _>>().map_err(|_| garbled())
        }
        Some(Ok(head)) => Err(ControlError::Refused(
            head["error"]
                .as_str()
                .unwrap_or("the daemon says no")
                .to_owned(),
        )),
        Some(Err(_)) | None => Err(garbled()),
    }
}
