//! A permission whose `review_by` lies in the past. It still decides; nobody has said since that it should.
//!
//! ```yaml
//! review_by: 2025-01-31      # and today is later
//! ```
//!
//! Look at the permission again, then set the date of the next review, or take the permission out.

use crate::diagnostic::Diagnostic;
use crate::lint::{Findings, Lint, Linted};

pub(super) const LINT: Lint = Lint { code: "review-overdue", find };

fn find(linted: &Linted<'_>, out: &mut Findings) {
    let Some(today) = linted.today else { return };
    for permission in &linted.authorizer.permissions {
        if let Some(due) = permission.governance.review_by.filter(|due| *due < today) {
            out.add(
                &permission.name,
                Diagnostic::warning("review-overdue", format!("`{}` was to be reviewed by {due}, and today is {today}", permission.name))
                    .at(permission.at.clone())
                    .help("review it and set the date of the next review, or take it out"),
            );
        }
    }
}
