//! A Cedar or Rego grant without a scope. It means what it says: strangers and undeclared paths are included.
//!
//! ```cedar
//! permit (principal, action == Action::"GET", resource);      // everybody, everything that is read
//! ```

use crate::decision::Effect;
use crate::diagnostic::Diagnostic;
use crate::lint::{Findings, Lint, Linted};
use crate::table::{CallerAtom, Scope, TargetAtom};

pub(super) const LINT: Lint = Lint { code: "unscoped-grant", find, dated: false };

fn find(linted: &Linted<'_>, out: &mut Findings) {
    for policy in linted.authorizer.cedar.iter().filter(|p| p.effect == Effect::Allow) {
        if let Some(left_out) = left_out(&policy.scope) {
            out.add(
                &policy.id,
                Diagnostic::warning(
                    "unscoped-grant",
                    format!("`{}` grants to strangers or to undeclared paths too: its scope leaves out the {left_out}", policy.id),
                )
                .at(policy.at.clone())
                .help("name the callers and the service in the scope, for example `principal in Service::\"…\"`"),
            );
        }
    }
    for rule in linted.authorizer.rego.rules().iter().filter(|r| r.effect == Effect::Allow) {
        out.add(
            &rule.id,
            Diagnostic::warning(
                "unscoped-grant",
                format!("`{}` can grant to strangers and to undeclared paths: a Rego rule has no scope", rule.id),
            )
            .at(rule.at.clone())
            .help("grant in YAML and keep Rego for `deny`, or test `input.source.service` and `input.operation` in the rule"),
        );
    }
}

fn left_out(scope: &Scope) -> Option<&'static str> {
    match (scope.callers.contains(&CallerAtom::Anyone), scope.targets.contains(&TargetAtom::Anything)) {
        (true, true) => Some("principal and the resource"),
        (true, false) => Some("principal"),
        (false, true) => Some("resource"),
        (false, false) => None,
    }
}
