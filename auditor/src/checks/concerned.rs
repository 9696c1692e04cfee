//! Which services of the inventory a finding is about, so that a reader can ask for one service's findings.
//!
//! Read from the subject, which names a service, an identity, a process, a policy or a pair of them. It judges nothing: a subject
//! that names none of these (an input, a revision) concerns no service by name.

use std::collections::BTreeSet;

use portreeve_engine::SpiffeId;

use crate::examined::Examined;

/// Names of the services concerned, in order.
pub(super) fn services(subject: &str, examined: &Examined<'_>) -> Vec<String> {
    let mut out = BTreeSet::new();
    for edge in examined.granted.edges.iter().filter(|e| e.policies.iter().any(|p| &*p.id == subject)) {
        out.extend(edge.from.map(|s| &*s.name));
        out.insert(&*edge.to.name);
    }
    for word in subject.split_whitespace().map(|word| word.trim_end_matches(':')) {
        let named = examined.newest.services().iter().find(|s| &*s.name == word);
        let identified = || examined.newest.identify(&word.parse::<SpiffeId>().ok()?);
        out.extend(named.or_else(identified).map(|s| &*s.name));
    }
    out.into_iter().map(str::to_owned).collect()
}
