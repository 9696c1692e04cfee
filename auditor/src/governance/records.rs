//! What people say they did: reviews, attestations, runs of the audit, alerts, incidents, what became of findings, the certificates
//! they know of. Records are believed as far as they go; none of them proves a technical statement.

use std::collections::BTreeSet;

use portreeve_engine::id::IdPattern;
use portreeve_engine::time::Date;
use portreeve_engine::{Digest, Location, SpiffeId, Timestamp};

use crate::commits::who_is;
use crate::limits::{ATTESTATION_DAYS_MAX, AUDIT_RUN_DAYS_MAX, REVIEW_AFTER_DAYS_MAX};

/// What a review is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The policies, all of them.
    Policy,
    /// Access of services.
    SystemAccounts,
    /// Access of people.
    UserAccounts,
    /// What is in scope.
    Scope,
    /// The risk analyses.
    RiskAnalysis,
    /// Protocols and suites in use.
    Cryptography,
    /// Hardware and software in use.
    Technologies,
    /// Whether people follow the procedures.
    Operations,
    /// Logs other than those an audit run covers.
    OtherLogs,
    /// A penetration test of the segmentation.
    SegmentationTest,
    /// Third parties.
    ThirdParties,
    /// A significant change: that requirements hold again.
    SignificantChange,
}

impl Subject {
    /// Every subject: its word, how many days a review of it lasts, and how many for a service provider.
    pub const ALL: [(&'static str, Self, i64, i64); 12] = [
        ("policy", Self::Policy, 184, 184),
        ("system-accounts", Self::SystemAccounts, 366, 366),
        ("user-accounts", Self::UserAccounts, 184, 184),
        ("scope", Self::Scope, 366, 184),
        ("risk-analysis", Self::RiskAnalysis, 366, 366),
        ("cryptography", Self::Cryptography, 366, 366),
        ("technologies", Self::Technologies, 366, 366),
        ("operations", Self::Operations, 92, 92),
        ("other-logs", Self::OtherLogs, 366, 366),
        ("segmentation-test", Self::SegmentationTest, 366, 184),
        ("third-parties", Self::ThirdParties, 366, 366),
        ("significant-change", Self::SignificantChange, 366, 366),
    ];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|s| s.1 == self).map_or("", |s| s.0)
    }

    /// How many days a review lasts at most.
    #[must_use]
    pub fn days(self, service_provider: bool) -> i64 {
        Self::ALL.iter().find(|s| s.1 == self).map_or(0, |s| if service_provider { s.3 } else { s.2 })
    }

    /// Whether a review of it is of one revision, and a change of policy asks for a new one.
    #[must_use]
    pub const fn is_of_revision(self) -> bool {
        matches!(self, Self::Policy | Self::SegmentationTest | Self::SignificantChange)
    }

    /// Whether somebody of the management has to acknowledge what it found.
    #[must_use]
    pub const fn is_to_be_acknowledged(self) -> bool {
        matches!(self, Self::SystemAccounts | Self::UserAccounts)
    }
}

/// A review that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// Its name.
    pub name: String,
    /// Of what.
    pub of: Subject,
    /// When.
    pub on: Date,
    /// By whom.
    pub by: Vec<String>,
    /// The revision that was looked at.
    pub revision: Option<Digest>,
    /// The services it covers; empty: all.
    pub covers: BTreeSet<String>,
    /// After how many days it is due again, where that is sooner than the standard has it.
    pub every_days: Option<i64>,
    /// Who of the management acknowledged it.
    pub acknowledged_by: Vec<String>,
    /// What came of it.
    pub result: String,
    /// Where it is declared.
    pub at: Location,
}

impl Review {
    /// The last day on which it counts.
    #[must_use]
    pub fn due(&self, service_provider: bool) -> i64 {
        self.on.days() + self.lasts(service_provider)
    }

    /// Whether it can be about this day: a review is often made after the period whose logs are looked at, but one of long after it says
    /// nothing of that time, or is a slip of the pen, or a promise.
    #[must_use]
    pub fn is_of(&self, today: Date, service_provider: bool) -> bool {
        self.days_after(today) <= REVIEW_AFTER_DAYS_MAX.min(self.lasts(service_provider))
    }

    /// How many days after this day it was made.
    #[must_use]
    pub fn days_after(&self, today: Date) -> i64 {
        (self.on.days() - today.days()).max(0)
    }

    /// Whether somebody acknowledged it who did not make it.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.acknowledged_by.iter().any(|who| self.by.iter().all(|by| who_is(by) != who_is(who)))
    }

    fn lasts(&self, service_provider: bool) -> i64 {
        let most = self.of.days(service_provider);
        self.every_days.map_or(most, |days| days.min(most))
    }
}

/// What somebody states, beside what can be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// Its name.
    pub name: String,
    /// What is stated.
    pub statement: String,
    /// By whom.
    pub by: Vec<String>,
    /// When.
    pub on: Date,
    /// The controls it is about.
    pub controls: Vec<String>,
    /// The revision it speaks of.
    pub revision: Option<Digest>,
    /// After how many days it is due again.
    pub every_days: Option<i64>,
    /// Where it is declared.
    pub at: Location,
}

impl Attestation {
    /// Whether it no longer counts on this day: a year after it was given, or sooner where it says so.
    #[must_use]
    pub fn is_overdue(&self, today: Option<Date>) -> bool {
        let days = self.every_days.unwrap_or(ATTESTATION_DAYS_MAX).min(ATTESTATION_DAYS_MAX);
        today.is_some_and(|today| today.days() > self.on.days() + days)
    }
}

/// A run of the audit whose report somebody looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRun {
    /// Its name.
    pub name: String,
    /// The day whose logs it covers.
    pub of: Date,
    /// When it was looked at.
    pub on: Date,
    /// By whom.
    pub by: Vec<String>,
    /// The digest of its `assessment.json`.
    pub assessment: Option<Digest>,
    /// The revision it examined.
    pub revision: Option<Digest>,
    /// Findings that nobody has dealt with yet.
    pub open_findings: u64,
    /// Where it is declared.
    pub at: Location,
}

impl AuditRun {
    /// Whether it was looked at on that day or the next. Nobody can have looked before it began.
    #[must_use]
    pub fn is_in_time(&self) -> bool {
        (0..=AUDIT_RUN_DAYS_MAX).contains(&(self.on.days() - self.of.days()))
    }
}

/// That somebody was told of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// The service whose enforcer failed.
    pub service: String,
    /// The time it is about.
    pub from: Timestamp,
    /// See `from`.
    pub to: Timestamp,
    /// When somebody was told.
    pub raised: Timestamp,
    /// Where it is declared.
    pub at: Location,
}

/// How a failure was dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Its name.
    pub name: String,
    /// The service whose enforcer failed.
    pub service: String,
    /// The time it is about.
    pub from: Timestamp,
    /// See `from`.
    pub to: Timestamp,
    /// Why it happened.
    pub cause: String,
    /// What was done.
    pub action: String,
    /// When it was closed.
    pub closed: Option<Date>,
    /// By whom.
    pub by: Vec<String>,
    /// Where it is declared.
    pub at: Location,
}

/// What became of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disposition {
    /// Its name.
    pub name: String,
    /// The finding.
    pub finding: String,
    /// Where it is dealt with.
    pub ticket: String,
    /// By whom.
    pub by: Vec<String>,
    /// Somebody looked and says that it is so: what was in doubt is proved.
    pub confirmed: bool,
    /// When that was done; `None`: not yet.
    pub closed: Option<Date>,
    /// Where it is declared.
    pub at: Location,
}

/// Certificates that somebody answers for.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// Its name.
    pub name: String,
    /// The identities they are for; patterns allowed.
    pub identities: Vec<IdPattern>,
    /// Their fingerprints, where they are listed one by one.
    pub sha256: Vec<Digest>,
    /// Who answers for them.
    pub owner: String,
    /// Who signs them.
    pub issuer: String,
    /// Algorithm and size.
    pub algorithm: String,
    /// What for.
    pub purpose: String,
    /// Where they are kept.
    pub location: Option<String>,
    /// Where it is declared.
    pub at: Location,
}

impl Certificate {
    /// Whether it lists this certificate.
    #[must_use]
    pub fn lists(&self, id: &SpiffeId, sha256: &Digest) -> bool {
        if self.sha256.is_empty() { self.identities.iter().any(|p| p.matches(id)) } else { self.sha256.contains(sha256) }
    }
}
