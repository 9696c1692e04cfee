//! The history of the policy repo as evidence: who changed what, who agreed, and which revision came of it.
//!
//! It runs nothing and reads no repo; whoever calls hands the commits in.

use std::collections::BTreeMap;

use portreeve_engine::{Digest, Timestamp};

use crate::assessment::CommitSummary;
use crate::fold::Fold;

/// One commit that touched the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: String,
    /// Who wrote it.
    pub author: String,
    /// When it was committed.
    pub at: Timestamp,
    /// Who agreed, by trailers (`Approved-by`, `Reviewed-by`, `Acked-by`, `Signed-off-by`).
    pub approved_by: Vec<String>,
    /// The revision of the bundle at it; `None` where there was no bundle.
    pub revision: Option<Digest>,
}

impl Commit {
    /// Who agreed besides its author.
    #[must_use]
    pub fn others(&self) -> Vec<&str> {
        self.approved_by.iter().map(String::as_str).filter(|who| who_is(who) != who_is(&self.author)).collect()
    }
}

/// Whom a `Name <address>` means: the address, where there is one.
pub(crate) fn who_is(person: &str) -> String {
    let address = person.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(address, _)| address);
    address.unwrap_or(person).trim().to_lowercase()
}

/// Where each revision came from: the first commit that had it.
pub(crate) fn origins(commits: &[Commit]) -> BTreeMap<Digest, &Commit> {
    let mut out: BTreeMap<Digest, &Commit> = BTreeMap::new();
    for commit in commits {
        let Some(revision) = commit.revision else { continue };
        out.entry(revision).and_modify(|first| *first = if commit.at < first.at { commit } else { *first }).or_insert(commit);
    }
    out
}

/// The commits as the report shows them, newest first.
pub(crate) fn summary(commits: &[Commit], fold: &Fold<'_>) -> Vec<CommitSummary> {
    let mut out: Vec<_> = commits
        .iter()
        .map(|c| CommitSummary {
            commit: c.id.clone(),
            author: c.author.clone(),
            at: c.at,
            approved_by: c.approved_by.clone(),
            revision: c.revision,
            in_force: c.revision.is_some_and(|revision| fold.last_in_force(&revision).is_some()),
        })
        .collect();
    out.sort_by(|a, b| (b.at, &a.commit).cmp(&(a.at, &b.commit)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_approves_their_own_change() {
        let commit = |approved_by: &[&str]| Commit {
            id: "c".to_owned(),
            author: "Ann <ann@market.example>".to_owned(),
            at: Timestamp::from_unix_ms(0),
            approved_by: approved_by.iter().map(|s| (*s).to_owned()).collect(),
            revision: None,
        };
        for (approved_by, want) in [
            (&[][..], 0),
            (&["Ann <ann@market.example>"], 0),
            (&["A. <ANN@market.example>"], 0),
            (&["ann@market.example"], 0),
            (&["Bob <bob@market.example>"], 1),
            (&["Ann <ann@market.example>", "Bob <bob@market.example>"], 1),
        ] {
            assert_eq!(commit(approved_by).others().len(), want, "{approved_by:?}");
        }
    }
}
