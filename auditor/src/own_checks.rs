//! Checks that users write in Rego, over what was examined. The engine runs them, under its allow-list and a budget of steps.
//!
//! INVARIANT: a check that could not be evaluated, or that found something of another shape, is told as `failed_check`, and the controls
//! that name it are not assessed. Silence means that it ran and found nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::assessment::{Finding, Weight};
use crate::checks::{Found, check, sentence, waiver};
use crate::examined::{Examined, few, many};
use crate::limits::{CHECK_FILES_MAX, FINDINGS_PER_CHECK_MAX};
use portreeve_engine::{CheckInput, Diagnostic, Digest, RegoChecks};

pub mod finding;
pub mod input;
#[cfg(test)]
mod tests;
mod unknown;

use finding::{Written, written};

/// Checks of one folder.
#[derive(Debug)]
pub struct OwnChecks {
    rego: RegoChecks,
    files: Vec<(String, Digest)>,
}

impl OwnChecks {
    /// Compiles the modules of a folder, given as path and text.
    ///
    /// # Errors
    /// Everything that is wrong with them, each with its place; a check that is called as a built-in one.
    pub fn compile(files: &[(String, String)]) -> Result<Self, Vec<Diagnostic>> {
        let digests = files.iter().map(|(path, text)| (path.clone(), Digest::of(text.as_bytes()))).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let rego = RegoChecks::compile(&files)?;
        let taken: Vec<Diagnostic> = rego
            .checks()
            .iter()
            .filter(|c| check(&c.name).is_some())
            .map(|c| {
                let message = format!("there is a built-in check `{}` already", c.name);
                Diagnostic::error("rego-check", message).at(c.at.clone()).help("give the package another name")
            })
            .collect();
        let mut wrong = taken;
        wrong.extend(unknown::unknown(&rego, &files));
        if wrong.is_empty() { Ok(Self { rego, files: digests }) } else { Err(wrong) }
    }

    /// Reads a folder with its `*.rego` files, or one file.
    ///
    /// # Errors
    /// It cannot be read, or something in it is wrong.
    pub fn read(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        let unreadable = |path: &Path, e: &dyn std::fmt::Display| {
            vec![Diagnostic::error("unreadable-checks", format!("cannot read `{}`: {e}", path.display()))]
        };
        let mut paths = vec![path.to_path_buf()];
        if path.is_dir() {
            let entries = std::fs::read_dir(path).and_then(|all| all.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>());
            paths = entries.map_err(|e| unreadable(path, &e))?;
            paths.retain(|p| p.extension().is_some_and(|e| e == "rego"));
            paths.sort();
            if paths.len() > CHECK_FILES_MAX {
                return Err(unreadable(path, &format!("it has more than {CHECK_FILES_MAX} files")));
            }
        }
        let read = |p: &std::path::PathBuf| Ok((p.display().to_string(), std::fs::read_to_string(p).map_err(|e| unreadable(p, &e))?));
        Self::compile(&paths.iter().map(read).collect::<Result<Vec<_>, Vec<Diagnostic>>>()?)
    }

    /// The files, with their digests.
    pub fn files(&self) -> impl Iterator<Item = &(String, Digest)> {
        self.files.iter()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rego.checks().iter().map(|c| &*c.name)
    }
}

/// Runs every check.
pub(crate) fn run(own: &[OwnChecks], examined: &Examined<'_>) -> Vec<Found> {
    if own.is_empty() {
        return Vec::new();
    }
    let text = serde_json::to_string(&input::input(examined)).unwrap_or_default();
    let read = CheckInput::from_json(&text);
    let mut out = Vec::new();
    for own in own {
        for check in own.rego.checks() {
            let found = read.as_ref().map_err(Clone::clone).and_then(|input| own.rego.run(check, input)).and_then(|json| written(&json));
            match found {
                Ok(written) => out.extend(named(&check.name, &check.at.short(), written, examined)),
                Err(why) => out.push(failed(&check.name, &check.at.short(), &why, examined)),
            }
        }
    }
    out
}

fn named(name: &str, at: &str, mut all: Vec<Written>, examined: &Examined<'_>) -> Vec<Found> {
    let rest = all.split_off(all.len().min(FINDINGS_PER_CHECK_MAX));
    let mut subjects = BTreeMap::new();
    for one in &mut all {
        // A subject makes the id; where a check gives one twice, the later ones are numbered.
        let n: &mut u64 = subjects.entry(one.subject.clone()).or_default();
        *n += 1;
        if *n > 1 {
            one.subject = format!("{} ({n})", one.subject);
        }
    }
    if let Some(first) = rest.first() {
        all.push(Written {
            subject: format!("{} more", rest.len()),
            summary: format!("{} of this kind besides those named", many(rest.len() as u64, "finding")),
            remedy: "begin with those named".to_owned(),
            severity: rest.iter().filter_map(|w| w.severity).min(),
            suspect: rest.iter().all(|w| w.suspect),
            count: rest.iter().map(|w| w.count).fold(0, u64::saturating_add),
            at: first.at.clone(),
            evidence: few(rest.iter().flat_map(|w| w.evidence.clone())),
        });
    }
    all.into_iter().map(|w| found(name, at, w, examined)).collect()
}

fn failed(name: &str, at: &str, why: &str, examined: &Examined<'_>) -> Found {
    let written = Written {
        subject: name.to_owned(),
        summary: format!("the check `{name}` could not be made: {why}"),
        remedy: "mend the check; until then the controls that name it are not assessed".to_owned(),
        severity: Some(Weight::High),
        suspect: false,
        count: 0,
        at: None,
        evidence: Vec::new(),
    };
    found(FAILED, at, written, examined)
}

fn found(name: &str, at: &str, written: Written, examined: &Examined<'_>) -> Found {
    let digest = Digest::of(written.subject.as_bytes()).hex();
    let mut finding = Finding {
        id: format!("{name}-{}", digest.get(..ID_DIGITS).unwrap_or_default()),
        check: name.to_owned(),
        severity: written.severity.unwrap_or(Weight::Medium),
        subject: written.subject,
        summary: sentence(&written.summary),
        remedy: sentence(if written.remedy.is_empty() { "see what the check says of itself" } else { &written.remedy }),
        at: Some(written.at.unwrap_or_else(|| at.to_owned())),
        count: written.count,
        suspect: written.suspect || examined.is_weak(&written.evidence),
        evidence: few(written.evidence),
        ..Finding::default()
    };
    // A line that was not read is no evidence.
    finding.evidence.retain(|e| examined.verification.inputs.get(e.input).is_some_and(|input| (1..=input.lines).contains(&e.line)));
    finding.suspect &= !examined.governance.dispositions.iter().any(|d| d.confirmed && d.finding == finding.id);
    finding.waived = waiver(&finding, examined);
    Found { suspect: finding.suspect, finding, folded: Vec::new() }
}

/// The names of checks that could not be made.
pub(crate) fn failures(found: &[Found]) -> BTreeSet<&str> {
    found.iter().filter(|f| f.finding.check == FAILED).map(|f| f.finding.subject.as_str()).collect()
}

/// The check under which failures are told.
pub(crate) const FAILED: &str = "failed_check";

const ID_DIGITS: usize = 12;
