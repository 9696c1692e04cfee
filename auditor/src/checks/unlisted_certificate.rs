//! Client certificates that were seen and for which no record of the governance folder answers.

use std::collections::BTreeMap;

use portreeve_engine::SpiffeId;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};
use crate::ledger::Tally;

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "unlisted_certificate",
    title: "certificates that nobody answers for",
    severity: Weight::Medium,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    if !examined.governance.is_given() {
        return Vec::new();
    }
    let mut out: BTreeMap<&SpiffeId, (u64, Tally)> = BTreeMap::new();
    for ((id, sha256), seen) in &examined.fold.ledger.certificates {
        if examined.governance.certificates.iter().any(|c| c.lists(id, sha256)) {
            continue;
        }
        out.entry(id)
            .and_modify(|(n, t)| {
                *n += 1;
                t.absorb(&seen.seen);
            })
            .or_insert_with(|| (1, seen.seen.clone()));
    }
    out.into_iter()
        .map(|(id, (n, tally))| Draft {
            subject: id.to_string(),
            summary: format!("{} of `{id}`, seen on {}, are in no record", many(n, "certificate"), many(tally.count, "request")),
            remedy: "record them as a `Certificate` with owner, issuer, algorithm and purpose".to_owned(),
            evidence: tally.evidence.into_vec(),
            count: tally.count,
            ..Draft::default()
        })
        .collect()
}
