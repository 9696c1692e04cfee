//! The decision log: a bounded queue in front of one writer thread that owns the file and the chain.
//!
//! A record is *accepted* when its place in the queue is taken; only then may a request be forwarded. A place for the matching
//! `ended` is taken with it, so that the end of an allowed request is never the record that is lost.
//!
//! INVARIANTS: `at` never goes back along the chain (a decision that comes late is refused as [`NotAccepted::Stale`] and taken
//! again with a new time); one caller never holds more than its share; strangers never use the queue, they are counted in a
//! bounded table and told at the heartbeat; while the file cannot be written nothing is accepted (INV-9).

mod file;
mod writer;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use portreeve_engine::record::{Decided, Ended, Issue, Mode, Outcome, Why};
use portreeve_engine::{Digest, Revision, SpiffeId, Timestamp};

use crate::clock::Clock;
use crate::config;
use crate::heads::HeadsError;
use crate::limits;
use crate::metrics::Metrics;
use crate::report::Report;

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

/// The decision log of one process.
#[derive(Debug)]
pub struct DecisionLog {
    to: config::LogTo,
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Proof that a `decided` record of a request that will be forwarded was accepted. It is used up by [`DecisionLog::ended`].
#[derive(Debug)]
pub struct Ticket {
    id: u64,
    caller: SpiffeId,
}

/// Why a record was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAccepted {
    /// A record with a later time came first: read the clock and decide again.
    Stale,
    /// No place, for this caller or for anyone.
    Full,
    /// The log cannot be written, or is closed.
    Down,
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
    wake: Condvar,
    clock: Arc<Clock>,
    metrics: Arc<Metrics>,
    up: AtomicBool,
    unrecorded: AtomicU64,
}

#[derive(Debug)]
struct Queue {
    entries: VecDeque<Entry>,
    /// Places promised to the `ended` of accepted requests.
    promised: usize,
    callers: HashMap<SpiffeId, usize>,
    floor: Timestamp,
    next_ticket: u64,
    refusals: HashMap<(IpAddr, &'static str), u64>,
    refusals_dropped: u64,
    stopping: bool,
    /// Whether the writer sleeps and must be woken.
    idle: bool,
    bounds: Bounds,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    queue: usize,
    caller: usize,
    refusals: usize,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    what: What,
}

#[derive(Debug)]
enum What {
    Decided { event: Box<Decided>, ticket: Option<u64> },
    Ended { ticket: u64, end: End },
    Reloaded(Revision, Option<Box<Issue>>),
}

impl DecisionLog {
    /// Opens the log and writes its first line, so that a log that cannot be written is known before anything listens.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn open(opening: Opening, clock: Arc<Clock>, metrics: Arc<Metrics>, report: Report) -> Result<Self, LogError> {
        let bounds = Bounds { queue: limits::LOG_QUEUE_MAX, caller: limits::LOG_QUEUE_CALLER_MAX, refusals: limits::REFUSALS_MAX };
        Self::open_bounded(opening, clock, metrics, report, bounds)
    }

    fn open_bounded(opening: Opening, clock: Arc<Clock>, metrics: Arc<Metrics>, report: Report, bounds: Bounds) -> Result<Self, LogError> {
        Self::with_writer(writer::Writer::open(opening, report)?, clock, metrics, bounds)
    }

    fn with_writer(mut writer: writer::Writer, clock: Arc<Clock>, metrics: Arc<Metrics>, bounds: Bounds) -> Result<Self, LogError> {
        let floor = clock.now();
        writer.begin(floor)?;
        let queue = Queue {
            entries: VecDeque::new(),
            promised: 0,
            callers: HashMap::new(),
            floor,
            next_ticket: 0,
            refusals: HashMap::new(),
            refusals_dropped: 0,
            stopping: false,
            idle: false,
            bounds,
        };
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
            wake: Condvar::new(),
            clock,
            metrics,
            up: AtomicBool::new(true),
            unrecorded: AtomicU64::new(0),
        });
        let (theirs, to) = (Arc::clone(&shared), writer.to().clone());
        let thread = std::thread::Builder::new().name("decision-log".to_owned()).spawn(move || writer.run(&theirs));
        Ok(Self { to, shared, writer: Mutex::new(Some(thread.map_err(LogError::Thread)?)) })
    }

    /// Takes the record of a decision that is not forwarded.
    ///
    /// # Errors
    /// See [`NotAccepted`]. Except for [`NotAccepted::Stale`] the loss is counted.
    pub fn denied(&self, at: Timestamp, event: Box<Decided>) -> Result<(), NotAccepted> {
        self.push_decided(at, event, false).map(|_| ())
    }

    /// Takes the record of a decision whose request will be forwarded, and promises a place to its end.
    ///
    /// # Errors
    /// See [`NotAccepted`]. Except for [`NotAccepted::Stale`] the loss is counted.
    pub fn allowed(&self, at: Timestamp, event: Box<Decided>) -> Result<Ticket, NotAccepted> {
        let caller = event.source.id.clone();
        let id = self.push_decided(at, event, true)?;
        Ok(Ticket { id, caller })
    }

    fn push_decided(&self, at: Timestamp, event: Box<Decided>, follow: bool) -> Result<u64, NotAccepted> {
        let refused = match self.shared.try_push(at, event, follow) {
            Err(NotAccepted::Stale) => return Err(NotAccepted::Stale),
            Err(other) => other,
            Ok(id) => return Ok(id),
        };
        self.count_unrecorded();
        Err(refused)
    }

    /// Counts a request that was refused because it could not be recorded.
    pub fn count_unrecorded(&self) {
        self.shared.unrecorded.fetch_add(1, Ordering::Relaxed);
        self.shared.metrics.unrecorded.inc();
    }

    /// Takes the record of the end of an allowed request. There is always a place for it.
    pub fn ended(&self, ticket: Ticket, end: End) {
        // Taking the ticket apart uses it up.
        let Ticket { id, caller } = ticket;
        let mut queue = self.shared.lock();
        queue.promised = queue.promised.saturating_sub(1);
        queue.release(&caller);
        let at = queue.raise(self.shared.clock.now());
        queue.entries.push_back(Entry { at, what: What::Ended { ticket: id, end } });
        self.shared.rouse(queue);
    }

    /// Records that another bundle is in force, or the same one as it was issued again.
    pub fn reloaded(&self, revision: Revision, bundle: Option<Issue>) {
        let mut queue = self.shared.lock();
        let at = queue.raise(self.shared.clock.now());
        queue.entries.push_back(Entry { at, what: What::Reloaded(revision, bundle.map(Box::new)) });
        self.shared.rouse(queue);
    }

    /// Counts a stranger that was turned away. Told at the next heartbeat.
    pub fn refused(&self, ip: IpAddr, reason: &'static str) {
        let mut queue = self.shared.lock();
        let room = queue.refusals.len() < queue.bounds.refusals;
        match queue.refusals.get_mut(&(ip, reason)) {
            Some(count) => *count += 1,
            None if room => {
                queue.refusals.insert((ip, reason), 1);
            }
            None => queue.refusals_dropped += 1,
        }
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

    /// Entries that wait to be written.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.shared.lock().entries.len()
    }

    /// Writes what is queued, `stopped` and a last head, and closes the file. Blocks until done; nothing is accepted afterwards.
    pub fn stop(&self) {
        let mut queue = self.shared.lock();
        queue.stopping = true;
        drop(queue);
        self.shared.wake.notify_all();
        let handle = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
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

    fn try_push(&self, at: Timestamp, event: Box<Decided>, follow: bool) -> Result<u64, NotAccepted> {
        if !self.up.load(Ordering::Acquire) {
            return Err(NotAccepted::Down);
        }
        let mut queue = self.lock();
        if queue.stopping {
            return Err(NotAccepted::Down);
        }
        if at < queue.floor {
            return Err(NotAccepted::Stale);
        }
        let places = if follow { 2 } else { 1 };
        let held = queue.callers.get(&event.source.id).copied().unwrap_or(0);
        if queue.entries.len() + queue.promised + places > queue.bounds.queue || held + places > queue.bounds.caller {
            return Err(NotAccepted::Full);
        }
        let caller = event.source.id.clone();
        *queue.callers.entry(caller).or_insert(0) += places;
        queue.floor = at;
        let id = queue.next_ticket;
        queue.next_ticket += 1;
        queue.promised += usize::from(follow);
        queue.entries.push_back(Entry { at, what: What::Decided { event, ticket: follow.then_some(id) } });
        self.rouse(queue);
        Ok(id)
    }

    /// Wakes the writer if it sleeps; while it works it looks by itself.
    fn rouse(&self, mut queue: MutexGuard<'_, Queue>) {
        let idle = std::mem::take(&mut queue.idle);
        drop(queue);
        if idle {
            self.wake.notify_one();
        }
    }

    /// Waits until there is something to do, and takes it all.
    fn take(&self, until: Instant, tell: bool) -> Batch {
        let mut queue = self.lock();
        while queue.entries.is_empty() && !queue.stopping {
            let now = Instant::now();
            if now >= until {
                break;
            }
            queue.idle = true;
            queue = self.wake.wait_timeout(queue, until - now).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.idle = false;
        if !queue.entries.is_empty() && !queue.stopping {
            drop(queue);
            // Under load this gathers hundreds of records into one write; the writer is not woken for each.
            std::thread::sleep(limits::LOG_GATHER);
            queue = self.lock();
        }
        let entries = std::mem::take(&mut queue.entries);
        for entry in &entries {
            if let What::Decided { event, .. } = &entry.what {
                queue.release(&event.source.id);
            }
        }
        let tell = tell || queue.stopping || Instant::now() >= until;
        let (refusals, refusals_dropped) =
            if tell { (std::mem::take(&mut queue.refusals), std::mem::take(&mut queue.refusals_dropped)) } else { Default::default() };
        let at = queue.raise(self.clock.now());
        Batch { entries, refusals, refusals_dropped, at, stopping: queue.stopping }
    }
}

/// What the writer took in one go.
#[derive(Debug)]
struct Batch {
    entries: VecDeque<Entry>,
    refusals: HashMap<(IpAddr, &'static str), u64>,
    refusals_dropped: u64,
    at: Timestamp,
    stopping: bool,
}

impl Queue {
    fn release(&mut self, caller: &SpiffeId) {
        if let Some(held) = self.callers.get_mut(caller) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.callers.remove(caller);
            }
        }
    }

    /// The time for a record of our own: now, and no earlier than what is queued.
    fn raise(&mut self, now: Timestamp) -> Timestamp {
        self.floor = self.floor.max(now);
        self.floor
    }
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
