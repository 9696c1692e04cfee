//! Requests that a peer of HTTP/2 turns away with its connection: what it has not begun is sent again, whatever it asks for; what it may
//! have begun only where that does no harm.
//!
//! A peer that ends a connection in order (its certificate is replaced, it is old, it stops) cannot know what is on its way to it, so this
//! happens in the best of meshes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portreeve_enforcer::tls::{Identity, IdentityFiles, accept};
use portreeve_engine::Effect;
use portreeve_engine::record::Why;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::town::{Town, code, decided, ended, raw};

/// What the peer does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Answer,
    /// Ends the connection, and says that it looked at the first request alone.
    GoAway,
    /// The same, as soon as the head is there.
    GoAwayAtHead,
    /// Ends the connection, and says that it looked at this request.
    GoAwayAfter,
    Refuse,
    Reset,
    Close,
    /// Begins an answer, and takes its stream back without an error.
    BreakOff,
    /// Answers as soon as the head is there, and says that the rest is not wanted.
    AnswerAtHead,
    /// Lets a megabyte be sent before it looks at anything; asked for stream 0.
    Widen,
}

/// The same, by the number of a connection and the stream.
type Doing = fn(usize, u32) -> Does;

/// The bodies of requests that came whole, for each connection.
type Seen = Arc<Mutex<Vec<(usize, String)>>>;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Serves the nth connection: the first request of the first connection is answered, all others as `does` says.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut io: S, n: usize, does: Doing, seen: Seen) -> Option<()> {
    io.read_exact(&mut [0; 24]).await.ok()?;
    if does(n, 0) == Does::Widen {
        io.write_all(&[frame(4, 0, 0, &[0, 4, 0, 32, 0, 0]), frame(8, 0, 0, &[0, 32, 0, 0])].concat()).await.ok()?;
    } else {
        io.write_all(&frame(4, 0, 0, &[])).await.ok()?;
    }
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        io.flush().await.ok()?;
        io.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap()];
        io.read_exact(&mut payload).await.ok()?;
        let (kind, flags, stream) = (head[3], head[4], u32::from_be_bytes(head[5..].try_into().unwrap()));
        let does = if (n, stream) == (0, 1) { Does::Answer } else { does(n, stream) };
        match kind {
            0 => {
                body.extend_from_slice(&payload);
                // What is turned away is not taken.
                if does != Does::GoAwayAtHead && !payload.is_empty() {
                    let more = u32::try_from(payload.len()).unwrap().to_be_bytes();
                    io.write_all(&[frame(8, 0, 0, &more), frame(8, 0, stream, &more)].concat()).await.ok()?;
                }
            }
            4 if flags == 0 => io.write_all(&frame(4, 1, 0, &[])).await.ok()?,
            6 if flags == 0 => io.write_all(&frame(6, 1, 0, &payload)).await.ok()?,
            _ => {}
        }
        let last = if does == Does::GoAwayAfter { stream } else { stream.saturating_sub(2) };
        let go_away = frame(7, 0, 0, &[last.to_be_bytes(), [0; 4]].concat());
        let begun = |last| [frame(1, END_HEADERS, stream, &[0x88]), frame(0, last, stream, b"abc"), frame(3, 0, stream, &[0; 4])].concat();
        match does {
            Does::GoAwayAtHead if kind == 1 => io.write_all(&go_away).await.ok()?,
            Does::AnswerAtHead if kind == 1 => io.write_all(&begun(END_STREAM)).await.ok()?,
            _ => {}
        }
        if kind > 1 || flags & END_STREAM == 0 {
            continue;
        }
        let body = std::mem::take(&mut body);
        seen.lock().unwrap().push((n, String::from_utf8_lossy(&body).into_owned()));
        match does {
            Does::Answer => io.write_all(&frame(1, END_STREAM | END_HEADERS, stream, &[0x88])).await.ok()?,
            Does::GoAway => io.write_all(&go_away).await.ok()?,
            Does::BreakOff => io.write_all(&begun(0)).await.ok()?,
            Does::GoAwayAtHead | Does::AnswerAtHead | Does::Widen => {}
            Does::Refuse => io.write_all(&frame(3, 0, stream, &[0, 0, 0, 7])).await.ok()?,
            Does::Reset => io.write_all(&frame(3, 0, stream, &[0, 0, 0, 2])).await.ok()?,
            Does::Close => return None,
            Does::GoAwayAfter => {
                io.write_all(&go_away).await.ok()?;
                io.flush().await.ok()?;
                return None;
            }
        }
    }
}

/// A peer that speaks HTTP/2, with TLS as the enforcer of `users` or without as a service does.
async fn peer(own: Option<Identity>, does: Doing) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen, own) = (listener.local_addr().unwrap(), Seen::default(), own.map(Arc::new));
    let says = Arc::clone(&seen);
    tokio::spawn(async move {
        for n in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let (own, seen) = (own.clone(), Arc::clone(&says));
            tokio::spawn(async move {
                match own {
                    Some(own) => {
                        let (stream, _) = accept(&own, stream, Duration::from_secs(20)).await.unwrap();
                        serve(stream, n, does, seen).await
                    }
                    None => serve(stream, n, does, seen).await,
                }
            });
        }
    });
    (address, seen)
}

fn identity(town: &Town, service: &str) -> Identity {
    let trust = [("market.example".parse().unwrap(), town.ca.root_path())].into();
    let (cert, key) = (town.path(&format!("{service}.pem")), town.path(&format!("{service}.key")));
    Identity::load(&IdentityFiles { cert, key, trust, crl: Vec::new() }).unwrap()
}

fn request(method: &str, body: &str) -> String {
    let length = if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{method} /v1/users/7 HTTP/1.1\r\nHost: users\r\n{length}Connection: close\r\n\r\n{body}")
}

/// What it does on the second request of the first connection, the answer, and who saw which body after that of the first request.
type Case = (&'static str, &'static str, Doing, u16, &'static [(usize, &'static str)]);

/// Once, and then it answers.
const fn once(n: usize, stream: u32, does: Does) -> Does {
    if n == 0 && stream == 3 { does } else { Does::Answer }
}

const CASES: [Case; 13] = [
    ("GET", "", |n, s| once(n, s, Does::GoAway), 200, &[(0, ""), (1, "")]),
    ("POST", "", |n, s| once(n, s, Does::GoAway), 200, &[(0, ""), (1, "")]),
    ("POST", "hello", |n, s| once(n, s, Does::GoAway), 200, &[(0, "hello"), (1, "hello")]),
    ("GET", "", |n, s| once(n, s, Does::Refuse), 200, &[(0, ""), (0, "")]),
    ("POST", "hello", |n, s| once(n, s, Does::Refuse), 200, &[(0, "hello"), (0, "hello")]),
    // What may have begun is asked again where it is idempotent, once its connection has ended.
    ("GET", "", |n, s| once(n, s, Does::Close), 200, &[(0, ""), (1, "")]),
    ("POST", "", |n, s| once(n, s, Does::Close), 502, &[(0, "")]),
    ("GET", "", |n, s| once(n, s, Does::GoAwayAfter), 200, &[(0, ""), (1, "")]),
    ("POST", "", |n, s| once(n, s, Does::GoAwayAfter), 502, &[(0, "")]),
    ("GET", "", |n, s| once(n, s, Does::Reset), 502, &[(0, "")]),
    ("POST", "hello", |n, s| once(n, s, Does::Reset), 502, &[(0, "hello")]),
    // Whoever turns everybody away is not asked for ever.
    ("GET", "", |_, _| Does::GoAway, 502, &[(0, ""), (1, "")]),
    ("POST", "hello", |_, _| Does::GoAway, 502, &[(0, "hello"), (1, "hello")]),
];

#[tokio::test]
async fn a_request_that_a_callee_turned_away_is_sent_again() {
    let town = Town::new(443);
    for (n, (method, body, does, status, expected)) in CASES.into_iter().enumerate() {
        let (callee, seen) = peer(Some(identity(&town, "users")), does).await;
        let way = format!("outbound: [{{listen: \"127.0.0.1:0\", service: users, connect: [\"{callee}\"]}}]\n");
        let caller = town.start("payments", &format!("payments-{n}"), &way).await;
        assert_eq!(code(&raw(caller.outbound()[0], &request("GET", "")).await), 200);
        let answer = raw(caller.outbound()[0], &request(method, body)).await;
        let seen: Vec<_> = seen.lock().unwrap().iter().skip(1).map(|(n, body)| (*n, body.clone())).collect();
        let seen: Vec<_> = seen.iter().map(|(n, body)| (*n, body.as_str())).collect();
        assert_eq!((code(&answer), &*seen), (status, expected), "case {n}: {method} {body:?}");
        caller.shutdown().await;
    }
}

/// Bodies that were on their way: what was kept of them is sent again with what had not come yet. Of a long one more has gone only where a
/// peer lets more be sent before it has looked at anything than is kept; then it is not sent again.
#[tokio::test]
async fn a_body_that_is_on_its_way_is_sent_again_whole_or_not_at_all() {
    let town = Town::new(443);
    let at_head: Doing = |n, s| once(n, s, Does::GoAwayAtHead);
    let widely: Doing = |n, s| if s == 0 { Does::Widen } else { once(n, s, Does::GoAwayAtHead) };
    let cases = [(5, at_head, 200), (8 * 1024, at_head, 200), (1024 * 1024, at_head, 200), (5, widely, 200), (1024 * 1024, widely, 502)];
    for (n, (length, does, status)) in cases.into_iter().enumerate() {
        let (callee, seen) = peer(Some(identity(&town, "users")), does).await;
        let way = format!("outbound: [{{listen: \"127.0.0.1:0\", service: users, connect: [\"{callee}\"]}}]\n");
        let caller = town.start("payments", &format!("payments-{n}"), &way).await;
        assert_eq!(code(&raw(caller.outbound()[0], &request("GET", "")).await), 200);
        let body: String = (0..length).map(|n| char::from(b'a' + u8::try_from(n % 23).unwrap())).collect();
        assert_eq!(code(&raw(caller.outbound()[0], &request("POST", &body)).await), status, "{length}");
        let again: Vec<_> = seen.lock().unwrap().iter().filter(|(n, _)| *n == 1).map(|(_, body)| body.clone()).collect();
        assert_eq!(again, if status == 200 { vec![body] } else { vec![] }, "{length}");
        caller.shutdown().await;
    }
}

/// A service of HTTP/2 behind an enforcer that ends its connection in order, as at a restart.
#[tokio::test]
async fn a_request_that_the_service_turned_away_is_sent_again() {
    let town = Town::new(443);
    let cases: [Case; 5] = [
        ("GET", "", |n, s| once(n, s, Does::GoAway), 200, &[(0, ""), (1, "")]),
        ("POST", "", |n, s| once(n, s, Does::GoAway), 200, &[(0, ""), (1, "")]),
        ("POST", "hello", |n, s| once(n, s, Does::GoAway), 200, &[(0, "hello"), (1, "hello")]),
        ("POST", "hello", |n, s| once(n, s, Does::GoAwayAfter), 502, &[(0, "hello")]),
        ("POST", "hello", |_, _| Does::GoAway, 502, &[(0, "hello"), (1, "hello")]),
    ];
    for (n, (method, body, does, status, expected)) in cases.into_iter().enumerate() {
        let (service, seen) = peer(None, does).await;
        let log = format!("users-{n}");
        let inbound = format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{service}\", upstream_protocol: http2}}]\n");
        let callee = town.start("users", &log, &inbound).await;
        let way = format!("outbound: [{{listen: \"127.0.0.1:0\", service: users, connect: [\"{}\"], retries: 0}}]\n", callee.inbound()[0]);
        let caller = town.start("payments", &format!("payments-{n}"), &way).await;
        assert_eq!(code(&raw(caller.outbound()[0], &request("GET", "")).await), 200);
        let answer = raw(caller.outbound()[0], &request(method, body)).await;
        let seen: Vec<_> = seen.lock().unwrap().iter().skip(1).cloned().collect();
        let seen: Vec<_> = seen.iter().map(|(n, body)| (*n, body.as_str())).collect();
        assert_eq!((code(&answer), &*seen), (status, expected), "case {n}: {method} {body:?}");
        caller.shutdown().await;
        callee.shutdown().await;
        // It was one request, whatever it took.
        let records = town.records(&log);
        assert!(decided(&records).iter().all(|(_, d)| d.decision.effect == Effect::Allow));
        assert_eq!(ended(&records).iter().map(|e| e.status).collect::<Vec<_>>(), [Some(200), Some(status)], "case {n}");
    }
}

/// Behind an answer a reset without an error says that the rest of the request is not wanted (RFC 9113, 8.1); in the middle of one it
/// breaks it off, and nobody may take what came for all of it.
#[tokio::test]
async fn an_answer_is_whole_only_where_its_stream_ended() {
    let town = Town::new(443);
    let cases: [(&str, &str, Doing, bool); 4] = [
        ("GET", "", |n, s| once(n, s, Does::BreakOff), false),
        ("POST", "hello", |n, s| once(n, s, Does::BreakOff), false),
        ("GET", "", |n, s| once(n, s, Does::AnswerAtHead), true),
        ("POST", "hello", |n, s| once(n, s, Does::AnswerAtHead), true),
    ];
    for (n, (method, body, does, whole)) in cases.into_iter().enumerate() {
        let (own, log) = (identity(&town, "users"), format!("users-{n}"));
        let (callee, _) = peer(Some(own), does).await;
        let (service, _) = peer(None, does).await;
        let inbound = format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{service}\", upstream_protocol: http2}}]\n");
        let gate = town.start("users", &log, &inbound).await;
        for (to, what) in [(callee, "a callee"), (gate.inbound()[0], "a service")] {
            let way = format!("outbound: [{{listen: \"127.0.0.1:0\", service: users, connect: [\"{to}\"], retries: 0}}]\n");
            let caller = town.start("payments", &format!("payments-{n}-{}", to.port()), &way).await;
            assert_eq!(code(&raw(caller.outbound()[0], &request("GET", "")).await), 200);
            let answer = raw(caller.outbound()[0], &request(method, body)).await;
            // The reset may overtake what was sent before it.
            assert!(code(&answer) == 200 && answer.contains("abc") || !whole, "{what}, case {n}: {answer}");
            assert_eq!(answer.ends_with("0\r\n\r\n"), whole, "{what}, case {n}: {answer}");
            caller.shutdown().await;
        }
        gate.shutdown().await;
        let expected = if whole { Why::Complete } else { Why::Upstream };
        assert_eq!(ended(&town.records(&log))[1].why, expected, "case {n}");
    }
}

/// Requests that wait for a callee which takes connections and says nothing do not wait for each other: all are answered when the first
/// attempt has failed, and the next request tries anew.
#[tokio::test]
async fn requests_to_a_silent_callee_do_not_wait_in_line() {
    let town = Town::new(443);
    // The system takes what nobody accepts.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let way =
        format!("outbound: [{{listen: \"127.0.0.1:0\", service: users, connect: [\"{address}\"], timeouts: {{handshake: 500ms}}}}]\n");
    let caller = town.start("payments", "payments", &way).await;
    let to = caller.outbound()[0];
    let began = std::time::Instant::now();
    let asked: Vec<_> = (0..16).map(|_| tokio::spawn(async move { code(&raw(to, &request("GET", "")).await) })).collect();
    for one in asked {
        assert_eq!(one.await.unwrap(), 502);
    }
    assert!(began.elapsed() < Duration::from_secs(4), "sixteen times half a second: {:?}", began.elapsed());
    // It has come to itself.
    let own = Arc::new(identity(&town, "users"));
    tokio::spawn(async move {
        loop {
            let (stream, _) = silent.accept().await.unwrap();
            let own = Arc::clone(&own);
            tokio::spawn(async move {
                let Ok((stream, _)) = accept(&own, stream, Duration::from_secs(20)).await else { return None };
                serve(stream, 0, |_, _| Does::Answer, Seen::default()).await
            });
        }
    });
    assert_eq!(code(&raw(to, &request("GET", "")).await), 200);
    caller.shutdown().await;
}

/// An enforcer ends its connections in two steps, so that what is on its way to it is taken: bodies that are too long to be kept pass
/// while one connection after the other comes to its end.
#[tokio::test]
async fn bodies_of_any_length_pass_while_a_callee_ends_its_connections() {
    let town = Town::new(443);
    let (app, _) = crate::town::app(|_, _| crate::town::ok("taken")).await;
    let inbound = format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{app}\", connection_lifetime: 1s}}]\n");
    let callee = town.start("users", "users", &inbound).await;
    let to = callee.inbound()[0];
    let way = format!("outbound: [{{listen: \"127.0.0.1:0\", service: users, connect: [\"{to}\"], retries: 0}}]\n");
    let caller = town.start("payments", "payments", &way).await;
    let (to, body) = (caller.outbound()[0], Arc::new("x".repeat(100_000)));
    // However slow the machine is: as long as it takes for connections and requests to be many.
    let (until, asked) = (tokio::time::Instant::now() + Duration::from_secs(120), AtomicUsize::new(0));
    let connections = || callee.gate().metrics.handshakes_completed.get();
    let enough = || asked.load(Ordering::Relaxed) > 100 && connections() >= 4;
    let asking = (0..8).map(|_| async {
        while !enough() {
            let now = tokio::time::Instant::now();
            assert!(now < until, "{} over {} connections", asked.load(Ordering::Relaxed), connections());
            assert_eq!(code(&raw(to, &request("POST", &body)).await), 200);
            asked.fetch_add(1, Ordering::Relaxed);
        }
    });
    futures_util::future::join_all(asking).await;
    caller.shutdown().await;
    callee.shutdown().await;
}
