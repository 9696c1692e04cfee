//! Finds the record of one request, for `portreeve why`.

use portreeve_engine::record::{Decided, Event};
use portreeve_engine::{Record, Timestamp};

use crate::assessment::{Evidence, Rejected};
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

/// What looking for a request gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Search {
    /// The record, where there is one.
    pub found: Option<FoundRequest>,
    /// Lines that could not be read, any of which may have been it.
    pub unread: u64,
    /// The first of them: the index among the logs given, and why.
    pub first_unread: Option<(usize, Rejected)>,
}

/// Finds the first record with this request id (the one on the refusal) or, failing that, with this correlation id or trace.
///
/// # Errors
/// A log cannot be read.
pub fn find_request(logs: &[LogSource], request_id: &str) -> Result<Search, ReadError> {
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
    let intake = intake::read(logs, &VerifiedHeads::default(), &Reading::ours(), &mut seek, &mut |_| {})?;
    if let Some(mistaken) = ReadError::of_mistaken(logs, &intake) {
        return Err(mistaken);
    }
    let first = intake.inputs.iter().enumerate().find_map(|(n, read)| Some((n, read.rejected_examples.first()?.clone())));
    Ok(Search { found: seek.found.or(seek.correlated), unread: intake.inputs.iter().map(|i| i.rejected).sum(), first_unread: first })
}
