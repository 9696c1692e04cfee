//! The decision log against the real thing: a process that is killed while it serves, and a disk that is full.
//!
//! The service behind the enforcer counts what it got; what it got is then looked for in the log.

#![cfg(test)]

#[expect(dead_code, reason = "other tests use more of it")]
mod common;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{ITEMS, MARKET, USERS, authority, files, id, identity};
use portreeve_enforcer::tls::{ExpectedPeer, Identity};
use portreeve_engine::chain::ChainReader;
use portreeve_engine::record::{Outcome, Why};
use portreeve_engine::{Effect, Event, Record};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const SHOP: &str = "kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
operations: [{id: read-item, method: GET, path: \"/v1/items/{id}\"}]
---
kind: Service
name: users
identities: [spiffe://market.example/ns/shop/sa/users]
---
kind: Permission
name: users-items
allow: {from: [users], to: items, operations: [read-item]}
";

/// Paths that came to the service, with the time at which they came.
type Got = Arc<Mutex<Vec<(String, Instant)>>>;

/// An enforcer of its own process in front of a service that counts.
struct World {
    _dir: tempfile::TempDir,
    users: Identity,
    got: Got,
    child: Child,
    to: SocketAddr,
    log: PathBuf,
    /// Kept open, so that the child can say what it has to say.
    _said: BufReader<std::process::ChildStderr>,
}

impl World {
    /// `log` is what stands under `log:` besides the path.
    async fn start(log: &Path, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = authority(&dir.path().join("ca"), MARKET);
        let issued = ca.issue(&id(ITEMS), Duration::from_secs(3600), &[]).unwrap();
        files(dir.path(), "items", &issued, &[(MARKET, &ca)]);
        let users = identity(dir.path(), "users", &ca, USERS, &[(MARKET, &ca)]);
        std::fs::create_dir(dir.path().join("policies")).unwrap();
        std::fs::write(dir.path().join("policies/shop.yaml"), SHOP).unwrap();
        let got = Got::default();
        let upstream = service(Arc::clone(&got)).await;
        let text = format!(
            "service: items\nbundle: {{path: policies}}\nidentity: {{cert: items.pem, key: items.key, trust: {{market.example: {}}}}}\n\
             inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{upstream}\"}}]\nlog: {{path: {}, {more}}}\ndrain: 500ms\n",
            ca.root_path().display(),
            log.display(),
        );
        std::fs::write(dir.path().join("e.yaml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve-enforcer"));
        let mut child = command.arg("--config").arg(dir.path().join("e.yaml")).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("inbound [") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "the enforcer ended before it listened");
        }
        let to = line.split("inbound [").nth(1).unwrap().split(']').next().unwrap().parse().unwrap();
        Self { _dir: dir, users, got, child, to, log: log.to_owned(), _said: said }
    }

    async fn connect(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.to).await.unwrap();
        let mut config = (*self.users.client_config(ExpectedPeer::id(id(ITEMS)))).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = rustls_pki_types::ServerName::try_from("portreeve.invalid").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap().success());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Counts a request as soon as its head is here, and answers it.
async fn service(got: Got) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let got = Arc::clone(&got);
            connections.spawn(async move {
                let mut seen = Vec::new();
                while stream.read_buf(&mut seen).await.is_ok_and(|n| n > 0) {
                    while let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
                        let head = String::from_utf8(seen.drain(..end + 4).collect()).unwrap();
                        got.lock().unwrap().push((head.split(' ').nth(1).unwrap().to_owned(), Instant::now()));
                        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

/// Asks for one path and gives the status, or nothing where the connection broke.
async fn get(stream: &mut tokio_rustls::client::TlsStream<TcpStream>, path: &str) -> Option<u16> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: items\r\n\r\n").as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    let mut seen = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
            if body.len() >= length.unwrap() {
                return head.get(9..12)?.parse().ok();
            }
        }
        if stream.read_buf(&mut seen).await.ok()? == 0 {
            return None;
        }
    }
}

/// The records of whole lines, checked to be one chain; a line that was cut off by the end of the process is left out.
fn records(path: &Path) -> Vec<Record> {
    let bytes = std::fs::read(path).unwrap();
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let mut chain = ChainReader::new();
    let lines = bytes[..whole].split(|b| *b == b'\n').filter(|l| !l.is_empty());
    lines
        .map(|line| {
            let record = Record::from_line(line).unwrap();
            chain.accept(record.seq, record.prev, line).unwrap();
            record
        })
        .collect()
}

fn allowed(records: &[Record]) -> BTreeSet<String> {
    let path = |record: &Record| match &record.event {
        Event::Decided(decided) if decided.decision.effect == Effect::Allow => decided.request.path.clone(),
        _ => None,
    };
    records.iter().filter_map(path).collect()
}

/// The lines of the decisions whose requests were refused because the line could not be kept.
fn ended_for_the_log(records: &[Record]) -> impl Iterator<Item = u64> + '_ {
    records.iter().filter_map(|record| match &record.event {
        Event::Ended(ended) if ended.why == Why::Log => Some(ended.of),
        _ => None,
    })
}

/// Kills an enforcer under load; gives what the service got, and what stands in the log.
async fn kill_under_load(durability: &str) -> (Vec<(String, Instant)>, BTreeSet<String>, Instant) {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::start(&folder.path().join("d.ndjson"), &format!("durability: {durability}")).await;
    let mut load = JoinSet::new();
    for n in 0..8 {
        let mut stream = world.connect().await;
        load.spawn(async move {
            for m in 0_u32.. {
                let Some(status) = get(&mut stream, &format!("/v1/items/{n}-{m}")).await else { return };
                assert_eq!(status, 200);
            }
        });
    }
    while world.got.lock().unwrap().len() < 400 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let killed = Instant::now();
    world.child.kill().unwrap();
    world.child.wait().unwrap();
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
    // What was on its way to the service when the process died comes to its end before the connection does.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let got = world.got.lock().unwrap().clone();
    (got, allowed(&records(&world.log)), killed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn written_and_synced_lose_nothing_that_was_forwarded() {
    for durability in ["written", "synced"] {
        for _ in 0..2 {
            let (got, recorded, _) = kill_under_load(durability).await;
            let lost: Vec<_> = got.iter().filter(|(path, _)| !recorded.contains(path)).collect();
            assert!(lost.is_empty(), "{durability}: {} of {} forwarded requests are not in the log: {lost:?}", lost.len(), got.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_loses_only_what_is_younger_than_the_flush_interval() {
    let (got, recorded, killed) = kill_under_load("queued").await;
    // The flush interval is two milliseconds; the rest is for a machine on which the writer has to wait for its turn.
    let patience = Duration::from_millis(250);
    let lost: Vec<_> = got.iter().filter(|(path, at)| *at + patience < killed && !recorded.contains(path)).collect();
    assert!(lost.is_empty(), "{} of {} are not in the log: {lost:?}", lost.len(), got.len());
    assert!(recorded.len() > 100, "{} of {} are in the log", recorded.len(), got.len());
}

/// A small disk of our own, gone with its holder.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"]).arg(dir.path()).stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// A79: nothing is forwarded while it cannot be recorded; afterwards the chain goes on.
/// Callers who ask for one thing after another, and the statuses they saw.
struct Asking<'a> {
    world: &'a World,
    sent: AtomicU64,
    statuses: Mutex<BTreeSet<u16>>,
}

impl Asking<'_> {
    /// Asks until the status is the one that is wanted.
    async fn until(&self, wanted: u16) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut stream = self.world.connect().await;
        loop {
            let n = self.sent.fetch_add(1, Ordering::Relaxed);
            match get(&mut stream, &format!("/v1/items/{n}")).await {
                // A refused request may end its connection.
                None => stream = self.world.connect().await,
                Some(status) => {
                    self.statuses.lock().unwrap().insert(status);
                    if status == wanted {
                        return;
                    }
                }
            }
            assert!(Instant::now() < deadline, "no {wanted}");
        }
    }
}

/// Fills a disk under load and makes room again. How many requests waited for their lines when there was no room; `None` where no disk
/// can be mounted.
async fn full_disk(durability: &str) -> Option<usize> {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: a tmpfs cannot be mounted here");
        return None;
    };
    let filler = disk.0.path().join("filler");
    // Room enough for whatever waits to be written when it is given back.
    std::fs::write(&filler, vec![0; 256 << 10]).unwrap();
    let more = format!("durability: {durability}, heartbeat: 50ms");
    let mut world = World::start(&disk.0.path().join("d.ndjson"), &more).await;
    let asking = Asking { world: &world, sent: AtomicU64::new(0), statuses: Mutex::default() };
    asking.until(200).await;
    // Several at once, so that some wait for their lines when the disk has no room for them.
    futures_util::future::join_all((0..16).map(|_| asking.until(503))).await;
    std::fs::remove_file(&filler).unwrap();
    asking.until(200).await;
    let statuses = asking.statuses.into_inner().unwrap();
    assert!(statuses.iter().eq(&[200, 503]), "{durability}: {statuses:?}");
    world.signal("TERM");
    assert_eq!(world.child.wait().unwrap().code(), Some(0), "{durability}");
    let records = records(&world.log);
    assert!(matches!(records.last().unwrap().event, Event::Stopped(_)), "{durability}");
    let recorded = allowed(&records);
    let got = world.got.lock().unwrap().clone();
    assert!(got.iter().all(|(path, _)| recorded.contains(path)), "{durability}: something was forwarded without a record");
    // What was accepted and could not be put on the disk in time went nowhere.
    let not_kept: BTreeSet<u64> = ended_for_the_log(&records).collect();
    for record in records.iter().filter(|r| not_kept.contains(&r.seq)) {
        let Event::Decided(decided) = &record.event else { panic!("{durability}: line {} is no decision", record.seq) };
        let path = decided.request.path.as_deref().unwrap();
        assert!(got.iter().all(|(came, _)| came != path), "{durability}: {path} was forwarded before its record was kept");
    }
    let unrecorded: u64 = records
        .iter()
        .map(|r| match &r.event {
            Event::Heartbeat(beat) => beat.unrecorded,
            Event::Stopped(stopped) => stopped.unrecorded,
            Event::Ended(ended) if ended.why == Why::Log => u64::from(ended.outcome == Outcome::Unavailable),
            _ => 0,
        })
        .sum();
    assert!(unrecorded > 0, "{durability}: nobody was told of what was refused");
    Some(not_kept.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a79_a_full_disk_denies_and_a_disk_with_room_allows_again() {
    assert!(full_disk("queued").await.is_none_or(|waited| waited == 0), "nobody waits for a line that is only queued");
    for durability in ["written", "synced"] {
        // The line that finds no room may be one that nobody waits for; not ten times in a row.
        let mut waited = Some(0);
        for _ in 0..10 {
            waited = full_disk(durability).await;
            if waited != Some(0) {
                break;
            }
        }
        assert_ne!(waited, Some(0), "{durability}: nobody waited");
    }
}
