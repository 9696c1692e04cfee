//! Days of the logs whose audit nobody looked at, by the records of the governance folder.

use std::collections::BTreeSet;

use portreeve_engine::Timestamp;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};
use crate::limits::DAY_MS;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "unreviewed_day", title: "days whose logs nobody reviewed", severity: Weight::Medium, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let (true, Some((from, to))) = (examined.governance.is_given(), examined.fold.seen) else { return Vec::new() };
    let runs = &examined.governance.runs;
    let all: BTreeSet<i64> = runs.iter().map(|r| r.of.days()).collect();
    let reviewed: BTreeSet<i64> = runs.iter().filter(|r| r.is_in_time()).map(|r| r.of.days()).collect();
    // The last day is not over: its review is not due yet.
    let missing: Vec<i64> = (from.date().days()..to.date().days()).filter(|day| !reviewed.contains(day)).collect();
    let Some(first) = missing.first() else { return Vec::new() };
    let days = Timestamp::from_unix_ms(first * DAY_MS).date();
    let late = missing.iter().filter(|day| all.contains(day)).count() as u64;
    let late = if late > 0 { format!("; of {late} there is one that was looked at too late, or before the day") } else { String::new() };
    vec![Draft {
        subject: "audit runs".to_owned(),
        summary: format!(
            "{} of the logs have no audit run on record that was looked at by the next day; the first is {days}{late}",
            many(missing.len() as u64, "day")
        ),
        remedy: "let the audit run every day, look at its report, and record it as an `AuditRun`".to_owned(),
        count: missing.len() as u64,
        by_policy: true,
        ..Draft::default()
    }]
}
