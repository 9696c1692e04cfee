//! Whether the evaluation of a condition can end in an error, and where.
//!
//! What strict validation has already excluded, for every request and all entities that fit the schema (Cedar proves this of
//! its validator): operands of a wrong type, attributes and tags that may be absent and were not asked for, unknown functions,
//! extension values from anything but a literal, and literals that are none. Requests and entities fit the schema because
//! both come from the inventory. What is left are values: sums and products beyond 64 bits, dates beyond what can be held,
//! and attributes of entities that do not exist. Ranges tell where these are excluded as well: those of the constants, of
//! `context.time`, and those that the condition itself has tested before (`context.query.n < 100 && …`).
//!
//! The stack is not part of it: depth is bounded when a bundle is read, and evaluation runs with room for it.

use std::sync::Arc;

use cedar_policy::pst::{BinaryOp, Clause, EntityUID, Expr, Literal, UnaryOp};

use super::times::{self, Term};
use crate::time::Timestamp;

/// Whether an entity is in the store, whatever the request.
pub(super) type Exists<'a> = &'a dyn Fn(&EntityUID) -> bool;

/// A part of a condition that can err, and how.
#[derive(Debug)]
pub(super) struct Site<'a> {
    pub(super) expression: &'a Expr,
    pub(super) fault: Fault,
}

/// How a part of a condition can err.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Beyond 64 bits.
    Overflow,
    /// A date or duration beyond what can be held.
    Time,
    /// An attribute of an entity that does not exist.
    Entity,
    /// What the analysis does not know.
    Unknown,
}

/// The parts of a policy's clauses that can err, in the order of evaluation.
pub(super) fn sites<'a>(clauses: &'a [Clause], exists: Exists<'_>) -> Vec<Site<'a>> {
    let mut search = Search { exists, sites: Vec::new() };
    let mut facts = Facts::default();
    for clause in clauses {
        let (condition, truth) = match clause {
            Clause::When(condition) => (condition, true),
            Clause::Unless(condition) => (condition, false),
        };
        search.visit(condition, &facts);
        facts = facts.and(condition, truth);
    }
    search.sites
}

/// Whole numbers, or the milliseconds of instants and durations, from `low` to `high`. Empty where `low` is above `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    low: i128,
    high: i128,
}

const ALL: Range = Range { low: i64::MIN as i128, high: i64::MAX as i128 };
const DAY: i128 = 86_400_000;

impl Range {
    const fn one(n: i64) -> Self {
        Self { low: n as i128, high: n as i128 }
    }

    fn hull(values: impl IntoIterator<Item = i128>) -> Self {
        values.into_iter().fold(Self { low: i128::MAX, high: i128::MIN }, |r, v| Self { low: r.low.min(v), high: r.high.max(v) })
    }

    fn either(self, other: Self) -> Self {
        Self::hull([self.low, self.high, other.low, other.high])
    }

    fn both(self, other: Self) -> Self {
        Self { low: self.low.max(other.low), high: self.high.min(other.high) }
    }

    const fn is_empty(self) -> bool {
        self.low > self.high
    }

    const fn is_held(self) -> bool {
        self.low >= ALL.low && self.high <= ALL.high
    }
}

/// What the parts evaluated before have shown, on the way to a part.
#[derive(Clone, Default)]
struct Facts<'a> {
    ranges: Vec<(&'a Expr, Range)>,
    /// The way to the part is never taken.
    contradiction: bool,
}

impl<'a> Facts<'a> {
    /// The facts when `condition` has come out as `truth`.
    fn and(&self, condition: &'a Expr, truth: bool) -> Self {
        let mut out = self.clone();
        out.learn(condition, truth);
        out
    }

    fn learn(&mut self, condition: &'a Expr, truth: bool) {
        match condition {
            Expr::Literal(Literal::Bool(value)) => self.contradiction |= *value != truth,
            Expr::UnaryOp { op: UnaryOp::Not, expr } => self.learn(expr, !truth),
            Expr::BinaryOp { op: BinaryOp::And, left, right } if truth => [left, right].into_iter().for_each(|e| self.learn(e, true)),
            Expr::BinaryOp { op: BinaryOp::Or, left, right } if !truth => [left, right].into_iter().for_each(|e| self.learn(e, false)),
            Expr::BinaryOp { op: BinaryOp::Contains, left, right } if truth => {
                if let Expr::Set(items) = &**left {
                    let ranges = items.iter().map(|item| self.simple(item)).reduce(Range::either);
                    self.narrow(right, ranges.unwrap_or(ALL));
                }
            }
            Expr::BinaryOp { op, left, right } => {
                self.compared(*op, left, self.simple(right), truth);
                if let Some(op) = mirrored(*op) {
                    self.compared(op, right, self.simple(left), truth);
                }
            }
            _ => {}
        }
    }

    /// `place op other` has come out as `truth`.
    fn compared(&mut self, op: BinaryOp, place: &'a Expr, other: Range, truth: bool) {
        let below = |high: i128| Range { low: ALL.low, high };
        let above = |low: i128| Range { low, high: ALL.high };
        let range = match (op, truth) {
            (BinaryOp::Less, true) | (BinaryOp::GreaterEq, false) => below(other.high - 1),
            (BinaryOp::LessEq, true) | (BinaryOp::Greater, false) => below(other.high),
            (BinaryOp::Greater, true) | (BinaryOp::LessEq, false) => above(other.low + 1),
            (BinaryOp::GreaterEq, true) | (BinaryOp::Less, false) => above(other.low),
            (BinaryOp::Eq, true) | (BinaryOp::NotEq, false) => other,
            _ => return,
        };
        self.narrow(place, range);
    }

    fn narrow(&mut self, place: &'a Expr, range: Range) {
        if is_path(place) {
            let known = self.simple(place).both(range);
            self.contradiction |= known.is_empty();
            self.ranges.push((place, known));
        }
    }

    /// The range of a constant or of an attribute; anything else may be anything.
    fn simple(&self, expression: &Expr) -> Range {
        if let Some(Term::Linear { sign: 0, k, unit: 1 }) = times::term(expression) {
            return Range::one(k);
        }
        let known = self.ranges.iter().rev().find(|(place, _)| *place == expression).map(|(_, range)| *range);
        let time = Range { low: Timestamp::MIN.unix_ms().into(), high: Timestamp::MAX.unix_ms().into() };
        known.unwrap_or(if times::is_time(expression) { time } else { ALL })
    }
}

/// The comparison that says the same with its sides exchanged.
const fn mirrored(op: BinaryOp) -> Option<BinaryOp> {
    Some(match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEq => BinaryOp::GreaterEq,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterEq => BinaryOp::LessEq,
        BinaryOp::Eq | BinaryOp::NotEq => op,
        _ => return None,
    })
}

/// `a.b.c` with a variable at its root: what has one value throughout an evaluation.
fn is_path(expression: &Expr) -> bool {
    match expression {
        Expr::Var(_) => true,
        Expr::GetAttr { expr, .. } => is_path(expr),
        _ => false,
    }
}

struct Search<'a, 'e> {
    exists: Exists<'e>,
    sites: Vec<Site<'a>>,
}

impl<'a> Search<'a, '_> {
    fn fault(&mut self, expression: &'a Expr, fault: Fault, facts: &Facts<'_>) {
        if !facts.contradiction {
            self.sites.push(Site { expression, fault });
        }
    }

    /// Finds the faults of an expression, and the range of its value where it is a number, an instant or a duration.
    fn visit(&mut self, expression: &'a Expr, facts: &Facts<'a>) -> Range {
        match expression {
            Expr::Literal(_) | Expr::Var(_) => {}
            Expr::UnaryOp { op, expr } => return self.unary(expression, *op, expr, facts),
            Expr::BinaryOp { op, left, right } => return self.binary(expression, *op, left, right, facts),
            Expr::GetAttr { expr, .. } => {
                self.visit(expr, facts);
                if entities(expr).iter().any(|uid| !(self.exists)(uid)) {
                    self.fault(expression, Fault::Entity, facts);
                }
            }
            Expr::HasAttr { expr, .. } | Expr::Like { expr, .. } => self.visit_all([expr], facts),
            Expr::Is { expr, in_expr, .. } => self.visit_all([Some(expr), in_expr.as_ref()].into_iter().flatten(), facts),
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                self.visit(cond, facts);
                let yes = self.visit(then_expr, &facts.and(cond, true));
                return self.visit(else_expr, &facts.and(cond, false)).either(yes);
            }
            Expr::Set(items) => self.visit_all(items, facts),
            Expr::Record(fields) => self.visit_all(fields.values(), facts),
            _ => self.fault(expression, Fault::Unknown, facts),
        }
        facts.simple(expression)
    }

    fn visit_all(&mut self, expressions: impl IntoIterator<Item = &'a Arc<Expr>>, facts: &Facts<'a>) {
        for expression in expressions {
            self.visit(expression, facts);
        }
    }

    /// `range` if it can be held; otherwise the expression can err.
    fn held(&mut self, expression: &'a Expr, range: Range, fault: Fault, facts: &Facts<'_>) -> Range {
        if !range.is_held() {
            self.fault(expression, fault, facts);
        }
        Range { low: range.low.clamp(ALL.low, ALL.high), high: range.high.clamp(ALL.low, ALL.high) }
    }

    fn unary(&mut self, whole: &'a Expr, op: UnaryOp, operand: &'a Expr, facts: &Facts<'a>) -> Range {
        let range = self.visit(operand, facts);
        let divided = |by: i128| Range { low: range.low / by, high: range.high / by };
        match op {
            UnaryOp::Neg => self.held(whole, Range { low: -range.high, high: -range.low }, Fault::Overflow, facts),
            UnaryOp::ToDate => {
                let midnight = |at: i128| at - at.rem_euclid(DAY);
                self.held(whole, Range { low: midnight(range.low), high: midnight(range.high) }, Fault::Time, facts)
            }
            UnaryOp::ToTime => Range { low: 0, high: DAY - 1 },
            UnaryOp::ToMilliseconds => range,
            UnaryOp::ToSeconds => divided(1_000),
            UnaryOp::ToMinutes => divided(60_000),
            UnaryOp::ToHours => divided(3_600_000),
            UnaryOp::ToDays => divided(DAY),
            // Validated literals; a `datetime` and a `duration` have the range of their one value.
            UnaryOp::Datetime | UnaryOp::Duration | UnaryOp::Decimal | UnaryOp::Ip
                if matches!(operand, Expr::Literal(Literal::String(_))) =>
            {
                facts.simple(whole)
            }
            UnaryOp::Not | UnaryOp::IsEmpty | UnaryOp::IsIPv4 | UnaryOp::IsIPV6 | UnaryOp::IsLoopback | UnaryOp::IsMulticast => ALL,
            _ => {
                self.fault(whole, Fault::Unknown, facts);
                ALL
            }
        }
    }

    fn binary(&mut self, whole: &'a Expr, op: BinaryOp, left: &'a Expr, right: &'a Expr, facts: &Facts<'a>) -> Range {
        let a = self.visit(left, facts);
        // `&&` and `||` reach their right side only on one outcome of the left.
        let b = match op {
            BinaryOp::And => self.visit(right, &facts.and(left, true)),
            BinaryOp::Or => self.visit(right, &facts.and(left, false)),
            _ => self.visit(right, facts),
        };
        let sum = Range { low: a.low + b.low, high: a.high + b.high };
        let difference = Range { low: a.low - b.high, high: a.high - b.low };
        match op {
            BinaryOp::Add => self.held(whole, sum, Fault::Overflow, facts),
            BinaryOp::Sub => self.held(whole, difference, Fault::Overflow, facts),
            BinaryOp::Mul => {
                // 64 bits times 64 bits fit into 128.
                let corners = [a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high];
                self.held(whole, Range::hull(corners), Fault::Overflow, facts)
            }
            BinaryOp::Offset => self.held(whole, sum, Fault::Time, facts),
            BinaryOp::DurationSince => self.held(whole, difference, Fault::Time, facts),
            BinaryOp::GetTag => {
                if entities(left).iter().any(|uid| !(self.exists)(uid)) {
                    self.fault(whole, Fault::Entity, facts);
                }
                ALL
            }
            BinaryOp::Eq
            | BinaryOp::NotEq
            | BinaryOp::Less
            | BinaryOp::LessEq
            | BinaryOp::Greater
            | BinaryOp::GreaterEq
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::In
            | BinaryOp::Contains
            | BinaryOp::ContainsAll
            | BinaryOp::ContainsAny
            | BinaryOp::HasTag
            | BinaryOp::IsInRange
            | BinaryOp::DecimalLessThan
            | BinaryOp::DecimalLessEq
            | BinaryOp::DecimalGreater
            | BinaryOp::DecimalGreaterEq => ALL,
            _ => {
                self.fault(whole, Fault::Unknown, facts);
                ALL
            }
        }
    }
}

/// The entities that an expression can stand for, as far as they are written in it.
fn entities(expression: &Expr) -> Vec<EntityUID> {
    match expression {
        Expr::Literal(Literal::EntityUID(uid)) => vec![uid.clone()],
        Expr::IfThenElse { then_expr, else_expr, .. } => [then_expr, else_expr].into_iter().flat_map(|e| entities(e)).collect(),
        // A record that holds it, and whatever else it holds.
        Expr::GetAttr { expr, .. } => entities(expr),
        Expr::Record(fields) => fields.values().flat_map(|e| entities(e)).collect(),
        _ => Vec::new(),
    }
}
