//! A Rego rule whose answers hold for one request only: it, or what it reads, takes `input` or `input.context` as a whole, or
//! reads the time. It is evaluated for every request it concerns, where others are answered from what was answered before.

use crate::diagnostic::Diagnostic;
use crate::footprint::Footprint;
use crate::lint::{Findings, Lint, Linted};

pub(super) const LINT: Lint = Lint { code: "uncacheable-rego", find, dated: false };

fn find(linted: &Linted<'_>, out: &mut Findings) {
    for rule in linted.authorizer.rego.rules() {
        let Footprint::Unbounded(why) = &rule.footprint else { continue };
        out.add(
            &rule.id,
            Diagnostic::warning("uncacheable-rego", format!("the answers of `{}` cannot be kept, because {why}", rule.id))
                .at(rule.at.clone())
                .help("read single fields, such as `input.context.headers[\"x-tenant\"]`; what needs the time is asked every time"),
        );
    }
}
