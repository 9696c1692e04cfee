//! The bounds of Rego, each with its reason. Nothing here depends on the machine.

/// Instructions one evaluation of one rule may take. A rule that scans a thousand entries takes some ten thousand; a hundred
/// thousand take a few milliseconds, the longest a request may be held up by one rule.
pub(super) const INSTRUCTIONS_MAX: usize = 100_000;
