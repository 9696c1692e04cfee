//! Every time of the inbound side that a configuration can say, held against the running gate. Each case has one short time in the place
//! of a default of many seconds, and waits for what that time must bring about.

#![cfg(test)]

#[path = "common/world.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod world;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portreeve_enforcer::Enforcer;
use portreeve_enforcer::report::Report;
use portreeve_engine::Event;
use portreeve_engine::record::{Outcome, Why};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use world::{SHOP, World, ended, fixed, rest, service, status, until};

const GET: &[u8] = b"GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn start(world: &World, upstream: SocketAddr, inbound: &str) -> Enforcer {
    Enforcer::start(world.config(upstream, inbound, ""), Report::silent()).await.unwrap()
}

/// Less than the shortest default of what is tested with it, so that a setting which does nothing is seen.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(4), what).await.expect("the configured time brings it about")
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut_after_the_configured_time() {
    for tcp in ["", ", protocol: tcp, port: 5432"] {
        let world = World::new(SHOP);
        let enforcer = start(&world, fixed(OK).await, &format!("{tcp}, timeouts: {{handshake: 200ms}}")).await;
        let mut silent = TcpStream::connect(enforcer.inbound()[0]).await.unwrap();
        let mut out = Vec::new();
        soon(silent.read_to_end(&mut out)).await.unwrap();
        enforcer.shutdown().await;
        let reasons: Vec<_> =
            world.records().into_iter().filter_map(|r| if let Event::Refused(r) = r.event { Some(r.reason) } else { None }).collect();
        assert_eq!(reasons, ["handshake-timeout"], "{tcp}");
    }
}

#[tokio::test]
async fn a_caller_that_asks_nothing_is_closed() {
    let world = World::new(SHOP);
    let enforcer = start(&world, fixed(OK).await, ", timeouts: {first_request: 200ms}").await;
    let mut stream = world.connect(enforcer.inbound()[0], "invoices", b"http/1.1").await;
    soon(rest(&mut stream)).await;
    let stream = world.connect(enforcer.inbound()[0], "invoices", b"h2").await;
    let (sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    soon(connection).await.unwrap();
    drop(sender);
    enforcer.shutdown().await;
}

#[tokio::test]
async fn half_a_head_is_answered_408() {
    let world = World::new(SHOP);
    let enforcer = start(&world, fixed(OK).await, ", timeouts: {head: 200ms}").await;
    let answer = soon(world.raw(enforcer.inbound()[0], "invoices", b"GET /v1/items/1 HTTP/1.1\r\nHo")).await;
    assert_eq!(status(&answer), 408, "{answer}");
    enforcer.shutdown().await;
}

#[tokio::test]
async fn a_connection_that_had_a_request_may_be_idle_for_so_long() {
    let world = World::new(SHOP);
    let enforcer = start(&world, fixed(OK).await, ", timeouts: {idle: 200ms}").await;
    let answer = soon(world.raw(enforcer.inbound()[0], "invoices", GET)).await;
    assert!(answer.ends_with("ok"), "{answer}");
    enforcer.shutdown().await;
}

/// A service that reads requests and says nothing to them.
async fn silent() -> SocketAddr {
    service(|_, mut stream| async move {
        rest(&mut stream).await;
    })
    .await
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_given_up() {
    for (upstream, inbound) in [(silent().await, ""), (stuck_h2(0).await, ", upstream_protocol: http2")] {
        let world = World::new(SHOP);
        let enforcer = start(&world, upstream, &format!("{inbound}, timeouts: {{response: 200ms, idle: 200ms}}")).await;
        let answer = soon(world.raw(enforcer.inbound()[0], "invoices", GET)).await;
        assert_eq!(status(&answer), 504, "{inbound}: {answer}");
        enforcer.shutdown().await;
        assert_eq!(ended(&world.records())[0].outcome, Outcome::Unavailable);
    }
}

/// A service that begins its answer and then says nothing, or, where `every` is given, a byte now and then for ever.
async fn stuck(every: Option<Duration>) -> SocketAddr {
    service(move |_, mut stream| async move {
        until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nbegun").await.unwrap();
        match every {
            None => drop(rest(&mut stream).await),
            Some(every) => {
                while stream.write_all(b".").await.is_ok() {
                    tokio::time::sleep(every).await;
                }
            }
        }
    })
    .await
}

/// The same over HTTP/2: so many pieces of its answer come at once, and then none; without one, not even the head.
async fn stuck_h2(pieces: usize) -> SocketAddr {
    service(move |_, stream| async move {
        let service = service_fn(move |_: Request<Incoming>| async move {
            if pieces == 0 {
                std::future::pending::<()>().await;
            }
            let frames = futures_util::stream::unfold(0, move |n| async move {
                if n == pieces {
                    std::future::pending::<()>().await;
                }
                Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"begun"))), n + 1))
            });
            Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
        });
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
    })
    .await
}

#[tokio::test]
async fn an_answer_that_stops_in_its_middle_is_cut() {
    for (upstream, inbound) in [(stuck(None).await, ""), (stuck_h2(1).await, ", upstream_protocol: http2")] {
        for alpn in [&b"http/1.1"[..], b"h2"] {
            let world = World::new(SHOP);
            let enforcer = start(&world, upstream, &format!("{inbound}, timeouts: {{stream: 200ms}}")).await;
            broken_off(&world, &enforcer, alpn).await;
            enforcer.shutdown().await;
            let records = world.records();
            let end = ended(&records)[0];
            assert_eq!((end.why, end.status, end.bytes), (Why::Upstream, Some(200), 5), "{inbound} {alpn:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_trickles_ends_with_the_whole_time() {
    for alpn in [&b"http/1.1"[..], b"h2"] {
        let world = World::new(SHOP);
        let upstream = stuck(Some(Duration::from_millis(20))).await;
        let enforcer = start(&world, upstream, ", timeouts: {request: 400ms}").await;
        broken_off(&world, &enforcer, alpn).await;
        enforcer.shutdown().await;
        let records = world.records();
        assert_eq!((ended(&records)[0].why, ended(&records)[0].status), (Why::Upstream, Some(200)), "{alpn:?}");
    }
}

/// Asks, and sees the answer begin and break off.
async fn broken_off(world: &World, enforcer: &Enforcer, alpn: &[u8]) {
    let mut stream = world.connect(enforcer.inbound()[0], "invoices", alpn).await;
    if alpn == b"http/1.1" {
        stream.write_all(GET).await.unwrap();
        let answer = soon(rest(&mut stream)).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("begun"), "{answer}");
        return;
    }
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://items/v1/items/1").body(Empty::new()).unwrap();
    let answer = soon(sender.send_request(request)).await.unwrap();
    assert!(soon(answer.into_body().collect()).await.is_err());
}

#[tokio::test]
async fn an_idle_connection_to_the_service_is_closed_after_the_configured_time() {
    let world = World::new(SHOP);
    let closed = Arc::new(Notify::new());
    let told = Arc::clone(&closed);
    let upstream = service(move |_, mut stream| {
        let told = Arc::clone(&told);
        async move {
            until(&mut stream, "\r\n\r\n").await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            rest(&mut stream).await;
            told.notify_one();
        }
    })
    .await;
    let enforcer = start(&world, upstream, ", timeouts: {upstream_idle: 200ms}").await;
    let mut caller = world.connect(enforcer.inbound()[0], "invoices", b"http/1.1").await;
    caller.write_all(GET).await.unwrap();
    assert!(soon(until(&mut caller, "ok")).await.ends_with("ok"));
    soon(closed.notified()).await;
    drop(caller);
    enforcer.shutdown().await;
}

/// What an HTTP/2 connection to a caller that says hello, and then nothing, has sent when it is closed.
async fn to_one_that_is_silent(times: &str) -> Vec<u8> {
    let world = World::new(SHOP);
    let enforcer = start(&world, fixed(OK).await, &format!(", timeouts: {{{times}}}")).await;
    let mut caller = world.connect(enforcer.inbound()[0], "invoices", b"h2").await;
    caller.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut sent = Vec::new();
    // In order or not: it was there, and is gone.
    let _ = soon(caller.read_to_end(&mut sent)).await;
    enforcer.shutdown().await;
    sent
}

const PING: [u8; 9] = [0, 0, 8, 6, 0, 0, 0, 0, 0];
const GOAWAY: [u8; 5] = [0, 0, 8, 7, 0];

#[tokio::test]
async fn a_caller_of_http2_that_gives_no_sign_of_life_is_closed() {
    let sent = to_one_that_is_silent("ping: 200ms, pong: 200ms").await;
    assert!(sent.windows(9).any(|frame| frame == PING), "{sent:?}");
}

/// The same in the other direction: a service that took a request and says nothing more, not even to a ping.
#[tokio::test]
async fn a_service_of_http2_that_gives_no_sign_of_life_is_given_up() {
    let world = World::new(SHOP);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let upstream = service(move |_, mut stream| {
        let tell = tell.clone();
        async move {
            stream.write_all(b"\0\0\0\x04\0\0\0\0\0").await.unwrap();
            let mut got = Vec::new();
            let _ = stream.read_to_end(&mut got).await;
            let _ = tell.send(got);
        }
    })
    .await;
    let enforcer = start(&world, upstream, ", upstream_protocol: http2, timeouts: {ping: 200ms, pong: 200ms}").await;
    let mut caller = world.connect(enforcer.inbound()[0], "invoices", b"http/1.1").await;
    caller.write_all(GET).await.unwrap();
    let answer = soon(until(&mut caller, "}\n")).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    let got = soon(told.recv()).await.unwrap();
    assert!(got.windows(9).any(|frame| frame == PING), "{got:?}");
    enforcer.shutdown().await;
}

#[tokio::test]
async fn a_connection_that_was_asked_to_end_and_does_not_is_closed() {
    let sent = to_one_that_is_silent("first_request: 200ms, wind_down: 200ms").await;
    assert!(sent.windows(5).any(|frame| frame == GOAWAY), "{sent:?}");
}

#[tokio::test]
async fn the_page_says_the_times_in_force() {
    let world = World::new(SHOP);
    let config = world.config(fixed(OK).await, ", timeouts: {stream: 1h, connect: 1500ms}", "admin: {listen: \"127.0.0.1:0\"}\n");
    let enforcer = Enforcer::start(config, Report::silent()).await.unwrap();
    let mut admin = TcpStream::connect(enforcer.admin().unwrap()).await.unwrap();
    admin.write_all(b"GET /config HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let page = rest(&mut admin).await;
    let body: serde_json::Value = serde_json::from_str(page.split_once("\r\n\r\n").unwrap().1).unwrap();
    let times = serde_json::json!({"handshake": "5s", "first_request": "30s", "head": "10s", "idle": "75s", "connect": "1500ms",
        "response": "60s", "stream": "3600s", "request": "86400s", "upstream_idle": "30s", "ping": "30s", "pong": "10s", "rotation": "60s",
        "wind_down": "10s"});
    assert_eq!(body["inbound"][0]["timeouts"], times);
    enforcer.shutdown().await;
}
