//! Time in conditions: which instants and times of day a comparison of `context.time` turns on.
//!
//! A *term* is an expression in the time whose every comparison with another term changes its outcome at a few known
//! boundaries only. What is no term is no failure: the footprint is then unbounded in time.

use cedar_policy::pst::{BinaryOp, Expr, Literal, UnaryOp, Var};
use cedar_policy::{Context, Entities, EvalResult, Expression, Request, eval_expression};

use crate::cedar::literal;
use crate::footprint::TimeReads;
use crate::time::Timestamp;

/// An expression in the time `t` (milliseconds), or a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// `trunc((sign·t + k) / unit)`; constants have sign 0. Instants, durations and their whole units alike: the validator
    /// lets only like be compared with like.
    Linear { sign: i8, k: i64, unit: i64 },
    /// `trunc(((t + shift) mod day) / unit)`.
    OfDay { shift: i64, unit: i64 },
    /// The midnight before `t + shift`.
    Day { shift: i64 },
}

const DAY: i64 = 86_400_000;

/// Whether `context.time` occurs in an expression as such. (`context` as a whole is found elsewhere.)
pub(super) fn is_time(expression: &Expr) -> bool {
    matches!(expression, Expr::GetAttr { expr, attr } if **expr == Expr::Var(Var::Context) && attr == "time")
}

/// The expression as a term.
pub(super) fn term(expression: &Expr) -> Option<Term> {
    if is_time(expression) {
        return Some(Term::Linear { sign: 1, k: 0, unit: 1 });
    }
    match expression {
        Expr::Literal(Literal::Long(n)) => Some(constant(*n)),
        Expr::UnaryOp { op, expr } => unary(*op, expr),
        Expr::BinaryOp { op: BinaryOp::Offset, left, right } => sum(term(left)?, term(right)?, 1),
        Expr::BinaryOp { op: BinaryOp::DurationSince, left, right } => sum(term(left)?, term(right)?, -1),
        _ => None,
    }
}

const fn constant(k: i64) -> Term {
    Term::Linear { sign: 0, k, unit: 1 }
}

fn unary(op: UnaryOp, operand: &Expr) -> Option<Term> {
    match (op, operand) {
        (UnaryOp::Datetime, Expr::Literal(Literal::String(text))) => {
            written(&format!("datetime({}).durationSince(datetime(\"1970-01-01\")).toMilliseconds()", literal(text))).map(constant)
        }
        (UnaryOp::Duration, Expr::Literal(Literal::String(text))) => {
            written(&format!("duration({}).toMilliseconds()", literal(text))).map(constant)
        }
        (UnaryOp::Neg, Expr::Literal(Literal::Long(n))) => n.checked_neg().map(constant),
        (UnaryOp::ToTime, _) => match term(operand)? {
            Term::Linear { sign: 1, k, unit: 1 } => Some(Term::OfDay { shift: k, unit: 1 }),
            Term::Linear { sign: 0, k, unit: 1 } => Some(constant(k.rem_euclid(DAY))),
            Term::Day { .. } => Some(constant(0)),
            _ => None,
        },
        (UnaryOp::ToDate, _) => match term(operand)? {
            Term::Linear { sign: 1, k, unit: 1 } => Some(Term::Day { shift: k }),
            Term::Linear { sign: 0, k, unit: 1 } => k.checked_sub(k.rem_euclid(DAY)).map(constant),
            same @ Term::Day { .. } => Some(same),
            _ => None,
        },
        (UnaryOp::ToMilliseconds, _) => in_units(term(operand)?, 1),
        (UnaryOp::ToSeconds, _) => in_units(term(operand)?, 1_000),
        (UnaryOp::ToMinutes, _) => in_units(term(operand)?, 60_000),
        (UnaryOp::ToHours, _) => in_units(term(operand)?, 3_600_000),
        (UnaryOp::ToDays, _) => in_units(term(operand)?, DAY),
        _ => None,
    }
}

fn in_units(of: Term, unit: i64) -> Option<Term> {
    match of {
        Term::Linear { sign: 0, k, unit: 1 } => k.checked_div(unit).map(constant),
        Term::Linear { sign, k, unit: 1 } => Some(Term::Linear { sign, k, unit }),
        Term::OfDay { shift, unit: 1 } => Some(Term::OfDay { shift, unit }),
        _ => None,
    }
}

/// `left + by·right`, if it stays within what can be held for every time that a request can have: beyond, it errs at some
/// times and not at others.
fn sum(left: Term, right: Term, by: i8) -> Option<Term> {
    match (left, right) {
        (Term::Linear { sign: a, k: x, unit: 1 }, Term::Linear { sign: b, k: y, unit: 1 }) => {
            let sign = a + by * b;
            let k = if by == 1 { x.checked_add(y) } else { x.checked_sub(y) }?;
            let held = |t: Timestamp| i64::from(sign).checked_mul(t.unix_ms()).and_then(|t| t.checked_add(k)).is_some();
            // The parts were held as well: they are terms.
            ((-1..=1).contains(&sign) && held(Timestamp::MIN) && held(Timestamp::MAX)).then_some(Term::Linear { sign, k, unit: 1 })
        }
        // The time since midnight.
        (Term::Linear { sign: 1, k, unit: 1 }, Term::Day { shift }) if by == -1 && k == shift => Some(Term::OfDay { shift, unit: 1 }),
        _ => None,
    }
}

/// The value of a constant as Cedar itself reads it.
fn written(text: &str) -> Option<i64> {
    let expression: Expression = text.parse().ok()?;
    let nobody = || "Workload::\"\"".parse().ok();
    let request = Request::new(nobody()?, nobody()?, nobody()?, Context::empty(), None).ok()?;
    match eval_expression(&request, &Entities::empty(), &expression).ok()? {
        EvalResult::Long(n) => Some(n),
        _ => None,
    }
}

/// Enters the boundaries at which a comparison of two terms can change its outcome. `None` where they are not known.
pub(super) fn compare(left: Term, right: Term, reads: &mut TimeReads) -> Option<()> {
    match (left, right) {
        (Term::Linear { sign: 0, .. }, Term::Linear { sign: 0, .. }) => Some(()),
        (Term::Linear { sign: 0, k, unit: 1 }, moving) | (moving, Term::Linear { sign: 0, k, unit: 1 }) => with_constant(moving, k, reads),
        (Term::Linear { sign: a, k: x, unit: 1 }, Term::Linear { sign: b, k: y, unit: 1 }) if a == b => {
            // Their difference does not move with the time.
            x.checked_sub(y).map(drop)
        }
        (Term::Linear { sign: a, k: x, unit: 1 }, Term::Linear { sign: b, k: y, unit: 1 }) if a == -b => {
            // a·t + x and -a·t + y meet at t = (y - x) / 2a, perhaps between two milliseconds.
            let meet = i64::from(a) * y.checked_sub(x)?.div_euclid(2);
            reads.instants.extend([meet.checked_sub(1)?, meet, meet.checked_add(1)?].map(Timestamp::from_unix_ms));
            Some(())
        }
        (Term::OfDay { shift: a, unit: 1 }, Term::OfDay { shift: b, unit: 1 }) => {
            reads.of_day_ms.extend([a, b].map(midnight));
            Some(())
        }
        (Term::Day { shift: a }, Term::Day { shift: b }) if a == b => Some(()),
        _ => None,
    }
}

/// The time of day at which `(t + shift) mod day` begins anew.
const fn midnight(shift: i64) -> i64 {
    (DAY - shift.rem_euclid(DAY)).rem_euclid(DAY)
}

fn with_constant(moving: Term, c: i64, reads: &mut TimeReads) -> Option<()> {
    match moving {
        Term::Linear { sign, k, unit } => {
            // trunc(v / unit) compared with c turns at the multiples of the unit about c.
            let steps = if unit == 1 { vec![c] } else { vec![c.checked_sub(1)?, c, c.checked_add(1)?] };
            for step in steps {
                // A boundary that cannot be held lies beyond every time.
                let at = step.saturating_mul(unit).saturating_sub(k).saturating_mul(i64::from(sign));
                reads.instants.insert(Timestamp::from_unix_ms(at));
            }
        }
        Term::OfDay { shift, unit } => {
            reads.of_day_ms.insert(midnight(shift));
            // Where the unit is a millisecond, what comes after c begins right after it.
            let next = if unit == 1 { c } else { c.saturating_add(1) };
            let within = [c, next].map(|step| step.saturating_mul(unit)).into_iter().filter(|at| (0..DAY).contains(at));
            reads.of_day_ms.extend(within.map(|at| (at - shift.rem_euclid(DAY)).rem_euclid(DAY)));
        }
        Term::Day { shift } => {
            let day = c.checked_sub(c.rem_euclid(DAY))?;
            let next = day.checked_add(DAY)?;
            reads.instants.extend([day, next].map(|at| Timestamp::from_unix_ms(at.saturating_sub(shift))));
        }
    }
    Some(())
}
