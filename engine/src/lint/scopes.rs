//! What lints ask about scopes: whom a permission is for, what it is about, which policies concern one caller and one operation.
//!
//! Everything is exact over all requests (see [`crate::algebra`]), and found by look-ups under pairs of names, as in the decision
//! table, so that the cost grows with the size of scopes and not with the number of permissions about one place.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use crate::algebra::diagram::NONE;
use crate::algebra::law::{Clause, Law, Term, What, Who};
use crate::algebra::principal::Principals;
use crate::algebra::space::Space;
use crate::authorizer::Authorizer;
use crate::model::{Condition, Endpoint, Operation, Service, Visible};
use crate::request::{Method, Target};

type FixedState = foldhash::fast::FixedState;

/// A service and an operation of it (`None`: undeclared paths), by position.
pub(super) type Place = (usize, Option<usize>);

/// The scopes of a bundle.
pub(crate) struct Scopes<'a> {
    pub(super) law: Law<'a>,
    principals: Principals,
    whos: HashMap<Who, u32, FixedState>,
    whats: HashMap<What, u32, FixedState>,
    /// The policies under each pair of names.
    cells: HashMap<(u32, u32), Vec<u32>, FixedState>,
    /// For each kind of caller the names that cover it.
    covers: Vec<Vec<u32>>,
    /// For each policy its names, sorted.
    names: Vec<(Vec<u32>, Vec<u32>)>,
    implied: RefCell<HashMap<Implication, bool, FixedState>>,
}

/// The position of a service that shows what is visible, a policy, and the policies whose conditions may cover its own.
type Implication = (usize, u32, Vec<u32>);

impl<'a> Scopes<'a> {
    /// `None` where there are more kinds of caller than can be told apart.
    pub(crate) fn new(authorizer: &'a Authorizer) -> Option<Self> {
        let law = Law::new(None, authorizer);
        let principals = Principals::new([&law, &law]).ok()?;
        let mut out = Self {
            whos: HashMap::default(),
            whats: HashMap::default(),
            cells: HashMap::default(),
            covers: vec![Vec::new(); principals.kinds.len()],
            names: Vec::with_capacity(law.clauses.len()),
            implied: RefCell::new(HashMap::default()),
            law,
            principals,
        };
        for number in 0..u32::try_from(out.law.clauses.len()).ok()? {
            out.enter(number)?;
        }
        for (who, name) in &out.whos {
            for kind in out.principals.members(0, who).unwrap_or_default() {
                if let Some(names) = out.covers.get_mut(*kind as usize) {
                    names.push(*name);
                }
            }
        }
        let wide = [Who::Anyone, Who::Authenticated].map(|who| out.whos.get(&who).copied());
        for (names, kind) in out.covers.iter_mut().zip(&out.principals.kinds) {
            let [anyone, authenticated] = wide;
            names.extend(anyone);
            names.extend(authenticated.filter(|_| kind.services.iter().any(Option::is_some)));
            names.sort_unstable();
        }
        Some(out)
    }

    fn enter(&mut self, number: u32) -> Option<()> {
        let clause = self.law.clause(number)?;
        let mut whos: Vec<u32> = clause.who.iter().map(|who| intern(&mut self.whos, who)).collect();
        let mut whats: Vec<u32> = clause.what.iter().map(|what| intern(&mut self.whats, what)).collect();
        for pair in whos.iter().flat_map(|who| whats.iter().map(move |what| (*who, *what))) {
            self.cells.entry(pair).or_default().push(number);
        }
        whos.sort_unstable();
        whats.sort_unstable();
        self.names.push((whos, whats));
        Some(())
    }

    /// The permissions of YAML files, with their numbers.
    pub(super) fn permissions(&self) -> impl Iterator<Item = (u32, &Clause<'a>)> {
        // They come first, in the order of the bundle.
        (0_u32..).zip(self.law.clauses.iter().take(self.law.authorizer.permissions.len()))
    }

    /// The kinds of caller a policy is for.
    pub(super) fn callers(&self, clause: &Clause<'_>) -> Vec<u32> {
        let mut out: BTreeSet<u32> = BTreeSet::new();
        for who in &clause.who {
            match self.principals.members(0, who) {
                Some(kinds) => out.extend(kinds),
                None => {
                    let all = (0_u32..).zip(&self.principals.kinds);
                    out.extend(all.filter(|(_, k)| *who == Who::Anyone || k.services.iter().any(Option::is_some)).map(|(n, _)| n));
                }
            }
        }
        out.into_iter().collect()
    }

    /// What a policy is about, left out what its methods never reach.
    pub(super) fn places(&self, clause: &Clause<'_>) -> Vec<Place> {
        let services = self.law.services();
        let mut out: BTreeSet<Place> = BTreeSet::new();
        let mut all = |position: usize, declared: bool| {
            let operations = services.get(position).map_or(0, |s| s.operations.len());
            out.extend((0..operations).map(|o| (position, Some(o))).chain((!declared).then_some((position, None))));
        };
        let position = |name: &str| self.law.authorizer.inventory.index(name);
        for what in &clause.what {
            match what {
                What::Anything => (0..services.len()).for_each(|n| all(n, false)),
                What::Service { name, declared } => position(name).into_iter().for_each(|n| all(n, *declared)),
                What::Group { name, declared } => {
                    let members = services.iter().enumerate().filter(|(_, s)| s.groups.contains(name));
                    members.for_each(|(n, _)| all(n, *declared));
                }
                What::Operation { .. } | What::Undeclared { .. } => {}
            }
        }
        for what in &clause.what {
            match what {
                What::Operation { service, operation } => {
                    let found =
                        position(service).and_then(|n| Some((n, services.get(n)?.operations.iter().position(|o| o.id == *operation)?)));
                    out.extend(found.map(|(n, o)| (n, Some(o))));
                }
                What::Undeclared { service } => out.extend(position(service).map(|n| (n, None))),
                _ => {}
            }
        }
        out.into_iter().filter(|place| !self.targets(clause, *place).is_empty()).collect()
    }

    /// The targets at a place that a policy covers, one for each method that can matter there.
    pub(super) fn targets(&self, clause: &Clause<'_>, place: Place) -> Vec<Target> {
        let (_, operation) = self.at(place);
        let path = || crate::path::CanonicalPath::parse("/x").ok();
        let http = |method: &Method| path().map(|path| Target::Http { method: method.clone(), path });
        let all: Vec<Target> = match operation.map(|o| &o.endpoint) {
            Some(Endpoint::Connect { port }) => vec![Target::Connect { port: *port }],
            Some(Endpoint::Http { methods, .. }) => methods.iter().filter_map(http).collect(),
            // Any method may come on an undeclared path: those that policies name, another one, and a connection.
            None => {
                let named = self.law.authorizer.methods.bits().filter_map(|b| self.law.authorizer.methods.method(b));
                let other = Method::parse("OTHER-METHOD").ok();
                named.chain(&other).filter_map(http).chain([Target::Connect { port: 1 }]).collect()
            }
        };
        all.into_iter().filter(|target| clause.methods.contains(target)).collect()
    }

    fn at(&self, (service, operation): Place) -> (Option<&'a Service>, Option<&'a Operation>) {
        let service = self.law.services().get(service);
        (service, operation.and_then(|o| service?.operations.get(o)))
    }

    /// The policies that concern a kind of caller at a place with this target.
    pub(super) fn concerning(&self, caller: u32, place: Place, target: &Target) -> Vec<u32> {
        let whats = self.whats_at(place);
        let whos = self.covers.get(caller as usize).map(Vec::as_slice).unwrap_or_default();
        let pairs = whos.iter().flat_map(|who| whats.iter().map(move |what| (*who, *what)));
        let mut out: Vec<u32> = pairs.filter_map(|pair| self.cells.get(&pair)).flatten().copied().collect();
        out.sort_unstable();
        out.dedup();
        out.retain(|n| self.law.clause(*n).is_some_and(|c| c.methods.contains(target)));
        out
    }

    /// The names that cover a place.
    fn whats_at(&self, place: Place) -> Vec<u32> {
        let (Some(service), operation) = self.at(place) else { return Vec::new() };
        let declared = [Some(false), operation.is_some().then_some(true)].into_iter().flatten();
        let wide = declared.flat_map(|declared| {
            let own = What::Service { name: service.name.clone(), declared };
            std::iter::once(own).chain(service.groups.iter().map(move |name| What::Group { name: name.clone(), declared }))
        });
        let own = match operation {
            Some(o) => What::Operation { service: service.name.clone(), operation: o.id.clone() },
            None => What::Undeclared { service: service.name.clone() },
        };
        let mut out: Vec<u32> = wide.chain([What::Anything, own]).filter_map(|what| self.whats.get(&what)).copied().collect();
        out.sort_unstable();
        out
    }

    /// Whether a policy is for all of these kinds of caller.
    pub(super) fn covers_callers(&self, policy: u32, callers: &[u32]) -> bool {
        let Some((whos, _)) = self.names.get(policy as usize) else { return false };
        callers.iter().all(|c| self.covers.get(*c as usize).is_some_and(|names| meet(names, whos)))
    }

    /// Whether a policy is about all of these places, with every method that the other policy covers there.
    pub(super) fn covers_places(&self, policy: u32, other: &Clause<'_>, places: &[Place]) -> bool {
        let (Some((_, whats)), Some(clause)) = (self.names.get(policy as usize), self.law.clause(policy)) else { return false };
        places
            .iter()
            .all(|place| meet(&self.whats_at(*place), whats) && self.targets(other, *place).iter().all(|t| clause.methods.contains(t)))
    }

    /// Whether a policy's condition can hold at all.
    pub(super) fn can_hold(&self, clause: &Clause<'_>, place: Place) -> bool {
        let (Term::Native(condition), Some(visible)) = (&clause.term, self.visible(place)) else { return true };
        let found = Space::new([visible; 2], &[condition], 0).and_then(|mut space| space.condition(0, condition));
        found != Ok(NONE)
    }

    fn visible(&self, (service, _): Place) -> Option<&'a Visible> {
        self.law.services().get(service).map(|s| &s.visible)
    }

    /// Whether, wherever a policy's condition holds, that of one of the others does. Opaque ones are taken never to hold;
    /// where it would take too much to tell, the answer is no.
    pub(super) fn implies(&self, policy: u32, others: &[u32], place: Place) -> bool {
        let key = (place.0, policy, others.to_vec());
        if let Some(known) = self.implied.borrow().get(&key) {
            return *known;
        }
        let answer = self.find_implied(policy, others, place).unwrap_or(false);
        self.implied.borrow_mut().insert(key, answer);
        answer
    }

    fn find_implied(&self, policy: u32, others: &[u32], place: Place) -> Option<bool> {
        let own = self.law.clause(policy)?;
        let others: Vec<&Clause<'_>> = others.iter().filter_map(|n| self.law.clause(*n)).collect();
        if others.iter().any(|c| matches!(c.term, Term::Always)) {
            return Some(true);
        }
        let native = |clause: &&Clause<'a>| if let Term::Native(condition) = clause.term { Some(condition) } else { None };
        let covering: Vec<&Condition> = others.iter().filter_map(native).collect();
        let own = match &own.term {
            Term::Always => None,
            Term::Native(condition) => Some(*condition),
            Term::Opaque(_) => return Some(false),
        };
        if let Some(own) = own
            && covering.contains(&own)
        {
            return Some(true);
        }
        let all: Vec<&Condition> = own.into_iter().chain(covering.iter().copied()).collect();
        let mut space = Space::new([self.visible(place)?; 2], &all, 0).ok()?;
        let mut left = own.map_or(Ok(crate::algebra::diagram::ALL), |own| space.condition(0, own)).ok()?;
        for condition in covering {
            let part = space.condition(0, condition).ok()?;
            left = space.sets.minus(left, part).ok()?;
        }
        Some(left == NONE)
    }
}

fn intern<N: Clone + Eq + std::hash::Hash>(names: &mut HashMap<N, u32, FixedState>, name: &N) -> u32 {
    let next = u32::try_from(names.len()).unwrap_or(u32::MAX);
    *names.entry(name.clone()).or_insert(next)
}

/// Whether two sorted lists have something in common.
fn meet(a: &[u32], b: &[u32]) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    short.iter().any(|n| long.binary_search(n).is_ok())
}

/// Names of policies with their places, for a message.
pub(super) fn named(law: &Law<'_>, policies: &[u32]) -> String {
    let unique: BTreeMap<&str, String> =
        policies.iter().filter_map(|n| law.clause(*n)).map(|c| (&*c.policy.id, c.policy.at.short())).collect();
    let texts: Vec<String> = unique.into_iter().map(|(id, at)| format!("`{id}` ({at})")).collect();
    texts.join(", ")
}
