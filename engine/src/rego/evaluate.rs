//! Running a program: a fresh or idle evaluator, the input, the budget, the answer.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use regorus::Value;
use regorus::rvm::program::Program;
use regorus::rvm::vm::{RegoVM, VmError};

use super::RegoError;
use super::limits::{INSTRUCTIONS_MAX, POOL_MAX, REASON_CHARS_MAX};

/// A program and its idle evaluators. The lock is held to take or return one, never while one runs.
pub(super) struct Evaluator {
    program: Arc<Program>,
    idle: Mutex<Vec<RegoVM>>,
}

impl Evaluator {
    pub(super) fn new(program: Arc<Program>) -> Self {
        Self { program, idle: Mutex::default() }
    }

    /// The value of an entry point for this input.
    pub(super) fn run(&self, rule: &str, entry: &str, input: &Value) -> Result<Value, RegoError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut vm = idle.unwrap_or_else(|| self.fresh());
        vm.set_input(input.clone());
        // Some built-ins panic on arguments they did not foresee. That is an error of this evaluation like any other; the
        // evaluator may be in any state then, so it is dropped.
        let outcome = catch_unwind(AssertUnwindSafe(|| vm.execute_entry_point_by_name(entry)));
        match outcome {
            Ok(Ok(value)) => {
                self.give_back(vm);
                Ok(value)
            }
            Ok(Err(error)) => Err(self.explain(rule, &error, vm.get_pc())),
            Err(_) => Err(RegoError::Failed { rule: rule.into(), why: "a built-in function failed".into() }),
        }
    }

    fn fresh(&self) -> RegoVM {
        let mut vm = RegoVM::new();
        vm.set_strict_builtin_errors(true);
        vm.set_max_instructions(INSTRUCTIONS_MAX);
        // A program of its own for each evaluator: counting references to a shared one would make threads wait for each other.
        vm.load_program(Arc::new(Program::clone(&self.program)));
        vm
    }

    fn give_back(&self, mut vm: RegoVM) {
        vm.set_input(Value::Undefined);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < POOL_MAX {
            idle.push(vm);
        }
    }
}

impl fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluator").field("instructions", &self.program.instructions.len()).finish_non_exhaustive()
    }
}

/// Whether a value satisfies a rule.
pub(super) fn satisfied(rule: &str, value: Value) -> Result<bool, RegoError> {
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

impl Evaluator {
    fn explain(&self, rule: &str, error: &VmError, at: usize) -> RegoError {
        let why = match error {
            VmError::InstructionLimitExceeded { .. } => return RegoError::Budget { rule: rule.into() },
            VmError::ArithmeticError { message, .. } => one_line(message),
            VmError::NumericOverflow { .. } => "a number is too large".to_owned(),
            VmError::RegexSizeLimitExceeded { .. } => "a regular expression is too large".to_owned(),
            VmError::ModuloOnFloat { .. } => "a remainder needs whole numbers".to_owned(),
            VmError::InvalidAddition { .. }
            | VmError::InvalidSubtraction { .. }
            | VmError::InvalidMultiplication { .. }
            | VmError::InvalidDivision { .. }
            | VmError::InvalidModulo { .. } => "an operator has operands of the wrong type".to_owned(),
            VmError::RuleDataConflict { .. } => "definitions give different values".to_owned(),
            _ => "the evaluator stopped".to_owned(),
        };
        let place = self.program.instruction_spans.get(at).and_then(Option::as_ref).and_then(|span| {
            let source = self.program.sources.get(span.source_index)?;
            Some(format!(" ({}:{})", source.name, span.line))
        });
        RegoError::Failed { rule: rule.into(), why: format!("{why}{}", place.unwrap_or_default()).into() }
    }
}

/// A built-in's message: the last line has the words, the lines before it an excerpt of nothing.
fn one_line(message: &str) -> String {
    let words = message.rsplit_once("error: ").map_or(message, |(_, words)| words);
    words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(REASON_CHARS_MAX).collect()
}
