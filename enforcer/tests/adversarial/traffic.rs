//! Traffic of other kinds: connections that are no HTTP, upgrades and tunnels, and callers that ask more than they may.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use portreeve_engine::record::{Outcome, Why};
use portreeve_engine::{Effect, Reason};

use crate::client::{Client, answers, find, one_answer, rest};
use crate::http2::{END_HEADERS, END_STREAM, HEADERS, Http2, request};
use crate::world::{SHOP, Sidecar, World, spiffe, until};

/// A service that keeps what it gets on each connection, and does with it what it is told.
struct Raw {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Raw {
    /// Answers the first bytes of each connection with `first`, and everything after them with itself.
    fn start(first: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let raw = Self { address: listener.local_addr().unwrap(), got: Arc::default() };
        let got = Arc::clone(&raw.got);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let got = Arc::clone(&got);
                std::thread::spawn(move || echo(socket, first, &got));
            }
        });
        raw
    }

    fn connections(&self) -> usize {
        self.got.lock().unwrap().len()
    }

    fn got(&self, what: &[u8]) -> bool {
        self.got.lock().unwrap().iter().any(|conn| find(conn, what).is_some())
    }
}

fn echo(mut socket: TcpStream, first: &[u8], got: &Mutex<Vec<Vec<u8>>>) {
    let n = {
        let mut got = got.lock().unwrap();
        got.push(Vec::new());
        got.len() - 1
    };
    let (mut part, mut begun) = ([0; 16 * 1024], first.is_empty());
    while let Ok(count @ 1..) = socket.read(&mut part) {
        let whole = {
            let mut got = got.lock().unwrap();
            got[n].extend_from_slice(&part[..count]);
            find(&got[n], b"\r\n\r\n").is_some()
        };
        if begun {
            let _ = socket.write_all(&part[..count]);
        } else if whole {
            begun = true;
            let _ = socket.write_all(first);
        }
    }
}

/// Jobs may read and copy, legacy ones may not: over HTTP and over TCP alike.
const FEED: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
operations:
  - {id: read-item, method: GET, path: "/v1/items/{id}"}
  - {id: feed, port: 5432}
---
kind: Service
name: jobs
identities: ["spiffe://market.example/ns/jobs/**"]
operations: [{id: run, method: POST, path: /run}]
---
kind: Permission
name: jobs-copy
allow: {from: [jobs], to: items, operations: [read-item, feed]}
justification: They count what is there.
owner: team-test
---
kind: Permission
name: no-legacy
deny: {from: ["spiffe://market.example/ns/jobs/legacy/*"], to: items, operations: [read-item, feed]}
justification: They are to be switched off.
owner: team-test
"#;

/// Whether bytes pass over a TCP connection of this caller, and come back.
fn passes(client: &Client, to: SocketAddr) -> bool {
    let mut conn = client.clone().alpn(&[]).open(to);
    if conn.write_all(b"hello").and_then(|()| conn.flush()).is_err() {
        return false;
    }
    let mut back = [0; 5];
    conn.read_exact(&mut back).is_ok_and(|()| &back == b"hello")
}

#[test]
fn a10_callers_are_matched_over_tcp_as_over_http() {
    let world = World::with(&[("feed.yaml", FEED)]);
    let raw = Raw::start(b"");
    let tcp = format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{}\", protocol: tcp, port: 5432}}, {{", raw.address);
    let sidecar = world.start_with(&world.config().replace("inbound: [{", &tcp));
    let [over_tcp, over_http] = sidecar.listeners[..] else { panic!("two listeners") };
    let mut allowed = 0;
    for (id, may) in [
        ("spiffe://market.example/ns/jobs/a", true),
        ("spiffe://market.example/ns/jobs/a/b/c", true),
        ("spiffe://market.example/ns/jobs/legacy", true),
        ("spiffe://market.example/ns/jobs/legacy/x", false),
        ("spiffe://market.example/ns/jobs/legacy/x/y", true),
        ("spiffe://market.example/ns/jobs/legacy-x/y", true),
        ("spiffe://market.example/ns/jobs/Legacy/x", true),
        ("spiffe://market.example/ns/jobs", false),
        ("spiffe://market.example/ns/jobsx/a", false),
        ("spiffe://market.example/x/ns/jobs/a", false),
    ] {
        let client = Client::with(&world.root.leaf(&[id]));
        assert_eq!(passes(&client, over_tcp), may, "{id} over TCP");
        assert_eq!(client.get(over_http, "/v1/items/1", "") == 200, may, "{id} over HTTP");
        allowed += usize::from(may);
    }
    assert_eq!(raw.connections(), allowed, "who may not connect does not reach the service, not even with a handshake");
    let log = sidecar.stop();
    log.every_allow_ended();
    let (tcp, http): (Vec<_>, Vec<_>) = log.decided().into_iter().partition(|d| d.request.protocol == "TCP");
    assert_eq!(tcp.iter().map(|d| d.decision.reason).collect::<Vec<_>>(), http.iter().map(|d| d.decision.reason).collect::<Vec<_>>());
    assert!(tcp.iter().all(|d| d.request.port == Some(5432)));
}

/// A permission or prohibition of requests is not widened to the bytes of a port. What is said of every operation is said of it, too.
#[test]
fn a57_what_is_said_of_requests_is_said_of_no_connection() {
    let base = FEED.split("---\nkind: Permission").next().unwrap();
    let policy = |what: &str, operations: &str| {
        format!(
            "---\nkind: Permission\nname: {what}-it\n{what}: {{from: [jobs], to: items, operations: {operations}}}\njustification: x\nowner: team-test\n"
        )
    };
    let raw = Raw::start(b"");
    let allow = |operations: &str| policy("allow", operations);
    let deny = |operations: &str| policy("deny", operations);
    for (what, policies, over_tcp, over_http) in [
        ("a grant of requests", allow("[read-item]"), false, true),
        ("a grant of requests by method", allow("any-path, methods: [GET]"), false, true),
        ("a grant of everything", allow("any-path"), true, true),
        ("a grant of the port", allow("[feed]"), true, false),
        ("a prohibition of requests", allow("[read-item, feed]") + &deny("[read-item]"), true, false),
        ("a prohibition of the port", allow("[read-item, feed]") + &deny("[feed]"), false, true),
        ("a prohibition of everything", allow("[read-item, feed]") + &deny("'*'"), false, false),
    ] {
        let world = World::with(&[("feed.yaml", &format!("{base}{policies}"))]);
        let tcp = format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{}\", protocol: tcp, port: 5432}}, {{", raw.address);
        let sidecar = world.start_with(&world.config().replace("inbound: [{", &tcp));
        let client = Client::with(&world.root.leaf(&["spiffe://market.example/ns/jobs/a"]));
        assert_eq!(passes(&client, sidecar.listeners[0]), over_tcp, "{what}, over TCP");
        assert_eq!(client.get(sidecar.listeners[1], "/v1/items/1", "") == 200, over_http, "{what}, over HTTP");
        sidecar.stop();
    }
}

#[test]
fn a65_a_tcp_connection_is_cut_when_its_permission_goes() {
    let world = World::with(&[("feed.yaml", FEED)]);
    let raw = Raw::start(b"");
    let tcp = format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{}\", protocol: tcp, port: 5432}}, {{", raw.address);
    let sidecar = world.start_with(&world.config().replace("inbound: [{", &tcp));
    let client = Client::with(&world.root.leaf(&["spiffe://market.example/ns/jobs/a"])).alpn(&[]);
    let mut conn = client.open(sidecar.listeners[0]);
    conn.write_all(b"hello").unwrap();
    conn.read_exact(&mut [0; 5]).unwrap();
    world.policies(&[("feed.yaml", &FEED.replace("jobs/legacy/*", "jobs/**"))]);
    sidecar.signal("HUP");
    rest(&mut conn);
    assert!(!passes(&client, sidecar.listeners[0]));
    let log = sidecar.stop();
    assert_eq!(log.ended().iter().map(|e| e.why).collect::<Vec<_>>(), [Why::Policy]);
    assert_eq!(log.reasons(), [Reason::Permitted, Reason::Prohibited]);
    assert_eq!(raw.connections(), 1);
}

/// One operation may be upgraded, the other one may not.
fn with_talk() -> String {
    SHOP.replace("  - {id: admin,", "  - {id: talk, method: GET, path: /talk, upgrade: [websocket]}\n  - {id: admin,")
        .replace("operations: [read-item, write-item]", "operations: [read-item, write-item, talk]")
}

fn upgrading(world: &World, raw: &Raw) -> Sidecar {
    world.start_with(&world.config().replace(&world.upstream.address.to_string(), &raw.address.to_string()))
}

const UPGRADE: &str =
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const HIDDEN: &str = "GET /admin/hidden HTTP/1.1\r\nHost: items\r\n\r\n";

#[test]
fn a22_a_tunnel_begins_with_the_service_s_consent_and_not_before() {
    let world = World::with(&[("shop.yaml", &with_talk())]);
    let client = world.client("invoices");
    let ask = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: items\r\n{UPGRADE}\r\n{more}");
    // A service that does not switch: what follows the request is no request and reaches nobody.
    let refuses = Raw::start(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
    let sidecar = upgrading(&world, &refuses);
    let early = answers(&client.send(sidecar.inbound, ask("/talk", HIDDEN).as_bytes()));
    assert!(early.len() == 1 && early[0].status != 101, "{early:?}");
    let mut conn = client.open(sidecar.inbound);
    conn.write_all(ask("/talk", "").as_bytes()).unwrap();
    assert_eq!(one_answer(&mut conn).status, 200);
    let _ = conn.write_all(HIDDEN.as_bytes());
    assert!(answers(&rest(&mut conn)).iter().all(|a| a.status == 403));
    assert!(!refuses.got(b"hidden"));
    sidecar.stop();
    // One that does: bytes pass both ways, for this operation and this caller alone.
    let switches = Raw::start(SWITCHED);
    let sidecar = upgrading(&world, &switches);
    let early = answers(&client.send(sidecar.inbound, ask("/talk", HIDDEN).as_bytes()));
    assert!(early.len() == 1 && early[0].status != 101 && !switches.got(b"hidden"), "{early:?}");
    for (service, path) in [("invoices", "/v1/items/1"), ("users", "/talk"), ("invoices", "/admin/x")] {
        let answer = answers(
            &world
                .client(service)
                .send(sidecar.inbound, ask(path, "").replace("Connection: Upgrade", "Connection: Upgrade, close").as_bytes()),
        );
        assert!(matches!(answer[0].status, 403 | 501), "{service} {path}: {answer:?}");
    }
    let before = switches.connections();
    let mut tunnel = client.open(sidecar.inbound);
    tunnel.write_all(ask("/talk", "").as_bytes()).unwrap();
    assert_eq!(one_answer(&mut tunnel).status, 101);
    for text in [HIDDEN.as_bytes(), b"\x81\x02hi", &[0xff; 5000]] {
        tunnel.write_all(text).unwrap();
        let mut back = vec![0; text.len()];
        tunnel.read_exact(&mut back).unwrap();
        assert_eq!(back, text, "what passes through is not touched");
    }
    assert_eq!(switches.connections(), before + 1);
    // The right to it goes, and so does the tunnel.
    world.policies(&[("shop.yaml", SHOP)]);
    sidecar.signal("HUP");
    rest(&mut tunnel);
    let log = sidecar.stop();
    assert!(log.ended().iter().any(|e| e.why == Why::Policy && e.status == Some(101) && e.bytes >= 5000), "{:?}", log.ended());
    assert!(
        !log.decided().iter().any(|d| d.request.path.as_deref().is_some_and(|p| p.contains("hidden"))),
        "what is inside a tunnel is no request"
    );
    log.every_allow_ended();
}

const WEBSOCKETS: &str = r#"
import asyncio, ssl, sys
import websockets

async def serve():
    async def echo(socket):
        async for message in socket:
            await socket.send(message)
    async with websockets.serve(echo, "127.0.0.1", 0, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()

async def talk(url, cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["http/1.1"])
    async with websockets.connect(url, ssl=context, max_size=None) as socket:
        for message in ["hello", "x" * 300_000, b"\x00\xff" * 1000, ""]:
            await socket.send(message)
            assert await socket.recv() == message
        await asyncio.wait_for(await socket.ping(), 20)
    print("talked", flush=True)

asyncio.run(serve() if sys.argv[1] == "serve" else talk(*sys.argv[2:]))
"#;

#[test]
fn a_websocket_client_and_server_that_are_not_ours() {
    if !Command::new("python3").args(["-c", "import websockets"]).output().is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: there is no python3 with `websockets` on this machine");
        return;
    }
    let world = World::with(&[("shop.yaml", &with_talk())]);
    let script = world.path("talk.py");
    std::fs::write(&script, WEBSOCKETS).unwrap();
    let mut server = Command::new("python3").arg(&script).arg("serve").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stdout.take().unwrap()), &mut line).unwrap();
    let upstream = format!("127.0.0.1:{}", line.trim());
    let sidecar = world.start_with(&world.config().replace(&world.upstream.address.to_string(), &upstream));
    let talk = |service: &str, path: &str| {
        world.leaf(service).write(world.dir.path(), service);
        let mut command = Command::new("python3");
        command.arg(&script).args(["talk", &format!("wss://{}{path}", sidecar.inbound)]);
        let output = command.arg(world.path(&format!("{service}.pem"))).arg(world.path(&format!("{service}.key"))).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let said = talk("invoices", "/talk");
    let refused = [talk("users", "/talk"), talk("invoices", "/v1/items/1")];
    let _ = server.kill();
    let _ = server.wait();
    assert!(said.contains("talked"), "{said}");
    assert!(refused[0].contains("403") && refused[1].contains("501"), "{refused:?}");
    let log = sidecar.stop();
    assert_eq!(log.ended().len(), 1);
    log.every_allow_ended();
}

#[test]
fn a67_one_caller_cannot_use_up_another_one_s_limit() {
    let policy = SHOP.replace(
        "allow: {from: [invoices], to: items, operations: [read-item, write-item]}",
        "allow: {from: [invoices, users], to: items, operations: [read-item, write-item]}\nlimit: {rate: 6/h, burst: 3}",
    );
    let world = World::with(&[("shop.yaml", &policy)]);
    let sidecar = world.start();
    let (greedy, modest) = (world.client("users"), world.client("invoices"));
    let statuses: Vec<u16> = (0..30).map(|n| greedy.get(sidecar.inbound, &format!("/v1/items/{n}"), "")).collect();
    let served = statuses.iter().filter(|s| **s == 200).count();
    assert!((1..=5).contains(&served) && statuses[served..].iter().all(|s| *s == 429), "{statuses:?}");
    // Another connection, another certificate, another protocol, a spoofed name: the same caller.
    assert_eq!(
        world.client("users").get(
            sidecar.inbound,
            "/v1/items/again",
            "x-portreeve-principal: spiffe://market.example/ns/shop/sa/invoices\r\n"
        ),
        429
    );
    let mut http2 = Http2::open(&greedy, sidecar.inbound);
    http2.send(HEADERS, END_STREAM | END_HEADERS, 1, &request("GET", "/v1/items/again")).unwrap();
    assert_eq!(http2.reply(1).status, 429);
    // Strangers and the denied use up nobody's.
    for _ in 0..20 {
        assert_eq!(world.client("stranger").get(sidecar.inbound, "/v1/items/1", ""), 403);
        assert!(Client::nobody().turned_away(sidecar.inbound).is_some());
    }
    assert_eq!(modest.get(sidecar.inbound, "/v1/items/mine", ""), 200);
    let head = b"GET /v1/items/after HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\n";
    let answer = greedy.ask(sidecar.inbound, head).remove(0);
    assert!(answer.status == 429 && answer.header("retry-after").is_some_and(|v| v.parse::<u32>().is_ok()), "{}", answer.head);
    let log = sidecar.stop();
    log.every_allow_ended();
    let limited = log.ended().iter().filter(|e| e.outcome == Outcome::Limited).count();
    assert_eq!(limited, statuses.len() - served + 3);
    assert_eq!(log.paths(Effect::Allow).len(), world.upstream.seen().len() + limited, "what is over the limit is not forwarded");
    assert!(log.decided().iter().any(|d| d.source.id.as_str() == spiffe("users")));
}

#[test]
fn a_policy_on_trial_allows_nobody() {
    let trial = format!(
        "{SHOP}---\nkind: Permission\nname: trial\nmode: dry-run\nallow: {{from: [users], to: items, operations: [read-item]}}\njustification: Perhaps.\nowner: team-test\n---\nkind: Permission\nname: trial-no\nmode: dry-run\ndeny: {{from: [invoices], to: items, operations: [read-item]}}\njustification: Perhaps.\nowner: team-test\n"
    );
    let world = World::with(&[("shop.yaml", &trial)]);
    let (code, said) = world.start_fails(&world.config());
    assert_eq!(code, Some(0), "{said}");
    let sidecar = world.start();
    assert_eq!(world.client("users").get(sidecar.inbound, "/v1/items/1", ""), 403);
    assert_eq!(world.client("invoices").get(sidecar.inbound, "/v1/items/1", ""), 200);
    let log = sidecar.stop();
    let shadows: Vec<_> = log.decided().iter().map(|d| d.decision.shadow.clone()).collect();
    assert_eq!(shadows, [["trial"], ["trial-no"]]);
    until("the service saw one request", || world.upstream.seen().len() == 1);
}
