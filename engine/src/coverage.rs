//! What the test cases of a bundle exercise: which policies decided, which operations were asked for, with which answers.

use std::collections::{BTreeMap, BTreeSet};

use crate::authorizer::Authorizer;
use crate::decision::Effect;
use crate::diagnostic::Location;

/// What all test cases of a bundle cover.
#[derive(Clone, Debug)]
pub struct Coverage<'a> {
    /// Every policy, by file and line.
    pub policies: Vec<PolicyCoverage<'a>>,
    /// Every declared operation, by file and line.
    pub operations: Vec<OperationCoverage<'a>>,
}

/// What became of one policy.
#[derive(Clone, Debug)]
pub struct PolicyCoverage<'a> {
    /// Its id.
    pub id: &'a str,
    /// Grant or prohibition.
    pub effect: Effect,
    /// Where it stands.
    pub at: &'a Location,
    /// Cases that it decided.
    pub decided: usize,
    /// Cases that its scope covered, decided by it or not.
    pub reached: usize,
}

/// What became of one operation.
#[derive(Clone, Debug)]
pub struct OperationCoverage<'a> {
    /// Its service.
    pub service: &'a str,
    /// Its id.
    pub id: &'a str,
    /// Where it is declared.
    pub at: &'a Location,
    /// Cases that ask for it and are allowed.
    pub allowed: usize,
    /// Cases that ask for it and are denied.
    pub denied: usize,
}

/// Some of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// How many are covered.
    pub covered: usize,
    /// How many there are.
    pub all: usize,
}

impl Share {
    /// In percent, rounded down; what has no parts is covered.
    #[must_use]
    pub const fn percent(self) -> usize {
        match self.covered.saturating_mul(100).checked_div(self.all) {
            Some(percent) => percent,
            None => 100,
        }
    }
}

impl<'a> Coverage<'a> {
    /// Asks every test case.
    #[must_use]
    pub fn of(authorizer: &'a Authorizer) -> Self {
        let (mut decided, mut reached) = (BTreeMap::<&str, usize>::new(), BTreeMap::<&str, usize>::new());
        let mut asked = BTreeMap::<(&str, &str), (usize, usize)>::new();
        for case in authorizer.tests().iter().flat_map(|suite| &suite.cases) {
            let decision = authorizer.decide(&case.request);
            let own: BTreeSet<&str> = decision.policies.iter().map(|p| &*p.id).collect();
            own.iter().for_each(|id| *decided.entry(id).or_default() += 1);
            authorizer.covering(&case.request).into_iter().for_each(|p| *reached.entry(&p.id).or_default() += 1);
            // Asked from the router, because an answer that comes before the policies names no operation.
            let Some(operation) = authorizer.operation(&case.request.service, &case.request.target) else { continue };
            let Some(service) = authorizer.service(&case.request.service) else { continue };
            let (allowed, denied) = asked.entry((&*service.name, &*operation.id)).or_default();
            *(if decision.is_allow() { allowed } else { denied }) += 1;
        }
        let count = |map: &BTreeMap<&str, usize>, id: &str| map.get(id).copied().unwrap_or_default();
        let mut policies: Vec<_> = authorizer
            .policies()
            .iter()
            .map(|p| &p.reference)
            .map(|p| PolicyCoverage {
                id: &p.id,
                effect: p.effect,
                at: &p.at,
                decided: count(&decided, &p.id),
                reached: count(&reached, &p.id),
            })
            .collect();
        policies.sort_by_key(|p| (p.at, p.id));
        let services = authorizer.services().iter();
        let mut operations: Vec<_> = services
            .flat_map(|service| service.operations.iter().map(move |operation| (service, operation)))
            .map(|(service, operation)| {
                let (allowed, denied) = asked.get(&(&*service.name, &*operation.id)).copied().unwrap_or_default();
                OperationCoverage { service: &service.name, id: &operation.id, at: &operation.at, allowed, denied }
            })
            .collect();
        operations.sort_by_key(|o| (o.at, o.service, o.id));
        Self { policies, operations }
    }

    /// Policies that decided a case.
    #[must_use]
    pub fn policies_decided(&self) -> Share {
        Share { covered: self.policies.iter().filter(|p| p.decided > 0).count(), all: self.policies.len() }
    }

    /// Operations that a case asks for.
    #[must_use]
    pub fn operations_asked(&self) -> Share {
        Share { covered: self.operations.iter().filter(|o| o.allowed + o.denied > 0).count(), all: self.operations.len() }
    }

    /// Operations that a case asks for and is allowed.
    #[must_use]
    pub fn operations_allowed(&self) -> Share {
        Share { covered: self.operations.iter().filter(|o| o.allowed > 0).count(), all: self.operations.len() }
    }

    /// Operations that a case asks for and is denied.
    #[must_use]
    pub fn operations_denied(&self) -> Share {
        Share { covered: self.operations.iter().filter(|o| o.denied > 0).count(), all: self.operations.len() }
    }
}
