//! Who of a connection wants to be polled: the connection itself, or which of its streams.
//!
//! All of them are in one task. What rings while that task is at work does not wake it; it looks at the bells before it rests. A stream
//! is known by its place, which others take after it: a late ring has somebody polled for nothing, and does no other harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

use crate::limits;

/// The bells of one connection.
#[derive(Debug, Default)]
pub struct Bells {
    task: AtomicWaker,
    at_work: AtomicBool,
    connection: AtomicBool,
    streams: [AtomicU64; 2],
}

const _: () = assert!(limits::H2_STREAMS_MAX <= u128::BITS, "each has a bit");

impl Bells {
    /// Begins the task's work, which ends with [`Bells::rest`].
    pub fn work(&self, task: &Waker) {
        self.task.register(task);
        self.at_work.store(true, Ordering::SeqCst);
    }

    /// Ends it. Whether something rang meanwhile.
    pub fn rest(&self) -> bool {
        self.at_work.store(false, Ordering::SeqCst);
        self.any()
    }

    /// Whether something rang.
    #[must_use]
    pub fn any(&self) -> bool {
        self.connection.load(Ordering::SeqCst) || self.any_stream()
    }

    /// Whether a stream rang.
    #[must_use]
    pub fn any_stream(&self) -> bool {
        self.streams.iter().any(|word| word.load(Ordering::SeqCst) != 0)
    }

    /// Whether the connection rang; what rings from now on is heard anew.
    pub fn connection(&self) -> bool {
        self.connection.load(Ordering::SeqCst) && self.connection.swap(false, Ordering::SeqCst)
    }

    /// Which streams rang, each as a bit at its place.
    pub fn streams(&self) -> u128 {
        let [low, high] = &self.streams;
        let take = |word: &AtomicU64| u128::from(if word.load(Ordering::SeqCst) == 0 { 0 } else { word.swap(0, Ordering::SeqCst) });
        take(low) | take(high) << 64
    }

    /// Rings for the connection.
    pub fn ring_connection(&self) {
        self.connection.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Rings for the stream at a place.
    pub fn ring_stream(&self, place: usize) {
        if let Some(word) = self.streams.get(place / 64) {
            word.fetch_or(1 << (place % 64), Ordering::SeqCst);
        }
        self.wake();
    }

    fn wake(&self) {
        if !self.at_work.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

/// Rings for the connection.
struct Connection(Arc<Bells>);

/// Rings for one stream.
struct Stream(Arc<Bells>, usize);

impl Wake for Connection {
    fn wake(self: Arc<Self>) {
        self.0.ring_connection();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.ring_connection();
    }
}

impl Wake for Stream {
    fn wake(self: Arc<Self>) {
        self.0.ring_stream(self.1);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.ring_stream(self.1);
    }
}

/// What rings for the connection.
#[must_use]
pub fn connection(bells: &Arc<Bells>) -> Waker {
    Arc::new(Connection(Arc::clone(bells))).into()
}

/// What rings for the stream at a place.
#[must_use]
pub fn stream(bells: &Arc<Bells>, place: usize) -> Waker {
    Arc::new(Stream(Arc::clone(bells), place)).into()
}
