//! The inbound side: mutual TLS, then one judged request after another.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portreeve_engine::record::Why;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;

use crate::body::{Arriving, ResponseBody};
use crate::config::{self, UpstreamProtocol};
use crate::forward::{answer, forward, limited};
use crate::gate::{Caller, Gate, Verdict};
use crate::h1::server::Session;
use crate::h1::upstream::Upstream;
use crate::h1::{call, connect};
use crate::h2;
use crate::h2::connection::{Called, Given, Reply};
use crate::h2::inflow::Inflow;
use crate::head::{Fault, Head};
use crate::introduction::Introduction;
use crate::limits;
use crate::pool::{Dial, Pool};
use crate::serve::{self, Phase, leaving};
use crate::shares::Shares;
use crate::socket::Socket;
use crate::strict::{Faults, Strict};
use crate::tcp::{self, Behind};
use crate::tenure;
use crate::tether::{Tether, Tied};
use crate::threshold::Threshold;
use crate::times::Times;
use crate::tls::{self, Identity, Refusal, VerifiedPeer};

/// One inbound listener's connections.
#[derive(Debug)]
pub struct Inbound {
    /// What judges.
    pub gate: Arc<Gate>,
    /// The ways to the service, one for each thread.
    pub lanes: Vec<Lane>,
    /// After this time a connection takes no further request.
    pub lifetime: Duration,
    /// How long callers and service are waited for.
    pub times: Times,
    /// What stands behind, where the listener passes bytes on instead of HTTP.
    pub tcp: Option<Behind>,
    /// How callers are introduced to the service.
    pub introduction: Arc<Introduction>,
    /// Open connections, for the admin page.
    pub connections: Arc<Connections>,
    /// Who has not proved yet who they are.
    pub threshold: Arc<Threshold>,
    /// Connections by identity.
    pub shares: Shares,
    /// The phase of the enforcer.
    pub phase: watch::Receiver<Phase>,
}

/// One thread's way to the service.
#[derive(Debug)]
pub struct Lane {
    /// Through the HTTP library.
    pub pool: Arc<Pool>,
    /// Without it, where the service speaks HTTP/1.
    pub direct: Option<Arc<Upstream>>,
}

impl Lane {
    /// A way without connections.
    #[must_use]
    pub fn new(gate: &Arc<Gate>, config: &config::Inbound) -> Self {
        let (address, http2) = (config.upstream, config.upstream_protocol == UpstreamProtocol::Http2);
        Self {
            pool: Pool::new(Dial::Service { address, http2 }, config.times, Arc::clone(gate)),
            direct: (!http2).then(|| Arc::new(Upstream::new(address, config.times))),
        }
    }
}

impl Inbound {
    /// Closes what has been idle for too long, as long as the enforcer runs.
    pub async fn sweep(self: Arc<Self>) {
        let mut phase = self.phase.clone();
        loop {
            tokio::select! {
                () = leaving(&mut phase) => return,
                () = sleep(self.times.upstream_idle) => self.lanes.iter().filter_map(|l| l.direct.as_ref()).for_each(|u| u.sweep()),
            }
        }
    }

    /// Serves one connection to its end.
    pub async fn serve(self: Arc<Self>, stream: TcpStream, address: SocketAddr, worker: usize) {
        let Some(lane) = self.lanes.get(worker) else { return };
        let metrics = &self.gate.metrics;
        let ip = address.ip().to_canonical();
        let own = self.gate.identity.load_full();
        let owes = self.threshold.came(ip);
        let done = tokio::select! {
            biased;
            () = owes.must_go() => Err(Refusal::CrowdedOut),
            done = self.handshake(stream, ip, &own) => done,
        };
        drop(owes);
        let (stream, peer, _share) = match done.and_then(|done| self.shares.admit(done)) {
            Ok(done) => done,
            Err(refusal) => {
                metrics.handshake_refused(refusal);
                self.gate.log.refused(ip, refusal.as_str());
                return;
            }
        };
        metrics.handshakes_completed.inc();
        self.threshold.proved(ip);
        let (_, tls) = stream.get_ref();
        if let Some(behind) = &self.tcp {
            let caller = Arc::new(Caller::new(peer, ip, tls.server_name().map(str::to_ascii_lowercase), "TCP", &self.introduction));
            let _open = self.connections.open(&caller, metrics.connections.clone());
            return tcp::serve(&self.gate, behind, stream, &caller, self.phase.clone(), self.over(&caller, true)).await;
        }
        let http2 = tls.alpn_protocol() == Some(b"h2");
        let caller = Arc::new(Caller::new(
            peer,
            ip,
            tls.server_name().map(str::to_ascii_lowercase),
            if http2 { "HTTP/2" } else { "HTTP/1.1" },
            &self.introduction,
        ));
        let _open = self.connections.open(&caller, metrics.connections.clone());
        if let (false, Some(upstream)) = (http2, &lane.direct) {
            let session = Session::new(stream, Arc::clone(&self.gate), Arc::clone(&caller), Arc::clone(upstream)).serve();
            let session = serve::Own { session: std::pin::pin!(session), caller: Arc::clone(&caller) };
            // A request that a new policy denies is answered or cut where it runs.
            let cut = self.over(&caller, false);
            let aging = self.aging(&caller, false, &own);
            let _ = serve::drive_aging(session, self.phase.clone(), cut, aging, || caller.cut(Why::Shutdown)).await;
            return;
        }
        if http2 {
            let service = Judged {
                gate: Arc::clone(&self.gate),
                caller: Arc::clone(&caller),
                pool: Arc::clone(&lane.pool),
                direct: lane.direct.clone(),
            };
            let session = h2::connection::Connection::new(stream, service, &self.times);
            let cut = self.over(&caller, false);
            let aging = self.aging(&caller, true, &own);
            let _ = serve::drive_aging(session, self.phase.clone(), cut, aging, || caller.cut(Why::Shutdown)).await;
            return;
        }
        self.through_the_library(stream, lane, &caller, &own).await;
    }

    /// Serves HTTP/1 in front of a service of HTTP/2.
    async fn through_the_library(&self, stream: TlsStream<Socket>, lane: &Lane, caller: &Arc<Caller>, own: &Identity) {
        let faults = Arc::new(Faults::default());
        // There is one request at a time, and the connection ends with it.
        let tether = Arc::<Tether>::default();
        let service = {
            let (gate, upstream) = (Arc::clone(&self.gate), Arc::clone(&lane.pool));
            let (caller, faults, tether) = (Arc::clone(caller), Arc::clone(&faults), Arc::clone(&tether));
            service_fn(move |request: Request<Incoming>| {
                let n = caller.requests.fetch_add(1, Ordering::Relaxed);
                let (parts, body) = request.into_parts();
                let verdict = match faults.of(n) {
                    Some(fault) => gate.judge_fault(&caller, fault),
                    None => gate.judge(&caller, Head::of(&parts)),
                };
                let (upstream, tether) = (Arc::clone(&upstream), Arc::clone(&tether));
                // In a box from the beginning: the library hands it on several times before it is in one.
                Box::pin(async move {
                    let response = match verdict {
                        Verdict::Forward(permit) => Box::pin(forward(permit, &upstream, Arriving::Library(body))).await,
                        Verdict::Answer { status, request_id, close } => answer(status, &request_id, close),
                        Verdict::Limited { request_id, retry_after } => limited(&request_id, retry_after),
                    };
                    Ok::<_, Infallible>(response.map(|body| Tied::new(body, tether)))
                })
            })
        };
        // A request that a new policy denies is cut by what holds its answer.
        let over = self.over(caller, false);
        let cut = async {
            tokio::select! {
                () = over => {}
                () = tether.over() => {}
            }
        };
        let on_cut = || caller.cut(Why::Shutdown);
        let aging = self.aging(caller, false, own);
        let io = TokioIo::new(Strict::new(stream, self.times.head, faults));
        let session = serve::http1(self.times.idle).serve_connection(io, service);
        let ended = serve::drive_aging(session, self.phase.clone(), cut, aging, on_cut).await;
        // The strict reader leaves the library nothing to refuse. Were it to, the answer was the library's; the record is ours.
        if ended.is_err_and(|e| e.is_parse()) {
            let fault = Fault { why: "the HTTP library refused the head", status: StatusCode::BAD_REQUEST, raw: Vec::new() };
            drop(self.gate.judge_fault(caller, fault));
        }
    }

    /// Completes when the connection may not go on. One that was let through as a `whole`, as what is no HTTP is, ends with its denial;
    /// a request is denied where it runs.
    fn over<'a>(&'a self, caller: &'a Caller, whole: bool) -> impl Future<Output = ()> + 'a {
        // Subscribed before the first request is read, so that no change is missed (A78).
        let mut changes = self.gate.in_force.subscribe();
        let denied = async move {
            while changes.changed().await.is_ok() {
                if self.gate.review(caller) && whole {
                    return;
                }
            }
            std::future::pending().await
        };
        async move {
            let why = tokio::select! {
                why = tenure::over(&self.gate, caller.peer()) => why,
                () = denied => Why::Policy,
            };
            caller.cut(why);
        }
    }

    /// Completes each time at which the connection should end if nothing runs on it. An idle HTTP/1 connection sees to that itself.
    fn aging(&self, caller: &Arc<Caller>, http2: bool, own: &Identity) -> serve::Aging {
        serve::Aging::new(Arc::clone(caller), (self.lifetime, &self.times), http2, &self.gate, own)
    }

    async fn handshake(&self, stream: TcpStream, ip: IpAddr, own: &Identity) -> Result<(TlsStream<Socket>, VerifiedPeer), Refusal> {
        let begun = async {
            // What says nothing takes no place. The byte stays where it is.
            match stream.peek(&mut [0]).await {
                Ok(1..) => self.threshold.place(ip).await.map_err(|_| Refusal::HandshakeFailed),
                _ => Err(Refusal::ConnectionClosed),
            }
        };
        let _place = timeout(self.times.handshake, begun).await.unwrap_or(Err(Refusal::HandshakeTimeout))?;
        let stream = Socket::new(stream).map_err(|_| Refusal::ConnectionClosed)?;
        if self.tcp.is_some() {
            return tls::accept_raw(own, stream, self.times.handshake).await;
        }
        tls::accept(own, stream, self.times.handshake).await
    }
}

/// Judges and forwards what comes over one connection of HTTP/2.
#[derive(Debug)]
struct Judged {
    gate: Arc<Gate>,
    caller: Arc<Caller>,
    pool: Arc<Pool>,
    direct: Option<Arc<Upstream>>,
}

impl h2::connection::Service for Judged {
    type Body = ResponseBody;

    const TUNNELS: bool = true;

    fn call(&mut self, head: Head<'_>, given: Given) -> Called<ResponseBody> {
        self.caller.requests.fetch_add(1, Ordering::Relaxed);
        let permit = match self.gate.judge(&self.caller, head) {
            Verdict::Forward(permit) => permit,
            Verdict::Answer { status, request_id, close } => return Called::Answer(answer(status, &request_id, close)),
            Verdict::Limited { request_id, retry_after } => return Called::Answer(limited(&request_id, retry_after)),
        };
        Called::Later(match (self.direct.clone(), given) {
            (Some(direct), Given::Body(body)) => Box::pin(async move { call::forward(permit, &direct, body).await }),
            (Some(direct), Given::Stream(pipe)) => Box::pin(async move { connect::forward(permit, &direct, pipe).await }),
            (None, given) => {
                let pool = Arc::clone(&self.pool);
                // A tunnel is refused there, and needs no body for it.
                let body = if let Given::Body(body) = given { body } else { Inflow::none() };
                Box::pin(async move { Reply::Answer(forward(permit, &pool, Arriving::Inflow(body)).await) })
            }
        })
    }

    fn refuse(&mut self, fault: Fault) -> Response<ResponseBody> {
        self.caller.requests.fetch_add(1, Ordering::Relaxed);
        let status = fault.status;
        match self.gate.judge_fault(&self.caller, fault) {
            Verdict::Answer { status, request_id, close } => answer(status, &request_id, close),
            // A fault has no other verdict.
            _ => answer(status, "", true),
        }
    }
}

/// The open inbound connections.
#[derive(Debug, Default)]
pub struct Connections {
    open: Mutex<BTreeMap<u64, Weak<Caller>>>,
    next: AtomicU64,
}

impl Connections {
    fn open(self: &Arc<Self>, caller: &Arc<Caller>, gauge: prometheus_client::metrics::gauge::Gauge) -> Open {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(n, Arc::downgrade(caller));
        gauge.inc();
        Open { connections: Arc::clone(self), n, gauge }
    }

    /// The open connections, oldest first, at most [`limits::CONNECTIONS_LISTED_MAX`], and how many there are.
    #[must_use]
    pub fn list(&self) -> (Vec<Arc<Caller>>, usize) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        (open.values().filter_map(Weak::upgrade).take(limits::CONNECTIONS_LISTED_MAX).collect(), open.len())
    }
}

struct Open {
    connections: Arc<Connections>,
    n: u64,
    gauge: prometheus_client::metrics::gauge::Gauge,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.n);
        self.gauge.dec();
    }
}
