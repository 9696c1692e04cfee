//! Findings of weight for which no closed disposition is on record. It speaks of the other findings, so it is made after them.

use portreeve_engine::time::Date;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::checks::Found;
use crate::examined::{Draft, Examined, list, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "open_finding", title: "findings that nobody dealt with", severity: Weight::Medium, about_evidence: true, find };

fn find(_: &Examined<'_>) -> Vec<Draft> {
    Vec::new()
}

/// The finding, once all others are known. A finding that an exception covers was dealt with.
pub(super) fn after(examined: &Examined<'_>, found: &[Found]) -> Vec<Draft> {
    if !examined.governance.is_given() {
        return Vec::new();
    }
    // What was closed before the first record was of an earlier time: it has come back.
    let from = examined.fold.seen.map(|(from, _)| from.date());
    let is_of_these = |closed: Date| from.is_none_or(|from| closed >= from);
    let is_closed = |id: &str| examined.governance.dispositions.iter().any(|d| d.finding == id && d.closed.is_some_and(is_of_these));
    let open: Vec<&str> = found
        .iter()
        .map(|f| &f.finding)
        .filter(|f| f.severity <= Weight::Medium && f.waived.is_none() && !is_closed(&f.id))
        .map(|f| f.id.as_str())
        .collect();
    if open.is_empty() {
        return Vec::new();
    }
    vec![Draft {
        subject: "findings".to_owned(),
        summary: format!("{} of weight have no closed disposition: {}", many(open.len() as u64, "finding"), list(open.iter().copied())),
        remedy: "deal with each, and record it as a `Disposition` with its ticket".to_owned(),
        count: open.len() as u64,
        by_policy: true,
        ..Draft::default()
    }]
}
