//! Which calls were recorded under one trace: that is what tells a way data took from steps that merely exist side by side.
//!
//! A trace is the W3C trace id or, where there is none, the id that the caller passed on. Callers choose both: what stands under
//! one trace may have been put there. INVARIANT: what is kept depends on the records alone, never on their order, so that any split
//! of the logs gives the same; of too many traces those with the smallest digests are kept, and a trace of too many edges is given
//! up whole.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::record::{Decided, RequestFacts};
use sha2::{Digest as _, Sha256};

use crate::limits::{TRACE_EDGES_MAX, TRACES_MAX};

/// A caller (`None`: no service of the inventory), a service, and the operation.
pub(crate) type Call = (Option<String>, String, Option<String>);

/// The calls of each trace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traces {
    kept: BTreeMap<u128, Edges>,
    calls: BTreeMap<Call, u32>,
    /// Some traces were left out because there were too many.
    pub(crate) is_sample: bool,
}

/// The edges of one trace, by number; `None` where there were too many.
type Edges = Option<BTreeSet<u32>>;

impl Traces {
    /// Takes in an allowed request.
    pub(crate) fn see(&mut self, decided: &Decided) {
        let Some(trace) = name(&decided.request) else { return };
        let call = (decided.source.service.clone(), decided.destination.service.clone(), decided.request.operation.clone());
        let edge = self.number(call);
        self.put(trace, BTreeSet::from([edge]));
    }

    /// Takes in the traces of another part of the logs.
    #[cfg_attr(not(test), expect(dead_code, reason = "for a fold in several parts"))]
    pub(crate) fn merge(&mut self, other: Self) {
        let numbers: BTreeMap<u32, u32> = other.calls.into_iter().map(|(call, old)| (old, self.number(call))).collect();
        self.is_sample |= other.is_sample;
        for (trace, edges) in other.kept {
            match edges {
                Some(edges) => self.put(trace, edges.iter().filter_map(|old| numbers.get(old)).copied().collect()),
                None => self.put(trace, (0..=TRACE_EDGES_MAX).collect()),
            }
        }
    }

    /// The calls of each trace that was kept.
    pub(crate) fn each(&self) -> impl Iterator<Item = Vec<&Call>> {
        let by_number: BTreeMap<u32, &Call> = self.calls.iter().map(|(call, number)| (*number, call)).collect();
        self.kept.values().flatten().map(move |edges| {
            let mut calls: Vec<&Call> = edges.iter().filter_map(|n| by_number.get(n).copied()).collect();
            calls.sort();
            calls
        })
    }

    /// How many traces there are to look at.
    pub(crate) fn count(&self) -> u64 {
        self.kept.values().flatten().count() as u64
    }

    fn number(&mut self, call: Call) -> u32 {
        let next = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
        *self.calls.entry(call).or_insert(next)
    }

    fn put(&mut self, trace: u128, edges: BTreeSet<u32>) {
        if self.kept.len() >= TRACES_MAX && self.kept.last_key_value().is_some_and(|(last, _)| trace > *last) {
            self.is_sample = true;
            return;
        }
        let held = self.kept.entry(trace).or_insert_with(|| Some(BTreeSet::new()));
        if let Some(all) = held {
            all.extend(edges);
            if all.len() > TRACE_EDGES_MAX as usize {
                *held = None;
            }
        }
        if self.kept.len() > TRACES_MAX {
            self.kept.pop_last();
            self.is_sample = true;
        }
    }
}

/// A digest of the trace's name; the two kinds of names never meet.
pub(crate) fn name(facts: &RequestFacts) -> Option<u128> {
    let (kind, id) = match (&facts.trace, &facts.correlation) {
        (Some(trace), _) => ("trace ", trace),
        (None, Some(correlation)) => ("correlation ", correlation),
        (None, None) => return None,
    };
    let digest: [u8; 32] = Sha256::new().chain_update(kind).chain_update(id).finalize().into();
    digest.first_chunk().map(|bytes| u128::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Log;
    use portreeve_engine::Digest;
    use portreeve_engine::decision::{Effect, Reason};

    fn call(from: &str, path: &str, trace: u64) -> Decided {
        let log = Log::start("items", "one", Digest::ZERO);
        let mut decided = log.question(from, path, Some(path), Effect::Allow, Reason::Permitted, &[]);
        decided.request.correlation = Some(trace.to_string());
        decided
    }

    /// Seeds of nothing: the numbers are all there are.
    #[test]
    fn any_split_and_order_keep_the_same() {
        let all: Vec<Decided> = (0..3_u64)
            .flat_map(|round| {
                (0..TRACES_MAX as u64 * 6 / 5)
                    .map(move |n| call(["invoices", "users"][((n + round) % 2) as usize], &format!("op{}", n % 5), n))
            })
            .collect();
        let fold = |parts: &[Vec<&Decided>]| {
            let folded = parts.iter().map(|part| {
                let mut traces = Traces::default();
                part.iter().for_each(|decided| traces.see(decided));
                traces
            });
            folded.reduce(|mut a, b| {
                a.merge(b);
                a
            })
        };
        let whole = fold(&[all.iter().collect()]).unwrap();
        assert!(whole.is_sample);
        assert_eq!(whole.count(), TRACES_MAX as u64);
        let backwards = fold(&[all.iter().rev().collect()]).unwrap();
        let split = fold(&[all.iter().skip(1).step_by(2).collect(), all.iter().step_by(2).collect()]).unwrap();
        for other in [backwards, split] {
            assert!(whole.each().eq(other.each()));
        }
    }

    #[test]
    fn a_trace_of_too_many_edges_is_given_up_whole() {
        let mut traces = Traces::default();
        for n in 0..TRACE_EDGES_MAX {
            traces.see(&call("invoices", &format!("op{n}"), 1));
        }
        traces.see(&call("invoices", "op", 2));
        assert_eq!(traces.count(), 2);
        traces.see(&call("invoices", "one-more", 1));
        traces.see(&call("invoices", "op1", 1));
        assert_eq!(traces.count(), 1);
        let mut parts = Traces::default();
        parts.see(&call("users", "x", 1));
        parts.merge(traces);
        assert_eq!(parts.count(), 1, "what was given up in one part is given up in all");
    }

    #[test]
    fn what_names_no_trace_is_no_trace() {
        let mut traces = Traces::default();
        let mut decided = call("invoices", "op", 1);
        decided.request.correlation = None;
        traces.see(&decided);
        assert_eq!(traces.count(), 0);
        decided.request.trace = Some("1".to_owned());
        traces.see(&decided);
        (decided.request.trace, decided.request.correlation) = (None, Some("1".to_owned()));
        traces.see(&decided);
        assert_eq!(traces.count(), 2, "a trace and a correlation of one name are two");
    }
}
