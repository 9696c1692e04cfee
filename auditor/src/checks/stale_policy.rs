//! Times in which an enforcer decided under a bundle that was older than its configuration allows: what was withdrawn in the
//! meantime may still have been granted (A80).

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "stale_policy", title: "policy older than it may be", severity: Weight::Medium, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let processes = examined.fold.processes.iter();
    processes
        .filter_map(|(chain, process)| {
            let tally = process.stale.as_ref()?;
            let name = examined.process_name(*chain);
            Some(Draft {
                summary: format!(
                    "{name} had a bundle in force that was older than it may be, from {} to {}: {} decided under it",
                    tally.first,
                    tally.last,
                    many(process.stale_decided, "request")
                ),
                subject: name,
                remedy: "find out why nothing newer came, and issue policies again before `max_age` is over".to_owned(),
                evidence: tally.evidence.clone(),
                count: process.stale_decided,
                ..Draft::default()
            })
        })
        .collect()
}
