//! `portreeve suggest`: a draft of policy from what logs show, as a new policy repo or as a diff to one.
//!
//! A draft is for a person to read: nothing that exists is overwritten, and a diff is printed, never applied.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use portreeve_auditor::suggest::{Base, Ground, changed};
use portreeve_auditor::{Draft, suggest};
use portreeve_engine::{Authorizer, Bundle, Diagnostic, SourceFile, lint};

use crate::args::SuggestArgs;
use crate::bundle::{self, Loaded};
use crate::diagnostics::{self, many};
use crate::files;
use crate::logs::{self, Progress};
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};
use crate::unified;

/// Reads the logs, and writes the draft or prints the difference.
pub(crate) fn run(args: &SuggestArgs) -> Outcome {
    let given = args.bundle.as_deref().map(|name| Ok::<_, Failure>((bundle::load(name)?, bundle::authorizer(name)?))).transpose()?;
    if let Some(out) = &args.out {
        refuse_taken(out)?;
    }
    let logs = logs::sources(&args.read.logs)?;
    let reading = logs::reading(&args.read.log_format, args.read.log_mapping.as_deref())?.on_threads(args.read.threads.number());
    let progress = Progress::over(&logs);
    let base = given.as_ref().map(|(loaded, law)| Base { bundle: &loaded.bundle, law });
    let ground = Ground { base, trust_domain: args.trust_domain.as_ref() };
    let draft = suggest(&logs, &reading, ground, &mut |bytes| progress.at(bytes)).map_err(|e| logs::unread(&e))?;
    drop(progress);
    output::tell(&summary(&draft, given.is_some()));
    if draft.files.is_empty() {
        return nothing(&draft, given.is_some());
    }
    let (text, result) = match &given {
        Some((loaded, _)) => (difference(loaded, &draft), changed(&loaded.bundle, &draft.files)),
        None => (String::new(), Bundle::from_files("the draft", sources(&draft))),
    };
    match &args.out {
        Some(out) => write(out, &draft)?,
        None if given.is_some() => print(&text)?,
        None => print(&draft.files.values().cloned().collect::<String>())?,
    }
    Ok(Verdict::of(is_valid(&result.map_err(|d| Failure::Told(diagnostics::human(&[d])))?)))
}

fn sources(draft: &Draft) -> Vec<SourceFile> {
    draft.files.iter().map(|(path, text)| SourceFile { path: path.clone(), bytes: text.clone().into_bytes() }).collect()
}

fn nothing(draft: &Draft, is_beside: bool) -> Outcome {
    if is_beside && draft.already > 0 {
        output::tell("ok: the bundle allows already what it can be asked to allow\n");
        return Ok(Verdict::Yes);
    }
    Err(Failure::with_help(
        "no request in the logs can be granted",
        "what was left out is counted above; a grant takes an allowed request, and who called and was called as SPIFFE IDs; where lines \
         have namespaces and service accounts, say of which trust domain with `--trust-domain`",
    ))
}

/// A draft that a person would have to merge by hand is not written over another.
fn refuse_taken(out: &Path) -> Result<(), Failure> {
    let is_taken = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_some(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
        Err(e) => return Err(Failure::new(format_args!("cannot write to `{}`: {e}", out.display()))),
    };
    if is_taken {
        return Err(Failure::with_help(format_args!("`{}` is not empty, and nothing is overwritten", out.display()), "give a new folder"));
    }
    Ok(())
}

fn write(out: &Path, draft: &Draft) -> Result<(), Failure> {
    let drafted = draft.files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    files::create_all(out, drafted, &mut |path| output::tell(&format!("wrote {}\n", path.display())))
        .map_err(|(path, e)| Failure::new(format_args!("cannot write `{}`: {e}", path.display())))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = Out::new();
    out.text(text)?;
    out.flush()
}

/// What changes in the bundle's files, as `patch -p1` and `git apply` take it from where the program was started.
fn difference(loaded: &Loaded, draft: &Draft) -> String {
    let outside = loaded.prefix.starts_with('/') || loaded.prefix.split('/').any(|part| part == "..");
    let prefix = if outside { "" } else { &*loaded.prefix };
    let mut out = String::new();
    for (path, after) in &draft.files {
        let before = loaded.bundle.files.iter().find(|f| f.path == *path).map(|f| String::from_utf8_lossy(&f.bytes));
        let new = format!("b/{prefix}{path}");
        match before {
            Some(before) => out.push_str(&unified::between(&format!("a/{prefix}{path}"), &new, &before, after)),
            None => out.push_str(&unified::between("/dev/null", &new, "", after)),
        }
    }
    out
}

/// Whether the result is a valid bundle; what is wrong is told.
fn is_valid(result: &Bundle) -> bool {
    let compiled = Authorizer::compile(result);
    let mut found: Vec<Diagnostic> = compiled.diagnostics;
    found.extend(compiled.authorizer.iter().flat_map(|law| lint::lint(law, None)));
    found.retain(Diagnostic::is_error);
    result.arrange(&mut found);
    if found.is_empty() {
        return true;
    }
    output::tell(&diagnostics::human(&found));
    output::tell("error: with the draft the policies are not valid; it is yours to complete or to cut\n");
    false
}

fn summary(draft: &Draft, is_beside: bool) -> String {
    let mut out = format!(
        "{} granted by {}, {} and {}\n",
        many(usize::try_from(draft.granted).unwrap_or(usize::MAX), "request"),
        many(draft.services, "new service"),
        many(draft.operations, "new operation"),
        many(draft.permissions, "new permission"),
    );
    if is_beside {
        let _ = writeln!(out, "{} allowed already", many(usize::try_from(draft.already).unwrap_or(usize::MAX), "request"));
    }
    for (why, count) in &draft.left_out {
        let _ = writeln!(out, "left out: {why}: {count}");
    }
    if draft.rejected > 0 {
        let _ = writeln!(out, "left out: lines that cannot be read: {}", draft.rejected);
    }
    for (log, line, why) in &draft.rejected_examples {
        let _ = writeln!(out, "  {log}:{line}: {why}");
    }
    for caution in draft.cautions.iter().take(CAUTIONS_SHOWN_MAX) {
        let _ = writeln!(out, "caution: {caution}");
    }
    if draft.cautions.len() > CAUTIONS_SHOWN_MAX {
        let _ = writeln!(out, "and {} more, which stand in the draft", draft.cautions.len() - CAUTIONS_SHOWN_MAX);
    }
    out
}

/// The draft has the cautions beside what they are about; the terminal has the first.
const CAUTIONS_SHOWN_MAX: usize = 20;
