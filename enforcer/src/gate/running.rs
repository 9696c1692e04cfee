//! A request that runs: from the leave to forward it to its end, which is recorded whatever happens.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use http::StatusCode;
use portreeve_engine::record::{Outcome, Why};

use super::{Caller, Gate, Guard};
use crate::live::Place;
use crate::log::{End, Ticket};
use crate::quota::Held as Places;
use crate::tether::{Held, Right};
use crate::times::Due;
use crate::trace::Span;

/// A request that was let through and has not ended. Its end is recorded when this is dropped, whatever happens.
#[derive(Debug)]
pub struct Running {
    pub(super) gate: Arc<Gate>,
    pub(super) caller: Arc<Caller>,
    pub(super) ticket: Option<Ticket>,
    pub(super) place: Option<Place>,
    pub(super) began: Instant,
    /// When it was over, where that was read before this is dropped.
    pub(super) ended: Option<Instant>,
    pub(super) status: Option<u16>,
    pub(super) bytes: u64,
    pub(super) outcome: Outcome,
    /// Something of it may have gone to the service.
    pub(super) begun: AtomicBool,
    pub(super) why: Option<Why>,
    pub(super) span: Option<Box<Span>>,
    pub(super) detail: Option<&'static str>,
    /// Its places among what may run at once, kept as long as it runs.
    #[expect(dead_code, reason = "held, and given back when this is dropped")]
    pub(super) held: Places,
    /// Tells the body of the request that it has ended, where somebody else sends that.
    pub(super) over: Option<Arc<AtomicBool>>,
}

impl Running {
    pub(super) async fn is_kept(&self) -> bool {
        match &self.ticket {
            Some(ticket) => self.gate.log.kept(ticket).await.is_ok(),
            None => false,
        }
    }

    /// Its record could not be kept as durably as configured. The status that the caller gets.
    pub(super) fn not_kept(&mut self) -> StatusCode {
        self.gate.metrics.not_kept.inc();
        self.barred(StatusCode::SERVICE_UNAVAILABLE, Why::Log)
    }

    /// From now on something of it may go to the service.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// The service answered.
    pub fn answered(&mut self, status: StatusCode) {
        self.status = Some(status.as_u16());
        self.gate.metrics.response_duration.observe(self.began.elapsed());
    }

    /// The service did not answer; the caller gets `status`.
    pub fn unavailable(&mut self, status: StatusCode) {
        self.status = Some(status.as_u16());
        self.outcome = Outcome::Unavailable;
        self.why = Some(Why::Upstream);
        self.gate.metrics.unavailable.inc();
    }

    /// The service could not be connected to; a connection that is no HTTP is answered by nothing but its end.
    pub fn unreachable(&mut self) {
        self.outcome = Outcome::Unavailable;
        self.why = Some(Why::Upstream);
        self.detail = Some("connect");
        self.gate.metrics.unavailable.inc();
    }

    /// Nothing moved for too long.
    pub fn idle(&mut self) {
        self.why = Some(Why::Client);
        self.detail = Some("idle");
    }

    /// Bytes of the answer went out.
    pub fn sent(&mut self, bytes: usize) {
        self.bytes += u64::try_from(bytes).unwrap_or(0);
    }

    /// Knows which trailers may not go on.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard::of(&self.gate, &self.gate.service)
    }

    /// When it was let through.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Ready when a new policy has taken the right to it away.
    pub fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        self.place.as_ref().map_or(Poll::Pending, |place| self.caller.live.poll_cut(place, cx))
    }

    /// What `work` comes to, or `None` where a new policy takes the right to the request away before.
    pub async fn unless_cut<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| if self.poll_cut(cx).is_ready() { Poll::Ready(None) } else { work.as_mut().poll(cx).map(Some) }).await
    }

    /// What ends its answer while nobody asks for that.
    #[must_use]
    pub fn held(&self, due: Due) -> Held {
        Held { due, right: Right::Caller(Arc::clone(&self.caller), self.place.as_ref().map(Place::spot)), over: None }
    }

    /// Whether the caller's connection takes no further request.
    #[must_use]
    pub fn is_winding(&self) -> bool {
        self.caller.leaving.is_last()
    }

    /// Whether a new policy has taken the right to it away, for whoever looks once.
    pub(super) fn is_cut(&self) -> bool {
        self.place.as_ref().is_some_and(|place| self.caller.live.is_cut(place.spot()))
    }

    /// The right to it was taken away after it was let through. The status that the caller gets where no answer has begun: that of
    /// any denial, or of any question to a policy that is too old.
    pub fn denied(&mut self) -> StatusCode {
        let why = self.gate.denies_because();
        let (status, detail) =
            if let Why::Stale = why { (StatusCode::SERVICE_UNAVAILABLE, "stale-bundle") } else { (StatusCode::FORBIDDEN, "new-bundle") };
        self.detail = Some(detail);
        if !self.begun.load(Ordering::Relaxed) {
            return self.barred(status, why);
        }
        self.why = Some(why);
        self.status = self.status.or(Some(status.as_u16()));
        status
    }

    /// The policy is too old to let anything through. The status that the caller gets.
    pub(super) fn stale(&mut self) -> StatusCode {
        self.barred(StatusCode::SERVICE_UNAVAILABLE, Why::Stale)
    }

    /// It was allowed, and nothing of it was forwarded.
    fn barred(&mut self, status: StatusCode, why: Why) -> StatusCode {
        (self.status, self.outcome, self.why) = (Some(status.as_u16()), Outcome::Unavailable, Some(why));
        status
    }

    /// A limit stands in the way: the request is answered here.
    pub(super) fn limited(&mut self, status: Option<StatusCode>, by: &'static str) {
        self.status = status.map(|status| status.as_u16());
        self.outcome = Outcome::Limited;
        self.why = Some(Why::Complete);
        self.detail = Some(by);
    }

    /// All of it is done. The time is the one that will stand in its record.
    pub fn complete(&mut self) -> Instant {
        self.why = Some(Why::Complete);
        *self.ended.insert(Instant::now())
    }

    /// The end is known.
    pub fn because(&mut self, why: Why) {
        self.why = Some(why);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Before the place is given back: nobody who looks there takes another request for this one.
        if let Some(over) = &self.over {
            over.store(true, Ordering::Release);
        }
        let cut = self.place.take().is_some_and(|place| self.caller.live.leave(place));
        if let Some(ticket) = self.ticket.take() {
            self.caller.running.fetch_sub(1, Ordering::Relaxed);
            self.caller.bytes.fetch_add(self.bytes, Ordering::Relaxed);
            let took = self.ended.unwrap_or_else(Instant::now).saturating_duration_since(self.began);
            self.gate.metrics.request_duration.observe(took);
            let duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            let why = self.why.unwrap_or_else(|| match self.caller.gone() {
                // It went together with its task, which saw the denial before anybody asked for the answer. Nobody is answered.
                Why::Client | Why::Policy if cut => {
                    let status = self.status;
                    self.denied();
                    self.status = status;
                    self.why.unwrap_or(Why::Policy)
                }
                why => why,
            });
            let (outcome, status, bytes) = (self.outcome, self.status, self.bytes);
            if let Some(span) = self.span.take() {
                self.gate.traces.collect(span.ended(took, status, why));
            }
            self.gate.log.ended(ticket, End { outcome, status, duration_us, bytes, why, attempts: 1, detail: self.detail });
        }
    }
}
