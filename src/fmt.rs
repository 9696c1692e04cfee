//! `portreeve fmt`: brings policy files into their canonical form. What the form is, the engine says; here files are read and written.
//!
//! A file is replaced whole or not at all, and only a plain file inside the folder ever is: links are not followed.

use std::fs;
use std::path::{Path, PathBuf};

use portreeve_engine::bundle::is_policy_path;
use portreeve_engine::{Diagnostic, SourceFile};

use crate::args::FmtArgs;
use crate::diagnostics;
use crate::files;
use crate::limits::{BUNDLE_BYTES_MAX, BUNDLE_ENTRIES_MAX};
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};

/// Formats the files of a folder, or says which are not in the form.
pub(crate) fn run(args: &FmtArgs) -> Outcome {
    let mut paths = Vec::new();
    collect(&args.bundle, &mut paths)?;
    if paths.is_empty() {
        return Err(Failure::with_help(
            format_args!("there is no policy file in `{}`", args.bundle.display()),
            "give the folder of a policy repo, or one file of it",
        ));
    }
    let (mut changed, mut problems) = (Vec::new(), Vec::new());
    for path in &paths {
        match formatted(path)? {
            Ok(Some((before, after))) => changed.push((path, before, after)),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    let mut out = Out::new();
    for (path, before, after) in &changed {
        if args.diff {
            out.text(&crate::unified::diff(&path.display().to_string(), before, after))?;
        } else if args.check {
            out.text(&format!("{}\n", path.display()))?;
        }
    }
    out.flush()?;
    if !args.check && !args.diff {
        for (path, _, after) in &changed {
            files::replace(path, after.as_bytes(), 0o644)
                .map_err(|e| Failure::new(format_args!("cannot write `{}`: {e}", path.display())))?;
        }
    }
    output::tell(&diagnostics::human(&problems));
    let (sum, verdict) = summary(args, changed.len(), paths.len());
    if !problems.is_empty() {
        return Err(Failure::Told(format!("error: {} left alone; {sum}\n", diagnostics::many(problems.len(), "file"))));
    }
    output::tell(&format!("{}: {sum}\n", if verdict == Verdict::Yes { "ok" } else { "error" }));
    Ok(verdict)
}

fn summary(args: &FmtArgs, changed: usize, all: usize) -> (String, Verdict) {
    let all = diagnostics::many(all, "file");
    if !args.check && !args.diff {
        return (format!("{changed} of {all} formatted"), Verdict::Yes);
    }
    match changed {
        0 => (format!("{all} in their form"), Verdict::Yes),
        n => (format!("{n} of {all} not in their form; `portreeve fmt {}` brings them into it", args.bundle.display()), Verdict::No),
    }
}

/// The file before and after, if they differ.
type Change = Option<(String, String)>;

fn formatted(path: &Path) -> Result<Result<Change, Diagnostic>, Failure> {
    let name = path.display().to_string();
    let bytes = fs::read(path).map_err(|e| Failure::new(format_args!("cannot read `{name}`: {e}")))?;
    let file = SourceFile { path: name, bytes };
    Ok(portreeve_engine::fmt::file(&file).map(|after| {
        let before = String::from_utf8_lossy(&file.bytes).into_owned();
        after.filter(|after| *after != before).map(|after| (before, after))
    }))
}

/// The policy files of a folder, or the one file that was named; by path. Links and hidden files are passed over.
fn collect(path: &Path, out: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let unreadable = |e| Failure::new(format_args!("cannot read `{}`: {e}", path.display()));
    let metadata = fs::symlink_metadata(path).map_err(unreadable)?;
    if metadata.is_file() && is_policy_path(&path.file_name().unwrap_or_default().to_string_lossy()) {
        if metadata.len() > BUNDLE_BYTES_MAX || out.len() >= BUNDLE_ENTRIES_MAX {
            return Err(Failure::new(format_args!("`{}` is one file too many or too large", path.display())));
        }
        out.push(path.to_owned());
    }
    // A folder named by the user may be a link; one found inside is not followed.
    let named_link = metadata.is_symlink() && out.is_empty() && path.is_dir();
    if !metadata.is_dir() && !named_link {
        return Ok(());
    }
    let mut entries = fs::read_dir(path).and_then(|all| all.collect::<Result<Vec<_>, _>>()).map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let link = entry.file_type().map_err(unreadable)?.is_symlink();
        if !hidden && !link {
            collect(&entry.path(), out)?;
        }
    }
    Ok(())
}
