//! What follows from the declared, the allowed and the observed graph side by side.
//!
//! Every part tells how many of how many, what it rests on and what it cannot show, so that no number stands alone. The types
//! of what is listed stand in [`super::graphs`] (what policy alone shows) and [`super::usage`] (what traffic shows).

use portreeve_engine::Timestamp;
use serde::Serialize;

use super::graphs::{BlastRadius, ChokePoint, Cut, DeadDeclaration, Protection, Reach, ThreeGraphs};
use super::usage::{
    Crossing, IdentityCertificates, IdentityConcern, PermissionUse, Privilege, ReviewDate, Scanner, ShadowEdge, Spike, StaleService,
    WeakConnection, WildcardUse,
};

/// The analyses of an assessment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Analyses {
    /// The time over which traffic was observed; `None` where no record was read.
    pub window: Option<Window>,
    /// The three graphs and their differences.
    pub graphs: ThreeGraphs,
    /// Who reaches a class of data or a zone, directly or through others, and by which shortest chain.
    pub reach: Part<Reach>,
    /// Services through which every chain from the untrusted zone to a sensitive service leads.
    pub choke_points: Part<ChokePoint>,
    /// The fewest services, and the fewest pairs of services, that part the untrusted zone from what is sensitive.
    pub cuts: Part<Cut>,
    /// What the removal of one permission alone would take out of reach.
    pub protection: Part<Protection>,
    /// What each service could reach if it were taken over.
    pub blast: Part<BlastRadius>,
    /// Every grant, and whether traffic used it.
    pub permissions: Part<PermissionUse>,
    /// Wildcards, what of them was needed, and the narrower grants that would have done.
    pub wildcards: Part<WildcardUse>,
    /// How much of what each service may do it did.
    pub privilege: Part<Privilege>,
    /// What was allowed in the logs and no policy of the newest bundle can allow.
    pub shadow: Part<ShadowEdge>,
    /// What is declared and cannot be used.
    pub dead: Part<DeadDeclaration>,
    /// Services that took no part in any allowed request.
    pub stale: Part<StaleService>,
    /// Hours of many denials.
    pub spikes: Part<Spike>,
    /// Callers that tried many things that nobody declared or granted.
    pub scanners: Part<Scanner>,
    /// Calls without TLS, or with weak TLS.
    pub weak_connections: Part<WeakConnection>,
    /// Certificates by identity: how many, until when, how often renewed, where seen.
    pub certificates: Part<IdentityCertificates>,
    /// Identities that do not fit the inventory or one another.
    pub identities: Part<IdentityConcern>,
    /// What crosses from one environment, or one tenant, into another.
    pub separation: Part<Crossing>,
    /// Dates of reviews and exceptions.
    pub reviews: Part<ReviewDate>,
}

/// One analysis: how many of how many, on what that rests, and the cases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part<T> {
    /// What is counted, in words: *have* of *of* are this.
    pub what: String,
    /// So many.
    pub have: u64,
    /// Of so many.
    pub of: u64,
    /// What it rests on and what it cannot show, in a sentence or two.
    pub rests_on: String,
    /// The cases, the weightiest first where that makes sense, else by name.
    pub entries: Vec<T>,
    /// Cases beyond those listed.
    pub omitted: u64,
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self { what: String::new(), have: 0, of: 0, rests_on: String::new(), entries: Vec::new(), omitted: 0 }
    }
}

impl<T> Part<T> {
    /// Lists at most so many cases and counts the others.
    #[must_use]
    pub fn listing(mut self, mut entries: Vec<T>, max: usize) -> Self {
        self.omitted = entries.len().saturating_sub(max) as u64;
        entries.truncate(max);
        self.entries = entries;
        self
    }
}

/// The time over which traffic was observed. What runs once a month is not seen in a week.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Window {
    /// First record.
    pub from: Option<Timestamp>,
    /// Last record.
    pub to: Option<Timestamp>,
    /// Days (UTC) from the first to the last, both counted.
    pub days: u64,
    /// Of these, days with at least one decision.
    pub days_with_traffic: u64,
    /// Whole weeks between first and last record.
    pub weeks: u64,
    /// Whole periods of thirty-one days between first and last record.
    pub months: u64,
    /// Services with an enforcer whose log was given.
    pub services_logged: u64,
    /// Services that should have one.
    pub services: u64,
    /// The same in words, for sentences that need it.
    pub words: String,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Ratio {
    /// So many.
    pub have: u64,
    /// Of so many.
    pub of: u64,
}
