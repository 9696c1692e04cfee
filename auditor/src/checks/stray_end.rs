//! `ended` lines for requests that were denied, had ended already, or were never decided: something was forwarded without a grant,
//! or lines were removed.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, few, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "stray_end", title: "ends of requests that were not let through", severity: Weight::High, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let processes = examined.fold.processes.iter();
    processes
        .filter_map(|(chain, process)| {
            let count = process.ends.strays().count() as u64;
            let first = process.ends.strays().next().map(|(seq, _)| *seq)?;
            let name = examined.process_name(*chain);
            Some(Draft {
                summary: format!(
                    "{} of {name} tell the end of requests that were not let through, the first of `seq` {first}",
                    many(count, "line")
                ),
                subject: name,
                remedy: "check the chain; if it holds, the enforcer forwarded what it denied: take it out of service".to_owned(),
                evidence: few(process.ends.strays().map(|(_, e)| e.clone())),
                count,
                suspect: process.ends.dropped > 0,
                ..Draft::default()
            })
        })
        .collect()
}
