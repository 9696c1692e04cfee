//! A65, A78: what runs is cut when a new policy takes the right to it away, and only that.

#![cfg(test)]

#[path = "common/world.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod world;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portreeve_enforcer::Enforcer;
use portreeve_enforcer::report::Report;
use portreeve_engine::record::{Outcome, Why};
use portreeve_engine::{Effect, Event, Record};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use world::{SHOP, World, decided, ended, rest, service, until};

/// Items may be read; writing is taken away.
const READ_ONLY: &str = "operations: [read-item]}";

fn read_only() -> String {
    SHOP.replace("operations: [read-item, write-item]}", READ_ONLY)
}

fn nobody() -> String {
    SHOP.replace("allow: {from: [invoices]", "deny: {from: [invoices]")
}

/// A service that begins to answer and never ends.
async fn endless() -> SocketAddr {
    service(|_, mut stream| async move {
        until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n").await.unwrap();
        rest(&mut stream).await;
    })
    .await
}

/// What the record of an end says: the outcome, the status, why and its detail, bytes.
type Said<'r> = (Outcome, Option<u16>, Why, Option<&'r str>, u64);

fn said(records: &[Record]) -> Vec<Said<'_>> {
    ended(records).iter().map(|e| (e.outcome, e.status, e.why, e.detail.as_deref(), e.bytes)).collect()
}

/// A service that nobody gets a connection to: its queue is full. What fills it is held.
async fn unreachable() -> (TcpListener, Vec<TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (listener, mut held) = (socket.listen(1).unwrap(), Vec::new());
    let address = listener.local_addr().unwrap();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        held.push(stream.unwrap());
    }
    (listener, held)
}

const POST: &[u8] = b"POST /v1/items HTTP/1.1\r\nHost: items\r\nContent-Length: 0\r\n\r\n";
const GET: &[u8] = b"GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n\r\n";

#[tokio::test]
async fn a65_a_denial_cuts_the_answer_that_runs_and_no_other() {
    let world = World::new(SHOP);
    let enforcer = world.start(endless().await).await;
    let to = enforcer.inbound()[0];
    let (mut writer, mut reader) = (world.connect(to, "invoices", b"http/1.1").await, world.connect(to, "invoices", b"http/1.1").await);
    for (stream, request) in [(&mut writer, POST), (&mut reader, GET)] {
        stream.write_all(request).await.unwrap();
        until(stream, "begin\r\n").await;
    }
    world.replace_policies(&read_only());
    enforcer.reload().await.unwrap();
    assert_eq!(rest(&mut writer).await, "", "the connection ends without an end of the body");
    let silent = tokio::time::timeout(Duration::from_millis(200), reader.read(&mut [0])).await;
    assert!(silent.is_err(), "what is still allowed goes on");
    world.replace_policies(&nobody());
    enforcer.reload().await.unwrap();
    assert_eq!(rest(&mut reader).await, "");
    enforcer.shutdown().await;
    let records = world.records();
    assert_eq!(said(&records), [(Outcome::Forwarded, Some(200), Why::Policy, Some("new-bundle"), 5); 2]);
    // The record tells in which order it happened.
    let order: Vec<_> = records
        .iter()
        .filter_map(|r| match &r.event {
            Event::Reloaded(_) => Some("reloaded"),
            Event::Ended(_) => Some("ended"),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["reloaded", "ended", "reloaded", "ended"]);
}

#[tokio::test]
async fn a65_streams_of_one_connection_are_cut_one_by_one() {
    let world = World::new(SHOP);
    let enforcer = world.start(endless().await).await;
    let stream = world.connect(enforcer.inbound()[0], "invoices", b"h2").await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let ask = |method: &str, target: &str| {
        Request::builder().method(method).uri(format!("https://items{target}")).body(Empty::<Bytes>::new()).unwrap()
    };
    let mut written = sender.send_request(ask("POST", "/v1/items")).await.unwrap().into_body();
    let mut read = sender.send_request(ask("GET", "/v1/items/1")).await.unwrap().into_body();
    for body in [&mut written, &mut read] {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "begin");
    }
    world.replace_policies(&read_only());
    enforcer.reload().await.unwrap();
    let cut = tokio::time::timeout(Duration::from_secs(10), written.frame()).await.expect("the stream is cut");
    assert!(cut.unwrap().is_err(), "a stream that is cut is reset, so that it is not taken for whole");
    assert!(tokio::time::timeout(Duration::from_millis(200), read.frame()).await.is_err(), "the other one goes on");
    assert_eq!(sender.send_request(ask("POST", "/v1/items")).await.unwrap().status(), StatusCode::FORBIDDEN);
    drop((written, read, sender));
    driver.abort();
    enforcer.shutdown().await;
    let records = world.records();
    let mut why: Vec<_> = ended(&records).iter().map(|e| e.why).collect();
    why.sort();
    assert_eq!(why, [Why::Client, Why::Policy]);
}

/// A request whose body does not end, over HTTP/1, and one without a body, over HTTP/2: both are let through, and wait.
async fn waiting(world: &World, enforcer: &Enforcer) -> (impl AsyncRead + AsyncWrite + Unpin + use<>, JoinHandle<StatusCode>) {
    let to = enforcer.inbound()[0];
    let mut http1 = world.connect(to, "invoices", b"http/1.1").await;
    http1.write_all(b"POST /v1/items HTTP/1.1\r\nHost: items\r\nContent-Length: 10\r\n\r\nabc").await.unwrap();
    let stream = world.connect(to, "invoices", b"h2").await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method("POST").uri("https://items/v1/items").body(Empty::<Bytes>::new()).unwrap();
    let answer = tokio::spawn(async move { sender.send_request(request).await.unwrap().status() });
    // Both are under way when both are recorded.
    for _ in 0..500 {
        if enforcer.gate().metrics.decisions(Effect::Allow, portreeve_engine::Reason::Permitted) == 2 {
            return (http1, answer);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("they were not let through");
}

#[tokio::test]
async fn a65_a_request_that_waits_for_its_answer_is_denied_after_all() {
    let world = World::new(SHOP);
    let upstream = service(|_, mut stream| async move {
        rest(&mut stream).await;
    })
    .await;
    let enforcer = world.start(upstream).await;
    let (mut http1, answer) = waiting(&world, &enforcer).await;
    world.replace_policies(&read_only());
    enforcer.reload().await.unwrap();
    let told = rest(&mut http1).await;
    assert!(told.starts_with("HTTP/1.1 403 Forbidden\r\n") && told.contains("\r\nconnection: close\r\n"), "{told}");
    assert_eq!(answer.await.unwrap(), StatusCode::FORBIDDEN);
    enforcer.shutdown().await;
    let records = world.records();
    assert_eq!(said(&records), [(Outcome::Forwarded, Some(403), Why::Policy, Some("new-bundle"), 0); 2]);
}

/// Nothing of it has gone anywhere, and that is what its record says. It is not kept waiting until the connection fails, either.
#[tokio::test]
async fn a65_a_request_that_waits_for_a_connection_is_denied_and_was_not_forwarded() {
    let world = World::new(SHOP);
    let (listener, held) = unreachable().await;
    for protocol in ["http1", "http2"] {
        let inbound = format!(", upstream_protocol: {protocol}, timeouts: {{connect: 60s}}");
        let config = world.config(listener.local_addr().unwrap(), &inbound, "");
        let enforcer = Enforcer::start(config, Report::silent()).await.unwrap();
        let (mut http1, answer) = waiting(&world, &enforcer).await;
        world.replace_policies(&read_only());
        enforcer.reload().await.unwrap();
        let told = rest(&mut http1).await;
        assert!(told.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{protocol}: {told}");
        assert_eq!(answer.await.unwrap(), StatusCode::FORBIDDEN, "{protocol}");
        enforcer.shutdown().await;
        world.replace_policies(SHOP);
        let records = world.records();
        assert_eq!(said(&records), [(Outcome::Unavailable, Some(403), Why::Policy, Some("new-bundle"), 0); 2], "{protocol}");
        std::fs::remove_file(world.path("decisions.ndjson")).unwrap();
    }
    drop((listener, held));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a78_a_denial_between_decision_and_registration_is_not_missed() {
    let world = World::new(SHOP);
    let enforcer = world.start(endless().await).await;
    let to = enforcer.inbound()[0];
    for round in 0..20 {
        let mut streams = Vec::new();
        for _ in 0..8 {
            streams.push(world.connect(to, "invoices", b"http/1.1").await);
        }
        let asked = streams.into_iter().map(|mut stream| {
            tokio::spawn(async move {
                stream.write_all(POST).await.unwrap();
                rest(&mut stream).await
            })
        });
        let asked: Vec<_> = asked.collect();
        world.replace_policies(&read_only());
        enforcer.reload().await.unwrap();
        // Whatever was let through before is cut; whatever comes after is denied and its connection left open for more.
        for one in asked {
            let one = tokio::time::timeout(Duration::from_millis(500), one).await;
            if let Ok(answer) = one {
                let answer = answer.unwrap();
                assert!(!answer.ends_with("0\r\n\r\n"), "{round}: {answer}");
            }
        }
        world.replace_policies(SHOP);
        enforcer.reload().await.unwrap();
    }
    enforcer.shutdown().await;
    let records = world.records();
    let allowed = decided(&records).iter().filter(|d| d.decision.effect == Effect::Allow).count();
    assert_eq!(allowed, ended(&records).len());
    // Only a cut by policy ends an endless answer while the gate runs.
    assert!(ended(&records).iter().all(|e| e.why == Why::Policy), "{:?}", ended(&records));
}
