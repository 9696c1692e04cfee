//! Times in which an enforcer failed as a control, or was not known to work.

use portreeve_engine::Timestamp;

use crate::assessment::Evidence;
use crate::limits::OUTAGES_MAX;

/// One such time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    /// What it was: `silent`, `without records`, `in dry-run`, `under old policies`.
    pub(crate) what: &'static str,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) evidence: Vec<Evidence>,
}

/// All of one process, up to a limit; those that follow are one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outages(Vec<Outage>);

impl Outages {
    pub(crate) fn add(&mut self, what: &'static str, from: Timestamp, to: Timestamp, evidence: &Evidence) {
        if self.0.len() < OUTAGES_MAX {
            self.0.push(Outage { what, from, to, evidence: vec![evidence.clone()] });
        } else if let Some(last) = self.0.last_mut() {
            last.to = last.to.max(to);
        }
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Outage> {
        self.0.iter()
    }
}
