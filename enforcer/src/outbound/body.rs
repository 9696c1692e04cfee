//! Bodies on their way out and back: streamed, never held. What ends with an answer's body is kept with it.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::egress::{Running, Withdrawn};
use super::linger::Rest;
use super::pool::Lease;
use super::send::Share;
use crate::body::{Arriving, BodyError, Progress, Returning, clean_trailers};
use crate::gate::Guard;
use crate::h2::inflow::Inflow;
use crate::tether::{Held, Holds, Right};
use crate::times::Patience;

/// A request body as the local service sends it. Where the answer comes before all of it was read, as a denial does, what is left of one
/// of HTTP/1 is left to the connection ([`super::linger`]); a stream of HTTP/2 sees to that itself.
#[derive(Debug)]
pub struct Coming {
    inner: Option<Arriving>,
    rest: Option<Rest>,
    /// Whether the local service sends it without waiting to be told.
    unasked: bool,
}

impl Coming {
    /// A request of HTTP/1 with its body so.
    #[must_use]
    pub fn of(request: Request<Incoming>, rest: &Rest) -> Request<Self> {
        let unasked = !request.headers().contains_key(header::EXPECT);
        request.map(|inner| Self::new(Arriving::Library(inner), Some(rest.clone()), unasked))
    }

    /// The body of a request of HTTP/2.
    #[must_use]
    pub fn over_http2(inner: Inflow) -> Self {
        Self::new(Arriving::Inflow(inner), None, true)
    }

    fn new(inner: Arriving, rest: Option<Rest>, unasked: bool) -> Self {
        Self { inner: (!inner.is_end_stream()).then_some(inner), rest, unasked }
    }
}

impl Body for Coming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = Pin::new(inner).poll_frame(cx);
        // Whoever waits for `100-continue` has been told by the first frame at the latest.
        self.unasked |= frame.is_ready();
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.inner = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        let left = self.inner.take().filter(|inner| self.unasked && !inner.is_end_stream());
        if let (Some(Arriving::Library(left)), Some(rest)) = (left, &self.rest) {
            rest.leave(left);
        }
    }
}

/// A request body on its way to a callee.
#[derive(Debug)]
pub struct Outgoing {
    /// `None` where there is nothing to send; only such a request can be sent twice.
    inner: Option<Coming>,
    /// Which trailers may not go on, where the request was judged here.
    guard: Option<Guard>,
    /// Sees the right to it end, where it was judged here: it is read beside the answer, which nobody may be reading.
    withdrawn: Option<Withdrawn>,
    progress: Option<Arc<Progress>>,
    /// It is sent no longer than this. The answer has the same end, but it may be that nobody asks for more of it.
    until: Instant,
}

impl Outgoing {
    /// The body that the local service sends, for so long at most.
    #[must_use]
    pub fn new(inner: Coming, whole: Duration) -> Self {
        if inner.is_end_stream() {
            return Self::empty();
        }
        Self { inner: Some(inner), guard: None, withdrawn: None, progress: Some(Progress::start()), until: Instant::now() + whole }
    }

    /// The same for a request that was judged here: what policy read in its head does not follow as a trailer, and it ends when the
    /// right to it does.
    #[must_use]
    pub fn judged(inner: Coming, whole: Duration, guard: Guard, withdrawn: impl FnOnce() -> Withdrawn) -> Self {
        let body = Self::new(inner, whole);
        let withdrawn = (!body.is_empty()).then(withdrawn);
        Self { guard: Some(guard), withdrawn, ..body }
    }

    /// Nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self { inner: None, guard: None, withdrawn: None, progress: None, until: Instant::now() }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.inner.is_none()
    }

    /// Whether the HTTP library gave up because the body took longer than it may.
    #[must_use]
    pub fn was_late(error: &hyper::Error) -> bool {
        error.source().and_then(|cause| cause.downcast_ref()).is_some_and(|cause| matches!(cause, BodyError::Late))
    }

    /// A way to see it move.
    #[must_use]
    pub fn progress(&self) -> Option<Arc<Progress>> {
        self.progress.clone()
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.withdrawn.as_mut().is_some_and(|withdrawn| Pin::new(withdrawn).poll(cx).is_ready()) {
            (self.inner, self.withdrawn) = (None, None);
            return Poll::Ready(Some(Err(BodyError::Denied)));
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(inner).poll_frame(cx));
        // Looked at with each frame: while none comes, the silence ends it.
        if frame.as_ref().is_some_and(Result::is_ok) && Instant::now() >= self.until {
            self.inner = None;
            return Poll::Ready(Some(Err(BodyError::Late)));
        }
        if let Some(progress) = &self.progress {
            progress.touch();
        }
        let held_back = |name: &str| self.guard.as_ref().is_some_and(|guard| guard.holds_back(name));
        Poll::Ready(frame.map(|frame| frame.map(|frame| clean_trailers(frame, held_back))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// An answer's body on its way to the local service.
#[derive(Debug)]
pub enum Reply {
    /// Ours.
    Own(Option<Bytes>),
    /// The callee's.
    Stream(Box<Stream>),
}

/// A callee's body, and what ends with it.
#[derive(Debug)]
pub struct Stream {
    inner: Returning,
    lease: Option<Lease>,
    /// The places that the request takes.
    share: Option<Share>,
    running: Option<Running>,
    /// Sees the right to it end, where it was judged here.
    withdrawn: Option<Withdrawn>,
    patience: Patience,
}

impl Reply {
    /// A body of ours.
    #[must_use]
    pub fn own(text: String) -> Self {
        Self::Own(Some(Bytes::from(text)))
    }

    /// The body of a callee in the mesh.
    #[must_use]
    pub fn of_mesh(inner: Returning, lease: Lease, share: Share, patience: Patience) -> Self {
        Self::stream(Stream { inner, lease: Some(lease), share: Some(share), running: None, withdrawn: None, patience })
    }

    /// The body of a place outside the mesh; its end is recorded, and a new law can bring it about.
    #[must_use]
    pub fn of_outside(inner: Returning, running: Running, withdrawn: Withdrawn, patience: Patience) -> Self {
        Self::stream(Stream { inner, lease: None, share: None, running: Some(running), withdrawn: Some(withdrawn), patience })
    }

    fn stream(mut stream: Stream) -> Self {
        if stream.inner.is_end_stream() {
            stream.whole();
        }
        Self::Stream(Box::new(stream))
    }
}

impl Holds for Reply {
    fn held(&mut self) -> Option<Held> {
        let Self::Stream(stream) = self else { return None };
        if stream.running.is_none() && stream.share.is_none() {
            return None;
        }
        let right = stream.withdrawn.take().map_or(Right::Elsewhere, Right::Outside);
        Some(Held { due: stream.patience.due(), right, over: None })
    }

    fn take_back(&mut self, held: Held) {
        let Self::Stream(stream) = self else { return };
        match (held.right, held.over) {
            // It ended while nobody asked for it, and who asked for nothing gets nothing more.
            (_, Some(over)) => {
                if let Some(running) = stream.running.take() {
                    running.ended(over.why, over.detail);
                }
            }
            (Right::Outside(withdrawn), None) => stream.withdrawn = Some(withdrawn),
            (Right::Caller(..) | Right::Elsewhere, None) => {}
        }
    }
}

impl Stream {
    /// Everything was handed on.
    fn whole(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
        (self.share, self.withdrawn) = (None, None);
        if let Some(running) = self.running.take() {
            running.complete();
        }
    }

    fn broken(&mut self, detail: &'static str) {
        self.lease = None;
        if let Some(share) = self.share.take() {
            share.broke_off();
        }
        if let Some(running) = self.running.take() {
            running.upstream(detail);
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let stream = match &mut *self {
            Self::Own(text) => return Poll::Ready(text.take().map(|t| Ok(Frame::data(t)))),
            Self::Stream(stream) => stream,
        };
        if let Some(withdrawn) = &mut stream.withdrawn
            && let Poll::Ready(over) = Pin::new(withdrawn).poll(cx)
        {
            stream.withdrawn = None;
            if let Some(running) = stream.running.take() {
                running.ended(over.why, over.detail);
            }
            return Poll::Ready(Some(Err(BodyError::Denied)));
        }
        let Poll::Ready(frame) = Pin::new(&mut stream.inner).poll_frame(cx) else {
            ready!(stream.patience.poll(cx));
            stream.broken("timeout");
            return Poll::Ready(Some(Err(BodyError::Service)));
        };
        stream.patience.moved();
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(running), Some(data)) = (&mut stream.running, frame.data_ref()) {
                    running.sent(data.len());
                }
                // With a known length nobody asks again after the last frame.
                if stream.inner.is_end_stream() {
                    stream.whole();
                }
            }
            Some(Err(_)) => stream.broken("broken-off"),
            None => stream.whole(),
        }
        Poll::Ready(frame.map(|frame| frame.map(|frame| clean_trailers(frame, |_| false))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(text) => text.is_none(),
            Self::Stream(stream) => stream.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, |t| u64::try_from(t.len()).unwrap_or(0))),
            Self::Stream(stream) => stream.inner.size_hint(),
        }
    }
}
