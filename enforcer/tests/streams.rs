//! Requests over HTTP/2, to services that speak HTTP/1 and HTTP/2: streams both ways at once, trailers, and what goes wrong.

#![cfg(test)]

#[path = "common/world.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod world;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portreeve_enforcer::Enforcer;
use portreeve_enforcer::report::Report;
use portreeve_engine::record::{Outcome, Why};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use world::{SHOP, World, big, ended, fixed, rest, service, until};

type Body = UnsyncBoxBody<Bytes, Infallible>;

fn none() -> Body {
    Empty::new().boxed_unsync()
}

/// A body whose frames are sent one by one.
fn fed() -> (mpsc::UnboundedSender<Frame<Bytes>>, Body) {
    let (feed, frames) = mpsc::unbounded_channel();
    let frames = futures_util::stream::unfold(frames, |mut frames| async { frames.recv().await.map(|f| (Ok(f), frames)) });
    (feed, StreamBody::new(frames).boxed_unsync())
}

async fn client(world: &World, enforcer: &Enforcer) -> SendRequest<Body> {
    let stream = world.connect(enforcer.inbound()[0], "invoices", b"h2").await;
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn ask(method: &str, target: &str, body: Body) -> Request<Body> {
    Request::builder().method(method).uri(format!("https://items{target}")).body(body).unwrap()
}

async fn next(body: &mut Incoming) -> Frame<Bytes> {
    tokio::time::timeout(Duration::from_secs(20), body.frame()).await.expect("it comes").unwrap().unwrap()
}

/// Answers at once and sends back every chunk as it comes; the trailers too.
async fn echo_chunks(mut stream: TcpStream) {
    until(&mut stream, "\r\n\r\n").await;
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    loop {
        let size = until(&mut stream, "\r\n").await;
        let Ok(n @ 1..) = usize::from_str_radix(size.trim(), 16) else { break };
        let mut chunk = vec![0; n + 2];
        stream.read_exact(&mut chunk).await.unwrap();
        stream.write_all(&[size.as_bytes(), &chunk].concat()).await.unwrap();
    }
    let mut trailers = until(&mut stream, "\r\n").await;
    while !trailers.ends_with("\r\n\r\n") && trailers != "\r\n" {
        trailers.push_str(&until(&mut stream, "\r\n").await);
    }
    stream.write_all(format!("0\r\n{trailers}").as_bytes()).await.unwrap();
    rest(&mut stream).await;
}

async fn echo_frames(stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| async move {
        let frames = futures_util::stream::unfold(request.into_body(), |mut body| async { body.frame().await.map(|f| (f, body)) });
        Ok::<_, Infallible>(Response::new(StreamBody::new(frames.take_while(|f| std::future::ready(f.is_ok())))))
    });
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

/// An enforcer before a service that sends back what it gets.
async fn echoing(http2: bool) -> (World, Enforcer) {
    let world = World::new(SHOP);
    let upstream = service(move |_, stream| async move { if http2 { echo_frames(stream).await } else { echo_chunks(stream).await } }).await;
    let inbound = if http2 { ", upstream_protocol: http2" } else { "" };
    let enforcer = Enforcer::start(world.config(upstream, inbound, ""), Report::silent()).await.unwrap();
    (world, enforcer)
}

/// A stream that says nothing ends all the same, whenever its caller tells so.
#[tokio::test]
async fn streams_may_be_empty() {
    for (http2, wait) in [(false, 0), (false, 20), (true, 0), (true, 20)] {
        let (world, enforcer) = echoing(http2).await;
        let mut client = client(&world, &enforcer).await;
        let (feed, body) = fed();
        let answer = tokio::spawn(async move { client.send_request(ask("POST", "/v1/items", body)).await });
        tokio::time::sleep(Duration::from_millis(wait)).await;
        drop(feed);
        let answer = tokio::time::timeout(Duration::from_secs(20), answer).await.expect("it is answered").unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{http2}, {wait}");
        let answer = tokio::time::timeout(Duration::from_secs(20), answer.into_body().collect()).await.expect("it ends").unwrap();
        assert!(answer.to_bytes().is_empty());
        enforcer.shutdown().await;
        assert!(ended(&world.records()).iter().all(|end| end.why == Why::Complete && end.bytes == 0));
    }
}

#[tokio::test]
async fn streams_go_both_ways_at_once_with_their_trailers() {
    for http2 in [false, true] {
        let (world, enforcer) = echoing(http2).await;
        let mut client = client(&world, &enforcer).await;
        let (feed, body) = fed();
        feed.send(Frame::data(Bytes::from_static(b"first"))).unwrap();
        let answer = client.send_request(ask("POST", "/v1/items", body)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let mut answer = answer.into_body();
        assert_eq!(next(&mut answer).await.into_data().unwrap(), "first");
        // Each piece comes back before the next one is sent.
        for n in 0..20 {
            let text = format!("piece {n}");
            feed.send(Frame::data(Bytes::from(text.clone()))).unwrap();
            assert_eq!(next(&mut answer).await.into_data().unwrap(), text, "{http2}");
        }
        let trailers = [("grpc-status", "0"), ("x-portreeve-principal", "evil")];
        let trailers = trailers.iter().map(|(n, v)| (n.parse::<http::HeaderName>().unwrap(), v.parse().unwrap())).collect();
        feed.send(Frame::trailers(trailers)).unwrap();
        drop(feed);
        let trailers = next(&mut answer).await.into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert!(!trailers.contains_key("x-portreeve-principal"), "{http2}");
        assert!(answer.frame().await.is_none());
        drop(client);
        enforcer.shutdown().await;
        let records = world.records();
        let (end, pieces) = (ended(&records)[0], (0..20).map(|n| format!("piece {n}").len()).sum::<usize>() + 5);
        assert_eq!((end.why, end.bytes), (Why::Complete, u64::try_from(pieces).unwrap()));
    }
}

#[tokio::test]
async fn answers_of_http1_are_read_strictly_for_http2_callers_too() {
    for (answer, status, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
        ("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", 200, "ok"),
        ("HTTP/1.1 204 No\r\n\r\n", 204, ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502, ""),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n", 502, ""),
        ("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 502, ""),
        ("nonsense\r\n\r\n", 502, ""),
    ] {
        let world = World::new(SHOP);
        let enforcer = world.start(fixed(answer).await).await;
        let mut client = client(&world, &enforcer).await;
        for _ in 0..2 {
            let got = client.send_request(ask("GET", "/v1/items/1", none())).await.unwrap();
            assert_eq!(got.status(), status, "{answer:?}");
            assert!(got.headers().contains_key("x-request-id") && !got.headers().contains_key("transfer-encoding"));
            let text = got.into_body().collect().await.unwrap().to_bytes();
            assert!(status == 502 || text == body, "{answer:?}: {text:?}");
        }
        drop(client);
        enforcer.shutdown().await;
    }
}

#[tokio::test]
async fn a_head_alone_keeps_the_length_it_tells_of() {
    let world = World::new(SHOP);
    let enforcer = world.start(fixed("HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n").await).await;
    let mut client = client(&world, &enforcer).await;
    for _ in 0..2 {
        let got = client.send_request(ask("HEAD", "/v1/items/1", none())).await.unwrap();
        assert_eq!((got.status(), &got.headers()["content-length"]), (StatusCode::OK, &http::HeaderValue::from_static("77")));
        assert!(got.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
    drop(client);
    enforcer.shutdown().await;
}

/// A service learns at once that nobody waits for its answer any more, and nothing of the request is left over; after an answer that was
/// whole its connection ends in order.
#[tokio::test]
async fn a_request_that_is_given_up_is_reset_at_its_service() {
    let world = World::new(SHOP);
    let (tell, mut told) = mpsc::unbounded_channel();
    let upstream = service(move |_, mut stream| {
        let tell = tell.clone();
        async move {
            let head = until(&mut stream, "\r\n\r\n").await;
            tell.send("asked").unwrap();
            let answer = match head.split(' ').nth(1).unwrap_or_default() {
                "/v1/items/begins" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
                "/v1/items/whole" => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
                _ => "",
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            let ended = match stream.read(&mut [0; 9]).await {
                Ok(0) => "in order",
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => "reset",
                _ => "something else",
            };
            tell.send(ended).unwrap();
        }
    })
    .await;
    let enforcer = world.start(upstream).await;
    for (item, end) in [("waits", "reset"), ("begins", "reset"), ("whole", "in order")] {
        let mut client = client(&world, &enforcer).await;
        let answer = tokio::spawn(client.send_request(ask("GET", &format!("/v1/items/{item}"), none())));
        assert_eq!(told.recv().await, Some("asked"));
        if item == "waits" {
            answer.abort();
        } else {
            let mut body = answer.await.unwrap().unwrap().into_body();
            next(&mut body).await;
        }
        assert_eq!(told.recv().await, Some(end), "over HTTP/2: {item}");
        let mut stream = world.connect(enforcer.inbound()[0], "invoices", b"http/1.1").await;
        stream.write_all(format!("GET /v1/items/{item} HTTP/1.1\r\nHost: items\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(told.recv().await, Some("asked"));
        if item != "waits" {
            until(&mut stream, if item == "whole" { "ok" } else { "abc" }).await;
        }
        drop(stream);
        assert_eq!(told.recv().await, Some(end), "over HTTP/1: {item}");
    }
    enforcer.shutdown().await;
}

/// Some services end the stream of such an answer behind its head. That nobody waits for it is not the caller's doing.
#[tokio::test]
async fn an_answer_that_is_a_head_alone_is_recorded_as_whole() {
    let world = World::new(SHOP);
    let upstream = service(|_, stream| async move {
        let service = service_fn(|request: Request<Incoming>| async move {
            let (feed, body) = fed();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                drop(feed);
            });
            let status = if request.uri().path().ends_with("/gone") { 204 } else { 200 };
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        });
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
    })
    .await;
    let enforcer = Enforcer::start(world.config(upstream, ", upstream_protocol: http2", ""), Report::silent()).await.unwrap();
    let mut client = client(&world, &enforcer).await;
    for (method, target) in [("HEAD", "/v1/items/1"), ("GET", "/v1/items/gone"), ("GET", "/v1/items/1")] {
        let got = client.send_request(ask(method, target, none())).await.unwrap();
        assert!(got.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
    drop(client);
    enforcer.shutdown().await;
    assert_eq!(ended(&world.records()).iter().map(|e| e.why).collect::<Vec<_>>(), [Why::Complete; 3]);
}

#[tokio::test]
async fn a_service_that_dies_or_answers_early_spoils_nothing_else() {
    let world = World::new(SHOP);
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let upstream = service(move |_, mut stream| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            let head = until(&mut stream, "\r\n\r\n").await;
            let answer = match head.split(' ').nth(1).unwrap_or_default() {
                "/v1/items/dies" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
                "/v1/items" => "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.contains("413") {
                rest(&mut stream).await;
            }
        }
    })
    .await;
    let enforcer = world.start(upstream).await;
    let mut client = client(&world, &enforcer).await;
    // The reset may overtake what was sent before it, even the head.
    let dies = match client.send_request(ask("GET", "/v1/items/dies", none())).await {
        Ok(answer) => answer.into_body().collect().await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(dies.is_err(), "an answer that broke off is not taken for whole");
    // Answered although the body never ends.
    let (feed, body) = fed();
    feed.send(Frame::data(Bytes::from_static(b"begin"))).unwrap();
    let early = client.send_request(ask("POST", "/v1/items", body)).await.unwrap();
    assert_eq!(early.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // The service closes after each answer without saying so; no request fails for it.
    for _ in 0..3 {
        let got = client.send_request(ask("GET", "/v1/items/1", none())).await.unwrap();
        assert_eq!(got.into_body().collect().await.unwrap().to_bytes(), "ok");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop((client, feed));
    enforcer.shutdown().await;
    assert_eq!(connections.load(Ordering::Relaxed), 5);
    let records = world.records();
    let ends: Vec<_> = ended(&records).iter().map(|e| (e.outcome, e.why, e.bytes)).collect();
    assert_eq!(ends[0], (Outcome::Forwarded, Why::Upstream, 3));
    assert!(ends[1..].iter().all(|e| e.1 == Why::Complete), "{ends:?}");
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_the_service_up_and_no_other_stream() {
    let world = World::new(SHOP);
    let (upstream, written) = big().await;
    let enforcer = world.start(upstream).await;
    let mut client = client(&world, &enforcer).await;
    let lazy = client.send_request(ask("GET", "/v1/items/big", none())).await.unwrap();
    let mut before = usize::MAX;
    while written.load(Ordering::Relaxed) != before {
        before = written.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(before < 64 << 20, "{before} bytes were taken for a caller that reads none");
    let got = client.send_request(ask("GET", "/v1/items/1", none())).await.unwrap();
    assert_eq!(got.into_body().collect().await.unwrap().to_bytes(), "ok");
    drop((lazy, client));
    enforcer.shutdown().await;
}

#[tokio::test]
async fn bodies_arrive_whole_whatever_their_size() {
    let world = World::new(SHOP);
    let upstream = service(|_, mut stream| async move {
        loop {
            let head = until(&mut stream, "\r\n\r\n").await.to_ascii_lowercase();
            let Some(length) = head.split("content-length: ").nth(1).and_then(|t| t.split('\r').next()) else { return };
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).await.unwrap();
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
        }
    })
    .await;
    let enforcer = world.start(upstream).await;
    let mut client = client(&world, &enforcer).await;
    for size in [1, 16_384, 70_000, 3 << 20] {
        let sent: Bytes = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect::<Vec<_>>().into();
        let got = client.send_request(ask("POST", "/v1/items", Full::new(sent.clone()).boxed_unsync())).await.unwrap();
        assert_eq!(got.headers()["content-length"].to_str().unwrap(), size.to_string());
        assert!(got.into_body().collect().await.unwrap().to_bytes() == sent, "{size}");
    }
    drop(client);
    enforcer.shutdown().await;
    assert!(ended(&world.records()).iter().all(|e| e.why == Why::Complete));
}

/// What policy reads is judged with the head: a service that puts trailers among the headers must not see another value.
#[tokio::test]
async fn a77_trailers_never_carry_what_policy_reads() {
    let world = World::new(SHOP);
    let (tell, mut told) = mpsc::unbounded_channel();
    let upstream = service(move |_, mut stream| {
        let tell = tell.clone();
        async move {
            let _ = tell.send(until(&mut stream, "\r\n0\r\n").await + &until(&mut stream, "\r\n\r\n").await);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let enforcer = world.start(upstream).await;
    let body = "5\r\nhello\r\n0\r\nX-Tenant: evil\r\nx_tenant: evil\r\nx-sum: 5\r\n\r\n";
    let head = "POST /v1/items HTTP/1.1\r\nHost: items\r\nx-tenant: good\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = world.raw(enforcer.inbound()[0], "invoices", format!("{head}{body}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let (feed, frames) = fed();
    let mut request = ask("POST", "/v1/items", frames);
    request.headers_mut().insert("x-tenant", "good".parse().unwrap());
    let mut trailers = http::HeaderMap::new();
    for (name, value) in [("x-tenant", "evil"), ("x_tenant", "evil"), ("x-sum", "5")] {
        trailers.insert(name, value.parse().unwrap());
    }
    feed.send(Frame::data(Bytes::from_static(b"hello"))).unwrap();
    feed.send(Frame::trailers(trailers)).unwrap();
    drop(feed);
    assert_eq!(client(&world, &enforcer).await.send_request(request).await.unwrap().status(), StatusCode::OK);
    for _ in 0..2 {
        let seen = told.recv().await.unwrap().to_ascii_lowercase();
        assert!(seen.contains("x-tenant: good\r\n") && seen.ends_with("\r\n0\r\nx-sum: 5\r\n\r\n"), "{seen}");
        assert!(!seen.contains("evil"), "{seen}");
    }
    enforcer.shutdown().await;
}

/// To a service that speaks HTTP/2 a library sends the body, beside the answer. A caller that reads nothing of that has it cut all the same.
#[tokio::test]
async fn a65_what_is_sent_ends_though_nobody_reads_its_answer() {
    let world = World::new(SHOP);
    let (tell, mut told) = mpsc::unbounded_channel();
    let upstream = service(move |_, stream| {
        let tell = tell.clone();
        async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (tell, mut body) = (tell.clone(), request.into_body());
                tokio::spawn(async move {
                    while let Some(Ok(_)) = body.frame().await {
                        let _ = tell.send("more");
                    }
                    let _ = tell.send("over");
                });
                let endless = futures_util::stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'.'; 16_384]))));
                std::future::ready(Ok::<_, Infallible>(Response::new(StreamBody::new(endless))))
            });
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    let enforcer = Enforcer::start(world.config(upstream, ", upstream_protocol: http2", ""), Report::silent()).await.unwrap();
    let mut client = client(&world, &enforcer).await;
    let (feed, body) = fed();
    let unread = client.send_request(ask("POST", "/v1/items", body)).await.unwrap();
    let feeding = tokio::spawn(async move {
        while feed.send(Frame::data(Bytes::from_static(b"more"))).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    for _ in 0..100 {
        assert_eq!(told.recv().await, Some("more"));
    }
    world.replace_policies(&SHOP.replace("operations: [read-item, write-item]}", "operations: [read-item]}"));
    enforcer.reload().await.unwrap();
    let over = async { while told.recv().await != Some("over") {} };
    tokio::time::timeout(Duration::from_secs(20), over).await.expect("what is denied goes on");
    feeding.abort();
    drop((unread, client));
    enforcer.shutdown().await;
}
