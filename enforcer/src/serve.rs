//! Listening and serving: the accept loop, and one task per connection that ends when it is told to.
//!
//! INVARIANT: every task is owned: connections by their accept loop, streams by their connection. Nothing is spawned per request.

use std::future::Future;
use std::hash::{BuildHasher as _, Hasher as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hyper::body::{Body, Incoming};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::TokioTimer;
use portreeve_engine::{Digest, Timestamp};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::gate::{Caller, Gate};
use crate::limits;
use crate::places::Places;
use crate::ports::Listener;
use crate::times::Times;
use crate::tls::Identity;

/// How far the enforcer is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Serving.
    Running,
    /// No new connections; what runs may end.
    Draining,
    /// What still runs is cut.
    Cut,
}

/// Accepts until told to drain, then waits for every connection to end. One too many ends another one ([`Places`]).
pub async fn accept_loop<F, C>(listener: Listener, max: usize, mut phase: watch::Receiver<Phase>, serve: F)
where
    F: Fn(TcpStream) -> C,
    C: Future<Output = ()> + Send + 'static,
{
    let mut places = Places::new(max);
    loop {
        tokio::select! {
            () = leaving(&mut phase) => break,
            () = places.ended() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => places.take(peer.ip().to_canonical(), serve(stream)),
                // Out of descriptors, most likely: to try again at once would only spin (A63).
                Err(_) => tokio::time::sleep(limits::ACCEPT_PAUSE).await,
            },
        }
    }
    listener.retire(|stream, peer| places.take(peer.ip().to_canonical(), serve(stream))).await;
    places.all_ended().await;
}

/// Completes when the phase is no longer [`Phase::Running`].
pub async fn leaving(phase: &mut watch::Receiver<Phase>) {
    // The sender is gone only when the enforcer is, and then too there is nothing left to run for.
    let _ = phase.wait_for(|p| *p != Phase::Running).await;
}

/// A connection that can be asked to end after what runs on it.
pub trait Connection: Future<Output = hyper::Result<()>> {
    /// Takes no further request, and ends when nothing runs.
    fn wind_down(self: Pin<&mut Self>);

    /// Ends in good time, where it can without a request being lost that is on its way.
    fn retire(self: Pin<&mut Self>) {
        self.wind_down();
    }
}

impl<I, B, S> Connection for http1::Connection<I, S>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: Read + Write + Unpin,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn wind_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// A connection of our own codec.
pub struct Own<F> {
    /// Serves it.
    pub session: F,
    /// Its caller, who is told to wind down.
    pub caller: Arc<Caller>,
}

impl<F: Future<Output = ()> + Unpin> Future for Own<F> {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.session).poll(cx).map(Ok)
    }
}

impl<F: Future<Output = ()> + Unpin> Connection for Own<F> {
    fn wind_down(self: Pin<&mut Self>) {
        self.caller.leaving.wind_down();
    }

    fn retire(self: Pin<&mut Self>) {
        self.caller.leaving.retire();
    }
}

/// Tells a connection when it has lived, or been idle, for long enough, or proved an identity of ours that is not ours any more.
#[derive(Debug)]
pub struct Aging {
    caller: Arc<Caller>,
    dies: Instant,
    /// With which certificate of ours it began; none when that does not matter any more.
    shown: Option<Shown>,
    /// Whether idleness is looked for here.
    idle: bool,
    requests: u64,
    patience: Duration,
    /// How long it may be idle after its first request.
    then: Duration,
    /// How long it may be idle after it was asked to end.
    last: Duration,
    wound: bool,
}

/// The certificate that was shown to a caller, and how to learn that there is another one.
#[derive(Debug)]
struct Shown {
    gate: Arc<Gate>,
    certificate: Digest,
    until: Timestamp,
    /// Within this time at most they should have come back.
    within: Duration,
    changes: watch::Receiver<u64>,
}

impl Shown {
    /// Completes when our certificate is another one; gives the time in which callers should have come back.
    async fn replaced(&mut self) -> Duration {
        loop {
            self.changes.mark_unchanged();
            if self.gate.identity.load().svid().sha256 != self.certificate {
                let left = u64::try_from(self.until.unix_ms().saturating_sub(self.gate.clock.now().unix_ms())).unwrap_or(0);
                return (Duration::from_millis(left) / 10).min(self.within);
            }
            if self.changes.changed().await.is_err() {
                // The gate is gone, and the connection with it.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// What a connection's age asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    /// To take no further request.
    WindDown,
    /// To end: nothing runs, and it was asked before.
    End,
}

impl Aging {
    /// For a connection that begins now, and to which `own` was shown.
    #[must_use]
    pub fn new(caller: Arc<Caller>, (lifetime, times): (Duration, &Times), idle: bool, gate: &Arc<Gate>, own: &Identity) -> Self {
        let lifetime = lifetime.mul_f64(1.0 - 0.1 * part());
        let (gate, changes) = (Arc::clone(gate), gate.identity.changes());
        let shown = Shown { gate, certificate: own.svid().sha256, until: own.not_after(), within: times.rotation, changes };
        let dies = Instant::now() + lifetime;
        let (patience, then, last) = (times.first_request, times.idle, times.wind_down);
        Self { caller, dies, shown: Some(shown), idle, requests: 0, patience, then, last, wound: false }
    }

    async fn next(&mut self) -> Age {
        loop {
            let until = match (self.wound, self.idle) {
                (true, _) => Instant::now() + self.last,
                (false, true) => self.dies.min(Instant::now() + self.patience),
                (false, false) => self.dies,
            };
            let replaced = async {
                match &mut self.shown {
                    Some(shown) => shown.replaced().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep_until(until) => {}
                within = replaced => {
                    self.shown = None;
                    self.dies = self.dies.min(Instant::now() + within.mul_f64(part()));
                    continue;
                }
            }
            let requests = self.caller.requests.load(Ordering::Relaxed);
            let silent = self.caller.running.load(Ordering::Relaxed) == 0 && requests == self.requests;
            let over = Instant::now() >= self.dies || (self.idle && silent);
            self.requests = requests;
            self.patience = self.then;
            if self.wound && silent {
                return Age::End;
            }
            if over && !self.wound {
                self.wound = true;
                return Age::WindDown;
            }
        }
    }
}

/// Some part of one: any will do, as long as connections get different ones.
pub(crate) fn part() -> f64 {
    let percent = std::hash::RandomState::new().build_hasher().finish() % 100;
    0.01 * f64::from(u8::try_from(percent).unwrap_or(0))
}

/// Serves a connection until it ends, is cut by the phase, or `cut` completes.
///
/// # Errors
/// What the HTTP library ended it for.
pub async fn drive<C: Connection>(
    connection: C,
    phase: watch::Receiver<Phase>,
    cut: impl Future<Output = ()> + Send,
    on_cut: impl Fn(),
) -> hyper::Result<()> {
    drive_until(connection, phase, cut, None, on_cut).await
}

/// The same, for a connection that may grow too old.
///
/// # Errors
/// What the HTTP library ended it for.
pub async fn drive_aging<C: Connection>(
    connection: C,
    phase: watch::Receiver<Phase>,
    cut: impl Future<Output = ()> + Send,
    aging: Aging,
    on_cut: impl Fn(),
) -> hyper::Result<()> {
    drive_until(connection, phase, cut, Some(aging), on_cut).await
}

/// What is awaited beside a connection. Each is polled only when it was woken itself, so that a request that comes, which wakes
/// the task they are all in, costs none of them anything.
type Beside<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Told> + Send + 'a>>>;

/// What came of it.
enum Told {
    Cut,
    Age(Age, Aging),
    Phase(Phase, watch::Receiver<Phase>),
}

async fn age(mut aging: Aging) -> Told {
    let age = aging.next().await;
    Told::Age(age, aging)
}

async fn later(mut phase: watch::Receiver<Phase>, than: Phase) -> Told {
    let later = |p: &Phase| *p == Phase::Cut || (*p == Phase::Draining && than == Phase::Running);
    // The sender is gone only when the enforcer is.
    let found = phase.wait_for(later).await.map_or(Phase::Cut, |p| *p);
    Told::Phase(found, phase)
}

async fn drive_until<C: Connection>(
    connection: C,
    phase: watch::Receiver<Phase>,
    cut: impl Future<Output = ()> + Send,
    aging: Option<Aging>,
    on_cut: impl Fn(),
) -> hyper::Result<()> {
    let mut connection = std::pin::pin!(connection);
    let mut beside = Beside::new();
    beside.push(Box::pin(async move {
        cut.await;
        Told::Cut
    }));
    beside.push(Box::pin(later(phase, Phase::Running)));
    if let Some(aging) = aging {
        beside.push(Box::pin(age(aging)));
    }
    loop {
        tokio::select! {
            biased;
            Some(told) = beside.next() => match told {
                Told::Cut | Told::Age(Age::End, _) => return Ok(()),
                Told::Age(Age::WindDown, aging) => {
                    connection.as_mut().retire();
                    beside.push(Box::pin(age(aging)));
                }
                Told::Phase(Phase::Draining, phase) => {
                    connection.as_mut().wind_down();
                    beside.push(Box::pin(later(phase, Phase::Draining)));
                }
                Told::Phase(..) => {
                    on_cut();
                    return Ok(());
                }
            },
            ended = connection.as_mut() => return ended,
        }
    }
}

/// The settings of every HTTP/1 listener, whose connections are idle for no longer than `idle`.
#[must_use]
pub fn http1(idle: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // This timer also runs while a connection is idle, so it is the idle limit; the strict reader bounds the head itself.
        .header_read_timeout(idle)
        .max_headers(limits::HEADERS_MAX)
        // Not `pipeline_flush`: with it an answer that ends the connection is lost when further bytes came after its request.
        .max_buf_size(limits::H1_BUFFER_BYTES_MAX);
    builder
}
