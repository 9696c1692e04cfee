//! What can be said of a Cedar condition before any request: what it reads, and whether it can err.
//!
//! Everything here looks at Cedar's public syntax tree of a policy that strict validation has accepted, and errs on one side
//! only: a footprint may name too much and a condition may be said to err that never does, never the other way round. What
//! the analysis does not know (a form of a later Cedar) is taken to read everything and to be able to err.

mod reads;
mod times;

use cedar_policy::Policy;
use cedar_policy::pst::{Clause, Expr, Policy as Tree};

use crate::footprint::Footprint;

/// What is known of a policy's condition. Its scope is not part of it: the decision table has dealt with that.
#[derive(Debug)]
pub(crate) struct Analysis {
    pub(crate) footprint: Footprint,
}

impl Analysis {
    /// Analyses the conditions of a validated policy.
    pub(crate) fn of(policy: &Policy) -> Self {
        match policy.to_pst() {
            Ok(Tree::Static(tree)) => Self { footprint: reads::footprint(tree.body().clauses()) },
            // Templates are refused before; a tree that cannot be had cannot be looked into.
            _ => Self { footprint: Footprint::Unbounded("the condition cannot be looked into".to_owned()) },
        }
    }
}

/// The expression of a clause.
fn expression(clause: &Clause) -> &Expr {
    match clause {
        Clause::When(expression) | Clause::Unless(expression) => expression,
    }
}

#[cfg(test)]
mod tests;
