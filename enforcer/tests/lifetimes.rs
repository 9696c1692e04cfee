//! What lives no longer than it may: running streams, in and out, when a certificate, a root, a list or our own identity ends
//! (A65, A70, A72), and files that are replaced while they are read (A71).

#![cfg(test)]

#[expect(dead_code, reason = "it uses a part of what the tests share")]
mod common;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{DAY, MARKET, authority, id, now};
use portreeve_enforcer::Enforcer;
use portreeve_enforcer::ca::{Ca, IssueRequest, Issued};
use portreeve_enforcer::config::Config;
use portreeve_enforcer::report::Report;
use portreeve_enforcer::tls::{ExpectedPeer, Identity, IdentityFiles, MinVersion, Standing, connect};
use portreeve_engine::record::Why;
use portreeve_engine::{Event, Record};
use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const PARTNER: &str = "partner.example";
const SHOP: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
operations:
  - {id: read-item, method: GET, path: "/v1/items/{id}"}
  - {id: sql, port: 5432}
  - {id: tunnel, method: CONNECT, path: /}
  - {id: talk, method: GET, path: /talk, upgrade: [websocket]}
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
allow: {from: [users, partner], to: items, operations: [read-item, sql, tunnel, talk]}
justification: For the tests.
owner: team-shop
"#;

/// One market: two authorities, a service that never ends its answer, and the files of an enforcer before it.
struct World {
    dir: tempfile::TempDir,
    ca: Ca,
    partner: Ca,
    upstream: SocketAddr,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (ca, partner) = (authority(&dir.path().join("ca"), MARKET), authority(&dir.path().join("partner"), PARTNER));
        std::fs::create_dir(dir.path().join("policies")).unwrap();
        std::fs::write(dir.path().join("policies/shop.yaml"), SHOP).unwrap();
        let world = Self { dir, ca, partner, upstream: endless().await };
        std::fs::copy(world.ca.root_path(), world.path("market-roots.pem")).unwrap();
        std::fs::copy(world.partner.root_path(), world.path("partner-roots.pem")).unwrap();
        for service in ["items", "users"] {
            world.issue(service, &world.ca, &sa(service), DAY);
        }
        world.issue("partner", &world.partner, "spiffe://partner.example/reports", DAY);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Certificate and key under `name`, valid for so many milliseconds from now.
    fn issue(&self, name: &str, ca: &Ca, uri: &str, valid_ms: i64) -> Issued {
        let issued = ca.issue_unchecked(&IssueRequest::leaf(&[uri], now().plus_ms(-60_000), now().plus_ms(valid_ms))).unwrap();
        issued.write(&self.path(&format!("{name}.pem")), &self.path(&format!("{name}.key"))).unwrap();
        issued
    }

    /// Revocation lists of the market's authority that name these serials and are due after so many milliseconds.
    fn lists(&self, revoked: &[&str], due_ms: i64) {
        let list = |name: &str| {
            let dir = self.path("ca");
            let key = KeyPair::from_pem(&std::fs::read_to_string(dir.join(format!("{name}.key"))).unwrap()).unwrap();
            let issuer = Issuer::from_ca_cert_pem(&std::fs::read_to_string(dir.join(format!("{name}.pem"))).unwrap(), key).unwrap();
            let at = |ms: i64| time::OffsetDateTime::from_unix_timestamp(now().plus_ms(ms).unix_ms() / 1000).unwrap();
            let entry = |serial: &&str| RevokedCertParams {
                serial_number: SerialNumber::from_slice(&hex(serial)),
                revocation_time: at(-1000),
                reason_code: None,
                invalidity_date: None,
            };
            let params = CertificateRevocationListParams {
                this_update: at(-60_000),
                next_update: at(due_ms),
                crl_number: SerialNumber::from(1),
                issuing_distribution_point: None,
                revoked_certs: revoked.iter().map(entry).collect(),
                key_identifier_method: KeyIdMethod::Sha256,
            };
            params.signed_by(&issuer).unwrap().pem().unwrap()
        };
        replace(&self.path("lists.pem"), &(list("ca") + &list("intermediate")));
    }

    async fn start(&self, name: &str, identity: &str, sides: &str) -> Enforcer {
        let text = format!(
            "service: {name}\nbundle: {{path: policies}}\nidentity: {{{identity}}}\n{sides}\nlog: {{path: {name}.ndjson}}\nadmin: {{listen: \"127.0.0.1:0\"}}\ndrain: 200ms\n"
        );
        Enforcer::start(Config::parse("test.yaml", &text, self.dir.path()).unwrap(), Report::silent()).await.unwrap()
    }

    /// The gate before `items`: a listener for HTTP and one that passes bytes on. `more` is what else its identity names.
    async fn items(&self, more: &str) -> Enforcer {
        self.items_at("", more).await
    }

    /// The same with these times.
    async fn items_at(&self, times: &str, more: &str) -> Enforcer {
        let roots = "trust: {market.example: market-roots.pem, partner.example: partner-roots.pem}";
        let listener = format!("listen: \"127.0.0.1:0\", upstream: \"{}\"", self.upstream);
        let inbound = format!("inbound: [{{{listener}, timeouts: {{{times}}}}}, {{{listener}, protocol: tcp, port: 5432}}]");
        self.start("items", &format!("cert: items.pem, key: items.key, {roots}{more}"), &inbound).await
    }

    fn identity(&self, name: &str) -> Identity {
        let trust = [(MARKET, &self.ca), (PARTNER, &self.partner)].map(|(name, ca)| (common::domain(name), ca.root_path()));
        let (cert, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        Identity::load(&IdentityFiles { cert, key, trust: trust.into(), crl: Vec::new() }).unwrap()
    }

    /// A request whose answer has begun and does not end.
    async fn stream(&self, to: SocketAddr, name: &str) -> tokio_rustls::client::TlsStream<TcpStream> {
        self.begin(to, name, "GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n\r\n").await
    }

    /// The same, for any first words.
    async fn begin(&self, to: SocketAddr, name: &str, words: &str) -> tokio_rustls::client::TlsStream<TcpStream> {
        let tcp = TcpStream::connect(to).await.unwrap();
        let identity = self.identity(name);
        let mut config = (*identity.client_config(ExpectedPeer::id(id(&sa("items"))))).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let server = rustls_pki_types::ServerName::try_from("items.invalid").unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(server, tcp).await.unwrap();
        stream.write_all(words.as_bytes()).await.unwrap();
        begun(&mut stream).await;
        stream
    }

    /// Whether a new handshake as `name` gets through.
    async fn greeted(&self, to: SocketAddr, name: &str) -> bool {
        let tcp = TcpStream::connect(to).await.unwrap();
        let expected = ExpectedPeer::id(id(&sa("items")));
        let Ok((mut stream, _)) = connect(&self.identity(name), expected, tcp, common::LIMIT).await else { return false };
        // In TLS 1.3 a refused client learns of it at its first read; one that is let in reads the server's settings.
        tokio::time::timeout(common::LIMIT, stream.read_u8()).await.expect("an answer").is_ok()
    }

    fn records(&self, name: &str) -> Vec<Record> {
        let text = std::fs::read_to_string(self.path(&format!("{name}.ndjson"))).unwrap();
        text.lines().map(|line| Record::from_line(line.as_bytes()).unwrap()).collect()
    }

    /// Why each allowed request ended.
    fn ends(&self, name: &str) -> Vec<Why> {
        self.records(name).iter().filter_map(|r| if let Event::Ended(e) = &r.event { Some(e.why) } else { None }).collect()
    }
}

fn sa(service: &str) -> String {
    format!("spiffe://market.example/ns/shop/sa/{service}")
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2).unwrap(), 16).unwrap()).collect()
}

/// Replaces a file as tools do: a new one takes its name.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}

async fn begun<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"hello") {
        seen.push(tokio::time::timeout(common::LIMIT, stream.read_u8()).await.expect("an answer").unwrap());
    }
    assert!(seen.starts_with(b"HTTP/1.1 200") || seen.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&seen));
}

/// Waits until the stream is over.
async fn cut<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) {
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.expect("the stream is cut");
}

/// Whether the stream is still there after `ms`.
async fn lasts<S: tokio::io::AsyncRead + Unpin>(stream: &mut S, ms: u64) -> bool {
    tokio::time::timeout(Duration::from_millis(ms), stream.read_u8()).await.is_err()
}

/// Waits for something to become true.
async fn until(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..400 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

async fn page(to: SocketAddr, target: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// A service that begins every answer and ends none; it switches where it is asked to.
async fn endless() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                let switches = head.to_ascii_lowercase().windows(18).any(|w| w == b"upgrade: websocket");
                let first: &[u8] = if switches {
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello"
                } else {
                    b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhello"
                };
                stream.write_all(first).await?;
                // Until the other side goes.
                stream.read_u8().await
            });
        }
    });
    address
}

#[tokio::test]
async fn a65_a41_a_list_that_names_a_peer_cuts_it_and_nobody_else() {
    let world = World::new().await;
    let serial = world.issue("users", &world.ca, &sa("users"), DAY).serial;
    world.lists(&[], DAY);
    world.partner.write_crl().unwrap();
    let enforcer = world.items(&format!(", crl: [lists.pem, {}]", world.partner.crl_path().display())).await;
    let to = enforcer.inbound()[0];
    let (mut users, mut partner) = (world.stream(to, "users").await, world.stream(to, "partner").await);
    world.lists(&[&serial], DAY);
    cut(&mut users).await;
    assert!(lasts(&mut partner, 100).await);
    assert!(!world.greeted(to, "users").await);
    enforcer.shutdown().await;
    assert_eq!(world.ends("items"), [Why::Revoked, Why::Shutdown]);
}

#[tokio::test]
async fn a65_a_list_that_names_a_peer_cuts_its_tcp_connection_and_its_tunnels() {
    const TALK: &str = "GET /talk HTTP/1.1\r\nHost: items\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    const TUNNEL: &str = "CONNECT items:80 HTTP/1.1\r\nHost: items:80\r\n\r\n";
    let world = World::new().await;
    let serial = world.issue("users", &world.ca, &sa("users"), DAY).serial;
    world.lists(&[], DAY);
    world.partner.write_crl().unwrap();
    let enforcer = world.items(&format!(", crl: [lists.pem, {}]", world.partner.crl_path().display())).await;
    let (http, tcp) = (enforcer.inbound()[0], enforcer.inbound()[1]);
    let ways = [(http, TALK), (http, TUNNEL), (tcp, "anything\r\n\r\n")];
    let (mut users, mut partners) = (Vec::new(), Vec::new());
    for (to, words) in ways {
        users.push(world.begin(to, "users", words).await);
        partners.push(world.begin(to, "partner", words).await);
    }
    world.lists(&[&serial], DAY);
    for stream in &mut users {
        cut(stream).await;
    }
    for stream in &mut partners {
        assert!(lasts(stream, 100).await);
    }
    enforcer.shutdown().await;
    let mut ends = world.ends("items");
    ends.sort_unstable();
    assert_eq!(ends, [Why::Revoked, Why::Revoked, Why::Revoked, Why::Shutdown, Why::Shutdown, Why::Shutdown]);
}

#[tokio::test]
async fn a70_a_list_that_is_overdue_cuts_those_it_covered() {
    let world = World::new().await;
    // The partner's list is in force; the market's is due soon, and then nobody's status is known there.
    world.lists(&[], 4000);
    world.partner.write_crl().unwrap();
    let enforcer = world.items(&format!(", crl: [lists.pem, {}]", world.partner.crl_path().display())).await;
    let to = enforcer.inbound()[0];
    let (mut users, mut partner) = (world.stream(to, "users").await, world.stream(to, "partner").await);
    cut(&mut users).await;
    assert!(lasts(&mut partner, 100).await);
    enforcer.shutdown().await;
    assert_eq!(world.ends("items"), [Why::Revoked, Why::Shutdown]);
}

#[tokio::test]
async fn a72_a_root_that_is_withdrawn_cuts_and_a_new_one_lets_in_without_a_restart() {
    let world = World::new().await;
    let enforcer = world.items("").await;
    let to = enforcer.inbound()[0];
    let (mut users, mut partner) = (world.stream(to, "users").await, world.stream(to, "partner").await);
    // Another root takes the place of the partner's.
    let other = authority(&world.path("other"), PARTNER);
    replace(&world.path("partner-roots.pem"), &std::fs::read_to_string(other.root_path()).unwrap());
    cut(&mut partner).await;
    assert!(lasts(&mut users, 100).await);
    assert!(!world.greeted(to, "partner").await);
    // Both together, as during a change of root: who was refused is let in again.
    let both = std::fs::read_to_string(other.root_path()).unwrap() + &std::fs::read_to_string(world.partner.root_path()).unwrap();
    let before = enforcer.gate().identity.load().generation();
    replace(&world.path("partner-roots.pem"), &both);
    until("the roots are taken up", || enforcer.gate().identity.load().generation() != before).await;
    assert!(world.greeted(to, "partner").await);
    enforcer.shutdown().await;
    assert_eq!(world.ends("items"), [Why::Revoked, Why::Shutdown]);
}

#[tokio::test]
async fn a65_an_issuer_that_ends_cuts_what_it_vouched_for() {
    let mut world = World::new().await;
    world.ca.renew_intermediate(Duration::from_secs(4)).unwrap();
    world.issue("users", &world.ca, &sa("users"), DAY);
    let enforcer = world.items("").await;
    let mut users = world.stream(enforcer.inbound()[0], "users").await;
    cut(&mut users).await;
    enforcer.shutdown().await;
    assert_eq!(world.ends("items"), [Why::Expired]);
}

#[tokio::test]
async fn inv9_when_our_own_certificate_is_over_nothing_runs_and_nobody_is_let_in() {
    let world = World::new().await;
    world.issue("items", &world.ca, &sa("items"), 4000);
    let enforcer = world.items("").await;
    let (to, admin) = (enforcer.inbound()[0], enforcer.admin().unwrap());
    let ready = page(admin, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("the own certificate is about to expire"), "{ready}");
    let mut users = world.stream(to, "users").await;
    cut(&mut users).await;
    let ready = page(admin, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("the own certificate has expired"), "{ready}");
    assert!(!world.greeted(to, "users").await);
    // A new certificate brings it back.
    world.issue("items", &world.ca, &sa("items"), DAY);
    until("the new certificate is taken up", || enforcer.gate().identity.load().standing(now()) == Standing::Good).await;
    assert!(page(admin, "/readyz").await.starts_with("HTTP/1.1 200"));
    drop(world.stream(to, "users").await);
    enforcer.shutdown().await;
    assert_eq!(world.ends("items"), [Why::Expired, Why::Client]);
    let refused = world.records("items").iter().any(|r| matches!(&r.event, Event::Refused(r) if r.reason == "own-identity"));
    assert!(refused);
}

/// Callers that know our old certificate come back for the new one while the old one still counts: within a tenth of what is left.
#[tokio::test]
async fn a_new_certificate_of_ours_winds_old_connections_down_and_cuts_nothing() {
    winds_down(30_000, "").await;
}

/// Or within the time that the configuration says, if that is less.
#[tokio::test]
async fn a_new_certificate_of_ours_winds_old_connections_down_within_the_configured_time() {
    winds_down(DAY, "rotation: 3s").await;
}

async fn winds_down(valid_ms: i64, times: &str) {
    let world = World::new().await;
    world.issue("items", &world.ca, &sa("items"), valid_ms);
    let enforcer = world.items_at(times, "").await;
    let to = enforcer.inbound()[0];
    let mut running = world.stream(to, "users").await;
    // When one of them goes is a matter of lot, so there are so many that not all of them go in a third of the default time by chance.
    let mut connections = Vec::new();
    for _ in 0..12 {
        let tcp = TcpStream::connect(to).await.unwrap();
        let (idle, _) = connect(&world.identity("partner"), ExpectedPeer::id(id(&sa("items"))), tcp, common::LIMIT).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(idle);
        let (sender, connection) =
            hyper::client::conn::http2::handshake::<_, _, http_body_util::Empty<bytes::Bytes>>(hyper_util::rt::TokioExecutor::new(), io)
                .await
                .unwrap();
        connections.push((sender, tokio::spawn(connection)));
    }
    // One over HTTP/1.1 that has asked nothing yet: it is told with its next answer.
    let tcp = TcpStream::connect(to).await.unwrap();
    let mut config = (*world.identity("partner").client_config(ExpectedPeer::id(id(&sa("items"))))).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let server = rustls_pki_types::ServerName::try_from("items.invalid").unwrap();
    let mut quiet = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(server, tcp).await.unwrap();
    let before = enforcer.gate().identity.load().svid().sha256;
    world.issue("items", &world.ca, &sa("items"), DAY);
    until("the new certificate is taken up", || enforcer.gate().identity.load().svid().sha256 != before).await;
    let all = async {
        for (sender, connection) in connections {
            let told = connection.await.unwrap();
            assert!(told.is_ok() && sender.is_closed(), "in order: {told:?}");
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("all are told to go away");
    let last = async {
        loop {
            quiet.write_all(b"GET /undeclared HTTP/1.1\r\nHost: items\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"}\n") {
                answer.push(quiet.read_u8().await.expect("no connection ends without a word"));
            }
            assert!(answer.starts_with(b"HTTP/1.1 403 "));
            if String::from_utf8_lossy(&answer).contains("\r\nconnection: close\r\n") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        quiet.read_to_end(&mut Vec::new()).await
    };
    let _ = tokio::time::timeout(common::LIMIT, last).await.expect("its last answer comes");
    // What runs goes on to its end, and then its connection ends.
    assert!(lasts(&mut running, 100).await);
    drop(running);
    // Who comes now is shown the new one, and stays.
    let mut later = world.stream(to, "users").await;
    assert!(lasts(&mut later, 500).await);
    enforcer.shutdown().await;
    assert_eq!(world.ends("items"), [Why::Client, Why::Shutdown]);
}

#[tokio::test]
async fn a_list_that_names_ourselves_takes_our_identity_away() {
    let world = World::new().await;
    let serial = world.issue("items", &world.ca, &sa("items"), DAY).serial;
    world.lists(&[], DAY);
    let enforcer = world.items(", crl: [lists.pem]").await;
    let (to, admin) = (enforcer.inbound()[0], enforcer.admin().unwrap());
    let mut users = world.stream(to, "users").await;
    world.lists(&[&serial], DAY);
    cut(&mut users).await;
    let ready = page(admin, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("the own identity was taken away"), "{ready}");
    assert!(!world.greeted(to, "users").await);
    enforcer.shutdown().await;
    assert_eq!(world.ends("items"), [Why::Revoked]);
}

/// Our own way out: the callee's certificate is named by a list, then our own ends.
#[tokio::test]
async fn a65_connections_of_our_own_are_cut_too() {
    let world = World::new().await;
    let callee = world.items("").await;
    let serial = callee.gate().identity.load().svid().serial.clone();
    world.issue("users", &world.ca, &sa("users"), DAY);
    world.lists(&[], DAY);
    let out = format!("outbound: [{{listen: \"127.0.0.1:0\", service: items, connect: \"{}\"}}]", callee.inbound()[0]);
    let identity = "cert: users.pem, key: users.key, trust: {market.example: market-roots.pem}, crl: [lists.pem]";
    let caller = world.start("users", identity, &out).await;
    let ask = || async {
        let mut stream = TcpStream::connect(caller.outbound()[0]).await.unwrap();
        stream.write_all(b"GET /v1/items/1 HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\n").await.unwrap();
        stream
    };
    let mut running = ask().await;
    begun(&mut running).await;
    // A new certificate of our own makes new connections; what runs on old ones goes on.
    let renewed = world.issue("users", &world.ca, &sa("users"), DAY).serial;
    until("the new certificate is in use", || caller.gate().identity.load().svid().serial == renewed).await;
    begun(&mut ask().await).await;
    assert!(lasts(&mut running, 100).await);
    world.lists(&[&serial], DAY);
    cut(&mut running).await;
    let mut refused = String::new();
    ask().await.read_to_string(&mut refused).await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 502"), "{refused}");
    caller.shutdown().await;
    callee.shutdown().await;
    assert_eq!(world.ends("items"), [Why::Client, Why::Client]);
}

/// A71: what is half there is not taken up, the last good pair stays, and the alarm says so until it is whole.
#[tokio::test]
async fn a71_half_written_files_and_a_kubernetes_swap() {
    let world = World::new().await;
    // As Kubernetes mounts a secret: the files are links into `..data`, which is a link to the version.
    let mount = world.path("secret");
    let version = |name: &str, cert: &str, key: &str| {
        let dir = mount.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("tls.crt"), cert).unwrap();
        std::fs::write(dir.join("tls.key"), key).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(dir.join("tls.key"), std::fs::Permissions::from_mode(0o400)).unwrap();
        std::os::unix::fs::symlink(name, mount.join("..data_tmp")).unwrap();
        std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    let fresh = || world.issue("items", &world.ca, &sa("items"), DAY);
    let first = fresh();
    version("..v1", &first.chain_pem, &first.key_pem);
    for name in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), mount.join(name)).unwrap();
    }
    let inbound = format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{}\"}}]", world.upstream);
    let identity = "cert: secret/tls.crt, key: secret/tls.key, trust: {market.example: market-roots.pem}";
    let enforcer = world.start("items", identity, &inbound).await;
    let gate = enforcer.gate();
    let serial = || gate.identity.load().svid().serial.clone();
    let alarm = || gate.metrics.identity_alarm.get() == 1;
    assert_eq!(serial(), first.serial);
    let mut users = world.stream(enforcer.inbound()[0], "users").await;

    let (second, third) = (fresh(), fresh());
    version("..v2", &second.chain_pem, &third.key_pem);
    until("the mismatch is an alarm", alarm).await;
    assert_eq!(serial(), first.serial);
    version("..v3", second.chain_pem.get(..second.chain_pem.len() / 2).unwrap(), &second.key_pem);
    // Half a chain whose leaf is whole is no better: it leads to no root.
    until("half a file was looked at", || gate.metrics.render().contains("result=\"failed\",what=\"identity\"") || alarm()).await;
    assert_eq!((serial(), alarm()), (first.serial.clone(), true));
    version("..v4", &third.chain_pem, &third.key_pem);
    until("the whole pair is taken up", || serial() == third.serial).await;
    until("the alarm is over", || !alarm()).await;
    // Who was connected stays so.
    assert!(lasts(&mut users, 100).await);
    // A key that vanishes is an alarm, and nothing else.
    std::fs::remove_file(mount.join("..v4/tls.key")).unwrap();
    until("the missing key is an alarm", alarm).await;
    assert!(lasts(&mut users, 100).await);
    drop(users);
    drop(world.stream(enforcer.inbound()[0], "users").await);
    enforcer.shutdown().await;
}

/// New roots count for others even where they do not vouch for us yet; the pair follows.
#[tokio::test]
async fn a72_roots_and_pair_are_each_taken_up_as_they_come() {
    let world = World::new().await;
    let enforcer = world.items("").await;
    let to = enforcer.inbound()[0];
    let mut users = world.stream(to, "users").await;
    let other = authority(&world.path("other"), MARKET);
    replace(&world.path("market-roots.pem"), &std::fs::read_to_string(other.root_path()).unwrap());
    // The old root is withdrawn although our own certificate hangs on it.
    cut(&mut users).await;
    assert_eq!(enforcer.gate().metrics.identity_alarm.get(), 1);
    let issued = world.issue("items", &other, &sa("items"), DAY);
    until("the pair is taken up", || enforcer.gate().identity.load().svid().serial == issued.serial).await;
    assert_eq!(enforcer.gate().metrics.identity_alarm.get(), 0);
    enforcer.shutdown().await;
    assert_eq!(world.ends("items"), [Why::Revoked]);
}

#[test]
fn the_standing_of_an_identity_over_its_life() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let begin = now().plus_ms(-60_000);
    let at = |life: i64, gone: i64| {
        let issued = ca.issue_unchecked(&IssueRequest::leaf(&[&sa("items")], begin, begin.plus_ms(life))).unwrap();
        let identity = Identity::load(&common::files(dir.path(), "items", &issued, &[(MARKET, &ca)])).unwrap();
        (identity.standing(identity.svid().not_before.plus_ms(gone)), identity)
    };
    let day = 86_400_000;
    for (life, gone, standing) in [
        (day, day / 2, Standing::Good),
        (day, day * 2 / 3 + 1000, Standing::Near),
        (day, day - 30_000, Standing::Ending),
        (day, day - 31_000, Standing::Near),
        (day, day, Standing::Over),
        // Of a short life the margin is a tenth.
        (100_000, 89_000, Standing::Near),
        (100_000, 90_000, Standing::Ending),
    ] {
        assert_eq!(at(life, gone).0, standing, "{gone} of {life}");
    }
    let (_, identity) = at(day, 0);
    assert_eq!(identity.withdrawn().standing(identity.svid().not_before), Standing::Withdrawn);
    assert_ne!(identity.withdrawn().generation(), identity.generation());
    assert_eq!(identity.half_life().unix_ms() - identity.svid().not_before.unix_ms(), day / 2);
}

/// A root whose own time is over vouches for nobody, which the path library does not look at.
#[test]
fn a_root_past_its_end_vouches_for_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let issued = ca.issue_unchecked(&common::request(&sa("items"))).unwrap();
    let files = common::files(dir.path(), "items", &issued, &[(MARKET, &ca)]);
    let identity = Identity::load(&files).unwrap();
    let mut expired = rcgen::CertificateParams::default();
    expired.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    expired.not_before = time::OffsetDateTime::from_unix_timestamp(0).unwrap();
    expired.not_after = time::OffsetDateTime::from_unix_timestamp(now().unix_ms() / 1000 - 60).unwrap();
    let key = KeyPair::generate().unwrap();
    let root = expired.self_signed(&key).unwrap();
    let issuer = Issuer::new(expired, key);
    let leaf_key = KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::default();
    leaf.subject_alt_names = vec![rcgen::SanType::URI("spiffe://market.example/x".try_into().unwrap())];
    leaf.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth, rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
    std::fs::write(dir.path().join("roots.pem"), root.pem()).unwrap();
    std::fs::write(dir.path().join("x.pem"), leaf.pem()).unwrap();
    replace(&dir.path().join("items.key"), &leaf_key.serialize_pem());
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(dir.path().join("items.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let trust = [(common::domain(MARKET), dir.path().join("roots.pem"))].into();
    let loaded = Identity::load(&IdentityFiles { cert: dir.path().join("x.pem"), trust, ..files });
    assert!(loaded.unwrap_err().to_string().contains("does not lead to a root"), "the root is over");
    assert_eq!(identity.standing(now()), Standing::Good);
    assert_eq!(MinVersion::default().as_str(), "1.3");
}
