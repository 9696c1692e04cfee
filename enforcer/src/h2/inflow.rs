//! The body of a request, from the connection that receives it to whoever reads it.
//!
//! INVARIANT: what was received and not read is at most the stream's window, since the window opens by what is read
//! ([`Source::released`]). It lies in one piece of memory, however small the frames were that brought it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

use crate::body::BodyError;
use crate::h1::scan::Framing;
use crate::limits;

/// Read by whoever forwards the request. When it is let go, what comes is thrown away.
#[derive(Debug)]
pub struct Inflow {
    /// None where there is no body.
    shared: Option<Arc<Mutex<State>>>,
    framing: Framing,
}

/// Filled by the connection.
#[derive(Debug)]
pub struct Source(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// Some of it was read, or its end.
    is_begun: bool,
    end: End,
    /// Read and not yet told to the other side.
    released: usize,
    unwanted: bool,
    /// It was asked for, so whoever waits for leave to send it has it.
    asked: bool,
    reader: Option<Waker>,
    /// Tells the connection of what was read.
    ring: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    /// More comes.
    #[default]
    Open,
    /// All of it came.
    Whole,
    /// It broke off.
    Broken,
}

/// A body that comes, and where it is put.
#[must_use]
pub fn inflow(framing: Framing, ring: Waker) -> (Inflow, Source) {
    let shared = Arc::new(Mutex::new(State { ring: Some(ring), ..State::default() }));
    (Inflow { shared: Some(Arc::clone(&shared)), framing }, Source(shared))
}

impl Inflow {
    /// No body.
    #[must_use]
    pub const fn none() -> Self {
        Self { shared: None, framing: Framing::None }
    }

    /// How its end is known.
    #[must_use]
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// Reads what is there; `None` at the end, whose trailers are taken first.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(shared) = &self.shared else { return Poll::Ready(None) };
        let mut state = lock(shared);
        let next = if !state.bytes.is_empty() {
            let bytes = std::mem::take(&mut state.bytes);
            state.released += bytes.len();
            Some(Ok(Frame::data(Bytes::from(bytes))))
        } else if let Some(trailers) = state.trailers.take() {
            Some(Ok(Frame::trailers(trailers)))
        } else {
            match state.end {
                End::Whole => None,
                End::Broken => Some(Err(BodyError::Caller)),
                End::Open => {
                    match &mut state.reader {
                        Some(reader) => reader.clone_from(cx.waker()),
                        None => state.reader = Some(cx.waker().clone()),
                    }
                    if !std::mem::replace(&mut state.asked, true) {
                        state.ring();
                    }
                    return Poll::Pending;
                }
            }
        };
        state.is_begun = true;
        if state.released >= limits::H2_TOLD_BYTES {
            state.ring();
        }
        Poll::Ready(next)
    }
}

impl Body for Inflow {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.poll_next(cx)
    }

    fn is_end_stream(&self) -> bool {
        let Some(shared) = &self.shared else { return true };
        let state = lock(shared);
        // A body of nothing is told as one: some servers wait for ever for the end of a stream that ended with its head.
        state.end == End::Whole && state.bytes.is_empty() && state.trailers.is_none() && state.is_begun
    }

    fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::None => SizeHint::with_exact(0),
            // As long as nothing was taken of it, which is when it is asked for.
            Framing::Fixed(length) => SizeHint::with_exact(length),
            Framing::Chunked | Framing::Close => SizeHint::default(),
        }
    }
}

impl Drop for Inflow {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            let mut state = lock(shared);
            state.unwanted = true;
            state.released += state.bytes.len();
            state.bytes = Vec::new();
            state.ring();
        }
    }
}

impl Source {
    /// Takes up what came. What nobody will read is read with it.
    pub fn put(&self, bytes: &[u8]) {
        let mut state = lock(&self.0);
        if state.unwanted {
            state.released += bytes.len();
        } else if !bytes.is_empty() {
            state.bytes.extend_from_slice(bytes);
            state.wake();
        }
    }

    /// All of it came.
    pub fn end(&self, trailers: Option<HeaderMap>) {
        let mut state = lock(&self.0);
        if state.end == End::Open {
            state.end = End::Whole;
            state.trailers = trailers;
            state.wake();
        }
    }

    /// How much was read since this was asked last, and by how much the window may open.
    #[must_use]
    pub fn released(&self) -> usize {
        std::mem::take(&mut lock(&self.0).released)
    }

    /// The same, at its end: what was not read is not waited for.
    #[must_use]
    pub fn left(&self) -> usize {
        let mut state = lock(&self.0);
        std::mem::take(&mut state.released) + state.bytes.len()
    }

    /// Whether somebody asked for it and found nothing.
    #[must_use]
    pub fn is_asked_for(&self) -> bool {
        lock(&self.0).asked
    }
}

/// A connection that ends breaks off what it did not receive.
impl Drop for Source {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        // It is not told any more.
        state.ring = None;
        if state.end == End::Open {
            state.end = End::Broken;
            state.wake();
        }
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn ring(&self) {
        if let Some(ring) = &self.ring {
            ring.wake_by_ref();
        }
    }
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
