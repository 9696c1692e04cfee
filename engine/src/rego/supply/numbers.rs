//! Numbers: ranges with a bound, and amounts with a unit.

use regorus::Value;

use super::super::limits::RANGE_MAX;
use super::{Fault, Outcome, Supplied, instead, integer_of, take_list, text_of};

pub(super) const FUNCTIONS: &[Supplied] = &[
    instead("numbers.range", 2, |a| range(integer_of(a, 0)?, integer_of(a, 1)?, 1)),
    instead("numbers.range_step", 3, |a| range(integer_of(a, 0)?, integer_of(a, 1)?, step_of(a)?)),
    instead("units.parse", 1, |a| amount(text_of(a, 0)?, false)),
    instead("units.parse_bytes", 1, |a| amount(text_of(a, 0)?, true)),
];

/// A step that is larger than every range is as good as any such.
fn step_of(arguments: &[Value]) -> Result<i64, Fault> {
    match arguments.get(2) {
        Some(Value::Number(step)) if step.is_integer() && step.is_positive() && step.as_i64().is_none() => Ok(i64::MAX),
        _ => integer_of(arguments, 2),
    }
}

/// Up or down from one number to another, both included.
fn range(from: i64, to: i64, step: i64) -> Outcome {
    if step <= 0 {
        return Err(Fault("the step must be above zero".to_owned()));
    }
    let count = to.checked_sub(from).and_then(i64::checked_abs).map_or(i64::MAX, |span| span / step);
    if count > RANGE_MAX {
        return Err(Fault(format!("the range has more than {RANGE_MAX} numbers")));
    }
    take_list(usize::try_from(count).unwrap_or(usize::MAX))?;
    let signed = if to < from { -step } else { step };
    Ok(Value::from((0..=count).map(|n| Value::from(from + n * signed)).collect::<Vec<_>>()))
}

/// A number with a unit after it. `bytes` takes any case, an optional `b`, and gives a whole number.
fn amount(text: &str, bytes: bool) -> Outcome {
    let what = if bytes { "byte amount" } else { "amount" };
    let text = text.replace('"', "");
    if text.contains(' ') {
        return Err(Fault("an amount has no spaces".to_owned()));
    }
    let end = number_end(&text);
    let (number, unit) = text.split_at_checked(end).unwrap_or((&text, ""));
    if number.is_empty() {
        return Err(Fault(format!("there is no {what}")));
    }
    let lower = unit.to_ascii_lowercase();
    let unit = if bytes {
        lower.strip_suffix('b').unwrap_or(&lower)
    } else if unit == "m" {
        "milli"
    } else {
        &lower
    };
    let factor: (u128, i32) = match unit {
        "" => (1, 0),
        "milli" => (1, -3),
        "k" => (1, 3),
        "m" => (1, 6),
        "g" => (1, 9),
        "t" => (1, 12),
        "p" => (1, 15),
        "e" => (1, 18),
        "ki" => (1 << 10, 0),
        "mi" => (1 << 20, 0),
        "gi" => (1 << 30, 0),
        "ti" => (1 << 40, 0),
        "pi" => (1 << 50, 0),
        "ei" => (1 << 60, 0),
        _ => return Err(Fault(format!("the {what} has an unknown unit"))),
    };
    let (digits, tens) = decimal(number).ok_or_else(|| Fault(format!("the {what} is no number")))?;
    let digits = digits.checked_mul(factor.0).ok_or_else(|| Fault(format!("the {what} is too large")))?;
    value(digits, tens + factor.1, bytes).ok_or_else(|| Fault(format!("the {what} is too large")))
}

/// Where the number ends. An `e` belongs to it only with an exponent after it; `10e` is ten exa.
fn number_end(text: &str) -> usize {
    let plain = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let rest = text.get(plain..).unwrap_or_default();
    let Some(exponent) = rest.strip_prefix(['e', 'E']).filter(|_| plain > 0) else { return plain };
    let signed = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let digits = signed.find(|c: char| !c.is_ascii_digit()).unwrap_or(signed.len());
    if digits == 0 { plain } else { plain + 1 + (exponent.len() - signed.len()) + digits }
}

/// `12.5e3` as 125 and 2: digits, and the power of ten they are multiplied with.
fn decimal(number: &str) -> Option<(u128, i32)> {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().filter(|e| e.abs() <= TENS_MAX)?),
        None => (number, 0),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && part.is_empty() || part.len() > 64 {
        return None;
    }
    let digits = format!("0{whole}{part}").parse().ok()?;
    Some((digits, exponent - i32::try_from(part.len()).ok()?))
}

/// Digits times a power of ten, as exact as the evaluator can hold it.
fn value(mut digits: u128, mut tens: i32, whole: bool) -> Option<Value> {
    while tens < 0 && digits.is_multiple_of(10) {
        (digits, tens) = (digits / 10, tens + 1);
    }
    if tens >= 0 {
        let digits = digits.checked_mul(10_u128.checked_pow(u32::try_from(tens).ok()?)?)?;
        return Value::from_numeric_string(&digits.to_string()).ok();
    }
    if whole {
        let divisor = 10_u128.checked_pow(u32::try_from(-tens).ok()?);
        return Value::from_numeric_string(&divisor.map_or(0, |d| digits / d).to_string()).ok();
    }
    Value::from_numeric_string(&format!("{digits}e{tens}")).ok()
}

/// Powers of ten that an amount may be written with.
const TENS_MAX: i32 = 30;
