//! A small world for whole enforcers over loopback: certificates of the built-in authority, a service that keeps what it gets byte
//! by byte, the log read back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portreeve_enforcer::Enforcer;
use portreeve_enforcer::ca::{Ca, CaOptions, IssueRequest};
use portreeve_enforcer::config::Config;
use portreeve_enforcer::report::Report;
use portreeve_enforcer::tls::{ExpectedPeer, Identity, IdentityFiles};
use portreeve_engine::chain::ChainReader;
use portreeve_engine::id::SpiffeId;
use portreeve_engine::record::{Decided, Ended};
use portreeve_engine::{Event, Record};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(crate) type Tls = tokio_rustls::client::TlsStream<TcpStream>;

pub(crate) fn id(service: &str) -> SpiffeId {
    format!("spiffe://market.example/ns/shop/sa/{service}").parse().unwrap()
}

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    ca: Ca,
    pub(crate) upstream: SocketAddr,
    /// The heads and bodies that reached the service.
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
    pub(crate) told: Arc<Mutex<Vec<String>>>,
    revisions: Mutex<usize>,
}

impl World {
    pub(crate) async fn new(policy: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::init(&dir.path().join("ca"), &"market.example".parse().unwrap(), CaOptions::default()).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let upstream = service(Arc::clone(&seen)).await;
        let world = Self { dir, ca, upstream, seen, told: Arc::default(), revisions: Mutex::new(0) };
        for service in ["items", "invoices", "users"] {
            world.issue(service, Duration::from_secs(3600));
        }
        world.replace_policy(policy);
        world
    }

    /// A certificate of that life, in the place of an earlier one.
    pub(crate) fn issue(&self, service: &str, life: Duration) {
        let (cert, key) = (self.path(&format!("{service}.pem")), self.path(&format!("{service}.key")));
        let now = portreeve_enforcer::clock::Clock::new().now();
        let life = i64::try_from(life.as_millis()).unwrap();
        let request = IssueRequest::leaf(&[id(service).as_str()], now.plus_ms(-60_000), now.plus_ms(life));
        self.ca.issue_unchecked(&request).unwrap().write(&cert, &key).unwrap();
    }

    /// Puts another policy in place the way bundles are replaced: a new directory, and a symlink that moves.
    pub(crate) fn replace_policy(&self, policy: &str) {
        let mut revisions = self.revisions.lock().unwrap();
        *revisions += 1;
        let name = format!("policies-{revisions}");
        std::fs::create_dir(self.path(&name)).unwrap();
        std::fs::write(self.path(&name).join("shop.yaml"), policy).unwrap();
        std::os::unix::fs::symlink(&name, self.path("policies.new")).unwrap();
        std::fs::rename(self.path("policies.new"), self.path("policies")).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `inbound` is what follows the listener's address in the flow mapping.
    pub(crate) fn config(&self, inbound: &str, extra: &str) -> Config {
        let log = if extra.starts_with("log:") { "" } else { "log: {path: decisions.ndjson, heartbeat: 100ms}\n" };
        let text = format!(
            "service: items\nbundle: {{path: policies}}\nidentity: {{cert: items.pem, key: items.key, trust: {{market.example: {}}}}}\ninbound: [{{listen: \"127.0.0.1:0\", upstream: \"{}\"{inbound}}}]\n{log}admin: {{listen: \"127.0.0.1:0\"}}\ndrain: 500ms\n{extra}",
            self.ca.root_path().display(),
            self.upstream
        );
        Config::parse("test.yaml", &text, self.dir.path()).unwrap()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.ca.root_path()
    }

    pub(crate) async fn start(&self, inbound: &str, extra: &str) -> Enforcer {
        let told = Arc::clone(&self.told);
        let report = Report::new(move |line| told.lock().unwrap().push(line.to_owned()));
        Enforcer::start(self.config(inbound, extra), report).await.unwrap()
    }

    pub(crate) async fn connect(&self, to: SocketAddr, from: &str) -> Tls {
        let trust = [("market.example".parse().unwrap(), self.ca.root_path())].into();
        let (cert, key) = (self.path(&format!("{from}.pem")), self.path(&format!("{from}.key")));
        let identity = Identity::load(&IdentityFiles { cert, key, trust, crl: Vec::new() }).unwrap();
        let expected = ExpectedPeer { ids: vec![id("items")], patterns: Vec::new() };
        let mut config = (*identity.client_config(expected)).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = rustls_pki_types::ServerName::try_from("portreeve.invalid").unwrap();
        let stream = TcpStream::connect(to).await.unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// One GET on a connection of its own: the status, and all that came.
    pub(crate) async fn get(&self, to: SocketAddr, from: &str, target: &str, headers: &str) -> (u16, String) {
        let mut stream = self.connect(to, from).await;
        let head = format!("GET {target} HTTP/1.1\r\nHost: items\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut out = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut out)).await.expect("the peer closes");
        let answer = String::from_utf8_lossy(&out).into_owned();
        (answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0), answer)
    }

    /// A page of the admin listener.
    pub(crate) async fn page(&self, enforcer: &Enforcer, path: &str) -> String {
        let mut stream = TcpStream::connect(enforcer.admin().unwrap()).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut out = String::new();
        stream.read_to_string(&mut out).await.unwrap();
        out
    }

    pub(crate) fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// The log, with its chain checked.
    pub(crate) fn records(&self) -> Vec<Record> {
        let text = std::fs::read_to_string(self.path("decisions.ndjson")).unwrap();
        let mut chain = ChainReader::new();
        let read = |line: &str| {
            let record = Record::from_line(line.as_bytes()).unwrap();
            chain.accept(record.seq, record.prev, line.as_bytes()).unwrap();
            record
        };
        text.lines().map(read).collect()
    }
}

pub(crate) fn decided(records: &[Record]) -> Vec<&Decided> {
    records.iter().filter_map(|r| if let Event::Decided(d) = &r.event { Some(&**d) } else { None }).collect()
}

pub(crate) fn ended(records: &[Record]) -> Vec<&Ended> {
    records.iter().filter_map(|r| if let Event::Ended(e) = &r.event { Some(e) } else { None }).collect()
}

/// Waits until it holds, and fails if it never does.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: never");
}

/// Answers every request with 200 and `ok`; a target that has `hold` in it is answered only when another one has `release`.
async fn service(seen: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let released = tokio::sync::watch::Sender::new(0_u64);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (seen, released) = (Arc::clone(&seen), released.clone());
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while let Some(request) = request(&mut stream, &mut bytes).await {
                    let line = request.lines().next().unwrap_or_default().to_owned();
                    let mut wait = released.subscribe();
                    seen.lock().unwrap().push(request);
                    if line.contains("hold") && wait.changed().await.is_err() {
                        return;
                    }
                    if line.contains("release") {
                        released.send_modify(|n| *n += 1);
                    }
                    if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end + 4]).into_owned();
            let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            let whole = end + 4 + length.map_or(0, |l| l.parse::<usize>().unwrap());
            if bytes.len() >= whole {
                let rest = bytes.split_off(whole);
                return Some(String::from_utf8_lossy(&std::mem::replace(bytes, rest)).into_owned());
            }
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}
