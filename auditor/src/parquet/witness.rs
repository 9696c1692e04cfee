//! What of a file was read, so that its digest is that of the bytes that were.
//!
//! A Parquet file is read where its pages lie, and hashed from its beginning afterwards; whoever writes it anew in between, at the same
//! length, would have the report name bytes that nobody looked at. So what is used is hashed as it is used, and once more while the whole
//! is.
//!
//! INVARIANT: it holds one state for each run of bytes that were used one after another, which is a column of a row group; never more for
//! a file with many small pages.

use std::collections::HashMap;

use portreeve_engine::Digest;
use sha2::{Digest as _, Sha256};

/// What was used.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// Runs by where they end, with where they begin.
    runs: HashMap<u64, (u64, Sha256)>,
    done: Vec<Run>,
}

/// Bytes that were used, as they were then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    from: u64,
    to: u64,
    sha256: Digest,
}

/// The same bytes while the file is read from its beginning.
#[derive(Debug)]
pub(super) struct Again {
    /// The last to begin is the first here.
    runs: Vec<Run>,
    under_way: Vec<(Run, Sha256)>,
    at: u64,
    changed: bool,
}

impl Witness {
    /// These bytes were used; what follows them may go on.
    pub(super) fn saw(&mut self, at: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let (from, mut hash) = self.runs.remove(&at).unwrap_or_else(|| (at, Sha256::new()));
        hash.update(bytes);
        let to = at + bytes.len() as u64;
        // Two columns that are said to lie in one place.
        if let Some((from, hash)) = self.runs.insert(to, (from, hash)) {
            self.done.push(Run { from, to, sha256: digest(hash) });
        }
    }

    /// Runs held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.runs.len() + self.done.len()
    }

    /// To be shown the whole file.
    pub(super) fn again(self) -> Again {
        let mut runs = self.done;
        runs.extend(self.runs.into_iter().map(|(to, (from, hash))| Run { from, to, sha256: digest(hash) }));
        runs.sort_unstable_by(|a, b| b.cmp(a));
        Again { runs, under_way: Vec::new(), at: 0, changed: false }
    }
}

impl Again {
    /// The next bytes of the file.
    pub(super) fn show(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len() as u64;
        while let Some(run) = self.runs.pop_if(|run| run.from < end) {
            self.under_way.push((run, Sha256::new()));
        }
        for (run, hash) in &mut self.under_way {
            let within = |place: u64| usize::try_from(place.clamp(self.at, end) - self.at).unwrap_or(bytes.len());
            hash.update(bytes.get(within(run.from)..within(run.to)).unwrap_or_default());
            self.changed |= run.to <= end && digest(hash.clone()) != run.sha256;
        }
        self.under_way.retain(|(run, _)| run.to > end);
        self.at = end;
    }

    /// Whether all that was used is as it was then.
    pub(super) fn is_the_same(&self) -> bool {
        !self.changed && self.runs.is_empty() && self.under_way.is_empty()
    }
}

fn digest(hash: Sha256) -> Digest {
    Digest::from_bytes(hash.finalize().into())
}
