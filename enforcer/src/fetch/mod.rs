//! The one client for what the control plane offers over https: key sets, bundles, tokens, and where heads and spans go.
//!
//! Deliberately small: one connection for each fetch, HTTP/1.1, no proxy, no cookies, no cache, no retries; those who ask have
//! their own schedule. INVARIANTS: an address is judged before it is connected to, and is the one that is connected to (A09);
//! no redirect is followed; nothing is unpacked; every answer has a bound in bytes and all of a fetch one in time (A39); a
//! certificate is checked against roots that the operator chose. Never used for what a caller names.

mod address;
mod error;
mod limits;
mod pace;
mod roots;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod url;

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::ResolvesClientCert;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

pub(crate) use address::objection;
pub use error::FetchError;
pub use pace::{Backoff, jittered};
pub use roots::Roots;
use roots::Stamp;
use url::Host;
pub use url::{Url, UrlError};

/// Fetches from the control plane.
pub struct Fetcher {
    reach: Reach,
    roots: Roots,
    client: Option<Arc<dyn ResolvesClientCert>>,
    tls: Mutex<(Arc<ClientConfig>, Option<Stamp>)>,
}

/// How far fetches may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Private and loopback addresses may be connected to. Link-local, metadata and multicast addresses never are.
    pub private_addresses: bool,
    /// `http` is acceptable where the host turns out to be loopback; needs `private_addresses` too.
    pub loopback_http: bool,
}

impl Reach {
    /// What stands against a URL before its host is looked up, for those who read a configuration.
    #[must_use]
    pub fn objection(self, url: &Url) -> Option<FetchError> {
        if !(url.https || self.loopback_http && self.private_addresses) {
            return Some(FetchError::NotHttps);
        }
        match &url.host {
            Host::Name(_) => None,
            Host::Address(ip) => self.judge(url, *ip),
        }
    }

    fn judge(self, url: &Url, address: IpAddr) -> Option<FetchError> {
        let host = url.host.to_string();
        match objection(address, self.private_addresses) {
            Some(kind) => Some(FetchError::Forbidden { host, address, kind }),
            None if !url.https && !address::is_loopback(address) => Some(FetchError::Plain { host, address }),
            None => None,
        }
    }
}

/// One question to the control plane.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    url: &'a Url,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    body_bytes_max: usize,
    within: Duration,
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The status; never a redirect.
    pub status: StatusCode,
    /// What to send along next time.
    pub etag: Option<String>,
    /// How long it calls itself fresh (`cache-control`, less its `age`), at most a day. Zero where it must not be kept.
    pub max_age: Option<Duration>,
    /// When to come back, as an overloaded server asks; at most a day.
    pub retry_after: Option<Duration>,
    /// The media type, without parameters, in lower case.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
}

impl<'a> Ask<'a> {
    /// Asks for what is at `url`: at most `body_bytes_max` of it, all of it `within` this time.
    #[must_use]
    pub fn get(url: &'a Url, body_bytes_max: usize, within: Duration) -> Self {
        Self { url, method: Method::GET, headers: HeaderMap::new(), body: Bytes::new(), body_bytes_max, within }
    }

    /// Sends a body; the bounds are those of the answer.
    #[must_use]
    pub fn post(url: &'a Url, content_type: &'static str, body: Bytes, body_bytes_max: usize, within: Duration) -> Self {
        let ask = Self { url, method: Method::POST, headers: HeaderMap::new(), body, body_bytes_max, within };
        ask.with(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// Asks only for what is new since `etag`; see [`Fetched::is_unchanged`].
    #[must_use]
    pub fn unless(self, etag: Option<&str>) -> Self {
        match etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            Some(etag) => self.with(header::IF_NONE_MATCH, etag),
            None => self,
        }
    }

    /// Sends another header along. Credentials are to be marked sensitive by whoever gives them.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Asks over a connection that is open already; whoever opened it knows to whom. The time for all of it begins with the
    /// opening.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub(crate) async fn over<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        open: impl Future<Output = Result<S, FetchError>>,
    ) -> Result<Fetched, FetchError> {
        let (within, max) = (self.within, self.body_bytes_max);
        let whole = async move {
            let stream = open.await?;
            talk(stream, self.request().map_err(FetchError::Request)?, max).await
        };
        timeout(within, whole).await.unwrap_or(Err(FetchError::Timeout(within)))
    }

    fn request(mut self) -> Result<Request<Whole>, http::Error> {
        let host = self.url.host_header();
        let ours = [
            (header::HOST, host),
            (header::USER_AGENT, Some(HeaderValue::from_static(USER_AGENT))),
            (header::ACCEPT_ENCODING, Some(HeaderValue::from_static("identity"))),
            (header::CONNECTION, Some(HeaderValue::from_static("close"))),
        ];
        for (name, value) in ours {
            if let Some(value) = value {
                self.headers.insert(name, value);
            }
        }
        let mut request = Request::builder().method(self.method).uri(&self.url.target).body(Whole(Some(self.body)))?;
        *request.headers_mut() = self.headers;
        Ok(request)
    }
}

impl Fetched {
    /// Whether nothing is new since the `etag` that was sent along. There is no body then.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.status == StatusCode::NOT_MODIFIED
    }

    /// The answer, if it is a success or says that nothing is new.
    ///
    /// # Errors
    /// [`FetchError::Status`].
    pub fn ok(self) -> Result<Self, FetchError> {
        if self.status.is_success() || self.is_unchanged() { Ok(self) } else { Err(FetchError::Status(self.status)) }
    }
}

impl Fetcher {
    /// Fetches as far as `reach`, believing `roots`. With `client`, our own certificate is shown to whoever asks for it.
    ///
    /// # Errors
    /// The roots cannot be had.
    pub fn new(roots: Roots, reach: Reach, client: Option<Arc<dyn ResolvesClientCert>>) -> Result<Self, FetchError> {
        let stamp = stamp_of(&roots);
        let tls = roots::client_config(&roots, client.as_ref())?;
        Ok(Self { reach, roots, client, tls: Mutex::new((tls, stamp)) })
    }

    /// Fetches. Every status but a redirect is an answer; see [`Fetched::ok`].
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn fetch(&self, ask: Ask<'_>) -> Result<Fetched, FetchError> {
        let within = ask.within;
        timeout(within, self.exchange(ask)).await.unwrap_or(Err(FetchError::Timeout(within)))
    }

    async fn exchange(&self, ask: Ask<'_>) -> Result<Fetched, FetchError> {
        let (url, max) = (ask.url, ask.body_bytes_max);
        let stream = connect(&self.addresses(url).await?).await?;
        let request = ask.request().map_err(FetchError::Request)?;
        if !url.https {
            return talk(stream, request, max).await;
        }
        let name = url.server_name().ok_or(FetchError::Handshake(std::io::ErrorKind::InvalidInput.into()))?;
        let stream = TlsConnector::from(self.tls()?).connect(name, stream).await.map_err(FetchError::Handshake)?;
        talk(stream, request, max).await
    }

    /// The addresses of the host that may be connected to; never none.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, FetchError> {
        if let Some(objection) = self.reach.objection(url) {
            return Err(objection);
        }
        let host = || url.host.to_string();
        let found: Vec<SocketAddr> = match &url.host {
            Host::Address(ip) => vec![(*ip, url.port).into()],
            Host::Name(name) => {
                let found = lookup_host((name.as_str(), url.port)).await;
                found.map_err(|why| FetchError::Resolve { host: host(), why })?.collect()
            }
        };
        let mut objection = FetchError::Resolve { host: host(), why: std::io::ErrorKind::AddrNotAvailable.into() };
        let mut out = Vec::new();
        for address in found {
            match self.reach.judge(url, address.ip()) {
                Some(found) => objection = found,
                None if out.len() < limits::ADDRESSES_MAX => out.push(address),
                None => {}
            }
        }
        if out.is_empty() { Err(objection) } else { Ok(out) }
    }

    /// The TLS settings, made again when the file of roots changed. A file that is gone for a moment, while it is replaced,
    /// changes nothing; a broken one fails the fetch, so that whoever was believed before is not believed for ever.
    fn tls(&self) -> Result<Arc<ClientConfig>, FetchError> {
        let now = stamp_of(&self.roots);
        let mut tls = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if now.is_some() && now != tls.1 {
            *tls = (roots::client_config(&self.roots, self.client.as_ref())?, now);
        }
        Ok(Arc::clone(&tls.0))
    }
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("roots", &self.roots).field("reach", &self.reach).finish_non_exhaustive()
    }
}

fn stamp_of(roots: &Roots) -> Option<Stamp> {
    match roots {
        Roots::System | Roots::Nobody => None,
        Roots::File(path) => roots::stamp(path),
    }
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, FetchError> {
    let mut last = None;
    for address in addresses {
        let found = timeout(limits::CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        match found.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(stream) => return Ok(stream),
            Err(why) => last = Some(FetchError::Connect { address: *address, why }),
        }
    }
    Err(last.unwrap_or(FetchError::Handshake(std::io::ErrorKind::AddrNotAvailable.into())))
}

/// Puts the request and reads the answer whole.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: S, request: Request<Whole>, max: usize) -> Result<Fetched, FetchError> {
    let mut builder = http1::Builder::new();
    builder.max_headers(limits::HEADERS_MAX).max_buf_size(limits::BUFFER_BYTES_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(FetchError::Http)?;
    let answer = async move {
        let response = sender.send_request(request).await.map_err(FetchError::Http)?;
        read(response, max).await
    };
    // Both in one task, so that nothing outlives the fetch.
    let (mut connection, mut answer) = (pin!(connection), pin!(answer));
    tokio::select! {
        biased;
        answer = answer.as_mut() => return answer,
        // Where the connection ended, what came of it is with the other half.
        _ = connection.as_mut() => {}
    }
    answer.await
}

async fn read(response: Response<Incoming>, max: usize) -> Result<Fetched, FetchError> {
    let (parts, mut body) = response.into_parts();
    let (status, headers) = (parts.status, &parts.headers);
    if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
        return Err(FetchError::Redirected(status));
    }
    if headers.get_all(header::CONTENT_ENCODING).iter().any(|v| !v.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(FetchError::Encoded);
    }
    if body.size_hint().lower() > u64::try_from(max).unwrap_or(u64::MAX) {
        return Err(FetchError::TooLarge(max));
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(FetchError::Http)?.into_data() else { continue };
        if data.len() > max.saturating_sub(bytes.len()) {
            return Err(FetchError::TooLarge(max));
        }
        bytes.extend_from_slice(&data);
    }
    let seconds = |name| text(headers, &name).and_then(|t| t.trim().parse().ok()).map(Duration::from_secs);
    Ok(Fetched {
        status,
        etag: text(headers, &header::ETAG).filter(|etag| etag.len() <= limits::ETAG_BYTES_MAX).map(str::to_owned),
        max_age: max_age(headers).map(|age| age.saturating_sub(seconds(header::AGE).unwrap_or_default()).min(limits::MAX_AGE_MAX)),
        retry_after: seconds(header::RETRY_AFTER).map(|after| after.min(limits::MAX_AGE_MAX)),
        content_type: text(headers, &header::CONTENT_TYPE)
            .map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()),
        body: bytes.freeze(),
    })
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What `cache-control` says of freshness (RFC 9111 §5.2.2).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut found = None;
    let directives = headers.get_all(header::CACHE_CONTROL).into_iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    for directive in directives {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(Duration::ZERO),
            "max-age" => found = value.trim().trim_matches('"').parse().ok().map(Duration::from_secs).or(found),
            _ => {}
        }
    }
    found
}

/// A body that is there at once.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
    }
}

const USER_AGENT: &str = concat!("portreeve/", env!("CARGO_PKG_VERSION"));
