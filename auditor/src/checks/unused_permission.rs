//! Grants that determined no allowed record in the period. The period matters: what runs once a month is not seen in a week. Where
//! the log of a service that the grant leads to was not given, nobody can say that it was not used, and the finding is in doubt.

use crate::assessment::Weight;
use crate::assessment::usage::Usage;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};
use crate::graph::map::Map;
use crate::graph::needed::Needed;
use crate::graph::window;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "unused_permission", title: "grants that nothing used", severity: Weight::Low, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let map = Map::of(examined);
    let period = window::words(window::window(examined).as_ref());
    let all = Needed::of(&map).permissions_of(&map);
    let not_asked = examined.fold.foreign.counts.not_replayable > 0;
    let unused = all.into_iter().filter(|p| p.usage != Usage::Used);
    unused
        .map(|permission| {
            let logged = permission.services_logged;
            let missing = if logged.have < logged.of {
                format!("; of {} that it leads to, {} gave a log", many(logged.of, "service"), logged.have)
            } else if permission.untold > 0 {
                format!("; of {} to what it grants nobody can say by which grant", permission.untold)
            } else {
                String::new()
            };
            Draft {
                summary: format!(
                    "`{}` determined none of {} in {period}{missing}",
                    permission.policy,
                    many(examined.fold.totals.allowed, "allowed record"),
                ),
                subject: permission.policy,
                remedy: "remove it, or say in its justification when it is used".to_owned(),
                at: Some(permission.at),
                severity: permission.sensitive.then_some(Weight::Medium),
                // What could not be asked about may have used it.
                suspect: permission.usage == Usage::NotObserved || not_asked,
                ..Draft::default()
            }
        })
        .collect()
}
