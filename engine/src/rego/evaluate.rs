//! Evaluating a rule: an idle evaluator, the input, the budget, the answer.
//!
//! The evaluator is regorus' interpreter, not its virtual machine: the machine takes a failing built-in, and two definitions
//! that disagree, for "not satisfied", strict or not (tried again with 0.14.1: all of eleven such policies). A prohibition that
//! fails must not pass for one that does not apply (INV-4).
//!
//! The budget is counted in steps. The interpreter offers a limit of time that is looked at every so many steps; with a limit
//! of no time at all, looked at after as many steps as the budget has, it is a limit of steps, the same on every machine.

use std::fmt;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};

use super::check::Cost;
use super::limits::{LEVEL_BYTES, NEST_BYTES, NESTS_GIVEN, POOL_MAX, REASON_CHARS_MAX, SPARE_LEVELS, STEPS_MAX};
use super::{RegoError, supply};

/// The compiled modules and idle copies of them. The lock is held to take or return one, never while one works.
pub(super) struct Evaluators {
    prepared: Engine,
    /// Stack that any of the rules can need.
    stack_bytes: usize,
    idle: Mutex<Vec<Engine>>,
}

impl Evaluators {
    /// Takes an engine that has been prepared, so that its copies need not be.
    pub(super) fn new(prepared: Engine, cost: Cost) -> Self {
        Self::with_steps(prepared, cost, STEPS_MAX)
    }

    /// The same, with another budget.
    pub(super) fn with_steps(mut prepared: Engine, cost: Cost, steps: NonZeroU32) -> Self {
        prepared.set_strict_builtin_errors(true);
        prepared.set_execution_timer_config(ExecutionTimerConfig { limit: Duration::ZERO, check_interval: steps });
        // Each level of a value costs a step to make, so a value is never deeper than the budget.
        let nests = cost.nests.min(STEPS_MAX.get() as usize) + NESTS_GIVEN;
        let stack_bytes = (cost.levels + SPARE_LEVELS) * LEVEL_BYTES + nests * NEST_BYTES;
        Self { prepared, stack_bytes, idle: Mutex::default() }
    }

    /// Whether a rule is satisfied, asked for by its document (`data.portreeve.items.allow`), for this input.
    pub(super) fn run(&self, rule: &str, document: &str, input: &Value) -> Result<bool, RegoError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut engine = idle.unwrap_or_else(|| self.prepared.clone());
        engine.set_input(input.clone());
        // Some built-ins panic on arguments they did not foresee. That is an error of this evaluation like any other; the
        // evaluator may be in any state then, so it is dropped. Everything it made is dropped in here, where there is stack
        // enough for values that stand deep in each other.
        supply::begin();
        let outcome = self.with_stack(|| {
            catch_unwind(AssertUnwindSafe(move || {
                let answer = match engine.eval_rule(document.to_owned()) {
                    Ok(value) => satisfied(rule, value),
                    Err(error) => Err(failure(rule, &error.to_string())),
                };
                let kept = answer.is_ok().then(|| {
                    engine.set_input(Value::Undefined);
                    engine
                });
                (answer, kept)
            }))
        });
        match outcome {
            Ok((answer, kept)) => {
                kept.into_iter().for_each(|engine| self.give_back(engine));
                answer
            }
            Err(_) => Err(RegoError::Failed { rule: rule.into(), why: "a built-in function failed".into() }),
        }
    }

    /// The value of a document for this input.
    pub(super) fn value(&self, rule: &str, input: &Value) -> Result<Value, RegoError> {
        let mut engine = self.prepared.clone();
        engine.set_input(input.clone());
        supply::begin();
        let outcome = self.with_stack(|| catch_unwind(AssertUnwindSafe(move || engine.eval_rule(super::document(rule)))));
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(match failure(rule, &error.to_string()) {
                RegoError::Budget { rule } => RegoError::Failed { rule, why: "it took more steps than a check may".into() },
                other => other,
            }),
            Err(_) => Err(RegoError::Failed { rule: rule.into(), why: "a built-in function failed".into() }),
        }
    }

    /// What `judge` has against the value of a test, which is asked for without input, and what was printed on the way.
    pub(super) fn test(&self, rule: &str, judge: fn(&Value) -> Option<String>) -> (Option<String>, Vec<String>) {
        let mut engine = self.prepared.clone();
        supply::begin();
        self.with_stack(|| {
            let run = || engine.eval_rule(super::document(rule));
            let found = match catch_unwind(AssertUnwindSafe(run)) {
                Ok(Ok(value)) => judge(&value),
                Ok(Err(error)) => Some(failure(rule, &error.to_string()).to_string()),
                Err(_) => Some("a built-in function failed".to_owned()),
            };
            (found, engine.take_prints().unwrap_or_default())
        })
    }

    fn with_stack<R>(&self, run: impl FnOnce() -> R) -> R {
        stacker::maybe_grow(self.stack_bytes, self.stack_bytes, run)
    }

    /// Takes a failing built-in for undefined, as Open Policy Agent does unless told otherwise.
    #[cfg(test)]
    pub(super) fn lenient(&mut self) {
        self.prepared.set_strict_builtin_errors(false);
    }

    /// The bindings of a query, as JSON: how conformance cases ask.
    #[cfg(test)]
    pub(super) fn query(&self, query: &str, input: Value) -> Result<String, String> {
        let mut engine = self.prepared.clone();
        engine.set_input(input);
        supply::begin();
        let run = || engine.eval_query(query.to_owned(), false);
        let results = self.with_stack(run).map_err(|e| e.to_string())?;
        let bindings: Vec<Value> = results.result.into_iter().map(|r| r.bindings).collect();
        Value::from(bindings).to_json_str().map_err(|e| e.to_string())
    }

    fn give_back(&self, engine: Engine) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < POOL_MAX {
            idle.push(engine);
            return;
        }
        drop(idle);
        self.with_stack(|| drop(engine));
    }
}

/// Idle evaluators hold the values of their last evaluation, and releasing those takes stack.
impl Drop for Evaluators {
    fn drop(&mut self) {
        let idle = std::mem::take(self.idle.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.with_stack(|| drop(idle));
    }
}

/// Why an evaluation failed. The budget is known by its words, because the evaluator passes on the errors of a function as
/// words, and these have the time in them that passed.
fn failure(rule: &str, message: &str) -> RegoError {
    if message.contains("execution exceeded time limit") {
        return RegoError::Budget { rule: rule.into() };
    }
    RegoError::Failed { rule: rule.into(), why: reason(message).into() }
}

impl fmt::Debug for Evaluators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluators").finish_non_exhaustive()
    }
}

/// Whether a value satisfies a rule.
fn satisfied(rule: &str, value: Value) -> Result<bool, RegoError> {
    let found = match value {
        Value::Undefined => return Ok(false),
        Value::Bool(answer) => return Ok(answer),
        Value::Set(reasons) if reasons.iter().all(|r| matches!(r, Value::String(_))) => return Ok(!reasons.is_empty()),
        Value::Set(_) => "a set of something else than texts",
        Value::Null => "null",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Err(RegoError::Type { rule: rule.into(), found })
}

/// The interpreter's words (`--> file:line:column`, an excerpt, `error: what`) as `what (file:line)`, on one line and not
/// endless, because they go into the record.
fn reason(message: &str) -> String {
    let words = message.rsplit_once("error: ").map_or(message, |(_, words)| words);
    let words: String = words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(REASON_CHARS_MAX).collect();
    let place = message.split_once("--> ").and_then(|(_, rest)| rest.lines().next()?.rsplit_once(':')).map(|(place, _)| place);
    match place {
        Some(place) => format!("{words} ({place})"),
        None => words,
    }
}
