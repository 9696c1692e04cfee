//! The enforcer's reading of HTTP/1, held against hyper's: what the gate takes for a request, hyper must take for the same one.
//!
//! The other way round nothing is asked: hyper may take what the gate refuses. A fuzz target calls this with random bytes, a test
//! of the enforcer with known tricks and with requests put together at random.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use http::Response;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portreeve_enforcer::h1::body::{Decoder, Encoder, Step};
use portreeve_enforcer::h1::scan::{self, Finder, Framing};
use portreeve_enforcer::head::Kind;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A request as somebody understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Understood {
    /// The method.
    pub method: String,
    /// The target as sent.
    pub target: String,
    /// Names in lower case and values, in the order in which lines of one name came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Requests on one connection: as the gate reads them, each must be what hyper reads in its place.
///
/// # Panics
/// Where the two differ.
pub fn http(data: &[u8]) {
    let ours = ours(data);
    for piece in [usize::MAX, 1] {
        assert_eq!(ours, ours_in_pieces(data, piece), "what is read depends on how it comes");
    }
    if ours.is_empty() {
        return;
    }
    let theirs = hypers(data);
    for (n, ours) in ours.iter().enumerate() {
        let theirs = theirs.get(n).unwrap_or_else(|| panic!("hyper refuses request {n}: {ours:?}"));
        assert_eq!(ours, theirs, "request {n}");
    }
}

/// What the gate takes for requests.
#[must_use]
pub fn ours(data: &[u8]) -> Vec<Understood> {
    ours_in_pieces(data, usize::MAX)
}

fn ours_in_pieces(data: &[u8], piece: usize) -> Vec<Understood> {
    let mut out = Vec::new();
    let mut at = 0;
    let mut have = data.len().min(piece);
    loop {
        let mut finder = Finder::default();
        let length = loop {
            match finder.find(data.get(at..have).unwrap_or_default()) {
                Ok(Some(length)) => break length,
                Ok(None) if have < data.len() => have = data.len().min(have.saturating_add(piece)),
                _ => return out,
            }
        };
        let Some(head) = data.get(at..at + length) else { return out };
        let Ok(read) = scan::request(head) else { return out };
        // What the gate judges next is refused there, and nothing after it is read.
        if !is_judged(&read.head) {
            return out;
        }
        let (method, target) = (read.head.method.to_owned(), said(head));
        let mut headers: Vec<_> = read.head.fields.iter().map(|f| (f.name.to_ascii_lowercase(), f.value.to_vec())).collect();
        headers.sort_by(|a, b| a.0.cmp(&b.0));
        at += length;
        let mut decoder = Decoder::new(read.framing);
        let (mut body, mut framed) = (Vec::new(), Vec::new());
        let encoder = Encoder::new(if read.framing == Framing::None { Framing::None } else { Framing::Chunked });
        loop {
            let rest = data.get(at..have).unwrap_or_default();
            match decoder.step(rest) {
                Err(_) => return out,
                Ok(Step::More(used)) => {
                    at += used;
                    if have == data.len() {
                        return out;
                    }
                    have = data.len().min(have.saturating_add(piece));
                }
                Ok(Step::Data { skip, len }) => {
                    let part = rest.get(skip..skip + len).unwrap_or_default();
                    body.extend_from_slice(part);
                    encoder.data(part, &mut framed);
                    at += skip + len;
                }
                Ok(Step::End(used)) => {
                    encoder.end(&decoder.trailers(), &mut framed);
                    at += used;
                    break;
                }
            }
        }
        if read.framing != Framing::None {
            assert_eq!(decoded(&framed), body, "what is framed anew is another body");
        }
        out.push(Understood { method, target, headers, body });
        if !read.persistent || read.head.method == "CONNECT" || read.head.fields.of(Kind::Upgrade).next().is_some() {
            return out;
        }
    }
}

/// Whether the gate would take the head further: a canonical path, and an authority of plain characters.
fn is_judged(head: &portreeve_enforcer::head::Head<'_>) -> bool {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    let authority = head.authority.is_none_or(|a| plain(a) && a.parse::<http::uri::Authority>().is_ok());
    let scheme = head.scheme.is_none_or(|s| s.eq_ignore_ascii_case("http") || s.eq_ignore_ascii_case("https"));
    authority && scheme && portreeve_engine::request::parse_target(head.target, portreeve_engine::path::Paths::Strict).is_ok()
}

/// The second word of the first line as hyper tells it: the scheme is the same in any case, and no path is `/` (RFC 3986, 3.1 and 6.2.3).
fn said(head: &[u8]) -> String {
    let said = String::from_utf8_lossy(head.split(|b| *b == b' ').nth(1).unwrap_or_default()).into_owned();
    match said.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => {
            let path = if rest.contains('/') { "" } else { "/" };
            format!("{}://{rest}{path}", scheme.to_ascii_lowercase())
        }
        _ => said,
    }
}

fn decoded(framed: &[u8]) -> Vec<u8> {
    let (mut decoder, mut at, mut body) = (Decoder::new(Framing::Chunked), 0, Vec::new());
    loop {
        match decoder.step(framed.get(at..).unwrap_or_default()) {
            Ok(Step::Data { skip, len }) => {
                body.extend_from_slice(framed.get(at + skip..at + skip + len).unwrap_or_default());
                at += skip + len;
            }
            Ok(Step::End(_)) => return body,
            other => panic!("our own framing is broken: {other:?}"),
        }
    }
}

/// What hyper takes for requests.
#[must_use]
pub fn hypers(data: &[u8]) -> Vec<Understood> {
    let seen: Arc<Mutex<Vec<Understood>>> = Arc::default();
    let tell = Arc::clone(&seen);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let tell = Arc::clone(&tell);
        async move {
            let (parts, body) = request.into_parts();
            let mut headers: Vec<_> = parts.headers.iter().map(|(n, v)| (n.as_str().to_owned(), v.as_bytes().to_vec())).collect();
            headers.sort_by(|a, b| a.0.cmp(&b.0));
            let body = body.collect().await?.to_bytes().to_vec();
            let target = parts.uri.to_string();
            tell.lock().unwrap().push(Understood { method: parts.method.to_string(), target, headers, body });
            Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let io = TokioIo::new(Played { data: data.to_vec(), at: 0 });
    let connection = hyper::server::conn::http1::Builder::new().max_headers(200).serve_connection(io, service);
    // Everything there is has come: it is asked for as long as it says that it could go on.
    let mut connection = std::pin::pin!(connection);
    let again = Arc::new(Again(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&again));
    while again.0.swap(false, Ordering::Relaxed) && connection.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {}
    let seen = seen.lock().unwrap();
    seen.clone()
}

struct Again(AtomicBool);

impl Wake for Again {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection on which everything has come and nothing more will, but which has not ended.
struct Played {
    data: Vec<u8>,
    at: usize,
}

impl AsyncRead for Played {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Poll::Pending;
        }
        let n = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..n).unwrap_or_default());
        self.at += n;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Played {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
