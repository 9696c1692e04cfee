//! Every bound of the engine, with its reason (what is unbounded is a denial of service).

/// Files of one bundle. A repo of a thousand services needs a few thousand.
pub(crate) const BUNDLE_FILES_MAX: usize = 20_000;
/// Bytes of one policy file: far beyond what people write or review.
pub(crate) const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of all policy files together.
pub(crate) const BUNDLE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Folders below the bundle's own.
pub(crate) const FOLDER_DEPTH_MAX: usize = 16;
/// Characters of a name (service, group, operation, permission).
pub(crate) const NAME_CHARS_MAX: usize = 128;
/// Bytes of a host name (RFC 1035).
pub(crate) const HOST_BYTES_MAX: usize = 253;
/// Diagnostics kept of one bundle; a person reads the first few.
pub(crate) const DIAGNOSTICS_MAX: usize = 1_000;
/// Distinct methods that policies may tell apart: they are the bits of a mask, one of which stands for all others.
pub(crate) const METHODS_MAX: usize = 31;
/// Hops of groups within groups.
pub(crate) const GROUP_DEPTH_MAX: usize = 64;
/// Nearest permissions named in an explanation.
pub(crate) const NEAREST_MAX: usize = 3;
/// Cases that one case with a matrix stands for.
pub(crate) const MATRIX_CASES_MAX: usize = 1_000;
/// Ways in which patterns of identities may meet in one bundle with invariants: each is a class of callers in every proof.
pub(crate) const CALLER_PATTERNS_MAX: usize = 1_024;
/// Depth of the expressions of a Cedar policy, bounded from its tokens before a parser sees them. People write a dozen.
pub(crate) const CEDAR_DEPTH_MAX: usize = 256;
/// Stack on which Cedar text of that depth is parsed, validated and analysed.
pub(crate) const CEDAR_COMPILE_STACK_BYTES: usize = 64 * 1024 * 1024;
/// Stack that the evaluation of a Cedar condition needs at all. Cedar itself gives up where less than 100 KiB are left.
pub(crate) const CEDAR_EVALUATE_STACK_BYTES: usize = 192 * 1024;
/// Stack that each level of its depth needs, generously; frames of an unoptimised build are many times larger.
pub(crate) const CEDAR_EVALUATE_LEVEL_BYTES: usize = if cfg!(debug_assertions) { 256 * 1024 } else { 16 * 1024 };
/// Sets of four answers in the memo of one thread: with keys of a hundred bytes, less than a megabyte.
pub(crate) const MEMO_SETS: usize = 1 << 10;
/// Bytes of a key of the memo. Longer projections are evaluated each time: a caller must not fill the memory with them.
pub(crate) const MEMO_KEY_BYTES_MAX: usize = 1 << 10;
/// Nodes of the decision diagrams of one comparison of conditions; a thousand is much already.
pub(crate) const DIAGRAM_NODES_MAX: usize = 200_000;
/// Classes of instants told apart by the dates and windows of the policies about one operation.
pub(crate) const INSTANT_CLASSES_MAX: usize = 4_096;
/// Networks named by the policies about one operation.
pub(crate) const NETWORK_CLASSES_MAX: usize = 1_024;
/// Named members of a list that the two bundles of a comparison read in two types.
pub(crate) const LIST_MEMBERS_MAX: usize = 6;
/// Steps of the search for the kinds of path that reach the operations of one service, and of that for kinds of identity: each
/// counts the patterns still open.
pub(crate) const WORD_STEPS_MAX: usize = 10_000_000;
/// Cells (kinds of caller by kinds of target) that one comparison of bundles looks into.
pub(crate) const CELLS_MAX: usize = 5_000_000;
/// Witnesses tried for changes whose answer an opaque condition decides.
pub(crate) const WITNESSES_TRIED: usize = 64;
/// Bytes of all files in a built bundle: a small archive must not be able to fill the memory.
pub(crate) const ARCHIVE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Entries of a built bundle, whatever they are.
pub(crate) const ARCHIVE_ENTRIES_MAX: usize = 25_000;
/// Edits tried for one explanation; each is a compilation of the whole bundle.
pub(crate) const EXPLAIN_TRIES_MAX: usize = 12;
/// Changed bundles kept for the next explanation.
pub(crate) const EXPLAIN_KEPT_MAX: usize = 64;
/// Edits considered for one explanation, the smallest first.
pub(crate) const EXPLAIN_CONSIDERED_MAX: usize = 1_000;
/// Bytes of a bundle beyond which no edit of it is tried, and so none offered.
pub(crate) const EXPLAIN_BYTES_MAX: usize = 1024 * 1024;
/// Cells of one permission that a lint looks through; of a wider one it says nothing.
pub(crate) const LINT_CELLS_MAX: usize = 20_000;
/// Policies that one permission is compared with by a lint.
pub(crate) const LINT_CANDIDATES_MAX: usize = 64;
/// Stack on which Cedar files are formatted; only what is used of it is ever touched.
pub(crate) const CEDAR_FORMAT_STACK_BYTES: usize = 256 * 1024 * 1024;
/// Questions asked at compile time to fold one Cedar policy; each costs some microseconds.
pub(crate) const FOLD_QUESTIONS_MAX: usize = 5_000;
/// Pairs of atoms under which one folded Cedar policy may be entered.
pub(crate) const FOLD_ATOMS_MAX: usize = 10_000;
/// Bytes of an issuer's name that records keep: distinguished names that people write have a few dozen.
pub(crate) const ISSUER_BYTES_MAX: usize = 256;
