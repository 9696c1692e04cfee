//! Processes that began, by their own clock, before the process they follow had ended: a clock went back in between.

use std::collections::BTreeMap;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, duration};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "clock_step", title: "clocks that went back", severity: Weight::Medium, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let seen = |chain: usize| examined.fold.processes.get(&chain).and_then(|p| p.seen);
    let named = examined.chains.all.iter().enumerate().filter_map(|(index, c)| Some((c.instance.as_deref()?, index)));
    let by_instance: BTreeMap<&str, usize> = named.collect();
    let chains = examined.chains.all.iter().enumerate();
    chains
        .filter_map(|(index, chain)| {
            let after = chain.after.as_ref()?;
            let before = *by_instance.get(after.instance.as_str())?;
            let ((began, _), (_, ended)) = (seen(index)?, seen(before)?);
            let back = ended.unix_ms() - began.unix_ms();
            (back > 0).then(|| Draft {
                subject: examined.process_name(index),
                summary: format!(
                    "{} began {} before {} wrote its last line, which it follows",
                    examined.process_name(index),
                    duration(back),
                    examined.process_name(before)
                ),
                remedy: "see how the clock of that machine is set".to_owned(),
                ..Draft::default()
            })
        })
        .collect()
}
