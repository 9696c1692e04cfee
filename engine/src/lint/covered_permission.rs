//! A grant that adds nothing: another one grants all of it, on the same conditions or on weaker ones.
//!
//! ```yaml
//! allow: {from: web, to: till, operations: [read]}
//! when: {source: [10.1.0.0/16]}
//! ---
//! allow: {from: shop, to: till, operations: '*'}     # `shop` is a group with `web` in it
//! when: {source: [10.0.0.0/8]}
//! ```
//!
//! Take out the narrower one, or, if the wider one was not meant, that. Where two grant the same, the later one is named. A grant
//! with a limit of its own, or that is overridden or matches nothing, is left alone.

use crate::algebra::law::{Clause, Term};
use crate::diagnostic::Diagnostic;
use crate::limits::LINT_CANDIDATES_MAX;
use crate::lint::overridden_permission::overriding;
use crate::lint::scopes::{Scopes, named};
use crate::lint::{Findings, Lint, Linted};

pub(super) const LINT: Lint = Lint { code: "covered-permission", find, dated: false };

fn find(linted: &Linted<'_>, out: &mut Findings) {
    let Some(scopes) = linted.scopes() else { return };
    for ((number, clause), permission) in scopes.permissions().zip(&linted.authorizer.permissions) {
        if !clause.is_grant() || permission.limit.is_some() {
            continue;
        }
        if let Some(wider) = covering(scopes, number, clause) {
            let message = format!("`{}` adds nothing: {} grants all of it", clause.policy.id, named(&scopes.law, &[wider]));
            out.add(
                &clause.policy.id,
                Diagnostic::warning("covered-permission", message)
                    .at(clause.policy.at.clone())
                    .help("take it out, or make the wider grant narrower if it was not meant"),
            );
        }
    }
}

/// The first grant that covers this one.
fn covering(scopes: &Scopes<'_>, number: u32, clause: &Clause<'_>) -> Option<u32> {
    let (callers, places) = (scopes.callers(clause), scopes.places(clause));
    let (caller, place) = (*callers.first()?, *places.first()?);
    let target = scopes.targets(clause, place).into_iter().next()?;
    // Who covers all covers this one place too; there are few that do.
    let candidates = scopes.concerning(caller, place, &target).into_iter().filter(|n| *n != number);
    let grants = candidates.filter(|n| scopes.law.clause(*n).is_some_and(|c| c.is_grant() && !matches!(c.term, Term::Opaque(_))));
    let covers = |a: u32, b: u32| {
        let Some(narrow) = scopes.law.clause(b) else { return false };
        scopes.implies(b, &[a], place)
            && scopes.covers_callers(a, &scopes.callers(narrow))
            && scopes.covers_places(a, narrow, &scopes.places(narrow))
    };
    let found = grants.take(LINT_CANDIDATES_MAX).find(|wide| {
        let later = || scopes.law.clause(*wide).is_some_and(|c| (&clause.policy.at, number) > (&c.policy.at, *wide));
        covers(*wide, number) && (later() || !covers(number, *wide))
    })?;
    let idle = !scopes.can_hold(clause, place) || overriding(scopes, number).is_some();
    (!idle).then_some(found)
}
