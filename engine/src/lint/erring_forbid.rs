//! A Cedar `forbid` that can end in an error. Here an error denies; plain Cedar skips the policy, and the same text elsewhere
//! lets through what it is to forbid. Either way nobody meant the error.
//!
//! ```cedar
//! forbid(principal, action, resource) when { context.query has n && context.query.n * 60 > 3600 };
//! ```
//!
//! Test the bounds before computing (`context.query.n < 1000000 && …`), or compare without arithmetic (`context.query.n > 60`).

use crate::cedar::analysis::Fault;
use crate::decision::Effect;
use crate::diagnostic::Diagnostic;
use crate::lint::{Findings, Lint, Linted};

pub(super) const LINT: Lint = Lint { code: "erring-forbid", find, dated: false };

fn find(linted: &Linted<'_>, out: &mut Findings) {
    for policy in linted.authorizer.cedar.iter().filter(|p| p.effect == Effect::Deny) {
        for fault in &policy.faults {
            let (how, way) = match fault.fault {
                Fault::Overflow => (
                    "goes beyond 64 bits for some values",
                    "test the bounds before it, as in `x > -1000 && x < 1000 && …`, or compare without arithmetic",
                ),
                Fault::Time => ("goes beyond what a date can be", "test the bounds of the time before it, or write a smaller duration"),
                Fault::Entity => ("reads an entity that does not exist", "name one that the inventory has, or ask `has` first"),
                Fault::Unknown => ("may end in an error", "write it in another way"),
            };
            let what = if fault.part.is_empty() { "its condition".to_owned() } else { format!("`{}`", short(&fault.part)) };
            out.add(
                &policy.id,
                Diagnostic::warning("erring-forbid", format!("`{}` can err, and then denies as an error: {what} {how}", policy.id))
                    .at(fault.at.clone())
                    .help(way),
            );
        }
    }
}

fn short(part: &str) -> String {
    if part.chars().count() <= SHOWN_CHARS_MAX {
        return part.to_owned();
    }
    part.chars().take(SHOWN_CHARS_MAX).chain(['…']).collect()
}

const SHOWN_CHARS_MAX: usize = 80;
