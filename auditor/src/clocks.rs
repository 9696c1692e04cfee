//! Clocks of different enforcers against each other, by requests that both ends recorded: what was called cannot have been called before it
//! was asked for.
//!
//! Of our own logs: a service takes a request under a trace, and calls another one under the same trace; both enforcers write when. Only
//! traces count in which the first of the two stands once, since an id that somebody keeps using orders nothing. INVARIANT: what is kept
//! depends on the records alone, never on their order; of too many traces those with the smallest digests are kept.

use std::collections::BTreeMap;

use portreeve_engine::Timestamp;
use portreeve_engine::record::Decided;

use crate::assessment::Evidence;
use crate::limits::{CLOCK_PAIRS_MIN, CLOCK_PAIRS_SURE, CLOCK_SKEW_MS, EVIDENCE_MAX, TRACES_MAX};
use crate::traces;

/// The steps of each trace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clocks {
    kept: BTreeMap<u128, Option<Vec<Step>>>,
    services: BTreeMap<String, u32>,
}

/// One recorded request of a trace.
#[derive(Clone, Debug)]
struct Step {
    from: Option<u32>,
    to: u32,
    chain: usize,
    at: Timestamp,
    evidence: Evidence,
}

/// How far two clocks are apart, as far as requests show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Apart {
    /// Requests that both ends recorded.
    pub(crate) pairs: u64,
    /// Of these, called before they were asked for, by more than networks explain.
    pub(crate) early: u64,
    /// The least time from the first end to the second, in milliseconds; below zero where the second came first.
    pub(crate) least_ms: i64,
    pub(crate) evidence: Vec<Evidence>,
}

impl Apart {
    /// Counts a request that the calling end wrote so many milliseconds before the called one.
    pub(crate) fn add(&mut self, ms: i64) {
        self.least_ms = if self.pairs == 0 { ms } else { self.least_ms.min(ms) };
        self.pairs += 1;
        self.early += u64::from(ms < -CLOCK_SKEW_MS);
    }

    /// The called end's clock is behind the calling end's, by this many milliseconds at least.
    pub(crate) fn behind_ms(&self) -> Option<i64> {
        (self.early >= CLOCK_PAIRS_MIN).then(|| -self.least_ms)
    }

    /// Every request was called so many milliseconds after it was asked for: a clock is ahead, or all of them had to wait.
    pub(crate) fn ahead_ms(&self) -> Option<i64> {
        (self.pairs >= CLOCK_PAIRS_SURE && self.least_ms > CLOCK_SKEW_MS).then_some(self.least_ms)
    }
}

impl Clocks {
    /// Takes in a request.
    pub(crate) fn see(&mut self, at: Timestamp, decided: &Decided, chain: usize, evidence: &Evidence) {
        let Some(trace) = traces::name(&decided.request) else { return };
        if self.kept.len() >= TRACES_MAX && self.kept.last_key_value().is_some_and(|(last, _)| trace > *last) {
            return;
        }
        let from = decided.source.service.clone().map(|name| self.number(name));
        let to = self.number(decided.destination.service.clone());
        let held = self.kept.entry(trace).or_insert_with(|| Some(Vec::new()));
        if let Some(steps) = held {
            steps.push(Step { from, to, chain, at, evidence: evidence.clone() });
            if steps.len() > TRACE_STEPS_MAX {
                *held = None;
            }
        }
        if self.kept.len() > TRACES_MAX {
            self.kept.pop_last();
        }
    }

    fn number(&mut self, service: String) -> u32 {
        let next = u32::try_from(self.services.len()).unwrap_or(u32::MAX);
        *self.services.entry(service).or_insert(next)
    }

    /// Chains with their difference: of the enforcer that took the first request, and of the one that took what was called for it. `covers`
    /// says whether a chain has records of a time: where it has none, the first request may be another one that was not given.
    pub(crate) fn apart(&self, covers: impl Fn(usize, Timestamp) -> bool) -> BTreeMap<(usize, usize), Apart> {
        let mut out: BTreeMap<(usize, usize), Apart> = BTreeMap::new();
        for steps in self.kept.values().flatten() {
            for called in steps {
                let mut first = steps.iter().filter(|s| called.from == Some(s.to));
                let (Some(asked), None) = (first.next(), first.next()) else { continue };
                if asked.chain == called.chain || !covers(asked.chain, called.at) {
                    continue;
                }
                let ms = called.at.unix_ms() - asked.at.unix_ms();
                let apart = out.entry((asked.chain, called.chain)).or_default();
                apart.add(ms);
                if ms < -CLOCK_SKEW_MS || apart.early == 0 {
                    apart.evidence.extend([asked.evidence.clone(), called.evidence.clone()]);
                    apart.evidence.sort();
                    apart.evidence.truncate(EVIDENCE_MAX);
                }
            }
        }
        out
    }
}

/// Requests of one trace; one with more is an id that somebody keeps using.
const TRACE_STEPS_MAX: usize = 32;
