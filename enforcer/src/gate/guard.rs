//! What a request may still say after it was judged.
//!
//! INVARIANT: nothing that policy could have read arrives at the service after the decision.

use std::sync::Arc;

use super::Gate;
use crate::headers;

/// Knows which trailers of a request may not go on: what policy reads was judged with the head, and a server that puts trailers
/// among the headers would see something else.
#[derive(Clone, Debug)]
pub struct Guard {
    gate: Arc<Gate>,
    service: Arc<str>,
}

impl Guard {
    /// For requests to `service`: the one behind the gate, or a place outside the mesh.
    #[must_use]
    pub fn of(gate: &Arc<Gate>, service: &Arc<str>) -> Self {
        Self { gate: Arc::clone(gate), service: Arc::clone(service) }
    }

    /// Whether policy reads a header that this could be taken for.
    #[must_use]
    pub fn holds_back(&self, name: &str) -> bool {
        self.gate.policy.load().visible(&self.service).is_some_and(|visible| headers::is_read(name, visible))
    }
}
