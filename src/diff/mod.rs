//! `portreeve diff`: what does a change of policy change?
//!
//! The engine compares, this renders. With `--logs` every recorded request, ours or another mesh's, is put to both bundles, and each
//! change is told how many of them it touches.

mod human;
pub(crate) mod markdown;
mod report;

use portreeve_auditor::traffic::traffic;
use portreeve_engine::diff::{Side, Verdict as Compared, compare};
use portreeve_engine::{Authorizer, Diagnostic};

use crate::args::{DiffArgs, DiffFormat};
use crate::bundle::{self, Loaded};
use crate::diff::report::{Report, Source};
use crate::logs::{self, Progress};
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};
use crate::sarif;

/// Compares two bundles and prints what differs.
pub(crate) fn run(args: &DiffArgs) -> Outcome {
    let (old, old_law) = load(&args.old)?;
    let (new, new_law) = load(&args.new)?;
    let comparison = compare(Side { bundle: &old.bundle, authorizer: &old_law }, Side { bundle: &new.bundle, authorizer: &new_law });
    let logs = logs::sources(&args.logs)?;
    let traffic = if logs.is_empty() {
        None
    } else {
        let progress = Progress::over(&logs);
        let reading = logs::reading(&args.log_format, args.log_mapping.as_deref())?.on_threads(args.threads.number());
        let found = traffic(&logs, &reading, [&old_law, &new_law], &comparison, &mut |bytes| progress.at(bytes));
        Some(found.map_err(|error| logs::unread(&error))?)
    };
    let sources = [Source::new(&args.old, &old_law), Source::new(&args.new, &new_law)];
    let report = Report::new(sources, &comparison, [&old_law, &new_law], traffic.as_ref());
    let mut out = Out::new();
    match args.format {
        DiffFormat::Human => output::tell(&human::render(&report)),
        DiffFormat::Json => out.json_document(&report)?,
        DiffFormat::Markdown => out.text(&markdown::render(&report))?,
        DiffFormat::Sarif => out.json_document(&sarif::document(&diagnostics(&report, [&old.prefix, &new.prefix]), ""))?,
    }
    out.flush()?;
    if args.format != DiffFormat::Human {
        output::tell(&human::summary(&report));
    }
    Ok(Verdict::of(comparison.verdict == Compared::Equivalent))
}

fn load(name: &str) -> Result<(Loaded, Authorizer), Failure> {
    let loaded = bundle::load(name)?;
    let authorizer = bundle::compiled(name, &loaded.bundle)?;
    Ok((loaded, authorizer))
}

/// Each change as a warning at the lines that make it, those of the new bundle first.
fn diagnostics(report: &Report<'_>, prefixes: [&str; 2]) -> Vec<Diagnostic> {
    let [old_prefix, new_prefix] = prefixes;
    let one = |change: &report::Change<'_>| {
        let new = change.policies.new.iter().map(|p| &p.at).chain(change.declarations.new.iter().map(|d| d.location));
        let old = change.policies.old.iter().map(|p| &p.at).chain(change.declarations.old.iter().map(|d| d.location));
        let place = new.map(|at| (new_prefix, at)).chain(old.map(|at| (old_prefix, at))).next();
        let mut diagnostic = Diagnostic::warning(change.kind.as_str(), human::headline(change));
        if let Some((prefix, at)) = place {
            let mut at = at.clone();
            at.file = format!("{prefix}{}", at.file);
            diagnostic = diagnostic.at(at);
        }
        match &change.witness {
            Some(witness) => diagnostic.help(format!("for example {}", witness.request)),
            None => diagnostic.help("no request was found that shows it; compare the two texts"),
        }
    };
    report.changes.iter().map(one).collect()
}
