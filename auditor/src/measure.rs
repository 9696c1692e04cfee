//! Populations that a control speaks of, and how much of each the evidence covers.
//!
//! A population is counted, never estimated: what a broken log says of itself is not covered.

use crate::assessment::ChainVerdict;
use crate::examined::Examined;
use crate::ledger::Key;
use crate::limits::HISTORY_DAYS;
use crate::verdict::Measured;

/// A population.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// The edges that the newest bundle can allow or deny: its services, each closed by default.
    Policy,
    /// The grants of the newest bundle.
    Grants,
    /// The services of the inventory; known are those whose enforcer's log was given.
    Services,
    /// Those of them that touch sensitive data.
    SensitiveServices,
    /// The requests; known are those recorded in intact logs whose bundle was given.
    Requests,
    /// Allowed requests for sensitive data, in intact logs.
    SensitiveRequests,
    /// The requests that came over a connection; known are those whose record says on which TLS.
    TlsRequests,
    /// The lines of the logs; known are records in intact chains.
    Lines,
    /// The lines of the logs; known are those for which a signed head vouches.
    VouchedLines,
    /// The days of a year; known are those from the first to the last record.
    History,
}

impl Measure {
    /// Every measure, by its word in catalogues.
    pub const ALL: [(&'static str, Self); 10] = [
        ("policy", Self::Policy),
        ("grants", Self::Grants),
        ("services", Self::Services),
        ("sensitive-services", Self::SensitiveServices),
        ("requests", Self::Requests),
        ("sensitive-requests", Self::SensitiveRequests),
        ("tls-requests", Self::TlsRequests),
        ("lines", Self::Lines),
        ("vouched-lines", Self::VouchedLines),
        ("history", Self::History),
    ];

    /// What is counted, as the end of "12 of 14 …".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Policy => "services closed by default",
            Self::Grants => "grants",
            Self::Services => "services with a log",
            Self::SensitiveServices => "services with sensitive data and a log",
            Self::Requests => "requests recorded in intact logs and replayed",
            Self::SensitiveRequests => "allowed requests for sensitive data in intact logs",
            Self::TlsRequests => "requests with their TLS facts",
            Self::Lines => "lines in intact logs",
            Self::VouchedLines => "lines for which a signed head vouches",
            Self::History => "days of a year",
        }
    }

    pub(crate) fn of(self, examined: &Examined<'_>) -> Measured {
        match self {
            Self::Policy => all(examined.newest.services().len()),
            Self::Grants => all(examined.grants().count()),
            Self::Services => services(examined, false),
            Self::SensitiveServices => services(examined, true),
            Self::Requests => requests(examined),
            Self::SensitiveRequests => intact(examined, |key| {
                let to = examined.newest.service(&key.to);
                to.is_some_and(|to| {
                    examined.scope().touches(to, key.operation.as_deref().and_then(|id| to.operations.iter().find(|o| *o.id == *id)))
                })
            }),
            Self::TlsRequests => tls(examined),
            Self::Lines => lines(examined),
            Self::VouchedLines => vouched(examined),
            Self::History => history(examined),
        }
    }
}

fn all(n: usize) -> Measured {
    Measured { have: n as u64, of: n as u64 }
}

fn services(examined: &Examined<'_>, sensitive: bool) -> Measured {
    let logged = examined.logged();
    let wanted = examined.newest.services().iter().filter(|s| !s.is_outside() && (!sensitive || examined.scope().is_sensitive(s)));
    wanted.fold(Measured { have: 0, of: 0 }, |m, s| Measured { have: m.have + u64::from(logged.contains(&*s.name)), of: m.of + 1 })
}

fn is_broken(examined: &Examined<'_>, input: usize) -> bool {
    examined.verification.inputs.get(input).is_some_and(|i| i.verdict == ChainVerdict::Broken)
}

fn rejected(examined: &Examined<'_>) -> u64 {
    examined.verification.inputs.iter().map(|i| i.rejected).sum()
}

/// Requests that some input with a broken chain recorded are not known: each process is intact or it is not.
fn requests(examined: &Examined<'_>) -> Measured {
    let totals = &examined.fold.totals;
    let broken = examined.fold.processes.iter().filter(|(chain, _)| examined.chains.all.get(**chain).is_some_and(|c| !c.faults.is_empty()));
    let lost: u64 = broken.map(|(_, p)| p.decided).sum();
    let have = totals.decided.saturating_sub(totals.not_replayable.saturating_add(lost));
    Measured { have, of: totals.decided.saturating_add(totals.unrecorded).saturating_add(rejected(examined)) }
}

fn intact(examined: &Examined<'_>, wanted: impl Fn(&Key) -> bool) -> Measured {
    let entries = examined.fold.ledger.decided.iter().filter(|(key, _)| key.effect == portreeve_engine::Effect::Allow && wanted(key));
    entries.fold(Measured { have: 0, of: 0 }, |m, (_, tally)| {
        let known = if examined.is_weak(&tally.evidence) { 0 } else { tally.count };
        Measured { have: m.have + known, of: m.of + tally.count }
    })
}

fn tls(examined: &Examined<'_>) -> Measured {
    let inbound = examined.fold.ledger.decided.iter().filter(|(key, _)| !key.outbound);
    inbound.fold(Measured { have: 0, of: 0 }, |m, (key, tally)| Measured {
        have: m.have + if key.tls.is_some() { tally.count } else { 0 },
        of: m.of + tally.count,
    })
}

fn lines(examined: &Examined<'_>) -> Measured {
    let inputs = examined.verification.inputs.iter().enumerate();
    inputs.fold(Measured { have: 0, of: 0 }, |m, (index, input)| Measured {
        have: m.have + if is_broken(examined, index) { 0 } else { input.lines - input.rejected },
        of: m.of + input.lines,
    })
}

fn vouched(examined: &Examined<'_>) -> Measured {
    let chains = examined.verification.chains.iter();
    let zero = Measured { have: 0, of: rejected(examined) };
    chains.fold(zero, |m, chain| {
        let vouched = chain.vouched_through.map_or(0, |through| through.saturating_add(1).min(chain.lines));
        Measured { have: m.have + vouched, of: m.of + chain.lines }
    })
}

fn history(examined: &Examined<'_>) -> Measured {
    let days = examined.fold.seen.map_or(0, |(from, to)| to.date().days() - from.date().days() + 1);
    Measured { have: u64::try_from(days).unwrap_or(0).min(HISTORY_DAYS.unsigned_abs()), of: HISTORY_DAYS.unsigned_abs() }
}
