//! Identities from a Workload API: sidecars on our own agent, with its roots changed under traffic; what the agent refuses; what
//! the client survives; and go-spiffe as a judge of both.

#![cfg(test)]

#[expect(dead_code, reason = "it uses a part of what the tests share")]
mod common;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{ITEMS, LIMIT, MARKET, USERS, authority, id, now};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portreeve_enforcer::Enforcer;
use portreeve_enforcer::ca::{Agent, Ca, CaOptions, Schedule, Stage};
use portreeve_enforcer::config::{AgentConfig, Config};
use portreeve_enforcer::report::Report;
use portreeve_enforcer::tls::{ExpectedPeer, MinVersion, Standing, connect};
use portreeve_enforcer::workload::{Endpoint, FromApi, News, Source as _, X509Svid, X509SvidResponse, fetch};
use portreeve_engine::record::Why;
use portreeve_engine::{Event, Record};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

const SHOP: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
operations: [{id: read-item, method: GET, path: "/v1/items/{id}"}]
---
kind: Service
name: users
identities: [spiffe://market.example/ns/shop/sa/users]
operations: [{id: read, method: GET, path: "/v1/users"}]
---
kind: Service
name: partner
identities: [spiffe://partner.example/reports]
operations: [{id: read, method: GET, path: "/v1/reports"}]
---
kind: Permission
name: everyone-reads-items
allow: {from: [users, partner], to: items, operations: [read-item]}
justification: For the tests.
owner: team-shop
"#;

/// The user that runs the tests.
fn me() -> u32 {
    std::fs::metadata("/proc/self").unwrap().uid()
}

struct World {
    dir: tempfile::TempDir,
    upstream: SocketAddr,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        authority(&dir.path().join("ca"), MARKET);
        std::fs::create_dir(dir.path().join("policies")).unwrap();
        std::fs::write(dir.path().join("policies/shop.yaml"), SHOP).unwrap();
        let world = Self { dir, upstream: service().await };
        world.entries(&[ITEMS, USERS], "");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the agent's configuration: these identities for the user that runs the tests.
    fn entries(&self, ids: &[&str], more: &str) {
        let entries: Vec<_> = ids.iter().map(|id| format!("{{uid: {}, id: {id}}}", me())).collect();
        let text = format!("dir: ca\nsocket: agent.sock\nlifetime: 1h\nentries: [{}]\n{more}", entries.join(", "));
        std::fs::write(self.path("agent.new"), text).unwrap();
        std::fs::rename(self.path("agent.new"), self.path("agent.yaml")).unwrap();
    }

    async fn agent(&self) -> Agent {
        self.agent_with(|_| {}).await
    }

    async fn agent_with(&self, change: impl FnOnce(&mut AgentConfig)) -> Agent {
        let file = self.path("agent.yaml");
        let mut config = AgentConfig::read(&file).unwrap();
        let before = (config.lifetime, config.schedule);
        change(&mut config);
        // What the file cannot say (lives of seconds) would be lost when it is read again.
        let file = ((config.lifetime, config.schedule) == before).then_some(file);
        Agent::start(config, file, Report::silent()).await.unwrap()
    }

    fn endpoint(&self) -> Endpoint {
        format!("unix://{}", self.path("agent.sock").display()).parse().unwrap()
    }

    fn config(&self, name: &str, sides: &str) -> Config {
        let text = format!(
            "service: {name}\nbundle: {{path: policies}}\nidentity: {{workload_api: \"{}\", id: {}}}\n{sides}\nlog: {{path: {name}.ndjson}}\nadmin: {{listen: \"127.0.0.1:0\"}}\ndrain: 200ms\n",
            self.endpoint(),
            sa(name),
        );
        Config::parse("test.yaml", &text, self.dir.path()).unwrap()
    }

    async fn items(&self) -> Enforcer {
        let inbound = format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{}\"}}]", self.upstream);
        Enforcer::start(self.config("items", &inbound), Report::silent()).await.unwrap()
    }

    async fn users(&self, items: &Enforcer) -> Enforcer {
        let out = format!("outbound: [{{listen: \"127.0.0.1:0\", service: items, connect: \"{}\"}}]", items.inbound()[0]);
        Enforcer::start(self.config("users", &out), Report::silent()).await.unwrap()
    }

    fn records(&self, name: &str) -> Vec<Record> {
        let text = std::fs::read_to_string(self.path(&format!("{name}.ndjson"))).unwrap();
        text.lines().map(|line| Record::from_line(line.as_bytes()).unwrap()).collect()
    }
}

fn sa(service: &str) -> String {
    format!("spiffe://market.example/ns/shop/sa/{service}")
}

/// A service that answers; `/v1/items/slow` begins and does not end.
async fn service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = service_fn(|request: Request<Incoming>| async move {
                let whole = futures_util::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from("hello")))]);
                let slow = request.uri().path().ends_with("slow");
                use futures_util::StreamExt as _;
                let body = if slow { whole.chain(futures_util::stream::pending()).boxed() } else { whole.boxed() };
                Ok::<_, Infallible>(Response::new(StreamBody::new(body)))
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    address
}

/// A request through the local way out of a service.
async fn ask(to: SocketAddr) -> u16 {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(b"GET /v1/items/1 HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    let _ = tokio::time::timeout(LIMIT, stream.read_to_string(&mut text)).await.expect("an answer");
    text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

async fn page(to: SocketAddr, target: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// Waits for something to become true.
async fn until(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

fn serial(enforcer: &Enforcer) -> String {
    enforcer.gate().identity.load().svid().serial.clone()
}

fn brief(lifetime: Duration) -> impl FnOnce(&mut AgentConfig) {
    move |config| config.lifetime = lifetime
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_come_from_the_agent_and_new_ones_before_they_end() {
    let world = World::new().await;
    let agent = world.agent_with(brief(Duration::from_secs(6))).await;
    let items = world.items().await;
    let users = world.users(&items).await;
    assert_eq!(ask(users.outbound()[0]).await, 200);
    let before = (serial(&items), serial(&users));
    until("both have new certificates", || serial(&items) != before.0 && serial(&users) != before.1).await;
    assert_eq!(ask(users.outbound()[0]).await, 200);
    // The new ones came long before the old ones ended, so they have most of their six seconds before them.
    assert!(items.gate().identity.load().not_after() > now().plus_ms(2000));
    let config = page(items.admin().unwrap(), "/config").await;
    assert!(config.contains("agent.sock"), "{config}");
    users.shutdown().await;
    items.shutdown().await;
    agent.shutdown().await;
    assert!(!world.path("agent.sock").exists());
    let seen: std::collections::BTreeSet<_> = world
        .records("items")
        .into_iter()
        .filter_map(|r| if let Event::Decided(d) = r.event { Some((d.source.id.to_string(), d.tls.unwrap().serial)) } else { None })
        .collect();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|(id, _)| id == USERS));
}

/// The root is changed twice while sidecars call each other all the time, with revocation lists in force: nobody is refused.
#[tokio::test(flavor = "multi_thread")]
async fn the_root_is_changed_twice_under_traffic_and_nobody_is_refused() {
    let world = World::new().await;
    Ca::open(&world.path("ca")).unwrap().write_crl().unwrap();
    let schedule = Schedule { root_every: Some(Duration::from_secs(4)), overlap: Duration::from_secs(2), options: CaOptions::default() };
    let agent = world
        .agent_with(|config| {
            config.lifetime = Duration::from_secs(8);
            config.schedule = schedule;
        })
        .await;
    let items = world.items().await;
    let users = world.users(&items).await;
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    // Statuses of what was refused.
    let refused = Arc::new(std::sync::Mutex::new(Vec::new()));
    let traffic: Vec<_> = (0..2)
        .map(|_| {
            let (to, stop, asked, refused) = (users.outbound()[0], Arc::clone(&stop), Arc::clone(&asked), Arc::clone(&refused));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let code = ask(to).await;
                    asked.fetch_add(1, Ordering::Relaxed);
                    if code != 200 {
                        refused.lock().unwrap().push(code);
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        })
        .collect();
    let mut roots = Vec::new();
    let mut dropped = 0;
    let mut last = usize::MAX;
    until("the root was changed twice and the old ones forgotten", || {
        // In the middle of a step the files say nothing yet.
        let Ok(known) = Ca::open(&world.path("ca")).and_then(|ca| ca.roots()) else { return false };
        if roots.last() != known.first() {
            roots.extend(known.first().cloned());
        }
        dropped += usize::from(known.len() < last && last == 2);
        last = known.len();
        roots.len() >= 3 && dropped >= 2
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    for task in traffic {
        task.await.unwrap();
    }
    assert!(asked.load(Ordering::Relaxed) > 100, "{asked:?}");
    assert!(refused.lock().unwrap().is_empty(), "of {asked:?}: {refused:?}");
    users.shutdown().await;
    items.shutdown().await;
    agent.shutdown().await;
    let refused = world.records("items").iter().filter(|r| matches!(r.event, Event::Refused(_))).count();
    assert_eq!(refused, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_taken_away_fails_closed_and_comes_back() {
    let world = World::new().await;
    let agent = world.agent().await;
    let items = world.items().await;
    let users = world.users(&items).await;
    let mut slow = TcpStream::connect(users.outbound()[0]).await.unwrap();
    slow.write_all(b"GET /v1/items/slow HTTP/1.1\r\nHost: items\r\n\r\n").await.unwrap();
    let mut head = [0; 15];
    slow.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    world.entries(&[USERS], "");
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), slow.read_to_end(&mut rest)).await.expect("the stream is cut");
    let ready = page(items.admin().unwrap(), "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("taken away"), "{ready}");
    assert_ne!(ask(users.outbound()[0]).await, 200);
    world.entries(&[USERS, ITEMS], "");
    until("the identity is back", || items.gate().identity.load().standing(now()) == Standing::Good).await;
    assert_eq!(ask(users.outbound()[0]).await, 200);
    users.shutdown().await;
    items.shutdown().await;
    agent.shutdown().await;
    let ends: Vec<_> =
        world.records("items").iter().filter_map(|r| if let Event::Ended(e) = &r.event { Some(e.why) } else { None }).collect();
    assert_eq!(ends, [Why::Revoked, Why::Complete]);
}

/// With an identity that was taken away nobody is called, in no way of calling: a callee may not have heard of it.
#[tokio::test(flavor = "multi_thread")]
async fn with_an_identity_that_was_taken_away_no_handshake_is_made() {
    let world = World::new().await;
    let agent = world.agent().await;
    let items = world.items().await;
    let users = world.users(&items).await;
    world.entries(&[ITEMS], "");
    until("the identity is taken away", || users.gate().identity.load().standing(now()) == Standing::Withdrawn).await;
    for more in ["", "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"] {
        let mut stream = TcpStream::connect(users.outbound()[0]).await.unwrap();
        stream.write_all(format!("GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n{more}\r\n").as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        tokio::time::timeout(LIMIT, stream.read_exact(&mut answer)).await.expect("an answer").unwrap();
        assert_eq!(&answer, b"HTTP/1.1 502", "{more}");
    }
    assert_eq!(items.gate().metrics.handshakes_completed.get(), 0);
    users.shutdown().await;
    items.shutdown().await;
    agent.shutdown().await;
    assert!(!world.records("items").iter().any(|r| matches!(r.event, Event::Decided(_) | Event::Refused(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_gone_takes_nothing_away_and_is_found_again() {
    let world = World::new().await;
    let none = world.config("items", &format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{}\"}}]", world.upstream));
    let error = Enforcer::start(none, Report::silent()).await.unwrap_err().to_string();
    assert!(error.contains("agent.sock") && error.contains("cannot connect"), "{error}");
    let agent = world.agent().await;
    let items = world.items().await;
    let users = world.users(&items).await;
    agent.shutdown().await;
    until("the alarm is raised", || items.gate().metrics.identity_alarm.get() == 1).await;
    assert_eq!(ask(users.outbound()[0]).await, 200);
    let before = serial(&items);
    let agent = world.agent().await;
    until("the agent is found again", || serial(&items) != before).await;
    until("the alarm is over", || items.gate().metrics.identity_alarm.get() == 0).await;
    assert_eq!(ask(users.outbound()[0]).await, 200);
    // A second agent on the same socket is refused; the first goes on.
    let second = Agent::start(AgentConfig::read(&world.path("agent.yaml")).unwrap(), None, Report::silent()).await;
    assert!(second.unwrap_err().to_string().contains("another agent"));
    users.shutdown().await;
    items.shutdown().await;
    agent.shutdown().await;
}

/// Whoever another trust domain's authority vouches for is let in while that domain is federated.
#[tokio::test(flavor = "multi_thread")]
async fn federated_domains_are_believed_as_long_as_they_are_named() {
    let world = World::new().await;
    let partner = authority(&world.path("partner"), "partner.example");
    world.entries(&[ITEMS, USERS], "federation: {partner.example: partner/ca.pem}\n");
    let agent = world.agent().await;
    let items = world.items().await;
    let market = Ca::open(&world.path("ca")).unwrap();
    let trust = [(MARKET, &market), ("partner.example", &partner)];
    let caller = common::identity(world.dir.path(), "reports", &partner, "spiffe://partner.example/reports", &trust);
    let greeted = || async {
        let tcp = TcpStream::connect(items.inbound()[0]).await.unwrap();
        let (mut stream, _) = connect(&caller, ExpectedPeer::id(id(ITEMS)), tcp, LIMIT).await.unwrap();
        tokio::time::timeout(LIMIT, stream.read_u8()).await.expect("an answer").is_ok()
    };
    assert!(greeted().await);
    let before = items.gate().identity.load().trust_generation();
    world.entries(&[ITEMS, USERS], "");
    until("the partner is no longer named", || items.gate().identity.load().trust_generation() != before).await;
    assert!(!greeted().await);
    items.shutdown().await;
    agent.shutdown().await;
}

/// A call to the agent with these headers: the gRPC status in headers or trailers, and the first message's length.
async fn call(world: &World, path: &str, headers: &[(&str, &str)]) -> (Option<u16>, usize) {
    let stream = UnixStream::connect(world.path("agent.sock")).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::post(format!("http://localhost{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Full::new(Bytes::from_static(&[0; 5]))).unwrap()).await.unwrap();
    if let Some(status) = response.headers().get("grpc-status") {
        return (Some(status.to_str().unwrap().parse().unwrap()), 0);
    }
    let mut body = response.into_body();
    let first = tokio::time::timeout(LIMIT, body.frame()).await.unwrap().unwrap().unwrap();
    (None, first.into_data().map_or(0, |data| data.len()))
}

#[tokio::test]
async fn the_agent_refuses_with_the_codes_of_the_standard() {
    let world = World::new().await;
    let agent = world.agent().await;
    let grpc = ("content-type", "application/grpc");
    let good = [grpc, ("workload.spiffe.io", "true")];
    let svids = "/SpiffeWorkloadAPI/FetchX509SVID";
    for (path, headers, status) in [
        (svids, &good[..1], Some(3)),
        (svids, &[grpc, ("workload.spiffe.io", "True")], Some(3)),
        (svids, &[("workload.spiffe.io", "true")], Some(3)),
        ("/SpiffeWorkloadAPI/FetchJWTSVID", &good, Some(12)),
        ("/SpiffeWorkloadAPI/FetchJWTBundles", &good, Some(12)),
        ("/Other/Call", &good, Some(12)),
        (svids, &good, None),
        ("/SpiffeWorkloadAPI/FetchX509Bundles", &good, None),
    ] {
        let (found, length) = call(&world, path, headers).await;
        assert_eq!(found, status, "{path} {headers:?}");
        assert_eq!(length > 100, status.is_none());
    }
    // Whoever no entry names.
    let text = std::fs::read_to_string(world.path("agent.yaml")).unwrap().replace(&format!("uid: {}", me()), "uid: 4242");
    std::fs::write(world.path("agent.new"), text).unwrap();
    std::fs::rename(world.path("agent.new"), world.path("agent.yaml")).unwrap();
    for _ in 0..200 {
        if call(&world, svids, &good).await.0.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(call(&world, svids, &good).await.0, Some(7));
    assert_eq!(call(&world, "/SpiffeWorkloadAPI/FetchX509Bundles", &good).await.0, Some(7));
    agent.shutdown().await;
}

/// A server that answers each call with these frames and then leaves the stream open.
fn impostor(world: &World, status: u16, kind: &'static str, pieces: Vec<Bytes>) -> tokio::task::JoinHandle<()> {
    let listener = UnixListener::bind(world.path("agent.sock")).unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let pieces = pieces.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                assert_eq!(request.headers()["workload.spiffe.io"], "true");
                let pieces = pieces.clone();
                async move {
                    use futures_util::StreamExt as _;
                    let frames = futures_util::stream::iter(pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece))));
                    let body = StreamBody::new(frames.chain(futures_util::stream::pending()));
                    Ok::<_, Infallible>(Response::builder().status(status).header("content-type", kind).body(body).unwrap())
                }
            });
            tokio::spawn(hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer));
        }
    })
}

#[tokio::test]
async fn what_answers_wrongly_gives_no_identity() {
    let world = World::new().await;
    let agent = world.agent().await;
    let good = fetch(&world.endpoint()).await.unwrap().first().await.unwrap();
    agent.shutdown().await;
    let framed = |message: &[u8]| {
        let mut out = vec![0];
        out.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        out.extend_from_slice(message);
        Bytes::from(out)
    };
    let with = |change: &dyn Fn(&mut X509SvidResponse)| {
        let mut answer = good.clone();
        change(&mut answer);
        vec![framed(&answer.encode())]
    };
    let first = |change: fn(&mut X509Svid, &X509Svid)| {
        with(&|answer| {
            let other = answer.svids[1].clone();
            change(&mut answer.svids[0], &other);
        })
    };
    let grpc = "application/grpc";
    let cases: Vec<(&str, u16, &'static str, Vec<Bytes>)> = vec![
        ("is not a Workload API", 404, grpc, vec![]),
        ("is not a Workload API", 200, "text/html", vec![]),
        ("more than", 200, grpc, vec![Bytes::from_static(&[0, 0x7f, 0, 0, 0])]),
        ("compressed", 200, grpc, vec![Bytes::from_static(&[1, 0, 0, 0, 1])]),
        ("no `svids`", 200, grpc, vec![framed(b"")]),
        ("well-formed", 200, grpc, vec![framed(b"\x0a\xff")]),
        ("is not the key", 200, grpc, first(|svid, other| svid.key.clone_from(&other.key))),
        ("is that of", 200, grpc, first(|svid, other| svid.id.clone_from(&other.id))),
        ("has no certificate", 200, grpc, first(|svid, _| svid.chain.truncate(40))),
        ("not a sequence", 200, grpc, first(|svid, _| svid.bundle.push(0))),
        ("no usable private key", 200, grpc, first(|svid, _| svid.key.truncate(20))),
        (
            "given as another one too",
            200,
            grpc,
            with(&|answer| drop(answer.federated.insert(MARKET.parse().unwrap(), good.svids[0].bundle.clone()))),
        ),
        ("root that cannot be used", 200, grpc, first(|svid, _| svid.bundle = svid.chain.clone())),
        ("revocation list that cannot be used", 200, grpc, with(&|answer| answer.lists.push(vec![0x30, 0x00]))),
    ];
    for (says, status, kind, pieces) in cases {
        let server = impostor(&world, status, kind, pieces);
        let news = FromApi::new(world.endpoint(), None, MinVersion::default()).next().await;
        let News::Failed(why) = news else { panic!("{says}: {news:?}") };
        assert!(why.contains(says), "{says}: {why}");
        server.abort();
        let _ = server.await;
        std::fs::remove_file(world.path("agent.sock")).unwrap();
    }
    // The same server with a good answer is believed, in pieces of one byte; of two identities the one that is asked for.
    let whole = framed(&good.encode());
    let server = impostor(&world, 200, grpc, whole.chunks(97).map(Bytes::copy_from_slice).collect());
    let News::Identity(ours) = FromApi::new(world.endpoint(), Some(id(USERS)), MinVersion::default()).next().await else { panic!() };
    assert_eq!(ours.id().as_str(), USERS);
    let none = FromApi::new(world.endpoint(), Some(id("spiffe://market.example/none")), MinVersion::default()).next().await;
    assert!(matches!(none, News::Withdrawn(why) if why.contains("spiffe://market.example/none")));
    server.abort();
    let _ = server.await;
    std::fs::remove_file(world.path("agent.sock")).unwrap();
    // Not HTTP/2 at all.
    let listener = UnixListener::bind(world.path("agent.sock")).unwrap();
    let other = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    assert!(matches!(FromApi::new(world.endpoint(), None, MinVersion::default()).next().await, News::Failed(_)));
    other.await.unwrap();
}

/// Where a change of root can break off, it is finished by whoever opens the authority next.
#[test]
fn a_change_of_root_that_breaks_off_anywhere_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = authority(&dir.path().join("ca"), MARKET);
    ca.write_crl().unwrap();
    ca.announce(true, CaOptions::default()).unwrap();
    assert!(matches!(ca.stage(), Stage::Announced { root: true, .. }));
    assert_eq!(ca.roots().unwrap().len(), 2);
    assert!(ca.announce(true, CaOptions::default()).unwrap_err().to_string().contains("under way"));
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(status.success());
    };
    let (home, announced, switched) = (dir.path().join("ca"), dir.path().join("announced"), dir.path().join("switched"));
    copy(&home, &announced);
    let old: Vec<String> = ["ca", "intermediate"].map(|name| serial_of(&home.join(format!("{name}.pem")))).into();
    ca.switch().unwrap();
    let until = match ca.stage() {
        Stage::Switched { until } => *until,
        other => panic!("{other:?}"),
    };
    copy(&home, &switched);
    let steps = [
        format!("retired/{}.key", old[0]),
        format!("retired/{}.pem", old[0]),
        "ca.key".to_owned(),
        "ca.pem".to_owned(),
        format!("retired/{}.key", old[1]),
        format!("retired/{}.pem", old[1]),
        "intermediate.key".to_owned(),
        "intermediate.pem".to_owned(),
    ];
    for done in 0..=steps.len() {
        let broken = dir.path().join(format!("broken-{done}"));
        copy(&announced, &broken);
        let stage = format!("{{\"stage\":\"switching\",\"at\":\"{until}\",\"root\":true,\"old\":\"{}\",\"until\":\"{until}\"}}", old[0]);
        std::fs::write(broken.join("succession.json"), stage).unwrap();
        std::fs::create_dir_all(broken.join("retired")).unwrap();
        for step in &steps[..done] {
            std::fs::copy(switched.join(step), broken.join(step)).unwrap();
        }
        let mut ca = Ca::open(&broken).unwrap_or_else(|e| panic!("after {done} steps: {e}"));
        assert_eq!(ca.stage(), &Stage::Switched { until }, "{done}");
        for name in ["ca.pem", "ca.key", "intermediate.pem", "intermediate.key"] {
            assert_eq!(std::fs::read(broken.join(name)).unwrap(), std::fs::read(switched.join(name)).unwrap(), "{name} after {done}");
        }
        for name in [&steps[0], &steps[1], &steps[4], &steps[5]] {
            assert_eq!(std::fs::read(broken.join(name)).unwrap(), std::fs::read(switched.join(name)).unwrap(), "{name} after {done}");
        }
        assert!(!broken.join("next").exists());
        // It issues, and what it issues leads to what is believed; then the old root is forgotten.
        common::identity(&broken, "items", &ca, ITEMS, &[(MARKET, &ca)]);
        ca.drop_old().unwrap();
        assert_eq!((ca.stage(), ca.roots().unwrap().len()), (&Stage::Settled, 1));
        common::identity(&broken, "items", &ca, ITEMS, &[(MARKET, &ca)]);
    }
}

fn serial_of(path: &std::path::Path) -> String {
    use rustls_pki_types::pem::PemObject as _;
    use x509_parser::prelude::FromDer as _;
    let der = rustls_pki_types::CertificateDer::from_pem_file(path).unwrap();
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(&der).unwrap();
    parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn steps_are_due_in_their_time_and_not_before() {
    use portreeve_enforcer::ca::Step;
    let dir = tempfile::tempdir().unwrap();
    let mut ca = authority(dir.path(), MARKET);
    let hour = 3_600_000;
    let schedule =
        Schedule { root_every: Some(Duration::from_secs(48 * 3600)), overlap: Duration::from_secs(3600), options: CaOptions::default() };
    let begin = now();
    assert_eq!(ca.due(&schedule, begin), None);
    assert_eq!(ca.due(&schedule, begin.plus_ms(47 * hour)), None);
    assert_eq!(ca.due(&schedule, begin.plus_ms(48 * hour)), Some(Step::Announce { root: true }));
    let never = Schedule { root_every: None, ..schedule };
    assert_eq!(ca.due(&never, begin.plus_ms(48 * hour)), None);
    assert_eq!(ca.due(&never, begin.plus_ms(183 * 24 * hour)), Some(Step::Announce { root: false }));
    assert_eq!(ca.due(&never, begin.plus_ms(9 * 365 * 24 * hour + 30 * 24 * hour)), Some(Step::Announce { root: true }));
    // A leaf of thirty days keeps the old root known until it ends.
    let leaf = ca.issue(&id(ITEMS), Duration::from_secs(30 * 86_400), &[]).unwrap();
    ca.announce(true, CaOptions::default()).unwrap();
    let begin = now();
    assert_eq!(ca.due(&schedule, begin.plus_ms(hour - 60_000)), None);
    assert_eq!(ca.due(&schedule, begin.plus_ms(hour)), Some(Step::Switch));
    ca.switch().unwrap();
    assert_eq!(ca.due(&schedule, leaf.not_after.plus_ms(-1000)), None);
    assert_eq!(ca.due(&schedule, leaf.not_after.plus_ms(16 * 24 * hour)), Some(Step::Drop));
    assert!(ca.switch().is_err());
    // An intermediate alone is settled once it signs.
    ca.drop_old().unwrap();
    ca.announce(false, CaOptions::default()).unwrap();
    assert_eq!(ca.roots().unwrap().len(), 1);
    ca.switch().unwrap();
    assert_eq!(ca.stage(), &Stage::Settled);
    assert!(ca.drop_old().is_err());
}

/// go-spiffe, the reference client, takes our agent's word: it parses and verifies the SVID, speaks mutual TLS with the sidecar,
/// and sees the renewal.
#[tokio::test(flavor = "multi_thread")]
async fn go_spiffe_is_content_with_agent_and_sidecar() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/go-spiffe");
    let world = World::new().await;
    let program = world.path("judge");
    let build = std::process::Command::new("go")
        .args(["build", "-mod=readonly", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(source)
        .env("GOFLAGS", "-buildvcs=false")
        .output();
    match build {
        Err(e) => return eprintln!("skipped: there is no Go here: {e}"),
        Ok(out) if !out.status.success() => {
            return eprintln!("skipped: go-spiffe cannot be built here: {}", String::from_utf8_lossy(&out.stderr));
        }
        Ok(_) => {}
    }
    let agent = world.agent_with(brief(Duration::from_secs(8))).await;
    let items = world.items().await;
    let socket = world.endpoint().to_string();
    let url = format!("https://{}/v1/items/1", items.inbound()[0]);
    let judged = tokio::task::spawn_blocking(move || {
        std::process::Command::new(program).args([&url, ITEMS, USERS]).env("SPIFFE_ENDPOINT_SOCKET", socket).output().unwrap()
    });
    let out = tokio::time::timeout(Duration::from_secs(60), judged).await.expect("the judge ends").unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(text.lines().collect::<Vec<_>>(), ["verified 2", "bundles 1", "asked 200", "renewed"], "{text}");
    items.shutdown().await;
    agent.shutdown().await;
}
