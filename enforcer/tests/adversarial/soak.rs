//! The soak: everything at once, for as long as one likes. A short one runs with the other tests; `tests/soak.sh` runs a long one.
//!
//! Callers of several kinds ask without pause while bundles (good and broken), certificates and revocation lists are replaced,
//! the service fails, and strangers, resets, unique paths and callers that do not read press on the gate. Every answer is held
//! against the policies that could have been in force while it was asked for; what callers and service saw is held against the
//! log at the end; memory may not grow once it is warm.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portreeve_engine::Effect;

use crate::chaos::{all_chains, zombie};
use crate::client::Client;
use crate::http2::{END_HEADERS, END_STREAM, HEADERS, Http2, RST_STREAM, frame, request};
use crate::log::Log;
use crate::pki::{hence, replace};
use crate::upstream::Upstream;
use crate::world::{SHOP, Sidecar, World, until};

/// The policies that take turns: under the first `users` may not read, under the second it may.
fn policies() -> [String; 2] {
    [SHOP.to_owned(), SHOP.replace("allow: {from: [invoices]", "allow: {from: [invoices, users]")]
}

/// Whether `users` may read under each of the policies that may be in force, from one moment to another.
#[derive(Default)]
struct InForce {
    history: Mutex<Vec<BTreeSet<usize>>>,
}

impl InForce {
    fn may_be(&self, which: &[usize]) {
        self.history.lock().unwrap().push(which.iter().copied().collect());
    }

    fn moment(&self) -> usize {
        self.history.lock().unwrap().len() - 1
    }

    fn since(&self, moment: usize) -> BTreeSet<usize> {
        self.history.lock().unwrap()[moment..].iter().flatten().copied().collect()
    }
}

/// What callers saw.
#[derive(Default)]
struct Ledger {
    allowed: Mutex<BTreeSet<String>>,
    denied: Mutex<BTreeSet<String>>,
    next: AtomicU64,
    refused: AtomicU64,
    revoked: AtomicU64,
    resets: AtomicU64,
    reloads: AtomicU64,
    /// Answers of 503 to the one who asks without end.
    unrecorded: AtomicU64,
}

struct Soak<'a> {
    world: &'a World,
    sidecar: &'a Sidecar,
    in_force: InForce,
    ledger: Ledger,
    over: AtomicBool,
    /// Serial numbers that were revoked, for the next list.
    revoked: Mutex<Vec<Vec<u8>>>,
}

impl Soak<'_> {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn rest(&self, time: Duration) {
        let begun = Instant::now();
        while self.goes_on() && begun.elapsed() < time {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A path that nobody asked for before.
    fn path(&self) -> String {
        format!("/v1/items/{}", self.ledger.next.fetch_add(1, Ordering::Relaxed))
    }

    fn keep(&self, path: String, status: u16) {
        let set = if status == 200 { &self.ledger.allowed } else { &self.ledger.denied };
        set.lock().unwrap().insert(path);
    }

    /// A lawful caller on connections that it keeps for a while: always served.
    fn lawful(&self) {
        while self.goes_on() {
            // A new certificate now and then, as workloads have.
            let client = self.world.client("invoices");
            for _ in 0..20 {
                let mut conn = client.open(self.sidecar.inbound);
                for _ in 0..50 {
                    let path = self.path();
                    conn.write_all(format!("GET {path} HTTP/1.1\r\nHost: items\r\n\r\n").as_bytes()).unwrap();
                    let answer = crate::client::one_answer(&mut conn);
                    // Our certificate changes all the time, and connections that know an old one are wound down: in order, and told.
                    let last = answer.header("connection") == Some("close");
                    assert_eq!((answer.status, answer.body), (200, format!("you asked for {path}").into_bytes()));
                    self.keep(path, 200);
                    if last {
                        break;
                    }
                }
                if !self.goes_on() {
                    return;
                }
            }
        }
    }

    /// A caller whose right comes and goes: the answer must be that of a policy that could have been in force.
    fn changing(&self, http2: bool) {
        while self.goes_on() {
            let client = self.world.client("users");
            let mut streams = http2.then(|| Http2::open(&client, self.sidecar.inbound));
            for n in 0..100_u32 {
                let (path, before) = (self.path(), self.in_force.moment());
                let status = match &mut streams {
                    Some(http2) => {
                        let stream = 2 * n + 1;
                        http2.send(HEADERS, END_STREAM | END_HEADERS, stream, &request("GET", &path)).unwrap();
                        http2.reply(stream).status
                    }
                    None => client.get(self.sidecar.inbound, &path, ""),
                };
                // Nothing is asked on a connection that was told to go away; what was on its way then is asked again.
                if status == 0 && streams.as_ref().is_some_and(|http2| http2.goaway == Some(0)) {
                    break;
                }
                let policies = self.in_force.since(before);
                // While the policy changes, what it takes away is denied or, where its answer has begun, broken off.
                if policies.len() > 1 && status == 0 {
                    break;
                }
                let expected: BTreeSet<u16> = policies.iter().map(|p| [403, 200][*p]).collect();
                assert!(expected.contains(&status), "{path}: {status}, and only {expected:?} could be right");
                self.keep(path, status);
                if !self.goes_on() {
                    return;
                }
            }
        }
    }

    /// Paths that nobody knows, from one who may do nothing with them.
    fn unique_paths(&self) {
        let client = self.world.client("users");
        let mut n = 0_u64;
        while self.goes_on() {
            let mut conn = client.open(self.sidecar.inbound);
            for _ in 0..100 {
                n += 1;
                conn.write_all(format!("GET /nowhere/{n}/{n:x}?q={n} HTTP/1.1\r\nHost: h{n}.example\r\nx-tenant: t{n}\r\n\r\n").as_bytes())
                    .unwrap();
                let answer = crate::client::one_answer(&mut conn);
                // On a disk that stands still for a quarter of a second this caller fills its own share of the queue, and nobody else's.
                assert!(matches!(answer.status, 403 | 503), "{}", answer.status);
                if answer.status == 503 {
                    self.ledger.unrecorded.fetch_add(1, Ordering::Relaxed);
                }
                if answer.header("connection") == Some("close") {
                    break;
                }
            }
        }
    }

    fn strangers(&self) {
        let nobody = Client::nobody();
        while self.goes_on() {
            assert!(nobody.turned_away(self.sidecar.inbound).is_some());
            let _ = std::net::TcpStream::connect(self.sidecar.inbound).map(|mut s| s.write_all(b"GET / HTTP/1.1\r\n\r\n"));
            self.ledger.refused.fetch_add(2, Ordering::Relaxed);
            self.rest(Duration::from_millis(20));
        }
    }

    fn resets(&self) {
        let client = self.world.client("stranger");
        let get = request("GET", "/v1/items/reset");
        while self.goes_on() {
            let mut http2 = Http2::open(&client, self.sidecar.inbound);
            for stream in (1..2000_u32).step_by(2) {
                let pair =
                    [frame(HEADERS, END_STREAM | END_HEADERS, stream, &get), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat();
                if http2.raw(&pair).is_err() {
                    break;
                }
                self.ledger.resets.fetch_add(1, Ordering::Relaxed);
            }
            self.rest(Duration::from_millis(100));
        }
    }

    /// Callers that ask for much and read little, and callers that send half a head.
    fn slow(&self) {
        let client = self.world.client("invoices");
        while self.goes_on() {
            let mut held = Vec::new();
            for n in 0..8 {
                let mut conn = client.open(self.sidecar.inbound);
                let head =
                    if n % 2 == 0 { "GET /v1/items/big HTTP/1.1\r\nHost: items\r\n\r\n" } else { "GET /v1/items/half HTTP/1.1\r\nHo" };
                let _ = conn.write_all(head.as_bytes());
                let _ = conn.read(&mut [0; 64]).ok().filter(|_| n % 2 == 0);
                held.push(conn);
                if !self.goes_on() {
                    return;
                }
            }
            self.rest(Duration::from_secs(2));
        }
    }

    /// A service that fails: 502, or an answer that visibly broke off.
    fn failing(&self) {
        let client = self.world.client("invoices");
        while self.goes_on() {
            for target in ["die", "die-early", "die-head"] {
                assert_eq!(client.get(self.sidecar.inbound, &format!("/v1/items/{target}"), ""), 502);
            }
            let bytes = client.send(self.sidecar.inbound, b"GET /v1/items/die-chunk HTTP/1.1\r\nHost: items\r\n\r\n");
            assert!(!bytes.ends_with(b"0\r\n\r\n"));
            let _ = client.send(self.sidecar.inbound, b"GET /v1/items/die-mid HTTP/1.1\r\nHost: items\r\n\r\n");
            self.rest(Duration::from_millis(100));
        }
    }

    /// Turns policies: good, broken, good. What could be in force is known at every moment.
    fn reloads(&self) {
        let texts = policies();
        let mut now = 0;
        while self.goes_on() {
            self.rest(Duration::from_millis(700));
            let told = self.sidecar.said_count("the new bundle is not taken up");
            self.world.policies(&[("shop.yaml", "kind: Nonsense\n")]);
            self.sidecar.signal("HUP");
            until("the broken bundle is refused", || self.sidecar.said_count("the new bundle is not taken up") > told);
            let next = 1 - now;
            let taken = self.sidecar.said_count("is in force");
            self.in_force.may_be(&[now, next]);
            self.world.policies(&[("shop.yaml", &texts[next])]);
            self.sidecar.signal("HUP");
            until("the good bundle is in force", || self.sidecar.said_count("is in force") > taken);
            self.in_force.may_be(&[next]);
            now = next;
            self.ledger.reloads.fetch_add(2, Ordering::Relaxed);
        }
    }

    fn write_lists(&self) {
        let revoked = self.revoked.lock().unwrap();
        let serials: Vec<&[u8]> = revoked.iter().map(Vec::as_slice).collect();
        replace(&self.world.path("lists.pem"), self.world.root.crl(&serials, hence(Duration::from_secs(86_400)), |_| ()).as_bytes());
    }

    /// Lets somebody in, revokes the certificate, and makes sure that nobody with it gets in any more.
    fn revocations(&self) {
        while self.goes_on() {
            let leaf = self.world.leaf("invoices");
            let client = Client::with(&leaf);
            assert_eq!(client.get(self.sidecar.inbound, &self.served_path(), ""), 200);
            self.revoked.lock().unwrap().push(leaf.serial.clone());
            self.write_lists();
            self.sidecar.signal("HUP");
            until("the revoked one is turned away", || client.turned_away(self.sidecar.inbound).is_some());
            for _ in 0..5 {
                assert_eq!(client.get(self.sidecar.inbound, "/v1/items/revoked", ""), 0, "a revoked certificate was let in");
            }
            self.ledger.revoked.fetch_add(1, Ordering::Relaxed);
            // Our own certificate changes too.
            self.world.leaf("items").write(self.world.dir.path(), "items");
            self.sidecar.signal("HUP");
            self.rest(Duration::from_secs(1));
        }
    }

    fn served_path(&self) -> String {
        let path = self.path();
        self.keep(path.clone(), 200);
        path
    }
}

/// Memory once every five seconds, or ten times in a short soak.
fn watch_memory(soak: &Soak<'_>, time: Duration) -> Vec<u64> {
    let begun = Instant::now();
    let mut out = Vec::new();
    while begun.elapsed() < time {
        std::thread::sleep((time / 40).clamp(Duration::from_millis(200), Duration::from_secs(5)));
        out.push(soak.sidecar.rss());
    }
    out
}

fn mean(samples: &[u64]) -> u64 {
    samples.iter().sum::<u64>() / u64::try_from(samples.len()).unwrap()
}

fn soak(time: Duration, keep: Option<PathBuf>) {
    let mut world = World::new();
    world.upstream = Upstream::forgetful();
    std::fs::create_dir(world.path("log")).unwrap();
    replace(&world.path("lists.pem"), world.root.crl(&[], hence(Duration::from_secs(86_400)), |_| ()).as_bytes());
    let config = world
        .config()
        .replace("path: decisions.ndjson", "path: log/decisions.ndjson, rotate: {size: 16MiB}")
        .replace("heartbeat: 50ms", "heartbeat: 1s")
        .replace("  trust:", "  crl: [lists.pem]\n  trust:");
    let sidecar = world.start_with(&format!("{config}self_check: {{one_in: 100}}\n"));
    let soak = Soak {
        world: &world,
        sidecar: &sidecar,
        in_force: InForce::default(),
        ledger: Ledger::default(),
        over: AtomicBool::new(false),
        revoked: Mutex::default(),
    };
    soak.in_force.may_be(&[0]);
    let samples = std::thread::scope(|scope| {
        /// Ends the soak when a part of it fails, so that the failure is told at once.
        struct Ends<'s>(&'s AtomicBool);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let soak = &soak;
        let parts: [fn(&Soak<'_>); 11] = [
            |s| s.lawful(),
            |s| s.lawful(),
            |s| s.changing(false),
            |s| s.changing(true),
            |s| s.unique_paths(),
            |s| s.strangers(),
            |s| s.resets(),
            |s| s.slow(),
            |s| s.failing(),
            |s| s.reloads(),
            |s| s.revocations(),
        ];
        for part in parts {
            scope.spawn(move || {
                let _ends = Ends(&soak.over);
                part(soak);
            });
        }
        let samples = watch_memory(soak, time);
        soak.over.store(true, Ordering::Relaxed);
        samples
    });
    let ledger = &soak.ledger;
    let (allowed, denied) = (ledger.allowed.lock().unwrap(), ledger.denied.lock().unwrap());
    until("every connection has ended", || sidecar.metric("portreeve_connections", "") == 0.0);
    let quarter = samples.len() / 4;
    let (warm, last) = (mean(&samples[quarter..2 * quarter]), mean(&samples[3 * quarter..]));
    let slope = slope_bytes_per_minute(&samples[quarter..], time);
    eprintln!(
        "soak of {time:?}: {} served, {} denied as they had to be, {} strangers, {} resets, {} revocations, {} reloads; memory {:.1} MiB warm, {:.1} MiB at the end, {:.0} KiB a minute; {} descriptors left",
        allowed.len(),
        denied.len(),
        ledger.refused.load(Ordering::Relaxed),
        ledger.resets.load(Ordering::Relaxed),
        ledger.revoked.load(Ordering::Relaxed),
        ledger.reloads.load(Ordering::Relaxed),
        mib(warm),
        mib(last),
        slope / 1024.0,
        sidecar.descriptors(),
    );
    assert!(last < warm + GROWTH_MAX, "memory grows: {samples:?}");
    assert!(sidecar.descriptors() < 80, "{} descriptors are left", sidecar.descriptors());
    assert_eq!(sidecar.metric("portreeve_self_check_disagreements_total", ""), 0.0);
    assert!(sidecar.metric("portreeve_self_checks_total", "") > 0.0);
    assert!(!sidecar.said().contains("panicked"), "{}", sidecar.said());
    let counted = sidecar.metric("portreeve_unrecorded_total", "");
    let of_callers = sidecar.metric("portreeve_unrecorded_causes_total", "cause=\"caller\"");
    assert!((counted - of_callers).abs() < 0.5, "{counted} were refused for want of a record, {of_callers} for one caller's share");
    sidecar.signal("TERM");
    until("it has ended", || zombie(&sidecar));
    let chains = all_chains(&world.path("log"));
    assert_eq!(chains.len(), 1);
    books(&world, &chains[0], &allowed, &denied);
    // What could not be recorded was refused, and is told: no more and no less.
    let (told, seen) = (chains[0].unrecorded(), ledger.unrecorded.load(Ordering::Relaxed));
    eprintln!("{told} requests could not be recorded; their callers were told 503 {seen} times");
    assert!(seen <= told && (u64_of(counted) == told), "{seen} answers of 503, {told} told by the log, {counted} counted");
    if let Some(keep) = keep {
        let copied = std::process::Command::new("cp").arg("-r").arg(world.dir.path()).arg(keep).status().unwrap();
        assert!(copied.success());
    }
}

/// What callers and service saw, against the log.
fn books(world: &World, log: &Log, allowed: &BTreeSet<String>, denied: &BTreeSet<String>) {
    let recorded = |effect| -> BTreeSet<String> { log.paths(effect).into_iter().map(str::to_owned).collect() };
    let (allows, mut denials) = (recorded(Effect::Allow), recorded(Effect::Deny));
    // What a new policy took away while it ran was allowed first and answered with a denial then.
    denials.extend(log.cut_by_policy());
    let lost: Vec<_> = allowed.difference(&allows).collect();
    assert!(lost.is_empty(), "served and not in the log: {lost:?}");
    let lost: Vec<_> = denied.difference(&denials).collect();
    assert!(lost.is_empty(), "denied and not in the log: {lost:?}");
    let forwarded: BTreeSet<String> = world.upstream.seen().into_iter().map(|s| s.target).collect();
    let unknown: Vec<_> = forwarded.difference(&allows).collect();
    assert!(unknown.is_empty(), "the service saw what the log does not allow: {unknown:?}");
    log.every_allow_ended();
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, as metrics spell it")]
fn u64_of(count: f64) -> u64 {
    count as u64
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Least squares over the samples.
#[expect(clippy::cast_precision_loss, reason = "a slope is an estimate")]
fn slope_bytes_per_minute(samples: &[u64], time: Duration) -> f64 {
    let n = samples.len() as f64;
    let (mean_x, mean_y) = ((n - 1.0) / 2.0, samples.iter().map(|s| *s as f64).sum::<f64>() / n);
    let (mut above, mut below) = (0.0, 0.0);
    for (x, y) in samples.iter().enumerate() {
        above += (x as f64 - mean_x) * (*y as f64 - mean_y);
        below += (x as f64 - mean_x).powi(2);
    }
    let per_sample = above / below;
    // Three quarters of the time were sampled.
    per_sample * n / (time.as_secs_f64() * 0.75) * 60.0
}

/// What memory may grow by, from the second quarter of a soak to its last: buffers of callers that do not read come and go.
const GROWTH_MAX: u64 = 16 << 20;

#[test]
fn a_short_soak() {
    soak(Duration::from_secs(8), None);
}

#[test]
#[ignore = "minutes, on demand: tests/soak.sh"]
#[expect(clippy::disallowed_methods, reason = "how long is asked for by the environment; the ban is on the gate, not on its tests")]
fn a_long_soak() {
    let seconds = std::env::var("PORTREEVE_SOAK_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(600);
    soak(Duration::from_secs(seconds), std::env::var("PORTREEVE_SOAK_KEEP").ok().map(PathBuf::from));
}
