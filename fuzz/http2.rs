//! The enforcer's reading of HTTP/2, held against the HTTP library's: what the gate takes for a request, the library must take for the
//! same one.
//!
//! The other way round nothing is asked: the library may take what the gate refuses. A fuzz target calls this with random bytes, a test
//! of the enforcer with frames put together at random.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portreeve_enforcer::body::ResponseBody;
use portreeve_enforcer::h1::buffer::Source;
use portreeve_enforcer::h2::connection::{Called, Connection, Given, Reply, Service};
use portreeve_enforcer::head::{Fault, Head};
use portreeve_enforcer::times::Times;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A request as somebody understood it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Understood {
    /// The method.
    pub method: String,
    /// Scheme, authority and path.
    pub target: String,
    /// Names and values, by name, in the order in which lines of one name came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// What came behind it.
    pub trailers: Vec<(String, Vec<u8>)>,
}

/// Frames on one connection, behind its preface and settings: as the gate reads them, each request must be one that the library reads.
///
/// # Panics
/// Where the two differ.
pub fn http2(data: &[u8]) {
    let bytes = [PREFACE, SETTINGS, data].concat();
    // Where a connection ends with an error, what was begun before it depends on who was first.
    let Some((judged, ours)) = read(&bytes, 1) else { return };
    for (other, _) in [7, usize::MAX].into_iter().filter_map(|piece| read(&bytes, piece)) {
        assert_eq!(other, judged, "what is judged depends on how it comes");
    }
    if !ours.is_empty()
        && let Some(theirs) = theirs(&bytes)
    {
        are_among(ours, theirs, &format!("the library reads something else of {data:02x?}"));
    }
}

fn are_among(some: Vec<Understood>, mut all: Vec<Understood>, why: &str) {
    for request in some {
        let at = all.iter().position(|other| *other == request);
        let at = at.unwrap_or_else(|| panic!("{why}: {request:?} is not among {all:?}"));
        all.swap_remove(at);
    }
}

/// What the gate takes for requests, of those whose bodies are whole; `None` where it ends the connection with an error.
#[must_use]
pub fn ours(bytes: &[u8]) -> Option<Vec<Understood>> {
    Some(read(bytes, 1)?.1)
}

/// The heads that come to judgement, and the requests that come whole, of bytes that come in pieces.
fn read(bytes: &[u8], piece: usize) -> Option<(Vec<Understood>, Vec<Understood>)> {
    // Its timers want one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime can be built");
    let _entered = runtime.enter();
    let (judged, seen) = (Seen::default(), Seen::default());
    let (again, waker) = again();
    let io = Played::new(bytes, piece);
    let written = Arc::clone(&io.written);
    let mut connection = Box::pin(Connection::new(io, Shop(judged.clone(), seen.clone()), &Times::default()));
    while again.0.swap(false, Ordering::Relaxed) && connection.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {}
    drop(connection);
    let written = written.lock().unwrap();
    (!is_ended(&written)).then(|| (judged.lock().unwrap().clone(), sorted(&seen)))
}

/// Whether there is a GOAWAY among these frames.
fn is_ended(mut frames: &[u8]) -> bool {
    while let Some([a, b, c, kind, ..]) = frames.first_chunk::<9>() {
        if *kind == 7 {
            return true;
        }
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap_or(usize::MAX);
        frames = frames.get(9_usize.saturating_add(length)..).unwrap_or_default();
    }
    false
}

/// What the library takes for requests; `None` where it ends the connection: with an error, or because the caller said goodbye and nothing
/// was open. The gate serves what comes behind that, as it may: a goodbye only says that the other side opens nothing (RFC 9113, 6.8).
#[must_use]
pub fn theirs(bytes: &[u8]) -> Option<Vec<Understood>> {
    let seen = Seen::default();
    let tell = seen.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let tell = tell.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?;
            let trailers = body.trailers().map(lines).unwrap_or_default();
            let uri = &parts.uri;
            let target = format!(
                "{}://{}{}",
                uri.scheme_str().unwrap_or_default(),
                uri.authority().map_or("", |a| a.as_str()),
                uri.path_and_query().map_or("", |p| p.as_str())
            );
            let headers = joined(lines(&parts.headers));
            tell.lock().unwrap().push(Understood {
                method: parts.method.to_string(),
                target,
                headers,
                body: body.to_bytes().to_vec(),
                trailers,
            });
            Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let tasks = Tasks::default();
    let mut builder = hyper::server::conn::http2::Builder::new(tasks.clone());
    builder.max_header_list_size(16 * 1024).initial_stream_window_size(256 * 1024).initial_connection_window_size(1024 * 1024);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(Played::new(bytes, 1)), service));
    let (again, waker) = again();
    let cx = &mut Context::from_waker(&waker);
    let mut open: Vec<Task> = Vec::new();
    while again.0.swap(false, Ordering::Relaxed) {
        if connection.as_mut().poll(cx).is_ready() {
            return None;
        }
        open.append(&mut tasks.0.lock().unwrap());
        open.retain_mut(|task| task.as_mut().poll(cx).is_pending());
    }
    Some(sorted(&seen))
}

type Seen = Arc<Mutex<Vec<Understood>>>;
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks that somebody polls.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<Vec<Task>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.lock().unwrap().push(Box::pin(task));
    }
}

fn sorted(seen: &Seen) -> Vec<Understood> {
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    seen
}

fn lines(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let mut lines: Vec<_> = map.iter().map(|(n, v)| (n.as_str().to_owned(), v.as_bytes().trim_ascii().to_vec())).collect();
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    lines
}

/// The pieces of a cookie as one, as they go on (RFC 9113, 8.2.3).
fn joined(lines: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let mut out: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, value) in lines {
        match out.last_mut() {
            Some((last, whole)) if name == "cookie" && last == "cookie" => {
                whole.extend_from_slice(b"; ");
                whole.extend_from_slice(&value);
            }
            _ => out.push((name, value)),
        }
    }
    // Blanks that stand around the whole, and not those between two pieces of nothing.
    out.iter_mut().for_each(|(_, value)| *value = value.trim_ascii().to_vec());
    out
}

/// Reads every request to its end.
struct Shop(Seen, Seen);

impl Service for Shop {
    type Body = ResponseBody;

    const TUNNELS: bool = true;

    fn call(&mut self, head: Head<'_>, given: Given) -> Called<ResponseBody> {
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
        let authority = head.authority.is_none_or(|a| plain(a) && a.parse::<http::uri::Authority>().is_ok());
        let paths = portreeve_engine::path::Paths::Strict;
        // What the gate judges next is refused there.
        let judged = authority
            && head.scheme.is_some_and(|s| s == "http" || s == "https")
            && portreeve_engine::request::parse_target(head.target, paths).is_ok();
        let (Given::Body(mut body), true) = (given, judged) else {
            return Called::Answer(Response::new(ResponseBody::own(String::new())));
        };
        let mut headers: Vec<_> = head.fields.iter().map(|f| (f.name.to_owned(), f.value.to_vec())).collect();
        headers.sort_by(|a, b| a.0.cmp(&b.0));
        // Without an authority the library tells no scheme.
        let scheme = head.authority.and(head.scheme).unwrap_or_default();
        let target = format!("{scheme}://{}{}", head.authority.unwrap_or_default(), head.target);
        let (method, seen) = (head.method.to_owned(), self.1.clone());
        let mut understood = Understood { method, target, headers, body: Vec::new(), trailers: Vec::new() };
        self.0.lock().unwrap().push(understood.clone());
        Called::Later(Box::pin(async move {
            while let Some(frame) = std::future::poll_fn(|cx| body.poll_next(cx)).await {
                let Ok(frame) = frame else { return Reply::Answer(Response::new(ResponseBody::own(String::new()))) };
                match frame.into_data() {
                    Ok(data) => understood.body.extend_from_slice(&data),
                    Err(frame) => understood.trailers = frame.into_trailers().map(|t| lines(&t)).unwrap_or_default(),
                }
            }
            seen.lock().unwrap().push(understood);
            Reply::Answer(Response::new(ResponseBody::own(String::new())))
        }))
    }

    fn refuse(&mut self, fault: Fault) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::own(String::new()));
        *response.status_mut() = fault.status;
        response
    }
}

struct Again(AtomicBool);

impl Wake for Again {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn again() -> (Arc<Again>, Waker) {
    let again = Arc::new(Again(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&again));
    (again, waker)
}

/// A connection on which everything comes in pieces of a size, nothing more will, and which does not end.
struct Played {
    data: Vec<u8>,
    at: usize,
    piece: usize,
    rested: bool,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Played {
    fn new(bytes: &[u8], piece: usize) -> Self {
        Self { data: bytes.to_vec(), at: 0, piece, rested: false, written: Arc::default() }
    }
}

impl AsyncRead for Played {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Poll::Pending;
        }
        // Between two pieces others have their turn.
        if self.piece < rest.len() && !self.rested {
            self.rested = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let n = rest.len().min(buf.remaining()).min(self.piece);
        buf.put_slice(rest.get(..n).unwrap_or_default());
        self.at += n;
        self.rested = false;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Played {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.written.lock().unwrap().extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Source for Played {}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
