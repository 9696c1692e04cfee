//! The gate: puts a question to the policy in force, records the answer, and gives a [`Permit`] where one is due.
//!
//! INV-8: a [`Permit`] has no other maker than [`Gate::judge`], which makes one only from an allow (or, in a dry run, a denial by
//! policy) whose record was accepted. INV-9: what cannot be recorded is refused.

mod arrival;
mod connect;
mod guard;
mod leash;
mod leaving;
mod running;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::StatusCode;
use portreeve_engine::model::{Limit, Visible};
use portreeve_engine::record::{ContextFacts, Destination, Mode, Outcome, RequestFacts, Source, Why};
use portreeve_engine::record_text::{ConnectionText, EventText, EventTextRef, RequestText};
use portreeve_engine::request::{Method, Target};
use portreeve_engine::{Authorizer, Decision, Request, Revision, SpiffeId, Timestamp};
use tokio::sync::watch;

use crate::clock::{Clock, RequestIds};
use crate::freshness::Fresh;
use crate::h1::write;
use crate::head::{Fault, Fields, Head, Lines};
use crate::introduction::{Introduced, Introduction};
use crate::jwt::Verifier;
use crate::limits;
use crate::live::Live;
use crate::log::{DecisionLog, Moment, NotAccepted, Share, Ticket};
use crate::metrics::Metrics;
use crate::outbound::Own;
use crate::question::{self, Asked, Asker, NoQuestion, Question, Switch};
use crate::quota::{Held, Limited, Quotas};
use crate::self_check::SelfCheck;
use crate::tls::{Current, VerifiedPeer};
use crate::trace::{Span, Traces};

use arrival::{Arrival, denial, protocol, unrecorded};
pub use connect::Passage;
pub use guard::Guard;
pub use leash::Leash;
pub use leaving::Leaving;
pub use running::Running;

/// What decides and records. One per enforcer.
#[derive(Debug)]
pub struct Gate {
    /// The service behind this enforcer.
    pub service: Arc<str>,
    /// Enforce or dry-run.
    pub mode: Mode,
    /// The policy in force.
    pub policy: ArcSwap<Authorizer>,
    /// Our own identity.
    pub identity: Current,
    /// Which tokens are believed.
    pub tokens: ArcSwap<Verifier>,
    /// The decision log.
    pub log: DecisionLog,
    /// The clock.
    pub clock: Arc<Clock>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Ids of requests.
    pub ids: RequestIds,
    /// Told after every change of the policy in force.
    pub in_force: watch::Sender<()>,
    /// Counts what makes older outbound connections unfit: a new identity of ours, a new inventory.
    pub epoch: AtomicU64,
    /// What callers have used of limited permissions.
    pub quotas: Quotas,
    /// Decides some requests again, where that is asked for.
    pub self_check: Option<SelfCheck>,
    /// Carries traces.
    pub traces: Traces,
    /// What the bundle in force says of its issue, and until when it counts.
    pub fresh: Fresh,
    /// Our own connections, lest one of them leads back to us.
    pub own: Arc<Own>,
}

/// The other end of one inbound connection.
#[derive(Debug)]
pub struct Caller {
    peer: VerifiedPeer,
    introduced: Introduced,
    /// Its address.
    pub ip: IpAddr,
    /// The server name of its handshake.
    pub server_name: Option<String>,
    /// What it speaks, as records name it.
    pub protocol: &'static str,
    /// When its handshake was complete.
    pub opened: Instant,
    /// Requests so far.
    pub requests: AtomicU64,
    /// Requests that were let through and have not ended.
    pub running: AtomicU64,
    /// Bytes of answers to requests that have ended.
    pub bytes: AtomicU64,
    /// What runs.
    pub live: Live,
    cut: AtomicU8,
    /// Whether its connection is on its way out.
    pub leaving: Leaving,
    /// Its share of the decision log's queue.
    share: OnceLock<Share>,
    /// What the records of this connection have in common.
    common: Mutex<Option<Arc<Common>>>,
    /// Whether a record has said what is said once for each connection.
    introduced_in_log: AtomicBool,
}

/// The part of a connection's records that changes only with the bundle or with our own identity.
#[derive(Debug)]
struct Common {
    revision: Revision,
    own: SpiffeId,
    text: ConnectionText,
}

impl Caller {
    /// A caller whose handshake is complete.
    #[must_use]
    pub fn new(
        peer: VerifiedPeer,
        ip: IpAddr,
        server_name: Option<String>,
        protocol: &'static str,
        introduction: &Arc<Introduction>,
    ) -> Self {
        let svid = peer.svid();
        let introduced = Introduced::of(introduction, &svid.id, &svid.sha256.hex(), peer.certificates());
        Self {
            peer,
            introduced,
            ip,
            server_name,
            protocol,
            opened: Instant::now(),
            requests: AtomicU64::new(0),
            running: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            live: Live::default(),
            cut: AtomicU8::new(0),
            leaving: Leaving::default(),
            share: OnceLock::new(),
            common: Mutex::new(None),
            introduced_in_log: AtomicBool::new(false),
        }
    }

    /// The log has a record of it. Requests of one moment may each have been the first; then several say the same.
    fn is_recorded(&self) {
        if !self.introduced_in_log.load(Ordering::Relaxed) {
            self.introduced_in_log.store(true, Ordering::Relaxed);
        }
    }

    /// Who it is.
    #[must_use]
    pub fn peer(&self) -> &VerifiedPeer {
        &self.peer
    }

    /// Says why the connection is being cut, for the records of what runs on it.
    pub fn cut(&self, why: Why) {
        let code = match why {
            Why::Shutdown => 1,
            Why::Expired => 2,
            Why::Revoked => 3,
            Why::Policy => 4,
            Why::Complete | Why::Client | Why::Upstream | Why::Stale | Why::Log => 0,
        };
        self.cut.store(code, Ordering::Release);
    }

    fn gone(&self) -> Why {
        match self.cut.load(Ordering::Acquire) {
            1 => Why::Shutdown,
            2 => Why::Expired,
            3 => Why::Revoked,
            4 => Why::Policy,
            _ => Why::Client,
        }
    }
}

/// Leave to forward one request. It holds the head as judged.
#[derive(Debug)]
pub struct Permit {
    running: Running,
    method: Method,
    lines: Lines,
    switch: Option<Switch>,
    request_id: String,
}

/// A permit that is being used.
#[derive(Debug)]
pub struct Permitted {
    /// The record of the request's end, kept as long as the request runs.
    pub running: Running,
    /// The method.
    pub method: Method,
    /// The cleaned header lines with our own, behind what the head begins with ([`crate::h1::write::opening`]).
    pub lines: Lines,
    /// To what the connection may be switched.
    pub switch: Option<Switch>,
    /// The id of the request.
    pub request_id: String,
}

/// A permit that is worth nothing any more: nothing may be forwarded, and the end of its request is recorded.
#[derive(Debug)]
pub struct Barred {
    /// What the caller gets: 503 where the record could not be kept as durably as configured, 403 where a new policy took the right
    /// to it away.
    pub status: StatusCode,
    /// The method of the request.
    pub method: Method,
    /// The id of the request.
    pub request_id: String,
}

impl Permit {
    /// Uses the permit up, once its record is as durable as `log.durability` asks.
    ///
    /// # Errors
    /// [`Barred`]: nothing may be forwarded.
    pub async fn redeem(mut self: Box<Self>) -> Result<Permitted, Barred> {
        let status = if !self.running.is_kept().await {
            self.running.not_kept()
        } else if self.running.is_cut() {
            self.running.denied()
        } else {
            let Self { running, method, lines, switch, request_id } = *self;
            return Ok(Permitted { running, method, lines, switch, request_id });
        };
        let Self { method, request_id, .. } = *self;
        Err(Barred { status, method, request_id })
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Verdict {
    /// It may be forwarded.
    Forward(Box<Permit>),
    /// It is answered by the gate.
    Answer {
        /// The status.
        status: StatusCode,
        /// The id, the only thing the caller learns.
        request_id: String,
        /// Whether the connection cannot be used further.
        close: bool,
    },
    /// It is allowed, and has to wait (429).
    Limited {
        /// The id.
        request_id: String,
        /// When to come back, in seconds.
        retry_after: u64,
    },
}

/// Leave to use a ticket.
struct Granted {
    ticket: Ticket,
    held: Held,
    /// What is to be told of the request, where something is.
    span: Option<Box<Span>>,
}

impl Gate {
    /// Judges one request.
    #[must_use]
    pub fn judge(self: &Arc<Self>, caller: &Arc<Caller>, mut head: Head<'_>) -> Verdict {
        let trace = self.traces.take(&mut head.fields);
        let arrival = Arrival { came: Instant::now(), id: self.ids.next(), trace, protocol: protocol(head.version) };
        let policy = self.policy.load();
        match self.ask(caller, &mut head, &policy) {
            Ok(question) => {
                let came = arrival.came;
                let verdict = self.answer(caller, &policy, question, &head.fields, arrival);
                // What is let through began when its decision was recorded.
                let decided = if let Verdict::Forward(permit) = &verdict { permit.running.began } else { Instant::now() };
                self.metrics.decision_duration.observe(decided.saturating_duration_since(came));
                verdict
            }
            Err(refused) => {
                let status = self.refuse(caller, &policy, &refused, &arrival);
                let request_id = arrival.id;
                // What two servers could read in two ways ends the connection: what follows on it may be read in two ways too (A77).
                Verdict::Answer { status, request_id, close: true }
            }
        }
    }

    /// Records and answers a head that is none. The connection ends with it: where the next request would begin is not known.
    #[must_use]
    pub fn judge_fault(&self, caller: &Caller, fault: Fault) -> Verdict {
        let trace = self.traces.take(&mut Fields::default());
        let arrival = Arrival { came: Instant::now(), id: self.ids.next(), trace, protocol: caller.protocol };
        let refused = NoQuestion::from(fault);
        let status = self.refuse(caller, &self.policy.load(), &refused, &arrival);
        Verdict::Answer { status, request_id: arrival.id, close: true }
    }

    fn ask(&self, caller: &Caller, head: &mut Head<'_>, policy: &Authorizer) -> Result<Question, Box<NoQuestion>> {
        let (service, server_name) = (policy.service(&self.service), caller.server_name.as_deref());
        let asker = Asker { id: &caller.peer.svid().id, until: caller.peer.until(), ip: caller.ip, server_name };
        let asked = Asked {
            service: &self.service,
            visible: service.map_or(&NOTHING, |service| &service.visible),
            paths: service.map_or_else(Default::default, |service| service.paths),
            tokens: &self.tokens.load(),
            is_service: &|name| policy.service(name).is_some(),
            offers: &|target, switch| switch.is_offered_by(policy.operation(&self.service, target)),
        };
        question::ask(head, asker, &asked, self.clock.now())
    }

    fn answer(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        policy: &Arc<Authorizer>,
        mut question: Question,
        fields: &Fields<'_>,
        arrival: Arrival,
    ) -> Verdict {
        let trace = arrival.trace.hex();
        for attempt in 0..=limits::STALE_RETRIES_MAX {
            let now = question.request.context.time;
            let decision = policy.decide(&question.request);
            let (mut facts, mut context) = policy.request_text(&question.request, &decision);
            let moment = moment(attempt, now, &mut context);
            facts.id = &arrival.id;
            facts.correlation = question.correlation.as_deref();
            facts.trace = Some(&trace);
            if let Some(Switch::Upgrade(upgrade)) = &question.switch {
                facts.upgrade = Some(upgrade.as_str());
            }
            facts.protocol = arrival.protocol;
            let span = self.traces.wants(&arrival.trace).then(|| Box::new(Span::new(&arrival.trace, now, caller, &facts, &decision)));
            let share = self.share(caller);
            let accepted = self.spelled(caller, policy, &facts, &context, &decision, |text| {
                if self.lets_through(&decision) {
                    self.log.allowed_text(moment, share, text).map(Some)
                } else {
                    self.log.denied_text(moment, share, text).map(|()| None)
                }
            });
            match accepted {
                Err(NotAccepted::Stale) => question.request.context.time = self.clock.now(),
                Err(NotAccepted::Share | NotAccepted::Full | NotAccepted::Down) => return unrecorded(arrival.id),
                Ok(ticket) => {
                    caller.is_recorded();
                    self.decided(policy, &question.request, &decision);
                    return match ticket {
                        Some(ticket) => match self.bound(share).and_then(|()| self.draw(&decision, &caller.peer.svid().id)) {
                            Ok(held) => self.permit(caller, policy, Granted { ticket, held, span }, question, fields, arrival),
                            Err(limited) => {
                                let granted = Granted { ticket, held: Held::default(), span };
                                self.limited(caller, granted, &limited, arrival.id)
                            }
                        },
                        None => {
                            let status = denial(decision.reason);
                            if let Some(span) = span {
                                self.traces.collect(span.refused(arrival.came.elapsed(), status.as_u16()));
                            }
                            Verdict::Answer { status, request_id: arrival.id, close: false }
                        }
                    };
                }
            }
        }
        self.log.count_unrecorded(NotAccepted::Stale);
        unrecorded(arrival.id)
    }

    fn permit(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        policy: &Arc<Authorizer>,
        granted: Granted,
        question: Question,
        fields: &Fields<'_>,
        arrival: Arrival,
    ) -> Verdict {
        let Arrival { id: request_id, trace, .. } = arrival;
        let mut running = self.running(caller, granted);
        if self.fresh.is_over(question.request.context.time) {
            return Verdict::Answer { status: running.stale(), request_id, close: false };
        }
        let Target::Http { method, path } = &question.request.target else {
            // Questions of this gate are about HTTP. Were one not, there would be nothing to forward; its end is recorded.
            return Verdict::Answer { status: StatusCode::FORBIDDEN, request_id, close: true };
        };
        let (method, switch, host) = (method.clone(), question.switch, question.request.host.as_deref());
        let opening = write::opening(&method, (path.as_str(), question.query.as_deref()), host, switch);
        let (own, token) = (self.identity.load(), question.request.context.jwt.as_ref());
        let mut lines = caller.introduced.lines(opening, fields, own.id(), token, &request_id);
        trace.write(&mut lines);
        running.place = Some(caller.live.enter(question.request));
        if self.overtakes(policy, caller, &running) {
            return Verdict::Answer { status: running.denied(), request_id, close: false };
        }
        Verdict::Forward(Box::new(Permit { running, method, lines, switch, request_id }))
    }

    /// Counts a decision that was recorded.
    fn decided(&self, policy: &Arc<Authorizer>, request: &Request, decision: &Decision<'_>) {
        self.metrics.decided(decision.effect, decision.reason);
        for policy in &decision.policies {
            self.metrics.policies.count(&policy.id, decision.effect);
        }
        self.metrics.shadow(decision);
        if let Some(check) = &self.self_check {
            check.look(policy, request, decision);
        }
    }

    fn running(self: &Arc<Self>, caller: &Arc<Caller>, Granted { ticket, held, span }: Granted) -> Running {
        caller.running.fetch_add(1, Ordering::Relaxed);
        Running {
            gate: Arc::clone(self),
            caller: Arc::clone(caller),
            ticket: Some(ticket),
            place: None,
            began: Instant::now(),
            ended: None,
            status: None,
            bytes: 0,
            outcome: Outcome::Forwarded,
            begun: AtomicBool::new(false),
            why: None,
            detail: None,
            span,
            held,
            over: None,
        }
    }

    /// Stops a request, itself counted, of a caller that has so many running that it could take what the others need.
    fn bound(&self, share: &Share) -> Result<(), Limited> {
        if share.running() <= limits::REQUESTS_PER_IDENTITY_MAX {
            return Ok(());
        }
        let limited = Limited { by: "identity", retry_after: Duration::from_secs(1) };
        self.metrics.limited(limited.by);
        Err(limited)
    }

    /// Takes a request out of its caller's budgets. In a dry run a limit is counted and stops nothing.
    pub(crate) fn draw(&self, decision: &Decision<'_>, caller: &SpiffeId) -> Result<Held, Limited> {
        let drawn = self.quotas.take(decision.policies.iter().copied(), caller, decision.operation);
        drawn.or_else(|limited| {
            self.metrics.limited(limited.by);
            if self.mode == Mode::DryRun { Ok(Held::default()) } else { Err(limited) }
        })
    }

    /// Records that a limit stood in the way of what was allowed.
    fn limited(self: &Arc<Self>, caller: &Arc<Caller>, granted: Granted, limited: &Limited, request_id: String) -> Verdict {
        self.running(caller, granted).limited(Some(StatusCode::TOO_MANY_REQUESTS), limited.by);
        Verdict::Limited { request_id, retry_after: limited.seconds() }
    }

    /// Puts another policy in force and has everything asked about again that runs.
    pub fn put_in_force(&self, policy: Authorizer) {
        let limits: HashMap<&str, Limit> = policy.policies().iter().filter_map(|p| Some((&*p.reference.id, p.reference.limit?))).collect();
        self.quotas.keep(|id| limits.get(id).copied());
        self.policy.store(Arc::new(policy));
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.in_force.send_replace(());
    }

    /// Has everything asked about again that runs.
    pub fn ask_again(&self) {
        self.in_force.send_replace(());
    }

    /// Whether a policy that came since `policy` decided takes the right to what has just entered away (A78).
    fn overtakes(&self, policy: &Arc<Authorizer>, caller: &Caller, entered: &Running) -> bool {
        if Arc::ptr_eq(policy, &self.policy.load()) {
            return false;
        }
        self.review(caller);
        entered.is_cut()
    }

    /// Asks about what a caller runs, and cuts what the policy in force does not allow. Whether anything was cut.
    pub fn review(&self, caller: &Caller) -> bool {
        let (policy, now) = (self.policy.load(), self.clock.now());
        let cut = caller.live.review(|request| {
            request.context.time = now;
            self.lets_through(&policy.decide(request)) && !self.fresh.is_over(now)
        });
        cut > 0
    }

    /// Why what was let through may not go on, where the law is why.
    fn denies_because(&self) -> Why {
        if self.fresh.is_over(self.clock.now()) { Why::Stale } else { Why::Policy }
    }

    /// Whether a request with this answer is forwarded.
    pub(crate) fn lets_through(&self, decision: &Decision<'_>) -> bool {
        decision.is_allow() || (self.mode == Mode::DryRun && decision.reason.is_policy_denial())
    }

    /// Records what is no question, and says how it is answered.
    fn refuse(&self, caller: &Caller, policy: &Authorizer, refused: &NoQuestion, arrival: &Arrival) -> StatusCode {
        let decision = policy.decide_malformed(&refused.malformed);
        let facts = RequestFacts {
            id: arrival.id.clone(),
            correlation: refused.correlation.clone(),
            trace: Some(arrival.trace.hex()),
            protocol: arrival.protocol.to_owned(),
            host: refused.host.clone(),
            raw: Some(refused.raw.clone()),
            ..RequestFacts::default()
        };
        // It is none at any time.
        let recorded = self.spelled(caller, policy, &(&facts).into(), &ContextFacts::default(), &decision, |text| {
            self.log.denied_text(Moment::NotBefore(self.clock.now()), self.share(caller), text)
        });
        match recorded {
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
            Ok(()) => {
                caller.is_recorded();
                self.metrics.decided(decision.effect, decision.reason);
                refused.status
            }
        }
    }

    fn share<'c>(&self, caller: &'c Caller) -> &'c Share {
        caller.share.get_or_init(|| self.log.share(&caller.peer.svid().id))
    }

    /// Lends the `decided` event of a request, written down in memory that the thread keeps for it.
    fn spelled<T>(
        &self,
        caller: &Caller,
        policy: &Authorizer,
        request: &RequestText<'_>,
        context: &ContextFacts,
        decision: &Decision<'_>,
        take: impl FnOnce(EventTextRef<'_>) -> T,
    ) -> T {
        TEXT.with_borrow_mut(|text| {
            let first = !caller.introduced_in_log.load(Ordering::Relaxed);
            text.decided(&self.common(caller, policy, decision.revision).text, first, request, context, decision);
            let taken = take(text.borrowed());
            text.clear(limits::TEXT_BYTES_KEPT);
            taken
        })
    }

    fn common(&self, caller: &Caller, policy: &Authorizer, revision: &Revision) -> Arc<Common> {
        let identity = self.identity.load();
        let mut kept = caller.common.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(common) = kept.as_ref().filter(|c| c.revision == *revision && c.own == *identity.id()) {
            return Arc::clone(common);
        }
        let (id, own) = (&caller.peer.svid().id, identity.id().clone());
        let source = Source { id: id.clone(), service: policy.identify(id).map(|s| s.name.to_string()), ip: Some(caller.ip) };
        let destination = Destination { id: Some(own.clone()), service: self.service.to_string() };
        let text = ConnectionText::new(self.mode, revision, None, &source, &destination, Some(caller.peer.tls()));
        let common = Arc::new(Common { revision: *revision, own, text });
        *kept = Some(Arc::clone(&common));
        common
    }
}

/// What policies may read of a service that the inventory has not.
static NOTHING: Visible = Visible { headers: BTreeMap::new(), query: BTreeMap::new(), claims: BTreeMap::new() };

thread_local! {
    /// Where records are spelled: one of a kilobyte for each request would be asked of the allocator otherwise.
    static TEXT: RefCell<EventText> = RefCell::default();
}

/// When the record of an answer for `now` is to have been made. An answer that others overtook again and again is not taken again
/// for ever: it is recorded where it comes, and says for when it was.
pub(crate) fn moment(attempt: usize, now: Timestamp, context: &mut ContextFacts) -> Moment {
    if attempt < limits::STALE_RETRIES_MAX {
        return Moment::At(now);
    }
    context.time = Some(now);
    Moment::NotBefore(now)
}
