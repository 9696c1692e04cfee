//! Why a Cedar policy exists and who answers for it, from its annotations: `@justification`, `@owner`, `@approved_by` (names with
//! commas between), `@ticket`, `@review_by`.

use cedar_policy::Policy;

use crate::diagnostic::{Diagnostic, Location};
use crate::model::Governance;

/// Reads the annotations of a policy. Those of other names are somebody else's.
pub(crate) fn governance(policy: &Policy, at: &Location, problems: &mut Vec<Diagnostic>) -> Governance {
    let said = |name: &str| policy.annotation(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let review_by = said("review_by").and_then(|text| {
        let date = text.parse().ok();
        if date.is_none() {
            problems.push(
                Diagnostic::error("invalid-value", format!("`@review_by(\"{text}\")` is not a day"))
                    .at(at.clone())
                    .help("write a day such as `2026-11-22`"),
            );
        }
        date
    });
    let approved_by = said("approved_by").unwrap_or_default();
    let names = approved_by.split(',').map(str::trim).filter(|name| !name.is_empty());
    Governance {
        justification: said("justification"),
        owner: said("owner"),
        approved_by: names.map(str::to_owned).collect(),
        ticket: said("ticket"),
        review_by,
    }
}
