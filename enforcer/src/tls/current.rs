//! The identity in use, replaced while others read it, and who is told.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use super::Identity;

/// The identity in use.
#[derive(Debug)]
pub struct Current {
    identity: ArcSwap<Identity>,
    changes: watch::Sender<u64>,
}

impl Current {
    /// Begins with this one.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { identity: ArcSwap::from_pointee(identity), changes: watch::Sender::new(0) }
    }

    /// The identity in use, for a moment.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Identity>> {
        self.identity.load()
    }

    /// The identity in use, to keep.
    #[must_use]
    pub fn load_full(&self) -> Arc<Identity> {
        self.identity.load_full()
    }

    /// Takes another into use, and tells everyone who asked.
    pub fn replace(&self, identity: Identity) {
        self.identity.store(Arc::new(identity));
        self.changes.send_modify(|n| *n += 1);
    }

    /// Has everyone who asked look again: something else changed on which it depends how long a connection may last.
    pub fn look_again(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Is told after every change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
