//! What players counted: what they sent, what came back, and what came back otherwise than it should.

use std::collections::BTreeMap;

use crate::calls::{Call, Kind};
use crate::journal::Answered;
use crate::limits;

/// What players counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Questions by kind, those that got no answer because the town was stopping included.
    pub sent: BTreeMap<Kind, u64>,
    /// Questions that got an answer.
    pub answered: Vec<Answered>,
    /// Answers 200.
    pub allowed: u64,
    /// Answers 429 from a permission's limit.
    pub limited: u64,
    /// Answers 400, 403.
    pub denied: u64,
    /// Answers 503: no room for a record.
    pub unrecorded: u64,
    /// Strangers turned away in the handshake, by the word of the decision log.
    pub turned_away: BTreeMap<&'static str, u64>,
    /// Questions without an answer because the town was stopping.
    pub cut: u64,
    /// Handshakes of players, not those of strangers.
    pub handshakes: u64,
    /// How many things were otherwise than expected.
    pub deviations: u64,
    /// The first of them, in words.
    pub deviations_kept: Vec<String>,
}

impl Tally {
    /// Questions in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.sent.values().sum()
    }

    /// Strangers turned away.
    #[must_use]
    pub fn strangers(&self) -> u64 {
        self.turned_away.values().sum()
    }

    pub(crate) fn deviates(&mut self, call: &Call, what: &str) {
        self.deviations += 1;
        if self.deviations_kept.len() < limits::DEVIATIONS_KEPT_MAX {
            let Call { kind, from, to, method, target, way, .. } = call;
            self.deviations_kept.push(format!("{}: {from:?} asked {to} `{method} {target}` ({way:?}): {what}", kind.as_str()));
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, n) in other.sent {
            *self.sent.entry(kind).or_insert(0) += n;
        }
        for (reason, n) in other.turned_away {
            *self.turned_away.entry(reason).or_insert(0) += n;
        }
        self.answered.extend(other.answered);
        self.allowed += other.allowed;
        self.limited += other.limited;
        self.denied += other.denied;
        self.unrecorded += other.unrecorded;
        self.cut += other.cut;
        self.handshakes += other.handshakes;
        self.deviations += other.deviations;
        let room = limits::DEVIATIONS_KEPT_MAX.saturating_sub(self.deviations_kept.len());
        self.deviations_kept.extend(other.deviations_kept.into_iter().take(room));
    }
}
