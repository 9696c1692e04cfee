//! The transparent mode with the kernel's own redirection, in a network namespace: the commands are those of the book.
//!
//! The test starts itself again within namespaces of its own, which end with it. It needs root and the tools; where it lacks
//! them it says so and passes. There the enforcers are processes of the user 1337; the test is the service that they serve.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use portreeve_engine::record::Side;
use portreeve_engine::{Event, Reason, Record};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::egress::tls_server;
use crate::town::{Town, app_at, code, decided, ok, replays};

/// The shell commands of the book that stand under this heading line.
pub(crate) fn of_the_book(heading: &str) -> String {
    let book = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/outbound.md")).unwrap();
    let block = book.split("```sh\n").find(|block| block.starts_with(heading)).unwrap_or_else(|| panic!("no block `{heading}`"));
    block.split("```").next().unwrap().to_owned()
}

fn lacking() -> Option<String> {
    let output = Command::new("id").arg("-u").output().ok()?;
    if output.stdout.trim_ascii() != b"0" {
        return Some("not root".to_owned());
    }
    let probe = "set -e; for tool in ip iptables ip6tables nft setpriv chown; do command -v $tool >/dev/null || { echo $tool; exit 1; }; done; \
                 ip link set lo up; iptables -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 1; ip6tables -t nat -L OUTPUT >/dev/null";
    let found = Command::new("unshare").args(["--net", "--mount", "sh", "-c", probe]).output();
    match found {
        Err(why) => Some(format!("unshare: {why}")),
        Ok(found) if found.status.success() => None,
        Ok(found) => Some(format!("{}{}", String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&found.stderr))),
    }
}

/// Starts the test of this name again within namespaces in which these commands were run.
pub(crate) fn within(rules: &str, test: &str) {
    if let Some(lacks) = lacking() {
        println!("skipped: a network namespace with redirection cannot be had here: {}", lacks.trim());
        return;
    }
    let script = format!(
        "set -e\nip link set lo up\nip addr add 10.96.0.12/32 dev lo\nip addr add 10.99.0.5/32 dev lo\nip -6 addr add fd00:99::5/128 dev lo\n\
         dir=$(mktemp -d)\ntrap 'rm -rf \"$dir\"' EXIT\nprintf '127.0.0.1 localhost\\n10.99.0.5 api.cards.test\\n' > \"$dir/hosts\"\n\
         mount --bind \"$dir/hosts\" /etc/hosts\n{rules}\n\"$PORTREEVE_TEST\" {test} --exact --ignored --nocapture\n"
    );
    let output = Command::new("unshare")
        .args(["--net", "--mount", "bash", "-c", &script])
        .env("PORTREEVE_TEST", std::env::current_exe().unwrap())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn connections_are_redirected_by_iptables_as_the_book_says() {
    within(&of_the_book("# iptables"), "transparent::inside");
}

#[test]
fn connections_are_redirected_by_nftables_as_the_book_says() {
    within(&of_the_book("# nftables"), "transparent::inside");
}

pub(crate) struct Sidecar(Child);

impl Sidecar {
    /// An enforcer as the user whose connections are not redirected. What it says goes to `SERVICE.said`.
    pub(crate) async fn start(town: &Town, service: &str, extra: &str, health: u16) -> Self {
        let config = town.path(&format!("{service}.yaml"));
        let extra = format!("{extra}health: {{listen: \"127.0.0.1:{health}\"}}\n");
        std::fs::write(&config, town.text(service, service, &extra)).unwrap();
        assert!(Command::new("chown").args(["-R", "1337:1337"]).arg(town.dir.path()).status().unwrap().success());
        let child = Command::new("setpriv")
            .args(["--reuid", "1337", "--regid", "1337", "--clear-groups", env!("CARGO_BIN_EXE_portreeve-enforcer"), "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(town.path(&format!("{service}.said"))).unwrap())
            .spawn()
            .unwrap();
        let mut sidecar = Self(child);
        loop {
            let said = || std::fs::read_to_string(town.path(&format!("{service}.said")));
            assert!(sidecar.0.try_wait().unwrap().is_none(), "the enforcer of {service} ended: {:?}", said());
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", health)).await {
                stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
                let mut text = String::new();
                if stream.read_to_string(&mut text).await.is_ok() && code(&text) == 200 {
                    return sidecar;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Sidecar {
    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.0.id())).unwrap().count()
    }

    /// Has it look for new policies.
    pub(crate) fn reload(&self) {
        assert!(Command::new("kill").args(["-HUP", &self.0.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn http(to: &str, host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap_or_else(|why| panic!("{to}: {why}"));
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    text
}

/// The records of a log that is still being written, once there are so many decisions.
pub(crate) async fn records(town: &Town, log: &str, count: usize) -> Vec<Record> {
    for _ in 0..500 {
        let text = std::fs::read_to_string(town.path(&format!("{log}.ndjson"))).unwrap();
        let records: Vec<Record> = text.lines().filter_map(|line| Record::from_line(line.as_bytes()).ok()).collect();
        if records.iter().filter(|r| matches!(r.event, Event::Decided(_))).count() >= count {
            return records;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("there are not {count} decisions in `{log}`: {}", std::fs::read_to_string(town.path(&format!("{log}.ndjson"))).unwrap());
}

#[tokio::test]
#[ignore = "runs within a network namespace, where the two tests above start it"]
async fn inside() {
    let town = Town::new(443);
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(town.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (service, _) = app_at("127.0.0.1:0", |_, head| ok(head)).await;
    let (_, plain_seen) = app_at("10.99.0.5:80", |_, head| ok(head)).await;
    let (_, client) = tls_server("10.99.0.5:443", "api.cards.test").await;
    let inbound = format!("inbound: [{{listen: \"10.96.0.12:8443\", upstream: \"{service}\"}}]\n");
    let _callee = Sidecar::start(&town, "users", &inbound, 15022).await;
    let proxy = "proxy:\n  transparent: [\"127.0.0.1:15002\", \"[::1]:15002\"]\n  services: {users: {connect: \"10.96.0.12:8443\", addresses: [\"10.96.0.12:80\"]}}\n  egress: {private: [10.99.0.0/16]}\n";
    let _caller = Sidecar::start(&town, "payments", proxy, 15021).await;

    // A service of the mesh by its address, whatever the host says; what its enforcer saw was our identity.
    let answer = http("10.96.0.12:80", "anything", "/v1/users/7").await;
    assert_eq!(code(&answer), 200, "{answer}");
    assert!(answer.contains("sa/payments"), "{answer}");
    // TLS by its server name.
    let tls = tokio_rustls::TlsConnector::from(Arc::clone(&client));
    let stream = TcpStream::connect("10.99.0.5:443").await.unwrap();
    let mut stream = tls.connect("api.cards.test".try_into().unwrap(), stream).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut buffer = [0; 5];
    stream.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"hello");
    drop(stream);
    let stream = TcpStream::connect("10.99.0.5:443").await.unwrap();
    assert!(tls.connect("evil.example".try_into().unwrap(), stream).await.is_err());
    // HTTP by its host, over IPv4 and IPv6.
    for to in ["10.99.0.5:80", "[fd00:99::5]:80"] {
        let answer = http(to, "api.cards.test", "/v1/rates/1").await;
        assert_eq!(code(&answer), 200, "{to}: {answer}");
    }
    assert_eq!(code(&http("10.99.0.5:80", "evil.example", "/v1/rates/1").await), 403);
    // What says nothing of where it goes.
    let mut stream = TcpStream::connect("10.99.0.5:443").await.unwrap();
    stream.write_all(b"\x16\x03\x01\x00\x04nope").await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    // Nobody reaches anything by connecting to the listener itself.
    assert_eq!(http("127.0.0.1:15002", "api.cards.test", "/v1/rates/1").await, "");

    let records = records(&town, "payments", 7).await;
    replays(&town.authorizer(), &records);
    let decided = decided(&records);
    use Reason::{MalformedRequest as Malformed, Permitted, UnknownService};
    let reasons: Vec<_> = decided.iter().map(|(_, d)| d.decision.reason).collect();
    assert_eq!(reasons, [Permitted, UnknownService, Permitted, Permitted, UnknownService, Malformed, Malformed]);
    assert!(decided.iter().all(|(_, d)| d.side == Some(Side::Outbound)));
    assert_eq!(plain_seen.load(std::sync::atomic::Ordering::SeqCst), 2);
    assert_eq!(crate::town::decided(&records_of(&town, "users").await).len(), 1);
}

async fn records_of(town: &Town, log: &str) -> Vec<Record> {
    records(town, log, 1).await
}
