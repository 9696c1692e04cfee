//! The admin and probe listeners.
//!
//! They tell and never change anything. The admin pages are for this machine alone: a loopback port, or a unix socket of the
//! process's own user (A38), and where a browser could be led to the port by a name that somebody else owns (DNS rebinding), the
//! `Host` of the request gives that away and the request is refused. The probe listener has no page that names a policy, a peer or
//! a file. Both are served from the first moment of the process, before there is anything to judge with.

mod pages;
mod socket;

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::body::ResponseBody;
use crate::clock::Clock;
use crate::config::{AdminAt, Config};
use crate::enforcer::{EnforcerError, Side};
use crate::inbound::Connections;
use crate::limits;
use crate::metrics::{Form, Metrics};
use crate::places::Places;
use crate::ports::Port;
use crate::readiness::Readiness;
use crate::serve::{self, Phase, accept_loop, leaving};
use socket::AdminSocket;

/// What the pages tell of.
#[derive(Debug)]
pub struct Pages {
    /// The configuration.
    pub config: Arc<Config>,
    /// The clock.
    pub clock: Arc<Clock>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whether there is a gate, and what is missing.
    pub readiness: Arc<Readiness>,
    /// Open connections.
    pub connections: Arc<Connections>,
    /// The phase of the inbound side.
    pub phase: watch::Receiver<Phase>,
    /// When these listeners end.
    pub end: watch::Receiver<Phase>,
}

/// By which listener somebody comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// For probes.
    Health,
    /// For this machine, by a port.
    Loopback,
    /// For this machine, by a unix socket.
    Socket,
}

/// Opens the listeners of the pages; gives the addresses of those that have one.
pub(crate) fn listen(pages: &Arc<Pages>, side: &mut Side) -> Result<(Option<SocketAddr>, Option<SocketAddr>), EnforcerError> {
    let config = Arc::clone(&pages.config);
    let open = |address| {
        let opened = Port::take(address, config.share_ports).and_then(|port| Ok((port.address(), port.open()?)));
        opened.map_err(|why| EnforcerError::Bind { address, why })
    };
    let (mut admin, mut health) = (None, None);
    let on_port = |listener, door, side: &mut Side| {
        let pages = Arc::clone(pages);
        let serve = move |stream| Arc::clone(&pages).serve(stream, door);
        side.loops.spawn(accept_loop(listener, limits::ADMIN_CONNECTIONS_MAX, side.phase.subscribe(), serve));
    };
    match &config.admin {
        Some(AdminAt::Loopback(address)) => {
            let (address, listener) = open(*address)?;
            admin = Some(address);
            on_port(listener, Door::Loopback, side);
        }
        Some(AdminAt::Socket(path)) => {
            let socket = AdminSocket::open(path).map_err(|why| EnforcerError::AdminSocket { path: path.clone(), why })?;
            let (pages, phase) = (Arc::clone(pages), side.phase.subscribe());
            side.loops.spawn(on_socket(socket, phase, move |stream| Arc::clone(&pages).serve(stream, Door::Socket)));
        }
        None => {}
    }
    if let Some(address) = config.health {
        let (address, listener) = open(address)?;
        health = Some(address);
        on_port(listener, Door::Health, side);
    }
    Ok((admin, health))
}

/// As [`accept_loop`], on the unix socket.
async fn on_socket<C>(socket: AdminSocket, mut phase: watch::Receiver<Phase>, serve: impl Fn(tokio::net::UnixStream) -> C)
where
    C: Future<Output = ()> + Send + 'static,
{
    let mut places = Places::new(limits::ADMIN_CONNECTIONS_MAX);
    loop {
        tokio::select! {
            () = leaving(&mut phase) => break,
            () = places.ended() => {}
            accepted = socket.accept() => match accepted {
                Ok(stream) => places.take((), serve(stream)),
                Err(_) => sleep(limits::ACCEPT_PAUSE).await,
            },
        }
    }
    drop(socket);
    places.all_ended().await;
}

impl Pages {
    /// Serves one connection.
    pub async fn serve<S>(self: Arc<Self>, stream: S, door: Door)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pages = Arc::clone(&self);
        let service = service_fn(move |request: Request<Incoming>| {
            let response = pages.answer(&request, door);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = serve::http1(limits::IDLE_TIMEOUT).serve_connection(TokioIo::new(stream), service);
        // How a connection of a probe ended concerns nobody.
        let _ = serve::drive(connection, self.end.clone(), std::future::pending(), || ()).await;
    }

    fn answer<B>(&self, request: &Request<B>, door: Door) -> Response<ResponseBody> {
        let all = door != Door::Health;
        if door == Door::Loopback && !is_of_this_machine(request) {
            let why = "the admin pages are asked for by the address of this machine, or as `localhost`\n".to_owned();
            return page(StatusCode::MISDIRECTED_REQUEST, TEXT, why);
        }
        let path = request.uri().path();
        let known = matches!(path, "/livez" | "/readyz" | "/metrics") || (all && matches!(path, "/revision" | "/config" | "/connections"));
        if !known {
            return page(StatusCode::NOT_FOUND, TEXT, "no such page\n".to_owned());
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut refused = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only `GET` and `HEAD` are answered here\n".to_owned());
            refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/livez" => page(StatusCode::OK, TEXT, "ok\n".to_owned()),
            "/readyz" => {
                let lacks = self.lacks(all);
                if lacks.is_empty() {
                    return page(StatusCode::OK, TEXT, format!("ready\n{}", self.warning()));
                }
                page(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{}\n", lacks.join("\n")))
            }
            "/metrics" => {
                let form = Form::wanted(request.headers().get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()));
                self.refresh();
                page(StatusCode::OK, form.content_type(), self.metrics.render_as(form))
            }
            "/revision" => self.in_force(Self::revision_page),
            "/config" => json_page(StatusCode::OK, &self.config_page()),
            _ => json_page(StatusCode::OK, &self.connections_page()),
        }
    }
}

/// Whether a request names this machine in a way that no one else can give a meaning to: by an address, or as `localhost`. A browser
/// always says which name it was led by; who says none is none.
fn is_of_this_machine<B>(request: &Request<B>) -> bool {
    let of_target = request.uri().authority().map(|a| Some(a.as_str()));
    let mut named = of_target.into_iter().chain(request.headers().get_all(header::HOST).iter().map(|host| host.to_str().ok()));
    named.all(|name| {
        let Some(Ok(name)) = name.map(str::parse::<Authority>) else { return false };
        let host = name.host();
        let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        literal.parse::<IpAddr>().is_ok() || literal.eq_ignore_ascii_case("localhost")
    })
}

fn json_page(status: StatusCode, value: &serde_json::Value) -> Response<ResponseBody> {
    page(status, "application/json", format!("{value}\n"))
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::own(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const TEXT: &str = "text/plain; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a38_only_this_machines_own_names_lead_to_the_admin_pages() {
        let ask = |uri: &str, hosts: &[&str]| {
            let builder = Request::builder().uri(uri);
            let request = hosts.iter().fold(builder, |b, host| b.header(header::HOST, *host)).body(()).unwrap();
            is_of_this_machine(&request)
        };
        for host in ["127.0.0.1", "127.0.0.1:15000", "[::1]:15000", "[::1]", "localhost", "LocalHost:1", "10.0.0.7:15000"] {
            assert!(ask("/metrics", &[host]), "{host}");
        }
        for host in ["evil.example", "evil.example:15000", "localhost.evil.example", "127.0.0.1.evil.example", "localhost.", "", "a b"] {
            assert!(!ask("/metrics", &[host]), "{host}");
        }
        assert!(ask("/metrics", &[]));
        assert!(!ask("/metrics", &["localhost", "evil.example"]));
        assert!(!ask("http://evil.example/metrics", &["localhost"]));
        assert!(ask("http://127.0.0.1:15000/metrics", &["127.0.0.1:15000"]));
    }
}
