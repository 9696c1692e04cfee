//! What replaying logs gave: the document of `portreeve replay --format json`, from which the other forms are made. Its shape is a
//! promise; it grows by addition.

use portreeve_engine::decision::Effect;
use portreeve_engine::{Digest, Timestamp};
use serde::Serialize;

use crate::assessment::Period;
use crate::assessment::graphs::Reach;
use crate::replay::Difference;

/// How logs compare with the policy in force, and with a proposed one.
///
/// INVARIANT: lines = decided + refused + lifecycle + duplicates + rejected; decided = agrees + decisions that differ, that another mesh
/// answered otherwise, that cannot be put again, or that differ and cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// Lines read.
    pub lines: u64,
    /// Lines that are no records.
    pub rejected: u64,
    /// Lines read twice.
    pub duplicates: u64,
    /// Lines about strangers.
    pub refused: u64,
    /// Lines about processes and ends of requests; of other meshes, lines that hold no decision.
    pub lifecycle: u64,
    /// Questions answered.
    pub decided: u64,
    /// Answers that agree with the bundle of their revision.
    pub agrees: u64,
    /// Answers that differ.
    pub differs: u64,
    /// Answers whose bundle was not given, or that lack what policy would have to know.
    pub not_replayable: u64,
    /// Requests that another mesh allowed and policy denies.
    pub unlawful: u64,
    /// Requests that another mesh denied and policy allows.
    pub overdenied: u64,
    /// Distinct questions put to an authorizer.
    pub asked: u64,
    /// First and last record; absent where there is none.
    pub period: Option<Period>,
    /// The revisions in the logs, by when each first decided.
    pub revisions: Vec<RevisionReplayed>,
    /// Why answers could not be put again.
    pub not_replayed: Vec<Unknown>,
    /// The differences, like ones together.
    pub differences: Groups<DifferenceGroup>,
    /// Records that the proposed bundle answers with another effect.
    pub changed: u64,
    /// They, like ones together.
    pub changes: Groups<ChangeGroup>,
    /// What the proposed bundle would have done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<WhatIf>,
}

/// Like things together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Groups<T> {
    /// The groups.
    pub groups: Vec<T>,
    /// Records beyond the number of groups kept.
    pub further: u64,
}

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Self { groups: Vec::new(), further: 0 }
    }
}

/// Who called what.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Call {
    /// The caller: its service, or its identity.
    pub from: String,
    /// The called service.
    pub to: String,
    /// The operation, or words for what is none.
    pub operation: String,
}

/// One revision in the logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevisionReplayed {
    /// The revision.
    pub revision: Digest,
    /// Its bundle was given.
    pub given: bool,
    /// Decisions under it.
    pub decided: u64,
    /// Of these, decisions that agree.
    pub agrees: u64,
    /// First.
    pub first: Timestamp,
    /// Last.
    pub last: Timestamp,
}

/// Answers that cannot be known, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// Why.
    pub reason: String,
    /// How many records.
    pub count: u64,
    /// The first few, `file:line`.
    pub examples: Vec<String>,
}

/// Records that differ from their replay in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DifferenceGroup {
    /// Who called what.
    pub call: Call,
    /// What differs.
    pub differences: Vec<Difference>,
    /// How many records.
    pub count: u64,
    /// The first, `file:line`.
    pub first: String,
    /// The first few.
    pub examples: Vec<String>,
}

/// Records that the proposed bundle answers with another effect, in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeGroup {
    /// The recorded effect.
    pub recorded: Effect,
    /// The proposed bundle's effect.
    pub candidate: Effect,
    /// Its reason.
    pub reason: &'static str,
    /// Its determining policies, with their places; the recorded ones where it names none.
    pub policies: Vec<String>,
    /// Who called what.
    pub call: Call,
    /// How many records.
    pub count: u64,
    /// The first, `file:line`.
    pub first: String,
    /// The first few.
    pub examples: Vec<String>,
}

/// What a proposed bundle would have done to the recorded questions.
///
/// INVARIANT: decided = newly allowed + newly denied + unchanged + not replayable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WhatIf {
    /// Its revision.
    pub revision: Option<Digest>,
    /// Denied in the log, allowed by it.
    pub newly_allowed: Changed,
    /// Allowed in the log, denied by it.
    pub newly_denied: Changed,
    /// Records with the same effect.
    pub unchanged: u64,
    /// Records whose answer under it cannot be known.
    pub not_replayable: u64,
    /// Why not.
    pub reasons: Vec<Unknown>,
    /// The changes by the policy that brings them, the most requests first.
    pub by_policy: Vec<PolicyChange>,
    /// What changes in reach.
    pub reach: ReachChange,
}

/// Records and distinct calls: a client that repeats what is denied makes many records of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Records.
    pub requests: u64,
    /// Distinct callers, services and operations among them.
    pub calls: u64,
}

/// The changes that one policy brings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PolicyChange {
    /// The policy; `None`: no policy, because none grants any more and the record names none.
    pub policy: Option<String>,
    /// Where it stands, if its bundle was given.
    pub at: Option<String>,
    /// It stands in the proposed bundle; else it is one that granted in the logs and does so no more.
    pub proposed: bool,
    /// Records newly allowed by it.
    pub newly_allowed: u64,
    /// Records newly denied by it, or for want of it.
    pub newly_denied: u64,
    /// The calls concerned, the first few.
    pub calls: Vec<Call>,
    /// The first few records, `file:line`.
    pub examples: Vec<String>,
}

/// How reach into classes of data and sensitive zones differs between the newest bundle in force and the proposed one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReachChange {
    /// Pairs of a caller and a target between which a chain of grants leads now.
    pub before: u64,
    /// The same under the proposed bundle.
    pub after: u64,
    /// Pairs that are new, or whose chain is shorter.
    pub gained: Vec<Reach>,
    /// Pairs that are no more.
    pub lost: Vec<Reach>,
}

impl ReplayReport {
    /// Whether there is not one answer, and nothing stands against them: nothing was compared.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.decided == 0 && self.is_clean()
    }

    /// Every answer is known and the same.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let known = self.against.as_ref().is_none_or(|what_if| what_if.not_replayable == 0);
        self.differs + self.unlawful + self.overdenied == 0 && self.not_replayable == 0 && self.rejected == 0 && self.changed == 0 && known
    }
}
