//! A grant that never grants: wherever it is satisfied, a prohibition is too, and prohibitions beat grants.
//!
//! ```yaml
//! allow: {from: web, to: till, operations: [read]}
//! ---
//! deny: {from: any-authenticated, to: till, operations: '*'}
//! ```
//!
//! Take out the grant, or make the prohibition narrower. Prohibitions of several policies count together. Cedar conditions and
//! Rego bodies are not looked into, so nothing is said because of them.

use crate::algebra::law::Term;
use crate::diagnostic::Diagnostic;
use crate::limits::LINT_CELLS_MAX;
use crate::lint::scopes::{Scopes, named};
use crate::lint::{Findings, Lint, Linted};

pub(super) const LINT: Lint = Lint { code: "overridden-permission", find, dated: false };

fn find(linted: &Linted<'_>, out: &mut Findings) {
    let Some(scopes) = linted.scopes() else { return };
    for (number, clause) in scopes.permissions().filter(|(_, c)| c.is_grant()) {
        if let Some(prohibitions) = overriding(scopes, number).filter(|p| !p.is_empty()) {
            let message = format!("`{}` never grants: {} always prohibits", clause.policy.id, named(&scopes.law, &prohibitions));
            out.add(
                &clause.policy.id,
                Diagnostic::warning("overridden-permission", message)
                    .at(clause.policy.at.clone())
                    .help("take it out, or make the prohibition narrower"),
            );
        }
    }
}

/// The prohibitions that take everything from a grant; `None` where something is left of it, or it is too wide to tell.
pub(super) fn overriding(scopes: &Scopes<'_>, number: u32) -> Option<Vec<u32>> {
    let clause = scopes.law.clause(number)?;
    let places = scopes.places(clause);
    // Most grants are left alone by prohibitions at the first place already.
    let callers = scopes.callers(clause);
    if places.len().saturating_mul(callers.len()) > LINT_CELLS_MAX {
        return None;
    }
    let mut out: Vec<u32> = Vec::new();
    for (place, caller) in places.iter().flat_map(|p| callers.iter().map(move |c| (*p, *c))) {
        for target in scopes.targets(clause, place) {
            let mut here = scopes.concerning(caller, place, &target);
            here.retain(|n| scopes.law.clause(*n).is_some_and(|c| !c.is_grant() && !matches!(c.term, Term::Opaque(_))));
            if here.is_empty() || !scopes.implies(number, &here, place) {
                return None;
            }
            out.extend(here);
        }
    }
    out.sort_unstable();
    out.dedup();
    Some(out)
}
