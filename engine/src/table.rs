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
use crate::id::{IdPattern, PatternIndex, SpiffeId};
use crate::inventory::Inventory;
use crate::limits::METHODS_MAX;
use crate::request::{METHODS, Method, TargetRef};

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
#[derive(Clone, Debug)]
pub(crate) struct Methods {
    /// By bit, from the second on: the first stands for connections.
    named: Vec<Method>,
    /// The bits of [`METHODS`], so that these are not looked for one by one.
    known: [MethodBit; METHODS.len()],
}

impl Default for Methods {
    fn default() -> Self {
        Self { named: Vec::new(), known: [OTHER; METHODS.len()] }
    }
}

impl Methods {
    /// Interns a method. `None` where there are too many.
    pub(crate) fn intern(&mut self, method: &Method) -> Option<MethodBit> {
        let bit = self.bit_of(method);
        if bit != OTHER {
            return Some(bit);
        }
        // Bit 0 stands for connections.
        let bit = u8::try_from(self.named.len() + 1).ok().filter(|bit| usize::from(*bit) < METHODS_MAX).map(MethodBit)?;
        self.named.push(method.clone());
        if let Some(place) = method.known().and_then(|known| self.known.get_mut(usize::from(known))) {
            *place = bit;
        }
        Some(bit)
    }

    /// The bit of a method, named by a policy or not.
    pub(crate) fn bit_of(&self, method: &Method) -> MethodBit {
        match method.known() {
            Some(known) => self.known.get(usize::from(known)).copied().unwrap_or(OTHER),
            None => {
                let index = self.named.iter().position(|m| m == method);
                index.and_then(|index| u8::try_from(index + 1).ok()).map_or(OTHER, MethodBit)
            }
        }
    }

    /// The bit of what is asked.
    pub(crate) fn bit(&self, target: TargetRef<'_>) -> MethodBit {
        match target {
            TargetRef::Connect { .. } => CONNECT,
            TargetRef::Http { method, .. } => self.bit_of(method),
        }
    }

    /// The method of a bit, for witnesses; `None` for connections and for all others.
    pub(crate) fn method(&self, bit: MethodBit) -> Option<&Method> {
        self.named.get(usize::from(bit.0).checked_sub(1)?)
    }

    /// Every bit: connections, each known method, all others.
    pub(crate) fn bits(&self) -> impl Iterator<Item = MethodBit> {
        let known = u8::try_from(self.named.len()).unwrap_or_default();
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
    /// For each pair of a caller's atom and a target's: where its entries stand.
    cells: HashMap<u64, Cell, FixedState>,
    /// What does not fit into the cells.
    entries: Vec<Entry>,
    identities: HashMap<SpiffeId, u32, FixedState>,
    patterns: PatternIndex<u32>,
    /// For each service: the atoms every one of its identities has.
    service_callers: Vec<Atoms>,
    stranger_callers: Atoms,
    /// For each service the number of its undeclared operation; its declared ones follow.
    first_operations: Vec<u32>,
    operations: Vec<Callable>,
    targets_of: Vec<Target>,
}

/// An operation, or a service's undeclared one: its atoms among `targets_of`, and its id.
#[derive(Debug)]
struct Callable {
    from: u32,
    to: u32,
    id: Option<Box<str>>,
}

/// The entries of one cell. Most cells have one, so the first stands in the cell itself.
#[derive(Clone, Copy, Debug)]
struct Cell {
    first: Entry,
    more_from: u32,
    more_to: u32,
}

/// The atoms of a caller.
pub(crate) type Atoms = SmallVec<[u32; 6]>;

/// An atom on the side of what is called, with a hint which callers' atoms have a cell with it.
///
/// The hint saves most look-ups that would find nothing: a caller's atom without its bit there has no cell here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    atom: u32,
    callers: u64,
}

const fn key(caller: u32, target: u32) -> u64 {
    (caller as u64) << 32 | target as u64
}

/// The bit of a caller's atom in [`Target::callers`].
const fn hint(caller: u32) -> u64 {
    1 << (caller % u64::BITS)
}

impl Table {
    /// Enters every policy under each pair of its atoms.
    pub(crate) fn build(inventory: &Inventory, policies: &[(Scope, Effect, bool)]) -> Self {
        let mut table = Self::default();
        let mut entered: Vec<(u64, Entry)> = Vec::with_capacity(policies.len());
        for (index, (scope, effect, conditional)) in policies.iter().enumerate() {
            let Ok(policy) = u32::try_from(index) else { break };
            let entry = Entry { policy, methods: scope.methods, effect: *effect, conditional: *conditional };
            let callers: SmallVec<[u32; 8]> = scope.callers.iter().map(|a| intern(&mut table.callers, a)).collect();
            for target in &scope.targets {
                let target = intern(&mut table.targets, target);
                entered.extend(callers.iter().map(|caller| (key(*caller, target), entry)));
            }
        }
        entered.sort_unstable_by_key(|(key, entry)| (*key, entry.policy));
        for group in entered.chunk_by(|(a, _), (b, _)| a == b) {
            let Some(((key, first), more)) = group.split_first() else { continue };
            let at = |table: &Self| u32::try_from(table.entries.len()).unwrap_or(u32::MAX);
            let more_from = at(&table);
            table.entries.extend(more.iter().map(|(_, entry)| *entry));
            table.cells.insert(*key, Cell { first: *first, more_from, more_to: at(&table) });
        }
        table.index(inventory);
        table
    }

    fn index(&mut self, inventory: &Inventory) {
        for (atom, id) in &self.callers {
            match atom {
                CallerAtom::Identity(identity) => drop(self.identities.insert(identity.clone(), *id)),
                CallerAtom::Pattern(pattern) => self.patterns.insert(pattern, *id),
                _ => {}
            }
        }
        let mut hints = vec![0_u64; self.targets.len()];
        for key in self.cells.keys() {
            let (caller, target) = ((*key >> 32) as u32, *key as u32);
            if let Some(hints) = hints.get_mut(target as usize) {
                *hints |= hint(caller);
            }
        }
        let (mut first_operations, mut operations, mut targets_of) = (Vec::new(), Vec::new(), Vec::new());
        let caller = |atom: CallerAtom| self.callers.get(&atom).copied();
        self.stranger_callers = caller(CallerAtom::Anyone).into_iter().collect();
        for (index, service) in inventory.services().iter().enumerate() {
            let own = [CallerAtom::Anyone, CallerAtom::AnyAuthenticated, CallerAtom::Service(index)];
            let groups = service.groups.iter().map(|g| CallerAtom::Group(g.clone()));
            self.service_callers.push(own.into_iter().chain(groups).filter_map(caller).collect());

            let target = |atom: TargetAtom| {
                let atom = self.targets.get(&atom).copied()?;
                Some(Target { atom, callers: hints.get(atom as usize).copied()? })
            };
            let all = |declared: bool| {
                let own = TargetAtom::Service { service: index, declared };
                std::iter::once(own).chain(service.groups.iter().map(move |g| TargetAtom::Group { group: g.clone(), declared }))
            };
            let wide: Vec<Target> = std::iter::once(TargetAtom::Anything).chain(all(false)).filter_map(target).collect();
            let declared: Vec<Target> = wide.iter().copied().chain(all(true).filter_map(target)).collect();
            let undeclared = (None, &wide, target(TargetAtom::Undeclared { service: index }));
            let each = service
                .operations
                .iter()
                .enumerate()
                .map(|(operation, o)| (Some(o.id.clone()), &declared, target(TargetAtom::Operation { service: index, operation })));
            let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            first_operations.push(number(operations.len()));
            for (id, shared, own) in std::iter::once(undeclared).chain(each) {
                let from = number(targets_of.len());
                targets_of.extend(shared.iter().copied().chain(own));
                operations.push(Callable { from, to: number(targets_of.len()), id });
            }
        }
        self.first_operations = first_operations;
        self.operations = operations;
        self.targets_of = targets_of;
    }

    /// The caller's atoms, for analyses.
    pub(crate) fn callers(&self, service: Option<usize>, id: &SpiffeId) -> Atoms {
        let mut out = self.service_atoms(service).clone();
        out.extend(self.identities.get(id).copied());
        self.patterns.covering(id, &mut |atom| out.push(atom));
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

    /// Every caller's atom under which some policy is entered.
    pub(crate) fn caller_atoms(&self) -> impl Iterator<Item = &CallerAtom> {
        self.callers.keys()
    }

    fn callable(&self, service: usize, operation: Option<usize>) -> Option<&Callable> {
        let first = *self.first_operations.get(service)? as usize;
        self.operations.get(first + operation.map_or(0, |operation| operation + 1))
    }

    /// The id of a declared operation.
    pub(crate) fn operation_id(&self, service: usize, operation: Option<usize>) -> Option<&str> {
        self.callable(service, Some(operation?))?.id.as_deref()
    }

    /// The atoms of an operation, or of a service's undeclared one.
    pub(crate) fn targets(&self, service: usize, operation: Option<usize>) -> &[Target] {
        let found = self.callable(service, operation);
        found.and_then(|o| self.targets_of.get(o.from as usize..o.to as usize)).unwrap_or_default()
    }

    /// For each caller atom, the target atoms under which a grant is entered with it.
    pub(crate) fn granted_targets(&self) -> BTreeMap<u32, Vec<&TargetAtom>> {
        let names: BTreeMap<u32, &TargetAtom> = self.targets.iter().map(|(atom, id)| (*id, atom)).collect();
        let mut out: BTreeMap<u32, Vec<&TargetAtom>> = BTreeMap::new();
        for (key, cell) in &self.cells {
            let (caller, target) = ((*key >> 32) as u32, *key as u32);
            if let (true, Some(atom)) = (self.cell(cell).any(|e| e.effect == Effect::Allow), names.get(&target)) {
                out.entry(caller).or_default().push(atom);
            }
        }
        out
    }

    fn cell<'c>(&'c self, cell: &'c Cell) -> impl Iterator<Item = &'c Entry> {
        let more = self.entries.get(cell.more_from as usize..cell.more_to as usize).unwrap_or_default();
        std::iter::once(&cell.first).chain(more)
    }

    /// Gives `visit` every policy entered for a request. One policy may come more than once.
    pub(crate) fn concerning(
        &self,
        caller: (Option<usize>, &SpiffeId),
        targets: &[Target],
        method: MethodBit,
        mut visit: impl FnMut(Entry),
    ) {
        let (service, id) = caller;
        let mut look = |caller: u32| {
            for target in targets.iter().filter(|target| target.callers & hint(caller) != 0) {
                let Some(cell) = self.cells.get(&key(caller, target.atom)) else { continue };
                for entry in self.cell(cell).filter(|entry| entry.methods.contains(method)) {
                    visit(*entry);
                }
            }
        };
        self.service_atoms(service).iter().copied().for_each(&mut look);
        if !self.identities.is_empty() {
            self.identities.get(id).copied().into_iter().for_each(&mut look);
        }
        self.patterns.covering(id, &mut look);
    }

    /// Every policy entered for these atoms and this method. One policy may come more than once.
    pub(crate) fn entries<'a>(&'a self, callers: &'a [u32], targets: &'a [Target], method: MethodBit) -> impl Iterator<Item = &'a Entry> {
        let pairs = targets.iter().flat_map(move |target| {
            callers.iter().filter(|caller| target.callers & hint(**caller) != 0).map(|caller| key(*caller, target.atom))
        });
        pairs.filter_map(|key| self.cells.get(&key)).flat_map(|cell| self.cell(cell)).filter(move |entry| entry.methods.contains(method))
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
