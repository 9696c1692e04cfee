//! Exceptions, of the bundle and of the governance folder, whose last day lies before the last record, which stands for now, or is no
//! day at all: they excuse nothing any more, and what they covered counts again.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};
use crate::governance::Until;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "expired_exception", title: "exceptions that have ended", severity: Weight::Medium, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let today = examined.now.map(|now| now.date());
    let of_bundle = examined.newest.exceptions().iter().filter(|e| today.is_some_and(|today| e.is_expired(today)));
    let of_bundle = of_bundle.map(|e| (e.name.to_string(), format!("ended with {}, before the last record", e.expires), e.at.short()));
    // Without any record there is no day to compare with; then only what is no day has ended.
    let is_past = |e: &&crate::governance::Exception| !e.holds(today) && (today.is_some() || matches!(e.until, Until::Malformed(_)));
    let of_folder = examined.governance.exceptions.iter().filter(is_past).map(|e| {
        let when = match &e.until {
            Until::Day(day) => format!("ended with {day}, before the last record"),
            Until::Malformed(text) => format!("has `{text}` for its last day, which is none"),
        };
        (e.name.clone(), format!("({}) {when}", e.subject()), e.at.short())
    });
    of_bundle
        .chain(of_folder)
        .map(|(subject, what, at)| Draft {
            summary: format!("the exception `{subject}` {what}; what it covers counts again"),
            subject,
            remedy: "mend what it excuses, or have it approved again".to_owned(),
            at: Some(at),
            by_policy: true,
            ..Draft::default()
        })
        .collect()
}
