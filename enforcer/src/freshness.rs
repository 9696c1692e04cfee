//! How long a signed bundle counts, from its issue on (A80).
//!
//! INVARIANT: age is counted from what the signature covers, never from when a bundle was fetched: a server that gives an old
//! bundle for ever does not keep it young. The time is the caller's, so that tests can let hours pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwapOption;
use portreeve_engine::Timestamp;
use portreeve_engine::bundle::Label;
use portreeve_engine::record::Issue;

use crate::config::{Freshness, OnStale};

/// The issue of the bundle in force, and until when it lets anything through; without a bound, for ever.
#[derive(Debug)]
pub struct Fresh {
    until: AtomicI64,
    issue: ArcSwapOption<Issue>,
    freshness: Option<Freshness>,
}

impl Fresh {
    /// Nothing is known of a bundle yet.
    #[must_use]
    pub fn new(freshness: Option<Freshness>) -> Self {
        Self { until: AtomicI64::new(i64::MAX), issue: ArcSwapOption::empty(), freshness }
    }

    /// Whether nothing may be let through any more.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        now.unix_ms() > self.until.load(Ordering::Acquire)
    }

    /// Whether the bundle in force is older than it may be, whatever comes of that.
    #[must_use]
    pub fn is_stale(&self, now: Timestamp) -> bool {
        is_stale(self.issue.load().as_deref(), now)
    }

    /// What the bundle in force says of its issue.
    #[must_use]
    pub fn issue(&self) -> Option<Issue> {
        self.issue.load().as_deref().cloned()
    }

    /// Another bundle is in force, or the same one as it was issued again.
    pub fn set(&self, issue: Option<Issue>) {
        let denies = self.freshness.is_some_and(|f| f.on_stale == OnStale::Deny);
        let until = issue.as_ref().and_then(|issue| issue.fresh_until).filter(|_| denies);
        self.issue.store(issue.map(Arc::new));
        self.until.store(until.map_or(i64::MAX, Timestamp::unix_ms), Ordering::Release);
    }

    /// What is recorded of a bundle with this label.
    #[must_use]
    pub fn issue_of(&self, label: &Label) -> Issue {
        issue(label, self.freshness.as_ref())
    }
}

/// What is recorded of a signed bundle.
#[must_use]
pub fn issue(label: &Label, freshness: Option<&Freshness>) -> Issue {
    let age = |f: &Freshness| i64::try_from(f.max_age.as_millis()).unwrap_or(i64::MAX);
    let until = freshness.map(|f| Timestamp::from_unix_ms(label.issued_at.unix_ms().saturating_add(age(f))));
    Issue { name: label.name.clone(), serial: label.serial, issued_at: label.issued_at, fresh_until: until }
}

/// Whether it is older than it may be.
#[must_use]
pub fn is_stale(issue: Option<&Issue>, now: Timestamp) -> bool {
    issue.and_then(|issue| issue.fresh_until).is_some_and(|until| now > until)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a80_age_counts_from_the_issue_and_only_deny_denies() {
        let issued_at: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let label = Label { name: "shop".to_owned(), serial: 7, issued_at };
        let fresh = |on_stale| Freshness { max_age: Duration::from_secs(600), on_stale };
        for (freshness, stale, over) in
            [(None, false, false), (Some(fresh(OnStale::Alarm)), true, false), (Some(fresh(OnStale::Deny)), true, true)]
        {
            let fresh = Fresh::new(freshness);
            fresh.set(Some(fresh.issue_of(&label)));
            let (at_the_end, after) = (issued_at.plus_ms(600_000), issued_at.plus_ms(600_001));
            assert!(!fresh.is_stale(at_the_end) && !fresh.is_over(at_the_end));
            assert_eq!((fresh.is_stale(after), fresh.is_over(after)), (stale, over), "{freshness:?}");
            fresh.set(None);
            assert!(!fresh.is_stale(after) && !fresh.is_over(Timestamp::from_unix_ms(i64::MAX - 1)));
        }
    }
}
