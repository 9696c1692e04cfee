//! Connections that are no HTTP: mutual TLS ends here, the bytes go on in the clear.
//!
//! Decided once, by who connects and to which port, before a byte of either side is looked at; no protocol is guessed, so a service
//! that speaks first is served. A connection lasts as long as the right to it: a new policy, an expiry or a revocation cuts it.
//!
//! INVARIANT: no byte moves without a [`Passage`] (INV-8), and each side is read only as fast as the other one takes.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portreeve_engine::record::Why;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::gate::{Caller, Gate, Passage};
use crate::limits;
use crate::serve::Phase;

/// What stands behind a listener that passes bytes on.
#[derive(Clone, Copy, Debug)]
pub struct Behind {
    /// The service.
    pub upstream: SocketAddr,
    /// The port by which the inventory knows it.
    pub port: u16,
    /// How long it may take to connect to it.
    pub connect: Duration,
    /// How long nothing may move.
    pub idle: Duration,
}

/// Serves one connection whose handshake is complete, until it ends, `over` completes, or the enforcer ends.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    gate: &Arc<Gate>,
    behind: &Behind,
    mut stream: S,
    caller: &Arc<Caller>,
    phase: watch::Receiver<Phase>,
    over: impl Future<Output = ()>,
) {
    caller.requests.fetch_add(1, Ordering::Relaxed);
    match gate.judge_connection(caller, behind.port) {
        Some(passage) => relay(passage, behind, stream, caller, phase, over).await,
        // Told by the end of the connection, and by nothing else.
        None => drop(timeout(limits::LINGER_TIMEOUT, stream.shutdown()).await),
    }
}

async fn relay<S: AsyncRead + AsyncWrite + Unpin>(
    passage: Passage,
    behind: &Behind,
    stream: S,
    caller: &Arc<Caller>,
    mut phase: watch::Receiver<Phase>,
    over: impl Future<Output = ()>,
) {
    let Some(mut running) = passage.redeem().await else { return };
    let mut over = pin!(over);
    let connected = tokio::select! {
        connected = timeout(behind.connect, TcpStream::connect(behind.upstream)) => connected,
        // Why is known to the caller's record.
        () = over.as_mut() => return,
    };
    let upstream = match connected {
        Ok(Ok(upstream)) if upstream.set_nodelay(true).is_ok() => upstream,
        _ => return running.unreachable(),
    };
    running.begin();
    let flow = Flow::new(behind.idle);
    let (from_caller, to_caller) = tokio::io::split(stream);
    let (from_service, to_service) = upstream.into_split();
    let ended = {
        let forth = flow.pump(from_caller, to_service, Way::Forth);
        let back = flow.pump(from_service, to_caller, Way::Back);
        let both = async { tokio::try_join!(forth, back).map(|_| ()) };
        tokio::select! {
            ended = both => Some(ended),
            () = flow.idle() => Some(Err(Stop::Idle)),
            () = over.as_mut() => None,
            // What cannot be told to wind down runs until the end of the drain.
            _ = phase.wait_for(|p| *p == Phase::Cut) => {
                caller.cut(Why::Shutdown);
                None
            }
        }
    };
    running.sent(usize::try_from(flow.back.load(Ordering::Relaxed)).unwrap_or(usize::MAX));
    match ended {
        Some(Ok(())) => running.because(Why::Complete),
        Some(Err(Stop::Caller)) => running.because(Why::Client),
        Some(Err(Stop::Service)) => running.because(Why::Upstream),
        Some(Err(Stop::Idle)) => running.idle(),
        None => {}
    }
}

/// Why bytes do not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Caller,
    Service,
    Idle,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// To the service.
    Forth,
    /// To the caller.
    Back,
}

/// What moves over one connection.
#[derive(Debug)]
struct Flow {
    start: Instant,
    idle: Duration,
    /// When something moved last, in milliseconds from the start.
    last_ms: AtomicU64,
    /// Bytes to the caller.
    back: AtomicU64,
}

impl Flow {
    fn new(idle: Duration) -> Self {
        Self { start: Instant::now(), idle, last_ms: AtomicU64::new(0), back: AtomicU64::new(0) }
    }

    /// Moves bytes one way until their end, and tells it on; the other way may go on.
    async fn pump(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, way: Way) -> Result<(), Stop> {
        let (reading, writing) = match way {
            Way::Forth => (Stop::Caller, Stop::Service),
            Way::Back => (Stop::Service, Stop::Caller),
        };
        let mut buffer = vec![0; limits::TCP_BUFFER_BYTES];
        loop {
            let n = from.read(&mut buffer).await.map_err(|_| reading)?;
            self.moved();
            let Some(part) = buffer.get(..n).filter(|part| !part.is_empty()) else {
                return to.shutdown().await.map_err(|_| writing);
            };
            to.write_all(part).await.map_err(|_| writing)?;
            // TLS keeps what it has encrypted until it is told to send it.
            to.flush().await.map_err(|_| writing)?;
            if let Way::Back = way {
                self.back.fetch_add(u64::try_from(n).unwrap_or(0), Ordering::Relaxed);
            }
            self.moved();
        }
    }

    fn moved(&self) {
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
    }

    /// Completes when nothing moved for too long.
    async fn idle(&self) {
        loop {
            let until = self.start + Duration::from_millis(self.last_ms.load(Ordering::Relaxed)) + self.idle;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}
