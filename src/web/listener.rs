//! Connections: only so many at once, and none that is kept open by saying nothing, or by reading nothing.

use std::future::Future as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// At most so many connections; further ones wait in the system's queue.
const CONNECTIONS: usize = 256;
/// How long a request's head may take, and how long a connection may wait for the next one.
const SAYS_NOTHING: Duration = Duration::from_secs(20);
/// How long whoever asked may take no byte of the answer. A film that somebody pauses is asked for again by the browser.
const READS_NOTHING: Duration = Duration::from_secs(300);

/// The listening socket.
pub(super) struct Door {
    pub(super) listener: TcpListener,
    room: Arc<Semaphore>,
}

impl Door {
    pub(super) fn new(listener: TcpListener) -> Door {
        Door {
            listener,
            room: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }
}

/// What a request knows of its connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// The address at which it came in.
    pub(super) local: IpAddr,
    busy: Arc<AtomicBool>,
}

impl Peer {
    /// Until this is dropped it is us whom the other end waits for.
    pub(super) fn busy(&self) -> Busy {
        self.busy.store(true, Ordering::Relaxed);
        Busy(self.busy.clone())
    }
}

/// See [`Peer::busy`].
pub(super) struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Peer {
        Peer {
            local: stream.io().local,
            busy: stream.io().busy.clone(),
        }
    }
}

impl Listener for Door {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        loop {
            // The semaphore is never closed.
            let place = self.room.clone().acquire_owned().await.ok();
            // axum's own listener knows which errors of accept(2) to wait out.
            let (socket, address) = <TcpListener as Listener>::accept(&mut self.listener).await;
            let local = match socket.local_addr() {
                Ok(local) => local.ip(),
                Err(error) => {
                    tracing::debug!(%error, "a connection to the status page was gone at once");
                    continue;
                }
            };
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%error, "the connection keeps Nagle's algorithm");
            }
            let line = Line {
                socket,
                local,
                busy: Arc::default(),
                writing: false,
                patience: Box::pin(tokio::time::sleep(SAYS_NOTHING)),
                _place: place,
            };
            return (line, address);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection. Its patience begins anew with each byte that it could write, and not with what it reads: a head that comes
/// byte by byte has no longer than one that does not come.
pub(super) struct Line {
    socket: TcpStream,
    local: IpAddr,
    busy: Arc<AtomicBool>,
    writing: bool,
    patience: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Line {
    fn wait(&mut self, time: Duration) {
        let now = Instant::now();
        self.patience
            .as_mut()
            .reset(now.checked_add(time).unwrap_or(now));
    }

    /// After an attempt to write.
    fn wrote<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.writing = false;
            self.wait(SAYS_NOTHING);
            return outcome;
        }
        if !self.writing {
            self.writing = true;
            self.wait(READS_NOTHING);
        }
        ready!(self.patience.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(outcome) = Pin::new(&mut self.socket).poll_read(cx, buf) {
            return Poll::Ready(outcome);
        }
        while !self.writing {
            ready!(self.patience.as_mut().poll(cx));
            if !self.busy.load(Ordering::Relaxed) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.wait(SAYS_NOTHING);
        }
        Poll::Pending
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.wrote(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.wrote(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
