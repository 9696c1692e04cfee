//! Processes that wrote no line for more than three heartbeats and then went on: stopped, starved, or without their log. Whether
//! traffic passed meanwhile is not known.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, duration, many};
use crate::limits::SILENCE_MS_MAX;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "silent_enforcer", title: "enforcers that fell silent", severity: Weight::Medium, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let silent = examined.fold.processes.iter().filter(|(_, p)| p.silence_count > 0);
    silent
        .map(|(chain, process)| {
            let name = examined.process_name(*chain);
            Draft {
                summary: format!(
                    "{name} wrote nothing for more than {} {}; the longest silence was {}",
                    duration(SILENCE_MS_MAX),
                    many(process.silence_count, "time"),
                    duration(process.silence_ms_max)
                ),
                subject: name,
                remedy: "find out whether the process was stopped, starved or cut off, and alert on it".to_owned(),
                evidence: process.silences.clone(),
                count: process.silence_count,
                ..Draft::default()
            }
        })
        .collect()
}
