//! A request that came over HTTP/2, and its answer, over an HTTP/1 connection to the service.
//!
//! It is driven by the task of the caller's connection, like everything else: the request's body moves while the answer's is
//! read, nothing is spawned, and what the caller does not take is not read from the service.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::{Frame, SizeHint};
use portreeve_engine::record::Why;
use tokio::time::Instant;

use crate::body::{BodyError, ResponseBody};
use crate::forward::{answer, status_of};
use crate::gate::{Barred, Guard, Permit, Permitted, Running};
use crate::h1::body::{Decoder, Encoder, Step};
use crate::h1::buffer::Wire;
use crate::h1::exchange::{Stop, switches};
use crate::h1::link::Link;
use crate::h1::scan::{self, Finder, Framing, ResponseHead};
use crate::h1::timer::Timer;
use crate::h1::upstream::{Lent, Upstream};
use crate::h1::write;
use crate::h2::connection::Reply;
use crate::h2::inflow::Inflow;
use crate::h2::spelled::Spelled;
use crate::head::{Field, Fields, Kind};
use crate::headers;
use crate::limits;
use crate::tether::Held;
use crate::times::{Due, Times};

/// Sends the request as judged and gives back the answer, or the gate's own.
pub async fn forward(permit: Box<Permit>, upstream: &Arc<Upstream>, body: Inflow) -> Reply<ResponseBody> {
    let permitted = match permit.redeem().await {
        Ok(permitted) => permitted,
        Err(Barred { status, request_id, .. }) => return Reply::Answer(answer(status, &request_id, false)),
    };
    let framing = body.framing();
    let Permitted { mut running, method, lines, switch, request_id } = permitted;
    let mut head = write::request(lines, switch, framing);
    let replayable = framing == Framing::None && matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE");
    let mut body = (framing != Framing::None).then_some(body);
    let mut lent = upstream.take(running.began());
    loop {
        let to = match lent.take() {
            Some(lent) => Ok(lent),
            None => match running.unless_cut(Box::pin(upstream.connect())).await {
                None => Err(Stop::Denied),
                Some(lent) => lent.map_err(|e| Stop::Service(status_of(&e))),
            },
        };
        let stop = match to {
            Err(stop) => stop,
            Ok(to) => {
                let body = body.take().map(|body| (body, running.guard()));
                let now = Instant::from_std(running.began());
                let mut call = Call::new(to, head, body, (framing, replayable), upstream.times(), now);
                let answered = poll_fn(|cx| match running.poll_cut(cx) {
                    Poll::Ready(()) => Poll::Ready(Err(Stop::Denied)),
                    Poll::Pending => {
                        running.begin();
                        call.poll_head(cx, method.as_str(), false)
                    }
                });
                match answered.await {
                    Ok(read) => return call.answer(read, running, upstream, &request_id),
                    Err(Stop::Stale) => {
                        // Only a connection that had served before can be stale, so this ends.
                        head = call.wire.output.take_all();
                        continue;
                    }
                    Err(stop) => stop,
                }
            }
        };
        return Reply::Answer(stopped(stop, &mut running, &request_id));
    }
}

/// Answers for an exchange that did not come to an answer.
pub(super) fn stopped(stop: Stop, running: &mut Running, request_id: &str) -> Response<ResponseBody> {
    let status = match stop {
        Stop::Caller(status) => {
            running.answered(status);
            running.because(Why::Client);
            return answer(status, request_id, false);
        }
        Stop::Service(status) => status,
        Stop::Denied => {
            return answer(running.denied(), request_id, false);
        }
        Stop::Gone | Stop::Stale => StatusCode::BAD_GATEWAY,
    };
    running.unavailable(status);
    answer(status, request_id, false)
}

/// The exchange with the service.
#[derive(Debug)]
pub(super) struct Call {
    wire: Wire<Link>,
    used: bool,
    replayable: bool,
    /// The service takes nothing more.
    deaf: bool,
    body: Option<(Inflow, Guard)>,
    encoder: Encoder,
    timer: Timer,
    response: Duration,
    stream: Duration,
    /// When all of it is over, however much still moves.
    until: Instant,
    moved: Instant,
}

/// The head of an answer, taken from the connection.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) head: Spelled,
    framing: Framing,
    persistent: bool,
}

impl Call {
    pub(super) fn new(
        lent: Lent,
        head: Vec<u8>,
        body: Option<(Inflow, Guard)>,
        (framing, replayable): (Framing, bool),
        times: &Times,
        now: Instant,
    ) -> Self {
        let Lent { mut wire, used, timer } = lent;
        wire.output.bytes = head;
        wire.io.busy(true);
        let (encoder, timer) = (Encoder::new(framing), timer.unwrap_or_default());
        let (response, stream, until) = (times.response, times.stream, now + times.request);
        Self { wire, used, replayable, deaf: false, body, encoder, timer, response, stream, until, moved: now }
    }

    /// Moves the request on; whether anything moved.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<bool, Stop> {
        let mut moved = false;
        loop {
            while let Some((body, guard)) = self.body.as_mut().filter(|_| !self.deaf && !self.wire.output.is_full()) {
                match body.poll_next(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => {
                            if self.wire.output.is_empty() {
                                self.wire.output.reset();
                            }
                            self.encoder.data(&data, &mut self.wire.output.bytes);
                        }
                        Err(frame) => {
                            let trailers = frame.into_trailers().map(|t| trailer_lines(&t, guard)).unwrap_or_default();
                            self.encoder.end(&trailers, &mut self.wire.output.bytes);
                            self.body = None;
                        }
                    },
                    Poll::Ready(None) => {
                        self.encoder.end(&[], &mut self.wire.output.bytes);
                        self.body = None;
                    }
                    Poll::Ready(Some(Err(_))) => return Err(Stop::Caller(StatusCode::BAD_REQUEST)),
                }
                moved = true;
            }
            if self.deaf || self.wire.output.is_empty() {
                return Ok(moved);
            }
            match self.wire.poll_drain(cx) {
                Poll::Ready(Ok(())) => moved = true,
                // It may have answered before it went: that is read first.
                Poll::Ready(Err(_)) => self.deaf = true,
                Poll::Pending => return Ok(moved),
            }
        }
    }

    /// Waits for the head of the answer. With `switch` a `101` is one.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>, method: &str, switch: bool) -> Poll<Result<Read, Stop>> {
        let bad = Stop::Service(StatusCode::BAD_GATEWAY);
        let (mut finder, mut interim, mut any) = (Finder::default(), 0, false);
        loop {
            any |= self.poll_request(cx)?;
            let mut moved = false;
            match finder.find(self.wire.input.filled()).map_err(|_| bad)? {
                Some(length) => {
                    let read = self.read(length, method, switch).ok_or(bad)?;
                    finder = Finder::default();
                    interim += 1;
                    match read {
                        Some(read) => return Poll::Ready(Ok(read)),
                        None if interim > limits::INTERIM_ANSWERS_MAX => return Poll::Ready(Err(bad)),
                        None => moved = true,
                    }
                }
                None => match self.wire.poll_fill(cx) {
                    Poll::Ready(Ok(n)) if n > 0 => moved = true,
                    Poll::Ready(_) if self.used && self.replayable && self.wire.input.is_empty() => return Poll::Ready(Err(Stop::Stale)),
                    Poll::Ready(_) => return Poll::Ready(Err(bad)),
                    Poll::Pending => {}
                },
            }
            // What there was of the request is sent, and the answer was looked for since.
            if !moved {
                break;
            }
            any = true;
        }
        if any {
            self.moved = Instant::now();
        }
        let (patience, late) = if self.body.is_none() {
            (self.response, Stop::Service(StatusCode::GATEWAY_TIMEOUT))
        } else {
            (self.stream, Stop::Caller(StatusCode::REQUEST_TIMEOUT))
        };
        ready!(self.timer.poll(cx, (self.moved + patience).min(self.until)));
        Poll::Ready(Err(late))
    }

    /// Takes a head of `length` bytes. The inner `None` is an interim one, which has no place in the answer; the outer `None` one
    /// that is not acceptable.
    #[expect(clippy::option_option, reason = "two kinds of nothing, told apart above")]
    fn read(&mut self, length: usize, method: &str, switch: bool) -> Option<Option<Read>> {
        let head = scan::response(self.wire.input.filled().get(..length)?, method).ok()?;
        let agreed = switch && switches(&head, method);
        let ResponseHead { status, mut fields, framing, persistent, .. } = head;
        let read = match status {
            101 if !agreed => return None,
            100 | 102..=199 => None,
            _ => {
                headers::clean_answer(&mut fields);
                let status = StatusCode::from_u16(status).ok()?;
                // What begins a tunnel has no length, and what proves over HTTP/1 that a server understood is not asked for over HTTP/2.
                let tunnel = switch && (agreed || (method == "CONNECT" && status.is_success()));
                let lengthless = tunnel || status == StatusCode::NO_CONTENT;
                let goes_on = |f: &Field<'_>| match f.kind {
                    Kind::Length => !lengthless,
                    _ => !(tunnel && f.is("sec-websocket-accept")),
                };
                Some(Read { head: Spelled::of(status, &fields, goes_on), framing, persistent })
            }
        };
        self.wire.input.consume(length);
        Some(read)
    }

    /// The connection, which carries a tunnel from now on.
    pub(super) fn into_wire(mut self) -> Wire<Link> {
        self.wire.io.busy(false);
        self.wire
    }

    pub(super) fn answer(self, read: Read, mut running: Running, upstream: &Arc<Upstream>, request_id: &str) -> Reply<ResponseBody> {
        let Read { mut head, framing, persistent } = read;
        running.answered(head.status);
        let is_sent = self.body.is_none() && self.wire.output.is_empty();
        let length = if let Framing::Fixed(length) = framing { Some(length) } else { None };
        let mut answer = Answer {
            call: Some(self),
            decoder: Decoder::new(framing),
            // A service that answers before it has the request may not read the rest as a part of it (A24).
            persistent: persistent && is_sent,
            length,
            bodiless: framing == Framing::None,
            running: Some(running),
            upstream: Arc::clone(upstream),
        };
        if answer.decoder.is_done() {
            answer.whole();
        }
        head.push("x-request-id", request_id.as_bytes());
        Reply::Spelled(head, ResponseBody::Direct(Box::new(answer)))
    }
}

/// A piece of an answer.
#[derive(Debug)]
pub enum Piece {
    /// Some of its body was written.
    Data {
        /// What there was no room for.
        rest: Bytes,
    },
    /// It ends with these.
    Trailers(HeaderMap),
}

impl Piece {
    /// What a frame has, none of it written.
    #[must_use]
    pub fn of(frame: Frame<Bytes>) -> Self {
        match frame.into_data() {
            Ok(rest) => Self::Data { rest },
            Err(frame) => Self::Trailers(frame.into_trailers().unwrap_or_default()),
        }
    }
}

/// The body of an answer, read as the caller takes it.
#[derive(Debug)]
pub struct Answer {
    /// Gone when the answer is whole or broken off.
    call: Option<Call>,
    decoder: Decoder,
    persistent: bool,
    length: Option<u64>,
    bodiless: bool,
    running: Option<Running>,
    upstream: Arc<Upstream>,
}

impl Answer {
    /// The next piece, in memory of its own.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut data = Vec::new();
        let piece = ready!(self.poll_piece(cx, usize::MAX, &mut data));
        Poll::Ready(piece.map(|piece| {
            Ok(match piece? {
                Piece::Data { .. } => Frame::data(data.into()),
                Piece::Trailers(trailers) => Frame::trailers(trailers),
            })
        }))
    }

    /// Writes the next piece behind what is there, `room` bytes of it at most; what there is beyond that is given back.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>, room: usize, out: &mut Vec<u8>) -> Poll<Option<Result<Piece, BodyError>>> {
        loop {
            let (Some(call), Some(running)) = (&mut self.call, &mut self.running) else { return Poll::Ready(None) };
            if running.poll_cut(cx).is_ready() {
                running.denied();
                (self.call, self.running) = (None, None);
                return Poll::Ready(Some(Err(BodyError::Denied)));
            }
            // The request may still be on its way, as in a stream that goes both ways.
            let Ok(sent) = call.poll_request(cx) else {
                return Poll::Ready(Some(Err(self.broken(Why::Client, BodyError::Caller))));
            };
            let bytes = call.wire.input.filled();
            match self.decoder.step(bytes) {
                Err(_) => return Poll::Ready(Some(Err(self.broken(Why::Upstream, BodyError::Service)))),
                Ok(Step::Data { skip, len }) => {
                    let (now, rest) = bytes.get(skip..skip + len).unwrap_or_default().split_at(room.min(len));
                    out.extend_from_slice(now);
                    let rest = Bytes::copy_from_slice(rest);
                    call.wire.input.consume(skip + len);
                    running.sent(len);
                    if self.decoder.is_done() {
                        // With a known length nobody asks again after the last piece.
                        self.whole();
                    } else {
                        call.moved = Instant::now();
                    }
                    return Poll::Ready(Some(Ok(Piece::Data { rest })));
                }
                Ok(Step::End(used)) => {
                    call.wire.input.consume(used);
                    let trailers = self.decoder.trailers();
                    self.whole();
                    return Poll::Ready((!trailers.is_empty()).then(|| Ok(Piece::Trailers(trailer_map(&trailers)))));
                }
                Ok(Step::More(used)) => call.wire.input.consume(used),
            }
            match call.wire.poll_fill(cx) {
                Poll::Ready(Ok(n)) if n > 0 => call.moved = Instant::now(),
                Poll::Ready(ended) if ended.is_ok() && self.decoder.ends_with_connection() => {
                    self.whole();
                    return Poll::Ready(None);
                }
                Poll::Ready(_) => return Poll::Ready(Some(Err(self.broken(Why::Upstream, BodyError::Service)))),
                Poll::Pending if sent => call.moved = Instant::now(),
                Poll::Pending => {
                    let until = (call.moved + call.stream).min(call.until);
                    ready!(call.timer.poll(cx, until));
                    return Poll::Ready(Some(Err(self.broken(Why::Upstream, BodyError::Service))));
                }
            }
        }
    }

    /// What ends the rest of it while nobody asks for it; `None` where there is none.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        let (call, running) = (self.call.as_ref()?, self.running.as_ref()?);
        Some(running.held(Due { silence: call.stream, until: call.until, moved: call.moved, request: None }))
    }

    /// Whether nothing more comes.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.call.is_none()
    }

    /// How much comes.
    #[must_use]
    pub fn size(&self) -> SizeHint {
        match self.length {
            Some(length) => SizeHint::with_exact(length),
            None if self.bodiless => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }

    /// Everything was handed on: the connection can serve another request, if the service has taken this one whole.
    fn whole(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        let now = running.complete();
        drop(running);
        // What is left of the request is not wanted.
        if let Some(mut call) = self.call.take().filter(|call| call.body.is_none() && !call.deaf) {
            call.wire.io.busy(false);
            if self.persistent {
                self.upstream.give_back(call.wire, Some(call.timer), now);
            }
        }
    }

    fn broken(&mut self, why: Why, error: BodyError) -> BodyError {
        self.call = None;
        if let Some(mut running) = self.running.take() {
            running.because(why);
        }
        error
    }
}

/// The lines as a map; they lie in `bytes`.
fn map_of(bytes: &Bytes, fields: &Fields<'_>) -> HeaderMap {
    let line = |f: &Field<'_>| {
        let name = HeaderName::from_bytes(f.name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_maybe_shared(bytes.slice_ref(f.value)).ok()?))
    };
    fields.iter().filter_map(line).collect()
}

fn trailer_map(lines: &[u8]) -> HeaderMap {
    let bytes = Bytes::from([lines, b"\r\n"].concat());
    scan::header_lines(scan::Lines(&bytes)).map(|fields| map_of(&bytes, &fields)).unwrap_or_default()
}

/// The lines of trailers that came over HTTP/2, cleaned like those of HTTP/1.
fn trailer_lines(trailers: &HeaderMap, guard: &Guard) -> Vec<u8> {
    let mut fields = Fields::with_capacity(trailers.len());
    for (name, value) in trailers {
        fields.push(name.as_str(), value.as_bytes());
    }
    crate::h1::body::clean_trailers(fields, |name| guard.holds_back(name))
}
