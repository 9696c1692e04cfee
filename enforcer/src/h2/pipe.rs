//! One stream as a connection of its own: a tunnel's end towards the caller.
//!
//! INVARIANT: what waits to be sent is at most [`limits::GATHERED_BYTES_MAX`]. A tunnel that is let go without its end having been
//! told is broken off, and its caller sees that.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::h1::buffer;
use crate::h2::inflow::Inflow;
use crate::limits;

/// A stream that carries a tunnel.
#[derive(Debug)]
pub struct Pipe {
    inflow: Inflow,
    /// What was read and did not fit.
    rest: bytes::Bytes,
    out: Arc<Mutex<Out>>,
}

/// What the connection sends of it.
#[derive(Debug)]
pub struct Drain(Arc<Mutex<Out>>);

#[derive(Debug, Default)]
struct Out {
    bytes: Vec<u8>,
    end: End,
    writer: Option<Waker>,
}

/// How far a tunnel's way to the caller is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// More may come.
    #[default]
    Open,
    /// Nothing more comes.
    Whole,
    /// It broke off.
    Broken,
}

/// The two ends of a tunnel's way to the caller.
#[must_use]
pub fn pipe(inflow: Inflow) -> (Pipe, Drain) {
    let out = Arc::new(Mutex::new(Out::default()));
    (Pipe { inflow, rest: bytes::Bytes::new(), out: Arc::clone(&out) }, Drain(out))
}

impl Drain {
    /// Takes `n` of the bytes that wait.
    pub fn take(&self, n: usize, out: &mut Vec<u8>) {
        let mut state = lock(&self.0);
        let n = n.min(state.bytes.len());
        out.extend(state.bytes.drain(..n));
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
    }

    /// How much waits, and what comes behind it.
    #[must_use]
    pub fn waits(&self) -> (usize, End) {
        let state = lock(&self.0);
        (state.bytes.len(), state.end)
    }
}

/// The stream is gone.
impl Drop for Drain {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.end = End::Broken;
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut state = lock(&self.out);
        if state.end == End::Open {
            state.end = End::Broken;
        }
    }
}

impl buffer::Source for Pipe {}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match self.inflow.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                // A tunnel has no trailers: what stands there has no meaning.
                Poll::Ready(Some(Ok(frame))) => self.rest = frame.into_data().unwrap_or_default(),
            }
        }
        let n = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest.split_to(n));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.out);
        if state.end != End::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = bytes.len().min(limits::GATHERED_BYTES_MAX.saturating_sub(state.bytes.len()));
        if n == 0 && !bytes.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.bytes.extend_from_slice(bytes.get(..n).unwrap_or_default());
        Poll::Ready(Ok(n))
    }

    /// Ready when the connection has taken it.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.out);
        if state.bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if state.end == End::Broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.out);
        if state.end == End::Open {
            state.end = End::Whole;
        }
        Poll::Ready(Ok(()))
    }
}

fn lock(shared: &Mutex<Out>) -> MutexGuard<'_, Out> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
