//! All identities there can be, as classes that no policy and no selector tells apart.
//!
//! Which policies speak of an identity depends on its service, on whether it is named, and on the patterns that cover it. The
//! named ones are asked as they are. For the rest, every way in which patterns can meet is built, and of each one identity is
//! taken whose free segments occur in no pattern: exactly the patterns that cover the whole meeting cover it. So every
//! identity that could ever call has one in the list that policies cannot tell from it, strangers of unknown trust domains
//! included.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::authorizer::Authorizer;
use crate::decision::Effect;
use crate::diagnostic::Diagnostic;
use crate::id::{IdPattern, SpiffeId, TrustDomain};
use crate::limits::CALLER_PATTERNS_MAX;
use crate::model::IdentityPart;
use crate::table::{Atoms, CallerAtom, MethodBit, TargetAtom};

/// Identities that are one to all policies and selectors.
#[derive(Debug)]
pub(super) struct CallerClass {
    /// Their service; `None` for strangers.
    pub(super) service: Option<usize>,
    /// One of them.
    pub(super) id: SpiffeId,
    /// Their atoms.
    pub(super) atoms: Atoms,
    /// Whether all identities of the service are in this class.
    pub(super) whole: bool,
    calls: OnceCell<Vec<Call>>,
}

/// Calls of one operation (`None`: of undeclared paths) of a service that may be allowed.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) to: usize,
    pub(super) operation: Option<usize>,
    pub(super) methods: Vec<MethodBit>,
}

impl IdentityPart {
    /// Whether the part takes this identity.
    pub(super) fn covers(&self, of_inventory: bool, id: &SpiffeId) -> bool {
        match self {
            Self::Id(named) => named == id,
            Self::Pattern(pattern) => pattern.matches(id),
            Self::AnyAuthenticated => of_inventory,
            Self::Strangers => !of_inventory,
        }
    }
}

impl CallerClass {
    /// What this class may call under some condition. `granted` has the targets of grants by caller's atom.
    pub(super) fn calls(&self, authorizer: &Authorizer, granted: &BTreeMap<u32, Vec<&TargetAtom>>) -> &[Call] {
        self.calls.get_or_init(|| {
            let atoms = self.atoms.iter().filter_map(|atom| granted.get(atom)).flatten();
            let candidates: BTreeSet<(usize, Option<usize>)> = atoms.flat_map(|atom| authorizer.operations_of(atom)).collect();
            // What is declared says more to who reads it, so it comes first.
            let (undeclared, declared): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|(_, operation)| operation.is_none());
            let calls = declared.into_iter().chain(undeclared).map(|(to, operation)| {
                let methods = authorizer.methods_of(to, operation).into_iter().filter(|m| self.may_call(authorizer, to, operation, *m));
                Call { to, operation, methods: methods.collect() }
            });
            calls.filter(|call| !call.methods.is_empty()).collect()
        })
    }

    fn may_call(&self, authorizer: &Authorizer, to: usize, operation: Option<usize>, method: MethodBit) -> bool {
        let targets = authorizer.table.targets(to, operation);
        let mut granted = false;
        for entry in authorizer.table.entries(&self.atoms, targets, method) {
            match entry.effect {
                Effect::Deny if !entry.conditional => return false,
                Effect::Deny => {}
                Effect::Allow => granted = true,
            }
        }
        granted
    }
}

/// Every class, those of services first. `parts` are the identities that selectors tell apart.
pub(super) fn classes(authorizer: &Authorizer, parts: &[&IdentityPart]) -> Result<Vec<CallerClass>, Diagnostic> {
    let mut ids: Vec<SpiffeId> = authorizer.inventory.services().iter().flat_map(|s| s.identities.iter().cloned()).collect();
    let mut patterns: BTreeSet<IdPattern> = authorizer.inventory.services().iter().flat_map(|s| s.patterns.iter().cloned()).collect();
    for atom in authorizer.table.caller_atoms() {
        match atom {
            CallerAtom::Identity(id) => ids.push(id.clone()),
            CallerAtom::Pattern(pattern) => drop(patterns.insert(pattern.clone())),
            _ => {}
        }
    }
    for part in parts {
        match part {
            IdentityPart::Id(id) => ids.push(id.clone()),
            IdentityPart::Pattern(pattern) => drop(patterns.insert(pattern.clone())),
            IdentityPart::AnyAuthenticated | IdentityPart::Strangers => {}
        }
    }
    let representatives = representatives(&ids, patterns)?;
    ids.extend(representatives);
    let mut out: BTreeMap<(usize, Vec<u32>, Vec<bool>), CallerClass> = BTreeMap::new();
    for id in ids {
        let service = authorizer.inventory.identify(&id);
        let atoms = authorizer.table.callers(service, &id);
        let mut sorted = atoms.to_vec();
        sorted.sort_unstable();
        let told_apart = parts.iter().map(|part| part.covers(service.is_some(), &id)).collect();
        let key = (service.unwrap_or(usize::MAX), sorted, told_apart);
        out.entry(key).or_insert_with(|| CallerClass { service, id, atoms, whole: false, calls: OnceCell::new() });
    }
    let mut out: Vec<CallerClass> = out.into_values().collect();
    let mut of_service: BTreeMap<Option<usize>, usize> = BTreeMap::new();
    for class in &out {
        *of_service.entry(class.service).or_default() += 1;
    }
    for class in &mut out {
        class.whole = class.service.is_some() && of_service.get(&class.service) == Some(&1);
    }
    Ok(out)
}

/// One identity for each way in which patterns meet, and one of a trust domain that nobody names.
fn representatives(ids: &[SpiffeId], patterns: BTreeSet<IdPattern>) -> Result<Vec<SpiffeId>, Diagnostic> {
    let mut domains: BTreeSet<TrustDomain> = patterns.iter().filter_map(|p| p.trust_domain().parse().ok()).collect();
    domains.extend(ids.iter().filter_map(|id| id.trust_domain().parse().ok()));
    let words: BTreeSet<&str> =
        patterns.iter().flat_map(|p| p.segments().flatten()).chain(ids.iter().flat_map(|id| id.path().split('/'))).collect();
    let word = fresh("x", |word| words.contains(word));
    let depth = patterns.iter().map(|p| p.segments().count()).max().unwrap_or_default() + 2;
    let nowhere = fresh("elsewhere.example", |name| domains.iter().any(|d| d.as_str() == name));
    domains.extend(nowhere.parse().ok());

    let mut all = patterns;
    all.extend(domains.into_iter().map(IdPattern::whole_domain));
    let mut open: Vec<IdPattern> = all.iter().cloned().collect();
    while let Some(pattern) = open.pop() {
        let met: Vec<IdPattern> = all.iter().filter_map(|other| pattern.meet(other)).collect();
        open.extend(met.into_iter().filter(|meeting| all.insert(meeting.clone())));
        if all.len() > CALLER_PATTERNS_MAX {
            return Err(Diagnostic::error(
                "too-many-patterns",
                format!("the patterns of identities meet in more than {CALLER_PATTERNS_MAX} ways, so nothing can be proved about callers"),
            )
            .help("use fewer patterns that overlap each other; name services or groups instead"));
        }
    }
    Ok(all.iter().filter_map(|p| p.example_of(&word, depth).or_else(|| p.example_of(&word, 1))).collect())
}

/// The word, or the first of `word0`, `word1`, … that is not taken.
pub(super) fn fresh(word: &str, taken: impl Fn(&str) -> bool) -> String {
    let numbered = (0_u64..).map(|n| format!("{word}{n}"));
    std::iter::once(word.to_owned()).chain(numbered).find(|w| !taken(w)).unwrap_or_default()
}
