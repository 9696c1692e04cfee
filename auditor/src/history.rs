//! Which bundle was in force when, as far as a history of bundles tells.
//!
//! A record of ours names its revision itself; a log of another mesh does not, and is judged by what was in force at its time.

use portreeve_engine::{Digest, Timestamp};

/// Revisions with the times from which they were in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// By time, each revision until the next.
    spans: Vec<(Timestamp, Digest)>,
}

impl History {
    /// A history in any order. Of two at one time the later given holds.
    #[must_use]
    pub fn new(spans: impl IntoIterator<Item = (Timestamp, Digest)>) -> Self {
        let mut spans: Vec<_> = spans.into_iter().collect();
        spans.sort_by_key(|(at, _)| *at);
        Self { spans }
    }

    /// Whether it tells nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The revision in force at a time; `None` before the first one.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> Option<Digest> {
        self.spans.get(self.span_at(at)?).map(|(_, revision)| *revision)
    }

    /// The place among [`Self::spans`] of the span in which a time lies; `None` before the first one.
    #[must_use]
    pub fn span_at(&self, at: Timestamp) -> Option<usize> {
        self.spans.partition_point(|(from, _)| *from <= at).checked_sub(1)
    }

    /// From when a revision was in force the first time.
    #[must_use]
    pub fn since(&self, revision: &Digest) -> Option<Timestamp> {
        self.spans.iter().find(|(_, r)| r == revision).map(|(from, _)| *from)
    }

    /// From when a revision was in force no more; `None` where it still is, or never was.
    #[must_use]
    pub fn until(&self, revision: &Digest) -> Option<Timestamp> {
        let last = self.spans.iter().rposition(|(_, r)| r == revision)?;
        self.spans.get(last + 1).map(|(from, _)| *from)
    }

    /// Its spans by time: from when, and what.
    pub fn spans(&self) -> impl Iterator<Item = (Timestamp, Digest)> + '_ {
        self.spans.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_revision_holds_until_the_next() {
        let at = |ms| Timestamp::from_unix_ms(ms);
        let [a, b] = [Digest::of(b"a"), Digest::of(b"b")];
        let history = History::new([(at(20), b), (at(10), a), (at(30), a)]);
        let held: Vec<_> = [9, 10, 19, 20, 29, 30, 99].map(|ms| history.at(at(ms))).to_vec();
        assert_eq!(held, [None, Some(a), Some(a), Some(b), Some(b), Some(a), Some(a)]);
        assert_eq!((history.since(&a), history.since(&Digest::ZERO)), (Some(at(10)), None));
        assert_eq!((history.until(&b), history.until(&a)), (Some(at(30)), None));
        assert_eq!(History::new([(at(1), a), (at(1), b)]).at(at(1)), Some(b));
        assert!(History::default().is_empty() && History::default().at(at(1)).is_none());
    }
}
