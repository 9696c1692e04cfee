//! The scope of a Cedar policy as the atoms of the decision table.

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use crate::cedar::{ANY_AUTHENTICATED, lower, schema};
use crate::diagnostic::{Diagnostic, Location};
use crate::id::{IdPattern, SpiffeId};
use crate::inventory::Inventory;
use crate::request::{METHODS, Method};
use crate::table::{CONNECT, CallerAtom, MethodMask, Methods, Scope, TargetAtom};

/// Takes a policy's scope apart.
pub(crate) struct Scopes<'a, 'p> {
    pub(crate) inventory: &'a Inventory,
    pub(crate) methods: &'p mut Methods,
    pub(crate) at: &'a Location,
    pub(crate) text: &'a str,
    pub(crate) problems: &'p mut Vec<Diagnostic>,
}

impl Scopes<'_, '_> {
    /// The scope as the decision table knows it. `None` where something is wrong with it, which is then told.
    pub(crate) fn scope(&mut self, policy: &Policy) -> Option<Scope> {
        let caller = self.caller(&policy.principal_constraint())?;
        let target = self.target(&policy.resource_constraint())?;
        let methods = self.methods(&policy.action_constraint())?;
        Some(Scope { callers: vec![caller], targets: vec![target], methods })
    }

    fn unknown(&mut self, uid: &EntityUid, what: &str) {
        let problem =
            Diagnostic::error("unknown-entity", format!("`{uid}` is not {what} of the inventory, so this policy can never apply"));
        self.problems.push(problem.at(self.at.clone()).with_source(self.text));
    }

    fn caller(&mut self, constraint: &PrincipalConstraint) -> Option<CallerAtom> {
        let uid = match constraint {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => return Some(CallerAtom::Anyone),
            PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) | PrincipalConstraint::IsIn(_, uid) => uid,
        };
        let id = uid.id().unescaped();
        let found = match uid.type_name().to_string().as_str() {
            "Workload" => id.parse::<SpiffeId>().ok().map(CallerAtom::Identity),
            "Pattern" => id.parse::<IdPattern>().ok().map(CallerAtom::Pattern),
            "Service" => self.inventory.index(id).map(CallerAtom::Service),
            "Group" if id == ANY_AUTHENTICATED => Some(CallerAtom::AnyAuthenticated),
            "Group" => self.inventory.group(id).map(|g| CallerAtom::Group(g.name.clone())),
            _ => None,
        };
        if found.is_none() {
            self.unknown(uid, "an identity, identity pattern, service or group");
        }
        found
    }

    fn target(&mut self, constraint: &ResourceConstraint) -> Option<TargetAtom> {
        let uid = match constraint {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => return Some(TargetAtom::Anything),
            ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid) => uid,
        };
        let id = uid.id().unescaped();
        let found = match uid.type_name().to_string().as_str() {
            "Service" => self.inventory.index(id).map(|service| TargetAtom::Service { service, declared: false }),
            "Group" if id == ANY_AUTHENTICATED => Some(TargetAtom::Anything),
            "Group" => self.inventory.group(id).map(|g| TargetAtom::Group { group: g.name.clone(), declared: false }),
            "Operation" => self.operation(id),
            _ => None,
        };
        if found.is_none() {
            self.unknown(uid, "an operation, service or group");
        }
        found
    }

    fn operation(&self, id: &str) -> Option<TargetAtom> {
        let (name, _) = id.split_once('/')?;
        let service = self.inventory.index(name)?;
        if id == lower::undeclared(name) {
            return Some(TargetAtom::Undeclared { service });
        }
        let operations = &self.inventory.services().get(service)?.operations;
        let operation = operations.iter().position(|o| lower::operation(name, &o.id) == id)?;
        Some(TargetAtom::Operation { service, operation })
    }

    fn methods(&mut self, constraint: &ActionConstraint) -> Option<MethodMask> {
        let uids = match constraint {
            ActionConstraint::Any => return Some(MethodMask::ALL),
            ActionConstraint::Eq(uid) => std::slice::from_ref(uid),
            ActionConstraint::In(uids) => uids.as_slice(),
        };
        let mut mask = MethodMask::NONE;
        for uid in uids {
            let name = uid.id().unescaped();
            let group = METHODS.iter().copied().filter(|m| schema::action_group(m) == Some(name));
            let methods: Vec<&str> = if matches!(name, "read" | "write") { group.collect() } else { vec![name] };
            for method in methods {
                let bit =
                    if method == "connect" { Some(CONNECT) } else { Method::parse(method).ok().and_then(|m| self.methods.intern(&m)) };
                let Some(bit) = bit else {
                    self.problems.push(
                        Diagnostic::error("too-many-methods", "policies and operations name too many different methods")
                            .at(self.at.clone()),
                    );
                    return None;
                };
                mask = mask.or(bit.mask());
            }
        }
        Some(mask)
    }
}
