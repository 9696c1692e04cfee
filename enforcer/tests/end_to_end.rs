//! Whole enforcers over loopback: certificates of the built-in authority, a real service behind, the log read back.

#![cfg(test)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portreeve_enforcer::Enforcer;
use portreeve_enforcer::ca::{Ca, CaOptions};
use portreeve_enforcer::config::Config;
use portreeve_enforcer::report::Report;
use portreeve_enforcer::tls::{ExpectedPeer, Identity, IdentityFiles};
use portreeve_engine::chain::ChainReader;
use portreeve_engine::id::{SpiffeId, TrustDomain};
use portreeve_engine::record::{Decided, Ended, Outcome, Why};
use portreeve_engine::{Event, Reason, Record};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const SHOP: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
headers: {x-tenant: string}
operations:
  - {id: read-item, method: GET, path: "/v1/items/{id}"}
  - {id: write-item, method: POST, path: "/v1/items"}
---
kind: Service
name: invoices
identities: [spiffe://market.example/ns/shop/sa/invoices]
operations: [{id: read, method: GET, path: "/v1/invoices"}]
---
kind: Permission
name: invoices-items
allow: {from: [invoices], to: items, operations: [read-item, write-item]}
justification: An invoice line names the item sold.
owner: team-billing
"#;

fn id(service: &str) -> SpiffeId {
    format!("spiffe://market.example/ns/shop/sa/{service}").parse().unwrap()
}

/// What a service saw: method, target, headers, body.
type Seen = Arc<Mutex<Vec<(String, String, http::HeaderMap, Vec<u8>)>>>;

struct World {
    dir: tempfile::TempDir,
    ca: Ca,
    upstream: SocketAddr,
    seen: Seen,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let domain: TrustDomain = "market.example".parse().unwrap();
        let ca = Ca::init(&dir.path().join("ca"), &domain, CaOptions::default()).unwrap();
        for service in ["items", "invoices", "users"] {
            ca.issue_files(
                &id(service),
                Duration::from_secs(3600),
                &dir.path().join(format!("{service}.pem")),
                &dir.path().join(format!("{service}.key")),
            )
            .unwrap();
        }
        std::fs::create_dir(dir.path().join("policies-1")).unwrap();
        std::fs::write(dir.path().join("policies-1/shop.yaml"), SHOP).unwrap();
        std::os::unix::fs::symlink("policies-1", dir.path().join("policies")).unwrap();
        let seen = Seen::default();
        let upstream = service(Arc::clone(&seen)).await;
        Self { dir, ca, upstream, seen }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self, extra: &str) -> Config {
        let text = format!(
            "service: items\nbundle: {{path: policies}}\nidentity: {{cert: items.pem, key: items.key, trust: {{market.example: {}}}}}\ninbound: [{{listen: \"127.0.0.1:0\", upstream: \"{}\"}}]\nlog: {{path: decisions.ndjson, heartbeat: 100ms}}\nadmin: {{listen: \"127.0.0.1:0\"}}\nhealth: {{listen: \"127.0.0.1:0\"}}\ndrain: 500ms\n{extra}",
            self.ca.root_path().display(),
            self.upstream
        );
        Config::parse("test.yaml", &text, self.dir.path()).unwrap()
    }

    async fn start(&self, extra: &str) -> Enforcer {
        Enforcer::start(self.config(extra), Report::silent()).await.unwrap()
    }

    fn identity(&self, service: &str) -> Identity {
        let trust = [("market.example".parse().unwrap(), self.ca.root_path())].into();
        let (cert, key) = (self.path(&format!("{service}.pem")), self.path(&format!("{service}.key")));
        Identity::load(&IdentityFiles { cert, key, trust, crl: Vec::new() }).unwrap()
    }

    async fn connect(&self, to: SocketAddr, from: &str, alpn: Option<&[u8]>) -> tokio_rustls::client::TlsStream<TcpStream> {
        let stream = TcpStream::connect(to).await.unwrap();
        let expected = ExpectedPeer { ids: vec![id("items")], patterns: Vec::new() };
        let identity = self.identity(from);
        let mut config = (*identity.client_config(expected)).clone();
        config.alpn_protocols = alpn.into_iter().map(<[u8]>::to_vec).collect();
        let name = rustls_pki_types::ServerName::try_from("portreeve.invalid").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// Sends raw bytes over mTLS and reads until the peer closes.
    async fn raw(&self, to: SocketAddr, from: &str, bytes: &[u8]) -> String {
        let mut stream = self.connect(to, from, Some(b"http/1.1")).await;
        stream.write_all(bytes).await.unwrap();
        let mut out = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut out)).await.expect("the peer closes");
        String::from_utf8_lossy(&out).into_owned()
    }

    async fn get(&self, to: SocketAddr, from: &str, target: &str, headers: &str) -> (u16, String) {
        let answer =
            self.raw(to, from, format!("GET {target} HTTP/1.1\r\nHost: items\r\nConnection: close\r\n{headers}\r\n").as_bytes()).await;
        (status(&answer), answer)
    }

    fn records(&self) -> Vec<Record> {
        records(&self.path("decisions.ndjson"))
    }
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
}

fn records(path: &Path) -> Vec<Record> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut chain = ChainReader::new();
    let mut out: Vec<Record> = Vec::new();
    for line in text.lines() {
        let record = Record::from_line(line.as_bytes()).unwrap();
        chain.accept(record.seq, record.prev, line.as_bytes()).unwrap();
        assert!(out.last().is_none_or(|before| before.at <= record.at), "time goes back");
        out.push(record);
    }
    out
}

fn decided(records: &[Record]) -> Vec<(u64, &Decided)> {
    records.iter().filter_map(|r| if let Event::Decided(d) = &r.event { Some((r.seq, &**d)) } else { None }).collect()
}

fn ended(records: &[Record]) -> Vec<&Ended> {
    records.iter().filter_map(|r| if let Event::Ended(e) = &r.event { Some(e) } else { None }).collect()
}

/// A service that answers with the target it was asked for. `/v1/items/slow` never ends its answer, `/v1/items/gone` closes.
async fn service(seen: Seen) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let seen = Arc::clone(&seen);
                    async move {
                        let (parts, body) = request.into_parts();
                        let Ok(body) = body.collect().await else { return Err("broken off") };
                        let body = body.to_bytes().to_vec();
                        let target = parts.uri.to_string();
                        seen.lock().unwrap().push((parts.method.to_string(), target.clone(), parts.headers, body));
                        if target.ends_with("gone") {
                            return Err("gone");
                        }
                        Ok(Response::builder().header("connection", "x-hop").header("x-hop", "1").body(answer_body(&target)).unwrap())
                    }
                });
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

type AnswerBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

fn answer_body(target: &str) -> AnswerBody {
    let text = Bytes::from(format!("you asked for {target}"));
    if target.ends_with("slow") {
        use futures_util::StreamExt as _;
        let first = futures_util::stream::iter([Ok(Frame::data(text))]);
        return StreamBody::new(first.chain(futures_util::stream::pending())).boxed_unsync();
    }
    Full::new(text).boxed_unsync()
}

#[tokio::test]
async fn requests_are_judged_recorded_and_forwarded_as_judged() {
    let world = World::new().await;
    let enforcer = world.start("").await;
    let to = enforcer.inbound()[0];

    let spoofed = "X-Forwarded-Client-Cert: URI=spiffe://evil/x\r\nx-portreeve-principal: evil\r\nX-Request-Id: mine\r\nKeep-Alive: 5\r\n";
    let (code, answer) = world.get(to, "invoices", "/v1/%69tems/42?full=1", spoofed).await;
    assert_eq!(code, 200, "{answer}");
    assert!(answer.ends_with("you asked for /v1/items/42?full=1"), "{answer}");
    assert!(!answer.contains("x-hop"));
    {
        let seen = world.seen.lock().unwrap();
        let (_, _, headers, _) = &seen[0];
        assert_eq!(headers["x-portreeve-principal"], "spiffe://market.example/ns/shop/sa/invoices");
        let xfcc = headers["x-forwarded-client-cert"].to_str().unwrap();
        assert!(xfcc.starts_with("By=spiffe://market.example/ns/shop/sa/items;Hash="), "{xfcc}");
        assert!(xfcc.ends_with(";URI=spiffe://market.example/ns/shop/sa/invoices"));
        assert_eq!(headers["host"], "items");
        assert!(!headers.contains_key("keep-alive"));
    }
    let (code, denied) = world.get(to, "users", "/v1/items/42", "").await;
    assert_eq!(code, 403);
    let body = denied.split("\r\n\r\n").nth(1).unwrap();
    assert!(body.starts_with("{\"request_id\":\"") && !body.contains("permission"), "{body}");
    assert_eq!(world.get(to, "invoices", "/v1/other", "").await.0, 403);
    assert_eq!(world.get(to, "invoices", "/v1//items", "").await.0, 400);
    assert_eq!(world.get(to, "invoices", "/v1/items/1", "x-tenant: a\r\nx-tenant: b\r\n").await.0, 400);
    assert_eq!(world.get(to, "invoices", "/v1/items/1", "Upgrade: websocket\r\n").await.0, 501);
    assert_eq!(world.get(to, "invoices", "/v1/items/gone", "").await.0, 502);
    enforcer.shutdown().await;

    let records = world.records();
    let decided = decided(&records);
    let reasons: Vec<_> = decided.iter().map(|(_, d)| d.decision.reason).collect();
    use Reason::{MalformedRequest as Malformed, NoPermission, Permitted, UndeclaredOperation, UnknownPrincipal};
    assert!(matches!(
        reasons.as_slice(),
        [Permitted, NoPermission | UnknownPrincipal, UndeclaredOperation, Malformed, Malformed, Malformed, Permitted]
    ));
    let (seq, first) = decided[0];
    assert_eq!(first.request.path.as_deref(), Some("/v1/items/42"));
    assert_eq!(first.request.operation.as_deref(), Some("read-item"));
    assert_eq!(first.request.correlation.as_deref(), Some("mine"));
    assert_eq!(first.source.service.as_deref(), Some("invoices"));
    assert_eq!(decided[3].1.request.raw.as_deref(), Some("GET /v1//items"));
    assert!(denied.contains(&decided[1].1.request.id));
    let ended = ended(&records);
    assert_eq!((ended[0].of, ended[0].status, ended[0].why, ended[0].outcome), (seq, Some(200), Why::Complete, Outcome::Forwarded));
    assert_eq!(ended[0].bytes, 33);
    assert_eq!((ended[1].status, ended[1].why, ended[1].outcome), (Some(502), Why::Upstream, Outcome::Unavailable));
    assert_eq!(ended.len(), 2);
    assert!(matches!(records.last().unwrap().event, Event::Stopped(_)));
    // A `GET` is sent once more where its connection had served before, whose end could mean that it had been idle.
    let mut targets: Vec<_> = world.seen.lock().unwrap().iter().map(|(_, target, ..)| target.clone()).collect();
    targets.dedup();
    assert_eq!(targets, ["/v1/items/42?full=1", "/v1/items/gone"]);
}

#[tokio::test]
async fn a23_a77_ambiguous_heads_are_recorded_and_nothing_is_smuggled() {
    let world = World::new().await;
    let enforcer = world.start("").await;
    let to = enforcer.inbound()[0];
    for head in [
        "POST /v1/items HTTP/1.1\r\nHost: items\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /v1/items/1 HTTP/1.1\r\nHost: items\r\nHost: users\r\n\r\n",
        "GET /v1/items/1#x HTTP/1.1\r\nHost: items\r\n\r\n",
        "GET /v1/items/1 HTTP/1.1\r\nHost: items\r\nA: b\r\n c\r\n\r\n",
    ] {
        let bytes =
            format!("GET /v1/items/7 HTTP/1.1\r\nHost: items\r\n\r\n{head}0\r\n\r\nGET /v1/items/9 HTTP/1.1\r\nHost: items\r\n\r\n");
        let answer = world.raw(to, "invoices", bytes.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("HTTP/1.1 400"), "{head}: {answer}");
        assert!(!answer.contains("/v1/items/9"), "{answer}");
    }
    enforcer.shutdown().await;
    let records = world.records();
    let decided = decided(&records);
    assert_eq!(decided.len(), 8);
    for pair in decided.chunks(2) {
        assert_eq!(pair[0].1.decision.reason, Reason::Permitted);
        assert_eq!(pair[1].1.decision.reason, Reason::MalformedRequest);
        assert_eq!(pair[1].1.source.id, id("invoices"));
        assert!(pair[1].1.request.raw.is_some());
        assert!(!pair[1].1.decision.errors.is_empty());
    }
    assert!(world.seen.lock().unwrap().iter().all(|(_, target, _, _)| target == "/v1/items/7"));
}

#[tokio::test]
async fn bodies_pass_in_both_protocols() {
    let world = World::new().await;
    let enforcer = world.start("").await;
    let to = enforcer.inbound()[0];
    let answer = world
        .raw(to, "invoices", b"POST /v1/items HTTP/1.1\r\nHost: items\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        .await;
    assert_eq!(status(&answer), 200, "{answer}");
    let stream = world.connect(to, "invoices", Some(b"h2")).await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let big = vec![7_u8; 3 << 20];
    let ask = |method: &str, target: &str, body: Vec<u8>| {
        Request::builder().method(method).uri(format!("https://items{target}")).body(Full::new(Bytes::from(body))).unwrap()
    };
    let sent = sender.send_request(ask("POST", "/v1/items", big.clone())).await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK);
    assert_eq!(sent.into_body().collect().await.unwrap().to_bytes(), "you asked for /v1/items");
    let answers =
        futures_util::future::join_all((0..20).map(|n| sender.clone().send_request(ask("GET", &format!("/v1/items/{n}"), vec![])))).await;
    assert!(answers.into_iter().all(|a| a.unwrap().status() == StatusCode::OK));
    assert_eq!(sender.send_request(ask("DELETE", "/v1/items/1", vec![])).await.unwrap().status(), StatusCode::FORBIDDEN);
    drop(sender);
    driver.abort();
    enforcer.shutdown().await;
    let seen = world.seen.lock().unwrap();
    assert_eq!(seen[0].3, b"abcde");
    assert_eq!(seen[1].3, big);
    let records = world.records();
    assert_eq!(decided(&records).iter().filter(|(_, d)| d.request.protocol == "HTTP/2").count(), 22);
    assert_eq!(ended(&records).len(), 22);
}

#[tokio::test]
async fn strangers_are_refused_and_told_at_the_heartbeat() {
    let world = World::new().await;
    let enforcer = world.start("").await;
    let to = enforcer.inbound()[0];
    // No certificate: a client configuration without one.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    use rustls_pki_types::pem::PemObject as _;
    roots.add(rustls_pki_types::CertificateDer::from_pem_file(world.ca.root_path()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    for _ in 0..2 {
        let stream = TcpStream::connect(to).await.unwrap();
        let name = rustls_pki_types::ServerName::try_from("portreeve.invalid").unwrap();
        if let Ok(mut stream) = tokio_rustls::TlsConnector::from(Arc::clone(&config)).connect(name, stream).await {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: items\r\n\r\n").await;
            let mut out = Vec::new();
            let _ = stream.read_to_end(&mut out).await;
            assert!(out.is_empty());
        }
    }
    let mut plain = TcpStream::connect(to).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut out = Vec::new();
    let _ = plain.read_to_end(&mut out).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let metrics = enforcer.gate().metrics.render();
    enforcer.shutdown().await;
    let refused: u64 = world.records().iter().map(|r| if let Event::Refused(r) = &r.event { r.count } else { 0 }).sum();
    assert_eq!(refused, 3);
    let beat = world.records().iter().position(|r| matches!(r.event, Event::Heartbeat(_))).unwrap();
    assert!(world.records().iter().any(|r| matches!(&r.event, Event::Refused(r) if r.reason != "handshake-failed")), "{beat}");
    assert!(metrics.contains("portreeve_handshake_failures_total{reason="), "{metrics}");
    assert!(decided(&world.records()).is_empty());
}

#[tokio::test]
async fn a_new_bundle_is_taken_up_on_open_connections_and_a_bad_one_is_not() {
    let world = World::new().await;
    let enforcer = world.start("").await;
    let to = enforcer.inbound()[0];
    async fn open(world: &World, to: SocketAddr) -> hyper::client::conn::http1::SendRequest<Full<Bytes>> {
        let stream = world.connect(to, "invoices", Some(b"http/1.1")).await;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }
    let mut sender = open(&world, to).await;
    let ask = || Request::builder().uri("/v1/items/1").header("host", "items").body(Full::default()).unwrap();
    async fn code(sender: &mut hyper::client::conn::http1::SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> u16 {
        sender.ready().await.unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let code = answer.status().as_u16();
        answer.into_body().collect().await.unwrap();
        code
    }
    assert_eq!(code(&mut sender, ask()).await, 200);
    let replace = |name: &str, text: &str| {
        std::fs::create_dir(world.path(name)).unwrap();
        std::fs::write(world.path(name).join("shop.yaml"), text).unwrap();
        std::os::unix::fs::symlink(name, world.path("policies.new")).unwrap();
        std::fs::rename(world.path("policies.new"), world.path("policies")).unwrap();
    };
    replace("policies-2", "kind: Nonsense\n");
    assert!(enforcer.reload().await.is_err());
    assert_eq!(code(&mut sender, ask()).await, 200);
    assert!(enforcer.gate().metrics.render().contains("portreeve_bundle_alarm 1"));
    // This one is found by watching the symlink.
    replace("policies-3", &SHOP.replace("allow: {from: [invoices]", "deny: {from: [invoices]"));
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if code(&mut sender, ask()).await == 403 {
            break;
        }
    }
    // A request that ran at that moment was cut, and its connection ends with its answer.
    if sender.ready().await.is_err() {
        sender = open(&world, to).await;
    }
    assert_eq!(code(&mut sender, ask()).await, 403);
    assert!(enforcer.gate().metrics.render().contains("portreeve_bundle_alarm 0"));
    enforcer.shutdown().await;
    let records = world.records();
    let revisions: Vec<_> =
        records.iter().filter_map(|r| if let Event::Reloaded(r) = &r.event { Some(r.revision) } else { None }).collect();
    assert_eq!(revisions.len(), 1);
    assert_eq!(decided(&records).last().unwrap().1.revision, revisions[0]);
    assert_eq!(decided(&records).last().unwrap().1.decision.reason, Reason::Prohibited);
}

#[tokio::test]
async fn a71_a_new_identity_is_taken_up_and_a_mismatched_pair_is_not() {
    let world = World::new().await;
    let enforcer = world.start("").await;
    let before = enforcer.gate().identity.load().svid().serial.clone();
    let good = std::fs::read(world.path("items.key")).unwrap();
    std::fs::copy(world.path("users.key"), world.path("items.key")).unwrap();
    assert!(enforcer.reload().await.is_err());
    assert_eq!(enforcer.gate().identity.load().svid().serial, before);
    std::fs::write(world.path("items.key"), good).unwrap();
    world.ca.issue_files(&id("items"), Duration::from_secs(3600), &world.path("items.pem"), &world.path("items.key")).unwrap();
    enforcer.reload().await.unwrap();
    assert_ne!(enforcer.gate().identity.load().svid().serial, before);
    assert_eq!(world.get(enforcer.inbound()[0], "invoices", "/v1/items/1", "").await.0, 200);
    enforcer.shutdown().await;
}

#[tokio::test]
async fn shutdown_drains_and_tells_what_was_cut() {
    let world = World::new().await;
    let enforcer = world.start("").await;
    let to = enforcer.inbound()[0];
    let mut slow = world.connect(to, "invoices", Some(b"http/1.1")).await;
    slow.write_all(b"GET /v1/items/slow HTTP/1.1\r\nHost: items\r\n\r\n").await.unwrap();
    let mut head = [0; 12];
    slow.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let mut gone = world.connect(to, "invoices", Some(b"http/1.1")).await;
    gone.write_all(b"GET /v1/items/slow HTTP/1.1\r\nHost: items\r\n\r\n").await.unwrap();
    gone.read_exact(&mut head).await.unwrap();
    drop(gone);
    tokio::time::sleep(Duration::from_millis(100)).await;
    enforcer.shutdown().await;
    assert!(TcpStream::connect(to).await.is_err());
    let records = world.records();
    let ends: Vec<_> = ended(&records).iter().map(|e| e.why).collect();
    assert_eq!(ends, [Why::Client, Why::Shutdown]);
    assert!(matches!(records.last().unwrap().event, Event::Stopped(_)));
}

#[tokio::test]
async fn a_dry_run_forwards_denials_by_policy_alone() {
    let world = World::new().await;
    let enforcer = world.start("mode: dry-run\n").await;
    let to = enforcer.inbound()[0];
    assert_eq!(world.get(to, "users", "/v1/items/1", "").await.0, 200);
    assert_eq!(world.get(to, "users", "/v1//items", "").await.0, 400);
    enforcer.shutdown().await;
    let records = world.records();
    assert!(decided(&records).iter().all(|(_, d)| d.decision.effect == portreeve_engine::Effect::Deny));
    assert_eq!(ended(&records).len(), 1);
}

#[tokio::test]
async fn the_self_check_agrees_with_what_is_served() {
    let world = World::new().await;
    let enforcer = world.start("self_check: {one_in: 1}\n").await;
    let to = enforcer.inbound()[0];
    for target in ["/v1/items/42", "/v1/other", "/v1/items/7"] {
        world.get(to, "invoices", target, "").await;
    }
    let mut text = String::new();
    for _ in 0..200 {
        text = enforcer.gate().metrics.render();
        if !text.contains("portreeve_self_checks_total 0") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!text.contains("portreeve_self_checks_total 0") && text.contains("portreeve_self_check_disagreements_total 0"), "{text}");
    enforcer.shutdown().await;
}

#[tokio::test]
async fn the_way_out_pins_the_other_service() {
    let world = World::new().await;
    let enforcer = world.start("").await;
    let to = enforcer.inbound()[0];
    let out = |connect: SocketAddr, service: &str| {
        let text = format!(
            "service: invoices\nbundle: {{path: policies}}\nidentity: {{cert: invoices.pem, key: invoices.key, trust: {{market.example: {}}}}}\noutbound: [{{listen: \"127.0.0.1:0\", service: {service}, connect: \"{connect}\"}}]\nlog: {{path: out-{service}.ndjson}}\n",
            world.ca.root_path().display()
        );
        Config::parse("out.yaml", &text, world.dir.path()).unwrap()
    };
    let right = Enforcer::start(out(to, "items"), Report::silent()).await.unwrap();
    let wrong = Enforcer::start(out(to, "invoices"), Report::silent()).await.unwrap();
    async fn plain(to: SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }
    let head = "GET /v1/items/5 HTTP/1.1\r\nHost: items\r\nConnection: close\r\nx-portreeve-principal: evil\r\n\r\n";
    let answer = plain(right.outbound()[0], head).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(answer.ends_with("you asked for /v1/items/5"));
    let answer = plain(wrong.outbound()[0], head).await;
    assert_eq!(status(&answer), 502);
    assert!(answer.contains("request_id"));
    right.shutdown().await;
    wrong.shutdown().await;
    enforcer.shutdown().await;
    let records = world.records();
    assert_eq!(decided(&records).len(), 1);
    assert_eq!(decided(&records)[0].1.source.id, id("invoices"));
    assert!(decided(&self::records(&world.path("out-items.ndjson"))).is_empty());
}

#[tokio::test]
async fn the_pages_tell_and_the_probes_tell_less() {
    let world = World::new().await;
    let enforcer = world.start("").await;
    let _open = world.connect(enforcer.inbound()[0], "invoices", Some(b"http/1.1")).await;
    async fn page(to: SocketAddr, target: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        (status(&text), text)
    }
    let (admin, health) = (enforcer.admin().unwrap(), enforcer.health().unwrap());
    for target in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(page(admin, target).await.0, 200, "{target}");
        assert_eq!(page(health, target).await.0, 200, "{target}");
    }
    for (target, says) in
        [("/revision", "sha256:"), ("/config", "items.ndjson\"".trim_start_matches("items.")), ("/connections", "sa/invoices")]
    {
        let (code, text) = page(admin, target).await;
        assert_eq!(code, 200);
        assert!(text.contains(says), "{text}");
        assert_eq!(page(health, target).await.0, 404, "{target}");
    }
    enforcer.shutdown().await;
}

#[tokio::test]
async fn the_binary_checks_runs_and_drains() {
    let world = World::new().await;
    let config = world.path("e.yaml");
    let text = format!(
        "service: items\nbundle: {{path: policies}}\nidentity: {{cert: items.pem, key: items.key, trust: {{market.example: {}}}}}\ninbound: [{{listen: \"127.0.0.1:0\", upstream: \"{}\"}}]\nlog: {{path: binary.ndjson}}\n",
        world.ca.root_path().display(),
        world.upstream
    );
    std::fs::write(&config, &text).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_portreeve-enforcer"));
        command.args(arguments).arg("--config").arg(&config).stderr(std::process::Stdio::piped());
        command
    };
    assert_eq!(run(&["--check"]).output().unwrap().status.code(), Some(0));
    assert!(!world.path("binary.ndjson").exists());
    let mut child = run(&[]).spawn().unwrap();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
    let to: SocketAddr = line.split("inbound [").nth(1).unwrap().split(']').next().unwrap().parse().unwrap();
    assert_eq!(world.get(to, "invoices", "/v1/items/3", "").await.0, 200);
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let records = records(&world.path("binary.ndjson"));
    assert_eq!(decided(&records).len(), 1);
    assert!(matches!(records.last().unwrap().event, Event::Stopped(_)));
    std::fs::write(&config, text.replace("bundle:", "bundel:")).unwrap();
    let wrong = run(&["--check"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("did you mean `bundle`") && said.contains("e.yaml:2:1"), "{said}");
}

#[tokio::test]
async fn inv9_without_a_log_nothing_passes() {
    let world = World::new().await;
    let enforcer = world.start("").await;
    let to = enforcer.inbound()[0];
    assert_eq!(world.get(to, "invoices", "/v1/items/1", "").await.0, 200);
    enforcer.gate().log.stop();
    assert_eq!(world.get(to, "invoices", "/v1/items/1", "").await.0, 503);
    assert_eq!(world.get(to, "users", "/v1/items/1", "").await.0, 503);
    assert_eq!(world.get(to, "users", "/v1//items", "").await.0, 503);
    let mut stream = TcpStream::connect(enforcer.health().unwrap()).await.unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(status(&text), 503, "{text}");
    assert!(enforcer.gate().metrics.render().contains("portreeve_unrecorded_total 3"));
    assert_eq!(world.seen.lock().unwrap().len(), 1);
    enforcer.shutdown().await;
}

#[tokio::test]
async fn a65_a_certificate_that_ends_cuts_what_runs() {
    let world = World::new().await;
    let enforcer = world.start("").await;
    let now = portreeve_enforcer::clock::Clock::new().now();
    let request = portreeve_enforcer::ca::IssueRequest::leaf(&[id("invoices").as_str()], now.plus_ms(-60_000), now.plus_ms(3000));
    world.ca.issue_unchecked(&request).unwrap().write(&world.path("invoices.pem"), &world.path("invoices.key")).unwrap();
    let mut slow = world.connect(enforcer.inbound()[0], "invoices", Some(b"http/1.1")).await;
    slow.write_all(b"GET /v1/items/slow HTTP/1.1\r\nHost: items\r\n\r\n").await.unwrap();
    let mut out = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), slow.read_to_end(&mut out)).await.expect("the connection is cut");
    assert!(out.starts_with(b"HTTP/1.1 200"));
    enforcer.shutdown().await;
    let records = world.records();
    assert_eq!(ended(&records).iter().map(|e| e.why).collect::<Vec<_>>(), [Why::Expired]);
}

#[tokio::test]
async fn http2_services_get_trailers_and_give_them() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|request: Request<Incoming>| async move {
                assert_eq!(request.uri().authority().unwrap().as_str(), "items");
                assert_eq!(request.headers()["te"], "trailers");
                let whole = request.into_body().collect().await.unwrap();
                let mut trailers = whole.trailers().cloned().unwrap_or_default();
                trailers.insert("grpc-status", "0".parse().unwrap());
                let frames = [Ok::<_, Infallible>(Frame::data(whole.to_bytes())), Ok(Frame::trailers(trailers))];
                Ok::<_, Infallible>(Response::new(StreamBody::new(futures_util::stream::iter(frames))))
            });
            tokio::spawn(hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
        }
    });
    let mut config = world.config("");
    config.inbound[0].upstream = upstream;
    config.inbound[0].upstream_protocol = portreeve_enforcer::config::UpstreamProtocol::Http2;
    let enforcer = Enforcer::start(config, Report::silent()).await.unwrap();
    let stream = world.connect(enforcer.inbound()[0], "invoices", Some(b"h2")).await;
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", "5".parse().unwrap());
    trailers.insert("x-portreeve-principal", "evil".parse().unwrap());
    // Policy reads it, and it was judged with the head.
    trailers.insert("x-tenant", "evil".parse().unwrap());
    let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"hello"))), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let request = Request::builder().method("POST").uri("https://items/v1/items").header("te", "trailers").body(body).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let whole = answer.into_body().collect().await.unwrap();
    let trailers = whole.trailers().unwrap().clone();
    assert_eq!((trailers["grpc-status"].as_bytes(), trailers["x-sum"].as_bytes()), (b"0".as_slice(), b"5".as_slice()));
    assert!(!trailers.contains_key("x-portreeve-principal") && !trailers.contains_key("x-tenant"));
    assert_eq!(whole.to_bytes(), "hello");
    drop(sender);
    enforcer.shutdown().await;
    assert_eq!(ended(&world.records())[0].why, Why::Complete);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_callers_doing() {
    let world = World::new().await;
    let enforcer = world.start("").await;
    let head = "POST /v1/items HTTP/1.1\r\nHost: items\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = world.raw(enforcer.inbound()[0], "invoices", format!("{head}3\r\nabc\r\n3;x=1\r\nabc\r\n0\r\n\r\n").as_bytes()).await;
    assert!(matches!(status(&answer), 0 | 400), "{answer}");
    enforcer.shutdown().await;
    let records = world.records();
    let ends: Vec<_> = ended(&records).iter().map(|e| (e.outcome, e.why)).collect();
    assert_eq!(ends, [(Outcome::Forwarded, Why::Client)]);
    assert!(world.seen.lock().unwrap().is_empty());
}
