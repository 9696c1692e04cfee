//! Bodies on their way through: streamed, never held, counted.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::Version;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use portreeve_engine::record::Why;

use crate::gate::{Guard, Leash, Running};
use crate::h1::call::Answer;
use crate::h2::inflow::Inflow;
use crate::headers;
use crate::pool::Lease;
use crate::tether::{Held, Holds};
use crate::times::Patience;

/// A request body as it comes from a caller.
#[derive(Debug)]
pub enum Arriving {
    /// Through the HTTP library.
    Library(Incoming),
    /// Over HTTP/2.
    Inflow(Inflow),
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Library(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::Http),
            Self::Inflow(body) => body.poll_next(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Library(body) => body.is_end_stream(),
            Self::Inflow(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Library(body) => body.size_hint(),
            Self::Inflow(body) => body.size_hint(),
        }
    }
}

/// An answer's body as it comes through the HTTP library.
///
/// A reset without an error says behind an answer that the rest of its request is not wanted (RFC 9113, 8.1). The library takes one in the
/// middle of an answer for its end, too: here it is whole only where its stream ended.
#[derive(Debug)]
pub struct Returning {
    inner: Incoming,
    http2: bool,
}

impl Returning {
    /// The body of an answer of this version.
    #[must_use]
    pub fn of(version: Version, inner: Incoming) -> Self {
        Self { inner, http2: version == Version::HTTP_2 }
    }
}

impl Body for Returning {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            None if self.http2 && !self.inner.is_end_stream() => Poll::Ready(Some(Err(BodyError::Service))),
            frame => Poll::Ready(frame.map(|frame| Ok(frame?))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A request body on its way to a service. Its trailers are cleaned like headers, and it ends when its request may not go on.
#[derive(Debug)]
pub struct RequestBody {
    inner: Arriving,
    guard: Guard,
    leash: Leash,
    progress: Option<Arc<Progress>>,
}

/// When a request body last moved, so that a slow upload is not taken for a silent peer.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    last_ms: AtomicU64,
}

impl Progress {
    /// From now on.
    #[must_use]
    pub fn start() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), last_ms: AtomicU64::new(0) })
    }

    /// The last time something moved.
    #[must_use]
    pub fn last(&self) -> Instant {
        self.began + std::time::Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    /// Something moved just now.
    pub fn touch(&self) {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
    }
}

impl RequestBody {
    /// Wraps a body, with a way to see it move where there is one.
    #[must_use]
    pub fn new(inner: Arriving, guard: Guard, leash: Leash) -> (Self, Option<Arc<Progress>>) {
        let progress = (!inner.is_end_stream()).then(Progress::start);
        (Self { inner, guard, leash, progress: progress.clone() }, progress)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        // Looked at with each frame: while none comes, none goes on.
        if self.leash.is_over() {
            return Poll::Ready(Some(Err(BodyError::Denied)));
        }
        if let Some(progress) = &self.progress {
            progress.touch();
        }
        Poll::Ready(frame.map(|frame| frame.map(|frame| clean_trailers(frame, |name| self.guard.holds_back(name)))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Cleans trailers like headers, and holds some back. What would change how the message is read has no place there.
pub fn clean_trailers(frame: Frame<Bytes>, held_back: impl Fn(&str) -> bool) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            headers::sanitise(&mut trailers);
            let held: Vec<_> =
                trailers.keys().filter(|name| !headers::may_trail(name.as_str()) || held_back(name.as_str())).cloned().collect();
            for name in held {
                trailers.remove(name);
            }
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// Why an answer breaks off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It could not be read.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// The service broke it off.
    #[error("the service broke the answer off")]
    Service,
    /// The caller broke its request off.
    #[error("the request broke off")]
    Caller,
    /// It took all the time it may.
    #[error("it took longer than it may")]
    Late,
    /// A new policy takes the right to it away.
    #[error("the answer may not go on")]
    Denied,
}

/// A response body on its way to the caller.
#[derive(Debug)]
pub enum ResponseBody {
    /// Ours.
    Own(Option<Bytes>),
    /// The service's, through the HTTP library.
    Stream(Box<Stream>),
    /// The service's, read by ourselves.
    Direct(Box<Answer>),
}

/// A service's response body. When it ends, the connection goes back to its pool and the end of the request is recorded.
#[derive(Debug)]
pub struct Stream {
    inner: Returning,
    running: Option<Running>,
    lease: Option<Lease>,
    patience: Patience,
}

impl ResponseBody {
    /// A body of ours.
    #[must_use]
    pub fn own(text: String) -> Self {
        Self::Own(Some(Bytes::from(text)))
    }

    /// A service's body, with what ends with it. `bodiless` says that the head was all of the answer.
    #[must_use]
    pub fn stream(inner: Returning, running: Option<Running>, lease: Option<Lease>, mut patience: Patience, bodiless: bool) -> Self {
        patience.moved();
        let mut stream = Stream { inner, running, lease, patience };
        if bodiless || stream.inner.is_end_stream() {
            stream.whole();
        }
        Self::Stream(Box::new(stream))
    }
}

impl Holds for ResponseBody {
    fn held(&mut self) -> Option<Held> {
        match self {
            Self::Own(_) => None,
            Self::Direct(answer) => answer.held(),
            Self::Stream(stream) => stream.running.as_ref().map(|running| running.held(stream.patience.due())),
        }
    }

    /// Its denial shows where it showed before.
    fn take_back(&mut self, _: Held) {}

    fn direct(&mut self) -> Option<&mut Answer> {
        if let Self::Direct(answer) = self { Some(answer) } else { None }
    }
}

impl Stream {
    /// Everything was handed on.
    fn whole(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
        if let Some(mut running) = self.running.take() {
            running.because(Why::Complete);
        }
    }

    fn broken(&mut self) {
        self.lease = None;
        if let Some(mut running) = self.running.take() {
            running.because(Why::Upstream);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let stream = match &mut *self {
            Self::Own(text) => return Poll::Ready(text.take().map(|t| Ok(Frame::data(t)))),
            Self::Direct(answer) => return answer.poll_frame(cx),
            Self::Stream(stream) => stream,
        };
        if let Some(running) = &mut stream.running
            && running.poll_cut(cx).is_ready()
        {
            running.denied();
            stream.running = None;
            stream.lease = None;
            return Poll::Ready(Some(Err(BodyError::Denied)));
        }
        let Poll::Ready(frame) = Pin::new(&mut stream.inner).poll_frame(cx) else {
            ready!(stream.patience.poll(cx));
            stream.broken();
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
            Some(Err(_)) => stream.broken(),
            None => stream.whole(),
        }
        Poll::Ready(frame.map(|frame| frame.map(|frame| clean_trailers(frame, |_| false))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(text) => text.is_none(),
            Self::Direct(answer) => answer.is_end(),
            Self::Stream(stream) => stream.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, |t| u64::try_from(t.len()).unwrap_or(0))),
            Self::Direct(answer) => answer.size(),
            Self::Stream(stream) => stream.inner.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::head::Fields;

    /// Whatever carried them, the same trailers go on.
    #[test]
    fn a18_a77_trailers_are_cleaned_alike_over_http1_and_http2() {
        let lines = [
            ("grpc-status", "0"),
            ("x-checksum", "7"),
            ("x-portreeve-principal", "evil"),
            ("x_forwarded_client_cert", "evil"),
            ("l5d-client-id", "evil"),
            ("x-request-id", "theirs"),
            ("authorization", "Bearer evil"),
            ("host", "evil"),
            ("content-length", "5"),
            ("content-type", "text/html"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x"),
            ("te", "trailers"),
            ("connection", "x-named"),
            ("x-named", "1"),
            ("expect", "100-continue"),
            ("upgrade", "h2c"),
            ("set-cookie", "a"),
            ("cookie", "a"),
            ("location", "/"),
            ("x-held", "1"),
        ];
        let held_back = |name: &str| name == "x-held";
        let mut fields = Fields::default();
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            fields.push(name, value.as_bytes());
            map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value));
        }
        let http1 = crate::h1::body::clean_trailers(fields, held_back);
        assert_eq!(String::from_utf8(http1).unwrap(), "grpc-status: 0\r\nx-checksum: 7\r\n");
        let http2 = clean_trailers(Frame::trailers(map), held_back).into_trailers().unwrap();
        let mut names: Vec<_> = http2.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        names.sort_unstable();
        assert_eq!(names, [("grpc-status", "0"), ("x-checksum", "7")]);
    }
}
