//! Places outside the mesh that are granted or called and that the scope lists with no third party.

use portreeve_engine::decision::Effect;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "unlisted_third_party", title: "third parties that nobody listed", severity: Weight::Medium, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    if !examined.governance.is_given() {
        return Vec::new();
    }
    let scope = examined.scope();
    let called = examined.group(|key| (key.outbound && key.effect == Effect::Allow).then_some(key.to.as_str()));
    let outside = examined.newest.services().iter().filter(|s| s.is_outside() && scope.third_party(s).is_none());
    outside
        .map(|service| {
            let tally = called.get(&*service.name);
            let n = tally.map_or(0, |t| t.count);
            Draft {
                subject: service.name.to_string(),
                summary: format!("`{}` is outside the mesh, called {}, and no third party of the scope", service.name, many(n, "time")),
                remedy: "list it under `third_parties`, or take it out of the inventory".to_owned(),
                at: Some(service.at.short()),
                evidence: tally.map(|t| t.evidence.to_vec()).unwrap_or_default(),
                count: n,
                by_policy: true,
                ..Draft::default()
            }
        })
        .collect()
}
