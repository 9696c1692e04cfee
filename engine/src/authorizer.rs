//! A compiled bundle.

use crate::bundle::{Bundle, Revision};
use crate::decision::{Decision, Effect, PolicyRef};
use crate::diagnostic::Diagnostic;
use crate::id::SpiffeId;
use crate::model::{Governance, Invariant, Operation, Service, TestSuite, Visible};
use crate::record::{Answer, ContextFacts, RequestFacts};
use crate::request::{Malformed, Request};

/// A compiled bundle: an immutable snapshot with one pure, total, deterministic function, [`Authorizer::decide`].
#[derive(Debug)]
pub struct Authorizer {}

/// What compiling a bundle gave: everything found, and the authorizer unless something was an error.
#[derive(Debug)]
pub struct Compiled {
    /// The authorizer, if no diagnostic is an error.
    pub authorizer: Option<Authorizer>,
    /// Errors and warnings, by file and line.
    pub diagnostics: Vec<Diagnostic>,
}

/// A policy of the compiled bundle, whatever its language.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Id, effect, place.
    pub reference: PolicyRef,
    /// The language it is written in.
    pub language: Language,
    /// Whether it has conditions on the context.
    pub conditional: bool,
    /// Whether its scope names every operation of a service (`'*'`, `any-path`, or no resource constraint).
    pub wildcard: bool,
    /// Why it exists; empty for Cedar and Rego.
    pub governance: Governance,
}

/// A policy language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// A `Permission`.
    Yaml,
    /// A Cedar policy.
    Cedar,
    /// A Rego rule.
    Rego,
}

/// What the table allows from one service to one operation of another, over all requests.
#[derive(Clone, Debug)]
pub struct AllowedEdge<'a> {
    /// The calling service; `None` for identities outside the inventory.
    pub from: Option<&'a Service>,
    /// The called service.
    pub to: &'a Service,
    /// The operation; `None` for undeclared paths.
    pub operation: Option<&'a Operation>,
    /// Whether some request is allowed whatever its context, or only on a condition.
    pub conditional: bool,
    /// The grants.
    pub policies: Vec<&'a PolicyRef>,
}

impl Authorizer {
    /// Compiles a bundle: reads, resolves, validates, proves its invariants.
    #[must_use]
    pub fn compile(bundle: &Bundle) -> Compiled {
        let _ = bundle;
        todo!()
    }

    /// Answers one request. Never fails, never panics; the same answer for the same request for ever (INV-5).
    #[must_use]
    pub fn decide<'a>(&'a self, request: &Request) -> Decision<'a> {
        let _ = request;
        todo!()
    }

    /// The denial of what could not become a request.
    #[must_use]
    pub fn decide_malformed(&self, malformed: &Malformed) -> Decision<'_> {
        let _ = malformed;
        todo!()
    }

    /// The revision of the bundle.
    #[must_use]
    pub fn revision(&self) -> &Revision {
        todo!()
    }

    /// The inventory, by name.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        todo!()
    }

    /// The service of this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        let _ = name;
        todo!()
    }

    /// The service that has this identity.
    #[must_use]
    pub fn identify(&self, id: &SpiffeId) -> Option<&Service> {
        let _ = id;
        todo!()
    }

    /// What policies may read of requests to this service.
    #[must_use]
    pub fn visible(&self, service: &str) -> Option<&Visible> {
        self.service(service).map(|s| &s.visible)
    }

    /// Every policy, by id.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        todo!()
    }

    /// Every invariant; each was proved at compile time.
    #[must_use]
    pub fn invariants(&self) -> &[Invariant] {
        todo!()
    }

    /// The test suites of the bundle.
    #[must_use]
    pub fn tests(&self) -> &[TestSuite] {
        todo!()
    }

    /// Who may ever call what, from the table (never by sampling requests).
    #[must_use]
    pub fn allowed(&self) -> Vec<AllowedEdge<'_>> {
        todo!()
    }

    /// The record's request facts and context for this request: allow-listed attributes only, sensitive segments hidden.
    /// Fill in `id`, `correlation` and `protocol` afterwards.
    #[must_use]
    pub fn facts(&self, request: &Request, decision: &Decision<'_>) -> (RequestFacts, ContextFacts) {
        let _ = (request, decision);
        todo!()
    }
}

impl From<&Decision<'_>> for Answer {
    fn from(decision: &Decision<'_>) -> Self {
        Self {
            effect: decision.effect,
            reason: decision.reason,
            policies: decision.policies.iter().map(|p| p.id.to_string()).collect(),
            errors: decision.errors.iter().map(ToString::to_string).collect(),
            shadow: decision.shadow.iter().map(|p| p.id.to_string()).collect(),
        }
    }
}

const _: Effect = Effect::Deny;
