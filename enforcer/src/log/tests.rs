//! The log against its own reader.

use std::path::{Path, PathBuf};
use std::time::Duration;

use portreeve_engine::chain::{ChainReader, Head, HeadSigner};
use portreeve_engine::record::{Answer, ContextFacts, Destination, RequestFacts, Source};
use portreeve_engine::{Effect, Event, Reason, Record};

use super::*;
use crate::config::{Heads, HeadsTo, LogTo};

pub(super) const CALLER: &str = "spiffe://market.example/ns/shop/sa/invoices";
const BOUNDS: Bounds = Bounds { queue: 64, caller: 32, bytes: 1 << 20, caller_bytes: 1 << 19, refusals: 4 };

pub(super) fn opening(path: &Path, instance: &str) -> Opening {
    Opening {
        config: config::Log {
            to: LogTo::File(path.to_owned()),
            rotate_bytes: None,
            keep: None,
            durability: Durability::Queued,
            heartbeat: Duration::from_secs(60),
            heads: None,
        },
        enforcer: "spiffe://market.example/ns/shop/sa/items".parse().unwrap(),
        instance: instance.to_owned(),
        revision: Digest::of(b"one"),
        bundle: None,
        witnesses: Vec::new(),
        mode: Mode::Enforce,
        digest: Digest::of(b"config"),
    }
}

pub(super) fn open(opening: Opening) -> (DecisionLog, Arc<Clock>) {
    let clock = Arc::new(Clock::new());
    let log = DecisionLog::open_bounded(opening, Arc::clone(&clock), Arc::new(Metrics::new()), Report::silent(), BOUNDS).unwrap();
    (log, clock)
}

pub(super) fn decided(caller: &str) -> Box<Decided> {
    Box::new(Decided {
        mode: Mode::Enforce,
        revision: Digest::of(b"one"),
        side: None,
        source: Source { id: caller.parse().unwrap(), service: None, ip: None },
        destination: Destination { id: None, service: "items".to_owned() },
        request: RequestFacts { id: "r".to_owned(), protocol: "HTTP/1.1".to_owned(), ..RequestFacts::default() },
        context: ContextFacts::default(),
        tls: None,
        decision: Answer { effect: Effect::Allow, reason: Reason::Permitted, policies: vec![], errors: vec![], shadow: vec![] },
    })
}

const END: End =
    End { outcome: Outcome::Forwarded, status: Some(200), duration_us: 1, bytes: 2, why: Why::Complete, attempts: 1, detail: None };

fn read_chain(path: &Path, chain: &mut ChainReader) -> Vec<Record> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut out = Vec::new();
    for line in text.lines() {
        let record = Record::from_line(line.as_bytes()).unwrap();
        chain.accept(record.seq, record.prev, line.as_bytes()).unwrap();
        out.push(record);
    }
    out
}

fn names(records: &[Record]) -> Vec<&'static str> {
    let name = |record: &Record| match record.event {
        Event::Started(_) => "started",
        Event::Continued(_) => "continued",
        Event::Decided(_) => "decided",
        Event::Ended(_) => "ended",
        Event::Refused(_) => "refused",
        Event::Reloaded(_) => "reloaded",
        Event::Heartbeat(_) => "heartbeat",
        Event::Stopped(_) => "stopped",
    };
    records.iter().map(name).collect()
}

#[test]
fn a_chain_is_whole_and_ends_name_their_decisions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.ndjson");
    let (log, clock) = open(opening(&path, "A"));
    let first = log.allowed(clock.now(), decided(CALLER)).unwrap();
    let second = log.allowed(clock.now(), decided(CALLER)).unwrap();
    log.ended(second, END);
    log.reloaded(Digest::of(b"two"), None);
    log.ended(first, END);
    log.stop();
    let records = read_chain(&path, &mut ChainReader::new());
    assert_eq!(names(&records), ["started", "decided", "decided", "ended", "reloaded", "ended", "stopped"]);
    let of = |record: &Record| if let Event::Ended(ended) = &record.event { Some(ended.of) } else { None };
    assert_eq!((of(&records[3]), of(&records[5])), (Some(2), Some(1)));
    assert!(records.windows(2).all(|w| w[0].at <= w[1].at));
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_decision_that_comes_late_is_taken_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, clock) = open(opening(&dir.path().join("d.ndjson"), "A"));
    let early = clock.now();
    log.denied(early.plus_ms(5), decided(CALLER)).unwrap();
    assert_eq!(log.denied(early, decided(CALLER)), Err(NotAccepted::Stale));
}

#[test]
fn a_full_queue_refuses_is_counted_and_keeps_the_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.ndjson");
    let mut opening = opening(&path, "A");
    opening.config.heartbeat = Duration::from_millis(50);
    let (log, clock) = open(opening);
    // Promised places are what is held: the writer empties the queue, but no request ends.
    let other = "spiffe://market.example/ns/shop/sa/users";
    let third = "spiffe://market.example/ns/shop/sa/third";
    let mut tickets = Vec::new();
    let mut refused = 0;
    let deadline = Instant::now() + Duration::from_secs(5);
    for caller in [CALLER, other, third] {
        for _ in 0..100 {
            match log.allowed(clock.now(), decided(caller)) {
                Ok(ticket) => tickets.push(ticket),
                Err(NotAccepted::Share | NotAccepted::Full) => refused += 1,
                Err(NotAccepted::Stale) => {}
                Err(NotAccepted::Down) => panic!("the disk is fine"),
            }
            assert!(Instant::now() < deadline);
        }
    }
    assert!(refused > 0);
    assert!(tickets.len() <= BOUNDS.queue);
    for ticket in tickets {
        log.ended(ticket, END);
    }
    std::thread::sleep(Duration::from_millis(200));
    log.stop();
    let records = read_chain(&path, &mut ChainReader::new());
    let told: u64 = records
        .iter()
        .map(|r| match &r.event {
            Event::Heartbeat(beat) => beat.unrecorded,
            Event::Stopped(stopped) => stopped.unrecorded,
            _ => 0,
        })
        .sum();
    assert_eq!(told, refused);
    let count = |name| names(&records).iter().filter(|n| **n == name).count();
    assert_eq!(count("decided"), count("ended"));
    assert!(count("heartbeat") >= 1);
}

#[test]
fn one_caller_never_takes_the_place_of_all() {
    let dir = tempfile::tempdir().unwrap();
    let (log, clock) = open(opening(&dir.path().join("d.ndjson"), "A"));
    let mut held = Vec::new();
    loop {
        match log.allowed(clock.now(), decided(CALLER)) {
            Ok(ticket) => held.push(ticket),
            Err(NotAccepted::Share) if held.len() >= BOUNDS.caller - 1 => break,
            // While records are still queued each request holds two places.
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    assert!(held.len() <= BOUNDS.caller);
    log.allowed(clock.now(), decided("spiffe://market.example/ns/shop/sa/users")).unwrap();
}

#[test]
fn strangers_are_coalesced_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.ndjson");
    let (log, _) = open(opening(&path, "A"));
    for last in 1..=6 {
        for _ in 0..3 {
            log.refused(IpAddr::from([10, 0, 0, last]), "no-certificate");
        }
    }
    log.stop();
    let records = read_chain(&path, &mut ChainReader::new());
    assert_eq!(names(&records), ["started", "refused", "refused", "refused", "refused", "heartbeat", "stopped"]);
    let Event::Refused(refused) = &records[1].event else { panic!() };
    assert_eq!((refused.ip, refused.reason.as_str(), refused.count), (IpAddr::from([10, 0, 0, 1]), "no-certificate", 3));
    let Event::Heartbeat(beat) = &records[5].event else { panic!() };
    assert_eq!(beat.refusals_dropped, 6);
}

#[test]
fn rotated_files_are_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.ndjson");
    let mut opening = opening(&path, "A");
    opening.config.rotate_bytes = Some(4096);
    let (log, clock) = open(opening);
    for _ in 0..60 {
        while log.denied(clock.now(), decided(CALLER)).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    log.stop();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().path()).filter(|p| p.to_string_lossy().contains("d.A.")).collect();
    files.sort();
    assert!(!files.is_empty());
    files.push(path);
    let mut chain = ChainReader::new();
    for (i, file) in files.iter().enumerate() {
        let records = read_chain(file, &mut chain);
        assert_eq!(names(&records)[0], if i == 0 { "started" } else { "continued" });
    }
    assert_eq!(files[0].file_name().unwrap().to_str().unwrap().get(..17), Some("d.A.000000000000-"));
}

#[test]
fn the_next_process_names_the_chain_before_it_and_the_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.ndjson");
    let (log, clock) = open(opening(&path, "A"));
    log.denied(clock.now(), decided(CALLER)).unwrap();
    assert!(matches!(
        DecisionLog::open(opening(&path, "X"), Arc::new(Clock::new()), Arc::new(Metrics::new()), Report::silent()),
        Err(LogError::Locked(_))
    ));
    log.stop();
    drop(log);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [whole.as_slice(), b"{\"v\":1,\"seq\":3,\"pr"].concat()).unwrap();
    let (log, _) = open(opening(&path, "B"));
    log.stop();
    let records = read_chain(&path, &mut ChainReader::new());
    let Event::Started(started) = &records[0].event else { panic!() };
    let after = started.after.as_ref().unwrap();
    let last = whole.trim_ascii_end().rsplit(|b| *b == b'\n').next().unwrap();
    assert_eq!((after.instance.as_str(), after.seq, after.head), ("A", 2, Digest::of(last)));
    let torn = dir.path().join(started.recovered.as_deref().unwrap());
    assert!(torn.extension().is_some_and(|e| e.to_string_lossy().starts_with("torn-")), "{}", torn.display());
    assert_eq!(std::fs::read(torn).unwrap(), b"{\"v\":1,\"seq\":3,\"pr");
    let old = dir.path().join("d.A.000000000000-000000000002.ndjson");
    assert_eq!(std::fs::read(old).unwrap(), whole);
}

#[test]
fn heads_are_signed_while_running_and_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.ndjson");
    let key = dir.path().join("head.key");
    // The PKCS#8 wrapping of an Ed25519 seed of 32 times `*`.
    std::fs::write(
        &key,
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEICoqKioqKioqKioqKioqKioqKioqKioqKioqKioqKioq\n-----END PRIVATE KEY-----\n",
    )
    .unwrap();
    let to = dir.path().join("heads.ndjson");
    let mut opening = opening(&path, "A");
    opening.config.heads = Some(Heads { every: Duration::from_millis(20), to: vec![HeadsTo::File(to.clone())], key });
    let (log, clock) = open(opening);
    log.denied(clock.now(), decided(CALLER)).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    log.stop();
    let verifier = HeadSigner::from_seed(&[42; 32]).verifier();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let heads: Vec<_> = std::fs::read_to_string(to).unwrap().lines().map(|l| Head::from_line(l.as_bytes()).unwrap()).collect();
    assert!(heads.len() >= 2);
    for head in &heads {
        verifier.verify(head).unwrap();
        assert_eq!(head.head, Digest::of(lines[usize::try_from(head.seq).unwrap()].as_bytes()));
    }
    assert_eq!(heads.last().unwrap().seq as usize, lines.len() - 1);
}

struct Faulty {
    log: DecisionLog,
    clock: Arc<Clock>,
    metrics: Arc<Metrics>,
    disk: Arc<file::FaultyDisk>,
}

/// A log on a disk that fails, or is held up, on demand.
fn faulty(opening: Opening) -> Faulty {
    let disk = Arc::new(file::FaultyDisk::default());
    let mut writer = Writer::open(opening, Report::silent()).unwrap();
    writer.put_on(Arc::clone(&disk));
    let (clock, metrics) = (Arc::new(Clock::new()), Arc::new(Metrics::new()));
    let log = DecisionLog::with_writer(writer, Arc::clone(&clock), Arc::clone(&metrics), BOUNDS).unwrap();
    Faulty { log, clock, metrics, disk }
}

fn allow(log: &DecisionLog, clock: &Clock) -> Ticket {
    allow_at(log, clock).0
}

/// Also the time at which it was allowed.
fn allow_at(log: &DecisionLog, clock: &Clock) -> (Ticket, Timestamp) {
    loop {
        let now = clock.now();
        match log.allowed(now, decided(CALLER)) {
            Err(NotAccepted::Stale) => {}
            other => return (other.unwrap(), now),
        }
    }
}

/// What a future says when it is asked once.
fn ask<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> std::task::Poll<T> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

/// A79: the disk says that it did not take earlier lines when nobody waits for it.
#[test]
fn what_the_disk_does_not_take_behind_the_writer_stops_the_log_until_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.ndjson");
    let (log, clock) = open(opening(&path, "A"));
    let until = |up: bool| {
        let began = Instant::now();
        while log.shared.up.load(Ordering::Acquire) != up {
            assert!(began.elapsed() < Duration::from_secs(30), "the log is not {}", if up { "up" } else { "down" });
            std::thread::yield_now();
        }
    };
    log.shared.desk.lock().unwrap().as_ref().unwrap().refuse_beside();
    let ticket = allow(&log, &clock);
    until(false);
    assert!(log.allowed(clock.now(), decided(CALLER)).is_err(), "nothing is accepted meanwhile");
    until(true);
    log.ended(ticket, END);
    log.stop();
    assert_eq!(names(&read_chain(&path, &mut ChainReader::new())), ["started", "decided", "ended", "stopped"]);
}

/// A79: however often a failing disk is tried, what waits for it does not grow by strangers.
#[test]
fn a79_strangers_take_no_memory_while_the_disk_fails() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy.ndjson");
    let Faulty { log, clock, disk, .. } = faulty(opening(&dir.path().join("d.ndjson"), "A"));
    disk.failing.store(true, Ordering::Release);
    log.denied(clock.now(), decided(CALLER)).unwrap();
    while log.is_up() {
        std::thread::yield_now();
    }
    let mut desk = log.shared.desk.lock().unwrap();
    let writer = desk.as_mut().unwrap();
    let held = writer.held();
    for last in 1..=200_u8 {
        log.refused(IpAddr::from([10, 0, 0, last % 8]), "no-certificate");
        assert!(!writer.turn(&log.shared, true));
    }
    assert!(held > 0 && writer.held() == held, "{held} {}", writer.held());
    disk.failing.store(false, Ordering::Release);
    drop(desk);
    log.stop();
    // None of them is forgotten.
    std::fs::write(&path, &*disk.written.lock().unwrap()).unwrap();
    let strangers = read_chain(&path, &mut ChainReader::new()).into_iter().map(|record| match record.event {
        Event::Refused(refused) => refused.count,
        Event::Heartbeat(beat) => beat.refusals_dropped,
        _ => 0,
    });
    assert_eq!(strangers.sum::<u64>(), 200);
}

/// Closed files and the present one have every line, in order, however fast they follow each other.
#[test]
fn files_that_are_closed_one_after_the_other_have_every_line() {
    for durability in [Durability::Queued, Durability::Synced] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.ndjson");
        let mut opening = opening(&path, "A");
        (opening.config.rotate_bytes, opening.config.durability) = (Some(2_000), durability);
        opening.config.heartbeat = Duration::from_millis(20);
        let (log, clock) = open(opening);
        let mut left = 60;
        while left > 0 {
            // Where the thread gets no time the queue is full for a while.
            if let Ok(ticket) = log.allowed(clock.now(), decided(CALLER)) {
                log.ended(ticket, END);
                left -= 1;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        log.stop();
        let mut files: Vec<PathBuf> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|e| e == "ndjson") && *file != path);
        files.sort();
        assert!(files.len() > 5, "{files:?}");
        files.push(path);
        let mut chain = ChainReader::new();
        let all: Vec<Record> = files.iter().flat_map(|file| read_chain(file, &mut chain)).collect();
        let count = |name: &str| names(&all).iter().filter(|n| **n == name).count();
        assert_eq!((count("decided"), count("ended"), count("stopped")), (60, 60, 1), "{durability:?}");
        assert!(count("heartbeat") > 0);
    }
}

#[tokio::test]
async fn kept_means_in_the_file() {
    for durability in [Durability::Written, Durability::Synced] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.ndjson");
        let mut opening = opening(&path, "A");
        opening.config.durability = durability;
        let (log, clock) = open(opening);
        for n in 1..=20 {
            let ticket = allow(&log, &clock);
            log.kept(&ticket).await.unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.matches("\"event\":\"decided\"").count(), n, "{durability:?}");
            log.ended(ticket, END);
        }
        log.stop();
        let records = read_chain(&path, &mut ChainReader::new());
        assert_eq!(names(&records).iter().filter(|n| **n == "ended").count(), 20);
    }
}

#[tokio::test]
async fn many_requests_wait_for_one_write_and_none_goes_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut opening = opening(&dir.path().join("d.ndjson"), "A");
    opening.config.durability = Durability::Written;
    let Faulty { log, clock, disk, .. } = faulty(opening);
    let before = disk.writes.load(Ordering::Acquire);
    let held = disk.written.lock().unwrap();
    let tickets: Vec<_> = (0..10).map(|_| allow(&log, &clock)).collect();
    let mut waiting: Vec<_> = tickets.iter().map(|t| Box::pin(log.kept(t))).collect();
    assert!(waiting.iter_mut().all(|w| ask(w.as_mut()).is_pending()));
    drop(held);
    for one in waiting {
        one.await.unwrap();
    }
    // The first may have gone alone; all others came while it was being written.
    let writes = disk.writes.load(Ordering::Acquire) - before;
    assert!((1..=2).contains(&writes), "{writes} writes for 10 records");
    tickets.into_iter().for_each(|t| log.ended(t, END));
}

#[tokio::test]
async fn a79_what_waits_when_the_disk_fails_is_refused_and_its_end_is_told_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut opening = opening(&dir.path().join("d.ndjson"), "A");
    opening.config.durability = Durability::Written;
    opening.config.heartbeat = Duration::from_millis(20);
    let Faulty { log, clock, disk, .. } = faulty(opening);
    disk.failing.store(true, Ordering::Release);
    let ticket = allow(&log, &clock);
    assert_eq!(log.kept(&ticket).await, Err(NotAccepted::Down));
    log.ended(ticket, End { outcome: Outcome::Unavailable, status: Some(503), why: Why::Log, ..END });
    assert_eq!(log.denied(clock.now(), decided(CALLER)), Err(NotAccepted::Down));
    disk.failing.store(false, Ordering::Release);
    while !log.is_up() {
        tokio::task::yield_now().await;
    }
    let ticket = allow(&log, &clock);
    log.kept(&ticket).await.unwrap();
    log.ended(ticket, END);
    log.stop();
    let path = dir.path().join("copy.ndjson");
    std::fs::write(&path, &*disk.written.lock().unwrap()).unwrap();
    let ends: Vec<_> = read_chain(&path, &mut ChainReader::new())
        .into_iter()
        .filter_map(|r| if let Event::Ended(ended) = r.event { Some((ended.outcome, ended.why)) } else { None })
        .collect();
    assert_eq!(ends, [(Outcome::Unavailable, Why::Log), (Outcome::Forwarded, Why::Complete)]);
}

/// The writer's thread gets no time for as long as this lives.
struct Stall(Arc<Shared>);

impl Stall {
    fn of(log: &DecisionLog) -> Self {
        log.shared.stalled.store(true, Ordering::Release);
        Self(Arc::clone(&log.shared))
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.0.stalled.store(false, Ordering::Release);
    }
}

#[test]
fn what_waits_for_a_thread_that_gets_no_time_is_written_by_the_next_request() {
    let dir = tempfile::tempdir().unwrap();
    let Faulty { log, clock, metrics, disk } = faulty(opening(&dir.path().join("d.ndjson"), "A"));
    let lines = |what: &str| String::from_utf8(disk.written.lock().unwrap().clone()).unwrap().matches(what).count();
    // From its sleep the thread goes nowhere.
    while !log.shared.lock().idle {
        std::thread::yield_now();
    }
    let stall = Stall::of(&log);
    let (first, began) = allow_at(&log, &clock);
    let at = began.plus_ms(LATE_MS);
    log.denied(at, decided(CALLER)).unwrap();
    assert_eq!(lines("\"event\":\"decided\""), 0, "nothing is late yet");
    log.denied(at.plus_ms(LATE_MS), decided(CALLER)).unwrap();
    assert_eq!((lines("\"event\":\"decided\""), metrics.log_late.get()), (3, 1));
    // What fails is left to the thread, which says so and tries again.
    disk.failing.store(true, Ordering::Release);
    log.ended(first, END);
    log.denied(at.plus_ms(4 * LATE_MS), decided(CALLER)).unwrap();
    drop(stall);
    while log.is_up() {
        std::thread::yield_now();
    }
    disk.failing.store(false, Ordering::Release);
    log.stop();
    let path = dir.path().join("copy.ndjson");
    std::fs::write(&path, &*disk.written.lock().unwrap()).unwrap();
    assert_eq!(
        names(&read_chain(&path, &mut ChainReader::new())),
        ["started", "decided", "decided", "decided", "ended", "decided", "stopped"]
    );
}

#[test]
fn a_record_that_may_be_later_than_it_was_is_always_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.ndjson");
    let (log, clock) = open(opening(&path, "A"));
    let (now, ahead) = (clock.now(), clock.now().plus_ms(3_600_000));
    log.denied(ahead, decided(CALLER)).unwrap();
    assert_eq!(log.denied(now, decided(CALLER)), Err(NotAccepted::Stale));
    log.denied(Moment::NotBefore(now), decided(CALLER)).unwrap();
    log.denied(Moment::NotBefore(ahead.plus_ms(5)), decided(CALLER)).unwrap();
    log.stop();
    let at: Vec<_> = read_chain(&path, &mut ChainReader::new()).iter().skip(1).map(|r| r.at).collect();
    assert_eq!(at, [ahead, ahead, ahead.plus_ms(5), ahead.plus_ms(5)]);
}

/// A31, A79: one caller that sends much, or long paths, never takes what belongs to the others.
#[test]
fn one_caller_never_holds_more_than_its_share_in_places_or_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut opening = opening(&dir.path().join("d.ndjson"), "A");
    // Here nobody but the writer's thread writes.
    opening.config.durability = Durability::Written;
    let Faulty { log, clock, disk, metrics } = faulty(opening);
    let (greedy, modest) = (CALLER, "spiffe://market.example/ns/shop/sa/users");
    let held = disk.written.lock().unwrap();
    let mut long = decided(greedy);
    long.request.path = Some("/x".repeat(BOUNDS.caller_bytes / 8));
    let push = |event: &Decided| loop {
        match log.denied(clock.now(), Box::new(event.clone())) {
            Err(NotAccepted::Stale) => {}
            other => return other,
        }
    };
    // The writer takes one record and is then held up; from here on everything waits.
    while push(&decided("spiffe://market.example/ns/shop/sa/first")) != Ok(()) {}
    while log.depth() > 0 {
        std::thread::yield_now();
    }
    let mut taken = (0, 0);
    while push(&long).is_ok() {
        taken.0 += 1;
        assert!(taken.0 < 100, "long paths are not bounded");
    }
    while push(&decided(modest)).is_ok() {
        taken.1 += 1;
        assert!(taken.1 < 1_000, "places are not bounded");
    }
    let few = BOUNDS.caller_bytes / (BOUNDS.caller_bytes / 4);
    assert!((few - 1..=few).contains(&taken.0), "{taken:?}");
    assert_eq!(taken.1, BOUNDS.caller);
    assert_eq!(push(&decided("spiffe://market.example/ns/shop/sa/third")), Ok(()));
    assert_eq!((push(&long), push(&decided(modest))), (Err(NotAccepted::Share), Err(NotAccepted::Share)));
    drop(held);
    log.stop();
    // Two refusals ended the loops, and two came after.
    let page = metrics.render();
    assert!(page.contains("portreeve_unrecorded_causes_total{cause=\"caller\"} 4\n"), "{page}");
    assert!(page.contains("portreeve_unrecorded_total 4\n"), "{page}");
    assert!(metrics.log_write_duration.count() > 0);
}

/// A31: nor does it by requests that end at once, whose two records both wait.
#[test]
fn one_caller_whose_requests_end_while_the_disk_is_slow_leaves_room_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut opening = opening(&dir.path().join("d.ndjson"), "A");
    opening.config.durability = Durability::Written;
    let Faulty { log, clock, disk, .. } = faulty(opening);
    let held = disk.written.lock().unwrap();
    let mut rounds = 0;
    loop {
        match log.allowed(clock.now(), decided(CALLER)) {
            Ok(ticket) => log.ended(ticket, END),
            Err(NotAccepted::Stale) => {}
            Err(why) => {
                assert_eq!(why, NotAccepted::Share);
                break;
            }
        }
        rounds += 1;
        assert!(rounds < 1_000, "places are not bounded");
    }
    let mut taken = 0;
    while taken < BOUNDS.caller / 2 {
        match log.denied(clock.now(), decided("spiffe://market.example/ns/shop/sa/users")) {
            Err(NotAccepted::Stale) => {}
            other => {
                assert_eq!(other, Ok(()), "after {taken}");
                taken += 1;
            }
        }
    }
    drop(held);
}

#[test]
fn a79_a_disk_that_fails_refuses_everything_until_it_works_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut opening = opening(&dir.path().join("d.ndjson"), "A");
    opening.config.heartbeat = Duration::from_millis(20);
    let Faulty { log, clock, metrics, disk } = faulty(opening);
    let wait = |up: bool| {
        let deadline = Instant::now() + Duration::from_secs(5);
        while log.is_up() != up {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let ticket = log.allowed(clock.now(), decided(CALLER)).unwrap();
    disk.failing.store(true, Ordering::Release);
    // The end of what was let through is kept until it can be written.
    log.ended(ticket, END);
    wait(false);
    assert_eq!(log.denied(clock.now(), decided(CALLER)), Err(NotAccepted::Down));
    assert!(metrics.render().contains("portreeve_log_alarm 1"));
    disk.failing.store(false, Ordering::Release);
    wait(true);
    while log.denied(clock.now(), decided(CALLER)) == Err(NotAccepted::Stale) {}
    log.stop();
    let written = disk.written.lock().unwrap().clone();
    let path = dir.path().join("copy.ndjson");
    std::fs::write(&path, written).unwrap();
    let records = read_chain(&path, &mut ChainReader::new());
    let seen: Vec<_> = names(&records).into_iter().filter(|n| *n != "heartbeat").collect();
    assert_eq!(seen, ["started", "decided", "ended", "decided", "stopped"]);
    let unrecorded: u64 = records.iter().map(|r| if let Event::Heartbeat(beat) = &r.event { beat.unrecorded } else { 0 }).sum();
    assert_eq!(unrecorded, 1);
}

#[test]
fn many_callers_at_once_leave_one_chain_in_which_time_never_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.ndjson");
    let (log, clock) = open(opening(&path, "A"));
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (log, clock) = (&log, &clock);
            scope.spawn(move || {
                let caller = format!("spiffe://market.example/ns/shop/sa/c{n}");
                for _ in 0..100 {
                    let ticket = loop {
                        match log.allowed(clock.now(), decided(&caller)) {
                            Ok(ticket) => break ticket,
                            Err(NotAccepted::Down) => panic!("the disk is fine"),
                            Err(NotAccepted::Share | NotAccepted::Full) => std::thread::sleep(Duration::from_millis(1)),
                            Err(NotAccepted::Stale) => {}
                        }
                    };
                    log.ended(ticket, END);
                }
            });
        }
    });
    log.stop();
    let records = read_chain(&path, &mut ChainReader::new());
    assert!(records.windows(2).all(|w| w[0].at <= w[1].at));
    let mut open = std::collections::BTreeSet::new();
    for record in &records {
        match &record.event {
            Event::Decided(_) => assert!(open.insert(record.seq)),
            Event::Ended(ended) => assert!(open.remove(&ended.of)),
            _ => {}
        }
    }
    assert!(open.is_empty());
    assert_eq!(names(&records).iter().filter(|n| **n == "decided").count(), 800);
}
