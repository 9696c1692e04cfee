//! Decisions by the policy that made them.
//!
//! INVARIANT: the label is bounded (A31): its values are ids of policies, which come from the bundle and never from a request, at
//! most [`limits::POLICY_LABELS_MAX`] of them; what comes later is counted under one value together. Over reloads the ids that
//! decide nothing any more make room.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use portreeve_engine::Effect;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use crate::limits;

/// Counts by policy and effect. Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct ByPolicy(Arc<RwLock<HashMap<String, Counts>>>);

#[derive(Debug, Default)]
struct Counts {
    allow: AtomicU64,
    deny: AtomicU64,
    /// What the two came to when the last bundle was taken up.
    before: AtomicU64,
}

impl Counts {
    fn add(&self, effect: Effect) {
        let count = if effect == Effect::Allow { &self.allow } else { &self.deny };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn total(&self) -> u64 {
        self.allow.load(Ordering::Relaxed) + self.deny.load(Ordering::Relaxed)
    }
}

impl ByPolicy {
    /// Counts a decision that this policy made or took part in.
    pub fn count(&self, policy: &str, effect: Effect) {
        {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(counts) = known.get(policy) {
                return counts.add(effect);
            }
            if let Some(others) = known.get(OTHERS).filter(|_| known.len() > limits::POLICY_LABELS_MAX) {
                return others.add(effect);
            }
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let name = if known.len() < limits::POLICY_LABELS_MAX { policy } else { OTHERS };
        known.entry(name.to_owned()).or_default().add(effect);
    }

    /// Another bundle is in force: what did not decide under the one before makes room.
    pub fn renew(&self) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, counts| counts.total() > counts.before.load(Ordering::Relaxed));
        for counts in known.values() {
            counts.before.store(counts.total(), Ordering::Relaxed);
        }
    }
}

impl Collector for ByPolicy {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Decisions by the policies that made them; ids beyond the first ones are counted together";
        let mut metric = encoder.encode_descriptor("policy_decisions", help, None, MetricType::Counter)?;
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<_> = known.iter().collect();
        sorted.sort_unstable_by_key(|(policy, _)| *policy);
        for (policy, counts) in sorted {
            for (effect, count) in [(Effect::Allow, &counts.allow), (Effect::Deny, &counts.deny)] {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let labels = [("policy", policy.as_str()), ("effect", effect.as_str())];
                    ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

/// No policy has a name with a star.
const OTHERS: &str = "*";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a31_the_label_is_bounded_and_reloads_make_room() {
        let counts = ByPolicy::default();
        for n in 0..limits::POLICY_LABELS_MAX + 50 {
            counts.count(&format!("p{n}"), Effect::Allow);
        }
        counts.count("p0", Effect::Deny);
        let read = |policy: &str| counts.0.read().unwrap().get(policy).map(Counts::total);
        assert_eq!(counts.0.read().unwrap().len(), limits::POLICY_LABELS_MAX + 1);
        assert_eq!((read("p0"), read(OTHERS)), (Some(2), Some(50)));
        counts.renew();
        assert_eq!(read("p1"), Some(1), "it decided under the bundle before");
        counts.count("p0", Effect::Allow);
        counts.renew();
        assert_eq!((read("p0"), read("p1"), read(OTHERS)), (Some(3), None, None));
        counts.count("new", Effect::Allow);
        assert_eq!(read("new"), Some(1));
    }
}
