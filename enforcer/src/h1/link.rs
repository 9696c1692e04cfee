//! A connection to the service.
//!
//! One that is let go while a request is under way on it is reset. So the service learns at once that nobody waits for its answer, what it
//! has not taken of the request is neither kept by the system nor handed over, and our port is free for the next connection: an end in
//! order would hold it for a minute, and a caller that gives up one request after the other would use all of them up.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::h1::buffer;
use crate::socket::Socket;

/// A connection to the service, and whether a request is under way on it.
#[derive(Debug)]
pub struct Link {
    socket: Socket,
    busy: bool,
}

impl Link {
    /// A connection on which nothing is under way.
    #[must_use]
    pub const fn new(socket: Socket) -> Self {
        Self { socket, busy: false }
    }

    /// A request begins, or is over: then the connection ends in order.
    pub fn busy(&mut self, is: bool) {
        self.busy = is;
    }

    /// Whether it is open, and nothing has come. Costs no system call where that is so.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.socket.is_silent()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.busy {
            self.socket.will_reset();
        }
    }
}

impl buffer::Source for Link {}

impl AsyncRead for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
