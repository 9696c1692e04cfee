//! WebSockets to services of the mesh: a connection of its own, from the local service to the callee.
//!
//! The request must be the first of its connection, as WebSocket clients have it, and nothing may follow it before the callee
//! has agreed (A22). Whether it may be is for the callee's law: an operation that offers `upgrade: [websocket]`.
//!
//! INVARIANT: bytes are carried only after the callee's 101; any other answer is an answer, and ends the connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::body::Outgoing;
use super::send::{Destination, Failure, Kept};
use super::tunnel;
use crate::gate::Gate;
use crate::h1::scan::{self, Framing};
use crate::limits::{H1_BUFFER_BYTES_MAX, HEAD_BYTES_MAX, HEAD_TIMEOUT, HEADERS_MAX};
use crate::serve::Phase;
use crate::tenure;

/// What the first head of a connection asks for.
#[derive(Debug)]
pub enum Asked {
    /// Nothing that concerns us here: whoever reads requests reads on.
    Plain,
    /// A WebSocket, with nothing after it.
    WebSocket(Box<Request<()>>),
    /// One, and bytes after it.
    Early,
}

/// Reads the first head of a connection, as far as it comes; it stays in `seen` unless it asks for a WebSocket.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S, seen: &mut BytesMut) -> Asked {
    let reading = async {
        loop {
            if let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
                return Some(end + 4);
            }
            if seen.len() >= HEAD_BYTES_MAX || !matches!(stream.read_buf(seen).await, Ok(1..)) {
                return None;
            }
        }
    };
    // What does not end in time, or is too long, is told and bounded by the reader of requests.
    let Ok(Some(end)) = timeout(HEAD_TIMEOUT, reading).await else { return Asked::Plain };
    match seen.get(..end).and_then(asked) {
        None => Asked::Plain,
        Some(_) if seen.len() > end => Asked::Early,
        Some(request) => {
            seen.clear();
            Asked::WebSocket(Box::new(request))
        }
    }
}

fn asked(head: &[u8]) -> Option<Request<()>> {
    let read = scan::request(head).ok()?;
    let head = read.head;
    let mut words = head.fields.tokens(crate::head::Kind::Upgrade);
    let is_websocket = words.next().is_some_and(|w| w.eq_ignore_ascii_case("websocket")) && words.next().is_none();
    let says_so = head.fields.tokens(crate::head::Kind::Connection).any(|t| t.eq_ignore_ascii_case("upgrade"));
    if !is_websocket || !says_so || head.method != "GET" || read.framing != Framing::None {
        return None;
    }
    head.to_request()
}

/// An agreed WebSocket, or the callee's other answer.
pub enum Agreed {
    /// The callee switches: what goes into its 101, and its end of the connection.
    Switched(HeaderMap, Box<Far>),
    /// It does not. The places are taken until its answer has passed.
    Answer(Response<Incoming>, Box<Kept>),
}

/// The callee's end.
pub struct Far {
    io: TokioIo<hyper::upgrade::Upgraded>,
    kept: Kept,
    /// How long nothing may move.
    idle: Duration,
}

/// Asks the callee. `request` is cleaned and has its `Host`.
///
/// # Errors
/// Why there is no answer.
pub async fn ask(destination: &Arc<Destination>, request: Request<()>, gate: &Gate) -> Result<Agreed, Failure> {
    let (stream, kept) = destination.line().await?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(H1_BUFFER_BYTES_MAX).max_headers(HEADERS_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(Failure::Http)?;
    destination.tasks.spawn(async move {
        // Its end is seen by whoever holds the other half.
        let _ = connection.with_upgrades().await;
    });
    let (mut parts, ()) = request.into_parts();
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(header::UPGRADE, WEBSOCKET);
    let mut request = Request::from_parts(parts, Outgoing::empty());
    super::pool::origin_form(&mut request);
    let answer = tokio::select! {
        answer = timeout(destination.settings().request, sender.send_request(request)) => answer.map_err(|_| Failure::Timeout)?,
        // The connection ends with the right to it, as any other (A65).
        _ = tenure::over(gate, &kept.peer) => return Err(Failure::Ended),
    };
    let mut answer = answer.map_err(Failure::Http)?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Agreed::Answer(answer, Box::new(kept)));
    }
    let says = answer.headers().get(header::UPGRADE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()));
    if !says {
        return Err(Failure::Form);
    }
    let io = hyper::upgrade::on(&mut answer).await.map_err(Failure::Http)?;
    Ok(Agreed::Switched(
        std::mem::take(answer.headers_mut()),
        Box::new(Far { io: TokioIo::new(io), kept, idle: destination.settings().tunnel }),
    ))
}

/// Tells the local service that the connection switches, and carries bytes until either end is done or may not go on.
pub async fn carry(mut near: TcpStream, headers: &HeaderMap, far: Box<Far>, gate: &Gate, phase: watch::Receiver<Phase>) {
    let mut head = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n".to_vec();
    put(&mut head, headers);
    if near.write_all(&head).await.is_err() {
        return;
    }
    let Far { io, kept, idle } = *far;
    tokio::select! {
        () = tunnel::between(near, io, idle, phase) => {}
        _ = tenure::over(gate, &kept.peer) => {}
    }
}

/// Gives the local service an answer that is not a switch, up to the end of the connection.
pub async fn answer(mut near: TcpStream, answer: Response<Incoming>, kept: Box<Kept>, gate: &Gate) {
    let (parts, mut body) = answer.into_parts();
    let mut head =
        format!("HTTP/1.1 {} {}\r\nconnection: close\r\n", parts.status.as_u16(), parts.status.canonical_reason().unwrap_or_default());
    head.extend(body.size_hint().exact().map(|n| format!("content-length: {n}\r\n")));
    let mut head = head.into_bytes();
    put(&mut head, &parts.headers);
    if near.write_all(&head).await.is_err() {
        return;
    }
    // Whoever asked for a WebSocket reads little of another answer; it is passed on as it comes, within the time of a request.
    let passing = async {
        while let Some(Ok(frame)) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
            if let Ok(data) = frame.into_data()
                && near.write_all(&data).await.is_err()
            {
                return;
            }
        }
    };
    let whole = tokio::select! {
        passed = timeout(super::limits::UPGRADE_ANSWER_TIME, passing) => passed.is_ok(),
        _ = tenure::over(gate, &kept.peer) => false,
    };
    drop(kept);
    // What broke off must not look whole.
    if whole {
        tunnel::close(near).await;
    }
}

fn put(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers.iter().filter(|(name, _)| **name != header::CONTENT_LENGTH) {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_whole_request_for_a_websocket_is_one() {
        let good =
            "GET /chat HTTP/1.1\r\nHost: users\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n";
        for (text, found) in [
            (good.to_owned(), "websocket"),
            (format!("{good}early"), "early"),
            (good.replace("GET", "POST"), "plain"),
            (good.replace("WebSocket\r", "h2c\r"), "plain"),
            (good.replace("Upgrade: WebSocket", "Upgrade: websocket, h2c"), "plain"),
            (good.replace("keep-alive, Upgrade", "keep-alive"), "plain"),
            (good.replace("Host: users", "Content-Length: 4\r\nHost: users"), "plain"),
            (good.replace("Host: users", "Host: a\r\nHost: b"), "plain"),
            ("GET / HTTP/1.1\r\nHost: users\r\n\r\n".to_owned(), "plain"),
            ("GET / HTTP/1.1\r\nHost".to_owned(), "plain"),
        ] {
            let mut seen = BytesMut::new();
            let (name, left) = match read(&mut text.as_bytes(), &mut seen).await {
                Asked::Plain => ("plain", text.len()),
                Asked::Early => ("early", text.len()),
                Asked::WebSocket(request) => {
                    assert_eq!((request.uri().path(), request.headers().len()), ("/chat", 4));
                    ("websocket", 0)
                }
            };
            assert_eq!((name, seen.len()), (found, left), "{text}");
        }
    }
}
