//! The gate of `portreeve audit`: which facts of an assessment fail it, and the words that say why.
//!
//! It reads verdicts and never makes one. With a baseline a control fails the gate only for what is new: a verdict it did not
//! have before, or a finding that was not there.

use std::collections::BTreeSet;

use portreeve_auditor::Assessment;
use portreeve_auditor::assessment::{ControlResult, Verdict};
use portreeve_auditor::foreign::Grade;

use crate::args::FailOn;
use crate::diagnostics::many;
use crate::outcome::Failure;

/// What fails the gate, checked for sense.
pub(crate) struct Gate(Vec<FailOn>);

impl Gate {
    /// The gate that these arguments ask for.
    ///
    /// # Errors
    /// `never` beside something else, or `new` without a baseline.
    pub(crate) fn of(asked: &[FailOn], has_baseline: bool) -> Result<Self, Failure> {
        if asked.contains(&FailOn::Never) && asked.iter().any(|f| *f != FailOn::Never) {
            return Err(Failure::new("`--fail-on never` stands alone: nothing fails, or something does"));
        }
        if asked.contains(&FailOn::New) && !has_baseline {
            return Err(Failure::with_help(
                "`--fail-on new` needs something to be new against",
                "give an earlier report with `--baseline assessment.json`",
            ));
        }
        Ok(Self(asked.to_vec()))
    }

    /// Whether nothing was asked to fail.
    pub(crate) fn is_open(&self) -> bool {
        self.0.iter().all(|f| *f == FailOn::Never)
    }

    /// Why the gate fails, a sentence each; empty where it is passed.
    pub(crate) fn reasons(&self, a: &Assessment) -> Vec<String> {
        self.0.iter().filter_map(|asked| reason(*asked, a)).collect()
    }
}

fn reason(asked: FailOn, a: &Assessment) -> Option<String> {
    match asked {
        FailOn::Never => None,
        FailOn::NotMet => refuted(a, &[Verdict::NotMet], "not-met"),
        FailOn::Suspect => refuted(a, &[Verdict::NotMet, Verdict::Suspect], "not-met or suspect"),
        FailOn::New => {
            let new = &a.baseline.as_ref()?.findings.new;
            (!new.is_empty())
                .then(|| format!("{} not in the baseline: {}", many(new.len(), "finding"), names(new.iter().map(String::as_str))))
        }
        FailOn::ExpiredException => expired(a),
        FailOn::Coverage(least) => uncovered(a, least),
        FailOn::Known(grade, least) => unknown(a, grade, least),
    }
}

fn refuted(a: &Assessment, failing: &[Verdict], words: &str) -> Option<String> {
    let fails: Vec<&ControlResult> = a.controls.iter().filter(|c| failing.contains(&c.verdict) && is_new(a, c, failing)).collect();
    let newly = if a.baseline.is_some() { "newly " } else { "" };
    let ids = names(fails.iter().map(|c| &*c.id));
    (!fails.is_empty()).then(|| format!("{} {newly}{words}: {ids}", many(fails.len(), "control")))
}

/// Without a baseline everything counts; with one, a control that failed before fails again only for a new finding.
fn is_new(a: &Assessment, control: &ControlResult, failing: &[Verdict]) -> bool {
    let Some(baseline) = &a.baseline else { return true };
    let changed = baseline.verdicts.iter().find(|v| v.catalog == control.catalog && v.id == control.id);
    let failed_before = changed.is_none_or(|v| v.before.is_some_and(|before| failing.contains(&before)));
    let new: BTreeSet<&String> = baseline.findings.new.iter().collect();
    !failed_before || control.findings.iter().any(|f| new.contains(f))
}

fn expired(a: &Assessment) -> Option<String> {
    let expired: Vec<&str> = a.findings.iter().filter(|f| f.check == EXPIRED_EXCEPTION).map(|f| &*f.subject).collect();
    (!expired.is_empty()).then(|| format!("{} expired: {}", many(expired.len(), "exception"), names(expired.iter().copied())))
}

fn uncovered(a: &Assessment, least: u8) -> Option<String> {
    let seen = a.services.iter().filter(|s| s.observed).count();
    let all = a.services.len();
    let silent = a.services.iter().filter(|s| !s.observed).map(|s| &*s.name);
    (seen * 100 < usize::from(least) * all)
        .then(|| format!("logs speak of {seen} of {} only, less than {least} %: nothing of {}", many(all, "service"), names(silent)))
}

/// Without a decision nobody is known: the evidence that was asked for is not there.
fn unknown(a: &Assessment, worst: Grade, least: u8) -> Option<String> {
    let known: u64 = a.reads.grades.iter().filter(|g| g.grade.is_at_least(worst)).map(|g| g.count).sum();
    let all = a.totals.decided;
    let enough = u128::from(known) * 100 >= u128::from(least) * u128::from(all) && (all > 0 || least == 0);
    (!enough).then(|| format!("callers are known by grade {worst} or better in {known} of {all} decisions only, less than {least} %"))
}

fn names<'n>(all: impl Iterator<Item = &'n str>) -> String {
    let all: Vec<&str> = all.collect();
    let shown = all.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    if all.len() > NAMES_MAX { format!("{shown} and {} more", all.len() - NAMES_MAX) } else { shown }
}

/// The check whose findings are exceptions that ran out.
const EXPIRED_EXCEPTION: &str = "expired_exception";
/// The report has all of them.
const NAMES_MAX: usize = 8;
