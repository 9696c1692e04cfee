//! The services of the town: one small HTTP/1.1 app each. They do no security of their own; their sidecars do.
//!
//! An app answers the operations that its service declares. `invoices` really asks `users` and `items` for an invoice and
//! `tokenizer` for a payment, and `tokenizer` asks `payments`, all through their own sidecars. Whatever an app receives, it
//! writes into the journal.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portreeve_engine::Reason;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{Line, NoAnswer, Upload};
use crate::journal::{Answered, Journal, Seen};
use crate::limits;

/// How slow an app is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slowness {
    /// One in so many requests is slow.
    pub one_in: u64,
    /// By so much.
    pub by: Duration,
}

/// A running app.
#[derive(Debug)]
pub(crate) struct App {
    stop: watch::Sender<bool>,
    accepting: JoinSet<()>,
}

/// What an app is made of.
pub(crate) struct AppParts {
    pub(crate) service: &'static str,
    /// Ways out: the listeners of its own sidecar.
    pub(crate) ways: BTreeMap<&'static str, SocketAddr>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) slowness: Option<Slowness>,
}

impl App {
    pub(crate) fn start(listener: TcpListener, parts: AppParts) -> Self {
        let stop = watch::Sender::new(false);
        let mut stopped = stop.subscribe();
        let shop = Arc::new(Shop { parts, idle: Mutex::default(), count: AtomicU64::new(0) });
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    _ = stopped.wait_for(|s| *s) => break,
                    Some(_) = connections.join_next(), if !connections.is_empty() => {}
                    accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                        connections.spawn(serve(Arc::clone(&shop), stream));
                    }
                }
            }
            // Sidecars stop before apps, so nothing of theirs runs any more.
            connections.shutdown().await;
        });
        Self { stop, accepting }
    }

    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.accepting.join_next().await.is_some() {}
    }
}

async fn serve(shop: Arc<Shop>, stream: TcpStream) {
    let service = service_fn(move |request: Request<Incoming>| {
        let shop = Arc::clone(&shop);
        async move { Ok::<_, Infallible>(shop.answer(request).await) }
    });
    if stream.set_nodelay(true).is_ok() {
        // A connection that breaks off is the business of the sidecar at its other end, which records it.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }
}

struct Shop {
    parts: AppParts,
    /// Idle connections to the own sidecar, by the service they lead to.
    idle: Mutex<BTreeMap<&'static str, Vec<Line>>>,
    count: AtomicU64,
}

/// What an operation needs of other services.
type Needs = &'static [(&'static str, &'static str, &'static str)];

impl Shop {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let text = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let service = self.parts.service;
        let seen = Seen {
            id: text("x-request-id"),
            service,
            line: format!("{} {}", parts.method, parts.uri),
            principal: text("x-portreeve-principal"),
        };
        let needs = operation(service, &parts.method, parts.uri.path());
        self.parts.journal.write(|pages| {
            if needs.is_none() || seen.id.is_empty() || seen.principal.is_empty() {
                pages.faults.push(format!("the app of `{service}` was asked `{}` by `{}`", seen.line, seen.principal));
            }
            pages.seen.push(seen);
        });
        let received = match body.collect().await {
            Ok(whole) => whole.to_bytes().len(),
            Err(_) => return page(StatusCode::BAD_REQUEST, &json!({"error": "the body broke off"})),
        };
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        if let Some(slow) = self.parts.slowness.filter(|slow| n.checked_rem(slow.one_in) == Some(0)) {
            sleep(slow.by).await;
        }
        let Some(needs) = needs else { return page(StatusCode::NOT_FOUND, &json!({"error": "no such operation"})) };
        let mut parts_of_answer = serde_json::Map::new();
        for (to, method, target) in needs {
            match self.ask(to, method, target).await {
                // A limit on the way makes an answer poorer, not wrong.
                Ok(status @ (200 | 429)) => parts_of_answer.insert((*to).to_owned(), status.into()),
                Ok(status) => return page(StatusCode::BAD_GATEWAY, &json!({"error": format!("`{to}` answered {status}")})),
                Err(e) => return page(StatusCode::BAD_GATEWAY, &json!({"error": format!("`{to}`: {e}")})),
            };
        }
        page(StatusCode::OK, &json!({"service": service, "received": received, "of": parts_of_answer}))
    }

    /// Asks another service through the own sidecar.
    async fn ask(&self, to: &'static str, method: &str, target: &str) -> Result<u16, NoAnswer> {
        let at = self.parts.ways.get(to).copied().ok_or_else(|| NoAnswer::Body("there is no way".to_owned()))?;
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(to).and_then(Vec::pop);
        let mut request = Request::new(Upload::new(if method == "POST" { 64 } else { 0 }, true));
        *request.method_mut() = method.parse().unwrap_or(Method::GET);
        *request.uri_mut() = target.parse().unwrap_or_default();
        request.headers_mut().insert(header::HOST, HeaderValue::from_static(to));
        let (mut line, mut fresh) = match kept {
            Some(line) => (line, false),
            None => (Line::plain(at).await?, true),
        };
        let answer = loop {
            match line.ask(request).await {
                Ok(answer) => break answer,
                Err((_, Some(unsent))) if !fresh => {
                    request = *unsent;
                    (line, fresh) = (Line::plain(at).await?, true);
                }
                Err((e, _)) => return Err(e),
            }
        };
        let status = answer.status().as_u16();
        let id = request_id(answer.headers());
        let reason = (status == 200 || status == 429).then_some(Reason::Permitted);
        self.parts.journal.write(|pages| pages.answered.push(Answered { id, status, to, reason }));
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = idle.entry(to).or_default();
        if lines.len() < limits::APP_IDLE_MAX {
            lines.push(line);
        }
        Ok(status)
    }
}

pub(crate) fn request_id(headers: &http::HeaderMap) -> String {
    headers.get("x-request-id").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

/// The operations of the marketplace, and what each needs of others. `None` is what no service declares.
fn operation(service: &str, method: &Method, path: &str) -> Option<Needs> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let known: Needs = match (service, method.as_str(), segments.as_slice()) {
        (_, "GET", ["healthz"]) => &[],
        ("users", "GET", ["v1", "users"]) | ("users", "GET" | "PUT" | "PATCH" | "DELETE", ["v1", "users", _]) => &[],
        ("invoices", "GET" | "POST", ["v1", "invoices"]) => &[],
        ("invoices", "GET", ["v1", "invoices", _]) => &[("users", "GET", "/v1/users/42"), ("items", "GET", "/v1/items/42")],
        ("invoices", "POST", ["v1", "invoices", _, "payment"]) => &[("tokenizer", "POST", "/v1/charges")],
        ("items", "GET", ["v1", "items"]) | ("items", "GET" | "POST" | "PUT", ["v1", "items", _]) => &[],
        ("items", "POST", ["market.items.Stock", "Check"]) => &[],
        ("tokenizer", "POST", ["v1", "cards"]) | ("tokenizer", "DELETE", ["v1", "cards", _]) => &[],
        ("tokenizer", "POST", ["v1", "charges"]) => &[("payments", "POST", "/v1/charges")],
        ("payments", "POST", ["v1", "charges" | "refunds"]) | ("payments", "GET", ["v1", "cards", _, "charges"]) => &[],
        _ => return None,
    };
    Some(known)
}

fn page(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
