//! Limits connections: how many there are at once, and how long one may send or read nothing.

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

/// The maximum number of connections; further ones wait in the system's queue.
const CONNECTIONS: usize = 256;
/// How long a request's head may take, and how long a connection may wait for the next one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a client may read nothing of the response. If a video is paused for longer, the browser requests the rest again.
const STALLED_WRITE_TIMEOUT: Duration = Duration::from_secs(300);

/// A listening socket with a limit on connections.
pub(super) struct LimitedListener {
    pub(super) listener: TcpListener,
    slots: Arc<Semaphore>,
}

impl LimitedListener {
    pub(super) fn new(listener: TcpListener) -> LimitedListener {
        LimitedListener {
            listener,
            slots: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }
}

/// The connection of a request.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// The local address that the client connected to.
    pub(super) local: IpAddr,
    busy: Arc<AtomicBool>,
}

impl Connection {
    /// Suspends the idle timeout while the client waits for a response, until the guard is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.busy.store(true, Ordering::Relaxed);
        Busy(self.busy.clone())
    }
}

pub(super) struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Connected<IncomingStream<'_, LimitedListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, LimitedListener>) -> Connection {
        Connection {
            local: stream.io().local,
            busy: stream.io().busy.clone(),
        }
    }
}

impl Listener for LimitedListener {
    type Io = TimedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TimedStream, SocketAddr) {
        loop {
            // The semaphore is never closed.
            let slot = self.slots.clone().acquire_owned().await.ok();
            // axum's own listener knows which errors of accept(2) to wait out.
            let (socket, address) = <TcpListener as Listener>::accept(&mut self.listener).await;
            let local = match socket.local_addr() {
                Ok(local) => local.ip(),
                Err(error) => {
                    tracing::debug!(%error, "a connection to the status page was closed at once");
                    continue;
                }
            };
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%error, "the connection keeps Nagle's algorithm");
            }
            let stream = TimedStream {
                socket,
                local,
                busy: Arc::default(),
                writing: false,
                timeout: Box::pin(tokio::time::sleep(IDLE_TIMEOUT)),
                _slot: slot,
            };
            return (stream, address);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with a timeout, which each write restarts and a read does not: a request's head that comes byte by byte has no
/// more time than one that does not come.
pub(super) struct TimedStream {
    socket: TcpStream,
    local: IpAddr,
    busy: Arc<AtomicBool>,
    writing: bool,
    timeout: Pin<Box<Sleep>>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl TimedStream {
    fn restart_timeout(&mut self, time: Duration) {
        let now = Instant::now();
        self.timeout
            .as_mut()
            .reset(now.checked_add(time).unwrap_or(now));
    }

    /// Restarts or checks the timeout after an attempt to write.
    fn check_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.writing = false;
            self.restart_timeout(IDLE_TIMEOUT);
            return outcome;
        }
        if !self.writing {
            self.writing = true;
            self.restart_timeout(STALLED_WRITE_TIMEOUT);
        }
        ready!(self.timeout.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(outcome) = Pin::new(&mut self.socket).poll_read(cx, buf) {
            return Poll::Ready(outcome);
        }
        while !self.writing {
            ready!(self.timeout.as_mut().poll(cx));
            if !self.busy.load(Ordering::Relaxed) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.restart_timeout(IDLE_TIMEOUT);
        }
        Poll::Pending
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.check_write(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.check_write(cx, outcome)
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
