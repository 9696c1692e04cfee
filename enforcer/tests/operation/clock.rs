//! A clock that is set while everything runs: what has an end comes to it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use portreeve_enforcer::Enforcer;
use portreeve_enforcer::ca::IssueRequest;
use portreeve_enforcer::clock::{Clock, wall};
use portreeve_enforcer::report::Report;
use portreeve_enforcer::standby::Standby;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{World, id};

struct Set {
    world: World,
    enforcer: Enforcer,
    ahead: Arc<AtomicI64>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Set {
    async fn new() -> Self {
        let world = World::new().await;
        let (ahead, told) = (Arc::new(AtomicI64::new(0)), Arc::<Mutex<Vec<String>>>::default());
        let (source, sink) = (Arc::clone(&ahead), Arc::clone(&told));
        let clock = Clock::reading(move || {
            let by = source.load(Ordering::Relaxed);
            let span = Duration::from_secs(by.unsigned_abs());
            if by < 0 { SystemTime::now() - span } else { SystemTime::now() + span }
        });
        let report = Report::new(move |line| sink.lock().unwrap().push(line.to_owned()));
        let enforcer = Standby::begin(world.config(""), report, Arc::new(clock)).unwrap().at_once().await.unwrap();
        Self { world, enforcer, ahead, told }
    }

    /// A connection over which one request was answered.
    async fn connected(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut stream = self.world.connect(self.enforcer.inbound()[0]).await.unwrap();
        stream.write_all(b"GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        stream
    }
}

/// How long it takes until the other side ends it.
async fn end(mut stream: tokio_rustls::client::TlsStream<TcpStream>, within: Duration) -> Option<Duration> {
    let began = tokio::time::Instant::now();
    let mut rest = Vec::new();
    tokio::time::timeout(within, stream.read_to_end(&mut rest)).await.ok().map(|_| began.elapsed())
}

/// As when the machine slept, or the clock jumps: nobody waits for a timer that knows nothing of it.
#[tokio::test]
async fn a32_what_is_over_by_a_clock_that_was_set_ahead_is_cut_at_once() {
    let set = Set::new().await;
    let stream = set.connected().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    set.ahead.store(40 * 24 * 3600, Ordering::Relaxed);
    let took = end(stream, Duration::from_secs(10)).await.expect("its certificate is over");
    assert!(took < Duration::from_secs(8), "{took:?}");
    set.enforcer.shutdown().await;
}

/// Frozen, time would never come to what is left of anything.
#[tokio::test]
async fn a32_what_ends_does_end_while_the_clock_is_a_year_behind() {
    let set = Set::new().await;
    let (cert, key) = (set.world.path("invoices.pem"), set.world.path("invoices.key"));
    let now = wall();
    let short = IssueRequest::leaf(&[id("invoices").as_str()], now.plus_ms(-60_000), now.plus_ms(10_000));
    set.world.ca.issue_unchecked(&short).unwrap().write(&cert, &key).unwrap();
    let stream = set.connected().await;
    set.ahead.store(-365 * 24 * 3600, Ordering::Relaxed);
    let took = end(stream, Duration::from_secs(45)).await.expect("its certificate ends");
    assert!(took < Duration::from_secs(30), "{took:?}");
    let told = set.told.lock().unwrap().clone();
    assert!(told.iter().any(|line| line.contains("s back") && line.contains("start the enforcer again")), "{told:?}");
    set.enforcer.shutdown().await;
}
