//! A63, A64: slow, silent and numerous callers, and a system that has no descriptors left.

#![cfg(test)]

#[path = "common/world.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod world;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use portreeve_enforcer::Enforcer;
use portreeve_enforcer::report::Report;
use portreeve_engine::Reason;
use portreeve_engine::record::Why;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use world::{SHOP, World, decided, ended, fixed, rest, service, status, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n\r\n";
const LAST: &str = "GET /v1/items/1 HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_connection_that_is_old_takes_no_further_request() {
    let world = World::new(SHOP);
    let upstream = service(|_, mut stream| async move {
        while !until(&mut stream, "\r\n\r\n").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            let _ = stream.write_all(OK.as_bytes()).await;
        }
    })
    .await;
    let config = world.config(upstream, ", connection_lifetime: 1s", "");
    let enforcer = Enforcer::start(config, Report::silent()).await.unwrap();
    let to = enforcer.inbound()[0];
    // What runs when the time comes is answered whole, and told that it was the last.
    let mut busy = world.connect(to, "invoices", b"http/1.1").await;
    busy.write_all(GET.as_bytes()).await.unwrap();
    let answer = rest(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close") && answer.ends_with("ok"), "{answer}");
    // An idle one ends.
    let mut idle = world.connect(to, "invoices", b"http/1.1").await;
    assert_eq!(rest(&mut idle).await, "");
    // So it is with HTTP/2: the peer is told to go away, in order.
    let stream = world.connect(to, "invoices", b"h2").await;
    let (sender, connection) = hyper::client::conn::http2::handshake::<_, _, http_body_util::Empty<bytes::Bytes>>(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    tokio::time::timeout(Duration::from_secs(20), connection).await.expect("it ends").unwrap();
    assert!(sender.is_closed());
    enforcer.shutdown().await;
    assert!(ended(&world.records()).iter().all(|e| e.why == Why::Complete));
}

#[tokio::test]
async fn a64_callers_that_do_nothing_or_little_do_not_hold_up_others() {
    let world = World::new(SHOP);
    let enforcer = world.start(fixed(OK).await).await;
    let to = enforcer.inbound()[0];
    let mut held = Vec::new();
    for n in 0..60 {
        let mut stream = world.connect(to, "users", b"http/1.1").await;
        if n % 2 == 0 {
            stream.write_all(b"GET /v1/items/1 HTTP/1.1\r\nHo").await.unwrap();
        }
        held.push(stream);
        // Not even a handshake.
        held.last_mut().unwrap().flush().await.unwrap();
    }
    let strangers: Vec<_> = futures_util::future::join_all((0..60).map(|_| TcpStream::connect(to))).await;
    for _ in 0..20 {
        assert_eq!(status(&world.raw(to, "invoices", LAST.as_bytes()).await), 200);
    }
    // A head that comes byte by byte, and never whole, is answered and recorded.
    let mut slow = held.swap_remove(0);
    let trickle = async {
        for _ in 0..200 {
            if slow.write_all(b"x").await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        rest(&mut slow).await
    };
    let answer = trickle.await;
    assert!(answer.is_empty() || status(&answer) == 408, "{answer}");
    drop((held, strangers));
    enforcer.shutdown().await;
    let records = world.records();
    assert!(decided(&records).iter().any(|d| d.decision.reason == Reason::MalformedRequest), "the slow head is recorded");
    assert_eq!(ended(&records).len(), 20);
}

/// An identity that comes from many addresses, as a service of many instances does or whoever has its key, takes no more than its share.
#[tokio::test]
async fn a64_one_identity_from_many_addresses_leaves_room_for_others() {
    let world = World::new(SHOP);
    let upstream = fixed(OK).await;
    let enforcer = Enforcer::start(world.config(upstream, ", timeouts: {first_request: 10m}", ""), Report::silent()).await.unwrap();
    let to = enforcer.inbound()[0];
    let from = async |address: u8, service: &'static str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, address], 0).into()).unwrap();
        world.proved(socket.connect(to).await.unwrap(), service, b"http/1.1").await
    };
    let mut held = Vec::new();
    for n in 0..128_u8 {
        held.extend(futures_util::future::join_all((0..16).map(|_| from(2 + n % 4, "invoices"))).await);
    }
    // Its handshake is as good as the others, and then there is no place for it.
    let mut turned_away = from(6, "invoices").await;
    let _ = turned_away.write_all(GET.as_bytes()).await;
    assert_eq!(rest(&mut turned_away).await, "");
    let asks = async |address: u8, service: &'static str| {
        let mut stream = from(address, service).await;
        stream.write_all(LAST.as_bytes()).await.unwrap();
        rest(&mut stream).await
    };
    // Others are answered, from an address of its own or from one of those.
    for address in [2, 7] {
        assert_eq!(status(&asks(address, "users").await), 403);
    }
    // What it has goes on, and what it gives back it can have again.
    held[0].write_all(GET.as_bytes()).await.unwrap();
    assert!(until(&mut held[0], "ok").await.starts_with("HTTP/1.1 200"));
    drop(held.split_off(2000));
    let again = async {
        while !asks(6, "invoices").await.starts_with("HTTP/1.1 200") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("there is room again");
    let page = enforcer.gate().metrics.render();
    drop(held);
    enforcer.shutdown().await;
    let refused: Vec<_> = world
        .records()
        .into_iter()
        .filter_map(|r| if let portreeve_engine::Event::Refused(refused) = r.event { Some((refused.ip, refused.reason)) } else { None })
        .collect();
    assert!(refused.contains(&([127, 0, 0, 6].into(), "identity-share".to_owned())), "{refused:?}");
    assert!(page.contains("portreeve_handshake_failures_total{reason=\"identity-share\"} "), "{page}");
}

/// The enforcer as a process of its own, so that its descriptors can be counted.
struct Process {
    child: Child,
    inbound: std::net::SocketAddr,
}

impl Process {
    fn start(world: &World, upstream: std::net::SocketAddr, descriptors: u32) -> Self {
        let config = world.path("e.yaml");
        let text = format!(
            "service: items\nbundle: {{path: policies}}\nidentity: {{cert: items.pem, key: items.key, trust: {{market.example: {}}}}}\ninbound: [{{listen: \"127.0.0.1:0\", upstream: \"{upstream}\"}}]\nlog: {{path: child.ndjson}}\nworkers: 1\n",
            world.ca.root_path().display(),
        );
        std::fs::write(&config, text).unwrap();
        let script = format!("ulimit -n {descriptors}; exec \"$0\" --config \"$1\"");
        let mut child = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_portreeve-enforcer")])
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
        let inbound = lines.find_map(|line| line.unwrap().split("inbound [").nth(1)?.split(']').next()?.parse().ok());
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, inbound: inbound.expect("the enforcer says where it listens") }
    }

    /// Ticks of processor time used so far.
    fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a63_without_descriptors_the_gate_waits_and_comes_back() {
    let world = World::new(SHOP);
    let process = Process::start(&world, fixed(OK).await, 64);
    let mut open = [world.connect(process.inbound, "invoices", b"http/1.1").await];
    // The first has a place and keeps it; its way to the service is open too.
    open[0].write_all(GET.as_bytes()).await.unwrap();
    until(&mut open[0], "ok").await;
    let strangers: Vec<_> = futures_util::future::join_all((0..100).map(|_| TcpStream::connect(process.inbound))).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", process.child.id())).unwrap().count();
    assert!(descriptors >= 60, "only {descriptors} descriptors are in use: the limit was not reached");
    let before = process.ticks();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = process.ticks() - before;
    assert!(used < 60, "{used} ticks of processor time in two seconds: it spins");
    open[0].write_all(GET.as_bytes()).await.unwrap();
    assert!(until(&mut open[0], "ok").await.starts_with("HTTP/1.1 200"), "who has a connection is served");
    drop(strangers);
    let answer = tokio::time::timeout(Duration::from_secs(20), world.raw(process.inbound, "invoices", LAST.as_bytes())).await;
    assert_eq!(status(&answer.expect("it recovers")), 200);
    let mut byte = [0];
    assert!(tokio::time::timeout(Duration::from_millis(50), open[0].read(&mut byte)).await.is_err());
}

/// Issuer and key stand in the first record of each connection, whatever that record is, and in no later one.
#[tokio::test]
async fn the_first_record_of_a_connection_says_who_issued_its_certificate() {
    let world = World::new(SHOP);
    let enforcer = world.start(fixed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await).await;
    for first in ["/v1/items/1", "/v1/nothing", "/%2e%2e/"] {
        let mut stream = world.connect(enforcer.inbound()[0], "invoices", b"http/1.1").await;
        let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: items\r\n\r\n");
        stream.write_all(request(first).as_bytes()).await.unwrap();
        let end = if first == "/v1/items/1" { "ok" } else { "}\n" };
        assert!(until(&mut stream, end).await.starts_with("HTTP/1.1 "));
        // The malformed one ended its connection.
        if first != "/%2e%2e/" {
            stream.write_all(request("/v1/items/2").as_bytes()).await.unwrap();
            assert!(until(&mut stream, "ok").await.starts_with("HTTP/1.1 200"));
        }
    }
    enforcer.shutdown().await;
    let records = world.records();
    let said: Vec<_> = decided(&records).iter().map(|d| d.tls.clone().unwrap()).map(|t| (t.issuer, t.key)).collect();
    let once = (said[0].0.clone(), Some("EC P-256".to_owned()));
    assert!(said[0].0.as_ref().is_some_and(|name| name.starts_with("O=Portreeve, CN=Portreeve intermediate ")), "{said:?}");
    assert_eq!(said, [once.clone(), (None, None), once.clone(), (None, None), once]);
}
