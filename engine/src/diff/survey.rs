//! Goes through all cells in which two bundles could differ, and compares each.
//!
//! A service is passed over where nothing that bears on requests to it differs: its own declaration, the policies about it,
//! and the callers that those policies could tell apart. This loses nothing. The answer to a request follows from the caller's
//! service and groups, the operation, the attributes made visible, and the policies whose scope names any of them; where all
//! of these are the same by name in both bundles, the same policies concern the request, and they say the same of it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use hashbrown::HashMap;

use crate::algebra::cell::{Compared, Side, compare};
use crate::algebra::diagram::TooLarge;
use crate::algebra::law::{Clause, Law, Methods, Term, Who};
use crate::algebra::opaque::{Opaque, Shown};
use crate::algebra::principal::{Principal, Principals};
use crate::algebra::target::{TargetKind, targets};
use crate::limits::CELLS_MAX;
use crate::model::{Endpoint, Operation, Service, Visible};
use crate::request::Method;

type FixedState = foldhash::fast::FixedState;

/// One cell in which the bundles differ, or may.
#[derive(Debug)]
pub(crate) struct Found {
    /// The name of the called service.
    pub(crate) service: Box<str>,
    pub(crate) target: Rc<TargetKind>,
    /// The callers, by number; all of them are treated alike.
    pub(crate) callers: Vec<u32>,
    /// The policies of each side, by number, in the order that `compared` counts.
    pub(crate) clauses: [Vec<u32>; 2],
    pub(crate) compared: Rc<Compared>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) found: Vec<Found>,
    /// What could not be compared, in words.
    pub(crate) unexplored: Vec<String>,
    /// The methods told apart, for each service with differences.
    pub(crate) methods: BTreeMap<Box<str>, BTreeSet<Method>>,
}

/// Goes through all cells.
pub(crate) fn survey(laws: [&Law<'_>; 2], principals: &Principals) -> Survey {
    let names: BTreeSet<&Box<str>> = laws.iter().flat_map(|law| law.services()).map(|s| &s.name).collect();
    let mut surveyor = Surveyor {
        laws,
        principals,
        twins: twins(laws),
        moved: Moved::new(laws, principals),
        memo: HashMap::default(),
        visible: Vec::new(),
        cells: 0,
        survey: Survey::default(),
    };
    for name in names {
        let services = laws.map(|law| law.authorizer.service(name));
        // What is compared below are canonical paths; here another raw path may become one.
        if let [Some(old), Some(new)] = services
            && old.paths != new.paths
        {
            let (old, new) = (old.paths, new.paths);
            surveyor.survey.unexplored.push(format!("requests to `{name}` that `{old}` and `{new}` read differently"));
        }
        if surveyor.may_differ(services)
            && let Err(TooLarge) = surveyor.service(name, services)
        {
            surveyor.survey.unexplored.push(format!("requests to `{name}`: {TooLarge}"));
        }
    }
    surveyor.survey
}

/// For each policy of the old bundle the one of the new bundle that is the same in name, scope and condition.
fn twins(laws: [&Law<'_>; 2]) -> HashMap<u32, u32, FixedState> {
    let [old, new] = laws;
    let ids: HashMap<&str, u32, FixedState> = (0..).zip(&new.clauses).map(|(n, c)| (&*c.policy.id, n)).collect();
    let same = |a: &Clause<'_>, b: &Clause<'_>| {
        let terms = match (&a.term, &b.term) {
            (Term::Always, Term::Always) => true,
            (Term::Native(a), Term::Native(b)) => a == b,
            (Term::Opaque(a), Term::Opaque(b)) => a == b,
            _ => false,
        };
        terms && a.policy.effect == b.policy.effect && a.who == b.who && a.what == b.what && a.methods == b.methods
    };
    let pair = |(n, clause): (u32, &Clause<'_>)| {
        let twin = *ids.get(&*clause.policy.id)?;
        new.clause(twin).filter(|other| same(clause, other)).map(|_| (n, twin))
    };
    (0..).zip(&old.clauses).filter_map(pair).collect()
}

/// How callers differ between the bundles.
struct Moved {
    /// Callers that some policy may name and that some identity is in one bundle and not in the other.
    whos: BTreeSet<Who>,
    /// Whether opaque conditions are shown anything else of some caller.
    facts: bool,
    /// For each kind of caller: whether it has the same service by name, and whether that looks the same.
    sights: Vec<(bool, bool)>,
}

impl Moved {
    fn new(laws: [&Law<'_>; 2], principals: &Principals) -> Self {
        let mut out = Self { whos: BTreeSet::new(), facts: false, sights: Vec::new() };
        for kind in &principals.kinds {
            let services = both(laws, kind);
            let [old, new] = services.map(|s| s.map(whos).unwrap_or_default());
            out.whos.extend(old.symmetric_difference(&new).cloned());
            let [a, b] = services;
            let name = a.map(|s| &s.name) == b.map(|s| &s.name);
            let looks = name && a.zip(b).is_none_or(|(a, b)| same_look(a, b));
            out.facts |= !looks;
            out.sights.push((name, looks));
        }
        out
    }
}

fn both<'a>(laws: [&Law<'a>; 2], kind: &Principal) -> [Option<&'a Service>; 2] {
    let [old, new] = laws;
    let [a, b] = kind.services;
    [old.service(a), new.service(b)]
}

fn whos(service: &Service) -> BTreeSet<Who> {
    let groups = service.groups.iter().map(|g| Who::Group(g.clone()));
    groups.chain([Who::Service(service.name.clone()), Who::Authenticated]).collect()
}

fn same_look(a: &Service, b: &Service) -> bool {
    a.zone == b.zone && a.owner == b.owner && a.data == b.data && a.labels == b.labels && a.groups == b.groups
}

fn same_visible(a: &Visible, b: &Visible) -> bool {
    a.headers == b.headers && a.query == b.query && a.claims == b.claims
}

fn same_operation(a: &Operation, b: &Operation) -> bool {
    let endpoints = match (&a.endpoint, &b.endpoint) {
        (Endpoint::Http { methods: m, path: p }, Endpoint::Http { methods: n, path: q }) => m == n && p == q,
        (Endpoint::Connect { port: p }, Endpoint::Connect { port: q }) => p == q,
        _ => false,
    };
    endpoints && a.id == b.id && a.data == b.data
}

/// Whether a service is declared alike as far as requests to it are concerned.
pub(crate) fn same_declaration(old: Option<&Service>, new: Option<&Service>) -> bool {
    match (old, new) {
        (Some(a), Some(b)) => {
            let operations =
                a.operations.len() == b.operations.len() && a.operations.iter().zip(&b.operations).all(|(a, b)| same_operation(a, b));
            operations && same_visible(&a.visible, &b.visible) && a.groups == b.groups && a.paths == b.paths
        }
        (None, None) => true,
        _ => false,
    }
}

/// What callers of one block have in common: the policies that concern them, and how they look to opaque conditions.
type Alike = ([Vec<u32>; 2], (bool, bool));

/// Visible pairs, policies, and which opaque questions are one: all that a comparison depends on.
type Key = (usize, [Vec<u32>; 2], Vec<Option<usize>>);

struct Surveyor<'l, 'a> {
    laws: [&'l Law<'a>; 2],
    principals: &'l Principals,
    twins: HashMap<u32, u32, FixedState>,
    moved: Moved,
    memo: HashMap<Key, Rc<Compared>, FixedState>,
    /// The pairs of visible attributes met so far; their positions are part of the keys of `memo`.
    visible: Vec<[Option<&'a Visible>; 2]>,
    cells: usize,
    survey: Survey,
}

impl<'l, 'a> Surveyor<'l, 'a> {
    /// Whether the bundles could answer some request to this service differently.
    fn may_differ(&self, services: [Option<&'a Service>; 2]) -> bool {
        let [Some(old), Some(new)] = services else { return true };
        let [old_law, new_law] = self.laws;
        if !same_declaration(Some(old), Some(new)) {
            return true;
        }
        let (before, after) = (old_law.about_service(old), new_law.about_service(new));
        let still: BTreeSet<u32> = before.iter().filter_map(|n| self.twins.get(n)).copied().collect();
        if still.len() != before.len() || before.len() != after.len() || !after.iter().all(|n| still.contains(n)) {
            return true;
        }
        let clauses = || before.iter().filter_map(|n| old_law.clause(*n));
        let shifted = !self.moved.whos.is_empty() && clauses().any(|c| c.who.iter().any(|w| self.moved.whos.contains(w)));
        shifted || clauses().any(|c| self.may_be_shown_otherwise(c, old, new))
    }

    /// Whether an opaque condition, the same in both bundles, could see anything else in one of them.
    fn may_be_shown_otherwise(&self, clause: &Clause<'_>, old: &Service, new: &Service) -> bool {
        let Term::Opaque(opaque) = &clause.term else { return false };
        let [a, b] = self.laws;
        let shown = |law: &Law<'a>, callee| Shown { authorizer: law.authorizer, caller: None, callee, operation: None };
        self.moved.facts || !opaque.same(opaque, &shown(a, old), &shown(b, new))
    }

    fn service(&mut self, name: &str, services: [Option<&'a Service>; 2]) -> Result<(), TooLarge> {
        let mut methods = BTreeSet::new();
        for (law, service) in self.laws.iter().zip(services) {
            let about = service.map(|s| law.about_service(s)).unwrap_or_default();
            for clause in about.iter().filter_map(|n| law.clause(*n)) {
                if let Methods::Only { methods: named, .. } = &clause.methods {
                    methods.extend(named.iter().cloned());
                }
            }
        }
        let before = self.survey.found.len();
        let visible = self.visible_pair(services);
        for target in targets(self.laws, services, &methods)? {
            self.target(name, services, visible, &Rc::new(target))?;
        }
        if self.survey.found.len() > before {
            let offered = services.into_iter().flatten().flat_map(|s| &s.operations);
            methods.extend(
                offered
                    .filter_map(|o| if let Endpoint::Http { methods, .. } = &o.endpoint { Some(methods) } else { None })
                    .flatten()
                    .cloned(),
            );
            self.survey.methods.insert(name.into(), methods);
        }
        Ok(())
    }

    fn target(&mut self, name: &str, services: [Option<&'a Service>; 2], visible: usize, target: &Rc<TargetKind>) -> Result<(), TooLarge> {
        let mut about: [Vec<u32>; 2] = Default::default();
        let mut operations = [None, None];
        let sides = about.iter_mut().zip(&mut operations).zip(self.laws.iter().zip(services).zip(target.operations));
        for ((about, operation), ((law, service), position)) in sides {
            let Some(service) = service else { continue };
            *operation = position.and_then(|p| service.operations.get(p));
            *about = law.about(service, *operation);
            about.retain(|n| law.clause(*n).is_some_and(|c| c.methods.contains(&target.target)));
        }
        for block in self.blocks(&about).into_iter().filter(|b| b.clauses.iter().any(|c| !c.is_empty())) {
            self.cells += 1;
            if self.cells > CELLS_MAX {
                return Err(TooLarge);
            }
            let compared = self.compared(&block, services, operations, visible)?;
            if !compared.is_same() {
                let callers = if block.rest { self.rest(&about, block.caller) } else { block.callers };
                self.survey.found.push(Found {
                    service: name.into(),
                    target: Rc::clone(target),
                    callers,
                    clauses: block.clauses,
                    compared,
                });
            }
        }
        Ok(())
    }

    /// The kinds of caller, taken together as the policies about a target treat them alike.
    fn blocks(&self, about: &[Vec<u32>; 2]) -> Vec<Block> {
        let named = self.named(about);
        let mut blocks: BTreeMap<Alike, Vec<u32>> = BTreeMap::new();
        for (caller, clauses) in &named {
            blocks.entry((self.concerning(*caller, about, clauses), self.sight(*caller))).or_default().push(*caller);
        }
        let mut out: Vec<Block> = blocks
            .into_iter()
            .filter_map(|((clauses, _), callers)| Some(Block { clauses, caller: *callers.first()?, callers, rest: false }))
            .collect();
        // All others are told apart by nothing but whether they belong to a service, and how that looks.
        let mut seen: BTreeSet<([bool; 2], (bool, bool))> = BTreeSet::new();
        for (caller, _) in (0_u32..).zip(&self.principals.kinds).filter(|(n, _)| !named.contains_key(n)) {
            if seen.insert((self.belongs(caller), self.sight(caller))) {
                let clauses = self.concerning(caller, about, &Default::default());
                out.push(Block { clauses, caller, callers: Vec::new(), rest: true });
            }
        }
        out
    }

    /// For each kind of caller that the policies name (not just as anyone): which of them.
    fn named(&self, about: &[Vec<u32>; 2]) -> BTreeMap<u32, [BTreeSet<u32>; 2]> {
        let mut out: BTreeMap<u32, [BTreeSet<u32>; 2]> = BTreeMap::new();
        for (side, numbers) in about.iter().enumerate() {
            let Some(law) = self.laws.get(side) else { continue };
            for (number, clause) in numbers.iter().filter_map(|n| Some((*n, law.clause(*n)?))) {
                for caller in clause.who.iter().filter_map(|w| self.principals.members(side, w)).flatten() {
                    if let Some(set) = out.entry(*caller).or_default().get_mut(side) {
                        set.insert(number);
                    }
                }
            }
        }
        out
    }

    fn belongs(&self, caller: u32) -> [bool; 2] {
        self.principals.kind(caller).map(|k| k.services.map(|s| s.is_some())).unwrap_or_default()
    }

    fn sight(&self, caller: u32) -> (bool, bool) {
        self.moved.sights.get(caller as usize).copied().unwrap_or_default()
    }

    /// The policies about a target that concern a caller: those that name it, and those for all.
    fn concerning(&self, caller: u32, about: &[Vec<u32>; 2], named: &[BTreeSet<u32>; 2]) -> [Vec<u32>; 2] {
        let belongs = self.belongs(caller);
        let mut out: [Vec<u32>; 2] = Default::default();
        for (side, found) in out.iter_mut().enumerate() {
            let (Some(law), Some(about), Some(named), Some(belongs)) =
                (self.laws.get(side), about.get(side), named.get(side), belongs.get(side))
            else {
                continue;
            };
            let wide = |c: &Clause<'_>| c.who.iter().any(|w| matches!(w, Who::Anyone) || *belongs && matches!(w, Who::Authenticated));
            found.extend(about.iter().filter(|n| named.contains(n) || law.clause(**n).is_some_and(wide)));
        }
        out
    }

    /// The callers that no policy names and that are like this one.
    fn rest(&self, about: &[Vec<u32>; 2], like: u32) -> Vec<u32> {
        let named = self.named(about);
        let (belongs, sight) = (self.belongs(like), self.sight(like));
        let all = (0_u32..).zip(&self.principals.kinds).map(|(n, _)| n);
        all.filter(|n| !named.contains_key(n) && self.belongs(*n) == belongs && self.sight(*n) == sight).collect()
    }

    fn compared(
        &mut self,
        block: &Block,
        services: [Option<&'a Service>; 2],
        operations: [Option<&'a Operation>; 2],
        visible: usize,
    ) -> Result<Rc<Compared>, TooLarge> {
        let [old_law, new_law] = self.laws;
        let [old, new] = &block.clauses;
        let old: Vec<&Clause<'a>> = old.iter().filter_map(|n| old_law.clause(*n)).collect();
        let new: Vec<&Clause<'a>> = new.iter().filter_map(|n| new_law.clause(*n)).collect();
        let questions = self.questions(block.caller, [&old, &new], services, operations);
        let assumed = assumed([&old, &new], &questions);
        let key = (visible, block.clauses.clone(), [questions.concat(), assumed.clone()].concat());
        if let Some(known) = self.memo.get(&key) {
            return Ok(Rc::clone(known));
        }
        let [old_service, new_service] = services;
        let [old_questions, new_questions] = &questions;
        let sides = [
            Side { visible: old_service.map(|s| &s.visible), clauses: &old, questions: old_questions },
            Side { visible: new_service.map(|s| &s.visible), clauses: &new, questions: new_questions },
        ];
        let compared = Rc::new(compare(sides, &assumed)?);
        self.memo.insert(key, Rc::clone(&compared));
        Ok(compared)
    }

    /// Numbers the opaque questions of a cell; two that are sure to be answered alike share a number.
    fn questions(
        &self,
        caller: u32,
        clauses: [&[&Clause<'a>]; 2],
        services: [Option<&'a Service>; 2],
        operations: [Option<&'a Operation>; 2],
    ) -> [Vec<Option<usize>>; 2] {
        let callers = self.principals.kind(caller).map(|k| both(self.laws, k)).unwrap_or_default();
        let mut shown = [None, None];
        for (side, out) in shown.iter_mut().enumerate() {
            *out = self.laws.get(side).zip(services.get(side).copied().flatten()).map(|(law, callee)| Shown {
                authorizer: law.authorizer,
                caller: callers.get(side).copied().flatten(),
                callee,
                operation: operations.get(side).copied().flatten(),
            });
        }
        let mut known: Vec<(&Opaque, Shown<'_>)> = Vec::new();
        let mut out: [Vec<Option<usize>>; 2] = Default::default();
        for ((clauses, out), shown) in clauses.into_iter().zip(&mut out).zip(shown) {
            for clause in clauses {
                let (Term::Opaque(opaque), Some(shown)) = (&clause.term, shown) else {
                    out.push(None);
                    continue;
                };
                let number = known.iter().position(|(other, there)| other.same(opaque, there, &shown)).unwrap_or(known.len());
                if number == known.len() {
                    known.push((opaque, shown));
                }
                out.push(Some(number));
            }
        }
        out
    }

    /// A number for what the two bundles make visible of requests to a service.
    fn visible_pair(&mut self, services: [Option<&'a Service>; 2]) -> usize {
        let pair = services.map(|s| s.map(|s| &s.visible));
        let same = |a: Option<&Visible>, b: Option<&Visible>| match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => same_visible(a, b),
            _ => false,
        };
        let [old, new] = pair;
        let known = self.visible.iter().position(|[a, b]| same(*a, old) && same(*b, new));
        known.unwrap_or_else(|| {
            self.visible.push(pair);
            self.visible.len() - 1
        })
    }
}

/// The questions of the new side as if each opaque condition still said what the one of the same name in the old bundle does.
fn assumed(clauses: [&[&Clause<'_>]; 2], questions: &[Vec<Option<usize>>; 2]) -> Vec<Option<usize>> {
    let [old, new] = clauses;
    let [old_questions, new_questions] = questions;
    let one = |(clause, own): (&&Clause<'_>, &Option<usize>)| {
        let before = old.iter().zip(old_questions).find(|(c, _)| c.policy.id == clause.policy.id).and_then(|(_, question)| *question);
        own.map(|own| before.unwrap_or(own))
    };
    new.iter().zip(new_questions).map(one).collect()
}

/// Callers that the policies about one target treat alike.
struct Block {
    clauses: [Vec<u32>; 2],
    /// One of the callers.
    caller: u32,
    callers: Vec<u32>,
    /// Whether they are all those that are named by no policy; `callers` is then not filled in.
    rest: bool,
}
