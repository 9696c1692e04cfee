//! Processes that started with another configuration than the files given for their service: what ran is not what was given. A process
//! of a service for which no file was given is not among them; nothing is known of it.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, list};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "config_drift",
    title: "enforcers that ran with another configuration",
    severity: Weight::Medium,
    about_evidence: true,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let processes = examined.fold.processes.iter();
    processes
        .filter_map(|(chain, process)| {
            let ran = process.config?;
            let service = examined.service_of(*chain)?;
            let given: Vec<_> = examined.configs.iter().filter(|c| c.service.as_deref() == Some(&*service.name)).collect();
            if given.is_empty() || given.iter().any(|c| c.sha256 == ran) {
                return None;
            }
            let name = examined.process_name(*chain);
            Some(Draft {
                summary: format!(
                    "{name} started with the configuration {ran}, which is none of: {}",
                    list(given.iter().map(|c| c.path.as_str()))
                ),
                subject: name,
                remedy: "give the file it ran with, or find out who changed it".to_owned(),
                ..Draft::default()
            })
        })
        .collect()
}
