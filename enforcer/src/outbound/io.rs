//! A connection of the local service whose first bytes were looked at.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::h1::buffer::Source;

/// A stream, and what was read of it already, which is read again first.
#[derive(Debug)]
pub struct Prefixed<S> {
    seen: BytesMut,
    inner: S,
}

impl<S> Prefixed<S> {
    /// Puts back what was read.
    pub const fn new(seen: BytesMut, inner: S) -> Self {
        Self { seen, inner }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.seen.is_empty() {
            return Pin::new(&mut this.inner).poll_read(cx, out);
        }
        let n = this.seen.len().min(out.remaining());
        if let Some(bytes) = this.seen.get(..n) {
            out.put_slice(bytes);
        }
        this.seen.advance(n);
        if this.seen.is_empty() {
            this.seen = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

impl<S: AsyncRead + Unpin> Source for Prefixed<S> {}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// A head of HTTP/1, or what is none and will be refused as one.
    Http1,
    /// The preface of HTTP/2.
    Http2,
    /// A CONNECT request.
    Connect,
    /// TLS.
    Tls,
}

/// Reads as much as is needed to see what a connection begins with. `None` where nothing came.
pub async fn first<S: AsyncRead + Unpin>(stream: &mut S, seen: &mut BytesMut, within: Duration) -> Option<First> {
    let reading = async {
        loop {
            if let Some(first) = look(seen) {
                return Some(first);
            }
            if !matches!(stream.read_buf(seen).await, Ok(1..)) {
                return None;
            }
        }
    };
    timeout(within, reading).await.ok().flatten()
}

fn look(seen: &[u8]) -> Option<First> {
    if seen.first()? == &TLS_HANDSHAKE {
        return Some(First::Tls);
    }
    for (begins, first) in [(PREFACE, First::Http2), (CONNECT, First::Connect)] {
        let n = begins.len().min(seen.len());
        if seen.get(..n) == begins.get(..n) {
            return (n == begins.len()).then_some(first);
        }
    }
    Some(First::Http1)
}

const TLS_HANDSHAKE: u8 = 22;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const CONNECT: &[u8] = b"CONNECT ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_are_told_apart_as_soon_as_they_can_be() {
        for (seen, found) in [
            (&b"GET / HTTP/1.1"[..], Some(First::Http1)),
            (b"P", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (PREFACE, Some(First::Http2)),
            (b"POST", Some(First::Http1)),
            (b"PRI * HTTP/1.1\r\n", Some(First::Http1)),
            (b"CONNECT", None),
            (b"CONNECT a:1", Some(First::Connect)),
            (b"CONNECTED ", Some(First::Http1)),
            (b"connect a", Some(First::Http1)),
            (&[22, 3, 1], Some(First::Tls)),
            (b"", None),
        ] {
            assert_eq!(look(seen), found, "{}", String::from_utf8_lossy(seen));
        }
    }
}
