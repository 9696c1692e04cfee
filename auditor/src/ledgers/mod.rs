//! Ledgers on disk: built from logs part by part, resumable, and mergeable in any order with the same bytes.
//!
//! A ledger file counts what lines say, by distinct key, and names the parts of the logs it was made from: a range of bytes of a file
//! each, with its digest. It is text, one JSON object a line (docs/ledgers.md): a head, the parts, the rows in the order of their keys,
//! and the digest of all that. Parts and rows are sorted, so two ledgers of the same parts are the same bytes, however they came
//! about.
//!
//! It counts *lines*: a request that both its sides recorded stands in two rows, told apart by `outbound`. It holds no chain and no
//! verdict: whether our own log was tampered with is for `verify` and `audit`, which read the log itself.
//!
//! A line that rotation cut in two is a part of its own (see `joined`).
//!
//! INVARIANTS: the counts of the rows are the sum over the parts; no range of a file is counted twice.

mod border;
mod build;
mod file;
mod joined;
#[cfg(test)]
mod joined_test;
mod merge;
mod part;
mod review;
#[cfg(test)]
mod review_test;
mod row;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

pub use build::{Build, Built, Unread};
pub use file::LedgerFile;
pub use merge::{Alike, merge};
pub use part::{Part, Rest};
pub use review::Review;
pub use row::{Row, RowKey};

use crate::intake::ReadError;

/// Why a ledger cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Reading or writing failed.
    #[error("cannot read or write `{}`: {cause}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// It is no ledger, or not a whole one.
    #[error("`{}` is not a ledger: {why}", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A part is counted already.
    #[error("`{log}` is counted twice: bytes {from} to {to} stand in more than one ledger")]
    Twice {
        /// The log.
        log: String,
        /// The first byte.
        from: u64,
        /// The byte behind the last.
        to: u64,
    },
    /// Two parts are the same bytes under two names.
    #[error("`{log}` and `{other}` hold the same bytes, and would be counted twice")]
    Copy {
        /// A log.
        log: String,
        /// The other.
        other: String,
    },
    /// A line of our own log, of which no two are alike, stands in two parts.
    #[error("`{log}` and `{other}` hold the same records, which would be counted twice: line {} of one is line {} of the other", lines.0, lines.1)]
    Overlap {
        /// A log.
        log: String,
        /// The other.
        other: String,
        /// Such a line in both, from the beginning of their parts.
        lines: (u64, u64),
    },
    /// A log was changed where it was read before.
    #[error("`{log}` is not the file that was read: its bytes {from} to {to} have changed since")]
    Changed {
        /// The log.
        log: String,
        /// The first byte.
        from: u64,
        /// The byte behind the last.
        to: u64,
    },
}

impl LedgerError {
    /// The way out, where there is one to tell.
    #[must_use]
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Io { .. } | Self::Log(_) => None,
            Self::Broken { .. } => Some("build it again from the logs"),
            Self::Twice { .. } => Some("logs of different machines need names of their own: build each ledger from the folder above"),
            Self::Copy { .. } | Self::Overlap { .. } => Some("leave one of them out, or the ledger that counts it"),
            Self::Changed { .. } => Some("a rotated log is another file: give it a name of its own, or build into another ledger"),
        }
    }

    fn io(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { path, cause }
    }
}
