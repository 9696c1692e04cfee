//! Connections: those that stall, those that flood, those that live longer than what let them in.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use portreeve_enforcer::limits::CONNECTIONS_MAX;
use portreeve_engine::record::Why;

use crate::client::{Client, Conn, PATIENCE, one_answer, rest};
use crate::pki::{Authority, hence, replace};
use crate::world::{SHOP, Sidecar, World, spiffe, until};

const SLOW: &[u8] = b"GET /v1/items/slow HTTP/1.1\r\nHost: items\r\n\r\n";

/// A socket from another address of this machine, so that bounds per address can be told from others.
pub(crate) fn from(address: &str, to: SocketAddr) -> std::io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(address.parse::<IpAddr>().unwrap(), 0))?;
        socket.connect(to).await
    })?;
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A slow answer that has begun to arrive.
fn streaming(client: &Client, to: SocketAddr) -> Conn {
    let mut conn = client.open(to);
    conn.write_all(SLOW).unwrap();
    let mut head = [0; 12];
    conn.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    conn
}

#[test]
fn a62_handshakes_that_stall_hold_up_nobody_else() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    let mut tls = client.tls();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    let before = sidecar.rss();
    // Nothing, half a hello, a hello and no more: from one address, in numbers beyond every place there is.
    let stalled: Vec<TcpStream> = (0..600)
        .filter_map(|n| {
            let mut socket = from("127.0.0.66", sidecar.inbound).ok()?;
            let part = match n % 3 {
                0 => &[][..],
                1 => &hello[..hello.len() / 2],
                _ => &hello[..],
            };
            let _ = socket.write_all(part);
            Some(socket)
        })
        .collect();
    for _ in 0..5 {
        let begun = Instant::now();
        assert_eq!(client.get(sidecar.inbound, "/v1/items/1", ""), 200);
        assert!(begun.elapsed() < PATIENCE);
    }
    // Each of them ends by itself.
    for mut socket in stalled {
        rest(&mut socket);
    }
    let grown = sidecar.rss().saturating_sub(before);
    assert!(grown < 48 << 20, "stalled handshakes cost {grown} bytes");
    sidecar.log_until("the stalled ones are refused", |log| log.refused().iter().filter(|w| **w == "handshake-timeout").count() >= 200);
    sidecar.stop();
}

/// So many sockets, each from another address of this machine, on which this is sent and then nothing.
fn strangers(count: u32, to: SocketAddr, part: &[u8]) -> Vec<TcpStream> {
    let address = |n: u32| IpAddr::from((0x7f42_0001 + n).to_be_bytes()).to_string();
    let one = |n| {
        let mut socket = from(&address(n), to).ok()?;
        let _ = socket.write_all(part);
        Some(socket)
    };
    (0..count).filter_map(one).collect()
}

/// Several requests over connections of their own, none of which may wait for a stranger's time to be over.
fn served_at_once(client: &Client, sidecar: &Sidecar) {
    for _ in 0..5 {
        let begun = Instant::now();
        assert_eq!(client.get(sidecar.inbound, "/v1/items/1", ""), 200);
        assert!(begun.elapsed() < Duration::from_millis(3500), "{:?}", begun.elapsed());
    }
}

#[test]
fn a62_strangers_from_many_addresses_hold_up_nobody_by_saying_nothing() {
    let world = World::new();
    let sidecar = world.start();
    let silent = strangers(400, sidecar.inbound, b"");
    served_at_once(&world.client("invoices"), &sidecar);
    assert_eq!(silent.len(), 400);
    drop(silent);
    sidecar.stop();
}

#[test]
fn a62_strangers_that_stop_in_the_middle_leave_places_to_whoever_was_there_before() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    assert_eq!(client.get(sidecar.inbound, "/v1/items/1", ""), 200);
    let mut hello = Vec::new();
    client.tls().write_tls(&mut hello).unwrap();
    let stopped = strangers(400, sidecar.inbound, &hello[..hello.len() / 2]);
    served_at_once(&client, &sidecar);
    assert_eq!(stopped.len(), 400);
    drop(stopped);
    sidecar.stop();
}

/// However many there are, and however few places: of those that owe their proof the oldest goes.
#[test]
fn a64_a_listener_full_of_strangers_takes_whoever_comes() {
    let world = World::new();
    std::fs::write(world.path("enforcer.yaml"), world.config()).unwrap();
    let limited = |descriptors: u32| {
        let mut command = Command::new("bash");
        let script = format!("ulimit -n {descriptors}; exec \"$0\" --config \"$1\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_portreeve-enforcer")]).arg(world.path("enforcer.yaml"));
        Sidecar::spawn(command, &world.path("decisions.ndjson"))
    };
    // By want of descriptors, and by want of places where this machine has descriptors enough for that.
    let most = CONNECTIONS_MAX as u32;
    let own = std::fs::read_to_string("/proc/self/limits").unwrap();
    let own = own.lines().find_map(|l| l.strip_prefix("Max open files")?.split_whitespace().next()?.parse::<u32>().ok()).unwrap();
    for (descriptors, count) in [(200, 300), (2 * most, most + 100)] {
        if own < count + 200 {
            println!("skipped: {own} descriptors are too few for {count} strangers");
            continue;
        }
        let _ = std::fs::remove_file(world.path("decisions.ndjson"));
        let sidecar = limited(descriptors);
        let client = world.client("invoices");
        let mut conn = client.open(sidecar.inbound);
        conn.write_all(b"GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n\r\n").unwrap();
        assert_eq!(one_answer(&mut conn).status, 200);
        let silent = strangers(count, sidecar.inbound, b"");
        assert_eq!(silent.len(), count as usize);
        served_at_once(&client, &sidecar);
        conn.write_all(b"GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n\r\n").unwrap();
        assert_eq!(one_answer(&mut conn).status, 200, "whoever proved who it is does not go");
        drop(silent);
        let log = sidecar.stop();
        assert!(log.refused().contains(&"crowded-out"), "{descriptors}");
    }
}

#[test]
fn a63_out_of_descriptors_is_no_spin_and_passes() {
    let world = World::new();
    std::fs::write(world.path("enforcer.yaml"), world.config()).unwrap();
    let mut command = Command::new("bash");
    command
        .args(["-c", "ulimit -n 48; exec \"$0\" --config \"$1\"", env!("CARGO_BIN_EXE_portreeve-enforcer")])
        .arg(world.path("enforcer.yaml"));
    let sidecar = Sidecar::spawn(command, &world.path("decisions.ndjson"));
    let client = world.client("invoices");
    // One that was there before goes on.
    let mut early = client.open(sidecar.inbound);
    let ask = |conn: &mut Conn| {
        conn.write_all(b"GET /v1/items/early-bird HTTP/1.1\r\nHost: items\r\n\r\n").unwrap();
        one_answer(conn).status
    };
    assert_eq!(ask(&mut early), 200);
    let flood: Vec<TcpStream> = (0..200).filter_map(|_| TcpStream::connect(sidecar.inbound).ok()).collect();
    until("there are no descriptors left", || sidecar.descriptors() >= 47);
    assert_eq!(ask(&mut early), 200);
    let ticks = sidecar.ticks();
    std::thread::sleep(Duration::from_secs(2));
    let spent = sidecar.ticks() - ticks;
    assert!(spent < 60, "it spins: {spent} ticks in two seconds");
    drop(flood);
    until("it serves again", || client.get(sidecar.inbound, "/v1/items/after", "") == 200);
    assert_eq!(ask(&mut early), 200);
    let log = sidecar.stop();
    log.every_allow_ended();
}

#[test]
fn a64_a_head_has_a_time_and_an_idle_connection_another_one() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    std::thread::scope(|scope| {
        // One byte every half second: it never stops for long, and it never ends.
        let slow = scope.spawn(|| {
            let mut conn = client.open(sidecar.inbound);
            let head = format!("GET /v1/items/1 HTTP/1.1\r\nHost: items\r\nX: {}", "y".repeat(1000));
            conn.sock.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
            for byte in head.bytes().take(100) {
                if conn.write_all(&[byte]).and_then(|()| conn.flush()).is_err() {
                    return Vec::new();
                }
                let mut out = [0; 512];
                match conn.read(&mut out) {
                    Ok(n) => return out[..n].to_vec(),
                    Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                    Err(_) => return Vec::new(),
                }
            }
            panic!("a head of one byte each half second is still being read");
        });
        // Longer idle than a head may take: such a connection is not cut for it.
        let idle = scope.spawn(|| {
            let mut conn = client.open(sidecar.inbound);
            for wait in [0, 13] {
                std::thread::sleep(Duration::from_secs(wait));
                conn.write_all(b"GET /v1/items/idle HTTP/1.1\r\nHost: items\r\n\r\n").unwrap();
                assert_eq!(one_answer(&mut conn).status, 200, "after {wait} idle seconds");
            }
        });
        let said = slow.join().unwrap();
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&said));
        idle.join().unwrap();
    });
    sidecar.stop();
    assert_eq!(world.upstream.targets(), ["/v1/items/idle"; 2]);
}

#[test]
fn a65_a_certificate_that_ends_cuts_what_runs() {
    let world = World::new();
    let sidecar = world.start();
    let short = world.root.odd_leaf(&[&spiffe("invoices")], |p| p.not_after = hence(Duration::from_secs(3)));
    let mut slow = streaming(&Client::with(&short), sidecar.inbound);
    let mut stays = streaming(&world.client("invoices"), sidecar.inbound);
    rest(&mut slow);
    let log = sidecar.log_until("its end is recorded", |log| log.ended().len() == 1);
    assert_eq!(log.ended()[0].why, Why::Expired);
    // A handshake counts in whole seconds; what it lets in during the last one may ask nothing.
    until("it is turned away", || Client::with(&short).turned_away(sidecar.inbound).is_some());
    stays.sock.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(still_open(&mut stays));
    drop(stays);
    sidecar.stop();
}

/// Whether a stream that has no news for us is still there.
fn still_open(conn: &mut Conn) -> bool {
    let mut out = [0; 4096];
    loop {
        match conn.read(&mut out) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(e) => return matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
        }
    }
}

#[test]
fn a65_a72_a_revoked_peer_and_a_withdrawn_root_are_cut_while_others_go_on() {
    let world = World::new();
    let partner = Authority::root("partner.example");
    replace(&world.path("partner.pem"), partner.pem.as_bytes());
    let day = hence(Duration::from_secs(86_400));
    let lists = |revoked: &[&[u8]]| {
        let text = format!("{}{}", world.root.crl(revoked, day, |_| ()), partner.crl(&[], day, |_| ()));
        replace(&world.path("lists.pem"), text.as_bytes());
    };
    lists(&[]);
    let policy = SHOP
        .replace("identities: [spiffe://market.example/ns/shop/sa/users]", "identities: [spiffe://partner.example/users]")
        .replace("from: [invoices]", "from: [invoices, users]");
    world.policies(&[("shop.yaml", &policy)]);
    let config = world
        .config()
        .replace("  trust:", "  crl: [lists.pem]\n  trust:")
        .replace("roots.pem}", "roots.pem, partner.example: partner.pem}");
    let sidecar = world.start_with(&config);
    let (doomed, lucky) = (world.leaf("invoices"), world.leaf("invoices"));
    let foreign = Client::with(&partner.leaf(&["spiffe://partner.example/users"]));
    let (doomed_client, lucky_client) = (Client::with(&doomed), Client::with(&lucky));
    let mut one = streaming(&doomed_client, sidecar.inbound);
    let mut other = streaming(&lucky_client, sidecar.inbound);
    let mut theirs = streaming(&foreign, sidecar.inbound);
    lists(&[&doomed.serial]);
    sidecar.signal("HUP");
    rest(&mut one);
    assert!(doomed_client.turned_away(sidecar.inbound).is_some());
    for conn in [&mut other, &mut theirs] {
        conn.sock.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(still_open(conn), "only the revoked one is cut");
    }
    // The partner's root is replaced by another one: its old callers are cut, our own go on.
    replace(&world.path("partner.pem"), Authority::root("partner.example").pem.as_bytes());
    sidecar.signal("HUP");
    theirs.sock.set_read_timeout(Some(PATIENCE)).unwrap();
    rest(&mut theirs);
    assert!(foreign.turned_away(sidecar.inbound).is_some());
    assert!(still_open(&mut other));
    drop(other);
    let log = sidecar.log_until("all three have ended", |log| log.ended().len() == 3);
    let whys: Vec<Why> = log.ended().iter().map(|e| e.why).collect();
    assert_eq!(whys, [Why::Revoked, Why::Revoked, Why::Client]);
    log.every_allow_ended();
    sidecar.stop();
}

#[test]
fn a78_no_connection_slips_in_while_its_permission_goes() {
    let world = World::new();
    let day = hence(Duration::from_secs(86_400));
    let doomed = world.leaf("invoices");
    let lists = |revoked: &[&[u8]]| replace(&world.path("lists.pem"), world.root.crl(revoked, day, |_| ()).as_bytes());
    lists(&[]);
    let sidecar = world.start_with(&world.config().replace("  trust:", "  crl: [lists.pem]\n  trust:"));
    let client = Client::with(&doomed);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Connections that are being made at every moment of the change.
        let made: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut open = Vec::new();
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) && open.len() < 200 {
                        let mut conn = client.open(sidecar.inbound);
                        if conn.write_all(SLOW).and_then(|()| conn.flush()).is_ok() {
                            open.push(conn);
                        }
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    open
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        lists(&[&doomed.serial]);
        sidecar.signal("HUP");
        until("the list is in force", || client.turned_away(sidecar.inbound).is_some());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let mut open = 0;
        for thread in made {
            for mut conn in thread.join().unwrap() {
                // Every one of them is cut; one that had slipped in would run on, and this would fail by its patience.
                rest(&mut conn);
                open += 1;
            }
        }
        assert!(open > 10, "connections were made while the list changed");
    });
    until("no connection is left", || sidecar.metric("portreeve_connections", "") == 0.0);
    let log = sidecar.stop();
    log.every_allow_ended();
}

#[test]
fn a68_a_connection_to_one_service_is_never_lent_for_another() {
    let world = World::new();
    let target = world.start();
    let far = World::new();
    // The caller's sidecar: the same address once as `items`, which it is, and once as `users`, which it is not.
    replace(&far.path("roots.pem"), world.root.pem.as_bytes());
    world.leaf("invoices").write(far.dir.path(), "items");
    let to = target.inbound;
    let config = format!(
        "service: invoices\nbundle: {{path: policies}}\nidentity: {{cert: items.pem, key: items.key, trust: {{market.example: roots.pem}}}}\noutbound:\n  - {{listen: \"127.0.0.1:0\", service: items, connect: \"{to}\"}}\n  - {{listen: \"127.0.0.1:0\", service: users, connect: \"{to}\"}}\nlog: {{path: decisions.ndjson}}\n"
    );
    let caller = far.start_with(&config);
    for _ in 0..3 {
        let right = plain(caller.outbound[0], "/v1/items/1");
        assert!(right.starts_with("HTTP/1.1 200"), "{right}");
        let wrong = plain(caller.outbound[1], "/v1/items/2");
        assert!(wrong.starts_with("HTTP/1.1 502"), "{wrong}");
    }
    caller.stop();
    let log = target.stop();
    assert!(log.decided().iter().all(|d| d.source.id.as_str() == spiffe("invoices") && d.request.path.as_deref() == Some("/v1/items/1")));
    assert_eq!(world.upstream.targets(), ["/v1/items/1"; 3]);
}

/// One request in the clear, as a service asks its own sidecar.
fn plain(to: SocketAddr, target: &str) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    String::from_utf8_lossy(&rest(&mut stream)).into_owned()
}
