//! What changed since an earlier assessment. Filled by [`crate::baseline`]; `None` where no baseline was given.

use portreeve_engine::{Digest, SpiffeId};
use serde::Serialize;

use super::{Period, Verdict, VerdictCount, Weight};

/// This assessment held against an earlier one, and the line they and those before them make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Baseline {
    /// The assessment compared with: of those given, the one whose logs end last.
    pub path: String,
    /// SHA-256 of that file.
    pub sha256: Digest,
    /// What made it.
    pub tool: String,
    /// The period it examined.
    pub period: Option<Period>,
    /// What is not the same about the two examinations, so that a difference between them may come from there.
    pub differs: Vec<Premise>,
    /// Findings.
    pub findings: FindingChanges,
    /// Controls whose verdict is another one, in the order of the catalogues; those of one side only have one verdict.
    pub verdicts: Vec<VerdictChange>,
    /// Edges that came or went.
    pub edges: Vec<EdgeChange>,
    /// All assessments given, oldest first, and this one last.
    pub trend: Vec<TrendPoint>,
}

/// Something that should be the same on both sides of a comparison and is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Premise {
    /// `tool`, `catalogs`, `bundles`, `services`, `period` or `inputs`.
    pub what: String,
    /// In the baseline.
    pub before: String,
    /// Here.
    pub now: String,
    /// What follows for who reads the comparison.
    pub meaning: String,
}

/// Findings by their ids, which are the same for the same check and subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FindingChanges {
    /// Here and not in the baseline; findings folded into one are named by their own ids.
    pub new: Vec<String>,
    /// In the baseline and not here.
    pub gone: Vec<GoneFinding>,
    /// In both.
    pub unchanged: Vec<String>,
    /// Of those in both, the ones that weigh more now.
    pub heavier: Vec<String>,
}

/// A finding of the baseline that is not here any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GoneFinding {
    /// Its id.
    pub id: String,
    /// The check that found it.
    pub check: String,
    /// How much it weighed; `None` where it was folded with others.
    pub severity: Option<Weight>,
    /// What it was about.
    pub subject: String,
    /// What was seen then.
    pub summary: String,
}

/// A control with another verdict than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerdictChange {
    /// The catalogue.
    pub catalog: String,
    /// The control.
    pub id: String,
    /// In the baseline; `None` where it had no such control.
    pub before: Option<Verdict>,
    /// Here; `None` where there is no such control.
    pub now: Option<Verdict>,
}

/// What became of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeChangeKind {
    /// Allowed now, and never in the baseline.
    FirstAllowed,
    /// Only denied now, and not seen at all in the baseline.
    FirstDenied,
    /// Granted now, and not in the baseline.
    NewlyGranted,
    /// Granted in the baseline, and not now.
    NoLongerGranted,
    /// Seen in the baseline, and not now.
    NoLongerSeen,
}

impl EdgeChangeKind {
    /// The kebab-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstAllowed => "first-allowed",
            Self::FirstDenied => "first-denied",
            Self::NewlyGranted => "newly-granted",
            Self::NoLongerGranted => "no-longer-granted",
            Self::NoLongerSeen => "no-longer-seen",
        }
    }
}

/// An edge that came or went; one with two changes stands here twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EdgeChange {
    /// What became of it.
    pub kind: EdgeChangeKind,
    /// The calling service, `None` for an identity outside the inventory.
    pub from: Option<String>,
    /// That identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_id: Option<SpiffeId>,
    /// What it calls itself, where it has no identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_name: Option<String>,
    /// The called service.
    pub to: String,
    /// The operation, `None` for undeclared paths.
    pub operation: Option<String>,
    /// Requests allowed here.
    pub allowed: u64,
    /// Requests denied here.
    pub denied: u64,
}

/// One assessment as a point of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrendPoint {
    /// The file; empty for this assessment.
    pub path: String,
    /// What made it.
    pub tool: String,
    /// The period examined.
    pub period: Option<Period>,
    /// Controls by verdict.
    pub verdicts: Vec<VerdictCount>,
    /// Findings that weigh high, medium and low.
    pub findings: [u64; 3],
    /// Questions answered.
    pub decided: u64,
    /// With no.
    pub denied: u64,
    /// Records that replay answers differently.
    pub mismatches: u64,
    /// Grants that no record used.
    pub grants_unused: u64,
    /// All grants.
    pub grants: u64,
}
