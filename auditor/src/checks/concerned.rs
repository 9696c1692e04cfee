//! Which services of the inventory a finding is about, so that a reader can ask for one service's findings.
//!
//! Read from the subject, which names a service, an identity, a process, a policy or a pair of them. It judges nothing: a subject
//! that names none of these (an input, a revision) concerns no service by name.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::SpiffeId;

use crate::examined::Examined;

/// The services that each policy is about, gathered once for all findings.
pub(super) struct Concerned<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> Concerned<'a> {
    pub(super) fn of(examined: &Examined<'a>) -> Self {
        let mut by_policy: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for edge in &examined.granted.edges {
            for policy in &edge.policies {
                let services = by_policy.entry(&*policy.id).or_default();
                services.extend(edge.from.map(|s| &*s.name));
                services.insert(&*edge.to.name);
            }
        }
        Self(by_policy)
    }

    /// Names of the services concerned, in order.
    pub(super) fn services(&self, subject: &str, examined: &Examined<'_>) -> Vec<String> {
        let mut out: BTreeSet<&str> = self.0.get(subject).into_iter().flatten().copied().collect();
        for word in subject.split_whitespace().map(|word| word.trim_end_matches(':')) {
            let named = examined.newest.services().iter().find(|s| &*s.name == word);
            let identified = || examined.newest.identify(&word.parse::<SpiffeId>().ok()?);
            out.extend(named.or_else(identified).map(|s| &*s.name));
        }
        out.into_iter().map(str::to_owned).collect()
    }
}
