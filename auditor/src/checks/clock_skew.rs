//! Clocks of two enforcers, or of the two proxies of one request, that disagree: what was called stands before what asked for it, or always
//! long after. Times of such logs cannot be compared, and what rests on an order of events between them proves little.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::clocks::Apart;
use crate::examined::{Draft, Examined, duration, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "clock_skew", title: "clocks that disagree", severity: Weight::Medium, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let seen = |chain: usize| examined.fold.processes.get(&chain).and_then(|p| p.seen);
    let compared = examined.fold.clocks.apart(|chain, at| seen(chain).is_some_and(|(first, last)| first <= at && at <= last));
    let names = |(a, b): (usize, usize)| [a, b].map(|chain| examined.process_name(chain));
    // Logs of short times lie beside each other where a clock is hours wrong: then no record is of a time of the other one.
    let elsewhere = compared.elsewhere.into_iter().filter(|(pair, _)| !compared.together.contains_key(pair));
    let elsewhere: Vec<Draft> = elsewhere.filter_map(|(pair, apart)| beside(names(pair), apart)).collect();
    let ours = compared.together.into_iter().map(|(pair, apart)| (names(pair), apart));
    let name = |input: u16| examined.reads.get(usize::from(input)).map_or_else(String::new, |read| read.path.clone());
    let others = examined.fold.foreign.apart.iter().map(|((a, b), apart)| ([name(*a), name(*b)], apart.clone()));
    ours.chain(others).filter_map(|(between, apart)| draft(between, apart)).chain(elsewhere).collect()
}

fn beside([calling, called]: [String; 2], apart: Apart) -> Option<Draft> {
    let ms = apart.off_by_ms()?;
    Some(Draft {
        subject: format!("{calling} and {called}"),
        summary: format!(
            "`{called}` recorded each of {} about {} {} `{calling}`, which made them, and their logs have no such time in common: a clock is wrong, or \
             logs are missing",
            many(apart.pairs, "call"),
            duration(ms.abs()),
            if ms < 0 { "before" } else { "after" },
        ),
        remedy: "see how the clocks of both machines are set; until then the order of their records proves nothing".to_owned(),
        evidence: apart.evidence,
        count: apart.pairs,
        suspect: true,
        ..Draft::default()
    })
}

fn draft([calling, called]: [String; 2], apart: Apart) -> Option<Draft> {
    let (subject, places) = if calling == called {
        (calling.clone(), format!("in `{calling}`, the called side"))
    } else {
        (format!("{calling} and {called}"), format!("`{called}`"))
    };
    let asking = if calling == called { "the calling one".to_owned() } else { format!("`{calling}`") };
    let (summary, count, suspect) = match (apart.behind_ms(), apart.ahead_ms()) {
        (Some(ms), _) => (
            format!(
                "{places} recorded {} before {asking}, which made them, by up to {}: its clock is behind, or the other one ahead",
                many(apart.early, "call"),
                duration(ms)
            ),
            apart.early,
            false,
        ),
        (None, Some(ms)) => (
            format!(
                "{places} recorded each of {} at least {} after {asking}: its clock is ahead, or the other one behind, or all of them waited",
                many(apart.pairs, "call"),
                duration(ms)
            ),
            apart.pairs,
            true,
        ),
        (None, None) => return None,
    };
    Some(Draft {
        subject,
        summary,
        remedy: "see how the clocks of both machines are set; until then the order of their records proves nothing".to_owned(),
        evidence: apart.evidence,
        count,
        suspect,
        ..Draft::default()
    })
}
