//! `portreeve check`: is this bundle valid?

use std::time::{SystemTime, UNIX_EPOCH};

use portreeve_engine::time::Date;
use portreeve_engine::{Authorizer, Diagnostic, RegoTests, Severity, Timestamp, lint};

use crate::args::{CheckArgs, CheckFormat};
use crate::diagnostics::{self, CheckReport};
use crate::outcome::{Outcome, Verdict};
use crate::output::{self, Out};
use crate::sarif;
use crate::{bundle, cacheability};

/// Compiles the bundle and prints what was found; the last line on stderr counts it.
pub(crate) fn run(args: &CheckArgs) -> Outcome {
    let loaded = bundle::load(&args.bundle)?;
    let compiled = Authorizer::compile(&loaded.bundle);
    let mut found = compiled.diagnostics;
    if let Some(authorizer) = &compiled.authorizer {
        found.extend(lint::lint(authorizer, Some(args.today.unwrap_or_else(today))));
        // A broken test makes no decision wrong, so the bundle stays valid.
        if RegoTests::exist(&loaded.bundle)
            && let Err(faults) = RegoTests::compile(&loaded.bundle)
        {
            found.extend(faults.into_iter().map(|fault| Diagnostic { severity: Severity::Warning, ..fault }));
        }
        loaded.bundle.arrange(&mut found);
    }
    let found = &found;
    let errors = found.iter().filter(|d| d.is_error()).count();
    let valid = errors == 0;
    let lines = compiled.authorizer.as_ref().filter(|_| args.cacheability).map(cacheability::lines);
    let mut out = Out::new();
    match args.format {
        CheckFormat::Human => output::tell(&diagnostics::human(found)),
        CheckFormat::Json => out.json_document(&CheckReport {
            bundle: &args.bundle,
            revision: loaded.bundle.revision.to_string(),
            valid,
            errors,
            warnings: found.len() - errors,
            diagnostics: found,
            cacheability: lines.as_deref(),
        })?,
        CheckFormat::Sarif => out.json_document(&sarif::document(found, &loaded.prefix))?,
        CheckFormat::Github => out.text(&diagnostics::github(found, &loaded.prefix))?,
    }
    out.flush()?;
    if args.format != CheckFormat::Json {
        output::tell(&lines.as_deref().map(cacheability::human).unwrap_or_default());
    }
    output::tell(&summary(args, &compiled.authorizer, found, &loaded.bundle));
    Ok(Verdict::of(valid))
}

/// The day it is, by the clock of this machine; the engine has none.
fn today() -> Date {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)).date()
}

fn summary(args: &CheckArgs, authorizer: &Option<Authorizer>, found: &[Diagnostic], bundle: &portreeve_engine::Bundle) -> String {
    let count = diagnostics::count(found);
    match authorizer.as_ref().filter(|_| !found.iter().any(Diagnostic::is_error)) {
        None => format!("error: `{}` is invalid: {count}\n", args.bundle),
        Some(authorizer) => format!(
            "ok: `{}` is valid: {count}; {}, {}, {}, {} proved\n    revision {}\n",
            args.bundle,
            diagnostics::many(bundle.files.len(), "file"),
            diagnostics::many(authorizer.services().len(), "service"),
            if authorizer.policies().len() == 1 { "1 policy".to_owned() } else { format!("{} policies", authorizer.policies().len()) },
            diagnostics::many(authorizer.invariants().len(), "invariant"),
            bundle.revision,
        ),
    }
}
