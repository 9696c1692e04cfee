//! Listeners for the local service: one destination each, or the proxy that routes by host.
//!
//! INVARIANT: a name of the inventory never leads outside. A service of the mesh that has no endpoint here is unreachable, not
//! looked up; a tunnel to a service of the mesh is refused, because it would pass that service's enforcer without ours.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portreeve_engine::outside::Host;
use portreeve_engine::record::Why;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::body::{Coming, Outgoing, Reply};
use super::connect;
use super::egress::{Egress, Permit, Refused, What};
use super::hello::{self, Hello};
use super::io::{First, Prefixed, first};
use super::limits::HELLO_TIMEOUT;
use super::linger::{Lingering, Rest};
use super::own::Ours;
use super::pool::{origin_form, patience};
use super::resolve;
use super::send::{Destination, Failure};
use super::transparent;
use super::tunnel::{self, Tunnel};
use super::upgrade;
use crate::body::Returning;
use crate::gate::Gate;
use crate::h2;
use crate::h2::connection::{Called, Given};
use crate::head::{Fault, Head};
use crate::headers;
use crate::limits;
use crate::metrics::Counted;
use crate::question;
use crate::report::Report;
use crate::serve::{self, Phase};
use crate::strict::{Faults, Strict};
use crate::tether::{Tether, Tied};
use crate::times::{Patience, Times};

/// One listener for the local service.
#[derive(Debug)]
pub struct Local {
    /// For ids, metrics and identity.
    pub gate: Arc<Gate>,
    /// Where it leads.
    pub to: To,
    /// The phase of the enforcer.
    pub phase: watch::Receiver<Phase>,
    /// For the operator.
    pub report: Report,
}

/// Where a listener leads.
#[derive(Clone, Debug)]
pub enum To {
    /// To one service, whatever host a request names.
    One(Arc<Destination>),
    /// Wherever a request names.
    Named(Arc<Proxy>),
    /// The same, for connections that the system sent here although they were meant for elsewhere.
    Redirected(Arc<Proxy>),
}

/// The proxy that routes by host.
#[derive(Debug)]
pub struct Proxy {
    /// Services of the mesh by the names under which they are asked for.
    pub by_name: BTreeMap<Box<str>, Arc<Destination>>,
    /// The same by the addresses that are meant by them.
    pub by_address: BTreeMap<SocketAddr, Arc<Destination>>,
    /// Everything else.
    pub egress: Arc<Egress>,
}

/// Where a request goes.
enum Route {
    Mesh(Arc<Destination>),
    Unreachable,
    Outside(Arc<Egress>),
}

/// How the requests of one connection are routed.
#[derive(Clone, Debug)]
struct Routing {
    to: To,
    /// The port that is meant where a host names none.
    port: u16,
}

impl Local {
    /// Serves one local connection to its end.
    pub async fn serve(self: Arc<Self>, mut stream: TcpStream, _: SocketAddr) {
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let _open = Counted::new(self.gate.metrics.connections_outbound.clone());
        if let To::Redirected(proxy) = &self.to {
            return self.redirected(Arc::clone(proxy), stream).await;
        }
        let _held = match &self.to {
            To::Named(proxy) => match self.foreign(proxy, &stream, stream.local_addr().ok()) {
                Some(held) => Some(held),
                None => return,
            },
            _ => None,
        };
        let mut seen = BytesMut::with_capacity(FIRST_BYTES);
        let first = self.first(&mut stream, &mut seen, limits::IDLE_TIMEOUT).await;
        let routing = Routing { to: self.to.clone(), port: 80 };
        match (first, &self.to) {
            (None, _) => {}
            (Some(First::Connect), To::Named(proxy)) => self.tunnel(Arc::clone(proxy), stream, seen).await,
            (Some(First::Http2), _) => self.http2(Prefixed::new(seen, stream), routing).await,
            (Some(_), _) => self.plain(stream, seen, routing).await,
        }
    }

    /// Serves requests of HTTP/1, the first of which may ask for a WebSocket.
    async fn plain(self: &Arc<Self>, mut stream: TcpStream, mut seen: BytesMut, routing: Routing) {
        match upgrade::read(&mut stream, &mut seen).await {
            upgrade::Asked::Plain => self.http1(Prefixed::new(seen, stream), routing).await,
            upgrade::Asked::Early => {
                turn_away(stream, Refused::new(StatusCode::BAD_REQUEST, self.gate.ids.next())).await;
            }
            upgrade::Asked::WebSocket(request) => self.websocket(stream, *request, &routing).await,
        }
    }

    async fn websocket(&self, stream: TcpStream, request: Request<()>, routing: &Routing) {
        let request_id = self.gate.ids.next();
        let refused = |status| Refused::new(status, request_id.clone());
        let destination = match self.route(&request, routing) {
            Route::Mesh(destination) => destination,
            Route::Unreachable => return turn_away(stream, refused(StatusCode::BAD_GATEWAY)).await,
            Route::Outside(egress) => {
                let why = "a WebSocket in the clear is not carried outside the mesh; ask for it over TLS";
                let raw = format!("GET {}", request.uri().path());
                return turn_away(stream, egress.odd("outside", why, StatusCode::NOT_IMPLEMENTED, raw.as_bytes())).await;
            }
        };
        let (mut parts, ()) = request.into_parts();
        if let Err(status) = self.clean(&destination, &mut parts, &request_id).await {
            return turn_away(stream, refused(status)).await;
        }
        match upgrade::ask(&destination, Request::from_parts(parts, ()), &self.gate).await {
            Ok(upgrade::Agreed::Switched(mut headers, far)) => {
                headers::strip_hop_by_hop(&mut headers);
                upgrade::carry(stream, &headers, far, &self.gate, self.phase.clone()).await;
            }
            Ok(upgrade::Agreed::Answer(mut answer, kept)) => {
                headers::strip_hop_by_hop(answer.headers_mut());
                upgrade::answer(stream, answer, kept, &self.gate).await;
            }
            Err(failure) => {
                self.tell(&destination, &request_id, &failure);
                turn_away(stream, refused(failure.status())).await;
            }
        }
    }

    /// Serves a connection that was meant for another address.
    async fn redirected(self: &Arc<Self>, proxy: Arc<Proxy>, mut stream: TcpStream) {
        let Some(meant) = transparent::original(&stream) else {
            self.gate.metrics.outbound.egress_failed("not-redirected");
            let here = stream.local_addr().map(|here| here.to_string()).unwrap_or_default();
            proxy.egress.odd("outside", NOT_REDIRECTED, StatusCode::FORBIDDEN, here.as_bytes());
            return;
        };
        let Some(_held) = self.foreign(&proxy, &stream, Some(meant)) else { return };
        let mut seen = BytesMut::with_capacity(FIRST_BYTES);
        let mut routing = Routing { to: To::Redirected(Arc::clone(&proxy)), port: meant.port() };
        if let Some(destination) = proxy.by_address.get(&meant) {
            routing.to = To::One(Arc::clone(destination));
        } else if let Some(host) = transparent::host(meant).filter(|h| proxy.egress.is_without_tls(h, meant.port())) {
            // Here the server may speak first, so nothing is waited for.
            return self.through(&proxy, host, meant.port(), stream, seen).await;
        }
        match (self.first(&mut stream, &mut seen, HELLO_TIMEOUT).await, &routing.to) {
            (Some(First::Http2), _) => self.http2(Prefixed::new(seen, stream), routing).await,
            (Some(First::Http1 | First::Connect), _) | (Some(First::Tls), To::One(_)) => self.plain(stream, seen, routing).await,
            (Some(First::Tls), _) => match hello::read(&mut stream, &mut seen).await {
                Ok(Hello::Tls(name)) => {
                    let named = name.as_deref().map(str::parse::<Host>);
                    let host = named.map_or_else(|| transparent::host(meant), Result::ok);
                    match host {
                        Some(host) => self.through(&proxy, host, meant.port(), stream, seen).await,
                        None => self.nothing(&proxy, meant, "the TLS server name is no host"),
                    }
                }
                Ok(Hello::Hidden) => self.nothing(&proxy, meant, tunnel::HIDDEN),
                _ => self.nothing(&proxy, meant, "the first message is no whole TLS hello"),
            },
            // What says nothing cannot be told from what waits for the other side: nothing of it has left.
            (None, _) => self.nothing(&proxy, meant, "nothing came that says where it goes"),
        }
    }

    /// What to hold as long as a connection of the local service is served. `None` where we opened it ourselves: it would go round.
    fn foreign(&self, proxy: &Proxy, stream: &TcpStream, meant: Option<SocketAddr>) -> Option<Ours> {
        let meant = meant?;
        let held = self.gate.own.came(stream, meant);
        if held.is_none() {
            self.nothing(proxy, meant, OWN);
        }
        held
    }

    fn nothing(&self, proxy: &Proxy, meant: SocketAddr, why: &str) {
        proxy.egress.odd(&meant.ip().to_string(), why, StatusCode::FORBIDDEN, meant.to_string().as_bytes());
    }

    /// A tunnel that nobody asked for in words: what is refused is closed.
    async fn through(&self, proxy: &Proxy, host: Host, port: u16, stream: TcpStream, seen: BytesMut) {
        if !matches!(proxy.route(&self.gate, host.name()), Route::Outside(_)) {
            proxy.egress.odd(host.name(), MESH_TUNNEL, StatusCode::FORBIDDEN, format!("{host}:{port}").as_bytes());
            return;
        }
        let Ok(permit) = proxy.egress.tunnel(host, port, None) else { return };
        if let Ok(tunnel) = Tunnel::open(permit, &proxy.egress).await {
            tunnel.carry(stream, seen, self.phase.clone()).await;
        }
    }

    async fn first(&self, stream: &mut TcpStream, seen: &mut BytesMut, within: Duration) -> Option<First> {
        let mut phase = self.phase.clone();
        tokio::select! {
            first = first(stream, seen, within) => first,
            () = serve::leaving(&mut phase) => None,
        }
    }

    async fn http1(self: &Arc<Self>, stream: Prefixed<TcpStream>, routing: Routing) {
        let faults = Arc::new(Faults::default());
        let io = TokioIo::new(Strict::new(stream, limits::HEAD_TIMEOUT, Arc::clone(&faults)));
        let count = AtomicU64::new(0);
        let (local, rest, tether) = (Arc::clone(self), Rest::default(), Arc::<Tether>::default());
        let (left, ends) = (rest.clone(), Arc::clone(&tether));
        let service = service_fn(move |request: Request<Incoming>| {
            let fault = faults.of(count.fetch_add(1, Ordering::Relaxed));
            let (local, routing, left, ends) = (Arc::clone(&local), routing.clone(), left.clone(), Arc::clone(&ends));
            async move {
                let response = match fault {
                    Some(fault) => local.faulty(&routing, &fault),
                    None => local.request(Coming::of(request, &left), &routing).await,
                };
                Ok::<_, Infallible>(response.map(|body| Tied::new(body, ends)))
            }
        });
        let connection = Lingering::new(serve::http1(limits::IDLE_TIMEOUT).serve_connection(io, service), rest);
        // How a local connection ended concerns nobody but the local service.
        let _ = serve::drive(connection, self.phase.clone(), tether.over(), || ()).await;
    }

    /// Answers what is no request. Where it could have been meant for a place outside the mesh, it is recorded too.
    fn faulty(&self, routing: &Routing, fault: &Fault) -> Response<Reply> {
        match &routing.to {
            To::One(_) => answer(fault.status, &self.gate.ids.next(), true),
            To::Named(proxy) | To::Redirected(proxy) => {
                let Refused { status, request_id, .. } = proxy.egress.odd("outside", fault.why, fault.status, &fault.raw);
                answer(status, &request_id, true)
            }
        }
    }

    async fn http2(self: &Arc<Self>, stream: Prefixed<TcpStream>, routing: Routing) {
        let streams = Streams { local: Arc::clone(self), routing };
        let connection = h2::connection::Connection::new(stream, streams, &Times::default());
        // Nor how one of these ended.
        let _ = serve::drive(connection, self.phase.clone(), std::future::pending(), || ()).await;
    }

    async fn request(&self, request: Request<Coming>, routing: &Routing) -> Response<Reply> {
        // Tunnels have a connection of their own, and begin it.
        if *request.method() == Method::CONNECT || request.headers().contains_key(header::UPGRADE) {
            let target = request.uri().authority().map_or(request.uri().path(), |named| named.as_str());
            return self.no_switch(routing, format!("{} {target}", request.method()).as_bytes());
        }
        match self.route(&request, routing) {
            Route::Mesh(destination) => self.to_mesh(&destination, request).await,
            Route::Outside(egress) => to_outside(&egress, request, routing.port).await,
            Route::Unreachable => {
                self.gate.metrics.outbound.no_endpoint();
                answer(StatusCode::BAD_GATEWAY, &self.gate.ids.next(), false)
            }
        }
    }

    /// Answers a request that would switch its connection, or its stream, to something else. Where it could have been meant for a place
    /// outside the mesh, it is recorded too.
    fn no_switch(&self, routing: &Routing, raw: &[u8]) -> Response<Reply> {
        let status = StatusCode::NOT_IMPLEMENTED;
        match &routing.to {
            To::One(_) => answer(status, &self.gate.ids.next(), false),
            To::Named(proxy) | To::Redirected(proxy) => refusal(&proxy.egress.odd("outside", NO_SWITCH, status, raw)),
        }
    }

    fn route<B>(&self, request: &Request<B>, routing: &Routing) -> Route {
        let proxy = match &routing.to {
            To::One(destination) => return Route::Mesh(Arc::clone(destination)),
            To::Named(proxy) | To::Redirected(proxy) => proxy,
        };
        let named = host_of(request);
        let name = named.as_ref().map(Host::name).unwrap_or_default();
        proxy.route(&self.gate, name)
    }

    async fn to_mesh(&self, destination: &Arc<Destination>, request: Request<Coming>) -> Response<Reply> {
        let id = self.gate.ids.next();
        let (mut parts, body) = request.into_parts();
        if let Err(status) = self.clean(destination, &mut parts, &id).await {
            return answer(status, &id, false);
        }
        match destination.send(Request::from_parts(parts, Outgoing::new(body, destination.settings().whole))).await {
            Ok(response) => cleaned(response),
            Err(failure) => {
                self.tell(destination, &id, &failure);
                answer(failure.status(), &id, false)
            }
        }
    }

    /// Makes a head of the local service one that may go out.
    async fn clean(&self, destination: &Destination, parts: &mut Parts, id: &str) -> Result<(), StatusCode> {
        // Who calls is said by our certificate alone; what the local service says about it would be stripped there anyway. Its
        // own request id travels on, as the callee's record names it.
        let own = parts.headers.get(&headers::X_REQUEST_ID).cloned();
        headers::sanitise(&mut parts.headers);
        if let Some(own) = own.or_else(|| HeaderValue::from_str(id).ok()) {
            parts.headers.insert(headers::X_REQUEST_ID, own);
        }
        parts.headers.remove(header::EXPECT);
        if !parts.headers.contains_key(header::HOST) && parts.uri.authority().is_none() {
            parts.headers.insert(header::HOST, destination.host.clone());
        }
        parts.version = Version::HTTP_11;
        let Some(exchange) = &destination.exchange else { return Ok(()) };
        exchange.apply(&mut parts.headers).await.map_err(|failed| {
            if failed.is_ours() {
                let (service, why) = (&destination.service, failed.as_str());
                self.report.tell(&format!("request `{id}` to `{service}` is not sent: its token cannot be exchanged ({why})"));
            }
            failed.status()
        })
    }

    /// A peer that is not who it should be is for the operator to know; what is merely down is in the metrics.
    fn tell(&self, destination: &Destination, id: &str, failure: &Failure) {
        if matches!(failure, Failure::Peer(_) | Failure::UnknownService) {
            self.report.tell(&format!("request `{id}` did not reach `{}`: {failure}", destination.service));
        }
    }

    async fn tunnel(&self, proxy: Arc<Proxy>, mut stream: TcpStream, mut seen: BytesMut) {
        let Some(asked) = connect::read(&mut stream, &mut seen).await else { return };
        let egress = &proxy.egress;
        let asked = match asked {
            Ok(asked) => asked,
            Err(odd) => return turn_away(stream, egress.odd("outside", odd.why, StatusCode::BAD_REQUEST, &odd.line)).await,
        };
        let raw = format!("CONNECT {}", asked.host);
        if !matches!(proxy.route(&self.gate, asked.host.name()), Route::Outside(_)) {
            return turn_away(stream, egress.odd(asked.host.name(), MESH_TUNNEL, StatusCode::FORBIDDEN, raw.as_bytes())).await;
        }
        let opened = match egress.tunnel(asked.host, asked.port, asked.correlation) {
            Ok(permit) => Tunnel::open(permit, egress).await,
            Err(refused) => Err(refused),
        };
        match opened {
            Ok(tunnel) => {
                if stream.write_all(ESTABLISHED).await.is_ok() {
                    tunnel.carry(stream, seen, self.phase.clone()).await;
                }
            }
            Err(refused) => turn_away(stream, refused).await,
        }
    }
}

/// Answers the requests of one connection of HTTP/2.
#[derive(Debug)]
struct Streams {
    local: Arc<Local>,
    routing: Routing,
}

impl h2::connection::Service for Streams {
    type Body = Reply;

    const TUNNELS: bool = false;

    fn call(&mut self, head: Head<'_>, given: Given) -> Called<Reply> {
        let Given::Body(body) = given else {
            let named = question::host(&head).ok().flatten().unwrap_or_default();
            return Called::Answer(self.local.no_switch(&self.routing, format!("{} {named}", head.method).as_bytes()));
        };
        let Some(request) = head.to_request() else {
            let raw = format!("{} {}", head.method, head.path()).into_bytes();
            return Called::Answer(self.refuse(Fault { why: "the target is none", status: StatusCode::BAD_REQUEST, raw }));
        };
        let (local, routing) = (Arc::clone(&self.local), self.routing.clone());
        Called::Later(Box::pin(async move {
            let request = request.map(|()| Coming::over_http2(body));
            h2::connection::Reply::Answer(local.request(request, &routing).await)
        }))
    }

    fn refuse(&mut self, fault: Fault) -> Response<Reply> {
        self.local.faulty(&self.routing, &fault)
    }
}

impl Proxy {
    fn route(&self, gate: &Gate, name: &str) -> Route {
        if let Some(destination) = self.by_name.get(name) {
            return Route::Mesh(Arc::clone(destination));
        }
        if gate.policy.load().service(name).is_some_and(|s| !s.is_outside()) {
            return Route::Unreachable;
        }
        Route::Outside(Arc::clone(&self.egress))
    }
}

/// The host that a request names, where it names one.
fn host_of<B>(request: &Request<B>) -> Option<Host> {
    let mut head = Request::new(()).into_parts().0;
    request.uri().clone_into(&mut head.uri);
    head.version = request.version();
    for value in request.headers().get_all(header::HOST) {
        head.headers.append(header::HOST, value.clone());
    }
    question::host(&Head::of(&head)).ok().flatten()?.parse().ok()
}

/// One request in the clear to a place outside the mesh: decided, recorded, sent, its end recorded.
async fn to_outside(egress: &Arc<Egress>, request: Request<Coming>, port: u16) -> Response<Reply> {
    let (parts, body) = request.into_parts();
    match egress.request(&parts, port) {
        Ok(permit) => plain(egress, permit, body).await,
        Err(refused) => refusal(&refused),
    }
}

/// Uses a permit for a plain request up.
pub(crate) async fn plain(egress: &Arc<Egress>, permit: Permit, body: Coming) -> Response<Reply> {
    let (mut running, what) = match permit.redeem().await {
        Ok(redeemed) => redeemed,
        Err(refused) => return refusal(&refused),
    };
    let id = running.request_id.clone();
    let failed = |running: super::egress::Running, status: StatusCode, detail: &'static str| {
        running.unavailable(status, Why::Upstream, detail);
        answer(status, &id, false)
    };
    let What::Request { host, method, target, lines, guard, question } = what else {
        return failed(running, StatusCode::BAD_GATEWAY, "form");
    };
    let (Ok(uri), Ok(method), Ok(named)) =
        (Uri::try_from(target), Method::from_bytes(method.as_str().as_bytes()), HeaderValue::try_from(host.to_string()))
    else {
        return failed(running, StatusCode::BAD_GATEWAY, "form");
    };
    match Arc::clone(&egress.requests).try_acquire_owned() {
        Ok(place) => running.hold(place),
        Err(_) => return failed(running, StatusCode::SERVICE_UNAVAILABLE, "overload"),
    }
    let mut withdrawn = egress.withdrawn((*question).clone());
    let body = Outgoing::judged(body, egress.times.whole, guard, || egress.withdrawn(*question));
    let (moves, times) = (body.progress(), egress.times);
    let mut request = Request::new(body);
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, lines.to_map());
    request.headers_mut().remove(header::EXPECT);
    request.headers_mut().insert(header::HOST, named);
    origin_form(&mut request);
    let sent = tokio::select! {
        // The right is looked at first, as it stands now: nothing is begun, not even the question to a name server, where a new law
        // came while the record was waited for (A78).
        biased;
        over = &mut withdrawn => Err(over),
        sent = send(egress, &host, request, &mut running) => Ok(sent),
    };
    match sent {
        Err(over) => answer(running.overtaken(over), &id, false),
        Ok(Ok(response)) => {
            running.answered(response.status());
            let (parts, body) = response.into_parts();
            let patience = Patience::new(times.stream, times.whole, moves);
            let body = Returning::of(parts.version, body);
            cleaned(Response::from_parts(parts, Reply::of_outside(body, running, withdrawn, patience)))
        }
        // The body that the local service sent broke off, or takes too long: that is not the place's failure.
        Ok(Err((Why::Client, status, detail))) => {
            running.answered(status);
            running.ended(Why::Client, detail);
            answer(status, &id, false)
        }
        Ok(Err((_, status, detail))) => failed(running, status, detail),
    }
}

/// Sends a judged request outside. What went wrong is told with whose doing it was, a status and a word.
async fn send(
    egress: &Arc<Egress>,
    host: &Host,
    request: Request<Outgoing>,
    running: &mut super::egress::Running,
) -> Result<Response<Incoming>, (Why, StatusCode, &'static str)> {
    let place = |status, detail| (Why::Upstream, status, detail);
    let (stream, attempts) = resolve::connect(host, host.port().unwrap_or(80), egress).await;
    running.attempts(attempts);
    let (stream, held) = stream.map_err(|why| place(tunnel::status_of(why), why.as_str()))?;
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_buf_size(limits::H1_BUFFER_BYTES_MAX).max_headers(limits::HEADERS_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|_| place(StatusCode::BAD_GATEWAY, "http"))?;
    egress.tasks.spawn(async move {
        // Its end is seen by whoever holds the sender.
        let _ = connection.await;
        drop(held);
    });
    let moves = request.body().progress();
    running.begin();
    match patience(sender.send_request(request), moves.as_deref(), egress.times.request).await {
        Some(Ok(response)) => Ok(response),
        Some(Err(error)) if error.is_user() && Outgoing::was_late(&error) => Err((Why::Client, StatusCode::REQUEST_TIMEOUT, "timeout")),
        Some(Err(error)) if error.is_user() => Err((Why::Client, StatusCode::BAD_REQUEST, "broken-off")),
        Some(Err(_)) => Err(place(StatusCode::BAD_GATEWAY, "http")),
        None => Err(place(StatusCode::GATEWAY_TIMEOUT, "timeout")),
    }
}

/// An answer without what concerned one hop only.
fn cleaned(response: Response<Reply>) -> Response<Reply> {
    let (mut parts, body) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        parts.status = StatusCode::BAD_GATEWAY;
    }
    headers::strip_hop_by_hop(&mut parts.headers);
    parts.version = Version::default();
    Response::from_parts(parts, body)
}

/// Says that nothing left.
fn refusal(refused: &Refused) -> Response<Reply> {
    let mut response = answer(refused.status, &refused.request_id, false);
    if let Some(seconds) = refused.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// An answer of our own: a status and the request id, nothing else.
fn answer(status: StatusCode, request_id: &str, close: bool) -> Response<Reply> {
    // Ids are made by us of letters, digits and dashes, so they need no escaping.
    let mut response = Response::new(Reply::own(body_of(request_id)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(headers::X_REQUEST_ID, id);
    }
    if close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn body_of(request_id: &str) -> String {
    format!("{{\"request_id\":\"{request_id}\"}}\n")
}

/// The same for a tunnel that does not come about. The connection ends with it.
async fn turn_away(mut stream: TcpStream, refused: Refused) {
    let Refused { status, request_id, retry_after } = refused;
    let retry_after = retry_after.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
    let (reason, body) = (status.canonical_reason().unwrap_or_default(), body_of(&request_id));
    let head = format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\nx-request-id: {request_id}\r\n{retry_after}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        status.as_u16(),
        body.len(),
    );
    if stream.write_all(head.as_bytes()).await.is_ok() {
        tunnel::close(stream).await;
    }
}

const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
const MESH_TUNNEL: &str = "a tunnel to a service of the mesh would pass its enforcer by; send a plain request to the proxy";
const NOT_REDIRECTED: &str = "the connection was made to this listener itself and is meant for nowhere else";
const OWN: &str = "the connection is one that this enforcer opened; except its user from the redirection";
const NO_SWITCH: &str =
    "tunnels and upgrades are asked for in the first request of a connection over HTTP/1, and tunnels of the proxy's own port";
/// Room for the first bytes of a connection: a head of common length.
const FIRST_BYTES: usize = 1024;
