//! How far a connection is on its way out.
//!
//! INVARIANT: it only ever goes on.

use std::sync::atomic::{AtomicU8, Ordering};

/// Whether a connection takes further requests.
#[derive(Debug, Default)]
pub struct Leaving(AtomicU8);

const RETIRED: u8 = 1;
const WOUND_DOWN: u8 = 2;

impl Leaving {
    /// It takes one further request at the most, and says so in its answer.
    pub fn retire(&self) {
        self.0.fetch_max(RETIRED, Ordering::AcqRel);
    }

    /// It takes no further request, and ends as soon as nothing runs on it.
    pub fn wind_down(&self) {
        self.0.fetch_max(WOUND_DOWN, Ordering::AcqRel);
    }

    /// Whether an answer is the last one.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.0.load(Ordering::Acquire) >= RETIRED
    }

    /// Whether it ends as soon as nothing runs on it.
    #[must_use]
    pub fn is_over_when_idle(&self) -> bool {
        self.0.load(Ordering::Acquire) >= WOUND_DOWN
    }
}
