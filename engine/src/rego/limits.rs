//! The bounds of Rego, each with its reason. Nothing here depends on the machine.

use std::num::{NonZeroU32, NonZeroUsize};

/// Steps one evaluation of one rule may take. A rule that scans a thousand entries takes some ten thousand; a hundred
/// thousand take some ten milliseconds, the longest a request may be held up by one rule.
pub(super) const STEPS_MAX: NonZeroU32 = NonZeroU32::new(100_000).unwrap();

/// Steps one check may take over a whole assessment, which has thousands of edges where a request has one: some seconds. Fewer in
/// unit tests of this crate, where spending them would take a minute.
pub(super) const CHECK_STEPS_MAX: NonZeroU32 = NonZeroU32::new(if cfg!(test) { 200_000 } else { 20_000_000 }).unwrap();

/// Bytes of one file. The evaluator refuses more, without naming a place.
pub(super) const FILE_BYTES_MAX: usize = 1 << 20;

/// The same for the evaluator, which counts in a type of its own.
pub(super) const FILE_BYTES: NonZeroUsize = NonZeroUsize::new(FILE_BYTES_MAX + 1).unwrap();

/// Columns of a line, a tab counted as four: as many as a file has.
pub(super) const LINE_COLUMNS_MAX: NonZeroU32 = NonZeroU32::new(4 << 20).unwrap();

/// Files of one bundle: the evaluator numbers them with one byte.
pub(super) const FILES_MAX: usize = 256;

/// Brackets of all kinds open at one place. The parser calls itself for each and counts only some; twenty-four leave room on a
/// two-megabyte stack in an unoptimised build.
pub(super) const BRACKETS_MAX: usize = 24;

/// Depth of one expression: brackets, and the links of chains such as `a.b.c` or `a + b + c` that lead to a place. Every pass
/// over the tree, and its release, calls itself once for each.
pub(super) const DEPTH_MAX: usize = 96;

/// Tokens the parser may read of one file, each counted once for every time it is read: twice as often per open `[` or `{`,
/// because the parser tries a comprehension before it reads a literal.
pub(super) const PARSE_WORK_MAX: u64 = 4_000_000;

/// How deep rules and functions may call each other: what is deeper, nobody can follow.
pub(super) const CALLS_MAX: usize = 32;

/// How many times the evaluator may call itself for a rule and all it reads: once for each call, loop and level of an
/// expression. With [`LEVEL_BYTES`] it is the largest stack an evaluation can ask for.
pub(super) const LEVELS_MAX: usize = 1024;

/// Stack for one of these levels, measured with room to spare: a level takes up to 16 KiB unoptimised.
pub(super) const LEVEL_BYTES: usize = if cfg!(debug_assertions) { 32 << 10 } else { 8 << 10 };

/// Levels for what every evaluation does besides.
pub(super) const SPARE_LEVELS: usize = 8;

/// Stack for one level of a value: comparing and releasing a value calls itself once for each. A value can be no deeper than
/// the steps that made it, so this and [`STEPS_MAX`] bound the stack.
pub(super) const NEST_BYTES: usize = if cfg!(debug_assertions) { 2 << 10 } else { 768 };

/// Levels of values that come from the input and from built-ins: JSON is read no deeper.
pub(super) const NESTS_GIVEN: usize = 160;

/// How often one value may stand in another by way of literals: comparing such a value looks at it as often. A thousand million
/// are some ten seconds, and take a policy made for it.
pub(super) const GROWTH_MAX: u64 = 1 << 30;

/// How often one question can spend the budget. The evaluator tries every definition of a function, even when an earlier one
/// has spent it, and so do the functions that call it: the numbers of definitions multiply. A thousand budgets are some ten
/// seconds, and take a policy made for it.
pub(super) const TRIES_MAX: usize = 1024;

/// Stack for parsing and compiling, where only the depth of one file counts.
pub(super) const COMPILE_STACK_BYTES: usize = 32 << 20;

/// Statements of one body. The order in which they are evaluated is worked out in a time that grows with their square.
pub(super) const STATEMENTS_MAX: usize = 256;

/// Arguments of a function: the evaluator passes eight and would drop the rest.
pub(super) const ARGUMENTS_MAX: usize = 8;

/// Numbers a `numbers.range` may give. Each costs memory and, when scanned, instructions.
pub(super) const RANGE_MAX: i64 = 10_000;

/// Bits of a `bits.lsh`: wider numbers than a signature's have no use in a policy.
pub(super) const SHIFT_MAX: i64 = 512;

/// Bytes of one text that a built-in hands out: more than any header, path or reason has.
pub(super) const TEXT_BYTES_MAX: usize = 256 << 10;

/// Bytes of all texts and lists together that built-ins hand out for one question.
pub(super) const BUILT_BYTES_MAX: usize = 16 << 20;

/// Bytes that a value in a list is counted with.
pub(super) const VALUE_BYTES: usize = 16;

/// How deep a value may be that is written out.
pub(super) const WEIGHED_DEPTH_MAX: usize = 512;

/// Bytes of a compiled pattern, as the evaluator bounds its own.
pub(super) const PATTERN_BYTES_MAX: usize = 100 << 10;

/// Compiled patterns kept for each thread.
pub(super) const PATTERNS_KEPT: usize = 16;

/// Idle evaluators kept: as many as the threads that evaluate at once on a large machine.
pub(super) const POOL_MAX: usize = 32;

/// Characters of an evaluator's message that go into a record.
pub(super) const REASON_CHARS_MAX: usize = 200;
