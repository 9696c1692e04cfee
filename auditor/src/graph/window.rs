//! The time over which traffic was observed: without it no absence means anything.

use std::collections::BTreeSet;

use crate::assessment::analyses::Window;
use crate::examined::{Examined, duration, many};
use crate::limits::HOUR_MS;

/// The window of what was examined.
pub(crate) fn window(examined: &Examined<'_>) -> Option<Window> {
    let (from, to) = examined.fold.seen?;
    let span_ms = to.unix_ms() - from.unix_ms();
    let days = count(to.date().days() - from.date().days() + 1);
    let with_traffic: BTreeSet<i64> = examined.fold.ledger.hours.iter().map(|hour| hour.div_euclid(24)).collect();
    let (weeks, months) = (count(span_ms / (7 * DAY_MS)), count(span_ms / (31 * DAY_MS)));
    let logged = examined.logged();
    let inside = examined.newest.services().iter().filter(|s| !s.is_outside());
    let days_with_traffic = with_traffic.len() as u64;
    Some(Window {
        from: Some(from),
        to: Some(to),
        days,
        days_with_traffic,
        weeks,
        months,
        services_logged: inside.clone().filter(|s| logged.contains(&*s.name)).count() as u64,
        services: inside.count() as u64,
        words: if span_ms < DAY_MS {
            format!("{} (no whole day)", duration(span_ms))
        } else {
            format!(
                "{} ({}, {}), with decisions on {days_with_traffic} of them",
                many(days, "day"),
                whole(weeks, "week"),
                whole(months, "month")
            )
        },
    })
}

/// The window in words, for sentences.
pub(crate) fn words(window: Option<&Window>) -> String {
    window.map_or_else(|| "no time at all, for there is no record".to_owned(), |w| w.words.clone())
}

fn whole(n: u64, unit: &str) -> String {
    if n == 0 { format!("no whole {unit}") } else { many(n, &format!("whole {unit}")) }
}

fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

const DAY_MS: i64 = 24 * HOUR_MS;
