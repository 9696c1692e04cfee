//! Connections to one endpoint of a service of the mesh, kept and used again.
//!
//! INVARIANT: a pool has one address and one expected service, and a connection of an earlier epoch (another identity of ours,
//! another inventory) is never used again (A68). Which protocol a connection speaks is its own affair, settled in its handshake.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version, header};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::body::Outgoing;
use super::limits;
use super::own::Ours;
use super::send::{Failure, Settings};
use crate::again::{Again, Fate, Spare};
use crate::body::Progress;
use crate::gate::Gate;
use crate::limits::{H1_BUFFER_BYTES_MAX, H2_CONNECTION_WINDOW, H2_STREAM_WINDOW, HEAD_BYTES_MAX, HEADERS_MAX, TURNED_AWAY_MAX};
use crate::tasks::{Parts, Tasks};
use crate::tenure;
use crate::tls::{self, ExpectedPeer, Refusal, VerifiedPeer};

/// Connections to one endpoint.
#[derive(Debug)]
pub struct Pool {
    address: SocketAddr,
    service: Arc<str>,
    settings: Arc<Settings>,
    gate: Arc<Gate>,
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Vec<Shared>>,
    /// Whether the endpoint was found to speak HTTP/1 alone: then connections are opened side by side.
    http1_only: AtomicBool,
    opening: tokio::sync::Mutex<()>,
    /// How the last attempt to open a connection failed, for those who waited for it.
    failed: Mutex<LastFailure>,
    places: Arc<Semaphore>,
    tasks: Tasks,
}

#[derive(Debug, Default)]
struct LastFailure {
    /// How many attempts have failed.
    count: u64,
    epoch: u64,
    cause: Option<Cause>,
}

/// The part of a failure that holds for more than one request.
#[derive(Clone, Copy, Debug)]
enum Cause {
    Connect(std::io::ErrorKind),
    Timeout,
    Peer(Refusal),
}

impl Cause {
    fn of(failure: &Failure) -> Option<Self> {
        match failure {
            Failure::Connect(error) => Some(Self::Connect(error.kind())),
            Failure::ConnectTimeout => Some(Self::Timeout),
            Failure::Peer(refusal) => Some(Self::Peer(*refusal)),
            _ => None,
        }
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Connect(kind) => Self::Connect(kind.into()),
            Cause::Timeout => Self::ConnectTimeout,
            Cause::Peer(refusal) => Self::Peer(refusal),
        }
    }
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<Again<Outgoing>>,
    since: Instant,
    epoch: u64,
}

/// An HTTP/2 connection, with how many streams are open on it.
#[derive(Clone, Debug)]
struct Shared {
    sender: http2::SendRequest<Again<Outgoing>>,
    streams: Arc<AtomicUsize>,
    /// The callee takes no further request on it.
    leaving: Arc<AtomicBool>,
    used: Arc<Mutex<Instant>>,
    epoch: u64,
}

/// What a request holds of a connection until its answer has ended.
#[derive(Debug)]
pub struct Lease(Held);

#[derive(Debug)]
enum Held {
    Whole { pool: Arc<Pool>, sender: http1::SendRequest<Again<Outgoing>>, epoch: u64 },
    Stream(StreamOf),
}

/// One stream of a shared connection.
#[derive(Debug)]
struct StreamOf(Shared);

impl Drop for StreamOf {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::AcqRel);
        *self.0.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl Lease {
    /// The callee takes nothing more on the connection; the library may still be about to see it.
    fn turned_away(&self) {
        if let Held::Stream(StreamOf(shared)) = &self.0 {
            shared.leaving.store(true, Ordering::Relaxed);
        }
    }

    /// The answer was read to its end: the connection can serve another request.
    pub fn give_back(self) {
        let Held::Whole { pool, sender, epoch } = self.0 else { return };
        if sender.is_closed() {
            return;
        }
        let mut idle = lock(&pool.idle);
        if idle.len() < limits::IDLE_MAX {
            idle.push(Idle { sender, since: Instant::now(), epoch });
        }
    }
}

enum Line {
    Whole(http1::SendRequest<Again<Outgoing>>),
    Stream(StreamOf),
}

/// A request on its way.
pub type Sending = Box<Request<Again<Outgoing>>>;

/// Why there is no answer.
#[derive(Debug)]
pub struct Failed {
    /// The cause.
    pub failure: Failure,
    /// The request, where the callee has not begun it.
    pub unsent: Option<Sending>,
    /// Whether its connection had served before, so that a new one may do better.
    pub stale: bool,
    /// Whether it was another request's attempt that failed.
    pub echo: bool,
}

impl Failed {
    fn at_once(failure: Failure) -> Self {
        Self { failure, unsent: None, stale: false, echo: false }
    }
}

impl Pool {
    /// A pool without connections.
    #[must_use]
    pub fn new(address: SocketAddr, service: Arc<str>, settings: Arc<Settings>, gate: Arc<Gate>) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(settings.connections));
        let (idle, shared) = (Mutex::default(), Mutex::default());
        let (http1_only, opening, failed) = (AtomicBool::new(false), tokio::sync::Mutex::default(), Mutex::default());
        Arc::new(Self { address, service, settings, gate, idle, shared, http1_only, opening, failed, places, tasks: Tasks::default() })
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn send(
        self: &Arc<Self>,
        mut request: Sending,
        spare: &Spare<Outgoing>,
        progress: Option<&Progress>,
    ) -> Result<(Response<Incoming>, Lease), Failed> {
        let mut turned_away = 0;
        loop {
            let epoch = self.gate.epoch.load(Ordering::Acquire);
            let (line, fresh) = match self.reuse(epoch).await {
                Some(line) => (line, false),
                None => match self.open(epoch).await {
                    Ok(line) => line,
                    Err((failure, echo)) => return Err(Failed { unsent: Some(request), echo, ..Failed::at_once(failure) }),
                },
            };
            let within = self.settings.request;
            let (sent, lease) = match line {
                Line::Whole(mut sender) => {
                    origin_form(&mut request);
                    let answer = patience(sender.try_send_request(*request), progress, within).await;
                    (answer, Lease(Held::Whole { pool: Arc::clone(self), sender, epoch }))
                }
                Line::Stream(stream) => {
                    if absolute_form(&mut request).is_none() {
                        return Err(Failed::at_once(Failure::Form));
                    }
                    let answer = patience(stream.0.sender.clone().try_send_request(*request), progress, within).await;
                    (answer, Lease(Held::Stream(stream)))
                }
            };
            let mut error: TrySendError<Request<Again<Outgoing>>> = match sent {
                None => return Err(Failed::at_once(Failure::Timeout)),
                Some(Ok(answer)) => return Ok((answer, lease)),
                Some(Err(error)) => error,
            };
            // A connection that ended while it was idle gives back what it did not begin to send.
            let unsent = error.take_message().map(Box::new);
            let error = error.into_error();
            let fate = Fate::of(&error);
            if fate == Fate::TurnedAway {
                lease.turned_away();
                turned_away += 1;
            }
            drop(lease);
            let unsent = match (unsent, fate) {
                (None, Fate::TurnedAway | Fate::Refused) => spare.again().await,
                (unsent, _) => unsent,
            };
            match unsent {
                Some(unsent) if !fresh && fate != Fate::Refused && turned_away <= TURNED_AWAY_MAX => request = unsent,
                unsent => {
                    let stale = !fresh && fate != Fate::Unknown;
                    return Err(Failed { failure: Failure::Http(error), unsent, stale, echo: false });
                }
            }
        }
    }

    /// Closes what was idle for too long or belongs to an earlier epoch.
    pub fn sweep(&self) {
        let epoch = self.gate.epoch.load(Ordering::Acquire);
        lock(&self.idle).retain(|i| i.epoch == epoch && !i.sender.is_closed() && i.since.elapsed() < self.settings.idle);
        lock(&self.shared).retain(|s| s.is_good(epoch) && (s.is_busy() || lock(&s.used).elapsed() < self.settings.idle));
        self.tasks.reap();
    }

    async fn reuse(&self, epoch: u64) -> Option<Line> {
        if let Some(stream) = self.stream(epoch) {
            return Some(Line::Stream(stream));
        }
        loop {
            let Idle { mut sender, since, epoch: of } = lock(&self.idle).pop()?;
            if of != epoch || sender.is_closed() || since.elapsed() > self.settings.idle {
                continue;
            }
            // The last answer was read to its end, so the connection's task needs at most a moment to see that.
            if sender.is_ready() || matches!(timeout(crate::limits::READY_WAIT, sender.ready()).await, Ok(Ok(()))) {
                return Some(Line::Whole(sender));
            }
        }
    }

    /// A stream of a connection that has room, the fullest first, so that the others can become idle and end.
    fn stream(&self, epoch: u64) -> Option<StreamOf> {
        let mut shared = lock(&self.shared);
        shared.retain(|s| s.is_good(epoch));
        let room = |s: &&Shared| s.streams.load(Ordering::Acquire) < limits::STREAMS_MAX;
        let found = shared.iter().filter(room).max_by_key(|s| s.streams.load(Ordering::Acquire))?;
        found.streams.fetch_add(1, Ordering::AcqRel);
        Some(StreamOf(found.clone()))
    }

    /// A new connection; or, where another request has just opened one that can be shared, that one. Whoever waited while another one
    /// tried in vain does not try as well: else those who wait for a callee that is silent would wait for each other, too.
    async fn open(&self, epoch: u64) -> Result<(Line, bool), (Failure, bool)> {
        let before = lock(&self.failed).count;
        let _turn = if self.http1_only.load(Ordering::Relaxed) { None } else { Some(self.opening.lock().await) };
        if let Some(stream) = self.stream(epoch) {
            return Ok((Line::Stream(stream), false));
        }
        let others = {
            let last = lock(&self.failed);
            last.cause.filter(|_| last.count > before && last.epoch == epoch)
        };
        if let Some(cause) = others {
            return Err((cause.into(), true));
        }
        let opened = self.opened(epoch).await;
        if let Err(failure) = &opened {
            let mut last = lock(&self.failed);
            *last = LastFailure { count: last.count + 1, epoch, cause: Cause::of(failure) };
        }
        opened.map(|line| (line, true)).map_err(|failure| (failure, false))
    }

    async fn opened(&self, epoch: u64) -> Result<Line, Failure> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Failure::Overload("connections"))?;
        let (stream, _held) = self.connected().await?;
        let expected = self.expected().ok_or(Failure::UnknownService)?;
        let identity = self.gate.identity.load_full();
        let (stream, peer) = tls::connect(&identity, expected, stream, self.settings.handshake).await.map_err(Failure::Peer)?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        self.http1_only.store(!http2, Ordering::Relaxed);
        let (stream, held) = (TokioIo::new(stream), (peer, place));
        if http2 { self.http2(stream, held, epoch).await } else { self.http1(stream, held).await }
    }

    /// A connection that is not shared and speaks HTTP/1.1.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn alone(&self) -> Result<(TlsStream<TcpStream>, VerifiedPeer, OwnedSemaphorePermit), Failure> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Failure::Overload("connections"))?;
        let (stream, _held) = self.connected().await?;
        let expected = self.expected().ok_or(Failure::UnknownService)?;
        let identity = self.gate.identity.load_full();
        let (stream, peer) = tls::connect_http1(&identity, expected, stream, self.settings.handshake).await.map_err(|why| match why {
            Refusal::HandshakeTimeout => Failure::ConnectTimeout,
            why => Failure::Peer(why),
        })?;
        Ok((stream, peer, place))
    }

    /// What it all rests on.
    #[must_use]
    pub const fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// A bare connection to the endpoint, and what to hold until its handshake is done: one that leads back to us has none.
    ///
    /// # Errors
    /// There is none, or not in time; or we have no identity to show there.
    pub async fn connected(&self) -> Result<(TcpStream, Ours), Failure> {
        // Without an identity there would be no handshake, and the callee would record a stranger that went away.
        self.gate.identity.load().in_force(self.gate.clock.now()).map_err(Failure::Peer)?;
        let stream = timeout(self.settings.connect, TcpStream::connect(self.address)).await;
        let stream = stream.map_err(|_| Failure::ConnectTimeout)?.map_err(Failure::Connect)?;
        // Without it small requests wait for acknowledgements; a connection that cannot have it is broken.
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        let held =
            self.gate.own.opened(&stream).ok_or_else(|| Failure::Connect(std::io::Error::other("it leads back to this enforcer")))?;
        Ok((stream, held))
    }

    /// Who may answer: the service's identities of the inventory in force.
    #[must_use]
    pub fn expected(&self) -> Option<ExpectedPeer> {
        let policy = self.gate.policy.load();
        let service = policy.service(&self.service).filter(|s| !s.is_outside())?;
        Some(ExpectedPeer { ids: service.identities.clone(), patterns: service.patterns.clone() })
    }

    async fn http1<T>(&self, io: T, held: (VerifiedPeer, OwnedSemaphorePermit)) -> Result<Line, Failure>
    where
        T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(H1_BUFFER_BYTES_MAX).max_headers(HEADERS_MAX);
        let (sender, connection) = builder.handshake(io).await.map_err(Failure::Http)?;
        self.drive(connection, held);
        Ok(Line::Whole(sender))
    }

    /// Drives a connection to its end, or until its peer may no longer be spoken to (A65). Whoever holds the sender sees it.
    fn drive(
        &self,
        connection: impl Future<Output = hyper::Result<()>> + Send + 'static,
        (peer, place): (VerifiedPeer, OwnedSemaphorePermit),
    ) {
        let gate = Arc::clone(&self.gate);
        self.tasks.spawn(async move {
            tokio::select! {
                _ = connection => {}
                _ = tenure::over(&gate, &peer) => {}
            }
            drop(place);
        });
    }

    async fn http2<T>(&self, io: T, held: (VerifiedPeer, OwnedSemaphorePermit), epoch: u64) -> Result<Line, Failure>
    where
        T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let parts = Parts::default();
        let mut builder = http2::Builder::new(parts.executor());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .keep_alive_interval(self.settings.ping)
            .keep_alive_timeout(self.settings.pong)
            .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
        let (sender, connection) = builder.handshake(io).await.map_err(Failure::Http)?;
        let connection = async move {
            // It ends when nobody can ask anything more; what was asked may still be answered.
            let ended = connection.await;
            parts.finish().await;
            ended
        };
        self.drive(connection, held);
        let (streams, leaving) = (Arc::new(AtomicUsize::new(1)), Arc::default());
        let shared = Shared { sender, streams, leaving, used: Arc::new(Mutex::new(Instant::now())), epoch };
        lock(&self.shared).push(shared.clone());
        Ok(Line::Stream(StreamOf(shared)))
    }
}

impl Shared {
    fn is_good(&self, epoch: u64) -> bool {
        self.epoch == epoch && !self.leaving.load(Ordering::Relaxed) && !self.sender.is_closed()
    }

    fn is_busy(&self) -> bool {
        self.streams.load(Ordering::Acquire) > 0
    }
}

/// Waits for an answer as long as the callee may take, counted from the last moment at which the request moved.
pub async fn patience<T>(answer: impl Future<Output = T>, progress: Option<&Progress>, within: Duration) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    let began = Instant::now();
    loop {
        let last = progress.map_or(began, Progress::last).max(began);
        let left = within.saturating_sub(last.elapsed());
        if left.is_zero() {
            return None;
        }
        if let Ok(answer) = timeout(left, answer.as_mut()).await {
            return Some(answer);
        }
    }
}

/// HTTP/1 has the host in its header and the rest in its target.
pub fn origin_form<B>(request: &mut Request<B>) {
    *request.version_mut() = Version::HTTP_11;
    let Some(authority) = request.uri().authority().cloned() else { return };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        request.headers_mut().insert(header::HOST, host);
    }
    let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(target);
}

/// HTTP/2 has the host in its target, and the scheme of a connection that is encrypted is `https` whatever the caller said.
fn absolute_form<B>(request: &mut Request<B>) -> Option<()> {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(header::HOST);
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    if parts.authority.is_none() {
        parts.authority = Some(Authority::try_from(host?.as_bytes()).ok()?);
    }
    parts.scheme = Some(Scheme::HTTPS);
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    Some(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
