//! Functions that copy arrays; `walk`, which lists all that a value holds; `all` and `any` of older policies.

use regorus::Value;

use super::super::limits::WEIGHED_DEPTH_MAX;
use super::{Fault, Outcome, Supplied, argument, instead, members, new, take_list, wrong};

pub(super) const FUNCTIONS: &[Supplied] = &[
    instead("array.concat", 2, concat),
    instead("array.reverse", 1, reverse),
    new("array.flatten", 1, flatten),
    instead("walk", 1, walk),
    new("all", 1, |a| Ok(Value::from(members(a, 0)?.iter().all(|item| **item == Value::Bool(true))))),
    new("any", 1, |a| Ok(Value::from(members(a, 0)?.iter().any(|item| **item == Value::Bool(true))))),
];

fn items(arguments: &[Value], at: usize) -> Result<&[Value], Fault> {
    match argument(arguments, at)? {
        Value::Array(items) => Ok(items.as_slice()),
        other => Err(wrong(at, "an array", other)),
    }
}

fn concat(arguments: &[Value]) -> Outcome {
    let (one, other) = (items(arguments, 0)?, items(arguments, 1)?);
    take_list(one.len() + other.len())?;
    Ok(Value::from(one.iter().chain(other).cloned().collect::<Vec<_>>()))
}

fn reverse(arguments: &[Value]) -> Outcome {
    let items = items(arguments, 0)?;
    take_list(items.len())?;
    Ok(Value::from(items.iter().rev().cloned().collect::<Vec<_>>()))
}

/// Arrays in the array give way to their items; what stands in those stays.
fn flatten(arguments: &[Value]) -> Outcome {
    let items = items(arguments, 0)?;
    let inner = |item: &Value| match item {
        Value::Array(inner) => inner.len(),
        _ => 1,
    };
    take_list(items.iter().map(inner).sum())?;
    let mut out = Vec::new();
    for item in items {
        match item {
            Value::Array(inner) => out.extend(inner.iter().cloned()),
            other => out.push(other.clone()),
        }
    }
    Ok(Value::from(out))
}

/// Every part of a value with the path that leads to it, the value itself first.
fn walk(arguments: &[Value]) -> Outcome {
    fn visit(path: &mut Vec<Value>, value: &Value, out: &mut Vec<Value>) -> Result<(), Fault> {
        if path.len() > WEIGHED_DEPTH_MAX {
            return Err(Fault(format!("the value is nested more than {WEIGHED_DEPTH_MAX} deep")));
        }
        take_list(path.len() + 6)?;
        out.push(Value::from(vec![Value::from(path.clone()), value.clone()]));
        let mut step = |part: Value, inner: &Value| {
            path.push(part);
            let done = visit(path, inner, out);
            path.pop();
            done
        };
        match value {
            Value::Array(items) => (0_u64..).zip(items.iter()).try_for_each(|(i, item)| step(Value::from(i), item)),
            Value::Set(items) => items.iter().try_for_each(|item| step(item.clone(), item)),
            Value::Object(fields) => {
                let mut sorted: Vec<_> = fields.iter().collect();
                sorted.sort();
                sorted.into_iter().try_for_each(|(name, item)| step(name.clone(), item))
            }
            _ => Ok(()),
        }
    }
    let mut out = Vec::new();
    visit(&mut Vec::new(), argument(arguments, 0)?, &mut out)?;
    Ok(Value::from(out))
}
