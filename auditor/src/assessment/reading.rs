//! How the logs were read: what each line is, how well callers are known, and what a format cannot show.

use serde::Serialize;

use crate::foreign::Grade;

/// How all logs were read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reads {
    /// Decisions by how well they identify the caller: each grade once, the best first.
    pub grades: Vec<GradeCount>,
    /// What the formats of the logs cannot show, one entry for each format that was read and is not whole.
    pub fitness: Vec<Fitness>,
    /// Decisions of other meshes that policy could not be asked about, by reason.
    pub not_asked: Vec<OtherLines>,
    /// Records that the logs themselves say were lost.
    pub lost: u64,
    /// Requests of other meshes that could not be compared with the other side's line, for want of an id or of room.
    pub uncompared: u64,
}

/// Decisions of one grade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GradeCount {
    /// The grade.
    pub grade: Grade,
    /// How many decisions.
    pub count: u64,
}

/// What the lines of one log are: lines = decided + refused + lifecycle + duplicates + rejected, and lifecycle = undetermined + other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Lines that hold a decision.
    pub decided: u64,
    /// Lines about strangers.
    pub refused: u64,
    /// Lines that hold none.
    pub lifecycle: u64,
    /// Lines that say again what another line says: read twice, or the other side of the same request.
    pub duplicates: u64,
    /// Lines that cannot be read.
    pub rejected: u64,
    /// Of these, lines cut where the file begins or ends.
    pub cut: u64,
    /// Requests of which the line does not say what became of them; among `lifecycle`.
    pub undetermined: u64,
    /// The rest of `lifecycle` of another mesh's log, by what the lines are.
    pub other: Vec<OtherLines>,
    /// Records that the log itself says were lost.
    pub lost: u64,
    /// The last line, where it was cut by rotation and joined with its rest in another log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined: Option<JoinedLine>,
}

/// A line of which two logs hold a half each: one decision of the log it begins in; its rest is among the `other` lines of the log it ends
/// in. As evidence its digest is that of both halves together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct JoinedLine {
    /// The line it begins on.
    pub line: u64,
    /// The index of the log that holds the rest.
    pub rest_input: usize,
    /// The line there.
    pub rest_line: u64,
}

/// So many lines of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherLines {
    /// What they are, in the plural.
    pub what: String,
    /// How many.
    pub count: u64,
}

/// What a format cannot show, and what to add to the mesh's configuration so that it can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fitness {
    /// The format.
    pub format: String,
    /// The facts that its lines do not have.
    pub lacks: Vec<String>,
    /// The checks that find nothing for want of them.
    pub impossible: Vec<Impossible>,
    /// What to add to the configuration of the mesh's log; `None` where it cannot be had there.
    pub snippet: Option<String>,
    /// Where that goes, in a sentence.
    pub advice: String,
}

/// A check that this format makes impossible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Impossible {
    /// The check.
    pub check: String,
    /// Why.
    pub why: String,
}
