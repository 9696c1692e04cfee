//! What traffic shows beside policy: what was used and needed, who behaves oddly, certificates, separation, dates.

use portreeve_engine::time::Date;
use portreeve_engine::{Digest, SpiffeId, Timestamp};
use serde::Serialize;

use super::Evidence;
use super::analyses::Ratio;

/// A grant and what traffic says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PermissionUse {
    /// The policy.
    pub policy: String,
    /// Where it stands.
    pub at: String,
    /// Used, unused, or not to be told.
    pub usage: Usage,
    /// Edges (caller, service, operation) that it grants, and how many of them an allowed record that it determined used.
    pub edges: Ratio,
    /// Allowed records that it determined.
    pub requests: u64,
    /// The first of them.
    pub first: Option<Timestamp>,
    /// The last of them.
    pub last: Option<Timestamp>,
    /// Called services whose log was given, of those it grants.
    pub services_logged: Ratio,
    /// Allowed records to what it grants of which nobody can say by which grant, where it is not known to be used.
    pub untold: u64,
    /// It grants every operation of a service, or undeclared paths.
    pub wildcard: bool,
    /// It leads to what is sensitive.
    pub sensitive: bool,
}

/// Whether a grant was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Usage {
    /// Some allowed record was determined by it.
    Used,
    /// None was, the logs of all services that it grants were given, and every allowed record there tells by which grant.
    Unused,
    /// None is known to be, and the log of some service that it grants was not given, or does not say enough.
    #[default]
    NotObserved,
}

/// A wildcard and what of it was needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WildcardUse {
    /// The policy.
    pub policy: String,
    /// Where it stands.
    pub at: String,
    /// Edges granted, and used.
    pub edges: Ratio,
    /// It leads to what is sensitive.
    pub sensitive: bool,
    /// The grants that would have allowed what was used.
    pub narrower: Vec<NarrowerGrant>,
    /// The same as the lines of permissions, `allow: {…}` each.
    pub proposal: Vec<String>,
    /// What was used of it and no declared operation covers: requests on undeclared paths.
    pub undeclared: u64,
}

/// A grant without a wildcard.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NarrowerGrant {
    /// The called service.
    pub to: String,
    /// The operations.
    pub operations: Vec<String>,
    /// The callers; an identity where the inventory has no service of it.
    pub from: Vec<String>,
}

/// How much of what a service may do it did. The score is `used` of `granted`, and nothing is weighted: reach into what is
/// sensitive is counted beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Privilege {
    /// The caller.
    pub service: String,
    /// Edges granted to it whose called service has a log, and how many of them it used.
    pub edges: Ratio,
    /// The same for edges that lead to what is sensitive.
    pub sensitive: Ratio,
    /// Edges granted to it of which nothing can be told, because the called service's log was not given.
    pub not_observed: u64,
}

/// Traffic that was allowed and that no policy of the newest bundle can allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShadowEdge {
    /// The caller: its service, or its identity.
    pub from: String,
    /// The called service.
    pub to: String,
    /// The operation, or words for paths that can be read in two ways; `None`: undeclared paths.
    pub operation: Option<String>,
    /// Allowed requests.
    pub requests: u64,
    /// First seen.
    pub first: Timestamp,
    /// Last seen.
    pub last: Timestamp,
    /// All of them fall under an older bundle that was given.
    pub older_bundle: bool,
    /// The first few lines.
    pub evidence: Vec<Evidence>,
}

/// A service that took no part in any allowed request.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct StaleService {
    /// The service.
    pub service: String,
    /// Where it is declared.
    pub at: String,
    /// Its log was given: where it was not, nobody can say whether it was called.
    pub logged: bool,
    /// Requests to it that were denied.
    pub denied: u64,
}

/// What a spike of denials is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpikeOf {
    /// One caller, whatever it asked.
    #[default]
    Caller,
    /// One operation, asked for by several callers.
    Operation,
    /// One service, several of its operations.
    Service,
}

impl SpikeOf {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Operation => "operation",
            Self::Service => "service",
        }
    }
}

/// An hour of many denials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spike {
    /// What it is of.
    pub of: SpikeOf,
    /// The caller (its service, or its identity), the operation (with its service) or the called service.
    pub from: String,
    /// The hour begins.
    pub hour: Timestamp,
    /// Denials in it.
    pub denied: u64,
    /// Its mean over the other hours of the window.
    pub mean_of_others: u64,
    /// How many other hours there are.
    pub other_hours: u64,
    /// The first few lines.
    pub evidence: Vec<Evidence>,
}

/// A caller that tried many things that nobody declared or granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scanner {
    /// The caller: its service, or its identity.
    pub from: String,
    /// Its service is of the inventory.
    pub known: bool,
    /// Services that denied it something.
    pub services: u64,
    /// Declared operations that were denied to it.
    pub operations: u64,
    /// Undeclared paths that were denied to it.
    pub paths: u64,
    /// Denials in all.
    pub denied: u64,
    /// Requests of it that were allowed.
    pub allowed: u64,
    /// First denial.
    pub first: Option<Timestamp>,
    /// Last denial.
    pub last: Option<Timestamp>,
    /// The first few lines.
    pub evidence: Vec<Evidence>,
}

/// Requests without TLS, or with weak TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct WeakConnection {
    /// The caller: its service, or its identity.
    pub from: String,
    /// The called service.
    pub to: String,
    /// `None`: without TLS.
    pub version: Option<String>,
    /// The suite.
    pub suite: Option<String>,
    /// Requests so, of all between the two.
    pub requests: Ratio,
    /// Some of them were allowed.
    pub allowed: u64,
    /// They lead to what is sensitive.
    pub sensitive: bool,
}

/// The certificates of one identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdentityCertificates {
    /// The identity.
    pub id: SpiffeId,
    /// Its service in the inventory.
    pub service: Option<String>,
    /// Certificates seen.
    pub certificates: u64,
    /// Requests on them.
    pub requests: u64,
    /// First seen.
    pub first: Timestamp,
    /// Last seen.
    pub last: Timestamp,
    /// The latest end of any of them.
    pub not_after: Timestamp,
    /// That end lies before the last record, which stands for now.
    pub expired: bool,
    /// How long each was in use before its successor was first seen, the shortest, the median and the longest, in milliseconds;
    /// `None` where no successor was seen.
    pub renewed_after_ms: Option<Spread>,
    /// Who issued them, where the logs say so.
    pub issuers: Vec<String>,
    /// The algorithms of their keys, where the logs say so.
    pub algorithms: Vec<String>,
    /// TLS versions and suites on which they were used, as `version suite`.
    pub handshakes: Vec<String>,
    /// Services that saw them.
    pub seen_by: Vec<String>,
    /// Addresses they came from, the first few.
    pub addresses: Vec<String>,
    /// The latest certificate.
    pub latest: Option<Digest>,
}

/// Shortest, median, longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Spread {
    /// Shortest.
    pub min: i64,
    /// Median; of an even number the lower one.
    pub median: i64,
    /// Longest.
    pub max: i64,
}

/// An identity that does not fit the inventory or another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct IdentityConcern {
    /// Which.
    pub kind: IdentityConcernKind,
    /// The identity, the certificate or the address.
    pub subject: String,
    /// In words.
    pub what: String,
    /// The other identities concerned.
    pub others: Vec<String>,
    /// Requests, all of them.
    pub requests: u64,
    /// Of these, allowed.
    pub allowed: u64,
    /// The first few lines.
    pub evidence: Vec<Evidence>,
}

/// What does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityConcernKind {
    /// No service of the inventory has it.
    #[default]
    Unknown,
    /// Its trust domain is none of the inventory's.
    TrustDomain,
    /// It is an identity of the inventory but for its trust domain.
    TrustDomainDrift,
    /// One certificate was used for several identities.
    SharedCertificate,
    /// One address was used by several identities at one time.
    SharedAddress,
}

/// What crosses from one environment, or one tenant, into another.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Crossing {
    /// `environment` or `tenant`.
    pub kind: String,
    /// The environment or tenant of the caller.
    pub from: String,
    /// That of the called service.
    pub to: String,
    /// Edges that grants allow.
    pub granted: u64,
    /// Requests that were allowed.
    pub allowed: u64,
    /// Requests that were denied.
    pub denied: u64,
    /// The first few, `caller → service operation`.
    pub examples: Vec<String>,
    /// Each edge of it is told by `preproduction_edge`.
    pub is_told_by_edge: bool,
    /// The first few lines.
    pub evidence: Vec<Evidence>,
}

/// The date of a review or of an exception.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReviewDate {
    /// `grant` or `exception`.
    pub kind: String,
    /// Its id.
    pub subject: String,
    /// Where it stands.
    pub at: String,
    /// Who answers for it: the owner, or who approved the exception.
    pub owner: Option<String>,
    /// The day; `None`: there is none.
    pub due: Option<Date>,
    /// How that lies to the last record, which stands for now.
    pub standing: DueStanding,
    /// Days from the last record to the day; negative where it is past.
    pub days_left: Option<i64>,
}

/// How a day lies to the last record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DueStanding {
    /// Past.
    Overdue,
    /// Within a month.
    Soon,
    /// Later.
    Ahead,
    /// No day is set.
    #[default]
    Unset,
}
