//! A permission that no request can match: its conditions contradict each other or the types of what they read, its methods are
//! not those of its operations, or nobody is whom it is for.
//!
//! ```yaml
//! allow: {from: web, to: till, operations: [read], methods: [DELETE]}   # and `read` is GET
//! when:
//!   time: {from: "18:00", to: "19:00"}
//!   not_before: 2026-06-01T08:00:00Z
//!   expires: 2026-06-01T12:00:00Z                                      # a morning has no evening
//! ```
//!
//! Mend what contradicts, or take the permission out. A prohibition that matches nothing prohibits nothing.

use crate::algebra::law::Methods;
use crate::diagnostic::Diagnostic;
use crate::lint::{Findings, Lint, Linted};

pub(super) const LINT: Lint = Lint { code: "unmatchable-permission", find, dated: false };

fn find(linted: &Linted<'_>, out: &mut Findings) {
    let Some(scopes) = linted.scopes() else { return };
    for (_, clause) in scopes.permissions() {
        let places = scopes.places(clause);
        let found = if scopes.callers(clause).is_empty() {
            Some(("nobody has an identity that it is for", "name a service with identities, or an identity"))
        } else if let Some(place) = places.first() {
            let why = "its conditions contradict each other, or no value can be what they ask for";
            (!scopes.can_hold(clause, *place)).then_some((why, "compare windows with dates, and values with the types in the inventory"))
        } else if clause.methods == Methods::All {
            Some(("what it is about offers no operations", "say `any-path` where undeclared paths are meant"))
        } else {
            Some(("none of its operations has one of its methods", "name methods that the operations have"))
        };
        if let Some((why, help)) = found {
            let message = format!("`{}` matches no request: {why}", clause.policy.id);
            out.add(&clause.policy.id, Diagnostic::warning("unmatchable-permission", message).at(clause.policy.at.clone()).help(help));
        }
    }
}
