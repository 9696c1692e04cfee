//! Records with digits that pass for a card number: 13 to 19 digits with a right check digit. One in ten long numbers passes, so a person must
//! look. The digits are never repeated.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};
use crate::pan::{NO_REQUEST, Suspicion};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "card_number_in_log",
    title: "records that seem to hold card numbers",
    severity: Weight::High,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    suspicions(examined, Suspicion::CardNumber, "digits that pass for a card number")
}

/// A draft for each service and field in which something of this kind was seen, in these words.
pub(super) fn suspicions(examined: &Examined<'_>, kind: Suspicion, words: &str) -> Vec<Draft> {
    let seen = examined.fold.cards.0.iter().filter(|((_, _, k), _)| *k == kind);
    seen.map(|((to, field, _), tally)| {
        let has = if tally.count == 1 { "has" } else { "have" };
        let records = match to.as_str() {
            NO_REQUEST => format!("{} without a request", many(tally.count, "line")),
            to => format!("{} to `{to}`", many(tally.count, "record")),
        };
        Draft {
            subject: format!("{to} {field}"),
            summary: format!("{records} {has} {words} in the {field}"),
            remedy: "look at the lines; if it is so, declare the parameter `sensitive`, and treat these logs as account data".to_owned(),
            evidence: tally.evidence.to_vec(),
            count: tally.count,
            suspect: true,
            ..Draft::default()
        }
    })
    .collect()
}
