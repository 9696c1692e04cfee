//! The footprint of a condition: which parts of a request it can read.
//!
//! Within one cell of the table the caller's service, the called service and the operation are given, so what follows from
//! them (`resource`, attributes of entities, `principal in Service::"…"`) is not a read. What depends on the identity beyond
//! its service (`principal ==`, `in Pattern::"…"`) is.

use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, Var};

use super::{expression, times};
use crate::footprint::{Footprint, Names, Reads};

/// What the clauses of a policy read together.
pub(super) fn footprint(clauses: &[Clause]) -> Footprint {
    let mut walk = Walk { reads: Reads::default(), unbounded: None };
    for clause in clauses {
        walk.visit(expression(clause));
    }
    match walk.unbounded {
        Some(why) => Footprint::Unbounded(why),
        None => Footprint::Bounded(walk.reads),
    }
}

struct Walk {
    reads: Reads,
    unbounded: Option<String>,
}

impl Walk {
    fn visit(&mut self, expression: &Expr) {
        if let Some(path) = context_path(expression) {
            return self.value_at(&path);
        }
        match expression {
            Expr::Literal(_) | Expr::Var(Var::Resource) => {}
            Expr::Var(Var::Principal) => self.reads.principal = true,
            Expr::Var(Var::Action) => self.reads.method = true,
            Expr::UnaryOp { expr, .. } | Expr::GetAttr { expr, .. } | Expr::Like { expr, .. } => self.visit(expr),
            Expr::HasAttr { expr, attrs } => match context_path(expr) {
                Some(mut path) => {
                    path.extend(attrs.iter().map(|a| &**a));
                    self.presence_of(&path);
                }
                None => self.visit(expr),
            },
            Expr::BinaryOp { op, left, right } => self.binary(*op, left, right),
            Expr::Is { expr, in_expr, .. } => match in_expr {
                // Every principal is a `Workload`, every resource an `Operation`.
                None if matches!(**expr, Expr::Var(_)) => {}
                None => self.visit(expr),
                Some(ancestors) => self.membership(expr, ancestors),
            },
            Expr::IfThenElse { cond, then_expr, else_expr } => [cond, then_expr, else_expr].into_iter().for_each(|e| self.visit(e)),
            Expr::Set(items) => items.iter().for_each(|e| self.visit(e)),
            Expr::Record(fields) => fields.values().for_each(|e| self.visit(e)),
            _ => self.give_up("it has a form that the analysis does not know"),
        }
    }

    fn give_up(&mut self, why: &str) {
        self.unbounded.get_or_insert_with(|| why.to_owned());
    }

    fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr) {
        match op {
            BinaryOp::Eq | BinaryOp::NotEq | BinaryOp::Less | BinaryOp::LessEq | BinaryOp::Greater | BinaryOp::GreaterEq => {
                self.comparison(left, right);
            }
            BinaryOp::In => self.membership(left, right),
            BinaryOp::Contains => match left {
                Expr::Set(items) if times::term(right).is_some() => items.iter().for_each(|item| self.comparison(item, right)),
                _ => [left, right].into_iter().for_each(|e| self.visit(e)),
            },
            _ => [left, right].into_iter().for_each(|e| self.visit(e)),
        }
    }

    fn comparison(&mut self, left: &Expr, right: &Expr) {
        if let (Some(a), Some(b)) = (times::term(left), times::term(right))
            && times::compare(a, b, &mut self.reads.time).is_some()
        {
            return;
        }
        self.visit(left);
        self.visit(right);
    }

    /// `principal in Service::"…"` and the like follow from the caller's service; other ancestors (patterns, identities) do
    /// not.
    fn membership(&mut self, member: &Expr, ancestors: &Expr) {
        if *member != Expr::Var(Var::Principal) || !given_by_the_service(ancestors) {
            self.visit(member);
            self.visit(ancestors);
        }
    }

    /// The value of `context.path` is read, all of it.
    fn value_at(&mut self, path: &[&str]) {
        match path {
            [] => {
                self.reads.source_ip = true;
                for all in [&mut self.reads.headers, &mut self.reads.query] {
                    *all = Names::All;
                }
                self.token(Names::All);
                self.give_up("it reads `context` as a whole, the time included");
            }
            ["time", ..] => self.give_up("it uses `context.time` other than in a comparison with constants"),
            ["source_ip", ..] => self.reads.source_ip = true,
            ["headers"] => self.reads.headers = Names::All,
            ["headers", name, ..] => self.reads.headers.add(name),
            ["query"] => self.reads.query = Names::All,
            ["query", name, ..] => self.reads.query.add(name),
            ["jwt"] => self.token(Names::All),
            ["jwt", name, ..] => self.claim(name),
            _ => self.give_up("it reads an attribute of `context` that the analysis does not know"),
        }
    }

    /// Whether there is anything at `context.path` is read.
    fn presence_of(&mut self, path: &[&str]) {
        match path {
            // These are always there.
            [] | ["time" | "headers" | "query"] => {}
            ["jwt"] => self.reads.token = true,
            _ => self.value_at(path),
        }
    }

    fn claim(&mut self, name: &str) {
        let mut names = Names::default();
        // `scopes` are the words of `scope`.
        names.add(if name == "scopes" { "scope" } else { name });
        self.token(names);
    }

    fn token(&mut self, claims: Names) {
        let more = Reads { token: true, claims, ..Reads::default() };
        self.reads.union(&more);
    }
}

/// The attributes after `context` in `context.a.b`; `None` for what is not such a path.
fn context_path(expression: &Expr) -> Option<Vec<&str>> {
    match expression {
        Expr::Var(Var::Context) => Some(Vec::new()),
        Expr::GetAttr { expr, attr } => {
            let mut path = context_path(expr)?;
            path.push(attr);
            Some(path)
        }
        _ => None,
    }
}

/// Whether an identity is in these ancestors exactly when its service is.
fn given_by_the_service(ancestors: &Expr) -> bool {
    match ancestors {
        Expr::Literal(Literal::EntityUID(uid)) => matches!(uid.ty.to_string().as_str(), "Service" | "Group"),
        Expr::Set(items) => items.iter().all(|item| given_by_the_service(item)),
        _ => false,
    }
}
