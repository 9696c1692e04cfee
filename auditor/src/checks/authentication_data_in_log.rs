//! Records that seem to hold what is on a magnetic stripe, or a verification code: data that must not be kept after authorisation. A person
//! must look; what was seen is never repeated.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};
use crate::pan::Suspicion;

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "authentication_data_in_log",
    title: "records that seem to hold stripe data or codes",
    severity: Weight::High,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let seen = examined.fold.cards.0.iter().filter(|((_, _, kind), _)| *kind == Suspicion::Authentication);
    seen.map(|((to, field, _), tally)| Draft {
        subject: format!("{to} {field}"),
        summary: format!(
            "{} to `{to}` have what looks like stripe data or a verification code in the {field}",
            many(tally.count, "record")
        ),
        remedy: "look at the lines; if it is so, declare the parameter `sensitive`, and treat these logs as account data".to_owned(),
        evidence: tally.evidence.clone(),
        count: tally.count,
        suspect: true,
        ..Draft::default()
    })
    .collect()
}
