//! Connections to the service behind the enforcer, kept and used again. Other services are reached by [`crate::outbound`].
//!
//! INVARIANT: a pool has one destination.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version, header};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::again::{Again, Fate, Spare};
use crate::body::{Progress, RequestBody};
use crate::gate::{Gate, Running};
use crate::limits;
use crate::tasks::Tasks;
use crate::times::Times;

/// Where a pool's connections lead.
#[derive(Debug)]
pub enum Dial {
    /// To the service behind us, in the clear.
    Service {
        /// Its address.
        address: SocketAddr,
        /// Whether it speaks HTTP/2 with prior knowledge.
        http2: bool,
    },
}

/// Connections to one destination.
#[derive(Debug)]
pub struct Pool {
    dial: Dial,
    times: Times,
    gate: Arc<Gate>,
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Option<Shared>>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<Again<RequestBody>>,
    since: Instant,
    epoch: u64,
}

/// A connection of HTTP/2.
#[derive(Clone, Debug)]
struct Shared {
    sender: http2::SendRequest<Again<RequestBody>>,
    epoch: u64,
    /// The service takes no further request on it; the library may still be about to see it.
    leaving: Arc<AtomicBool>,
}

/// An HTTP/1 connection lent to one request.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<Pool>,
    sender: http1::SendRequest<Again<RequestBody>>,
    epoch: u64,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// No connection in time.
    #[error("no connection in time")]
    ConnectTimeout,
    /// HTTP failed.
    #[error("no answer: {0}")]
    Http(hyper::Error),
    /// The request cannot be put in the form that the connection needs.
    #[error("the request has no form for this connection")]
    Form,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
}

impl SendError {
    /// A word for metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::ConnectTimeout => "connect-timeout",
            Self::Http(_) => "http",
            Self::Form => "form",
            Self::Timeout => "timeout",
        }
    }

    /// Whether time ran out (504 rather than 502).
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout | Self::ConnectTimeout)
    }
}

enum Sender {
    H1(http1::SendRequest<Again<RequestBody>>),
    H2(Shared),
}

impl Lease {
    /// The answer was read to its end: the connection can serve another request.
    pub fn give_back(self) {
        let Self { pool, sender, epoch } = self;
        if sender.is_closed() {
            return;
        }
        let mut idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < limits::POOL_IDLE_MAX {
            idle.push(Idle { sender, since: Instant::now(), epoch });
        }
    }
}

impl Pool {
    /// A pool without connections.
    #[must_use]
    pub fn new(dial: Dial, times: Times, gate: Arc<Gate>) -> Arc<Self> {
        Arc::new(Self { dial, times, gate, idle: Mutex::new(Vec::new()), shared: Mutex::new(None), tasks: Tasks::default() })
    }

    /// How long callers and service are waited for.
    #[must_use]
    pub const fn times(&self) -> &Times {
        &self.times
    }

    /// Sends a request (with an origin-form target and a `Host`) and waits for the head of the answer. What `running` says of
    /// it is true at each moment, as whoever waits may give up.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(
        self: &Arc<Self>,
        request: Request<RequestBody>,
        progress: Option<Arc<Progress>>,
        running: &Running,
    ) -> Result<(Response<Incoming>, Option<Lease>), SendError> {
        let epoch = self.gate.epoch.load(Ordering::Acquire);
        let (mut request, spare) = Spare::of(request);
        let mut turned_away = 0;
        loop {
            let (sender, fresh) = match self.reuse(epoch).await {
                Some(sender) => (sender, false),
                None => (self.connect(epoch).await?, true),
            };
            let mut leaving = None;
            running.begin();
            let sent = match sender {
                Sender::H1(mut sender) => {
                    origin_form(&mut request);
                    let answer = sender.try_send_request(request);
                    let answer = patience(answer, progress.as_deref(), self.times.response).await?;
                    answer.map(|a| (a, Some(Lease { pool: Arc::clone(self), sender, epoch })))
                }
                Sender::H2(mut shared) => {
                    absolute_form(&mut request).ok_or(SendError::Form)?;
                    leaving = Some(shared.leaving);
                    let answer = shared.sender.try_send_request(request);
                    patience(answer, progress.as_deref(), self.times.response).await?.map(|a| (a, None))
                }
            };
            let mut error = match sent {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // A connection that ended while it was idle gives back what it did not begin to send.
            let mut unsent = error.take_message();
            let error = error.into_error();
            if let (Fate::TurnedAway, Some(leaving)) = (Fate::of(&error), &leaving) {
                leaving.store(true, Ordering::Relaxed);
                turned_away += 1;
                if unsent.is_none() {
                    unsent = spare.again().await.map(|again| *again);
                }
            }
            match unsent {
                Some(unsent) if !fresh && turned_away <= limits::TURNED_AWAY_MAX => request = unsent,
                _ => return Err(SendError::Http(error)),
            }
        }
    }

    async fn reuse(&self, epoch: u64) -> Option<Sender> {
        {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            match &*shared {
                Some(shared) if shared.is_good(epoch) => return Some(Sender::H2(shared.clone())),
                _ => *shared = None,
            }
        }
        loop {
            let Idle { mut sender, since, epoch: of } = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if of != epoch || sender.is_closed() || since.elapsed() > self.times.upstream_idle {
                continue;
            }
            // The last answer was read to its end, so the connection's task needs at most a moment to see that.
            if sender.is_ready() || matches!(timeout(limits::READY_WAIT, sender.ready()).await, Ok(Ok(()))) {
                return Some(Sender::H1(sender));
            }
        }
    }

    async fn connect(&self, epoch: u64) -> Result<Sender, SendError> {
        let Dial::Service { address, http2 } = &self.dial;
        let stream = timeout(self.times.connect, TcpStream::connect(address)).await;
        let stream = stream.map_err(|_| SendError::ConnectTimeout)?.map_err(SendError::Connect)?;
        stream.set_nodelay(true).map_err(SendError::Connect)?;
        if *http2 { self.http2(TokioIo::new(stream), epoch).await } else { self.http1(TokioIo::new(stream)).await }
    }

    async fn http1<T: Read + Write + Unpin + Send + 'static>(&self, io: T) -> Result<Sender, SendError> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(limits::H1_BUFFER_BYTES_MAX).max_headers(limits::HEADERS_MAX);
        let (sender, connection) = builder.handshake(io).await.map_err(SendError::Http)?;
        self.tasks.spawn(async move {
            // Its end is seen by whoever holds the sender.
            let _ = connection.await;
        });
        Ok(Sender::H1(sender))
    }

    async fn http2<T: Read + Write + Unpin + Send + 'static>(&self, io: T, epoch: u64) -> Result<Sender, SendError> {
        let mut builder = http2::Builder::new(self.tasks.clone());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(limits::H2_STREAM_WINDOW)
            .initial_connection_window_size(limits::H2_CONNECTION_WINDOW)
            .keep_alive_interval(self.times.ping)
            .keep_alive_timeout(self.times.pong)
            .max_header_list_size(u32::try_from(limits::HEAD_BYTES_MAX).unwrap_or(u32::MAX));
        let (sender, connection) = builder.handshake(io).await.map_err(SendError::Http)?;
        self.tasks.spawn(async move {
            let _ = connection.await;
        });
        let shared = Shared { sender, epoch, leaving: Arc::default() };
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(shared.clone());
        Ok(Sender::H2(shared))
    }
}

impl Shared {
    fn is_good(&self, epoch: u64) -> bool {
        self.epoch == epoch && !self.leaving.load(Ordering::Relaxed) && !self.sender.is_closed()
    }
}

/// Waits for an answer as long as the service may take, counted from the last moment at which the request moved.
async fn patience<T>(answer: impl Future<Output = T>, progress: Option<&Progress>, within: Duration) -> Result<T, SendError> {
    let mut answer = std::pin::pin!(answer);
    let began = Instant::now();
    loop {
        let last = progress.map_or(began, Progress::last);
        let left = within.saturating_sub(last.elapsed());
        if left.is_zero() {
            return Err(SendError::Timeout);
        }
        if let Ok(answer) = timeout(left, answer.as_mut()).await {
            return Ok(answer);
        }
    }
}

fn origin_form<B>(request: &mut Request<B>) {
    *request.version_mut() = Version::HTTP_11;
    let Some(authority) = request.uri().authority().cloned() else { return };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        request.headers_mut().insert(header::HOST, host);
    }
    let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(target);
}

fn absolute_form<B>(request: &mut Request<B>) -> Option<()> {
    *request.version_mut() = Version::HTTP_2;
    if request.uri().authority().is_some() {
        return Some(());
    }
    let host = request.headers_mut().remove(header::HOST)?;
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::try_from(host.as_bytes()).ok()?);
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    Some(())
}
