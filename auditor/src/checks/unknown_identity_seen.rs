//! Verified identities that no service of the inventory has: a workload nobody declared, or an old record's caller.

use std::collections::BTreeMap;

use portreeve_engine::SpiffeId;
use portreeve_engine::decision::Effect;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};
use crate::ledger::Tally;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "unknown_identity_seen", title: "callers outside the inventory", severity: Weight::Medium, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let seen = examined.group(|key| key.from.is_none().then(|| (&key.from_id, key.effect == Effect::Allow)));
    let mut callers: BTreeMap<&SpiffeId, (Tally, u64)> = BTreeMap::new();
    for ((id, is_allow), tally) in seen {
        let allowed = if is_allow { tally.count } else { 0 };
        callers
            .entry(id)
            .and_modify(|(all, a)| {
                all.absorb(&tally);
                *a += allowed;
            })
            .or_insert((tally, allowed));
    }
    callers
        .into_iter()
        .map(|(id, (tally, allowed))| Draft {
            subject: id.to_string(),
            summary: format!("{id}, which no service of the inventory has, asked {}; {allowed} were allowed", many(tally.count, "time")),
            remedy: "add it to the inventory, or stop issuing the identity".to_owned(),
            evidence: tally.evidence,
            count: tally.count,
            severity: (allowed > 0).then_some(Weight::High),
            ..Draft::default()
        })
        .collect()
}
