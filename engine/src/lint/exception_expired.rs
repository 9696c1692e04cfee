//! An exception whose last day is past. What it excepted counts again: a lint speaks, a control is asked for, and an invariant
//! that held only by it is reported as broken, which is an error of `check`. Decisions are the same as before.

use crate::diagnostic::Diagnostic;
use crate::lint::{Findings, Lint, Linted};

pub(super) const LINT: Lint = Lint { code: "exception-expired", find, dated: true };

fn find(linted: &Linted<'_>, out: &mut Findings) {
    let Some(today) = linted.today else { return };
    for exception in linted.authorizer.exceptions.iter().filter(|e| e.is_expired(today)) {
        out.add(
            &exception.name,
            Diagnostic::warning("exception-expired", format!("`{}` ended on {}, and today is {today}", exception.name, exception.expires))
                .at(exception.at.clone())
                .help("take it out, or have it approved again with a new end"),
        );
    }
}
