//! The decision table: which policies concern a request, found by a few look-ups whatever the size of the policy.
//!
//! A policy's scope is a set of callers and a set of operations. Both are written as *atoms* (a service, a group, one
//! identity, one operation, all operations of a service, …), and a policy is entered under each pair of its atoms, never
//! under each caller and operation. A request belongs to a handful of atoms on each side; the cells of those pairs hold
//! exactly the policies whose scope covers it. Absence of a cell means that nothing concerns the request: denied by default.
//!
//! INVARIANT: keys are integers compared in full. There is nothing to fill by asking, so nothing grows with traffic.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::decision::Effect;
use crate::id::{IdPattern, SpiffeId};
use crate::inventory::Inventory;
use crate::limits::METHODS_MAX;
use crate::request::{Method, Target};

type FixedState = foldhash::fast::FixedState;

/// Who a policy is for, in one word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CallerAtom {
    /// Anybody with an identity, of the inventory or not.
    Anyone,
    /// Any identity of the inventory.
    AnyAuthenticated,
    Service(usize),
    Group(Box<str>),
    Identity(SpiffeId),
    Pattern(IdPattern),
}

/// What a policy is about, in one word. *Declared* leaves out undeclared paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TargetAtom {
    Anything,
    Service { service: usize, declared: bool },
    Group { group: Box<str>, declared: bool },
    Operation { service: usize, operation: usize },
    Undeclared { service: usize },
}

/// The methods a policy covers, as bits. L4 connections are a method of their own here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MethodMask(u32);

impl MethodMask {
    pub(crate) const ALL: Self = Self(u32::MAX);
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn contains(self, bit: MethodBit) -> bool {
        self.0 & 1 << bit.0 != 0
    }

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One method's bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MethodBit(u8);

impl MethodBit {
    pub(crate) const fn mask(self) -> MethodMask {
        MethodMask(1 << self.0)
    }
}

/// The methods that policies of a bundle tell apart; all others share the last bit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Methods(Vec<Method>);

impl Methods {
    /// Interns a method. `None` where there are too many.
    pub(crate) fn intern(&mut self, method: &Method) -> Option<MethodBit> {
        if let Some(bit) = self.known(method) {
            return Some(bit);
        }
        if self.0.len() + 1 >= METHODS_MAX {
            return None;
        }
        self.0.push(method.clone());
        self.known(method)
    }

    fn known(&self, method: &Method) -> Option<MethodBit> {
        // Bit 0 stands for connections.
        let index = self.0.iter().position(|m| m == method)?;
        u8::try_from(index + 1).ok().map(MethodBit)
    }

    /// The bit of a method, named by a policy or not.
    pub(crate) fn bit_of(&self, method: &Method) -> MethodBit {
        self.known(method).unwrap_or(OTHER)
    }

    /// The bit of what is asked.
    pub(crate) fn bit(&self, target: &Target) -> MethodBit {
        match target {
            Target::Connect { .. } => CONNECT,
            Target::Http { method, .. } => self.bit_of(method),
        }
    }

    /// The method of a bit, for witnesses; `None` for connections and for all others.
    pub(crate) fn method(&self, bit: MethodBit) -> Option<&Method> {
        self.0.get(usize::from(bit.0).checked_sub(1)?)
    }

    /// Every bit: connections, each known method, all others.
    pub(crate) fn bits(&self) -> impl Iterator<Item = MethodBit> {
        let known = u8::try_from(self.0.len()).unwrap_or_default();
        (0..=known).map(MethodBit).chain([OTHER])
    }
}

/// A connection to a port.
pub(crate) const CONNECT: MethodBit = MethodBit(0);
/// Any method that no policy and no operation names.
pub(crate) const OTHER: MethodBit = MethodBit(31);

/// A policy in a cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// Its position among the policies, which are sorted by id.
    pub(crate) policy: u32,
    pub(crate) methods: MethodMask,
    pub(crate) effect: Effect,
    pub(crate) conditional: bool,
}

/// A policy's scope, as it is entered.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) callers: Vec<CallerAtom>,
    pub(crate) targets: Vec<TargetAtom>,
    pub(crate) methods: MethodMask,
}

/// The cells.
#[derive(Debug, Default)]
pub(crate) struct Table {
    callers: BTreeMap<CallerAtom, u32>,
    targets: BTreeMap<TargetAtom, u32>,
    cells: HashMap<(u32, u32), Vec<Entry>, FixedState>,
    identities: HashMap<SpiffeId, u32, FixedState>,
    patterns: Vec<(IdPattern, u32)>,
    /// For each service: the atoms every one of its identities has.
    service_callers: Vec<SmallVec<[u32; 6]>>,
    stranger_callers: SmallVec<[u32; 6]>,
    /// For each service: the atoms of its undeclared operation, and of each declared one.
    undeclared_targets: Vec<SmallVec<[u32; 6]>>,
    operation_targets: Vec<Vec<SmallVec<[u32; 6]>>>,
}

/// The atoms on one side of a request.
pub(crate) type Atoms = SmallVec<[u32; 6]>;

impl Table {
    /// Enters every policy under each pair of its atoms.
    pub(crate) fn build(inventory: &Inventory, policies: &[(Scope, Effect, bool)]) -> Self {
        let mut table = Self::default();
        for (index, (scope, effect, conditional)) in policies.iter().enumerate() {
            let Ok(policy) = u32::try_from(index) else { break };
            let entry = Entry { policy, methods: scope.methods, effect: *effect, conditional: *conditional };
            let callers: Vec<u32> = scope.callers.iter().map(|a| intern(&mut table.callers, a)).collect();
            for target in &scope.targets {
                let target = intern(&mut table.targets, target);
                for caller in &callers {
                    table.cells.entry((*caller, target)).or_default().push(entry);
                }
            }
        }
        table.index(inventory);
        table
    }

    fn index(&mut self, inventory: &Inventory) {
        for (atom, id) in &self.callers {
            match atom {
                CallerAtom::Identity(identity) => drop(self.identities.insert(identity.clone(), *id)),
                CallerAtom::Pattern(pattern) => self.patterns.push((pattern.clone(), *id)),
                _ => {}
            }
        }
        let caller = |atom: CallerAtom| self.callers.get(&atom).copied();
        self.stranger_callers = caller(CallerAtom::Anyone).into_iter().collect();
        for (index, service) in inventory.services().iter().enumerate() {
            let own = [CallerAtom::Anyone, CallerAtom::AnyAuthenticated, CallerAtom::Service(index)];
            let groups = service.groups.iter().map(|g| CallerAtom::Group(g.clone()));
            self.service_callers.push(own.into_iter().chain(groups).filter_map(caller).collect());

            let target = |atom: TargetAtom| self.targets.get(&atom).copied();
            let all = |declared: bool| {
                let own = TargetAtom::Service { service: index, declared };
                std::iter::once(own).chain(service.groups.iter().map(move |g| TargetAtom::Group { group: g.clone(), declared }))
            };
            let wide: Atoms = std::iter::once(TargetAtom::Anything).chain(all(false)).filter_map(target).collect();
            let undeclared = target(TargetAtom::Undeclared { service: index });
            self.undeclared_targets.push(wide.iter().copied().chain(undeclared).collect());
            let declared: Atoms = wide.into_iter().chain(all(true).filter_map(target)).collect();
            let each = (0..service.operations.len()).map(|operation| {
                let own = target(TargetAtom::Operation { service: index, operation });
                declared.iter().copied().chain(own).collect()
            });
            self.operation_targets.push(each.collect());
        }
    }

    /// The caller's atoms.
    pub(crate) fn callers(&self, service: Option<usize>, id: &SpiffeId) -> Atoms {
        let mut out = self.service_atoms(service).clone();
        if !self.identities.is_empty() {
            out.extend(self.identities.get(id).copied());
        }
        out.extend(self.patterns.iter().filter(|(p, _)| p.matches(id)).map(|(_, atom)| *atom));
        out
    }

    /// The atoms that every identity of a service has (`None`: identities outside the inventory).
    pub(crate) fn service_atoms(&self, service: Option<usize>) -> &Atoms {
        service.and_then(|s| self.service_callers.get(s)).unwrap_or(&self.stranger_callers)
    }

    /// The atoms that some identity accepted by `belongs` has beyond those of its service.
    pub(crate) fn identity_atoms(&self, belongs: impl Fn(&CallerAtom) -> bool) -> Atoms {
        self.callers
            .iter()
            .filter(|(atom, _)| matches!(atom, CallerAtom::Identity(_) | CallerAtom::Pattern(_)) && belongs(atom))
            .map(|(_, id)| *id)
            .collect()
    }

    /// The atoms of an operation, or of a service's undeclared one.
    pub(crate) fn targets(&self, service: usize, operation: Option<usize>) -> &[u32] {
        let found = match operation {
            Some(operation) => self.operation_targets.get(service).and_then(|o| o.get(operation)),
            None => self.undeclared_targets.get(service),
        };
        found.map(SmallVec::as_slice).unwrap_or_default()
    }

    /// For each caller atom, the target atoms under which a grant is entered with it.
    pub(crate) fn granted_targets(&self) -> BTreeMap<u32, Vec<&TargetAtom>> {
        let names: BTreeMap<u32, &TargetAtom> = self.targets.iter().map(|(atom, id)| (*id, atom)).collect();
        let mut out: BTreeMap<u32, Vec<&TargetAtom>> = BTreeMap::new();
        for ((caller, target), entries) in &self.cells {
            if let (true, Some(atom)) = (entries.iter().any(|e| e.effect == Effect::Allow), names.get(target)) {
                out.entry(*caller).or_default().push(atom);
            }
        }
        out
    }

    /// Every policy entered for these atoms and this method. One policy may come more than once.
    pub(crate) fn entries<'a>(&'a self, callers: &'a [u32], targets: &'a [u32], method: MethodBit) -> impl Iterator<Item = &'a Entry> {
        callers
            .iter()
            .flat_map(move |caller| targets.iter().filter_map(move |target| self.cells.get(&(*caller, *target))))
            .flatten()
            .filter(move |entry| entry.methods.contains(method))
    }
}

fn intern<A: Ord + Clone>(atoms: &mut BTreeMap<A, u32>, atom: &A) -> u32 {
    if let Some(id) = atoms.get(atom) {
        return *id;
    }
    let id = u32::try_from(atoms.len()).unwrap_or(u32::MAX);
    atoms.insert(atom.clone(), id);
    id
}
