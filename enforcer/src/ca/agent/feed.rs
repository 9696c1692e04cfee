//! One stream of answers: at once, whenever something changes, and before the identities given last end.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::{HeaderMap, HeaderValue};
use hyper::body::{Body, Frame};
use portreeve_engine::Digest;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::budget::Budget;
use super::keeper::Served;
use crate::workload::{Status, framed};

/// What a stream is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Identities with their keys.
    Identities,
    /// Roots and lists.
    Bundles,
}

/// The body of an answer.
pub(super) enum Feed {
    /// Nothing: the status stood in the headers.
    Empty,
    /// Messages as they come about.
    Running(Pin<Box<dyn Stream<Item = Frame<Bytes>> + Send>>),
}

impl Feed {
    /// The stream for the user of this budget.
    pub(super) fn of(kind: Kind, budget: Arc<Budget>, served: watch::Receiver<Arc<Served>>, stop: watch::Receiver<bool>) -> Self {
        let state =
            State { kind, uid: budget.uid(), budget, paid: false, served, stop, given: None, renew_at: Instant::now(), over: false };
        Self::Running(Box::pin(stream::unfold(state, State::next)))
    }
}

struct State {
    kind: Kind,
    uid: u32,
    budget: Arc<Budget>,
    /// Whether the next identities may be signed.
    paid: bool,
    served: watch::Receiver<Arc<Served>>,
    stop: watch::Receiver<bool>,
    /// What the last answer was made from.
    given: Option<Digest>,
    renew_at: Instant,
    over: bool,
}

impl State {
    async fn next(mut self) -> Option<(Frame<Bytes>, Self)> {
        if self.over {
            return None;
        }
        loop {
            let served = Arc::clone(&self.served.borrow_and_update());
            if *self.stop.borrow() {
                return Some(self.end(Status::UNAVAILABLE, "the agent is stopping"));
            }
            if !served.knows(self.uid) {
                return Some(self.end(Status::PERMISSION_DENIED, "no identity for this user"));
            }
            let digest = served.digest_for(self.uid);
            if self.given != Some(digest) || Instant::now() >= self.renew_at {
                if self.kind == Kind::Identities && !self.paid {
                    tokio::select! {
                        () = self.budget.take(served.count(self.uid)) => self.paid = true,
                        _ = self.stop.changed() => {}
                    }
                    // It may have waited, so what is signed is looked up now.
                    continue;
                }
                self.paid = false;
                let message = match self.kind {
                    Kind::Bundles => {
                        // Nothing in it ends by itself.
                        self.renew_at = Instant::now() + crate::ca::limits::AGENT_BUNDLES_AGAIN;
                        served.bundles().encode()
                    }
                    Kind::Identities => match served.identities(self.uid) {
                        Err(error) => return Some(self.end(Status::UNAVAILABLE, &error.to_string())),
                        Ok((answer, lifetime)) => {
                            self.renew_at = Instant::now() + before_half(lifetime);
                            answer.encode()
                        }
                    },
                };
                self.given = Some(digest);
                return Some((Frame::data(framed(&message)), self));
            }
            tokio::select! {
                _ = self.served.changed() => {}
                _ = self.stop.changed() => {}
                () = sleep_until(self.renew_at) => {}
            }
        }
    }

    fn end(mut self, status: u16, why: &str) -> (Frame<Bytes>, Self) {
        self.over = true;
        (Frame::trailers(status_headers(status, why)), self)
    }
}

/// A status as headers or trailers.
pub(super) fn status_headers(status: u16, why: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", HeaderValue::from(status));
    let escaped: String =
        why.bytes().map(|b| if (0x20..0x7f).contains(&b) && b != b'%' { char::from(b).to_string() } else { format!("%{b:02X}") }).collect();
    if let Ok(text) = HeaderValue::from_str(&escaped) {
        headers.insert("grpc-message", text);
    }
    headers
}

/// Shortly before half of the life is over, and not for all at one moment. So a certificate that a caller shows has always more
/// than half of its life before it, and a connection made with it lasts until the caller's own renewal makes another.
fn before_half(lifetime: Duration) -> Duration {
    let mut bytes = [0; 2];
    let part = aws_lc_rs::rand::fill(&mut bytes).map_or(0, |()| u32::from(u16::from_le_bytes(bytes)));
    lifetime * 40 / 100 + lifetime * 8 / 100 * part / u32::from(u16::MAX)
}

impl Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Running(stream) => stream.as_mut().poll_next(cx).map(|frame| frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }
}
