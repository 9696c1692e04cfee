//! What a report says of the sample drawn from the logs; the sample itself is a file of its own.

use portreeve_engine::Digest;
use serde::Serialize;

/// A seeded random sample of records, drawn for an assessor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SampleSummary {
    /// `25 of 3,214,551 records, seed 7`.
    pub statement: String,
    /// Records drawn.
    pub size: u64,
    /// Records drawn from.
    pub population: u64,
    /// Decisions that the examination counts. Where there are fewer than records drawn from, some of these were read before, cannot be read, or
    /// hold none; where there are more, some are of lines that no one line holds whole.
    pub decided: u64,
    /// What the draw follows from.
    pub seed: u64,
    /// The root over all logs, to which every proof in the sample leads.
    pub root: Digest,
    /// The file that holds records and proofs, beside the report.
    pub file: String,
}
