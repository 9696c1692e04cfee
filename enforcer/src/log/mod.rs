//! The decision log: a bounded queue in front of one writer thread that owns the file and the chain.
//!
//! A record is *accepted* when its place in the queue is taken; only then may a request be forwarded. A place for the matching
//! `ended` is taken with it, so that the end of an allowed request is never the record that is lost. How much more than that is
//! waited for before anything is forwarded is `log.durability`: nothing (`queued`), the write of the file (`written`), or its
//! synchronisation with the disk (`synced`). Many requests wait for one write.
//!
//! INVARIANTS: `at` never goes back along the chain (a decision that comes late is refused as [`NotAccepted::Stale`] and taken
//! again with a new time, or says in its record which earlier time it was taken for); one caller never holds more than its share; strangers never use the queue, they are counted in a
//! bounded table and told at the heartbeat; while the file cannot be written nothing is accepted (INV-9).

mod disk;
mod file;
mod keep;
mod queue;
mod writer;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use portreeve_engine::record::{Decided, Ended, Issue, Mode, Outcome, Why};
use portreeve_engine::record_text::{EventText, EventTextRef};
use portreeve_engine::{Digest, Event, Revision, SpiffeId, Timestamp};
use tokio::sync::watch;

pub use queue::Share;
use queue::{Bounds, Queue, Refusals, Shares, Waiting, What};
use writer::Writer;

use crate::clock::Clock;
use crate::config;
use crate::config::Durability;
use crate::files::could_write;
use crate::heads::{self, HeadsError};
use crate::limits;
use crate::metrics::Metrics;
use crate::report::Report;
use crate::witness::Witness;

/// What a log needs to begin.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Where it goes.
    pub config: config::Log,
    /// The enforcer's own identity.
    pub enforcer: SpiffeId,
    /// The name of this process.
    pub instance: String,
    /// The bundle in force.
    pub revision: Revision,
    /// What it says of its issue, if it is signed.
    pub bundle: Option<Issue>,
    /// Who is handed the signed heads.
    pub witnesses: Vec<Arc<Witness>>,
    /// Enforce or dry-run.
    pub mode: Mode,
    /// SHA-256 of the configuration.
    pub digest: Digest,
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file, its lock or a file beside it cannot be used.
    #[error("cannot use the decision log `{path}`: {why}")]
    File {
        /// The file.
        path: String,
        /// The cause.
        why: std::io::Error,
    },
    /// Another live process writes this log.
    #[error("another process writes the decision log `{0}`")]
    Locked(String),
    /// The heads cannot be signed or kept.
    #[error(transparent)]
    Heads(#[from] HeadsError),
    /// The writer cannot be started.
    #[error("cannot start the writer of the decision log: {0}")]
    Thread(std::io::Error),
}

/// Whether a decision log could be kept like this. Writes nothing, and does not mind a process that writes it now.
///
/// # Errors
/// See [`LogError`].
pub fn check(config: &config::Log) -> Result<(), LogError> {
    if let config::LogTo::File(path) = &config.to {
        could_write(path).map_err(|why| LogError::File { path: path.display().to_string(), why })?;
    }
    Ok(config.heads.as_ref().map_or(Ok(()), heads::check)?)
}

/// The decision log of one process.
#[derive(Debug)]
pub struct DecisionLog {
    to: config::LogTo,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Proof that a `decided` record of a request that will be forwarded was accepted. It is used up by [`DecisionLog::ended`].
#[derive(Debug)]
pub struct Ticket {
    /// The number of its entry.
    number: u64,
    share: Share,
}

/// When a record is to have been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Then, or not at all.
    At(Timestamp),
    /// Then, or as much later as the records before it ask for.
    NotBefore(Timestamp),
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self::At(at)
    }
}

/// Why a record was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAccepted {
    /// A record with a later time came first: read the clock and decide again.
    Stale,
    /// No place for this caller: what waits of it takes its share of the queue.
    Share,
    /// No place for anyone.
    Full,
    /// The log cannot be written, or is closed.
    Down,
}

impl NotAccepted {
    /// A word for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Share => "caller",
            Self::Full => "queue",
            Self::Down => "log",
        }
    }
}

/// How an allowed request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// What became of it.
    pub outcome: Outcome,
    /// The status the caller got.
    pub status: Option<u16>,
    /// From the decision to the last byte.
    pub duration_us: u64,
    /// Bytes of the body sent to the caller.
    pub bytes: u64,
    /// What ended it.
    pub why: Why,
    /// How often it was sent.
    pub attempts: u32,
    /// A word that says more of `why`.
    pub detail: Option<&'static str>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Who holds this may take from the queue and write; gone when the log is closed.
    desk: Mutex<Option<Writer>>,
    shares: Shares,
    wake: Condvar,
    clock: Arc<Clock>,
    metrics: Arc<Metrics>,
    up: AtomicBool,
    unrecorded: AtomicU64,
    durability: Durability,
    /// The number of the last entry that is as durable as configured. Also told anew when the log fails.
    kept: watch::Sender<u64>,
    /// The writer's thread gets no time.
    #[cfg(test)]
    stalled: AtomicBool,
}

impl DecisionLog {
    /// Opens the log and writes its first line, so that a log that cannot be written is known before anything listens.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn open(opening: Opening, clock: Arc<Clock>, metrics: Arc<Metrics>, report: Report) -> Result<Self, LogError> {
        Self::open_bounded(opening, clock, metrics, report, Bounds::OF_A_LOG)
    }

    fn open_bounded(opening: Opening, clock: Arc<Clock>, metrics: Arc<Metrics>, report: Report, bounds: Bounds) -> Result<Self, LogError> {
        Self::with_writer(Writer::open(opening, report)?, clock, metrics, bounds)
    }

    fn with_writer(mut writer: Writer, clock: Arc<Clock>, metrics: Arc<Metrics>, bounds: Bounds) -> Result<Self, LogError> {
        let floor = clock.now();
        writer.begin(floor)?;
        let (durability, to) = (writer.durability(), writer.to().clone());
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::new(floor, bounds)),
            desk: Mutex::new(Some(writer)),
            shares: Shares::default(),
            wake: Condvar::new(),
            clock,
            metrics,
            up: AtomicBool::new(true),
            unrecorded: AtomicU64::new(0),
            durability,
            kept: watch::Sender::new(0),
            #[cfg(test)]
            stalled: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("decision-log".to_owned()).spawn(move || writer::run(&theirs));
        Ok(Self { to, shared, thread: Mutex::new(Some(thread.map_err(LogError::Thread)?)) })
    }

    /// The share of a caller in the queue. Looked up once for a connection, it makes every record cheaper.
    #[must_use]
    pub fn share(&self, caller: &SpiffeId) -> Share {
        self.shared.shares.of(caller)
    }

    /// Takes the record of a decision that is not forwarded.
    ///
    /// # Errors
    /// See [`NotAccepted`]. Except for [`NotAccepted::Stale`] the loss is counted.
    pub fn denied(&self, at: impl Into<Moment>, event: Box<Decided>) -> Result<(), NotAccepted> {
        let share = self.share(&event.source.id);
        self.denied_text(at, &share, EventText::of(&Event::Decided(event)).borrowed())
    }

    /// Takes the record of a decision whose request will be forwarded, and promises a place to its end.
    ///
    /// # Errors
    /// See [`NotAccepted`]. Except for [`NotAccepted::Stale`] the loss is counted.
    pub fn allowed(&self, at: impl Into<Moment>, event: Box<Decided>) -> Result<Ticket, NotAccepted> {
        let share = self.share(&event.source.id);
        self.allowed_text(at, &share, EventText::of(&Event::Decided(event)).borrowed())
    }

    /// As [`DecisionLog::denied`], for a record that is written down already. `text` must be a `decided` event.
    ///
    /// # Errors
    /// As there.
    pub fn denied_text(&self, at: impl Into<Moment>, share: &Share, text: EventTextRef<'_>) -> Result<(), NotAccepted> {
        self.push_decided(at.into(), share, text, false).map(|_| ())
    }

    /// As [`DecisionLog::allowed`], for a record that is written down already. `text` must be a `decided` event.
    ///
    /// # Errors
    /// As there.
    pub fn allowed_text(&self, at: impl Into<Moment>, share: &Share, text: EventTextRef<'_>) -> Result<Ticket, NotAccepted> {
        let number = self.push_decided(at.into(), share, text, true)?;
        Ok(Ticket { number, share: share.clone() })
    }

    /// Waits until the record of `ticket` is as durable as `log.durability` asks. Nothing may be forwarded before.
    ///
    /// # Errors
    /// [`NotAccepted::Down`]: the log failed meanwhile, or took too long. The record may still come to the file, and its `ended` will.
    pub async fn kept(&self, ticket: &Ticket) -> Result<(), NotAccepted> {
        if self.shared.durability == Durability::Queued {
            return Ok(());
        }
        let mut kept = self.shared.kept.subscribe();
        let whole = async {
            while *kept.borrow_and_update() < ticket.number {
                // Whoever fails says so after this is false, and then tells; so either it is seen here or a change comes.
                if !self.is_up() || kept.changed().await.is_err() {
                    return Err(NotAccepted::Down);
                }
            }
            Ok(())
        };
        tokio::time::timeout(limits::LOG_KEPT_TIMEOUT, whole).await.unwrap_or(Err(NotAccepted::Down))
    }

    fn push_decided(&self, at: Moment, share: &Share, text: EventTextRef<'_>, follow: bool) -> Result<u64, NotAccepted> {
        let pushed = self.shared.try_push(at, share, text, follow);
        if let Err(why @ (NotAccepted::Share | NotAccepted::Full | NotAccepted::Down)) = pushed {
            self.count_unrecorded(why);
        }
        pushed
    }

    /// Counts a request that was refused because it could not be recorded.
    pub fn count_unrecorded(&self, why: NotAccepted) {
        self.shared.unrecorded.fetch_add(1, Ordering::Relaxed);
        self.shared.metrics.unrecorded(why.as_str());
    }

    /// Takes the record of the end of an allowed request. There is always a place for it.
    pub fn ended(&self, ticket: Ticket, end: End) {
        // Taking the ticket apart uses it up.
        let Ticket { number, share } = ticket;
        let mut queue = self.shared.lock();
        queue.push_ended(self.shared.clock.now(), number, &share, end);
        self.shared.rouse(queue);
    }

    /// Records that another bundle is in force, or the same one as it was issued again.
    pub fn reloaded(&self, revision: Revision, bundle: Option<Issue>) {
        let mut queue = self.shared.lock();
        let at = queue.raise(self.shared.clock.now());
        queue.push(at, What::Reloaded(revision, bundle.map(Box::new)));
        self.shared.rouse(queue);
    }

    /// Counts a stranger that was turned away. Told at the next heartbeat.
    pub fn refused(&self, ip: IpAddr, reason: &'static str) {
        self.shared.lock().refused(ip, reason);
    }

    /// Where it is written.
    #[must_use]
    pub fn to(&self) -> &config::LogTo {
        &self.to
    }

    /// Whether records are accepted.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.shared.up.load(Ordering::Acquire)
    }

    /// The time of the oldest entry that waits to be written.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.shared.lock().oldest()
    }

    /// Entries that wait to be written.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.shared.lock().waiting.entries.len()
    }

    /// Writes what is queued, `stopped` and a last head, and closes the file. Blocks until done; nothing is accepted afterwards.
    pub fn stop(&self) {
        let mut queue = self.shared.lock();
        queue.stopping = true;
        drop(queue);
        self.shared.wake.notify_all();
        let handle = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(handle) = handle {
            // A writer that panicked has nothing left to tell; its log is open-ended, which every reader reports.
            let _ = handle.join();
        }
        self.shared.up.store(false, Ordering::Release);
    }
}

impl Drop for DecisionLog {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// A poisoned lock is taken all the same: the queue is consistent between any two statements that can panic.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_push(&self, at: Moment, share: &Share, text: EventTextRef<'_>, follow: bool) -> Result<u64, NotAccepted> {
        if !self.up.load(Ordering::Acquire) {
            return Err(NotAccepted::Down);
        }
        let mut queue = self.lock();
        let number = queue.push_decided(at, share, text, follow)?;
        let late = self.durability == Durability::Queued && queue.oldest().is_some_and(|oldest| oldest.plus_ms(LATE_MS) < queue.floor);
        self.rouse(queue);
        if late {
            self.catch_up();
        }
        Ok(number)
    }

    /// Wakes the writer if it sleeps; while it works it looks by itself.
    fn rouse(&self, mut queue: MutexGuard<'_, Queue>) {
        let idle = std::mem::take(&mut queue.idle);
        drop(queue);
        if idle {
            self.wake.notify_one();
        }
    }

    /// Writes what waits, where the writer's thread should have done so and got no time of the processor. Whoever writes already is
    /// not waited for, and a disk that fails is left to the thread.
    fn catch_up(&self) {
        if let Ok(mut desk) = self.desk.try_lock()
            && let Some(writer) = desk.as_mut().filter(|writer| !writer.is_failing())
        {
            self.metrics.log_late.inc();
            writer.turn(self, false);
        }
    }

    /// Waits until there is something to do.
    fn wait(&self, until: Instant) {
        let mut queue = self.lock();
        while queue.waiting.entries.is_empty() && !queue.stopping {
            let now = Instant::now();
            if now >= until {
                break;
            }
            queue.idle = true;
            queue = self.wake.wait_timeout(queue, until - now).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.idle = false;
        // Where requests wait for the write, what comes during one write is gathered for the next.
        let gather = self.durability == Durability::Queued && !queue.waiting.entries.is_empty() && !queue.stopping;
        drop(queue);
        if gather {
            // Under load this gathers hundreds of records into one write; the writer is not woken for each.
            std::thread::sleep(limits::LOG_GATHER);
        }
    }

    /// Takes everything. `spare` is what waits from now on; an end of the log is seen by the writer's `own` thread alone.
    fn take(&self, tell: bool, spare: Waiting, own: bool) -> Batch {
        let mut queue = self.lock();
        let waiting = std::mem::replace(&mut queue.waiting, spare);
        let stopping = queue.stopping && own;
        let (refusals, refusals_dropped) = if tell || stopping {
            (std::mem::take(&mut queue.refusals), std::mem::take(&mut queue.refusals_dropped))
        } else {
            Default::default()
        };
        let at = queue.raise(self.clock.now());
        let batch = Batch { waiting, upto: queue.pushed, refusals, refusals_dropped, at, stopping };
        drop(queue);
        batch.waiting.release();
        batch
    }
}

/// [`limits::LOG_LATE`] in the unit of records.
const LATE_MS: i64 = limits::LOG_LATE.as_millis() as i64;

/// What the writer took in one go.
#[derive(Debug)]
struct Batch {
    waiting: Waiting,
    /// The number of the last entry.
    upto: u64,
    refusals: Refusals,
    refusals_dropped: u64,
    at: Timestamp,
    stopping: bool,
}

impl End {
    fn event(self, of: u64) -> Ended {
        let Self { outcome, status, duration_us, bytes, why, attempts, detail } = self;
        let attempts = Some(attempts).filter(|n| *n > 1);
        Ended { of, outcome, status, duration_us, bytes, why, attempts, detail: detail.map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests;
