//! Pairs `decided` with `ended`: every allowed request comes to one recorded end, and nothing else does.
//!
//! It holds the requests in flight, not the log. Files of a chain may be read in any order, so an end may come before its
//! beginning.

use std::collections::BTreeMap;

use crate::assessment::Evidence;
use crate::limits::PENDING_MAX;

/// The requests of one process whose other half was not read yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    /// Let through; `true` where an end must follow.
    begun: BTreeMap<u64, (bool, Evidence)>,
    ended: BTreeMap<u64, Evidence>,
    /// Given up because there were too many at once.
    pub(crate) dropped: u64,
}

impl Ends {
    /// A request was let through. `must_end` is false in a dry run, where a denied request may be let through.
    pub(crate) fn begin(&mut self, seq: u64, must_end: bool, evidence: Evidence) {
        if self.ended.remove(&seq).is_none() {
            self.begun.insert(seq, (must_end, evidence));
            self.bound();
        }
    }

    /// A request came to its end.
    pub(crate) fn end(&mut self, of: u64, evidence: Evidence) {
        if self.begun.remove(&of).is_none() {
            self.ended.insert(of, evidence);
            self.bound();
        }
    }

    fn bound(&mut self) {
        if self.begun.len() > PENDING_MAX {
            self.begun.pop_first();
            self.dropped += 1;
        }
        if self.ended.len() > PENDING_MAX {
            self.ended.pop_first();
            self.dropped += 1;
        }
    }

    /// Requests that must have ended and did not.
    pub(crate) fn unended(&self) -> impl Iterator<Item = (&u64, &Evidence)> {
        self.begun.iter().filter(|(_, (must, _))| *must).map(|(seq, (_, evidence))| (seq, evidence))
    }

    /// Ends of nothing that was let through.
    pub(crate) fn strays(&self) -> impl Iterator<Item = (&u64, &Evidence)> {
        self.ended.iter()
    }
}
