//! The queue between requests and the writer: bounded places and bytes, fair between callers, in the order of time.
//!
//! Taking a record costs a copy of its text and no allocation: texts lie one after another in memory that queue and writer hand
//! to and fro. INVARIANTS: `at` never goes back; a place that was promised to an `ended` is there when it comes; a caller's
//! share is given back when its records were taken by the writer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use portreeve_engine::record::Issue;
use portreeve_engine::record_text::{EventTextRef, EventTexts};
use portreeve_engine::{Revision, SpiffeId, Timestamp};

use super::{End, Moment, NotAccepted};
use crate::limits;

/// What waits for the writer.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) waiting: Waiting,
    /// Places promised to the `ended` of accepted requests.
    pub(super) promised: usize,
    pub(super) floor: Timestamp,
    /// Entries that were ever taken.
    pub(super) pushed: u64,
    pub(super) refusals: Refusals,
    pub(super) refusals_dropped: u64,
    pub(super) stopping: bool,
    /// Whether the writer sleeps and must be woken.
    pub(super) idle: bool,
    pub(super) bounds: Bounds,
}

/// Strangers that were turned away, by address and reason.
pub(super) type Refusals = HashMap<(IpAddr, &'static str), u64>;

/// Entries with the texts of those that are `decided`, in order.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) entries: Vec<Entry>,
    pub(super) texts: EventTexts,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) queue: usize,
    pub(super) caller: usize,
    pub(super) bytes: usize,
    pub(super) caller_bytes: usize,
    pub(super) refusals: usize,
}

impl Bounds {
    pub(super) const OF_A_LOG: Self = Self {
        queue: limits::LOG_QUEUE_MAX,
        caller: limits::LOG_QUEUE_CALLER_MAX,
        bytes: limits::LOG_QUEUE_BYTES_MAX,
        caller_bytes: limits::LOG_QUEUE_CALLER_BYTES_MAX,
        refusals: limits::REFUSALS_MAX,
    };
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: Timestamp,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// Its text is the next one.
    Decided {
        /// Where an `ended` will follow.
        ticket: Option<u64>,
        /// Whose places it takes.
        share: Share,
    },
    Ended {
        ticket: u64,
        end: End,
        /// Whose place it takes.
        share: Share,
    },
    Reloaded(Revision, Option<Box<Issue>>),
}

/// What one caller holds of the queue. It is looked up once for a connection.
#[derive(Clone, Debug)]
pub struct Share(Arc<Held>);

#[derive(Debug)]
struct Held {
    places: AtomicUsize,
    bytes: AtomicUsize,
    /// Of what an `ended` will follow, how much has not ended.
    running: AtomicUsize,
}

impl Share {
    /// Gives back the place of a record with so many bytes of text.
    pub(super) fn release(&self, bytes: usize) {
        self.0.places.fetch_sub(1, Ordering::Relaxed);
        self.0.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// How much of this caller was let through and has not ended, over all its connections.
    pub(crate) fn running(&self) -> usize {
        self.0.running.load(Ordering::Relaxed)
    }
}

/// The shares of all callers that hold one.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<Register>);

#[derive(Debug, Default)]
struct Register {
    held: HashMap<SpiffeId, Weak<Held>>,
    /// At this size those that nobody holds any more are forgotten.
    tidy_at: usize,
}

impl Shares {
    /// The share of a caller: the same one for all its connections.
    pub(super) fn of(&self, caller: &SpiffeId) -> Share {
        let mut register = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = register.held.get(caller).and_then(Weak::upgrade) {
            return Share(held);
        }
        if register.held.len() >= register.tidy_at {
            register.held.retain(|_, held| held.strong_count() > 0);
            // Twice what is alive: tidying stays cheap for each newcomer, and the table in proportion to open connections.
            register.tidy_at = (register.held.len() * 2).max(SHARES_TIDY_MIN);
        }
        let held = Arc::new(Held { places: AtomicUsize::new(0), bytes: AtomicUsize::new(0), running: AtomicUsize::new(0) });
        register.held.insert(caller.clone(), Arc::downgrade(&held));
        Share(held)
    }
}

impl Queue {
    pub(super) fn new(floor: Timestamp, bounds: Bounds) -> Self {
        Self {
            waiting: Waiting::default(),
            promised: 0,
            floor,
            pushed: 0,
            refusals: Refusals::new(),
            refusals_dropped: 0,
            stopping: false,
            idle: false,
            bounds,
        }
    }

    /// Takes a `decided`, and promises a place to its end where one will `follow`. Gives the number of the entry, from 1.
    pub(super) fn push_decided(&mut self, at: Moment, share: &Share, text: EventTextRef<'_>, follow: bool) -> Result<u64, NotAccepted> {
        if self.stopping {
            return Err(NotAccepted::Down);
        }
        let at = match at {
            Moment::At(at) if at < self.floor => return Err(NotAccepted::Stale),
            Moment::At(at) => at,
            Moment::NotBefore(at) => at.max(self.floor),
        };
        let (places, bytes, bounds) = (if follow { 2 } else { 1 }, text.size(), self.bounds);
        let held = &share.0;
        let of_caller = held.places.load(Ordering::Relaxed) + places > bounds.caller
            || held.bytes.load(Ordering::Relaxed) + bytes > bounds.caller_bytes;
        if of_caller {
            return Err(NotAccepted::Share);
        }
        let of_all = self.waiting.entries.len() + self.promised + places > bounds.queue || self.waiting.texts.size() + bytes > bounds.bytes;
        if of_all {
            return Err(NotAccepted::Full);
        }
        // Only the holder of the queue's lock adds; others only give back.
        held.places.fetch_add(places, Ordering::Relaxed);
        held.bytes.fetch_add(bytes, Ordering::Relaxed);
        held.running.fetch_add(usize::from(follow), Ordering::Relaxed);
        self.floor = at;
        self.promised += usize::from(follow);
        self.waiting.texts.push(text);
        let number = self.pushed + 1;
        self.push(at, What::Decided { ticket: follow.then_some(number), share: share.clone() });
        Ok(number)
    }

    /// Takes the end that a place was promised to.
    pub(super) fn push_ended(&mut self, now: Timestamp, ticket: u64, share: &Share, end: End) {
        self.promised = self.promised.saturating_sub(1);
        share.0.running.fetch_sub(1, Ordering::Relaxed);
        let at = self.raise(now);
        // The place that was promised is taken now, and stays the caller's until the writer has it: otherwise one caller whose
        // requests end quickly fills the places of all while a disk is slow.
        self.push(at, What::Ended { ticket, end, share: share.clone() });
    }

    pub(super) fn push(&mut self, at: Timestamp, what: What) {
        self.pushed += 1;
        self.waiting.entries.push(Entry { at, what });
    }

    /// Counts a stranger.
    pub(super) fn refused(&mut self, ip: IpAddr, reason: &'static str) {
        let room = self.refusals.len() < self.bounds.refusals;
        match self.refusals.get_mut(&(ip, reason)) {
            Some(count) => *count += 1,
            None if room => {
                self.refusals.insert((ip, reason), 1);
            }
            None => self.refusals_dropped += 1,
        }
    }

    /// The time of the entry that has waited longest.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.waiting.entries.first().map(|entry| entry.at)
    }

    /// The time for a record of our own: now, and no earlier than what is queued.
    pub(super) fn raise(&mut self, now: Timestamp) -> Timestamp {
        self.floor = self.floor.max(now);
        self.floor
    }
}

impl Waiting {
    /// Gives back the shares of what was taken, and keeps some memory for the next time.
    pub(super) fn done(&mut self) {
        self.entries.clear();
        self.entries.shrink_to(limits::LOG_BUFFER_KEPT / 64);
        self.texts.clear(limits::LOG_BUFFER_KEPT);
    }

    /// Gives back the shares that the records hold.
    pub(super) fn release(&self) {
        let mut texts = self.texts.iter();
        for entry in &self.entries {
            match &entry.what {
                // Each `decided` brought its text, in this order.
                What::Decided { share, .. } => share.release(texts.next().map_or(0, EventTextRef::size)),
                What::Ended { share, .. } => share.release(0),
                What::Reloaded(..) => {}
            }
        }
    }
}

/// Below so many callers the table of shares is not worth tidying.
const SHARES_TIDY_MIN: usize = 64;
