//! Times in which no signed head of a process left for longer than it should: what was recorded then could have been lost unseen. Where no
//! head of a process was given at all, nothing is known.

use std::collections::BTreeMap;

use portreeve_engine::Timestamp;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, duration, many};
use crate::limits::HEAD_LAG_MS_MAX;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "late_head", title: "signed heads that came late", severity: Weight::Medium, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let mut by_instance: BTreeMap<&str, Vec<Timestamp>> = BTreeMap::new();
    for head in examined.heads {
        by_instance.entry(&head.instance).or_default().push(head.at);
    }
    let mut out = Vec::new();
    for (index, chain) in examined.chains.all.iter().enumerate() {
        let Some((from, to)) = examined.fold.processes.get(&index).and_then(|p| p.seen) else { continue };
        let Some(heads) = chain.instance.as_deref().and_then(|name| by_instance.get_mut(name)) else { continue };
        heads.sort();
        let before = std::iter::once(from).chain(heads.iter().copied());
        let gaps = before.zip(heads.iter().copied().chain([to])).map(|(a, b)| b.unix_ms() - a.unix_ms());
        let late: Vec<i64> = gaps.filter(|gap| *gap > HEAD_LAG_MS_MAX).collect();
        if let Some(longest) = late.iter().max() {
            out.push(Draft {
                subject: examined.process_name(index),
                summary: format!(
                    "no head of {} left for more than {} {}; the longest time was {}",
                    examined.process_name(index),
                    duration(HEAD_LAG_MS_MAX),
                    many(late.len() as u64, "time"),
                    duration(*longest)
                ),
                remedy: "sign heads every minute (`log.heads.every`), and see that they leave the machine".to_owned(),
                count: late.len() as u64,
                ..Draft::default()
            });
        }
    }
    out
}
