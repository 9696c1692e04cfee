//! `portreeve audit`: what do these logs show about these controls?

use std::path::Path;

use portreeve_auditor::assessment::Verdict as ControlVerdict;
use portreeve_auditor::{Assessment, Audit, AuditError, Catalog};
use portreeve_engine::Diagnostic;

use crate::args::{AuditArgs, AuditFormat, FailOn};
use crate::declared;
use crate::diagnostics::{self, many};
use crate::history::{self, Given};
use crate::logs::{self, Progress};
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};
use crate::reading;

/// Examines the logs, writes the reports, and passes or fails the gate.
pub(crate) fn run(args: &AuditArgs) -> Outcome {
    let Given { bundles, history } = history::given(&args.bundle, &args.bundle_history)?;
    let heads = logs::heads(args.heads.as_deref(), args.key.as_deref())?;
    let logs = logs::sources(&args.logs)?;
    let progress = Progress::over(&logs);
    let reading = logs::reading(&args.log_format, args.log_mapping.as_deref())?;
    let audit = Audit::new(bundles).history(history).logs(logs).heads(heads).reading(reading);
    let (mut audit, own) = declared::checks(audit, &args.checks)?;
    for name in &args.catalog {
        audit = audit.catalog(catalog(name, &own)?);
    }
    audit = declared::add(audit, args)?;
    let assessment = audit.run(&mut |bytes| progress.at(bytes)).map_err(|error| match &error {
        AuditError::Read(read) => logs::unread(read),
        _ => Failure::new(&error),
    })?;
    drop(progress);
    write(args, &assessment)?;
    let passed = passes(&assessment, args.fail_on);
    output::tell(&summary(&assessment, args.fail_on, passed));
    Ok(Verdict::of(passed))
}

fn catalog(name: &str, own: &[String]) -> Result<Catalog, Failure> {
    let refused = |found: Vec<Diagnostic>| Failure::Told(diagnostics::human(&found));
    if !Path::new(name).exists() {
        return Catalog::built_in(name).map_err(refused);
    }
    let text = std::fs::read_to_string(name).map_err(|e| Failure::new(format_args!("cannot read the catalogue `{name}`: {e}")))?;
    Catalog::parse_with(name, &text, own).map_err(refused)
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

fn passes(assessment: &Assessment, fail_on: FailOn) -> bool {
    let failing: &[ControlVerdict] = match fail_on {
        FailOn::NotMet => &[ControlVerdict::NotMet],
        FailOn::Suspect => &[ControlVerdict::NotMet, ControlVerdict::Suspect],
        FailOn::Never => &[],
    };
    !assessment.controls.iter().any(|control| failing.contains(&control.verdict))
}

fn summary(assessment: &Assessment, fail_on: FailOn, passed: bool) -> String {
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
    out.push_str(&reading::told(assessment));
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
    out.push_str(match (passed, fail_on) {
        (true, FailOn::Never) => "ok: nothing was asked to fail\n",
        (true, _) => "ok: the gate is passed\n",
        (false, _) => "FAIL: the gate is not passed\n",
    });
    out
}

/// The report has all findings; the terminal has the worst.
const FINDINGS_SHOWN_MAX: usize = 10;
