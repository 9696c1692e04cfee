//! Services of the untrusted zone from which some chain of grants leads to sensitive data. A chain is no fault in itself; each of
//! its services is a place where the data must be kept apart.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "sensitive_data_reachable",
    title: "chains of grants from the untrusted zone to sensitive data",
    severity: Weight::Low,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let reach = examined.granted.reach();
    reach
        .into_iter()
        .filter(|(name, chain)| chain.len() > 2 && examined.newest.service(name).is_some_and(|s| examined.scope().is_untrusted(s)))
        .map(|(name, chain)| Draft {
            subject: name.to_owned(),
            summary: format!("{name} reaches sensitive data in {}: {}", many(chain.len() as u64 - 1, "step"), chain.join(" → ")),
            remedy: "see that every service on the way passes on only what is asked of it; state the way in an invariant".to_owned(),
            at: examined.newest.service(name).map(|s| s.at.short()),
            ..Draft::default()
        })
        .collect()
}
