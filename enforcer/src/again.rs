//! What it takes to send a request again that the peer never began, and how that is known.
//!
//! A peer that ends a connection of HTTP/2 says up to which stream it has looked at requests (RFC 9113, 6.8), and a request may be on its way
//! meanwhile: whoever asked over a connection at the end of its life would get an error for something that nobody has seen. Such a
//! request may be sent again whatever it asks for. So its head is kept, and of its body what was taken, until its answer begins.
//!
//! INVARIANTS: a request with a body is sent again with the same bytes, or not at all. What is kept costs no more than the bytes it has,
//! however small the pieces are in which they came; beyond what each request is sure of, all of them share one bound.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Request};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::limits::{AGAIN_BYTES_ALL_MAX, AGAIN_BYTES_MAX, AGAIN_BYTES_SURE, AGAIN_COPIED_BYTES_MAX, READY_WAIT};

/// What an error of the HTTP library tells of a request that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The peer leaves the connection, and has not looked at it.
    TurnedAway,
    /// The peer refuses this request on this connection, and has not looked at it.
    Refused,
    /// The connection ended. What became of the request is not known.
    Lost,
    /// What became of it is not known.
    Unknown,
}

impl Fate {
    /// What became of a request that failed so.
    #[must_use]
    pub fn of(error: &hyper::Error) -> Self {
        let cause = error.source();
        if let Some(cause) = cause.and_then(|cause| cause.downcast_ref::<h2::Error>()) {
            return match cause.reason() {
                // Of a stream that it has looked at the peer's GOAWAY says nothing, and the library neither.
                Some(_) if cause.is_go_away() && cause.is_remote() => Self::TurnedAway,
                Some(h2::Reason::REFUSED_STREAM) if cause.is_reset() && cause.is_remote() => Self::Refused,
                _ if cause.is_go_away() || cause.is_io() => Self::Lost,
                _ => Self::Unknown,
            };
        }
        let broke = cause.is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
        // Where the task of a connection is ended, the library takes it for a failure of who asks.
        let ended = error.is_incomplete_message() || error.is_closed() || error.is_canceled() || error.is_timeout() || error.is_user();
        if broke || ended { Self::Lost } else { Self::Unknown }
    }
}

/// A body that can be had again as long as a [`Spare`] of its request is kept.
#[derive(Debug)]
pub struct Again<B> {
    inner: Option<B>,
    kept: Option<Arc<Kept<B>>>,
    /// Which of the frames that were taken before comes next.
    next: usize,
}

#[derive(Debug)]
struct Kept<B> {
    taken: Mutex<Taken<B>>,
    back: Notify,
}

#[derive(Debug)]
struct Taken<B> {
    frames: Vec<Piece>,
    bytes: usize,
    beyond: Beyond,
    rest: Rest<B>,
}

#[derive(Clone, Debug)]
enum Piece {
    Data(Bytes),
    /// Small ones, one after another.
    Copied(Vec<u8>),
    Trailers(HeaderMap),
}

/// Where the rest of a body is.
#[derive(Debug)]
enum Rest<B> {
    /// Somebody sends it.
    Out,
    /// Nobody does; `None` where nothing is left.
    Back(Option<B>),
    /// It broke off, or was too long to be kept.
    Gone,
}

/// The request once more.
#[derive(Debug)]
pub struct Spare<B> {
    head: Request<()>,
    kept: Option<Arc<Kept<B>>>,
}

impl<B: Body<Data = Bytes>> Spare<B> {
    /// A request as it is sent, and what it takes to send it again.
    pub fn of(request: Request<B>) -> (Request<Again<B>>, Self) {
        let (parts, body) = request.into_parts();
        let kept = (!body.is_end_stream()).then(|| {
            let taken = Taken { frames: Vec::new(), bytes: 0, beyond: Beyond::of(&ALL), rest: Rest::Out };
            Arc::new(Kept { taken: Mutex::new(taken), back: Notify::new() })
        });
        let spare = Self { head: Request::from_parts(parts.clone(), ()), kept: kept.clone() };
        (Request::from_parts(parts, Again { inner: Some(body), kept, next: 0 }), spare)
    }

    /// Whether it has no body.
    #[must_use]
    pub const fn is_bare(&self) -> bool {
        self.kept.is_none()
    }

    /// The request once more, where its body can be had again.
    pub async fn again(&self) -> Option<Box<Request<Again<B>>>> {
        let request = |inner| self.head.clone().map(|()| Again { inner, kept: self.kept.clone(), next: 0 });
        let Some(kept) = &self.kept else { return Some(Box::new(request(None))) };
        // Whoever sent the body learns of the end of its stream in a moment of its own.
        let back = async {
            loop {
                let told = kept.back.notified();
                if let Some(rest) = kept.take() {
                    return rest;
                }
                told.await;
            }
        };
        let rest = timeout(READY_WAIT, back).await.ok().flatten()?;
        Some(Box::new(request(rest)))
    }
}

impl<B> Kept<B> {
    /// The rest, where it is known: `Some(None)` is one that cannot be had. It is out again then.
    #[expect(clippy::option_option, reason = "not known yet, cannot be had, and nothing left are three")]
    fn take(&self) -> Option<Option<Option<B>>> {
        let mut taken = self.lock();
        match std::mem::replace(&mut taken.rest, Rest::Out) {
            Rest::Out => None,
            Rest::Back(rest) => Some(Some(rest)),
            Rest::Gone => {
                taken.rest = Rest::Gone;
                Some(None)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken<B>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Taken<B> {
    fn keep(&mut self, piece: Piece) {
        self.bytes += match &piece {
            Piece::Data(data) => data.len(),
            Piece::Copied(bytes) => bytes.len(),
            Piece::Trailers(trailers) => trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum(),
        };
        if self.bytes > AGAIN_BYTES_MAX || !self.beyond.grow(self.bytes.saturating_sub(AGAIN_BYTES_SURE)) {
            return self.give_up();
        }
        match (piece, self.frames.last_mut()) {
            (Piece::Data(data), Some(Piece::Copied(last))) if last.len() + data.len() <= AGAIN_COPIED_BYTES_MAX => {
                last.extend_from_slice(&data);
            }
            // A small one is a part of something larger, which would be kept with it.
            (Piece::Data(data), _) if data.len() < AGAIN_COPIED_BYTES_MAX => self.frames.push(Piece::Copied(data.to_vec())),
            (piece, _) => self.frames.push(piece),
        }
    }

    fn give_up(&mut self) {
        (self.rest, self.frames) = (Rest::Gone, Vec::new());
        self.beyond.grow(0);
    }
}

/// What all requests keep beyond what each is sure of.
static ALL: AtomicUsize = AtomicUsize::new(0);

/// What one request keeps of that, given back when this is dropped.
#[derive(Debug)]
struct Beyond {
    all: &'static AtomicUsize,
    bytes: usize,
}

impl Beyond {
    const fn of(all: &'static AtomicUsize) -> Self {
        Self { all, bytes: 0 }
    }

    /// Whether it may be so many bytes from now on.
    fn grow(&mut self, bytes: usize) -> bool {
        let own = self.bytes;
        if bytes != own {
            let room = |all: usize| Some(all - own + bytes).filter(|all| bytes < own || *all <= AGAIN_BYTES_ALL_MAX);
            if self.all.try_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
                return false;
            }
            self.bytes = bytes;
        }
        true
    }
}

impl Drop for Beyond {
    fn drop(&mut self) {
        self.grow(0);
    }
}

impl<B: Body<Data = Bytes> + Unpin> Again<B> {
    /// One that comes for the first time.
    fn fresh(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
        let over = !matches!(frame, Some(Ok(_))) || inner.is_end_stream();
        let Some(kept) = self.kept.take() else { return Poll::Ready(frame) };
        let mut taken = kept.lock();
        if matches!(taken.rest, Rest::Gone) || Arc::strong_count(&kept) == 1 {
            // Nobody will ask for it again.
            taken.give_up();
            return Poll::Ready(frame);
        }
        match &frame {
            Some(Ok(frame)) => match (frame.data_ref(), frame.trailers_ref()) {
                (Some(data), _) => taken.keep(Piece::Data(data.clone())),
                (_, Some(trailers)) => taken.keep(Piece::Trailers(trailers.clone())),
                (None, None) => {}
            },
            Some(Err(_)) => taken.give_up(),
            None => {}
        }
        self.next = taken.frames.len();
        let gone = matches!(taken.rest, Rest::Gone);
        if over && !gone {
            taken.rest = Rest::Back(None);
        }
        drop(taken);
        match (over, gone) {
            (true, false) => kept.back.notify_waiters(),
            (false, false) => self.kept = Some(kept),
            (_, true) => {}
        }
        Poll::Ready(frame)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Again<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let before = self.kept.as_ref().and_then(|kept| kept.lock().frames.get(self.next).cloned());
        let Some(piece) = before else { return self.fresh(cx) };
        self.next += 1;
        Poll::Ready(Some(Ok(match piece {
            Piece::Data(data) => Frame::data(data),
            Piece::Copied(bytes) => Frame::data(bytes.into()),
            Piece::Trailers(trailers) => Frame::trailers(trailers),
        })))
    }

    fn is_end_stream(&self) -> bool {
        let nothing = self.inner.as_ref().is_none_or(Body::is_end_stream);
        nothing && self.kept.as_ref().is_none_or(|kept| kept.lock().frames.len() <= self.next)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let Some(kept) = &self.kept else { return rest };
        let taken = kept.lock();
        let before = taken.frames.iter().skip(self.next);
        let (mut bytes, mut trailers) = (0, false);
        for piece in before {
            match piece {
                Piece::Data(data) => bytes += u64::try_from(data.len()).unwrap_or(0),
                Piece::Copied(copied) => bytes += u64::try_from(copied.len()).unwrap_or(0),
                Piece::Trailers(_) => trailers = true,
            }
        }
        // Trailers need a framing that has a place for them.
        match rest.exact() {
            Some(exact) if !trailers => SizeHint::with_exact(exact + bytes),
            _ => SizeHint::default(),
        }
    }
}

impl<B> Drop for Again<B> {
    fn drop(&mut self) {
        let Some(kept) = &self.kept else { return };
        let mut taken = kept.lock();
        if matches!(taken.rest, Rest::Out) {
            taken.rest = Rest::Back(self.inner.take());
            drop(taken);
            kept.back.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::future::poll_fn;

    use http::HeaderValue;

    use super::*;

    /// A body that comes in these pieces; where one is missing it waits.
    #[derive(Debug)]
    struct Pieces(VecDeque<Option<Piece>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                Some(Some(Piece::Data(data))) => Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Some(Piece::Copied(_))) => unreachable!("pieces come as data"),
                Some(Some(Piece::Trailers(trailers))) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Some(None) => Poll::Pending,
                None => Poll::Ready(None),
            }
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }
    }

    fn data(text: &str) -> Option<Piece> {
        Some(Piece::Data(Bytes::copy_from_slice(text.as_bytes())))
    }

    fn of(pieces: Vec<Option<Piece>>) -> (Again<Pieces>, Spare<Pieces>) {
        let (request, spare) = Spare::of(Request::new(Pieces(pieces.into())));
        (request.into_body(), spare)
    }

    async fn next(body: &mut Again<Pieces>) -> Option<String> {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?.unwrap();
        Some(match frame.into_data() {
            Ok(data) => String::from_utf8(data.to_vec()).unwrap(),
            Err(frame) => format!("{:?}", frame.into_trailers().unwrap()),
        })
    }

    async fn all(mut body: Again<Pieces>) -> Vec<String> {
        let mut out = Vec::new();
        while !body.is_end_stream()
            && let Some(frame) = next(&mut body).await
        {
            out.push(frame);
        }
        out
    }

    #[tokio::test]
    async fn the_same_comes_again_however_far_it_had_gone() {
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("7"))]);
        let whole = ["one", "two", "{\"x-sum\": \"7\"}"];
        for gone in 0..=3 {
            let (mut first, spare) = of(vec![data("one"), data("two"), Some(Piece::Trailers(trailers.clone()))]);
            for part in &whole[..gone] {
                assert_eq!(next(&mut first).await.as_deref(), Some(*part));
            }
            // Whoever sent it lets go of it a moment later.
            let (second, ()) = tokio::join!(spare.again(), async { drop(first) });
            let mut second = second.expect("it can be had").into_body();
            // Small pieces that were kept are one.
            let first = ["one", "one", "onetwo", "onetwo"][gone];
            assert_eq!(next(&mut second).await.as_deref(), Some(first));
            // A third time, after some of the second.
            drop(second);
            assert_eq!(all(spare.again().await.expect("it can be had").into_body()).await.concat(), whole.concat(), "{gone}");
        }
    }

    #[tokio::test]
    async fn what_is_still_sent_or_too_long_or_not_wanted_is_not_had_again() {
        // Who sends it does not let go of it.
        let (mut first, spare) = of(vec![data("one"), None, data("two")]);
        assert_eq!(next(&mut first).await.as_deref(), Some("one"));
        assert!(spare.again().await.is_none());
        assert_eq!(first.size_hint().exact(), None);
        // It is longer than is kept, by one byte, and goes on all the same.
        let half = "x".repeat(AGAIN_BYTES_MAX / 2);
        for (last, had) in [("", true), ("y", false)] {
            let (mut first, spare) = of(vec![data(&half), data(&half), data(last), data("end")]);
            for part in [&*half, &*half, last] {
                assert_eq!(next(&mut first).await.as_deref(), Some(part));
            }
            drop(first);
            assert_eq!(spare.again().await.is_some(), had, "{last}");
        }
        // All of it is kept by others.
        let (mut first, spare) = of(vec![data(&"x".repeat(AGAIN_BYTES_SURE)), data("y"), data("end")]);
        first.kept.as_ref().unwrap().lock().beyond = Beyond::of(Box::leak(Box::new(AtomicUsize::new(AGAIN_BYTES_ALL_MAX))));
        for had in [true, false] {
            next(&mut first).await;
            assert_eq!(matches!(spare.kept.as_ref().unwrap().lock().rest, Rest::Out), had);
        }
        // An answer has begun.
        let (mut first, spare) = of(vec![data("one"), data("two"), data("three")]);
        assert_eq!(next(&mut first).await.as_deref(), Some("one"));
        drop(spare);
        assert_eq!(next(&mut first).await.as_deref(), Some("two"));
        assert!(first.kept.is_none(), "it is kept for nobody");
        assert_eq!(all(first).await, ["three"]);
        // Nothing is kept of what has no body.
        let (bare, spare) = of(vec![]);
        assert!(bare.kept.is_none() && spare.is_bare());
        assert!(spare.again().await.unwrap().into_body().is_end_stream());
    }

    #[tokio::test]
    async fn many_small_pieces_cost_no_more_than_their_bytes() {
        let (mut first, spare) = of((0..100_000).map(|_| data("x")).collect());
        while next(&mut first).await.is_some() {}
        let frames = spare.kept.as_ref().unwrap().lock().frames.iter().map(|_| ()).count();
        assert!(frames <= 100_000 / AGAIN_COPIED_BYTES_MAX + 1, "{frames}");
        drop(first);
        assert_eq!(all(spare.again().await.unwrap().into_body()).await.concat().len(), 100_000);
    }

    #[test]
    fn what_all_keep_together_is_bounded_and_given_back() {
        let total: &'static AtomicUsize = Box::leak(Box::default());
        let (mut one, mut two) = (Beyond::of(total), Beyond::of(total));
        assert!(one.grow(AGAIN_BYTES_ALL_MAX - 10) && two.grow(10) && !two.grow(11));
        assert!(one.grow(5) && two.grow(11));
        drop((one, two));
        assert_eq!(total.load(Ordering::Relaxed), 0);
    }
}
