//! Services that the scope declares out of scope and from which a chain of grants leads to sensitive data.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};
use crate::governance::Class;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "out_of_scope_reach", title: "out of scope, and yet a way in", severity: Weight::High, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let scope = examined.scope();
    let is_out = |name: &str| examined.newest.service(name).is_some_and(|s| scope.class(s) == Some(Class::OutOfScope));
    let reach = examined.granted.reach().into_iter().filter(|(name, _)| is_out(name));
    reach
        .map(|(name, chain)| Draft {
            subject: name.to_owned(),
            summary: format!(
                "`{name}` is declared out of scope and reaches sensitive data in {}: {}",
                many(chain.len() as u64 - 1, "step"),
                chain.join(" → ")
            ),
            remedy: "remove a grant on the way, or put it into scope".to_owned(),
            at: examined.newest.service(name).map(|s| s.at.short()),
            by_policy: true,
            ..Draft::default()
        })
        .collect()
}
