//! Logs whose lines do not follow from one another, or contradict a signed head: lines were changed, removed, doubled, reordered
//! or cut off, and what the log says there cannot be relied on.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "broken_chain", title: "logs whose hash chain does not hold", severity: Weight::High, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let broken = examined.chains.all.iter().enumerate().filter(|(_, chain)| !chain.faults.is_empty());
    broken
        .map(|(index, chain)| {
            let first = chain.faults.first();
            let why = first.map(|f| format!("; the first, at line {}: {}", f.line, f.why)).unwrap_or_default();
            Draft {
                subject: examined.process_name(index),
                summary: format!("{} in the chain of {}{why}", many(chain.fault_count, "fault"), examined.process_name(index)),
                remedy: "compare with the copy that left the machine; treat the records around the faults as unknown".to_owned(),
                count: chain.fault_count,
                ..Draft::default()
            }
        })
        .collect()
}
