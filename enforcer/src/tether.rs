//! What ends an answer that its caller does not take.
//!
//! The HTTP library asks for a piece of an answer when it has sent the one before. A caller that takes nothing keeps it from asking, and so
//! the answer from seeing its time and its denial (A65), for as long as the connection lasts. So whoever gave the library a piece, and has
//! more, leaves here what ends it, and the task that serves the connection looks at it. Our own codec holds what ends an answer beside the
//! piece that it cannot send.
//!
//! INVARIANT: what is left here belongs to an answer that is not being asked for; it is taken away when that is.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::body::BodyError;
use crate::gate::Caller;
use crate::h1::call::Answer;
use crate::h1::timer::Timer;
use crate::live::Spot;
use crate::outbound::egress::{Over, Withdrawn};
use crate::times::Due;

/// What ends the answers of one connection of HTTP/1 that the library serves, where nobody asks for them.
#[derive(Debug, Default)]
pub struct Tether(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    /// Who waits for an end.
    waits: Option<Waker>,
}

/// What ends an answer.
#[derive(Debug)]
pub struct Held {
    /// Its time.
    pub due: Due,
    /// What it rests on.
    pub right: Right,
    /// Why it is over, where that is known here alone.
    pub over: Option<Over>,
}

impl Held {
    /// Ready when the answer is to end.
    pub fn poll_over(&mut self, cx: &mut Context<'_>, timer: &mut Option<Timer>) -> Poll<()> {
        match &mut self.right {
            Right::Caller(caller, Some(spot)) if caller.live.is_cut(*spot) => return Poll::Ready(()),
            Right::Outside(withdrawn) => {
                if let Poll::Ready(over) = Pin::new(withdrawn).poll(cx) {
                    self.over = Some(over);
                    return Poll::Ready(());
                }
            }
            Right::Caller(..) | Right::Elsewhere => {}
        }
        timer.get_or_insert_default().poll(cx, self.due.at())
    }
}

/// What an answer rests on.
#[derive(Debug)]
pub enum Right {
    /// The law for a caller, whose denial shows at this place.
    Caller(Arc<Caller>, Option<Spot>),
    /// The law for a place outside the mesh.
    Outside(Withdrawn),
    /// Nothing that is judged here.
    Elsewhere,
}

/// An answer's body that can say what ends it while nobody asks for it.
pub trait Holds: Body<Data = Bytes, Error = BodyError> + Unpin {
    /// What ends the rest of it; `None` where there is none.
    fn held(&mut self) -> Option<Held>;

    /// It is asked for again, or let go.
    fn take_back(&mut self, held: Held);

    /// The answer itself, where we read it: its pieces can be had without being copied once more.
    fn direct(&mut self) -> Option<&mut Answer> {
        None
    }
}

impl Tether {
    /// Completes when an answer that is not asked for is to end.
    pub async fn over(&self) {
        let mut timer = None;
        poll_fn(|cx| {
            let mut state = self.lock();
            state.waits = Some(cx.waker().clone());
            state.held.as_mut().map_or(Poll::Pending, |held| held.poll_over(cx, &mut timer))
        })
        .await;
    }

    fn put(&self, held: Option<Held>) -> Option<Held> {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.held, held);
        let waits = state.waits.take();
        drop(state);
        waits.into_iter().for_each(Waker::wake);
        before
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer that may not be asked for.
#[derive(Debug)]
pub struct Tied<B: Holds> {
    body: B,
    tether: Arc<Tether>,
    holds: bool,
}

impl<B: Holds> Tied<B> {
    /// A body, and where it leaves what ends it.
    #[must_use]
    pub const fn new(body: B, tether: Arc<Tether>) -> Self {
        Self { body, tether, holds: false }
    }

    fn free(&mut self) {
        if std::mem::take(&mut self.holds)
            && let Some(held) = self.tether.put(None)
        {
            self.body.take_back(held);
        }
    }
}

impl<B: Holds> Body for Tied<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.free();
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(_))) = &frame
            && let Some(held) = self.body.held()
        {
            self.holds = true;
            self.tether.put(Some(held));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Holds> Drop for Tied<B> {
    fn drop(&mut self) {
        self.free();
    }
}
