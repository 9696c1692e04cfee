//! A Rego `allow` or `deny` whose value is written out and can be no answer: an object, a list, a number, a text. Each
//! evaluation of it is an error, and an error denies. Policies written for Envoy's plugin answer with an object.

use crate::diagnostic::Diagnostic;
use crate::lint::{Findings, Lint, Linted};

pub(super) const LINT: Lint = Lint { code: "rego-answer-type", find, dated: false };

fn find(linted: &Linted<'_>, out: &mut Findings) {
    for rule in linted.authorizer.rego.rules() {
        let Some((odd, at)) = &rule.odd else { continue };
        let help = match *odd {
            "an object" => "answer with the value of its `allowed`; a policy adds no headers and no status to a response",
            _ => "answer with `true` or `false`, or with reasons: `deny contains \"…\" if { … }`",
        };
        out.add(
            &rule.id,
            Diagnostic::warning("rego-answer-type", format!("`{}` is {odd} here, and then every request it concerns is denied", rule.id))
                .at(at.clone())
                .help(help),
        );
    }
}
