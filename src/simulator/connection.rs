//! Connections that can be reset on purpose.
//!
//! `axum::serve` hides its sockets, but a fault may need a real TCP reset. So the listener wraps each socket, and each request
//! gets the [`Peer`] of its connection. After [`Peer::reset`], the first byte of the answer that hyper tries to write makes the
//! wrapper fail, and the socket is closed with a linger time of zero, which the kernel turns into a reset.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// The other end of a connection, as requests see it.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    doomed: Arc<AtomicBool>,
}

impl Peer {
    /// Resets the connection instead of the next answer.
    pub(super) fn reset(&self) {
        self.doomed.store(true, Ordering::Relaxed);
    }
}

impl Connected<IncomingStream<'_, ResettableListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, ResettableListener>) -> Self {
        Self {
            address: *stream.remote_addr(),
            doomed: Arc::clone(&stream.io().doomed),
        }
    }
}

/// A listener whose connections can be reset.
#[derive(Debug)]
pub(super) struct ResettableListener(pub(super) TcpListener);

impl Listener for ResettableListener {
    type Io = ResettableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (ResettableStream, SocketAddr) {
        // axum's listener knows which errors of accept(2) are temporary.
        let (socket, address) = <TcpListener as Listener>::accept(&mut self.0).await;
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%address, %error, "the connection keeps Nagle's algorithm");
        }
        let stream = ResettableStream {
            socket,
            doomed: Arc::default(),
        };
        (stream, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[derive(Debug)]
pub(super) struct ResettableStream {
    socket: TcpStream,
    doomed: Arc<AtomicBool>,
}

impl ResettableStream {
    /// An error when the connection is to be reset.
    fn check_reset(&self) -> io::Result<()> {
        if self.doomed.load(Ordering::Relaxed) {
            self.socket.set_zero_linger()?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for ResettableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for ResettableStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Err(error) = self.check_reset() {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Err(error) = self.check_reset() {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.doomed.load(Ordering::Relaxed) {
            // A shutdown would send an orderly end before the reset.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
