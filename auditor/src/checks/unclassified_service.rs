//! Services of the inventory that the scope puts into no class.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "unclassified_service",
    title: "services that the scope does not know",
    severity: Weight::Medium,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let scope = examined.scope();
    if !scope.is_given() {
        return Vec::new();
    }
    let unknown = examined.newest.services().iter().filter(|s| !s.is_outside() && scope.class(s).is_none());
    unknown
        .map(|service| Draft {
            subject: service.name.to_string(),
            summary: format!("`{}` is in the inventory and in no class of the scope", service.name),
            remedy: "put it, or its zone, into a class".to_owned(),
            at: Some(service.at.short()),
            severity: scope.is_sensitive(service).then_some(Weight::High),
            by_policy: true,
            ..Draft::default()
        })
        .collect()
}
