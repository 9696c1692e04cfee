//! The assessment: what was examined, what was found, and what it means for each control.
//!
//! This is the whole content of every report; renderers compute nothing (INV-3). Its JSON is a promise (`assessment.json`).

pub mod analyses;
mod baseline;
pub mod fidelity;
mod given;
mod governance;
pub mod graphs;
pub mod reading;
mod sample;
pub mod usage;

use portreeve_engine::{Digest, SpiffeId, Timestamp};
use serde::{Deserialize, Serialize};

pub use analyses::Analyses;
pub use baseline::{Baseline, EdgeChange, EdgeChangeKind, FindingChanges, GoneFinding, Premise, TrendPoint, VerdictChange};
pub use fidelity::Fidelity;
pub use given::{Given, GivenKind};
pub use governance::{
    AttestationSummary, CommitSummary, ConfigSummary, EnvironmentSummary, ExceptionSummary, FileSummary, GovernanceSummary, NetworkSummary,
    NotApplicableSummary, ReviewSummary, ScopeSummary, ServiceClass, Setting, Waiver,
};
pub use reading::{Coverage, Fitness, GradeCount, Impossible, JoinedLine, OtherLines, Reads};
pub use sample::SampleSummary;

/// Everything a report shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Assessment {
    /// `portreeve 0.1.0`.
    pub tool: String,
    /// What was examined, for the title: the name of the newest bundle's folder.
    pub subject: String,
    /// Ids of the catalogues applied.
    pub catalogs: Vec<String>,
    /// Their titles, in the same order.
    pub catalog_titles: Vec<String>,
    /// First and last time in the logs; `None` where there was no record.
    pub period: Option<Period>,
    /// The logs read.
    pub inputs: Vec<Input>,
    /// The bundles given.
    pub bundles: Vec<BundleSummary>,
    /// What was counted.
    pub totals: Totals,
    /// How the logs were read: by format, by how well callers are known, and what the formats cannot show.
    pub reads: Reads,
    /// The headline numbers of the opening page.
    pub summary: Summary,
    /// One entry for each control of the catalogues, in their order.
    pub controls: Vec<ControlResult>,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
    /// The inventory, by zone and name.
    pub services: Vec<ServiceSummary>,
    /// Who called what, observed and granted.
    pub edges: Vec<EdgeSummary>,
    /// Service by service: one mark for each pair that has any.
    pub matrix: Vec<MatrixCell>,
    /// The processes that wrote the logs.
    pub enforcers: Vec<EnforcerSummary>,
    /// Client certificates seen, by identity.
    pub certificates: Vec<CertificateSummary>,
    /// TLS versions and suites seen.
    pub tls: Vec<TlsSummary>,
    /// Strangers refused before an identity was proved, by reason.
    pub refusals: Vec<RefusalSummary>,
    /// Denials by reason.
    pub denials: Vec<DenialSummary>,
    /// The invariants of the newest bundle; each was proved for all requests.
    pub invariants: Vec<InvariantSummary>,
    /// Recorded decisions against the policy in force at their time.
    pub fidelity: Fidelity,
    /// What follows from the declared, the allowed and the observed graph.
    pub analyses: Analyses,
    /// How the examination was done and what it cannot show, a sentence each.
    pub method: Vec<String>,
    /// What people declared: scope, reviews, attestations, exceptions, configuration files, history of changes.
    pub governance: GovernanceSummary,
    /// Which of `bundles` is the newest: the one the declared graph, the services and the places of findings are of.
    pub newest_bundle: Option<usize>,
    /// Findings of one check that were folded into one because they are too many to name, by their own ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folded: Vec<Folded>,
    /// What was read beside logs and bundles, by kind and name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Given>,
    /// What changed since an earlier assessment, where one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// The sample drawn for an assessor, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<SampleSummary>,
    /// When the report was made, where that was asked for; all other times come from the inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated_at: Option<Timestamp>,
}

/// A finding that stands for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Folded {
    /// Its id.
    pub finding: String,
    /// The ids those others have.
    pub ids: Vec<String>,
}

/// From the first to the last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// First.
    pub from: Timestamp,
    /// Last.
    pub to: Timestamp,
}

/// One log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Input {
    /// As given.
    pub path: String,
    /// SHA-256 of the file as it is (compressed or not).
    pub sha256: Digest,
    /// `portreeve`, `istio-json`, …
    pub format: String,
    /// It is a Parquet file, of which rows are the lines: a digest of evidence is that of the row's text as JSON.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub parquet: bool,
    /// Lines read.
    pub lines: u64,
    /// Lines that are no records.
    pub rejected: u64,
    /// Where the first rejected lines are and why.
    pub rejected_examples: Vec<Rejected>,
    /// What the hash chain says.
    pub chain: ChainVerdict,
    /// What is wrong with the chain, by line.
    pub faults: Vec<Rejected>,
    /// Nothing after the last line vouches that it is the last (neither `stopped` nor a later head).
    pub open_ended: bool,
    /// Its decisions by how well they identify the caller, the best first; grades without any are left out.
    pub grades: Vec<GradeCount>,
    /// What its lines are.
    pub coverage: Coverage,
}

/// A line and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// Line, from 1.
    pub line: u64,
    /// Why.
    pub why: String,
}

/// What a hash chain shows (INV-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChainVerdict {
    /// Every line follows from the one before, and a signed head from elsewhere vouches for it.
    Vouched,
    /// Every line follows from the one before. A log rewritten whole would look the same.
    SelfConsistent,
    /// Some line does not follow, or contradicts a signed head.
    Broken,
    /// There is no record to check.
    Empty,
    /// The format has no chain: nothing shows that no line was changed or taken away.
    Unchained,
}

/// A bundle that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BundleSummary {
    /// As given.
    pub path: String,
    /// Its revision.
    pub revision: Digest,
    /// Records decided under it.
    pub records: u64,
    /// Its policies.
    pub policies: u64,
}

/// Row conservation: lines = decided + refused + lifecycle + duplicates + rejected; decided = allowed + denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Lines read.
    pub lines: u64,
    /// Questions answered.
    pub decided: u64,
    /// With yes.
    pub allowed: u64,
    /// With no.
    pub denied: u64,
    /// Lines about strangers.
    pub refused: u64,
    /// Strangers turned away (the counts on those lines).
    pub refused_attempts: u64,
    /// `started`, `continued`, `ended`, `reloaded`, `heartbeat`, `stopped`.
    pub lifecycle: u64,
    /// Lines read twice.
    pub duplicates: u64,
    /// Lines that are no records.
    pub rejected: u64,
    /// Records that replay answers differently.
    pub mismatches: u64,
    /// Records whose revision was not given.
    pub not_replayable: u64,
    /// Requests refused because there was no room for their record.
    pub unrecorded: u64,
    /// Requests of which another mesh's log does not say what became of them; among `lifecycle`, since they hold no decision.
    pub undetermined: u64,
    /// Requests that another mesh allowed and policy denies.
    pub unlawful: u64,
    /// Requests that another mesh denied and policy allows.
    pub overdenied: u64,
}

/// The headline numbers.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// Controls by verdict, in the order of [`Verdict::ALL`].
    pub verdicts: Vec<VerdictCount>,
    /// Controls about which this evidence says something: met, not met or suspect.
    pub examined: u64,
    /// All controls.
    pub controls: u64,
    /// Names of the services from which some chain of grants leads to the sensitive data named in `sensitive_data`.
    pub sensitive_reach: Vec<String>,
    /// The class of data meant.
    pub sensitive_data: String,
    /// Grants that no record used.
    pub grants_unused: u64,
    /// All grants.
    pub grants: u64,
    /// Pairs of services between which something was denied.
    pub denied_pairs: u64,
}

/// How many controls have a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct VerdictCount {
    /// The verdict.
    pub verdict: Verdict,
    /// How many.
    pub count: u64,
}

/// What the evidence says about a control. The assessor's own words are never among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Holds as far as a machine can tell, for all of a measured population.
    MetTechnical,
    /// A verified counterexample refutes it.
    NotMet,
    /// A counterexample whose evidence is too weak to refute.
    Suspect,
    /// The technical part may support it; a person must add the rest.
    NeedsHuman,
    /// No sufficient evidence either way.
    #[default]
    NotAssessed,
    /// Declared so in the scope, with reason and approver.
    NotApplicable,
    /// The counterexample is covered by an unexpired, approved exception.
    Waived,
}

impl Verdict {
    /// Every verdict, in the order shown.
    pub const ALL: [Self; 7] =
        [Self::MetTechnical, Self::NotMet, Self::Suspect, Self::NeedsHuman, Self::NotAssessed, Self::NotApplicable, Self::Waived];

    /// The kebab-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MetTechnical => "met-technical",
            Self::NotMet => "not-met",
            Self::Suspect => "suspect",
            Self::NeedsHuman => "needs-human",
            Self::NotAssessed => "not-assessed",
            Self::NotApplicable => "not-applicable",
            Self::Waived => "waived",
        }
    }
}

/// What the evidence says about one control.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ControlResult {
    /// The catalogue.
    pub catalog: String,
    /// Its id there.
    pub id: String,
    /// The heading it stands under.
    pub family: String,
    /// In our own words.
    pub title: String,
    /// The verdict.
    pub verdict: Verdict,
    /// One sentence with the numbers behind it.
    pub why: String,
    /// Checks that bear on it.
    pub checks: Vec<String>,
    /// Ids of the findings that bear on it.
    pub findings: Vec<String>,
    /// What a person must still add.
    pub needs: Vec<String>,
    /// What people attest about it, with who and when. It decides nothing.
    pub attested: Vec<String>,
    /// What this evidence cannot show.
    pub cannot_show: String,
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Reach into sensitive data, or evidence that cannot be trusted.
    High,
    /// A hole in evidence or governance.
    Medium,
    /// Hygiene.
    #[default]
    Low,
}

impl Weight {
    /// The lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// Something that was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable: the check and a digest of the subject.
    pub id: String,
    /// The check that found it.
    pub check: String,
    /// How much it weighs.
    pub severity: Weight,
    /// What it is about: a permission, an edge, a log.
    pub subject: String,
    /// Services of the inventory that it is about.
    pub services: Vec<String>,
    /// What was seen, in numbers; one sentence.
    pub summary: String,
    /// What to do.
    pub remedy: String,
    /// Where in the policy repo, `file:line`.
    pub at: Option<String>,
    /// Where in the logs; the first few.
    pub evidence: Vec<Evidence>,
    /// How many records show it (0 where it is about policy alone).
    pub count: u64,
    /// `catalog id` of controls it bears on.
    pub controls: Vec<String>,
    /// It speaks against a control without proving anything.
    pub suspect: bool,
    /// The exception that covers it, where one holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waived: Option<Waiver>,
}

/// A raw line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(expecting = "an object", deny_unknown_fields)]
pub struct Evidence {
    /// Index into `inputs`.
    pub input: usize,
    /// Line, from 1.
    pub line: u64,
    /// SHA-256 of the line without its newline.
    pub sha256: Digest,
}

/// A service of the inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceSummary {
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Classes of data it touches.
    pub data: Vec<String>,
    /// Requests to it that were allowed.
    pub allowed: u64,
    /// Requests to it that were denied.
    pub denied: u64,
    /// Some enforcer of it wrote a log; of what is outside the mesh: some enforcer recorded a call to it.
    pub observed: bool,
}

/// A caller, an operation, and what was seen and granted between them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EdgeSummary {
    /// The calling service, `None` for an identity outside the inventory.
    pub from: Option<String>,
    /// That identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_id: Option<SpiffeId>,
    /// What another mesh's log calls a caller that has neither service nor identity there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_name: Option<String>,
    /// The called service.
    pub to: String,
    /// The operation, `None` for undeclared paths.
    pub operation: Option<String>,
    /// Requests allowed.
    pub allowed: u64,
    /// Requests denied.
    pub denied: u64,
    /// Some policy of the newest bundle can allow it.
    pub declared: bool,
    /// Only on a condition.
    pub conditional: bool,
    /// The granting policies.
    pub policies: Vec<String>,
}

/// One mark of the access matrix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MatrixCell {
    /// Row.
    pub from: String,
    /// Column.
    pub to: String,
    /// What to draw.
    pub mark: Mark,
    /// Some of it was also denied.
    pub denied: bool,
    /// Requests allowed.
    pub allowed_count: u64,
    /// Requests denied.
    pub denied_count: u64,
}

/// What a pair of services has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Granted and used.
    Used,
    /// Granted on conditions only, and used.
    UsedConditional,
    /// Granted and never used.
    Unused,
    /// Only denials.
    Denied,
    /// Allowed in the logs, and no policy of the newest bundle grants it.
    Shadow,
}

/// A process that wrote a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EnforcerSummary {
    /// Its identity.
    pub enforcer: SpiffeId,
    /// Its service in the inventory.
    pub service: Option<String>,
    /// The process.
    pub instance: String,
    /// First record.
    pub from: Timestamp,
    /// Last record.
    pub to: Timestamp,
    /// Questions it answered.
    pub decided: u64,
    /// Requests it could not record.
    pub unrecorded: u64,
    /// Revisions it had in force, in order.
    pub revisions: Vec<Digest>,
    /// `enforce`, `dry-run`, or both.
    pub modes: Vec<String>,
    /// It said that it stopped.
    pub stopped: bool,
    /// The longest time between two of its lines.
    pub silence_ms_max: i64,
}

/// A client certificate that was seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CertificateSummary {
    /// Its identity.
    pub id: SpiffeId,
    /// Its serial number.
    pub serial: String,
    /// SHA-256 of the certificate.
    pub sha256: Digest,
    /// When it ends.
    pub not_after: Timestamp,
    /// First seen.
    pub from: Timestamp,
    /// Last seen.
    pub to: Timestamp,
    /// Requests on it.
    pub requests: u64,
}

/// A TLS version and suite.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TlsSummary {
    /// `TLSv1.3`.
    pub version: String,
    /// The suite.
    pub suite: String,
    /// Requests on it.
    pub requests: u64,
}

/// Strangers refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RefusalSummary {
    /// Why.
    pub reason: String,
    /// How many times.
    pub count: u64,
    /// Lines that say so.
    pub lines: u64,
}

/// Denials by reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DenialSummary {
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// An invariant that was proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvariantSummary {
    /// Its name.
    pub name: String,
    /// In words.
    pub statement: String,
    /// Where it is declared.
    pub at: String,
    /// Controls it names.
    pub controls: Vec<String>,
}
