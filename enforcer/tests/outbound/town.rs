//! A small town for tests of the outbound side: a caller's enforcer, callees with theirs, an authority, logs read back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portreeve_enforcer::Enforcer;
use portreeve_enforcer::ca::{Ca, CaOptions};
use portreeve_enforcer::config::Config;
use portreeve_enforcer::report::Report;
use portreeve_engine::chain::ChainReader;
use portreeve_engine::id::{SpiffeId, TrustDomain};
use portreeve_engine::record::{Decided, Ended};
use portreeve_engine::{Authorizer, Bundle, Event, Record};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const LAW: &str = r#"
kind: Service
name: payments
identities: [spiffe://market.example/ns/shop/sa/payments]
---
kind: Service
name: users
identities: [spiffe://market.example/ns/shop/sa/users]
operations:
  - {id: read, method: GET, path: "/v1/users/{id}"}
  - {id: write, method: [POST, PUT], path: "/v1/users/{id}"}
  - {id: call, grpc: shop.Users/Get}
  - {id: talk, method: GET, path: /talk, upgrade: [websocket]}
---
kind: Service
name: other
identities: [spiffe://market.example/ns/shop/sa/other]
---
kind: Service
name: cards
hosts: [api.cards.test, "localhost:PORT", "127.0.0.1:PORT"]
headers: {x-tenant: string}
operations:
  - {id: tls, port: PORT}
  - {id: rates, method: GET, path: "/v1/rates/{card}", sensitive: [card]}
---
kind: Permission
name: payments-users
allow: {from: payments, to: users, operations: '*'}
---
kind: Permission
name: payments-cards
allow: {from: payments, to: cards, operations: '*'}
"#;

pub(crate) fn id(service: &str) -> SpiffeId {
    format!("spiffe://market.example/ns/shop/sa/{service}").parse().unwrap()
}

pub(crate) struct Town {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ca: Ca,
}

impl Town {
    /// A town whose place outside is on `port`.
    pub(crate) fn new(port: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let domain: TrustDomain = "market.example".parse().unwrap();
        let ca = Ca::init(&dir.path().join("ca"), &domain, CaOptions::default()).unwrap();
        let town = Self { dir, ca };
        for service in ["payments", "users", "other"] {
            town.issue(service);
        }
        town.law(1, &LAW.replace("PORT", &port.to_string()));
        town
    }

    pub(crate) fn issue(&self, service: &str) {
        let (cert, key) = (self.path(&format!("{service}.pem")), self.path(&format!("{service}.key")));
        self.ca.issue_files(&id(service), Duration::from_secs(3600), &cert, &key).unwrap();
    }

    /// Puts another law in force for whoever reloads.
    pub(crate) fn law(&self, n: u32, text: &str) {
        let name = format!("policies-{n}");
        std::fs::create_dir(self.path(&name)).unwrap();
        std::fs::write(self.path(&name).join("law.yaml"), text).unwrap();
        let _ = std::fs::remove_file(self.path("policies.new"));
        std::os::unix::fs::symlink(&name, self.path("policies.new")).unwrap();
        std::fs::rename(self.path("policies.new"), self.path("policies")).unwrap();
    }

    pub(crate) fn authorizer(&self) -> Authorizer {
        self.authorizer_in("policies")
    }

    /// One that was in force before.
    pub(crate) fn authorizer_of(&self, n: u32) -> Authorizer {
        self.authorizer_in(&format!("policies-{n}"))
    }

    fn authorizer_in(&self, dir: &str) -> Authorizer {
        let compiled = Authorizer::compile(&Bundle::read_dir(&self.path(dir)).unwrap());
        compiled.authorizer.unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, service: &str, log: &str, extra: &str) -> String {
        let root = self.ca.root_path();
        let root = root.display();
        format!(
            "service: {service}\nbundle: {{path: policies}}\nidentity: {{cert: {service}.pem, key: {service}.key, trust: {{market.example: {root}}}}}\nlog: {{path: {log}.ndjson}}\ndrain: 500ms\n{extra}"
        )
    }

    pub(crate) async fn start(&self, service: &str, log: &str, extra: &str) -> Enforcer {
        let config = Config::parse("test.yaml", &self.text(service, log, extra), self.dir.path());
        let config = config.unwrap_or_else(|faults| panic!("{}", faults.iter().map(|f| f.render()).collect::<String>()));
        Enforcer::start(config, Report::silent()).await.unwrap()
    }

    /// An enforcer of `users` in front of an app.
    pub(crate) async fn callee(&self, log: &str, app: SocketAddr) -> Enforcer {
        self.start("users", log, &format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{app}\"}}]\n")).await
    }

    pub(crate) fn records(&self, log: &str) -> Vec<Record> {
        let text = std::fs::read_to_string(self.path(&format!("{log}.ndjson"))).unwrap();
        let mut chain = ChainReader::new();
        let mut out = Vec::new();
        for line in text.lines() {
            let record = Record::from_line(line.as_bytes()).unwrap();
            chain.accept(record.seq, record.prev, line.as_bytes()).unwrap();
            out.push(record);
        }
        out
    }
}

pub(crate) fn decided(records: &[Record]) -> Vec<(u64, &Decided)> {
    records.iter().filter_map(|r| if let Event::Decided(d) = &r.event { Some((r.seq, &**d)) } else { None }).collect()
}

pub(crate) fn ended(records: &[Record]) -> Vec<&Ended> {
    records.iter().filter_map(|r| if let Event::Ended(e) = &r.event { Some(e) } else { None }).collect()
}

/// Every decided record says what the law answers when it is asked again.
pub(crate) fn replays(law: &Authorizer, records: &[Record]) {
    for record in records {
        let Event::Decided(decided) = &record.event else { continue };
        if decided.request.raw.is_some() {
            assert_eq!(decided.decision.reason.as_str(), "malformed-request");
            continue;
        }
        let again = law.decide(&decided.request(record.at, law.paths(&decided.destination.service)).unwrap());
        assert_eq!(portreeve_engine::record::Answer::from(&again), decided.decision, "{decided:#?}");
        assert_eq!(again.operation, decided.request.operation.as_deref());
    }
}

/// What an app of the town does with a request.
pub(crate) type Behaviour = Arc<dyn Fn(usize, &str) -> Vec<u8> + Send + Sync>;

/// An app that answers each request head with raw bytes and closes where they are empty. Says how many requests it had.
pub(crate) async fn app(behaviour: impl Fn(usize, &str) -> Vec<u8> + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    app_at("127.0.0.1:0", behaviour).await
}

pub(crate) async fn app_at(at: &str, behaviour: impl Fn(usize, &str) -> Vec<u8> + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(at).await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (counted, behaviour): (_, Behaviour) = (Arc::clone(&count), Arc::new(behaviour));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (count, behaviour) = (Arc::clone(&counted), Arc::clone(&behaviour));
            tokio::spawn(async move {
                while let Some(head) = head(&mut stream).await {
                    let answer = behaviour(count.fetch_add(1, Ordering::SeqCst), &head);
                    if answer.is_empty() || stream.write_all(&answer).await.is_err() {
                        return;
                    }
                    if answer.ends_with(CUT) {
                        return;
                    }
                }
            });
        }
    });
    (address, count)
}

/// An answer that ends in this is followed by the end of the connection.
pub(crate) const CUT: &[u8] = b"<cut>";

async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let mut body = vec![0; length.and_then(|l| l.parse().ok()).unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some(head)
}

pub(crate) fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

pub(crate) fn status(code: u16) -> Vec<u8> {
    format!("HTTP/1.1 {code} X\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

/// Sends a raw request and reads until the peer closes.
pub(crate) async fn raw(to: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut out = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut out)).await.expect("the peer closes");
    String::from_utf8_lossy(&out).into_owned()
}

pub(crate) async fn get(to: SocketAddr, target: &str, host: &str) -> (u16, String) {
    let answer = raw(to, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
    (code(&answer), answer)
}

pub(crate) fn code(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
}

/// An address on which nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
