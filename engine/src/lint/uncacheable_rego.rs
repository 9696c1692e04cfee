//! A Rego rule whose answers cannot be kept, because what it reads has no bound that can be told. It is evaluated anew for every
//! request that it concerns.

use crate::diagnostic::Diagnostic;
use crate::footprint::Footprint;
use crate::lint::{Findings, Lint, Linted};

pub(super) const LINT: Lint = Lint { code: "uncacheable-rego", find, dated: false };

fn find(linted: &Linted<'_>, out: &mut Findings) {
    for rule in linted.authorizer.rego.rules() {
        if let Footprint::Unbounded(why) = &rule.footprint {
            out.add(
                &rule.id,
                Diagnostic::warning("uncacheable-rego", format!("the answers of `{}` cannot be kept, because {why}", rule.id))
                    .at(rule.at.clone())
                    .help("read single fields, such as `input.context.headers[\"x-tenant\"]`; what needs the time is asked every time"),
            );
        }
    }
}
