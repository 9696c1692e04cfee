//! Requests in the bodies and fields of others: what HTTP/2 carries without ambiguity has to arrive so over HTTP/1.

use std::io::{Read as _, Write as _};

use crate::client::find;
use crate::http2::{DATA, END_HEADERS, END_STREAM, HEADERS, Http2, block, literal};
use crate::world::World;

/// Were it ever read as a request, the service would see it.
const HIDDEN: &str = "GET /v1/items/smuggled HTTP/1.1\r\nHost: items\r\nX-Portreeve-Principal: spiffe://evil/x\r\n\r\n";

/// What a request says of its body, and its body.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

fn head(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let own = [(":method", method), (":scheme", "https"), (":authority", "items"), (":path", path)];
    block(&[&own[..], more].concat())
}

#[test]
fn a23_a77_lengths_that_lie_over_http2_hide_no_request() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    let n = HIDDEN.len();
    let (exact, long, short) = (n.to_string(), (n + 10).to_string(), "5".to_owned());
    let (twice, plus, spaced, hex, wide) = (format!("{n}, {n}"), format!("+{n}"), format!(" {n}"), format!("0x{n:x}"), format!("{n:020}"));
    let chunk = format!("{n:x}\r\n{HIDDEN}\r\n0\r\n\r\n");
    let cases: [Case<'_>; 14] = [
        ("none", &[("content-length", "0")], HIDDEN),
        ("short", &[("content-length", &short)], HIDDEN),
        ("long", &[("content-length", &long)], HIDDEN),
        ("twice", &[("content-length", &twice)], HIDDEN),
        ("two", &[("content-length", &exact), ("content-length", &short)], HIDDEN),
        ("plus", &[("content-length", &plus)], HIDDEN),
        ("spaced", &[("content-length", &spaced)], HIDDEN),
        ("hex", &[("content-length", &hex)], HIDDEN),
        ("wide", &[("content-length", &wide)], HIDDEN),
        ("chunked", &[("transfer-encoding", "chunked")], &chunk),
        ("chunked-too", &[("transfer-encoding", "chunked"), ("content-length", &exact)], &chunk),
        ("kept", &[("connection", "keep-alive"), ("keep-alive", "5")], HIDDEN),
        ("named", &[("connection", "content-length"), ("content-length", &exact)], HIDDEN),
        ("close", &[("proxy-connection", "close")], HIDDEN),
    ];
    for (what, more, body) in cases {
        let mut http2 = Http2::open(&client, sidecar.inbound);
        http2.send(HEADERS, END_HEADERS, 1, &head("POST", &format!("/v1/items/{what}"), more)).unwrap();
        http2.send(DATA, END_STREAM, 1, body.as_bytes()).unwrap();
        let reply = http2.reply(1);
        // What it says of its length is true, or it is not served.
        assert!(reply.status != 200 || matches!(what, "spaced" | "wide"), "{what}: {reply:?}");
    }
    // A length, and an end where the body should be.
    let mut http2 = Http2::open(&client, sidecar.inbound);
    http2.send(HEADERS, END_HEADERS | END_STREAM, 1, &head("POST", "/v1/items/absent", &[("content-length", "50")])).unwrap();
    assert_ne!(http2.reply(1).status, 200);
    let log = sidecar.log_until("what was allowed has ended", |log| {
        log.decided().iter().filter(|d| d.decision.effect == portreeve_engine::Effect::Allow).count() == log.ended().len()
    });
    log.every_allow_ended();
    sidecar.stop();
    let seen = world.upstream.seen();
    assert!(!seen.iter().any(|s| s.target.contains("smuggled")), "{seen:?}");
    for seen in seen.iter().filter(|s| !s.body.is_empty()) {
        assert_eq!(String::from_utf8_lossy(&seen.body), HIDDEN, "{seen:?}");
    }
}

/// A line end, a colon or a space where none may stand: over HTTP/2 nothing in the framing forbids it.
#[test]
fn a21_a77_no_field_of_http2_ends_a_line_of_http1() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    let lines = "x\r\nx-evil: 1\r\n\r\nGET /v1/items/smuggled HTTP/1.1\r\nhost: items\r\n\r\n";
    let own = |method: &str, scheme: &str, authority: &str, path: &str| {
        block(&[(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)])
    };
    let mut blocks: Vec<(String, Vec<u8>)> = Vec::new();
    for text in [lines, "a\nb", "a\rb", "a\0b", "a b", "a\tb", "a:b", "a\u{7f}b", "a\u{85}b"] {
        blocks.push((format!("method {text:?}"), own(text, "https", "items", "/v1/items/1")));
        blocks.push((format!("scheme {text:?}"), own("GET", text, "items", "/v1/items/1")));
        blocks.push((format!("authority {text:?}"), own("GET", "https", text, "/v1/items/1")));
        blocks.push((format!("path {text:?}"), own("GET", "https", "items", &format!("/v1/items/{text}"))));
        blocks.push((format!("query {text:?}"), own("GET", "https", "items", &format!("/v1/items/1?{text}"))));
        let usual = own("GET", "https", "items", "/v1/items/1");
        blocks.push((format!("name {text:?}"), [usual.clone(), literal(text.as_bytes(), b"1")].concat()));
        blocks.push((format!("value {text:?}"), [usual, literal(b"x-tag", text.as_bytes())].concat()));
    }
    for path in ["v1/items/1", "https://items/v1/items/1", "//items/v1/items/1", "*", "", "/v1/items/1 HTTP/1.1", "/v1/items/1\u{a0}"] {
        blocks.push((format!("path {path:?}"), own("GET", "https", "items", path)));
    }
    for authority in ["items@evil", "evil@items", "items/v1", "items?x", "items#x", "items:80:80", "items,evil", "[::1", ""] {
        blocks.push((format!("authority {authority:?}"), own("GET", "https", authority, "/v1/items/1")));
    }
    for (what, block) in &blocks {
        let mut http2 = Http2::open(&client, sidecar.inbound);
        http2.send(HEADERS, END_HEADERS | END_STREAM, 1, block).unwrap();
        let reply = http2.reply(1);
        // A colon, spaces and text that is no ASCII may stand in values, a colon in paths and queries.
        let lawful = ["path \"a:b\"", "query \"a:b\"", "value \"a b\"", "value \"a\\tb\"", "value \"a:b\"", "value \"a\\u{85}b\""];
        assert!(reply.status != 200 || lawful.contains(&what.as_str()), "{what}: {reply:?}");
    }
    assert_eq!(client.get(sidecar.inbound, "/v1/items/after", ""), 200);
    sidecar.stop();
    assert!(!world.upstream.got(b"smuggled") && !world.upstream.got(b"x-evil"));
    for bytes in world.upstream.bytes.lock().unwrap().iter() {
        let text = String::from_utf8_lossy(bytes);
        assert!(text.replace("\r\n", "").find(['\r', '\n', '\0']).is_none(), "{text:?}");
    }
}

/// A service that answers before the body came may not have read it: what comes then could be a request to it.
#[test]
fn a24_a_connection_whose_answer_came_early_serves_nobody_else() {
    let world = World::new();
    // One thread, so that there is one pool of connections.
    let sidecar = world.start_with(&format!("{}workers: 1\n", world.config()));
    let client = world.client("invoices");
    let mut conn = client.open(sidecar.inbound);
    conn.write_all(b"POST /v1/items/early-half HTTP/1.1\r\nHost: items\r\nContent-Length: 8\r\n\r\nfour").unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"early") {
        let mut byte = [0];
        conn.read_exact(&mut byte).unwrap();
        seen.extend(byte);
    }
    conn.write_all(b"more").unwrap();
    while !seen.ends_with(b"later") {
        let mut byte = [0];
        conn.read_exact(&mut byte).unwrap();
        seen.extend(byte);
    }
    let mut http2 = Http2::open(&client, sidecar.inbound);
    http2.send(HEADERS, END_HEADERS, 1, &head("POST", "/v1/items/early-half", &[("content-length", "8")])).unwrap();
    http2.send(DATA, 0, 1, b"four").unwrap();
    while http2.replies.get(&1).is_none_or(|r| r.body != b"early") {
        assert!(http2.step());
    }
    http2.send(DATA, END_STREAM, 1, b"more").unwrap();
    assert_eq!(http2.reply(1).body, b"earlylater");
    for n in 0..4 {
        assert_eq!(client.get(sidecar.inbound, &format!("/v1/items/after-{n}"), ""), 200);
    }
    sidecar.stop();
    let bytes = world.upstream.bytes.lock().unwrap();
    let early: Vec<_> = bytes.iter().filter(|b| find(b, b"early-half").is_some()).collect();
    assert_eq!(early.len(), 2);
    assert!(early.iter().all(|b| find(b, b"after").is_none()), "it served another request");
}
