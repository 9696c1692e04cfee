//! Services that took no part in any allowed request of the period, as caller or as called, though their own log was given. What
//! runs once a month is not seen in a week; what runs no more is an identity that somebody else may use.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many, was};
use crate::graph::behaviour::stale_services;
use crate::graph::map::Map;
use crate::graph::window;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "stale_service", title: "services that took no part", severity: Weight::Low, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let map = Map::of(examined);
    let period = window::words(window::window(examined).as_ref());
    let stale = stale_services(&map).into_iter().filter(|s| s.logged);
    stale
        .map(|stale| Draft {
            summary: format!(
                "`{}` took no part in {} of {period}{}",
                stale.service,
                many(examined.fold.totals.allowed, "allowed record"),
                if stale.denied > 0 {
                    format!("; {} to it {} denied", many(stale.denied, "request"), was(stale.denied))
                } else {
                    String::new()
                }
            ),
            subject: stale.service,
            remedy: "take it out of service and out of the inventory, or say what it waits for".to_owned(),
            at: Some(stale.at),
            ..Draft::default()
        })
        .collect()
}
