//! Ways to services of the mesh: balancing, retries, bounds, who is believed, what ends when something breaks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portreeve_enforcer::Enforcer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::town::{CUT, Town, app, code, decided, get, nobody, ok, raw, status};

pub(crate) fn way(connect: &[SocketAddr], more: &str) -> String {
    let connect: Vec<_> = connect.iter().map(|a| format!("\"{a}\"")).collect();
    format!("outbound: [{{listen: \"127.0.0.1:0\", service: users, connect: [{}]{more}}}]\n", connect.join(", "))
}

pub(crate) fn metric(enforcer: &Enforcer, line: &str) -> u64 {
    let text = enforcer.gate().metrics.render();
    let found = text.lines().find_map(|l| l.strip_prefix(line)).and_then(|rest| rest.trim().parse().ok());
    found.unwrap_or_else(|| panic!("{line}:\n{text}"))
}

fn count(count: &AtomicUsize) -> usize {
    count.load(Ordering::SeqCst)
}

#[tokio::test]
async fn requests_are_spread_over_the_endpoints() {
    let (town, (one, first), (two, second)) = (Town::new(443), app(|_, _| ok("one")).await, app(|_, _| ok("two")).await);
    let callees = [town.callee("users-1", one).await, town.callee("users-2", two).await];
    let caller = town.start("payments", "payments", &way(&callees.each_ref().map(|c| c.inbound()[0]), "")).await;
    for _ in 0..40 {
        assert_eq!(get(caller.outbound()[0], "/v1/users/7", "users").await.0, 200);
    }
    let (first, second) = (count(&first), count(&second));
    assert!(first + second == 40 && first > 5 && second > 5, "{first} {second}");
    assert_eq!(metric(&caller, "portreeve_outbound_requests_total{service=\"users\",outcome=\"ok\"}"), 40);
    caller.shutdown().await;
}

#[tokio::test]
async fn what_was_not_sent_is_sent_elsewhere_whatever_it_is() {
    let (town, (address, seen)) = (Town::new(443), app(|_, _| ok("one")).await);
    let callee = town.callee("users", address).await;
    let caller = town.start("payments", "payments", &way(&[nobody().await, callee.inbound()[0]], "")).await;
    for n in 0..20 {
        let answer =
            raw(caller.outbound()[0], "POST /v1/users/7 HTTP/1.1\r\nHost: users\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
                .await;
        assert_eq!(code(&answer), 200, "{n}: {answer}");
    }
    assert_eq!(count(&seen), 20);
    let (retries, ejections) =
        ("portreeve_outbound_retries_total{service=\"users\"}", "portreeve_outbound_ejections_total{service=\"users\"}");
    // Five failures in a row, and then nobody is asked who does not answer.
    assert_eq!((metric(&caller, retries), metric(&caller, ejections)), (5, 1));
    caller.shutdown().await;
    callee.shutdown().await;
    assert_eq!(decided(&town.records("users")).len(), 20, "each is recorded once");
}

#[tokio::test]
async fn only_what_is_idempotent_and_bare_is_asked_again() {
    let town = Town::new(443);
    let broken = app(|_, _| Vec::new()).await;
    let (town, broken_seen) = (town, broken.1);
    let (address, seen) = app(|_, _| ok("well")).await;
    let callees = [town.callee("users-1", broken.0).await, town.callee("users-2", address).await];
    let caller = town.start("payments", "payments", &way(&callees.each_ref().map(|c| c.inbound()[0]), "")).await;
    let ask = |method: &str, body: &str| {
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let text = format!("{method} /v1/users/7 HTTP/1.1\r\nHost: users\r\n{length}Connection: close\r\n\r\n{body}");
        async move { code(&raw(caller_at(), &text).await) }
    };
    static AT: std::sync::OnceLock<SocketAddr> = std::sync::OnceLock::new();
    AT.set(caller.outbound()[0]).unwrap();
    fn caller_at() -> SocketAddr {
        *AT.get().unwrap()
    }
    for (method, body, retried) in [("GET", "", true), ("PUT", "", true), ("POST", "", false), ("PUT", "x", false)] {
        let before = count(&broken_seen);
        let mut codes = Vec::new();
        // Few enough that the broken one is not left aside.
        while count(&broken_seen) < before + 1 {
            codes.push(ask(method, body).await);
        }
        let expected = if retried { 200 } else { 502 };
        assert_eq!(codes.last(), Some(&expected), "{method} {body:?}: {codes:?}");
    }
    assert!(count(&seen) >= 2);
    drop(caller);
}

#[tokio::test]
async fn a_failing_endpoint_is_left_aside_and_never_all_of_them() {
    let (town, (bad, seen), (good, _)) = (Town::new(443), app(|_, _| status(500)).await, app(|_, _| ok("")).await);
    let callees = [town.callee("users-1", bad).await, town.callee("users-2", good).await];
    let caller = town.start("payments", "payments", &way(&callees.each_ref().map(|c| c.inbound()[0]), "")).await;
    for _ in 0..60 {
        get(caller.outbound()[0], "/v1/users/7", "users").await;
    }
    assert_eq!(count(&seen), 5, "an answer is an answer: 500 is not asked again, but five in a row are enough");
    // With nobody else to ask it is asked all the same.
    let alone = town.start("payments", "alone", &way(&[callees[0].inbound()[0]], "")).await;
    for _ in 0..8 {
        assert_eq!(get(alone.outbound()[0], "/v1/users/7", "users").await.0, 500);
    }
    assert_eq!(count(&seen), 13);
}

#[tokio::test]
async fn a_destination_has_so_many_places() {
    let town = Town::new(443);
    let release = Arc::new(tokio::sync::Notify::new());
    let (address, seen) = slow_app(Arc::clone(&release)).await;
    let callee = town.callee("users", address).await;
    let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], ", limits: {requests: 1, pending: 0}")).await;
    let to = caller.outbound()[0];
    let first = tokio::spawn(async move { get(to, "/v1/users/1", "users").await.0 });
    while count(&seen) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(get(to, "/v1/users/2", "users").await.0, 503);
    release.notify_one();
    assert_eq!(first.await.unwrap(), 200);
    release.notify_one();
    assert_eq!(get(to, "/v1/users/3", "users").await.0, 200);
    assert_eq!(metric(&caller, "portreeve_outbound_failures_total{service=\"users\",reason=\"overload\"}"), 1);
}

/// An app that answers each request when it is told to.
pub(crate) async fn slow_app(release: Arc<tokio::sync::Notify>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (release, seen) = (Arc::clone(&release), Arc::clone(&counted));
            let service = service_fn(move |_: Request<Incoming>| {
                let (release, seen) = (Arc::clone(&release), Arc::clone(&seen));
                async move {
                    seen.fetch_add(1, Ordering::SeqCst);
                    release.notified().await;
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from("late"))))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, seen)
}

#[tokio::test]
async fn a_silent_service_is_given_up_and_not_asked_twice() {
    let (town, (address, seen)) = (Town::new(443), slow_app(Arc::default()).await);
    let callees = [town.callee("users-1", address).await, town.callee("users-2", address).await];
    let caller =
        town.start("payments", "payments", &way(&callees.each_ref().map(|c| c.inbound()[0]), ", timeouts: {request: 100ms}")).await;
    assert_eq!(get(caller.outbound()[0], "/v1/users/7", "users").await.0, 504);
    assert_eq!(count(&seen), 1);
}

#[tokio::test]
async fn a68_only_the_service_named_is_spoken_to() {
    let (town, (address, seen)) = (Town::new(443), app(|_, _| ok("stolen")).await);
    let other = town.start("other", "other", &format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{address}\"}}]\n")).await;
    let caller = town.start("payments", "payments", &way(&[other.inbound()[0]], "")).await;
    assert_eq!(get(caller.outbound()[0], "/v1/users/7", "users").await.0, 502);
    assert_eq!(count(&seen), 0);
    // Beside the right one it does no harm.
    let (good, _) = app(|_, _| ok("mine")).await;
    let callee = town.callee("users", good).await;
    let both = town.start("payments", "both", &way(&[other.inbound()[0], callee.inbound()[0]], "")).await;
    for _ in 0..20 {
        let (code, answer) = get(both.outbound()[0], "/v1/users/7", "users").await;
        assert!(code == 200 && answer.ends_with("mine"), "{answer}");
    }
    assert_eq!(count(&seen), 0);
}

#[tokio::test]
async fn a68_a_new_identity_is_used_from_the_next_request_on() {
    let (town, (address, _)) = (Town::new(443), app(|_, _| ok("")).await);
    let callee = town.callee("users", address).await;
    let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], "")).await;
    let mut local = TcpStream::connect(caller.outbound()[0]).await.unwrap();
    let mut ask = async || {
        local.write_all(b"GET /v1/users/7 HTTP/1.1\r\nHost: users\r\n\r\n").await.unwrap();
        let mut buffer = [0; 1024];
        let n = local.read(&mut buffer).await.unwrap();
        assert_eq!(code(&String::from_utf8_lossy(&buffer[..n])), 200);
    };
    ask().await;
    ask().await;
    town.issue("payments");
    caller.reload().await.unwrap();
    ask().await;
    caller.shutdown().await;
    callee.shutdown().await;
    let records = town.records("users");
    let used: Vec<_> = decided(&records).iter().map(|(_, d)| d.tls.as_ref().unwrap().sha256).collect();
    assert_eq!(used.len(), 3);
    assert!(used[0] == used[1] && used[1] != used[2], "{used:?}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_break_off() {
    let body = [b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec(), vec![b'x'; 300_000], CUT.to_vec()].concat();
    let (town, (address, _)) = (Town::new(443), app(move |n, _| if n == 0 { body.clone() } else { ok("whole") }).await);
    let callee = town.callee("users", address).await;
    let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], "")).await;
    let answer = raw(caller.outbound()[0], "GET /v1/users/7 HTTP/1.1\r\nHost: users\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("content-length: 1000000") && answer.len() < 400_000, "{}", answer.len());
    assert!(get(caller.outbound()[0], "/v1/users/7", "users").await.1.ends_with("whole"));
    assert_eq!(metric(&caller, "portreeve_outbound_failures_total{service=\"users\",reason=\"broken-off\"}"), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_its_request_along() {
    let (town, (address, seen)) = (Town::new(443), slow_app(Arc::default()).await);
    let callee = town.callee("users", address).await;
    let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], ", limits: {requests: 1}")).await;
    for n in 1..=3 {
        let mut local = TcpStream::connect(caller.outbound()[0]).await.unwrap();
        local.write_all(b"GET /v1/users/7 HTTP/1.1\r\nHost: users\r\n\r\n").await.unwrap();
        // With one place in all, the next request reaches the service only if this one gave its place back.
        while count(&seen) < n {
            tokio::task::yield_now().await;
        }
        drop(local);
    }
}

/// A gRPC-like service over HTTP/2 in the clear: echoes each message and ends with trailers.
pub(crate) async fn grpc() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|request: Request<Incoming>| async move {
                let te = request.headers().get("te").cloned();
                let echoed = request.into_body().into_data_stream().map(|d| Ok::<_, hyper::Error>(Frame::data(d?)));
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                trailers.insert("x-te", te.unwrap_or_else(|| "none".parse().unwrap()));
                let body = echoed.chain(futures_util::stream::iter([Ok(Frame::trailers(trailers))]));
                let response = Response::builder().header("content-type", "application/grpc");
                response.body(StreamBody::new(body))
            });
            let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            server.max_concurrent_streams(1000);
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[tokio::test]
async fn grpc_streams_both_ways_with_trailers_through_both_enforcers() {
    let (town, service) = (Town::new(443), grpc().await);
    let inbound = format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{service}\", upstream_protocol: http2}}]\n");
    let callee = town.start("users", "users", &inbound).await;
    let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], "")).await;
    // HTTP/2 with prior knowledge, as gRPC clients without TLS speak it.
    let stream = TcpStream::connect(caller.outbound()[0]).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, StreamBody<_>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (messages, received) = tokio::sync::mpsc::channel::<Bytes>(1);
    let body =
        futures_util::stream::unfold(received, |mut r| async { r.recv().await.map(|m| (Ok::<_, std::io::Error>(Frame::data(m)), r)) })
            .boxed();
    let request = Request::builder().method("POST").uri("http://users/shop.Users/Get").header("te", "trailers");
    let answer = sender.send_request(request.body(StreamBody::new(body)).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body();
    for n in 0..50 {
        // The next message is sent only when the last one came back: a stream that was held anywhere would stand still here.
        let message = Bytes::from(format!("message {n}"));
        messages.send(message.clone()).await.unwrap();
        let back = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(back, message);
    }
    drop(messages);
    let trailers = loop {
        match body.frame().await.unwrap().unwrap().into_trailers() {
            Ok(trailers) => break trailers,
            Err(frame) => assert!(frame.into_data().unwrap().is_empty()),
        }
    };
    assert_eq!((&trailers["grpc-status"], &trailers["x-te"]), (&"0".parse().unwrap(), &"trailers".parse().unwrap()));
    drop(sender);
    caller.shutdown().await;
    callee.shutdown().await;
    let records = town.records("users");
    assert_eq!(
        (decided(&records)[0].1.request.operation.as_deref(), decided(&records)[0].1.request.protocol.as_str()),
        (Some("call"), "HTTP/2")
    );
}

#[tokio::test]
async fn many_streams_share_few_connections() {
    let (town, service) = (Town::new(443), grpc().await);
    let inbound = format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{service}\", upstream_protocol: http2}}]\n");
    let callee = town.start("users", "users", &inbound).await;
    let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], "")).await;
    let mut open = Vec::new();
    // 250 calls that all stay open: more than one connection takes.
    for _ in 0..3 {
        let stream = TcpStream::connect(caller.outbound()[0]).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake::<_, _, StreamBody<_>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..84 {
            let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from("x")))]);
            let body = StreamBody::new(first.chain(futures_util::stream::pending()).boxed());
            let request = Request::builder().method("POST").uri("http://users/shop.Users/Get").body(body).unwrap();
            let mut answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "x");
            open.push(answer);
        }
    }
    assert!(open.len() == 252);
    let connections = callee.gate().metrics.connections.get();
    assert_eq!(connections, 3, "a hundred streams each");
}

/// A service that switches and echoes.
async fn talker() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
                assert!(head.contains("upgrade: websocket") && head.contains("sec-websocket-key: abc"), "{head}");
                let switch =
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: xyz\r\n\r\n";
                stream.write_all(switch.as_bytes()).await.unwrap();
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_websocket_passes_both_enforcers_where_an_operation_offers_it() {
    let (town, service) = (Town::new(443), talker().await);
    let callee = town.callee("users", service).await;
    let caller = town.start("payments", "payments", &way(&[nobody().await, callee.inbound()[0]], "")).await;
    let head = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: users\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\nX-Portreeve-Principal: me\r\n\r\n"
        )
    };
    let mut local = TcpStream::connect(caller.outbound()[0]).await.unwrap();
    local.write_all(head("/talk").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(local.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101 ") && answer.contains("sec-websocket-accept: xyz"), "{answer}");
    for n in 0..5 {
        let message = format!("frame {n}");
        local.write_all(message.as_bytes()).await.unwrap();
        let mut back = vec![0; message.len()];
        local.read_exact(&mut back).await.unwrap();
        assert_eq!(back, message.as_bytes());
    }
    drop(local);
    // Where no operation offers it, the callee's answer is the answer; bytes that come too early are refused here.
    assert_eq!(code(&raw(caller.outbound()[0], &head("/v1/users/7")).await), 501);
    assert_eq!(code(&raw(caller.outbound()[0], &format!("{}early", head("/talk"))).await), 400);
    caller.shutdown().await;
    callee.shutdown().await;
    let records = town.records("users");
    assert_eq!(decided(&records).len(), 2);
    assert_eq!(decided(&records)[0].1.request.operation.as_deref(), Some("talk"));
}

/// A WebSocket that the callee has not agreed to yet, or answers in another way, ends with the right to its connection, too.
#[tokio::test]
async fn a65_what_waits_for_a_websocket_ends_with_our_identity() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nbegun"] {
        let town = Town::new(443);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = listener.local_addr().unwrap();
        let (came, comes) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            came.send(()).unwrap();
            stream.read_to_end(&mut Vec::new()).await
        });
        let callee = town.callee("users", service).await;
        let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], "")).await;
        let mut local = TcpStream::connect(caller.outbound()[0]).await.unwrap();
        let head = "GET /talk HTTP/1.1\r\nHost: users\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n";
        local.write_all(head.as_bytes()).await.unwrap();
        comes.await.unwrap();
        let mut seen = Vec::new();
        while !answer.is_empty() && !seen.ends_with(b"begun") {
            seen.push(local.read_u8().await.unwrap());
        }
        let gate = caller.gate();
        gate.identity.replace(gate.identity.load_full().withdrawn());
        let ended = tokio::time::timeout(std::time::Duration::from_secs(10), local.read_to_end(&mut seen)).await;
        assert!(ended.is_ok(), "it is waited for without an identity: {answer}");
        assert_eq!(code(&String::from_utf8_lossy(&seen)), if answer.is_empty() { 502 } else { 200 });
        caller.shutdown().await;
        callee.shutdown().await;
    }
}

/// Reads one answer with a `content-length` whole, and gives its status.
async fn answered(stream: &mut TcpStream) -> u16 {
    let mut seen = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
            if body.len() >= length {
                return code(&text);
            }
        }
        let n = stream.read_buf(&mut seen).await.unwrap();
        assert!(n > 0, "the connection ended before the answer did: {text}");
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_body_is_heard_and_the_connection_serves_on() {
    const BODY: usize = 600_000;
    let (town, (address, seen)) = (Town::new(443), app(|_, _| ok("well")).await);
    let callee = town.callee("users", address).await;
    let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], "")).await;
    let lost = town.start("payments", "lost", &way(&[nobody().await], "")).await;
    for (to, due) in [(caller.outbound()[0], 403), (lost.outbound()[0], 502)] {
        let mut stream = TcpStream::connect(to).await.unwrap();
        let head = format!("POST /v1/nothing-of-that-name HTTP/1.1\r\nHost: users\r\nContent-Length: {BODY}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; BODY / 3]).await.unwrap();
        assert_eq!(answered(&mut stream).await, due);
        // The caller learns of it only now, and has more on its way.
        stream.write_all(&vec![b'x'; BODY - BODY / 3]).await.unwrap();
        stream.write_all(b"GET /v1/users/7 HTTP/1.1\r\nHost: users\r\n\r\n").await.unwrap();
        assert_eq!(answered(&mut stream).await, if due == 403 { 200 } else { due });
    }
    assert_eq!(count(&seen), 1);
    caller.shutdown().await;
    callee.shutdown().await;
    lost.shutdown().await;
}

#[tokio::test]
async fn whoever_waits_to_be_told_to_send_is_not_told_after_the_answer() {
    let (town, (address, _)) = (Town::new(443), app(|_, _| ok("well")).await);
    let callee = town.callee("users", address).await;
    let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], "")).await;
    let answer = raw(
        caller.outbound()[0],
        "POST /v1/nothing-of-that-name HTTP/1.1\r\nHost: users\r\nContent-Length: 9\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
    )
    .await;
    let heads: Vec<&str> = answer.lines().filter(|line| line.starts_with("HTTP/")).collect();
    assert!(heads.last().is_some_and(|last| last.contains("403")), "{heads:?}");
    caller.shutdown().await;
    callee.shutdown().await;
}

/// A callee that took a request and says nothing more, not even to a ping, is given up long before the answer would be.
#[tokio::test]
async fn a_callee_that_gives_no_sign_of_life_is_given_up() {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let town = Town::new(443);
    let chain: Vec<_> = CertificateDer::pem_file_iter(town.path("users.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(town.path("users.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let callee = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
        stream.write_all(b"\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got).await;
        got
    });
    let caller = town.start("payments", "payments", &way(&[address], ", timeouts: {ping: 200ms, pong: 200ms}")).await;
    // `raw` waits a third of the time after which an answer is given up.
    assert_eq!(get(caller.outbound()[0], "/v1/users/7", "users").await.0, 502);
    let got = callee.await.unwrap();
    assert!(got.windows(9).any(|frame| frame == [0, 0, 8, 6, 0, 0, 0, 0, 0]), "{got:?}");
    caller.shutdown().await;
}
