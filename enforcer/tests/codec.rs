//! The gate's own HTTP/1 against real sockets: framing both ways, answers that come early, services that misbehave.

#![cfg(test)]

#[path = "common/world.rs"]
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portreeve_engine::Reason;
use portreeve_engine::record::{Outcome, Why};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use world::{SHOP, World, big, decided, ended, fixed, rest, service, status, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n\r\n";
const LAST: &str = "GET /v1/items/1 HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let world = World::new(SHOP);
    let upstream = service(|_, mut stream| async move {
        loop {
            let head = until(&mut stream, "\r\n\r\n").await;
            let Some(target) = head.split(' ').nth(1) else { return };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let enforcer = world.start(upstream).await;
    let to = enforcer.inbound()[0];
    let bytes = "GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n\r\nGET /other HTTP/1.1\r\nHost: items\r\n\r\nGET /v1/items/2 HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\nGET /v1/items/3 HTTP/1.1\r\nHost: items\r\n\r\n";
    let answer = world.raw(to, "invoices", bytes.as_bytes()).await;
    let places: Vec<_> = ["/v1/items/1", "HTTP/1.1 403", "/v1/items/2"].iter().map(|part| answer.find(part)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{answer}");
    assert!(!answer.contains("/v1/items/3"), "what follows `connection: close` is not a request: {answer}");
    // The same, byte by byte.
    let mut stream = world.connect(to, "invoices", b"http/1.1").await;
    for byte in bytes.bytes() {
        stream.write_all(&[byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    assert!(rest(&mut stream).await.contains("/v1/items/2"));
    enforcer.shutdown().await;
    assert_eq!(decided(&world.records()).len(), 6);
    assert!(ended(&world.records()).iter().all(|e| e.why == Why::Complete));
}

#[tokio::test]
async fn what_a_caller_sends_while_it_waits_is_kept_and_that_it_goes_is_seen() {
    let world = World::new(SHOP);
    let (tell, mut told) = mpsc::unbounded_channel();
    let leave = Arc::new(tokio::sync::Semaphore::new(0));
    let given = Arc::clone(&leave);
    let upstream = service(move |_, mut stream| {
        let (tell, given) = (tell.clone(), Arc::clone(&given));
        async move {
            for n in 0..2 {
                assert!(!until(&mut stream, "\r\n\r\n").await.is_empty());
                tell.send(n).unwrap();
                given.acquire().await.unwrap().forget();
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
            assert!(!until(&mut stream, "\r\n\r\n").await.is_empty());
            tell.send(2).unwrap();
            // It is not answered: the connection ends because the caller went.
            assert_eq!(rest(&mut stream).await, "");
            tell.send(3).unwrap();
        }
    })
    .await;
    let enforcer = world.start(upstream).await;
    let mut stream = world.connect(enforcer.inbound()[0], "invoices", b"http/1.1").await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(told.recv().await, Some(0));
    // The next request comes in pieces, each a record of TLS, while the first one waits, and the last piece after it.
    let (first, last) = GET.split_at(30);
    for piece in first.as_bytes().chunks(10) {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
    }
    leave.add_permits(1);
    assert!(until(&mut stream, "ok").await.starts_with("HTTP/1.1 200"));
    stream.write_all(last.as_bytes()).await.unwrap();
    assert_eq!(told.recv().await, Some(1));
    // A whole one comes before the second is answered.
    stream.write_all(GET.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    leave.add_permits(1);
    assert!(until(&mut stream, "ok").await.starts_with("HTTP/1.1 200"));
    assert_eq!(told.recv().await, Some(2));
    drop(stream);
    assert_eq!(told.recv().await, Some(3));
    enforcer.shutdown().await;
    let whys: Vec<_> = ended(&world.records()).iter().map(|e| e.why).collect();
    assert_eq!(whys, [Why::Complete, Why::Complete, Why::Client]);
}

#[tokio::test]
async fn a_body_arrives_as_far_as_its_tls_did() {
    let world = World::new(SHOP);
    let (tell, mut told) = mpsc::unbounded_channel();
    let upstream = service(move |_, mut stream| {
        let tell = tell.clone();
        async move {
            until(&mut stream, "\r\n\r\n").await;
            let mut body = vec![0; 150_000];
            stream.read_exact(&mut body).await.unwrap();
            tell.send(body.iter().all(|b| *b == b'x')).unwrap();
            assert_eq!(rest(&mut stream).await, "");
            tell.send(true).unwrap();
        }
    })
    .await;
    let enforcer = world.start(upstream).await;
    let mut stream = world.connect(enforcer.inbound()[0], "invoices", b"http/1.1").await;
    stream.write_all(b"POST /v1/items HTTP/1.1\r\nHost: items\r\nContent-Length: 200000\r\n\r\n").await.unwrap();
    stream.write_all(&vec![b'x'; 150_000]).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(told.recv().await, Some(true));
    // A record that nobody encrypted.
    stream.get_mut().0.write_all(&[[23, 3, 3, 0, 32].as_slice(), &[0; 32]].concat()).await.unwrap();
    assert_eq!(told.recv().await, Some(true));
    enforcer.shutdown().await;
    assert_eq!(ended(&world.records())[0].why, Why::Client);
}

#[tokio::test]
async fn answers_are_framed_for_the_caller() {
    for (from, request, to, not) in [
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX-Sum: 1\r\nConnection: x\r\n\r\n",
            LAST,
            "chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX-Sum: 1\r\n\r\n",
            "Connection: x",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "GET /v1/items/1 HTTP/1.0\r\nHost: items\r\n\r\n",
            "connection: close\r\n\r\nabc",
            "chunked",
        ),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", LAST, "HTTP/1.1 204 No Content\r\n", "ontent-"),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: x\r\n\r\n", LAST, "Content-Length: 77\r\n", "content-length"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n",
            "HEAD /v1/items/1 HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\n",
            "Content-Length: 77\r\n",
            "content-length",
        ),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Portreeve-Principal: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            LAST,
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n",
            "Principal",
        ),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "GET /v1/items/1 HTTP/1.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n",
            "103",
        ),
        ("HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", LAST, "\r\n\r\nok", "HTTP/1.0"),
    ] {
        let world = World::new(SHOP);
        let enforcer = world.start(fixed(from).await).await;
        let answer = world.raw(enforcer.inbound()[0], "invoices", request.as_bytes()).await;
        assert!(answer.contains(to), "{from:?}: {answer:?}");
        assert!(!answer.contains(not), "{from:?}: {answer:?}");
        enforcer.shutdown().await;
        assert_eq!(ended(&world.records())[0].why, Why::Complete);
    }
}

#[tokio::test]
async fn a_body_until_the_end_of_the_connection_is_passed_on_in_chunks() {
    let world = World::new(SHOP);
    let upstream = service(|_, mut stream| async move {
        until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nabc").await.unwrap();
    })
    .await;
    let enforcer = world.start(upstream).await;
    let answer = world.raw(enforcer.inbound()[0], "invoices", format!("{GET}{LAST}").as_bytes()).await;
    assert_eq!(answer.matches("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").count(), 2, "{answer}");
    enforcer.shutdown().await;
}

#[tokio::test]
async fn ambiguous_answers_are_not_passed_on_nor_their_connections_used_again() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 200 O\0K\r\n\r\n",
    ] {
        let world = World::new(SHOP);
        let connections = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&connections);
        let upstream = service(move |n, mut stream| {
            seen.fetch_max(n + 1, Ordering::Relaxed);
            async move {
                while !until(&mut stream, "\r\n\r\n").await.is_empty() {
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        })
        .await;
        let enforcer = world.start(upstream).await;
        let got = world.raw(enforcer.inbound()[0], "invoices", format!("{GET}{LAST}").as_bytes()).await;
        assert_eq!(got.matches("HTTP/1.1 502").count(), 2, "{answer:?}: {got}");
        enforcer.shutdown().await;
        assert_eq!(connections.load(Ordering::Relaxed), 2, "{answer:?}");
        assert!(ended(&world.records()).iter().all(|e| (e.outcome, e.status) == (Outcome::Unavailable, Some(502))));
    }
}

#[tokio::test]
async fn more_than_was_answered_never_becomes_the_next_answer() {
    let world = World::new(SHOP);
    let upstream = service(|n, mut stream| async move {
        while !until(&mut stream, "\r\n\r\n").await.is_empty() {
            let more = if n == 0 { "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil" } else { "" };
            let _ = stream.write_all(format!("{OK}{more}").as_bytes()).await;
        }
    })
    .await;
    let enforcer = world.start(upstream).await;
    let mut stream = world.connect(enforcer.inbound()[0], "invoices", b"http/1.1").await;
    for _ in 0..2 {
        stream.write_all(GET.as_bytes()).await.unwrap();
        assert!(until(&mut stream, "ok").await.contains("200"));
        // Time for what is left over to arrive, were it to come in a second piece.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stream.write_all(LAST.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.ends_with("ok") && !answer.contains("evil"), "{answer}");
    enforcer.shutdown().await;
}

#[tokio::test]
async fn a24_what_is_left_of_a_body_is_never_a_request() {
    let world = World::new(SHOP);
    let (tell, mut told) = mpsc::unbounded_channel();
    let upstream = service(move |_, mut stream| {
        let tell = tell.clone();
        async move {
            let mut head = until(&mut stream, "\r\n\r\n").await;
            let _ = stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").await;
            head.push_str(&rest(&mut stream).await);
            let _ = tell.send(head);
        }
    })
    .await;
    let enforcer = world.start(upstream).await;
    let mut stream = world.connect(enforcer.inbound()[0], "invoices", b"http/1.1").await;
    stream.write_all(b"POST /v1/items HTTP/1.1\r\nHost: items\r\nContent-Length: 1000\r\n\r\n").await.unwrap();
    let head = until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 413") && head.contains("connection: close"), "{head}");
    stream.write_all(LAST.as_bytes()).await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
    let seen = told.recv().await.unwrap();
    assert!(!seen.contains("GET /v1/items"), "{seen}");
    enforcer.shutdown().await;
    assert_eq!(decided(&world.records()).len(), 1);
    // A denied request's body is no request either, whether it is there already or comes later.
    let enforcer = world.start(fixed(OK).await).await;
    let body = GET;
    let denied = format!("POST /other HTTP/1.1\r\nHost: items\r\nContent-Length: {}\r\n\r\n", body.len());
    let answer = world.raw(enforcer.inbound()[0], "invoices", format!("{denied}{body}{LAST}").as_bytes()).await;
    assert_eq!((status(&answer), answer.matches("HTTP/1.1").count()), (403, 2), "{answer}");
    let mut stream = world.connect(enforcer.inbound()[0], "invoices", b"http/1.1").await;
    stream.write_all(denied.as_bytes()).await.unwrap();
    assert!(until(&mut stream, "\r\n\r\n").await.contains("connection: close"));
    let _ = stream.write_all(body.as_bytes()).await;
    assert!(!rest(&mut stream).await.contains("HTTP/1.1"));
    enforcer.shutdown().await;
}

#[tokio::test]
async fn expect_100_continue_is_the_services_to_answer() {
    let world = World::new(SHOP);
    let upstream = service(|n, mut stream| async move {
        let head = until(&mut stream, "\r\n\r\n").await;
        assert!(head.to_ascii_lowercase().contains("expect: 100-continue"), "{head}");
        if n == 0 {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
            let mut body = [0; 5];
            stream.read_exact(&mut body).await.unwrap();
            assert_eq!(&body, b"hello");
            stream.write_all(OK.as_bytes()).await.unwrap();
        } else {
            stream.write_all(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            assert_eq!(rest(&mut stream).await, "");
        }
    })
    .await;
    let enforcer = world.start(upstream).await;
    let to = enforcer.inbound()[0];
    let head = b"POST /v1/items HTTP/1.1\r\nHost: items\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut stream = world.connect(to, "invoices", b"http/1.1").await;
    stream.write_all(head).await.unwrap();
    assert_eq!(until(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    assert!(until(&mut stream, "ok").await.starts_with("HTTP/1.1 200 OK"));
    drop(stream);
    for (from, target, code) in [("invoices", "/v1/items", 401), ("users", "/v1/items", 403)] {
        let mut stream = world.connect(to, from, b"http/1.1").await;
        stream.write_all(&[b"POST ", target.as_bytes(), &head[14..]].concat()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert_eq!((status(&answer), answer.contains("connection: close")), (code, true), "{answer}");
    }
    let answer =
        world.raw(to, "invoices", b"POST /v1/items HTTP/1.1\r\nHost: items\r\nContent-Length: 5\r\nExpect: magic\r\n\r\nhello").await;
    assert_eq!(status(&answer), 417, "{answer}");
    enforcer.shutdown().await;
    assert_eq!(decided(&world.records())[3].decision.reason, Reason::MalformedRequest);
}

#[tokio::test]
async fn a_service_that_dies_in_its_answer_is_told_of() {
    let world = World::new(SHOP);
    let upstream = service(|n, mut stream| async move {
        until(&mut stream, "\r\n\r\n").await;
        let head = if n == 0 { "Content-Length: 10\r\n\r\nabc" } else { "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" };
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes()).await.unwrap();
    })
    .await;
    let enforcer = world.start(upstream).await;
    for _ in 0..2 {
        let answer = world.raw(enforcer.inbound()[0], "invoices", format!("{GET}{LAST}").as_bytes()).await;
        assert!(answer.contains("abc") && !answer.ends_with("0\r\n\r\n"), "the caller must see that it is not whole: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    enforcer.shutdown().await;
    let records = world.records();
    let ends: Vec<_> = ended(&records).iter().map(|e| (e.outcome, e.why, e.bytes)).collect();
    assert_eq!(ends, [(Outcome::Forwarded, Why::Upstream, 3); 2]);
}

#[tokio::test]
async fn a_service_that_closes_idle_connections_fails_no_request() {
    let world = World::new(SHOP);
    let upstream = service(|_, mut stream| async move {
        let head = until(&mut stream, "\r\n\r\n").await;
        if head.starts_with("POST") {
            stream.read_exact(&mut [0; 2]).await.unwrap();
        }
        // It promises to go on, and goes.
        stream.write_all(OK.as_bytes()).await.unwrap();
    })
    .await;
    let enforcer = world.start(upstream).await;
    let mut stream = world.connect(enforcer.inbound()[0], "invoices", b"http/1.1").await;
    for request in [GET, "POST /v1/items HTTP/1.1\r\nHost: items\r\nContent-Length: 2\r\n\r\nhi", GET] {
        stream.write_all(request.as_bytes()).await.unwrap();
        assert!(until(&mut stream, "ok").await.starts_with("HTTP/1.1 200"), "{request}");
        // The end of the connection has to arrive before it can be seen.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    enforcer.shutdown().await;
    assert!(ended(&world.records()).iter().all(|e| e.why == Why::Complete));
}

#[tokio::test]
async fn a_caller_that_does_not_read_holds_the_service_up_and_nobody_else() {
    let world = World::new(SHOP);
    let (upstream, written) = big().await;
    let enforcer = world.start(upstream).await;
    let to = enforcer.inbound()[0];
    let mut lazy = world.connect(to, "invoices", b"http/1.1").await;
    lazy.write_all(b"GET /v1/items/big HTTP/1.1\r\nHost: items\r\n\r\n").await.unwrap();
    let mut before = usize::MAX;
    while written.load(Ordering::Relaxed) != before {
        before = written.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(before < 64 << 20, "{before} bytes were taken for a caller that reads none");
    assert_eq!(status(&world.raw(to, "invoices", LAST.as_bytes()).await), 200);
    drop(lazy);
    enforcer.shutdown().await;
    let records = world.records();
    let why: Vec<_> = ended(&records).iter().map(|e| e.why).collect();
    assert!(why.contains(&Why::Client) && why.contains(&Why::Complete), "{why:?}");
}
