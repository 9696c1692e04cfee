//! Exceptions whose day is past, or is no day: they waive nothing any more, and what they covered counts again.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};
use crate::governance::Until;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "expired_exception", title: "exceptions that no longer hold", severity: Weight::Medium, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let today = examined.now.map(|now| now.date());
    let expired = examined.exceptions.iter().filter(|e| !e.holds(today));
    expired
        .map(|e| {
            let when = match &e.until {
                Until::Day(day) => format!("held until {day}"),
                Until::Malformed(text) => format!("has `{text}` for a day, which is none"),
            };
            Draft {
                subject: e.name.clone(),
                summary: format!("exception `{}` ({}) {when}; what it covered counts again", e.name, e.subject()),
                remedy: "mend what it covered, or have it approved anew with a day to come".to_owned(),
                at: Some(e.at.short()),
                ..Draft::default()
            }
        })
        .collect()
}
