//! HTTP/2 with prior knowledge, as the local service may speak it on every listener: what it gets, and what it may not do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portreeve_enforcer::h2::hpack::{self, Block, Decoder};
use portreeve_enforcer::limits;
use portreeve_engine::Reason;
use portreeve_engine::record::Why;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::egress::PROXY;
use crate::mesh::{grpc, metric, slow_app, way};
use crate::town::{Town, app, decided, ended, nobody, ok};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// The number that its payload ends with.
    fn number(&self) -> u32 {
        u32::from_be_bytes(self.payload[self.payload.len() - 4..].try_into().unwrap())
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    fields.iter().for_each(|(name, value)| hpack::write_field(&mut out, name.as_bytes(), value.as_bytes(), false));
    out
}

fn request(stream: u32, last: bool, method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "http"), (":authority", "users"), (":path", path)];
    let flags = if last { END_HEADERS | END_STREAM } else { END_HEADERS };
    frame(HEADERS, flags, stream, &[block(&fields), block(more)].concat())
}

fn get(stream: u32) -> Vec<u8> {
    request(stream, true, "GET", "/v1/users/7", &[])
}

/// A connection of the local service, frame by frame.
struct Local {
    stream: TcpStream,
    decoder: Decoder,
    /// What may be sent, on the connection and on its first stream.
    room: (i64, i64),
}

impl Local {
    /// One whose answers may be as long as windows of the usual size allow.
    async fn open(to: SocketAddr) -> Self {
        let mut local = Self { stream: TcpStream::connect(to).await.unwrap(), decoder: Decoder::default(), room: (65_535, 65_535) };
        local.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        local.send(&frame(SETTINGS, 0, 0, &[])).await;
        local
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame; `None` at the end of the connection.
    async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        let read = timeout(Duration::from_secs(20), self.stream.read_exact(&mut head)).await.expect("something comes");
        read.ok()?;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap()];
        self.stream.read_exact(&mut payload).await.unwrap();
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next one that is not about the connection's own affairs, which are seen to.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            let next = self.frame().await?;
            if !self.saw_to(&next).await {
                return Some(next);
            }
        }
    }

    /// Sees to a frame that is about the connection's own affairs.
    async fn saw_to(&mut self, next: &Frame) -> bool {
        match (next.kind, next.flags, next.stream) {
            (SETTINGS, 0, _) => {
                let initial = next.payload.chunks(6).find(|s| s[1] == 4).map(|s| u32::from_be_bytes(s[2..].try_into().unwrap()));
                self.room.1 += initial.map_or(0, |initial| i64::from(initial) - 65_535);
                self.send(&frame(SETTINGS, ACK, 0, &[])).await;
            }
            (SETTINGS, ..) => {}
            (PING, 0, _) => self.send(&frame(PING, ACK, 0, &next.payload)).await,
            (WINDOW_UPDATE, _, 0) => self.room.0 += i64::from(next.number()),
            (WINDOW_UPDATE, ..) => self.room.1 += i64::from(next.number()),
            _ => return false,
        }
        true
    }

    /// The status of a head, or what its first trailer says.
    fn says(&mut self, head: &Frame) -> String {
        assert_eq!(head.kind, HEADERS, "{head:?}");
        let mut block = Block::default();
        self.decoder.decode(&head.payload, &mut block).unwrap();
        let (name, value) = block.iter().next().unwrap();
        let name = if name == b":status" { String::new() } else { format!("{}=", String::from_utf8_lossy(name)) };
        name + &String::from_utf8_lossy(value)
    }

    /// The rest of an answer: its statuses, its body, and what it was reset with.
    async fn answer(&mut self, stream: u32) -> (Vec<String>, String, Option<u32>) {
        let (mut statuses, mut body) = (Vec::new(), Vec::new());
        loop {
            let next = self.next().await.expect("the answer has an end");
            assert_eq!(next.stream, stream, "{next:?}");
            match next.kind {
                HEADERS => statuses.push(self.says(&next)),
                DATA => body.extend_from_slice(&next.payload),
                RST_STREAM => return (statuses, String::from_utf8(body).unwrap(), Some(next.number())),
                _ => panic!("{next:?}"),
            }
            if next.flags & END_STREAM != 0 {
                return (statuses, String::from_utf8(body).unwrap(), None);
            }
        }
    }

    async fn is_served(&mut self, stream: u32) {
        self.send(&get(stream)).await;
        assert_eq!(self.answer(stream).await, (vec!["200".to_owned()], "well".to_owned(), None));
    }
}

async fn well() -> (Town, portreeve_enforcer::Enforcer, Arc<AtomicUsize>) {
    let (town, (address, seen)) = (Town::new(443), app(|_, _| ok("well")).await);
    let callee = town.callee("users", address).await;
    (town, callee, seen)
}

async fn comes_to(count: &AtomicUsize, n: usize) {
    let began = Instant::now();
    while count.load(Ordering::SeqCst) < n {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not come to {n}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What is no request ends with its stream, and is recorded where it could have been meant for a place outside the mesh.
#[tokio::test]
async fn what_is_no_request_is_recorded_and_others_are_served() {
    let (town, callee, seen) = well().await;
    let caller = town.start("payments", "payments", &PROXY.replace("USERS", &callee.inbound()[0].to_string())).await;
    let mut local = Local::open(caller.outbound()[0]).await;
    local.is_served(1).await;
    let lone = |stream, fields: &[(&str, &str)]| frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(fields));
    local.send(&lone(3, &[(":method", "GET"), (":scheme", "http"), (":authority", "localhost")])).await;
    assert_eq!(local.answer(3).await, (vec![], String::new(), Some(1)));
    // What belongs to HTTP/1, a length that is none of it, a head that names nobody.
    local.send(&request(5, true, "GET", "/v1/users/7", &[("upgrade", "websocket")])).await;
    assert_eq!(local.answer(5).await.2, Some(1));
    local.send(&request(7, true, "POST", "/v1/users/7", &[("content-length", "5")])).await;
    assert_eq!(local.answer(7).await.2, Some(1));
    local.send(&lone(9, &[(":method", "GET"), (":scheme", "http"), (":path", "/v1/rates/4111111111111111?q")])).await;
    assert_eq!(local.answer(9).await.2, Some(1));
    // What is no request for the HTTP library that sends it on, and what is too much of one, is answered.
    local.send(&request(11, true, "GET", "/v1/users/`", &[])).await;
    assert_eq!(local.answer(11).await.0, ["400"]);
    local.send(&request(13, true, "GET", "/v1/users/7", &[("x", "y"); 101])).await;
    assert_eq!(local.answer(13).await.0, ["431"]);
    local.is_served(15).await;
    caller.shutdown().await;
    callee.shutdown().await;
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    let records = town.records("payments");
    let found: Vec<_> = decided(&records).into_iter().map(|(_, d)| (d.decision.reason, d.request.raw.clone().unwrap())).collect();
    assert!(found.iter().all(|(reason, _)| *reason == Reason::MalformedRequest), "{found:?}");
    let raw: Vec<_> = found.iter().map(|(_, raw)| raw.as_str()).collect();
    let expected = ["GET ?", "GET /v1/users/7", "POST /v1/users/7", "GET /v1/rates/", "GET /v1/users/`", "GET /v1/users/7"];
    assert!(raw.iter().zip(expected).all(|(raw, expected)| raw.starts_with(expected)) && raw.len() == expected.len(), "{raw:?}");
    assert!(!raw[3].contains("4111111111111111") && !raw[3].contains('?'), "{raw:?}");
}

/// Tunnels and WebSockets have a connection of their own, over HTTP/1.
#[tokio::test]
async fn a22_no_stream_becomes_a_tunnel() {
    let (town, callee, seen) = well().await;
    let caller = town.start("payments", "payments", &PROXY.replace("USERS", &callee.inbound()[0].to_string())).await;
    let mut local = Local::open(caller.outbound()[0]).await;
    let settings = local.frame().await.unwrap();
    assert_eq!(settings.kind, SETTINGS);
    assert!(settings.payload.chunks(6).all(|s| s[1] != 8 || s[2..] == [0; 4]), "extended CONNECT is offered");
    local.send(&frame(HEADERS, END_HEADERS, 1, &block(&[(":method", "CONNECT"), (":authority", "localhost:443")]))).await;
    // What is sent without an answer goes nowhere.
    local.send(&frame(DATA, 0, 1, b"early")).await;
    assert_eq!(local.answer(1).await.0, ["501"]);
    local.send(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).await;
    local.send(&request(3, false, "CONNECT", "/talk", &[])).await;
    assert_eq!(local.answer(3).await, (vec![], String::new(), Some(1)));
    let extended = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "users"), (":path", "/talk")];
    local.send(&frame(HEADERS, END_HEADERS | END_STREAM, 5, &block(&extended))).await;
    assert_eq!(local.answer(5).await.0, ["501"]);
    local.is_served(7).await;
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_waits_for_leave_to_send_gets_it_and_an_answer_before_the_body_is_heard() {
    let (town, (address, seen)) = (Town::new(443), app(|_, head| ok(if head.contains("expect") { "expects" } else { "well" })).await);
    let callee = town.callee("users", address).await;
    let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], "")).await;
    let mut local = Local::open(caller.outbound()[0]).await;
    local.send(&request(1, false, "POST", "/v1/users/7", &[("expect", "100-continue"), ("content-length", "5")])).await;
    let told = local.next().await.unwrap();
    assert_eq!(local.says(&told), "100");
    local.send(&frame(DATA, END_STREAM, 1, b"hello")).await;
    assert_eq!(local.answer(1).await, (vec!["200".to_owned()], "well".to_owned(), None));
    // The callee's law says no, and whoever sends goes on for a while.
    local.send(&request(3, false, "POST", "/v1/nothing-of-that-name", &[])).await;
    local.send(&frame(DATA, 0, 3, &[b'.'; 16_000])).await;
    let (statuses, _, reset) = local.answer(3).await;
    assert_eq!((statuses, reset), (vec!["403".to_owned()], None));
    local.send(&frame(DATA, 0, 3, &[b'.'; 16_000])).await;
    local.is_served(5).await;
    let (statuses, _, reset) = local.answer(3).await;
    assert_eq!((statuses, reset), (vec![], Some(0)), "nobody wants the rest");
    local.is_served(7).await;
    assert_eq!(seen.load(Ordering::SeqCst), 3);
}

/// A request with a body that did not reach the first endpoint reaches the second, whole.
#[tokio::test]
async fn a_body_over_http2_that_was_not_sent_is_sent_elsewhere() {
    let (town, service) = (Town::new(443), grpc().await);
    let inbound = format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{service}\", upstream_protocol: http2}}]\n");
    let callee = town.start("users", "users", &inbound).await;
    let caller = town.start("payments", "payments", &way(&[nobody().await, callee.inbound()[0]], "")).await;
    let mut local = Local::open(caller.outbound()[0]).await;
    for n in 0..12 {
        let stream = 2 * n + 1;
        local.send(&request(stream, false, "POST", "/shop.Users/Get", &[("content-length", "9")])).await;
        local.send(&frame(DATA, 0, stream, b"hell")).await;
        local.send(&frame(DATA, END_STREAM, stream, b"o you")).await;
        assert_eq!(local.answer(stream).await, (vec!["200".to_owned(), "grpc-status=0".to_owned()], "hello you".to_owned(), None));
    }
    assert!(metric(&caller, "portreeve_outbound_retries_total{service=\"users\"}") >= 5);
}

/// At the end of the process the local service is told, what it sent before it heard is served, and then the connection ends.
#[tokio::test]
async fn a_drain_tells_the_local_service_and_serves_what_it_sent() {
    let (town, release) = (Town::new(443), Arc::new(Notify::new()));
    let (address, seen) = slow_app(Arc::clone(&release)).await;
    let callee = town.callee("users", address).await;
    let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], "")).await;
    let mut local = Local::open(caller.outbound()[0]).await;
    local.send(&get(1)).await;
    comes_to(&seen, 1).await;
    let ending = tokio::spawn(caller.shutdown());
    let told = local.next().await.unwrap();
    assert_eq!((told.kind, told.payload[..4].to_vec()), (GOAWAY, vec![0x7f, 255, 255, 255]));
    let told = local.next().await.unwrap();
    assert_eq!((told.kind, told.payload), (GOAWAY, vec![0, 0, 0, 1, 0, 0, 0, 0]));
    release.notify_one();
    assert_eq!(local.answer(1).await, (vec!["200".to_owned()], "late".to_owned(), None));
    assert!(local.next().await.is_none(), "with the last stream the connection ends");
    ending.await.unwrap();
}

/// A stream that is given up gives the place of its request back, and only its own.
#[tokio::test]
async fn a_stream_that_is_given_up_takes_its_request_along() {
    let (town, release) = (Town::new(443), Arc::new(Notify::new()));
    let (address, seen) = slow_app(Arc::clone(&release)).await;
    let callee = town.callee("users", address).await;
    let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], ", limits: {requests: 1}")).await;
    let mut local = Local::open(caller.outbound()[0]).await;
    for n in 0..3 {
        let stream = 2 * u32::try_from(n).unwrap() + 1;
        local.send(&get(stream)).await;
        // With one place in all, the next request reaches the service only if this one gave its place back.
        comes_to(&seen, n + 1).await;
        local.send(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])).await;
    }
    drop(local);
    callee.shutdown().await;
    let records = town.records("users");
    let whys: Vec<_> = ended(&records).iter().map(|e| e.why).collect();
    assert_eq!(whys, [Why::Client; 3]);
}

/// A service that sends without end and takes nothing, or takes nothing until it is told to; how many bytes moved.
async fn flood_or_wall(sends: bool, takes: Arc<Notify>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, moved) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let count = Arc::clone(&moved);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        if sends {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            while stream.write_all(&[b'.'; 10_000]).await.is_ok() {
                count.fetch_add(10_000, Ordering::SeqCst);
            }
            return;
        }
        takes.notified().await;
        let mut buffer = vec![0; 65_536];
        let mut last = [0; 5];
        while last != *b"0\r\n\r\n" {
            let n = stream.read(&mut buffer).await.unwrap();
            count.fetch_add(n, Ordering::SeqCst);
            if n >= 5 {
                last.copy_from_slice(&buffer[n - 5..n]);
            }
        }
        stream.write_all(&ok("well")).await.unwrap();
        std::future::pending::<()>().await;
    });
    (address, moved)
}

/// More than the buffers of all the connections on the way, and far less than what is there to be sent.
const HELD_MAX: usize = 24 << 20;

/// A local service that takes nothing of an answer has it held back where it comes from, and gets all of it in the end.
#[tokio::test]
async fn an_answer_that_is_not_taken_is_held_back() {
    let town = Town::new(443);
    let (address, moved) = flood_or_wall(true, Arc::default()).await;
    let callee = town.callee("users", address).await;
    let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], "")).await;
    let mut local = Local::open(caller.outbound()[0]).await;
    local.send(&get(1)).await;
    let head = local.next().await.unwrap();
    assert_eq!(local.says(&head), "200");
    let mut got = 0;
    while got < 65_535 {
        got += local.next().await.unwrap().payload.len();
    }
    assert_eq!(got, 65_535, "no more than the window");
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = moved.load(Ordering::SeqCst);
        assert!(now < HELD_MAX, "{now} bytes are held");
        if now == before {
            break;
        }
        before = now;
    }
    // As much again as the service could get rid of, so that all that was held passes.
    while got < before + (1 << 20) {
        let by = 65_535_u32.to_be_bytes();
        local.send(&[frame(WINDOW_UPDATE, 0, 0, &by), frame(WINDOW_UPDATE, 0, 1, &by)].concat()).await;
        let most = got + 65_535;
        while got < most {
            got += local.next().await.unwrap().payload.len();
        }
        assert_eq!(got, most);
    }
}

/// So has one that sends more than its callee takes.
#[tokio::test]
async fn a_request_that_is_not_taken_is_held_back() {
    let (town, takes) = (Town::new(443), Arc::new(Notify::new()));
    let (address, moved) = flood_or_wall(false, Arc::clone(&takes)).await;
    let callee = town.callee("users", address).await;
    let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], "")).await;
    let mut local = Local::open(caller.outbound()[0]).await;
    local.send(&request(1, false, "POST", "/v1/users/7", &[])).await;
    let (mut sent, all, mut told) = (0, HELD_MAX + (4 << 20), false);
    while sent < all {
        let room = usize::try_from(local.room.0.min(local.room.1).min(16_384)).unwrap().min(all - sent);
        if room > 0 {
            local.send(&frame(DATA, 0, 1, &vec![b'.'; room])).await;
            sent += room;
            let room = i64::try_from(room).unwrap();
            local.room = (local.room.0 - room, local.room.1 - room);
            assert!(told || sent <= HELD_MAX, "{sent} bytes are held");
            continue;
        }
        if timeout(Duration::from_millis(300), local.stream.peek(&mut [0])).await.is_ok() {
            let next = local.frame().await.unwrap();
            assert!(local.saw_to(&next).await, "{next:?}");
        } else if !told {
            told = true;
            takes.notify_one();
        }
    }
    assert!(told);
    local.send(&frame(DATA, END_STREAM, 1, b"")).await;
    assert_eq!(local.answer(1).await, (vec!["200".to_owned()], "well".to_owned(), None));
    assert!(moved.load(Ordering::SeqCst) >= sent);
}

/// A26: a local service that has streams opened and given up without end loses its connection, and nobody else theirs.
#[tokio::test]
async fn a26_streams_opened_and_given_up_end_the_connection() {
    let (town, callee, _) = well().await;
    let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], "")).await;
    let (mut other, mut local) = (Local::open(caller.outbound()[0]).await, Local::open(caller.outbound()[0]).await);
    other.is_served(1).await;
    let (began, mut stream) = (Instant::now(), 1);
    let ended = loop {
        let burst: Vec<_> =
            (0..50).flat_map(|n| [get(stream + 2 * n), frame(RST_STREAM, 0, stream + 2 * n, &[0, 0, 0, 8])].concat()).collect();
        stream += 100;
        if local.stream.write_all(&burst).await.is_err() {
            break None;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{} streams", stream / 2);
        if let Ok(Some(next)) = timeout(Duration::from_millis(1), local.next()).await
            && next.kind == GOAWAY
        {
            break Some(next.number());
        }
    };
    assert!(ended.is_none_or(|code| code == 11), "{ended:?}");
    assert!(stream / 2 < 100 * limits::H2_PATIENCE);
    other.is_served(3).await;
}
