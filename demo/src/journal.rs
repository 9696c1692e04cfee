//! What is seen from outside the sidecars: what apps received, and what was answered. The logs are compared with this.

use std::sync::{Mutex, PoisonError};

use portreeve_engine::Reason;

use crate::limits;

/// A request that got an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The `x-request-id` of the answer.
    pub id: String,
    /// The status.
    pub status: u16,
    /// The service asked.
    pub to: &'static str,
    /// The reason that the log must give; `None` where it depends on the bundle in force.
    pub reason: Option<Reason>,
}

/// A request that reached an app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// The `x-request-id` that the sidecar set.
    pub id: String,
    /// Whose app.
    pub service: &'static str,
    /// The method and target as they arrived.
    pub line: String,
    /// The caller, as the sidecar says.
    pub principal: String,
}

/// What is seen from outside the sidecars.
#[derive(Debug, Default)]
pub struct Journal(Mutex<Pages>);

/// The contents of a [`Journal`].
#[derive(Clone, Debug, Default)]
pub struct Pages {
    /// Requests that reached apps.
    pub seen: Vec<Seen>,
    /// Answers that apps and the town itself got from sidecars; those of players are in their tally.
    pub answered: Vec<Answered>,
    /// What an app should never have been asked.
    pub faults: Vec<String>,
    /// Messages of sidecars to their operator.
    pub messages: Vec<String>,
}

impl Journal {
    pub(crate) fn write<T>(&self, entry: impl FnOnce(&mut Pages) -> T) -> T {
        entry(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn message(&self, service: &str, message: &str) {
        self.write(|pages| {
            if pages.messages.len() < limits::MESSAGES_KEPT_MAX {
                pages.messages.push(format!("{service}: {message}"));
            }
        });
    }

    /// A copy of everything so far.
    #[must_use]
    pub fn pages(&self) -> Pages {
        self.write(|pages| pages.clone())
    }
}
