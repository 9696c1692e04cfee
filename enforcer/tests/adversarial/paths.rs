//! Paths, hosts, methods, schemes: what two servers could read in two ways never reaches the second one.

use portreeve_engine::{Effect, Reason};

use crate::client::{Client, find};
use crate::http2::{END_HEADERS, END_STREAM, HEADERS, Http2, block};
use crate::world::{SHOP, Sidecar, World};

/// Everything but `/admin` is allowed, so whoever finds another spelling of `/admin` gets in.
const ALL_BUT_ADMIN: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
operations:
  - {id: admin, method: [GET, POST], path: /admin}
  - {id: admin-below, method: [GET, POST], path: "/admin/{rest*}"}
---
kind: Service
name: invoices
identities: [spiffe://market.example/ns/shop/sa/invoices]
operations: [{id: read, method: GET, path: "/v1/invoices"}]
---
kind: Service
name: users
identities: [spiffe://market.example/ns/shop/sa/users]
operations: [{id: read, method: GET, path: "/v1/users"}]
---
kind: Permission
name: everything
allow: {from: [invoices], to: items, operations: any-path}
justification: So that only the prohibition stands in the way.
owner: team-test
---
kind: Permission
name: but-admin
deny: {from: [invoices], to: items, operations: [admin, admin-below]}
justification: The crown jewels.
owner: team-test
"#;

/// One target over HTTP/1.1, with `headers` after the `Host`.
fn h1(client: &Client, sidecar: &Sidecar, host: &str, target: &str) -> u16 {
    let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    client.ask(sidecar.inbound, head.as_bytes()).first().map_or(0, |a| a.status)
}

/// One request over HTTP/2 with exactly these pseudo-headers: its status, or 0 where the stream was reset or the connection closed.
fn h2(client: &Client, sidecar: &Sidecar, headers: &[(&str, &str)]) -> u16 {
    let mut http2 = Http2::open(client, sidecar.inbound);
    http2.send(HEADERS, END_STREAM | END_HEADERS, 1, &block(headers)).unwrap();
    http2.reply(1).status
}

fn h2_path(client: &Client, sidecar: &Sidecar, path: &str) -> u16 {
    h2(client, sidecar, &[(":method", "GET"), (":scheme", "https"), (":authority", "items"), (":path", path)])
}

#[test]
fn a01_a29_a77_no_other_spelling_of_a_forbidden_path_gets_through() {
    let world = World::with(&[("all.yaml", ALL_BUT_ADMIN)]);
    let sidecar = world.start();
    let client = world.client("invoices");
    // The gate decodes what means the same to every reader, and the prohibition holds.
    for target in ["/admin", "/admin?x=1", "/%61dmin", "/a%64min/x", "/%61%64%6D%69%6E", "/admin/%7e"] {
        assert_eq!(h1(&client, &sidecar, "items", target), 403, "{target}");
        assert_eq!(h2_path(&client, &sidecar, target), 403, "{target}");
    }
    let ambiguous = [
        "//admin",
        "/%2Fadmin",
        "/%2fadmin",
        "/x/..%2Fadmin",
        "/x%2F..%2Fadmin",
        "/%5Cadmin",
        "/x%5C..%5Cadmin",
        "/x/../admin",
        "/./admin",
        "/x/%2e%2e/admin",
        "/x/%2E%2E/admin",
        "/x/.%2e/admin",
        "/admin/",
        "/admin;x=1",
        "/;/admin",
        "/admin%00",
        "/admin%00.html",
        "/%00/admin",
        "/admin%0d%0a",
        "/admin%",
        "/admin%zz",
        "/%25%36%31dmin/%",
        "/%c0%afadmin",
        "/%e0%80%afadmin",
        "///admin/x",
        "//admin/x",
    ];
    for target in ambiguous {
        let (one, two) = (h1(&client, &sidecar, "items", target), h2_path(&client, &sidecar, target));
        // `/admin/` is another path than `/admin`, and so are doubly encoded ones: they may pass, but as what they are.
        assert!(matches!(one, 400 | 200), "{target}: {one}");
        assert_eq!(two, one, "{target}");
    }
    for raw in ["/\\admin", "/x\\..\\admin", "/adm\u{131}n", "/admin|", "/ad\tmin"] {
        let status = h1(&client, &sidecar, "items", raw);
        assert_eq!(status, 400, "{raw:?}");
    }
    let log = sidecar.stop();
    let seen = world.upstream.targets();
    for target in &seen {
        assert!(!target.trim_start_matches('/').starts_with("admin") || target == "/admin/", "`{target}` reached the service");
        assert!(!target.contains("..") && !target.contains("//") && !target.contains('\\'), "`{target}` reached the service");
    }
    // What was judged, recorded and forwarded is one text (INV-6).
    let mut allowed: Vec<&str> = log.paths(Effect::Allow);
    let mut forwarded: Vec<&str> = seen.iter().map(String::as_str).collect();
    allowed.sort_unstable();
    forwarded.sort_unstable();
    assert_eq!(allowed, forwarded);
    log.every_allow_ended();
}

#[test]
fn a02_a_fragment_is_refused() {
    let world = World::with(&[("all.yaml", ALL_BUT_ADMIN)]);
    let sidecar = world.start();
    let client = world.client("invoices");
    for target in ["/admin#x", "/free#/admin", "/admin/x#", "/free?q=1#x"] {
        assert_eq!(h1(&client, &sidecar, "items", target), 400, "{target}");
    }
    for target in ["/admin#x", "/admin/x#", "/free#/admin"] {
        assert_eq!(h2_path(&client, &sidecar, target), 400, "{target}");
    }
    let log = sidecar.stop();
    assert!(world.upstream.targets().is_empty(), "{:?}", world.upstream.targets());
    assert!(log.decided().iter().all(|d| d.request.path.as_deref().is_none_or(|p| !p.contains('#'))));
    assert!(log.reasons().iter().all(|r| *r == Reason::MalformedRequest));
}

#[test]
fn a03_a46_every_spelling_of_a_host_meets_the_same_policy() {
    let world = World::new();
    let sidecar = world.start();
    let items = world.client("invoices").sni("items.market.example");
    // One connection for one service: however the other one is spelt, it is misdirected.
    for host in ["users", "USERS", "users.", "Users.Market.Example", "users.market.example:443", "users.market.example.", "uSeRs:8443"] {
        assert_eq!(h1(&items, &sidecar, host, "/v1/items/1"), 421, "{host}");
        let pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/v1/items/1")];
        assert_eq!(h2(&items, &sidecar, &pseudo), 421, "{host}");
    }
    assert!(world.upstream.seen().is_empty());
    for host in ["items", "ITEMS", "items.", "Items:8443", "items.market.example", "ITEMS.MARKET.EXAMPLE.:8443"] {
        assert_eq!(h1(&items, &sidecar, host, "/v1/items/1"), 200, "{host}");
    }
    let log = sidecar.stop();
    let hosts: Vec<_> =
        log.decided().iter().filter(|d| d.decision.effect == Effect::Allow).filter_map(|d| d.request.host.clone()).collect();
    assert_eq!(hosts, ["items", "items", "items", "items:8443", "items.market.example", "items.market.example:8443"]);
    let sent: Vec<_> = world.upstream.seen().iter().map(|s| s.header("host").unwrap().to_owned()).collect();
    assert_eq!(sent, hosts, "what was recorded is what the service got");
}

#[test]
fn a20_schemes_are_one_whatever_their_case() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    for scheme in ["http", "HTTP", "hTTp", "https", "htTps"] {
        let allowed = h1(&client, &sidecar, "items", &format!("{scheme}://items/v1/items/1"));
        let denied = h1(&client, &sidecar, "items", &format!("{scheme}://items/admin/x"));
        assert!(matches!((allowed, denied), (200, 403) | (400, 400)), "{scheme}: {allowed} {denied}");
        let pseudo = |path| [(":method", "GET"), (":scheme", scheme), (":authority", "items"), (":path", path)];
        let allowed = h2(&client, &sidecar, &pseudo("/v1/items/1"));
        let denied = h2(&client, &sidecar, &pseudo("/admin/x"));
        assert!(matches!((allowed, denied), (200, 403) | (400, 400) | (0, 0)), "{scheme}: {allowed} {denied}");
    }
    for scheme in ["ftp", "file", "javascript", "ws"] {
        assert_eq!(h1(&client, &sidecar, "items", &format!("{scheme}://items/v1/items/1")), 400, "{scheme}");
    }
    let log = sidecar.stop();
    assert!(log.paths(Effect::Allow).iter().all(|p| *p == "/v1/items/1"));
    assert!(world.upstream.targets().iter().all(|t| t == "/v1/items/1"), "the service gets the path, not the scheme");
}

#[test]
fn a30_what_is_no_host_is_refused() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    let bad = [
        "items/x",
        "items?x",
        "items#x",
        "user@items",
        "user:pass@items",
        "a b",
        "items:",
        "items:99999",
        "items:80:80",
        "items..x",
        "[::1",
        "it%65ms",
        "items,users",
        "items\\x",
        "",
        "*",
    ];
    for host in bad {
        assert_eq!(h1(&client, &sidecar, host, "/v1/items/1"), 400, "{host:?}");
        let pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/v1/items/1")];
        let status = h2(&client, &sidecar, &pseudo);
        assert!(matches!(status, 400 | 0), "{host:?}: {status}");
    }
    // A target and a `Host` that disagree, and a `host` beside `:authority`.
    assert_eq!(h1(&client, &sidecar, "users", "http://items/v1/items/1"), 400);
    let pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", "items"), (":path", "/v1/items/1"), ("host", "users")];
    assert!(matches!(h2(&client, &sidecar, &pseudo), 400 | 0));
    let log = sidecar.stop();
    assert!(world.upstream.seen().is_empty());
    assert!(log.decided().len() >= bad.len());
    assert!(log.reasons().iter().all(|r| *r == Reason::MalformedRequest));
}

#[test]
fn a30_identity_comes_from_the_certificate_alone() {
    let world = World::new();
    let sidecar = world.start();
    let users = world.client("users");
    let claims = format!(
        "X-Forwarded-Client-Cert: URI={0}\r\nx-portreeve-principal: {0}\r\nX-SPIFFE-ID: {0}\r\nX-Forwarded-For: 10.0.0.7\r\nForwarded: for={0}\r\n",
        crate::world::spiffe("invoices")
    );
    assert_eq!(users.get(sidecar.inbound, "/v1/items/1", &claims), 403);
    let log = sidecar.stop();
    assert_eq!(log.decided()[0].source.id.as_str(), crate::world::spiffe("users"));
    assert_eq!(log.decided()[0].source.ip.unwrap().to_string(), "127.0.0.1");
}

#[test]
fn methods_are_judged_as_they_are_written() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    for (method, status) in [
        ("GET", 200),
        ("get", 403),
        ("Get", 403),
        ("HEAD", 403),
        ("OPTIONS", 403),
        ("TRACE", 403),
        ("DELETE", 403),
        ("POST", 200),
        ("G\u{c8}T", 400),
    ] {
        let head = format!("{method} /v1/items/1 HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\n");
        assert_eq!(client.ask(sidecar.inbound, head.as_bytes())[0].status, status, "{method}");
    }
    // The service sees what was judged, not what a header asks for.
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let head = format!("GET /v1/items/over HTTP/1.1\r\nHost: items\r\nConnection: close\r\n{name}: DELETE\r\n\r\n");
        assert_eq!(client.ask(sidecar.inbound, head.as_bytes())[0].status, 200);
    }
    sidecar.stop();
    let methods: Vec<_> = world.upstream.seen().into_iter().map(|s| s.method).collect();
    assert_eq!(methods, ["GET", "POST", "GET", "GET", "GET"]);
}

#[test]
fn refusals_tell_an_id_and_nothing_else() {
    let world = World::with(&[("shop.yaml", SHOP)]);
    let sidecar = world.start();
    let client = world.client("invoices");
    let ask = |target: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\n");
        client.send(sidecar.inbound, head.as_bytes())
    };
    let mut ids = Vec::new();
    for target in ["/admin/x", "/v1//items", "/undeclared", "/v1/items/die"] {
        let bytes = ask(target);
        let answer = crate::client::answers(&bytes).remove(0);
        assert!(answer.is_bare_refusal(), "{target}: {}", String::from_utf8_lossy(&bytes));
        for word in ["invoices", "permission", "items", "ortreeve", "hyper", "rust"] {
            assert!(find(&bytes, word.as_bytes()).is_none(), "`{word}` is told: {}", String::from_utf8_lossy(&bytes));
        }
        ids.push(answer.header("x-request-id").unwrap().to_owned());
    }
    let log = sidecar.stop();
    let recorded: Vec<_> = log.decided().iter().map(|d| d.request.id.clone()).collect();
    assert_eq!(recorded, ids);
}
