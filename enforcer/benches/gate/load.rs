//! The generator of load: bounded in time and in connections, tells what it saw as one line of JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::client::{self, Http1, Http2};
use crate::options::Options;
use crate::pki::Pki;
use crate::process::cpu_of_tree;

/// What one unit of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A request on a connection that stays open.
    Load,
    /// A connection: handshake, one request, end.
    Handshakes,
}

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    pub(crate) target: SocketAddr,
    pub(crate) pki: PathBuf,
    /// The process whose processor time is told.
    pub(crate) pid: Option<u32>,
    /// Whose certificate is shown.
    pub(crate) identity: String,
    pub(crate) http2: bool,
    pub(crate) group: String,
    pub(crate) connections: usize,
    /// Requests in flight on each HTTP/2 connection.
    pub(crate) streams: usize,
    pub(crate) seconds: f64,
    /// Units per second of all connections together; as fast as it goes where there is none.
    pub(crate) rate: Option<f64>,
    /// Every request has a path of its own.
    pub(crate) unique: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Units completed, whatever the answer.
    pub(crate) units: u64,
    /// Answers by status; `0` stands for a connection that was refused or broke.
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) seconds: f64,
    /// Processor seconds of the named process tree.
    pub(crate) cpu: f64,
    pub(crate) p50_us: u32,
    pub(crate) p99_us: u32,
    pub(crate) p999_us: u32,
}

impl Plan {
    pub(crate) fn of(options: &Options, mode: Mode) -> Self {
        Self {
            mode,
            target: options.need("target"),
            pki: options.need("pki"),
            pid: options.get("pid"),
            identity: options.or("identity", "caller".to_owned()),
            http2: options.or("http2", false),
            group: options.or("group", "x25519".to_owned()),
            connections: options.or("connections", 32),
            streams: options.or("streams", 1),
            seconds: options.or("seconds", 2.0),
            rate: options.get("rate"),
            unique: options.or("unique", false),
        }
    }

    /// The same plan as a command line.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let verb = if self.mode == Mode::Load { "load" } else { "hs" };
        let mut out = vec![verb.to_owned()];
        let mut put = |name: &str, value: String| out.extend([format!("--{name}"), value]);
        put("target", self.target.to_string());
        put("pki", self.pki.display().to_string());
        put("identity", self.identity.clone());
        put("http2", self.http2.to_string());
        put("group", self.group.clone());
        put("connections", self.connections.to_string());
        put("streams", self.streams.to_string());
        put("seconds", self.seconds.to_string());
        put("unique", self.unique.to_string());
        if let Some(pid) = self.pid {
            put("pid", pid.to_string());
        }
        if let Some(rate) = self.rate {
            put("rate", rate.to_string());
        }
        out
    }

    fn config(&self) -> Arc<ClientConfig> {
        client::config(&Pki::at(&self.pki), &self.identity, if self.http2 { b"h2" } else { b"http/1.1" }, &self.group)
    }
}

/// Warming up, counting, over.
static PHASE: AtomicU8 = AtomicU8::new(WARM);
const WARM: u8 = 0;
const COUNT: u8 = 1;
const OVER: u8 = 2;
const WARM_UP: Duration = Duration::from_millis(300);

/// What one task saw while it counted.
#[derive(Default)]
struct Seen {
    statuses: BTreeMap<u16, u64>,
    us: Vec<u32>,
}

impl Seen {
    fn count(&mut self, status: u16, since: Instant) {
        if PHASE.load(Ordering::Relaxed) == COUNT {
            *self.statuses.entry(status).or_default() += 1;
            self.us.push(u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }
}

/// Runs the plan and prints its outcome.
pub(crate) fn run(plan: &Plan) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(work(plan));
    println!("{}", serde_json::to_string(&outcome).unwrap());
}

async fn work(plan: &Plan) -> Outcome {
    let config = plan.config();
    let mut tasks: JoinSet<Seen> = JoinSet::new();
    for n in 0..plan.connections {
        let lanes = plan.connections * plan.streams;
        let pace = |lane: usize| Pace::new(plan.rate.map(|rate| rate / lanes as f64), lane as f64 / lanes as f64);
        match plan.mode {
            Mode::Handshakes => {
                tasks.spawn(handshakes(Arc::clone(&config), plan.target, plan.http2, pace(n)));
            }
            Mode::Load if plan.http2 => {
                let connection = Http2::new(client::connect(&config, plan.target).await.unwrap()).await;
                for stream in 0..plan.streams {
                    tasks.spawn(requests(Lane::Http2(connection.clone()), plan.unique, pace(n * plan.streams + stream)));
                }
            }
            Mode::Load => {
                let connection = Http1::new(client::connect(&config, plan.target).await.unwrap());
                tasks.spawn(requests(Lane::Http1(Box::new(connection)), plan.unique, pace(n)));
            }
        }
    }
    tokio::time::sleep(WARM_UP).await;
    let before = plan.pid.map_or(0.0, cpu_of_tree);
    let began = Instant::now();
    PHASE.store(COUNT, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs_f64(plan.seconds)).await;
    PHASE.store(OVER, Ordering::Relaxed);
    let (cpu, seconds) = (plan.pid.map_or(0.0, cpu_of_tree) - before, began.elapsed().as_secs_f64());
    let mut all = Seen::default();
    while let Some(seen) = tasks.join_next().await {
        let seen = seen.unwrap();
        all.us.extend(seen.us);
        for (status, n) in seen.statuses {
            *all.statuses.entry(status).or_default() += n;
        }
    }
    all.us.sort_unstable();
    let part = |p: f64| all.us.get(((all.us.len() as f64 * p) as usize).min(all.us.len().saturating_sub(1))).copied().unwrap_or(0);
    Outcome {
        units: all.us.len() as u64,
        statuses: all.statuses,
        seconds,
        cpu,
        p50_us: part(0.5),
        p99_us: part(0.99),
        p999_us: part(0.999),
    }
}

/// What carries one request after another.
enum Lane {
    Http1(Box<Http1>),
    Http2(Http2),
}

impl Lane {
    async fn get(&mut self, path: &str) -> std::io::Result<u16> {
        match self {
            Self::Http1(connection) => connection.get(path).await,
            Self::Http2(connection) => connection.get(path).await,
        }
    }
}

async fn requests(mut lane: Lane, unique: bool, mut pace: Pace) -> Seen {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut seen = Seen::default();
    while PHASE.load(Ordering::Relaxed) != OVER {
        let since = pace.next().await;
        let status = if unique {
            // Half of them fit an operation, half fit none.
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            lane.get(&if n.is_multiple_of(2) { format!("/v1/items/{n:x}") } else { format!("/flood/{n:x}/x") }).await
        } else {
            lane.get("/v1/items/42").await
        };
        match status {
            Ok(status) => seen.count(status, since),
            Err(_) => {
                seen.count(0, since);
                return seen;
            }
        }
    }
    seen
}

async fn handshakes(config: Arc<ClientConfig>, target: SocketAddr, http2: bool, mut pace: Pace) -> Seen {
    let mut seen = Seen::default();
    while PHASE.load(Ordering::Relaxed) != OVER {
        let since = pace.next().await;
        let once = async {
            let stream = client::connect(&config, target).await?;
            if http2 { Http2::new(stream).await.get("/v1/items/42").await } else { Http1::new(stream).get("/v1/items/42").await }
        };
        seen.count(once.await.unwrap_or(0), since);
    }
    seen
}

/// When the next unit is due. A unit that comes late is counted from when it was due, so that waiting is not left out.
struct Pace {
    every: Option<Duration>,
    due: Instant,
}

impl Pace {
    fn new(rate: Option<f64>, offset: f64) -> Self {
        let every = rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        Self { every, due: Instant::now() + every.unwrap_or_default().mul_f64(offset) }
    }

    async fn next(&mut self) -> Instant {
        let Some(every) = self.every else { return Instant::now() };
        let due = self.due;
        self.due += every;
        // A timer has the grain of a millisecond; what is nearer than that is due.
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        due
    }
}

/// Opens the connections, asks once on each, says so, and holds them until its input ends or the time is over.
pub(crate) fn idle(plan: &Plan) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = plan.config();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in 0..plan.connections {
            let stream = client::connect(&config, plan.target).await.unwrap();
            if plan.http2 {
                let mut connection = Http2::new(stream).await;
                assert_eq!(connection.get("/v1/items/42").await.unwrap(), 200);
                first.push(connection);
            } else {
                let mut connection = Http1::new(stream);
                assert_eq!(connection.get("/v1/items/42").await.unwrap(), 200);
                second.push(connection);
            }
        }
        println!("open");
        let wait = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        let _ = tokio::time::timeout(Duration::from_secs_f64(plan.seconds), wait).await;
    });
    // The reader of standard input may wait for ever.
    runtime.shutdown_background();
}
