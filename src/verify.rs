//! `portreeve verify`: are these logs whole, is this report as it was signed, did this sample stand in its logs?

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use portreeve_auditor::{LogSource, Sample};
use portreeve_reports::manifest;

use crate::args::{DocumentFormat, VerifyArgs};
use crate::bundling;
use crate::commits;
use crate::heads;
use crate::logs::{self, Progress};
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};

/// Looks at what the first argument is, and checks it.
pub(crate) fn run(args: &VerifyArgs) -> Outcome {
    let Some(first) = args.logs.first() else { return Err(Failure::new("nothing was given to verify")) };
    let path = Path::new(first);
    if path.is_dir() {
        return report(args, path);
    }
    if is_sample(path) {
        return sample(args, path);
    }
    if args.root.is_some() {
        return Err(Failure::new(format_args!("`--root` is of a sample, and `{first}` is a log")));
    }
    if !args.key.is_empty() && args.heads.is_empty() {
        return Err(Failure::with_help("logs are not signed, their heads are", "give `--heads FILE` with the key"));
    }
    chains(args)
}

/// Follows the chains of all logs and prints what they show.
fn chains(args: &VerifyArgs) -> Outcome {
    let heads = heads::given(&args.heads, &args.key)?.0;
    let logs = logs::sources(&args.logs)?;
    let progress = Progress::over(&logs);
    let found = portreeve_auditor::verify::verify_on(args.threads.number(), &logs, &heads, &mut |bytes| progress.at(bytes))
        .map_err(|e| logs::unread(&e))?;
    drop(progress);
    print(args, &found, || found.render())?;
    if let Some(log) = found.inputs.iter().find(|log| log.lines > 0 && log.rejected == log.lines) {
        output::tell(&format!(
            "note: not one line of `{}` is a record of ours: the decision logs of Portreeve's enforcers alone have a chain; `portreeve audit` reads \
             other meshes' logs\n",
            log.path
        ));
    }
    let void = found.void();
    match (found.is_sound(), void.first()) {
        (false, _) => Ok(Verdict::No),
        (true, None) => Ok(Verdict::Yes),
        (true, Some(first)) => {
            let more = if void.len() > 1 { format!(", nor in {} more", void.len() - 1) } else { String::new() };
            Err(Failure::with_help(
                format_args!("there is not one line to verify in `{first}`{more}"),
                "a log that was emptied looks the same; heads would tell. Leave it out where it is meant to be empty",
            ))
        }
    }
}

/// Holds a signed report against its manifest.
fn report(args: &VerifyArgs, dir: &Path) -> Outcome {
    if args.logs.len() > 1 || !args.heads.is_empty() || args.root.is_some() {
        return Err(Failure::new("a report is verified alone, with `--key` and nothing else"));
    }
    if !dir.join(manifest::MANIFEST).exists() {
        return Err(Failure::with_help(
            format_args!("`{}` holds no signed report: there is no `{}`", dir.display(), manifest::MANIFEST),
            "make one with `portreeve audit --out DIR --sign KEY`; for logs give files, or a pattern such as `logs/*`",
        ));
    }
    let [key] = &*args.key else {
        return Err(Failure::with_help("a signed report is verified with one key", "give the public half with `--key FILE`"));
    };
    let found = manifest::verify(dir, &bundling::verifier(key)?, &commits::is_unchanged).map_err(Failure::new)?;
    print(args, &found, || found.render(dir))?;
    Ok(Verdict::of(found.is_sound()))
}

/// Checks the proofs of a sample, and its draw where logs are given.
fn sample(args: &VerifyArgs, path: &Path) -> Outcome {
    if !args.heads.is_empty() || !args.key.is_empty() {
        return Err(Failure::with_help(
            "a sample has no signature of its own: the manifest of its report has",
            "verify the report's folder with `--key`, or give the root you know with `--root`",
        ));
    }
    let bytes = std::fs::read(path).map_err(|e| Failure::new(format_args!("cannot read `{}`: {e}", path.display())))?;
    let read = Sample::read(&bytes).map_err(|e| Failure::new(format_args!("`{}`: {e}", path.display())))?;
    let rest = args.logs.get(1..).unwrap_or_default();
    let logs: Vec<LogSource> = if rest.is_empty() { Vec::new() } else { logs::sources(rest)? };
    let mut found = read.check(&logs).map_err(|e| logs::unread(&e))?;
    if args.root.is_some_and(|root| root != found.root) {
        found.faults.push(format!("its root is {}, not the one you gave", found.root));
    }
    print(args, &found, || found.render())?;
    if found.is_sound() && found.proved == 0 {
        return Err(Failure::with_help("there is no record in this sample", "nothing was drawn, since its logs hold none"));
    }
    Ok(Verdict::of(found.is_sound()))
}

/// A file that says of itself, in its first bytes, that it is a sample.
fn is_sample(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    let head: String = String::from_utf8_lossy(&head).split_whitespace().collect();
    read.is_ok() && head.starts_with(&format!("{{\"kind\":\"{}\"", portreeve_auditor::sample::KIND))
}

fn print<T: serde::Serialize>(args: &VerifyArgs, found: &T, human: impl FnOnce() -> String) -> Result<(), Failure> {
    if args.format == DocumentFormat::Human {
        output::tell(&human());
        return Ok(());
    }
    let mut out = Out::new();
    out.json_document(found)?;
    out.flush()
}

/// The kind stands at the beginning of the file.
const HEAD_BYTES: u64 = 256;
