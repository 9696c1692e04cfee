//! Operations that may be called from an untrusted zone, or by strangers, on no condition, and that the scope does not call public. Without
//! a scope that names public routes nobody can say which were meant.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, list};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "private_route_open",
    title: "routes open to the untrusted that nobody calls public",
    severity: Weight::High,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let scope = examined.scope();
    if scope.public.is_empty() {
        return Vec::new();
    }
    let is_public = |to: &str, operation: &str| scope.public.contains(to) || scope.public.contains(&format!("{to}/{operation}"));
    let edges = examined.granted.edges.iter().filter(|e| !e.conditional && e.from.is_none_or(|from| scope.is_untrusted(from)));
    edges
        .filter(|e| !is_public(&e.to.name, e.operation.map_or("*", |o| &*o.id)))
        .map(|edge| {
            let from = edge.from.map_or("identities outside the inventory", |s| &*s.name);
            let operation = edge.operation.map_or("undeclared paths", |o| &*o.id);
            Draft {
                subject: format!("{from} → {} {operation}", edge.to.name),
                summary: format!(
                    "`{from}` may call `{}` (`{operation}`) on no condition, which is not public, by {}",
                    edge.to.name,
                    list(edge.policies.iter().map(|p| &*p.id))
                ),
                remedy: "ask for a user token there, or list the operation under `public`".to_owned(),
                at: edge.policies.first().map(|p| p.at.short()),
                by_policy: true,
                ..Draft::default()
            }
        })
        .collect()
}
