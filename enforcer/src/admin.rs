//! The admin and probe listeners.
//!
//! They tell and never change anything. The admin listener is on loopback only (A38); the probe listener has no page that names
//! a policy, a peer or a file.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::body::ResponseBody;
use crate::config::{Config, Issuer, KeySet, LogTo};
use crate::gate::Gate;
use crate::inbound::Connections;
use crate::serve::{self, Phase};
use crate::tls::Standing;

/// What the pages tell of.
#[derive(Debug)]
pub struct Pages {
    /// The gate.
    pub gate: Arc<Gate>,
    /// The configuration.
    pub config: Arc<Config>,
    /// Open connections.
    pub connections: Arc<Connections>,
    /// The phase of the inbound side.
    pub phase: watch::Receiver<Phase>,
    /// When these listeners end.
    pub end: watch::Receiver<Phase>,
}

impl Pages {
    /// Serves one connection. `all` adds the pages of the admin listener to the probes.
    pub async fn serve(self: Arc<Self>, stream: TcpStream, _: SocketAddr, all: bool) {
        let pages = Arc::clone(&self);
        let service = service_fn(move |request: Request<Incoming>| {
            let response = pages.answer(&request, all);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = serve::http1().serve_connection(TokioIo::new(stream), service);
        // How a connection of a probe ended concerns nobody.
        let _ = serve::drive(connection, self.end.clone(), std::future::pending(), || ()).await;
    }

    fn answer(&self, request: &Request<Incoming>, all: bool) -> Response<ResponseBody> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return page(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only `GET` is answered here\n".to_owned());
        }
        match request.uri().path() {
            "/livez" => page(StatusCode::OK, "text/plain", "ok\n".to_owned()),
            "/readyz" => self.ready(),
            "/metrics" => {
                self.gate.metrics.refresh(self.gate.clock.steps_back(), self.certificate_seconds());
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                page(StatusCode::OK, kind, self.gate.metrics.render())
            }
            "/revision" if all => {
                let revision = *self.gate.policy.load().revision();
                json_page(&json!({"revision": revision, "service": *self.config.service, "mode": self.config.mode}))
            }
            "/config" if all => json_page(&self.config_page()),
            "/connections" if all => json_page(&self.connections_page()),
            _ => page(StatusCode::NOT_FOUND, "text/plain", "no such page\n".to_owned()),
        }
    }

    fn certificate_seconds(&self) -> i64 {
        let left = self.gate.identity.load().not_after().unix_ms() - self.gate.clock.now().unix_ms();
        left.div_euclid(1000)
    }

    fn ready(&self) -> Response<ResponseBody> {
        let mut lacks = Vec::new();
        if *self.phase.borrow() != Phase::Running {
            lacks.push("the enforcer is stopping");
        }
        if !self.gate.log.is_up() {
            lacks.push("the decision log cannot be written");
        }
        let standing = self.gate.identity.load().standing(self.gate.clock.now());
        match standing {
            Standing::Good | Standing::Near => {}
            Standing::Ending => lacks.push("the own certificate is about to expire"),
            Standing::Over => lacks.push("the own certificate has expired"),
            Standing::Withdrawn => lacks.push("the own identity was taken away"),
        }
        if lacks.is_empty() {
            let near = if standing == Standing::Near { "the own certificate ends soon and was not renewed\n" } else { "" };
            return page(StatusCode::OK, "text/plain", format!("ready\n{near}"));
        }
        page(StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{}\n", lacks.join("\n")))
    }

    /// The configuration in force. It holds paths, never the contents of keys.
    fn config_page(&self) -> serde_json::Value {
        let c = &self.config;
        let log = match &c.log.to {
            LogTo::File(path) => path.display().to_string(),
            LogTo::Stdout => "-".to_owned(),
        };
        json!({
            "digest": c.digest,
            "service": *c.service,
            "mode": c.mode,
            "bundle": c.bundle.display().to_string(),
            "identity": {"id": self.gate.identity.load().id(), "not_after": self.gate.identity.load().not_after()},
            "inbound": c.inbound.iter().map(|i| json!({"listen": i.listen, "upstream": i.upstream})).collect::<Vec<_>>(),
            "tls": {"min_version": c.tls.min_version.as_str()},
            "outbound": c.outbound.iter().map(|o| json!({"listen": o.listen, "service": *o.service, "connect": o.connect})).collect::<Vec<_>>(),
            "jwt": c.jwt.iter().map(issuer).collect::<Vec<_>>(),
            "log": {"path": log, "rotate_bytes": c.log.rotate_bytes},
        })
    }

    fn connections_page(&self) -> serde_json::Value {
        let one = |caller: &Arc<crate::gate::Caller>| {
            let svid = caller.peer().svid();
            json!({
                "id": svid.id,
                "ip": caller.ip,
                "serial": svid.serial,
                "not_after": svid.not_after,
                "requests": caller.requests.load(Ordering::Relaxed),
            })
        };
        json!({"connections": self.connections.list().iter().map(one).collect::<Vec<_>>()})
    }
}

/// A URL is shown without its query, which may hold a secret.
fn issuer(issuer: &Issuer) -> serde_json::Value {
    let jwks = match &issuer.jwks {
        KeySet::File(path) => json!({"path": path.display().to_string()}),
        KeySet::Remote(from) => json!({
            "url": from.url.to_string(),
            "private_addresses": from.reach.private_addresses,
            "refresh_s": from.refresh.as_secs(),
            "max_stale_s": from.max_stale.as_secs(),
        }),
    };
    json!({"issuer": issuer.issuer, "audiences": issuer.audiences, "jwks": jwks})
}

fn json_page(value: &serde_json::Value) -> Response<ResponseBody> {
    page(StatusCode::OK, "application/json", format!("{value}\n"))
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::own(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
