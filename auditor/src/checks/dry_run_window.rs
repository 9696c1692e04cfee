//! Times in which an enforcer ran in dry-run: denials by policy were recorded and forwarded all the same.

use portreeve_engine::record::Mode;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "dry_run_window", title: "time without enforcement", severity: Weight::Medium, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let processes = examined.fold.processes.iter();
    processes
        .filter(|(_, p)| p.modes.contains(&Mode::DryRun))
        .map(|(chain, process)| {
            let name = examined.process_name(*chain);
            let (count, evidence) = process.dry_run.as_ref().map(|t| (t.count, t.evidence.clone())).unwrap_or_default();
            let when = process.dry_run.as_ref().map(|t| format!(" from {} to {}", t.first, t.last)).unwrap_or_default();
            Draft {
                summary: format!(
                    "{name} ran in dry-run{when}: {}, of which {} denied and not refused",
                    many(count, "request"),
                    process.dry_run_denied
                ),
                subject: name,
                remedy: "set `mode: enforce` once the denials are understood".to_owned(),
                evidence: evidence.into_vec(),
                count,
                severity: (process.dry_run_denied > 0).then_some(Weight::High),
                ..Draft::default()
            }
        })
        .collect()
}
