//! Requests that were let through by a process that stopped in order, and whose end was never recorded.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, few, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "missing_end", title: "allowed requests without an end", severity: Weight::Medium, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let closed = examined
        .fold
        .processes
        .iter()
        .filter(|(chain, _)| examined.chains.all.get(**chain).is_some_and(|c| c.stopped.is_some() && c.open_ended_after().is_none()));
    closed
        .filter_map(|(chain, process)| {
            let count = process.ends.unended().count() as u64;
            let name = examined.process_name(*chain);
            (count > 0).then(|| Draft {
                summary: format!("{} let through by {name} have no recorded end", many(count, "request")),
                subject: name,
                remedy: "check whether `ended` lines were removed or the process was killed after `stopped`".to_owned(),
                evidence: few(process.ends.unended().map(|(_, e)| e.clone())),
                count,
                suspect: process.ends.dropped > 0,
                ..Draft::default()
            })
        })
        .collect()
}
