//! Populations that a control speaks of, and how much of each the evidence covers.
//!
//! A population is counted, never estimated: what a broken log says of itself is not covered.

mod declared;

use crate::assessment::ChainVerdict;
use crate::examined::Examined;
use crate::governance::Subject;
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
    /// The days of a year; known are those on which an enforcer of each service wrote something.
    History,
    /// Revisions that were in force; known are those whose bundle was given.
    Revisions,
    /// Revisions that were in force; known are those that a commit of the history has.
    Changes,
    /// Processes; known are those whose configuration file was given.
    Configs,
    /// Requests across open networks; known are those with their TLS facts.
    PublicRequests,
    /// Routes that the scope calls public; known are those of the inventory.
    PublicRoutes,
    /// The grants; known are those approved by somebody entitled to.
    ApprovedGrants,
    /// The services; known are those in an environment of the scope.
    Environments,
    /// The services, where there are tenants; known are those of one tenant or the provider.
    Tenants,
    /// The services of tenants; known are those with a log.
    TenantServices,
    /// The services; known are those in a class of the scope.
    ClassifiedServices,
    /// The certificates seen; known are those that a record answers for.
    ListedCertificates,
    /// The days of the logs; known are those with an audit run.
    AuditDays,
    /// The services; known are those covered by a review of the newest policies.
    PolicyReview,
    /// The services; known are those whose access was reviewed.
    AccountReview,
    /// The services; known are those whose protocols were reviewed.
    CryptographyReview,
}

impl Measure {
    /// Every measure, by its word in catalogues.
    pub const ALL: [(&'static str, Self); 25] = [
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
        ("revisions", Self::Revisions),
        ("changes", Self::Changes),
        ("configs", Self::Configs),
        ("public-requests", Self::PublicRequests),
        ("public-routes", Self::PublicRoutes),
        ("approved-grants", Self::ApprovedGrants),
        ("environments", Self::Environments),
        ("tenants", Self::Tenants),
        ("tenant-services", Self::TenantServices),
        ("classified-services", Self::ClassifiedServices),
        ("listed-certificates", Self::ListedCertificates),
        ("audit-days", Self::AuditDays),
        ("policy-review", Self::PolicyReview),
        ("account-review", Self::AccountReview),
        ("cryptography-review", Self::CryptographyReview),
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
            Self::History => "days of a year with a log of every service",
            Self::Revisions => "revisions in force whose bundle was given",
            Self::Changes => "revisions in force that a commit has",
            Self::Configs => "processes with the configuration file given",
            Self::PublicRequests => "requests across open networks with their TLS facts",
            Self::PublicRoutes => "public routes of the scope that the inventory has",
            Self::ApprovedGrants => "grants approved by somebody entitled to",
            Self::Environments => "services in an environment of the scope",
            Self::Tenants => "services of one tenant or the provider",
            Self::TenantServices => "services of tenants with a log",
            Self::ClassifiedServices => "services in a class of the scope",
            Self::ListedCertificates => "certificates seen that a record answers for",
            Self::AuditDays => "days of the logs with an audit run on record",
            Self::PolicyReview => "services covered by a review of these policies",
            Self::AccountReview => "services whose access was reviewed in time",
            Self::CryptographyReview => "services whose protocols were reviewed in time",
        }
    }

    /// Whether what is known of it was seen in logs. The others are counted in the policy, or in what people put on record.
    #[must_use]
    pub const fn is_of_logs(self) -> bool {
        !matches!(
            self,
            Self::Policy
                | Self::Grants
                | Self::PublicRoutes
                | Self::ApprovedGrants
                | Self::Environments
                | Self::Tenants
                | Self::ClassifiedServices
                | Self::PolicyReview
                | Self::AccountReview
                | Self::CryptographyReview
        )
    }

    /// What the reviews are of that it counts.
    pub(crate) const fn subject(self) -> Option<Subject> {
        match self {
            Self::PolicyReview => Some(Subject::Policy),
            Self::AccountReview => Some(Subject::SystemAccounts),
            Self::CryptographyReview => Some(Subject::Cryptography),
            _ => None,
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
            Self::History => declared::history(examined, HISTORY_DAYS),
            Self::Revisions => declared::revisions(examined),
            Self::Changes => declared::changes(examined),
            Self::Configs => declared::configs(examined),
            Self::PublicRequests => declared::public_requests(examined),
            Self::PublicRoutes => declared::public_routes(examined),
            Self::ApprovedGrants => declared::approved_grants(examined),
            Self::Environments => declared::environments(examined),
            Self::Tenants => declared::tenants(examined),
            Self::TenantServices => declared::tenant_services(examined),
            Self::ClassifiedServices => declared::classified_services(examined),
            Self::ListedCertificates => declared::listed_certificates(examined),
            Self::AuditDays => declared::audit_days(examined),
            Self::PolicyReview => declared::reviewed(examined, Subject::Policy),
            Self::AccountReview => declared::reviewed(examined, Subject::SystemAccounts),
            Self::CryptographyReview => declared::reviewed(examined, Subject::Cryptography),
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

fn is_intact(examined: &Examined<'_>, input: usize) -> bool {
    let verdict = examined.verification.inputs.get(input).map(|i| i.verdict);
    verdict.is_none_or(|v| !matches!(v, ChainVerdict::Broken | ChainVerdict::Unchained))
}

fn rejected(examined: &Examined<'_>) -> u64 {
    examined.verification.inputs.iter().map(|i| i.rejected).sum()
}

/// Requests that some input with a broken chain recorded are not known: each process is intact or it is not.
fn requests(examined: &Examined<'_>) -> Measured {
    let totals = &examined.fold.totals;
    let broken = examined.fold.processes.iter().filter(|(chain, _)| examined.chains.all.get(**chain).is_some_and(|c| !c.faults.is_empty()));
    let lost: u64 = broken.map(|(_, p)| p.decided).sum();
    // Nothing shows that the log of another mesh is whole, and what it says to be lost or undetermined is not known at all.
    let foreign = examined.fold.foreign.counts;
    let unchained = foreign.allowed + foreign.denied;
    let ours_not_replayable = totals.not_replayable.saturating_sub(foreign.not_replayable);
    let have = totals.decided.saturating_sub(unchained.saturating_add(ours_not_replayable).saturating_add(lost));
    let unknown = examined.reads.iter().fold(totals.undetermined, |n, read| n.saturating_add(read.foreign.lost));
    Measured { have, of: totals.decided.saturating_add(totals.unrecorded).saturating_add(rejected(examined)).saturating_add(unknown) }
}

fn intact(examined: &Examined<'_>, wanted: impl Fn(&Key) -> bool) -> Measured {
    let entries = examined.fold.ledger.decided.iter().filter(|(key, _)| key.effect == portreeve_engine::Effect::Allow && wanted(key));
    entries.fold(Measured { have: 0, of: 0 }, |m, (key, tally)| {
        let known = if key.is_foreign() || examined.is_weak(&tally.evidence) { 0 } else { tally.count };
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
        have: m.have + if is_intact(examined, index) { input.lines - input.rejected } else { 0 },
        of: m.of + input.lines,
    })
}

fn vouched(examined: &Examined<'_>) -> Measured {
    let chains = examined.verification.chains.iter();
    let unchained = examined.verification.inputs.iter().filter(|i| i.verdict == ChainVerdict::Unchained);
    let zero = Measured { have: 0, of: rejected(examined) + unchained.map(|i| i.lines - i.rejected).sum::<u64>() };
    chains.fold(zero, |m, chain| {
        let vouched = chain.vouched_through.map_or(0, |through| through.saturating_add(1).min(chain.lines));
        Measured { have: m.have + vouched, of: m.of + chain.lines }
    })
}
