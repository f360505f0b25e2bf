//! The control socket: how `taxiway status`, `cancel`, `retry` and `resolve` reach the daemon. One request, a line of JSON,
//! for each connection; the answer is one line that says whether it went well, then one line for each result.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::{UnixListener, UnixStream};

use super::Hub;
use super::refusal::Refusal;
use super::request::{Request, answer};
use super::source::Source;

/// The longest request, in bytes.
const REQUEST_MAX: u64 = 64 * 1024;
/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The socket of a state directory.
pub fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

/// A path that names the socket within the 108 bytes that the system allows: by way of its folder's descriptor where the
/// folder's own path is too long.
pub(super) fn short_path(socket: &Path) -> io::Result<(PathBuf, Option<std::fs::File>)> {
    if socket.as_os_str().len() < 100 {
        return Ok((socket.to_owned(), None));
    }
    let folder = std::fs::File::open(socket.parent().unwrap_or(Path::new(".")))?;
    let name = socket.file_name().unwrap_or_default();
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok((short, Some(folder)))
}

/// Serves requests until the engine stops.
pub(crate) fn serve(hub: Arc<Hub>, socket: &Path) -> io::Result<()> {
    // The lock on the state directory says that the daemon that made this one has ended.
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (path, _folder) = short_path(socket)?;
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let listener = Arc::new(listener);
    let engine = hub.engine.clone();
    engine
        .tasks
        .spawn_restarting("the control socket", move || {
            accept(hub.clone(), listener.clone())
        });
    Ok(())
}

async fn accept(hub: Arc<Hub>, listener: Arc<UnixListener>) {
    loop {
        let stream = tokio::select! {
            () = hub.engine.stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the control socket accepts no connection");
                    if !hub.engine.pause(Duration::from_secs(1)).await {
                        return;
                    }
                    continue;
                }
            },
        };
        let hub = hub.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(&hub, stream).await {
                tracing::debug!(%error, "a conversation on the control socket ended early");
            }
        });
    }
}

async fn converse(hub: &Arc<Hub>, stream: UnixStream) -> io::Result<()> {
    let (read, write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(REQUEST_MAX));
    tokio::time::timeout(PATIENCE, reader.read_line(&mut line))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let outcome = match serde_json::from_str::<Request>(&line) {
        Ok(request) => answer(&Source::Hub(hub), request).await,
        Err(error) => Err(Refusal::Invalid(format!(
            "this daemon does not understand the request ({error}): is it of another version?"
        ))),
    };
    let outcome = outcome.and_then(|reply| Ok(reply.values()?));
    let mut writer = BufWriter::new(write);
    match outcome {
        Ok(results) => {
            write_line(&mut writer, &json!({"ok": true})).await?;
            for result in results {
                write_line(&mut writer, &result).await?;
            }
        }
        Err(refusal) => {
            let error = refusal.to_string();
            write_line(&mut writer, &json!({"ok": false, "error": error})).await?;
        }
    }
    writer.flush().await?;
    writer.shutdown().await
}

async fn write_line(writer: &mut (impl AsyncWriteExt + Unpin), value: &Value) -> io::Result<()> {
    writer.write_all(format!("{value}\n").as_bytes()).await
}
