//! Finds the record of one request, for `portreeve why`.

use portreeve_engine::record::{Decided, Event};
use portreeve_engine::{Record, Timestamp};

use crate::assessment::Evidence;
use crate::foreign::Reading;
use crate::heads::VerifiedHeads;
use crate::intake::{self, Line, ReadError, Sink};
use crate::source::LogSource;

/// The record of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundRequest {
    /// When it was asked.
    pub at: Timestamp,
    /// The question and the answer.
    pub decided: Decided,
    /// Where it stands; `input` is the index among the logs given.
    pub evidence: Evidence,
}

/// Finds the first record with this request id (the one on the refusal) or, failing that, with this correlation id or trace.
///
/// # Errors
/// A log cannot be read.
pub fn find_request(logs: &[LogSource], request_id: &str) -> Result<Option<FoundRequest>, ReadError> {
    struct Seek<'i> {
        id: &'i str,
        found: Option<FoundRequest>,
        correlated: Option<FoundRequest>,
    }
    impl Sink for Seek<'_> {
        fn take(&mut self, line: &Line, record: Record) -> bool {
            let Event::Decided(decided) = record.event else { return true };
            let is_it = decided.request.id == self.id;
            let is_correlated = [&decided.request.correlation, &decided.request.trace].iter().any(|id| id.as_deref() == Some(self.id));
            if is_it || (is_correlated && self.correlated.is_none()) {
                let evidence = Evidence { input: line.input, line: line.line, sha256: line.digest };
                let found = FoundRequest { at: record.at, decided: *decided, evidence };
                if is_it {
                    self.found = Some(found);
                } else {
                    self.correlated = Some(found);
                }
            }
            !is_it
        }
    }
    let mut seek = Seek { id: request_id, found: None, correlated: None };
    intake::read(logs, &VerifiedHeads::default(), &Reading::ours(), &mut seek, &mut |_| {})?;
    Ok(seek.found.or(seek.correlated))
}
