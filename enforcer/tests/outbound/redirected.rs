//! Attacks on the transparent mode, in a network namespace as in `transparent`: nothing passes that the law does not let through,
//! whatever address a connection was meant for, and everything that is refused is recorded.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use portreeve_engine::record::Why;
use portreeve_engine::{Event, Reason, Record};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::egress::tls_server;
use crate::town::{LAW, Town, app_at, code, decided, ended, ok, replays};
use crate::transparent::{Sidecar, http, of_the_book, records, within};

/// Beside the town's: the address where clouds tell secrets, and a database, both permitted.
const MORE: &str = r#"
---
kind: Service
name: meta
hosts: ["169.254.169.254"]
operations:
  - {id: all, method: GET, path: "/{rest*}"}
  - {id: any, port: 80}
---
kind: Service
name: base
hosts: ["10.99.0.5:5432", "169.254.169.254:5432"]
operations:
  - {id: any, port: 5432}
---
kind: Permission
name: payments-meta
allow: {from: payments, to: meta, operations: '*'}
---
kind: Permission
name: payments-base
allow: {from: payments, to: base, operations: '*'}
"#;

const PROXY: &str = "proxy:\n  transparent: [\"127.0.0.1:15002\", \"[::1]:15002\"]\n  \
    services: {users: {connect: \"10.96.0.12:8443\", addresses: [\"10.96.0.12:80\"]}}\n  \
    egress: {private: [10.99.0.0/16, 169.254.0.0/16], without_tls: [\"10.99.0.5:5432\", \"169.254.169.254:5432\"]}\n";

fn town() -> Town {
    let town = Town::new(443);
    town.law(2, &(LAW.replace("PORT", "443") + MORE));
    std::fs::set_permissions(town.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    town
}

#[test]
fn nothing_passes_that_is_not_granted_wherever_it_was_meant_for() {
    within(&format!("ip addr add 169.254.169.254/32 dev lo\n{}", of_the_book("# nftables")), "redirected::attacks");
}

#[test]
fn our_own_connections_that_are_redirected_too_do_not_go_round() {
    let all = |tool: &str, own: &str| {
        format!("{tool} -t nat -A OUTPUT -p tcp -d {own} -j RETURN\n{tool} -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15002\n")
    };
    within(&(all("iptables", "127.0.0.0/8") + &all("ip6tables", "::1/128")), "redirected::round");
}

/// What comes back where bytes are sent and the connection is held open.
async fn said(to: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).await.unwrap_or_else(|why| panic!("{to}: {why}"));
    stream.write_all(bytes).await.unwrap();
    let mut out = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut out)).await.expect("it is closed");
    out
}

async fn tls(client: &Arc<rustls::ClientConfig>, to: &str, name: &str) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(to).await?;
    tokio_rustls::TlsConnector::from(Arc::clone(client)).connect(name.to_owned().try_into().unwrap(), stream).await
}

/// The last decision of the log once there are so many.
async fn last(town: &Town, count: usize) -> (Reason, String, String) {
    let records = records(town, "payments", count).await;
    let decided = decided(&records);
    assert_eq!(decided.len(), count, "{:#?}", decided.last());
    let last = decided.last().unwrap().1;
    (last.decision.reason, last.destination.service.clone(), last.request.raw.clone().unwrap_or_default())
}

#[tokio::test]
#[ignore = "runs within a network namespace, where a test above starts it"]
async fn attacks() {
    use Reason::{MalformedRequest as Malformed, Permitted, UnknownService};
    let town = town();
    let (service, _) = app_at("127.0.0.1:0", |_, head| ok(head)).await;
    let (_, plain) = app_at("10.99.0.5:80", |_, head| ok(head)).await;
    let (_, secrets) = app_at("169.254.169.254:80", |_, head| ok(head)).await;
    let (_, base) = app_at("169.254.169.254:5432", |_, head| ok(head)).await;
    let (_, client) = tls_server("10.99.0.5:443", "api.cards.test").await;
    let inbound = format!("inbound: [{{listen: \"10.96.0.12:8443\", upstream: \"{service}\"}}]\n");
    let _callee = Sidecar::start(&town, "users", &inbound, 15022).await;
    let caller = Sidecar::start(&town, "payments", PROXY, 15021).await;
    let at_rest = caller.descriptors();
    let mut count = 0;
    let mut next = || {
        count += 1;
        count
    };

    // To the listener itself, over both protocols: such a connection was meant for nowhere else.
    for to in ["127.0.0.1:15002", "[::1]:15002"] {
        assert_eq!(http(to, "api.cards.test", "/v1/rates/1").await, "");
        let (reason, destination, raw) = last(&town, next()).await;
        assert_eq!((reason, destination.as_str(), raw.as_str()), (Malformed, "outside", to), "not redirected");
    }
    // The metadata of a cloud: not by its address though law and configuration say so, nor under the name of another place.
    for (to, host) in
        [("169.254.169.254:80", "169.254.169.254"), ("[::ffff:169.254.169.254]:80", "169.254.169.254"), ("10.99.0.5:80", "169.254.169.254")]
    {
        assert_eq!(code(&http(to, host, "/latest").await), 403, "{to}");
        assert_eq!(last(&town, next()).await.0, Permitted);
    }
    assert_eq!(said("169.254.169.254:5432", b"x").await, b"");
    assert_eq!(last(&town, next()).await.0, Permitted);
    assert_eq!(code(&http("169.254.169.254:80", "evil.example", "/latest").await), 403);
    assert_eq!(last(&town, next()).await.0, UnknownService);
    let answer = http("169.254.169.254:80", "api.cards.test", "/v1/rates/1").await;
    assert_eq!((code(&answer), plain.load(Ordering::SeqCst)), (200, 1), "the named place answers, not the address: {answer}");
    assert_eq!(last(&town, next()).await.0, Permitted);
    // IPv4 spoken through a socket of IPv6.
    assert_eq!(code(&http("[::ffff:10.99.0.5]:80", "api.cards.test", "/v1/rates/1").await), 200);
    assert_eq!(last(&town, next()).await.0, Permitted);
    // A host that is a service of the mesh leads to its enforcer, never to the address; one without a way leads nowhere.
    let answer = http("10.99.0.5:80", "users", "/v1/users/7").await;
    assert!(code(&answer) == 200 && answer.contains("sa/payments"), "{answer}");
    assert_eq!(code(&http("10.99.0.5:80", "other", "/v1/users/7").await), 502);
    // A tunnel that is asked for in words, of our place and of a service.
    for host in ["api.cards.test:443", "users:443"] {
        let asked = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = String::from_utf8(said("10.99.0.5:80", asked.as_bytes()).await).unwrap();
        assert_eq!(code(&answer), 501, "{answer}");
        let (reason, destination, raw) = last(&town, next()).await;
        assert_eq!((reason, destination.as_str(), raw), (Malformed, "outside", format!("CONNECT {host} HTTP/1.1")));
    }
    // An upgrade that is not the first request.
    let asked = "GET /v1/rates/1 HTTP/1.1\r\nHost: api.cards.test\r\n\r\n\
                 GET /v1/rates/1 HTTP/1.1\r\nHost: api.cards.test\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n";
    let answer = String::from_utf8(said("10.99.0.5:80", asked.as_bytes()).await).unwrap();
    assert!(code(&answer) == 200 && answer.contains("HTTP/1.1 501"), "{answer}");
    next();
    assert_eq!(last(&town, next()).await.0, Malformed);
    // TLS that names a service of the mesh, nothing, or another place; and TLS to the address of a service.
    for (to, name, expected) in [
        ("10.99.0.5:443", "users", Some(Malformed)),
        ("10.99.0.5:443", "10.99.0.5", Some(UnknownService)),
        ("10.99.0.5:443", "evil.example", Some(UnknownService)),
        ("10.99.0.5:443", "169.254.169.254", Some(UnknownService)),
        ("10.96.0.12:8443", "users", None),
        ("10.96.0.12:80", "api.cards.test", None),
    ] {
        assert!(tls(&client, to, name).await.is_err(), "{to} {name}");
        if let Some(expected) = expected {
            assert_eq!(last(&town, next()).await.0, expected, "{to} {name}");
        }
    }
    // Many that say nothing hold up nobody, and are gone when their time is over.
    let mut silent = Vec::new();
    for _ in 0..1500 {
        silent.push(TcpStream::connect("10.99.0.5:443").await.unwrap());
    }
    assert_eq!(code(&http("10.99.0.5:80", "api.cards.test", "/v1/rates/1").await), 200);
    let until = Instant::now() + Duration::from_secs(40);
    while caller.descriptors() > at_rest + 50 {
        assert!(Instant::now() < until, "{} descriptors", caller.descriptors());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(silent);
    let all = records(&town, "payments", count + 1501).await;
    assert_eq!(decided(&all).len(), count + 1501, "each of them is recorded");
    // A right that is taken away ends what runs on it.
    let mut stream = tls(&client, "10.99.0.5:443", "api.cards.test").await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    town.law(3, &LAW.replace("PORT", "443").replace("to: cards, operations: '*'", "to: cards, operations: [rates]"));
    caller.reload();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.expect("the tunnel is cut");
    let mut all = Vec::new();
    for _ in 0..50 {
        all = records(&town, "payments", count + 1502).await;
        if ended(&all).last().is_some_and(|e| (e.why, e.detail.as_deref()) == (Why::Policy, Some("new-bundle"))) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ended(&all).last().map(|e| (e.why, e.detail.as_deref())), Some((Why::Policy, Some("new-bundle"))));
    assert!(tls(&client, "10.99.0.5:443", "api.cards.test").await.is_err());

    let (first, _): (Vec<Record>, Vec<_>) = all.into_iter().partition(|r| matches!(&r.event, Event::Decided(_)) && r.seq < 100);
    replays(&town.authorizer_of(2), &first);
    assert_eq!((secrets.load(Ordering::SeqCst), base.load(Ordering::SeqCst)), (0, 0), "nobody reached what tells secrets");
}

#[tokio::test]
#[ignore = "runs within a network namespace, where a test above starts it"]
async fn round() {
    let town = town();
    let (_, plain) = app_at("10.99.0.5:80", |_, head| ok(head)).await;
    let (_, client) = tls_server("10.99.0.5:443", "api.cards.test").await;
    let base = TcpListener::bind("10.99.0.5:5432").await.unwrap();
    let caller = Sidecar::start(&town, "payments", PROXY, 15021).await;
    let (at_rest, mut most) = (caller.descriptors(), 0);
    let mut look = || most = most.max(caller.descriptors());

    assert!(tls(&client, "10.99.0.5:443", "api.cards.test").await.is_err());
    look();
    assert_eq!(code(&http("10.99.0.5:80", "api.cards.test", "/v1/rates/1").await), 502);
    look();
    assert_eq!(said("10.99.0.5:5432", b"x").await, b"");
    look();
    assert_eq!(code(&http("10.96.0.12:80", "users", "/v1/users/7").await), 502);
    look();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let all = records(&town, "payments", 7).await;
    let all: Vec<_> = decided(&all).into_iter().map(|(_, d)| (d.decision.reason, &d.destination.service, &d.request.raw)).collect();
    // Each of the three to places outside is let through once; they, and the one to the service of the mesh, are found to come back once.
    // Only where nothing is waited for the first may come in again, once or twice, or more on a busy machine, before the thread that opened it knows of it.
    assert!((7..=30).contains(&all.len()), "nothing goes round: {all:#?}");
    assert!(most < at_rest + 80, "{most} descriptors");
    assert_eq!(plain.load(Ordering::SeqCst), 0);
    drop(base);
    let said = std::fs::read_to_string(town.path("payments.said")).unwrap();
    assert_eq!(said.matches("is redirected to itself").count(), 1, "it is told once: {said}");
}
