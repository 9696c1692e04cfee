//! Framing: HTTP/1 heads that two servers read differently, and HTTP/2 connections made to exhaust the one who answers.

use std::io::Write as _;
use std::time::Duration;

use portreeve_engine::{Effect, Reason};

use crate::client::{Client, answers, one_answer, rest};
use crate::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, integer, literal,
    request, string,
};
use crate::world::{Sidecar, World, until};

/// What a smuggler hides behind a head: were it ever read as a request, the service would see it.
const HIDDEN: &str = "GET /v1/items/smuggled HTTP/1.1\r\nHost: items\r\n\r\n";

#[test]
fn a23_a77_a_head_that_two_servers_read_differently_ends_the_connection() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    let post = |lines: &str| format!("POST /v1/items/1 HTTP/1.1\r\nHost: items\r\n{lines}\r\n");
    let heads = [
        post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
        post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
        post("Content-Length: 4\r\nContent-Length: 4\r\n"),
        post("Content-Length: 4\r\nContent-Length: 5\r\n"),
        post("Content-Length: 4, 4\r\n"),
        post("Content-Length: +4\r\n"),
        post("Content-Length: -1\r\n"),
        post("Content-Length: 0x4\r\n"),
        post("Content-Length: 4 4\r\n"),
        post("Content-Length:\r\n"),
        post("Content-Length: 99999999999999999999\r\n"),
        post("Transfer-Encoding: chunked, chunked\r\n"),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        post("Transfer-Encoding: identity\r\n"),
        post("Transfer-Encoding: gzip, chunked\r\n"),
        post("Transfer-Encoding: chunked;x=1\r\n"),
        post("Transfer-Encoding: \x0bchunked\r\n"),
        post("Transfer-Encoding : chunked\r\n"),
        post("Transfer-Encoding:\r\n chunked\r\n"),
        post("X: y\r\n Transfer-Encoding: chunked\r\n"),
        post("Transfer-Encoding: xchunked\r\n"),
        post("Host: users\r\n"),
        post("Host: items\r\n"),
        "POST /v1/items/1 HTTP/1.1\r\nContent-Length: 4\r\n\r\n".to_owned(),
        "POST /v1/items/1 HTTP/1.0\r\nHost: items\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        "POST /v1/items/1 HTTP/2.0\r\nHost: items\r\n\r\n".to_owned(),
        "POST /v1/items/1 HTTP/1.2\r\nHost: items\r\n\r\n".to_owned(),
        "POST /v1/items/1 http/1.1\r\nHost: items\r\n\r\n".to_owned(),
        "POST /v1/items/1 HTTP/01.1\r\nHost: items\r\n\r\n".to_owned(),
        "POST  /v1/items/1 HTTP/1.1\r\nHost: items\r\n\r\n".to_owned(),
        "POST /v1/items/1  HTTP/1.1\r\nHost: items\r\n\r\n".to_owned(),
        "POST\t/v1/items/1\tHTTP/1.1\r\nHost: items\r\n\r\n".to_owned(),
        " POST /v1/items/1 HTTP/1.1\r\nHost: items\r\n\r\n".to_owned(),
        "POST /v1/items/1\r\n\r\n".to_owned(),
        "POST /v1/items/1 HTTP/1.1\nHost: items\n\n".to_owned(),
        "POST /v1/items/1 HTTP/1.1\r\nHost: items\r\n\n".to_owned(),
        "POST /v1/items/1 HTTP/1.1\r\nHost: items\r\nA: b\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("POST /v1/items/1 HTTP/1.1\r\nHost: items\r\n{}\r\n", "X: y\r\n".repeat(200)),
        format!("POST /v1/items/1 HTTP/1.1\r\nHost: items\r\nX: {}\r\n\r\n", "y".repeat(20_000)),
        format!("POST /v1/items/{} HTTP/1.1\r\nHost: items\r\n\r\n", "y".repeat(20_000)),
    ];
    for head in &heads {
        // A good request before it, so that a connection is at stake, and one hidden behind it.
        let bytes = format!("GET /v1/items/before HTTP/1.1\r\nHost: items\r\n\r\n{head}0\r\n\r\n{HIDDEN}");
        let answers = client.ask(sidecar.inbound, bytes.as_bytes());
        let statuses: Vec<u16> = answers.iter().map(|a| a.status).collect();
        assert!(matches!(statuses[..], [200, 400 | 431 | 501 | 505]), "{head:?}: {statuses:?}");
        assert!(answers[1].is_bare_refusal(), "{head:?}: {}", answers[1].head);
    }
    let log = sidecar.stop();
    assert!(
        !world.upstream.got(b"smuggled") && world.upstream.targets().iter().all(|t| t == "/v1/items/before"),
        "{:?}",
        world.upstream.targets()
    );
    let reasons = log.reasons();
    assert_eq!(reasons.len(), 2 * heads.len());
    assert!(reasons.chunks(2).all(|pair| pair == [Reason::Permitted, Reason::MalformedRequest]));
    assert!(log.decided().iter().all(|d| d.request.raw.as_ref().is_none_or(|raw| raw.len() <= 256 && raw.is_ascii())));
}

#[test]
fn a23_a24_a_body_is_never_read_as_a_request() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    let n = HIDDEN.len();
    // Refused, denied, answered early, and answered by nobody: each with a body that looks like a request.
    let cases = [
        (format!("POST /admin/x HTTP/1.1\r\nHost: items\r\nContent-Length: {n}\r\n\r\n{HIDDEN}"), 403),
        (format!("GET /admin/x HTTP/1.1\r\nHost: items\r\nTransfer-Encoding: chunked\r\n\r\n{n:x}\r\n{HIDDEN}\r\n0\r\n\r\n"), 403),
        (format!("POST /v1//items HTTP/1.1\r\nHost: items\r\nContent-Length: {n}\r\n\r\n{HIDDEN}"), 400),
        (format!("POST /v1/items/early HTTP/1.1\r\nHost: items\r\nContent-Length: {n}\r\n\r\n{HIDDEN}"), 200),
        (format!("POST /v1/items/die-early HTTP/1.1\r\nHost: items\r\nContent-Length: {n}\r\n\r\n{HIDDEN}"), 502),
        (format!("POST /v1/items/x HTTP/1.1\r\nHost: items\r\nContent-Length: {n}\r\nExpect: 100-continue\r\n\r\n{HIDDEN}"), 200),
        (format!("GET /v1/items/x HTTP/1.1\r\nHost: items\r\nContent-Length: {n}\r\n\r\n{HIDDEN}"), 200),
    ];
    for (bytes, status) in &cases {
        let follow = "GET /v1/items/after HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\n";
        let got: Vec<u16> =
            client.ask(sidecar.inbound, format!("{bytes}{follow}").as_bytes()).iter().map(|a| a.status).filter(|s| *s != 100).collect();
        assert_eq!(got[0], *status, "{bytes:?}: {got:?}");
        assert!(got.len() <= 2 && got[1..].iter().all(|s| *s == 200), "{bytes:?}: {got:?}");
    }
    // A response of two: the second one must not be anybody's answer.
    let mut conn = client.open(sidecar.inbound);
    for (target, body) in [("double", "one"), ("after", "you asked for /v1/items/after"), ("after", "you asked for /v1/items/after")] {
        conn.write_all(format!("GET /v1/items/{target} HTTP/1.1\r\nHost: items\r\n\r\n").as_bytes()).unwrap();
        let answer = one_answer(&mut conn);
        assert_eq!((answer.status, String::from_utf8_lossy(&answer.body).as_ref()), (200, body));
    }
    drop(conn);
    for target in ["both-lengths", "huge-head"] {
        let status = client.get(sidecar.inbound, &format!("/v1/items/{target}"), "");
        assert!(matches!(status, 200 | 502), "{target}: {status}");
    }
    let log = sidecar.stop();
    assert!(!world.upstream.targets().iter().any(|t| t.contains("smuggled")), "a body became a request");
    assert!(!log.decided().iter().any(|d| d.request.path.as_deref().is_some_and(|p| p.contains("smuggled"))));
    log.every_allow_ended();
}

#[test]
fn a23_broken_chunks_never_reach_the_service_as_whole_ones() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    for body in [
        "3;ext=1\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "ffffffffffffffffff\r\nabc\r\n",
        "-3\r\nabc\r\n",
        "+3\r\nabc\r\n",
        " 3\r\nabc\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nbad trailer\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "\r\n3\r\nabc\r\n",
        "3\r\nabc\r\n0\r\nX: y\r\n folded\r\n\r\n",
    ] {
        let bytes = format!("POST /v1/items/chunks HTTP/1.1\r\nHost: items\r\nTransfer-Encoding: chunked\r\n\r\n{body}{HIDDEN}");
        let statuses: Vec<u16> = client.ask(sidecar.inbound, bytes.as_bytes()).iter().map(|a| a.status).collect();
        assert!(matches!(statuses[..], [] | [400]), "{body:?}: {statuses:?}");
    }
    // Trailers that claim an identity are cleaned like headers, whatever the service makes of trailers.
    let bytes = "POST /v1/items/trailers HTTP/1.1\r\nHost: items\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Portreeve-Principal: spiffe://evil/x\r\nx-sum: 1\r\n\r\n";
    assert_eq!(client.ask(sidecar.inbound, bytes.as_bytes())[0].status, 200);
    let log = sidecar.stop();
    assert!(!world.upstream.got(b"smuggled") && !world.upstream.got(b"evil"));
    for seen in world.upstream.seen().iter().filter(|s| s.target == "/v1/items/chunks") {
        assert!(seen.body.is_empty(), "a broken body arrived as a whole one: {seen:?}");
    }
    log.every_allow_ended();
    assert!(log.ended().iter().filter(|e| e.why == portreeve_engine::record::Why::Client).count() >= 13);
}

#[test]
fn a22_nothing_early_goes_through_an_upgrade_that_nobody_granted() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    let upgrade =
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for head in [
        format!("GET /v1/items/plain HTTP/1.1\r\nHost: items\r\n{upgrade}\r\n"),
        "GET /v1/items/plain HTTP/1.1\r\nHost: items\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n".to_owned(),
        "CONNECT items:443 HTTP/1.1\r\nHost: items:443\r\n\r\n".to_owned(),
        "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n".to_owned(),
    ] {
        let answers = client.ask(sidecar.inbound, format!("{head}{HIDDEN}").as_bytes());
        let statuses: Vec<u16> = answers.iter().map(|a| a.status).collect();
        assert!(statuses.iter().all(|s| (400..600).contains(s)) && statuses.len() == 1, "{head:?}: {statuses:?}");
    }
    // A service that switches although nobody asked: the caller gets no tunnel, and what it sends is judged like anything else.
    let mut conn = client.open(sidecar.inbound);
    conn.write_all(format!("GET /v1/items/switch HTTP/1.1\r\nHost: items\r\n\r\n{}", HIDDEN.replace("/v1/items/", "/admin/")).as_bytes())
        .unwrap();
    assert_eq!(one_answer(&mut conn).status, 502);
    conn.conn.send_close_notify();
    assert!(answers(&rest(&mut conn)).iter().all(|a| a.status == 403));
    // CONNECT and extended CONNECT over HTTP/2.
    for headers in [
        vec![(":method", "CONNECT"), (":authority", "items:443")],
        vec![
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":authority", "items"),
            (":path", "/v1/items/plain"),
        ],
    ] {
        let mut http2 = Http2::open(&client, sidecar.inbound);
        http2.send(HEADERS, END_HEADERS, 1, &block(&headers)).unwrap();
        http2.send(DATA, 0, 1, HIDDEN.as_bytes()).unwrap();
        let reply = http2.reply(1);
        assert!(reply.status >= 400 || reply.reset.is_some() || http2.goaway.is_some(), "{headers:?}: {reply:?}");
    }
    let log = sidecar.stop();
    assert!(log.paths(Effect::Allow).iter().all(|p| *p == "/v1/items/switch"));
    assert_eq!(world.upstream.targets(), ["/v1/items/switch"]);
}

/// What an attack does to a connection; other callers are served while it goes on, memory stays flat, and the gate lives.
fn under_attack(world: &World, sidecar: &Sidecar, attack: impl Fn(&Client) + Sync) {
    let attacker = world.client("users");
    let victim = world.client("invoices");
    // Once to warm up what grows once.
    attack(&attacker);
    let before = sidecar.rss();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            for _ in 0..6 {
                attack(&attacker);
            }
        });
        let mut served = 0;
        while !running.is_finished() || served == 0 {
            assert_eq!(victim.get(sidecar.inbound, "/v1/items/victim", ""), 200, "another caller is not served");
            served += 1;
        }
    });
    let grown = sidecar.rss().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "memory grew by {grown} bytes");
    until("the attacker's connections are gone", || sidecar.metric("portreeve_connections", "") < 1.0);
}

/// More than a gate keeps of connections that are gone, and far less than what the attacks send.
const GROWTH_MAX: u64 = 24 << 20;

#[test]
fn a26_a27a_streams_opened_and_reset_at_once() {
    let world = World::new();
    let sidecar = world.start();
    let closed = std::sync::atomic::AtomicUsize::new(0);
    under_attack(&world, &sidecar, |attacker| {
        let mut http2 = Http2::open(attacker, sidecar.inbound);
        let get = request("GET", "/v1/items/reset");
        // More than the buffers between the two can hold, so that a gate that is slow to look is not taken for one that lets it pass.
        for round in 0..20_000_u32 {
            let mut burst = Vec::new();
            for n in 0..50 {
                let stream = 2 * (round * 50 + n) + 1;
                burst.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &get));
                burst.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            }
            if http2.raw(&burst).is_err() {
                closed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                return;
            }
        }
        panic!("a million resets on one connection");
    });
    assert!(closed.into_inner() >= 7, "every attack ends with its connection");
    sidecar.stop();
}

#[test]
fn a26_a27b_streams_that_the_gate_is_provoked_to_reset() {
    let world = World::new();
    let sidecar = world.start();
    // Each provocation is a fault of one stream, so that the gate has to answer with a reset of its own, and never reads ours.
    type Provoke = fn(u32) -> Vec<u8>;
    let provocations: [(&str, Provoke); 3] = [
        ("a window update of nothing", |s| frame(WINDOW_UPDATE, 0, s, &[0, 0, 0, 0])),
        // Twice: the first opens a window that was closed as far as it goes.
        ("a window beyond all bounds", |s| frame(WINDOW_UPDATE, 0, s, &0x7fff_ffff_u32.to_be_bytes()).repeat(2)),
        ("data after the end", |s| frame(DATA, END_STREAM, s, b"x")),
    ];
    for (what, provoke) in provocations {
        under_attack(&world, &sidecar, |attacker| {
            let mut http2 = Http2::open(attacker, sidecar.inbound);
            // A closed window, so that nothing the gate sends ever leaves.
            let _ = http2.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
            let get = request("GET", "/v1/items/slow");
            // More than the buffers hold here, too.
            for round in 0..20_000_u32 {
                let streams = (0..50).map(|n| 2 * (round * 50 + n) + 1);
                let burst: Vec<u8> =
                    streams.flat_map(|s| [frame(HEADERS, END_STREAM | END_HEADERS, s, &get), provoke(s)].concat()).collect();
                if http2.raw(&burst).is_err() {
                    return;
                }
            }
            panic!("{what}: a million streams on one connection");
        });
    }
    sidecar.stop();
}

#[test]
fn a26_a_peer_that_asks_more_than_it_reads_holds_up_nobody() {
    let world = World::new();
    let sidecar = world.start();
    under_attack(&world, &sidecar, |attacker| {
        let mut http2 = Http2::open(attacker, sidecar.inbound);
        let get = request("GET", "/v1/items/x");
        for burst in 0..100_u32 {
            let streams = (0..50).map(|n| 2 * (burst * 50 + n) + 1);
            let bytes: Vec<u8> = streams.flat_map(|stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &get)).collect();
            // Answered, or cut for having more streams open than it may: either way it is gone in the middle of it.
            if http2.raw(&bytes).is_err() {
                return;
            }
        }
    });
    sidecar.stop();
}

#[test]
fn a27c_a_header_block_that_never_ends() {
    let world = World::new();
    let sidecar = world.start();
    under_attack(&world, &sidecar, |attacker| {
        let mut http2 = Http2::open(attacker, sidecar.inbound);
        let _ = http2.send(HEADERS, END_STREAM, 1, &request("GET", "/v1/items/x"));
        let more = literal(b"x-more", &[b'y'; 1000]);
        for _ in 0..20_000 {
            if http2.send(CONTINUATION, 0, 1, &more).is_err() {
                return;
            }
        }
        panic!("twenty megabytes of one header block");
    });
    under_attack(&world, &sidecar, |attacker| {
        let mut http2 = Http2::open(attacker, sidecar.inbound);
        let _ = http2.send(HEADERS, END_STREAM, 1, &request("GET", "/v1/items/x"));
        let burst = frame(CONTINUATION, 0, 1, &[]).repeat(1000);
        for _ in 0..4000 {
            if http2.raw(&burst).is_err() {
                return;
            }
        }
        panic!("four million empty continuations");
    });
    sidecar.stop();
}

#[test]
fn a27d_empty_frames_without_end() {
    let world = World::new();
    let sidecar = world.start();
    let flood = |attacker: &Client, one: &[u8]| {
        let mut http2 = Http2::open(attacker, sidecar.inbound);
        // `users` may do nothing, so a stream of its own ends at once; these go on all the same.
        let _ = http2.send(HEADERS, END_HEADERS, 1, &request("POST", "/v1/items/x"));
        let burst = one.repeat(1000);
        for _ in 0..100 {
            if http2.raw(&burst).is_err() {
                return;
            }
        }
    };
    let empty = frame(DATA, 0, 1, &[]);
    under_attack(&world, &sidecar, |attacker| flood(attacker, &empty));
    let padded = frame(DATA, 8, 1, &[3, 0, 0, 0]);
    under_attack(&world, &sidecar, |attacker| flood(attacker, &padded));
    let ping = frame(PING, 0, 0, &[0; 8]);
    under_attack(&world, &sidecar, |attacker| flood(attacker, &ping));
    let settings = frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]);
    under_attack(&world, &sidecar, |attacker| flood(attacker, &settings));
    let unknown = frame(0x2a, 0, 1, &[0; 8]);
    under_attack(&world, &sidecar, |attacker| flood(attacker, &unknown));
    let priority = frame(2, 0, 3, &[0, 0, 0, 0, 5]);
    under_attack(&world, &sidecar, |attacker| flood(attacker, &priority));
    sidecar.stop();
}

#[test]
fn a28_a_small_block_that_unfolds_into_a_huge_one() {
    let world = World::new();
    let sidecar = world.start();
    under_attack(&world, &sidecar, |attacker| {
        let mut http2 = Http2::open(attacker, sidecar.inbound);
        // One crumb of 4000 bytes goes into the table; then one byte each names it again: 4 kB on the wire, 16 MB unfolded.
        let crumb = [vec![0x40], string(b"cookie"), string(&[b'c'; 3900])].concat();
        let block = [request("GET", "/v1/items/bomb"), crumb, integer(62, 7, 0x80).repeat(4000)].concat();
        let _ = http2.send(HEADERS, END_STREAM | END_HEADERS, 1, &block);
        let reply = http2.reply(1);
        assert!(matches!(reply.status, 0 | 400..=499), "{reply:?}");
    });
    // The sum of many honest headers is bounded in the same way.
    let lawful = world.client("invoices");
    let mut http2 = Http2::open(&lawful, sidecar.inbound);
    let mut many = request("GET", "/v1/items/many");
    for n in 0..150 {
        many.extend(literal(format!("x-{n}").as_bytes(), b"y"));
    }
    http2.send(HEADERS, END_STREAM | END_HEADERS, 1, &many).unwrap();
    let reply = http2.reply(1);
    assert_ne!(reply.status, 0, "{reply:?}");
    let _ = sidecar.stop();
    assert!(!world.upstream.targets().iter().any(|t| t.contains("bomb")));
}

#[test]
fn a26_a_connection_has_a_bounded_number_of_streams() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    let slow = |count: u32| -> Vec<u8> {
        (0..count).flat_map(|n| frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &request("GET", "/v1/items/slow"))).collect()
    };
    // As many as a lawful client opens at once are served at once.
    let mut lawful = Http2::open(&client, sidecar.inbound);
    lawful.raw(&slow(100)).unwrap();
    let log = sidecar.log_until("a hundred streams run", |log| log.decided().len() == 100);
    assert!(log.ended().is_empty());
    drop(lawful);
    sidecar.log_until("what ran has ended", |log| log.ended().len() == 100);
    // One that opens a thousand has the excess refused, or its connection closed.
    let mut greedy = Http2::open(&client, sidecar.inbound);
    let _ = greedy.raw(&slow(1000));
    let mut last = 0;
    until("no further stream is taken", || {
        std::thread::sleep(Duration::from_millis(500));
        let now = sidecar.log().decided().len();
        std::mem::replace(&mut last, now) == now
    });
    let decided = last - 100;
    assert!(decided <= 256, "{decided} streams of one connection run at once");
    drop(greedy);
    let log = sidecar.log_until("what ran has ended", |log| log.ended().len() == log.decided().len());
    log.every_allow_ended();
    assert_eq!(client.get(sidecar.inbound, "/v1/items/after", ""), 200);
    sidecar.stop();
}

#[test]
fn a24_half_closed_and_pipelined_connections() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    // A pipeline is answered in order, and a denial in its middle neither stops nor shifts it.
    let ask = |target: &str, more: &str| format!("GET {target} HTTP/1.1\r\nHost: items\r\n{more}\r\n");
    let bytes = [
        ask("/v1/items/1", ""),
        ask("/admin/x", ""),
        ask("/v1/items/3", ""),
        ask("/v1/items/4", "Connection: close\r\n"),
        HIDDEN.to_owned(),
    ]
    .concat();
    let answers = client.ask(sidecar.inbound, bytes.as_bytes());
    let got: Vec<_> = answers.iter().map(|a| (a.status, String::from_utf8_lossy(&a.body).into_owned())).collect();
    assert_eq!(got.len(), 4, "{got:?}");
    assert_eq!((got[0].0, got[1].0, got[2].0, got[3].0), (200, 403, 200, 200));
    assert!(got[0].1.ends_with("/1") && got[2].1.ends_with("/3") && got[3].1.ends_with("/4"));
    // A caller that says goodbye after its question still gets its answer.
    let mut conn = client.open(sidecar.inbound);
    conn.write_all(ask("/v1/items/5", "").as_bytes()).unwrap();
    conn.conn.send_close_notify();
    conn.flush().unwrap();
    let bytes = rest(&mut conn);
    assert!(answers_or_nothing(&bytes), "{}", String::from_utf8_lossy(&bytes));
    // A body cut off: the service never takes it for whole.
    let mut conn = client.open(sidecar.inbound);
    conn.write_all(b"POST /v1/items/cut HTTP/1.1\r\nHost: items\r\nContent-Length: 100\r\n\r\nhalf").unwrap();
    conn.conn.send_close_notify();
    conn.flush().unwrap();
    drop(conn);
    let log = sidecar.log_until("everything has ended", |log| log.ended().len() == 5);
    log.every_allow_ended();
    sidecar.stop();
    assert!(world.upstream.seen().iter().all(|s| s.target != "/v1/items/cut" || s.body.is_empty()));
    assert!(!world.upstream.got(b"smuggled"));
}

fn answers_or_nothing(bytes: &[u8]) -> bool {
    bytes.is_empty() || answers(bytes).first().is_some_and(|a| a.status == 200 && a.body.ends_with(b"/5"))
}
