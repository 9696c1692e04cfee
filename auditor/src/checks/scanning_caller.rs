//! Callers that were denied many distinct things: undeclared paths, declared operations, services. A client that is astray repeats
//! one request; who looks for a way in tries many.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};
use crate::graph::behaviour::scanners;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "scanning_caller", title: "callers that try many things", severity: Weight::Medium, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let scanners = scanners(examined).into_iter();
    scanners
        .map(|s| Draft {
            summary: format!(
                "`{}` was denied {} on {}, {} and {}; {} of it were allowed",
                s.from,
                many(s.denied, "time"),
                many(s.services, "service"),
                many(s.operations, "declared operation"),
                many(s.paths, "undeclared path"),
                many(s.allowed, "request")
            ),
            subject: s.from,
            remedy: "look at the lines and ask its owner; if nobody knows why, stop issuing the identity".to_owned(),
            evidence: s.evidence,
            count: s.denied,
            // A caller outside the inventory has no owner who could have been careless.
            severity: (!s.known).then_some(Weight::High),
            ..Draft::default()
        })
        .collect()
}
