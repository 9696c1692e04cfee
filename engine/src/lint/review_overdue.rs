//! A policy whose `review_by` lies in the past. It still decides; nobody has said since that it should.
//!
//! ```yaml
//! review_by: 2025-01-31      # and today is later
//! ```
//!
//! Look at the policy again, then set the date of the next review, or take the policy out.

use crate::diagnostic::Diagnostic;
use crate::lint::{Findings, Lint, Linted};

pub(super) const LINT: Lint = Lint { code: "review-overdue", find, dated: true };

fn find(linted: &Linted<'_>, out: &mut Findings) {
    let Some(today) = linted.today else { return };
    for policy in &linted.authorizer.policies {
        if let Some(due) = policy.governance.review_by.filter(|due| *due < today) {
            let id = &policy.reference.id;
            out.add(
                id,
                Diagnostic::warning("review-overdue", format!("`{id}` was to be reviewed by {due}, and today is {today}"))
                    .at(policy.reference.at.clone())
                    .help("review it and set the date of the next review, or take it out"),
            );
        }
    }
}
