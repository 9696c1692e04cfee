//! `portreeve audit`: what do these logs show about these controls?

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use portreeve_auditor::assessment::{Baseline, Given as Read, GivenKind, Verdict as ControlVerdict};
use portreeve_auditor::sample::{Draw, Sample};
use portreeve_auditor::{Assessment, Audit, AuditError, Catalog, Earlier, LogSource};
use portreeve_engine::Diagnostic;
use portreeve_engine::bundle::BundleSigner;
use portreeve_engine::diagnostic::escape_line as line;
use portreeve_reports::{Format, Options, manifest};

use crate::args::{AuditArgs, AuditFormat};
use crate::bundle;
use crate::bundling;
use crate::declared;
use crate::diagnostics::{self, many};
use crate::files;
use crate::gate::Gate;
use crate::heads;
use crate::history::{self, Given};
use crate::logs::{self, Progress};
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};
use crate::reading;

/// Examines the logs, writes the reports, and passes or fails the gate.
pub(crate) fn run(args: &AuditArgs) -> Outcome {
    let gate = Gate::of(&args.fail_on, !args.baseline.is_empty())?;
    let Given { bundles, history } = history::given(&args.law.bundle, &args.law.bundle_history)?;
    let (heads, mut given) = heads::given(&args.heads, &args.key)?;
    let logs = logs::sources(&args.read.logs)?;
    // The key is read first: nobody should wait for an examination whose report cannot be signed.
    let signer = args.sign.as_deref().map(bundling::signer).transpose()?;
    let progress = Progress::over(&logs);
    let (reading, mapping) = logs::reading_given(&args.read.log_format, args.read.log_mapping.as_deref())?;
    given.extend(mapping);
    let audit =
        Audit::new(bundles).history(history).logs(logs.clone()).heads(heads).reading(reading.on_threads(args.read.threads.number()));
    let (mut audit, own) = declared::checks(audit, &args.checks)?;
    let mut ids = BTreeSet::new();
    for name in &args.catalog {
        let (catalog, file) = catalog(name, &own)?;
        if !ids.insert(catalog.id.clone()) {
            return Err(Failure::new(format_args!(
                "the catalogue `{}` is given twice, and each of its controls would count twice",
                catalog.id
            )));
        }
        given.extend(file);
        audit = audit.catalog(catalog);
    }
    for path in &args.baseline {
        audit = audit.baseline(earlier(path)?);
    }
    audit = declared::add(audit, args)?.given(given);
    let mut assessment = audit.run(&mut |bytes| progress.at(bytes)).map_err(|error| match &error {
        AuditError::Read(read) => logs::unread(read),
        _ => Failure::new(&error),
    })?;
    drop(progress);
    assessment.generated_at = args.generated_at;
    let sample = args.sample.map(|size| drawn(args, size, &logs, &mut assessment)).transpose()?;
    write(args, &assessment, sample.as_ref(), signer.as_ref())?;
    let reasons = gate.reasons(&assessment);
    output::tell(&summary(&assessment, &gate, &reasons));
    Ok(Verdict::of(reasons.is_empty()))
}

fn earlier(path: &Path) -> Result<Earlier, Failure> {
    let bytes = std::fs::read(path).map_err(|e| Failure::new(format_args!("cannot read the baseline `{}`: {e}", path.display())))?;
    Earlier::read(&path.display().to_string(), &bytes)
        .map_err(|e| Failure::with_help(e, "a baseline is an `assessment.json` that `portreeve audit --out` wrote"))
}

/// A catalogue, and the file it was read from unless it is a built-in one.
fn catalog(name: &str, own: &[String]) -> Result<(Catalog, Option<Read>), Failure> {
    let refused = |found: Vec<Diagnostic>| Failure::Told(diagnostics::human(&found));
    if !Path::new(name).exists() {
        return Catalog::built_in(name).map(|catalog| (catalog, None)).map_err(refused);
    }
    let text = std::fs::read_to_string(name).map_err(|e| Failure::new(format_args!("cannot read the catalogue `{name}`: {e}")))?;
    let file = Read::file(GivenKind::Catalog, name, text.as_bytes());
    let catalog = Catalog::parse_with(name, &text, own).map_err(refused)?;
    if catalog.poses_as_built_in(&text) {
        return Err(Failure::with_help(
            format_args!("`{name}` has the id of the built-in catalogue `{}` and is another one", catalog.id),
            "give it an id of its own, so that nobody takes its controls for those of the other",
        ));
    }
    Ok((catalog, Some(file)))
}

/// The sample that was asked for; the assessment tells of it.
fn drawn(args: &AuditArgs, size: u32, logs: &[LogSource], assessment: &mut Assessment) -> Result<Sample, Failure> {
    if logs.contains(&LogSource::Stdin) {
        return Err(Failure::with_help(
            "a sample cannot be drawn from standard input, which can be read once only",
            "give the log as a file",
        ));
    }
    let draw = Draw { size: usize::try_from(size).unwrap_or(usize::MAX), seed: args.seed, digests_only: args.sample_digests_only };
    let sample = Sample::draw_of(assessment, logs, draw).map_err(|e| logs::unread(&e))?;
    if let Some(path) = sample.stranger(assessment) {
        return Err(Failure::new(format_args!(
            "`{path}` was changed while it was examined; what was examined is not what would be sampled"
        )));
    }
    let decided = assessment.totals.decided;
    if sample.population != decided {
        output::tell(&format!(
            "note: the sample is drawn from {} lines, and {decided} decisions were counted: lines that were read before, cannot be read or hold no \
             decision may be drawn too\n",
            sample.population
        ));
    }
    assessment.sample = Some(sample.summary(decided));
    Ok(sample)
}

/// Writes the report's files, and prints the one format that was asked for.
fn write(args: &AuditArgs, assessment: &Assessment, sample: Option<&Sample>, signer: Option<&BundleSigner>) -> Result<(), Failure> {
    let options = Options { policy_prefix: prefix(assessment) };
    if let Some(dir) = &args.out {
        let formats = asked(&args.formats)?;
        let mut written = portreeve_reports::write_formats(assessment, dir, &formats, &options).map_err(|e| Failure::new(chain(&e)))?;
        if let Some(sample) = sample {
            let path = dir.join(portreeve_auditor::sample::FILE);
            let text = output::json_text(sample)?;
            files::replace(&path, text.as_bytes(), 0o644)
                .map_err(|e| Failure::new(format_args!("cannot write `{}`: {e}", path.display())))?;
            written.push(path);
        }
        if let Some(signer) = signer {
            let signed = manifest::sign(assessment, dir, &written, signer).map_err(|e| Failure::new(chain(&e)))?;
            written.extend(signed);
        }
        for path in &written {
            output::tell(&format!("wrote {}\n", path.display()));
        }
        if formats.contains(&Format::Poam) && !written.iter().any(|p| p.ends_with(Format::Poam.file())) {
            output::tell("no control is refuted or waived: there is no plan to write\n");
        }
        output::tell(&older(dir, &written));
    }
    let AuditFormat::One(format) = args.format else {
        return if args.format == AuditFormat::All {
            Err(Failure::new("`--format` prints one format; `all` is for `--formats`"))
        } else {
            Ok(())
        };
    };
    let mut out = Out::new();
    match format.render(assessment, &options).map_err(|e| Failure::new(chain(&e)))? {
        Some(text) => out.text(&text)?,
        None => output::tell("no control is refuted or waived: there is no plan to print\n"),
    }
    out.flush()
}

/// A note about files of an earlier examination in the folder: nothing is deleted, and nobody should take two examinations for one.
fn older(dir: &Path, written: &[PathBuf]) -> String {
    let ours = Format::ALL.iter().map(|format| format.file());
    let ours = ours.chain([portreeve_auditor::sample::FILE, manifest::MANIFEST, manifest::SIGNATURE]);
    let left: Vec<String> =
        ours.filter(|name| !written.contains(&dir.join(name)) && dir.join(name).exists()).map(|name| format!("`{name}`")).collect();
    if left.is_empty() {
        return String::new();
    }
    format!("note: {} in `{}` was not written now and is of an earlier examination\n", left.join(", "), dir.display())
}

/// The formats for the folder, each once, in their own order.
fn asked(formats: &[AuditFormat]) -> Result<Vec<Format>, Failure> {
    if formats.is_empty() {
        return Ok(Format::USUAL.to_vec());
    }
    if formats.contains(&AuditFormat::Human) {
        return Err(Failure::new("`human` is no file; it is what `--format` prints"));
    }
    let is_asked = |f: &Format| formats.iter().any(|a| *a == AuditFormat::All || *a == AuditFormat::One(*f));
    Ok(Format::ALL.into_iter().filter(is_asked).collect())
}

/// From the repository's root to the newest bundle; empty where that cannot be told.
fn prefix(assessment: &Assessment) -> String {
    let newest = assessment.newest_bundle.and_then(|n| assessment.bundles.get(n));
    newest.map(|bundle| bundle::folder_of(&bundle.path)).unwrap_or_default()
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
        "{}: {} decided ({} allowed, {} denied), {} refused, {} rejected; {}, {} not replayable\n",
        many(usize::try_from(totals.lines).unwrap_or(usize::MAX), "line"),
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
        out.push_str(&format!("  {} {} {}: {}\n", control.verdict.as_str(), line(&control.catalog), line(&control.id), line(&control.why)));
    }
    for finding in assessment.findings.iter().take(FINDINGS_SHOWN_MAX) {
        out.push_str(&format!("  finding {} ({}): {}\n", line(&finding.check), line(&finding.subject), line(&finding.summary)));
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
        out.push_str(&format!("  warning: {}: {}\n", premise.what, premise.meaning));
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
