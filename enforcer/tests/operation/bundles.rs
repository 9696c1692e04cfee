//! Bundles from a server: nothing unsigned, no step back, also over restarts; the last good one is kept; age has its consequence
//! (A75, A80).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use portreeve_enforcer::Enforcer;
use portreeve_enforcer::clock::Clock;
use portreeve_enforcer::report::Report;
use portreeve_enforcer::standby::Standby;
use portreeve_engine::bundle::{BuiltBundle, BundleSigner, Label};
use portreeve_engine::record::{Outcome, Why};
use portreeve_engine::{Bundle, Digest, Effect, Event, SourceFile, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::world::{SHOP, World, at, names, status, until};

/// A server of one file.
struct Server {
    address: SocketAddr,
    file: Arc<Mutex<Option<Vec<u8>>>>,
    given: Arc<AtomicU64>,
    unchanged: Arc<AtomicU64>,
    /// Whether it says that nothing changed whatever it is asked.
    stubborn: Arc<AtomicBool>,
    /// How many it lets wait for an answer for ever, if it answers nobody.
    mute: Arc<Mutex<Option<u64>>>,
}

impl Server {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self {
            address,
            file: Arc::default(),
            given: Arc::default(),
            unchanged: Arc::default(),
            stubborn: Arc::default(),
            mute: Arc::default(),
        };
        let (stubborn, mute) = (Arc::clone(&server.stubborn), Arc::clone(&server.mute));
        let (file, given, unchanged) = (Arc::clone(&server.file), Arc::clone(&server.given), Arc::clone(&server.unchanged));
        tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                if let Some(waiting) = mute.lock().unwrap().as_mut() {
                    *waiting += 1;
                    held.push(stream);
                    continue;
                }
                let Some(bytes) = file.lock().unwrap().clone() else { continue };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {}
                let head = String::from_utf8_lossy(&head).to_lowercase();
                if !head.starts_with("get /shop.tar.gz ") || !head.contains("authorization: bearer hush") {
                    stream.write_all(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                    continue;
                }
                let etag = format!("\"{}\"", Digest::of(&bytes).hex());
                if stubborn.load(Ordering::Relaxed) || head.contains(&format!("if-none-match: {etag}")) {
                    unchanged.fetch_add(1, Ordering::Relaxed);
                    let _ = stream.write_all(b"HTTP/1.1 304 Not Modified\r\n\r\n").await;
                    continue;
                }
                given.fetch_add(1, Ordering::Relaxed);
                let head = format!("HTTP/1.1 200 OK\r\nETag: {etag}\r\nContent-Length: {}\r\n\r\n", bytes.len());
                let _ = stream.write_all(&[head.as_bytes(), &bytes].concat()).await;
            }
        });
        server
    }

    fn gives(&self, bytes: Option<Vec<u8>>) {
        *self.file.lock().unwrap() = bytes;
    }
}

struct Shop {
    world: World,
    server: Server,
}

impl Shop {
    async fn new() -> Self {
        let world = World::new().await;
        let pair = portreeve_enforcer::ca::head_key().unwrap();
        pair.write(&world.path("bundle.key"), &world.path("bundle.pub")).unwrap();
        std::fs::write(world.path("token"), "hush\n").unwrap();
        Self { world, server: Server::new().await }
    }

    fn built(&self, name: &str, serial: u64, at: Timestamp, owner: &str) -> BuiltBundle {
        let text = SHOP.replace("team-billing", owner);
        let files = vec![SourceFile { path: "shop.yaml".to_owned(), bytes: text.into_bytes() }];
        let label = Label { name: name.to_owned(), serial, issued_at: at };
        BuiltBundle::build(Bundle::from_files("shop", files).unwrap(), label).unwrap()
    }

    fn signed(&self, name: &str, serial: u64, at: Timestamp, owner: &str) -> Vec<u8> {
        let signer = BundleSigner::from_pem(&std::fs::read_to_string(self.world.path("bundle.key")).unwrap()).unwrap();
        self.built(name, serial, at, owner).sign(&signer).unwrap().to_bytes().unwrap()
    }

    fn config(&self, more: &str) -> String {
        format!(
            "bundle: {{url: \"http://{}/shop.tar.gz\", private_addresses: true, key: bundle.pub, token: token, poll: 20ms{more}}}\nhealth: {{listen: \"127.0.0.1:0\"}}\n",
            self.server.address
        )
    }

    fn begin(&self, more: &str, clock: Clock) -> Standby {
        Standby::begin(self.world.config(&self.config(more)), Report::silent(), Arc::new(clock)).unwrap()
    }

    async fn start(&self, more: &str) -> Enforcer {
        self.begin(more, Clock::new()).at_once().await.unwrap()
    }

    fn kept(&self) -> Vec<PathBuf> {
        let Ok(dir) = std::fs::read_dir(self.world.path("bundle-cache")) else { return Vec::new() };
        dir.map(|f| f.unwrap().path()).collect()
    }
}

fn now() -> Timestamp {
    Clock::new().now()
}

async fn alarm(enforcer: &Enforcer, value: u8) {
    let line = format!("portreeve_bundle_alarm {value}");
    until(&line, || async { enforcer.gate().metrics.render() }, |page| page.lines().any(|l| l == line)).await;
}

#[tokio::test]
async fn a75_what_a_server_gives_is_taken_up_only_if_it_is_signed_and_no_step_back() {
    let shop = Shop::new().await;
    shop.server.gives(Some(shop.signed("shop", 7, now(), "core")));
    let enforcer = shop.start("").await;
    let in_force = || *enforcer.gate().policy.load().revision();
    let first = in_force();
    until("it is asked with what it has", || async { shop.server.unchanged.load(Ordering::Relaxed) }, |n| *n > 2).await;
    assert_eq!(shop.server.given.load(Ordering::Relaxed), 1, "the same is not sent again");
    let mut torn = shop.signed("shop", 9, now(), "edge");
    torn.truncate(torn.len() - 20);
    let other = BundleSigner::from_seed(&[1; 32]);
    let foreign = shop.built("shop", 9, now(), "edge").sign(&other).unwrap().to_bytes().unwrap();
    for (what, bytes) in [
        ("an older serial", shop.signed("shop", 6, now(), "edge")),
        ("the same serial for something else", shop.signed("shop", 7, now(), "edge")),
        ("another name", shop.signed("town", 8, now(), "edge")),
        ("no signature", shop.built("shop", 8, now(), "edge").to_bytes().unwrap()),
        ("another's signature", foreign),
        ("half of it", torn),
        ("no bundle", b"<html>".to_vec()),
    ] {
        shop.server.gives(Some(bytes));
        alarm(&enforcer, 1).await;
        assert_eq!(in_force(), first, "{what}");
        let seen = shop.server.unchanged.load(Ordering::Relaxed);
        until("it is not sent again", || async { shop.server.unchanged.load(Ordering::Relaxed) }, |n| *n > seen + 2).await;
        assert!(enforcer.gate().metrics.render().contains("portreeve_bundle_alarm 1"), "{what}: it is still refused");
        shop.server.gives(Some(shop.signed("shop", 7, now(), "core")));
        alarm(&enforcer, 0).await;
    }
    shop.server.gives(Some(shop.signed("shop", 8, now(), "edge")));
    until("the new one is in force", || async { in_force() }, |found| *found != first).await;
    let second = in_force();
    assert_eq!(status(&shop.world.get(enforcer.inbound()[0], "").await.unwrap()), 200);
    enforcer.shutdown().await;
    let records = shop.world.records("decisions.ndjson");
    let Event::Started(started) = &records[0].event else { panic!() };
    assert_eq!(started.bundle.as_ref().map(|b| (b.name.as_str(), b.serial, b.fresh_until)), Some(("shop", 7, None)));
    let last = records.iter().rev().find_map(|r| if let Event::Reloaded(r) = &r.event { Some(r.clone()) } else { None }).unwrap();
    assert_eq!((last.revision, last.bundle.map(|b| b.serial)), (second, Some(8)));

    // Over a restart the step back is still one: what was kept goes on.
    shop.server.gives(Some(shop.signed("shop", 7, now(), "core")));
    let enforcer = shop.start("").await;
    assert_eq!(*enforcer.gate().policy.load().revision(), second);
    alarm(&enforcer, 1).await;
    enforcer.shutdown().await;
    assert_eq!(shop.kept().len(), 1);
}

/// What was refused for something that is none of its own is taken up once that is otherwise, though its server does not give it again.
#[tokio::test]
async fn a_bundle_that_came_before_its_key_or_its_time_is_taken_up_later() {
    let shop = Shop::new().await;
    let ahead = Arc::new(AtomicI64::new(0));
    let source = Arc::clone(&ahead);
    let clock = Clock::reading(move || SystemTime::now() + Duration::from_secs(source.load(Ordering::Relaxed).try_into().unwrap()));
    shop.server.gives(Some(shop.signed("shop", 7, now(), "core")));
    let enforcer = shop.begin(", max_age: 30d", clock).at_once().await.unwrap();
    let in_force = || *enforcer.gate().policy.load().revision();
    // The next one is signed with another key, of which this enforcer is told later.
    let pair = portreeve_enforcer::ca::head_key().unwrap();
    pair.write(&shop.world.path("next.key"), &shop.world.path("next.pub")).unwrap();
    let signed = |serial, at, owner| {
        let signer = BundleSigner::from_pem(&std::fs::read_to_string(shop.world.path("next.key")).unwrap()).unwrap();
        shop.built("shop", serial, at, owner).sign(&signer).unwrap().to_bytes().unwrap()
    };
    let refused = async |before| {
        alarm(&enforcer, 1).await;
        let seen = shop.server.unchanged.load(Ordering::Relaxed);
        until("it is not sent again", || async { shop.server.unchanged.load(Ordering::Relaxed) }, |n| *n > seen + 2).await;
        assert_eq!(in_force(), before);
    };
    let first = in_force();
    shop.server.gives(Some(signed(8, now(), "edge")));
    refused(first).await;
    std::fs::rename(shop.world.path("next.pub"), shop.world.path("bundle.pub")).unwrap();
    until("the next one is in force", || async { in_force() }, |found| *found != first).await;
    alarm(&enforcer, 0).await;
    // Our clock is an hour behind the one by which it was issued.
    let second = in_force();
    shop.server.gives(Some(signed(9, now().plus_ms(3_600_000), "core")));
    refused(second).await;
    ahead.store(3600, Ordering::Relaxed);
    until("the third one is in force", || async { in_force() }, |found| *found != second).await;
    alarm(&enforcer, 0).await;
    enforcer.shutdown().await;
}

#[tokio::test]
async fn a_start_without_the_server_stands_on_what_was_kept_and_believes_only_the_signature() {
    let shop = Shop::new().await;
    let waiting = shop.begin("", Clock::new());
    let health = waiting.health().unwrap();
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).unwrap();
    let waiting = tokio::spawn(async move { waiting.ready(&mut hangup).await });
    until("it says what is missing", || at(health, "/readyz"), |page| page.contains("the bundle cannot be taken up")).await;
    shop.server.gives(Some(shop.signed("shop", 7, now(), "core")));
    let enforcer = tokio::time::timeout(crate::world::LIMIT, waiting).await.unwrap().unwrap().unwrap();
    let revision = *enforcer.gate().policy.load().revision();
    assert_eq!(status(&shop.world.get(enforcer.inbound()[0], "").await.unwrap()), 200);
    enforcer.shutdown().await;

    shop.server.gives(None);
    let enforcer = shop.start("").await;
    assert_eq!(*enforcer.gate().policy.load().revision(), revision);
    assert_eq!(status(&shop.world.get(enforcer.inbound()[0], "").await.unwrap()), 200);
    alarm(&enforcer, 1).await;
    shop.server.gives(Some(shop.signed("shop", 7, now(), "core")));
    alarm(&enforcer, 0).await;
    enforcer.shutdown().await;

    // Whoever can write there can take it away, and no more.
    shop.server.gives(None);
    let kept = shop.kept().remove(0);
    let forged = shop.built("shop", 99, now(), "evil").sign(&BundleSigner::from_seed(&[1; 32])).unwrap().to_bytes().unwrap();
    let good = std::fs::read(&kept).unwrap();
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for bytes in [forged, flipped, good[..good.len() / 2].to_vec(), Vec::new()] {
        std::fs::write(&kept, bytes).unwrap();
        let error = shop.begin("", Clock::new()).at_once().await.err().unwrap().to_string();
        assert!(error.contains("cannot be fetched"), "{error}");
    }
    std::fs::write(&kept, good).unwrap();
    shop.start("").await.shutdown().await;
}

/// A clock that a test can set.
fn settable() -> (Arc<AtomicI64>, Clock) {
    let ahead = Arc::new(AtomicI64::new(0));
    let source = Arc::clone(&ahead);
    let clock = Clock::reading(move || SystemTime::now() + Duration::from_secs(source.load(Ordering::Relaxed).try_into().unwrap()));
    (ahead, clock)
}

#[tokio::test]
async fn a80_a_server_that_is_down_for_hours_leaves_a_bundle_that_is_too_old() {
    for on_stale in ["alarm", "deny"] {
        let shop = Shop::new().await;
        let (ahead, clock) = settable();
        shop.server.gives(Some(shop.signed("shop", 7, now(), "core")));
        let enforcer = shop.begin(&format!(", max_age: 10m, on_stale: {on_stale}"), clock).at_once().await.unwrap();
        let (to, health) = (enforcer.inbound()[0], enforcer.health().unwrap());
        assert_eq!(status(&shop.world.get(to, "").await.unwrap()), 200);
        assert_eq!(at(health, "/readyz").await.split("\r\n\r\n").nth(1), Some("ready\n"));
        shop.server.gives(None);
        ahead.store(3 * 3600, Ordering::Relaxed);
        let denies = on_stale == "deny";
        assert_eq!(status(&shop.world.get(to, "").await.unwrap()), if denies { 503 } else { 200 });
        let page = at(health, "/readyz").await;
        assert_eq!(status(&page), if denies { 503 } else { 200 });
        assert!(page.contains("the bundle is older than it may be"), "{page}");
        until("the metric tells", || at(health, "/metrics"), |page| page.contains("portreeve_bundle_stale 1")).await;
        until(
            "the heartbeat tells",
            || async { shop.world.records("decisions.ndjson") },
            |records| records.iter().any(|r| matches!(&r.event, Event::Heartbeat(beat) if beat.stale)),
        )
        .await;
        // The same bundle, issued again: nothing changes but its age.
        let later = now().plus_ms(3 * 3600 * 1000);
        shop.server.gives(Some(shop.signed("shop", 8, later, "core")));
        until("it is fresh again", || at(health, "/metrics"), |page| page.contains("portreeve_bundle_stale 0")).await;
        assert_eq!(status(&shop.world.get(to, "").await.unwrap()), 200);
        enforcer.shutdown().await;
        let records = shop.world.records("decisions.ndjson");
        let Event::Started(started) = &records[0].event else { panic!() };
        let issue = started.bundle.clone().unwrap();
        assert_eq!(issue.fresh_until, Some(issue.issued_at.plus_ms(600_000)));
        let decided: Vec<_> = records.iter().filter_map(|r| if let Event::Decided(d) = &r.event { Some(d) } else { None }).collect();
        assert_eq!(decided.iter().map(|d| d.decision.effect).collect::<Vec<_>>(), [Effect::Allow; 3], "the law is what it was");
        let ends: Vec<_> =
            records.iter().filter_map(|r| if let Event::Ended(e) = &r.event { Some((e.outcome, e.status, e.why)) } else { None }).collect();
        let good = (Outcome::Forwarded, Some(200), Why::Complete);
        assert_eq!(ends, [good, if denies { (Outcome::Unavailable, Some(503), Why::Stale) } else { good }, good]);
        assert_eq!(shop.world.served.load(Ordering::Relaxed), if denies { 2 } else { 3 });
        assert!(names(&records).contains(&"reloaded"), "{on_stale}: {records:#?}");
        assert!(enforcer_told_nothing_new(&records), "the same revision throughout");
    }
}

fn enforcer_told_nothing_new(records: &[portreeve_engine::Record]) -> bool {
    let revisions: std::collections::BTreeSet<_> = records
        .iter()
        .filter_map(|r| match &r.event {
            Event::Started(e) => Some(e.revision),
            Event::Reloaded(e) => Some(e.revision),
            Event::Heartbeat(e) => Some(e.revision),
            _ => None,
        })
        .collect();
    revisions.len() == 1
}

#[tokio::test]
async fn a_bundle_from_the_future_has_no_age_and_an_older_issue_makes_none_older() {
    let shop = Shop::new().await;
    let ahead = |hours: i64| now().plus_ms(hours * 3600 * 1000);
    shop.server.gives(Some(shop.signed("shop", 7, ahead(1), "core")));
    let error = shop.begin(", max_age: 10m", Clock::new()).at_once().await.err().unwrap().to_string();
    assert!(error.contains("in the future"), "{error}");
    let young = now();
    shop.server.gives(Some(shop.signed("shop", 7, young, "core")));
    let enforcer = shop.start(", max_age: 10m").await;
    shop.server.gives(Some(shop.signed("shop", 7, ahead(-1), "core")));
    let seen = shop.server.given.load(Ordering::Relaxed);
    until("it was looked at", || async { shop.server.given.load(Ordering::Relaxed) }, |n| *n > seen).await;
    enforcer.reload().await.unwrap();
    assert_eq!(enforcer.gate().fresh.issue().map(|i| i.issued_at), Some(young));
    enforcer.shutdown().await;
    // Nor was it kept.
    shop.server.gives(None);
    let enforcer = shop.start(", max_age: 10m").await;
    assert_eq!(enforcer.gate().fresh.issue().map(|i| i.issued_at), Some(young));
    enforcer.shutdown().await;
}

#[tokio::test]
async fn a32_a_clock_that_is_set_is_told_and_counted() {
    let shop = Shop::new().await;
    let (ahead, clock) = settable();
    ahead.store(3600, Ordering::Relaxed);
    shop.server.gives(Some(shop.signed("shop", 7, now(), "core")));
    let enforcer = shop.begin("", clock).at_once().await.unwrap();
    let health = enforcer.health().unwrap();
    let (one, page) = ("portreeve_clock_steps_total{direction=", || at(health, "/metrics"));
    // The first look only remembers.
    tokio::time::sleep(portreeve_enforcer::limits::WATCH_INTERVAL * 2).await;
    assert!(!page().await.contains(one));
    ahead.store(2 * 3600, Ordering::Relaxed);
    until("forward", page, |page| page.contains(&format!("{one}\"forward\"}} 1"))).await;
    ahead.store(3600, Ordering::Relaxed);
    until("back", page, |page| page.contains(&format!("{one}\"back\"}} 1"))).await;
    assert_eq!(status(&shop.world.get(enforcer.inbound()[0], "").await.unwrap()), 200);
    let held = page().await;
    let held: f64 = held.lines().find_map(|l| l.strip_prefix("portreeve_clock_held_seconds ")).unwrap().parse().unwrap();
    assert!((3500.0..3601.0).contains(&held), "{held}");
    enforcer.shutdown().await;
}

/// A server that says that nothing changed to somebody who has nothing, or who asks for all of it, has said nothing.
#[tokio::test]
async fn a75_that_nothing_changed_is_no_answer_to_whoever_asks_for_the_whole() {
    let shop = Shop::new().await;
    shop.server.gives(Some(shop.signed("shop", 7, now(), "core")));
    let enforcer = shop.begin("", Clock::new()).at_once().await.unwrap();
    shop.server.stubborn.store(true, Ordering::Relaxed);
    let error = enforcer.reload().await.expect_err("it was not given anything").to_string();
    assert!(error.contains("304"), "{error}");
    until("it is told", || async { enforcer.gate().metrics.render() }, |page| page.contains("portreeve_bundle_alarm 1")).await;
    enforcer.shutdown().await;
    std::fs::remove_dir_all(shop.world.path("bundle-cache")).unwrap();
    let started = shop.begin("", Clock::new()).at_once().await;
    let error = started.err().unwrap_or_else(|| panic!("it starts with nothing")).to_string();
    assert!(error.contains("304"), "{error}");
}

/// Asked to look again and then to end, it ends, whatever the server of bundles makes it wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_holds_up_no_end() {
    let shop = Shop::new().await;
    shop.server.gives(Some(shop.signed("shop", 7, now(), "core")));
    let mut running = shop.world.spawn("waits.yaml", &shop.config("").replace("poll: 20ms", "poll: 1h"));
    running.hear("is enforced under");
    *shop.server.mute.lock().unwrap() = Some(0);
    running.signal("HUP");
    until("it asks", || async { *shop.server.mute.lock().unwrap() }, |waiting| *waiting == Some(1)).await;
    running.signal("TERM");
    let left = tokio::task::spawn_blocking(move || running.exit()).await.unwrap();
    assert_eq!(left, Some(0));
}
