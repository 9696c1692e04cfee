//! The streams of one connection: places, which are few and used again, and what stands in them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use http::Response;
use tokio::time::Instant;

use crate::h1::timer::Timer;
use crate::h2::bells::{self, Bells};
use crate::h2::frame::Code;
use crate::h2::inflow::Source;
use crate::h2::pipe::Drain;
use crate::h2::spelled::Spelled;
use crate::limits;
use crate::tether::Held;

/// What is run for a stream.
pub type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What came of a request.
pub enum Reply<B> {
    /// An answer.
    Answer(Response<B>),
    /// An answer whose head is spelled already.
    Spelled(Spelled, B),
    /// The head of an answer, after which the stream is a tunnel that this carries.
    Tunnel(Spelled, Task<()>),
}

/// What a stream is about.
pub(super) enum Work<B> {
    /// Its answer is waited for.
    Asking(Task<Reply<B>>),
    /// It is here, and is being sent.
    Answering(B),
    /// Bytes go both ways.
    Tunnel {
        /// Carries them; none when it is done.
        task: Option<Task<()>>,
        /// The caller was told that nothing more comes.
        told: bool,
    },
    /// Everything was sent.
    Sent,
}

/// A stream that is open on one side at least.
pub(super) struct Stream<B> {
    pub(super) id: u32,
    /// When its head came.
    pub(super) since: Instant,
    pub(super) work: Work<B>,
    /// Where what comes is put, where there is a body.
    pub(super) source: Option<Source>,
    /// Everything came.
    pub(super) is_whole: bool,
    /// What is sent of a tunnel.
    pub(super) drain: Option<Drain>,
    /// How much may be sent.
    pub(super) window: i64,
    /// How much may come.
    pub(super) room: i64,
    /// How much of what came was read, and the other side not told.
    pub(super) read: usize,
    /// How much has to come, where that was said.
    pub(super) expected: Option<u64>,
    /// Taken from the answer and not sent.
    pub(super) piece: Bytes,
    /// What ends the answer while it cannot be sent.
    pub(super) held: Option<Held>,
    pub(super) timer: Option<Timer>,
    /// Until when the rest of the request may come, after its answer.
    pub(super) lingers: Option<Instant>,
    /// How much of it was thrown away.
    pub(super) thrown: usize,
    /// The answer has no body, whatever it says.
    pub(super) head_only: bool,
    pub(super) is_answered: bool,
    /// The caller waits for leave to send its body.
    pub(super) waits: bool,
}

impl<B> Stream<B> {
    /// A stream that was opened at `since`. `initial` is the other side's window for it.
    pub(super) fn new(id: u32, since: Instant, initial: i64, is_whole: bool) -> Self {
        Self {
            id,
            since,
            work: Work::Sent,
            source: None,
            is_whole,
            drain: None,
            window: initial,
            room: i64::from(limits::H2_STREAM_WINDOW),
            read: 0,
            expected: None,
            piece: Bytes::new(),
            held: None,
            timer: None,
            lingers: None,
            thrown: 0,
            head_only: false,
            is_answered: false,
            waits: false,
        }
    }
}

pub(super) struct Place<B> {
    pub(super) rings: Waker,
    pub(super) stream: Option<Stream<B>>,
}

/// The open streams.
pub(super) struct Streams<B> {
    bells: Arc<Bells>,
    places: Vec<Place<B>>,
    /// The stream at each place; 0 where there is none.
    ids: Vec<u32>,
    open: usize,
    /// The last ones that ended in order.
    closed: Last<{ limits::H2_CLOSED_KEPT }>,
    /// The last ones that we ended early: however many end in order meanwhile, what was on its way to them may come.
    early: Last<{ limits::H2_EARLY_KEPT }>,
}

/// The last `N` streams of some kind.
struct Last<const N: usize> {
    ids: [u32; N],
    next: usize,
}

impl<const N: usize> Last<N> {
    const NONE: Self = Self { ids: [0; N], next: 0 };

    fn push(&mut self, id: u32) {
        if let Some(place) = self.ids.get_mut(self.next) {
            *place = id;
        }
        self.next = (self.next + 1) % N;
    }
}

impl<B> Streams<B> {
    pub(super) fn new(bells: &Arc<Bells>) -> Self {
        let (places, ids) = (Vec::new(), Vec::new());
        Self { bells: Arc::clone(bells), places, ids, open: 0, closed: Last::NONE, early: Last::NONE }
    }

    pub(super) fn len(&self) -> usize {
        self.open
    }

    pub(super) fn find(&self, id: u32) -> Option<usize> {
        self.ids.iter().position(|at| *at == id && id != 0)
    }

    /// A place that nobody has, and what rings for it.
    pub(super) fn free(&mut self) -> Option<(usize, Waker)> {
        if let Some(at) = self.ids.iter().position(|id| *id == 0) {
            return self.places.get(at).map(|place| (at, place.rings.clone()));
        }
        let at = self.places.len();
        if at >= usize::try_from(limits::H2_STREAMS_MAX).unwrap_or(0) {
            return None;
        }
        let rings = bells::stream(&self.bells, at);
        self.places.push(Place { rings: rings.clone(), stream: None });
        self.ids.push(0);
        Some((at, rings))
    }

    /// Puts a stream where there is none.
    pub(super) fn put(&mut self, at: usize, stream: Stream<B>) {
        if let (Some(place), Some(id)) = (self.places.get_mut(at), self.ids.get_mut(at)) {
            *id = stream.id;
            place.stream = Some(stream);
            self.open += 1;
            self.bells.ring_stream(at);
        }
    }

    pub(super) fn place(&mut self, at: usize) -> Option<&mut Place<B>> {
        self.places.get_mut(at)
    }

    pub(super) fn get(&mut self, at: usize) -> Option<&mut Stream<B>> {
        self.places.get_mut(at)?.stream.as_mut()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Stream<B>)> {
        self.places.iter_mut().enumerate().filter_map(|(at, place)| Some((at, place.stream.as_mut()?)))
    }

    /// Takes a stream out, and remembers it for a while. `early` says that the other side may not know yet.
    pub(super) fn remove(&mut self, at: usize, early: bool) -> Option<Stream<B>> {
        let stream = self.places.get_mut(at)?.stream.take()?;
        if let Some(id) = self.ids.get_mut(at) {
            *id = 0;
        }
        self.open -= 1;
        self.remember(stream.id, early);
        if self.open == 0 && self.places.len() > limits::H2_PLACES_KEPT {
            self.places.truncate(limits::H2_PLACES_KEPT);
            self.places.shrink_to_fit();
            self.ids.truncate(limits::H2_PLACES_KEPT);
        }
        Some(stream)
    }

    pub(super) fn remember(&mut self, id: u32, early: bool) {
        if early { self.early.push(id) } else { self.closed.push(id) }
    }

    /// Whether a stream was ended early by us; `None` where it was not open lately.
    pub(super) fn was(&self, id: u32) -> Option<bool> {
        if self.early.ids.contains(&id) { Some(true) } else { self.closed.ids.contains(&id).then_some(false) }
    }

    /// Ends all of them.
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.ids.clear();
        self.open = 0;
    }
}

/// What a stream's turn ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It waits for something, and will ring.
    Waits,
    /// It has something to send, and there is no room on the connection.
    Crowded,
    /// Everything was sent.
    Sent,
    /// It ends before its end.
    Broken(Code),
}
