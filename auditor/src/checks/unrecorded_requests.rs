//! Requests refused, or strangers turned away, for which there was no room in the log, by the enforcer's own count.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "unrecorded_requests", title: "requests without a record", severity: Weight::Medium, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let lossy = examined.fold.processes.iter().filter(|(_, p)| p.unrecorded > 0 || p.refusals_dropped > 0);
    lossy
        .map(|(chain, process)| {
            let name = examined.process_name(*chain);
            Draft {
                summary: format!(
                    "{name} answered {} with 503 because they could not be recorded, and did not record {}",
                    many(process.unrecorded, "request"),
                    many(process.refusals_dropped, "refusal of strangers").replace("refusal of strangerss", "refusals of strangers")
                ),
                subject: name,
                remedy: "give the log a faster disk or a larger queue, and look for a flood at that time".to_owned(),
                evidence: process.losses.clone(),
                count: process.unrecorded.saturating_add(process.refusals_dropped),
                ..Draft::default()
            }
        })
        .collect()
}
