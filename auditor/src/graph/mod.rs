//! The analyses: what follows from the declared, the allowed and the observed graph side by side.
//!
//! It looks at what was examined and judges nothing: checks judge, and controls after them. Every part carries its numerator,
//! its denominator and what it rests on. `net.rs` and `flow.rs` are the algorithms, `map.rs` puts services on them.

pub(crate) mod behaviour;
mod blast;
pub(crate) mod estate;
mod flow;
mod guard;
pub(crate) mod identities;
pub(crate) mod map;
pub(crate) mod needed;
mod net;
pub(crate) mod reach;
pub(crate) mod spikes;
#[cfg(test)]
mod tests;
pub(crate) mod three;
pub(crate) mod window;

use crate::assessment::Analyses;
use crate::examined::Examined;
use crate::graph::map::Map;
use crate::graph::needed::Needed;

/// Every analysis.
pub(crate) fn analyses<'a>(examined: &'a Examined<'a>) -> Analyses {
    let window = window::window(examined);
    let words = window::words(window.as_ref());
    let map = Map::of(examined);
    let declared = examined.newest.declared();
    let needed = Needed::of(&map);
    Analyses {
        graphs: three::three(&map, &declared),
        reach: reach::reach(&map),
        choke_points: guard::choke_points(&map),
        cuts: guard::cuts(&map),
        protection: guard::protection(&map),
        blast: blast::blast(&map),
        permissions: needed.permissions(&map, &words),
        wildcards: needed.wildcards(&map, &words),
        privilege: needed.privilege(&map, &words),
        shadow: behaviour::shadow(&map, &words),
        dead: three::dead(&map, &declared),
        stale: behaviour::stale(&map, &words),
        spikes: behaviour::spike_part(examined, &words),
        scanners: behaviour::scanner_part(examined, &words),
        weak_connections: behaviour::weak_connections(&map, &words),
        certificates: identities::certificates(examined, &words),
        identities: identities::concern_part(examined, &words),
        separation: estate::separation(&map, &words),
        reviews: estate::reviews(examined),
        window,
    }
}
