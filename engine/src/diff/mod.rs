//! What a change of policy changes: two bundles compared over *all* requests, by set algebra.
//!
//! Every change comes with a request that both bundles were really asked, and the lines that make the difference. The condition
//! of a Cedar policy and the body of a Rego rule are not looked into: where they decide, the answers *may differ*, which is
//! said and never guessed. A denial for another reason is no difference.

mod group;
mod survey;
mod witness;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use crate::algebra::cell::Status;
use crate::algebra::law::Law;
use crate::algebra::principal::Principals;
use crate::authorizer::Authorizer;
use crate::bundle::Bundle;
use crate::decision::PolicyRef;
use crate::diagnostic::Location;
use crate::request::{Method, Request, Target};
use witness::Judge;
pub use witness::Witness;

/// A compiled bundle with its files.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The files.
    pub bundle: &'a Bundle,
    /// What they compile to.
    pub authorizer: &'a Authorizer,
}

/// What the second bundle is to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every request has the same effect.
    Equivalent,
    /// Some requests are newly allowed, none is newly denied.
    MorePermissive,
    /// Some requests are newly denied, none is newly allowed.
    LessPermissive,
    /// Some are newly allowed, some newly denied.
    Incomparable,
    /// What may differ leaves it open.
    Unknown,
}

/// What kind of change it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Denied before and allowed now; where the answer was conditional, the conditions are wider.
    NewlyAllowed,
    /// Allowed before and denied now; where the answer is conditional still, the conditions are narrower.
    NewlyDenied,
    /// Always allowed or never before, on conditions now.
    NewlyConditional,
    /// A Cedar condition or a Rego body decides. Either its text is not what it was, or it stands beside the change and no
    /// request was found on which the change shows.
    MayDiffer,
}

/// What the second bundle answers where the answers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// It allows what the first denies.
    Allow,
    /// It denies what the first allows.
    Deny,
    /// Either (only where the answers may differ).
    Either,
}

/// One change: for each of these callers and each of these operations.
#[derive(Clone, Debug)]
pub struct Change {
    /// What kind.
    pub kind: Kind,
    /// How the first bundle answers these callers here, over all contexts.
    pub before: Status,
    /// How the second does.
    pub after: Status,
    /// What the second answers where they differ.
    pub direction: Direction,
    /// The callers: names of services, identities, or words for those that nothing names.
    pub callers: Vec<String>,
    /// What they call.
    pub targets: Vec<ChangedService>,
    /// A request that the bundles answer differently; always there unless the answers only may differ.
    pub witness: Option<Witness>,
    /// The responsible policies of the first and of the second bundle, by id.
    pub policies: [Vec<PolicyRef>; 2],
    /// Declarations of the inventory that differ and bear on it, in the first and in the second bundle.
    pub declarations: [Vec<Declaration>; 2],
    kinds: BTreeSet<u32>,
    cells: Vec<CellName>,
}

/// A called service and the operations of it that a change is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ChangedService {
    /// Its name.
    pub service: String,
    /// The operations.
    pub operations: Vec<ChangedOperation>,
}

/// An operation, as each bundle routes to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ChangedOperation {
    /// Its id under the first bundle; `None` for undeclared paths and ports.
    pub before: Option<String>,
    /// Its id under the second bundle.
    pub after: Option<String>,
    /// The methods or ports: `GET`, `port 5432`, `other methods`, `other ports`.
    pub by: Vec<String>,
}

/// A service or group whose declaration differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Declaration {
    /// Its name.
    pub name: Box<str>,
    /// Where it is declared.
    pub at: Location,
}

/// A cell by name, to find a request's change again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CellName {
    service: Box<str>,
    operations: [Option<usize>; 2],
    by: By,
}

/// A method, or all that are not named; a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Method(Method),
    OtherMethod,
    Connect,
}

/// Everything that differs between two bundles.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// What the second is to the first.
    pub verdict: Verdict,
    /// The changes.
    pub changes: Vec<Change>,
    /// What could not be compared, in words. Nothing is said of it.
    pub unexplored: Vec<String>,
    authorizers: [&'a Authorizer; 2],
    principals: Option<Principals>,
    methods: BTreeMap<Box<str>, BTreeSet<Method>>,
}

/// Compares two bundles over all requests.
#[must_use]
pub fn compare<'a>(old: Side<'a>, new: Side<'a>) -> Comparison<'a> {
    let authorizers = [old.authorizer, new.authorizer];
    let mut out = Comparison {
        verdict: Verdict::Unknown,
        changes: Vec::new(),
        unexplored: Vec::new(),
        authorizers,
        principals: None,
        methods: BTreeMap::new(),
    };
    if old.authorizer.revision() == new.authorizer.revision() {
        out.verdict = Verdict::Equivalent;
        return out;
    }
    let laws = [&Law::new(Some(old.bundle), old.authorizer), &Law::new(Some(new.bundle), new.authorizer)];
    let principals = match Principals::new(laws) {
        Ok(principals) => principals,
        Err(error) => {
            out.unexplored.push(format!("kinds of caller: {error}"));
            return out;
        }
    };
    let survey = survey::survey(laws, &principals);
    out.unexplored = survey.unexplored;
    out.methods = survey.methods;
    let mut judge = Judge::new(laws, &principals);
    let grouped = group::group(&mut judge, survey.found);
    let mut tally = Tally::default();
    for draft in grouped {
        let change = draft.change(&judge, &mut out.unexplored, &mut tally);
        out.changes.push(change);
    }
    out.changes.sort_by(|a, b| (a.kind, &a.targets, &a.callers).cmp(&(b.kind, &b.targets, &b.callers)));
    out.verdict = tally.verdict(!out.unexplored.is_empty());
    out.principals = Some(principals);
    out
}

/// Which differences there are, and which there may be.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    allows: bool,
    denies: bool,
    may_allow: bool,
    may_deny: bool,
}

impl Tally {
    const fn verdict(self, unexplored: bool) -> Verdict {
        let (may_allow, may_deny) = (self.may_allow || unexplored, self.may_deny || unexplored);
        match (self.allows, self.denies) {
            (true, true) => Verdict::Incomparable,
            (true, false) if !may_deny => Verdict::MorePermissive,
            (false, true) if !may_allow => Verdict::LessPermissive,
            (false, false) if !may_allow && !may_deny => Verdict::Equivalent,
            _ => Verdict::Unknown,
        }
    }
}

impl Comparison<'_> {
    /// The changes that a request falls under, by position: those about its caller, its operation and its method. Whether its
    /// context is one of those in which the answers differ, the bundles say.
    #[must_use]
    pub fn changes_at(&self, request: &Request) -> Vec<usize> {
        let Some(principals) = &self.principals else { return Vec::new() };
        let Some(caller) = principals.number(self.authorizers, &request.principal) else { return Vec::new() };
        let operations = self.authorizers.map(|a| {
            let inventory = &a.inventory;
            inventory.index(&request.service).and_then(|service| inventory.route(service, request.target.borrowed()))
        });
        let by = match &request.target {
            Target::Connect { .. } => By::Connect,
            Target::Http { method, .. } if self.methods.get(&*request.service).is_some_and(|m| m.contains(method)) => {
                By::Method(method.clone())
            }
            Target::Http { .. } => By::OtherMethod,
        };
        let cell = CellName { service: (*request.service).into(), operations, by };
        let under = |change: &Change| change.kinds.contains(&caller) && change.cells.binary_search(&cell).is_ok();
        self.changes.iter().enumerate().filter(|(_, change)| under(change)).map(|(n, _)| n).collect()
    }
}

impl Verdict {
    /// The kebab-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equivalent => "equivalent",
            Self::MorePermissive => "more-permissive",
            Self::LessPermissive => "less-permissive",
            Self::Incomparable => "incomparable",
            Self::Unknown => "unknown",
        }
    }
}

impl Kind {
    /// The kebab-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewlyAllowed => "newly-allowed",
            Self::NewlyDenied => "newly-denied",
            Self::NewlyConditional => "newly-conditional",
            Self::MayDiffer => "may-differ",
        }
    }
}
