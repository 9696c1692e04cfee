//! The token service on a socket: `POST /token`, `GET /jwks.json`, and the metadata that clients look for.
//!
//! With an identity it speaks mutual TLS, and the caller's certificate says who asks. Without one it listens on loopback only,
//! in the clear, and does not know who asks.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use portreeve_engine::id::SpiffeId;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::limits::{CONNECTIONS_MAX, DRAIN, FORM_BYTES_MAX, HANDSHAKE_TIMEOUT, READ_AGAIN, REQUEST_TIMEOUT};
use super::{Exchange, Form, Refused};
use crate::config::{ConfigError, StsConfig};
use crate::jwt::{Issuer, JwtError, MintError, Verifier};
use crate::listening::{self, Whole};
use crate::report::Report;
use crate::tls::{self, Identity, IdentityError};

/// Why a token service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum StsError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The key sets of the accepted issuers.
    #[error(transparent)]
    Tokens(#[from] JwtError),
    /// Its own key.
    #[error(transparent)]
    Key(#[from] MintError),
    /// The address cannot be listened on.
    #[error("cannot listen on `{address}`: {why}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The cause.
        why: std::io::Error,
    },
    /// Threads or signals cannot be had.
    #[error("the system does not give what is needed: {0}")]
    System(std::io::Error),
}

/// A running token service.
#[derive(Debug)]
pub struct Sts {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

/// What every connection shares.
#[derive(Debug)]
struct Desk {
    config: StsConfig,
    loaded: ArcSwap<Loaded>,
    /// When the files were read last, and what was told of that.
    read: Mutex<(Instant, String)>,
    report: Report,
}

/// What was made of the files.
#[derive(Debug)]
struct Loaded {
    exchange: Exchange,
    identity: Option<Identity>,
}

impl Sts {
    /// Starts a token service. The port may be 0.
    ///
    /// # Errors
    /// See [`StsError`].
    pub async fn start(config: StsConfig, report: Report) -> Result<Self, StsError> {
        let address = config.listen;
        let bind = |why| StsError::Bind { address, why };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let stop = watch::Sender::new(false);
        let loaded = ArcSwap::from_pointee(load(&config, Issuer::open_or_create)?);
        let desk = Arc::new(Desk { config, loaded, read: Mutex::new((Instant::now(), String::new())), report });
        let serve = move |(stream, _)| Arc::clone(&desk).connection(stream);
        let accepting = tokio::spawn(listening::accept(listener, CONNECTIONS_MAX, DRAIN, stop.subscribe(), serve));
        Ok(Self { address, stop, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes nothing new and ends.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        // It ends within its drain limit; a panic in it would have been told.
        let _ = self.accepting.await;
    }
}

fn load(config: &StsConfig, issuer: impl FnOnce(&str, &Path) -> Result<Issuer, MintError>) -> Result<Loaded, StsError> {
    let exchange = Exchange {
        issuer: issuer(&config.issuer, &config.key)?,
        accept: Verifier::load(&config.accept)?,
        audiences: config.audiences.clone(),
        lifetime: config.lifetime,
        claims: config.claims.clone(),
    };
    let identity = config.identity.as_ref().map(Identity::load).transpose()?.map(Identity::http1_only);
    Ok(Loaded { exchange, identity })
}

impl Desk {
    /// What the files hold now; what cannot be read leaves the last good.
    fn renew(&self) -> Arc<Loaded> {
        {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if read.0.elapsed() < READ_AGAIN {
                return self.loaded.load_full();
            }
            read.0 = Instant::now();
        }
        // A key that is gone, as while it is replaced, is not made anew: what it signed would be worth nothing.
        let told = match load(&self.config, Issuer::open) {
            Ok(loaded) => {
                self.loaded.store(Arc::new(loaded));
                String::new()
            }
            Err(error) => format!("what is new is not taken up, the last good stays in use: {error}"),
        };
        let before = std::mem::replace(&mut self.read.lock().unwrap_or_else(PoisonError::into_inner).1, told.clone());
        if !told.is_empty() && told != before {
            self.report.tell(&told);
        }
        self.loaded.load_full()
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        if stream.set_nodelay(true).is_err() {
            return;
        }
        match &self.renew().identity {
            None => Arc::clone(&self).serve(TokioIo::new(stream), None).await,
            Some(identity) => {
                // Who cannot prove an identity is told nothing.
                if let Ok((stream, peer)) = tls::accept(identity, stream, HANDSHAKE_TIMEOUT).await {
                    let caller = peer.svid().id.clone();
                    Arc::clone(&self).serve(TokioIo::new(stream), Some(caller)).await;
                }
            }
        }
    }

    async fn serve<I: Read + Write + Unpin>(self: Arc<Self>, io: I, caller: Option<SpiffeId>) {
        let service = service_fn(move |request: Request<Incoming>| {
            let (desk, caller) = (Arc::clone(&self), caller.clone());
            async move { Ok::<_, Infallible>(desk.answer(request, caller.as_ref()).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT).max_buf_size(FORM_BYTES_MAX);
        // How a connection ended concerns its caller.
        let _ = builder.serve_connection(io, service).await;
    }

    async fn answer(&self, request: Request<Incoming>, caller: Option<&SpiffeId>) -> Response<Whole> {
        match (request.uri().path(), request.method()) {
            ("/token", &Method::POST) => self.token(request, caller).await,
            ("/token", _) => plain(StatusCode::METHOD_NOT_ALLOWED, "only `POST` is answered here"),
            ("/jwks.json", &Method::GET) => json_text(StatusCode::OK, self.loaded.load().exchange.issuer.jwks_json()),
            ("/.well-known/oauth-authorization-server", &Method::GET) => json_text(StatusCode::OK, self.metadata().to_string()),
            _ => plain(StatusCode::NOT_FOUND, "no such page"),
        }
    }

    /// What RFC 8414 has clients look for.
    fn metadata(&self) -> Value {
        let issuer = &self.config.issuer;
        json!({
            "issuer": issuer,
            "token_endpoint": format!("{}/token", issuer.trim_end_matches('/')),
            "jwks_uri": format!("{}/jwks.json", issuer.trim_end_matches('/')),
            "grant_types_supported": ["urn:ietf:params:oauth:grant-type:token-exchange"],
            "response_types_supported": [],
        })
    }

    async fn token(&self, request: Request<Incoming>, caller: Option<&SpiffeId>) -> Response<Whole> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return refusal(&invalid("the content type must be `application/x-www-form-urlencoded`".to_owned()));
        }
        let form = match timeout(REQUEST_TIMEOUT, collect(request.into_body())).await {
            Ok(Some(body)) => Form::read(&body).map_err(invalid),
            Ok(None) => Err(invalid(format!("the request is broken off or has more than {FORM_BYTES_MAX} bytes"))),
            Err(_) => Err(invalid("the request did not come in time".to_owned())),
        };
        match form.and_then(|form| self.loaded.load().exchange.exchange(&form, caller, crate::clock::wall())) {
            Err(refused) => refusal(&refused),
            Ok(issued) => {
                let mut answer = json!({
                    "access_token": issued.token,
                    "issued_token_type": issued.token_type,
                    "token_type": "Bearer",
                    "expires_in": issued.expires_in,
                });
                if let (Some(scope), Some(answer)) = (issued.scope, answer.as_object_mut()) {
                    answer.insert("scope".to_owned(), scope.into());
                }
                json_text(StatusCode::OK, answer.to_string())
            }
        }
    }
}

async fn collect(mut body: Incoming) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame.ok()?.into_data() {
            if out.len() + data.len() > FORM_BYTES_MAX {
                return None;
            }
            out.extend_from_slice(&data);
        }
    }
    Some(out)
}

fn invalid(description: String) -> Refused {
    Refused { error: "invalid_request", description }
}

fn refusal(refused: &Refused) -> Response<Whole> {
    let status = if refused.error == "server_error" { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::BAD_REQUEST };
    json_text(status, json!({"error": refused.error, "error_description": refused.description}).to_string())
}

fn plain(status: StatusCode, text: &str) -> Response<Whole> {
    page(status, "text/plain", format!("{text}\n"))
}

fn json_text(status: StatusCode, text: String) -> Response<Whole> {
    page(status, "application/json", text)
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Whole> {
    let mut response = Response::new(Whole::of(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // A token must not stay in anybody's cache (RFC 6749 §5.1).
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Runs the token service of a configuration file until SIGTERM or SIGINT; with `check_only`, only checks that it could.
///
/// # Errors
/// What stands in the way.
pub fn run(path: &Path, check_only: bool, report: &Report) -> Result<(), StsError> {
    let config = StsConfig::read(path)?;
    if check_only {
        return load(&config, Issuer::open_or_would_create).map(|_| ());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StsError::System)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(StsError::System)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(StsError::System)?;
        let how = if config.identity.is_some() { "mutual TLS" } else { "plain HTTP, so callers are not known" };
        let issuer = config.issuer.clone();
        let sts = Sts::start(config, report.clone()).await?;
        report.tell(&format!("`{issuer}` exchanges tokens on {} ({how})", sts.address()));
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        sts.shutdown().await;
        Ok(())
    })
}
