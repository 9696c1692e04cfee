//! One request on its way to the service and its answer on the way back, driven by the task of the caller's connection.
//!
//! Both directions run at once and hold each other up: nothing is read from one side while the other has not taken what was read
//! before. An answer may come before the request is whole; then the caller's connection ends with it, so that what is left of the
//! body is never read as a request (A24). A tunnel begins only with the service's `101` or, for `CONNECT`, `2xx` (A22).
//!
//! INVARIANT: the head of the answer is read strictly; what is ambiguous is not passed on but answered 502.

use std::task::{Context, Poll, ready};

use http::StatusCode;
use portreeve_engine::model::Upgrade;
use portreeve_engine::record::Why;
use portreeve_engine::request::Method;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::gate::Running;
use crate::h1::body::{Decoder, Encoder, Step};
use crate::h1::buffer::{Source, Wire};
use crate::h1::link::Link;
use crate::h1::scan::{self, Finder, Framing, ResponseHead};
use crate::h1::timer::Timer;
use crate::h1::upstream::Lent;
use crate::h1::write;
use crate::head::Kind;
use crate::limits;
use crate::times::Times;

/// What is known of the request besides its head.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// How its body is framed.
    pub framing: Framing,
    /// Whether the caller reads chunks and interim answers.
    pub http11: bool,
    /// Whether the caller's connection may go on.
    pub persistent: bool,
    /// Whether it asks for a tunnel.
    pub tunnel: bool,
    /// Its id.
    pub id: String,
}

impl Asked {
    /// Whether it may be sent again when nothing shows that it was received: it has no body and changes nothing (RFC 9110, 9.2.1).
    #[must_use]
    pub fn is_replayable(&self) -> bool {
        self.framing == Framing::None && !self.tunnel && matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
    }
}

/// Why an exchange did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The caller went away.
    Gone,
    /// The caller's body is broken or does not come; what is owed is this status.
    Caller(StatusCode),
    /// The service did not answer, or not properly; what is owed is this status.
    Service(StatusCode),
    /// The connection had been closed by the service before the request came.
    Stale,
    /// A new policy has taken the right to it away.
    Denied,
}

#[derive(Debug)]
enum Answer {
    Head(Finder),
    Body(Decoder, Encoder),
    Whole,
    Switched,
}

/// A request and its answer, under way.
#[derive(Debug)]
pub struct Exchange<'a, S> {
    asked: &'a Asked,
    times: &'a Times,
    client: &'a mut Wire<S>,
    running: &'a mut Running,
    timer: &'a mut Timer,
    upstream: Wire<Link>,
    used: bool,
    /// The service takes nothing more.
    deaf: bool,
    body: Decoder,
    encoder: Encoder,
    request_whole: bool,
    answer: Answer,
    interim: usize,
    /// The service's connection may go on.
    reusable: bool,
    /// The caller's connection ends with this answer.
    closing: bool,
    began: Instant,
    moved: Instant,
}

/// Whether an answer begins the tunnel that was asked for: `CONNECT` is granted by any success, an upgrade by a `101` to the
/// protocol that was named, which is the only one there is.
pub(super) fn switches(head: &ResponseHead<'_>, method: &str) -> bool {
    if method == "CONNECT" {
        return matches!(head.status, 200..=299);
    }
    let mut named = head.fields.of(Kind::Upgrade);
    let known = named.next().and_then(|f| f.text()).and_then(Upgrade::parse).is_some();
    head.status == 101 && known && named.next().is_none()
}

impl<'a, S: Source + AsyncWrite> Exchange<'a, S> {
    /// Begins to send `head`.
    #[must_use]
    pub fn new(
        (asked, times): (&'a Asked, &'a Times),
        client: &'a mut Wire<S>,
        running: &'a mut Running,
        timer: &'a mut Timer,
        lent: Lent,
        head: Vec<u8>,
    ) -> Self {
        let Lent { wire: mut upstream, used, timer: _ } = lent;
        upstream.output.bytes = head;
        upstream.io.busy(true);
        client.output.prepare();
        let now = Instant::from_std(running.began());
        Self {
            times,
            client,
            running,
            timer,
            upstream,
            used,
            deaf: false,
            body: Decoder::new(asked.framing),
            encoder: Encoder::new(asked.framing),
            request_whole: asked.framing == Framing::None,
            answer: Answer::Head(Finder::default()),
            interim: 0,
            reusable: false,
            closing: !asked.persistent || asked.tunnel,
            began: now,
            moved: now,
            asked,
        }
    }

    /// Goes on as far as both sides let it. Complete when the answer is sent.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        if self.running.poll_cut(cx).is_ready() {
            return Poll::Ready(Err(Stop::Denied));
        }
        self.running.begin();
        let mut any = false;
        loop {
            let (sent, got) = (self.poll_request(cx)?, self.poll_answer(cx)?);
            if matches!(self.answer, Answer::Whole | Answer::Switched) && self.client.output.is_empty() {
                return Poll::Ready(Ok(()));
            }
            any |= sent | got;
            // Of a request that is sent there is no more, and the answer was looked for since.
            if !got && (!sent || self.request_whole) {
                break;
            }
        }
        if any {
            self.moved = Instant::now();
        }
        self.watch_client(cx)?;
        ready!(self.timer.poll(cx, self.deadline()));
        Poll::Ready(Err(self.late()))
    }

    /// Whether the head of the answer was given to the caller.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        !matches!(self.answer, Answer::Head(_))
    }

    /// Whether the service has switched to a tunnel.
    #[must_use]
    pub fn is_switched(&self) -> bool {
        matches!(self.answer, Answer::Switched)
    }

    /// Whether the request was taken from the caller to its end.
    #[must_use]
    pub fn is_request_whole(&self) -> bool {
        self.request_whole
    }

    /// Whether the caller was told, or must be made to see, that its connection ends.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing || !self.request_whole
    }

    /// The service's connection, and whether it may be used again.
    #[must_use]
    pub fn into_upstream(mut self) -> (Wire<Link>, bool) {
        let whole = matches!(self.answer, Answer::Whole) && self.request_whole && !self.deaf;
        let reusable = whole && self.reusable && !self.asked.tunnel;
        self.upstream.io.busy(!whole && !self.is_switched());
        (self.upstream, reusable)
    }

    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<bool, Stop> {
        let mut moved = false;
        // Nobody waits for the rest of a request that is answered.
        if matches!(self.answer, Answer::Whole) {
            return Ok(moved);
        }
        loop {
            while !self.request_whole && !self.deaf && !self.upstream.output.is_full() {
                if self.upstream.output.is_empty() {
                    self.upstream.output.reset();
                }
                let bytes = self.client.input.filled();
                let used = match self.body.step(bytes).map_err(|_| Stop::Caller(StatusCode::BAD_REQUEST))? {
                    Step::More(used) => {
                        self.client.input.consume(used);
                        break;
                    }
                    Step::Data { skip, len } => {
                        self.encoder.data(bytes.get(skip..skip + len).unwrap_or_default(), &mut self.upstream.output.bytes);
                        skip + len
                    }
                    Step::End(used) => {
                        let guard = self.running.guard();
                        let trailers = self.body.trailers_without(|name| guard.holds_back(name));
                        self.encoder.end(&trailers, &mut self.upstream.output.bytes);
                        self.request_whole = true;
                        used
                    }
                };
                self.client.input.consume(used);
                moved = true;
            }
            if !self.deaf && !self.upstream.output.is_empty() {
                match self.upstream.poll_drain(cx) {
                    Poll::Ready(Ok(())) => moved = true,
                    // It may have answered before it went: that is read first.
                    Poll::Ready(Err(_)) => self.deaf = true,
                    Poll::Pending => return Ok(moved),
                }
            }
            if self.request_whole || self.deaf {
                return Ok(moved);
            }
            match self.client.poll_fill(cx) {
                Poll::Ready(Ok(n)) if n > 0 => moved = true,
                Poll::Ready(_) => return Err(Stop::Gone),
                Poll::Pending => return Ok(moved),
            }
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Result<bool, Stop> {
        let mut moved = false;
        loop {
            if let Answer::Head(finder) = &mut self.answer {
                let found = finder.find(self.upstream.input.filled()).map_err(|_| Stop::Service(StatusCode::BAD_GATEWAY))?;
                if let Some(length) = found {
                    self.take_head(length).ok_or(Stop::Service(StatusCode::BAD_GATEWAY))?;
                    moved = true;
                    continue;
                }
            }
            self.take_body()?;
            let full = self.client.output.is_full();
            if !self.client.output.is_empty() {
                match self.client.poll_drain(cx) {
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(_)) => return Err(Stop::Gone),
                    Poll::Pending => return Ok(moved),
                }
            }
            self.client.output.reset();
            if matches!(self.answer, Answer::Whole | Answer::Switched) {
                return Ok(moved);
            }
            if full {
                // There may be more at hand than had room.
                continue;
            }
            match self.upstream.poll_fill(cx) {
                Poll::Ready(Ok(n)) if n > 0 => moved = true,
                Poll::Ready(ended) => {
                    self.ended(ended.is_ok())?;
                    moved = true;
                }
                Poll::Pending => return Ok(moved),
            }
        }
    }

    /// Takes the head of an answer, which is `length` bytes long. `None` where it is not acceptable.
    fn take_head(&mut self, length: usize) -> Option<()> {
        let bytes = self.upstream.input.filled().get(..length)?;
        let mut head = scan::response(bytes, self.asked.method.as_str()).ok()?;
        let out = &mut self.client.output.bytes;
        let tunnel = self.asked.tunnel && switches(&head, self.asked.method.as_str());
        match head.status {
            // One that was not asked for would leave the two sides with different views of what the next byte is.
            101 if !tunnel => return None,
            100..=199 if !tunnel => {
                self.interim += 1;
                if self.interim > limits::INTERIM_ANSWERS_MAX {
                    return None;
                }
                if self.asked.http11 {
                    write::interim(out, &mut head);
                }
                self.answer = Answer::Head(Finder::default());
            }
            _ if tunnel => {
                let status = StatusCode::from_u16(head.status).ok()?;
                write::switch(out, &mut head, &self.asked.id);
                self.running.answered(status);
                self.answer = Answer::Switched;
            }
            status => {
                let status = StatusCode::from_u16(status).ok()?;
                let framing = match head.framing {
                    Framing::Chunked | Framing::Close if self.asked.http11 => Framing::Chunked,
                    Framing::Chunked | Framing::Close => Framing::Close,
                    framing => framing,
                };
                self.closing |= !self.request_whole || framing == Framing::Close || self.running.is_winding();
                // A service that answers before it has the request may not read the rest as a part of it (A24).
                self.reusable = head.persistent && self.request_whole && self.upstream.output.is_empty();
                write::answer_head(out, &mut head, framing, &self.asked.id, self.closing);
                self.running.answered(status);
                self.answer = Answer::Body(Decoder::new(head.framing), Encoder::new(framing));
            }
        }
        self.upstream.input.consume(length);
        Some(())
    }

    fn take_body(&mut self) -> Result<(), Stop> {
        let Answer::Body(decoder, encoder) = &mut self.answer else { return Ok(()) };
        let out = &mut self.client.output;
        while !out.is_full() {
            let bytes = self.upstream.input.filled();
            match decoder.step(bytes).map_err(|_| Stop::Service(StatusCode::BAD_GATEWAY))? {
                Step::More(used) => {
                    self.upstream.input.consume(used);
                    return Ok(());
                }
                Step::Data { skip, len } => {
                    encoder.data(bytes.get(skip..skip + len).unwrap_or_default(), &mut out.bytes);
                    self.upstream.input.consume(skip + len);
                    self.running.sent(len);
                }
                Step::End(used) => {
                    encoder.end(&decoder.trailers(), &mut out.bytes);
                    self.upstream.input.consume(used);
                    self.answer = Answer::Whole;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The service's connection has ended, in order or not.
    fn ended(&mut self, orderly: bool) -> Result<(), Stop> {
        match &mut self.answer {
            Answer::Body(decoder, encoder) if orderly && decoder.ends_with_connection() => {
                encoder.end(&[], &mut self.client.output.bytes);
                self.answer = Answer::Whole;
                Ok(())
            }
            Answer::Head(_) if self.used && self.interim == 0 && self.upstream.input.is_empty() && self.asked.is_replayable() => {
                Err(Stop::Stale)
            }
            _ => Err(Stop::Service(StatusCode::BAD_GATEWAY)),
        }
    }

    /// Sees a caller that goes away while nothing is expected of it. What it sends meanwhile is kept, up to a limit.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> Result<(), Stop> {
        if !self.request_whole || self.asked.tunnel {
            return Ok(());
        }
        while self.client.input.filled().len() < limits::HEAD_BYTES_MAX {
            match self.client.poll_fill_some(cx) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(_) => return Err(Stop::Gone),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    fn deadline(&self) -> Instant {
        let patience = match self.answer {
            Answer::Head(_) if self.request_whole => self.times.response,
            _ => self.times.stream,
        };
        (self.moved + patience).min(self.began + self.times.request)
    }

    /// Whose fault it is that time ran out.
    fn late(&mut self) -> Stop {
        if !self.client.output.is_empty() || (!self.request_whole && self.upstream.output.is_empty()) {
            self.running.because(Why::Client);
            return Stop::Caller(StatusCode::REQUEST_TIMEOUT);
        }
        Stop::Service(StatusCode::GATEWAY_TIMEOUT)
    }
}
