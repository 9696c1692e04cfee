//! A small mesh for tests of the running gate: an authority, a bundle, a service behind that does what the test says, and an
//! enforcer in between.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portreeve_enforcer::Enforcer;
use portreeve_enforcer::ca::{Ca, CaOptions};
use portreeve_enforcer::config::Config;
use portreeve_enforcer::report::Report;
use portreeve_enforcer::tls::{ExpectedPeer, Identity, IdentityFiles};
use portreeve_engine::chain::ChainReader;
use portreeve_engine::id::{SpiffeId, TrustDomain};
use portreeve_engine::record::{Decided, Ended};
use portreeve_engine::{Event, Record};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const SHOP: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
headers: {x-tenant: string}
operations:
  - {id: read-item, method: [GET, HEAD, OPTIONS], path: "/v1/items/{id}"}
  - {id: write-item, method: [POST, PUT], path: "/v1/items"}
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
name: invoices-items
allow: {from: [invoices], to: items, operations: [read-item, write-item]}
justification: An invoice line names the item sold.
owner: team-billing
"#;

pub(crate) type Tls = tokio_rustls::client::TlsStream<TcpStream>;

pub(crate) fn spiffe(service: &str) -> SpiffeId {
    format!("spiffe://market.example/ns/shop/sa/{service}").parse().unwrap()
}

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ca: Ca,
    bundles: AtomicUsize,
}

impl World {
    pub(crate) fn new(policies: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let domain: TrustDomain = "market.example".parse().unwrap();
        let ca = Ca::init(&dir.path().join("ca"), &domain, CaOptions::default()).unwrap();
        for service in ["items", "invoices", "users"] {
            let (cert, key) = (dir.path().join(format!("{service}.pem")), dir.path().join(format!("{service}.key")));
            ca.issue_files(&spiffe(service), Duration::from_secs(3600), &cert, &key).unwrap();
        }
        let world = Self { dir, ca, bundles: AtomicUsize::new(0) };
        world.replace_policies(policies);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts another bundle in the place of the one there is, by swapping a symlink.
    pub(crate) fn replace_policies(&self, policies: &str) {
        let name = format!("policies-{}", self.bundles.fetch_add(1, Ordering::Relaxed));
        std::fs::create_dir(self.path(&name)).unwrap();
        std::fs::write(self.path(&name).join("shop.yaml"), policies).unwrap();
        std::os::unix::fs::symlink(&name, self.path("policies.new")).unwrap();
        std::fs::rename(self.path("policies.new"), self.path("policies")).unwrap();
    }

    /// `inbound` is added to the listener's fields, `extra` to the file.
    pub(crate) fn config(&self, upstream: SocketAddr, inbound: &str, extra: &str) -> Config {
        let root = self.ca.root_path();
        let text = format!(
            "service: items\nbundle: {{path: policies}}\nidentity: {{cert: items.pem, key: items.key, trust: {{market.example: {}}}}}\ninbound: [{{listen: \"127.0.0.1:0\", upstream: \"{upstream}\"{inbound}}}]\nlog: {{path: decisions.ndjson, heartbeat: 1s}}\ndrain: 500ms\n{extra}",
            root.display(),
        );
        Config::parse("test.yaml", &text, self.dir.path()).unwrap()
    }

    pub(crate) async fn start(&self, upstream: SocketAddr) -> Enforcer {
        Enforcer::start(self.config(upstream, "", ""), Report::silent()).await.unwrap()
    }

    pub(crate) async fn connect(&self, to: SocketAddr, from: &str, alpn: &[u8]) -> Tls {
        self.proved(TcpStream::connect(to).await.unwrap(), from, alpn).await
    }

    /// The same, over a connection that there is.
    pub(crate) async fn proved(&self, stream: TcpStream, from: &str, alpn: &[u8]) -> Tls {
        stream.set_nodelay(true).unwrap();
        let trust = [("market.example".parse().unwrap(), self.ca.root_path())].into();
        let (cert, key) = (self.path(&format!("{from}.pem")), self.path(&format!("{from}.key")));
        let identity = Identity::load(&IdentityFiles { cert, key, trust, crl: Vec::new() }).unwrap();
        let expected = ExpectedPeer { ids: vec![spiffe("items")], patterns: Vec::new() };
        let mut config = (*identity.client_config(expected)).clone();
        config.alpn_protocols = vec![alpn.to_vec()];
        let name = rustls_pki_types::ServerName::try_from("portreeve.invalid").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// Sends raw bytes and reads until the gate closes.
    pub(crate) async fn raw(&self, to: SocketAddr, from: &str, bytes: &[u8]) -> String {
        let mut stream = self.connect(to, from, b"http/1.1").await;
        stream.write_all(bytes).await.unwrap();
        rest(&mut stream).await
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        records(&self.path("decisions.ndjson"))
    }
}

/// Everything until the other side closes.
pub(crate) async fn rest<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut out = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut out)).await.expect("the gate closes");
    String::from_utf8_lossy(&out).into_owned()
}

/// Reads until `end` has come, and returns what was read.
pub(crate) async fn until<S: tokio::io::AsyncRead + Unpin>(stream: &mut S, end: &str) -> String {
    let mut out = Vec::new();
    let read = async {
        let mut byte = [0];
        while !out.ends_with(end.as_bytes()) {
            if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                break;
            }
            out.push(byte[0]);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("it comes");
    String::from_utf8_lossy(&out).into_owned()
}

pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
}

/// A service: each of its connections, counted from 0, is given to `serve`.
pub(crate) async fn service<F, C>(serve: F) -> SocketAddr
where
    F: Fn(usize, TcpStream) -> C + Send + 'static,
    C: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut n = 0;
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(serve(n, stream));
            n += 1;
        }
    });
    address
}

/// A service that reads a head and answers with fixed bytes, as long as the connection lasts.
pub(crate) async fn fixed(answer: &'static str) -> SocketAddr {
    service(move |_, mut stream| async move {
        while !until(&mut stream, "\r\n\r\n").await.is_empty() {
            if stream.write_all(answer.as_bytes()).await.is_err() {
                break;
            }
        }
    })
    .await
}

pub(crate) fn records(path: &Path) -> Vec<Record> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut chain = ChainReader::new();
    let mut out: Vec<Record> = Vec::new();
    for line in text.lines() {
        let record = Record::from_line(line.as_bytes()).unwrap();
        chain.accept(record.seq, record.prev, line.as_bytes()).unwrap();
        out.push(record);
    }
    out
}

pub(crate) fn decided(records: &[Record]) -> Vec<&Decided> {
    records.iter().filter_map(|r| if let Event::Decided(d) = &r.event { Some(&**d) } else { None }).collect()
}

pub(crate) fn ended(records: &[Record]) -> Vec<&Ended> {
    records.iter().filter_map(|r| if let Event::Ended(e) = &r.event { Some(e) } else { None }).collect()
}

/// A service that answers `/v1/items/big` with a gibibyte and everything else at once, and the bytes of it that were taken.
pub(crate) async fn big() -> (SocketAddr, Arc<AtomicUsize>) {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let upstream = service(move |_, mut stream| {
        let count = Arc::clone(&count);
        async move {
            let head = until(&mut stream, "\r\n\r\n").await;
            if head.starts_with("GET /v1/items/big") {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n").await.unwrap();
                let piece = vec![b'x'; 64 * 1024];
                while stream.write_all(&piece).await.is_ok() {
                    count.fetch_add(piece.len(), Ordering::Relaxed);
                }
            } else {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        }
    })
    .await;
    (upstream, written)
}
