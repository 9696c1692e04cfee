//! `portreeve audit`: what do these logs show about these controls?

use std::path::Path;

use portreeve_auditor::assessment::{Baseline, Verdict as ControlVerdict};
use portreeve_auditor::{Assessment, Audit, Catalog, Earlier};
use portreeve_engine::Diagnostic;

use crate::args::{AuditArgs, AuditFormat};
use crate::bundle;
use crate::diagnostics::{self, many};
use crate::gate::Gate;
use crate::logs::{self, Progress};
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};

/// Examines the logs, writes the reports, and passes or fails the gate.
pub(crate) fn run(args: &AuditArgs) -> Outcome {
    let gate = Gate::of(&args.fail_on, !args.baseline.is_empty())?;
    let bundles = args.bundle.iter().map(|name| Ok((name.clone(), bundle::authorizer(name)?))).collect::<Result<Vec<_>, Failure>>()?;
    let heads = logs::heads(args.heads.as_deref(), args.key.as_deref())?;
    let logs = logs::sources(&args.logs)?;
    let progress = Progress::over(&logs);
    let mut audit = Audit::new(bundles).logs(logs).heads(heads);
    for name in &args.catalog {
        audit = audit.catalog(catalog(name)?);
    }
    for path in &args.baseline {
        audit = audit.baseline(earlier(path)?);
    }
    let assessment = audit.run(&mut |bytes| progress.at(bytes)).map_err(Failure::new)?;
    drop(progress);
    write(args, &assessment)?;
    let reasons = gate.reasons(&assessment);
    output::tell(&summary(&assessment, &gate, &reasons));
    Ok(Verdict::of(reasons.is_empty()))
}

fn earlier(path: &Path) -> Result<Earlier, Failure> {
    let bytes = std::fs::read(path).map_err(|e| Failure::new(format_args!("cannot read the baseline `{}`: {e}", path.display())))?;
    Earlier::read(&path.display().to_string(), &bytes)
        .map_err(|e| Failure::with_help(e, "a baseline is an `assessment.json` that `portreeve audit --out` wrote"))
}

fn catalog(name: &str) -> Result<Catalog, Failure> {
    let refused = |found: Vec<Diagnostic>| Failure::Told(diagnostics::human(&found));
    if !Path::new(name).exists() {
        return Catalog::built_in(name).map_err(refused);
    }
    let text = std::fs::read_to_string(name).map_err(|e| Failure::new(format_args!("cannot read the catalogue `{name}`: {e}")))?;
    Catalog::parse(name, &text).map_err(refused)
}

fn write(args: &AuditArgs, assessment: &Assessment) -> Result<(), Failure> {
    if let Some(dir) = &args.out {
        let written = portreeve_reports::write_all(assessment, dir).map_err(|e| Failure::new(chain(&e)))?;
        for path in written {
            output::tell(&format!("wrote {}\n", path.display()));
        }
    }
    let mut out = Out::new();
    match args.format {
        AuditFormat::Human => {}
        AuditFormat::Markdown => out.text(&portreeve_reports::markdown(assessment))?,
        AuditFormat::Json => out.text(&portreeve_reports::json(assessment).map_err(|e| Failure::new(chain(&e)))?)?,
    }
    out.flush()
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        out.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    out
}

fn summary(assessment: &Assessment, gate: &Gate, reasons: &[String]) -> String {
    let totals = &assessment.totals;
    let mut out = format!(
        "{} lines: {} decided ({} allowed, {} denied), {} refused, {} rejected; {}, {} not replayable\n",
        totals.lines,
        totals.decided,
        totals.allowed,
        totals.denied,
        totals.refused,
        totals.rejected,
        if totals.mismatches == 1 { "1 mismatch".to_owned() } else { format!("{} mismatches", totals.mismatches) },
        totals.not_replayable,
    );
    let verdicts: Vec<String> =
        assessment.summary.verdicts.iter().filter(|v| v.count > 0).map(|v| format!("{} {}", v.count, v.verdict.as_str())).collect();
    out.push_str(&format!("{}: {}\n", many(assessment.controls.len(), "control"), verdicts.join(", ")));
    for control in assessment.controls.iter().filter(|c| matches!(c.verdict, ControlVerdict::NotMet | ControlVerdict::Suspect)) {
        out.push_str(&format!("  {} {} {}: {}\n", control.verdict.as_str(), control.catalog, control.id, control.why));
    }
    for finding in assessment.findings.iter().take(FINDINGS_SHOWN_MAX) {
        out.push_str(&format!("  finding {} ({}): {}\n", finding.check, finding.subject, finding.summary));
    }
    if assessment.findings.len() > FINDINGS_SHOWN_MAX {
        out.push_str(&format!("  and {} more\n", assessment.findings.len() - FINDINGS_SHOWN_MAX));
    }
    out.push_str(&assessment.baseline.as_ref().map(compared).unwrap_or_default());
    match (reasons.is_empty(), gate.is_open()) {
        (true, true) => out.push_str("ok: nothing was asked to fail\n"),
        (true, false) => out.push_str("ok: the gate is passed\n"),
        (false, _) => out.push_str(&format!("FAIL: the gate is not passed: {}\n", reasons.join("; "))),
    }
    out
}

/// What changed since the baseline, in numbers; what stands in the way of comparing is told first.
fn compared(baseline: &Baseline) -> String {
    let mut out = format!("against {} ({}):\n", baseline.path, baseline.tool);
    for premise in &baseline.differs {
        out.push_str(&format!("  warning: another {}: {}\n", premise.what, premise.meaning));
    }
    let findings = &baseline.findings;
    let changed = baseline.verdicts.iter().filter(|v| v.before.is_some() && v.now.is_some()).count();
    out.push_str(&format!(
        "  {} new, {} gone, {} unchanged; {}; {}\n",
        many(findings.new.len(), "finding"),
        findings.gone.len(),
        findings.unchanged.len(),
        many(changed, "changed verdict"),
        many(baseline.edges.len(), "changed edge"),
    ));
    out
}

/// The report has all findings; the terminal has the worst.
const FINDINGS_SHOWN_MAX: usize = 10;
