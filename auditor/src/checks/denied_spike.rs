//! Callers with an hour of many denials against their own history: probing, or a rollout that forgot a grant.

use std::collections::BTreeMap;

use portreeve_engine::decision::Effect;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, caller, many};
use crate::ledger::Tally;
use crate::limits::{HOUR_MS, SPIKE_DENIALS_MIN, SPIKE_FACTOR};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "denied_spike", title: "bursts of denials", severity: Weight::Medium, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let hours = examined.group(|key| (key.effect == Effect::Deny).then(|| (caller(key), key.hour)));
    let mut callers: BTreeMap<String, Vec<Tally>> = BTreeMap::new();
    for ((from, _), tally) in hours {
        callers.entry(from).or_default().push(tally);
    }
    let spans = examined.fold.seen.map_or(1, |(from, to)| (to.unix_ms() - from.unix_ms()) / HOUR_MS + 1);
    let spans = u64::try_from(spans).unwrap_or(1).max(1);
    callers
        .into_iter()
        .filter_map(|(from, hours)| {
            let total: u64 = hours.iter().map(|t| t.count).sum();
            let peak = hours.into_iter().max_by_key(|t| t.count)?;
            let mean_of_others = (total - peak.count) / (spans - 1).max(1);
            (peak.count >= SPIKE_DENIALS_MIN && peak.count > SPIKE_FACTOR * mean_of_others).then(|| Draft {
                summary: format!(
                    "`{from}` was denied {} within the hour from {}; {}",
                    many(peak.count, "time"),
                    peak.first,
                    history(spans - 1, mean_of_others)
                ),
                subject: from,
                remedy: "ask its owner what it tried; a probe and a forgotten grant look alike here".to_owned(),
                evidence: peak.evidence,
                count: peak.count,
                ..Draft::default()
            })
        })
        .collect()
}

/// What the peak is compared with.
fn history(others: u64, mean: u64) -> String {
    if others == 0 {
        return "the logs cover no other hour to compare with".to_owned();
    }
    format!("its mean over the other {} is {mean}", many(others, "hour"))
}
