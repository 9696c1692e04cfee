//! Proofs: every invariant of a bundle, over all requests. A broken one comes with the request or the path that breaks it.
//!
//! Callers are judged class by class ([`callers`]): identities that no policy and no selector tells apart are one caller here,
//! so nothing is sampled and nothing left out. Grants on conditions count as possible. Exceptions take a part of what is
//! called or reached out of a proof; compiling has no clock, so an exception counts here whatever its day, and [`expired`]
//! says what is broken once the day is known.

mod callers;
#[cfg(test)]
mod tests;
mod witness;

use std::collections::{BTreeMap, VecDeque};

use crate::authorizer::Authorizer;
use crate::diagnostic::Diagnostic;
use crate::model::{Claim, Excepted, Exception, IdentityPart, Invariant, Selector, Service};
use crate::request::Request;
use crate::table::{CONNECT, MethodBit, Methods, TargetAtom};
use crate::time::Date;
use callers::{Call, CallerClass};

/// Proves every invariant and reports those that do not hold, and exceptions from them that except nothing.
pub(crate) fn prove(authorizer: &Authorizer, problems: &mut Vec<Diagnostic>) {
    let proof = match Proof::new(authorizer) {
        Ok(proof) => proof,
        Err(problem) => return problems.extend(problem),
    };
    for invariant in &authorizer.invariants {
        let excused = authorizer.exceptions.iter().filter_map(|e| Space::of(e, invariant)).collect();
        if let Some(found) = proof.counterexample(&invariant.claim, &Bounds { excused, within: None }) {
            problems.push(broken(invariant, &found, ""));
        }
    }
    for exception in &authorizer.exceptions {
        let Some((invariant, space)) = authorizer.invariants.iter().find_map(|i| Some((i, Space::of(exception, i)?))) else { continue };
        if proof.counterexample(&invariant.claim, &Bounds { excused: Vec::new(), within: Some(space) }).is_none() {
            problems.push(
                Diagnostic::error(
                    "idle-exception",
                    format!("nothing of what `{}` excepts would break `{}`", exception.name, invariant.name),
                )
                .at(exception.at.clone())
                .help("take the exception out, or name the calls that it is for"),
            );
        }
    }
}

/// The invariants that hold only by exceptions which have ended on this day.
pub(crate) fn expired(authorizer: &Authorizer, today: Date) -> Vec<Diagnostic> {
    let (ended, live): (Vec<&Exception>, Vec<_>) = authorizer.exceptions.iter().partition(|e| e.is_expired(today));
    let mut out = Vec::new();
    let Ok(proof) = Proof::new(authorizer) else { return out };
    for invariant in &authorizer.invariants {
        let of_it: Vec<&&Exception> = ended.iter().filter(|e| Space::of(e, invariant).is_some()).collect();
        if of_it.is_empty() {
            continue;
        }
        let excused = live.iter().filter_map(|e| Space::of(e, invariant)).collect();
        if let Some(found) = proof.counterexample(&invariant.claim, &Bounds { excused, within: None }) {
            let names: Vec<String> = of_it.iter().map(|e| format!("`{}` ended on {}", e.name, e.expires)).collect();
            out.push(broken(invariant, &found, &format!("; {}", names.join(", "))));
        }
    }
    out
}

fn broken(invariant: &Invariant, found: &Counterexample, besides: &str) -> Diagnostic {
    Diagnostic::error("invariant-broken", format!("`{}` does not hold: {}{besides}", invariant.name, found.what))
        .at(invariant.at.clone())
        .help(found.way.clone())
}

/// What breaks a claim.
#[derive(Debug)]
struct Counterexample {
    what: String,
    way: String,
    /// The requests of the chain, in order; of a claim about single calls, the one.
    requests: Vec<Request>,
}

/// A part of what a claim is about.
#[derive(Clone, Copy, Debug)]
struct Space<'a> {
    from: &'a Selector,
    to: &'a Selector,
}

impl<'a> Space<'a> {
    /// What an exception takes out of an invariant, if it is for this one.
    fn of(exception: &'a Exception, from_it: &Invariant) -> Option<Self> {
        match &exception.excepts {
            Excepted::Invariant { invariant, from, to } if *invariant == from_it.name => Some(Self { from, to }),
            _ => None,
        }
    }
}

/// Where a proof looks.
#[derive(Debug)]
struct Bounds<'a> {
    /// Not here.
    excused: Vec<Space<'a>>,
    /// Only here.
    within: Option<Space<'a>>,
}

struct Proof<'a> {
    authorizer: &'a Authorizer,
    classes: Vec<CallerClass>,
    granted: BTreeMap<u32, Vec<&'a TargetAtom>>,
}

/// A call in a chain: the class that makes it, and the call with one method.
#[derive(Clone, Copy, Debug)]
struct Step<'p> {
    class: usize,
    call: &'p Call,
    method: MethodBit,
}

impl<'a> Proof<'a> {
    fn new(authorizer: &'a Authorizer) -> Result<Self, Option<Diagnostic>> {
        if authorizer.invariants.is_empty() {
            return Err(None);
        }
        let parts: Vec<&IdentityPart> = selectors(&authorizer.invariants, &authorizer.exceptions).flat_map(|s| &s.identities).collect();
        let classes = callers::classes(authorizer, &parts).map_err(Some)?;
        Ok(Self { authorizer, classes, granted: authorizer.table.granted_targets() })
    }

    fn counterexample(&self, claim: &Claim, bounds: &Bounds<'_>) -> Option<Counterexample> {
        match claim {
            Claim::NeverCalls { from, to } => self.call(Space { from, to }, bounds),
            Claim::NeverReaches { from, to, except_through } => self.path(Space { from, to }, except_through, bounds),
            Claim::AlwaysCalls { from, to } => self.refusal(Space { from, to }, bounds),
        }
    }

    fn service(&self, service: usize) -> Option<&'a Service> {
        self.authorizer.inventory.services().get(service)
    }

    /// The classes that call in all these spaces and, of those given, in none of the excused ones that covers `call`.
    fn callers_in(&self, selector: &Selector, bounds: &Bounds<'_>) -> impl Iterator<Item = usize> {
        let within = bounds.within.map(|space| space.from);
        let chosen = self.classes.iter().enumerate().filter(move |(_, class)| {
            let covers = |selector: &Selector| selector.covers_caller(class.service.and_then(|s| self.service(s)), class);
            covers(selector) && within.is_none_or(covers)
        });
        chosen.map(|(index, _)| index).collect::<Vec<_>>().into_iter()
    }

    fn is_caller(&self, selector: &Selector, class: usize) -> bool {
        let class = self.classes.get(class);
        class.is_some_and(|class| selector.covers_caller(class.service.and_then(|s| self.service(s)), class))
    }

    fn is_called(&self, selector: &Selector, to: usize, operation: Option<usize>, method: MethodBit) -> bool {
        let covered = self.service(to).is_some_and(|service| selector.covers_operation(service, operation));
        covered && selector.covers_method(&self.authorizer.methods, method)
    }

    /// Whether a call (or the end of a chain) of a class is what is looked for.
    fn counts(&self, to: &Selector, bounds: &Bounds<'_>, class: usize, step: Step<'_>) -> bool {
        let ends_in = |selector: &Selector| self.is_called(selector, step.call.to, step.call.operation, step.method);
        let excused = |space: &Space<'_>| self.is_caller(space.from, class) && ends_in(space.to);
        ends_in(to) && bounds.within.is_none_or(|space| ends_in(space.to)) && !bounds.excused.iter().any(excused)
    }

    fn steps(&self, class: usize) -> impl Iterator<Item = Step<'_>> {
        let calls = self.classes.get(class).map(|c| c.calls(self.authorizer, &self.granted)).unwrap_or_default();
        calls.iter().flat_map(move |call| call.methods.iter().map(move |method| Step { class, call, method: *method }))
    }

    /// A call that is allowed and must not be.
    fn call(&self, space: Space<'_>, bounds: &Bounds<'_>) -> Option<Counterexample> {
        self.callers_in(space.from, bounds).find_map(|class| {
            let mut wrong = self.steps(class).filter(|step| self.counts(space.to, bounds, class, *step));
            wrong.find_map(|step| {
                let request = self.request(step)?;
                Some(Counterexample {
                    what: format!("{} can be allowed", self.in_words(class, &request)),
                    way: format!("it is granted by {}", self.grants(step)),
                    requests: vec![request],
                })
            })
        })
    }

    /// The shortest chain of calls that is allowed and must not be.
    fn path(&self, space: Space<'_>, through: &[Box<str>], bounds: &Bounds<'_>) -> Option<Counterexample> {
        // What is excused depends on where the chain begins, so starts with the same exceptions go together.
        let mut starts: BTreeMap<Vec<bool>, Vec<usize>> = BTreeMap::new();
        for class in self.callers_in(space.from, bounds) {
            let excused = bounds.excused.iter().map(|s| self.is_caller(s.from, class)).collect();
            starts.entry(excused).or_default().push(class);
        }
        let found = starts.values().filter_map(|classes| self.shortest(space.to, through, bounds, classes));
        found.min_by_key(|chain| chain.requests.len())
    }

    fn shortest(&self, to: &Selector, through: &[Box<str>], bounds: &Bounds<'_>, starts: &[usize]) -> Option<Counterexample> {
        let opened = |service: Option<usize>| service.and_then(|s| self.service(s)).is_some_and(|s| through.contains(&s.name));
        let first = *starts.first()?;
        let of_service = |service: usize| self.classes.iter().enumerate().filter(move |(_, c)| c.service == Some(service)).map(|(n, _)| n);
        // Who makes the next call, and the chain that leads there.
        let mut open: VecDeque<(usize, Vec<Step<'_>>)> = VecDeque::new();
        open.extend(starts.iter().filter(|c| !opened(self.classes.get(**c).and_then(|c| c.service))).map(|c| (*c, Vec::new())));
        let mut seen: Vec<bool> = vec![false; self.authorizer.inventory.services().len()];
        while let Some((class, chain)) = open.pop_front() {
            for step in self.steps(class).filter(|step| !opened(Some(step.call.to))) {
                let longer = || chain.iter().copied().chain([step]).collect::<Vec<_>>();
                if self.counts(to, bounds, first, step)
                    && let Some(found) = self.chain(&longer())
                {
                    return Some(found);
                }
                let next = seen.get_mut(step.call.to).filter(|seen| !**seen);
                if let Some(seen) = next
                    && self.request(step).is_some()
                {
                    *seen = true;
                    open.extend(of_service(step.call.to).map(|class| (class, longer())));
                }
            }
        }
        None
    }

    fn chain(&self, steps: &[Step<'_>]) -> Option<Counterexample> {
        let requests: Vec<Request> = steps.iter().map(|step| self.request(*step)).collect::<Option<_>>()?;
        let first = steps.first().map(|step| self.caller_name(step.class)).unwrap_or_default();
        let names = requests.iter().fold(first, |path, request| format!("{path} → {}", request.service));
        let words = steps.iter().zip(&requests).map(|(s, r)| format!("{} by {}", self.in_words(s.class, r), self.grants(*s)));
        let way = words.collect::<Vec<_>>().join("; ");
        Some(Counterexample { what: format!("{names} is possible"), way, requests })
    }

    /// A call that can be denied and must not be.
    fn refusal(&self, space: Space<'_>, bounds: &Bounds<'_>) -> Option<Counterexample> {
        let services = self.authorizer.inventory.services();
        for class in self.callers_in(space.from, bounds) {
            let own = self.classes.get(class).and_then(|c| c.service);
            for (to, service) in services.iter().enumerate().filter(|(to, s)| Some(*to) != own && space.to.covers_service(s)) {
                for operation in (0..service.operations.len()).map(Some) {
                    let call = Call { to, operation, methods: self.authorizer.methods_of(to, operation) };
                    let steps = call.methods.iter().map(|method| Step { class, call: &call, method: *method });
                    let mut wrong = steps.filter(|step| self.counts(space.to, bounds, class, *step) && !self.is_certain(*step));
                    let found = wrong.find_map(|step| self.request(step));
                    if let Some(request) = found {
                        return Some(Counterexample {
                            what: format!("{} can be denied", self.in_words(class, &request)),
                            way: "it needs an unconditional grant, and no prohibition and no policy that can fail beside it".to_owned(),
                            requests: vec![request],
                        });
                    }
                }
            }
        }
        None
    }

    /// Whether a call is allowed whatever its context (a request that is malformed or has an invalid token left aside).
    fn is_certain(&self, step: Step<'_>) -> bool {
        let Some(class) = self.classes.get(step.class) else { return false };
        self.authorizer.always_allows(&class.atoms, step.call.to, step.call.operation, step.method)
    }
}

/// Gives the methods that selectors name bits of their own, so that proofs tell them from others.
pub(crate) fn tell_methods_apart(
    invariants: &[Invariant],
    exceptions: &[Exception],
    methods: &mut Methods,
    problems: &mut Vec<Diagnostic>,
) {
    for method in selectors(invariants, exceptions).flat_map(|s| &s.methods) {
        if methods.intern(method).is_none() {
            problems.push(Diagnostic::error("too-many-methods", "policies and invariants name too many different methods"));
            return;
        }
    }
}

/// Every selector of the bundle, exceptions included.
pub(crate) fn selectors<'a>(invariants: &'a [Invariant], exceptions: &'a [Exception]) -> impl Iterator<Item = &'a Selector> {
    let stated = invariants.iter().flat_map(|i| i.claim.selectors());
    let excepted = exceptions.iter().flat_map(|e| match &e.excepts {
        Excepted::Invariant { from, to, .. } => vec![from, to],
        _ => Vec::new(),
    });
    stated.chain(excepted)
}

impl Claim {
    /// Its two selectors: callers, and what is called or reached.
    pub(crate) const fn selectors(&self) -> [&Selector; 2] {
        match self {
            Self::NeverCalls { from, to } | Self::NeverReaches { from, to, .. } | Self::AlwaysCalls { from, to } => [from, to],
        }
    }
}

impl Selector {
    /// Whether the selector takes this service, its operations and identities left aside.
    pub(crate) fn covers_service(&self, service: &Service) -> bool {
        self.covers_place(service) && (self.data.is_empty() || self.touches(service))
    }

    fn touches(&self, service: &Service) -> bool {
        let classes = service.data.iter().chain(service.operations.iter().flat_map(|o| &o.data));
        classes.into_iter().any(|d| self.data.iter().any(|want| **want == **d))
    }

    /// Whether the selector takes callers of this class.
    fn covers_caller(&self, service: Option<&Service>, class: &CallerClass) -> bool {
        let of_services = !self.services.is_empty() || !self.zones.is_empty() || !self.data.is_empty();
        let placed = if of_services || self.identities.is_empty() { service.is_some_and(|s| self.covers_service(s)) } else { true };
        placed && (self.identities.is_empty() || self.identities.iter().any(|part| part.covers(service.is_some(), &class.id)))
    }

    /// Whether the selector takes this operation of the service (`None`: its undeclared paths, of which nobody knows what
    /// they touch, so they count as touching all that the service touches).
    pub(crate) fn covers_operation(&self, service: &Service, operation: Option<usize>) -> bool {
        let operation = operation.and_then(|o| service.operations.get(o));
        let listed = self.operations.is_empty() || operation.is_some_and(|o| self.operations.contains(&o.id));
        let wanted = |class: &String| self.data.iter().any(|want| **want == **class);
        let touches = match operation {
            Some(operation) => service.data.iter().chain(&operation.data).any(wanted),
            None => self.touches(service),
        };
        self.covers_place(service) && listed && (self.data.is_empty() || touches)
    }

    fn covers_method(&self, methods: &Methods, method: MethodBit) -> bool {
        self.methods.is_empty() || (method != CONNECT && self.methods.iter().any(|m| methods.bit_of(m) == method))
    }

    fn covers_place(&self, service: &Service) -> bool {
        let named = self.services.is_empty() || self.services.iter().any(|n| *n == service.name || service.groups.contains(n));
        let zoned = self.zones.is_empty() || service.zone.as_deref().is_some_and(|z| self.zones.iter().any(|want| **want == *z));
        named && zoned
    }
}
