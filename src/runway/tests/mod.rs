//! The client against real sockets: a server that answers each connection as told, byte for byte.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod calls;
mod downloads;
mod submissions;
mod uploads;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

use super::Client;
use super::client::Timeouts;

/// A key that no answer, error or log may show.
const KEY: &str = "key_5eed5eed5eed5eed";

/// What the server does with one connection.
#[derive(Clone)]
enum Act {
    /// Reads the whole request, answers and closes.
    Answer(Vec<u8>),
    /// Closes without reading.
    Close,
    /// Reads the whole request and closes.
    CloseAfterReading,
    /// Reads the whole request and resets the connection.
    ResetAfterReading,
    /// Reads the whole request, begins to answer, and never ends.
    AnswerAndHang(Vec<u8>),
    /// Reads the whole request and never answers.
    Hang,
    /// Accepts, and neither reads nor writes.
    Ignore,
}

/// One request as the server saw it.
#[derive(Debug, Clone)]
struct Request {
    /// Request line and headers, in lower case.
    head: String,
    /// The request line and headers as they came.
    raw_head: String,
    body: Vec<u8>,
}

struct Server {
    url: Url,
    requests: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves one connection for each act, in order; further connections are closed at once.
    async fn start(acts: Vec<Act>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            let mut kept = Vec::new();
            let mut acts = acts.into_iter();
            while let Ok((mut stream, _)) = listener.accept().await {
                let act = acts.next().unwrap_or(Act::Close);
                match &act {
                    Act::Close => continue,
                    Act::Ignore => {
                        kept.push(stream);
                        continue;
                    }
                    Act::Answer(_) | Act::AnswerAndHang(_) | Act::Hang => {}
                    Act::CloseAfterReading | Act::ResetAfterReading => {}
                }
                if let Some(request) = read_request(&mut stream).await {
                    log.lock().unwrap().push(request);
                }
                match act {
                    Act::Answer(bytes) => {
                        // The client may have gone already, which is its business.
                        if stream.write_all(&bytes).await.is_ok() {
                            stream.shutdown().await.unwrap_or_default();
                        }
                    }
                    Act::AnswerAndHang(bytes) => {
                        stream.write_all(&bytes).await.unwrap();
                        kept.push(stream);
                    }
                    Act::ResetAfterReading => stream.set_zero_linger().unwrap(),
                    Act::Hang => kept.push(stream),
                    Act::CloseAfterReading | Act::Close | Act::Ignore => {}
                }
            }
        });
        Server {
            url: url.parse().unwrap(),
            requests,
            task,
        }
    }

    /// The requests that were read, oldest first.
    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    fn client(&self) -> Client {
        client(self.url.clone())
    }

    /// The client that suits the act: one that gives up soon where the server does not answer.
    fn client_for(&self, act: &Act) -> Client {
        match act {
            Act::Hang | Act::AnswerAndHang(_) | Act::Ignore => impatient(self.url.clone()),
            Act::Answer(_) | Act::Close | Act::CloseAfterReading | Act::ResetAfterReading => {
                self.client()
            }
        }
    }
}

/// Reads a request with its body; what came, where the client stops early. `None` where there was no whole head.
async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut end = None;
    while end.is_none() {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
        end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    }
    let mut body = bytes.split_off(end? + 4);
    let raw_head = String::from_utf8(bytes).unwrap();
    let head = raw_head.to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.trim().parse().unwrap());
    while body.len() < length && stream.read_buf(&mut body).await.unwrap_or(0) > 0 {}
    Some(Request {
        head,
        raw_head,
        body,
    })
}

/// A client that waits long enough for any machine.
fn client(url: Url) -> Client {
    waiting(url, Duration::from_secs(60))
}

/// A client that gives up soon, for servers that never answer.
fn impatient(url: Url) -> Client {
    waiting(url, Duration::from_millis(300))
}

fn waiting(url: Url, time: Duration) -> Client {
    let timeouts = Timeouts {
        connect: time,
        submit: time * 2,
        call: time * 2,
        download_stall: time,
        upload_stall: time,
    };
    Client::with_timeouts(url, "2024-11-06", SecretString::from(KEY), timeouts).unwrap()
}

/// An answer with a body and a length.
fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Act {
    let body = body.as_ref();
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    Act::Answer(bytes)
}

/// Bytes that are the answer as they stand.
fn raw(text: impl AsRef<[u8]>) -> Act {
    Act::Answer(text.as_ref().to_vec())
}

/// The URL of a port on this machine where nobody listens.
async fn nobody(scheme: &str) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    format!("{scheme}://{address}").parse().unwrap()
}
