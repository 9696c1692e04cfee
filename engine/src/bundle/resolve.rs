//! What the names of a bundle refer to. A name that refers to nothing is an error: a grant, a proof or a test about nothing
//! would look like one about something.

use std::collections::{BTreeMap, BTreeSet};

use crate::bundle::condition::{DeclaredCondition, DeclaredJwt, DeclaredValues};
use crate::bundle::declare::{Declared, Named};
use crate::bundle::policy::DeclaredPermission;
use crate::bundle::suite::DeclaredSuite;
use crate::decision::Effect;
use crate::diagnostic::Diagnostic;
use crate::id::{IdPattern, SpiffeId};
use crate::inventory::Inventory;
use crate::limits::GROUP_DEPTH_MAX;
use crate::model::{
    AttributeType, Caller, Condition, Exception, Group, Invariant, JwtCondition, Operations, Permission, Service, TestSuite, Visible, Zone,
};
use crate::request::AttributeValue;

/// A bundle whose names all refer to something.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) inventory: Inventory,
    /// Those in force.
    pub(crate) permissions: Vec<Permission>,
    /// Those in dry-run.
    pub(crate) dry_run: Vec<Permission>,
    pub(crate) invariants: Vec<Invariant>,
    pub(crate) zones: Vec<Zone>,
    pub(crate) exceptions: Vec<Exception>,
    pub(crate) suites: Vec<TestSuite>,
}

/// Resolves what was declared. Problems are collected; what they concern is left out.
pub(crate) fn resolve(declared: Declared, problems: &mut Vec<Diagnostic>) -> Resolved {
    let Declared { mut services, groups, permissions, invariants, zones, exceptions, suites } = declared;
    unique(services.iter().map(|s| (&*s.name, &s.at)).chain(groups.iter().map(|(g, _)| (&*g.name, &g.at))), "service or group", problems);
    unique(permissions.iter().map(|p| (&*p.name.text, &p.name.at)), "permission", problems);
    unique(invariants.iter().map(|i| (&*i.name.text, &i.name.at)), "invariant", problems);
    unique(zones.iter().map(|z| (&*z.name, &z.at)), "zone", problems);
    unique(exceptions.iter().map(|e| (&*e.name.text, &e.name.at)), "exception", problems);
    known_zones(&services, &zones, problems);
    memberships(&mut services, &groups, problems);
    let groups: Vec<Group> = groups.into_iter().map(|(g, _)| g).collect();
    let inventory = Inventory::build(services, groups, problems);
    let names = Names { inventory: &inventory };
    let permissions: Vec<Permission> = permissions.into_iter().filter_map(|p| names.permission(p, problems)).collect();
    let stated: BTreeSet<Box<str>> = invariants.iter().map(|i| i.name.text.clone()).collect();
    let invariants: Vec<Invariant> = invariants.into_iter().filter_map(|i| names.invariant(i, problems)).collect();
    let exceptions = exceptions.into_iter().filter_map(|e| names.exception(e, &invariants, &stated, problems)).collect();
    let fixtures = DeclaredSuite::fixtures(&suites, problems);
    let suites = suites.into_iter().map(|s| s.resolve(&names, &permissions, &fixtures, problems)).collect();
    let (dry_run, permissions) = permissions.into_iter().partition(|p| p.dry_run);
    Resolved { inventory, permissions, dry_run, invariants, zones, exceptions, suites }
}

fn unique<'a>(items: impl Iterator<Item = (&'a str, &'a crate::diagnostic::Location)>, what: &str, problems: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<&str, &crate::diagnostic::Location> = BTreeMap::new();
    for (name, at) in items {
        if let Some(first) = seen.get(name) {
            problems.push(
                Diagnostic::error("duplicate-name", format!("there is already a {what} `{name}`"))
                    .at(at.clone())
                    .help(format!("the first one is at {}", first.short())),
            );
        } else {
            seen.insert(name, at);
        }
    }
}

/// Where zones are declared, every zone that is named is one of them and somebody lives in each: what is asked of a
/// zone must not be dodged by a slip of the pen.
fn known_zones(services: &[Service], zones: &[Zone], problems: &mut Vec<Diagnostic>) {
    if zones.is_empty() {
        return;
    }
    let known: BTreeSet<&str> = zones.iter().map(|z| &*z.name).collect();
    let lived_in: BTreeSet<&str> = services.iter().filter_map(|s| s.zone.as_deref()).collect();
    for service in services {
        if let Some(zone) = service.zone.as_deref().filter(|zone| !known.contains(zone)) {
            problems.push(
                Diagnostic::error("unknown-zone", format!("`{}` lives in the zone `{zone}`, which is not declared", service.name))
                    .at(service.at.clone())
                    .help("where one zone is declared, all are; add `kind: Zone`")
                    .suggest(zone, known.iter().copied()),
            );
        }
    }
    for zone in zones.iter().filter(|z| !lived_in.contains(&*z.name)) {
        problems.push(
            Diagnostic::error("empty-zone", format!("no service lives in the zone `{}`, so what it asks is asked of nothing", zone.name))
                .at(zone.at.clone())
                .suggest(&zone.name, lived_in.iter().copied().filter(|name| !known.contains(name))),
        );
    }
}

/// Gives each service the groups it is in, directly or through groups.
fn memberships(services: &mut [Service], groups: &[(Group, Vec<Named>)], problems: &mut Vec<Diagnostic>) {
    let known: BTreeSet<&str> = services.iter().map(|s| &*s.name).chain(groups.iter().map(|(g, _)| &*g.name)).collect();
    let mut parents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (group, members) in groups {
        for member in members {
            if known.contains(&*member.text) {
                parents.entry(&member.text).or_default().push(&group.name);
            } else {
                problems.push(
                    Diagnostic::error("unknown-name", format!("there is no service or group `{}`", member.text))
                        .at(member.at.clone())
                        .suggest(&member.text, known.iter().copied()),
                );
            }
        }
    }
    for (group, _) in groups {
        if let Some(path) = cycle(&group.name, &parents) {
            problems.push(
                Diagnostic::error("group-cycle", format!("group `{}` contains itself: {path}", group.name))
                    .at(group.at.clone())
                    .help("take one of the groups out of the other"),
            );
        }
    }
    let found: Vec<BTreeSet<Box<str>>> = services.iter().map(|service| ancestors(&service.name, &parents)).collect();
    for (service, groups) in services.iter_mut().zip(found) {
        service.groups = groups;
    }
}

fn ancestors(name: &str, parents: &BTreeMap<&str, Vec<&str>>) -> BTreeSet<Box<str>> {
    let mut out: BTreeSet<Box<str>> = BTreeSet::new();
    let mut open: Vec<&str> = parents.get(name).cloned().unwrap_or_default();
    while let Some(group) = open.pop() {
        if out.insert(group.into()) {
            open.extend(parents.get(group).into_iter().flatten());
        }
    }
    out
}

/// The way from a group up to itself, if there is one: the shortest, as `a ← b ← a`.
fn cycle(name: &str, parents: &BTreeMap<&str, Vec<&str>>) -> Option<String> {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut open = vec![vec![name]];
    for _ in 0..GROUP_DEPTH_MAX {
        let mut next = Vec::new();
        for path in open {
            for parent in path.last().and_then(|last| parents.get(last)).into_iter().flatten() {
                if *parent == name {
                    let names: Vec<String> = path.iter().chain([parent]).map(|n| format!("`{n}`")).collect();
                    return Some(names.join(" is in "));
                }
                if seen.insert(parent) {
                    next.push(path.iter().copied().chain([*parent]).collect());
                }
            }
        }
        open = next;
    }
    None
}

/// Looks names up in the inventory and complains well.
pub(crate) struct Names<'a> {
    pub(crate) inventory: &'a Inventory,
}

impl<'a> Names<'a> {
    pub(crate) fn service(&self, name: &str) -> Option<&'a Service> {
        self.inventory.service(name)
    }

    pub(crate) fn unknown_service(&self, name: &Named) -> Diagnostic {
        Diagnostic::error("unknown-service", format!("there is no service `{}`", name.text))
            .at(name.at.clone())
            .suggest(&name.text, self.inventory.services().iter().map(|s| &*s.name))
    }

    /// The identity that a test case asks as: a SPIFFE ID, or a service's first identity.
    pub(crate) fn principal(&self, name: &Named) -> Result<SpiffeId, Diagnostic> {
        if name.text.starts_with("spiffe://") {
            return name.text.parse::<SpiffeId>().ok().filter(SpiffeId::is_workload).ok_or_else(|| {
                Diagnostic::error("invalid-identity", format!("`{}` is not a workload's SPIFFE ID", name.text)).at(name.at.clone())
            });
        }
        let service = self.service(&name.text).ok_or_else(|| self.unknown_service(name))?;
        let first = service.identities.first().cloned().or_else(|| service.patterns.first().and_then(IdPattern::example));
        first.ok_or_else(|| {
            Diagnostic::error("no-identity", format!("`{}` has no identity to ask as", name.text))
                .at(name.at.clone())
                .help("write a SPIFFE ID instead")
        })
    }

    fn caller(&self, name: Named) -> Result<Caller, Diagnostic> {
        if &*name.text == "any-authenticated" {
            return Ok(Caller::AnyAuthenticated);
        }
        if name.text.starts_with("spiffe://") {
            let wrong = |why: String| {
                Diagnostic::error("invalid-identity", format!("`{}` is not a SPIFFE ID: {why}", name.text)).at(name.at.clone())
            };
            if IdPattern::is_pattern(&name.text) {
                return name.text.parse().map(Caller::Pattern).map_err(|e| wrong(format!("{e}")));
            }
            let id: SpiffeId = name.text.parse().map_err(|e| wrong(format!("{e}")))?;
            return if id.is_workload() { Ok(Caller::Identity(id)) } else { Err(wrong("it has no path".to_owned())) };
        }
        if self.service(&name.text).is_some() {
            return Ok(Caller::Service(name.text));
        }
        if self.inventory.group(&name.text).is_some() {
            return Ok(Caller::Group(name.text));
        }
        Err(self.unknown_name(&name))
    }

    pub(crate) fn unknown_name(&self, name: &Named) -> Diagnostic {
        let known = self.inventory.services().iter().map(|s| &*s.name).chain(self.inventory.groups().iter().map(|g| &*g.name));
        Diagnostic::error("unknown-name", format!("there is no service or group `{}`", name.text))
            .at(name.at.clone())
            .suggest(&name.text, known)
    }

    /// The services a list of names stands for.
    pub(crate) fn targets(&self, names: &[Box<str>]) -> Vec<&'a Service> {
        self.inventory.services().iter().filter(|s| names.iter().any(|n| *n == s.name || s.groups.contains(n))).collect()
    }

    fn permission(&self, declared: DeclaredPermission, problems: &mut Vec<Diagnostic>) -> Option<Permission> {
        let before = problems.len();
        let DeclaredPermission { name, effect, from, to, operations, methods, when, limit, dry_run, governance } = declared;
        let mut callers = Vec::new();
        for caller in from {
            match self.caller(caller) {
                Ok(caller) => callers.push(caller),
                Err(problem) => problems.push(problem),
            }
        }
        for target in &to {
            if self.service(&target.text).is_none() && self.inventory.group(&target.text).is_none() {
                problems.push(self.unknown_name(target));
            }
        }
        let to: Vec<Box<str>> = to.into_iter().map(|n| n.text).collect();
        let targets = self.targets(&to);
        let operations = operations_of(operations, &targets, problems);
        let when = Typed { targets: &targets, effect, problems }.condition(when);
        let whole = problems.len() == before && !callers.is_empty() && !to.is_empty();
        whole.then_some(Permission {
            name: name.text,
            effect,
            from: callers,
            to,
            operations,
            methods,
            when,
            limit,
            dry_run,
            governance,
            at: name.at,
        })
    }
}

fn operations_of(names: Vec<Named>, targets: &[&Service], problems: &mut Vec<Diagnostic>) -> Operations {
    if let [only] = names.as_slice() {
        match &*only.text {
            "*" => return Operations::Declared,
            "any-path" => return Operations::AnyPath,
            _ => {}
        }
    }
    let known = || targets.iter().flat_map(|s| s.operations.iter().map(|o| &*o.id));
    for name in names.iter().filter(|n| !targets.is_empty() && !known().any(|id| *id == *n.text)) {
        let services: Vec<String> = targets.iter().map(|s| format!("`{}`", s.name)).collect();
        let message = match &*name.text {
            "*" | "any-path" => format!("`{}` stands alone, not beside operation ids", name.text),
            other => format!("{} has no operation `{other}`", services.join(", ")),
        };
        problems.push(Diagnostic::error("unknown-operation", message).at(name.at.clone()).suggest(&name.text, known()));
    }
    Operations::Listed(names.into_iter().map(|n| n.text).collect())
}

/// Gives the attributes of a condition the types that the destination services declare.
struct Typed<'a, 'p> {
    targets: &'a [&'a Service],
    effect: Effect,
    problems: &'p mut Vec<Diagnostic>,
}

impl Typed<'_, '_> {
    fn condition(&mut self, when: DeclaredCondition) -> Condition {
        let DeclaredCondition { jwt, source, time, not_before, expires, headers, query } = when;
        Condition {
            jwt: jwt.map(|jwt| self.jwt(jwt)),
            source,
            time,
            not_before,
            expires,
            headers: self.values(headers, "header", "headers", |v| &v.headers),
            query: self.values(query, "query parameter", "query", |v| &v.query),
        }
    }

    fn jwt(&mut self, jwt: DeclaredJwt) -> JwtCondition {
        let plain = |names: Vec<Named>| names.into_iter().map(|n| n.text).collect();
        JwtCondition {
            issuer: plain(jwt.issuer),
            audience: plain(jwt.audience),
            scopes: plain(jwt.scopes),
            scopes_any: plain(jwt.scopes_any),
            claims: self.values(jwt.claims, "claim", "claims", |v| &v.claims),
        }
    }

    fn values(
        &mut self,
        declared: DeclaredValues,
        what: &str,
        field: &str,
        of: fn(&Visible) -> &BTreeMap<Box<str>, AttributeType>,
    ) -> BTreeMap<Box<str>, Vec<AttributeValue>> {
        let mut out = BTreeMap::new();
        for (name, values) in declared {
            let Some(kind) = self.kind(&name, what, field, of) else { continue };
            if self.effect == Effect::Deny && what == "header" && kind == AttributeType::Text {
                self.problems.push(
                    Diagnostic::error(
                        "dodgeable-header",
                        format!("a caller can dodge this prohibition by sending `{}` with two values", name.text),
                    )
                    .at(name.at.clone())
                    .help("declare the header as `list` in the inventory: each value is then compared by itself"),
                );
            }
            let element = if kind == AttributeType::List { AttributeType::Text } else { kind };
            let mut wanted = Vec::new();
            for value in values {
                match element.coerce(&AttributeValue::Text(value.text.clone())) {
                    Ok(value) => wanted.push(value),
                    Err(why) => self.problems.push(
                        Diagnostic::error(
                            "wrong-type",
                            format!("`{}` {why}, and `{}` is declared as {}", value.text, name.text, kind.as_str()),
                        )
                        .at(value.at),
                    ),
                }
            }
            wanted.sort();
            out.insert(name.text, wanted);
        }
        out
    }

    fn kind(
        &mut self,
        name: &Named,
        what: &str,
        field: &str,
        of: fn(&Visible) -> &BTreeMap<Box<str>, AttributeType>,
    ) -> Option<AttributeType> {
        let mut kind = None;
        for service in self.targets {
            let declared = of(&service.visible);
            match declared.get(&name.text) {
                Some(found) => kind = Some(*found),
                None => {
                    let mut problem = Diagnostic::error(
                        "undeclared-attribute",
                        format!("`{}` does not make the {what} `{}` visible to policies", service.name, name.text),
                    )
                    .at(name.at.clone())
                    .suggest(&name.text, declared.keys().map(|k| &**k));
                    if problem.help.is_none() {
                        problem = problem.help(format!("declare it there: `{field}: {{{}: string}}`; it is then recorded too", name.text));
                    }
                    self.problems.push(problem);
                    return None;
                }
            }
        }
        kind
    }
}
