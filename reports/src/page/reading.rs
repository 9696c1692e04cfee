//! How the logs were read and how recorded decisions compare with policy: order, lengths and anchors for the page.

use portreeve_auditor::assessment::fidelity::{Disagreement, NotReplayed};
use portreeve_auditor::assessment::{Assessment, Input};
use portreeve_auditor::foreign::Grade;

use super::{Proof, parts};
use crate::limits::ROWS_MAX;

/// What the sections about reading and fidelity need.
pub(super) struct Reading<'a> {
    pub(super) grades: Vec<GradeView>,
    /// Formats and how many logs have each.
    pub(super) formats: Vec<(&'a str, u64)>,
    pub(super) logs: Vec<LogView<'a>>,
    pub(super) reasons: Vec<ReasonView<'a>>,
    pub(super) disagreements: Vec<DisagreementView<'a>>,
}

/// Decisions of one grade: their part of all, and their length beside the most frequent, in thousandths.
pub(super) struct GradeView {
    grade: Grade,
    pub(super) count: u64,
    pub(super) x: u64,
    pub(super) width: u64,
    pub(super) length: u64,
}

/// A log, and where the page says what its format lacks.
pub(super) struct LogView<'a> {
    pub(super) it: &'a Input,
    pub(super) at: usize,
    pub(super) fitness: Option<usize>,
}

/// Why decisions could not be put again, with the first lines.
pub(super) struct ReasonView<'a> {
    pub(super) it: &'a NotReplayed,
    pub(super) evidence: Vec<Proof<'a>>,
}

/// Decisions that differ in one way, with the first lines.
pub(super) struct DisagreementView<'a> {
    pub(super) it: &'a Disagreement,
    pub(super) evidence: Vec<Proof<'a>>,
}

impl GradeView {
    pub(super) fn letter(&self) -> &'static str {
        self.grade.as_str()
    }

    pub(super) fn words(&self) -> &'static str {
        self.grade.words()
    }

    /// The name of its count, for [`crate::filters::field`].
    pub(super) fn field(&self) -> &'static str {
        match self.grade {
            Grade::A => "reads.grades.A",
            Grade::B => "reads.grades.B",
            Grade::C => "reads.grades.C",
            Grade::D => "reads.grades.D",
            Grade::E => "reads.grades.E",
        }
    }
}

impl<'a> Reading<'a> {
    pub(super) fn of(a: &'a Assessment) -> Self {
        let log = |(at, it): (usize, &'a Input)| {
            let fitness = a.reads.fitness.iter().position(|f| f.format == it.format);
            LogView { it, at, fitness }
        };
        let reason = |it: &'a NotReplayed| ReasonView { it, evidence: Proof::of(it.evidence.iter(), a) };
        let disagreement = |it: &'a Disagreement| DisagreementView { it, evidence: Proof::of(it.evidence.iter(), a) };
        Self {
            grades: grades(a),
            formats: formats(a),
            logs: a.inputs.iter().enumerate().take(ROWS_MAX).map(log).collect(),
            reasons: a.fidelity.reasons.iter().map(reason).collect(),
            disagreements: a.fidelity.disagreements.iter().take(ROWS_MAX).map(disagreement).collect(),
        }
    }
}

fn grades(a: &Assessment) -> Vec<GradeView> {
    let counts: Vec<u64> = a.reads.grades.iter().map(|g| g.count).collect();
    let longest = counts.iter().copied().max().unwrap_or_default().max(1);
    let length = |count: u64| u64::try_from(u128::from(count) * 1000 / u128::from(longest)).unwrap_or(1000);
    let view = |(g, (x, width)): (&portreeve_auditor::assessment::GradeCount, (u64, u64))| GradeView {
        grade: g.grade,
        count: g.count,
        x,
        width,
        length: length(g.count),
    };
    a.reads.grades.iter().zip(parts(&counts)).map(view).collect()
}

/// In the order of the logs.
fn formats(a: &Assessment) -> Vec<(&str, u64)> {
    let mut out: Vec<(&str, u64)> = Vec::new();
    for input in &a.inputs {
        if let Some((_, logs)) = out.iter_mut().find(|(format, _)| *format == input.format) {
            *logs += 1;
        } else {
            out.push((&input.format, 1));
        }
    }
    out
}
