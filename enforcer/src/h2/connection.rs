//! One HTTP/2 connection of a caller, or of the local service, and its streams, served by one task.
//!
//! INVARIANTS: frames are taken in their order, and one that may not be where it is ends its stream or the connection, as RFC 9113 has
//! it; nothing is sent beyond a window, and nothing received beyond ours; what is received is read only as far as what it makes us send
//! is taken; a task gives way after [`limits::H2_ROUNDS_MAX`] rounds. A stream ends with its connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use http::{Response, StatusCode};
use tokio::io::AsyncWrite;
use tokio::task::coop;
use tokio::time::Instant;

use crate::h1::buffer::{self, Wire};
use crate::h1::timer::Timer;
use crate::h2::bells::{self, Bells};
use crate::h2::frame::{self, Code, Wrong};
use crate::h2::hpack::{Block, Decoder};
use crate::h2::inflow::Inflow;
use crate::h2::patience::{Exhausted, Patience};
use crate::h2::pipe::Pipe;
use crate::h2::sending::{FIRST_WINDOW, Sending};
pub use crate::h2::streams::{Reply, Task};
use crate::h2::streams::{Streams, Turn, Work};
use crate::head::{Fault, Head};
use crate::limits;
use crate::serve;
use crate::tether::Holds;
use crate::times::Times;

/// What answers requests.
pub trait Service {
    /// The body of an answer.
    type Body: Holds;

    /// Whether a stream may become a tunnel by extended `CONNECT` (RFC 8441). Where it may not, the other side is not told that it could.
    const TUNNELS: bool;

    /// What becomes of a request.
    fn call(&mut self, head: Head<'_>, given: Given) -> Called<Self::Body>;

    /// Records what is no request. What it would be answered.
    fn refuse(&mut self, fault: Fault) -> Response<Self::Body>;
}

/// What comes with a request.
#[derive(Debug)]
pub enum Given {
    /// A body, or none.
    Body(Inflow),
    /// The stream itself, for a tunnel.
    Stream(Pipe),
}

/// What becomes of a request.
pub enum Called<B> {
    /// It is answered at once.
    Answer(Response<B>),
    /// The answer is waited for.
    Later(Task<Reply<B>>),
}

/// A connection.
pub struct Connection<S, V: Service> {
    pub(super) wire: Wire<S>,
    pub(super) service: V,
    bells: Arc<Bells>,
    /// Rings for the connection.
    rings: Waker,
    pub(super) decoder: Decoder,
    pub(super) block: Block,
    /// A header block that is not whole.
    pub(super) partial: Option<Partial>,
    pub(super) streams: Streams<V::Body>,
    pub(super) sending: Sending,
    /// How much may come on all streams together.
    pub(super) room: i64,
    /// How much of what came was read, and the other side not told.
    pub(super) read: usize,
    /// The last stream that was opened.
    pub(super) last: u32,
    /// How many were.
    pub(super) opened: u64,
    pub(super) patience: Patience,
    /// Streams that the other side had us reset.
    resets: usize,
    pub(super) begun: Begun,
    pub(super) leaving: Leaving,
    /// The last stream that the other side was told of; a later word may not tell of a later one (RFC 9113, 6.8).
    pub(super) told: u32,
    ending: Option<Ending>,
    /// Reading waits for what was written to be taken.
    pub(super) crowded: bool,
    /// There are whole frames left of what was read.
    pub(super) paused: bool,
    /// Streams that wait for room to send.
    waiting: Vec<usize>,
    /// The first stream whose turn it is.
    turn: u32,
    pub(super) alive: Alive,
}

/// A header block whose end has not come.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) stream: u32,
    pub(super) last: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) pieces: usize,
}

/// How far the other side has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    Nothing,
    Preface,
    Settings,
}

/// How far the connection is on its way out (RFC 9113, 6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    No,
    /// The other side was told, and what it sent before it heard is still taken.
    Told,
    /// It has heard: nothing further is taken.
    Last,
}

/// The end of a connection.
struct Ending {
    until: Instant,
    shut: bool,
    thrown: usize,
}

/// Signs of life of the other side.
pub(super) struct Alive {
    timer: Timer,
    pub(super) heard: Instant,
    /// Until when a sign is waited for that was asked for.
    asked: Option<Instant>,
    /// Until when the other side may take to hear that we go.
    going: Option<Instant>,
    ping: Duration,
    pong: Duration,
}

/// Why a connection is not served further.
#[derive(Debug)]
pub(super) enum Stop {
    /// The other side is gone.
    Gone,
    /// It did what it may not.
    Wrong(Code),
}

impl From<Wrong> for Stop {
    fn from(Wrong(code, _): Wrong) -> Self {
        Self::Wrong(code)
    }
}

impl From<Exhausted> for Stop {
    fn from(Exhausted: Exhausted) -> Self {
        Self::Wrong(Code::Calm)
    }
}

impl<S: buffer::Source + AsyncWrite, V: Service> Connection<S, V> {
    /// A connection whose handshake is complete.
    #[must_use]
    pub fn new(io: S, service: V, times: &Times) -> Self {
        let bells = Arc::new(Bells::default());
        let rings = bells::connection(&bells);
        bells.ring_connection();
        let now = Instant::now();
        let mut wire = Wire::new(io);
        let out = &mut wire.output.bytes;
        frame::write_settings(
            out,
            &[
                (frame::SETTING_STREAMS, limits::H2_STREAMS_MAX),
                (frame::SETTING_WINDOW, limits::H2_STREAM_WINDOW),
                (frame::SETTING_HEAD, u32::try_from(limits::HEAD_BYTES_MAX).unwrap_or(u32::MAX)),
                (frame::SETTING_CONNECT, u32::from(V::TUNNELS)),
            ],
        );
        let room = i64::from(limits::H2_CONNECTION_WINDOW);
        frame::write_numbers(out, frame::WINDOW_UPDATE, 0, &[u32::try_from(room - FIRST_WINDOW).unwrap_or(0)]);
        Self {
            wire,
            service,
            rings,
            decoder: Decoder::default(),
            block: Block::default(),
            partial: None,
            streams: Streams::new(&bells),
            bells,
            sending: Sending::default(),
            room,
            read: 0,
            last: 0,
            opened: 0,
            patience: Patience::new(now),
            resets: 0,
            begun: Begun::Nothing,
            leaving: Leaving::No,
            told: frame::LARGEST_STREAM,
            ending: None,
            crowded: false,
            paused: false,
            waiting: Vec::new(),
            turn: 0,
            alive: Alive { timer: Timer::default(), heard: now, asked: None, going: None, ping: times.ping, pong: times.pong },
        }
    }

    /// Streams and their connection in turn, as long as one of them has something to do and others have had their turn; what they
    /// write leaves together.
    fn poll_rounds(&mut self) -> Poll<()> {
        for _ in 0..limits::H2_ROUNDS_MAX {
            if self.ending.is_some() {
                return self.poll_end();
            }
            if self.bells.any_stream() {
                self.turns();
            }
            if self.bells.connection() {
                match self.receive().and_then(|()| self.look_for_life()) {
                    Ok(()) => {}
                    Err(Stop::Gone) => return Poll::Ready(()),
                    Err(Stop::Wrong(code)) => self.fail(code),
                }
            }
            if self.bells.any() && coop::has_budget_remaining() {
                continue;
            }
            if self.send().is_err() {
                return Poll::Ready(());
            }
            self.rest();
            if !self.bells.any() || !coop::has_budget_remaining() {
                break;
            }
        }
        if self.send().is_err() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Takes what has come.
    fn receive(&mut self) -> Result<(), Stop> {
        if self.wire.output.is_full() {
            self.crowded = true;
            return Ok(());
        }
        if std::mem::take(&mut self.paused) {
            self.frames()?;
            if self.paused {
                return Ok(());
            }
        }
        let cx = &mut Context::from_waker(&self.rings);
        match self.wire.poll_fill(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(n)) if n > 0 => {
                // There may be more.
                self.bells.ring_connection();
                self.alive.heard = Instant::now();
                self.alive.asked = None;
                self.frames()
            }
            Poll::Ready(_) => Err(Stop::Gone),
        }
    }

    /// Asks a silent peer for a sign of life, and ends the connection of one that gives none. One that does not say that it heard of our
    /// going has heard of it after as long a time.
    fn look_for_life(&mut self) -> Result<(), Stop> {
        loop {
            let sign = self.alive.asked.unwrap_or(self.alive.heard + self.alive.ping);
            let going = self.alive.going.filter(|_| self.leaving == Leaving::Told);
            let cx = &mut Context::from_waker(&self.rings);
            if self.alive.timer.poll(cx, going.map_or(sign, |going| going.min(sign))).is_pending() {
                return Ok(());
            }
            if going.is_some_and(|going| going <= sign) {
                self.take_no_more();
                continue;
            }
            if self.alive.asked.is_some() {
                return Err(Stop::Gone);
            }
            self.alive.asked = Some(Instant::now() + self.alive.pong);
            frame::write_ping(&mut self.wire.output.bytes, 0, ALIVE);
        }
    }

    /// The other side has heard that we go.
    pub(super) fn take_no_more(&mut self) {
        self.leaving = Leaving::Last;
        self.told = self.last;
        frame::write_numbers(&mut self.wire.output.bytes, frame::GOAWAY, 0, &[self.last, Code::NoError as u32]);
    }

    /// Gives every stream that rang its turn.
    fn turns(&mut self) {
        let first = self.turn % u128::BITS;
        let mut rang = self.bells.streams().rotate_right(first);
        while rang != 0 {
            let at = (rang.trailing_zeros() + first) % u128::BITS;
            rang &= rang - 1;
            self.turn_of(usize::try_from(at).unwrap_or(0));
        }
    }

    fn turn_of(&mut self, at: usize) {
        let Some(place) = self.streams.place(at) else { return };
        let Some(stream) = &mut place.stream else { return };
        let cx = &mut Context::from_waker(&place.rings);
        let out = &mut self.wire.output.bytes;
        let before = self.sending.frames;
        let turn = stream.turn(cx, &mut self.sending, out);
        if self.sending.frames != before {
            // The next one has the first turn at what room there will be.
            self.turn = u32::try_from(at + 1).unwrap_or(0);
        }
        if stream.waits && stream.source.as_ref().is_some_and(super::inflow::Source::is_asked_for) {
            stream.waits = false;
            if !stream.is_answered {
                self.sending.go_on(out, stream.id);
            }
        }
        match turn {
            Turn::Waits => self.open_windows(at),
            Turn::Crowded => {
                if !self.waiting.contains(&at) {
                    self.waiting.push(at);
                }
                self.open_windows(at);
            }
            Turn::Sent => {
                self.patience.gain(limits::H2_PATIENCE_ANSWER);
                let whole = self.streams.get(at).is_some_and(|stream| stream.is_whole);
                // The rest of the request is not wanted (RFC 9113, 8.1).
                if whole { self.drop_stream(at, false) } else { self.reset(at, Code::NoError) }
            }
            Turn::Broken(code) => self.reset(at, code),
        }
    }

    /// Tells the other side what it may send further, once it is worth a frame.
    pub(super) fn open_windows(&mut self, at: usize) {
        let out = &mut self.wire.output.bytes;
        if let Some(stream) = self.streams.get(at) {
            let read = stream.source.as_ref().map_or(0, super::inflow::Source::released);
            self.read += read;
            stream.read += read;
            // Of a request that was answered so much may come, and nobody wants it.
            if matches!(stream.work, Work::Sent) {
                stream.thrown += read;
            }
            if !stream.is_whole
                && stream.thrown < limits::LINGER_BYTES_MAX
                && stream.read >= usize::try_from(limits::H2_STREAM_WINDOW / 2).unwrap_or(0)
            {
                let n = std::mem::take(&mut stream.read);
                stream.room += i64::try_from(n).unwrap_or(0);
                frame::write_numbers(out, frame::WINDOW_UPDATE, stream.id, &[u32::try_from(n).unwrap_or(0)]);
            }
        }
        if self.read >= usize::try_from(limits::H2_CONNECTION_WINDOW / 2).unwrap_or(0) {
            let n = std::mem::take(&mut self.read);
            self.room += i64::try_from(n).unwrap_or(0);
            frame::write_numbers(out, frame::WINDOW_UPDATE, 0, &[u32::try_from(n).unwrap_or(0)]);
        }
    }

    /// Has the connection polled.
    pub(super) fn ring_connection(&self) {
        self.bells.ring_connection();
    }

    /// Has a stream polled.
    pub(super) fn ring(&self, at: usize) {
        self.bells.ring_stream(at);
    }

    /// What came and nobody will read.
    pub(super) fn throw_away(&mut self, n: usize) {
        self.read += n;
        self.open_windows(usize::MAX);
    }

    /// Ends a stream, in order or not, without a word.
    pub(super) fn drop_stream(&mut self, at: usize, early: bool) {
        self.waiting.retain(|waits| *waits != at);
        let Some(mut stream) = self.streams.remove(at, early) else { return };
        // What was received of it and not read makes room on the connection, whoever still has it.
        let source = stream.source.take();
        drop(stream);
        let unread = source.map_or(0, |source| source.left());
        self.throw_away(unread);
    }

    /// Ends a stream and says why.
    pub(super) fn reset(&mut self, at: usize, code: Code) {
        let Some(id) = self.streams.get(at).map(|stream| stream.id) else { return };
        frame::write_numbers(&mut self.wire.output.bytes, frame::RST_STREAM, id, &[code as u32]);
        self.drop_stream(at, true);
    }

    /// Ends a stream that the other side had us end (A26).
    pub(super) fn provoked(&mut self, id: u32, code: Code) -> Result<(), Stop> {
        self.resets += 1;
        if self.resets > limits::H2_LOCAL_RESETS_MAX {
            return Err(Stop::Wrong(Code::Calm));
        }
        match self.streams.find(id) {
            Some(at) => self.reset(at, code),
            None => {
                frame::write_numbers(&mut self.wire.output.bytes, frame::RST_STREAM, id, &[code as u32]);
                self.streams.remember(id, true);
            }
        }
        Ok(())
    }

    /// Has all streams that wait for room look again.
    pub(super) fn room_was_made(&mut self) {
        for at in self.waiting.drain(..) {
            self.bells.ring_stream(at);
        }
    }

    /// Sends what was written.
    fn send(&mut self) -> Result<(), Stop> {
        if self.wire.output.is_empty() {
            return Ok(());
        }
        self.patience.gain(self.sending.worth());
        let cx = &mut Context::from_waker(&self.rings);
        match self.wire.poll_drain(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Err(_)) => Err(Stop::Gone),
            Poll::Ready(Ok(())) => {
                self.wire.output.shrink();
                self.wire.output.prepare();
                if self.sending.window > 0 {
                    self.room_was_made();
                }
                if std::mem::take(&mut self.crowded) {
                    self.bells.ring_connection();
                }
                Ok(())
            }
        }
    }

    /// When there is nothing to do: an idle connection holds no memory, and one that is to end ends.
    fn rest(&mut self) {
        if self.streams.len() > 0 || self.bells.any() || !self.wire.output.is_empty() {
            return;
        }
        self.wire.input.shrink();
        self.wire.output.shrink();
        self.block.release();
        if self.leaving == Leaving::Last {
            self.end();
        }
    }

    /// Ends the connection with a reason.
    fn fail(&mut self, code: Code) {
        frame::write_numbers(&mut self.wire.output.bytes, frame::GOAWAY, 0, &[self.last.min(self.told), code as u32]);
        self.streams.clear();
        self.end();
    }

    fn end(&mut self) {
        self.ending = Some(Ending { until: Instant::now() + limits::LINGER_TIMEOUT, shut: false, thrown: 0 });
        self.bells.ring_connection();
    }

    /// Says goodbye, and waits a little for the other side to have heard it: what it still sends would have it lost to a reset.
    fn poll_end(&mut self) -> Poll<()> {
        // There are no streams any more, whoever still rings for one.
        self.bells.connection();
        self.bells.streams();
        let Some(ending) = &mut self.ending else { return Poll::Ready(()) };
        let cx = &mut Context::from_waker(&self.rings);
        if self.alive.timer.poll(cx, ending.until).is_ready() {
            return Poll::Ready(());
        }
        if !ending.shut {
            if ready!(self.wire.poll_drain(cx)).is_err() || ready!(Pin::new(&mut self.wire.io).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            ending.shut = true;
        }
        while ending.thrown < limits::LINGER_BYTES_MAX {
            self.wire.input.clear();
            match ready!(self.wire.poll_fill(cx)) {
                Ok(n) if n > 0 => ending.thrown += n,
                _ => break,
            }
        }
        Poll::Ready(())
    }

    /// What is no request is recorded.
    pub(super) fn refused(&mut self, why: &'static str, status: StatusCode) -> Response<V::Body> {
        let raw = super::head::raw(&self.block);
        self.service.refuse(Fault { why, status, raw })
    }
}

impl<S: buffer::Source + AsyncWrite, V: Service + Unpin> Future for Connection<S, V> {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let this = &mut *self;
        this.bells.work(cx.waker());
        let done = this.poll_rounds();
        let rang = this.bells.rest();
        if done.is_pending() && rang {
            cx.waker().wake_by_ref();
        }
        done.map(Ok)
    }
}

impl<S: buffer::Source + AsyncWrite, V: Service + Unpin> serve::Connection for Connection<S, V> {
    fn wind_down(mut self: Pin<&mut Self>) {
        if self.leaving == Leaving::No {
            self.leaving = Leaving::Told;
            self.alive.going = Some(Instant::now() + self.alive.pong);
            let out = &mut self.wire.output.bytes;
            frame::write_numbers(out, frame::GOAWAY, 0, &[frame::LARGEST_STREAM, Code::NoError as u32]);
            frame::write_ping(out, 0, HEARD);
            self.bells.ring_connection();
        }
    }
}

/// Asks for a sign of life.
const ALIVE: &[u8] = b"alive?  ";
/// Asks whether our going was heard.
pub(super) const HEARD: &[u8] = b"leaving ";
