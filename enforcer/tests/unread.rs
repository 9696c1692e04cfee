//! Callers that take nothing of an answer: their request ends in its time and with its right all the same, and the service is let go.
//!
//! Over HTTP/2 a stream whose window is closed is not asked for its answer at all, so nobody would see its time or its denial there.

#![cfg(test)]

#[path = "common/world.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod world;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portreeve_enforcer::Enforcer;
use portreeve_enforcer::report::Report;
use portreeve_engine::record::Why;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use world::{SHOP, Tls, World, ended, service, until};

/// A service whose answer to `/v1/items/big` has no end; it says when it is let go.
async fn endless(let_go: Arc<Semaphore>) -> SocketAddr {
    service(move |_, mut stream| {
        let let_go = Arc::clone(&let_go);
        async move {
            loop {
                let head = until(&mut stream, "\r\n\r\n").await;
                if head.is_empty() {
                    return;
                }
                if !head.starts_with("GET /v1/items/big") {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                    continue;
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n").await.unwrap();
                while stream.write_all(&[b'x'; 16 * 1024]).await.is_ok() {}
                let_go.add_permits(1);
                return;
            }
        }
    })
    .await
}

/// Says it when it is dropped.
struct LetGo(Arc<Semaphore>);

impl Drop for LetGo {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// The same over HTTP/2.
async fn endless_h2(let_go: Arc<Semaphore>) -> SocketAddr {
    service(move |_, stream| {
        let let_go = Arc::clone(&let_go);
        let answer = service_fn(move |request: Request<Incoming>| {
            let endless = request.uri().path() == "/v1/items/big";
            let held = endless.then(|| LetGo(Arc::clone(&let_go)));
            let piece = if endless { vec![b'x'; 16 * 1024] } else { b"ok".to_vec() };
            let pieces = futures_util::stream::unfold(held, move |held| {
                let piece = Frame::data(Bytes::from(piece.clone()));
                async move { held.map(|held| (Ok::<_, Infallible>(piece), Some(held))) }
            });
            async move { Ok::<_, Infallible>(Response::new(StreamBody::new(pieces))) }
        });
        async move {
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
        }
    })
    .await
}

async fn is_let_go(let_go: &Semaphore) {
    timeout(Duration::from_secs(10), let_go.acquire()).await.expect("the service is let go").unwrap().forget();
}

async fn start(world: &World, upstream: SocketAddr, inbound: &str) -> Enforcer {
    Enforcer::start(world.config(upstream, inbound, ""), Report::silent()).await.unwrap()
}

/// A caller over HTTP/2 with windows of so many bytes.
async fn h2(stream: Tls, window: u32) -> SendRequest<Empty<Bytes>> {
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(sender: &mut SendRequest<Empty<Bytes>>, path: &str) -> Response<Incoming> {
    sender.send_request(Request::get(format!("https://items{path}")).body(Empty::new()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_answer_that_nobody_takes_ends_in_its_time() {
    for times in ["stream: 300ms", "request: 600ms"] {
        let let_go = Arc::new(Semaphore::new(0));
        let world = World::new(SHOP);
        let enforcer = start(&world, endless(Arc::clone(&let_go)).await, &format!(", timeouts: {{{times}}}")).await;
        let mut http1 = world.connect(enforcer.inbound()[0], "invoices", b"http/1.1").await;
        http1.write_all(b"GET /v1/items/big HTTP/1.1\r\nHost: items\r\n\r\n").await.unwrap();
        is_let_go(&let_go).await;
        // Windows of nothing, of a little, and of more than one piece.
        for window in [0, 1, 100_000] {
            let mut sender = h2(world.connect(enforcer.inbound()[0], "invoices", b"h2").await, window).await;
            let unread = ask(&mut sender, "/v1/items/big").await;
            is_let_go(&let_go).await;
            if window > 1 {
                // The connection is none the worse for it.
                assert_eq!(ask(&mut sender, "/v1/items/1").await.into_body().collect().await.unwrap().to_bytes(), "ok");
            }
            assert!(unread.into_body().collect().await.is_err(), "an answer that was cut is not whole");
        }
        enforcer.shutdown().await;
        let records = world.records();
        let found: Vec<_> = ended(&records).iter().map(|e| (e.why, e.status)).collect();
        assert_eq!(found.iter().filter(|e| **e == (Why::Client, Some(200))).count(), 4, "{times}: {found:?}");
    }
}

/// A service of HTTP/2, to callers of both protocols.
#[tokio::test]
async fn an_answer_of_http2_that_nobody_takes_ends_in_its_time_and_with_its_right() {
    for (alpn, denied) in [(&b"http/1.1"[..], false), (b"http/1.1", true), (b"h2", false), (b"h2", true)] {
        let let_go = Arc::new(Semaphore::new(0));
        let world = World::new(SHOP);
        let times = if denied { "" } else { ", timeouts: {stream: 300ms}" };
        let inbound = format!(", upstream_protocol: http2{times}");
        let enforcer = start(&world, endless_h2(Arc::clone(&let_go)).await, &inbound).await;
        let mut stream = world.connect(enforcer.inbound()[0], "invoices", alpn).await;
        let caller = if alpn == b"h2" {
            let mut sender = h2(stream, 0).await;
            let unread = ask(&mut sender, "/v1/items/big").await;
            (None, Some((sender, unread)))
        } else {
            stream.write_all(b"GET /v1/items/big HTTP/1.1\r\nHost: items\r\n\r\n").await.unwrap();
            // The head alone: the answer has begun before its right is taken.
            assert!(until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
            (Some(stream), None)
        };
        if denied {
            world.replace_policies(&SHOP.replace("operations: [read-item, write-item]}", "operations: [write-item]}"));
            enforcer.reload().await.unwrap();
        }
        is_let_go(&let_go).await;
        enforcer.shutdown().await;
        drop(caller);
        let records = world.records();
        let why = if denied { Why::Policy } else { Why::Client };
        assert_eq!(ended(&records).iter().map(|e| (e.why, e.status)).collect::<Vec<_>>(), [(why, Some(200))], "{alpn:?} {denied}");
    }
}

#[tokio::test]
async fn a65_an_answer_that_nobody_takes_ends_with_its_right() {
    for window in [0, 1, 100_000] {
        let let_go = Arc::new(Semaphore::new(0));
        let world = World::new(SHOP);
        let enforcer = start(&world, endless(Arc::clone(&let_go)).await, "").await;
        let mut sender = h2(world.connect(enforcer.inbound()[0], "invoices", b"h2").await, window).await;
        let unread = ask(&mut sender, "/v1/items/big").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.replace_policies(&SHOP.replace("operations: [read-item, write-item]}", "operations: [write-item]}"));
        enforcer.reload().await.unwrap();
        is_let_go(&let_go).await;
        assert!(unread.into_body().collect().await.is_err(), "an answer that was cut is not whole");
        drop(sender);
        enforcer.shutdown().await;
        let records = world.records();
        assert_eq!(ended(&records).iter().map(|e| (e.why, e.status)).collect::<Vec<_>>(), [(Why::Policy, Some(200))], "{window}");
    }
}
