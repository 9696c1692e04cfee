//! WebSocket and `CONNECT`: only where an operation offers them, only by the service's word (A22), recorded and cut like the rest.

#![cfg(test)]

#[path = "common/world.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod world;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portreeve_engine::Reason;
use portreeve_engine::record::{Outcome, Why};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use world::{SHOP, World, decided, ended, rest, service, status, until};

fn policies() -> String {
    SHOP.replace(
        "operations:\n  - {id: read-item",
        "operations:\n  - {id: talk, method: GET, path: /talk, upgrade: [websocket]}\n  - {id: tunnel, method: CONNECT, path: /}\n  - {id: read-item",
    )
    .replace("[read-item, write-item]", "[read-item, write-item, talk, tunnel]")
}

const TALK: &str = "GET /talk HTTP/1.1\r\nHost: items\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const TUNNEL: &str = "CONNECT items:80 HTTP/1.1\r\nHost: items:80\r\n\r\n";

/// A service that switches, tells the head it got, and then sends back what it gets, until the other side has ended.
async fn echo(tell: mpsc::UnboundedSender<String>) -> std::net::SocketAddr {
    service(move |_, mut stream| {
        let tell = tell.clone();
        async move {
            let head = until(&mut stream, "\r\n\r\n").await;
            let answer = if head.starts_with("CONNECT") {
                "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
            } else {
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = tell.send(head);
            let mut bytes = [0; 1024];
            while let Ok(n @ 1..) = stream.read(&mut bytes).await {
                if stream.write_all(&bytes[..n]).await.is_err() {
                    break;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_is_recorded() {
    let world = World::new(&policies());
    let (tell, mut told) = mpsc::unbounded_channel();
    let enforcer = world.start(echo(tell).await).await;
    for (request, code) in [(TALK, 101), (TUNNEL, 200)] {
        let mut stream = world.connect(enforcer.inbound()[0], "invoices", b"http/1.1").await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = until(&mut stream, "\r\n\r\n").await;
        assert_eq!(status(&head), code, "{head}");
        assert_eq!(head.contains("upgrade: websocket"), code == 101, "{head}");
        assert!(!head.to_ascii_lowercase().contains("content-length"), "{head}");
        // What looks like a request is none in a tunnel.
        for text in ["hello", "GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n\r\n"] {
            stream.write_all(text.as_bytes()).await.unwrap();
            assert_eq!(until(&mut stream, text).await, text);
        }
        stream.shutdown().await.unwrap();
        assert_eq!(rest(&mut stream).await, "");
        let seen = told.recv().await.unwrap();
        if code == 101 {
            assert!(seen.contains("connection: upgrade\r\nupgrade: websocket\r\n") && seen.contains("Sec-WebSocket-Key: dGhl"), "{seen}");
        } else {
            assert!(seen.starts_with("CONNECT items:80 HTTP/1.1\r\nhost: items:80\r\n"), "{seen}");
        }
        assert!(seen.contains("x-portreeve-principal: spiffe://market.example/ns/shop/sa/invoices"), "{seen}");
    }
    enforcer.shutdown().await;
    let records = world.records();
    let asked: Vec<_> = decided(&records).iter().map(|d| (d.request.operation.as_deref(), d.request.upgrade.as_deref())).collect();
    assert_eq!(asked, [(Some("talk"), Some("websocket")), (Some("tunnel"), None)]);
    let ends: Vec<_> = ended(&records).iter().map(|e| (e.status, e.why, e.bytes)).collect();
    assert_eq!(ends, [(Some(101), Why::Complete, 46), (Some(200), Why::Complete, 46)]);
    // What was recorded can be asked again.
    let again = records.iter().find_map(|r| {
        if let portreeve_engine::Event::Decided(d) = &r.event { Some(d.request(r.at, portreeve_engine::path::Paths::Strict)) } else { None }
    });
    assert!(again.unwrap().is_ok());
}

#[tokio::test]
async fn tunnels_are_streams_of_http2_too() {
    let world = World::new(&policies());
    let (tell, mut told) = mpsc::unbounded_channel();
    let enforcer = world.start(echo(tell).await).await;
    let stream = world.connect(enforcer.inbound()[0], "invoices", b"h2").await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    // Whether extended `CONNECT` may be used is known with the first answer.
    let ask = |method: &str, uri: &str| Request::builder().method(method).uri(uri).body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(sender.send_request(ask("GET", "https://items/undeclared")).await.unwrap().status(), 403);
    let mut talk = ask("CONNECT", "https://items/talk");
    talk.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    talk.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
    let mut open = Vec::new();
    for request in [talk, ask("CONNECT", "items:80")] {
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut tunnel = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
        for text in ["hello", "there"] {
            tunnel.write_all(text.as_bytes()).await.unwrap();
            assert_eq!(until(&mut tunnel, text).await, text);
        }
        open.push(tunnel);
    }
    let seen = told.recv().await.unwrap();
    assert!(
        seen.starts_with("GET /talk HTTP/1.1\r\nhost: items\r\n") && seen.contains("connection: upgrade\r\nupgrade: websocket\r\n"),
        "{seen}"
    );
    let key = seen.split("sec-websocket-key: ").nth(1).unwrap().split('\r').next().unwrap();
    assert_eq!(key.len(), 24, "{key}");
    assert!(told.recv().await.unwrap().starts_with("CONNECT items:80 HTTP/1.1\r\n"));
    // What no operation offers.
    let mut other = ask("CONNECT", "https://items/v1/items/1");
    other.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
    assert_eq!(sender.send_request(other).await.unwrap().status(), 501);
    let mut unknown = ask("CONNECT", "https://items/talk");
    unknown.extensions_mut().insert(hyper::ext::Protocol::from_static("connect-udp"));
    assert_eq!(sender.send_request(unknown).await.unwrap().status(), 501);
    // One is cut by a new policy, the other one goes on and ends by itself.
    world.replace_policies(&policies().replace(", talk, tunnel]", ", tunnel]"));
    enforcer.reload().await.unwrap();
    assert_eq!(rest(&mut open[0]).await, "");
    open[1].write_all(b"on").await.unwrap();
    assert_eq!(until(&mut open[1], "on").await, "on");
    open[1].shutdown().await.unwrap();
    assert_eq!(rest(&mut open[1]).await, "");
    drop((open, sender));
    enforcer.shutdown().await;
    let records = world.records();
    let asked: Vec<_> =
        decided(&records).iter().map(|d| (d.request.method.clone().unwrap_or_default(), d.request.upgrade.clone())).collect();
    assert_eq!(asked[1..3], [("GET".to_owned(), Some("websocket".to_owned())), ("CONNECT".to_owned(), None)]);
    let ends: Vec<_> = ended(&records).iter().map(|e| (e.why, e.bytes)).collect();
    assert_eq!(ends, [(Why::Policy, 10), (Why::Complete, 12)]);
}

#[tokio::test]
async fn what_no_operation_offers_is_refused_and_recorded() {
    let world = World::new(&policies());
    let (tell, mut told) = mpsc::unbounded_channel();
    let enforcer = world.start(echo(tell).await).await;
    let to = enforcer.inbound()[0];
    let cases = [
        ("invoices", TALK.replace("/talk", "/v1/items/1"), 501),
        ("invoices", TALK.replace("/talk", "/undeclared"), 501),
        ("invoices", TALK.replace("Upgrade: websocket", "Upgrade: h2c"), 501),
        ("invoices", TALK.replace("Connection: Upgrade", "Connection: close"), 501),
        ("invoices", TALK.replace("GET", "PUT"), 501),
        ("users", TALK.to_owned(), 403),
        ("users", TUNNEL.to_owned(), 403),
        ("invoices", TUNNEL.replace("Host: items:80", "Host: users:80"), 400),
        ("invoices", TALK.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello"), 400),
        ("invoices", format!("{TALK}early"), 400),
        ("invoices", format!("{TUNNEL}GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n\r\n"), 400),
    ];
    for (from, request, code) in &cases {
        let mut stream = world.connect(to, from, b"http/1.1").await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = until(&mut stream, "\r\n\r\n").await;
        assert_eq!(status(&head), *code, "{request}: {head}");
        assert!(head.contains("connection: close"), "what comes next is no request: {head}");
    }
    enforcer.shutdown().await;
    assert!(told.try_recv().is_err(), "nothing reached the service");
    let records = world.records();
    for (decided, (_, request, code)) in decided(&records).iter().zip(&cases) {
        assert_eq!(decided.decision.reason == Reason::MalformedRequest, *code != 403, "{request}");
    }
    assert_eq!(decided(&records).len(), cases.len());
}

#[tokio::test]
async fn a22_without_the_services_word_there_is_no_tunnel_and_no_further_request() {
    for (answer, outcome) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Outcome::Forwarded),
        ("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", Outcome::Forwarded),
        ("HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", Outcome::Unavailable),
        ("HTTP/1.1 101 Switching\r\n\r\n", Outcome::Unavailable),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", Outcome::Forwarded),
    ] {
        let world = World::new(&policies());
        let (tell, mut told) = mpsc::unbounded_channel();
        let upstream = service(move |_, mut stream| {
            let tell = tell.clone();
            async move {
                until(&mut stream, "\r\n\r\n").await;
                stream.write_all(answer.as_bytes()).await.unwrap();
                let _ = tell.send(rest(&mut stream).await);
            }
        })
        .await;
        let enforcer = world.start(upstream).await;
        let mut stream = world.connect(enforcer.inbound()[0], "invoices", b"http/1.1").await;
        stream.write_all(TALK.as_bytes()).await.unwrap();
        let mut head = until(&mut stream, "\r\n\r\n").await;
        if head.starts_with("HTTP/1.1 100") {
            head = until(&mut stream, "\r\n\r\n").await;
        }
        assert!(head.contains("connection: close"), "{head}");
        let _ = stream.write_all(b"GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n\r\n").await;
        let left = rest(&mut stream).await;
        assert!(!left.contains("HTTP/1.1"), "{left}");
        assert_eq!(told.recv().await.unwrap(), "", "early bytes never reach the service");
        enforcer.shutdown().await;
        let records = world.records();
        assert_eq!(decided(&records).len(), 1, "they are no request either");
        assert_eq!(ended(&records)[0].outcome, outcome);
    }
}

#[tokio::test]
async fn a65_a_tunnel_is_cut_by_policy_and_by_shutdown() {
    let world = World::new(&policies());
    let (tell, _told) = mpsc::unbounded_channel();
    let enforcer = world.start(echo(tell).await).await;
    let mut open = Vec::new();
    for request in [TALK, TUNNEL] {
        let mut stream = world.connect(enforcer.inbound()[0], "invoices", b"http/1.1").await;
        stream.write_all(request.as_bytes()).await.unwrap();
        until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"hi").await.unwrap();
        until(&mut stream, "hi").await;
        open.push(stream);
    }
    world.replace_policies(&policies().replace(", talk, tunnel]", ", tunnel]"));
    enforcer.reload().await.unwrap();
    assert_eq!(rest(&mut open[0]).await, "");
    open[1].write_all(b"on").await.unwrap();
    assert_eq!(until(&mut open[1], "on").await, "on");
    enforcer.shutdown().await;
    assert_eq!(rest(&mut open[1]).await, "");
    let records = world.records();
    let ends: Vec<_> = ended(&records).iter().map(|e| (e.why, e.bytes)).collect();
    assert_eq!(ends, [(Why::Policy, 2), (Why::Shutdown, 4)]);
}
