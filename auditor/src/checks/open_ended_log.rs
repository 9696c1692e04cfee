//! Logs after whose last line nothing vouches that it is the last: neither `stopped` nor a later signed head. A log still being
//! written is one of them.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "open_ended_log", title: "logs that may have gone on", severity: Weight::Low, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let chains = examined.chains.all.iter().enumerate();
    chains
        .filter_map(|(index, chain)| {
            // Of an end that was cut off the broken chain tells.
            let after = chain.open_ended_after().filter(|_| !chain.end_is_cut())?;
            Some(Draft {
                subject: examined.process_name(index),
                summary: format!("the log of {} is open-ended after `seq` {after}: lines may have followed", examined.process_name(index)),
                remedy: "audit after the process stopped, or keep its signed heads elsewhere and give them".to_owned(),
                ..Draft::default()
            })
        })
        .collect()
}
