//! Verified identities that no service of the inventory has, and that were allowed something: a partner named by a grant, or a
//! workload nobody declared.

use std::collections::BTreeMap;

use portreeve_engine::SpiffeId;
use portreeve_engine::decision::Effect;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};
use crate::ledger::Tally;

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "unknown_identity_allowed",
    title: "callers outside the inventory, allowed",
    severity: Weight::Medium,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let let_in = strangers(examined).into_iter().filter(|(_, (_, allowed))| *allowed > 0);
    let_in
        .map(|(id, (tally, allowed))| Draft {
            subject: id.to_string(),
            summary: format!("`{id}`, which no service of the inventory has, asked {}; {allowed} were allowed", many(tally.count, "time")),
            remedy: "add it to the inventory; a partner's identity belongs there too, in a zone of its own".to_owned(),
            evidence: tally.evidence.into_vec(),
            count: tally.count,
            ..Draft::default()
        })
        .collect()
}

/// The callers outside the inventory, with what they asked and how much of it was allowed.
pub(super) fn strangers<'a>(examined: &Examined<'a>) -> BTreeMap<&'a SpiffeId, (Tally, u64)> {
    let seen = examined.group(|key| {
        let id = key.from_id.as_ref().filter(|_| key.from.is_none())?;
        Some((id, key.effect == Effect::Allow))
    });
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
}
