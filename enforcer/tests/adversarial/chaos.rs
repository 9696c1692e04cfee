//! Chaos: whatever breaks around the gate, no request is wrongly allowed, no record lost, others are served, and it recovers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use portreeve_engine::record::{Outcome, Why};
use portreeve_engine::{Effect, Event};

use crate::client::{Client, PATIENCE, answers, one_answer, rest};
use crate::connections::from;
use crate::http2::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, RST_STREAM, SETTINGS, frame, request};
use crate::log::Log;
use crate::pki::{Authority, hence, replace};
use crate::world::{DOMAIN, Sidecar, World, page, spiffe, until};

/// Asks once more what must still work.
fn still_serves(world: &World, sidecar: &Sidecar) {
    assert_eq!(world.client("invoices").get(sidecar.inbound, "/v1/items/still", ""), 200);
    assert_eq!(world.client("users").get(sidecar.inbound, "/v1/items/still", ""), 403);
}

#[test]
fn a_service_that_dies_in_the_middle() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    for target in ["die", "die-early", "die-head"] {
        assert_eq!(client.get(sidecar.inbound, &format!("/v1/items/{target}"), ""), 502, "{target}");
        let mut http2 = Http2::open(&client, sidecar.inbound);
        http2.send(HEADERS, END_STREAM | END_HEADERS, 1, &request("GET", &format!("/v1/items/{target}"))).unwrap();
        assert_eq!(http2.reply(1).status, 502, "{target} over HTTP/2");
    }
    // A body that was promised and breaks off must not look whole to the caller.
    for target in ["die-mid", "die-chunk"] {
        let bytes = client.send(sidecar.inbound, format!("GET /v1/items/{target} HTTP/1.1\r\nHost: items\r\n\r\n").as_bytes());
        let whole = bytes.ends_with(b"0\r\n\r\n") || answers(&bytes)[0].header("content-length") == Some("10");
        assert!(bytes.starts_with(b"HTTP/1.1 200") && !whole, "{target}: {}", String::from_utf8_lossy(&bytes));
        let mut http2 = Http2::open(&client, sidecar.inbound);
        http2.send(HEADERS, END_STREAM | END_HEADERS, 1, &request("GET", &format!("/v1/items/{target}"))).unwrap();
        let reply = http2.reply(1);
        // The reset may overtake the head.
        assert!(matches!(reply.status, 200 | 0) && reply.reset.is_some() && !reply.ended, "{target} over HTTP/2: {reply:?}");
    }
    // It dies while the caller is still sending.
    for _ in 0..3 {
        let mut conn = client.open(sidecar.inbound);
        conn.write_all(b"POST /v1/items/die-early HTTP/1.1\r\nHost: items\r\nContent-Length: 50000000\r\n\r\n").unwrap();
        let part = [b'u'; 64 * 1024];
        while conn.write_all(&part).and_then(|()| conn.flush()).is_ok() {}
        let said = answers(&rest(&mut conn));
        assert!(said.iter().all(|a| a.status == 502), "{said:?}");
        let mut http2 = Http2::open(&client, sidecar.inbound);
        http2.send(HEADERS, END_HEADERS, 1, &request("POST", "/v1/items/die-early")).unwrap();
        let _ = http2.send(DATA, 0, 1, &[b'u'; 16_000]);
        let reply = http2.reply(1);
        assert!(reply.status == 502 || reply.reset.is_some(), "{reply:?}");
    }
    still_serves(&world, &sidecar);
    let log = sidecar.stop();
    log.every_allow_ended();
    let died = log.ended().iter().filter(|e| e.why == Why::Upstream).count();
    assert_eq!(died, 16, "{:?}", log.ended());
    assert_eq!(log.ended().iter().filter(|e| e.outcome == Outcome::Unavailable).count(), 12);
}

/// How an HTTP/2 service ends a stream that it should have answered.
#[derive(Clone, Copy, Debug)]
enum Death {
    Silence,
    Halfway,
    Reset,
    GoAway,
    Garbage,
}

/// A service that speaks HTTP/2 by hand, and dies on every request.
fn dying_http2(death: Death) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut preface = [0; 24];
                socket.read_exact(&mut preface)?;
                socket.write_all(&frame(SETTINGS, 0, 0, &[]))?;
                loop {
                    let mut head = [0; 9];
                    socket.read_exact(&mut head)?;
                    let mut payload = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
                    socket.read_exact(&mut payload)?;
                    let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
                    if head[3] != HEADERS {
                        continue;
                    }
                    let ok = frame(HEADERS, END_HEADERS, stream, &[0x88]);
                    let bytes = match death {
                        Death::Silence => return Ok(()),
                        Death::Halfway => [ok, frame(DATA, 0, stream, b"half")].concat(),
                        Death::Reset => [ok, frame(DATA, 0, stream, b"half"), frame(RST_STREAM, 0, stream, &[0, 0, 0, 2])].concat(),
                        Death::GoAway => frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2]),
                        Death::Garbage => vec![0xff; 64],
                    };
                    socket.write_all(&bytes)?;
                    if !matches!(death, Death::Reset) {
                        return Ok::<(), std::io::Error>(());
                    }
                }
            });
        }
    });
    address
}

#[test]
fn an_http2_service_that_dies_in_the_middle() {
    for death in [Death::Silence, Death::Halfway, Death::Reset, Death::GoAway, Death::Garbage] {
        let world = World::new();
        let upstream = dying_http2(death);
        let config = world
            .config()
            .replace(&format!("upstream: \"{}\"", world.upstream.address), &format!("upstream: \"{upstream}\", upstream_protocol: http2"));
        let sidecar = world.start_with(&config);
        let client = world.client("invoices");
        for n in 0..4 {
            let bytes =
                client.send(sidecar.inbound, format!("GET /v1/items/{n} HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\n").as_bytes());
            let all = answers(&bytes);
            let whole = all.iter().any(|a| a.status == 200) && (bytes.ends_with(b"0\r\n\r\n") || all[0].header("content-length").is_some());
            assert!(!whole, "{death:?}: {}", String::from_utf8_lossy(&bytes));
            let mut http2 = Http2::open(&client, sidecar.inbound);
            http2.send(HEADERS, END_STREAM | END_HEADERS, 1, &request("GET", "/v1/items/x")).unwrap();
            let reply = http2.reply(1);
            assert!(reply.status == 502 || reply.reset.is_some() || (reply.status == 200 && !reply.ended), "{death:?}: {reply:?}");
        }
        let log = sidecar.stop();
        log.every_allow_ended();
        assert!(log.ended().iter().all(|e| e.why == Why::Upstream), "{death:?}: {:?}", log.ended());
        assert_eq!(log.ended().len(), 8);
    }
}

#[test]
fn a_caller_that_does_not_read_holds_up_nobody() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    let before = sidecar.rss();
    let deaf: Vec<_> = (0..40)
        .map(|n| {
            let mut conn = client.open(sidecar.inbound);
            conn.write_all(format!("GET /v1/items/big?n={n} HTTP/1.1\r\nHost: items\r\n\r\n").as_bytes()).unwrap();
            conn
        })
        .collect();
    until("they are all asked", || sidecar.log().decided().len() == 40);
    for _ in 0..10 {
        assert_eq!(client.get(sidecar.inbound, "/v1/items/1", ""), 200);
    }
    let grown = sidecar.rss().saturating_sub(before);
    assert!(grown < 40 << 20, "forty answers of four megabytes that nobody reads cost {grown} bytes");
    drop(deaf);
    let log = sidecar.log_until("they have ended", |log| log.ended().len() == 50);
    log.every_allow_ended();
    sidecar.stop();
}

#[test]
fn a_flood_of_connections_from_one_address() {
    let world = World::new();
    let sidecar = world.start();
    let victim = world.client("invoices");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut held = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match from("127.0.0.99", sidecar.inbound) {
                        Ok(socket) => held.push(socket),
                        Err(_) => held.clear(),
                    }
                    if held.len() > 400 {
                        held.clear();
                    }
                }
            });
        }
        let begun = Instant::now();
        let mut served = 0;
        while begun.elapsed() < Duration::from_secs(3) {
            assert_eq!(victim.get(sidecar.inbound, "/v1/items/victim", ""), 200);
            served += 1;
        }
        stop.store(true, Ordering::Relaxed);
        assert!(served > 0);
    });
    until("the flood is over", || sidecar.descriptors() < 60);
    let log = sidecar.stop();
    log.every_allow_ended();
}

/// A small disk of its own, gone with the test. `None`, said aloud, where mounting is not permitted.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: std::path::PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at)),
            _ => {
                eprintln!("skipped: a small tmpfs may not be mounted here");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let world = World::new();
    let Some(disk) = SmallDisk::mount(world.path("disk"), "256k") else { return };
    let config = world.config().replace("path: decisions.ndjson", "path: disk/decisions.ndjson, rotate: {size: 48KiB}");
    let sidecar = world.start_with(&config);
    let client = world.client("invoices");
    std::fs::write(disk.0.join("ballast"), vec![0; 128 << 10]).unwrap();
    let (mut served, mut refused) = (0_u64, 0_u64);
    let mut n = 0;
    let mut ask = || {
        n += 1;
        let status = client.get(sidecar.inbound, &format!("/v1/items/{n}"), "");
        match status {
            200 => served += 1,
            503 => refused += 1,
            other => panic!("{other}"),
        }
        status
    };
    assert!((0..400).any(|_| ask() == 503), "the disk is never full");
    assert!((0..5).all(|_| ask() == 503));
    assert_eq!(page(sidecar.health.unwrap(), "/readyz").status, 503);
    std::fs::remove_file(disk.0.join("ballast")).unwrap();
    let begun = Instant::now();
    while ask() != 200 {
        assert!(begun.elapsed() < PATIENCE, "it never serves again");
        std::thread::sleep(Duration::from_millis(50));
    }
    sidecar.signal("TERM");
    until("it has ended", || !std::path::Path::new(&format!("/proc/{}/status", sidecar.pid())).exists() || zombie(&sidecar));
    let log = all_chains(&disk.0);
    let allowed: BTreeSet<String> = log.iter().flat_map(|l| l.paths(Effect::Allow)).map(str::to_owned).collect();
    let forwarded: BTreeSet<String> = world.upstream.targets().into_iter().collect();
    assert!(forwarded.is_subset(&allowed), "forwarded and not recorded: {:?}", forwarded.difference(&allowed));
    assert_eq!(u64::try_from(allowed.len()).unwrap(), served);
    assert_eq!(log.iter().map(Log::unrecorded).sum::<u64>(), refused);
}

pub(crate) fn zombie(sidecar: &Sidecar) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", sidecar.pid()))
        .is_ok_and(|s| s.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

/// Every chain in a directory, each put together from its rotated files.
pub(crate) fn all_chains(dir: &std::path::Path) -> Vec<Log> {
    let mut files: BTreeMap<String, Vec<(u64, std::path::PathBuf)>> = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "ndjson") {
            let text = std::fs::read_to_string(&path).unwrap();
            let first: serde_json::Value = match text.lines().next() {
                Some(line) => serde_json::from_str(line).unwrap(),
                None => continue,
            };
            let instance = first["instance"].as_str().unwrap().to_owned();
            files.entry(instance).or_default().push((first["seq"].as_u64().unwrap(), path));
        }
    }
    let mut out = Vec::new();
    for (instance, mut parts) in files {
        parts.sort();
        let whole: Vec<u8> = parts.iter().flat_map(|(_, path)| std::fs::read(path).unwrap()).collect();
        let elsewhere = tempfile::tempdir().unwrap();
        let joined = elsewhere.path().join(instance);
        std::fs::write(&joined, whole).unwrap();
        out.push(Log::read(&joined, true));
    }
    out
}

#[test]
fn killed_at_any_moment_the_log_knows_what_was_forwarded() {
    let world = World::new();
    std::fs::create_dir(world.path("log")).unwrap();
    // With `queued` the last few milliseconds may be lost, and how many those are on a busy machine only the machine knows.
    let config = world.config().replace("path: decisions.ndjson", "path: log/decisions.ndjson, durability: written");
    let client = world.client("invoices");
    // What was answered, in all rounds.
    let mut answered: Vec<String> = Vec::new();
    let mut seed = 20_261_126_u64;
    eprintln!("seed {seed}");
    for round in 0..8 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pause = Duration::from_millis(200 + (seed >> 33) % 700);
        let sidecar = world.start_with(&config);
        let to = sidecar.inbound;
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let mut out = Vec::new();
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    let Ok(socket) = TcpStream::connect(to) else { break };
                    drop(socket);
                    let mut conn = client.open(to);
                    for _ in 0..20 {
                        let target = format!("/v1/items/{round}-{n}");
                        n += 1;
                        if conn.write_all(format!("GET {target} HTTP/1.1\r\nHost: items\r\n\r\n").as_bytes()).is_err() {
                            return out;
                        }
                        let mut head = [0; 12];
                        if conn.read_exact(&mut head).is_err() {
                            return out;
                        }
                        assert_eq!(&head, b"HTTP/1.1 200");
                        let mut byte = [0; 1];
                        let end = target.as_bytes();
                        let mut tail = Vec::new();
                        while !tail.ends_with(end) {
                            if conn.read(&mut byte).unwrap_or(0) == 0 {
                                return out;
                            }
                            tail.push(byte[0]);
                        }
                        out.push(target);
                    }
                }
                out
            });
            std::thread::sleep(pause);
            sidecar.kill();
            stop.store(true, Ordering::Relaxed);
            answered.extend(asking.join().unwrap());
        });
    }
    let last = world.start_with(&config);
    assert_eq!(client.get(last.inbound, "/v1/items/last", ""), 200);
    last.signal("TERM");
    until("it has ended", || zombie(&last));
    let chains = all_chains(&world.path("log"));
    assert_eq!(chains.len(), 9, "each life has its own chain");
    let recorded: BTreeSet<&str> = chains.iter().flat_map(|c| c.paths(Effect::Allow)).collect();
    assert!(answered.len() > 100, "only {} requests were answered", answered.len());
    let lost: Vec<_> = answered.iter().chain(&world.upstream.targets()).filter(|t| !recorded.contains(t.as_str())).cloned().collect();
    assert!(lost.is_empty(), "forwarded and not in the log: {lost:?}");
    // Each life names the end of the one before it.
    let afters = chains.iter().filter(|c| matches!(&c.0[0].event, Event::Started(s) if s.after.is_some())).count();
    assert_eq!(afters, 8);
}

#[test]
fn the_key_file_vanishes_and_comes_back() {
    let world = World::new();
    let sidecar = world.start();
    for gone in ["items.key", "items.pem", "roots.pem"] {
        let kept = std::fs::read(world.path(gone)).unwrap();
        let failed = || sidecar.metric("portreeve_reloads_total", "what=\"identity\",result=\"failed\"");
        let told = failed();
        std::fs::remove_file(world.path(gone)).unwrap();
        sidecar.signal("HUP");
        until(&format!("it misses `{gone}`"), || failed() > told);
        assert_eq!(sidecar.metric("portreeve_identity_alarm", ""), 1.0, "{gone}");
        still_serves(&world, &sidecar);
        replace(&world.path(gone), &kept);
        sidecar.signal("HUP");
        until("the alarm is over", || sidecar.metric("portreeve_identity_alarm", "") == 0.0);
        still_serves(&world, &sidecar);
    }
    sidecar.stop();
}

#[test]
fn the_root_is_rotated_twice_under_load() {
    let world = World::new();
    let (second, third) = (Authority::root(DOMAIN), Authority::root(DOMAIN));
    let sidecar = world.start();
    let clients = [&world.root, &second, &third].map(|root| Client::with(&root.leaf(&[&spiffe("invoices")])));
    let welcome = |client: &Client| client.turned_away(sidecar.inbound).is_none();
    let roots = |list: &[&Authority]| {
        replace(&world.path("roots.pem"), list.iter().map(|a| a.pem.as_str()).collect::<String>().as_bytes());
        sidecar.signal("HUP");
    };
    // Whoever is vouched for by a root that stays is served without a break.
    let steps: [(&[&Authority], &Authority, [bool; 3]); 5] = [
        (&[&world.root, &second], &world.root, [true, true, false]),
        (&[&world.root, &second], &second, [true, true, false]),
        (&[&second], &second, [false, true, false]),
        (&[&second, &third], &third, [false, true, true]),
        (&[&third], &third, [false, false, true]),
    ];
    for (list, own, expected) in steps {
        let stays: Vec<&Client> = clients.iter().zip(expected).filter(|(c, after)| *after && welcome(c)).map(|(c, _)| c).collect();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                let mut served = 0;
                while !done.load(Ordering::Relaxed) || served == 0 {
                    for client in &stays {
                        assert_eq!(client.get(sidecar.inbound, "/v1/items/load", ""), 200);
                        served += 1;
                    }
                    if stays.is_empty() {
                        served = 1;
                        std::thread::sleep(Duration::from_millis(10));
                    }
                }
            });
            own.leaf(&[&spiffe("items")]).write(world.dir.path(), "items");
            roots(list);
            for (client, expected) in clients.iter().zip(expected) {
                until("the roots are in force", || welcome(client) == expected);
            }
            done.store(true, Ordering::Relaxed);
            load.join().unwrap();
        });
    }
    let log = sidecar.stop();
    log.every_allow_ended();
    assert!(log.refused().iter().all(|w| matches!(*w, "unknown-issuer" | "bad-signature")), "{:?}", log.refused());
}

#[test]
fn the_clock_jumps() {
    // A preloaded library gives the process another wall clock, which a file moves while it runs.
    let library = ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];
    let Some(library) = library.into_iter().find(|p| std::path::Path::new(p).exists()) else {
        eprintln!("skipped: there is no libfaketime on this machine");
        return;
    };
    let world = World::new();
    std::fs::write(world.path("enforcer.yaml"), world.config()).unwrap();
    let jump = |offset: &str| replace(&world.path("clock"), format!("{offset}\n").as_bytes());
    jump("+0");
    let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve-enforcer"));
    command.arg("--config").arg(world.path("enforcer.yaml")).env("LD_PRELOAD", library);
    command
        .env("FAKETIME_TIMESTAMP_FILE", world.path("clock"))
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
    let sidecar = Sidecar::spawn(command, &world.path("decisions.ndjson"));
    let long = Client::with(&world.root.odd_leaf(&[&spiffe("invoices")], |p| p.not_after = hence(Duration::from_secs(80_000))));
    let hour = world.client("invoices");
    assert_eq!(hour.get(sidecar.inbound, "/v1/items/now", ""), 200);
    // Back by an hour: the log's time stands still, what is asked is answered, and the step is counted.
    jump("-3600");
    until("the step back is noticed", || {
        assert!(matches!(long.get(sidecar.inbound, "/v1/items/back", ""), 200 | 0 | 503));
        sidecar.metric("portreeve_clock_steps_back", "") > 0.0
    });
    // Forward by two: certificates of an hour have ended, in the handshake and on open connections.
    jump("+0");
    let mut open = hour.open(sidecar.inbound);
    open.write_all(b"GET /v1/items/open HTTP/1.1\r\nHost: items\r\n\r\n").unwrap();
    assert_eq!(one_answer(&mut open).status, 200);
    jump("+7200");
    until("the hour is over for new handshakes", || hour.turned_away(sidecar.inbound).is_some());
    // What was open may not ask anything more.
    let _ = open.write_all(b"GET /v1/items/late HTTP/1.1\r\nHost: items\r\n\r\n");
    let late = answers(&rest(&mut open));
    assert!(late.iter().all(|a| a.status != 200), "a certificate that ended is still asked for: {late:?}");
    let log = Log::read(&world.path("decisions.ndjson"), true);
    assert!(log.refused().iter().all(|w| w.starts_with("certificate") || *w == "own-identity"), "{:?}", log.refused());
    sidecar.kill();
    assert!(!world.upstream.got(b"late"));
}
