//! One destination in the mesh: its endpoints, and how a request gets to one of them.
//!
//! INVARIANT: a request is sent again only where that is safe: the callee has not begun it, or its method is idempotent (RFC 9110
//! §9.2.2), it has no body, and no answer has begun. A retry is paid from a budget, and goes to another endpoint or, where the connection
//! had served before and there is no other, over a new one. What the callee decides it records itself; here attempts are counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, Request, Response, StatusCode};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::balance::{Board, Pick};
use super::body::{Outgoing, Reply};
use super::exchange::Exchange;
use super::health::HealthCheck;
use super::limits;
use super::metrics::{Meter, Outcome};
use super::pool::{Failed, Pool};
use crate::again::Spare;
use crate::body::Returning;
use crate::gate::Gate;
use crate::limits::{H2_PING_INTERVAL, H2_PING_TIMEOUT, REQUEST_LIFETIME, STREAM_IDLE_TIMEOUT};
use crate::tasks::Tasks;
use crate::times::Patience;
use crate::tls::{Refusal, VerifiedPeer};

/// What may be set for a destination; see the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Opening a connection.
    pub connect: Duration,
    /// From the last byte of the request to the head of the answer.
    pub request: Duration,
    /// How long a connection is kept idle.
    pub idle: Duration,
    /// The mutual handshake.
    pub handshake: Duration,
    /// How long a request waits for a place.
    pub pending_wait: Duration,
    /// Nothing moves on an answer or the request beside it.
    pub stream: Duration,
    /// From the head of an answer to its last byte.
    pub whole: Duration,
    /// Nothing moves in a WebSocket.
    pub tunnel: Duration,
    /// How often a callee over HTTP/2 that owes an answer and is silent is asked for a sign of life.
    pub ping: Duration,
    /// How long that sign may take.
    pub pong: Duration,
    /// How often a request may be sent again.
    pub retries: u32,
    /// Requests under way.
    pub requests: usize,
    /// Requests that wait for a place.
    pub pending: usize,
    /// Connections to each endpoint.
    pub connections: usize,
    /// How endpoints are checked, where they are.
    pub health: Option<HealthCheck>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect: limits::CONNECT_TIMEOUT,
            request: limits::REQUEST_TIMEOUT,
            idle: limits::IDLE_TIMEOUT,
            handshake: limits::handshake_within(limits::CONNECT_TIMEOUT),
            pending_wait: limits::PENDING_WAIT,
            stream: STREAM_IDLE_TIMEOUT,
            whole: REQUEST_LIFETIME,
            tunnel: limits::TUNNEL_IDLE,
            ping: H2_PING_INTERVAL,
            pong: H2_PING_TIMEOUT,
            retries: limits::RETRIES,
            requests: limits::REQUESTS_MAX,
            pending: limits::PENDING_MAX,
            connections: limits::CONNECTIONS_MAX,
            health: None,
        }
    }
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// No connection in time.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The peer is not who was expected, or refused us.
    #[error("the peer was refused: {0}")]
    Peer(Refusal),
    /// The inventory does not have the service.
    #[error("the inventory does not have this service")]
    UnknownService,
    /// HTTP failed.
    #[error("no answer: {0}")]
    Http(hyper::Error),
    /// The request cannot be put in the form that the connection needs.
    #[error("the request has no form for this connection")]
    Form,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection ended with the right to it, before there was an answer.
    #[error("the connection may not go on")]
    Ended,
    /// All places of a kind are taken.
    #[error("all places for {0} are taken")]
    Overload(&'static str),
}

impl Failure {
    /// A word for metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::ConnectTimeout => "connect-timeout",
            Self::Peer(refusal) => refusal.as_str(),
            Self::UnknownService => "unknown-service",
            Self::Http(_) => "http",
            Self::Form => "form",
            Self::Timeout => "timeout",
            Self::Ended => "ended",
            Self::Overload(_) => "overload",
        }
    }

    /// The status that tells the local service of it.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Timeout | Self::ConnectTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Overload(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// Whether the endpoint is to blame.
    fn is_the_endpoints(&self) -> bool {
        match self {
            Self::Http(error) => !error.is_user(),
            Self::UnknownService | Self::Form | Self::Ended | Self::Overload(_) => false,
            _ => true,
        }
    }
}

/// One destination in the mesh.
#[derive(Debug)]
pub struct Destination {
    /// The service's name.
    pub service: Arc<str>,
    /// The `Host` of a request that names none.
    pub host: HeaderValue,
    /// The exchange of user tokens, where there is one.
    pub exchange: Option<Arc<Exchange>>,
    settings: Arc<Settings>,
    board: Arc<Board>,
    pools: Vec<Arc<Pool>>,
    requests: Arc<Semaphore>,
    pending: AtomicUsize,
    retrying: AtomicUsize,
    meter: Meter,
    /// Connections that are not shared.
    pub tasks: Tasks,
}

/// The places that a request takes until its answer has ended.
#[derive(Debug)]
pub struct Share {
    _place: OwnedSemaphorePermit,
    pick: Pick,
    destination: Arc<Destination>,
}

impl Share {
    /// The answer ended in its middle.
    pub fn broke_off(self) {
        self.destination.failed(&self.pick);
        self.destination.meter.failed("broken-off");
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.destination.meter.under_way.dec();
    }
}

/// What a connection that is not shared takes until it ends.
#[derive(Debug)]
pub struct Kept {
    /// The other end.
    pub peer: VerifiedPeer,
    _places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    _pick: Pick,
}

impl Destination {
    /// A destination without connections.
    #[must_use]
    pub fn new(
        (service, host): (Arc<str>, HeaderValue),
        (endpoints, settings): (&[SocketAddr], Settings),
        exchange: Option<Arc<Exchange>>,
        gate: &Arc<Gate>,
    ) -> Arc<Self> {
        let settings = Arc::new(settings);
        let pool = |address: &SocketAddr| Pool::new(*address, Arc::clone(&service), Arc::clone(&settings), Arc::clone(gate));
        Arc::new(Self {
            host,
            exchange,
            board: Board::new(endpoints.len()),
            pools: endpoints.iter().map(pool).collect(),
            requests: Arc::new(Semaphore::new(settings.requests)),
            pending: AtomicUsize::new(0),
            retrying: AtomicUsize::new(0),
            meter: gate.metrics.outbound.of(&service),
            settings,
            service,
            tasks: Tasks::default(),
        })
    }

    /// Sends a request to one endpoint or, where that is safe, to another one after it.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn send(self: &Arc<Self>, request: Request<Outgoing>) -> Result<Response<Reply>, Failure> {
        let sent = self.attempts(request).await;
        match &sent {
            Ok(response) => self.meter.answered(Outcome::of(response.status())),
            Err(failure) => self.meter.failed(failure.as_str()),
        }
        sent
    }

    async fn attempts(self: &Arc<Self>, request: Request<Outgoing>) -> Result<Response<Reply>, Failure> {
        let place = self.place().await.ok_or(Failure::Overload("requests"))?;
        let moves = request.body().progress();
        let (request, spare) = Spare::of(request);
        let mut request = Box::new(request);
        let idempotent = is_idempotent(request.method()) && spare.is_bare();
        let (mut tried, mut retry) = (Vec::new(), None);
        let mut pick = self.pick(&tried).ok_or(Failure::UnknownService)?;
        let mut left = self.settings.retries;
        loop {
            tried.push(pick.index);
            let pool = self.pools.get(pick.index).ok_or(Failure::UnknownService)?;
            let Failed { failure, unsent, stale, echo } = match pool.send(request, &spare, moves.as_deref()).await {
                Ok((response, lease)) => {
                    let is_fault = is_fault(response.status());
                    if is_fault {
                        self.failed(&pick)
                    } else {
                        pick.succeeded(Instant::now())
                    }
                    // Only what says that the request was not served is asked for again; an answer is an answer.
                    let next = (idempotent && is_gateway_fault(response.status()) && left > 0).then(|| self.pick(&tried)).flatten();
                    if let Some(next) = next
                        && let Some(copy) = spare.again().await
                        && let Some(budget) = self.budget()
                    {
                        (request, pick, retry) = (copy, next, Some(budget));
                        left -= 1;
                        continue;
                    }
                    let (parts, body) = response.into_parts();
                    self.meter.under_way.inc();
                    let patience = Patience::new(self.settings.stream, self.settings.whole, moves);
                    let share = Share { _place: place, pick, destination: Arc::clone(self) };
                    let body = Returning::of(parts.version, body);
                    return Ok(Response::from_parts(parts, Reply::of_mesh(body, lease, share, patience)));
                }
                Err(failed) => failed,
            };
            if failure.is_the_endpoints() && !echo {
                self.failed(&pick);
            }
            // An answer that does not come may be under way still; asking again would only double the load.
            let resend = match unsent {
                None if idempotent && !matches!(failure, Failure::Timeout) => spare.again().await,
                unsent => unsent,
            };
            // Elsewhere; with nobody else to ask, over a new connection where the old one may be to blame.
            let next = if left > 0 { self.pick(&tried).or_else(|| stale.then_some(pick)) } else { None };
            drop(retry.take());
            let (Some(resend), Some(next)) = (resend, next) else { return Err(failure) };
            let Some(budget) = self.budget() else { return Err(failure) };
            (request, pick, retry) = (resend, next, Some(budget));
            left -= 1;
        }
    }

    /// A connection of its own to one endpoint, or to another one after it.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn line(&self) -> Result<(TlsStream<TcpStream>, Kept), Failure> {
        let place = self.place().await.ok_or(Failure::Overload("requests"))?;
        let (mut tried, mut last) = (Vec::new(), Failure::UnknownService);
        while let Some(pick) = self.pick(&tried).filter(|_| tried.len() <= self.settings.retries as usize) {
            tried.push(pick.index);
            let pool = self.pools.get(pick.index).ok_or(Failure::UnknownService)?;
            match pool.alone().await {
                Ok((stream, peer, connection)) => {
                    pick.succeeded(Instant::now());
                    return Ok((stream, Kept { peer, _places: (place, connection), _pick: pick }));
                }
                Err(failure) => {
                    if failure.is_the_endpoints() {
                        self.failed(&pick);
                    }
                    last = failure;
                }
            }
        }
        self.meter.failed(last.as_str());
        Err(last)
    }

    /// Its endpoints.
    #[must_use]
    pub fn pools(&self) -> &[Arc<Pool>] {
        &self.pools
    }

    /// Takes what a check of an endpoint found: that it answers, or why not.
    pub fn checked(&self, index: usize, found: Result<(), &'static str>) {
        self.meter.checked(found.err().unwrap_or("ok"));
        let Some(check) = &self.settings.health else { return };
        let after = if found.is_ok() { check.up_after } else { check.down_after };
        self.board.checked(index, found.is_ok(), after);
        self.meter.down.set(i64::try_from(self.board.down()).unwrap_or(i64::MAX));
    }

    /// How it is called.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Closes idle connections, and shows how many endpoints are left aside.
    pub fn sweep(&self) {
        let now = Instant::now();
        let out = (0..self.pools.len()).filter(|n| self.board.is_out(*n, now)).count();
        self.meter.ejected.set(i64::try_from(out).unwrap_or(i64::MAX));
        self.pools.iter().for_each(|pool| pool.sweep());
    }

    fn pick(&self, tried: &[usize]) -> Option<Pick> {
        self.board.pick(Instant::now(), tried)
    }

    fn failed(&self, pick: &Pick) {
        if pick.failed(Instant::now()) {
            self.meter.ejections.inc();
        }
    }

    /// A place among the requests under way; some may wait for one for a moment.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.requests).try_acquire_owned() {
            return Some(place);
        }
        let waiting = Counted::below(&self.pending, self.settings.pending)?;
        let place = timeout(self.settings.pending_wait, Arc::clone(&self.requests).acquire_owned()).await.ok()?.ok();
        drop(waiting);
        place
    }

    fn budget(&self) -> Option<Counted<'_>> {
        let max = limits::RETRIES_FLOOR.max(self.board.under_way() / limits::RETRY_SHARE);
        let budget = Counted::below(&self.retrying, max)?;
        self.meter.retries.inc();
        Some(budget)
    }
}

/// One of a bounded number, as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn below(count: &'a AtomicUsize, max: usize) -> Option<Self> {
        let taken = count.try_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < max).then(|| n + 1));
        taken.is_ok().then_some(Self(count))
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// Statuses that speak against an endpoint.
fn is_fault(status: StatusCode) -> bool {
    status == StatusCode::INTERNAL_SERVER_ERROR || is_gateway_fault(status)
}

/// Statuses by which an enforcer or a gateway says that the service did not answer.
fn is_gateway_fault(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}
