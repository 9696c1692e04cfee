//! Enforcement fidelity: every recorded decision put to the policy in force at its time again, and how many agree.

use portreeve_engine::{Digest, Timestamp};
use serde::Serialize;

use super::Evidence;
use crate::replay::Difference;

/// How recorded decisions compare with the policy that was in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fidelity {
    /// Decisions that agree.
    pub agreed: u64,
    /// Of so many.
    pub of: u64,
    /// Decisions that differ.
    pub differing: u64,
    /// Decisions of another mesh that allowed what policy denies: no fault of ours, and not lawful.
    pub unlawful: u64,
    /// Decisions of another mesh that denied what policy allows.
    pub overdenied: u64,
    /// Decisions that could not be put again.
    pub not_replayable: u64,
    /// Why they could not.
    pub reasons: Vec<NotReplayed>,
    /// The revisions that decided, by when each was first seen.
    pub revisions: Vec<RevisionFidelity>,
    /// The differences, like ones together, the most frequent first.
    pub disagreements: Vec<Disagreement>,
    /// Groups of differences beyond those listed.
    pub omitted: u64,
    /// What the comparison rests on and what it cannot show.
    pub rests_on: String,
}

/// Why decisions could not be put again.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NotReplayed {
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// The first few.
    pub evidence: Vec<Evidence>,
}

/// One revision in the logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevisionFidelity {
    /// The revision.
    pub revision: Digest,
    /// The bundle of it, as given; `None` where none was.
    pub path: Option<String>,
    /// From when it was in force, as far as a history of bundles was given.
    pub since: Option<Timestamp>,
    /// The first decision under it.
    pub first: Timestamp,
    /// The last decision under it.
    pub last: Timestamp,
    /// Decisions under it.
    pub decided: u64,
    /// Of these, decisions that agree.
    pub agreed: u64,
}

/// Decisions that differ from their replay in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disagreement {
    /// The caller.
    pub from: String,
    /// The called service.
    pub to: String,
    /// The recorded operation; `None`: undeclared paths.
    pub operation: Option<String>,
    /// What differs.
    pub differences: Vec<Difference>,
    /// How many decisions.
    pub count: u64,
    /// The first few lines.
    pub evidence: Vec<Evidence>,
}
