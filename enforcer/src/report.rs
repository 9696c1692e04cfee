//! Where messages for the operator go. The library prints nothing; the binary gives it a place.

use std::fmt;
use std::sync::Arc;

/// A place for single lines that an operator should read. Cheap to clone.
#[derive(Clone)]
pub struct Report(Arc<dyn Fn(&str) + Send + Sync>);

impl Report {
    /// Messages go to `sink`, one call each.
    #[must_use]
    pub fn new(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Messages are dropped.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(|_| ())
    }

    /// Tells one message.
    pub fn tell(&self, message: &str) {
        (self.0)(message);
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Report")
    }
}
