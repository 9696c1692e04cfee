//! Lints: what is lawful and probably not meant. One file for each; its first lines are its manual page.
//!
//! A lint never alters a decision and never makes a bundle unfit for the enforcer, which does not ask; `portreeve check` does.
//! Most are warnings; what the bundle itself asks for (a zone's governance fields, the end of an exception) is an error.
//! Lints that compare dates are silent where no date is given, as the engine has no clock (INV-1).

mod bare_prefix;
mod covered_permission;
mod erring_forbid;
mod exception_expired;
mod missing_governance;
mod overridden_permission;
mod rego_answer_type;
mod review_overdue;
mod scopes;
mod uncacheable_rego;
mod unmatchable_permission;
mod unscoped_grant;
mod unused_attribute;
mod unused_group;
mod wide_grant;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::authorizer::{Authorizer, Body, Policy};
use crate::cedar::policies::CedarPolicy;
use crate::diagnostic::Diagnostic;
use crate::invariant;
use crate::lint::scopes::Scopes;
use crate::model::{Excepted, Permission, SENSITIVE_DATA, Service};
use crate::table::TargetAtom;
use crate::time::Date;

/// One lint.
pub(crate) struct Lint {
    /// The code of its diagnostics, named for what it finds.
    pub(crate) code: &'static str,
    /// Looks for it.
    find: fn(&Linted<'_>, &mut Findings),
    /// Whether it needs to know the day.
    dated: bool,
}

/// Every lint, by code.
pub(crate) const LINTS: &[Lint] = &[
    bare_prefix::LINT,
    covered_permission::LINT,
    erring_forbid::LINT,
    exception_expired::LINT,
    missing_governance::LINT,
    overridden_permission::LINT,
    rego_answer_type::LINT,
    review_overdue::LINT,
    uncacheable_rego::LINT,
    unmatchable_permission::LINT,
    unscoped_grant::LINT,
    unused_attribute::LINT,
    unused_group::LINT,
    wide_grant::LINT,
];

/// What lints look at.
pub(crate) struct Linted<'a> {
    /// A valid bundle.
    pub(crate) authorizer: &'a Authorizer,
    /// The day on which it is looked at; lints that compare dates need one.
    pub(crate) today: Option<Date>,
    permissions: BTreeMap<&'a str, &'a Permission>,
    cedar: BTreeMap<&'a str, &'a CedarPolicy>,
    /// The services of each service's and group's name, by position.
    members: BTreeMap<&'a str, Vec<usize>>,
    scopes: OnceCell<Option<Scopes<'a>>>,
}

/// What lints found, each with the name of the resource or policy that it concerns.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<(Box<str>, Diagnostic)>);

impl Findings {
    /// Adds a diagnostic about the resource or policy of this name. What concerns a part of it is named `name/part`.
    pub(crate) fn add(&mut self, subject: &str, diagnostic: Diagnostic) {
        self.0.push((subject.into(), diagnostic));
    }

    /// Takes out what an exception is for, and says whether there was anything.
    fn except(&mut self, code: &str, of: &str) -> bool {
        let before = self.0.len();
        let concerns = |subject: &str| subject.strip_prefix(of).is_some_and(|part| part.is_empty() || part.starts_with('/'));
        self.0.retain(|(subject, found)| found.code != code || !concerns(subject));
        self.0.len() < before
    }
}

/// The codes of all lints.
pub fn codes() -> impl Iterator<Item = &'static str> {
    LINTS.iter().map(|lint| lint.code)
}

/// Asks every lint, and says which invariants hold only by exceptions that have ended. `today` is the day on which the bundle is
/// looked at. Call [`crate::Bundle::arrange`] on all diagnostics of a bundle before they are shown.
#[must_use]
pub fn lint(authorizer: &Authorizer, today: Option<Date>) -> Vec<Diagnostic> {
    let linted = Linted::new(authorizer, today);
    let mut found = Findings::default();
    for lint in LINTS {
        (lint.find)(&linted, &mut found);
    }
    let mut idle = Vec::new();
    for exception in authorizer.exceptions.iter().filter(|e| today.is_none_or(|today| !e.is_expired(today))) {
        let Excepted::Lint { code, of } = &exception.excepts else { continue };
        let unknown = today.is_none() && LINTS.iter().any(|lint| lint.dated && *lint.code == **code);
        if !found.except(code, of) && !unknown {
            idle.push(
                Diagnostic::error("idle-exception", format!("`{code}` says nothing of `{of}`, so `{}` excepts nothing", exception.name))
                    .at(exception.at.clone())
                    .help("take the exception out, or name the resource or policy that it is for"),
            );
        }
    }
    let broken = today.map(|today| invariant::expired(authorizer, today)).unwrap_or_default();
    found.0.into_iter().map(|(_, diagnostic)| diagnostic).chain(idle).chain(broken).collect()
}

/// Whether a text that stands for the beginning of a SPIFFE ID ends within a segment, so that `…/ns/obs` takes in `…/ns/obs-x`.
pub(crate) fn is_bare_prefix(text: &str) -> bool {
    text.strip_prefix("spiffe://").is_some_and(|rest| !rest.is_empty() && !rest.ends_with('/'))
}

impl<'a> Linted<'a> {
    /// The scopes of all policies, made when they are first asked for. `None` where there is too much to tell apart.
    fn scopes(&self) -> Option<&Scopes<'a>> {
        self.scopes.get_or_init(|| Scopes::new(self.authorizer)).as_ref()
    }

    fn new(authorizer: &'a Authorizer, today: Option<Date>) -> Self {
        let services = authorizer.inventory.services();
        let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, service) in services.iter().enumerate() {
            for name in std::iter::once(&service.name).chain(&service.groups) {
                members.entry(name).or_default().push(index);
            }
        }
        Self {
            authorizer,
            today,
            permissions: authorizer.permissions.iter().map(|p| (&*p.name, p)).collect(),
            cedar: authorizer.cedar.iter().map(|c| (&*c.id, c)).collect(),
            members,
            scopes: OnceCell::new(),
        }
    }

    /// Every policy with its body and the services that it can concern.
    fn concerned(&self) -> impl Iterator<Item = (&'a Policy, &'a Body, Vec<&'a Service>)> {
        let policies = self.authorizer.policies.iter().zip(&self.authorizer.bodies);
        policies.map(|(policy, body)| (policy, body, self.services_of(policy, body)))
    }

    fn services_of(&self, policy: &Policy, body: &Body) -> Vec<&'a Service> {
        let services = self.authorizer.inventory.services();
        let all = 0..services.len();
        let of_name = |name: &str| self.members.get(name).into_iter().flatten().copied();
        let id = &*policy.reference.id;
        let found: BTreeSet<usize> = match (body, self.permissions.get(id), self.cedar.get(id)) {
            (Body::Rego(rule), ..) => match self.authorizer.rego.rules().get(*rule).and_then(|rule| rule.services.as_ref()) {
                Some(names) => names.iter().flat_map(|name| of_name(name)).collect(),
                None => all.collect(),
            },
            (_, Some(permission), _) => permission.to.iter().flat_map(|name| of_name(name)).collect(),
            (_, _, Some(cedar)) => {
                let each = cedar.scope.targets.iter().flat_map(|target| match target {
                    TargetAtom::Anything => all.clone().collect::<Vec<_>>(),
                    TargetAtom::Group { group, .. } => of_name(group).collect(),
                    TargetAtom::Service { service, .. } | TargetAtom::Operation { service, .. } | TargetAtom::Undeclared { service } => {
                        vec![*service]
                    }
                });
                each.collect()
            }
            _ => BTreeSet::new(),
        };
        found.into_iter().filter_map(|index| services.get(index)).collect()
    }
}

impl Authorizer {
    /// Whether a service is sensitive: as its zone says or, where that says nothing, by the classes of its data.
    pub(crate) fn is_sensitive(&self, service: &Service) -> bool {
        let zone = self.zones.iter().find(|z| service.zone.as_deref() == Some(&*z.name));
        let touches = || service.data.iter().chain(service.operations.iter().flat_map(|o| &o.data)).any(|d| SENSITIVE_DATA.contains(&&**d));
        zone.and_then(|z| z.sensitive).unwrap_or_else(touches)
    }
}
