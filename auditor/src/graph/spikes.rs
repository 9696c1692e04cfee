//! Hours of many denials against their own history: of one caller; of one operation, or of one service, where no single caller makes
//! them: many callers that ask for what is denied are a probe from several places, or a rollout that forgot a grant.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::Timestamp;

use crate::assessment::usage::{Spike, SpikeOf};
use crate::examined::{Examined, caller};
use crate::ledger::Tally;
use crate::limits::{HOUR_MS, SPIKE_DENIALS_MIN, SPIKE_FACTOR};

/// Every spike: of each caller, operation and service the hour with the most.
pub(crate) fn spikes(examined: &Examined<'_>) -> Vec<Spike> {
    let hours = examined.denied_by_hour(|key| (key.to.clone(), key.operation.clone(), caller(key)));
    let spans = examined.fold.seen.map_or(1, |(from, to)| (to.unix_ms() - from.unix_ms()) / HOUR_MS + 1);
    let other_hours = u64::try_from(spans).unwrap_or(1).max(1) - 1;
    let mut told: BTreeSet<String> = BTreeSet::new();
    let mut out = Vec::new();
    // What is told of a caller is not told again of what it asked for, nor what is told of an operation of its service.
    for of in [SpikeOf::Caller, SpikeOf::Operation, SpikeOf::Service] {
        let mut by_name: BTreeMap<String, Hours> = BTreeMap::new();
        for (((to, operation, from), hour), tally) in &hours {
            let called = format!("{to} {}", operation.as_deref().unwrap_or("undeclared paths"));
            if told.contains(from) || told.contains(&called) {
                continue;
            }
            let (name, parts) = match of {
                SpikeOf::Caller => (from, vec![]),
                SpikeOf::Operation => (&called, vec![from]),
                SpikeOf::Service => (to, vec![from, &called]),
            };
            by_name.entry(name.clone()).or_default().add(*hour, &parts, tally);
        }
        let found: Vec<Spike> = by_name.into_iter().filter_map(|(name, hours)| hours.spike(of, name, other_hours)).collect();
        told.extend(found.iter().map(|spike| spike.from.clone()));
        out.extend(found);
    }
    out
}

/// Denials by the hour, with the callers and operations that each is made of.
#[derive(Default)]
struct Hours(BTreeMap<i64, Hour>);

struct Hour {
    tally: Tally,
    parts: BTreeMap<String, u64>,
}

impl Hours {
    fn add(&mut self, hour: i64, parts: &[&String], tally: &Tally) {
        let known = match self.0.entry(hour) {
            Entry::Occupied(known) => {
                let known = known.into_mut();
                known.tally.absorb(tally);
                known
            }
            Entry::Vacant(new) => new.insert(Hour { tally: tally.clone(), parts: BTreeMap::new() }),
        };
        for part in parts {
            *known.parts.entry((*part).clone()).or_default() += tally.count;
        }
    }

    fn spike(self, of: SpikeOf, name: String, other_hours: u64) -> Option<Spike> {
        let total: u64 = self.0.values().map(|h| h.tally.count).sum();
        let (hour, peak) = self.0.into_iter().max_by_key(|(_, h)| h.tally.count)?;
        let mean_of_others = (total - peak.tally.count) / other_hours.max(1);
        // Without what any single one of the callers, or of the operations, makes of it.
        let counts = peak.tally.count - peak.parts.values().max().copied().unwrap_or(0);
        (counts >= SPIKE_DENIALS_MIN && counts > SPIKE_FACTOR * mean_of_others).then(|| Spike {
            of,
            from: name,
            hour: Timestamp::from_unix_ms(hour * HOUR_MS),
            denied: peak.tally.count,
            mean_of_others,
            other_hours,
            evidence: peak.tally.evidence.into_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Audit;
    use crate::testing::{Log, POLICY, authorizer, id, memory};

    /// Denied calls: by whom (of so many callers), how often each, and of how many paths.
    fn spikes_of(callers: usize, times: usize, paths: usize) -> Vec<(SpikeOf, String, u64)> {
        let law = authorizer(POLICY);
        let mut log = Log::start("items", "items-1", *law.revision());
        for n in 0..callers * times {
            let path = if n % paths == 0 { "/v1/items/1".to_owned() } else { format!("/v2/odd/{}", n % paths) };
            log.ask(&law, &id(&format!("stranger-{}", n % callers)), "GET", &path);
        }
        log.stop();
        let a = Audit::new(vec![("market".to_owned(), law)]).logs([memory("items", &log.out)]).run(&mut |_| {}).unwrap();
        a.analyses.spikes.entries.into_iter().map(|s| (s.of, s.from, s.denied)).collect()
    }

    #[test]
    fn a_spike_is_told_of_whatever_makes_it() {
        let at = SPIKE_DENIALS_MIN as usize;
        // One caller, many times; many callers, once each, of one operation, and of several.
        assert_eq!(spikes_of(1, at, 1), [(SpikeOf::Caller, "spiffe://market.example/ns/shop/sa/stranger-0".to_owned(), at as u64)]);
        assert_eq!(spikes_of(at + 1, 1, 1), [(SpikeOf::Operation, "items read-item".to_owned(), at as u64 + 1)]);
        let several = spikes_of(at * 2 - 2, 1, 2);
        assert_eq!(several, [], "neither operation has enough, nor the service but for one of them");
        let several = spikes_of(at * 2, 1, 2);
        assert!(several.contains(&(SpikeOf::Service, "items".to_owned(), at as u64 * 2)), "{several:?}");
        assert_eq!(spikes_of(at, 1, 1), [], "all but one caller's are too few");
        assert_eq!(spikes_of(1, at - 1, 1), []);
        let one = spikes_of(1, at * 4, 2);
        assert!(one.iter().all(|(of, ..)| *of == SpikeOf::Caller), "one caller's is told once: {one:?}");
    }
}
