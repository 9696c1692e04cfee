//! Callers with an hour of many denials against their own history: probing, or a rollout that forgot a grant. Operations and services that
//! many callers were denied in one hour, where no single one makes the spike.

use crate::assessment::Weight;
use crate::assessment::usage::SpikeOf;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};
use crate::graph::spikes::spikes;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "denied_spike", title: "bursts of denials", severity: Weight::Medium, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let spikes = spikes(examined).into_iter();
    spikes
        .map(|spike| Draft {
            summary: {
                let what = match spike.of {
                    SpikeOf::Caller => format!("`{}` was denied", spike.from),
                    SpikeOf::Operation | SpikeOf::Service => format!("several callers were denied `{}`", spike.from),
                };
                let times = many(spike.denied, "time");
                format!("{what} {times} within the hour from {}; {}", spike.hour, history(spike.other_hours, spike.mean_of_others))
            },
            subject: match spike.of {
                SpikeOf::Caller => spike.from,
                SpikeOf::Operation | SpikeOf::Service => format!("calls of {}", spike.from),
            },
            remedy: match spike.of {
                SpikeOf::Caller => "ask its owner what it tried; a probe and a forgotten grant look alike here",
                SpikeOf::Operation | SpikeOf::Service => {
                    "ask its owner what changed; a probe from many places and a forgotten grant look alike here"
                }
            }
            .to_owned(),
            evidence: spike.evidence,
            count: spike.denied,
            ..Draft::default()
        })
        .collect()
}

/// What the peak is compared with.
fn history(others: u64, mean: u64) -> String {
    if others == 0 {
        return "the logs cover no other hour to compare with".to_owned();
    }
    format!("its mean over the other {} is {mean}", many(others, "hour"))
}
