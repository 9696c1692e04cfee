//! A bundle as the algebra sees it: each policy as a scope by names, and what is left once the scope has matched.
//!
//! Names and not positions, so that the policies of two bundles can be compared. What the algebra cannot look into, the
//! condition of a Cedar policy and the body of a Rego rule, is *opaque*: a question with three answers (yes, no, error), or with
//! two where an error is proved impossible. Two opaque questions are one only where both bundles are sure to answer them alike; see
//! [`crate::algebra::opaque`].

use std::collections::BTreeSet;

use hashbrown::HashMap;

use crate::algebra::opaque::Opaque;
use crate::authorizer::Authorizer;
use crate::bundle::Bundle;
use crate::decision::{Effect, PolicyRef};
use crate::id::{IdPattern, SpiffeId};
use crate::model::{Caller, Condition, Operation, Operations, Permission, Service};
use crate::request::{Method, Target};
use crate::table::{CONNECT, CallerAtom, MethodMask, Scope, TargetAtom};

type FixedState = foldhash::fast::FixedState;

/// Who a policy is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Who {
    Anyone,
    Authenticated,
    Service(Box<str>),
    Group(Box<str>),
    Identity(SpiffeId),
    Pattern(IdPattern),
}

/// What a policy is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum What {
    Anything,
    Service { name: Box<str>, declared: bool },
    Group { name: Box<str>, declared: bool },
    Operation { service: Box<str>, operation: Box<str> },
    Undeclared { service: Box<str> },
}

/// The methods a policy covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Methods {
    All,
    Only { methods: BTreeSet<Method>, connect: bool },
}

impl Methods {
    pub(crate) fn contains(&self, target: &Target) -> bool {
        match (self, target) {
            (Self::All, _) => true,
            (Self::Only { connect, .. }, Target::Connect { .. }) => *connect,
            (Self::Only { methods, .. }, Target::Http { method, .. }) => methods.contains(method),
        }
    }
}

/// What is left of a policy once its scope has matched.
#[derive(Debug)]
pub(crate) enum Term<'a> {
    Always,
    Native(&'a Condition),
    Opaque(Opaque),
}

/// One policy.
#[derive(Debug)]
pub(crate) struct Clause<'a> {
    pub(crate) policy: &'a PolicyRef,
    pub(crate) who: Vec<Who>,
    pub(crate) what: Vec<What>,
    pub(crate) methods: Methods,
    pub(crate) term: Term<'a>,
}

impl Clause<'_> {
    pub(crate) fn is_grant(&self) -> bool {
        self.policy.effect == Effect::Allow
    }
}

/// All policies of a bundle, found by what they are about.
#[derive(Debug)]
pub(crate) struct Law<'a> {
    pub(crate) authorizer: &'a Authorizer,
    pub(crate) clauses: Vec<Clause<'a>>,
    by_what: HashMap<What, Vec<u32>, FixedState>,
}

impl<'a> Law<'a> {
    /// `bundle` has the files of the authorizer. Where it is left out, each Rego rule is like no other one.
    pub(crate) fn new(bundle: Option<&Bundle>, authorizer: &'a Authorizer) -> Self {
        let permissions = authorizer.permissions.iter().filter_map(|p| permission(authorizer, p));
        let mut clauses: Vec<Clause<'a>> = permissions.collect();
        for policy in &authorizer.cedar {
            let Some(reference) = reference(authorizer, &policy.id) else { continue };
            let (who, what, methods) = scope(authorizer, &policy.scope);
            let term = if policy.conditional { Term::Opaque(Opaque::cedar(policy)) } else { Term::Always };
            clauses.push(Clause { policy: reference, who, what, methods, term });
        }
        for rule in authorizer.rego.rules() {
            let Some(reference) = reference(authorizer, &rule.id) else { continue };
            let services = |names: &Vec<String>| {
                names.iter().map(|name| What::Service { name: name.as_str().into(), declared: false }).collect::<Vec<_>>()
            };
            let what = rule.services.as_ref().map_or_else(|| vec![What::Anything], services);
            let term = Term::Opaque(Opaque::rego(bundle, rule));
            clauses.push(Clause { policy: reference, who: vec![Who::Anyone], what, methods: Methods::All, term });
        }
        let mut by_what: HashMap<What, Vec<u32>, FixedState> = HashMap::default();
        for (number, clause) in clauses.iter().enumerate() {
            let Ok(number) = u32::try_from(number) else { break };
            for what in &clause.what {
                by_what.entry(what.clone()).or_default().push(number);
            }
        }
        Self { authorizer, clauses, by_what }
    }

    pub(crate) fn clause(&self, number: u32) -> Option<&Clause<'a>> {
        self.clauses.get(number as usize)
    }

    pub(crate) fn services(&self) -> &'a [Service] {
        self.authorizer.services()
    }

    pub(crate) fn service(&self, position: Option<usize>) -> Option<&'a Service> {
        self.services().get(position?)
    }

    /// The policies about an operation of a service, or about its undeclared paths; by number, each once.
    pub(crate) fn about(&self, service: &Service, operation: Option<&Operation>) -> Vec<u32> {
        let mut out = self.about_all(service, operation.is_some());
        let own = match operation {
            Some(o) => What::Operation { service: service.name.clone(), operation: o.id.clone() },
            None => What::Undeclared { service: service.name.clone() },
        };
        out.extend(self.by_what.get(&own).into_iter().flatten());
        out.sort_unstable();
        out.dedup();
        out
    }

    /// The policies about something that a service offers, declared or not; by number, each once.
    pub(crate) fn about_service(&self, service: &Service) -> Vec<u32> {
        let mut out = self.about_all(service, true);
        let operations = service.operations.iter().map(Some).chain([None]);
        out.extend(operations.flat_map(|o| self.about(service, o)));
        out.sort_unstable();
        out.dedup();
        out
    }

    fn about_all(&self, service: &Service, declared: bool) -> Vec<u32> {
        let mut out: Vec<u32> = self.by_what.get(&What::Anything).into_iter().flatten().copied().collect();
        for declared in [Some(false), declared.then_some(true)].into_iter().flatten() {
            let own = What::Service { name: service.name.clone(), declared };
            let groups = service.groups.iter().map(|name| What::Group { name: name.clone(), declared });
            out.extend(std::iter::once(own).chain(groups).filter_map(|what| self.by_what.get(&what)).flatten());
        }
        out
    }
}

fn reference<'a>(authorizer: &'a Authorizer, id: &str) -> Option<&'a PolicyRef> {
    let found = authorizer.policies.binary_search_by(|p| (*p.reference.id).cmp(id)).ok()?;
    authorizer.policies.get(found).map(|p| &p.reference)
}

fn permission<'a>(authorizer: &'a Authorizer, permission: &'a Permission) -> Option<Clause<'a>> {
    let who = permission.from.iter().map(|caller| match caller {
        Caller::Service(name) => Who::Service(name.clone()),
        Caller::Group(name) => Who::Group(name.clone()),
        Caller::Identity(id) => Who::Identity(id.clone()),
        Caller::Pattern(pattern) => Who::Pattern(pattern.clone()),
        Caller::AnyAuthenticated => Who::Authenticated,
    });
    let what = permission.to.iter().flat_map(|to| targets(authorizer, to, &permission.operations));
    let methods = permission
        .methods
        .as_ref()
        .map_or(Methods::All, |methods| Methods::Only { methods: methods.iter().cloned().collect(), connect: false });
    let term = if permission.when.is_empty() { Term::Always } else { Term::Native(&permission.when) };
    let policy = reference(authorizer, &permission.name)?;
    Some(Clause { policy, who: sorted(who), what: sorted(what), methods, term })
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let set: BTreeSet<T> = items.collect();
    set.into_iter().collect()
}

fn targets(authorizer: &Authorizer, to: &str, operations: &Operations) -> Vec<What> {
    let service = authorizer.service(to);
    if let Operations::Listed(ids) = operations {
        let members = authorizer.services().iter().filter(|s| s.groups.contains(to));
        let each = service.into_iter().chain(members).flat_map(|s| {
            let listed = s.operations.iter().filter(|o| ids.contains(&o.id));
            listed.map(|o| What::Operation { service: s.name.clone(), operation: o.id.clone() })
        });
        return each.collect();
    }
    let declared = *operations == Operations::Declared;
    let name = to.into();
    vec![if service.is_some() { What::Service { name, declared } } else { What::Group { name, declared } }]
}

fn scope(authorizer: &Authorizer, scope: &Scope) -> (Vec<Who>, Vec<What>, Methods) {
    let service = |index: usize| authorizer.services().get(index);
    let who = scope.callers.iter().filter_map(|atom| match atom {
        CallerAtom::Anyone => Some(Who::Anyone),
        CallerAtom::AnyAuthenticated => Some(Who::Authenticated),
        CallerAtom::Service(index) => Some(Who::Service(service(*index)?.name.clone())),
        CallerAtom::Group(name) => Some(Who::Group(name.clone())),
        CallerAtom::Identity(id) => Some(Who::Identity(id.clone())),
        CallerAtom::Pattern(pattern) => Some(Who::Pattern(pattern.clone())),
    });
    let what = scope.targets.iter().filter_map(|atom| match atom {
        TargetAtom::Anything => Some(What::Anything),
        TargetAtom::Service { service: index, declared } => {
            Some(What::Service { name: service(*index)?.name.clone(), declared: *declared })
        }
        TargetAtom::Group { group, declared } => Some(What::Group { name: group.clone(), declared: *declared }),
        TargetAtom::Operation { service: index, operation } => {
            let service = service(*index)?;
            let operation = service.operations.get(*operation)?.id.clone();
            Some(What::Operation { service: service.name.clone(), operation })
        }
        TargetAtom::Undeclared { service: index } => Some(What::Undeclared { service: service(*index)?.name.clone() }),
    });
    let methods = if scope.methods == MethodMask::ALL {
        Methods::All
    } else {
        let named = authorizer.methods.bits().filter(|bit| scope.methods.contains(*bit));
        let methods = named.filter_map(|bit| authorizer.methods.method(bit)).cloned().collect();
        Methods::Only { methods, connect: scope.methods.contains(CONNECT) }
    };
    (sorted(who), sorted(what), methods)
}
