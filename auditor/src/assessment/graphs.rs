//! What the graphs show by policy alone: reach, choke points, cuts, blast radius, what is declared and cannot be used.

use serde::Serialize;

/// The three graphs over (caller, service, operation), and how they differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ThreeGraphs {
    /// What grants name, prohibitions left aside.
    pub declared: u64,
    /// What the compiled policy can allow.
    pub allowed: u64,
    /// What allowed records show.
    pub observed: u64,
    /// Operations of the inventory.
    pub operations: u64,
    /// The classes of the three-way difference that have members.
    pub differences: Vec<Difference>,
    /// What the graphs rest on.
    pub rests_on: String,
}

/// One class of the three-way difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which.
    pub class: DifferenceClass,
    /// Some grant names it.
    pub declared: bool,
    /// The policy can allow it.
    pub allowed: bool,
    /// Some record was allowed.
    pub observed: bool,
    /// How many edges.
    pub edges: u64,
    /// The first few, by name.
    pub examples: Vec<GraphEdge>,
}

/// The classes of the three-way difference. What is allowed is always declared, so there are no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceClass {
    /// Declared, allowed, observed.
    Used,
    /// Declared, allowed, never observed.
    Unused,
    /// Declared, and a prohibition takes it away.
    Prohibited,
    /// Observed though a prohibition of the newest bundle takes it away.
    ObservedProhibited,
    /// Observed, and no grant of the newest bundle names it.
    Shadow,
}

/// A caller, a service, an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GraphEdge {
    /// The calling service; `None`: identities outside the inventory.
    pub from: Option<String>,
    /// The called service.
    pub to: String,
    /// The operation; `None`: undeclared paths.
    pub operation: Option<String>,
}

/// That a service reaches a class of data or a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// `data` or `zone`.
    pub kind: String,
    /// The class or the zone.
    pub target: String,
    /// It is sensitive.
    pub sensitive: bool,
    /// Who reaches it; `None`: identities outside the inventory.
    pub from: Option<String>,
    /// It lives in an untrusted zone, or is outside the inventory.
    pub untrusted: bool,
    /// Steps of the shortest chain; 1 is direct.
    pub steps: u64,
    /// The shortest chain of grants.
    pub chain: Vec<Hop>,
    /// What traffic says about it.
    pub evidence: ReachEvidence,
    /// Traces (or ids that callers passed on) of which some chain from here to the target was recorded.
    pub traces: u64,
    /// Services of one chain that was recorded under one trace; empty where there is none.
    pub traced: Vec<String>,
}

/// One step of a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// The caller; `None`: identities outside the inventory.
    pub from: Option<String>,
    /// The called service.
    pub to: String,
    /// The operations that may be called in this step; of the last step those that reach the target.
    pub operations: Vec<String>,
    /// The grants.
    pub policies: Vec<String>,
    /// Only on conditions.
    pub conditional: bool,
    /// Allowed requests recorded in this step.
    pub requests: u64,
}

/// What is known of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReachEvidence {
    /// Grants allow each step: whoever takes over the services on the way can take it.
    #[default]
    SteppingStone,
    /// Each step was recorded, and nothing ties them together.
    EachStepSeen,
    /// All steps of some chain were recorded under one trace: data can have gone this way.
    DataPath,
}

/// A service through which every chain from the untrusted zone to a sensitive service leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChokePoint {
    /// The sensitive service.
    pub target: String,
    /// The services that every chain to it passes, from the outside in; empty where there is none.
    pub dominators: Vec<String>,
    /// Services of the untrusted zone, or strangers, that may call it themselves.
    pub exposed_to: Vec<String>,
    /// Steps of the shortest chain from outside.
    pub steps: u64,
}

/// The smallest sets that part the untrusted zone from a sensitive service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// The sensitive service; `None`: all of them at once.
    pub target: Option<String>,
    /// The fewest services to guard; `None` where the untrusted zone may call it directly, so that no service stands between.
    pub services: Option<Vec<String>>,
    /// The fewest pairs of services to part.
    pub pairs: Vec<CutPair>,
    /// All grants behind those pairs.
    pub policies: Vec<String>,
}

/// A pair of services in a cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CutPair {
    /// The caller; `None`: identities outside the inventory.
    pub from: Option<String>,
    /// The called service.
    pub to: String,
    /// The grants between them.
    pub policies: Vec<String>,
}

/// What the removal of one permission alone would take out of reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Protection {
    /// The permission.
    pub policy: String,
    /// Where it stands.
    pub at: String,
    /// Pairs of an untrusted caller and a sensitive service between which no chain would be left.
    pub pairs: u64,
    /// Of so many that there are.
    pub of: u64,
    /// The sensitive services that some untrusted caller would no longer reach.
    pub services: Vec<String>,
    /// Allowed records that it determined: what its removal would have to be weighed against.
    pub requests: u64,
}

/// What a service could reach if it were taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlastRadius {
    /// The service.
    pub service: String,
    /// Services within so many steps: the first number is those one step away, the next those two steps away, and so on.
    pub by_step: Vec<u64>,
    /// All services within reach.
    pub reachable: u64,
    /// Of so many others.
    pub of: u64,
    /// Sensitive services within reach, itself not counted, the nearest first.
    pub sensitive: Vec<SensitiveWithin>,
    /// It holds sensitive data itself.
    pub holds_sensitive: bool,
    /// Allowed requests that it made in the window.
    pub requests: u64,
    /// Services it called in the window.
    pub called: u64,
}

/// A sensitive service within reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SensitiveWithin {
    /// Steps.
    pub steps: u64,
    /// The service.
    pub service: String,
}

/// Something that is declared and cannot be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DeadDeclaration {
    /// What it is.
    pub kind: DeadKind,
    /// `items write-item`, or the grant's id.
    pub subject: String,
    /// Where it is declared.
    pub at: String,
    /// Requests for it that were denied in the window.
    pub denied: u64,
    /// Requests for it that were allowed in the window all the same: by an earlier policy, or by another mesh.
    pub allowed: u64,
}

/// What cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeadKind {
    /// An operation to which no grant leads.
    #[default]
    Operation,
    /// A grant all of whose edges are prohibited.
    ProhibitedGrant,
    /// A grant that meets nothing of the inventory.
    EmptyGrant,
}
