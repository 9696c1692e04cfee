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
use crate::limits::{CLOCK_PAIRS_MIN, CLOCK_PAIRS_SURE, CLOCK_SKEW_MS, CLOCK_SPREAD_MS, EVIDENCE_MAX, TRACES_MAX};
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

/// Pairs of chains with their differences.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compared {
    /// By requests of times of which both chains have records.
    pub(crate) together: BTreeMap<(usize, usize), Apart>,
    /// By the others.
    pub(crate) elsewhere: BTreeMap<(usize, usize), Apart>,
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
    /// The most.
    pub(crate) most_ms: i64,
    pub(crate) evidence: Vec<Evidence>,
}

impl Apart {
    /// Counts a request that the calling end wrote so many milliseconds before the called one.
    pub(crate) fn add(&mut self, ms: i64) {
        self.least_ms = if self.pairs == 0 { ms } else { self.least_ms.min(ms) };
        self.most_ms = if self.pairs == 0 { ms } else { self.most_ms.max(ms) };
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

    /// Every request was called so many milliseconds after it was asked for (or before, below zero), give or take how long services take.
    pub(crate) fn off_by_ms(&self) -> Option<i64> {
        let is_one_way = self.least_ms > CLOCK_SKEW_MS || self.most_ms < -CLOCK_SKEW_MS;
        let is_steady = self.most_ms - self.least_ms <= CLOCK_SPREAD_MS;
        (self.pairs >= CLOCK_PAIRS_SURE && is_one_way && is_steady).then_some(self.least_ms)
    }

    fn note(&mut self, ms: i64, asked: &Evidence, called: &Evidence) {
        self.add(ms);
        if ms < -CLOCK_SKEW_MS || self.early == 0 {
            self.evidence.extend([asked.clone(), called.clone()]);
            self.evidence.sort();
            self.evidence.truncate(EVIDENCE_MAX);
        }
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
    /// says whether a chain has records of a time: where it has none, the first request may be another one that was not given, and such pairs are
    /// counted for themselves.
    pub(crate) fn apart(&self, covers: impl Fn(usize, Timestamp) -> bool) -> Compared {
        let mut out = Compared::default();
        for steps in self.kept.values().flatten() {
            for called in steps {
                let mut first = steps.iter().filter(|s| called.from == Some(s.to));
                let (Some(asked), None) = (first.next(), first.next()) else { continue };
                if asked.chain == called.chain {
                    continue;
                }
                let ms = called.at.unix_ms() - asked.at.unix_ms();
                let pairs = if covers(asked.chain, called.at) { &mut out.together } else { &mut out.elsewhere };
                pairs.entry((asked.chain, called.chain)).or_default().note(ms, &asked.evidence, &called.evidence);
            }
        }
        out
    }
}

/// Requests of one trace; one with more is an id that somebody keeps using.
const TRACE_STEPS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use crate::audit::Audit;
    use crate::testing::{Log, POLICY, authorizer, id, memory};

    /// The findings about the clocks of `invoices` and of `items`, of so many requests under one trace each, `items` by so many seconds off. Of those
    /// under traces that were used before, `items` has the later use alone.
    fn found(requests: usize, off_s: i64, used_before: bool) -> Vec<(bool, String)> {
        let law = authorizer(POLICY);
        let mut asked = Log::start("invoices", "invoices-1", *law.revision());
        let mut called = Log::start("items", "items-1", *law.revision());
        called.at = called.at.plus_ms(off_s * 1000);
        for n in 0..requests {
            for (log, from, path) in [(&mut asked, "gateway", "/v1/invoices"), (&mut called, "invoices", "/v1/items/1")] {
                if used_before && from == "invoices" {
                    log.at = log.at.plus_ms(600_000);
                }
                let mut decided = log.answered(&law, &id(from), "GET", path, None);
                decided.request.correlation = Some(format!("trace-{n}"));
                log.decide(decided);
            }
        }
        asked.stop();
        called.stop();
        let logs = [memory("invoices", &asked.out), memory("items", &called.out)];
        let a = Audit::new(vec![("market".to_owned(), law)]).logs(logs).run(&mut |_| {}).unwrap();
        a.findings.into_iter().filter(|f| f.check == "clock_skew").map(|f| (f.suspect, f.summary)).collect()
    }

    /// The logs of a minute lie hours apart where one clock is wrong, so that no record is of a time of the other.
    #[test]
    fn a_clock_that_is_hours_wrong_is_in_doubt_without_a_time_in_common() {
        for (off_s, says) in [(-5 * 3600, "about 5 h before"), (5 * 3600, "about 5 h after"), (-86_400 * 3, "about 3 days before")] {
            let found = found(20, off_s, false);
            assert!(found.len() == 1 && found[0].0 && found[0].1.contains(says), "{off_s}: {found:?}");
        }
        assert_eq!(found(20, 0, false), []);
        assert_eq!(found(9, -5 * 3600, false), [], "too few to be sure");
        assert_eq!(found(20, -5 * 3600, true), [], "ids that were used before come back at any time");
    }
}
