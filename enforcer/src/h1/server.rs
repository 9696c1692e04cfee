//! One caller's HTTP/1 connection, from its first request to its end.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use http::{StatusCode, Version};
use portreeve_engine::record::Why;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::forward::status_of;
use crate::gate::{Barred, Caller, Gate, Permit, Permitted, Running, Verdict};
use crate::h1::body::{Decoder, Step};
use crate::h1::buffer::{Source, Wire};
use crate::h1::exchange::{Asked, Exchange, Stop};
use crate::h1::scan::{self, Finder, Flaw, Framing, RequestHead};
use crate::h1::timer::Timer;
use crate::h1::tunnel;
use crate::h1::upstream::Upstream;
use crate::h1::write;
use crate::head::{Fault, Kind};
use crate::limits;

/// A caller's connection.
#[derive(Debug)]
pub struct Session<S> {
    wire: Wire<S>,
    timer: Timer,
    gate: Arc<Gate>,
    caller: Arc<Caller>,
    upstream: Arc<Upstream>,
    /// When the last request was complete, where that was read.
    rested: Option<Instant>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Another may follow.
    Request,
    /// The connection ends, in order.
    Close,
    /// The connection ends, and the caller may still be sending: what it sends is thrown away for a while, so that it sees our answer.
    Linger,
    /// The connection is cut: the answer is not whole.
    Cut,
}

/// What came.
enum Came {
    Head(usize),
    Flaw(Flaw),
    Nothing,
}

/// Until when a head is waited for.
struct Until {
    /// Its first byte.
    idle: Instant,
    /// Its last byte.
    head: Option<Instant>,
    /// The first byte of the first head, although the connection is to end.
    grace: Option<Instant>,
}

impl<S: Source + AsyncWrite> Session<S> {
    /// A connection whose handshake is complete.
    #[must_use]
    pub fn new(io: S, gate: Arc<Gate>, caller: Arc<Caller>, upstream: Arc<Upstream>) -> Self {
        Self { wire: Wire::new(io), timer: Timer::default(), gate, caller, upstream, rested: None }
    }

    /// Serves requests, one after the other, until the connection ends.
    pub async fn serve(mut self) {
        let mut patience = self.upstream.times().first_request;
        let mut first = true;
        let end = loop {
            // Requests that came at once, and are answered at once, give way to other connections now and then.
            tokio::task::coop::consume_budget().await;
            let mut finder = Finder::default();
            let began = self.rested.take().unwrap_or_else(Instant::now);
            let mut until = Until { idle: began + patience, head: None, grace: first.then(|| began + limits::DRAIN_FIRST_REQUEST) };
            let came = poll_fn(|cx| self.poll_head(cx, &mut finder, &mut until)).await;
            let next = match came {
                Came::Nothing => Next::Close,
                Came::Flaw(flaw) => self.refuse(flaw).await,
                Came::Head(length) => self.request(length).await,
            };
            if next != Next::Request {
                break next;
            }
            patience = self.upstream.times().idle;
            first = false;
        };
        self.end(end).await;
    }

    /// Waits for a whole head.
    fn poll_head(&mut self, cx: &mut Context<'_>, finder: &mut Finder, until: &mut Until) -> Poll<Came> {
        loop {
            if !self.wire.input.is_empty() {
                match finder.find(self.wire.input.filled()) {
                    Ok(Some(length)) => return Poll::Ready(Came::Head(length)),
                    Ok(None) => {}
                    Err(flaw) => return Poll::Ready(Came::Flaw(flaw)),
                }
            } else if self.caller.leaving.is_over_when_idle() {
                // A caller that was let in while others were sent away gets its first answer.
                until.idle = until.idle.min(until.grace.unwrap_or_else(Instant::now));
                if until.idle <= Instant::now() {
                    return Poll::Ready(Came::Nothing);
                }
            }
            match self.wire.poll_fill_some(cx) {
                Poll::Ready(Ok(n)) if n > 0 => continue,
                Poll::Ready(_) => return Poll::Ready(Came::Nothing),
                Poll::Pending => {}
            }
            if self.wire.input.is_empty() {
                self.wire.input.shrink();
                self.wire.output.shrink();
                ready!(self.timer.poll(cx, until.idle));
                return Poll::Ready(Came::Nothing);
            }
            let until = *until.head.get_or_insert_with(|| Instant::now() + self.upstream.times().head);
            ready!(self.timer.poll(cx, until));
            return Poll::Ready(Came::Flaw(("the head did not arrive in time", StatusCode::REQUEST_TIMEOUT)));
        }
    }

    /// Judges and answers the request whose head is the first `length` bytes.
    async fn request(&mut self, length: usize) -> Next {
        self.caller.requests.fetch_add(1, Ordering::Relaxed);
        let bytes = self.wire.input.filled();
        let RequestHead { head, framing, persistent, expects_continue } = match scan::request(bytes.get(..length).unwrap_or_default()) {
            Ok(read) => read,
            Err(flaw) => return self.refuse(flaw).await,
        };
        // What follows it would be a request of the one side and tunnel bytes of the other (A22).
        let switches = head.method == "CONNECT" || head.fields.of(Kind::Upgrade).next().is_some();
        if switches && (!matches!(framing, Framing::None | Framing::Fixed(0)) || bytes.len() > length) {
            return self.refuse(("bytes follow a request that asks for an upgrade", StatusCode::BAD_REQUEST)).await;
        }
        let (http11, head_only) = (head.version == Version::HTTP_11, head.method == "HEAD");
        let verdict = self.gate.judge(&self.caller, head);
        self.wire.input.consume(length);
        let (status, request_id, close, wait) = match verdict {
            Verdict::Forward(permit) => return self.forward(permit, framing, http11, persistent).await,
            Verdict::Answer { status, request_id, close } => (status, request_id, close, None),
            Verdict::Limited { request_id, retry_after } => (StatusCode::TOO_MANY_REQUESTS, request_id, false, Some(retry_after)),
        };
        // A caller that waits for leave to send its body, and gets none, may send the body or the next request.
        let whole = !expects_continue && self.discards(framing);
        let closing = close || !persistent || !whole || switches || self.caller.leaving.is_last();
        write::answer(&mut self.wire.output.bytes, status, &request_id, head_only, closing, wait);
        self.finish(closing, whole).await
    }

    /// Records and answers what is no head.
    async fn refuse(&mut self, (why, status): Flaw) -> Next {
        let bytes = self.wire.input.filled();
        let line = bytes.split(|b| matches!(b, b'\r' | b'\n' | b'?')).next().unwrap_or_default();
        // A query can hold secrets, and what is wrong is told beside it.
        let raw = line.iter().take(limits::RAW_BYTES_MAX).copied().collect();
        let Verdict::Answer { status, request_id, .. } = self.gate.judge_fault(&self.caller, Fault { why, status, raw }) else {
            return Next::Cut;
        };
        write::answer(&mut self.wire.output.bytes, status, &request_id, false, true, None);
        self.finish(true, false).await
    }

    async fn forward(&mut self, permit: Box<Permit>, framing: Framing, http11: bool, persistent: bool) -> Next {
        let permitted = match permit.redeem().await {
            Ok(permitted) => permitted,
            Err(Barred { status, method, request_id }) => {
                // The body was not looked at, so nobody knows where the next request begins.
                write::answer(&mut self.wire.output.bytes, status, &request_id, method.as_str() == "HEAD", true, None);
                return self.finish(true, false).await;
            }
        };
        let Permitted { mut running, method, lines, switch, request_id } = permitted;
        let mut head = write::request(lines, switch, framing);
        let asked = Asked { method, framing, http11, persistent, tunnel: switch.is_some(), id: request_id };
        let mut lent = self.upstream.take(running.began());
        loop {
            let to = match lent.take() {
                Some(lent) => lent,
                None => match running.unless_cut(self.upstream.connect()).await {
                    None => return self.denied(&mut running, &asked).await,
                    Some(Ok(lent)) => lent,
                    Some(Err(error)) => return self.unavailable(&mut running, &asked, status_of(&error), false).await,
                },
            };
            let mut exchange = Exchange::new((&asked, self.upstream.times()), &mut self.wire, &mut running, &mut self.timer, to, head);
            let ended = poll_fn(|cx| exchange.poll(cx)).await;
            let (answered, whole, closing) = (exchange.is_answered(), exchange.is_request_whole(), exchange.is_closing());
            let switched = exchange.is_switched();
            let (mut wire, reusable) = exchange.into_upstream();
            match ended {
                Ok(()) if switched => {
                    let silence = self.upstream.times().stream;
                    let whole = tunnel::carry(&mut self.wire, &mut wire, &mut self.timer, &mut running, silence).await;
                    return if whole { Next::Close } else { Next::Cut };
                }
                Ok(()) => {
                    let now = running.complete();
                    if reusable {
                        self.upstream.give_back(wire, None, now);
                    }
                    self.rested = Some(Instant::from_std(now));
                    return match (closing, whole) {
                        (false, _) => Next::Request,
                        (true, true) => Next::Close,
                        (true, false) => Next::Linger,
                    };
                }
                // Only a connection that had served before can be stale, so this ends.
                Err(Stop::Stale) => head = wire.output.take_all(),
                Err(Stop::Gone) => return Next::Cut,
                // What has begun cannot be taken back, only cut.
                Err(Stop::Denied) if answered => {
                    running.denied();
                    return Next::Cut;
                }
                Err(Stop::Denied) => return self.denied(&mut running, &asked).await,
                Err(Stop::Caller(_)) if answered => {
                    running.because(Why::Client);
                    return Next::Cut;
                }
                Err(Stop::Service(_)) if answered => {
                    running.because(Why::Upstream);
                    return Next::Cut;
                }
                Err(Stop::Caller(status)) => {
                    running.answered(status);
                    running.because(Why::Client);
                    write::answer(&mut self.wire.output.bytes, status, &asked.id, asked.method.as_str() == "HEAD", true, None);
                    return self.finish(true, false).await;
                }
                Err(Stop::Service(status)) => return self.unavailable(&mut running, &asked, status, whole).await,
            }
        }
    }

    /// Answers what the policy in force does not let through any more. Where the next request begins is not known.
    async fn denied(&mut self, running: &mut Running, asked: &Asked) -> Next {
        let status = running.denied();
        write::answer(&mut self.wire.output.bytes, status, &asked.id, asked.method.as_str() == "HEAD", true, None);
        self.finish(true, false).await
    }

    /// Answers for a service that did not. `taken` says that the request's body was taken already.
    async fn unavailable(&mut self, running: &mut Running, asked: &Asked, status: StatusCode, taken: bool) -> Next {
        running.unavailable(status);
        let whole = taken || self.discards(asked.framing);
        let closing = !asked.persistent || !whole || asked.tunnel || self.caller.leaving.is_last();
        write::answer(&mut self.wire.output.bytes, status, &asked.id, asked.method.as_str() == "HEAD", closing, None);
        self.finish(closing, whole).await
    }

    /// Throws a body away that has come already. `false` if it has not, or not whole: it is not waited for.
    fn discards(&mut self, framing: Framing) -> bool {
        let mut decoder = Decoder::new(framing);
        loop {
            let (used, more) = match decoder.step(self.wire.input.filled()) {
                Ok(Step::Data { skip, len }) => (skip + len, true),
                Ok(Step::End(used)) => (used, false),
                Ok(Step::More(_)) | Err(_) => return false,
            };
            self.wire.input.consume(used);
            if !more {
                return true;
            }
        }
    }

    /// Sends an answer of our own to its end.
    async fn finish(&mut self, closing: bool, whole: bool) -> Next {
        let until = Instant::now() + self.upstream.times().stream;
        let Self { wire, timer, .. } = self;
        let sent = poll_fn(|cx| match wire.poll_drain(cx) {
            Poll::Ready(done) => Poll::Ready(done.is_ok()),
            Poll::Pending => timer.poll(cx, until).map(|()| false),
        })
        .await;
        wire.output.reset();
        match (sent, closing, whole) {
            (false, ..) => Next::Cut,
            (true, false, _) => Next::Request,
            (true, true, true) => Next::Close,
            (true, true, false) => Next::Linger,
        }
    }

    /// Ends the connection.
    async fn end(mut self, how: Next) {
        if how == Next::Cut {
            return;
        }
        let until = Instant::now() + limits::LINGER_TIMEOUT;
        let mut thrown = 0;
        let (mut shut, linger) = (false, how == Next::Linger);
        poll_fn(|cx| {
            if self.timer.poll(cx, until).is_ready() {
                return Poll::Ready(());
            }
            if !shut {
                // A failure to say goodbye is as good as one that was heard.
                let _: io::Result<()> = ready!(Pin::new(&mut self.wire.io).poll_shutdown(cx));
                shut = true;
            }
            while linger && thrown < limits::LINGER_BYTES_MAX {
                self.wire.input.clear();
                match ready!(self.wire.poll_fill(cx)) {
                    Ok(n) if n > 0 => thrown += n,
                    _ => break,
                }
            }
            Poll::Ready(())
        })
        .await;
    }
}
