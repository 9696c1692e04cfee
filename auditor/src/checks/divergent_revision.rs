//! Processes whose last revision in force is not the newest bundle: not every gate applies the same law.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "divergent_revision",
    title: "enforcers that ended on another revision",
    severity: Weight::Medium,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let newest = *examined.newest.revision();
    let processes = examined.fold.processes.iter();
    processes
        .filter_map(|(chain, process)| {
            let last = process.revisions.last().filter(|r| **r != newest)?;
            if examined.chains.all.get(*chain).is_some_and(|c| c.stopped.is_some()) {
                return None;
            }
            let name = examined.process_name(*chain);
            Some(Draft {
                summary: format!("{name} was last under {last}, not under the newest bundle {newest}"),
                subject: name,
                remedy: "roll the newest bundle out, or find out why its reload was refused".to_owned(),
                ..Draft::default()
            })
        })
        .collect()
}
