//! Built-in functions of our own: those that the evaluator lacks, and those of its own that could make values without bound.
//!
//! All are pure. What they hand out is counted in bytes against one allowance for each question, because a step can double a
//! text, and the budget of steps counts steps only. The count lives in the thread that evaluates: an evaluation stays on one.
//!
//! INVARIANT: a function that can hand out more than it was given takes the size from the allowance before it builds.

mod crypto;
mod lists;
mod net;
mod numbers;
mod patterns;
mod sprintf;
mod text;

use std::cell::Cell;

use regorus::{Engine, Value};

use super::limits::{BUILT_BYTES_MAX, TEXT_BYTES_MAX, VALUE_BYTES, WEIGHED_DEPTH_MAX};

/// Why a function has no result: words for the author of the policy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Fault(String);

type Outcome = Result<Value, Fault>;

/// A function under its Rego name.
struct Supplied {
    name: &'static str,
    arguments: u8,
    run: fn(&[Value]) -> Outcome,
    /// Whether the evaluator has none of this name.
    new: bool,
}

const fn new(name: &'static str, arguments: u8, run: fn(&[Value]) -> Outcome) -> Supplied {
    Supplied { name, arguments, run, new: true }
}

const fn instead(name: &'static str, arguments: u8, run: fn(&[Value]) -> Outcome) -> Supplied {
    Supplied { name, arguments, run, new: false }
}

fn all() -> impl Iterator<Item = &'static Supplied> {
    [crypto::FUNCTIONS, lists::FUNCTIONS, net::FUNCTIONS, numbers::FUNCTIONS, patterns::FUNCTIONS, sprintf::FUNCTIONS, text::FUNCTIONS]
        .into_iter()
        .flatten()
}

/// The functions that only we have, with the number of their arguments.
pub(super) fn additions() -> impl Iterator<Item = (&'static str, usize)> {
    all().filter(|f| f.new).map(|f| (f.name, usize::from(f.arguments)))
}

/// Gives an evaluator these functions.
pub(super) fn install(engine: &mut Engine) {
    install_as(engine, true);
}

/// The same; without `strict` a failing function is undefined.
pub(super) fn install_as(engine: &mut Engine, strict: bool) {
    for function in all() {
        let run = function.run;
        // Fails only for a name given before, and each name stands once in the lists; a test holds that.
        let _ = engine.add_extension(
            function.name.to_owned(),
            function.arguments,
            Box::new(move |arguments: Vec<Value>| match run(&arguments) {
                Err(_) if !strict => Ok(Value::Undefined),
                outcome => outcome.map_err(Into::into),
            }),
        );
    }
}

thread_local! {
    /// What is left of the allowance of the question that this thread evaluates.
    static LEFT: Cell<usize> = const { Cell::new(BUILT_BYTES_MAX) };
}

/// Begins a question.
pub(super) fn begin() {
    LEFT.set(BUILT_BYTES_MAX);
}

/// Takes bytes from the allowance.
fn take(bytes: usize) -> Result<(), Fault> {
    match LEFT.get().checked_sub(bytes) {
        Some(left) => {
            LEFT.set(left);
            Ok(())
        }
        None => {
            LEFT.set(0);
            Err(Fault(format!("the texts and lists made for one answer are larger than {BUILT_BYTES_MAX} bytes together")))
        }
    }
}

/// Gives back what was taken to see whether it is there.
fn give_back(bytes: usize) {
    LEFT.set(LEFT.get().saturating_add(bytes));
}

/// Takes a text of this length from the allowance.
fn take_text(bytes: usize) -> Result<(), Fault> {
    if bytes > TEXT_BYTES_MAX {
        return Err(Fault(format!("a text would be longer than {TEXT_BYTES_MAX} bytes")));
    }
    take(bytes)
}

/// Takes a list of this length from the allowance.
fn take_list(items: usize) -> Result<(), Fault> {
    take(items.saturating_mul(VALUE_BYTES))
}

/// A text as a value, counted.
fn made(text: String) -> Outcome {
    take_text(text.len())?;
    Ok(Value::from(text))
}

fn wrong(at: usize, wanted: &str, found: &Value) -> Fault {
    let kind = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Set(_) => "a set",
        Value::Object(_) => "an object",
        Value::Undefined => "undefined",
    };
    Fault(format!("argument {} must be {wanted}, and it is {kind}", at + 1))
}

/// The argument at this place, counted from 0.
fn argument(arguments: &[Value], at: usize) -> Result<&Value, Fault> {
    arguments.get(at).ok_or_else(|| Fault(format!("argument {} is missing", at + 1)))
}

fn text_of(arguments: &[Value], at: usize) -> Result<&str, Fault> {
    match argument(arguments, at)? {
        Value::String(text) => Ok(text),
        other => Err(wrong(at, "a text", other)),
    }
}

fn integer_of(arguments: &[Value], at: usize) -> Result<i64, Fault> {
    let value = argument(arguments, at)?;
    let Value::Number(number) = value else { return Err(wrong(at, "a whole number", value)) };
    if !number.is_integer() {
        return Err(Fault(format!("argument {} must be a whole number", at + 1)));
    }
    number.as_i64().ok_or_else(|| Fault(format!("argument {} is too large", at + 1)))
}

/// The members of an array or a set.
fn members(arguments: &[Value], at: usize) -> Result<Vec<&Value>, Fault> {
    match argument(arguments, at)? {
        Value::Array(items) => Ok(items.iter().collect()),
        Value::Set(items) => Ok(items.iter().collect()),
        other => Err(wrong(at, "an array or a set", other)),
    }
}

/// The members of an array or a set of texts.
fn texts(arguments: &[Value], at: usize) -> Result<Vec<&str>, Fault> {
    let each = members(arguments, at)?.into_iter().map(|item| match item {
        Value::String(text) => Ok(&**text),
        _ => Err(Fault(format!("argument {} must hold texts and nothing else", at + 1))),
    });
    each.collect()
}

/// The bytes that a value takes when it is written out, at least; a fault where they are too many, or where it is too deep.
///
/// A value may hold one part many times over, so writing it out can take exponentially more than holding it.
fn weigh(value: &Value) -> Result<usize, Fault> {
    fn walk(value: &Value, depth: usize, sum: &mut usize) -> Result<(), Fault> {
        *sum += match value {
            Value::String(text) => text.len() + 2,
            _ => 1,
        };
        if *sum > TEXT_BYTES_MAX {
            return Err(Fault(format!("a text would be longer than {TEXT_BYTES_MAX} bytes")));
        }
        if depth == 0 {
            return Err(Fault(format!("the value is nested more than {WEIGHED_DEPTH_MAX} deep")));
        }
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| walk(item, depth - 1, sum)),
            Value::Set(items) => items.iter().try_for_each(|item| walk(item, depth - 1, sum)),
            Value::Object(fields) => fields.iter().try_for_each(|(name, item)| {
                walk(name, depth - 1, sum)?;
                walk(item, depth - 1, sum)
            }),
            _ => Ok(()),
        }
    }
    let mut sum = 0;
    walk(value, WEIGHED_DEPTH_MAX, &mut sum)?;
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_stands_once_and_is_new_or_not_as_said() {
        let names: BTreeSet<&str> = all().map(|f| f.name).collect();
        assert_eq!(names.len(), all().count());
        for function in all() {
            let mut engine = Engine::new();
            let arguments = vec!["1"; usize::from(function.arguments)].join(", ");
            engine.add_policy("a.rego".to_owned(), format!("package p\nx := {}({arguments})\n", function.name)).unwrap();
            let lacks = engine.eval_rule("data.p.x".to_owned()).is_err_and(|e| e.to_string().contains("could not find function"));
            assert_eq!(lacks, function.new, "{}", function.name);
        }
    }
}
