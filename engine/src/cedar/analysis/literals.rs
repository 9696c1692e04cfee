//! The entities that a condition names in order to look something up: an attribute, or what they are in.
//!
//! Where an entity is only compared with, or is what another is asked to be in, its name is all that is needed, and evaluation
//! does without its data. In doubt an entity is counted in.

use std::collections::BTreeMap;

use cedar_policy::pst::{BinaryOp, Clause, EntityUID, Expr, Literal};

use super::expression;

/// The entities whose data the clauses of a policy can need, by name, each once.
pub(super) fn looked_into(clauses: &[Clause]) -> Vec<EntityUID> {
    let mut out = BTreeMap::new();
    for clause in clauses {
        visit(expression(clause), &mut out);
    }
    out.into_values().collect()
}

fn visit(expression: &Expr, out: &mut BTreeMap<String, EntityUID>) {
    match expression {
        Expr::Literal(Literal::EntityUID(uid)) => drop(out.insert(uid.to_string(), uid.clone())),
        Expr::UnaryOp { expr, .. } | Expr::GetAttr { expr, .. } | Expr::HasAttr { expr, .. } | Expr::Like { expr, .. } => visit(expr, out),
        Expr::BinaryOp { op, left, right } => {
            let compared = matches!(op, BinaryOp::Eq | BinaryOp::NotEq);
            for (side, named) in [(left, compared), (right, compared || *op == BinaryOp::In)] {
                if !(named && is_name(side)) {
                    visit(side, out);
                }
            }
        }
        Expr::Is { expr, in_expr, .. } => {
            visit(expr, out);
            if let Some(ancestors) = in_expr.as_ref().filter(|e| !is_name(e)) {
                visit(ancestors, out);
            }
        }
        Expr::IfThenElse { cond, then_expr, else_expr } => [cond, then_expr, else_expr].into_iter().for_each(|e| visit(e, out)),
        Expr::Set(items) => items.iter().for_each(|e| visit(e, out)),
        Expr::Record(fields) => fields.values().for_each(|e| visit(e, out)),
        _ => {}
    }
}

/// An entity, or a list of them, written out.
fn is_name(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(Literal::EntityUID(_)) => true,
        Expr::Set(items) => items.iter().all(|e| is_name(e)),
        _ => false,
    }
}
