//! What is declared and can never be used: operations to which no grant leads, grants all of whose edges are prohibited, and grants
//! that meet nothing of the inventory. Policy alone shows it.

use crate::assessment::Weight;
use crate::assessment::graphs::DeadKind;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many, was};
use crate::graph::map::Map;
use crate::graph::three::dead_declarations;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "dead_declaration", title: "declarations that nothing can use", severity: Weight::Low, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let map = Map::of(examined);
    let dead = dead_declarations(&map, &examined.newest.declared()).into_iter();
    dead.map(|dead| Draft {
        summary: match dead.kind {
            DeadKind::Operation => format!("no grant leads to `{}`{}", dead.subject, asked(dead.allowed, dead.denied)),
            DeadKind::ProhibitedGrant => format!("all that `{}` grants is prohibited again", dead.subject),
            DeadKind::EmptyGrant => format!("`{}` grants nothing that the inventory has", dead.subject),
        },
        subject: dead.subject,
        remedy: "remove the declaration, or grant what is meant".to_owned(),
        at: Some(dead.at),
        by_policy: true,
        ..Draft::default()
    })
    .collect()
}

/// What became of requests for something that nothing grants: denied, or allowed by an earlier policy or another mesh.
fn asked(allowed: u64, denied: u64) -> String {
    let told = |count, what| format!("{} for it {} {what}", many(count, "request"), was(count));
    match (allowed, denied) {
        (0, 0) => ", and nobody asked for it".to_owned(),
        (0, denied) => format!("; {}", told(denied, "denied")),
        (allowed, 0) => format!("; {} all the same", told(allowed, "allowed")),
        (allowed, denied) => format!("; {} all the same, {denied} denied", told(allowed, "allowed")),
    }
}
