//! Services of the inventory of whose enforcer no log was given: nothing is known of the requests to them.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "service_without_log", title: "services without a log", severity: Weight::Medium, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let logged = examined.logged();
    // What is outside the mesh has no enforcer: whoever calls it records that.
    let silent = examined.newest.services().iter().filter(|s| !s.is_outside() && !logged.contains(&*s.name));
    silent
        .map(|service| Draft {
            subject: service.name.to_string(),
            summary: format!("no log of an enforcer of `{}` was given", service.name),
            remedy: "run its enforcer and give its log, or take the service out of the inventory".to_owned(),
            at: Some(service.at.short()),
            severity: examined.scope().is_sensitive(service).then_some(Weight::High),
            ..Draft::default()
        })
        .collect()
}
