//! Every bound of the command line, with its reason.

/// The longest line `decide` reads, in bytes. A request with the longest path, headers and token that the enforcer would
/// take has a tenth of this; a longer line is answered as malformed, and its rest is skipped without being held.
pub(crate) const REQUEST_LINE_BYTES_MAX: usize = 1 << 20;

/// The most bytes taken out of a built bundle or a git tree, so that a small archive cannot fill the memory.
pub(crate) const BUNDLE_BYTES_MAX: u64 = 64 << 20;

/// The most entries looked at in a built bundle or a git tree.
pub(crate) const BUNDLE_ENTRIES_MAX: usize = 100_000;

/// The most grants named as nearest to a denial for people; `decide --explain` gives all that the engine offers.
pub(crate) const NEAREST_SHOWN_MAX: usize = 3;

/// The most bundles taken from one history, the newest first: each is compiled, and its records are few against a newer one's.
pub(crate) const HISTORY_BUNDLES_MAX: usize = 256;

/// The most groups of differences or changes in a comment; the document has them all.
pub(crate) const GROUPS_SHOWN_MAX: usize = 50;

/// The most names that `diff` puts in one list for people; JSON has them all.
pub(crate) const NAMES_SHOWN_MAX: usize = 8;

/// The most changes in the table of a comment, and the most that show their requests: a comment of a code host has at most 65,536
/// characters.
pub(crate) const CHANGES_SHOWN_MAX: usize = 50;
/// See [`CHANGES_SHOWN_MAX`].
pub(crate) const WITNESSES_SHOWN_MAX: usize = 20;

/// The most bundles named to somebody who gave other ones than the logs need, the newest first.
pub(crate) const BUNDLES_NAMED_MAX: usize = 4;

/// The longest first line by which a file is known to hold signed heads, in bytes: a head is some 300 long, the name of its instance
/// included.
pub(crate) const HEAD_LINE_BYTES_MAX: u64 = 4 << 10;

/// The most commits of a folder that `audit --commits` looks at; each costs some runs of git.
pub(crate) const COMMITS_MAX: usize = 1_000;
