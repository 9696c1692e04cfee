//! Places outside the mesh: decided by the same law as everything else, recorded by us.
//!
//! INV-8 for what goes out: a [`Permit`] has no other maker than [`Egress::tunnel`] and [`Egress::request`], which make one only
//! from an allow (or, in a dry run, a denial by policy) whose record was accepted. Nothing leaves before that, the question to a
//! name server included. INV-9: what cannot be recorded is refused.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use http::StatusCode;
use http::request::Parts;
use ipnet::IpNet;
use portreeve_engine::outside::Host;
use portreeve_engine::path::CanonicalPath;
use portreeve_engine::record::{Answer, ContextFacts, Decided, Destination, Outcome, RequestFacts, Side, Source, Why};
use portreeve_engine::request::{Context, Method, Target};
use portreeve_engine::{Authorizer, Decision, Malformed, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::limits::{CONNECT_TIMEOUT, REQUEST_TIMEOUT, REQUESTS_MAX, RESOLVE_TIMEOUT, TUNNEL_IDLE, TUNNELS_MAX};
use crate::gate::{Gate, Guard, moment};
use crate::head::{Head, Lines};
use crate::jwt::Verifier;
use crate::limits;
use crate::log::{End, Moment, NotAccepted, Ticket};
use crate::question::{self, Asked, Asker};
use crate::quota::Held;
use crate::serve::Phase;
use crate::tasks::Tasks;
use crate::tenure;

/// Decides about places outside the mesh.
#[derive(Debug)]
pub struct Egress {
    /// The law, the log, the clock.
    pub gate: Arc<Gate>,
    /// Networks of private addresses in which places outside the mesh may be.
    pub private: Vec<IpNet>,
    /// Tunnels that need not be TLS, by host and port as the configuration writes them.
    pub without_tls: Vec<Host>,
    /// How long they are waited for.
    pub times: EgressTimes,
    /// Places for tunnels.
    pub tunnels: Arc<Semaphore>,
    /// Places for plain requests.
    pub requests: Arc<Semaphore>,
    /// The phase of the outbound side.
    phase: watch::Receiver<Phase>,
    /// The connections for plain requests.
    pub tasks: Tasks,
}

/// How long places outside the mesh are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EgressTimes {
    /// Looking a name up.
    pub resolve: Duration,
    /// Opening a connection to one address.
    pub connect: Duration,
    /// From the last movement of a request to the head of its answer.
    pub request: Duration,
    /// Nothing moves on an answer or the request beside it.
    pub stream: Duration,
    /// From the head of an answer to its last byte.
    pub whole: Duration,
    /// Nothing moves in a tunnel.
    pub tunnel: Duration,
}

impl Default for EgressTimes {
    fn default() -> Self {
        Self {
            resolve: RESOLVE_TIMEOUT,
            connect: CONNECT_TIMEOUT,
            request: REQUEST_TIMEOUT,
            stream: limits::STREAM_IDLE_TIMEOUT,
            whole: limits::REQUEST_LIFETIME,
            tunnel: TUNNEL_IDLE,
        }
    }
}

/// Leave to reach one place outside the mesh.
#[derive(Debug)]
pub struct Permit {
    running: Running,
    what: What,
}

/// What a permit is for.
#[derive(Debug)]
pub enum What {
    /// Bytes both ways.
    Tunnel {
        /// Where to.
        host: Host,
        /// On which port.
        port: u16,
        /// The question, to be put again under a new law.
        question: Box<Request>,
    },
    /// One request in the clear.
    Request {
        /// Where to, with its port.
        host: Host,
        /// The method.
        method: Method,
        /// Canonical path and raw query.
        target: String,
        /// The cleaned header lines.
        lines: Lines,
        /// Which trailers may not follow them.
        guard: Guard,
        /// The question, to be put again under a new law.
        question: Box<Request>,
    },
}

/// Ready when the law in force no longer lets through what a permit was given for, or when we have no identity to ask in. The first look
/// asks, so a law that came between the decision and that look is not missed (A78).
pub struct Withdrawn(Pin<Box<dyn Future<Output = Over> + Send>>);

/// Why something may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Whose doing it is.
    pub why: Why,
    /// A word for the record.
    pub detail: &'static str,
}

impl Over {
    /// What the local service gets where no answer has begun.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        if let Why::Policy = self.why { StatusCode::FORBIDDEN } else { StatusCode::SERVICE_UNAVAILABLE }
    }
}

impl fmt::Debug for Withdrawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Withdrawn").finish_non_exhaustive()
    }
}

impl Withdrawn {
    /// What stands against it now, for whoever looks once.
    #[must_use]
    pub fn now(&mut self) -> Option<Over> {
        match self.0.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())) {
            Poll::Ready(over) => Some(over),
            Poll::Pending => None,
        }
    }
}

impl Future for Withdrawn {
    type Output = Over;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Over> {
        self.0.as_mut().poll(cx)
    }
}

impl Permit {
    /// Uses the permit up, once its record is as durable as `log.durability` asks.
    ///
    /// # Errors
    /// It could not be kept so: nothing may leave. Its end is recorded.
    pub async fn redeem(self) -> Result<(Running, What), Refused> {
        let Self { running, what } = self;
        let kept = match &running.ticket {
            Some(ticket) => running.gate.log.kept(ticket).await.is_ok(),
            None => false,
        };
        if kept {
            return Ok((running, what));
        }
        let refused = Refused::new(StatusCode::SERVICE_UNAVAILABLE, running.request_id.clone());
        running.gate.metrics.not_kept.inc();
        running.unavailable(refused.status, Why::Log, "not-kept");
        Err(refused)
    }
}

/// Egress that is not let through: the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// The id, the only thing the local service learns.
    pub request_id: String,
    /// When to come back, in seconds, where a limit stands in the way.
    pub retry_after: Option<u64>,
}

impl Refused {
    /// One that nothing but another law changes.
    #[must_use]
    pub const fn new(status: StatusCode, request_id: String) -> Self {
        Self { status, request_id, retry_after: None }
    }
}

/// Egress that was let through and has not ended. Its end is recorded when this is dropped, whatever happens.
#[derive(Debug)]
pub struct Running {
    gate: Arc<Gate>,
    ticket: Option<Ticket>,
    /// The id of the request.
    pub request_id: String,
    began: Instant,
    status: Option<u16>,
    bytes: u64,
    attempts: u32,
    outcome: Outcome,
    /// Something of it may have gone to the place.
    begun: bool,
    why: Option<Why>,
    detail: Option<&'static str>,
    /// Tells whether the enforcer cuts what runs.
    phase: watch::Receiver<Phase>,
    /// A place that it takes.
    place: Option<OwnedSemaphorePermit>,
    /// Its places among what may run at once, kept as long as it runs.
    held: Held,
}

impl Running {
    /// Takes a place until it ends.
    pub fn hold(&mut self, place: OwnedSemaphorePermit) {
        self.place = Some(place);
    }

    /// From now on something of it may go to the place.
    pub const fn begin(&mut self) {
        self.begun = true;
    }

    /// The place answered, or the tunnel stands.
    pub fn answered(&mut self, status: StatusCode) {
        self.status = Some(status.as_u16());
    }

    /// So many connections were tried.
    pub const fn attempts(&mut self, attempts: u32) {
        self.attempts = attempts;
    }

    /// Bytes went back to the local service.
    pub fn sent(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(0));
    }

    /// It went to its end.
    pub fn complete(mut self) {
        self.why = Some(Why::Complete);
    }

    /// It ended early.
    pub fn ended(mut self, why: Why, detail: &'static str) {
        (self.why, self.detail) = (Some(why), Some(detail));
    }

    /// The place outside broke off in the middle.
    pub fn upstream(self, detail: &'static str) {
        self.gate.metrics.outbound.egress_failed(detail);
        self.ended(Why::Upstream, detail);
    }

    /// It may not go on, and no answer has begun; the local service gets the status.
    pub fn overtaken(mut self, over: Over) -> StatusCode {
        let status = over.status();
        self.status = Some(status.as_u16());
        if !self.begun {
            self.outcome = Outcome::Unavailable;
        }
        self.ended(over.why, over.detail);
        status
    }

    /// It was stopped before anything was sent; the local service gets no status for it.
    pub fn stopped(mut self, detail: &'static str) {
        self.gate.metrics.outbound.egress_failed(detail);
        self.outcome = Outcome::Unavailable;
        self.ended(Why::Policy, detail);
    }

    /// A limit stands in the way: nothing leaves.
    fn limited(mut self, by: &'static str) {
        (self.status, self.outcome) = (Some(StatusCode::TOO_MANY_REQUESTS.as_u16()), Outcome::Limited);
        self.ended(Why::Complete, by);
    }

    /// It did not come about; the local service gets the status.
    pub fn unavailable(mut self, status: StatusCode, why: Why, detail: &'static str) {
        self.gate.metrics.outbound.egress_failed(detail);
        (self.status, self.outcome) = (Some(status.as_u16()), Outcome::Unavailable);
        self.ended(why, detail);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let duration_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
            let &mut Self { outcome, status, bytes, attempts, detail, .. } = self;
            // Whoever knew why has said so; else its connection was dropped, by the local service or with all others.
            let why = self.why.unwrap_or_else(|| if *self.phase.borrow() == Phase::Cut { Why::Shutdown } else { Why::Client });
            self.gate.log.ended(ticket, End { outcome, status, duration_us, bytes, why, attempts, detail });
        }
    }
}

/// What is to be recorded besides question and answer.
struct Facts<'a> {
    id: &'a str,
    correlation: Option<String>,
    protocol: &'static str,
}

impl Egress {
    /// An egress side without tunnels.
    #[must_use]
    pub fn new(gate: Arc<Gate>, private: Vec<IpNet>, without_tls: Vec<Host>, times: EgressTimes, phase: watch::Receiver<Phase>) -> Self {
        let (tunnels, requests) = (Arc::new(Semaphore::new(TUNNELS_MAX)), Arc::new(Semaphore::new(REQUESTS_MAX)));
        Self { gate, private, without_tls, times, tunnels, requests, phase, tasks: Tasks::default() }
    }

    /// Whether a tunnel to this host and port need not be TLS.
    #[must_use]
    pub fn is_without_tls(&self, host: &Host, port: u16) -> bool {
        self.without_tls.iter().any(|h| h.name() == host.name() && h.port() == Some(port))
    }

    /// Decides about a tunnel.
    ///
    /// # Errors
    /// It is not let through.
    pub fn tunnel(&self, host: Host, port: u16, correlation: Option<String>) -> Result<Permit, Refused> {
        let request_id = self.gate.ids.next();
        let policy = self.gate.policy.load();
        let facts = Facts { id: &request_id, correlation, protocol: "TCP" };
        let question = self.connection(&policy, &host, port);
        let (question, running) = self.decide(&policy, question, &facts)?;
        Ok(Permit { running, what: What::Tunnel { host, port, question: Box::new(question) } })
    }

    /// Decides about one request in the clear. `port` is meant where its host names none.
    ///
    /// # Errors
    /// It is not let through.
    pub fn request(&self, parts: &Parts, port: u16) -> Result<Permit, Refused> {
        let request_id = self.gate.ids.next();
        let policy = self.gate.policy.load();
        let mut head = Head::of(parts);
        let protocol = if parts.version == http::Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" };
        let facts = |correlation| Facts { id: &request_id, correlation, protocol };
        let named = question::host(&head).ok().flatten().and_then(|text| text.parse::<Host>().ok());
        let line = format!("{} {}", head.method, head.path());
        let Some(host) = named else {
            let malformed = Malformed::Carrier("the request does not name one host".to_owned());
            return Err(self.malformed("outside", &malformed, StatusCode::BAD_REQUEST, line.as_bytes(), &facts(None)));
        };
        let host = host.on(port);
        let port = host.port().unwrap_or(80);
        // Whatever path: which service stands for a host does not depend on it.
        let root = || Some(Target::Http { method: Method::parse("GET").ok()?, path: CanonicalPath::parse("/").ok()? });
        let Some(service) = root().and_then(|target| policy.outside(&host, &target)) else {
            if let Some(known) = policy.outside(&host, &Target::Connect { port }) {
                let why = "requests in the clear are made on port 80 alone, unless `hosts` names the port";
                let malformed = Malformed::Carrier(why.to_owned());
                return Err(self.malformed(&known.name, &malformed, StatusCode::FORBIDDEN, line.as_bytes(), &facts(None)));
            }
            // Of an unknown place nobody says which parts of a path are sensitive, so the question is about the connection.
            let question = self.connection(&policy, &host, port);
            return self.decide(&policy, question, &facts(None)).and_then(|_| Err(self.unrecorded(&request_id)));
        };
        let nobody = Verifier::load(&[]).map_err(|_| self.unrecorded(&request_id))?;
        let name: Arc<str> = Arc::from(&*service.name);
        let identity = self.gate.identity.load_full();
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let asker = Asker { id: identity.id(), until: identity.not_after(), ip, server_name: None };
        let asked = Asked {
            service: &name,
            visible: &service.visible,
            tokens: &nobody,
            is_service: &|_| false,
            offers: &|_, _| false,
            paths: policy.paths(&name),
        };
        let mut asked = match question::ask(&mut head, asker, &asked, self.gate.clock.now()) {
            Ok(asked) => asked,
            Err(refused) => {
                return Err(self.malformed(
                    &name,
                    &refused.malformed,
                    refused.status,
                    line.as_bytes(),
                    &facts(refused.correlation.clone()),
                ));
            }
        };
        // There is neither a peer's address nor a user token that we could vouch for: what is sent is for the place outside.
        (asked.request.context.source_ip, asked.request.context.jwt) = (None, None);
        let mut lines = Lines::of(&head.fields);
        if let Some(own) = &asked.correlation {
            lines.push(crate::headers::X_REQUEST_ID.as_str(), own.as_bytes());
        }
        let (question, running) = self.decide(&policy, asked.request, &facts(asked.correlation))?;
        let Target::Http { method, path } = &question.target else { return Err(self.unrecorded(&request_id)) };
        let (method, target) = (method.clone(), question::target_of(path, asked.query.as_deref()));
        let (guard, question) = (Guard::of(&self.gate, &name), Box::new(question));
        Ok(Permit { running, what: What::Request { host, method, target, lines, guard, question } })
    }

    /// Records what is no question about a place outside, and says how it is answered.
    pub fn odd(&self, destination: &str, why: &str, status: StatusCode, raw: &[u8]) -> Refused {
        let request_id = self.gate.ids.next();
        let facts = Facts { id: &request_id, correlation: None, protocol: "TCP" };
        self.malformed(destination, &Malformed::Carrier(why.to_owned()), status, raw, &facts)
    }

    /// Sees the right to what was asked end: by another law, because the one in force is older than it may be, or because we have no
    /// identity any more.
    #[must_use]
    pub fn withdrawn(&self, mut question: Request) -> Withdrawn {
        let gate = Arc::clone(&self.gate);
        let mut changes = gate.in_force.subscribe();
        Withdrawn(Box::pin(async move {
            let mut own = std::pin::pin!(tenure::own_over(&gate));
            loop {
                let now = gate.clock.now();
                question.context.time = now;
                if gate.fresh.is_over(now) {
                    return Over { why: Why::Stale, detail: "stale-bundle" };
                }
                if !gate.lets_through(&gate.policy.load().decide(&question)) {
                    return Over { why: Why::Policy, detail: "new-bundle" };
                }
                tokio::select! {
                    why = own.as_mut() => return Over { why, detail: "own-identity" },
                    // The sender is gone only when the enforcer is.
                    changed = changes.changed() => if changed.is_err() {
                        std::future::pending::<()>().await;
                    },
                }
            }
        }))
    }

    fn connection(&self, policy: &Authorizer, host: &Host, port: u16) -> Request {
        let target = Target::Connect { port };
        let service: Arc<str> = policy.outside(host, &target).map_or_else(|| Arc::from(host.name()), |s| Arc::from(&*s.name));
        let named = if host.port().is_some() { host.to_string() } else { format!("{host}:{port}") };
        Request {
            principal: self.gate.identity.load().id().clone(),
            service,
            target,
            host: Some(named.into()),
            context: Context { time: self.gate.clock.now(), ..Context::default() },
        }
    }

    fn decide(&self, policy: &Arc<Authorizer>, mut question: Request, facts: &Facts<'_>) -> Result<(Request, Running), Refused> {
        for attempt in 0..=limits::STALE_RETRIES_MAX {
            let now = question.context.time;
            let decision = policy.decide(&question);
            let (mut request, mut context) = policy.facts(&question, &decision);
            let moment = moment(attempt, now, &mut context);
            facts.id.clone_into(&mut request.id);
            request.correlation.clone_from(&facts.correlation);
            facts.protocol.clone_into(&mut request.protocol);
            let event = self.event(policy, &question.service, request, context, &decision);
            let log = &self.gate.log;
            let through = self.gate.lets_through(&decision);
            let accepted = if through { log.allowed(moment, event).map(Some) } else { log.denied(moment, event).map(|()| None) };
            match accepted {
                Err(NotAccepted::Stale) => question.context.time = self.gate.clock.now(),
                Err(NotAccepted::Share | NotAccepted::Full | NotAccepted::Down) => return Err(self.unrecorded(facts.id)),
                Ok(ticket) => {
                    self.gate.metrics.outbound.egress_decided(decision.effect, decision.reason);
                    if let Some(check) = &self.gate.self_check {
                        check.look(policy, &question, &decision);
                    }
                    let Some(ticket) = ticket else {
                        return Err(Refused::new(StatusCode::FORBIDDEN, facts.id.to_owned()));
                    };
                    let mut running = self.running(ticket, facts.id);
                    match self.gate.draw(&decision, &question.principal) {
                        Ok(held) => running.held = held,
                        Err(limited) => {
                            running.limited(limited.by);
                            let refused = Refused::new(StatusCode::TOO_MANY_REQUESTS, facts.id.to_owned());
                            return Err(Refused { retry_after: Some(limited.seconds()), ..refused });
                        }
                    }
                    if self.gate.fresh.is_over(question.context.time) {
                        let refused = self.unrecorded(facts.id);
                        running.unavailable(refused.status, Why::Stale, "stale-bundle");
                        return Err(refused);
                    }
                    return Ok((question, running));
                }
            }
        }
        self.gate.log.count_unrecorded(NotAccepted::Stale);
        Err(self.unrecorded(facts.id))
    }

    fn running(&self, ticket: Ticket, request_id: &str) -> Running {
        Running {
            gate: Arc::clone(&self.gate),
            ticket: Some(ticket),
            request_id: request_id.to_owned(),
            began: Instant::now(),
            status: None,
            bytes: 0,
            attempts: 1,
            outcome: Outcome::Forwarded,
            begun: false,
            why: None,
            detail: None,
            phase: self.phase.clone(),
            place: None,
            held: Held::default(),
        }
    }

    fn malformed(&self, destination: &str, malformed: &Malformed, status: StatusCode, raw: &[u8], facts: &Facts<'_>) -> Refused {
        let policy = self.gate.policy.load();
        let decision = policy.decide_malformed(malformed);
        let request = RequestFacts {
            id: facts.id.to_owned(),
            correlation: facts.correlation.clone(),
            protocol: facts.protocol.to_owned(),
            raw: Some(question::escape(raw)),
            ..RequestFacts::default()
        };
        let event = self.event(&policy, destination, request, ContextFacts::default(), &decision);
        if self.gate.log.denied(Moment::NotBefore(self.gate.clock.now()), event).is_err() {
            return self.unrecorded(facts.id);
        }
        self.gate.metrics.outbound.egress_decided(decision.effect, decision.reason);
        Refused::new(status, facts.id.to_owned())
    }

    fn unrecorded(&self, request_id: &str) -> Refused {
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, request_id.to_owned())
    }

    fn event(
        &self,
        policy: &Authorizer,
        destination: &str,
        request: RequestFacts,
        context: ContextFacts,
        decision: &Decision<'_>,
    ) -> Box<Decided> {
        let id = self.gate.identity.load().id().clone();
        Box::new(Decided {
            mode: self.gate.mode,
            revision: *decision.revision,
            side: Some(Side::Outbound),
            source: Source { service: policy.identify(&id).map(|s| s.name.to_string()), id, ip: None },
            destination: Destination { id: None, service: destination.to_owned() },
            request,
            context,
            tls: None,
            decision: Answer::from(decision),
        })
    }
}
