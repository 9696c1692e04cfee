//! Whether the enforcer can do its work, and what stands in the way: what the pages and the metrics tell.
//!
//! It decides nothing. The gate is told of here once it exists; before that nothing listens for other services.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use portreeve_engine::Timestamp;

use crate::gate::Gate;
use crate::witness::Witness;

/// What is known of the way to readiness.
#[derive(Debug, Default)]
pub struct Readiness {
    gate: OnceLock<Arc<Gate>>,
    lacks: Mutex<Option<Lack>>,
    witnesses: OnceLock<Vec<Arc<Witness>>>,
}

/// What is missing before anything can be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// For anybody: names no file, no policy, no peer.
    pub short: &'static str,
    /// For the operator: everything.
    pub full: String,
}

impl Lack {
    fn starting() -> Self {
        Self { short: "the enforcer is starting", full: "the enforcer is starting".to_owned() }
    }
}

impl Readiness {
    /// The gate, once there is one.
    #[must_use]
    pub fn gate(&self) -> Option<&Arc<Gate>> {
        self.gate.get()
    }

    /// The oldest signed head that a witness has not taken.
    #[must_use]
    pub fn oldest_head(&self) -> Option<Timestamp> {
        self.witnesses.get()?.iter().filter_map(|witness| witness.oldest()).min()
    }

    /// Heads go to these.
    pub(crate) fn witnessed(&self, witnesses: &[Arc<Witness>]) {
        // As for the gate.
        let _ = self.witnesses.set(witnesses.to_vec());
    }

    /// What is missing before there can be a gate.
    #[must_use]
    pub fn lack(&self) -> Option<Lack> {
        let told = self.lacks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Nothing may be found wrong and nothing be open yet: a probe that hears `ready` then sends callers to closed ports.
        told.or_else(|| self.gate.get().is_none().then(Lack::starting))
    }

    /// Tells what is missing.
    pub(crate) fn waits_for(&self, lack: Lack) {
        *self.lacks.lock().unwrap_or_else(PoisonError::into_inner) = Some(lack);
    }

    /// Nothing is missing any more: there is a gate.
    pub(crate) fn opened(&self, gate: &Arc<Gate>) {
        *self.lacks.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // There is one gate in a process's life; a second one would not be told of.
        let _ = self.gate.set(Arc::clone(gate));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_open_is_not_ready() {
        let readiness = Readiness::default();
        assert_eq!(readiness.lack().unwrap().short, "the enforcer is starting");
        readiness.waits_for(Lack { short: "no bundle", full: "no bundle".to_owned() });
        assert_eq!(readiness.lack().unwrap().short, "no bundle");
    }
}
