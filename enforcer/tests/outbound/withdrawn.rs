//! What runs to places outside ends when the right to it does: by a new law, or because the law in force is older than it may be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portreeve_engine::bundle::{BuiltBundle, BundleSigner, Label};
use portreeve_engine::record::{Outcome, Why};
use portreeve_engine::{Bundle, SourceFile, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::egress::{PROXY, connect, outside_tls};
use crate::town::{self, Town, code, ended, get, ok, replays};

/// What a place outside saw.
#[derive(Debug, PartialEq, Eq)]
enum Saw {
    Head,
    Body,
    End,
}

/// A place outside that says what it sees, and answers a head with so many bytes of an answer that does not end.
async fn place(answer: usize) -> (SocketAddr, UnboundedReceiver<Saw>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (says, saw) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let (mut reads, mut writes) = stream.into_split();
            let seen = says.clone();
            says.send(Saw::Head).unwrap();
            let answering = tokio::spawn(async move {
                if answer > 0 {
                    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n".to_vec();
                    let _ = writes.write_all(&[head, vec![b'.'; answer]].concat()).await;
                }
                std::future::pending::<()>().await;
            });
            let mut buffer = [0; 4096];
            while let Ok(1..) = reads.read(&mut buffer).await {
                let _ = seen.send(Saw::Body);
            }
            answering.abort();
            let _ = seen.send(Saw::End);
        }
    });
    (address, saw)
}

async fn until(what: Saw, saw: &mut UnboundedReceiver<Saw>) {
    let found = async { while saw.recv().await.unwrap() != what {} };
    timeout(Duration::from_secs(20), found).await.unwrap_or_else(|_| panic!("no {what:?}"));
}

fn law(port: u16) -> String {
    town::LAW.replace("PORT", &port.to_string()).replace("{id: rates, method: GET,", "{id: rates, method: [GET, POST],")
}

fn without_cards(law: &str) -> String {
    law.replace("allow: {from: payments, to: cards", "deny: {from: payments, to: cards")
}

async fn caller(town: &Town, port: u16) -> portreeve_enforcer::Enforcer {
    town.law(2, &law(port));
    town.start("payments", "payments", &PROXY.replace("USERS", "127.0.0.1:1")).await
}

/// An answer that is on its way, and a request that has none yet.
#[tokio::test]
async fn a65_a_new_law_ends_a_request_to_a_place_outside() {
    for answer in [4, 0] {
        let (outside, mut saw) = place(answer).await;
        let town = Town::new(outside.port());
        let caller = caller(&town, outside.port()).await;
        let mut stream = TcpStream::connect(caller.outbound()[0]).await.unwrap();
        let port = outside.port();
        let request = format!("GET http://localhost:{port}/v1/rates/1 HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        until(Saw::Head, &mut saw).await;
        let mut out = Vec::new();
        while answer > 0 && !out.ends_with(b"....") {
            out.push(stream.read_u8().await.unwrap());
        }
        town.law(3, &without_cards(&law(port)));
        caller.reload().await.unwrap();
        if answer > 0 {
            // What has begun is cut.
            let closed = timeout(Duration::from_secs(20), stream.read_to_end(&mut out)).await;
            assert!(closed.is_ok(), "the answer goes on");
            assert!(out.ends_with(b"\r\n\r\n...."), "{}", String::from_utf8_lossy(&out));
        } else {
            while !out.ends_with(b"\r\n\r\n") {
                out.push(timeout(Duration::from_secs(20), stream.read_u8()).await.expect("it is answered").unwrap());
            }
            assert_eq!(code(&String::from_utf8_lossy(&out)), 403);
        }
        until(Saw::End, &mut saw).await;
        caller.shutdown().await;
        let records = town.records("payments");
        let end = ended(&records)[0];
        let status = if answer > 0 { 200 } else { 403 };
        assert_eq!((end.why, end.detail.as_deref(), end.status), (Why::Policy, Some("new-bundle"), Some(status)));
    }
}

/// A local service that sends and reads nothing of its answer: what it sends is cut although nobody asks for the answer.
#[tokio::test]
async fn a65_what_is_sent_to_a_place_outside_ends_though_nobody_reads_its_answer() {
    let (outside, mut saw) = place(16 << 20).await;
    let town = Town::new(outside.port());
    let caller = caller(&town, outside.port()).await;
    let mut stream = TcpStream::connect(caller.outbound()[0]).await.unwrap();
    let port = outside.port();
    let head = format!("POST http://localhost:{port}/v1/rates/1 HTTP/1.1\r\nHost: localhost:{port}\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    until(Saw::Head, &mut saw).await;
    let sends = tokio::spawn(async move {
        while stream.write_all(b"4\r\nmore\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    // The answer lies before the local service as far as it can, and its request still moves.
    for _ in 0..100 {
        until(Saw::Body, &mut saw).await;
    }
    town.law(3, &without_cards(&law(port)));
    caller.reload().await.unwrap();
    until(Saw::End, &mut saw).await;
    sends.abort();
    caller.shutdown().await;
}

/// A local service that takes nothing of an answer does not keep it from its end, over neither protocol.
#[tokio::test]
async fn a65_an_answer_from_outside_that_nobody_takes_ends_with_its_right_and_in_its_time() {
    for (http2, denied) in [(false, true), (true, true), (false, false), (true, false)] {
        let (outside, mut saw) = place(16 << 20).await;
        let town = Town::new(outside.port());
        let port = outside.port();
        town.law(2, &law(port));
        let times = if denied { "" } else { "egress: {timeouts: {stream: 500ms}, " };
        let proxy = PROXY.replace("USERS", "127.0.0.1:1");
        let proxy = if denied { proxy } else { proxy.replace("egress: {", times) };
        let caller = town.start("payments", "payments", &proxy).await;
        let mut stream = TcpStream::connect(caller.outbound()[0]).await.unwrap();
        let target = format!("http://localhost:{port}/v1/rates/1");
        let held: Box<dyn std::any::Any> = if http2 {
            let io = hyper_util::rt::TokioIo::new(stream);
            let mut builder = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
            builder.initial_stream_window_size(1);
            let (mut sender, connection) = builder.handshake(io).await.unwrap();
            tokio::spawn(connection);
            let request = http::Request::get(&target).body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            Box::new((sender, answer))
        } else {
            stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n").as_bytes()).await.unwrap();
            Box::new(stream)
        };
        until(Saw::Head, &mut saw).await;
        if denied {
            tokio::time::sleep(Duration::from_millis(300)).await;
            town.law(3, &without_cards(&law(port)));
            caller.reload().await.unwrap();
        }
        until(Saw::End, &mut saw).await;
        drop(held);
        caller.shutdown().await;
        let records = town.records("payments");
        let end = ended(&records)[0];
        let (why, detail) = if denied { (Why::Policy, Some("new-bundle")) } else { (Why::Client, None) };
        assert_eq!((end.why, end.detail.as_deref(), end.status), (why, detail, Some(200)), "{http2} {denied}");
    }
}

/// Without an identity nobody is called, in the clear least of all: what runs is cut, what is asked is answered 503, and it is said why.
#[tokio::test]
async fn inv9_nothing_leaves_once_our_identity_is_taken_away() {
    let (outside, mut saw) = place(4).await;
    let (tls, client) = outside_tls().await;
    let town = Town::new(outside.port());
    let law = law(outside.port())
        .replace("hosts: [api.cards.test,", &format!("hosts: [\"localhost:{}\",", tls.port()))
        .replace(&format!("{{id: tls, port: {}}}", outside.port()), &format!("{{id: tls, port: {}}}", tls.port()));
    town.law(2, &law);
    let caller = town.start("payments", "payments", &PROXY.replace("USERS", "127.0.0.1:1")).await;
    let (proxy, gate) = (caller.outbound()[0], caller.gate());
    let (stream, _) = connect(proxy, &format!("localhost:{}", tls.port())).await;
    let mut tunnel = tokio_rustls::TlsConnector::from(Arc::clone(&client)).connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let (target, host) = (format!("http://localhost:{}/v1/rates/1", outside.port()), format!("localhost:{}", outside.port()));
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
    let mut out = Vec::new();
    while !out.ends_with(b"....") {
        out.push(stream.read_u8().await.unwrap());
    }

    gate.identity.replace(gate.identity.load_full().withdrawn());
    until(Saw::End, &mut saw).await;
    timeout(Duration::from_secs(20), stream.read_to_end(&mut out)).await.expect("the answer goes on").ok();
    timeout(Duration::from_secs(20), tunnel.read_to_end(&mut Vec::new())).await.expect("the tunnel goes on").ok();
    assert_eq!(get(proxy, &target, &host).await.0, 503);
    assert_eq!(code(&connect(proxy, &format!("localhost:{}", tls.port())).await.1), 503);
    caller.shutdown().await;
    assert!(saw.try_recv().is_err(), "nobody came to the place any more");
    let records = town.records("payments");
    let mut ends: Vec<_> = ended(&records).iter().map(|e| (e.outcome, e.why, e.status, e.detail.as_deref().unwrap_or(""))).collect();
    ends.sort_by_key(|e| (e.0 == Outcome::Unavailable, e.2));
    let (cut, barred) =
        ((Outcome::Forwarded, Why::Revoked, Some(200), "own-identity"), (Outcome::Unavailable, Why::Revoked, Some(503), "own-identity"));
    assert_eq!(ends, [cut, cut, barred, barred]);
}

/// What the end of the enforcer cuts is no doing of the local service.
#[tokio::test]
async fn an_answer_from_outside_that_the_end_of_the_enforcer_cuts_says_so() {
    let (outside, mut saw) = place(4).await;
    let town = Town::new(outside.port());
    let caller = caller(&town, outside.port()).await;
    let (port, mut streams) = (outside.port(), Vec::new());
    // The local service goes from the first one by itself.
    for goes in [true, false] {
        let mut stream = TcpStream::connect(caller.outbound()[0]).await.unwrap();
        let request = format!("GET http://localhost:{port}/v1/rates/1 HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        until(Saw::Head, &mut saw).await;
        if goes {
            drop(stream);
            until(Saw::End, &mut saw).await;
        } else {
            streams.push(stream);
        }
    }
    caller.shutdown().await;
    drop(streams);
    let records = town.records("payments");
    let ends: Vec<_> = ended(&records).iter().map(|e| e.why).collect();
    assert_eq!(ends, [Why::Client, Why::Shutdown]);
}

/// A request that trickles ends with the whole time, whether it has an answer that nobody reads or none at all.
#[tokio::test]
async fn what_is_sent_to_a_place_outside_ends_with_the_whole_time() {
    for answer in [16 << 20, 0] {
        let (outside, mut saw) = place(answer).await;
        let town = Town::new(outside.port());
        let port = outside.port();
        town.law(2, &law(port));
        let proxy = PROXY.replace("USERS", "127.0.0.1:1").replace("egress: {", "egress: {timeouts: {whole: 500ms}, ");
        let caller = town.start("payments", "payments", &proxy).await;
        let stream = TcpStream::connect(caller.outbound()[0]).await.unwrap();
        let (mut reads, mut writes) = stream.into_split();
        let head =
            format!("POST http://localhost:{port}/v1/rates/1 HTTP/1.1\r\nHost: localhost:{port}\r\nTransfer-Encoding: chunked\r\n\r\n");
        writes.write_all(head.as_bytes()).await.unwrap();
        let sends = tokio::spawn(async move {
            while writes.write_all(b"4\r\nmore\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        until(Saw::Head, &mut saw).await;
        until(Saw::Body, &mut saw).await;
        // It never stops moving, so no other time ends it.
        until(Saw::End, &mut saw).await;
        if answer == 0 {
            let mut out = Vec::new();
            while !out.ends_with(b"\r\n\r\n") {
                out.push(timeout(Duration::from_secs(20), reads.read_u8()).await.expect("it is answered").unwrap());
            }
            assert_eq!(code(&String::from_utf8_lossy(&out)), 408);
        }
        sends.abort();
        drop(reads);
        caller.shutdown().await;
        let records = town.records("payments");
        let end = ended(&records)[0];
        if answer == 0 {
            assert_eq!((end.why, end.detail.as_deref(), end.status), (Why::Client, Some("timeout"), Some(408)));
        } else {
            assert_eq!(end.status, Some(200));
        }
    }
}

/// With `on_stale: deny` nothing leaves under a law that is older than it may be, and what runs is cut.
#[tokio::test]
async fn a80_nothing_leaves_under_a_law_that_is_too_old() {
    let (outside, mut saw) = place(4).await;
    let (tls, client) = outside_tls().await;
    let (plain, served) = town::app(|_, _| ok("rates")).await;
    let town = Town::new(plain.port());
    let law = law(plain.port())
        .replace(
            &format!("hosts: [api.cards.test, \"localhost:{0}\"", plain.port()),
            &format!("hosts: [\"localhost:{}\", \"localhost:{}\", \"localhost:{}\"", plain.port(), outside.port(), tls.port()),
        )
        .replace(&format!("{{id: tls, port: {}}}", plain.port()), &format!("{{id: tls, port: {}}}", tls.port()));
    let pair = portreeve_enforcer::ca::head_key().unwrap();
    pair.write(&town.path("bundle.key"), &town.path("bundle.pub")).unwrap();
    let signer = BundleSigner::from_pem(&std::fs::read_to_string(town.path("bundle.key")).unwrap()).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let issued_at = Timestamp::from_unix_ms(i64::try_from(now).unwrap());
    let built = BuiltBundle::build(
        Bundle::from_files("town", vec![SourceFile { path: "law.yaml".to_owned(), bytes: law.clone().into_bytes() }]).unwrap(),
        Label { name: "town".to_owned(), serial: 1, issued_at },
    );
    std::fs::write(town.path("town.tar.gz"), built.unwrap().sign(&signer).unwrap().to_bytes().unwrap()).unwrap();
    let text = town.text("payments", "payments", &PROXY.replace("USERS", "127.0.0.1:1"));
    let text = text.replace("{path: policies}", "{path: town.tar.gz, key: bundle.pub, max_age: 1h, on_stale: deny}");
    let config = portreeve_enforcer::config::Config::parse("test.yaml", &text, town.dir.path());
    let config = config.unwrap_or_else(|faults| panic!("{}", faults.iter().map(|f| f.render()).collect::<String>()));
    let caller = portreeve_enforcer::Enforcer::start(config, portreeve_enforcer::report::Report::silent()).await.unwrap();
    let (proxy, gate) = (caller.outbound()[0], caller.gate());

    // While it is young enough, everything is let through, and two things run.
    let rates = |port: u16| (format!("http://localhost:{port}/v1/rates/1"), format!("localhost:{port}"));
    let (target, host) = rates(plain.port());
    assert_eq!(get(proxy, &target, &host).await.0, 200);
    let (stream, _) = connect(proxy, &format!("localhost:{}", tls.port())).await;
    let mut tunnel = tokio_rustls::TlsConnector::from(Arc::clone(&client)).connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let (running, at) = rates(outside.port());
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(format!("GET {running} HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes()).await.unwrap();
    let mut out = Vec::new();
    while !out.ends_with(b"....") {
        out.push(stream.read_u8().await.unwrap());
    }

    let mut issue = gate.fresh.issue().unwrap();
    issue.fresh_until = Some(Timestamp::from_unix_ms(1));
    gate.fresh.set(Some(issue));
    gate.ask_again();
    until(Saw::End, &mut saw).await;
    timeout(Duration::from_secs(20), stream.read_to_end(&mut out)).await.expect("the answer goes on").ok();
    timeout(Duration::from_secs(20), tunnel.read_to_end(&mut Vec::new())).await.expect("the tunnel goes on").ok();
    assert_eq!(get(proxy, &target, &host).await.0, 503);
    assert_eq!(code(&connect(proxy, &format!("localhost:{}", tls.port())).await.1), 503);
    assert_eq!(served.load(std::sync::atomic::Ordering::SeqCst), 1);
    caller.shutdown().await;
    let records = town.records("payments");
    replays(
        &portreeve_engine::Authorizer::compile(
            &Bundle::from_files("town", vec![SourceFile { path: "law.yaml".to_owned(), bytes: law.into_bytes() }]).unwrap(),
        )
        .authorizer
        .unwrap(),
        &records,
    );
    let ends: Vec<_> = ended(&records).iter().map(|e| (e.outcome, e.why, e.detail.as_deref().unwrap_or(""))).collect();
    let (cut, stale) = ((Outcome::Forwarded, Why::Stale, "stale-bundle"), (Outcome::Unavailable, Why::Stale, "stale-bundle"));
    assert_eq!(ends, [(Outcome::Forwarded, Why::Complete, ""), cut, cut, stale, stale]);
}

/// Whether this machine is trying to connect to that port and has no answer (`SYN_SENT` in the system's table).
fn is_connecting(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut rows = table.lines().map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    rows.any(|row| row.len() > 3 && row[2].ends_with(&format!(":{port:04X}")) && row[3] == "02")
}

/// The right to a tunnel may go while it is being connected: then the local service is told so, and no tunnel stands even for a moment (A78).
#[tokio::test]
async fn a78_a_law_that_comes_while_a_tunnel_is_connected_is_not_missed() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    // Its queue is filled, so that nobody gets a connection until it is emptied.
    let (listener, mut held) = (socket.listen(1).unwrap(), Vec::new());
    let outside = listener.local_addr().unwrap();
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(outside)).await {
        held.push(stream.unwrap());
    }
    let town = Town::new(outside.port());
    town.law(2, &law(outside.port()));
    let proxy = PROXY.replace("USERS", "127.0.0.1:1").replace("egress: {", "egress: {timeouts: {connect: 30s}, ");
    let caller = town.start("payments", "payments", &proxy).await;
    let (to, port) = (caller.outbound()[0], outside.port());
    // What asked before has given up by then.
    timeout(Duration::from_secs(20), async {
        while is_connecting(port) {
            tokio::time::sleep(Duration::from_millis(20)).await
        }
    })
    .await
    .unwrap();
    let asked = tokio::spawn(async move { connect(to, &format!("localhost:{port}")).await.1 });
    timeout(Duration::from_secs(20), async {
        while !is_connecting(port) {
            tokio::time::sleep(Duration::from_millis(20)).await
        }
    })
    .await
    .unwrap();
    town.law(3, &without_cards(&law(port)));
    caller.reload().await.unwrap();
    assert!(is_connecting(port) && !asked.is_finished());
    let (says, mut came) = unbounded_channel();
    let far = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut said = Vec::new();
            stream.read_to_end(&mut said).await.ok();
            says.send(said).unwrap();
        }
    });
    drop(held);
    let head = timeout(Duration::from_secs(20), asked).await.expect("it is answered").unwrap();
    assert_eq!(code(&head), 403, "{head}");
    caller.shutdown().await;
    far.abort();
    while let Some(said) = came.recv().await {
        assert!(said.is_empty(), "something went there: {}", said.escape_ascii());
    }
    let records = town.records("payments");
    let ends: Vec<_> = ended(&records).iter().map(|e| (e.outcome, e.why, e.status, e.detail.as_deref())).collect();
    assert_eq!(ends, [(Outcome::Unavailable, Why::Policy, Some(403), Some("new-bundle"))]);
}
