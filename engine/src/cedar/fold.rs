//! Conditions that the inventory alone decides, as part of the scope.
//!
//! A condition is a row of parts joined by *and*. A part that reads nothing of the request (`resource.data.contains("pan")`,
//! `principal in Service::"b"`, `Service::"a" has zone`) has one answer for each operation, or for each calling service, in
//! the life of a snapshot. Such parts are decided when the bundle is compiled and narrow the scope; the policy is conditional
//! only if something is left. A part that looks at caller and operation together is left, as is one whose answer for strangers
//! and services the atoms of the table cannot say. Nothing is folded in a condition that can err, or an error could be lost.

use std::sync::Arc;

use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, Effect, Expr, Policy as Tree, PrincipalConstraint, ResourceConstraint, StaticPolicy, Template,
    UnaryOp, Var,
};
use cedar_policy::{Entity, Policy, PolicySet};

use super::analysis;
use crate::cedar::entities::{Callee, Caller, World};
use crate::cedar::policies::{satisfied, stack_bytes};
use crate::id::SpiffeId;
use crate::inventory::Inventory;
use crate::limits::{CEDAR_DEPTH_MAX, FOLD_ATOMS_MAX, FOLD_QUESTIONS_MAX};
use crate::model::Service;
use crate::request::{Context, Method, TargetRef};
use crate::table::{CallerAtom, Scope, TargetAtom};

/// What is left of a policy.
pub(crate) struct Folded {
    pub(crate) scope: Scope,
    pub(crate) conditional: bool,
}

/// Folds the parts of a condition that cannot err. `None` where nothing can be folded.
pub(crate) fn fold(policy: &Policy, scope: &Scope, inventory: &Inventory, world: &World, literals: &[Entity]) -> Option<Folded> {
    let Ok(Tree::Static(tree)) = policy.to_pst() else { return None };
    let mut parts = Vec::new();
    for clause in tree.body().clauses() {
        match clause {
            Clause::When(condition) => split(condition, true, &mut parts),
            Clause::Unless(condition) => split(condition, false, &mut parts),
        }
    }
    let mut folded = Folded { scope: scope.clone(), conditional: false };
    let mut asked = 0;
    for (part, truth) in parts {
        let narrowed = Part::new(part, truth, inventory, world, literals).and_then(|mut part| {
            part.asked = asked;
            let narrowed = part.narrow(part_reads(&part.expression), &folded.scope);
            asked = part.asked;
            narrowed
        });
        match narrowed {
            Some(scope) => folded.scope = scope,
            None => folded.conditional = true,
        }
    }
    Some(folded)
}

/// The parts of a condition that is to come out as `truth`.
fn split(condition: &Arc<Expr>, truth: bool, out: &mut Vec<(Arc<Expr>, bool)>) {
    match &**condition {
        Expr::UnaryOp { op: UnaryOp::Not, expr } => split(expr, !truth, out),
        Expr::BinaryOp { op: BinaryOp::And, left, right } if truth => [left, right].into_iter().for_each(|e| split(e, true, out)),
        Expr::BinaryOp { op: BinaryOp::Or, left, right } if !truth => [left, right].into_iter().for_each(|e| split(e, false, out)),
        _ => out.push((Arc::clone(condition), truth)),
    }
}

/// Whether a part looks at the principal, and at the resource.
fn part_reads(part: &Expr) -> (bool, bool) {
    (analysis::mentions(part, &Var::Principal), analysis::mentions(part, &Var::Resource))
}

struct Part<'a> {
    expression: Arc<Expr>,
    alone: PolicySet,
    inventory: &'a Inventory,
    world: &'a World,
    literals: &'a [Entity],
    nobody: SpiffeId,
    method: Method,
    asked: usize,
}

impl<'a> Part<'a> {
    /// A part that reads nothing of the request.
    fn new(expression: Arc<Expr>, truth: bool, inventory: &'a Inventory, world: &'a World, literals: &'a [Entity]) -> Option<Self> {
        if !analysis::is_fixed(&expression) {
            return None;
        }
        let clause = if truth { Clause::When(Arc::clone(&expression)) } else { Clause::Unless(Arc::clone(&expression)) };
        let template = Template::new("part", Effect::Permit, PrincipalConstraint::Any, ActionConstraint::Any, ResourceConstraint::Any);
        let tree = StaticPolicy::try_from(template.try_with_clauses([clause]).ok()?).ok()?;
        let alone = PolicySet::from_policies([Policy::from_pst(Tree::Static(tree)).ok()?]).ok()?;
        let (nobody, method) = ("spiffe://invalid/nobody".parse().ok()?, Method::parse("GET").ok()?);
        Some(Self { expression, alone, inventory, world, literals, nobody, method, asked: 0 })
    }

    fn narrow(&mut self, (principal, resource): (bool, bool), scope: &Scope) -> Option<Scope> {
        let mut out = scope.clone();
        match (principal, resource) {
            (true, true) => return None,
            (true, false) => out.callers = self.callers(&scope.callers)?,
            (false, true) => out.targets = self.targets(&scope.targets)?,
            (false, false) => {
                let service = self.inventory.services().first()?;
                if !self.holds(None, service, None)? {
                    out.callers = Vec::new();
                }
            }
        }
        (out.callers.len().saturating_mul(out.targets.len()) <= FOLD_ATOMS_MAX).then_some(out)
    }

    /// The answer. `None` where it cannot be had, or enough has been asked.
    fn holds(&mut self, caller: Option<&Service>, service: &Service, operation: Option<usize>) -> Option<bool> {
        self.asked += 1;
        if self.asked > FOLD_QUESTIONS_MAX {
            return None;
        }
        let path = crate::path::CanonicalPath::parse("/").ok()?;
        let target = TargetRef::Http { method: &self.method, path: path.borrowed() };
        let callee = Callee { service, operation: operation.and_then(|o| service.operations.get(o)), target };
        let question = self.world.question(&Caller { id: &self.nobody, service: caller }, &callee, &Context::default()).ok()?;
        let entities = question.entities.upsert_entities(self.literals.iter().cloned(), None).ok()?;
        satisfied(&self.alone, &question.request, &entities, stack_bytes(CEDAR_DEPTH_MAX)).ok()
    }

    fn callers(&mut self, atoms: &[CallerAtom]) -> Option<Vec<CallerAtom>> {
        let services = self.inventory.services();
        let callee = services.first()?;
        let each: Vec<bool> = services.iter().map(|s| self.holds(Some(s), callee, None)).collect::<Option<_>>()?;
        let strangers = self.holds(None, callee, None)?;
        let holds = |n: usize| each.get(n).copied().unwrap_or_default();
        let among = |wanted: &dyn Fn(&Service) -> bool, whole: &CallerAtom| -> Vec<CallerAtom> {
            let members: Vec<usize> = services.iter().enumerate().filter(|(_, s)| wanted(s)).map(|(n, _)| n).collect();
            if members.iter().all(|n| holds(*n)) {
                return vec![whole.clone()];
            }
            members.into_iter().filter(|n| holds(*n)).map(CallerAtom::Service).collect()
        };
        let mut out = Vec::new();
        for atom in atoms {
            match atom {
                CallerAtom::Anyone if strangers => match each.iter().all(|h| *h) {
                    true => out.push(CallerAtom::Anyone),
                    false => return None,
                },
                CallerAtom::Anyone | CallerAtom::AnyAuthenticated => out.extend(among(&|_| true, &CallerAtom::AnyAuthenticated)),
                CallerAtom::Group(group) => out.extend(among(&|s| s.groups.contains(group), atom)),
                CallerAtom::Service(n) => out.extend(holds(*n).then(|| atom.clone())),
                CallerAtom::Identity(id) => out.extend(self.inventory.identify(id).map_or(strangers, holds).then(|| atom.clone())),
                CallerAtom::Pattern(_) => match (strangers, each.iter().all(|h| *h), each.iter().any(|h| *h)) {
                    (true, true, _) => out.push(atom.clone()),
                    (false, _, false) => {}
                    _ => return None,
                },
            }
        }
        out.sort();
        out.dedup();
        Some(out)
    }

    fn targets(&mut self, atoms: &[TargetAtom]) -> Option<Vec<TargetAtom>> {
        let mut out = Vec::new();
        for atom in atoms {
            let cells = self.cells(atom);
            let answers: Vec<bool> = cells
                .iter()
                .map(|(service, operation)| self.holds(None, self.inventory.services().get(*service)?, *operation))
                .collect::<Option<_>>()?;
            if answers.iter().all(|holds| *holds) {
                out.push(atom.clone());
                continue;
            }
            out.extend(cells.into_iter().zip(answers).filter(|(_, holds)| *holds).map(|((service, operation), _)| match operation {
                Some(operation) => TargetAtom::Operation { service, operation },
                None => TargetAtom::Undeclared { service },
            }));
        }
        out.sort();
        out.dedup();
        Some(out)
    }

    /// The operations of an atom; `None` stands for the undeclared one.
    fn cells(&self, atom: &TargetAtom) -> Vec<(usize, Option<usize>)> {
        let of = |wanted: &dyn Fn(usize, &Service) -> bool, declared: bool| -> Vec<(usize, Option<usize>)> {
            let services = self.inventory.services().iter().enumerate().filter(|(n, s)| wanted(*n, s));
            let each = services.flat_map(|(n, s)| {
                (0..s.operations.len()).map(Some).chain((!declared).then_some(None)).map(move |operation| (n, operation))
            });
            each.collect()
        };
        match atom {
            TargetAtom::Anything => of(&|_, _| true, false),
            TargetAtom::Service { service, declared } => of(&|n, _| n == *service, *declared),
            TargetAtom::Group { group, declared } => of(&|_, s| s.groups.contains(group), *declared),
            TargetAtom::Operation { service, operation } => vec![(*service, Some(*operation))],
            TargetAtom::Undeclared { service } => vec![(*service, None)],
        }
    }
}
