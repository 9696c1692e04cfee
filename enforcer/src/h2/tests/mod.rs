//! The connection against frames written by hand, polled by hand: what it takes, what it sends, and when it ends.

#[path = "../../../tests/common/dice.rs"]
mod dice;
mod floods;
mod flow;
mod order;
mod turns;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use hyper::body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::connection::{Called, Connection, Given, Reply, Service};
use super::frame::{self, ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE};
use super::hpack::{self, Block, Decoder};
use crate::body::BodyError;
use crate::h1::buffer;
use crate::head::{Fault, Head};
use crate::serve::Connection as _;
use crate::tether::{Held, Holds, Right};
use crate::times::{Due, Times};

/// Two ends of a connection, one of them in the hands of a test.
#[derive(Clone, Default)]
struct Io(Arc<Mutex<Ends>>);

#[derive(Default)]
struct Ends {
    sent: VecDeque<u8>,
    got: Vec<u8>,
    /// How many bytes are taken before writes have to wait; none is no bound.
    takes: Option<usize>,
    writes: usize,
    closed: bool,
    shut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut ends = self.0.lock().unwrap();
        if ends.sent.is_empty() && !ends.closed {
            ends.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = ends.sent.len().min(buf.remaining());
        buf.put_slice(&ends.sent.drain(..n).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut ends = self.0.lock().unwrap();
        let n = ends.takes.unwrap_or(usize::MAX).min(bytes.len());
        if n == 0 {
            ends.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        ends.takes = ends.takes.map(|takes| takes - n);
        ends.writes += 1;
        ends.got.extend_from_slice(&bytes[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().shut = true;
        Poll::Ready(Ok(()))
    }
}

impl buffer::Source for Io {}

/// What the service saw.
#[derive(Default)]
struct Seen {
    requests: Vec<String>,
    refused: Vec<&'static str>,
    /// Bodies and streams that nobody reads.
    kept: Vec<Given>,
    /// Answers that were let go before their end.
    broken: usize,
}

/// Answers by the path that is asked for.
#[derive(Clone, Default)]
struct Shop(Arc<Mutex<Seen>>);

/// An answer of so many bytes, in pieces.
struct Pieces {
    left: usize,
    piece: usize,
    trailers: bool,
    /// It ends then, while nobody asks for it.
    until: Option<Instant>,
    seen: Arc<Mutex<Seen>>,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left == 0 {
            let trailers = std::mem::take(&mut self.trailers);
            let map = || HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static("0"))]);
            return Poll::Ready(trailers.then(|| Ok(Frame::trailers(map()))));
        }
        let n = self.left.min(self.piece);
        self.left -= n;
        Poll::Ready(Some(Ok(Frame::data(vec![b'x'; n].into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && !self.trailers
    }
}

impl Holds for Pieces {
    fn held(&mut self) -> Option<Held> {
        let until = self.until?;
        let due = Due { silence: Duration::from_secs(3600), until, moved: Instant::now(), request: None };
        Some(Held { due, right: Right::Elsewhere, over: None })
    }

    fn take_back(&mut self, _: Held) {}
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if self.left > 0 {
            self.seen.lock().unwrap().broken += 1;
        }
    }
}

impl Shop {
    fn answer(&self, status: u16, left: usize) -> Response<Pieces> {
        let body = Pieces { left, piece: 10_000, trailers: false, until: None, seen: Arc::clone(&self.0) };
        Response::builder().status(status).body(body).unwrap()
    }
}

impl Service for Shop {
    type Body = Pieces;

    const TUNNELS: bool = true;

    fn call(&mut self, head: Head<'_>, given: Given) -> Called<Pieces> {
        let fields: Vec<_> = head.fields.iter().map(|f| format!("{}={}", f.name, String::from_utf8_lossy(f.value))).collect();
        let line = format!("{} {} {}", head.method, head.target, fields.join(","));
        let mut seen = self.0.lock().unwrap();
        seen.requests.push(line.trim_end().to_owned());
        let number = |text: &str| text.parse().unwrap_or(0);
        let mut parts = head.target.split('/').skip(1);
        let (what, n) = (parts.next().unwrap_or_default(), parts.next().map_or(0, number));
        drop(seen);
        let mut answer = self.answer(200, n);
        match (what, given) {
            ("now", _) => Called::Answer(answer),
            ("trailers", _) => {
                answer.body_mut().trailers = true;
                Called::Answer(answer)
            }
            ("short", _) => {
                answer.body_mut().until = Some(Instant::now() + Duration::from_millis(30));
                Called::Answer(answer)
            }
            ("read", Given::Body(mut body)) => {
                let shop = self.clone();
                Called::Later(Box::pin(async move {
                    let mut bytes = 0;
                    while let Some(frame) = std::future::poll_fn(|cx| body.poll_next(cx)).await {
                        match frame {
                            Ok(frame) => bytes += frame.data_ref().map_or(0, Bytes::len),
                            Err(_) => return Reply::Answer(shop.answer(400, 0)),
                        }
                    }
                    Reply::Answer(shop.answer(200, bytes))
                }))
            }
            ("keep", given) => {
                self.0.lock().unwrap().kept.push(given);
                Called::Later(Box::pin(std::future::pending()))
            }
            (_, given) => {
                drop(given);
                Called::Later(Box::pin(std::future::pending()))
            }
        }
    }

    fn refuse(&mut self, fault: Fault) -> Response<Pieces> {
        self.0.lock().unwrap().refused.push(fault.why);
        self.answer(fault.status.as_u16(), 1)
    }
}

/// A frame that the connection sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// A connection and the test's end of it.
struct Peer {
    io: Io,
    connection: Pin<Box<Connection<Io, Shop>>>,
    shop: Shop,
    done: bool,
}

fn times() -> Times {
    Times::default()
}

impl Peer {
    /// A connection that was begun as it should be; what it sent for that is thrown away.
    fn begun() -> Self {
        let mut peer = Self::new(&times());
        peer.send(frame::PREFACE);
        peer.send(&frame(SETTINGS, 0, 0, &[]));
        peer.run();
        let sent = peer.sent();
        let kinds: Vec<_> = sent.iter().map(|f| (f.kind, f.flags)).collect();
        assert_eq!(kinds, [(SETTINGS, 0), (WINDOW_UPDATE, 0), (SETTINGS, ACK)]);
        peer
    }

    fn new(times: &Times) -> Self {
        let (io, shop) = (Io::default(), Shop::default());
        Self { connection: Box::pin(Connection::new(io.clone(), shop.clone(), times)), io, shop, done: false }
    }

    fn send(&self, bytes: &[u8]) {
        let mut ends = self.io.0.lock().unwrap();
        ends.sent.extend(bytes);
        ends.reader.take().into_iter().for_each(Waker::wake);
    }

    fn takes(&self, bytes: Option<usize>) {
        let mut ends = self.io.0.lock().unwrap();
        ends.takes = bytes;
        ends.writer.take().into_iter().for_each(Waker::wake);
    }

    /// Polls it until it has nothing to do.
    fn run(&mut self) {
        let woken = Arc::new(Woken::default());
        woken.0.store(true, std::sync::atomic::Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&woken));
        let mut turns = 0;
        while !self.done && woken.0.swap(false, std::sync::atomic::Ordering::SeqCst) {
            turns += 1;
            assert!(turns < 10_000, "it never rests");
            self.done = self.connection.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        }
    }

    /// Polls it as a task until it ends or `what` holds.
    async fn until(&mut self, mut what: impl FnMut(&mut Self) -> bool) {
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            self.run();
            if what(self) {
                return;
            }
            assert!(Instant::now() < patience, "it does not come to it");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What was sent since it was asked for last.
    fn sent(&self) -> Vec<Sent> {
        let bytes = std::mem::take(&mut self.io.0.lock().unwrap().got);
        let (mut rest, mut frames) = (&bytes[..], Vec::new());
        while let Ok(Some(head)) = frame::Head::of(rest) {
            let (payload, behind) = rest[frame::HEAD_BYTES..].split_at(head.length);
            frames.push(Sent { kind: head.kind, flags: head.flags, stream: head.stream, payload: payload.to_vec() });
            rest = behind;
        }
        assert!(rest.is_empty(), "half a frame was sent: {rest:?}");
        frames
    }

    /// Sends, and gives what came of it.
    fn ask(&mut self, bytes: &[u8]) -> Vec<Sent> {
        self.send(bytes);
        self.run();
        self.sent()
    }
}

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_head(&mut out, payload.len(), kind, flags, stream);
    out.extend_from_slice(payload);
    out
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    fields.iter().for_each(|(name, value)| hpack::write_field(&mut out, name.as_bytes(), value.as_bytes(), false));
    out
}

fn head(method: &str, path: &str) -> Vec<u8> {
    block(&[(":method", method), (":scheme", "https"), (":authority", "items"), (":path", path)])
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET", path))
}

fn post(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &head("POST", path))
}

fn number(kind: u8, stream: u32, number: u32) -> Vec<u8> {
    frame(kind, 0, stream, &number.to_be_bytes())
}

fn setting(name: u16, value: u32) -> Vec<u8> {
    let payload: Vec<_> = name.to_be_bytes().into_iter().chain(value.to_be_bytes()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

fn status(sent: &Sent) -> String {
    let mut read = Block::default();
    Decoder::default().decode(&sent.payload, &mut read).unwrap();
    let (name, value) = read.iter().next().unwrap();
    assert_eq!(name, b":status");
    String::from_utf8(value.to_vec()).unwrap()
}

/// What came on a stream: its statuses, the bytes of its body, and how it ended.
fn answer(sent: &[Sent], stream: u32) -> (Vec<String>, usize, Option<u32>) {
    let on: Vec<_> = sent.iter().filter(|f| f.stream == stream).collect();
    let heads = on.iter().filter(|f| f.kind == HEADERS && f.payload.first() != Some(&0)).map(|f| status(f)).collect();
    let bytes = on.iter().filter(|f| f.kind == DATA).map(|f| f.payload.len()).sum();
    let end = on.last().and_then(|f| match f.kind {
        RST_STREAM => Some(frame::number(&f.payload)),
        _ if f.flags & END_STREAM != 0 => Some(u32::MAX),
        _ => None,
    });
    (heads, bytes, end)
}

const WHOLE: Option<u32> = Some(u32::MAX);

/// What a connection was ended with.
fn goodbye(sent: &[Sent]) -> Option<u32> {
    sent.iter().rfind(|f| f.kind == GOAWAY).map(|f| frame::number(&f.payload[4..]))
}
