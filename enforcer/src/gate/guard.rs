//! What a request may still say after it was judged.
//!
//! INVARIANT: nothing that policy could have read arrives at the service after the decision.

use std::sync::Arc;

use super::Gate;
use crate::headers;

/// Knows which trailers of a request may not go on: what policy reads was judged with the head, and a server that puts trailers
/// among the headers would see something else.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Gate>);

impl Guard {
    pub(super) fn of(gate: &Arc<Gate>) -> Self {
        Self(Arc::clone(gate))
    }

    /// Whether policy reads a header that this could be taken for.
    #[must_use]
    pub fn holds_back(&self, name: &str) -> bool {
        self.0.policy.load().visible(&self.0.service).is_some_and(|visible| headers::is_read(name, visible))
    }
}
