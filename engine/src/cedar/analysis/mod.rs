//! What can be said of a Cedar condition before any request: what it reads, and whether it can err.
//!
//! Everything here looks at Cedar's public syntax tree of a policy that strict validation has accepted, and errs on one side
//! only: a footprint may name too much and a condition may be said to err that never does, never the other way round. What
//! the analysis does not know (a form of a later Cedar) is taken to read everything and to be able to err.

mod errors;
mod literals;
mod reads;
mod times;

use cedar_policy::Policy;
use cedar_policy::pst::{Clause, EntityUID, Expr, Policy as Tree};

pub(crate) use errors::Fault;

use crate::footprint::Footprint;

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
