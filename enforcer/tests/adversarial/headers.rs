//! Headers: policy sees every line, the service believes only what the gate says.

use portreeve_engine::request::AttributeValue;
use portreeve_engine::{Effect, Reason};

use crate::http2::{END_HEADERS, END_STREAM, HEADERS, Http2, literal, request};
use crate::world::{SHOP, World, spiffe};

/// `x-roles: admin` is prohibited; everything else may read items.
const ROLES: &str = r#"
---
kind: Permission
name: no-admins
deny: {from: [invoices], to: items, operations: '*'}
when: {headers: {x-roles: admin}}
justification: An admin has another door.
owner: team-test
"#;

#[test]
fn a05_a06_a_prohibited_value_is_found_in_whatever_line_it_stands() {
    let world = World::with(&[("shop.yaml", &format!("{SHOP}{ROLES}"))]);
    let sidecar = world.start();
    let client = world.client("invoices");
    let roles = |lines: &[&str]| lines.iter().map(|v| format!("X-Roles: {v}\r\n")).collect::<String>();
    let denied: &[&[&str]] = &[
        &["admin"],
        &["admin", "user"],
        &["user", "admin"],
        &["user", "admin", "guest"],
        &["user, admin"],
        &["user,admin,guest"],
        &["admin,user"],
        &["user", "guest,admin"],
        &["  admin  "],
        &["user ,\tadmin"],
        &["\tadmin\t"],
    ];
    for lines in denied {
        assert_eq!(client.get(sidecar.inbound, "/v1/items/1", &roles(lines)), 403, "{lines:?}");
        let mut block = request("GET", "/v1/items/1");
        for line in *lines {
            block.extend(literal(b"x-roles", line.trim().as_bytes()));
        }
        let mut http2 = Http2::open(&client, sidecar.inbound);
        http2.send(HEADERS, END_STREAM | END_HEADERS, 1, &block).unwrap();
        assert_eq!(http2.reply(1).status, 403, "{lines:?} over HTTP/2");
    }
    assert!(world.upstream.seen().is_empty());
    for lines in [&["user"][..], &["user", "guest"], &["administrator"], &["user, guest"], &["xadmin", "adminx"]] {
        assert_eq!(client.get(sidecar.inbound, "/v1/items/1", &roles(lines)), 200, "{lines:?}");
    }
    // A header of which policy wants one value may not come twice, wherever the second one stands.
    for lines in ["x-tenant: eu\r\nx-tenant: us\r\n", "x-tenant: eu\r\nA: b\r\nX-TENANT: eu\r\n"] {
        assert_eq!(client.get(sidecar.inbound, "/v1/items/1", lines), 400, "{lines:?}");
    }
    let log = sidecar.stop();
    let decided = log.decided();
    assert!(decided.iter().take(2 * denied.len()).all(|d| d.decision.reason == Reason::Prohibited && d.decision.policies == ["no-admins"]));
    let kept = decided[6].context.headers.get("x-roles").unwrap();
    assert!(matches!(kept, AttributeValue::List(values) if values.len() == 3), "every line is recorded: {kept:?}");
}

#[test]
fn a18_a19_the_service_believes_only_the_gate() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    let evil = "spiffe://evil.example/admin";
    let lies = [
        "X-Forwarded-Client-Cert",
        "x-forwarded-client-cert-chain",
        "x_forwarded_client_cert",
        "X-Portreeve-Principal",
        "x-portreeve_principal",
        "x_portreeve_principal",
        "X-Portreeve-Anything",
        "x-envoy-original-path",
        "x-envoy-internal",
        "X-Envoy-Peer-Metadata",
        "l5d-client-id",
        "L5d-Remote-Ip",
    ];
    let lines: String = lies.iter().map(|name| format!("{name}: {evil}\r\n")).collect();
    // The caller asks the gate to take its own headers for those of this hop.
    let hop = "Connection: close, X-Forwarded-Client-Cert, X-Portreeve-Principal, X-Request-Id, Content-Length\r\n\
               Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nTE: gzip, trailers\r\n";
    let head = format!("POST /v1/items/one HTTP/1.1\r\nHost: items\r\nContent-Length: 2\r\n{lines}{hop}\r\nhi");
    let answer = client.ask(sidecar.inbound, head.as_bytes()).remove(0);
    assert_eq!(answer.status, 200, "{}", answer.head);
    // Without its host it is no request.
    assert_eq!(client.get(sidecar.inbound, "/v1/items/none", "Connection: Host\r\n"), 400);
    let mut http2 = Http2::open(&client, sidecar.inbound);
    let mut block = request("GET", "/v1/items/two");
    for name in lies {
        block.extend(literal(name.to_ascii_lowercase().as_bytes(), evil.as_bytes()));
    }
    http2.send(HEADERS, END_STREAM | END_HEADERS, 1, &block).unwrap();
    assert_eq!(http2.reply(1).status, 200);
    let log = sidecar.stop();
    assert!(!world.upstream.got(b"evil.example"), "a claim reached the service");
    let seen = world.upstream.seen();
    assert_eq!(seen[0].body, b"hi");
    let allowed = log.decided().into_iter().filter(|d| d.decision.effect == Effect::Allow);
    for (request, decided) in seen.iter().zip(allowed) {
        assert_eq!(request.headers("x-portreeve-principal"), [spiffe("invoices")]);
        assert_eq!(request.headers("x-request-id"), [decided.request.id.as_str()]);
        let xfcc = request.headers("x-forwarded-client-cert");
        assert_eq!(xfcc.len(), 1);
        assert!(
            xfcc[0].starts_with(&format!("By={};Hash=", spiffe("items"))) && xfcc[0].ends_with(&format!(";URI={}", spiffe("invoices")))
        );
        assert_eq!(request.headers("host").len(), 1);
        for gone in ["keep-alive", "proxy-connection", "proxy-authorization", "upgrade"] {
            assert!(request.header(gone).is_none(), "{gone}");
        }
    }
}

#[test]
fn a18_the_service_cannot_speak_in_the_name_of_the_gate() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    let head = "GET /v1/items/claims HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\n";
    let answer = client.ask(sidecar.inbound, head.as_bytes()).remove(0);
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"ok".as_slice()));
    assert!(answer.header("x-portreeve-principal").is_none() && answer.header("x-hop").is_none(), "{}", answer.head);
    let log = sidecar.stop();
    assert_eq!(answer.header("x-request-id"), Some(log.decided()[0].request.id.as_str()));
}

#[test]
fn a19_a_header_that_policy_reads_cannot_be_taken_away_after_judgement() {
    let needs = "\n---\nkind: Permission\nname: eu-only\ndeny: {from: [invoices], to: items, operations: '*'}\nwhen: {headers: {x-roles: admin}}\njustification: x\nowner: team-test\n";
    let world = World::with(&[("shop.yaml", &format!("{SHOP}{needs}"))]);
    let sidecar = world.start();
    let client = world.client("invoices");
    // Named by `Connection`, the header concerns this hop only: it is gone before judgement, and the service does not get it either.
    assert_eq!(client.get(sidecar.inbound, "/v1/items/hop", "X-Roles: admin\r\nConnection: x-roles\r\n"), 200);
    sidecar.stop();
    assert!(world.upstream.seen()[0].header("x-roles").is_none());
}

#[test]
fn a21_a77_bytes_that_readers_take_differently_are_refused() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    let mut bad: Vec<Vec<u8>> = [
        "A: b\0c\r\n",
        "A: b\rc\r\n",
        "A: b\nC: d\r\n",
        "A : b\r\n",
        " A: b\r\n",
        "A: b\r\n c\r\n",
        "A: b\r\n\tc\r\n",
        "A\r\n",
        ": b\r\n",
        "A\0: b\r\n",
        "A(: b\r\n",
        "A: b\x07\r\n",
        "A: b\x7f\r\n",
        "x_tenant: eu\r\n",
        "x_roles: a\r\nx-roles: b\r\n",
        "Content_Length: 5\r\n",
        "Transfer_Encoding: chunked\r\n",
    ]
    .iter()
    .map(|s| s.as_bytes().to_vec())
    .collect();
    bad.push(b"x-tenant: \xff\xfe\r\n".to_vec());
    for line in &bad {
        let head = [
            b"GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n".as_slice(),
            line,
            b"\r\nGET /v1/items/smuggled HTTP/1.1\r\nHost: items\r\n\r\n",
        ]
        .concat();
        let statuses: Vec<u16> = client.ask(sidecar.inbound, &head).iter().map(|a| a.status).collect();
        assert_eq!(statuses, [400], "{:?}", String::from_utf8_lossy(line));
    }
    // Over HTTP/2 the same values come without line ends to hide behind.
    let mut over_h2: Vec<(&[u8], &[u8])> = vec![
        (b"a", b"b\0c"),
        (b"a", b"b\r\nc: d"),
        (b"a", b"b\nc"),
        (b"A", b"b"),
        (b"a b", b"c"),
        (b"", b"c"),
        (b"x_tenant", b"eu"),
        (b"x-tenant", b"\xff\xfe"),
    ];
    over_h2.extend([
        (b"connection".as_slice(), b"close".as_slice()),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"keep-alive", b"5"),
        (b":path", b"/admin/x"),
        (b":authority", b"users"),
        (b":unknown", b"x"),
    ]);
    for (name, value) in &over_h2 {
        let mut http2 = Http2::open(&client, sidecar.inbound);
        let block = [request("GET", "/v1/items/h2"), literal(name, value)].concat();
        http2.send(HEADERS, END_STREAM | END_HEADERS, 1, &block).unwrap();
        let reply = http2.reply(1);
        assert_ne!(reply.status, 200, "{:?}: {:?}", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
    }
    let log = sidecar.stop();
    assert!(!world.upstream.got(b"smuggled"));
    assert!(log.decided().iter().all(|d| d.decision.effect == Effect::Deny));
    // Each is on record, over HTTP/2 too, where the stream is reset for most of them.
    let over_h2_recorded: Vec<_> = log.decided().into_iter().filter(|d| d.request.protocol == "HTTP/2").collect();
    assert_eq!(over_h2_recorded.len(), over_h2.len());
    assert!(over_h2_recorded.iter().all(|d| d.decision.reason == Reason::MalformedRequest && d.request.raw.is_some()));
    assert!(world.upstream.seen().is_empty(), "{:?}", world.upstream.targets());
}

#[test]
fn a21_white_space_does_not_hide_a_value() {
    let world = World::with(&[("shop.yaml", &format!("{SHOP}{ROLES}"))]);
    let sidecar = world.start();
    let client = world.client("invoices");
    for value in ["admin ", " admin", "\tadmin", "admin\t \t", "admin  ,user"] {
        assert_eq!(client.get(sidecar.inbound, "/v1/items/1", &format!("x-roles:{value}\r\n")), 403, "{value:?}");
    }
    let log = sidecar.stop();
    assert_eq!(log.reasons(), [Reason::Prohibited; 5]);
}
