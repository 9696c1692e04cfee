//! What can be said of a Cedar condition before any request: what it reads, and whether it can err.
//!
//! Everything here looks at Cedar's public syntax tree of a policy that strict validation has accepted, and errs on one side
//! only: a footprint may name too much and a condition may be said to err that never does, never the other way round. What
//! the analysis does not know (a form of a later Cedar) is taken to read everything and to be able to err.

mod errors;
mod literals;
mod reads;
mod times;

use std::sync::Arc;

use cedar_policy::Policy;
use cedar_policy::pst::{Clause, EntityUID, Expr, Policy as Tree, Var};

pub(crate) use errors::Fault;

use crate::footprint::{Footprint, Reads};

/// What is known of a policy's condition. Its scope is not part of it: the decision table has dealt with that.
#[derive(Debug)]
pub(crate) struct Analysis {
    /// What it can read.
    pub(crate) footprint: Footprint,
    /// The parts of it that can err, as the syntax tree writes them; where there are none, it cannot err.
    pub(crate) faults: Vec<(String, Fault)>,
    /// The entities that are named so that something of them is looked up.
    pub(crate) literals: Vec<EntityUID>,
}

impl Analysis {
    /// Analyses the conditions of a validated policy. `exists` tells which entities are in the store whatever the request.
    pub(crate) fn of(policy: &Policy, exists: &dyn Fn(&EntityUID) -> bool) -> Self {
        // Templates are refused before; a tree that cannot be had cannot be looked into.
        let Ok(Tree::Static(tree)) = policy.to_pst() else {
            return Self {
                footprint: Footprint::Unbounded("the condition cannot be looked into".to_owned()),
                faults: vec![(String::new(), Fault::Unknown)],
                literals: Vec::new(),
            };
        };
        let clauses = tree.body().clauses();
        let faults = errors::sites(clauses, exists).into_iter().map(|site| (written(site.expression), site.fault)).collect();
        Self { footprint: reads::footprint(clauses), faults, literals: literals::looked_into(clauses) }
    }
}

/// Whether a part of a condition reads nothing of the request but what the cell of the table gives.
pub(super) fn is_fixed(part: &Arc<Expr>) -> bool {
    reads::footprint(&[Clause::When(Arc::clone(part))]) == Footprint::Bounded(Reads::default())
}

/// Whether a variable stands in an expression.
pub(super) fn mentions(expression: &Expr, variable: &Var) -> bool {
    match expression {
        Expr::Var(var) => var == variable,
        Expr::Literal(_) => false,
        Expr::UnaryOp { expr, .. } | Expr::GetAttr { expr, .. } | Expr::HasAttr { expr, .. } | Expr::Like { expr, .. } => {
            mentions(expr, variable)
        }
        Expr::BinaryOp { left, right, .. } => mentions(left, variable) || mentions(right, variable),
        Expr::Is { expr, in_expr, .. } => mentions(expr, variable) || in_expr.as_ref().is_some_and(|e| mentions(e, variable)),
        Expr::IfThenElse { cond, then_expr, else_expr } => [cond, then_expr, else_expr].into_iter().any(|e| mentions(e, variable)),
        Expr::Set(items) => items.iter().any(|e| mentions(e, variable)),
        Expr::Record(fields) => fields.values().any(|e| mentions(e, variable)),
        _ => true,
    }
}

/// The expression of a clause.
fn expression(clause: &Clause) -> &Expr {
    match clause {
        Clause::When(expression) | Clause::Unless(expression) => expression,
    }
}

/// An expression in Cedar's own syntax.
fn written(expression: &Expr) -> String {
    expression.to_string()
}

#[cfg(test)]
mod tests;
