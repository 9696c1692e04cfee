//! Tunnels to places outside the mesh: bytes both ways, counted, watched, ended.
//!
//! INVARIANT: nothing that the local service sends leaves before the first message was looked at: it is TLS and asks for the
//! name that the decision was about, or the configuration says that this place needs no TLS.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::StatusCode;
use portreeve_engine::Request;
use portreeve_engine::outside::Host;
use portreeve_engine::record::Why;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{sleep, timeout};

use super::egress::{Egress, Over, Permit, Refused, Running, What, Withdrawn};
use super::hello::{self, Hello};
use super::limits::COPY_BYTES;
use super::own::Ours;
use super::resolve::{self, Unreachable};
use crate::serve::Phase;

/// A tunnel whose far end is connected.
#[derive(Debug)]
pub struct Tunnel {
    held: Ours,
    far: TcpStream,
    running: Running,
    host: Host,
    port: u16,
    question: Box<Request>,
    withdrawn: Withdrawn,
    egress: Arc<Egress>,
    _place: OwnedSemaphorePermit,
}

impl Tunnel {
    /// Connects. The permit is used up.
    ///
    /// # Errors
    /// What the local service is told; its record is written.
    pub async fn open(permit: Permit, egress: &Arc<Egress>) -> Result<Self, Refused> {
        let (mut running, what) = permit.redeem().await?;
        let request_id = running.request_id.clone();
        let refused = move |status| Refused::new(status, request_id);
        let What::Tunnel { host, port, question } = what else {
            running.unavailable(StatusCode::BAD_GATEWAY, Why::Upstream, "form");
            return Err(refused(StatusCode::BAD_GATEWAY));
        };
        let mut withdrawn = egress.withdrawn((*question).clone());
        if let Some(over) = withdrawn.now() {
            return Err(refused(running.overtaken(over)));
        }
        let Ok(place) = Arc::clone(&egress.tunnels).try_acquire_owned() else {
            running.unavailable(StatusCode::SERVICE_UNAVAILABLE, Why::Upstream, "overload");
            return Err(refused(StatusCode::SERVICE_UNAVAILABLE));
        };
        let (far, attempts) = resolve::connect(&host, port, egress).await;
        running.attempts(attempts);
        match far {
            Ok((far, held)) => {
                // Nothing has gone there yet, and the local service need not be told of a tunnel that ends at once.
                if let Some(over) = withdrawn.now() {
                    return Err(refused(running.overtaken(over)));
                }
                Ok(Self { held, far, running, host, port, question, withdrawn, egress: Arc::clone(egress), _place: place })
            }
            Err(why) => {
                let status = status_of(why);
                running.unavailable(status, Why::Upstream, why.as_str());
                Err(refused(status))
            }
        }
    }

    /// Carries bytes until either end is done, or the law or the enforcer ends it. `seen` was read from the near end already.
    /// `greeted` says that the local service was told that the tunnel stands.
    pub async fn carry<S>(mut self, mut near: S, mut seen: BytesMut, phase: watch::Receiver<Phase>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.egress.is_without_tls(&self.host, self.port) {
            match hello::read(&mut near, &mut seen).await {
                Ok(hello) => {
                    if let Some((detail, why)) = objection(&hello, &self.host) {
                        let name = if let Hello::Tls(Some(name)) = &hello { name.as_str() } else { "" };
                        let raw = format!("{}:{} server name `{name}`", self.host.name(), self.port);
                        self.egress.odd(&self.question.service, why, StatusCode::FORBIDDEN, raw.as_bytes());
                        return self.running.stopped(detail);
                    }
                }
                Err(_) => return self.running.ended(Why::Client, "no-hello"),
            }
        }
        self.running.answered(StatusCode::OK);
        let tunnels = self.egress.gate.metrics.outbound.tunnels.clone();
        tunnels.inc();
        let moved = Moved::default();
        let end = tokio::select! {
            biased;
            over = self.withdrawn => End::Over(over),
            end = watch_over(&moved, self.egress.times.tunnel, phase) => end,
            end = relay(near, self.far, seen, &moved) => end,
        };
        tunnels.dec();
        drop(self.held);
        self.running.sent(usize::try_from(moved.down.load(Ordering::Relaxed)).unwrap_or(usize::MAX));
        match end {
            End::Whole => self.running.complete(),
            End::Near => self.running.ended(Why::Client, "broken-off"),
            End::Far => self.running.upstream("broken-off"),
            End::Idle => self.running.ended(Why::Client, "idle"),
            End::Over(over) => self.running.ended(over.why, over.detail),
            End::Shutdown => self.running.ended(Why::Shutdown, "cut"),
        }
    }
}

/// What stands against the first message of a tunnel to this host: a word and a sentence.
fn objection(hello: &Hello, host: &Host) -> Option<(&'static str, &'static str)> {
    match (hello, host.address()) {
        (Hello::Other, _) => Some(("not-tls", "what goes through the tunnel is not TLS")),
        // The name in the clear is then one of the client's choice, and the server answers for another.
        (Hello::Hidden, _) => Some(("server-name", HIDDEN)),
        // To an address no name is sent; one that is sent would choose what answers there.
        (Hello::Tls(None), Some(_)) => None,
        (Hello::Tls(Some(name)), None) if *name == *host.name() => None,
        (Hello::Tls(_), _) => Some(("server-name", "the TLS server name is not the host of the tunnel")),
    }
}

pub(super) const HIDDEN: &str = "an encrypted ClientHello, or its placeholder, hides the server name";

/// The status that tells the local service why no tunnel came about.
#[must_use]
pub const fn status_of(why: Unreachable) -> StatusCode {
    match why {
        Unreachable::Resolve | Unreachable::Connect | Unreachable::Own => StatusCode::BAD_GATEWAY,
        Unreachable::AddressRefused => StatusCode::FORBIDDEN,
        Unreachable::ConnectTimeout => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// What moved so far.
#[derive(Debug)]
struct Moved {
    began: Instant,
    last_ms: AtomicU64,
    down: AtomicU64,
}

impl Default for Moved {
    fn default() -> Self {
        Self { began: Instant::now(), last_ms: AtomicU64::new(0), down: AtomicU64::new(0) }
    }
}

impl Moved {
    fn touch(&self) {
        self.last_ms.store(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn still(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Near,
    Far,
    Idle,
    Over(Over),
    Shutdown,
}

async fn relay<N, F>(near: N, far: F, seen: BytesMut, moved: &Moved) -> End
where
    N: AsyncRead + AsyncWrite,
    F: AsyncRead + AsyncWrite,
{
    let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (split(near), split(far));
    let up = async {
        far_out.write_all(&seen).await.map_err(|_| End::Far)?;
        drop(seen);
        copy(&mut near_in, &mut far_out, moved, None).await.map_err(|at| at.of(End::Near, End::Far))
    };
    let down = async { copy(&mut far_in, &mut near_out, moved, Some(&moved.down)).await.map_err(|at| at.of(End::Far, End::Near)) };
    match tokio::try_join!(up, down) {
        Ok(_) => End::Whole,
        Err(end) => end,
    }
}

/// Carries bytes between two ends until either is done, nothing moves for long, or the enforcer ends.
pub async fn between<N, F>(near: N, far: F, idle: Duration, mut phase: watch::Receiver<Phase>)
where
    N: AsyncRead + AsyncWrite,
    F: AsyncRead + AsyncWrite,
{
    let moved = Moved::default();
    let over = async {
        // The sender is gone only when the enforcer is.
        while timeout(super::limits::TUNNEL_LOOK.min(idle), phase.wait_for(|p| *p == Phase::Cut)).await.is_err() && moved.still() < idle {}
    };
    tokio::select! {
        _ = relay(near, far, BytesMut::new(), &moved) => {}
        () = over => {}
    }
}

/// Where copying failed.
enum Failed {
    Reading,
    Writing,
}

impl Failed {
    const fn of(&self, reading: End, writing: End) -> End {
        match self {
            Self::Reading => reading,
            Self::Writing => writing,
        }
    }
}

/// Copies one direction to its end, and closes it there.
async fn copy<R, W>(from: &mut R, to: &mut W, moved: &Moved, count: Option<&AtomicU64>) -> Result<(), Failed>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::with_capacity(COPY_BYTES);
    loop {
        buffer.clear();
        let n = from.read_buf(&mut buffer).await.map_err(|_| Failed::Reading)?;
        moved.touch();
        if n == 0 {
            return to.shutdown().await.or_else(gone).map_err(|_| Failed::Writing);
        }
        to.write_all(&buffer).await.map_err(|_| Failed::Writing)?;
        moved.touch();
        if let Some(count) = count {
            count.fetch_add(u64::try_from(n).unwrap_or(0), Ordering::Relaxed);
        }
    }
}

/// A direction that is closed already needs no closing.
fn gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotConnected { Ok(()) } else { Err(error) }
}

/// Completes when a tunnel may not go on.
async fn watch_over(moved: &Moved, idle: Duration, mut phase: watch::Receiver<Phase>) -> End {
    loop {
        // The sender is gone only when the enforcer is.
        if let Ok(cut) = timeout(super::limits::TUNNEL_LOOK.min(idle), phase.wait_for(|p| *p == Phase::Cut)).await {
            drop(cut);
            return End::Shutdown;
        }
        if moved.still() >= idle {
            return End::Idle;
        }
    }
}

/// Closes a connection so that what was written last arrives although not everything was read.
pub async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let drain = async {
        let mut buffer = BytesMut::with_capacity(COPY_BYTES);
        let mut left = super::limits::REFUSED_BYTES_MAX;
        while let Ok(n @ 1..) = stream.read_buf(&mut buffer).await {
            buffer.clear();
            left = left.saturating_sub(n);
            if left == 0 {
                break;
            }
        }
    };
    tokio::select! {
        () = drain => {}
        () = sleep(super::limits::REFUSED_TIME) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_name_must_be_the_host() {
        let tls = |name: &str| Hello::Tls(Some(name.to_owned()));
        for (hello, host, found) in [
            (tls("api.cards.example"), "api.cards.example:443", None),
            (tls("evil.example"), "api.cards.example:443", Some("server-name")),
            (Hello::Tls(None), "api.cards.example:443", Some("server-name")),
            (Hello::Other, "api.cards.example:443", Some("not-tls")),
            (Hello::Hidden, "api.cards.example:443", Some("server-name")),
            (Hello::Hidden, "203.0.113.7:443", Some("server-name")),
            (Hello::Tls(None), "203.0.113.7:443", None),
            (Hello::Tls(None), "[2001:db8::1]:443", None),
            (tls("api.cards.example"), "203.0.113.7:443", Some("server-name")),
        ] {
            assert_eq!(objection(&hello, &host.parse().unwrap()).map(|o| o.0), found, "{hello:?} {host}");
        }
    }
}
