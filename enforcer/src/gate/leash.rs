//! How the body of a request sees that the request may not go on.
//!
//! A library that sends a body by itself goes on with it whatever becomes of the answer. A caller that gives up reading has nobody ask for
//! the answer any more, with whose end both would end: a denial has to stop what is still being sent, too (A65).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Caller, Running};
use crate::live::Spot;

/// Held by the body of a request that runs.
#[derive(Debug)]
pub struct Leash {
    caller: Arc<Caller>,
    spot: Option<Spot>,
    over: Arc<AtomicBool>,
    until: Instant,
}

impl Leash {
    /// Whether the request was cut, has ended, or has taken all its time.
    #[must_use]
    pub fn is_over(&self) -> bool {
        // In this order: a place that was given back may be another request's by now, and then this one is over anyway.
        let cut = self.spot.is_some_and(|spot| self.caller.live.is_cut(spot));
        cut || self.over.load(Ordering::Acquire) || Instant::now() >= self.until
    }
}

impl Running {
    /// For the body of the request, which is sent for so long at most.
    pub fn leash(&mut self, within: Duration) -> Leash {
        let over = Arc::clone(self.over.get_or_insert_default());
        let spot = self.place.as_ref().map(crate::live::Place::spot);
        Leash { caller: Arc::clone(&self.caller), spot, over, until: self.began + within }
    }
}
