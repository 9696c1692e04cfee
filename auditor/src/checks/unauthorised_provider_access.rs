//! Grants from the provider into what is a tenant's, or back, that nobody approved.

use std::collections::BTreeMap;

use portreeve_engine::model::Service;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "unauthorised_provider_access",
    title: "provider and tenants without approval",
    severity: Weight::High,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let scope = examined.scope();
    let crosses = |from: &Service, to: &Service| {
        (scope.provider.contains(from) && scope.tenant(to).is_some()) || (scope.tenant(from).is_some() && scope.provider.contains(to))
    };
    let mut out: BTreeMap<String, Draft> = BTreeMap::new();
    for edge in &examined.granted.edges {
        let Some(from) = edge.from.filter(|from| crosses(from, edge.to)) else { continue };
        let lacks = |id: &str| examined.newest.policies().iter().any(|p| *p.reference.id == *id && p.governance.approved_by.is_empty());
        for policy in edge.policies.iter().filter(|p| lacks(&p.id)) {
            let subject = format!("{} → {} {}", from.name, edge.to.name, policy.id);
            out.entry(subject.clone()).or_insert_with(|| Draft {
                summary: format!(
                    "`{}` lets `{}` call `{}` across the border of provider and tenant, and nobody approved it",
                    policy.id, from.name, edge.to.name
                ),
                subject,
                remedy: "have both sides approve it, or remove it".to_owned(),
                at: Some(policy.at.short()),
                by_policy: true,
                ..Draft::default()
            });
        }
    }
    out.into_values().collect()
}
