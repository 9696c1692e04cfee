//! Connections that are no HTTP, asked of a whole enforcer (A10, A57, A65, A67, A78).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portreeve_engine::record::{Outcome, Why};
use portreeve_engine::{Effect, Reason};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::world::{Tls, World, decided, ended, eventually};

const LEDGER: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
operations:
  - {id: sql, port: 5432}
  - {id: read-item, method: GET, path: "/v1/items/{id}"}
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
name: users-items
allow: {from: [users], to: items, operations: [read-item]}
justification: Users see items.
owner: team-users
---
kind: Permission
name: invoices-sql
allow: {from: [invoices], to: items, operations: [sql]}
justification: Invoices are drawn from the ledger.
owner: team-billing
"#;

/// Greets first, echoes until the caller has ended its side, then says good-bye. Counts connections.
async fn database() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let connections = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                if to.write_all(b"ready\n").await.is_ok() && tokio::io::copy(&mut from, &mut to).await.is_ok() {
                    let _ = to.write_all(b"bye\n").await;
                    let _ = to.shutdown().await;
                }
            });
        }
    });
    (address, count)
}

async fn world(policy: &str) -> (World, Arc<AtomicUsize>) {
    let mut world = World::new(policy).await;
    let (address, connections) = database().await;
    world.upstream = address;
    (world, connections)
}

const TCP: &str = ", protocol: tcp, port: 5432";

async fn greeted(stream: &mut Tls) {
    let mut greeting = [0; 6];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"ready\n");
}

/// What comes until the peer ends the connection, however it does.
async fn rest(stream: &mut Tls) -> Vec<u8> {
    let mut out = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut out)).await;
    drop(read.expect("the connection ends"));
    out
}

#[tokio::test]
async fn bytes_pass_both_ways_whoever_speaks_first_and_each_side_ends_for_itself() {
    let (world, _) = world(LEDGER).await;
    let enforcer = world.start(TCP, "").await;
    let mut stream = world.connect(enforcer.inbound()[0], "invoices").await;
    greeted(&mut stream).await;
    let sent: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut from, mut to) = tokio::io::split(stream);
    let writing = async {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let reading = async {
        let mut out = Vec::new();
        from.read_to_end(&mut out).await.unwrap();
        out
    };
    let ((), out) = tokio::join!(writing, reading);
    assert_eq!(out.len(), sent.len() + 4);
    assert!(out.starts_with(&sent) && out.ends_with(b"bye\n"));
    eventually("the end is recorded", async || !ended(&world.records()).is_empty()).await;
    enforcer.shutdown().await;

    let records = world.records();
    let [decided] = decided(&records)[..] else { panic!() };
    assert_eq!(
        (decided.request.protocol.as_str(), decided.request.port, decided.request.operation.as_deref()),
        ("TCP", Some(5432), Some("sql"))
    );
    assert_eq!((decided.decision.effect, decided.decision.reason), (Effect::Allow, Reason::Permitted));
    assert!(decided.request.method.is_none() && decided.request.path.is_none() && decided.tls.is_some());
    let [ended] = ended(&records)[..] else { panic!() };
    assert_eq!((ended.outcome, ended.why, ended.status), (Outcome::Forwarded, Why::Complete, None));
    assert_eq!(ended.bytes, 6 + out.len() as u64);
}

#[tokio::test]
async fn a10_a57_who_may_not_reach_the_port_reaches_nothing() {
    let refused = [
        ("users", LEDGER.to_owned(), Reason::NoPermission),
        // A prohibition by pattern counts for connections as for requests (A10).
        (
            "invoices",
            format!(
                "{LEDGER}---\nkind: Permission\nname: no-invoices\ndeny: {{from: [\"spiffe://market.example/ns/shop/sa/*\"], to: items, operations: '*'}}\n"
            ),
            Reason::Prohibited,
        ),
    ];
    for (caller, policy, reason) in refused {
        let (world, connections) = world(&policy).await;
        let enforcer = world.start(TCP, "").await;
        let mut stream = world.connect(enforcer.inbound()[0], caller).await;
        assert_eq!(rest(&mut stream).await, b"");
        enforcer.shutdown().await;
        assert_eq!(connections.load(Ordering::SeqCst), 0);
        let records = world.records();
        assert_eq!(decided(&records).iter().map(|d| d.decision.reason).collect::<Vec<_>>(), [reason]);
        assert!(ended(&records).is_empty());
    }
    // What concerns requests only neither allows a connection nor denies one (A57).
    let http_only =
        format!("{LEDGER}---\nkind: Permission\nname: no-get\ndeny: {{from: [invoices], to: items, operations: [read-item]}}\n");
    let (world, _) = world(&http_only).await;
    let enforcer = world.start(TCP, "").await;
    let mut stream = world.connect(enforcer.inbound()[0], "invoices").await;
    greeted(&mut stream).await;
    drop(stream);
    enforcer.shutdown().await;
}

/// Where that is asked for, the service sees nothing of a connection before the log has its line.
#[tokio::test]
async fn a_connection_waits_for_its_record_where_records_are_waited_for() {
    for durability in ["written", "synced"] {
        let mut world = World::new(LEDGER).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        world.upstream = listener.local_addr().unwrap();
        let log = world.path("decisions.ndjson");
        let service = tokio::spawn(async move {
            let mut found = Vec::new();
            for _ in 0..20 {
                let (mut stream, _) = listener.accept().await.unwrap();
                // Read at the first moment at which the service knows of the connection.
                found.push(std::fs::read_to_string(&log).unwrap().matches("\"event\":\"decided\"").count());
                stream.write_all(b"ready\n").await.unwrap();
            }
            found
        });
        let enforcer = world.start(TCP, &format!("log: {{path: decisions.ndjson, durability: {durability}}}\n")).await;
        for _ in 0..20 {
            greeted(&mut world.connect(enforcer.inbound()[0], "invoices").await).await;
        }
        assert_eq!(service.await.unwrap(), (1..=20).collect::<Vec<_>>(), "{durability}");
        enforcer.shutdown().await;
    }
}

#[tokio::test]
async fn a65_a_connection_lasts_as_long_as_the_right_to_it() {
    let (world, _) = world(LEDGER).await;
    let enforcer = world.start(TCP, "").await;
    let to = enforcer.inbound()[0];
    // A policy that still allows it leaves it up; one that does not cuts it.
    let mut stream = world.connect(to, "invoices").await;
    greeted(&mut stream).await;
    world.replace_policy(&format!("{LEDGER}ticket: T-1\n"));
    enforcer.reload().await.unwrap();
    stream.write_all(b"still").await.unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    world.replace_policy(&LEDGER.replace("allow: {from: [invoices]", "allow: {from: [users]"));
    enforcer.reload().await.unwrap();
    assert_eq!(rest(&mut stream).await, b"");
    // A certificate that ends cuts it too.
    world.replace_policy(LEDGER);
    enforcer.reload().await.unwrap();
    world.issue("invoices", Duration::from_secs(3));
    let mut stream = world.connect(to, "invoices").await;
    greeted(&mut stream).await;
    assert_eq!(rest(&mut stream).await, b"");
    // And so does the end of the enforcer, after the drain.
    world.issue("invoices", Duration::from_secs(3600));
    let mut stream = world.connect(to, "invoices").await;
    greeted(&mut stream).await;
    let ((), left) = tokio::join!(enforcer.shutdown(), rest(&mut stream));
    assert_eq!(left, b"");
    let records = world.records();
    assert_eq!(ended(&records).iter().map(|e| e.why).collect::<Vec<_>>(), [Why::Policy, Why::Expired, Why::Shutdown]);
    assert!(ended(&records).iter().all(|e| e.outcome == Outcome::Forwarded));
}

#[tokio::test]
async fn idle_unreachable_and_limited_connections_end_with_their_word() {
    let limited = format!("{LEDGER}limit: {{concurrency: 1}}\n");
    let (mut world, connections) = world(&limited).await;
    let enforcer = world.start(&format!("{TCP}, idle: 300ms"), "").await;
    let to = enforcer.inbound()[0];
    let mut first = world.connect(to, "invoices").await;
    greeted(&mut first).await;
    let mut second = world.connect(to, "invoices").await;
    assert_eq!(rest(&mut second).await, b"", "one at once");
    assert_eq!(rest(&mut first).await, b"", "nothing moved");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    enforcer.shutdown().await;
    let records = world.records();
    let ends: Vec<_> = ended(&records).iter().map(|e| (e.outcome, e.why, e.detail.clone().unwrap_or_default(), e.status)).collect();
    let of = |outcome, why, word: &str| (outcome, why, word.to_owned(), None);
    assert_eq!(ends, [of(Outcome::Limited, Why::Complete, "concurrency"), of(Outcome::Forwarded, Why::Client, "idle")]);

    std::fs::remove_file(world.path("decisions.ndjson")).unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.upstream = nobody.local_addr().unwrap();
    drop(nobody);
    let enforcer = world.start(TCP, "").await;
    let mut stream = world.connect(enforcer.inbound()[0], "invoices").await;
    assert_eq!(rest(&mut stream).await, b"");
    enforcer.shutdown().await;
    let records = world.records();
    let [end] = ended(&records)[..] else { panic!() };
    assert_eq!((end.outcome, end.why, end.detail.as_deref()), (Outcome::Unavailable, Why::Upstream, Some("connect")));
}
