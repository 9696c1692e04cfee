//! `regex.replace`, the one function on patterns that can make a text larger, and `re_match` of older policies.

use std::cell::RefCell;

use regex::{Regex, RegexBuilder};
use regorus::Value;

use super::super::limits::{PATTERN_BYTES_MAX, PATTERNS_KEPT, TEXT_BYTES_MAX};
use super::{Fault, Outcome, Supplied, instead, made, new, text_of};

pub(super) const FUNCTIONS: &[Supplied] =
    &[instead("regex.replace", 3, replace), new("re_match", 2, |a| Ok(Value::from(compiled(text_of(a, 0)?)?.is_match(text_of(a, 1)?))))];

thread_local! {
    /// The patterns used last, the latest at the end: compiling one costs far more than using it.
    static KEPT: RefCell<Vec<(String, Regex)>> = const { RefCell::new(Vec::new()) };
}

fn compiled(pattern: &str) -> Result<Regex, Fault> {
    let known = KEPT.with_borrow(|kept| kept.iter().find(|(text, _)| text == pattern).map(|(_, regex)| regex.clone()));
    if let Some(regex) = known {
        return Ok(regex);
    }
    let built = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
    let regex = built.map_err(|_| Fault("the pattern is not valid, or too large".to_owned()))?;
    KEPT.with_borrow_mut(|kept| {
        if kept.len() >= PATTERNS_KEPT {
            kept.remove(0);
        }
        kept.push((pattern.to_owned(), regex.clone()));
    });
    Ok(regex)
}

fn replace(arguments: &[Value]) -> Outcome {
    let (text, pattern, new) = (text_of(arguments, 0)?, text_of(arguments, 1)?, text_of(arguments, 2)?);
    let regex = compiled(pattern)?;
    let mut out = String::new();
    let mut last = 0;
    for found in regex.captures_iter(text) {
        let Some(whole) = found.get(0) else { continue };
        out.push_str(text.get(last..whole.start()).unwrap_or_default());
        // Each `$` can stand for the whole match.
        if new.matches('$').count().saturating_mul(whole.len()) > TEXT_BYTES_MAX {
            return Err(Fault(format!("a text would be longer than {TEXT_BYTES_MAX} bytes")));
        }
        found.expand(new, &mut out);
        last = whole.end();
        if out.len() > TEXT_BYTES_MAX {
            break;
        }
    }
    out.push_str(text.get(last..).unwrap_or_default());
    made(out)
}
