//! What the names in invariants, selectors and exceptions refer to.
//!
//! A selector that selects nothing is an error, part by part and as a whole: something would be proved about nothing.

use std::collections::BTreeSet;

use crate::bundle::declare::Named;
use crate::bundle::govern::{DeclaredExcepted, DeclaredException};
use crate::bundle::invariant::{DeclaredClaim, DeclaredInvariant, DeclaredSelector};
use crate::bundle::resolve::Names;
use crate::diagnostic::{Diagnostic, Location};
use crate::id::{IdPattern, SpiffeId};
use crate::model::{Claim, Endpoint, Excepted, Exception, IdentityPart, Invariant, Selector};

impl Names<'_> {
    pub(crate) fn invariant(&self, declared: DeclaredInvariant, problems: &mut Vec<Diagnostic>) -> Option<Invariant> {
        let before = problems.len();
        let claim = match declared.claim {
            DeclaredClaim::NeverCalls { from, to } => {
                Claim::NeverCalls { from: self.callers(from, problems), to: self.called(to, problems) }
            }
            DeclaredClaim::AlwaysCalls { from, to } => {
                Claim::AlwaysCalls { from: self.callers(from, problems), to: self.called(to, problems) }
            }
            DeclaredClaim::NeverReaches { from, to, except_through } => {
                for name in &except_through {
                    if self.service(&name.text).is_none() {
                        problems.push(self.unknown_service(name));
                    }
                }
                let except_through = except_through.into_iter().map(|n| n.text).collect();
                Claim::NeverReaches { from: self.callers(from, problems), to: self.called(to, problems), except_through }
            }
        };
        (problems.len() == before).then_some(Invariant {
            name: declared.name.text,
            claim,
            controls: declared.controls,
            at: declared.name.at,
        })
    }

    /// `stated` has the names of all invariants, those with faults of their own too.
    pub(crate) fn exception(
        &self,
        declared: DeclaredException,
        invariants: &[Invariant],
        stated: &BTreeSet<Box<str>>,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<Exception> {
        let before = problems.len();
        let DeclaredException { name, excepts, reason, approved_by, ticket, expires } = declared;
        let excepts = match excepts {
            DeclaredExcepted::Invariant { invariant, from, to, reaches } => {
                if !stated.contains(&invariant.text) {
                    problems.push(
                        Diagnostic::error("unknown-name", format!("there is no invariant `{}`", invariant.text))
                            .at(invariant.at)
                            .suggest(&invariant.text, stated.iter().map(|name| &**name)),
                    );
                    return None;
                }
                let claim = invariants.iter().find(|i| i.name == invariant.text).map(|i| &i.claim)?;
                if matches!(claim, Claim::NeverReaches { .. }) != reaches {
                    let (says, word) = if reaches { ("reaches", "to") } else { ("to", "reaches") };
                    problems.push(
                        Diagnostic::error(
                            "exception-shape",
                            format!("the exception says `{says}`, and the invariant `{}` says `{word}`", invariant.text),
                        )
                        .at(name.at.clone())
                        .help(format!("write `{word}`: an exception names a part of what the invariant is about")),
                    );
                }
                Excepted::Invariant { invariant: invariant.text, from: self.callers(from, problems), to: self.called(to, problems) }
            }
            DeclaredExcepted::Lint { code, of } => {
                if !crate::lint::codes().any(|known| *known == *code.text) {
                    problems.push(
                        Diagnostic::error("unknown-name", format!("there is no lint `{}`", code.text))
                            .at(code.at)
                            .help("the lints are listed in docs/diagnostics.md#lints")
                            .suggest(&code.text, crate::lint::codes()),
                    );
                }
                Excepted::Lint { code: code.text, of: of.text }
            }
            DeclaredExcepted::Control { control, of } => Excepted::Control { control: control.text, of: of.map(|n| n.text) },
        };
        (problems.len() == before).then_some(Exception { name: name.text, excepts, reason, approved_by, ticket, expires, at: name.at })
    }

    fn callers(&self, declared: DeclaredSelector, problems: &mut Vec<Diagnostic>) -> Selector {
        let at = declared.at.clone();
        let before = problems.len();
        let selector = self.selector(declared, problems);
        let selected = || self.inventory.services().iter().filter(|s| selector.covers_service(s));
        let of_services = !selector.services.is_empty() || !selector.zones.is_empty() || !selector.data.is_empty();
        if problems.len() == before && of_services {
            if selected().next().is_none() {
                problems.push(selects_nothing("no service", at));
            } else if selected().all(|s| s.identities.is_empty() && s.patterns.is_empty()) {
                problems.push(selects_nothing("no service with an identity", at));
            }
        }
        selector
    }

    fn called(&self, declared: DeclaredSelector, problems: &mut Vec<Diagnostic>) -> Selector {
        let at = declared.at.clone();
        let before = problems.len();
        let selector = self.selector(declared, problems);
        if problems.len() > before {
            return selector;
        }
        let mut services = self.inventory.services().iter().filter(|s| selector.covers_service(s));
        // Undeclared paths have every method, but no operation id.
        let found = services.any(|service| {
            let methods = |endpoint: &Endpoint| match endpoint {
                _ if selector.methods.is_empty() => true,
                Endpoint::Http { methods, .. } => methods.iter().any(|m| selector.methods.contains(m)),
                Endpoint::Connect { .. } => false,
            };
            let declared = (0..service.operations.len()).filter(|o| selector.covers_operation(service, Some(*o)));
            let offered = declared.filter_map(|o| service.operations.get(o)).any(|o| methods(&o.endpoint));
            offered || selector.covers_operation(service, None)
        });
        if !found {
            problems.push(selects_nothing("no operation", at));
        }
        selector
    }

    fn selector(&self, declared: DeclaredSelector, problems: &mut Vec<Diagnostic>) -> Selector {
        let services = self.inventory.services();
        for name in &declared.services {
            if self.targets(std::slice::from_ref(&name.text)).is_empty() {
                problems.push(self.unknown_name(name));
            }
        }
        let zones: Vec<&str> = services.iter().filter_map(|s| s.zone.as_deref()).collect();
        let data: Vec<&str> =
            services.iter().flat_map(|s| s.data.iter().chain(s.operations.iter().flat_map(|o| &o.data))).map(String::as_str).collect();
        let operations: Vec<&str> = services.iter().flat_map(|s| s.operations.iter().map(|o| &*o.id)).collect();
        matches_something(&declared.zones, &zones, "no service is in zone", problems);
        matches_something(&declared.data, &data, "no service touches data of class", problems);
        matches_something(&declared.operations, &operations, "no service has an operation", problems);
        let plain = |names: Vec<Named>| names.into_iter().map(|n| n.text).collect();
        let identities = declared.identities.into_iter().filter_map(|name| match identity_part(&name) {
            Ok(part) => Some(part),
            Err(problem) => {
                problems.push(problem);
                None
            }
        });
        Selector {
            identities: identities.collect(),
            services: plain(declared.services),
            zones: plain(declared.zones),
            data: plain(declared.data),
            operations: plain(declared.operations),
            methods: declared.methods,
        }
    }
}

fn identity_part(name: &Named) -> Result<IdentityPart, Diagnostic> {
    let wrong = |why: &str| {
        Diagnostic::error("invalid-identity", format!("`{}` is not an identity to select: {why}", name.text))
            .at(name.at.clone())
            .help("write a SPIFFE ID, a pattern such as `spiffe://partner.example/**`, `any-authenticated` or `strangers`")
    };
    match &*name.text {
        "any-authenticated" => Ok(IdentityPart::AnyAuthenticated),
        "strangers" => Ok(IdentityPart::Strangers),
        text if IdPattern::is_pattern(text) => text.parse().map(IdentityPart::Pattern).map_err(|e| wrong(&format!("{e}"))),
        text => {
            let id: SpiffeId = text.parse().map_err(|e| wrong(&format!("{e}")))?;
            if id.is_workload() { Ok(IdentityPart::Id(id)) } else { Err(wrong("it has no path")) }
        }
    }
}

fn selects_nothing(what: &str, at: Option<Location>) -> Diagnostic {
    let problem = Diagnostic::error("empty-selector", format!("{what} has all that is asked here, so this would be proved of nothing"));
    let problem = problem.help("all parts of a selector must hold together; take one out, or name what has them all");
    match at {
        Some(at) => problem.at(at),
        None => problem,
    }
}

fn matches_something(names: &[Named], known: &[&str], what: &str, problems: &mut Vec<Diagnostic>) {
    for name in names.iter().filter(|n| !known.contains(&&*n.text)) {
        problems.push(
            Diagnostic::error("empty-selector", format!("{what} `{}`, so this would be proved of nothing", name.text))
                .at(name.at.clone())
                .suggest(&name.text, known.iter().copied()),
        );
    }
}
