//! A folder with an authority, two services and their policies; an upstream; and means to ask like an operator.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portreeve_enforcer::ca::{Ca, CaOptions};
use portreeve_enforcer::config::Config;
use portreeve_enforcer::tls::{ExpectedPeer, Identity, IdentityFiles};
use portreeve_engine::chain::ChainReader;
use portreeve_engine::id::SpiffeId;
use portreeve_engine::{Event, Record};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};

pub(crate) const SHOP: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
operations:
  - {id: read-item, method: GET, path: "/v1/items/{id}"}
---
kind: Service
name: invoices
identities: [spiffe://market.example/ns/shop/sa/invoices]
operations: [{id: read, method: GET, path: "/v1/invoices"}]
---
kind: Permission
name: invoices-items
allow: {from: [invoices], to: items, operations: [read-item]}
justification: An invoice line names the item sold.
owner: team-billing
"#;

pub(crate) fn id(service: &str) -> SpiffeId {
    format!("spiffe://market.example/ns/shop/sa/{service}").parse().unwrap()
}

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ca: Ca,
    pub(crate) upstream: SocketAddr,
    pub(crate) served: Arc<AtomicU64>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::init(&dir.path().join("ca"), &"market.example".parse().unwrap(), CaOptions::default()).unwrap();
        let served = Arc::new(AtomicU64::new(0));
        let upstream = upstream(Arc::clone(&served)).await;
        let world = Self { dir, ca, upstream, served };
        world.issue("items");
        world.issue("invoices");
        world.put_policies("policies", SHOP);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn issue(&self, service: &str) {
        let (cert, key) = (self.path(&format!("{service}.pem")), self.path(&format!("{service}.key")));
        self.ca.issue_files(&id(service), Duration::from_secs(30 * 24 * 3600), &cert, &key).unwrap();
    }

    /// Puts a directory of policies in its place in one step.
    pub(crate) fn put_policies(&self, name: &str, text: &str) {
        let new = self.path(&format!("{name}.new"));
        std::fs::create_dir(&new).unwrap();
        std::fs::write(new.join("shop.yaml"), text).unwrap();
        let _ = std::fs::remove_dir_all(self.path(name));
        std::fs::rename(new, self.path(name)).unwrap();
    }

    pub(crate) fn text(&self, extra: &str) -> String {
        let bundle = if extra.contains("bundle:") { "" } else { "bundle: {path: policies}\n" };
        let log =
            if extra.contains("\nlog:") || extra.starts_with("log:") { "" } else { "log: {path: decisions.ndjson, heartbeat: 100ms}\n" };
        let inbound = format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{}\"}}]\n", self.upstream);
        let inbound = if extra.contains("inbound:") { "" } else { inbound.as_str() };
        format!(
            "service: items\n{bundle}identity: {{cert: items.pem, key: items.key, trust: {{market.example: {}}}}}\n\
             {inbound}{log}drain: {}s\n{extra}",
            self.ca.root_path().display(),
            DRAIN.as_secs()
        )
    }

    pub(crate) fn config(&self, extra: &str) -> Config {
        Config::parse("test.yaml", &self.text(extra), self.dir.path()).unwrap()
    }

    pub(crate) fn identity(&self, service: &str) -> Identity {
        let trust = [("market.example".parse().unwrap(), self.ca.root_path())].into();
        let (cert, key) = (self.path(&format!("{service}.pem")), self.path(&format!("{service}.key")));
        Identity::load(&IdentityFiles { cert, key, trust, crl: Vec::new() }).unwrap()
    }

    pub(crate) async fn connect(&self, to: SocketAddr) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let stream = TcpStream::connect(to).await?;
        let config = self.identity("invoices").client_config(ExpectedPeer { ids: vec![id("items")], patterns: Vec::new() });
        let mut config = (*config).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = rustls_pki_types::ServerName::try_from("portreeve.invalid").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// One request over a connection of its own, or what went wrong.
    pub(crate) async fn get(&self, to: SocketAddr, headers: &str) -> std::io::Result<String> {
        self.ask(to, &format!("GET /v1/items/1 HTTP/1.1\r\nHost: items\r\nConnection: close\r\n{headers}\r\n")).await
    }

    pub(crate) async fn ask(&self, to: SocketAddr, head: &str) -> std::io::Result<String> {
        let mut stream = self.connect(to).await?;
        stream.write_all(head.as_bytes()).await?;
        let mut out = Vec::new();
        stream.read_to_end(&mut out).await?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    pub(crate) fn records(&self, name: &str) -> Vec<Record> {
        records(&self.path(name))
    }

    /// The binary with this configuration.
    pub(crate) fn spawn(&self, name: &str, extra: &str) -> Running {
        let config = self.path(name);
        std::fs::write(&config, self.text(extra)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve-enforcer"));
        Running::spawn(command.arg("--config").arg(&config))
    }

    pub(crate) fn check(&self, name: &str) -> std::process::Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve-enforcer"));
        command.arg("--check").arg("--config").arg(self.path(name)).output().unwrap()
    }
}

/// A running binary. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    said: std::sync::mpsc::Receiver<String>,
    pub(crate) heard: Vec<String>,
}

impl Running {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self::with_output(command, Stdio::null())
    }

    pub(crate) fn with_output(command: &mut Command, out: Stdio) -> Self {
        let mut child = command.stdout(out).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (tell, said) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, said, heard: Vec::new() }
    }

    /// The next line that holds these words; lines before it are kept.
    pub(crate) fn hear(&mut self, words: &str) -> String {
        loop {
            match self.said.recv_timeout(LIMIT) {
                Ok(line) => {
                    self.heard.push(line.clone());
                    if line.contains(words) {
                        return line;
                    }
                }
                Err(_) => panic!("`{words}` was not said, only {:#?}", self.heard),
            }
        }
    }

    /// The address in `name [ADDRESS]` of the next line that has it.
    pub(crate) fn address(&mut self, name: &str) -> SocketAddr {
        let line = self.hear(&format!("{name} ["));
        line.split(&format!("{name} [")).nth(1).unwrap().split(']').next().unwrap().parse().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap().success());
    }

    pub(crate) fn exit(&mut self) -> Option<i32> {
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "it does not end: {:#?}", self.heard);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A page, with what is sent before and after the target.
pub(crate) async fn page<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, method: &str, target: &str, headers: &str) -> String {
    let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

pub(crate) async fn at(to: SocketAddr, target: &str) -> String {
    page(TcpStream::connect(to).await.unwrap(), "GET", target, "").await
}

pub(crate) async fn on(socket: &Path, target: &str) -> String {
    page(UnixStream::connect(socket).await.unwrap(), "GET", target, "").await
}

pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
}

/// Has a text judged by a script for Python with this module, if both are here.
pub(crate) fn judged(module: &str, script: &str, text: &str) {
    let has = Command::new("python3").args(["-c", &format!("import {module}")]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        println!("skipped: there is no python3 with `{module}` to judge this");
        return;
    }
    let mut judge = Command::new("python3").args(["-c", script]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut judge.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let verdict = judge.wait_with_output().unwrap();
    assert!(verdict.status.success(), "{}\n{text}", String::from_utf8_lossy(&verdict.stderr));
}

/// The body of the one request of a connection, which must be a POST to `path` of this content type. `None` where it breaks off, as at
/// a stop: what was under way is then sent again.
pub(crate) async fn posted(stream: &mut TcpStream, path: &str, kind: &str) -> Option<String> {
    let mut seen = Vec::new();
    loop {
        let n = stream.read_buf(&mut seen).await.unwrap();
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            assert!(head.starts_with(&format!("post {path} ")) && head.contains(&format!("content-type: {kind}")), "{head}");
            let length: usize = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
            if body.len() == length {
                return Some(body.to_owned());
            }
        }
        if n == 0 {
            return None;
        }
    }
}

/// Asks until the answer is as wanted.
pub(crate) async fn until<T, F: Future<Output = T>>(what: &str, mut ask: impl FnMut() -> F, wanted: impl Fn(&T) -> bool) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        let found = ask().await;
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn records(path: &Path) -> Vec<Record> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut chain = ChainReader::new();
    let mut out = Vec::new();
    for line in text.lines() {
        let record = Record::from_line(line.as_bytes()).unwrap();
        chain.accept(record.seq, record.prev, line.as_bytes()).unwrap();
        out.push(record);
    }
    out
}

pub(crate) fn names(records: &[Record]) -> Vec<&'static str> {
    records
        .iter()
        .map(|r| match r.event {
            Event::Started(_) => "started",
            Event::Continued(_) => "continued",
            Event::Decided(_) => "decided",
            Event::Ended(_) => "ended",
            Event::Refused(_) => "refused",
            Event::Reloaded(_) => "reloaded",
            Event::Heartbeat(_) => "heartbeat",
            Event::Stopped(_) => "stopped",
        })
        .collect()
}

/// Answers every request with a word, on the same connection for as long as it is kept.
async fn upstream(served: Arc<AtomicU64>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let served = Arc::clone(&served);
            tokio::spawn(async move {
                let mut seen = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(n) = stream.read(&mut buffer).await {
                    seen.extend_from_slice(buffer.get(..n).unwrap_or_default());
                    while let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
                        let head = String::from_utf8_lossy(&seen[..end]).into_owned();
                        seen.drain(..end + 4);
                        served.fetch_add(1, Ordering::Relaxed);
                        let trace = head.lines().filter(|l| l.starts_with("trace")).collect::<Vec<_>>().join("|");
                        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{trace}", trace.len());
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                    if n == 0 {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// What the configurations here give a drain.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);
/// Longer than anything here takes, so that a fault ends the test.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
